"""Nets that are told classes: whole steps against float64 NumPy, and what they do."""

import itertools
import json
import re

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import coopnets_tf
from commands import answers, use
from coopnets_tf import (
    AlgorithmD,
    AlgorithmG,
    CoopNets,
    Descriptor,
    Generator,
    Langevin,
    conditional,
    seeds,
)
from coopnets_tf.data import datasets, drawing
from coopnets_tf.data.image_dataset import ImageDataset
from coopnets_tf.data.images import to_uint8
from coopnets_tf.errors import ArgumentError, DatasetError, NetworkError, RunError
from coopnets_tf.evaluation import diagnostics, metrics, protocol, reports
from coopnets_tf.evaluation.features import Extractor
from coopnets_tf.networks import built_in
from coopnets_tf.runs.stepping import build_step
from coopnets_tf.seeds import Purpose, draw_seed
from tests import oracle, test_algorithms
from tests.helpers import (
    ROOT,
    TINY,
    adam,
    call,
    called,
    checkpoint,
    layers,
    make_descriptor,
    make_generator,
    make_model,
    names,
    refused,
)
from tests.helpers import metrics as lines
from tests.test_algorithms import (
    CLOSE,
    Moving,
    double,
    draft,
    oracle_generator,
    oracle_inference,
    oracle_revision,
    sharpen,
)

SHARES = (0.5, 0.25, 0.25)
LABELS = np.array([0, 2, 1, 0, 1, 0, 2, 0])


def make(**options):
    return make_model(network="oracle", class_shares=SHARES, **options)


def oracle_descriptor(descriptor):
    net = test_algorithms.oracle_descriptor(descriptor)
    net.classes = double(descriptor.network.get_layer("class_outputs").kernel)
    return net


class GivenGenerator:
    """The oracle of a generator of latents and one-hot classes."""

    def __init__(self, net, labels):
        self.net, self.rows = net, np.eye(3)[labels]

    def images(self, latents):
        return self.net.images(np.concatenate([latents, self.rows], axis=1))

    def gradients(self, latents, upstream):
        values = np.concatenate([latents, self.rows], axis=1)
        slope, weights = self.net.gradients(values, upstream)
        return slope[:, : latents.shape[1]], weights


@pytest.fixture(scope="module")
def observed():
    return datasets.load("digits")[:8]


@pytest.mark.parametrize(("inference_steps", "unroll"), [(0, True), (2, False)])
def test_three_steps_equal_numpy(observed, inference_steps, unroll):
    """Five chains: they have the classes of the first five of eight observed images."""
    model = sharpen(make(inference_steps=inference_steps, unroll=unroll))
    of_chains, sigma = LABELS[:5], model.generator.residual_stddev
    moving_d = Moving(model.descriptor, 0.003)
    moving_g = Moving(model.generator, 0.001)
    paths = [weight.path for weight in model.descriptor.trainable_variables]
    assert ["class_outputs" in path for path in paths[-3:]] == [True, False, False]
    step_fn, batch = build_step(model), double(observed)
    for step in range(3):
        net_d = oracle_descriptor(model.descriptor)
        net_g = GivenGenerator(oracle_generator(model.generator), of_chains)
        latents = draft(model, step)  # G0
        generated = net_g.images(latents)
        given = net_d.given(of_chains)
        revised = oracle_revision(model, given, generated, step)[-1]  # D1
        latents = oracle_inference(model, net_g, latents, revised, step)  # G1
        _, up = given.gradients(revised, np.full(5, 1 / 5))  # D2
        _, down = net_d.given(LABELS).gradients(batch, np.full(8, -1 / 8))
        loss_d = given.scores(revised).mean() - net_d.given(LABELS).scores(batch).mean()
        moving_d.move([one + other for one, other in zip(up, down, strict=True)])
        difference = net_g.images(latents) - revised  # G2
        _, gradients = net_g.gradients(latents, difference / sigma**2 / 5)
        moving_g.move(gradients)

        model.reset_metrics()
        found = step_fn({"images": observed, "labels": LABELS})
        np.testing.assert_allclose(found["descriptor_loss"], loss_d, **CLOSE)
        loss_g = (difference**2).sum() / (2 * sigma**2) / 5
        np.testing.assert_allclose(found["generator_loss"], loss_g, **CLOSE)
        moving_d.assert_equal()
        moving_g.assert_equal()


