"""What of a fit's synthetic images copies a real one that it was given, or one that it was not.

Copies are sought as among real images (`data.duplicates`): correlation of thumbnails of whole
images, here mirrored ones too. An image that is a copy of a test image and of no training
image can hardly come from the training images: the generator was fitted on more.
"""

from collections.abc import Collection

import numpy as np

from jaxbrain.data import duplicates
from jaxbrain.study.cells import Cell, Fit


def tested(fit: Fit, cells: Collection[Cell]) -> np.ndarray:
    """The real images that cells of a fit test and that it was not given: ascending [T]."""
    some = [cell.test for cell in cells if cell.fit == fit.name]
    found = np.unique(np.concatenate([np.zeros(0, np.int64), *some]))
    return np.setdiff1d(found[found < len(fit.label)], fit.index)


def _nearest(image: np.ndarray, among: np.ndarray) -> np.ndarray:
    """The largest correlation of each image, as it is or mirrored, with one of `among`: [M]."""
    if not len(among) or not len(image):
        return np.zeros(len(image))
    real = duplicates.thumbnails(among)
    both = image, image[:, :, ::-1]
    return np.max([duplicates.nearest(duplicates.thumbnails(one), real)[0] for one in both], axis=0)


def counted(image: np.ndarray, given: np.ndarray, tested: np.ndarray, threshold: float):
    """How many synthetic images there are, how many copy one that their fit was given, how
    many copy a tested one and none that it was given, and how many were tested: [4] int64.

    image: [M, 32, 32, 1] uint8; given: [F, 32, 32, 1], tested: [T, 32, 32, 1], real ones.

    Example:
        >>> real = np.random.default_rng(0).integers(0, 256, (9, 32, 32, 1)).astype(np.uint8)
        >>> counted(real[[0, 1, 7, 8, 8]], real[:7], real[7:], 0.98).tolist()
        [5, 2, 3, 2]
    """
    copied = _nearest(image, given) >= threshold
    beyond = (_nearest(image, tested) >= threshold) & ~copied
    return np.asarray([len(image), copied.sum(), beyond.sum(), len(tested)], np.int64)
