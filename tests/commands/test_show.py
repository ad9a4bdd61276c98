"""The page of `show`: what it answers, and whom it refuses. The browser's side is in
test_show_page.py.
"""

import base64
import io
import json
import logging
import socket
import threading
import time
import types
import zlib

import numpy as np
import pytest
from PIL import Image
from werkzeug.test import Client

from commands import answers, paths, show
from commands.answers import Answers
from commands.show import Page
from coopnets_tf import CoopNets
from coopnets_tf.data.images import from_uint8, to_uint8
from coopnets_tf.errors import RunError
from coopnets_tf.networks import built_in
from tests.helpers import (
    assert_near,
    called,
    descriptor_of,
    generator_of,
    make_descriptor_model,
    make_generator_model,
    make_model,
    noise,
    refused,
    sharpen,
    top,
    write_run,
)

HOME = "http://127.0.0.1:1609"


@pytest.fixture(scope="module")
def model():
    return frozen(sharpen(make_model()))


@pytest.fixture(scope="module")
def page(model, tmp_path_factory):
    return page_of(model, tmp_path_factory.mktemp("a run"))


def frozen(model):
    model.freeze()
    return model


def page_of(model, folder):
    return Page(Answers(model, folder, infer_steps=3))


def told(page, path, **headers):
    return Client(page).get(path, base_url=HOME, headers=headers)


def sent(page, path, data, **headers):
    headers = {"Origin": HOME, **headers}
    return Client(page).post(path, base_url=HOME, headers=headers, data=data)


def asked(page, path, **question):
    """The answer to a question that is a good one."""
    response = sent(page, path, json.dumps(question))
    assert response.status_code == 200, response.text
    return response.json


def refusal(page, path, **question):
    response = sent(page, path, json.dumps(question))
    assert response.status_code == 400
    return response.json["error"]


def decoded(answer):
    """Its pictures as uint8 [number, height, width] or with colours."""
    images = []
    for text in answer["images"]:
        kind, _, content = text.partition(",")
        assert kind == "data:image/png;base64"
        with Image.open(io.BytesIO(base64.b64decode(content))) as image:
            images.append(np.asarray(image))
    return np.stack(images)


def as_url(pixels, file_format="PNG"):
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, file_format)
    return url(content.getvalue())


def url(content):
    return "data:;base64," + base64.b64encode(content).decode()


# What it shows


def test_samples_are_those_of_the_model_with_their_energies(page, model):
    for steps in (0, 3, 9):
        answer = asked(page, "/samples", seed=5, steps=steps)
        expected = model.sample(12, seed=5, num_steps=steps)
        assert_near(decoded(answer)[..., None], expected)
        np.testing.assert_allclose(answer["energies"], model.energy(expected), 1e-5)


def test_more_steps_go_on_from_fewer(model):
    """One step moves an image by its noise, 0.05, and little else; another chain would
    be 0.05 * sqrt(17) away.
    """
    model = frozen(make_model(reference_stddev=30.0))
    eight, nine = (model.sample(12, num_steps=steps).numpy() for steps in (8, 9))
    moved = np.sqrt(np.mean((nine - eight) ** 2))
    # 5 standard errors of the root mean square of 768 numbers.
    assert moved == pytest.approx(0.05, rel=5 / np.sqrt(2 * 768))


def test_facts(page, tmp_path):
    facts = told(page, "/facts").json
    assert facts["run"].startswith("a run") and facts["most_bytes"] == 20_000_000
    expected = "Step 0 of descriptor and generator; images of 8x8 pixels in grey"
    assert facts["about"] == expected
    assert (facts["steps"], facts["most_steps"]) == (3, 9)
    assert "3 steps of size 0.1:" in facts["recovery"]


