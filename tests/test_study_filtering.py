"""Synthetic images alone and without near-copies: who trains on what, and what it does."""

import jax
import numpy as np
import pytest
from conftest import small

from jaxbrain import phantom
from jaxbrain.data import duplicates
from jaxbrain.errors import ConfigError
from jaxbrain.study import filtering
from jaxbrain.study.methods import Classifier, Generator
from jaxbrain.study.protocols import StudyConfig
from jaxbrain.study.study import Study, study
from jaxbrain.types import Dataset


def noise(rng, count: int) -> np.ndarray:
    """Images of which no two are alike."""
    return rng.integers(0, 256, (count, 32, 32, 1)).astype(np.uint8)


@pytest.fixture(scope="module")
def images() -> Dataset:
    rng = np.random.default_rng(0)
    return Dataset(noise(rng, 24), np.arange(24, dtype=np.int32) % 2, np.arange(24, dtype=np.int32))


def copies(cfg, train, label, key):
    """Of each class the training images in turn, every other one mirrored; the fifth image of
    a class, and each fifth from there, is new."""
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    new, found, seen = noise(rng, len(label)), [], [0, 0]
    for k, fresh in zip(np.asarray(label).tolist(), new, strict=True):
        own = np.asarray(train.image)[np.asarray(train.label) == k]
        image = own[seen[k] % len(own)]
        found.append(fresh if seen[k] % 5 == 4 else image[:, :: 1 - 2 * (seen[k] % 2)])
        seen[k] += 1
    return np.stack(found)


COPIES = Generator("copies", copies)
STUDY = dict(split="kfold", seeds=1, folds=3, protocols=("P3",), shuffled=False, probe=False)


def watching(seen: list) -> Classifier:
    """A classifier of images that writes down what it was given."""

    def fit_predict(cfg, train, weight, test, key):
        seen.append((np.asarray(train.image), np.asarray(train.label)))
        return np.full((len(test), 2), 0.5)

    return Classifier("watching", fit_predict)


def answered(images, *names, classifiers=None, keep=None, **options):
    """[(prediction, what its classifier was given)] of each cell."""
    cfg, seen = small(), []
    cfg = cfg.__class__(**{**vars(cfg), "data": cfg.data.__class__(image_size=32)})
    own = list(names)
    how = {"options": StudyConfig(**STUDY | options), "generators": own}
    how["classifiers"] = classifiers or [watching(seen)]
    how |= {"keep": keep} if keep else {}
    found = list(study(cfg, images, jax.random.key(0), **how))
    return list(zip(found, seen or [None] * len(found), strict=True))


def test_distances_know_mirrored_copies():
    rng = np.random.default_rng(1)
    real = noise(rng, 6)
    asked = np.concatenate([real[2:4], real[4:5, :, ::-1], noise(rng, 2)])
    found = filtering.distances(asked, real)
    np.testing.assert_allclose(found[:3], 0.0, atol=1e-12)
    flat = [np.float64(x).ravel() for x in (asked[3], *real, *real[:, :, ::-1])]
    best = max(np.corrcoef(flat[0], other)[0, 1] for other in flat[1:])
    assert found[3] == pytest.approx(1.0 - best)


def test_the_limit_is_of_images_that_are_no_copies(monkeypatch):
    """A quantile over one image a group; blocks of any size; at least what is called a copy."""
    rng = np.random.default_rng(2)
    real = noise(rng, 30)
    alone = np.arange(30)
    plain = filtering.limit(real, alone, 0.98)
    own = [filtering.distances(real[i : i + 1], np.delete(real, i, axis=0))[0] for i in alone]
    assert plain == pytest.approx(np.quantile(own, 0.05))
    assert 0.5 < plain < 1.0
    twice = np.concatenate([real, real])
    assert filtering.limit(twice, np.tile(alone, 2), 0.98) == pytest.approx(plain)
    assert filtering.limit(twice, np.arange(60), 0.98) == pytest.approx(0.02)
    monkeypatch.setattr(duplicates, "BLOCK", 7)
    assert filtering.limit(real, alone, 0.98) == pytest.approx(plain)
    assert filtering.limit(real[:1], alone[:1], 0.98) == pytest.approx(0.02)


