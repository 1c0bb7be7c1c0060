"""Identical and near-duplicate images, which must stay on one side of a split.

Two images are near-duplicates if the 32 x 32 thumbnails of their files, or those of their
head crops, correlate at a threshold or more; groups are what such pairs connect, directly
or through others. A copy in another frame (more border, another size) is found by the
heads; turned or cut copies, and neighbouring slices of one patient, are not found.
"""

import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from jaxbrain.data.preprocess import head_box, without_border

_LOG = logging.getLogger(__name__)

SIDE = 32
# Of pictures without a head the largest bright spot, of which all look alike, is no crop.
_LEAST_HEAD = 0.1


class Search(NamedTuple):
    """Where near-duplicates were sought, and what was found there.

    images: "whole files" or "head crops". distance: how two are compared. threshold: pairs
    at it or above are near-duplicates. pairs: their number. next: the largest value of two
    images of different groups, or None.
    """

    images: str
    distance: str
    threshold: float
    pairs: int
    next: float | None


class Audit(NamedTuple):
    """What `audit` finds; pairs are rows (i, j) with i < j, indices of images.

    group: [N] int32, see `groups`.
    identical: [P, 2] pairs of the same pixels, each copy with the first of them.
    near: [Q, 2] pairs at the threshold or above in either search; those among them that
        are no constant pictures.
    flipped: [R, 2] pairs of whole files that get there when one of them is mirrored left to
        right (reported, not grouped; two symmetric copies are in both).
    across: [C, 2] pairs of `near` whose labels differ.
    searches: one of whole files, and one of head crops.
    """

    group: np.ndarray
    identical: np.ndarray
    near: np.ndarray
    flipped: np.ndarray
    across: np.ndarray
    searches: tuple[Search, ...]

    def flipped_apart(self) -> int:
        """How many of the pairs `flipped` are in two groups: copies, to a method that compares
        mirror places."""
        return int((self.group[self.flipped[:, 0]] != self.group[self.flipped[:, 1]]).sum())

    def counts(self, label: np.ndarray, class_names: tuple[str, ...]) -> dict[str, int]:
        """Numbers of groups, in all ("total") and by class; a group across classes counts
        in each."""
        counts = {"total": len(np.unique(self.group))}
        for k, name in enumerate(class_names):
            counts[name] = len(np.unique(self.group[np.asarray(label) == k]))
        return counts


def small(image: np.ndarray) -> np.ndarray:
    """[H, W] float32 -> [32, 32] float32, bilinear (with antialiasing, Pillow's)."""
    picture = Image.fromarray(np.ascontiguousarray(image, np.float32), "F")
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def small_head(image: np.ndarray) -> np.ndarray:
    """`small` of the box around the head (`preprocess.head_box`) of a picture without its
    plain border, or of all of that where the box is less than a tenth of it."""
    image = without_border(image)
    top, left, bottom, right = head_box(image)
    if (bottom - top) * (right - left) < _LEAST_HEAD * image.size:
        return small(image)
    return small(image[top:bottom, left:right])


