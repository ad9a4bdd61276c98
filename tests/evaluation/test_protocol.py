"""The evaluation protocol: which images meet which, and what the report tells."""

import copy
import json

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from commands.evaluate import export_samples
from coopnets_tf.data import datasets
from coopnets_tf.data.image_dataset import ImageDataset
from coopnets_tf.data.images import from_uint8, to_uint8
from coopnets_tf.errors import DatasetError, Diverged, NotFinite
from coopnets_tf.evaluation import (
    baselines,
    diagnostics,
    features,
    memorisation,
    metrics,
    parzen,
    protocol,
    reports,
)
from coopnets_tf.evaluation.drawn import Evaluation
from coopnets_tf.evaluation.protocol import Protocol, evaluate
from coopnets_tf.runs import folder, training
from coopnets_tf.runs.checkpoints import listed
from coopnets_tf.runs.hooks import evaluations
from coopnets_tf.runs.logs import read_lines
from tests.helpers import (
    assert_same_run,
    checkpoint,
    layers,
    make_model,
    new_model,
    sharpen,
    train,
)


@pytest.fixture(scope="module")
def model():
    model = make_model()
    sharpen(model)
    model.freeze()
    return model


@pytest.fixture(scope="module")
def splits():
    return datasets.load_splits("digits", num_held_out=400)


def flat(images):
    return np.asarray(images, np.float64).reshape(len(images), -1)


def pixel_extractor():
    """Features that a test can compute itself: 64 pixels, as 2 'classes' the mean."""

    def network(images):
        light = (1 + images.mean(axis=(1, 2, 3))) / 2
        return flat(images), np.stack([light, 1 - light], axis=1)

    return features.Extractor("pixels", "Frechet", {"network": "none"}, network)


def run(model, splits, **options):
    """The report, the pictures and the scored images of an evaluation."""
    choices = Protocol(**{"num_samples": 200, **options})
    found = evaluate(model, splits, choices, extractor=pixel_extractor())
    return found.report, found.pictures, found.scored


@pytest.fixture(scope="module")
def whole(model, splits):
    """An evaluation by all metrics; who changes its report takes a copy."""
    return run(model, splits)


def test_scores_are_those_of_the_saved_samples(model, splits, whole):
    """Both nets' scores, computed again from `sample` and the metrics' definitions."""
    report, _, sets = whole
    choosing, reference = (part[:] for part in protocol.real_images(splits, Protocol()))
    for name, num_steps in (("generator", 0), ("descriptor", None)):
        drawn = model.sample(200, seed=0, num_steps=num_steps)
        pixels = to_uint8(drawn)
        saved = pixels / np.float32(127.5) - 1
        np.testing.assert_allclose(sets[name][:], saved, atol=1e-6)
        scores = report["scores"][name]
        assert scores["num_images"] == 200
        expected = metrics.frechet_distance(flat(saved), flat(reference))
        np.testing.assert_allclose(scores["frechet_distance"], expected, rtol=1e-4)
        expected, error = metrics.kernel_distance(flat(saved), flat(reference))
        np.testing.assert_allclose(scores["kernel_distance"]["value"], expected, 1e-4)
        np.testing.assert_allclose(
            scores["kernel_distance"]["standard_error"], error, 1e-4
        )
        rows = (pixels.reshape(200, -1) / 255).astype(np.float32)
        windows = [
            ((flat(part) + 1) / 2).astype(np.float32) for part in (choosing, reference)
        ]
        bandwidth = parzen.choose_bandwidth(rows, windows[0])
        found = scores["parzen"]
        assert found["bandwidth"] == bandwidth
        np.testing.assert_allclose(
            (found["nats"], found["standard_error"]),
            parzen.score(rows, windows[1], bandwidth),
            rtol=1e-4,
        )
    assert report["scores"]["generator"] != report["scores"]["descriptor"]
    told = report["protocol"]
    assert told["scored_against"] == "digits: 200 test images, held out of training"
    assert not told["reference_was_trained_on"]
    assert told["trained_on"] == "digits: 1,397 training images"


