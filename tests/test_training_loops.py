"""Whole trainings: loops, chunks, plans, lanes, and that they learn."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import change, small

from jaxbrain import config
from jaxbrain.config import OptimConfig
from jaxbrain.data import phantom, preprocess
from jaxbrain.errors import ConfigError
from jaxbrain.training import classifier, gan, loops, optim
from jaxbrain.types import Batch, Dataset

TRAIN_GAN = jax.jit(loops.train_gan, static_argnums=0)
TRAIN_CLASSIFIER = jax.jit(loops.train_classifier, static_argnums=0)
INIT_GAN = jax.jit(loops.init_gan, static_argnums=0)
PREDICT = jax.jit(loops.predict, static_argnums=0)
FEATURES = jax.jit(classifier.features, static_argnums=0)
INIT_CLASSIFIER = jax.jit(loops.init_classifier, static_argnums=0)


def images(num: int, size: int, seed: int = 0) -> Dataset:
    """Class 1 has a bright square at a random place."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 120, (num, size, size, 1), np.uint8)
    label = (np.arange(num) % 2).astype(np.int32)
    for i in np.flatnonzero(label):
        r, c = rng.integers(2, size - 6, 2)
        image[i, r : r + 4, c : c + 4] = 255
    return Dataset(jnp.asarray(image), jnp.asarray(label), jnp.arange(num, dtype=jnp.int32))


def equal(a, b) -> None:
    chex.assert_trees_all_equal(a, b)


def test_bytes_and_floats_round_trip():
    every = jnp.arange(256, dtype=jnp.uint8).reshape(1, 16, 16, 1)
    scaled = preprocess.to_float(every, 3)
    assert scaled.shape == (1, 16, 16, 3)
    assert (float(scaled.min()), float(scaled.max())) == (-1.0, 1.0)
    np.testing.assert_array_equal(preprocess.to_uint8(scaled), every)


@pytest.mark.parametrize("shuffle", ["once", "every_epoch"])
@pytest.mark.parametrize("partial", ["drop", "pad"])
def test_plan(key, shuffle, partial):
    """Every epoch visits each example at most once; `once` drops the same ones always."""
    plan = loops.Plan(11, 4, 4, shuffle, partial)
    take = jax.jit(lambda key, step: plan.take(plan.order(key, step), step))
    steps = plan.steps()
    assert steps == (2 if partial == "drop" else 3)
    epochs = []
    for e in range(3):
        seen = []
        for s in range(steps):
            index, weight = take(key, jnp.int32(e * steps + s))
            seen += np.asarray(index)[np.asarray(weight) > 0].tolist()
        assert len(set(seen)) == len(seen) == (8 if partial == "drop" else 11)
        epochs.append(seen)
    assert (epochs[0] == epochs[1] == epochs[2]) == (shuffle == "once")


def test_small_data_is_refused_when_partial_batches_are_dropped(key):
    with pytest.raises(ConfigError, match="gan.batch_size is 8: expected at most 5"):
        loops.train_gan(small(), images(5, 32), key)
    assert loops.Plan(5, 8, 8, "once", "pad").steps() == 1


def test_gan_training_equals_a_python_loop(key):
    # SGD: Adam would turn rounding of a gradient near zero into a whole step.
    sgd = OptimConfig(learning_rate=0.05, l2=0.0)
    cfg = change(small(), "gan", generator_optim=sgd, discriminator_optim=sgd)
    data = images(20, 32)
    state, history = TRAIN_GAN(cfg, data, key)
    _, shuffle_key, step_key = jax.random.split(key, 3)
    first = want = INIT_GAN(cfg, key)
    step = jax.jit(gan.train_step, static_argnums=0)
    plan, rows = loops.gan_plan(cfg, 20), []
    for i in range(cfg.gan.steps):
        i = jnp.int32(i)
        index, weight = plan.take(plan.order(shuffle_key, i), i)
        batch = Batch(preprocess.to_float(data.image[index], 1), data.label[index], weight)
        want, metrics = step(cfg, want, batch, step_key)
        rows.append(metrics["discriminator_loss"])
    np.testing.assert_allclose(history.metrics["discriminator_loss"], jnp.stack(rows), rtol=1e-4)
    for name in ("generator", "discriminator"):
        start, got, loop = (getattr(s, name).params for s in (first, state, want))
        moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), start, loop)
        apart = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), got, loop)
        assert max(jax.tree.leaves(moved)) > 0.01
        assert max(jax.tree.leaves(apart)) < 1e-3 * max(jax.tree.leaves(moved))


