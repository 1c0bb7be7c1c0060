"""The study: mapped equals looped, weights, floors, one computation per distinct cell."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import change, small

from jaxbrain import study
from jaxbrain.baselines import floors, linear
from jaxbrain.data import duplicates, phantom, preprocess
from jaxbrain.errors import ConfigError, DataError, DivergedError
from jaxbrain.study import lab
from jaxbrain.study.protocols import StudyConfig, plan
from jaxbrain.training import devices, loops
from jaxbrain.types import Dataset

OPTIONS = StudyConfig(seeds=2, generators=("cgan", "linear", "none"), classifiers=("cnn",))


def tiny():
    """One epoch of each net, 16 steps or fewer; every image drawn."""
    cfg = change(small(), "gan", steps=3, augment="none")
    cfg = change(cfg, "data", n_per_class=10, twins=0.3)
    return change(cfg, "classifier", epochs=2, partial="pad", batch_size=8)


@pytest.fixture(scope="module")
def images():
    cfg = tiny()
    return phantom.folder(cfg.data, cfg.gan.image_size)


def entries_of(cfg, data, count=3):
    rng = np.random.default_rng(0)
    train_index = rng.integers(0, 20 + 6, (count, 16)).astype(np.int32)
    label = rng.integers(0, 2, (count, 16)).astype(np.int32)
    weight = np.float32(np.arange(16) < 13) * np.ones((count, 1), np.float32)
    test = rng.integers(0, 20, (count, 5)).astype(np.int32)
    keys = jax.random.split(jax.random.key(5), count)
    which = np.arange(count, dtype=np.int32)
    real = np.asarray(preprocess.resized(data, cfg.data.image_size).image)
    synthetic = rng.integers(0, 255, (count, 6, *real.shape[1:]), np.uint8)
    return (real, synthetic), (which, train_index, label, weight, test, keys)


@pytest.mark.slow
def test_a_mapped_classifier_equals_single_runs(images):
    """map, vmap, pairs and two devices against plain calls: 16 steps, float32 sums in
    another order."""
    cfg = lab.network(change(tiny(), "classifier", epochs=8), "cnn")
    assert loops.classifier_steps(cfg, 16)[0] == 16
    shared, entries = entries_of(cfg, images[0])

    def one(shared, entry):
        return lab.fit_predict(cfg, shared, entry)

    single = jax.jit(one)
    want = [single(shared, jax.tree.map(lambda leaf, i=i: leaf[i], entries)) for i in range(3)]
    want = np.stack(want)
    assert want.std() > 0
    for how in ("map", "vmap", "auto"):
        got = lab.mapped(one, how)(shared, entries)
        np.testing.assert_allclose(got, want, atol=2e-5, err_msg=how)
    spread = devices.spread(one, 2)
    np.testing.assert_allclose(spread(entries, shared=(shared,)), want, atol=2e-5)


@pytest.mark.slow
def test_a_mapped_hybrid_equals_single_runs(images):
    cfg = lab.network(tiny(), "cnn_lstm_rows")
    shared, entries = entries_of(cfg, images[0], 2)
    single = jax.jit(lab.fit_predict, static_argnums=0)
    want = [single(cfg, shared, jax.tree.map(lambda leaf, i=i: leaf[i], entries)) for i in (0, 1)]
    got = lab.mapped(partial(lab.fit_predict, cfg), "vmap")(shared, entries)
    np.testing.assert_allclose(got, np.stack(want), atol=2e-5)


@pytest.mark.slow
def test_a_classifier_reads_the_pool_and_ignores_rows_of_weight_0(images):
    """As `train_classifier` on the images picked by hand; what stands in padded rows
    changes no bit."""
    cfg = lab.network(tiny(), "cnn")
    shared, entries = entries_of(cfg, images[0], 1)
    (which, index, label, weight, test, keys) = jax.tree.map(lambda leaf: leaf[0], entries)
    pool = np.concatenate([shared[0], shared[1][which]])
    data = Dataset(jnp.asarray(pool[index]), jnp.asarray(label), jnp.asarray(index))
    run = jax.jit(lab.fit_predict, static_argnums=0)
    got = run(cfg, shared, (which, index, label, weight, test, keys))
    state, _ = loops.train_classifier(cfg, data, keys, weight=jnp.asarray(weight))
    want = loops.predict(cfg, state, Dataset(jnp.asarray(pool[test]), test, test))[:, 1]
    np.testing.assert_allclose(got, want, atol=1e-5)
    other = np.where(weight > 0, index, 7), np.where(weight > 0, label, 1 - label)
    again = run(cfg, shared, (which, *other, weight, test, keys))
    np.testing.assert_array_equal(got, again)


@pytest.mark.slow
def test_a_mapped_gan_equals_single_runs(images):
    cfg, real = change(tiny(), "gan", steps=16), np.asarray(images[0].image)
    rng = np.random.default_rng(1)
    index = rng.integers(0, 20, (2, 10)).astype(np.int32)
    drawn = np.tile(np.int32([0, 0, 1]), (2, 1))
    keys = jax.random.split(jax.random.key(2), 2)
    entries = index, np.asarray(images[0].label)[index], drawn, keys

    def one(real, entry):
        return lab.fit_cgan(cfg, real, entry)

    single = jax.jit(one)
    want = [single(real, jax.tree.map(lambda leaf, i=i: leaf[i], entries)) for i in range(2)]
    for how in ("map", "vmap"):
        image, finite = lab.mapped(one, how)(real, entries)
        assert finite.all()
        for i, (expected, _) in enumerate(want):
            # Rounded to bytes: at most one grey level apart, after 16 steps.
            gap = np.abs(np.int32(image[i]) - np.int32(expected))
            assert gap.max() <= 1
            assert (gap > 0).mean() < 0.01
    assert np.abs(np.int32(want[0][0]) - np.int32(want[1][0])).max() > 1


def test_study_with_networks(images):
    """Every cell once and in full, `keep` sees each part once, and the chunk changes no
    answer beyond rounding."""
    cfg, key = tiny(), jax.random.key(0)
    options = dataclasses.replace(OPTIONS, seeds=1, generators=("cgan", "none"), shuffled=False)
    options = dataclasses.replace(options, protocols=("P2", "P3"))
    calls = []

    def keep(name, members, make):
        calls.append((name, tuple(members)))
        return make()

    answers = list(study.study(cfg, images[0], key, options=options, keep=keep))
    _, cells = plan(cfg, options, images[0].label, images[0].group)
    assert sorted(a.cell[:6] for a in answers) == sorted(c[:6] for c in cells)
    assert len({name for name, _ in calls}) == len(calls)
    named = [member for name, members in calls if "images" not in name for member in members]
    assert sorted(named) == sorted({cell.name for cell in cells})
    for answer in answers:
        assert answer.p.shape == answer.cell.test.shape
        assert ((answer.p >= 0) & (answer.p <= 1)).all()
        np.testing.assert_array_equal(answer.label, answer.cell.label[answer.cell.test])
    by_name = {answer.cell.name: answer.p for answer in answers}
    options = dataclasses.replace(options, chunk=1, generators=("none",))
    for answer in study.study(cfg, images[0], key, options=options):
        np.testing.assert_allclose(answer.p, by_name[answer.cell.name], atol=2e-5)


def test_floors_see_the_files_and_the_linear_draws(images):
    """P2 of the study against its definition, by hand."""
    data, records = images
    cfg, key = tiny(), jax.random.key(3)
    options = StudyConfig(seeds=1, classifiers=("ridge", "metadata", "nn1"))
    answers = {a.cell[:4]: a for a in study.study(cfg, data, key, options=options, records=records)}
    flat = 2.0 * np.float64(records.small).reshape(20, -1) - 1.0
    fits, _ = plan(cfg, options, data.label, data.group)
    for labels in ("true", "shuffled"):
        got = answers["P3", "linear", "ridge", labels]
        (fit,) = [f for f in fits if f.name == got.cell.fit]
        own = lab.named_key(key, fit.name)
        rng = np.random.default_rng(np.asarray(jax.random.key_data(own)))
        drawn = linear.draw(flat[fit.index], fit.label[fit.index], fit.drawn, rng)
        pool = np.concatenate([flat, drawn])
        cell = got.cell
        want = floors.ridge(pool[cell.train], cell.label[cell.train], pool[cell.test])
        np.testing.assert_allclose(got.p, want, atol=1e-12)
    files = floors.file_features(records)
    got = answers["P3", "none", "metadata", "true"]
    train_index = got.cell.train
    want = floors.metadata(files[train_index], data.label[train_index], files[got.cell.test])
    np.testing.assert_array_equal(got.p, want)
    assert ("P3", "linear", "metadata", "true") not in answers


@pytest.mark.slow
def test_beside_a_gan_floors_see_prepared_images(images):
    data, records = images
    cfg = tiny()
    options = StudyConfig(
        seeds=1, classifiers=("nn1",), generators=("cgan",), protocols=("P3",), shuffled=False
    )
    seen = {}

    def keep(name, members, make):
        seen[name] = make()
        return seen[name]

    (answer,) = study.study(
        cfg, data, jax.random.key(0), options=options, records=records, keep=keep
    )
    (drawn,) = [value for name, value in seen.items() if name.startswith("images_")]
    image = np.asarray(preprocess.resized(data, cfg.data.image_size).image)
    both = np.concatenate([image, drawn[0]])[..., 0] / np.float32(127.5) - np.float32(1)
    pool = np.stack([duplicates.small(one).ravel() for one in both]).astype(np.float64)
    cell = answer.cell
    want = floors.nn1(pool[cell.train], cell.label[cell.train], pool[cell.test])
    np.testing.assert_array_equal(answer.p, want)


def test_degraded_reals(images):
    cfg = change(tiny(), "data", image_size=32, degrade_reals=True)
    cfg = change(cfg, "gan", image_size=16)
    one = lab.Lab(cfg, images[0], jax.random.key(0), None, None, {}, [], [])
    want = preprocess.resized(preprocess.resized(images[0], 16), 32)
    np.testing.assert_array_equal(one.real, want.image)


def test_refusals(images):
    data, records = images
    key = jax.random.key(0)
    three = data._replace(label=np.int32(np.arange(20) % 3))
    with pytest.raises(DataError, match="found 3"):
        next(study.study(tiny(), three, key))
    with pytest.raises(ConfigError, match="metadata"):
        next(study.study(tiny(), data, key))
    few = change(tiny(), "classifier", batch_size=50, partial="drop")
    with pytest.raises(ConfigError, match="classifier.batch_size is 50"):
        next(study.study(few, data, key, options=OPTIONS))
    with pytest.raises(ConfigError, match="gan.batch_size is 50"):
        next(study.study(change(tiny(), "gan", batch_size=50), data, key, options=OPTIONS))
    cfg = change(
        tiny(), "classifier", optim=dataclasses.replace(tiny().classifier.optim, learning_rate=1e30)
    )
    options = dataclasses.replace(OPTIONS, seeds=1, generators=("none",), protocols=("P3",))
    with pytest.raises(DivergedError, match="P3/none/cnn/true/0/0"):
        list(study.study(cfg, data, key, options=options, records=records))
