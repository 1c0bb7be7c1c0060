"""The study: lanes are single runs, every image is the one that its cell names, weights,
floors, one computation per distinct cell."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import change, small

from jaxbrain.baselines import floors, linear
from jaxbrain.data import phantom
from jaxbrain.data.preprocess import resized
from jaxbrain.errors import ConfigError, DataError, DivergedError
from jaxbrain.study import mapped, networks, study, views
from jaxbrain.study.methods import Classifier, Generator
from jaxbrain.study.protocols import StudyConfig, plan
from jaxbrain.study.shared import named_key
from jaxbrain.training import loops
from jaxbrain.types import Dataset

OPTIONS = StudyConfig(seeds=2, generators=("cgan", "linear", "none"), classifiers=("cnn",))


def tiny():
    """Two epochs of the classifier, 16 steps of the GAN; every image drawn."""
    cfg = change(small(), "gan", steps=16, augment="none")
    cfg = change(cfg, "data", n_per_class=10, twins=0.3)
    return change(cfg, "classifier", epochs=2, partial="pad", batch_size=8)


@pytest.fixture(scope="module")
def images():
    cfg = tiny()
    return phantom.folder(cfg.data, cfg.gan.image_size)


def answered(cfg, data, options, key=0, **how):
    """(answers by the name of their cell, what `keep` saw: {kind: {name: value}})."""
    kept: dict[str, dict] = {"images": {}, "parts": {}}

    def keep(kind, names, make, whole=""):
        made = make(names)
        assert list(made) == list(names) and not set(names) & set(kept[kind])
        kept[kind] |= made
        return made

    found = list(study(cfg, data, jax.random.key(key), options=options, keep=keep, **how))
    return {one.cell.name: one for one in found}, kept


# Lanes and single runs.

NETS = StudyConfig(
    seeds=2, protocols=("P3",), generators=("cgan",), classifiers=("cnn",), shuffled=False
)


@pytest.fixture(scope="module")
def single(images):
    """Every training of the study `NETS` by itself: images by fit, and cell -> probabilities
    on given synthetic images."""
    cfg, data = tiny(), images[0]
    key = jax.random.key(0)
    fits, cells = plan(cfg, NETS, data.label, data.group, key)
    # Of folds of other lengths: some lanes are padded.
    lengths = {len(fit.index) for fit in fits}
    assert len(lengths) == 2
    gan_run = jax.jit(loops.train_gan, static_argnums=0)
    drawn = {}
    for fit in fits:
        training, synthesis = jax.random.split(named_key(key, fit.name))
        index = np.resize(fit.index, max(lengths))
        shown = Dataset(np.asarray(data.image)[index], data.label[index], index)
        state, _ = gan_run(cfg, shown, training)
        assert int(state.step) == 16
        drawn[fit.name] = networks.synthesise(cfg, state, jnp.asarray(fit.drawn), synthesis)

    own = networks.network(cfg, "cnn")
    run = jax.jit(loops.train_classifier, static_argnums=0)
    real = np.asarray(resized(data, cfg.data.image_size).image)

    def predictions(synthetic: dict) -> dict:
        found = {}
        for cell in cells:
            pool = np.concatenate([real, synthetic[cell.fit]])
            missing = max(len(one.train) for one in cells) - len(cell.train)
            # What stands in rows of weight 0 is another image than in the study's.
            index = np.concatenate([cell.train, cell.test[:1].repeat(missing)])
            weight = jnp.float32(np.arange(len(index)) < len(cell.train))
            shown = Dataset(pool[index], cell.label[index], index.astype(np.int32))
            state, _ = run(own, shown, named_key(key, cell.name), weight=weight)
            unused = np.zeros(len(cell.test), np.int32)
            test = Dataset(pool[cell.test], unused, unused)
            found[cell.name] = loops.predict(own, state, test)
        return found

    return drawn, predictions


@pytest.mark.parametrize(
    "how",
    ["loop", "vmap", *(pytest.param(how, marks=pytest.mark.slow) for how in ("map", "devices"))],
)
def test_fits_and_cells_as_lanes_equal_single_runs(images, single, how):
    """16 updates of a GAN, then of a classifier: float32 sums in another order."""
    drawn, predictions = single
    options = dataclasses.replace(NETS, mapping=how, chunk=2)
    answers, kept = answered(tiny(), images[0], options)
    assert len(answers) == 2 and set(kept["images"]) == set(drawn)
    for name, image in kept["images"].items():
        # Rounded to bytes: at most one grey level apart.
        gap = np.abs(np.int32(image) - np.int32(drawn[name]))
        assert gap.max() <= 1
        assert (gap > 0).mean() < 0.01
    one, two = kept["images"].values()
    assert np.abs(np.int32(one) - np.int32(two)).max() > 1
    wanted = predictions(kept["images"])
    for name, answer in answers.items():
        np.testing.assert_allclose(answer.p, wanted[name], atol=2e-5, err_msg=name)
    assert np.std([answer.p[:, 1].mean() for answer in answers.values()]) > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("how", ["loop", "vmap"])
def test_hybrids_as_lanes_equal_single_runs(images, how):
    """One lane a call, and two."""
    options = dataclasses.replace(NETS, generators=("none",), classifiers=("cnn_lstm_rows",))
    one, _ = answered(tiny(), images[0], dataclasses.replace(options, chunk=1, mapping="loop"))
    two, _ = answered(tiny(), images[0], dataclasses.replace(options, chunk=2, mapping=how))
    for name, answer in one.items():
        np.testing.assert_allclose(answer.p, two[name].p, atol=2e-5)


def test_study_with_networks(images):
    """Every cell once and in full, `keep` sees each part once (`answered`), and one lane after
    another the number of lanes in a call changes no bit."""
    cfg, data = change(tiny(), "gan", steps=3), images[0]
    options = dataclasses.replace(OPTIONS, seeds=2, generators=("cgan", "none"), shuffled=False)
    options = dataclasses.replace(options, protocols=("P2", "P3"), mapping="loop", chunk=2)
    answers, kept = answered(cfg, data, options)
    fits, cells = plan(cfg, options, data.label, data.group, jax.random.key(0))
    assert sorted(one.cell[:6] for one in answers.values()) == sorted(c[:6] for c in cells)
    assert sorted(kept["parts"]) == sorted({cell.name for cell in cells})
    assert sorted(kept["images"]) == sorted(fit.name for fit in fits)
    for answer in answers.values():
        assert answer.p.shape == (len(answer.cell.test), 2)
        assert ((answer.p >= 0) & (answer.p <= 1)).all()
        np.testing.assert_allclose(answer.p.sum(axis=1), 1.0, rtol=1e-6)
        np.testing.assert_array_equal(answer.label, answer.cell.label[answer.cell.test])
    again, _ = answered(cfg, data, dataclasses.replace(options, chunk=1, generators=("none",)))
    assert len(again) == 4
    for name, answer in again.items():
        np.testing.assert_array_equal(answer.p, answers[name].p)


def test_what_is_kept_is_not_made_again(images):
    """A study goes on from answers of before: only what is missing is made."""
    cfg, data = tiny(), images[0]
    options = StudyConfig(seeds=2, classifiers=("ridge", "nn1"))
    first, kept = answered(cfg, data, options)
    some = {name: kept["parts"][name] for name in list(kept["parts"])[:9]}
    made = []

    def keep(kind, names, make, whole=""):
        missing = [name for name in names if name not in some]
        made.extend(missing)
        return some | (make(missing) if missing else {})

    again = list(study(cfg, data, jax.random.key(0), options=options, keep=keep))
    assert sorted(made) == sorted(set(kept["parts"]) - set(some))
    for one in again:
        np.testing.assert_array_equal(one.p, first[one.cell.name].p)


# Which image is read.


def test_a_fit_sees_the_images_of_its_index(images):
    """In its own order, with the labels that it is told."""
    real = np.arange(6 * 4, dtype=np.uint8).reshape(6, 2, 2, 1)
    index, label = np.int32([4, 0, 4]), np.int32([1, 0, 1])
    got = mapped.fit_data(jnp.asarray(real), (index, label, None, None))
    np.testing.assert_array_equal(got.image, real[[4, 0, 4]])
    np.testing.assert_array_equal(got.label, label)


@pytest.mark.parametrize("place", [np.asarray, jnp.asarray])
def test_a_pool_gives_each_image_its_place(place):
    """Real images 0 to 4, then those of one fit among three; each has a level of its own."""
    real = np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1).repeat(4, 1).repeat(4, 2)
    drawn = 100 + 10 * np.arange(3)[:, None] + np.arange(6)
    drawn = np.uint8(drawn).reshape(3, 6, 1, 1, 1).repeat(4, 2).repeat(4, 3)
    index = np.int32([0, 4, 5, 10, 7, 4])
    for which in range(3):
        got = mapped.pool_images(place(real), place(drawn), which, index)
        assert got.shape == (6, 4, 4, 1)
        first = 100 + 10 * which
        assert np.asarray(got)[:, 3, 3, 0].tolist() == [0, 4, first, first + 5, first + 2, 4]


# Of a study in which P0 tests the planted image.
KEY = 1


def planted(mapped: bool) -> Generator:
    """Draws a grey level of its own for each synthetic image; 255 in the pool's 4th."""

    def fit_sample(cfg, train, label, key):
        level = jnp.arange(len(label)) + jax.random.randint(key, (), 1, 100)
        level = level.at[3].set(255).astype(jnp.uint8)
        size = cfg.data.image_size
        return jnp.broadcast_to(level.reshape(-1, 1, 1, 1), (len(label), size, size, 1))

    return Generator("planted", fit_sample, mapped=mapped)