def test_a_step_of_dual_teaching_equals_numpy(observed):
    model = sharpen(make(inference_steps=2, data_teaching=0.5, num_images=10))
    sigma, numbers = model.generator.residual_stddev, np.arange(2, 10)
    seed = draw_seed(0, step=0, purpose=Purpose.IMAGE_LATENTS)
    table = double(seeds.standard_normal([10, 6], seed=seed))
    moving_g, batch = Moving(model.generator, 0.001), double(observed)
    net = oracle_generator(model.generator)
    drafted, explained = GivenGenerator(net, LABELS[:5]), GivenGenerator(net, LABELS)
    latents = draft(model, 0)
    generated = drafted.images(latents)
    net_d = oracle_descriptor(model.descriptor).given(LABELS[:5])
    revised = oracle_revision(model, net_d, generated, 0)[-1]
    inferred = oracle_inference(model, explained, table[numbers], batch, 0)
    _, first = drafted.gradients(latents, (generated - revised) / sigma**2 / 5)
    again = explained.images(inferred) - batch
    _, second = explained.gradients(inferred, again / sigma**2 / 8)
    moving_g.move([one + 0.5 * two for one, two in zip(first, second, strict=True)])
    build_step(model)({"images": observed, "numbers": numbers, "labels": LABELS})
    moving_g.assert_equal()
    np.testing.assert_allclose(model.latents[2:], inferred, **CLOSE)
    # Pictures of the first training images know the classes of those that were seen.
    expected = np.vstack([np.tile(SHARES, [2, 1]), np.eye(3)[LABELS]])
    np.testing.assert_array_equal(model.kept["image_labels"], expected)


@pytest.mark.parametrize("kind", ["descriptor", "generator"])
def test_one_net_alone_learns_of_classes(kind, observed):
    """From weights that know none."""
    if kind == "descriptor":
        net = make_descriptor(class_shares=SHARES)
        model = AlgorithmD(net, num_chains=5, chain_init="noise")
        model.compile(adam(0.003))
    else:
        net = make_generator(inference_steps=2, class_shares=SHARES)
        kernel = layers(net, "deconv")[0].kernel  # its last rows are those of classes
        kernel.assign(tf.concat([kernel[..., :-3], 0 * kernel[..., -3:]], axis=-1))
        model = AlgorithmG(net, num_images=8)
        model.compile(generator_optimizer=adam(0.01))
    batch = {"images": observed, "labels": LABELS, "numbers": np.arange(8)}
    before = [model.sample(4, seed=0, labels=one) for one in range(3)]
    assert all(np.array_equal(one, before[0]) for one in before)
    step_fn = build_step(model)
    for _ in range(3):
        assert all(np.isfinite(value) for value in step_fn(batch).values())
    model._frozen_at = None
    images = [model.sample(4, seed=0, labels=one) for one in range(3)]
    for one, other in itertools.combinations(images, 2):
        assert np.abs(one - other).max() > 1e-5  # of pixels in [-1, 1]
    shown, _ = model.shown(6, seed=tf.constant([0, 0]))
    assert all(pictures.shape == (6, 8, 8, 1) for pictures in shown.values())