def test_places_of_near_copies_are_filled_within_the_class():
    label = np.array([0, 0, 1, 1, 0, 0, 1, 1])
    distance = np.array([0.0, 0.9, 0.1, 0.2, 0.8, 0.7, 0.0, 0.15])
    found = filtering.chosen(distance, 0.3, label, 4)
    assert found.tolist() == [1, 4, 3, 7]
    asked = np.array([2, 1])
    assert filtering.counted("images", distance, 0.3, label, asked) == ("images", 3, 2, 1, 0.3)
    assert filtering.chosen(distance, -1.0, label, 4).tolist() == [0, 1, 2, 3]


def test_who_trains_on_what(images):
    """Under every protocol, by the images themselves."""
    names = "linear", "linear@only", "linear@3,only", "linear@4,filtered", "none"
    options = StudyConfig(
        **STUDY | dict(protocols=("P0", "P1", "P2", "P3"), generators=names), classifiers=("nn1",)
    )
    planned = Study(small(), images, jax.random.key(0), options=options)
    assert {cell.protocol for cell in planned.cells if "only" in cell.generator} == {
        "P1",
        "P2",
        "P3",
    }
    assert all(fit.spare for fit in planned.fits)
    fits = {fit.name: fit for fit in planned.fits}
    by_place = {(c.protocol, c.generator, c.fold): c for c in planned.cells}
    for (protocol, generator, fold), cell in by_place.items():
        real, ours = cell.train[cell.train < 24], cell.train[cell.train >= 24] - 24
        if "only" in generator:
            alone = by_place[protocol, "none", fold]
            np.testing.assert_array_equal(cell.test, alone.test)
            assert len(real) == 0 and cell.fit
            told = np.bincount(fits[cell.fit].drawn[ours], minlength=2).tolist()
            usual = np.bincount(images.label[alone.train])
            if protocol == "P1":
                usual = np.bincount(images.label)
            assert told == ([3, 3] if "3" in generator else usual.tolist())
            if protocol != "P1":
                assert not set(fits[cell.fit].index) & set(cell.test)
    # One fit serves every name.
    assert len({c.fit for c in planned.cells if c.fit}) == len(planned.fits) == 1 + 3 + 3


def test_synthetic_images_alone_meet_another_source(images):
    """P4: fitted on all images, trained on none of them, tested on the other source's."""
    names = "linear@only", "linear@5,filtered"
    options = StudyConfig(**STUDY | dict(protocols=("P3",)), generators=names, classifiers=("nn1",))
    how = dict(options=options, num_external=4)
    planned = Study(small(), images, jax.random.key(0), **how)
    only, filtered = (cell for cell in planned.cells if cell.protocol == "P4")
    assert only.train.min() == 24 and len(only.train) == 20
    assert filtered.train[:20].tolist() == list(range(20)) and len(filtered.train) == 30
    for cell in (only, filtered):
        assert cell.test.tolist() == [20, 21, 22, 23]
        (fit,) = (fit for fit in planned.fits if fit.name == cell.fit)
        assert fit.index.tolist() == list(range(20)) and fit.spare


def test_only_has_no_part_in_p0(images):
    with pytest.raises(ConfigError, match="'linear@only', and protocols P0 alone: expected P1"):
        answered(images, "linear@only", classifiers=["nn1"], protocols=("P0",))


def test_copies_are_left_out(images):
    """Four in five are copies, mirrored ones too: those that are none come first, and where
    there are too few of them it is said."""
    found = answered(images, COPIES, "copies@only,filtered", "copies@1,only,filtered")
    for answer, (image, label) in found:
        cell, near = answer.cell, answer.filtered
        real = cell.test[:0] if "only" in cell.generator else cell.train[cell.train < 24]
        fitted = np.setdiff1d(np.arange(24), cell.test)
        distance = filtering.distances(image[len(real) :], images.image[fitted])
        if cell.generator == "copies":
            assert near is None and (distance < 1e-9).mean() > 0.7
        elif "1" in cell.generator:
            assert near[:4] == ("images", 2, 2, 0)
            assert distance.min() > near.limit and label.tolist() == [0, 1]
        else:
            # Sixteen drawn of each class, of eight that are wanted: three are new.
            assert near[:4] == ("images", 16, 14, 10)
            assert (distance > near.limit).sum() == 6
    assert len(found) == 9


