"""The metrics of features against closed forms and plain loops in float64."""

import numpy as np
import pytest
from scipy import linalg

from coopnets_tf.evaluation import metrics


def gaussian(mean, covariance, *, number=500, seed=0):
    """Points whose sample mean and covariance are exactly the given ones."""
    size = len(mean)
    points = np.random.default_rng(seed).standard_normal((number, size))
    points -= points.mean(axis=0)
    points = np.linalg.solve(np.linalg.cholesky(np.cov(points, rowvar=False)), points.T)
    return points.T @ np.linalg.cholesky(covariance).T + mean


def test_frechet_distance_of_commuting_gaussians():
    one = gaussian([0, 1, 2], np.diag([1, 4, 9.0]))
    other = gaussian([1, 1, 0], np.diag([4, 4, 0.25]), number=300, seed=1)
    expected = 1 + 4 + (1 - 2) ** 2 + 0 + (3 - 0.5) ** 2
    for pair in ((one, other), (other, one)):
        np.testing.assert_allclose(metrics.frechet_distance(*pair), expected)


def test_frechet_distance_of_gaussians_that_do_not_commute():
    first = np.array([[2, 1], [1, 3.0]])
    second = np.array([[1, -0.5], [-0.5, 4.0]])
    # Of a 2x2 matrix with positive eigenvalues: tr(M^(1/2))^2 = tr M + 2 det(M)^(1/2).
    root = np.sqrt(
        np.trace(first @ second)
        + 2 * np.sqrt(np.linalg.det(first) * np.linalg.det(second))
    )
    expected = np.trace(first) + np.trace(second) - 2 * root
    found = metrics.frechet_distance(
        gaussian([0, 0], first), gaussian([0, 0], second, seed=1)
    )
    np.testing.assert_allclose(found, expected)


def test_frechet_distance_against_scipys_matrix_root():
    generator = np.random.default_rng(2)
    one = generator.standard_normal((300, 20)) @ generator.standard_normal((20, 20))
    other = generator.standard_normal((400, 20)) + 0.3
    covariances = [np.cov(part, rowvar=False) for part in (one, other)]
    root = linalg.sqrtm(covariances[0] @ covariances[1]).real
    difference = one.mean(axis=0) - other.mean(axis=0)
    expected = difference @ difference + np.trace(covariances[0] + covariances[1])
    expected -= 2 * np.trace(root)
    np.testing.assert_allclose(metrics.frechet_distance(one, other), expected)


def test_frechet_distance_of_fewer_images_than_dimensions():
    """Singular covariances: those of a plane, whose distance is known there."""
    plane = gaussian([0, 0], np.diag([1, 4.0]), number=8)
    other = gaussian([1, 0], np.diag([4, 4.0]), number=8, seed=1)
    turned, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((30, 30)))
    found = metrics.frechet_distance(plane @ turned[:2], other @ turned[:2])
    np.testing.assert_allclose(found, 1 + (1 - 2) ** 2, atol=1e-6)
    same = metrics.frechet_distance(plane @ turned[:2], plane @ turned[:2])
    np.testing.assert_allclose(same, 0, atol=1e-6)  # root of 1e-16, times 30


def discrepancy(one, other):
    """The unbiased squared discrepancy, pair by pair."""

    def kernel(first, second):
        return (
            sum(a * b for a, b in zip(first, second, strict=True)) / len(first) + 1
        ) ** 3

    def mean(pairs):
        return np.mean([kernel(*pair) for pair in pairs])

    def distinct(part):
        return [
            (a, b) for i, a in enumerate(part) for j, b in enumerate(part) if i != j
        ]

    return (
        mean(distinct(one))
        + mean(distinct(other))
        - 2 * mean([(a, b) for a in one for b in other])
    )


def test_kernel_distance_pair_by_pair():
    generator = np.random.default_rng(0)
    one, other = generator.random((30, 4)), 1.5 * generator.random((40, 4))
    estimates = [
        discrepancy(one[3 * block :][:3], other[4 * block :][:4]) for block in range(10)
    ]
    value, error = metrics.kernel_distance(one, other)
    np.testing.assert_allclose(value, np.mean(estimates))
    np.testing.assert_allclose(error, np.std(estimates, ddof=1) / np.sqrt(10))


def test_kernel_distance_uses_the_first_images_of_large_blocks(monkeypatch):
    generator = np.random.default_rng(1)
    one, other = generator.random((80, 4)), generator.random((60, 4))
    monkeypatch.setattr(metrics, "MAX_BLOCK", 5)
    found = metrics.kernel_distance(one, other)
    first = [one.reshape(10, 8, 4)[:, :5], other.reshape(10, 6, 4)[:, :5]]
    expected = metrics.kernel_distance(*(part.reshape(50, 4) for part in first))
    np.testing.assert_allclose(found, expected)