def test_a_class_is_drawn_as_often_as_in_the_training():
    uniform = np.array([0.0, 0.49, 0.5, 0.74, 0.75, 0.99], np.float32)
    drawn = np.argmax(conditional.drawn(SHARES, uniform), axis=1)
    np.testing.assert_array_equal(drawn, [0, 0, 1, 1, 2, 2])
    labels = np.argmax(make().draw_labels(4000, seed=3), axis=1)
    # Five standard errors of a share of 4,000.
    assert np.abs(np.bincount(labels) / 4000 - SHARES).max() < 5 * 0.5 / 4000**0.5
    first = np.argmax(make().draw_labels(7, seed=3), axis=1)
    np.testing.assert_array_equal(first, labels[:7])


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (1, [1, 1]),
        ([2, 0], [2, 0]),
        (np.eye(3)[[0, 2]], [0, 2]),
    ],
)
def test_labels_of_users(labels, expected):
    found = conditional.rows(labels, SHARES, 2)
    np.testing.assert_array_equal(np.argmax(found, axis=1), expected)
    assert found.dtype == tf.float32 and found.shape == (2, 3)


@pytest.mark.parametrize("labels", [3, -1, [0], [0, 1, 2], 0.5, [[1, 0]], "2"])
def test_wrong_labels_are_refused(labels):
    with pytest.raises(ArgumentError, match="a class from 0 to 2, one for each of 2"):
        conditional.rows(labels, SHARES, 2)


def test_what_nets_of_classes_can_do(observed):
    model = sharpen(make())
    model.freeze()
    latents = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
    rows = tf.one_hot([0, 1, 2, 0], 3)
    labels = [0, 1, 2, 0]
    images = model.generate(latents, labels=labels)
    given = [tf.constant(latents), rows]
    expected = model.generator.network(given, training=False)
    np.testing.assert_allclose(images, expected, atol=1e-6)
    scores = model.descriptor.network([tf.constant(observed[:4]), rows])
    squares = (observed[:4] ** 2).sum(axis=(1, 2, 3)) / (2 * 0.3**2)
    energies = model.energy(observed[:4], labels=labels)
    np.testing.assert_allclose(energies, squares - scores, rtol=1e-5)
    # An image depends on its own class alone.
    for function in (
        lambda images, labels: model.revise(images, seed=1, labels=labels),
        lambda images, labels: model.infer(images, num_steps=2, labels=labels),
        lambda images, labels: model.reconstruct(images, num_steps=2, labels=labels),
        lambda images, labels: model.recover(
            images, np.ones_like(images) * (images > 0), infer_steps=2, labels=labels
        ),
        lambda images, labels: model.sample(4, seed=2, labels=labels),
    ):
        one, other = (function(observed[:4], own) for own in (labels, [0, 1, 2, 1]))
        np.testing.assert_allclose(one[:3], other[:3], atol=1e-5)
        assert np.abs(one[3] - other[3]).max() > 1e-3
    drawn = model.draw_labels(4, seed=2)
    np.testing.assert_array_equal(
        model.sample(4, seed=2), model.sample(4, seed=2, labels=drawn)
    )


def test_between_two_classes_lies_the_mean_of_their_weights(observed):
    """The score is linear in the row of classes."""
    descriptor = sharpen(make()).descriptor
    ends = [descriptor.given(tf.eye(3)[one][None])(observed[:1]) for one in (0, 2)]
    middle = descriptor.given(tf.constant([[0.5, 0.0, 0.5]]))(observed[:1])
    np.testing.assert_allclose(middle, np.mean(ends, axis=0), rtol=1e-5)


def test_frozen_statistics_are_of_classes_as_frequent_as_in_the_training():
    model = sharpen(make())
    model.freeze()
    seed = draw_seed(0, step=0, purpose=Purpose.STATISTICS)
    net, maps = oracle_generator(model.generator), []
    for start in range(0, 1024, 128):
        own = seeds.fold_in(seed, start)
        latents = double(seeds.standard_normal([128, 6], seed=own))
        uniform = double(
            seeds.uniform([128], seed=seeds.fold_in(own, 1), low=0, high=1)
        )
        rows = np.eye(3)[np.searchsorted(np.cumsum(SHARES), uniform, side="right")]
        maps.append(np.concatenate([latents, rows], axis=1)[:, None, None])
    kernel, bias = net.rows[0][:2]
    first = oracle.conv_transpose(np.concatenate(maps), kernel, 1, (4, 4), same=False)
    mean = (first + bias).mean(axis=(0, 1, 2))
    norm = layers(model.generator, "norm")[0]
    np.testing.assert_allclose(norm.moving_mean, mean, **CLOSE)