def test_real_images_are_those_of_their_split_in_a_random_order(splits):
    for split, parts in (
        ("test", (splits.validation, splits.test)),
        ("validation", (splits.validation, splits.validation)),
    ):
        found = protocol.real_images(splits, Protocol(split=split))
        for part, whole in zip(found, parts, strict=True):
            assert set(part.places) <= set(whole.places)
            assert (np.diff(part.places) < 0).any()
        assert not set(found[0].places) & set(found[1].places)
    assert [part.num_images for part in found] == [100, 100]


def test_scores_do_not_depend_on_the_order_of_a_file(model, splits):
    """A test set sorted by class scores as any other, with errors as small."""
    order = np.argsort(splits.test.labels, kind="stable")
    sorted_ = splits._replace(test=splits.test.part(order))
    options = {"metrics": ("kernel",), "baselines": True}
    for found in (run(model, splits, **options)[0], run(model, sorted_, **options)[0]):
        distance = found["scores"]["training images"]["kernel_distance"]
        # Training and test images are alike: within 4 errors of nothing.
        assert abs(distance["value"]) < 4 * distance["standard_error"]
        assert distance["standard_error"] < 0.05


class Untouchable:
    """Images that an evaluation must not look at."""

    def __init__(self, images):
        self.num_images, self.name, self.kind = images.num_images, "secret", "images"
        self.labels = None

    def __getattr__(self, name):
        raise AssertionError(f"The test images were asked for {name}.")

    def __getitem__(self, indices):
        raise AssertionError("The test images were looked at.")


def test_along_the_way_nobody_looks_at_the_test_images(model, splits, whole):
    secret = splits._replace(test=Untouchable(splits.test))
    report, _, _ = run(model, secret, split="validation")
    # 200 of the 400 held-out images are for validation here: 100 choose, 100 judge.
    told = report["protocol"]
    assert (
        told["scored_against"] == "digits: 100 validation images, held out of training"
    )
    judges = protocol.real_images(splits, Protocol(split="validation"))[1]
    samples = whole[2]["generator"]
    expected = metrics.frechet_distance(flat(samples[:]), flat(judges[:]))
    found = report["scores"]["generator"]["frechet_distance"]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    with pytest.raises(AssertionError, match="test images"):
        run(model, secret, split="test")


def test_the_authors_protocol(splits):
    """Faint samples are stretched, and faint training images choose: both matter."""
    faint = sharpen(make_model(revision_noise_until=0))
    last = layers(faint.generator, "deconv")[-1]
    last.kernel.assign(0.05 * last.kernel)
    last.bias.assign(last.bias - 0.2)
    faint.freeze()
    report, _, sets = run(faint, splits, metrics=("parzen",), parzen="paper")
    rows = (flat(sets["generator"][:]) + 1) / 2
    assert rows.min() > 0.1 and rows.max() < 0.7
    rows = ((rows - rows.min()) / (rows.max() - rows.min())).astype(np.float32)
    training, testing = (
        ((flat(part[:]) + 1) / 2).astype(np.float32)
        for part in (splits.training, splits.test)
    )
    bandwidth = parzen.choose_bandwidth(rows, training[-1_000:])
    expected = parzen.score(rows, testing, bandwidth)
    found = report["scores"]["generator"]["parzen"]
    assert found["bandwidth"] == bandwidth
    np.testing.assert_allclose(found["nats"], expected[0], rtol=1e-4)
    windows = report["protocol"]["parzen_windows"]
    assert "stretched" in windows["pixels"]
    assert windows["bandwidth_chosen_on"] == "digits: 1,000 training images"
    honest, _, _ = run(faint, splits, metrics=("parzen",))
    other = honest["scores"]["generator"]["parzen"]["nats"]
    assert abs(other - expected[0]) > 1


def test_the_authors_validation_images_are_50000_to_50999(splits):
    pixels = np.arange(60_000, dtype=np.uint32).view(np.uint8).reshape(-1, 2, 2, 1)
    whole = ImageDataset("mnist", pixels)
    for held_out in (0, 5_000):
        chosen = protocol.paper_validation(whole.part(slice(held_out, None)))
        np.testing.assert_array_equal(chosen.places, np.arange(50_000, 51_000))
    last = protocol.paper_validation(splits.training).places
    np.testing.assert_array_equal(last, splits.training.places[-1_000:])


