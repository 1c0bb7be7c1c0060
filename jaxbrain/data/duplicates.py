"""Identical and near-duplicate images, which must stay on one side of a split.

Two images are near-duplicates if the 32 x 32 thumbnails of their files correlate at a
threshold or more; groups are what such pairs connect, directly or through others. Shifted
or cropped copies, and neighbouring slices of one patient, are not found this way.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

SIDE = 32


class Audit(NamedTuple):
    """What `audit` finds; pairs are rows (i, j) with i < j, indices of images.

    group: [N] int32, see `groups`.
    identical: [P, 2] pairs of the same pixels; near: [Q, 2] pairs at the threshold or
        above, those among them; flipped: [R, 2] pairs that get there when one of them is
        mirrored left to right (reported, not grouped; two symmetric copies are in both).
    across: [C, 2] pairs of `near` whose labels differ.
    """

    group: np.ndarray
    identical: np.ndarray
    near: np.ndarray
    flipped: np.ndarray
    across: np.ndarray

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


def thumbnails(images: np.ndarray) -> np.ndarray:
    """[N, 32, 32] (or flat) -> [N, 1024] float64, each of mean 0 and norm 1, so that
    products are correlations. A constant one becomes zeros: it correlates with nothing."""
    flat = np.asarray(images, np.float64).reshape(len(images), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.where(norm > 1e-6, flat / np.maximum(norm, 1e-6), 0.0)


# Rows of the correlation matrix at a time: memory grows with the images, not their square.
_BLOCK = 1024


def _pairs(left: np.ndarray, right: np.ndarray, threshold: float) -> np.ndarray:
    """Pairs (i, j), i < j, with left[i] and right[j] at the threshold or above."""
    found = [np.zeros((0, 2), np.int64)]
    for start in range(0, len(left), _BLOCK):
        rows, columns = np.nonzero(left[start : start + _BLOCK] @ right.T >= threshold)
        pairs = np.stack([rows + start, columns], axis=1)
        found.append(pairs[pairs[:, 0] < pairs[:, 1]])
    return np.concatenate(found)


def _identical(digest: Sequence[str]) -> np.ndarray:
    places: dict[str, list[int]] = {}
    for i, one in enumerate(digest):
        places.setdefault(one, []).append(i)
    pairs = [pair for found in places.values() for pair in itertools.combinations(found, 2)]
    return np.asarray(sorted(pairs), np.int64).reshape(-1, 2)


def _of_one(patient: Sequence[int]) -> np.ndarray:
    """Pairs that link all images of every patient that is known (not -1)."""
    first: dict[int, int] = {}
    pairs = [(first.setdefault(one, i), i) for i, one in enumerate(patient) if one >= 0]
    return np.asarray(pairs, np.int64).reshape(-1, 2)


def groups(
    small_images: np.ndarray,
    digest: Sequence[str],
    threshold: float | None = 0.98,
    patient: Sequence[int] = (),
) -> np.ndarray:
    """Group numbers [N] int32: images of the same pixels, images whose thumbnails correlate
    at `threshold` or more, and images of one patient, directly or through others, share
    one. With threshold None only patients do.

    small_images: [N, 32, 32], from `small`; digest: of each image's pixels; patient: of
    each image, -1 if unknown.
    """
    pairs = [_of_one(patient)]
    if threshold is not None:
        unit = thumbnails(small_images)
        pairs += [_pairs(unit, unit, threshold), _identical(digest)]
    linked = np.concatenate(pairs)
    shape = len(digest), len(digest)
    links = csr_matrix((np.ones(len(linked)), linked.T), shape=shape)
    return connected_components(links, directed=False)[1].astype(np.int32)


def audit(
    small_images: np.ndarray,
    label: np.ndarray,
    digest: Sequence[str],
    threshold: float = 0.98,
    patient: Sequence[int] = (),
) -> Audit:
    """Look for copies among all images.

    Args:
        small_images: [N, 32, 32], from `small`.
        label: [N] int32.
        digest: of each image's pixels (`Records.digest`).
        threshold: correlation in [0, 1].
        patient: of each image (`Records.patient`).
    """
    unit = thumbnails(small_images)
    mirrored = thumbnails(np.asarray(small_images)[:, :, ::-1])
    near = _pairs(unit, unit, threshold)
    label = np.asarray(label)
    return Audit(
        group=groups(small_images, digest, threshold, patient),
        identical=_identical(digest),
        near=near,
        flipped=_pairs(unit, mirrored, threshold),
        across=near[label[near[:, 0]] != label[near[:, 1]]],
    )