def test_arrays_of_numpy_are_taken_without_jit(key):
    """What `load_folder` returns goes into a training as it is (traced here, not run)."""
    cfg = small()
    data = jax.tree.map(np.asarray, images(20, 32))
    state, _ = jax.eval_shape(lambda k: loops.train_gan(cfg, data, k), key)
    assert state.step.shape == ()
    data = jax.tree.map(np.asarray, images(12, 16))
    state, _ = jax.eval_shape(lambda k: loops.train_classifier(cfg, data, k), key)
    probability = jax.eval_shape(lambda s: loops.predict(cfg, s, data), state)
    assert probability.shape == (12, 2)


@pytest.mark.parametrize("mode", ["two_stage", pytest.param("end_to_end", marks=pytest.mark.slow)])
def test_schedule_scales_every_update(key, mode):
    """Plain SGD without momentum on frozen data: an update over its factor in the
    schedule equals the update that a constant rate would make from the same state; the
    schedule starts again with the second stage."""
    plain = dict(momentum=0.0, l2=0.0, learning_rate=0.05)
    shared = dict(mode=mode, epochs=2, shuffle="once")
    constant = change(small(), "classifier", optim=OptimConfig(**plain), **shared)
    cosine = OptimConfig(schedule="warmup_cosine", warmup=0.3, **plain)
    cfg = change(constant, "classifier", optim=cosine)
    data = images(13, 16)
    one, total = loops.classifier_steps(cfg, 13)
    state = INIT_CLASSIFIER(cfg, data, key)
    for i in range(total):
        stop = jnp.int32(i + 1)
        new, _ = TRAIN_CLASSIFIER(cfg, data, key, state=state, stop=stop)
        want, _ = TRAIN_CLASSIFIER(constant, data, key, state=state, stop=stop)
        factor = float(optim.schedule(cosine, jnp.int32(i % one), one))
        net = "cnn" if i < one else "hybrid"
        layer = {"cnn": "conv1", "hybrid": "fc11"}[net]
        old, got, full = (getattr(s, net).params[layer]["bias"] for s in (state, new, want))
        assert float(jnp.abs(full - old).max()) > 0
        np.testing.assert_allclose(got - old, factor * (full - old), rtol=1e-3, atol=1e-7)
        state = new


def test_gan_training_in_chunks_is_bit_identical(key):
    """The same compiled program for any cut, so the same bits."""
    cfg, data = small(), images(20, 32)
    first = INIT_GAN(cfg, key)
    traced = jax.jit(chex.assert_max_traces(loops.train_gan, n=1), static_argnums=0)
    whole, history = traced(cfg, data, key, state=first, stop=jnp.int32(6))
    state, parts = first, []
    for stop in (1, 4, 6):
        state, part = traced(cfg, data, key, state=state, stop=jnp.int32(stop))
        parts.append(part.metrics["generator_loss"])
    equal(state, whole)
    # Each part fills its own steps and leaves the others NaN.
    merged = np.where(np.isnan(parts[0]), parts[1], parts[0])
    merged = np.where(np.isnan(merged), parts[2], merged)
    np.testing.assert_array_equal(merged, history.metrics["generator_loss"])
    assert np.isnan(parts[1]).tolist() == [True, False, False, False, True, True]
    chex.clear_trace_counter()


