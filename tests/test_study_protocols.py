"""The protocols as index arrays: who is fitted, trained and tested on what."""

import dataclasses

import jax
import numpy as np
import pytest
from conftest import change, small

from jaxbrain.data import splits
from jaxbrain.errors import ConfigError, DataError
from jaxbrain.study.cells import twins
from jaxbrain.study.names import dose
from jaxbrain.study.protocols import StudyConfig, plan

LABEL = np.repeat([0, 1], [98, 155]).astype(np.int32)
# Pairs of near-duplicates among the first 40 of each class.
GROUP = np.arange(253, dtype=np.int32)
GROUP[1:40:2] = GROUP[:40:2]
GROUP[99:138:2] = GROUP[98:138:2]
ONE = dict(classifiers=("ridge",), generators=("linear", "none"))


def planned(label=LABEL, group=GROUP, n_per_class=100, key=0, real_only=(), **options):
    cfg = change(small(), "data", n_per_class=n_per_class)
    options = StudyConfig(**(ONE | dict(seeds=2) | options))
    fits, cells = plan(cfg, options, label, group, jax.random.key(key), real_only)
    return {fit.name: fit for fit in fits}, cells


def only(cells, **wanted):
    found = [c for c in cells if all(getattr(c, k) == v for k, v in wanted.items())]
    assert len(found) == 1
    return found[0]


def is_real(index):
    return index < len(LABEL)


@pytest.mark.parametrize("seed", range(2))
def test_holdout_has_the_papers_counts(seed):
    fits, cells = planned()
    at = dict(seed=seed, labels="true", generator="linear")
    zero = only(cells, protocol="P0", **at)
    assert np.bincount(zero.label[zero.test]).tolist() == [60, 60]
    assert np.bincount(zero.label[zero.train]).tolist() == [140, 140]
    assert not set(zero.train) & set(zero.test)
    real = np.sort([*zero.train[is_real(zero.train)], *zero.test[is_real(zero.test)]])
    assert np.bincount(LABEL[real]).tolist() == [98, 100]
    np.testing.assert_array_equal(fits[zero.fit].index, real)

    one = only(cells, protocol="P1", **at)
    assert one.fit == zero.fit
    assert is_real(one.test).all()
    assert np.bincount(one.label[one.test]).tolist() == [29, 30]
    synthetic = one.train[~is_real(one.train)]
    assert np.bincount(one.label[synthetic]).tolist() == [100, 100]
    assert set(one.train[is_real(one.train)]) | set(one.test) == set(real)

    two, three = (only(cells, protocol=p, **at) for p in ("P2", "P3"))
    np.testing.assert_array_equal(two.test, one.test)
    for cell in (two, three):
        seen = fits[cell.fit].index
        assert not set(seen) & set(cell.test)
        np.testing.assert_array_equal(seen, cell.train[is_real(cell.train)])
        assert np.bincount(cell.label[cell.train[~is_real(cell.train)]]).tolist() == [100, 100]
    assert not set(GROUP[three.test]) & set(GROUP[fits[three.fit].index])
    assert set(GROUP[two.test]) & set(GROUP[fits[two.fit].index])
    # 30 % of the groups of each class.
    groups = [len(set(GROUP[real[LABEL[real] == k]])) for k in (0, 1)]
    tested = [len(set(GROUP[three.test[LABEL[three.test] == k]])) for k in (0, 1)]
    assert tested == [round(0.3 * n) for n in groups]


def test_without_synthesis_three_protocols_are_one():
    _, cells = planned(seeds=1)
    own = {c.protocol: c for c in cells if (c.generator, c.labels) == ("none", "true")}
    assert own["P0"].name == own["P1"].name == own["P2"].name != own["P3"].name
    for cell in own.values():
        assert cell.fit == ""
        assert len(cell.label) == len(LABEL)
    np.testing.assert_array_equal(own["P0"].test, own["P2"].test)


