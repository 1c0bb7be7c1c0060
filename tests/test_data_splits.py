"""Which images are drawn, shuffled, tested on: arrays from a random stream."""

import numpy as np
import pytest

from jaxbrain.data import splits
from jaxbrain.errors import DataError

KAGGLE = np.repeat([0, 1], [98, 155])


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_selection_takes_all_98_and_draws_100():
    index = splits.select(KAGGLE, 100, rng(0))
    assert np.bincount(KAGGLE[index]).tolist() == [98, 100]
    assert len(set(index)) == 198
    assert (np.diff(index) > 0).all()
    assert np.array_equal(index, splits.select(KAGGLE, 100, rng(0)))
    assert not np.array_equal(index, splits.select(KAGGLE, 100, rng(1)))
    assert splits.select(KAGGLE, 0, rng(0)).tolist() == list(range(253))


def holdout(label, seed: int, fraction: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """(train, test), every image a group of its own."""
    everyone = np.arange(len(label))
    (test,) = splits.folds(label, everyone, everyone, 1, fraction, rng(seed))
    return np.setdiff1d(everyone, test), test


@pytest.mark.parametrize("seed", range(5))
def test_a_pool_of_400_is_tested_on_60_and_60(seed):
    label = rng(seed).permutation(np.repeat([0, 1], 200))
    train, test = holdout(label, seed)
    assert np.bincount(label[test]).tolist() == [60, 60]
    assert np.bincount(label[train]).tolist() == [140, 140]
    assert sorted([*train, *test]) == list(range(400))
    assert (np.diff(test) > 0).all()
    again = holdout(label, seed)
    assert np.array_equal(again[1], test)


def test_streams_draw_independently():
    label = np.repeat([0, 1], 200)
    tests = {tuple(holdout(label, seed)[1]) for seed in range(10)}
    assert len(tests) == 10
    # One stream gives another test set when it is asked again.
    one, everyone = rng(0), np.arange(400)
    first, second = (splits.folds(label, everyone, everyone, 1, 0.3, one)[0] for _ in range(2))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("num_classes", [2, 3])
@pytest.mark.parametrize("num_folds", [2, 5])
def test_folds_hold_every_image_once_and_keep_groups(num_classes, num_folds):
    """Groups of 1 to 3 images among some of the images: those left out appear nowhere."""
    group = np.repeat(np.arange(60), rng(1).integers(1, 4, 60))
    label = (group % num_classes).astype(np.int32)
    index = np.setdiff1d(np.arange(len(label)), [0, 7, 40])
    tests = splits.folds(label, group, index, num_folds, 0.0, rng(2))
    assert len(tests) == num_folds
    assert sorted(np.concatenate(tests)) == index.tolist()
    for test in tests:
        assert not set(group[test]) & set(group[np.setdiff1d(index, test)])
        for k in range(num_classes):
            share = (label[index] == k).sum() / num_folds
            # A fold misses its share by a group at most, of 3 images.
            assert abs((label[test] == k).sum() - share) <= 3


def test_shuffled_labels_keep_counts_of_groups():
    group = np.repeat(np.arange(50), 2)
    label = np.repeat([0, 1, 2], [40, 40, 20]).astype(np.int32)
    index = np.arange(10, 100)
    told = splits.shuffled(label, group, index, rng(3))
    assert told.dtype == np.int32
    # What is not in use keeps its label; so does the argument.
    np.testing.assert_array_equal(told[:10], label[:10])
    assert np.bincount(label).tolist() == [40, 40, 20]
    assert np.bincount(told[index]).tolist() == np.bincount(label[index]).tolist()
    assert (told[index][::2] == told[index][1::2]).all()
    assert 0.2 < (told[index] != label[index]).mean() < 0.9
    again = splits.shuffled(label, group, index, rng(3))
    np.testing.assert_array_equal(told, again)


def test_too_few_images():
    with pytest.raises(DataError, match=r"class 1: fold 0 would test 0 of its 1 images \(1 groups"):
        holdout(np.array([0, 0, 0, 0, 1]), 0)
    with pytest.raises(DataError, match="class 0: fold 0 would test 4 of its 4 images"):
        holdout(np.array([0, 0, 0, 0, 1]), 0, 1.0)