def test_what_chooses_is_not_among_the_real_images_that_are_scored(model, splits):
    _, _, sets = run(model, splits, metrics=("parzen",), parzen="paper", baselines=True)
    choosing = protocol.paper_validation(splits.training).places
    assert not set(choosing) & set(sets["training images"].places)
    others = splits.training.part(~np.isin(splits.training.places, choosing))
    expected = baselines.gaussian(others, 200, seed=0)
    np.testing.assert_array_equal(sets["Gaussian"][:], expected[:])


def test_where_nothing_is_held_out_the_report_says_so(model):
    whole = datasets.load_splits("digits")
    report, _, _ = run(model, whole, metrics=("frechet",))
    assert report["protocol"]["reference_was_trained_on"]
    assert "Careful: no image was held out" in reports.text(report)
    report, pictured, _ = run(model, whole, metrics=("parzen", "memorisation"))
    assert report["protocol"]["metrics"] == ["parzen"] and not pictured
    with pytest.raises(DatasetError, match="`evaluate_every`.*`num_held_out`"):
        run(model, whole, split="validation")


def test_nets_that_make_nan_are_refused(splits):
    model = make_model()
    bias = layers(model.generator, "deconv")[0].bias
    bias.assign(np.full(bias.shape, np.nan))
    model.freeze()
    with pytest.raises(NotFinite, match="Images of the generator contain NaN"):
        run(model, splits)


def test_chains_that_end_in_nan_are_counted(model, splits, monkeypatch):
    """Long chains may diverge where the trained length does not."""
    original = diagnostics.run_chains

    def broken(*arguments, **options):
        trace = original(*arguments, **options)
        trace.energy[-1, :7] = np.nan
        trace.states[30][:7] = np.nan
        return trace

    monkeypatch.setattr(diagnostics, "run_chains", broken)
    report, pictured, _ = run(model, splits, metrics=("kernel", "diagnostics"))
    found = report["diagnostics"]
    assert found["verdict"].startswith("7 of 200 chains")
    assert found["energy_minus_real"]["last"] is None
    assert list(found["kernel_distance"]) == [0, 3, 6, 15]
    json.dumps(report, allow_nan=False)
    assert set(pictured) == {"diagnostics", "chains"}


def test_without_langevin_steps_there_is_one_net_and_no_chain(splits):
    model = make_model(num_steps=0)
    model.freeze()
    report, _, _ = run(model, splits)
    assert list(report["scores"]) == ["generator"]
    assert report["diagnostics"] == {}


def test_colour_images_are_scored(tmp_path):
    for number in range(80):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number:02d}.png")
    splits = datasets.load_splits(str(tmp_path), image_size=8, num_held_out=50)
    pixels = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3), np.uint8)

    model = make_model(num_steps=0)
    model.sample_batches = lambda number, **options: iter([from_uint8(pixels[:number])])
    report, _, _ = run(model, splits, num_samples=60)
    assert report["scores"]["generator"]["num_images"] == 60
    assert "25 test images, held out" in report["protocol"]["scored_against"]


def test_training_images_and_a_gaussian_are_baselines(model, splits):
    report, _, sets = run(model, splits, baselines=True, metrics=("frechet", "parzen"))
    scores = report["scores"]
    assert list(scores) == ["generator", "descriptor", "training images", "Gaussian"]
    expected = baselines.gaussian(splits.training, 200, seed=0)
    np.testing.assert_array_equal(sets["Gaussian"][:], expected[:])
    for name in ("generator", "descriptor", "Gaussian"):
        real = scores["training images"]
        assert real["frechet_distance"] < scores[name]["frechet_distance"]
        assert real["parzen"]["nats"] > scores[name]["parzen"]["nats"]
    places = set(sets["training images"].places)
    assert len(places) == 200 and places <= set(splits.training.places)


def test_nets_that_repeat_the_training_are_told(model, splits, whole):
    """The distances of the report are those of the scored images."""
    report, pictured, sets = whole
    real = protocol.real_images(splits, Protocol())[1]
    real = memorisation.nearest(real[:1_000], splits.training)
    for name in ("generator", "descriptor"):
        found = memorisation.nearest(sets[name][:], splits.training)
        expected = memorisation.scores(found, real)
        assert report["scores"][name]["memorisation"] == pytest.approx(expected)
    assert "nearest" in pictured

    model = make_model(num_steps=0)
    copies = splits.training[:60]
    model.sample_batches = lambda number, **options: iter([copies])
    report, _, _ = run(model, splits, metrics=("memorisation",), num_samples=60)
    found = report["scores"]["generator"]["memorisation"]
    assert (found["nearest"], found["share_near"]) == (0, 1)
    text = reports.text(report)
    [row] = [row for row in text.splitlines() if row.startswith("share that is near")]
    assert row.split()[-1] == "100.0%"
    assert f"of real images {found['nearest_of_real']:.3f}" in text


