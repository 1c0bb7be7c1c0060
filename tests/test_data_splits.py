"""The paper's selection, synthesis counts and pooled split."""

import numpy as np
import pytest

from jaxbrain.data import splits
from jaxbrain.errors import DataError

KAGGLE = np.repeat([0, 1], [98, 155])


def test_selection_takes_all_98_and_draws_100():
    index = splits.select(KAGGLE, 100, seed=0)
    assert np.bincount(KAGGLE[index]).tolist() == [98, 100]
    assert len(set(index)) == 198
    assert (np.diff(index) > 0).all()
    assert np.array_equal(index, splits.select(KAGGLE, 100, seed=0))
    assert not np.array_equal(index, splits.select(KAGGLE, 100, seed=1))
    assert len(splits.select(KAGGLE, 0, seed=0)) == 253


def test_synthesis_brings_the_pool_to_400():
    index = splits.select(KAGGLE, 100, seed=3)
    label = splits.synthetic_labels(KAGGLE[index])
    assert np.bincount(label).tolist() == [102, 100]
    assert label.dtype == np.int32
    assert np.bincount(splits.synthetic_labels(np.repeat([0, 1, 2], [5, 3, 4]))).tolist() == [
        5,
        7,
        6,
    ]


@pytest.mark.parametrize("seed", range(5))
def test_pooled_split_is_60_60(seed):
    label = np.random.default_rng(seed).permutation(np.repeat([0, 1], 200))
    train, test = splits.pooled(label, 0.3, seed)
    assert np.bincount(label[test]).tolist() == [60, 60]
    assert np.bincount(label[train]).tolist() == [140, 140]
    assert sorted([*train, *test]) == list(range(400))
    again = splits.pooled(label, 0.3, seed)
    assert np.array_equal(again[1], test)


def test_seeds_and_purposes_are_independent():
    label = np.repeat([0, 1], 200)
    tests = {tuple(splits.pooled(label, 0.3, seed)[1]) for seed in range(10)}
    assert len(tests) == 10


def test_too_few_images():
    with pytest.raises(DataError, match="data.test_fraction is 0.3: of the 1 images of class 1"):
        splits.pooled(np.array([0, 0, 0, 0, 1]), 0.3, 0)