def test_images_of_a_class(tmp_path):
    model = frozen(sharpen(make_model(class_shares=(0.5, 0.25, 0.25))))
    page = page_of(model, write_run(model, tmp_path / "toy"))
    facts = told(page, "/facts").json
    assert (facts["classes"], facts["class"]) == (["0", "1", "2"], "0")
    for label, question in ((0, {}), (2, {"label": "2"})):
        answer = asked(page, "/samples", seed=5, steps=3, **question)
        expected = model.sample(12, seed=5, num_steps=3, labels=label)
        assert_near(decoded(answer)[..., None], expected)
        energies = model.energy(expected, labels=label)
        np.testing.assert_allclose(answer["energies"], energies, 1e-5)
        walked = asked(page, "/walk", seed=4, down=0, across=0, **question)
        corner = paths.drawn(model, "corners", 4)[:1].astype(np.float32)
        draft = model.generate(corner, labels=label)
        assert_near(decoded(walked)[:1, ..., None], draft)
    message = refusal(page, "/map", seed=4, label="3")
    assert message.startswith("`label` must be one of 0, 1, 2. Received: 3.")


def test_the_class_at_first_is_that_of_the_command_line(tmp_path):
    model = frozen(make_model(class_shares=(0.5, 0.5)))
    found = Answers(model, write_run(model, tmp_path / "toy"), 3, label="1")
    assert found.facts()["class"] == "1"
    with pytest.raises(RunError, match="one of 0, 1"):
        found.of_class("1,0")


def test_the_walk_begins_in_a_corner_and_is_on_the_map(page, model):
    corners = paths.drawn(model, "corners", 4)
    answer = asked(page, "/walk", seed=4, down=0, across=1)
    draft = paths.generated(model, corners[1])
    assert_near(decoded(answer)[:1, ..., None], draft)
    revised = model.revise(draft, seed=4)
    assert_near(decoded(answer)[1:, ..., None], revised)
    np.testing.assert_allclose(answer["energies"][1], model.energy(revised)[0], 1e-4)
    middle = decoded(asked(page, "/walk", seed=4, down=0.5, across=0.25))[0]
    image = asked(page, "/map", seed=4)["image"]
    (grid,) = decoded({"images": [image]})
    tile = grid.shape[0] // 5 - 2
    top, left = (2 + place * (tile + 2) for place in (2, 1))
    shown = grid[top : top + tile, left : left + tile][:: tile // 8, :: tile // 8]
    assert np.abs(shown.astype(int) - middle).max() <= 1


def test_an_image_of_ones_own_is_brought_to_the_size_of_the_nets(page):
    wide = np.zeros((40, 80, 3), np.uint8)
    wide[:, 12:68] = [255, 0, 0]  # more than the square in its middle
    answer = asked(page, "/own", image=as_url(wide, "BMP"))
    assert len(answer["energies"]) == 1
    assert set(decoded(answer).ravel()) == {76}  # the luma of red
    again = asked(page, "/own", image=answer["images"][0])
    assert again["images"] == answer["images"]
    inverted = asked(page, "/own", image=as_url(wide), inverted=True)
    assert set(decoded(inverted).ravel()) == {255 - 76}


def test_a_recovery_keeps_what_is_visible(page, model):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)
    hidden = np.zeros((8, 8), int)
    hidden[2:6, 1:7] = 1
    question = {"image": as_url(pixels), "hidden": "".join(map(str, hidden.ravel()))}
    answer = asked(page, "/recovered", seed=2, **question)
    found = decoded(answer)
    assert found.shape == (4, 8, 8) and len(answer["energies"]) == 4
    np.testing.assert_array_equal(found[:, hidden == 0], [pixels[hidden == 0]] * 4)
    visible = np.broadcast_to(1 - hidden[None, ..., None], (4, 8, 8, 1)).astype("f")
    images = from_uint8(pixels[None, ..., None]) * visible
    expected = model.recover(images, visible, infer_steps=3, seed=2)
    assert_near(found[..., None], expected)
    assert len({image.tobytes() for image in found}) == 4
    other = asked(page, "/recovered", seed=3, **question)
    assert other["images"][0] != answer["images"][0]


