"""How far the images of a generator are from real ones, and how much of them they cover.

Two sets of features [N, D], [M, D] (`audit.features`) are compared by kernel distance,
Frechet distance, precision, recall, density and coverage, each with an interval, and beside
the same numbers of real images against other real images, without which none has a scale.

Memory is bounded by blocks: nothing of size N x M is kept. Kernels, distances and counts are
float32 of full precision on the device; sums over them are taken in float64 on the host. So
`kernel_distance` is within 1e-6 of the mean kernel of what float64 gives.

Real images that are copies of each other count once each here: pass one of each group.
"""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxbrain.audit.features import Features
from jaxbrain.errors import DataError
from jaxbrain.scoring.intervals import percentiles, wilson
from jaxbrain.types import Array

# Rows of a matrix of pairs at a time; the least number of images; the most principal components.
_ROWS, LEAST, COMPONENTS = 1024, 8, 16
# Where torch-fidelity's keys name the network, ours name the features.
_KEYS = {
    "kid": "kernel_{}_distance_mean",
    "frechet": "frechet_{}_distance",
    "precision": "precision_{}",
    "recall": "recall_{}",
    "density": "density_{}",
    "coverage": "coverage_{}",
}


def _checked(*sets: np.ndarray) -> list[np.ndarray]:
    """Sets of features as float32.

    Raises:
        DataError: for another shape, other numbers of columns, too few rows, NaN.
    """
    found = [np.asarray(x, np.float32) for x in sets]
    for x in found:
        if x.ndim != 2 or x.shape[1] != found[0].shape[-1] or len(x) < LEAST:
            shapes = ", ".join(str(list(x.shape)) for x in found)
            raise DataError(
                f"features have shapes {shapes}: expected [N, D] with one D, N at least {LEAST}"
            )
        if not np.isfinite(x).all():
            raise DataError(f"features {list(x.shape)} hold NaN or infinite values")
    return found


def _product(one: Array, two: Array) -> Array:
    return jnp.matmul(one, two.T, precision=lax.Precision.HIGHEST)