def reader(mapped: bool) -> Classifier:
    """p of a test image: its first pixel; told of its training set: mean and highest level."""

    def fit_predict(cfg, train, weight, test, key):
        asked, shown = (jnp.asarray(x, jnp.float32)[:, 0, 0, 0] for x in (test, train.image))
        counted = jnp.asarray(weight)
        mean = (shown * counted).sum() / counted.sum()
        p = jnp.concatenate([asked, jnp.stack([mean, (shown * counted).max()])]) / 255.0
        # The last two in place of the first two answers.
        p = jnp.concatenate([p[-2:], p[2:-2]])
        return jnp.stack([1.0 - p, p], axis=1)

    return Classifier("reader", fit_predict, mapped=mapped)


@pytest.mark.parametrize("mapped", [False, True])
def test_a_planted_image_is_read_where_it_lies(images, mapped):
    """Every cell of three seeds, by hand: its tests are the images of its indices, its training
    images those of its own fit, and padded rows count for nothing."""
    cfg, (data, _) = tiny(), images
    options = StudyConfig(seeds=3, classifiers=("cnn",), chunk=4, probe=False)
    how = {"generators": [planted(mapped), "none"], "classifiers": [reader(mapped)]}
    answers, _ = answered(cfg, data, options, key=KEY, **how)
    named = dataclasses.replace(options, generators=("planted", "none"), classifiers=("reader",))
    fits, _ = plan(cfg, named, data.label, data.group, jax.random.key(KEY))
    fits = {fit.name: fit for fit in fits}
    real = np.asarray(resized(data, cfg.data.image_size).image)[:, 0, 0, 0]
    seen = []
    for name, answer in answers.items():
        cell, pool = answer.cell, real
        if cell.fit:
            fit = fits[cell.fit]
            first = jax.random.randint(named_key(jax.random.key(KEY), fit.name), (), 1, 100)
            level = np.arange(len(fit.drawn)) + int(first)
            level[3] = 255
            pool = np.concatenate([real, level])
        shown, wanted = np.float64(pool[cell.train]), np.float64(pool[cell.test])
        wanted[:2] = shown.mean(), shown.max()
        np.testing.assert_allclose(255.0 * answer.p[:, 1], wanted, atol=1e-3, err_msg=name)
        if cell.fit:
            seen.append(len(real) + 3 in cell.train)
            assert not seen[-1] or answer.p[1, 1] == 1.0
    # Every cell trains on it, but those of P0 that test it.
    assert len(seen) == 18 and 12 <= sum(seen) < 18
    lengths = {len(answer.cell.train) for answer in answers.values()}
    assert len(lengths) > 3