def test_a_report_can_be_repeated_and_another_seed_draws_others(model, splits, whole):
    one, other = whole[0], run(model, splits)[0]
    for part in ("protocol", "scores", "diagnostics", "versions", "nets"):
        assert one[part] == other[part]
    third = run(model, splits, seed=1)[0]
    for part in ("scores", "diagnostics"):
        assert one[part] != third[part]
    assert json.loads(json.dumps(one))["scores"] == one["scores"]


def test_diagnostics_follow_the_chains_for_ten_times_their_length(model, splits, whole):
    report, pictured, _ = whole
    found = report["diagnostics"]
    assert (found["trained_steps"], found["steps"]) == (3, 30)
    assert list(found["kernel_distance"]) == [0, 3, 6, 15, 30]
    energies = np.asarray(model.energy(splits.test[:1_000]))
    np.testing.assert_allclose(found["real_energy"], energies.mean(), rtol=1e-5)
    assert set(pictured) == {"diagnostics", "chains", "nearest"}
    # 8 chains down, 5 times across: 8-pixel tiles enlarged 19 times, with gaps of 2.
    assert pictured["chains"].shape == (8 * 154 + 2, 5 * 154 + 2, 1)


def test_without_an_extractor_its_metrics_are_left_out(model, splits):
    report = evaluate(model, splits, Protocol(num_samples=50)).report
    assert report["protocol"]["metrics"] == ["parzen", "memorisation", "diagnostics"]
    assert report["protocol"]["extractor"] is None
    scores = report["scores"]["generator"]
    assert list(scores) == ["num_images", "parzen", "memorisation"]
    assert report["diagnostics"]["kernel_distance"] == {}


@pytest.mark.parametrize(
    "choices",
    [
        {"num_samples": 19},
        {"metrics": ("fid",)},
        {"split": "training"},
        {"parzen": "ours"},
        {"parzen": "paper", "split": "validation"},
    ],
)
def test_what_is_no_protocol_is_refused(choices):
    with pytest.raises(ValueError):
        Protocol(**choices)


def test_too_few_images_are_refused(model):
    few = datasets.load_splits("digits", num_held_out=39)
    with pytest.raises(DatasetError, match="digits: 19 valid.*`num_held_out`"):
        run(model, few)
    few = few._replace(training=few.training.part(slice(1)), num_held_out=39)
    with pytest.raises(DatasetError, match="Take more images"):
        run(model, few)


def test_the_table_and_the_scalars_tell_every_score(whole):
    report = copy.deepcopy(whole[0])
    found = reports.scalars(report)
    scores = report["scores"]["descriptor"]
    assert found["evaluation/descriptor/parzen/nats"] == scores["parzen"]["nats"]
    assert found["evaluation/descriptor/recall"] == scores["recall"]
    chains = report["diagnostics"]
    assert found["evaluation/chains/autocorrelation"] == chains["autocorrelation"]
    assert "evaluation/chains/steps" not in found
    assert found["evaluation/chains/saturation/last"] == chains["saturation"]["last"]
    assert all(reports.meaning(name) for name in found)
    assert reports.meaning("evaluation/somebody's/score") == ""
    of_nets = [name for name in found if "/chains/" not in name]
    assert len(of_nets) == 2 * (3 + 1 + 2 + 4 + 2 + 4)
    heading, *rows = reports.text(report).splitlines()
    [row] = [row for row in rows if row.startswith("Frechet ")]
    # The cells end where their columns' names do.
    end = heading.index("descriptor") + len("descriptor")
    assert row[:end].split()[-1] == f"{scores['frechet_distance']:.2f}"
    assert sum(row.count("±") for row in rows[:10]) == 2 * 3
    assert any(row.startswith("IS (pixels) ") for row in rows)
    report["protocol"]["extractor"]["frechet_name"] = "FID (Keras InceptionV3)"
    text = reports.text(report)
    assert "FID (Keras InceptionV3)" in text and "end of the bandwidths" not in text
    scores["parzen"]["bandwidth"] = 1.0
    assert "1.000!" in reports.text(report)
    assert "end of the bandwidths" in reports.text(report)