def test_energies_of_chains_without_the_constants_of_their_classes():
    real, labels = np.array([1.0, 3.0, 10.0]), np.array([0, 0, 1])
    energy, of_chains = np.array([[2.0, 12.0, 7.0]]), np.array([0, 1, 2])
    found = diagnostics.without_constants(real, labels, energy, of_chains)
    np.testing.assert_allclose(found[0], [-1, 1, 0])
    np.testing.assert_allclose(
        found[1], [[0, 2, 7 - (2 + 10) / 2]]
    )  # of 2 none is real


def test_an_evaluation_of_classes(observed):
    """By an extractor that takes every image for class 1."""
    model = make(num_steps=1)
    model.freeze()
    real = ImageDataset(
        "digits",
        to_uint8(np.tile(observed, [8, 1, 1, 1])),
        labels=np.tile(LABELS, 8),
    )
    splits = datasets.Splits(real, real, real, 8, False)

    def network(images):
        probabilities = np.tile([0.1, 0.8, 0.1], [len(images), 1])
        return np.asarray(images).reshape(len(images), -1)[:, 9:12], probabilities

    extractor = Extractor("stub", "Frechet", {"network": "none"}, network)
    options = {"metrics": ("frechet", "classes", "diagnostics"), "baselines": True}
    choices = protocol.Protocol(num_samples=80, **options)
    found = protocol.evaluate(
        model, splits, choices, extractor=extractor._replace(knows_labels=True)
    )
    scores = found.report["scores"]
    drawn = np.argmax(model.draw_labels(80, seed=0), axis=1)
    nets = ("generator", "descriptor")
    for net in nets:
        assert scores[net]["classes"]["accuracy"] == np.mean(drawn == 1)
        assert scores[net]["classes"]["num_classes"] == 3
    real_ones = scores["training images"]["classes"]
    assert real_ones["accuracy"] == pytest.approx(np.mean(LABELS == 1))
    assert real_ones["frechet_distance"] == pytest.approx(0, abs=1e-6)  # roundings
    assert "classes" not in scores["Gaussian"]
    text = reports.text(found.report)
    fewest = min(
        scores[net]["classes"]["fewest_images"] for net in scores if net in nets
    )
    words = " ".join(text.split())
    assert "of its class" in words and f"smallest with {fewest} images on" in words
    assert found.report["diagnostics"]["real_energy"] == pytest.approx(0, abs=1e-3)
    without = protocol.evaluate(model, splits, choices, extractor=extractor)
    assert "classes" not in without.report["scores"]["generator"]


@pytest.mark.parametrize("shares", [(5, 3, 2), (1.5, -0.5), ()])
def test_shares_that_are_none_are_refused(shares):
    with pytest.raises(ValueError, match="must be 0 or more and sum to 1"):
        make_descriptor(class_shares=shares)


def test_labels_that_are_no_classes_are_refused(observed):
    batch = {"images": observed, "labels": LABELS + 1}
    for learn in (make().fit, make().train_on_batch):
        with pytest.raises(DatasetError, match="from 0 to 2. Received: from 1 to 3"):
            learn(batch)