@pytest.mark.parametrize("name", ["cnn", pytest.param("cnn_lstm_rows", marks=pytest.mark.slow)])
def test_rows_of_weight_0_count_for_nothing(images, name):
    """Whatever stands in them, and under balanced classes: the same bits; a row of weight 1
    does count."""
    cfg = change(tiny(), "classifier", class_weight="balanced")
    parts = networks.parts(name)
    data = resized(images[0], cfg.data.image_size)
    image, label = np.asarray(data.image), np.asarray(data.label)
    weight = np.float32(np.arange(16) < 13)
    key, test = jax.random.key(5), jnp.asarray(image[16:])

    @jax.jit
    def answers(image, label):
        shown = Dataset(image, label, jnp.arange(16))
        state = parts["start"](cfg, shown, weight, key)
        state, _ = parts["advance"](cfg, shown, weight, key, state, parts["steps"](cfg, 16))
        return parts["finish"](cfg, state, test)

    some, told = image[:16], label[:16]
    want = answers(some, told)
    other, changed = some.copy(), told.copy()
    other[13:], changed[13:] = 255 - other[13:], 1 - changed[13:]
    np.testing.assert_array_equal(answers(other, changed), want)
    changed[12] = 1 - changed[12]
    assert np.abs(answers(other, changed) - want).max() > 1e-6


# Floors, views.


