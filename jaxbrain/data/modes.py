"""Phantoms whose modes are known: what a generator should draw all of.

A mode is one choice of everything discrete in a phantom: the contrast, small or large
ventricles, and the quarter of the brain that the lesion is in. Inside a mode slices vary
as all phantoms do. Mirroring a slice turns a mode into another of the same class and
changes the share of none, so a generator that was shown mirrored images has the same modes
to draw.
"""

import itertools

import jax
import numpy as np

from jaxbrain.data import phantom
from jaxbrain.errors import DataError
from jaxbrain.types import Array, Dataset

CONTRASTS = "T1", "T2", "FLAIR"
VENTRICLES = "small", "large"
SIDES = "left", "right"
HALVES = "front", "back"


def _table() -> np.ndarray:
    """[30, 5] int32: label, contrast, ventricles, side, half of each mode. A normal slice has
    no lesion: its side and half stand at 0 and mean nothing."""
    normal = [(0, c, v, 0, 0) for c, v in itertools.product(range(3), range(2))]
    tumour = [(1, *rest) for rest in itertools.product(range(3), *[range(2)] * 3)]
    return np.array(normal + tumour, np.int32)


# Rows: modes 0 to 5 are of normal slices, 6 to 29 of those with a tumour.
TABLE = _table()


def name(mode: int) -> str:
    """A mode in words.

    Example:
        >>> name(0), name(29)
        ('T1, small ventricles', 'FLAIR, large ventricles, lesion right back')
    """
    label, contrast, ventricles, side, half = TABLE[mode]
    text = f"{CONTRASTS[contrast]}, {VENTRICLES[ventricles]} ventricles"
    return text + f", lesion {SIDES[side]} {HALVES[half]}" if label else text


def of_class(label: int) -> np.ndarray:
    """The modes of a class, [6] or [24] int64."""
    return np.flatnonzero(TABLE[:, 0] == label)


def _shares(count: int, modes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """[count] of `modes`, each as often as the others or once more."""
    extra = rng.permutation(modes)[: count % len(modes)]
    return np.sort(np.concatenate([np.repeat(modes, count // len(modes)), extra]))


def dataset(
    key: Array, num: int, size: int = 64, difficulty: float = 0.5
) -> tuple[Dataset, np.ndarray]:
    """Phantoms of every mode: half of them normal, and in a class each mode as often as the
    others, or once more.

    Args:
        key: the key is consumed.
        num: of phantoms in all, at least 48: two of each mode of a tumour, or near it.
        size: side in pixels, 16 or more.
        difficulty: in [0, 1].

    Returns:
        The `Dataset`, normal slices first, each its own group; and its modes [N] int32,
        rows of `TABLE`.

    Raises:
        DataError: for fewer than 48.

    Example:
        >>> data, mode = dataset(jax.random.key(0), 60, 32)
        >>> data.image.shape, np.bincount(mode).min(), np.bincount(mode).max()
        ((60, 32, 32, 1), np.int64(1), np.int64(5))
    """
    if num < 48:
        raise DataError(f"num is {num}: expected at least 48 phantoms, so that no mode is missing")
    draw_key, share_key = jax.random.split(key)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(share_key)))
    counts = num - num // 2, num // 2
    mode = np.concatenate([_shares(counts[k], of_class(k), rng) for k in range(2)])
    label, *choices = TABLE[mode].T
    chosen = phantom.Mode(*choices)
    image = phantom.images(draw_key, label, size, difficulty, chosen)
    group = np.arange(num, dtype=np.int32)
    return Dataset(image, np.array(label), group), mode.astype(np.int32)
