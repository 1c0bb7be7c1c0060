"""Masks and label maps: pictures of a few values, which segmentations lie beside images as."""

from pathlib import PurePosixPath

import numpy as np

from jaxbrain.data.classes import words_of

_FEW = 16
# Regions of an atlas.
_MANY = 256
# Of the pairs of neighbours off the background, how many are equal at least. Noise makes
# neighbours of an image differ.
_FLAT = 0.6
_SAMPLE = 1_000_000
_NAMES = set(
    "mask masks seg segs segm segmentation segmentations dseg probseg label labels labelmap roi "
    "rois gt groundtruth annotation annotations aseg aparc parc parcellation atlas".split()
)


def looks_like_labels(picture: np.ndarray) -> bool:
    """Whether a picture holds regions of few values each, as masks and label maps do.

    picture: [H, W], of any scale. It has two values; or few, with neighbours that are equal
    as a rule; or nearly all of its pixels are close to one of two values, as in a mask that
    was stored with losses.
    """
    found, counts = np.unique(picture, return_counts=True)
    if len(found) <= 2:
        return True
    if len(found) <= _FEW and _flat(picture, found[counts.argmax()]) >= _FLAT:
        return True
    return _two_with_losses(picture)


def is_label_volume(volume: np.ndarray) -> bool:
    """Whether a volume [X, Y, Z] is a mask or a label map: it has two values, or few whole
    ones, or many whole ones with neighbours that are equal as a rule."""
    step = max(1, volume.size // _SAMPLE)
    if len(np.unique(volume.reshape(-1)[::step])) > _MANY:
        return False
    found, counts = np.unique(volume, return_counts=True)
    if len(found) <= 2:
        return True
    if len(found) > _MANY or (found != np.round(found)).any():
        return False
    return len(found) <= _FEW or _flat(volume, found[counts.argmax()]) >= _FLAT


def _flat(values: np.ndarray, background) -> float:
    """The share of equal neighbours off the background, along the worse of two axes."""
    shares = []
    for axis in (0, 1):
        one, two = (np.take(values, range(s, values.shape[axis] - 1 + s), axis) for s in (0, 1))
        inside = (one != background) | (two != background)
        shares.append(float((one == two)[inside].mean()) if inside.any() else 1.0)
    return min(shares)


def _two_with_losses(picture: np.ndarray) -> bool:
    """Two narrow clusters at the ends, each larger than all that lies between them: around
    the edges of regions alone a lossy file leaves other values."""
    low, high = float(picture.min()), float(picture.max())
    margin = 0.06 * (high - low)
    ends = picture[picture < low + margin], picture[picture > high - margin]
    between = picture.size - sum(end.size for end in ends)
    if min(end.size for end in ends) <= max(between, 1e-3 * picture.size):
        return False
    near = [np.abs(end - np.median(end)) < 0.02 * (high - low) for end in ends]
    return all(one.mean() > 0.75 for one in near)


def named_like_one(path: str) -> bool:
    """Whether a file's own name says mask, segmentation or labels."""
    return bool(_NAMES & set(words_of(PurePosixPath(path).name)))