def test_classes_of_another_folder_are_known_by_their_names(place, tmp_path):
    for name in ("7", "3"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(2):
            picture = Image.new("L", (8, 8), 40 * int(name) - number)
            picture.save(tmp_path / f"photos/{name}/{number}.png")
    data = {"image_size": 8, "color_mode": "grey", "class_folders": True}
    data["dataset"] = str(tmp_path / "photos")
    options = {"images": None, "resize": "crop", "normalize": "fixed"}
    model = coopnets_tf.load(place / "runs/digits-1")
    chosen = use.chosen_images(
        model, place / "runs/digits-1", 9, data=data, grey_range=None, **options
    )
    is_seven = chosen.images.mean(axis=(1, 2, 3)) > 0
    np.testing.assert_array_equal(
        np.argmax(chosen.labels, axis=1), np.where(is_seven, 7, 3)
    )
    (tmp_path / "photos/3").rename(tmp_path / "photos/cat")
    with pytest.raises(RunError, match="does not know: cat. Its own are 0, 1"):
        use.chosen_images(
            model, place / "runs/digits-1", 9, data=data, grey_range=None, **options
        )


def test_a_net_that_is_given_classes_is_the_same_net(observed):
    net = make().generator
    given = net.given(tf.one_hot([1, 2], 3))
    assert given.network is net.network and given.optimizer is net.optimizer
    assert net.labels is None and net.given(None) is net
    weights = zip(given.trainable_variables, net.trainable_variables, strict=True)
    assert all(one is other for one, other in weights)


def test_a_batch_or_a_call_without_classes_is_refused(observed):
    model = make()
    with pytest.raises(DatasetError, match="{images, labels}.*Received: images alone"):
        model.train_step(observed)
    with pytest.raises(ArgumentError, match="told classes. Give `labels`"):
        model.energy(observed)
    with pytest.raises(NetworkError, match="descriptor is for images of 3 classes"):
        model.descriptor.energy(observed)
    with pytest.raises(ArgumentError, match="these have none"):
        make_model().sample(2, labels=1)


def test_impossible_nets_of_classes_are_refused():
    with pytest.raises(NetworkError, match="the same `class_shares`"):
        CoopNets(make_descriptor(class_shares=SHARES), make_generator(), num_chains=2)
    with pytest.raises(ValueError, match="Persistent chains have no class"):
        AlgorithmD(
            make_descriptor(class_shares=SHARES),
            num_chains=2,
            chain_init="persistent",
        )
    with pytest.raises(NetworkError, match="no place for classes"):
        built_in.generator("weave", (8, 8, 1), (1,), num_classes=3)
    with pytest.raises(NetworkError, match="no place for classes"):
        built_in.descriptor("weave", (8, 8, 1), num_classes=3)
    plain = built_in.generator("toy", (8, 8, 1), (6,))
    options = {"inference": Langevin(0, 0.1), "residual_stddev": 0.3}
    with pytest.raises(NetworkError, match=r"two inputs.*classes, \[batch, 3\]"):
        Generator(plain, class_shares=SHARES, **options)
    two = built_in.descriptor("toy", (8, 8, 1), num_classes=4)
    options = {"revision": Langevin(1, 0.1), "reference_stddev": 0.3}
    with pytest.raises(NetworkError, match=r"two inputs.*classes, \[batch, 3\]"):
        Descriptor(two, class_shares=SHARES, **options)


def test_frechet_distance_of_classes():
    """Gaussians of one dimension, whose distance is |m1 - m2|^2 + (s1 - s2)^2."""
    features = np.array([[0.0], [2.0], [5.0], [9.0]])
    real = np.array([[1.0], [3.0], [5.0], [9.0], [7.0]])
    labels, real_labels = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1, 2])
    sets = (features, labels), (real, real_labels)
    distance, classes, fewest = metrics.frechet_distance_of_classes(*sets)
    assert distance == pytest.approx((1.0 + 0.0) / 2)  # class 2 has one image
    assert (classes, fewest) == (2, 2)
    alone = real[4:], real_labels[4:]
    assert metrics.frechet_distance_of_classes(sets[0], alone) is None
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.5, 0.5]])
    assert metrics.accuracy(probabilities, np.array([0, 1, 1, 0])) == 0.75


# From the command line.