def _blocks(x: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Rows of [N, D], a block at a time: which, and the block filled to one shape."""
    block = min(_ROWS, len(x))
    for start in range(0, len(x), block):
        some = x[start : start + block]
        yield slice(start, start + len(some)), np.pad(some, ((0, block - len(some)), (0, 0)))


def _own(rows: Array, among: Array, first: Array | int) -> Array:
    """Where a row [R, D] is the same image as one of `among` [M, D]: that after `first`."""
    return jnp.arange(len(among))[None] == (first + jnp.arange(len(rows)))[:, None]


# Kernel distance.


@jax.jit
def _kernel_block(rows: Array, among: Array, weight: Array, first: Array) -> Array:
    """[B, R]: of each row the sum of its kernel with all of `among`, weighted [B, M]."""
    z = _product(rows, among) / rows.shape[1]
    # (z + 1)^3 - 1: a constant of all kernels is no part of their distance.
    kernel = jnp.where(_own(rows, among, first), 0.0, z * (z * (z + 3.0) + 3.0))
    return _product(weight, kernel)


def _kernel_mean(x, y, left: np.ndarray, right: np.ndarray, same: bool = False) -> np.ndarray:
    """[B] float64: the mean of k(x_i, y_j) - 1 weighted left[b, i] right[b, j]; of the `same`
    set with itself without the pairs of an image with itself."""
    total = np.zeros(len(left))
    among, weight = jnp.asarray(y), jnp.asarray(right)
    for some, rows in _blocks(x):
        first = jnp.int32(some.start if same else len(y))
        sums = np.asarray(_kernel_block(rows, among, weight, first), np.float64)
        total += (left[:, some] * sums[:, : some.stop - some.start]).sum(axis=1)
    pairs = left.sum(axis=1, dtype=np.float64) * right.sum(axis=1, dtype=np.float64)
    if same:
        pairs -= np.square(left, dtype=np.float64).sum(axis=1)
    return np.divide(total, pairs, out=np.full(len(total), np.nan), where=pairs > 0)


def _kernel_distances(x, y, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    within = _kernel_mean(x, x, left, left, True) + _kernel_mean(y, y, right, right, True)
    return within - 2.0 * _kernel_mean(x, y, left, right)


def kernel_distance(x: np.ndarray, y: np.ndarray) -> float:
    """Unbiased squared maximum mean discrepancy of two sets of features, kernel
    (x . y / D + 1)^3, over all pairs: KID with other features than Inception's.

    Args:
        x, y: [N, D], [M, D], taken as they are: `judged` standardises first.

    Returns:
        Its expectation is 0 for two sets of one distribution, so it may be negative.

    Raises:
        DataError: for other shapes, fewer than 8 rows, NaN.

    References:
        Binkowski et al., "Demystifying MMD GANs", 2018.
    """
    x, y = _checked(x, y)
    return float(_kernel_distances(x, y, *(np.ones((1, len(s)), np.float32) for s in (x, y)))[0])


# Frechet distance.


def _moments(x: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means [B, D] and covariances [B, D, D] of rows [N, D] with whole weights [B, N]."""
    total = weight.sum(axis=1, dtype=np.float64)[:, None]
    mean = weight @ x / total
    outer = (x[:, :, None] * x[:, None, :]).reshape(len(x), -1)
    second = (weight @ outer / total).reshape(-1, x.shape[1], x.shape[1])
    covariance = second - mean[:, :, None] * mean[:, None, :]
    return mean, covariance * (total / (total - 1.0))[:, :, None]


def _frechet_distances(x, y, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    centre = y.mean(axis=0, dtype=np.float64)
    (mean, first), (other, second) = (
        _moments(s.astype(np.float64) - centre, w.astype(np.float64))
        for s, w in ((x, left), (y, right))
    )
    values, vectors = np.linalg.eigh(first)
    root = vectors * np.sqrt(np.clip(values, 0.0, None))[:, None, :] @ vectors.swapaxes(1, 2)
    # The eigenvalues of a product of two covariances, of a symmetric matrix that has them too.
    cross = np.sqrt(np.clip(np.linalg.eigvalsh(root @ second @ root), 0.0, None)).sum(axis=1)
    traces = np.trace(first, axis1=1, axis2=2) + np.trace(second, axis1=1, axis2=2)
    return np.maximum(np.square(mean - other).sum(axis=1) + traces - 2.0 * cross, 0.0)


def frechet(x: np.ndarray, y: np.ndarray) -> float:
    """Frechet distance of two sets of features [N, D], [M, D], each taken for a normal
    distribution: |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)).

    It grows as images get fewer: D of about N and more says little.

    References:
        Dowson and Landau, "The Frechet distance between multivariate normal
        distributions", 1982; the form of FID (Heusel et al., 2017) without its network.
    """
    x, y = (np.asarray(s, np.float64) for s in (x, y))
    return float(_frechet_distances(x, y, np.ones((1, len(x))), np.ones((1, len(y))))[0])


def principal(reference: np.ndarray, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean [D] and the first `dim` principal directions [D, dim] of features [M, D], float64."""
    x = np.asarray(reference, np.float64)
    mean = x.mean(axis=0)
    _, _, directions = np.linalg.svd(x - mean, full_matrices=False)
    return mean, directions[:dim].T


# Precision, recall, density, coverage.


@jax.jit
def _squared(rows: Array, among: Array, first: Array) -> Array:
    """Squared distances [R, M]; infinite of an image from itself."""
    sizes = [jnp.square(x).sum(axis=1) for x in (rows, among)]
    size = sizes[0][:, None] + sizes[1][None, :]
    found = size - 2.0 * _product(rows, among)
    # Copies are 0 apart; what rounding leaves of that would rank them.
    found = jnp.where(found < 1e-5 * size, 0.0, found)
    return jnp.where(_own(rows, among, first), jnp.inf, found)


def _radii(x: np.ndarray, k: int) -> np.ndarray:
    """[N] float32, the squared distance of each image from its k-th nearest other."""
    found, among = np.zeros(len(x), np.float32), jnp.asarray(x)
    for some, rows in _blocks(x):
        squared = np.asarray(_squared(rows, among, jnp.int32(some.start)))
        found[some] = np.partition(squared, k - 1, axis=1)[: some.stop - some.start, k - 1]
    return found


@jax.jit
def _inside(rows, radius, fake, fake_radius, weight, fake_weight):
    """Of a block of real images [R, D]: how many of their balls each fake image is in, [B, M];
    whether one is in theirs, and whether they are in the ball of one, [B, R]."""
    squared = _squared(rows, fake, len(fake))
    theirs = (squared < radius[:, None]).astype(jnp.float32)
    fakes = (squared < fake_radius[None, :]).astype(jnp.float32)
    balls = _product(weight, theirs.T)
    return balls, _product(fake_weight, theirs) > 0, _product(fake_weight, fakes) > 0


def _neighbours(real, fake, k: int, weight, fake_weight) -> dict[str, np.ndarray]:
    """`neighbours` with whole weights [B, N], [B, M] of the images, their balls left as they
    are: [B] float64 each."""
    radii, fake_radii = _radii(real, k), jnp.asarray(_radii(fake, k))
    balls = np.zeros(fake_weight.shape, np.float32)
    covered, recalled = np.zeros(len(weight)), np.zeros(len(weight))
    on_device = jnp.asarray(fake), fake_radii
    weights_there = jnp.asarray(fake_weight)
    for some, rows in _blocks(real):
        length = some.stop - some.start
        # A ball of radius 0 holds nothing, since all is strictly inside.
        radius = np.pad(radii[some], (0, len(rows) - length))
        own = np.pad(weight[:, some], ((0, 0), (0, len(rows) - length)))
        held, *hits = _inside(rows, radius, *on_device, own, weights_there)
        balls += np.asarray(held)
        found = [(own * np.asarray(hit)).sum(axis=1, dtype=np.float64) for hit in hits]
        covered, recalled = covered + found[0], recalled + found[1]
    real_total, fake_total = (w.sum(axis=1, dtype=np.float64) for w in (weight, fake_weight))
    density = (fake_weight * balls).sum(axis=1, dtype=np.float64) / (k * fake_total)
    precision = (fake_weight * (balls > 0)).sum(axis=1, dtype=np.float64) / fake_total
    shares = covered / real_total, recalled / real_total
    return {
        "precision": precision,
        "recall": shares[1],
        "density": density,
        "coverage": shares[0],
    }


def neighbours(real: np.ndarray, fake: np.ndarray, k: int) -> dict[str, float]:
    """Precision, recall, density and coverage of two sets of features [N, D], [M, D].

    An image's ball reaches to its k-th nearest other image of its own set, its edge left out.
    precision: share of the fake images in the ball of a real one. recall: share of the real
    ones in the ball of a fake one. density: in how many real balls a fake image is, over k;
    not bounded by 1. coverage: share of the real images with a fake one in their ball.

    Recall and coverage grow with the number of fake images: compare sets of one size.

    Raises:
        DataError: for other shapes, fewer than 8 rows, NaN, and k beyond the smaller set.

    References:
        Kynkaanniemi et al., "Improved precision and recall metric for assessing generative
        models", 2019; Naeem et al., "Reliable fidelity and diversity metrics for generative
        models", 2020.
    """
    real, fake = _checked(real, fake)
    if not 1 <= k < min(len(real), len(fake)):
        raise DataError(f"k is {k}: expected 1 to {min(len(real), len(fake)) - 1}")
    ones = (np.ones((1, len(s)), np.float32) for s in (real, fake))
    return {name: float(found[0]) for name, found in _neighbours(real, fake, k, *ones).items()}


# All of them, with intervals.


def multiplicities(count: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    """How often each of `count` images is in a set, [1 + draws, count] float32: once in the
    first row, then in sets of as many drawn with replacement."""
    drawn = rng.multinomial(count, np.full(count, 1.0 / count), size=draws)
    return np.concatenate([np.ones((1, count)), drawn]).astype(np.float32)


def estimate(values: np.ndarray, low: float, high: float) -> dict:
    """A number and its 95 % bootstrap interval, of what `multiplicities` gave [1 + B].

    A resample holds fewer different images than the set, which shifts some numbers: recall
    and coverage down, Frechet distances up. So the middle 95 % of the resampled values are
    moved until their mean is the value, and cut to [low, high], what is possible.
    """
    value, draws = float(values[0]), values[1:]
    ends = percentiles(draws - np.nanmean(draws) + value) if np.isfinite(draws).any() else None
    interval = None if ends is None else [float(np.clip(end, low, high)) for end in ends]
    return {"value": value, "interval": interval}


def standardised(reference: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """The reference and other features [N, D] less its mean, in its standard deviations;
    of columns that hardly vary there (less than a tenth of the root mean square over columns)
    in tenths of that, so that what is constant in real images is seen where others vary, and
    does not outweigh the rest."""
    mean = reference.mean(axis=0, dtype=np.float64)
    scale = reference.std(axis=0, dtype=np.float64)
    least = 0.1 * np.sqrt(np.square(scale).mean())
    scale = np.maximum(scale, least) if least > 0 else np.ones_like(scale)
    return [((x - mean) / scale).astype(np.float32) for x in (reference, *others)]


def _compared(fake, reference, rng, draws: int, k: int, dim: int) -> dict:
    left, right = (multiplicities(len(x), draws, rng) for x in (fake, reference))
    found = {"kid": estimate(_kernel_distances(fake, reference, left, right), -np.inf, np.inf)}
    mean, directions = principal(reference, dim)
    small = [(x - mean) @ directions for x in (fake, reference)]
    found["frechet"] = estimate(_frechet_distances(*small, left, right), 0.0, np.inf)
    count = min(len(fake), len(reference))
    found["frechet"] |= {"n": count, "dim": dim, "n_over_dim": count / dim}
    shares = {"precision": len(fake), "recall": len(reference), "coverage": len(reference)}
    for name, values in _neighbours(reference, fake, k, right, left).items():
        found[name] = estimate(values, 0.0, 1.0 if name in shares else np.inf)
        if draws and name in shares and values[0] in (0.0, 1.0):
            # Resamples of equal answers are equal.
            found[name]["interval"] = list(wilson(values[0] * shares[name], shares[name]))
    return found | {"k": k, "count": [len(fake), len(reference)]}


def judged(
    features: Features,
    synthetic: np.ndarray,
    reference: np.ndarray,
    rng: np.random.Generator,
    *,
    training: np.ndarray | None = None,
    draws: int = 500,
) -> dict:
    """Synthetic images compared with real ones, and real ones with real ones.

    Features are `standardised` by the reference; the Frechet distance is taken along its
    first principal components, 16 or, of few images or features, a quarter of the smallest
    set or all features; balls reach to the 5th neighbour, below 100 images to the 3rd.

    Intervals (`estimate`) come from resampling both sets of images, neither the features nor
    the generator. Images drawn twice are no pair: the kernel distance of a resample is the
    mean over pairs of different images, weighted by how often both are in it, so its mean
    over resamples is the value itself. Balls stay those of the whole sets; a share of 0 or 1
    has Wilson's interval. Of 40 normal draws against 40, 93 to 100 % of the intervals hold
    the mean over fresh sets; that of the kernel distance of two sets of one distribution is
    1.6 times as wide as it should be.

    Time grows with pairs of images times `draws`, memory with images times `draws`: 10,000
    images against 10,000 of 241 features take 23 s on two cores, and 350 MiB.

    Args:
        synthetic, reference: [N, S, S, 1], [M, S', S', 1] uint8, 8 or more each; the
            reference are images that no generator saw.
        rng: of the resampling.
        training: [T, ...] uint8, the generator's own; compared with the reference too, with
            the same components and neighbours. Numbers of both rows are comparable where
            there are as many synthetic images as training images.
        draws: resamples; 0 gives no intervals.

    Returns:
        {"kid": {"value", "interval": [low, high]}, "frechet": {.., "n", "dim",
        "n_over_dim"}, "precision", "recall", "density", "coverage": {..}, "k", "count":
        [N, M]}, and "real": the same of the training images, where they are given.

    Raises:
        DataError: for images that are no bytes, fewer than 8, features that are not finite.
    """
    images = [synthetic, *([] if training is None else [training])]
    real, *others = _checked(features(reference), *map(features, images))
    real, *others = standardised(real, *others)
    smallest = min(len(x) for x in (real, *others))
    k, dim = 5 if smallest >= 100 else 3, min(COMPONENTS, smallest // 4, real.shape[1])
    rows = [_compared(x, real, rng, draws, k, dim) for x in others]
    return rows[0] | ({} if training is None else {"real": rows[1]})


def keys(name: str, found: dict) -> dict[str, dict]:
    """What `judged` found, under flat names as torch-fidelity's, with the features' name where
    that has the network's; the row of real images ends in `_real`.

    Example:
        >>> one = {"value": 0.5, "interval": [0.4, 0.6]}
        >>> sorted(keys("texture", {"kid": one, "real": {"recall": one}}))
        ['kernel_texture_distance_mean', 'recall_texture_real']
    """
    own = {key.format(name): found[own] for own, key in _KEYS.items() if own in found}
    real = keys(name, found["real"]) if "real" in found else {}
    return own | {f"{key}_real": value for key, value in real.items()}
