"""Which images are drawn, and which are tested on: index arrays from a random stream."""

import numpy as np

from jaxbrain.errors import DataError


def select(label: np.ndarray, n_per_class: int, rng: np.random.Generator) -> np.ndarray:
    """Index of a random min(found, n_per_class) images of each class, in ascending order.

    label: [N] int32. n_per_class: 0 takes all.
    """
    chosen = []
    for k in range(int(label.max()) + 1):
        found = np.flatnonzero(label == k)
        chosen.append(rng.permutation(found)[: n_per_class or None])
    return np.sort(np.concatenate(chosen))


def shuffled(
    label: np.ndarray, group: np.ndarray, index: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Labels [N] int32 in which the groups among `index` have swapped their labels at
    random: as many groups of each class as before, and nothing left to learn. Images of
    one group keep one label (that of the group's first image)."""
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
    rng: np.random.Generator,
) -> list[np.ndarray]:
    """Test sets of the images `index`, stratified by class, whole groups on one side.

    Args:
        label, group: [N] int32; each image its own group gives a split by images.
        index: of the images in use.
        num_folds: 1 draws one test set of round(test_fraction * groups) groups of each
            class; more deal the groups, largest first, into test sets of nearly equal
            size that together hold every image once.

    Returns:
        Ascending indices of the test images, one array a fold.

    Raises:
        DataError: if a class would have no test or no training image in a fold.
    """
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
    tests = [index[np.isin(group[index], chosen)] for chosen in found]
    for fold, test in enumerate(tests):
        for k in np.unique(label[index]):
            total, tested = (label[index] == k).sum(), (label[test] == k).sum()
            if not 0 < tested < total:
                raise DataError(
                    f"class {k}: fold {fold} would test {tested} of its {total} images "
                    f"({(kind == k).sum()} groups): expected at least 1 tested and 1 trained on"
                )
    return tests