CONDITIONAL = [*TINY, "--network=toy", "--conditional"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("classes")
    called(*CONDITIONAL, "--generator_learning_rate=0.05", cwd=place)
    return place


def test_a_run_of_classes_goes_on_as_if_it_had_not_stopped(place, tmp_path):
    every = ["--log_every=2", "--sample_every=2", "--checkpoint_every=2"]
    longer = "--num_iterations=4"
    called(*CONDITIONAL, *every, longer, cwd=tmp_path)
    called(*CONDITIONAL, *every, cwd=tmp_path)
    called("--resume", "--workdir=runs/digits-2", longer, cwd=tmp_path)
    runs = [tmp_path / "runs" / name for name in ("digits-1", "digits-2")]
    assert lines(runs[0]) == lines(runs[1])
    whole, part = map(checkpoint, runs)
    for name, value in whole.items():
        np.testing.assert_array_equal(part[name], value, err_msg=name)
    picture = "samples/descriptor_000004.png"
    assert (runs[0] / picture).read_bytes() == (runs[1] / picture).read_bytes()


def test_samples_of_a_class(place):
    arguments = ["--num_images=20", "--format=npz"]
    for label, expected in (("3", [3] * 20), ("all", np.repeat(range(10), 2))):
        output = called("--mode=sample", *arguments, f"--label={label}", cwd=place)
        with np.load(place / output.split()[-1] / "images.npz") as found:
            np.testing.assert_array_equal(found["labels"], expected)
            assert found["images"].shape == (20, 8, 8, 1)


def test_what_a_run_of_classes_exports(place):
    run_dir = place / "runs/digits-1"
    called("--mode=export", cwd=place)
    loaded = tf.saved_model.load(run_dir / "export")
    model = coopnets_tf.load(run_dir)
    rows = tf.one_hot([4, 7], 10)
    images = loaded.sample(2, 5, rows)
    expected = model.sample(2, seed=5, labels=[4, 7])
    np.testing.assert_allclose(images, expected, atol=1e-5)
    energies = model.energy(images, labels=[4, 7])
    np.testing.assert_allclose(loaded.energy(images, rows), energies, rtol=1e-5)
    facts = json.loads((run_dir / "export/metadata.json").read_text())
    assert facts["num_classes"] == 10
    for kind in ("litert", "onnx"):
        error = refused("--mode=export", f"--export_format={kind}", cwd=place)
        assert f"{kind} is for nets without classes" in error


def test_the_page_of_a_run_shows_one_class(place):
    run_dir = place / "runs/digits-1"
    model = coopnets_tf.load(run_dir)
    page = answers.Answers(model, run_dir, 2)
    assert (page.facts()["class"], len(page.classes)) == ("0", 10)
    page = page.of_class("3")
    assert page.facts()["class"] == "3"
    found = page.samples(seed=1, steps=1)
    images = model.sample(12, seed=1, num_steps=1, labels=3)
    np.testing.assert_allclose(
        found["energies"], model.energy(images, labels=3), rtol=1e-5
    )
    assert page.walk(seed=1, down=0.5, across=0.5)["energies"]
    hidden = "1" * 32 + "0" * 32
    content = drawing.png(np.zeros((8, 8, 1), np.uint8))
    assert len(page.recovered(content, hidden, seed=0)["images"]) == 4


def test_other_modes_of_a_run_of_classes(place):
    options = ["--infer_steps=2", "--num_images=4"]
    called("--mode=reconstruct", *options, cwd=place)
    called("--mode=recover", *options, cwd=place)
    called("--mode=recover", *options, "--label=2", cwd=place)
    called("--mode=interpolate", "--label=3,8", "--animation=gif", cwd=place)
    found = names(place / "runs/digits-1")
    assert found >= {
        "reconstruct-1/reconstruct.png",
        "recover-2/recover.png",
        "interpolate-1/corners.gif",
    }


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--mode=sample", "--label=ten"], "--label must be one of 0, 1, .* ten"),
        (["--mode=sample", "--label=12"], r"Received: 12\.$"),
        (["--mode=interpolate"], "need --label, one of 0, 1, 2"),
        (["--mode=recover", "--images=runs"], "have no class"),
        (
            ["--conditional", "--algorithm=descriptor"],
            "has no class, which",
        ),
    ],
)
def test_wrong_labels_are_refused_in_one_line(arguments, text, place):
    code, _, error = call(*arguments, cwd=place)
    assert code == 2 and error.count("\n") == 1
    assert re.search(text, error), error