@pytest.mark.parametrize(
    ("hidden", "text"),
    [
        ("0" * 64, "Hide a part of the image first, and leave a part of it."),
        ("1" * 64, "Hide a part of the image first, and leave a part of it."),
        ("01", "What is hidden is not 8x8 zeros or ones."),
        ("01" * 31 + "02", "What is hidden is not 8x8 zeros or ones."),
        (3, "What is hidden must be a text."),
    ],
)
def test_what_cannot_be_hidden(page, hidden, text):
    image = as_url(np.zeros((8, 8), np.uint8))
    assert refusal(page, "/recovered", image=image, hidden=hidden, seed=0) == text


def test_a_descriptor_alone(tmp_path):
    page = page_of(frozen(make_descriptor_model()), tmp_path)
    facts = told(page, "/facts").json
    assert (facts["nets"], facts["recovery"]) == (["descriptor"], "")
    assert np.isfinite(asked(page, "/samples", seed=0, steps=9)["energies"]).all()
    half = {"image": as_url(np.zeros((8, 8), np.uint8)), "hidden": "01" * 32}
    assert decoded(asked(page, "/recovered", seed=0, **half)).shape == (4, 8, 8)


def test_a_generator_alone_has_no_energies_and_no_steps(tmp_path):
    page = page_of(frozen(make_generator_model()), tmp_path)
    assert told(page, "/facts").json["most_steps"] == 0
    answer = asked(page, "/samples", seed=0, steps=0)
    assert answer["energies"] == [None] * 12
    assert decoded(asked(page, "/walk", seed=0, down=1, across=1)).shape == (1, 8, 8)
    half = {"image": answer["images"][0], "hidden": "01" * 32}
    assert decoded(asked(page, "/recovered", seed=0, **half)).shape == (4, 8, 8)
    error = refusal(page, "/samples", seed=0, steps=1)
    assert error == "The steps must be a whole number from 0 to 0."


def in_colour(*sides):
    shape = (*sides, 3)
    generator = built_in.generator("toy", shape, (6,))
    descriptor = built_in.descriptor("toy", shape)
    return CoopNets(descriptor_of(descriptor), generator_of(generator), num_chains=2)


def test_colours_and_large_images(tmp_path):
    page = page_of(frozen(in_colour(8, 16)), tmp_path)
    facts = told(page, "/facts").json
    assert facts["about"].endswith("images of 8x16 pixels in colour")
    assert decoded(asked(page, "/samples", seed=0, steps=3)).shape == (12, 8, 16, 3)
    pixels = noise(8, 16, 3)
    image = as_url(to_uint8(pixels))
    assert_near(decoded(asked(page, "/own", image=image)), pixels[None])
    large = types.SimpleNamespace(image_shape=(400, 600, 3), class_shares=None)
    assert Answers(large, tmp_path, 3).number == 1


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ((4, 8, 8, 1), "clips of 4 frames. Take `mode`=sample, which makes films"),
        ((8, 8, 2), "one or three colours. Received: a run whose images are 8x8x2."),
        ((64,), "one or three colours. Received: a run whose images are 64."),
    ],
)
def test_what_is_no_picture_is_refused(shape, text, tmp_path):
    with pytest.raises(RunError, match=text.replace(".", r"\.")):
        Answers(types.SimpleNamespace(image_shape=shape), tmp_path, 3)


def test_nets_that_have_diverged(tmp_path):
    model = frozen(make_model())
    kernel = top(model.descriptor).kernel
    kernel.assign(kernel * np.nan)
    page = page_of(model, tmp_path)
    error = refusal(page, "/samples", seed=0, steps=3)
    assert (
        error == "Images of the descriptor and generator contain NaN or infinity. Take "
        "an earlier `checkpoint`, or train with smaller learning rates."
    )
    assert asked(page, "/samples", seed=0, steps=0)["energies"] == [None] * 12


