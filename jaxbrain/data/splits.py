"""Which images are drawn, and which are tested on: index arrays from a seed."""

import numpy as np

from jaxbrain.errors import DataError


def _generator(seed: int, purpose: str) -> np.random.Generator:
    """A stream of its own for each purpose, the same on every machine."""
    return np.random.default_rng([seed, *purpose.encode()])


def select(label: np.ndarray, n_per_class: int, seed: int) -> np.ndarray:
    """Index of a random min(found, n_per_class) images of each class, in ascending order.

    Args:
        label: [N] int32.
        n_per_class: 0 takes all.
        seed: of the draw.
    """
    rng = _generator(seed, "select")
    chosen = []
    for k in range(int(label.max()) + 1):
        found = np.flatnonzero(label == k)
        wanted = min(len(found), n_per_class) if n_per_class else len(found)
        chosen.append(rng.permutation(found)[:wanted])
    return np.sort(np.concatenate(chosen))


def synthetic_labels(label: np.ndarray) -> np.ndarray:
    """Labels [M] int32 of the images to synthesise, class by class: as many as bring
    every class to twice the largest one's real images (98 + 100 real give 102 + 100)."""
    counts = np.bincount(label)
    return np.repeat(np.arange(len(counts)), 2 * counts.max() - counts).astype(np.int32)


def pooled(label: np.ndarray, test_fraction: float, seed: int):
    """A stratified split of a pool: (train, test) index arrays, each in ascending order.

    Every class gives round(test_fraction * its size) images to the test set.

    Raises:
        DataError: if a class would have no training or no test image.
    """
    rng = _generator(seed, "split")
    train, test = [], []
    for k in range(int(label.max()) + 1):
        members = rng.permutation(np.flatnonzero(label == k))
        cut = round(test_fraction * len(members))
        if not 0 < cut < len(members):
            raise DataError(
                f"data.test_fraction is {test_fraction:g}: of the {len(members)} images of "
                f"class {k} it would test {cut}: expected at least 1 tested and 1 trained on"
            )
        test.append(members[:cut])
        train.append(members[cut:])
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(test))