def test_kernel_distance_is_unbiased_and_its_error_is_true():
    """Over many pairs of sets of one distribution: mean 0, spread as the errors say."""
    generator = np.random.default_rng(2)
    found = np.array(
        [
            metrics.kernel_distance(*generator.standard_normal((2, 60, 3)))
            for _ in range(400)
        ]
    )
    values, errors = found.T
    assert abs(values.mean()) < 4 * values.std() / np.sqrt(400)
    # The s.d. of 400 values is known to 4 % (more for heavy tails).
    np.testing.assert_allclose(np.sqrt(np.mean(errors**2)), values.std(), rtol=0.2)


def plain_neighbour_scores(features, reference):
    """The four scores from their definitions, image by image."""

    def distance(one, other):
        return np.sqrt(np.sum((one - other) ** 2))

    def radius(index, part):
        return sorted(
            distance(part[index], one) for k, one in enumerate(part) if k != index
        )[metrics.NUM_NEIGHBOURS - 1]

    balls = [(one, radius(k, reference)) for k, one in enumerate(reference)]
    own = [(one, radius(k, features)) for k, one in enumerate(features)]
    inside = [[distance(one, x) <= r for x, r in balls] for one in features]
    return {
        "precision": np.mean([any(row) for row in inside]),
        "recall": np.mean(
            [any(distance(one, x) <= r for x, r in own) for one in reference]
        ),
        "density": np.sum(inside) / metrics.NUM_NEIGHBOURS / len(features),
        "coverage": np.mean(np.any(inside, axis=0)),
    }


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.5])
def test_neighbour_scores_image_by_image(shift):
    generator = np.random.default_rng(3)
    features = generator.standard_normal((50, 3)) * 0.7 + shift
    reference = generator.standard_normal((50, 3))
    expected = plain_neighbour_scores(features, reference)
    found = metrics.neighbour_scores(features, np.concatenate([reference, features]))
    assert found == pytest.approx(expected)
    assert 0 < found["coverage"] < 1


def test_neighbour_scores_in_chunks(monkeypatch):
    """Many images are compared in chunks; the result is that of one."""
    generator = np.random.default_rng(4)
    features, reference = generator.standard_normal((2, 300, 5))
    whole = metrics.neighbour_scores(features, reference)
    original, chunks = metrics.pairwise_distances_chunked, []

    def counted(*sets, **options):
        for chunk in original(*sets, **options):
            chunks.append(len(chunk))
            yield chunk

    monkeypatch.setattr(metrics, "pairwise_distances_chunked", counted)
    monkeypatch.setattr(metrics, "CHUNK_MEBIBYTES", 0.05)
    assert metrics.neighbour_scores(features, reference) == pytest.approx(whole)
    assert len(chunks) > 5 and sum(chunks) == 300


def test_neighbour_scores_of_collapse_and_of_invention():
    """One mode of two: precise, half recalled. One mode too many: half precise."""
    generator = np.random.default_rng(5)
    modes = generator.standard_normal((2, 200, 4)) * 0.1 + [[[0.0]], [[10.0]]]
    both = np.concatenate([generator.standard_normal((200, 4)) * 0.1, modes[1]])
    scores = metrics.neighbour_scores(np.concatenate([modes[0]] * 2)[:400], both)
    assert scores["precision"] > 0.9 and 0.3 < scores["recall"] <= 0.5
    assert scores["coverage"] <= 0.5
    scores = metrics.neighbour_scores(both, np.concatenate([modes[0]] * 2)[:400])
    assert 0.3 < scores["precision"] <= 0.5 and scores["recall"] > 0.9


def test_inception_score_of_known_classes():
    sure = np.tile(np.eye(4), (10, 1))  # each of the 10 splits has every class once
    np.testing.assert_allclose(metrics.inception_score(sure), [4, 0], atol=1e-12)
    collapsed = np.tile(sure[:1], (100, 1))  # the other classes never occur
    np.testing.assert_allclose(metrics.inception_score(collapsed), [1, 0], atol=1e-12)
    unsure = np.full((100, 4), 0.25)
    np.testing.assert_allclose(metrics.inception_score(unsure), [1, 0], atol=1e-12)


def test_inception_score_split_by_split():
    probabilities = np.random.default_rng(6).dirichlet(np.full(5, 0.3), size=203)
    scores = []
    for part in np.array_split(probabilities, 10):
        mean = part.mean(axis=0)
        divergences = [
            sum(p * np.log(p / m) for p, m in zip(row, mean, strict=True) if p > 0)
            for row in part
        ]
        scores.append(np.exp(np.mean(divergences)))
    found = metrics.inception_score(probabilities)
    np.testing.assert_allclose(found, [np.mean(scores), np.std(scores)])


def test_features_in_float32_lose_nothing_that_matters():
    generator = np.random.default_rng(7)
    one, other = generator.random((2, 200, 16)) * 10
    narrow = [part.astype(np.float32) for part in (one, other)]
    for metric in (metrics.frechet_distance, metrics.kernel_distance):
        np.testing.assert_allclose(metric(*narrow), metric(one, other), rtol=1e-4)
