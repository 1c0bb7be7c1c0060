"""Classifiers that any network has to beat, on the host.

Each is `fit_predict(train, label, test, num_classes) -> p`:

    train: [N, F] float64, features of the training images; label: [N] int in [0, K).
    test: [T, F] float64.
    p: [T, K] float64 in [0, 1], rows sum to 1; K is num_classes, at least 2. A class may
        have no training image.

`majority` looks at labels alone, `metadata` at what a file says without its pixels'
content, `nn1` and `ridge` at thumbnails (32 x 32 pixels in [-1, 1], flat).
"""

import numpy as np

from jaxbrain.data.duplicates import thumbnails
from jaxbrain.data.records import Records


def shares(p: np.ndarray) -> np.ndarray:
    """Rows that sum to 1, from classes told one by one.

    p: [T, 1], the probability of class 1 of two; or [T, K], of each class against the
        rest, in [0, 1]: divided by their sum. Rows of 0 become equal shares.

    Example:
        >>> shares(np.array([[0.25]])).tolist(), shares(np.array([[0.9, 0.9, 0.0]])).tolist()
        ([[0.75, 0.25]], [[0.5, 0.5, 0.0]])
    """
    if p.shape[1] == 1:
        return np.concatenate([1.0 - p, p], axis=1)
    total = p.sum(axis=1, keepdims=True)
    return np.where(total > 0, p / np.where(total > 0, total, 1.0), 1.0 / p.shape[1])


def one_against_rest(num_classes: int) -> range:
    """The classes to tell from the rest, for `shares`: of two classes 1 alone."""
    return range(num_classes == 2, num_classes)


def majority(train, label: np.ndarray, test: np.ndarray, num_classes: int) -> np.ndarray:
    """The share of each class among the training images, whatever the image."""
    return np.tile(np.bincount(label, minlength=num_classes) / len(label), (len(test), 1))


def nn1(train, label: np.ndarray, test: np.ndarray, num_classes: int) -> np.ndarray:
    """The class of the training image that correlates most with the test image:
    probabilities 0 and 1."""
    return np.eye(num_classes)[label[(thumbnails(test) @ thumbnails(train).T).argmax(axis=1)]]


# Rows of a matrix that are worked on at a time, so that no second one as large is made.
_ROWS = 512


def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of each row of a [N, F] from each of b [M, F]: [N, M]."""
    found = a @ b.T
    left, right = np.square(a).sum(axis=1)[:, None], np.square(b).sum(axis=1)[None]
    for start in range(0, len(a), _ROWS):
        rows = slice(start, start + _ROWS)
        found[rows] = np.maximum(left[rows] + right - 2 * found[rows], 0.0)
    return found


def median_apart(distances: np.ndarray) -> float:
    """The median of a symmetric matrix [N, N] above its diagonal; 1 where there is none or it
    is 0."""
    apart = distances[np.triu(np.ones(distances.shape, bool), 1)]
    median = np.median(apart, overwrite_input=True) if len(apart) else 0.0
    return float(median) if median > 0 else 1.0


def gaussian(distances: np.ndarray, scale: float) -> np.ndarray:
    """exp(-distances / scale), in the memory of `distances`."""
    np.divide(distances, -scale, out=distances)
    return np.exp(distances, out=distances)


def ridge(train, label: np.ndarray, test: np.ndarray, num_classes: int) -> np.ndarray:
    """Kernel ridge regression on targets -1 and 1, of each class against the rest.

    The kernel is exp(-d^2 / m), m the median squared distance between training images;
    the coefficients solve (K + 0.1 diag(f)) a = target, f the frequency of an image's
    class, so that rarer classes are fitted more closely. p = (1 + score) / 2, clipped: the
    least-squares estimate of a probability; then `shares`.
    """
    frequency = np.bincount(label, minlength=num_classes) / len(label)
    kernel = squared_distances(train, train)
    scale = median_apart(kernel)
    gaussian(kernel, scale)
    kernel[np.diag_indices(len(kernel))] += 0.1 * frequency[label]
    targets = 2.0 * (label[:, None] == np.asarray(one_against_rest(num_classes))) - 1.0
    across = gaussian(squared_distances(test, train), scale)
    score = across @ np.linalg.solve(kernel, targets)
    return shares(np.clip((1.0 + score) / 2.0, 0.0, 1.0))


def metadata(train, label: np.ndarray, test: np.ndarray, num_classes: int) -> np.ndarray:
    """The share of each class among the 5 nearest training files, by `file_features`
    standardised on the training files."""
    scale = train.std(axis=0)
    scale = np.where(scale > 1e-12, scale, 1.0)
    distances = squared_distances(test / scale, train / scale)
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :5]
    return np.eye(num_classes)[label[nearest]].mean(axis=1)


def file_features(records: Records, brightness: bool = True) -> np.ndarray:
    """What each file says without being looked at: [N, F] float64.

    Logarithms of width, height, aspect and bytes per pixel; with `brightness` that of the
    border and of the whole (of the 32 x 32 thumbnail); one column for each of Pillow's
    modes found.
    """
    width, height = np.log(np.asarray(records.size, np.float64)).T
    small = np.asarray(records.small, np.float64)
    inner = small[:, 1:-1, 1:-1]
    edge = small[0].size - inner[0].size
    border = (small.sum(axis=(1, 2)) - inner.sum(axis=(1, 2))) / edge
    columns = [
        width,
        height,
        width - height,
        np.log(np.asarray(records.num_bytes)) - width - height,
        *((border, small.mean(axis=(1, 2))) if brightness else ()),
        np.asarray(records.mode)[:, None] == sorted(set(records.mode)),
    ]
    return np.column_stack(columns)


FLOORS = {"majority": majority, "metadata": metadata, "nn1": nn1, "ridge": ridge}