def test_curves(page, model, tmp_path):
    assert told(page, "/curves").json == []
    lines = [
        {"step": step, "epoch": step / 10, "generator_loss": float(step), "mine": 3.0}
        for step in range(1, 402)
    ]
    lines[7]["generator_loss"] = float("nan")  # so that 400 are left
    lines += [{"step": 9, "story": "went back", "rollbacks": 1}]
    for step, score in ((5, 3.0), (10, 2.0)):
        name = "evaluation/generator/frechet_distance"
        lines += [{"step": step, name: score, "evaluation/generator/recall": 0.5}]
    lines += [{"step": 5, "energy_gap": 4.0, "steps_per_second": 2.0}]
    text = "\n".join(map(json.dumps, lines))
    (tmp_path / "metrics.jsonl").write_text(text + '\n{"step": 11, "gener')
    loss, score = told(page_of(model, tmp_path), "/curves").json
    assert loss["name"] == "loss: generator" and loss["about"].startswith("Mean of |im")
    assert loss["lines"] == 2 and len(loss["steps"]) == len(loss["values"]) == 200
    assert loss["values"][:5] == loss["steps"][:5] == [1.5, 3.5, 5.5, 8.0, 10.5]
    assert score["name"] == "generator: frechet_distance"
    assert (score["steps"], score["values"]) == ([5.0, 10.0], [3.0, 2.0])
    assert score["about"].endswith("smaller is better.")


# Whom it refuses


@pytest.mark.parametrize(
    "host", ["evil.example:1609", "localhost.evil.example", "", "192.168.0.7:1609"]
)
def test_another_name_for_this_machine_is_refused(page, host):
    """Such as one that somebody lets point to 127.0.0.1 once their page is loaded."""
    for path in ("/", "/facts", "/page.js"):
        response = told(page, path, Host=host)
        assert response.status_code == 403
        assert response.json["error"].startswith("This page is at http://127.0.0.1 and")
    # The page of that name, to which the browser gives this Origin.
    own = {"Host": host, "Origin": f"http://{host}"}
    assert sent(page, "/samples", "{}", **own).status_code == 403


def test_both_names_of_a_browser_on_this_machine_are_known(page):
    for host in ("localhost:1609", "127.0.0.1:9000", "localhost"):
        assert told(page, "/", Host=host).status_code == 200
        own = {"Host": host, "Origin": f"http://{host}"}
        data = json.dumps({"seed": 0, "steps": 0})
        assert sent(page, "/samples", data, **own).status_code == 200


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "",
        "http://127.0.0.1:8888",
        "https://127.0.0.1:1609",
    ],
)
def test_other_pages_cannot_ask(page, origin):
    """Those that the same browser has open, also of other programs on this machine."""
    response = sent(page, "/samples", '{"seed": 0, "steps": 0}', Origin=origin)
    assert response.status_code == 403
    assert response.json == {"error": "Only the page itself may ask this."}


def test_who_hides_where_a_question_comes_from_cannot_ask(page):
    data = '{"seed": 0, "steps": 0}'
    response = Client(page).post("/samples", base_url=HOME, data=data)
    assert response.status_code == 403


def test_only_the_files_of_the_page_are_there(page, tmp_path):
    for path in (
        "/model.json",
        "/metrics.jsonl",
        "/show.py",
        "/../show.py",
        "/page/../show.py",
        "/%2e%2e/show.py",
        "//etc/passwd",
        "/page.js/",
        "/index.html",
    ):
        response = told(page, path)
        assert (response.status_code, response.json["error"]) == (
            404,
            "There is nothing here.",
        )
    for path in ("/samples", "/own"):
        assert told(page, path).status_code == 405
    for path in ("/", "/page.css", "/curves"):
        assert sent(page, path, "{}").status_code == 405
    assert Client(page).put("/", base_url=HOME).status_code == 405


@pytest.mark.parametrize("path", ["/", "/page.css", "/page.js", "/facts", "/nothing"])
def test_a_browser_is_told_to_take_nothing_from_elsewhere(page, path):
    headers = told(page, path).headers
    policy = headers["Content-Security-Policy"].split("; ")
    assert {"default-src 'none'", "script-src 'self'", "img-src data:"} <= set(policy)
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "Access-Control-Allow-Origin" not in headers


