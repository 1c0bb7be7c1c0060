"""Masks and label maps: pictures of a few values, which segmentations lie beside images as."""

import numpy as np

from jaxbrain.data.classes import words_of

_MANY = 16
# Of the pairs of neighbours off the background, how many are equal at least. Noise makes
# neighbours of an image differ.
_FLAT = 0.7
_SAMPLE = 1_000_000
_NAMES = set(
    "mask masks masked seg segs segm segmentation segmentations dseg probseg label labels labelmap "
    "roi rois gt groundtruth annotation annotations aseg aparc parc parcellation atlas".split()
)
_ENDS = {"mask", "masks", "seg", "dseg", "probseg", "segmentation", "labels", "labelmap"}


def looks_like_labels(values: np.ndarray, most: int = _MANY) -> bool:
    """Whether an array holds regions of few values each, as masks and label maps do.

    values: [H, W] or [X, Y, Z], of any scale. most: values that a label map may hold; of
    more than two its neighbours, along each of the first two axes, must be equal as a rule.
    Masks that were stored with losses, so that nearly all of their pixels are close to one
    of two values, count too.
    """
    step = max(1, values.size // _SAMPLE)
    if len(np.unique(values.reshape(-1)[::step])) <= most:
        found, counts = np.unique(values, return_counts=True)
        if len(found) <= 2:
            return True
        if len(found) <= most:
            background = found[counts.argmax()]
            return min(_flat(values, axis, background) for axis in (0, 1)) >= _FLAT
    return _two_with_losses(values.reshape(-1)[::step])


def _flat(values: np.ndarray, axis: int, background) -> float:
    one, two = (np.take(values, range(s, values.shape[axis] - 1 + s), axis) for s in (0, 1))
    inside = (one != background) | (two != background)
    return float((one == two)[inside].mean()) if inside.any() else 1.0


def _two_with_losses(values: np.ndarray) -> bool:
    low, high = float(values.min()), float(values.max())
    margin = 0.06 * (high - low)
    below, above = (values < low + margin).mean(), (values > high - margin).mean()
    return bool(min(below, above) > 0.01 and below + above > 0.98)


def named_like_one(name: str) -> bool:
    """Whether a file's name says mask, segmentation or labels."""
    return bool(_NAMES & set(words_of(name)))


def ends_like_one(stem: str) -> bool:
    """Whether a file's name, without its suffixes, ends as those of masks do."""
    return bool(_ENDS & set(words_of(stem)[-1:]))
