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


def shuffled(label: np.ndarray, group: np.ndarray, index: np.ndarray, seed: int) -> np.ndarray:
    """Labels [N] int32 in which the groups among `index` have swapped their labels at
    random: as many groups of each class as before, and nothing left to learn. Images of
    one group keep one label (that of the group's first image)."""
    rng = _generator(seed, "shuffle")
    result = np.array(label)
    _, first, number = np.unique(group[index], return_index=True, return_inverse=True)
    result[index] = rng.permutation(label[index][first])[number]
    return result


def folds(
    label: np.ndarray,
    group: np.ndarray,
    index: np.ndarray,
    num_folds: int,
    test_fraction: float,
    seed: int,
) -> list[np.ndarray]:
    """Test sets of the images `index`, stratified by class, whole groups on one side.

    Args:
        label, group: [N] int32; each image its own group gives a split by images.
        index: of the images in use.
        num_folds: 1 draws one test set of round(test_fraction * groups) groups of each
            class; more deal the groups, largest first, into test sets of nearly equal
            size that together hold every image once.
        seed: of the draw.

    Returns:
        Ascending indices of the test images, one array a fold.

    Raises:
        DataError: if a class would have no test or no training image in a fold.
    """
    rng = _generator(seed, "folds")
    found: list[list[int]] = [[] for _ in range(num_folds)]
    names, first, sizes = np.unique(group[index], return_index=True, return_counts=True)
    # Of a group across classes the first image decides, or its parts would be parted.
    kind = label[index][first]
    for k in np.unique(label[index]):
        own, size = names[kind == k], sizes[kind == k]
        order = rng.permutation(len(own))
        if num_folds == 1:
            found[0].extend(own[order[: round(test_fraction * len(own))]])
            continue
        # Stable, so that groups of one size stay in random order.
        order = order[np.argsort(-size[order], kind="stable")]
        load = np.zeros(num_folds)
        # From another fold for each class, or remainders would meet in the first.
        start = rng.integers(num_folds)
        for i in order:
            fold = (np.roll(load, -start).argmin() + start) % num_folds
            found[fold].append(own[i])
            load[fold] += size[i]
    tests = []
    for fold, chosen in enumerate(found):
        tests.append(index[np.isin(group[index], chosen)])
        for k in np.unique(label[index]):
            total, tested = (label[index] == k).sum(), (label[tests[fold]] == k).sum()
            if not 0 < tested < total:
                raise DataError(
                    f"class {k}: fold {fold} would test {tested} of its {total} images "
                    f"({(kind == k).sum()} groups): expected at least 1 tested and 1 trained on"
                )
    return tests