def test_the_filter_takes_the_worth_of_copies_away():
    """The labels are noise: nearest neighbour under P1, where a generator that copies saw the
    test's images, knows them all, and with the filter none."""
    rng = np.random.default_rng(3)
    label = rng.permutation(np.arange(40, dtype=np.int32) % 2)
    data = Dataset(noise(rng, 40), label, np.arange(40, dtype=np.int32))

    def many(cfg, train, label, key):
        """All training images of the class, then new ones."""
        wanted, first = np.asarray(label), noise(rng, len(label))
        own = np.asarray(train.label)
        for k in (0, 1):
            mine = np.flatnonzero(wanted == k)
            some = np.asarray(train.image)[own == k][: len(mine)]
            first[mine[: len(some)]] = some
        return first

    names = Generator("many", many), "many@only", "many@only,filtered"
    hits: dict[str, list] = {}
    for answer, _ in answered(data, *names, classifiers=["nn1"], protocols=("P1",)):
        hits.setdefault(answer.cell.generator, []).extend(answer.p.argmax(1) == answer.label)
    assert np.mean(hits["many@only"]) == np.mean(hits["many"]) == 1.0
    assert len(hits["many@only,filtered"]) == 40
    assert 0.2 < np.mean(hits["many@only,filtered"]) < 0.8


@pytest.mark.parametrize("mapping", ["loop", "vmap"])
def test_other_names_change_no_bit(mapping):
    """Of cells that are in both studies; of a generator on the host and one that is compiled."""

    def fit_sample(cfg, train, label, key):
        shape = label.shape[0], *train.image.shape[1:]
        level = 40.0 * jax.numpy.float32(label).reshape(-1, 1, 1, 1)
        level += 200.0 * jax.random.uniform(key, shape)
        return level.astype(np.uint8)

    data = jax.tree.map(np.asarray, phantom.dataset(jax.random.key(5), 12, 32, 0.3))
    mapped = Generator("mapped", fit_sample, mapped=True)
    modes = "linear@only", "linear@filtered", "mapped@2,only,filtered"
    how = dict(classifiers=["ridge", "nn1"], protocols=("P0", "P1", "P3"), mapping=mapping)
    how |= dict(split="holdout", probe=True)
    alone, beside = (
        {answer.cell[:6]: answer for answer, _ in answered(data, *names, **how)}
        for names in (("linear", mapped, "none"), ("linear", mapped, "none", *modes))
    )
    assert len(beside) > len(alone) == 2 * (2 * 4 + 3)
    for key, answer in alone.items():
        np.testing.assert_array_equal(answer.p, beside[key].p)
        np.testing.assert_array_equal(answer.cell.train, beside[key].cell.train)


def test_linear_images_alone_teach_what_phantoms_show():
    """Trained on synthetic, tested on real: three standard errors above chance."""
    data = jax.tree.map(np.asarray, phantom.dataset(jax.random.key(7), 120, 32, 0.0))
    found = answered(data, "linear@only", classifiers=["ridge"])
    hits = np.concatenate([answer.p.argmax(axis=1) == answer.label for answer, _ in found])
    assert len(hits) == 240
    assert hits.mean() - 3 * np.sqrt(0.25 / 240) > 0.5


def test_what_trains_is_trained_once_and_asked_twice(images):
    """Those to spare come of the same training, behind the others, which are what they were."""
    starts = []

    def start(cfg, train, key):
        starts.append(key)
        return {"step": np.zeros(1)}

    def finish(cfg, state, label, key):
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        return noise(rng, len(label)) // 2 + np.uint8(state["step"][0])

    trained = Generator(
        "trained",
        steps=lambda cfg, count: 3,
        start=start,
        advance=lambda cfg, train, key, state, stop: ({"step": np.float64([stop])}, {}),
        finish=finish,
    )
    seen = []
    for names in ((trained,), (trained, "trained@only,filtered")):
        kept: dict[str, np.ndarray] = {}

        def keep(kind, names, make, whole="", kept=kept):
            made = make(names)
            kept.update({f"{kind}/{name}": one for name, one in made.items()})
            return made

        answered(images, *names, keep=keep)
        seen.append(kept)
    alone, more = seen
    drawn = [name for name in alone if name.startswith("images/")]
    assert len(drawn) == 3 and len(starts) == 6
    assert not any(name.startswith("filters/") for name in alone)
    for name in drawn:
        assert alone[name].shape[0] == 16 and more[name].shape[0] == 32
        np.testing.assert_array_equal(more[name][:16], alone[name])
        assert len({one.tobytes() for one in more[name]}) == 32
        assert more[f"filters/{name.removeprefix('images/')}"].shape == (33,)
    for name in (name for name in alone if name.startswith("parts/")):
        np.testing.assert_array_equal(alone[name], more[name])
