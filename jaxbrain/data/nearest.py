"""How far images are from the nearest of others, whatever their gain, mirrored or shifted.

Both images are smoothed and brought to 64 x 64. The middle of one is compared with the middle
of the other moved by up to 4 of the 64 pixels in any direction, and mirrored left to right:
the distance is 1 minus the largest correlation. What stands at the borders, such as the
padding that a shift leaves, is never looked at. Copies that are turned, enlarged or cut
differently are not found; `duplicates.groups` finds some of the latter.
"""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxbrain.errors import DataError
from jaxbrain.types import Array, require_bytes

SIDE = 64
# The most that an image may have been moved, in pixels of 64: 3 of 48 pixels.
SHIFT = 4
# Of the Gaussian, in pixels of 64: wide enough that half a pixel between two grids matters
# little, narrow enough that unlike heads stay apart.
_SMOOTH = 1.5
# Pixels at each border that are never compared, and what is compared of the others.
_MARGIN, _STEP = 6, 2
# Images of each side at a time: memory grows with the images, not with their pairs.
BLOCK = 512


@lru_cache
def _weights(side: int) -> np.ndarray:
    """[64, side] float32, rows sum to 1: a Gaussian around each of 64 places of a line."""
    place, pixel = ((np.arange(n) + 0.5) / n for n in (SIDE, side))
    distance = (place[:, None] - pixel) * SIDE / _SMOOTH
    # Of small images the nearest pixel is further than the Gaussian reaches.
    weight = np.exp(-0.5 * (distance**2 - (distance**2).min(axis=1, keepdims=True)))
    return np.float32(weight / weight.sum(axis=1, keepdims=True))


@jax.jit
def _smoothed(image: Array, weight: Array) -> Array:
    grey = image[..., 0].astype(jnp.float32) / 255.0
    return jnp.einsum("yr,nrc,xc->nyx", weight, grey, weight)


def smoothed(image: np.ndarray) -> np.ndarray:
    """[N, S, S, 1] uint8 of any side -> [N, 64, 64] float32 in [0, 1].

    Raises:
        DataError: for no image, another dtype or shape.
    """
    require_bytes(image)
    shape = tuple(image.shape)
    if len(shape) != 4 or 0 in shape or shape[1] != shape[2] or shape[3] != 1:
        raise DataError(f"image has shape {list(shape)}: expected [N, S, S, 1], N at least 1")
    weight = _weights(shape[1])
    parts = [
        _smoothed(_filled(image[i : i + BLOCK], _block(len(image), BLOCK)), weight)
        for i in range(0, len(image), BLOCK)
    ]
    return np.concatenate([np.asarray(part) for part in parts])[: len(image)]


def _block(count: int, most: int) -> int:
    """Rows of a block: powers of two, so that few programs serve any number of images."""
    return min(most, 1 << (count - 1).bit_length())


def _filled(rows: np.ndarray, count: int) -> np.ndarray:
    return np.pad(rows, [(0, count - len(rows)), *[(0, 0)] * (rows.ndim - 1)])


def _unit(image: Array, down: Array | int, right: Array | int) -> Array:
    """The middles [N, P] of images, moved, of mean 0 and norm 1; plain ones are zeros."""
    width = SIDE - 2 * _MARGIN
    start = 0, _MARGIN + down, _MARGIN + right
    middle = lax.dynamic_slice(image, start, (image.shape[0], width, width))
    flat = middle[:, ::_STEP, ::_STEP].reshape(image.shape[0], -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    norm = jnp.linalg.norm(flat, axis=1, keepdims=True)
    return jnp.where(norm > 1e-4, flat / jnp.maximum(norm, 1e-4), 0.0)


@jax.jit
def _nearest(image: Array, among: Array, own: Array, group: Array) -> tuple[Array, Array]:
    """The largest correlation of each row of `image` with rows of `among`, and which it is.

    own, group: int32 of both; rows of a group below 0, or of the own group, do not count.
    """
    sought = jnp.concatenate([_unit(image, 0, 0), _unit(image[:, :, ::-1], 0, 0)])
    steps = 2 * SHIFT + 1

    def moved(i, best):
        other = _unit(among, i // steps - SHIFT, i % steps - SHIFT)
        plain, mirrored = jnp.split(sought @ other.T, 2)
        return jnp.maximum(best, jnp.maximum(plain, mirrored))

    start = jnp.full((image.shape[0], among.shape[0]), -1.0)
    best = lax.fori_loop(0, steps * steps, moved, start)
    counts = (group[None] >= 0) & (group[None] != own[:, None])
    best = jnp.where(counts, best, -jnp.inf)
    return best.max(axis=1), best.argmax(axis=1)


def distances(
    image: np.ndarray, among: np.ndarray, *, block: int = BLOCK
) -> tuple[np.ndarray, np.ndarray]:
    """The distance of each image to the nearest of others.

    Args:
        image: [N, S, S, 1] uint8.
        among: [M, R, R, 1] uint8, of any side.
        block: images of each side at a time; it changes no result.

    Returns:
        distance: [N] float64 in [0, 2], rounded to five digits, so that copies have 0 whatever
            the order of sums; see the module. Plain images are 1 from all.
        index: [N] int64, which of `among` is the nearest, the first of equal ones.

    Raises:
        DataError: for no image, another dtype or shape.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> image = rng.integers(0, 200, (3, 64, 64, 1), np.uint8)
        >>> moved = np.roll(image[1:2, :, ::-1], 2, axis=1) // 2 + 40
        >>> distance, index = distances(moved, image)
        >>> bool(distance[0] < 0.01), int(index[0])
        (True, 1)
    """
    other = np.arange(len(among), dtype=np.int32)
    return _all(smoothed(image), smoothed(among), np.full(len(image), -1, np.int32), other, block)


def apart(
    image: np.ndarray, group: np.ndarray | None = None, *, block: int = BLOCK
) -> tuple[np.ndarray, np.ndarray]:
    """`distances` of images among themselves, each to the nearest of another group.

    image: uint8 [N, S, S, 1], or as `smoothed` gives them. group: [N] int, from 0; None
    gives each its own. The distance is infinite, and the index -1, where there is no other.
    """
    image = smoothed(image) if image.ndim == 4 else image
    group = np.arange(len(image)) if group is None else np.asarray(group)
    return _all(image, image, group.astype(np.int32), group.astype(np.int32), block)


def _all(one, two, own, group, block: int) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = (_block(len(x), block) for x in (one, two))
    best, index = np.full(len(one), -np.inf), np.full(len(one), -1)
    for i in range(0, len(one), rows):
        some = slice(i, min(i + rows, len(one)))
        mine = _filled(one[some], rows), _filled(own[some], rows)
        for j in range(0, len(two), columns):
            theirs = _filled(two[j : j + columns], columns)
            # Rows that fill up a block are of no group.
            names = _filled(group[j : j + columns] + np.int32(1), columns) - np.int32(1)
            found = _nearest(mine[0], theirs, mine[1], names)
            value, place = (np.asarray(x)[: some.stop - i] for x in found)
            value = np.round(np.float64(value), 5)
            closer = value > best[some]
            best[some] = np.where(closer, value, best[some])
            index[some] = np.where(closer, place + j, index[some])
    return np.round(np.maximum(1.0 - best, 0.0), 5), index