def test_the_page_itself_needs_nothing_from_elsewhere(page):
    for path, kind in (("/", "html"), ("/page.css", "css"), ("/page.js", "javascript")):
        response = told(page, path)
        assert response.mimetype == f"text/{kind}"
        text = response.text.replace("http://www.w3.org/2000/svg", "")
        assert "//" not in text.replace("// ", "") and "http" not in text
        assert "innerHTML" not in text and "style=" not in text


def test_a_question_that_is_too_long_is_refused_unread(page, monkeypatch):
    monkeypatch.setattr(show, "MOST_SENT", 1000)
    response = sent(page, "/own", b'{"image": "' + b"x" * 1000 + b'"}')
    assert response.status_code == 413
    assert "error" in response.json
    # Nor does it read more of what does not say how long it is.
    stream = io.BytesIO(b'{"image": "' + b"x" * 5000 + b'"}')
    endless = {"wsgi.input": stream, "wsgi.input_terminated": True}
    headers = {"Origin": HOME}
    response = Client(page).post(
        "/own", base_url=HOME, headers=headers, environ_overrides=endless
    )
    assert response.status_code == 400 and stream.tell() == 1000


@pytest.mark.parametrize(
    "data", [b"", b"seed=3", b"[1]", b"null", b"\xff", b"[" * 100_000, b"{" * 9]
)
def test_what_is_no_question(page, data):
    response = sent(page, "/samples", data)
    assert response.status_code == 400
    assert response.json == {"error": "A question must be an object in JSON."}


@pytest.mark.parametrize(
    ("path", "question", "text"),
    [
        (
            "/samples",
            {"steps": 0},
            "The seed must be a whole number from 0 to 21474836",
        ),
        ("/samples", {"seed": -1, "steps": 0}, "The seed must be"),
        ("/samples", {"seed": 2**31, "steps": 0}, "The seed must be"),
        ("/samples", {"seed": True, "steps": 0}, "The seed must be"),
        ("/samples", {"seed": "0", "steps": 0}, "The seed must be"),
        ("/samples", {"seed": 0, "steps": 10}, "The steps must be a whole number from"),
        ("/samples", {"seed": 0, "steps": 1.5}, "The steps must be"),
        ("/map", {"seed": 1e300}, "The seed must be"),
        ("/walk", {"seed": 0, "down": 2, "across": 0}, "How far down must be a number"),
        ("/walk", {"seed": 0, "down": 0}, "How far across must be a number from 0 to"),
        ("/walk", {"seed": 0, "down": float("nan"), "across": 0}, "How far down must"),
        ("/own", {}, "What is image must be a text."),
        ("/own", {"image": "data:,%%"}, "The image must be a data URL in base64."),
        ("/own", {"image": "é,é"}, "The image must be a data URL in base64."),
    ],
)
def test_wrong_questions(page, path, question, text):
    assert refusal(page, path, **question).startswith(text)


def png_of(width, height):
    """A PNG of that size by its header, with next to nothing in it."""
    small = io.BytesIO()
    Image.new("L", (1, 1)).save(small, "PNG")
    content = bytearray(small.getvalue())
    content[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"GIF89a",
        png_of(8, 8),  # of which the rest is missing
        png_of(10_000, 6_000),
        png_of(2**31 - 1, 2**31 - 1),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\nshowpage\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
    ],
)
def test_files_that_are_no_images_that_it_takes(page, content, monkeypatch):
    """PostScript is a program: Pillow would let another program run it."""
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", pytest.fail)
    error = refusal(page, "/own", image=url(content))
    assert error == (
        "This is no image that can be read here: a file in PNG, JPEG, WEBP, GIF or BMP "
        "of at most 50,000,000 pixels."
    )


def test_it_is_the_number_of_pixels_that_is_refused(page, monkeypatch):
    image = as_url(np.zeros((20, 20), np.uint8))
    monkeypatch.setattr(answers, "MOST_PIXELS", 400)
    asked(page, "/own", image=image)
    monkeypatch.setattr(answers, "MOST_PIXELS", 399)
    assert "at most 399 pixels" in refusal(page, "/own", image=image)


