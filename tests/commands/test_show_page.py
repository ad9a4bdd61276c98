"""The page of `show` in a browser: Chromium, on screens of two widths."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.helpers import ROOT, make_model, sharpen, write_run

pytestmark = pytest.mark.slow
CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    None,
)
QUIET = (  # it is to ask nobody for anything
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
MILLISECONDS = 60_000  # the first image waits for its graph
NAME = "<i>my</i> run"  # which is text, and not part of the page


@contextlib.contextmanager
def shown(place, **options):
    """Where the program shows a small run, as a user starts and ends it."""
    (place / "runs").mkdir()
    model = sharpen(make_model(**options))
    folder = write_run(model, place / "runs" / NAME.replace("/", "\\"))
    lines = (f'{{"step": {step}, "generator_loss": {step}}}' for step in range(9))
    (folder / "metrics.jsonl").write_text("\n".join(lines))
    command = [sys.executable, str(ROOT / "main.py"), "show", "--port=0"]
    program = subprocess.Popen(
        [*command, "--infer_steps=3"],
        cwd=place,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with program:
        try:
            program.stdout.readline()  # before TensorFlow starts
            line = program.stdout.readline()
            yield re.search(r"http://127\.0\.0\.1:\d+$", line.strip())[0]
        finally:
            program.send_signal(signal.SIGINT)
        assert program.wait(60) == 0
        assert program.stderr.read() == ""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with shown(tmp_path_factory.mktemp("place")) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM:
        pytest.skip("there is no Chromium; the variable CHROMIUM may name one")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=[*QUIET])
        yield browser
        browser.close()


@pytest.fixture(params=[360, 1280])
def page(request, browser, address):
    with loaded(browser, address, request.param) as page:
        yield page


@contextlib.contextmanager
def loaded(browser, address, width):
    """The page, wholly loaded, without a complaint of the browser at any time; what is
    narrow is touched.
    """
    narrow = width < 720
    context = browser.new_context(
        viewport={"width": width, "height": 740}, has_touch=narrow
    )
    page, complaints, strangers = context.new_page(), [], []
    page.set_default_timeout(MILLISECONDS)
    page.on(
        "console",
        lambda message: message.type == "error" and complaints.append(message.text),
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: strangers.append(request.url))
    page.goto(address)
    page.locator("#walked img").nth(1).wait_for()
    yield page
    context.close()
    refused = "status of 400"  # what the page says in a sentence
    assert not [one for one in complaints if refused not in one]
    assert not [one for one in strangers if not one.startswith((address, "data:"))]


def sources(page, place):
    """The pictures in a part of the page."""
    images = page.locator(f"{place} img")
    return images.evaluate_all("images => images.map(image => image.src)")


def wait_until(page, script, *arguments):
    page.wait_for_function(script, arg=[*arguments])


def changed(page, place, before):
    """The pictures of a place, once they are not those before."""
    script = """([place, before]) => {
        const images = [...document.querySelectorAll(place + " img")];
        return JSON.stringify(images.map((image) => image.src)) !== before;
    }"""
    text = page.evaluate("sources => JSON.stringify(sources)", before)
    wait_until(page, script, place, text)
    return sources(page, place)


def hidden(page):
    """How many pixels are hidden, as the canvas says."""
    label = page.locator("#canvas").get_attribute("aria-label")
    return int(re.search(r"(\d+) of 64 pixels hidden", label)[1])


def drawn(page):
    """What is on the canvas."""
    return page.locator("#canvas").evaluate("canvas => canvas.toDataURL()")


def test_it_fits_the_screen_and_is_named(page):
    assert page.locator("h1").inner_text() == NAME.replace("/", "\\")
    about = "Step 0 of descriptor and generator; images of 8x8 pixels in grey"
    assert page.locator("#about").inner_text() == about
    beyond = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert beyond <= 0
    assert len(sources(page, "#cards")) == 24
    for image in page.locator("img").all():
        assert image.get_attribute("alt")
        assert image.evaluate("image => image.naturalWidth") > 0
    for control in page.locator("input, select:visible").all():
        assert control.evaluate("control => control.labels.length") == 1
    (chart,) = page.locator("svg").all()
    assert chart.get_attribute("aria-label") == (
        "loss: generator: 0 at step 0, 8 at step 8; from 0 to 8"
    )


def test_the_slider_moves_the_chains(page):
    slider, first = page.locator("#steps"), sources(page, "#cards")
    assert slider.input_value() == "3"
    slider.fill("9")
    later = changed(page, "#cards", first)
    assert page.locator("#steps-text").inner_text() == "9 of 9"
    assert later[::2] == first[::2]  # where they start
    assert all(
        one != other for one, other in zip(later[1::2], first[1::2], strict=True)
    )
    energy = page.locator("#cards figcaption").nth(1).inner_text()
    assert re.fullmatch(r"step 9\n−?[\d,.]+", energy)
    slider.press("ArrowLeft")
    assert changed(page, "#cards", later) != first
    slider.fill("3")
    wait_until(
        page,
        "([source]) => document.querySelector('#cards figure:last-child img').src"
        " === source",
        first[1],
    )
    page.locator("#other").click()
    assert changed(page, "#cards", first)[::2] != first[::2]


def test_it_plays_the_chains_to_their_end(page):
    slider, button = page.locator("#steps"), page.locator("#play")
    slider.fill("6")
    button.click()
    assert button.inner_text() == "Stop"
    wait_until(page, "() => document.querySelector('#play').textContent === 'Play'")
    assert slider.input_value() == "9"


def test_the_image_follows_a_walk_over_the_map(page):
    first, pad = sources(page, "#walked"), page.locator("#pad")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 1, box["y"] + 1, steps=4)
    page.mouse.up()
    corner = changed(page, "#walked", first)
    assert [page.locator(f"#{side}").input_value() for side in ("down", "across")] == [
        "0",
        "0",
    ]
    page.locator("#across").press("End")
    page.locator("#down").press("ArrowUp")
    assert changed(page, "#walked", corner) != corner
    before = sources(page, "#pad")
    page.locator("#other-corners").click()
    assert changed(page, "#pad", before) != before


def test_what_is_painted_is_filled(page):
    canvas, before = page.locator("#canvas"), drawn(page)
    assert hidden(page) == 0
    page.locator("#recover").click()
    status = page.locator("#recovery .status")
    status.filter(has_text="Hide a part of the image first").wait_for()
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    size = box["width"] / 8
    page.locator("#brush").fill("1")
    page.mouse.move(box["x"] + 1.5 * size, box["y"] + 2.5 * size)
    page.mouse.down()
    page.mouse.move(
        box["x"] + 5.5 * size, box["y"] + 2.5 * size
    )  # a line, not its ends
    page.mouse.up()
    assert hidden(page) == 5 and drawn(page) != before
    page.locator("#erase").click()
    page.mouse.click(box["x"] + 3.5 * size, box["y"] + 2.5 * size)
    assert hidden(page) == 4
    page.locator("#recover").click()
    page.locator("#fills img").nth(3).wait_for()
    fills = sources(page, "#fills")
    assert len(set(fills)) == 4
    page.locator("#recover").click()
    assert not set(changed(page, "#fills", fills)) & set(fills)
    page.locator("#clear").click()
    assert hidden(page) == 0 and drawn(page) == before


def test_it_is_painted_by_keyboard_and_finger(page):
    canvas = page.locator("#canvas")
    page.locator("#brush").fill("1")
    canvas.focus()
    for key in ("Space", "ArrowLeft", "ArrowUp", "Space", "ArrowDown"):
        page.keyboard.press(key)
    assert hidden(page) == 2
    page.locator("#middle").click()
    assert hidden(page) == 16
    page.locator("#clear").click()
    if page.evaluate("navigator.maxTouchPoints"):
        canvas.tap(position={"x": 5, "y": 5})
        assert hidden(page) == 1


def test_a_sample_or_an_image_of_ones_own_is_taken(page, tmp_path):
    before = drawn(page)
    page.locator("#cards button").nth(4).click()
    wait_until(
        page,
        "([before]) => document.querySelector('#canvas').toDataURL() !== before",
        before,
    )
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "mine.png")
    script = """([x, y, value]) => {
        const canvas = document.querySelector("#canvas");
        const size = canvas.width / 8;
        const place = [(x + 0.5) * size, (y + 0.5) * size, 1, 1];
        return canvas.getContext("2d").getImageData(...place).data[0] === value;
    }"""
    page.locator("#file").set_input_files(tmp_path / "mine.png")
    wait_until(page, script, 2, 5, int(pixels[5, 2]))
    page.locator("#inverted").check()
    wait_until(page, script, 2, 5, 255 - int(pixels[5, 2]))
    kept = drawn(page)
    (tmp_path / "letter.png").write_text("Dear reader")
    page.locator("#file").set_input_files(tmp_path / "letter.png")
    status = page.locator("#recovery .status.wrong")
    status.filter(has_text="This is no image that can be read here").wait_for()
    assert drawn(page) == kept


def test_a_program_that_has_ended_is_said(browser, address):
    page = browser.new_page()
    page.goto(address)
    page.locator("#walked img").nth(1).wait_for()
    page.route("**/samples", lambda route: route.abort())
    page.locator("#other").click()
    status = page.locator("#samples .status.wrong")
    status.filter(has_text="Does the program still run in its terminal?").wait_for()
    page.close()


def test_another_page_of_the_same_browser_learns_nothing(browser, address):
    """A page from elsewhere, which the program's own address would open in a frame or
    ask for samples.
    """
    page = browser.new_page()
    elsewhere = "http://elsewhere.example/"
    page.route(
        elsewhere, lambda route: route.fulfill(body="<p>", content_type="text/html")
    )
    page.goto(elsewhere)
    ask = """async (url) => {
        const body = JSON.stringify({ seed: 0, steps: 0 });
        try {
            return (await fetch(url, { method: "POST", body })).status;
        } catch {
            return "refused";
        }
    }"""
    assert page.evaluate(ask, f"{address}/samples") == "refused"
    page.close()


def test_another_class(browser, tmp_path):
    with (
        shown(tmp_path, class_shares=(0.5, 0.25, 0.25)) as address,
        loaded(browser, address, 1280) as page,
    ):
        choice = page.get_by_label("Class of all images")
        assert choice.locator("option").all_inner_texts() == ["0", "1", "2"]
        before = {place: sources(page, place) for place in ("#cards", "#walked")}
        choice.select_option("2")
        for place, pictures in before.items():
            assert not set(changed(page, place, pictures)) & set(pictures)
