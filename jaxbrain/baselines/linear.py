"""The linear oracle: synthetic images from principal components, without any training.

It has no secrets, so what a protocol does to an accuracy can be told from what a GAN does.
"""

import numpy as np

COMPONENTS = 30


def draw(
    train: np.ndarray, label: np.ndarray, wanted: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Synthetic images: per class the mean of the training images plus their first
    `COMPONENTS` principal components with normal coefficients of the training variance.

    Args:
        train: [N, F] float, values in [-1, 1]; label: [N] int32.
        wanted: [M] int32, labels of the images to draw, each among those of `label`.
        rng: of the coefficients.

    Returns:
        [M, F] float64, clipped to [-1, 1].
    """
    result = np.zeros((len(wanted), train.shape[1]))
    for k in np.unique(wanted):
        own = train[label == k].astype(np.float64)
        mean = own.mean(axis=0)
        centred = own - mean
        rank, count = min(COMPONENTS, len(own) - 1), max(len(own) - 1, 1)
        # Rows: principal directions, each as long as the standard deviation along it. From
        # whichever matrix of products is the smaller.
        if len(own) <= own.shape[1]:
            _, vectors = np.linalg.eigh(centred @ centred.T)
            spread = vectors[:, ::-1][:, :rank].T @ centred / np.sqrt(count)
        else:
            values, vectors = np.linalg.eigh(centred.T @ centred)
            length = np.sqrt(np.maximum(values[::-1][:rank], 0.0) / count)
            spread = vectors[:, ::-1][:, :rank].T * length[:, None]
        place = np.flatnonzero(wanted == k)
        result[place] = mean + rng.standard_normal((len(place), rank)) @ spread
    return np.clip(result, -1.0, 1.0)