def test_the_nets_are_asked_one_thing_at_a_time(model, tmp_path, monkeypatch):
    page, now, most = page_of(model, tmp_path), [], []

    def slowly(self, **question):
        now.append(question)
        most.append(len(now))
        time.sleep(0.05)
        now.pop()
        return {}

    monkeypatch.setattr(Answers, "samples", slowly)
    threads = [
        threading.Thread(target=asked, args=(page, "/samples"), kwargs=question)
        for question in [{"seed": seed, "steps": 0} for seed in range(4)]
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 4


def test_it_ends_when_the_nets_are_at_rest(model, tmp_path, monkeypatch, capsys):
    page, asking, done = page_of(model, tmp_path), threading.Event(), []

    def slowly(self, **question):
        asking.set()
        time.sleep(0.2)
        done.append(question)
        return {}

    monkeypatch.setattr(Answers, "map", slowly)
    thread = threading.Thread(target=asked, args=(page, "/map"), kwargs={"seed": 0})
    thread.start()
    asking.wait()
    page.end()
    assert len(done) == 1
    assert capsys.readouterr().out == "The last question is still being answered.\n"
    thread.join()
    assert sent(page, "/map", '{"seed": 0}').status_code == 503
    page.end()
    assert len(done) == 1 and capsys.readouterr().out == ""


def test_a_failure_of_the_program_is_told_in_its_terminal(page, monkeypatch, caplog):
    monkeypatch.setattr(Answers, "map", lambda self, **question: 1 / 0)
    with caplog.at_level(logging.ERROR):
        response = sent(page, "/map", '{"seed": 0}')
    assert response.status_code == 500
    expected = {"error": "The program failed; its terminal says how."}
    assert response.json == expected
    assert "ZeroDivisionError" in caplog.text


# The command


@pytest.fixture
def served(monkeypatch):
    """What would have been served, and where."""
    found = []
    monkeypatch.setattr(
        show,
        "serve",
        lambda page, listener: found.append((page, listener.getsockname())),
    )
    return found


def test_a_port_of_this_machine_alone(tmp_path, served, capsys):
    toy = write_run(make_model(), tmp_path / "toy", step=1200)
    show.show(toy, port=0)
    ((page, (host, port)),) = served
    assert host == "127.0.0.1" and port > 1024
    assert capsys.readouterr().out == (
        f"Step 1,200 of {toy}: http://127.0.0.1:{port}\n"
        "Open it in a browser on this machine. Ctrl-C ends it.\n"
    )
    assert told(page, "/facts").json["run"] == "toy"
    assert {path.name for path in toy.iterdir()} == {"checkpoints", "model.json"}


def test_textures_of_another_size(tmp_path, served):
    toy = write_run(make_model(network="weave"), tmp_path / "toy")
    show.show(toy, port=0, image_size="16x12")
    ((page, _),) = served
    assert "images of 16x12 pixels" in told(page, "/facts").json["about"]
    assert decoded(asked(page, "/samples", seed=0, steps=3)).shape == (12, 16, 12)
    assert decoded(asked(page, "/walk", seed=0, down=0, across=0)).shape == (2, 16, 12)
    half = {"image": as_url(np.zeros((9, 9), np.uint8)), "hidden": "01" * 96}
    assert decoded(asked(page, "/recovered", seed=0, **half)).shape == (4, 16, 12)


def test_a_port_in_use_is_refused(tmp_path):
    write_run(make_model(), tmp_path / "runs/toy")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        error = refused("show", f"--port={port}", cwd=tmp_path)
    assert error == (
        f"Error: --port={port} cannot be used: Address already in use. Give another "
        "--port, or 0 for any that is free.\n"
    )


def test_the_first_word_may_be_the_mode(place, run_dir):
    output = called("sample", "--num_images=1", "--output=by_word", cwd=place)
    assert output == "Samples of step 2: by_word\n"
    assert (place / "by_word/generator.png").exists()