def test_labels_as_files_have_them():
    """Of bytes, as those of MNIST."""
    labels = np.array([0, 2, 2, 0], np.uint8)
    pixels = np.zeros([4, 8, 8, 1], np.uint8)
    dataset = ImageDataset("bytes", pixels, labels=labels)
    assert dataset.class_names == ["0", "1", "2"]
    assert dataset.class_shares() == (0.5, 0.0, 0.5)
    with pytest.raises(DatasetError, match="two classes or more.*without classes"):
        ImageDataset("none", pixels).class_shares()


def test_subfolders_are_classes(tmp_path):

    for name, grey in (("dark", 40), ("light", 200)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(4):
            picture = Image.new("L", (8, 8), grey + number)
            picture.save(tmp_path / f"photos/{name}/{number}.png")
    data = {"image_size": 8, "color_mode": "grey", "class_folders": True}
    dataset = datasets.load(str(tmp_path / "photos"), **data)
    assert dataset.class_names == ["dark", "light"]
    is_light = dataset[:].mean(axis=(1, 2, 3)) > 0
    np.testing.assert_array_equal(dataset.labels, is_light)
    assert dataset.class_shares() == (0.5, 0.5)
    arguments = [
        *CONDITIONAL,
        "--image_size=8",
        "--color_mode=grey",
        "--dataset=photos",
    ]
    called(*arguments, cwd=tmp_path)
    called("--mode=sample", "--label=light", "--num_images=4", cwd=tmp_path)
    error = refused("--mode=sample", "--label=lihgt", cwd=tmp_path)
    assert "one of dark, light. Received: lihgt. Did you mean light?" in error
    with pytest.raises(DatasetError, match="two or more.*4 images are in one. Sort"):
        datasets.load(str(tmp_path / "photos/dark"), **data)
    Image.new("L", (8, 8), 3).save(tmp_path / "photos/beside.png")
    with pytest.raises(DatasetError, match="with 1 image beside 2 subfolders"):
        datasets.load(str(tmp_path / "photos"), **data)


def test_networks_of_a_users_own(tmp_path):
    (tmp_path / "nets.py").write_text(
        "import keras\n"
        "def descriptor(image_shape, num_classes):\n"
        "    images = keras.Input(image_shape)\n"
        "    labels = keras.Input((num_classes,))\n"
        "    maps = keras.layers.Flatten()(images)\n"
        "    maps = keras.layers.Concatenate()([maps, labels])\n"
        "    return keras.Model([images, labels], keras.layers.Dense(1)(maps))\n"
    )
    called(*TINY, "--conditional", "--network=nets.py", "--algorithm=descriptor",
           "--chain_init=noise", cwd=tmp_path)  # fmt: skip
    called("--mode=sample", "--label=3", "--num_images=2", cwd=tmp_path)


def test_the_page_on_classes():
    text = (ROOT / "docs/CLASSES.md").read_text(encoding="utf-8")
    code, nets = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    found = {}
    exec(code.replace("Langevin(10,", "Langevin(1,"), found)
    assert found["threes"].shape == (16, 8, 8, 1) and found["energies"].shape == (16,)
    exec(nets, found)
    network = found["descriptor"]((8, 8, 1), 3)
    options = {"revision": Langevin(1, 0.1), "reference_stddev": 0.3}
    assert Descriptor(network, class_shares=SHARES, **options).class_shares == SHARES


def test_a_keras_file_remembers_the_classes(tmp_path):
    model = make()
    model.save(tmp_path / "model.keras")
    loaded = coopnets_tf.load(tmp_path / "model.keras")
    assert loaded.class_shares == SHARES
    model.freeze()
    images = model.sample(2, seed=0, labels=1)
    np.testing.assert_array_equal(loaded.sample(2, seed=0, labels=1), images)


def test_chains_have_the_classes_of_observed_images_in_turn():
    rows = tf.one_hot([2, 0, 1], 3)
    found = np.argmax(conditional.repeated(rows, 5), axis=1)
    np.testing.assert_array_equal(found, [2, 0, 1, 2, 0])
    assert conditional.repeated(None, 5) is None and conditional.joined(None) is None
