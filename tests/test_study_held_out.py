"""GANs with a held-out share: who is on which side, what is drawn and asked."""

import jax
import numpy as np
import pytest
from conftest import change, small

from jaxbrain.errors import ConfigError, DataError
from jaxbrain.study import held_out as held
from jaxbrain.study.protocols import StudyConfig

OPTIONS = StudyConfig(seeds=2, generators=("cgan",), classifiers=("ridge",), protocols=("P2",))


@pytest.fixture(scope="module")
def images():
    """Labels and groups: 60 and 90 images, in groups of one to three."""
    rng = np.random.default_rng(0)
    label = np.repeat(np.int32([0, 1]), [60, 90])
    group = np.cumsum(rng.random(150) < 0.6).astype(np.int32) + 1000 * label
    return label, group


def test_sides_keep_groups_together_and_classes_in_their_shares(images):
    label, group = images
    side = held.sides(0.25, 0, label, group, jax.random.key(0))
    assert set(side) == {0, 1}
    assert not set(group[side == 0]) & set(group[side == 1])
    for k in (0, 1):
        groups = np.unique(group[label == k])
        out = np.unique(group[(label == k) & (side == 1)])
        assert len(out) == round(0.25 * len(groups))
    assert (side == held.sides(0.25, 0, label, group, jax.random.key(0))).all()
    assert (side != held.sides(0.25, 0, label, group, jax.random.key(1))).any()
    few = held.sides(0.25, 20, label, group, jax.random.key(0))
    assert (few[side == 1] == 1).all()
    assert np.bincount(label[few == 0]).tolist() == [20, 20]
    assert ((few == 2) == ((side == 0) & (few != 0))).all()


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 1, float("nan")])
def test_a_share_out_of_range_is_refused(images, share):
    with pytest.raises(ConfigError, match="held_out is .*: expected a share above 0 and below 1"):
        held.sides(share, 0, *images, jax.random.key(0))


def test_a_class_too_small_is_refused():
    label, group = np.int32([0, 0, 0, 0, 1]), np.arange(5, dtype=np.int32)
    with pytest.raises(DataError, match="held_out is 0.25: class 1: .* 0 of its 1 images"):
        held.sides(0.25, 0, label, group, jax.random.key(0))


def test_a_plan_is_a_fit_and_a_probe_a_seed(images):
    label, group = images
    cfg = change(small(), "data", n_per_class=0)
    key = jax.random.key(3)
    fits, cells = held.plan(0.3, cfg, OPTIONS, label, group, key)
    side = held.sides(0.3, 0, label, group, key)
    assert [fit.name for fit in fits] == ["cgan/train/true/0/0", "cgan/train/true/1/0"]
    assert [cell.fit for cell in cells] == [fit.name for fit in fits]
    for fit, cell in zip(fits, cells, strict=True):
        assert fit.index.tolist() == np.flatnonzero(side == 0).tolist()
        count = len(label)
        for own, number in ((cell.train, 0), (cell.test, 1)):
            real, synthetic = own[own < count], own[own >= count]
            assert real.tolist() == np.flatnonzero(side == number).tolist()
            # As many synthetic ones of each class, called 1.
            drawn = fit.drawn[synthetic - count]
            assert np.bincount(drawn).tolist() == np.bincount(label[real]).tolist()
            assert set(cell.label[real]) == {0} and set(cell.label[synthetic]) == {1}
        assert not set(cell.train) & set(cell.test)
        assert len(cell.label) == count + len(fit.drawn)
        assert len(fit.drawn) == count