def test_kfold_tests_every_image_once_and_keeps_groups():
    fits, cells = planned(split="kfold", folds=4, seeds=1, shuffled=False)
    for generator in ("linear", "none"):
        for protocol in ("P1", "P2", "P3"):
            own = [c for c in cells if (c.protocol, c.generator) == (protocol, generator)]
            assert sorted(np.concatenate([c.test for c in own])) == list(range(253))
            for cell in own:
                assert abs(len(cell.test) - 253 / 4) < 3
                share = (cell.label[cell.test] == 1).mean()
                assert abs(share - 155 / 253) < 0.03
                seen = cell.train[is_real(cell.train)]
                assert set(seen) == set(range(253)) - set(cell.test)
                if protocol == "P3":
                    assert not set(GROUP[cell.test]) & set(GROUP[seen])
                if generator == "linear":
                    drawn = cell.label[cell.train[~is_real(cell.train)]]
                    base = LABEL if protocol == "P1" else LABEL[seen]
                    assert np.bincount(drawn).tolist() == np.bincount(base).tolist()
    pools = [c for c in cells if (c.protocol, c.labels) == ("P0", "true") and c.fit]
    assert len({c.fit for c in pools}) == 1
    assert sorted(np.concatenate([c.test for c in pools])) == list(range(506))


def test_shuffled_labels_move_whole_groups_before_the_fit():
    fits, cells = planned(seeds=1)
    shuffled = [c for c in cells if c.labels == "shuffled"]
    assert {c.protocol for c in shuffled} == {"P0", "P3"}
    cell = only(shuffled, protocol="P3", generator="linear")
    used = np.sort([*cell.test, *cell.train[is_real(cell.train)]])
    told = cell.label[used]
    assert 0.2 < (told != LABEL[used]).mean() < 0.8
    for group in set(GROUP[used]):
        assert len(set(told[GROUP[used] == group])) == 1
    np.testing.assert_array_equal(fits[cell.fit].label, cell.label[: len(LABEL)])
    for truth in (0, 1):
        by_group = {g: LABEL[GROUP == g][0] for g in GROUP[used]}
        now = {g: t for g, t in zip(GROUP[used], told, strict=True)}
        assert sum(v == truth for v in by_group.values()) == sum(v == truth for v in now.values())


def test_probe_learns_where_an_image_comes_from():
    _, cells = planned(seeds=1)
    probe = only(cells, labels="origin")
    zero = only(cells, protocol="P0", labels="true", generator="linear")
    np.testing.assert_array_equal(probe.test, zero.test)
    np.testing.assert_array_equal(probe.label, ~is_real(np.arange(len(probe.label))))


def test_doses_share_a_fit():
    names = ("linear", "linear@7", "linear@150")
    fits, cells = planned(generators=names, seeds=1, protocols=("P3",), shuffled=False)
    assert len(fits) == 1
    for name, want in zip(names, (100, 7, 150), strict=True):
        cell = only(cells, generator=name)
        synthetic = cell.train[~is_real(cell.train)]
        assert np.bincount(cell.label[synthetic]).tolist() == [want, want]


def test_twins_are_marked():
    _, cells = planned(seeds=1, shuffled=False, probe=False)
    for cell in cells:
        found = twins(cell, GROUP)
        for index, twin in zip(cell.test, found, strict=True):
            if not is_real(index):
                assert twin == -1
            else:
                seen = cell.train[is_real(cell.train)]
                assert twin == (GROUP[index] in GROUP[seen])
        if cell.protocol == "P3":
            assert not (found == 1).any()


def test_a_group_across_classes_stays_together():
    label = np.tile([0, 1], 30).astype(np.int32)
    group = np.arange(60) // 2
    rng = np.random.default_rng(0)
    for num_folds in (1, 3):
        for test in splits.folds(label, group, np.arange(60), num_folds, 0.3, rng):
            assert not set(group[test]) & set(group[np.setdiff1d(np.arange(60), test)])


def test_seeds_differ_and_repeat():
    _, cells = planned()
    _, again = planned()
    for one, two in zip(cells, again, strict=True):
        np.testing.assert_array_equal(one.train, two.train)
        np.testing.assert_array_equal(one.test, two.test)
    first = only(cells, protocol="P2", generator="none", labels="true", seed=0)
    second = only(cells, protocol="P2", generator="none", labels="true", seed=1)
    assert not np.array_equal(first.test, second.test)


