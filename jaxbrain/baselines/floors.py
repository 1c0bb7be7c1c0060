"""Classifiers that any network has to beat, on the host.

Each is `fit_predict(train, label, test) -> p`:

    train: [N, F] float64, features of the training images; label: [N] int32, 0 or 1.
    test: [T, F] float64.
    p: [T] float64 in [0, 1], the probability of class 1.

`majority` looks at labels alone, `metadata` at what a file says without its pixels'
content, `nn1` and `ridge` at thumbnails (32 x 32 pixels in [-1, 1], flat).
"""

import numpy as np

from jaxbrain.data.duplicates import thumbnails
from jaxbrain.data.records import Records


def majority(train: np.ndarray, label: np.ndarray, test: np.ndarray) -> np.ndarray:
    """The share of class 1 among the training images, whatever the image."""
    return np.full(len(test), label.mean())


def nn1(train: np.ndarray, label: np.ndarray, test: np.ndarray) -> np.ndarray:
    """The label of the training image that correlates most with the test image: 0 or 1."""
    return label[(thumbnails(test) @ thumbnails(train).T).argmax(axis=1)].astype(np.float64)


def _squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    products = a @ b.T
    square = np.square(a).sum(axis=1)[:, None] + np.square(b).sum(axis=1)[None] - 2 * products
    return np.maximum(square, 0.0)


def ridge(train: np.ndarray, label: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Kernel ridge regression on targets -1 and 1.

    The kernel is exp(-d^2 / m), m the median squared distance between training images;
    the coefficients solve (K + 0.1 diag(f)) a = target, f the frequency of an image's
    class, so that the rarer class is fitted more closely. p = (1 + score) / 2, clipped:
    the least-squares estimate of a probability. With one class alone p is that class.
    """
    frequency = np.bincount(label, minlength=2) / len(label)
    distances = _squared_distances(train, train)
    scale = np.median(distances[np.triu_indices(len(train), 1)]) if len(train) > 1 else 1.0
    scale = scale if scale > 0 else 1.0
    kernel = np.exp(-distances / scale) + 0.1 * np.diag(frequency[label])
    coefficients = np.linalg.solve(kernel, 2.0 * label - 1.0)
    score = np.exp(-_squared_distances(test, train) / scale) @ coefficients
    return np.clip((1.0 + score) / 2.0, 0.0, 1.0)


def metadata(train: np.ndarray, label: np.ndarray, test: np.ndarray) -> np.ndarray:
    """The share of class 1 among the 5 nearest training files, by `file_features`
    standardised on the training files."""
    scale = train.std(axis=0)
    scale = np.where(scale > 1e-12, scale, 1.0)
    distances = _squared_distances(test / scale, train / scale)
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :5]
    return label[nearest].mean(axis=1)


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
    modes = [np.asarray(records.mode) == mode for mode in sorted(set(records.mode))]
    columns = [
        width,
        height,
        width - height,
        np.log(np.asarray(records.num_bytes)) - width - height,
        *((border, small.mean(axis=(1, 2))) if brightness else ()),
        *modes,
    ]
    return np.stack([np.asarray(column, np.float64) for column in columns], axis=1)


FLOORS = {"majority": majority, "metadata": metadata, "nn1": nn1, "ridge": ridge}
