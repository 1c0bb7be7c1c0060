"""Near-copies of real images among synthetic ones, and which synthetic images are taken.

A synthetic image is a near-copy if it is no further from the nearest image that its generator
saw than the nearest twentieth of those images are from one another. Further means less alike: a
distance is 1 minus the correlation of two 32 x 32 thumbnails, as they are or with one of them
mirrored. Shifted copies are further than that, and are not found.
"""

from typing import NamedTuple

import numpy as np

from jaxbrain.data import duplicates

QUANTILE = 0.05


class Filtered(NamedTuple):
    """What the filter did for a cell.

    view: "images" or "thumbnails", whichever pictures the classifier is shown.
    images: how many synthetic images it takes. near: near-copies among the first so many that
        were drawn. filled: near-copies that stay, since too few others were drawn.
    limit: the distance at which an image still is a near-copy.
    """

    view: str
    images: int
    near: int
    filled: int
    limit: float


def distances(image: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Of each image to the nearest of others, in [0, 2]: [M] float64.

    image: [M, 32, 32, 1] uint8; among: [F, 32, 32, 1] uint8, F at least 1.

    Example:
        >>> one = np.arange(1024, dtype=np.uint16).reshape(1, 32, 32, 1) // 4
        >>> distances(one[:, :, ::-1], one).round(6).tolist()
        [0.0]
    """
    known = duplicates.thumbnails(among)
    both = (duplicates.thumbnails(one) for one in (image, image[:, :, ::-1]))
    alike = np.max([duplicates.nearest(one, known)[0] for one in both], axis=0)
    return np.maximum(1.0 - alike, 0.0)


def limit(real: np.ndarray, group: np.ndarray, threshold: float) -> float:
    """The distance up to which an image is a near-copy of one of `real`.

    The `QUANTILE` of their own distances, each to the nearest of the others, one image a group;
    and at least 1 - threshold, at which a study calls real images copies.

    Args:
        real: [F, 32, 32, 1] uint8; group: [F] int32, near-duplicates share one.
        threshold: `data.duplicate_threshold`.
    """
    first = np.unique(group, return_index=True)[1]
    own = real[first]
    if len(own) < 2:
        return 1.0 - threshold
    known = duplicates.thumbnails(own)
    mirrored = duplicates.thumbnails(own[:, :, ::-1])
    alike = np.full(len(own), -np.inf)
    for start in range(0, len(own), duplicates.BLOCK):
        rows = slice(start, start + duplicates.BLOCK)
        found = np.maximum(known[rows] @ known.T, mirrored[rows] @ known.T)
        found[np.arange(len(found)), start + np.arange(len(found))] = -np.inf
        alike[rows] = found.max(axis=1)
    return max(float(np.quantile(1.0 - alike, QUANTILE)), 1.0 - threshold)


def chosen(distance: np.ndarray, limit: float, label: np.ndarray, count: int) -> np.ndarray:
    """Which images stand in the places of the first `count`: [count] int64, indices.

    In each class those that are no near-copies, in the order they were drawn, then near-copies,
    the furthest first.

    Args:
        distance: [M] of all that were drawn; label: [M] int32. M is at least `count`.

    Example:
        >>> label = np.zeros(4, int)
        >>> chosen(np.array([0.1, 0.5, 0.2, 0.6]), 0.3, label, 3).tolist()
        [1, 3, 2]
    """
    result = np.zeros(count, np.int64)
    for k in np.unique(label[:count]):
        own = np.flatnonzero(label == k)
        near = distance[own] <= limit
        copies = own[near]
        order = np.argsort(-distance[copies], kind="stable")
        places = own[own < count]
        result[places] = np.concatenate([own[~near], copies[order]])[: len(places)]
    return result


def counted(
    view: str, distance: np.ndarray, limit: float, label: np.ndarray, asked: np.ndarray
) -> Filtered:
    """What became of a cell's images. asked: [K], how many of each class it takes; others: see
    `chosen`."""
    near = filled = 0
    for k, count in enumerate(asked.tolist()):
        copies = distance[label == k] <= limit
        near += int(copies[:count].sum())
        filled += max(count - int((~copies).sum()), 0)
    return Filtered(view, int(asked.sum()), near, filled, float(limit))
