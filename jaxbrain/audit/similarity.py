"""How alike the images of a class are: MS-SSIM of pairs, a sign of a generator that draws
one picture again and again."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxbrain.audit.generative import estimate, multiplicities
from jaxbrain.errors import DataError
from jaxbrain.types import Array, require_bytes

# Wang et al.'s: exponents of the scales, finest first; the window and its sigma; C1 and C2 of
# grey in [0, 1].
_EXPONENTS = 0.0448, 0.2856, 0.3001, 0.2363, 0.1333
_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2
# Pairs at a time.
_BLOCK = 64


def scales(side: int) -> int:
    """How many of the five scales images have: each halves them, and needs 11 pixels.

    Raises:
        DataError: for images of less.
    """
    if side < _WINDOW:
        raise DataError(f"images are {side} x {side}: expected {_WINDOW} pixels or more")
    return next((n for n in range(1, len(_EXPONENTS)) if side >> n < _WINDOW), len(_EXPONENTS))


def _window(side: int) -> np.ndarray:
    """A matrix [side - 10, side] that takes a Gaussian mean at each place of a line."""
    x = np.arange(_WINDOW) - _WINDOW // 2
    weight = np.exp(-np.square(x) / (2 * _SIGMA**2))
    rows = [np.pad(weight, (i, side - _WINDOW - i)) for i in range(side - _WINDOW + 1)]
    return np.float32(np.stack(rows) / weight.sum())


@jax.jit
def ms_ssim(one: Array, two: Array) -> Array:
    """Structural similarity over several scales of each pair of images.

    Contrast and structure at every scale, luminance at the coarsest; windows lie inside the
    image, and a negative mean counts as 0. Small images have fewer scales (`scales`: 3 at 64
    pixels, 5 from 176), whose exponents are then divided by their sum: numbers of different
    sides do not compare.

    Args:
        one, two: [P, S, S] float32 in [0, 1], S at least 11.

    Returns:
        [P] float32 in [0, 1], 1 for equal images.

    References:
        Wang, Simoncelli and Bovik, "Multiscale structural similarity for image quality
        assessment", 2003.
    """
    count = scales(one.shape[1])
    exponents = np.float32(_EXPONENTS[:count]) / np.float32(sum(_EXPONENTS[:count]))
    result = jnp.ones(len(one))
    for scale, exponent in enumerate(exponents):
        if scale:
            one, two = _halved(one), _halved(two)
        luminance, structure = _maps(one, two)
        found = luminance * structure if scale == count - 1 else structure
        result *= jnp.maximum(found.mean(axis=(1, 2)), 0.0) ** exponent
    return result


def _maps(one: Array, two: Array) -> tuple[Array, Array]:
    """Luminance, and contrast times structure, at each place of a window: [P, S - 10, S - 10]."""
    matrix = _window(one.shape[1])

    def mean(x):
        return jnp.einsum("ij,pjk,lk->pil", matrix, x, matrix, precision=lax.Precision.HIGHEST)

    first, second = mean(one), mean(two)
    # Less a middle grey: the products below are differences of larger numbers.
    a, b = one - 0.5, two - 0.5
    a_mean, b_mean = first - 0.5, second - 0.5
    variances = mean(a * a) - a_mean * a_mean + mean(b * b) - b_mean * b_mean
    covariance = mean(a * b) - a_mean * b_mean
    luminance = (2 * first * second + _C1) / (first * first + second * second + _C1)
    return luminance, (2 * covariance + _C2) / (variances + _C2)


def _halved(image: Array) -> Array:
    """Means of 2 x 2 pixels, without an odd row and column: [P, S, S] -> [P, S // 2, S // 2]."""
    half = image.shape[1] // 2
    even = image[:, : 2 * half, : 2 * half]
    return even.reshape(-1, half, 2, half, 2).mean(axis=(2, 4))


def _pairs(count: int, most: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of different images of `count`: all, or `most` drawn with replacement."""
    if count * (count - 1) // 2 <= most:
        return np.triu_indices(count, 1)
    first = rng.integers(count, size=most)
    return first, (first + 1 + rng.integers(count - 1, size=most)) % count


def similarity(
    image: np.ndarray,
    label: np.ndarray,
    rng: np.random.Generator,
    *,
    pairs: int = 1000,
    draws: int = 500,
) -> dict:
    """Mean MS-SSIM of pairs of images of one class, averaged over classes.

    High means alike: a generator whose number is above that of real images of the same side
    lacks variety (1: one picture only). Below it is no merit: noise is unlike noise.

    Args:
        image: [N, S, S, 1] uint8, S at least 11. label: [N] int.
        rng: draws the pairs and resamples.
        pairs: of each class, at most; all where there are fewer.
        draws: resamples of each class's images, for the interval (`generative.estimate`); a
            pair has the product of its images' numbers.

    Returns:
        {"value", "interval": [low, high] or None, "scales"}.

    Raises:
        DataError: for no bytes, small images, or a class of one image.

    References:
        Odena, Olah and Shlens, "Conditional image synthesis with auxiliary classifier GANs",
        2017, for the use.
    """
    image, label = np.asarray(image), np.asarray(label)
    require_bytes(image)
    used, sums = scales(image.shape[1]), np.zeros(1 + draws)
    classes = np.unique(label)
    for k in classes:
        own = image[label == k, ..., 0]
        if len(own) < 2:
            raise DataError(f"class {k} has {len(own)} image: expected 2 or more to compare")
        first, second = _pairs(len(own), pairs, rng)
        weight = multiplicities(len(own), draws, rng)
        both = (weight[:, first] * weight[:, second]).astype(np.float64)
        total, found = both.sum(axis=1), both @ _of_pairs(own, first, second)
        sums += np.divide(found, total, out=np.full(len(total), np.nan), where=total > 0)
    return estimate(sums / len(classes), 0.0, 1.0) | {"scales": used}


def _of_pairs(image: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """`ms_ssim` of pairs of images [N, S, S] uint8, a block at a time: [P] float64."""
    found = []
    for start in range(0, len(first), _BLOCK):
        # Filled to one shape with pairs of the first image with itself.
        index = [np.zeros(_BLOCK, np.int64) for _ in range(2)]
        length = len(first[start : start + _BLOCK])
        for full, some in zip(index, (first, second), strict=True):
            full[:length] = some[start : start + length]
        one, two = (np.float32(image[i]) / np.float32(255.0) for i in index)
        found.append(np.float64(ms_ssim(one, two))[:length])
    return np.concatenate(found)