@pytest.mark.parametrize("mode", ["two_stage", "end_to_end"])
@pytest.mark.parametrize("shuffle, partial", [("once", "drop"), ("every_epoch", "pad")])
def test_classifier_training_in_chunks_is_bit_identical(key, mode, shuffle, partial):
    cfg = change(small(), "classifier", mode=mode, shuffle=shuffle, partial=partial)
    if mode == "two_stage":
        cfg = change(cfg, "hybrid", standardise=True)
    data = images(13, 16)
    _, total = loops.classifier_steps(cfg, 13)
    assert total == 2 * (2 if partial == "drop" else 3) * (2 if mode == "two_stage" else 1)
    first = INIT_CLASSIFIER(cfg, data, key)
    whole, _ = TRAIN_CLASSIFIER(cfg, data, key, state=first, stop=jnp.int32(total))
    state = first
    for stop in (1, total // 2, total // 2 + 1, total):
        state, _ = TRAIN_CLASSIFIER(cfg, data, key, state=state, stop=jnp.int32(stop))
    equal(state, whole)
    assert int(state.step) == total


def test_two_stage_freezes_the_cnn(key):
    cfg, data = small(), images(13, 16)
    one, total = loops.classifier_steps(cfg, 13)
    middle, _ = TRAIN_CLASSIFIER(cfg, data, key, stop=jnp.int32(one))
    end, history = TRAIN_CLASSIFIER(cfg, data, key, state=middle, stop=jnp.int32(total))
    equal(middle.cnn, end.cnn)
    fresh = INIT_CLASSIFIER(cfg, data, key)
    equal(fresh.hybrid, middle.hybrid)
    assert not np.array_equal(
        end.hybrid.params["fc2"]["kernel"], middle.hybrid.params["fc2"]["kernel"]
    )
    assert np.isnan(history.metrics["loss"][:one]).all()


def test_second_stage_equals_a_loop_on_features(key):
    cfg, data = small(), images(13, 16)
    one, total = loops.classifier_steps(cfg, 13)
    middle, _ = TRAIN_CLASSIFIER(cfg, data, key, stop=jnp.int32(one))
    end, _ = TRAIN_CLASSIFIER(cfg, data, key, state=middle, stop=jnp.int32(total))
    features = FEATURES(cfg, middle, preprocess.to_float(data.image, 1))
    _, shuffle_key, step_key = jax.random.split(key, 3)
    step = jax.jit(classifier.train_step, static_argnums=0, static_argnames="stage")
    want, plan = middle, loops.classifier_plan(cfg, 13)
    for i in range(one, total):
        i = jnp.int32(i)
        index, weight = plan.take(plan.order(shuffle_key, i), i)
        batch = Batch(features[index], data.label[index], weight)
        want, _ = step(cfg, want, batch, step_key, stage="hybrid")
    chex.assert_trees_all_close(end.hybrid.params, want.hybrid.params, atol=1e-5)


def test_image_mean_is_fitted_on_weighted_rows_only(key):
    cfg, data = small(), images(12, 16)
    weight = jnp.asarray([1.0, 0.0] * 6)
    state = INIT_CLASSIFIER(cfg, data, key, weight)
    want = preprocess.to_float(data.image[::2], 1).mean(0)
    np.testing.assert_allclose(state.image_mean, want, atol=1e-5)


def test_weight_zero_rows_never_matter(key):
    """Spoiling rows of weight 0 changes no bit of what is trained and reported, and leaving
    them out changes no gradient: with all rows in every batch the trainings agree."""
    cfg = change(small(), "classifier", class_weight="balanced")
    cfg = change(cfg, "hybrid", standardise=True)
    data = images(12, 16)
    weight = jnp.asarray([1.0] * 9 + [0.0] * 3)
    spoiled = data._replace(image=data.image.at[9:].set(7), label=data.label.at[9:].set(0))
    equal(*(TRAIN_CLASSIFIER(cfg, which, key, weight=weight) for which in (data, spoiled)))
    sgd = OptimConfig(learning_rate=0.2, l2=0.0)
    cfg = change(cfg, "classifier", batch_size=12, partial="pad", optim=sgd)
    cfg = change(cfg, "hybrid", dropout=0.0)
    one, long = TRAIN_CLASSIFIER(cfg, spoiled, key, weight=weight)
    other, short = TRAIN_CLASSIFIER(cfg, jax.tree.map(lambda leaf: leaf[:9], data), key)
    first = INIT_CLASSIFIER(cfg, data, key, weight)
    for name in ("cnn", "hybrid"):
        start, got, want = (getattr(state, name).params for state in (first, one, other))
        chex.assert_trees_all_close(got, want, atol=1e-6)
        assert max(jax.tree.leaves(jax.tree.map(lambda a, b: abs(a - b).max(), start, want))) > 1e-3
    for name, values in long.metrics.items():
        np.testing.assert_allclose(values, short.metrics[name], rtol=1e-4)
    np.testing.assert_allclose(long.metrics["count"], 9.0, rtol=1e-6)


def test_balanced_weights(key):
    cfg = change(small(), "classifier", class_weight="balanced", batch_size=8)
    cfg = change(cfg, "classifier", mode="end_to_end")
    data = images(8, 16)._replace(label=jnp.asarray([0, 0, 0, 0, 0, 0, 1, 1], jnp.int32))
    _, history = TRAIN_CLASSIFIER(cfg, data, key)
    # n / (K n_c): 6 of 8/12 and 2 of 8/4 sum to 8.
    np.testing.assert_allclose(history.metrics["count"], 8.0, rtol=1e-6)


def test_features_are_standardised(key):
    cfg = change(small(), "hybrid", standardise=True)
    data = images(13, 16)
    state, _ = TRAIN_CLASSIFIER(cfg, data, key)
    features = np.asarray(FEATURES(cfg, state, preprocess.to_float(data.image, 1)))
    np.testing.assert_allclose(state.feature_mean, features.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(state.feature_scale, features.std(0), rtol=1e-3, atol=1e-5)


def test_mapped_lane_equals_single_run():
    cfg = change(small(), "classifier", mode="end_to_end")
    data = images(12, 16)
    keys = jax.random.split(jax.random.key(5), 3)
    mapped, _ = jax.jit(jax.vmap(lambda k: loops.train_classifier(cfg, data, k)))(keys)
    single, _ = TRAIN_CLASSIFIER(cfg, data, keys[1])
    lane = jax.tree.map(lambda leaf: leaf[1], mapped)
    chex.assert_trees_all_close(lane.hybrid.params, single.hybrid.params, atol=1e-5)
    chex.assert_trees_all_close(lane.cnn.params, single.cnn.params, atol=1e-5)


SCALES = 0.0, 1.0, 3.0


@pytest.mark.parametrize("name", ["gan", "classifier"])
def test_learning_rates_are_lanes(key, name):
    """`vmap` over lr_scale: 0 trains nothing, 1 is the training without it, 3 another."""
    sgd = OptimConfig(learning_rate=0.05, l2=0.0)
    cfg = change(small(), "gan", generator_optim=sgd, discriminator_optim=sgd, steps=2)
    cfg = change(cfg, "classifier", optim=sgd, mode="end_to_end", epochs=1)
    train, data = {
        "gan": (loops.train_gan, images(8, 32)),
        "classifier": (loops.train_classifier, images(12, 16)),
    }[name]
    lanes = jax.vmap(lambda data, scale: train(cfg, data, key, lr_scale=scale), (None, 0))
    states, _ = jax.jit(lanes)(data, jnp.asarray(SCALES))
    want, _ = jax.jit(train, static_argnums=0)(cfg, data, key)
    first = INIT_GAN(cfg, key) if name == "gan" else INIT_CLASSIFIER(cfg, data, key)
    first, want, states = jax.device_get((first, want, states))
    for net in ("generator", "discriminator") if name == "gan" else ("cnn", "hybrid"):
        start, one, mapped = (getattr(state, net).params for state in (first, want, states))
        zero, same, thrice = (jax.tree.map(lambda leaf, i=i: leaf[i], mapped) for i in range(3))
        equal(zero, start)
        chex.assert_trees_all_close(same, one, atol=1e-5)
        far = jax.tree.map(lambda a, b, c: (abs(a - b).max(), abs(c - b).max()), one, start, thrice)
        once, triple = (max(jax.tree.leaves(far)[i::2]) for i in range(2))
        assert once > 1e-4
        assert triple > 1.5 * once


def test_predict_in_batches_equals_at_once(key):
    cfg, data = small(), images(13, 16)
    state = INIT_CLASSIFIER(cfg, data, key)
    got = PREDICT(cfg, state, data)
    at_once = jax.jit(classifier.predict, static_argnums=0)
    want = at_once(cfg, state, preprocess.to_float(data.image, 1))
    assert got.shape == (13, 2)
    np.testing.assert_allclose(got, want, atol=1e-6)


def test_classifier_learns(key):
    """Training lowers the loss and the trained state, not the first, is what predicts."""
    cfg = change(
        small(),
        "classifier",
        mode="end_to_end",
        epochs=60,
        batch_size=16,
        optim=OptimConfig("adam", 5e-3, l2=0.0),
    )
    data, fresh = images(64, 16), images(64, 16, seed=1)
    state, history = TRAIN_CLASSIFIER(cfg, data, key)

    def accuracy(state):
        guess = np.asarray(PREDICT(cfg, state, fresh)).argmax(1)
        return (guess == np.asarray(fresh.label)).mean()

    assert float(history.metrics["loss"][-1]) < 0.3 * float(history.metrics["loss"][0])
    assert accuracy(state) > 0.9 > accuracy(INIT_CLASSIFIER(cfg, data, key))


@pytest.mark.slow
def test_gan_learns_the_brightness_of_a_class(key):
    """Two classes of constant images, dark and bright: samples follow the label."""
    adam = OptimConfig("adam", 3e-3, b1=0.5, l2=0.0)
    cfg = change(
        small(),
        "gan",
        dropout=0.0,
        flip=0.0,
        steps=400,
        discriminator_condition="projection",
        generator_condition="batchnorm",
        update="alternating",
        generator_optim=adam,
        discriminator_optim=adam,
    )
    label = jnp.arange(16, dtype=jnp.int32) % 2
    image = jnp.where(label.reshape(-1, 1, 1, 1) == 1, 200, 50).astype(jnp.uint8)
    data = Dataset(jnp.broadcast_to(image, (16, 32, 32, 1)), label, label)
    state, _ = TRAIN_GAN(cfg, data, key)
    drawn = gan.sample(cfg, state, label, key)
    mean = np.asarray(preprocess.to_uint8(drawn), np.float64).mean((1, 2, 3))
    assert mean[1::2].min() > mean[::2].max() + 50


@pytest.mark.slow
def test_tiny_classifier_passes_ninety_percent_on_fresh_phantoms(key, optimised):
    """The default's classifier on as many phantoms as its training set has real ones,
    without the GAN: what the default command promises."""
    cfg = config.tiny()
    size, difficulty = cfg.data.image_size, cfg.data.difficulty
    num = round(cfg.data.n_per_class * (1 - cfg.data.test_fraction))
    data = phantom.dataset(jax.random.key(1), num, size, difficulty)
    fresh = phantom.dataset(jax.random.key(2), 150, size, difficulty)
    state, _ = TRAIN_CLASSIFIER(cfg, data, key)
    guess = np.asarray(loops.predict(cfg, state, fresh)).argmax(1)
    assert (guess == np.asarray(fresh.label)).mean() >= 0.9
