"""How alike two sets of images are, judged by features of each image.

Features are float [number, dimensions]; `features` makes them.
"""

import numpy as np
from scipy import linalg, special
from sklearn.metrics import pairwise_distances_chunked
from sklearn.metrics.pairwise import polynomial_kernel
from sklearn.neighbors import NearestNeighbors

NUM_NEIGHBOURS = 5
NUM_BLOCKS = 10  # over which kernel distances and inception scores are averaged
MAX_BLOCK = 1_000  # images of a block of a kernel distance
CHUNK_MEBIBYTES = 64  # distances that are kept at a time


def frechet_distance(features: np.ndarray, reference: np.ndarray) -> float:
    """Squared Frechet distance of the Gaussians with the sets' means and covariances.

        |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))

    Of two or more images each: 0 for the same Gaussian, and biased upwards, the more so
    the fewer images.

    Source: Heusel et al., "GANs trained by a two time-scale update rule converge to a
    local Nash equilibrium", arXiv:1706.08500.
    """
    features, reference = (np.asarray(one, np.float64) for one in (features, reference))
    covariances = [
        np.atleast_2d(np.cov(one, rowvar=False)) for one in (features, reference)
    ]
    # The trace needs no root of C1 C2, which is not symmetric: with R = C1^(1/2),
    # R C2 R has the same eigenvalues and is.
    values, vectors = linalg.eigh(covariances[0])
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    shared = linalg.eigvalsh(root @ covariances[1] @ root)
    difference = features.mean(axis=0) - reference.mean(axis=0)
    spread = sum(np.trace(covariance) for covariance in covariances)
    return float(
        difference @ difference + spread - 2 * np.sqrt(np.maximum(shared, 0)).sum()
    )


def frechet_distance_of_classes(
    samples: tuple[np.ndarray, np.ndarray], reference: tuple[np.ndarray, np.ndarray]
) -> tuple[float, int, int] | None:
    """Mean over the classes of the Frechet distance between the images of each, of how
    many classes, and the images of the smallest set of them.

    Of classes with two images or more on both sides; None without one. Biased upwards
    the more the fewer images a class has: compare with real images, as many of each.

    Args:
      samples, reference: features [number, dimensions], and int [number], the classes.
    """
    (features, labels), (real, real_labels) = samples, reference
    sets = [
        (features[labels == one], real[real_labels == one])
        for one in np.unique(real_labels)
    ]
    sets = [pair for pair in sets if min(map(len, pair)) > 1]
    if not sets:
        return None
    distances = [frechet_distance(*pair) for pair in sets]
    return float(np.mean(distances)), len(sets), min(min(map(len, one)) for one in sets)


def accuracy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The share of images whose likeliest class, of [number, classes], is their own."""
    return float(np.mean(probabilities.argmax(axis=1) == labels))


def kernel_distance(features: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """Squared maximum mean discrepancy, kernel (x.y / dimensions + 1)^3: unbiased.

    Both sets, of 20 or more images that must come in a random order, are cut into
    `NUM_BLOCKS` blocks. Each pair of blocks gives an independent estimate, and their
    spread the error of the mean.

    Mean and standard error: 0 on average for equal distributions; chance may make it
    negative.

    Source: Binkowski et al., "Demystifying MMD GANs", arXiv:1801.01401.
    """
    estimates = [
        discrepancy(*(np.asarray(part[:MAX_BLOCK], np.float64) for part in parts))
        for parts in zip(
            np.array_split(features, NUM_BLOCKS),
            np.array_split(reference, NUM_BLOCKS),
            strict=True,
        )
    ]
    error = np.std(estimates, ddof=1) / np.sqrt(NUM_BLOCKS)
    return float(np.mean(estimates)), float(error)


def discrepancy(one: np.ndarray, other: np.ndarray) -> float:
    """Squared maximum mean discrepancy of two sets, kernel as in `kernel_distance`.

    Unbiased: no image is paired with itself.
    """

    def within(part):
        matrix = polynomial_kernel(part)
        return (matrix.sum() - np.trace(matrix)) / (len(part) * (len(part) - 1))

    return within(one) + within(other) - 2 * polynomial_kernel(one, other).mean()


def neighbour_scores(features: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """Precision, recall, density and coverage by nearest neighbours.

    A ball around each image reaches to its `NUM_NEIGHBOURS`-th nearest of its set.
    Precision is the share of images within a ball of the reference, recall the share of
    the reference within a ball of the images; density counts the reference balls around
    an image, divided by `NUM_NEIGHBOURS`; coverage is the share of the reference whose
    ball holds an image.

    Of the larger set only the first images are used, as many as the other has; they
    should come in a random order.

    All but the density, about 1 for equal distributions, are in [0, 1].

    Source: Kynkaanniemi et al., arXiv:1904.06991 (there with 3 neighbours); Naeem et
    al., arXiv:2002.09797.
    """
    number = min(len(features), len(reference))
    features, reference = features[:number], reference[:number]
    own_radii, radii = _radii(features), _radii(reference)
    recalled, covered = np.zeros(number, bool), np.zeros(number, bool)
    precise, pairs, first = 0, 0, 0
    for distances in pairwise_distances_chunked(
        features, reference, working_memory=CHUNK_MEBIBYTES
    ):
        own = own_radii[first : first + len(distances), None]
        within = distances <= radii
        precise += within.any(axis=1).sum()
        pairs += within.sum()
        recalled |= (distances <= own).any(axis=0)
        covered |= within.any(axis=0)
        first += len(distances)
    return {
        "precision": float(precise / number),
        "recall": float(recalled.mean()),
        "density": float(pairs / number / NUM_NEIGHBOURS),
        "coverage": float(covered.mean()),
    }


def _radii(features):
    """Distance of each image to its `NUM_NEIGHBOURS`-th nearest other one."""
    neighbours = NearestNeighbors(n_neighbors=NUM_NEIGHBOURS, algorithm="brute")
    distances, _ = neighbours.fit(features).kneighbors()
    return distances[:, -1]


def inception_score(probabilities: np.ndarray) -> tuple[float, float]:
    """exp of the mean divergence of an image's classes from those of all images.

    `probabilities`, [number, classes], are what a classifier says of each image, in a
    random order. They are cut into `NUM_BLOCKS` blocks, each with a score of 1 or more;
    the result is their mean and standard deviation.

    Source: Salimans et al., "Improved techniques for training GANs", arXiv:1606.03498.
    """
    scores = []
    for part in np.array_split(np.asarray(probabilities, np.float64), NUM_BLOCKS):
        divergences = special.rel_entr(part, part.mean(axis=0)).sum(axis=1)
        scores.append(np.exp(divergences.mean()))
    return float(np.mean(scores)), float(np.std(scores))


def with_error(values: np.ndarray) -> dict[str, float | None]:
    """The `mean` of independent values, and its `standard_error`, None of one value."""
    error = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else None
    return {
        "mean": float(np.mean(values)),
        "standard_error": None if error is None else float(error),
    }