def test_floors_see_the_files_and_the_linear_draws(images):
    """P3 of the study against its definition, by hand."""
    data, records = images
    cfg, key = tiny(), jax.random.key(3)
    options = StudyConfig(seeds=1, classifiers=("ridge", "metadata", "nn1"))
    found = study(cfg, data, key, options=options, records=records)
    answers = {one.cell[:4]: one for one in found}
    # Thumbnails of the files, rounded to bytes.
    level = np.round(np.float64(records.small) * 255.0)
    flat = level.reshape(20, -1) / 127.5 - 1.0
    fits, _ = plan(cfg, options, data.label, data.group, key, ["metadata"])
    for labels in ("true", "shuffled"):
        got = answers["P3", "linear", "ridge", labels]
        (fit,) = [f for f in fits if f.name == got.cell.fit]
        own = named_key(key, fit.name)
        rng = np.random.default_rng(np.asarray(jax.random.key_data(own)))
        drawn = linear.draw(flat[fit.index], fit.label[fit.index], fit.drawn, rng)
        drawn = np.round((drawn + 1.0) * 127.5) / 127.5 - 1.0
        pool = np.concatenate([flat, drawn])
        cell = got.cell
        want = floors.ridge(pool[cell.train], cell.label[cell.train], pool[cell.test], 2)
        np.testing.assert_allclose(got.p, want, atol=1e-12)
    files = floors.file_features(records)
    got = answers["P3", "none", "metadata", "true"]
    train_index = got.cell.train
    want = floors.metadata(files[train_index], data.label[train_index], files[got.cell.test], 2)
    np.testing.assert_array_equal(got.p, want)
    assert ("P3", "linear", "metadata", "true") not in answers


def test_beside_a_gan_floors_see_prepared_images(images):
    """Real and synthetic images both as thumbnails of what the classifier's images are."""
    data, records = images
    cfg = tiny()
    options = StudyConfig(
        seeds=1, classifiers=("nn1",), generators=("cgan",), protocols=("P3",), shuffled=False
    )
    answers, kept = answered(change(cfg, "gan", steps=3), data, options, records=records)
    (answer,), (drawn,) = answers.values(), kept["images"].values()
    image = np.asarray(resized(data, cfg.data.image_size).image)
    pool = views.flat(views.thumbnails(np.concatenate([image, drawn])))
    assert pool.shape == (40, 32 * 32)
    cell = answer.cell
    want = floors.nn1(pool[cell.train], cell.label[cell.train], pool[cell.test], 2)
    np.testing.assert_array_equal(answer.p, want)


def test_degraded_reals(images):
    """They pass through the GAN's size; the GAN's own do not depend on that."""
    cfg = change(tiny(), "data", image_size=32, degrade_reals=True)
    cfg = change(cfg, "gan", image_size=16)
    data = images[0]
    seen = views.Views(cfg, data, None)
    want = resized(resized(data, 16), 32)
    np.testing.assert_array_equal(seen.images, want.image)
    assert not np.array_equal(seen.images, data.image)
    np.testing.assert_array_equal(seen.gan, resized(data, 16).image)
    plain = views.Views(change(cfg, "data", degrade_reals=False), data, None)
    np.testing.assert_array_equal(plain.images, data.image)


def test_thumbnails_are_of_the_files_where_there_are_files(images):
    """A head that fills a third of the file is small in its thumbnail."""
    data, records = images
    seen = views.Views(tiny(), data, records)
    level = np.float64(records.small).reshape(20, 32, 32, 1) * 255.0
    np.testing.assert_array_equal(seen.thumbnails, np.round(level))
    np.testing.assert_array_equal(seen.prepared_thumbnails, views.thumbnails(seen.images))
    assert seen.thumbnails.dtype == seen.prepared_thumbnails.dtype == np.uint8
    with pytest.raises(ConfigError, match="sees files: expected records"):
        _ = views.Views(tiny(), data, None).files


def test_refusals(images):
    data, records = images
    key = jax.random.key(0)
    one = data._replace(label=np.zeros(20, np.int32))
    with pytest.raises(DataError, match="two classes or more: found 1"):
        next(study(tiny(), one, key))
    with pytest.raises(ConfigError, match="sees files: expected records"):
        next(study(tiny(), data, key))
    files = StudyConfig(classifiers=("metadata",), generators=("linear",))
    with pytest.raises(ConfigError, match="expected 'none' among them.*metadata sees files"):
        next(study(tiny(), data, key, options=files, records=records))
    few = change(tiny(), "classifier", batch_size=50, partial="drop")
    with pytest.raises(ConfigError, match="classifier.batch_size is 50"):
        next(study(few, data, key, options=OPTIONS))
    with pytest.raises(ConfigError, match="gan.batch_size is 50"):
        next(study(change(tiny(), "gan", batch_size=50), data, key, options=OPTIONS))
    optim = dataclasses.replace(tiny().classifier.optim, learning_rate=1e30)
    cfg = change(tiny(), "classifier", optim=optim)
    options = dataclasses.replace(OPTIONS, seeds=1, generators=("none",), protocols=("P3",))
    with pytest.raises(DivergedError, match="P3/none/cnn/true/0/0"):
        list(study(cfg, data, key, options=options, records=records))