def test_the_key_decides_everything():
    """Another key: another selection, other splits, other shuffled labels."""
    (fits, cells), (others, moved) = planned(seeds=1), planned(seeds=1, key=1)
    assert [cell.name for cell in cells] == [cell.name for cell in moved]
    for name, fit in fits.items():
        assert not np.array_equal(fit.index, others[name].index), name
    for one, two in zip(cells, moved, strict=True):
        assert not np.array_equal(one.test, two.test), one.name
        if one.labels == "shuffled":
            assert not np.array_equal(one.label, two.label), one.name


def test_a_seed_stands_alone():
    """More seeds, other protocols and other generators change none of its splits."""
    _, cells = planned()
    _, alone = planned(seeds=1, protocols=("P0", "P2"), generators=("linear",), shuffled=False)
    by_name = {(cell.protocol, *cell[1:6]): cell for cell in cells}
    assert len(alone) == 3  # P0, its probe, P2
    for cell in alone:
        np.testing.assert_array_equal(cell.train, by_name[cell.protocol, *cell[1:6]].train)
        np.testing.assert_array_equal(cell.test, by_name[cell.protocol, *cell[1:6]].test)


def test_three_classes_are_filled_to_twice_the_largest():
    label = np.repeat([0, 1, 2], [30, 50, 40]).astype(np.int32)
    fits, cells = planned(label, np.arange(120), n_per_class=0, seeds=1)
    zero = only(cells, protocol="P0", labels="true", generator="linear")
    assert np.bincount(fits[zero.fit].drawn).tolist() == [70, 50, 60]
    assert np.bincount(zero.label[zero.test]).tolist() == [30, 30, 30]
    assert np.bincount(zero.label[zero.train]).tolist() == [70, 70, 70]
    two = only(cells, protocol="P2", labels="true", generator="linear")
    assert np.bincount(two.label[two.test]).tolist() == [9, 15, 12]
    assert np.bincount(fits[two.fit].drawn).tolist() == [50, 50, 50]
    shuffled = only(cells, protocol="P3", labels="shuffled", generator="none")
    assert np.bincount(shuffled.label).tolist() == [30, 50, 40]


def test_classifiers_of_files_have_no_part_beside_synthetic_images():
    _, cells = planned(classifiers=("ridge", "metadata"), real_only=("metadata",), seeds=1)
    assert {c.generator for c in cells if c.classifier == "ridge"} == {"linear", "none"}
    own = [c for c in cells if c.classifier == "metadata"]
    assert {c.generator for c in own} == {"none"} and not any(c.fit for c in own)
    assert {c.protocol for c in own} == {"P0", "P1", "P2", "P3"}


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(protocols=("P0", "P0")), "each once"),
        (dict(protocols=("P5",)), "protocols is .*P5.*expected some of P0, P1, P2, P3"),
        (dict(protocols=()), "protocols is"),
        (dict(seeds=0), "seeds is 0"),
        (dict(folds=1), "folds is 1"),
        (dict(chunk=-1), "chunk is -1"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(ConfigError, match=message):
        StudyConfig(**options)


def test_a_dose_is_a_number():
    assert (dose("cgan"), dose("cgan@50"), dose("none")) == (None, 50, None)
    for wrong in ("none@5", "cgan@x", "cgan@0", "cgan@-1", "cgan@"):
        with pytest.raises(ConfigError, match=f"generators has '{wrong}': .*such as cgan@50"):
            dose(wrong)


def test_one_class_is_no_study():
    with pytest.raises(DataError, match="two classes or more: found 1"):
        planned(np.zeros(20, np.int32), np.arange(20))
    with pytest.raises(DataError, match=r"label\[6\] is 2: expected 0 to 1"):
        planned(np.repeat([0, 2], 6).astype(np.int32), np.arange(12))


def test_a_class_too_small_for_the_folds():
    label = np.repeat([0, 1], [3, 20]).astype(np.int32)
    group = np.arange(23)
    with pytest.raises(DataError, match="class 0: fold"):
        planned(label, group, split="kfold", folds=5)
    group[:3] = 0
    with pytest.raises(DataError, match=r"class 0: fold 0 would test [03] of its 3"):
        planned(label, group)


def test_options_are_hashable():
    assert hash(StudyConfig()) == hash(dataclasses.replace(StudyConfig()))