def thumbnails(images: np.ndarray) -> np.ndarray:
    """[N, 32, 32] (or flat) -> [N, 1024] float64, each of mean 0 and norm 1, so that
    products are correlations. A constant one becomes zeros: it correlates with nothing."""
    flat = np.asarray(images, np.float64).reshape(len(images), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.where(norm > 1e-6, flat / np.maximum(norm, 1e-6), 0.0)


# Rows of the correlation matrix at a time: memory grows with the images, not their square.
BLOCK = 1024


def _pairs(left: np.ndarray, right: np.ndarray, threshold: float) -> np.ndarray:
    """Pairs (i, j), i < j, with left[i] and right[j] at the threshold or above."""
    found = [np.zeros((0, 2), np.int64)]
    for start in range(0, len(left), BLOCK):
        rows, columns = np.nonzero(left[start : start + BLOCK] @ right.T >= threshold)
        pairs = np.stack([rows + start, columns], axis=1)
        found.append(pairs[pairs[:, 0] < pairs[:, 1]])
    return np.concatenate(found)


def _next(unit: np.ndarray, group: np.ndarray) -> float | None:
    """The largest correlation of two images of different groups."""
    best = -np.inf
    for start in range(0, len(unit), BLOCK):
        products = unit[start : start + BLOCK] @ unit.T
        apart = group[start : start + BLOCK, None] != group[None]
        best = max(best, np.max(products, where=apart, initial=-np.inf))
    return float(best) if np.isfinite(best) else None


def nearest(unit: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each row of `unit` [M, 1024] the largest correlation with a row of `among` [N, 1024]
    (both from `thumbnails`), and which row that is: [M] float64, [M] int64."""
    value, index = np.zeros(len(unit)), np.zeros(len(unit), np.int64)
    for start in range(0, len(unit), BLOCK):
        products = unit[start : start + BLOCK] @ among.T
        index[start : start + BLOCK] = products.argmax(axis=1)
        value[start : start + BLOCK] = products.max(axis=1)
    return value, index


def _to_first(keys: Sequence) -> np.ndarray:
    """Pairs (i, j): i the first image of a key, j another one of it. -1 is no key."""
    first: dict = {}
    pairs = [(first.setdefault(key, j), j) for j, key in enumerate(keys) if key != -1]
    return np.asarray([pair for pair in pairs if pair[0] != pair[1]], np.int64).reshape(-1, 2)


def _linked(count: int, pairs: list[np.ndarray]) -> np.ndarray:
    linked = np.concatenate(pairs)
    links = csr_matrix((np.ones(len(linked)), linked.T), shape=(count, count))
    return connected_components(links, directed=False)[1].astype(np.int32)


def groups(
    small_images: np.ndarray,
    digest: Sequence[str],
    threshold: float | None = 0.98,
    patient: Sequence[int] = (),
    small_heads: np.ndarray | None = None,
) -> np.ndarray:
    """Group numbers [N] int32: images of the same pixels, images whose thumbnails (of whole
    files or of head crops) correlate at `threshold` or more, and images of one patient,
    directly or through others, share one. With threshold None only patients do.

    small_images: [N, 32, 32], from `small`; digest: of each image's pixels; patient: of
    each image, -1 if unknown; small_heads: [N, 32, 32], from `small_head`.
    """
    pairs = [_to_first(patient)]
    if threshold is not None:
        _LOG.info("data   looks for copies among %d images", len(digest))
        sought = [thumbnails(one) for one in (small_images, small_heads) if one is not None]
        pairs += [_to_first(digest), *(_pairs(unit, unit, threshold) for unit in sought)]
    return _linked(len(digest), pairs)


def audit(
    small_images: np.ndarray,
    label: np.ndarray,
    digest: Sequence[str],
    threshold: float = 0.98,
    patient: Sequence[int] = (),
    small_heads: np.ndarray | None = None,
) -> Audit:
    """Look for copies among all images: by the arguments of `groups`, and the images'
    labels [N] int32. Without `small_heads` it looks at whole files alone.
    """
    label = np.asarray(label)
    _LOG.info("data   lists the copies among %d images", len(label))
    sought = {"whole files": thumbnails(small_images)}
    if small_heads is not None:
        sought["head crops"] = thumbnails(small_heads)
    pairs = {name: _pairs(unit, unit, threshold) for name, unit in sought.items()}
    near = np.unique(np.concatenate(list(pairs.values())), axis=0)
    identical = _to_first(digest)
    group = _linked(len(label), [_to_first(patient), identical, near])
    distance = f"correlation of {SIDE} x {SIDE} thumbnails"
    searches = tuple(
        Search(name, distance, threshold, len(pairs[name]), _next(unit, group))
        for name, unit in sought.items()
    )
    mirrored = thumbnails(np.asarray(small_images)[:, :, ::-1])
    return Audit(
        group=group,
        identical=identical,
        near=near,
        flipped=_pairs(sought["whole files"], mirrored, threshold),
        across=near[label[near[:, 0]] != label[near[:, 1]]],
        searches=searches,
    )