def test_exported_png_files_are_the_scored_images(model, splits, tmp_path):
    _, _, sets = run(model, splits, metrics=("parzen",), num_samples=20, baselines=True)
    export_samples(tmp_path, sets)
    for name in ("generator", "descriptor", "training_images"):
        paths = sorted((tmp_path / name).iterdir())
        assert [path.name for path in paths] == [f"{k:06d}.png" for k in range(20)]
        pixels = np.stack([np.asarray(Image.open(path)) for path in paths])
        scored = sets[name.replace("_", " ")][:20][..., 0]
        np.testing.assert_array_equal(pixels, to_uint8(scored))


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory, splits):
    """A run that is evaluated every 4 of its 7 steps, between two checkpoints."""
    run_dir = tmp_path_factory.mktemp("evaluated")
    train(new_model(), run_dir, data=splits.training, **on_the_way(splits))
    return run_dir


def on_the_way(splits):
    choices = Protocol(num_samples=40, split="validation")

    def look(model):
        return evaluate(model, splits, choices, extractor=pixel_extractor())

    return {"num_iterations": 7, "hooks": [evaluations(4, look)]}


def test_an_evaluation_on_the_way_is_told_everywhere(evaluated):
    [path] = (evaluated / "evaluations").iterdir()
    report = json.loads(path.read_text())
    assert (path.name, report["step"]) == ("000004.json", 4)
    expected = reports.scalars(report)
    [line] = [
        line
        for line in read_lines(evaluated / "metrics.jsonl")
        if "evaluation/generator/recall" in line
    ]
    assert {name: line[name] for name in expected} == expected
    events = EventAccumulator(str(evaluated / "tensorboard")).Reload()
    tags = set(events.Tags()["tensors"])
    assert {*expected, "evaluation/chains", "evaluation/diagnostics"} <= tags


def test_the_best_checkpoint_may_be_chosen_by_an_evaluation(tmp_path):
    def look(model):
        distance = {2: 4.0, 4: 2.0, 6: 3.0, 8: 2.5}[int(model.step)]
        scores = {"descriptor": {"frechet_distance": distance}}
        return Evaluation({"scores": scores, "diagnostics": {}}, {}, {}, None)

    train(
        make_model(num_steps=1, unroll=False),
        tmp_path,
        keep_best="evaluation/descriptor/frechet_distance",
        num_iterations=8,
        log_every=1,
        checkpoint_every=2,
        hooks=[evaluations(2, look)],
    )
    [best] = listed(tmp_path / "checkpoints", ["best"])
    assert best.name == "best-4"


def test_nets_that_turn_nan_between_metrics_roll_back(tmp_path, monkeypatch):
    """The metrics of a step are older than its update; its evaluation is not."""
    monkeypatch.setattr(training, "EARLY", 0)

    def look(model):
        raise NotFinite("generator")

    with pytest.raises(Diverged, match="a pixel of the generator's samples.*step 4"):
        train(
            make_model(num_steps=1, unroll=False),
            tmp_path,
            num_iterations=4,
            max_rollbacks=1,
            hooks=[evaluations(4, look)],
        )
    assert len(folder.rollbacks(tmp_path)) == 1


def test_an_evaluation_changes_no_training(evaluated, tmp_path, splits):
    train(new_model(), tmp_path, data=splits.training, num_iterations=7)
    one, other = checkpoint(tmp_path), checkpoint(evaluated)
    assert set(one) == set(other)
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


def test_a_resumed_run_is_evaluated_as_an_unbroken_one(
    evaluated, tmp_path, splits, monkeypatch
):
    original = training.RunLog.evaluation

    def crash(*arguments):
        original(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:  # it was told of step 4 and is at step 3 again
        patch.setattr(training.RunLog, "evaluation", crash)
        with pytest.raises(KeyboardInterrupt):
            train(new_model(), tmp_path, data=splits.training, **on_the_way(splits))
    train(new_model(), tmp_path, data=splits.training, **on_the_way(splits))
    assert_same_run(evaluated, tmp_path)
