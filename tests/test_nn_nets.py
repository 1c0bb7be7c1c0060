"""MATLAB's initialisers and constants, parameter counts, Table 1, the vacuous LSTM."""

import dataclasses
import re
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import change, small

from jaxbrain import config
from jaxbrain.nn import ops
from jaxbrain.nn.cnn_lstm import CNN, Hybrid
from jaxbrain.nn.generator import Generator
from jaxbrain.nn.layers import BatchNorm, Conv, compute_dtype, dense
from jaxbrain.nn.lstm import LSTM
from jaxbrain.training import classifier, gan
from jaxbrain.types import Batch

pytestmark = pytest.mark.smoke


def count(params) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def glorot_limit(fan_in: int, fan_out: int) -> float:
    return float(np.sqrt(6.0 / (fan_in + fan_out)))


def test_dense_is_glorot_with_zero_bias(key):
    params = jax.jit(dense(50, "float32").init)(key, jnp.zeros((1, 70)))["params"]
    limit = glorot_limit(70, 50)
    assert 0.98 * limit < float(jnp.abs(params["kernel"]).max()) <= limit
    np.testing.assert_allclose(params["kernel"].std(), limit / np.sqrt(3), rtol=0.05)
    assert not params["bias"].any()


def test_conv_is_glorot_with_zero_bias(key):
    params = jax.jit(Conv(32, 5).init)(key, jnp.zeros((1, 8, 8, 16)))["params"]
    limit = glorot_limit(25 * 16, 25 * 32)
    assert 0.98 * limit < float(jnp.abs(params["kernel"]).max()) <= limit
    assert not params["bias"].any()


def test_lstm_initialisers(key):
    params = jax.jit(LSTM(40).init)(key, jnp.zeros((1, 3, 64)))["params"]
    # Input weights: Glorot over the stacked [D, 4H] matrix.
    limit = glorot_limit(64, 160)
    assert 0.98 * limit < float(jnp.abs(params["kernel"]).max()) <= limit
    # Recurrent weights: orthogonal as one [H, 4H] matrix, not gate by gate.
    recurrent = params["recurrent_kernel"]
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(40), atol=1e-5)
    # Bias: 1 in the forget gate (the second of i f g o), 0 elsewhere.
    want = np.concatenate([np.zeros(40), np.ones(40), np.zeros(80)])
    np.testing.assert_array_equal(params["bias"], want)


def test_lstms_mapped_over_seeds_decompose_one_matrix_at_a_time(key):
    """jaxlib's batched QR hangs where two of them meet in one CPU program."""
    lstm, x = LSTM(4), jnp.zeros((1, 2, 3))
    keys = jax.random.split(key, 3)
    init = jax.vmap(lambda key: lstm.init(key, x))
    assert re.findall(r"f32\[(\S+)\] \S+ = qr\[", str(jax.make_jaxpr(init)(keys))) == ["16,4"]
    chex.assert_trees_all_close(
        jax.tree.map(lambda leaf: leaf[1], jax.jit(init)(keys)),
        jax.jit(lstm.init)(keys[1], x),
        atol=1e-6,
    )


@pytest.mark.parametrize("steps", [3, 20])
def test_an_lstm_that_is_written_out_is_the_same(steps, monkeypatch):
    """On an accelerator: values and gradients, of fewer and more steps than are written out."""
    keys = jax.random.split(jax.random.key(21), 2)
    x, lstm = jax.random.normal(keys[0], (2, steps, 5)), LSTM(4)
    params = jax.jit(lstm.init)(keys[1], x)
    run = lambda params: (lstm.apply(params, x) ** 2).sum()  # noqa: E731
    want = jax.jit(jax.value_and_grad(run))(params)
    monkeypatch.setattr(ops, "backend", lambda: "gpu")
    got = jax.jit(jax.value_and_grad(lambda params: run(params)))(params)
    chex.assert_trees_all_close(got, want, rtol=1e-5, atol=1e-6)
    text = jax.jit(lambda params: run(params)).lower(params).as_text()
    assert ("stablehlo.while" in text) == (steps > 16)


def test_lstm_output_modes(key):
    x = jax.random.normal(key, (2, 5, 3))
    variables = jax.jit(LSTM(4).init)(key, x)
    sequence = jax.jit(LSTM(4).apply)(variables, x)
    assert sequence.shape == (2, 5, 4)
    last = jax.jit(LSTM(4, last=True).apply)(variables, x)
    np.testing.assert_array_equal(last, np.asarray(sequence)[:, -1])


def test_lstm_equals_numpy(key):
    x = jax.random.normal(key, (3, 6, 5))
    params = jax.device_get(jax.jit(LSTM(4).init)(key, x)["params"])
    params = jax.tree.map(lambda p: p + np.float32(0.1), params)

    def sigmoid(v):
        return 1 / (1 + np.exp(-v))

    w, r, b = (np.float64(params[n]) for n in ("kernel", "recurrent_kernel", "bias"))
    h, c = np.zeros((3, 4)), np.zeros((3, 4))
    outputs = []
    for t in range(6):
        i, f, g, o = np.split(np.float64(x[:, t]) @ w + h @ r + b, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        outputs.append(h)
    got = jax.jit(LSTM(4).apply)({"params": params}, x)
    np.testing.assert_allclose(got, np.stack(outputs, 1), rtol=1e-5, atol=1e-6)


def test_batch_norm_constants(key):
    """Epsilon 1e-5; running statistics move by 0.1 a step; inference uses them."""
    x = 3.0 + 2.0 * jax.random.normal(key, (8, 4, 4, 5))
    label = jnp.zeros((8,), jnp.int32)
    variables = jax.jit(BatchNorm(True).init)(key, x, label)
    train = jax.jit(partial(BatchNorm(True).apply, mutable=["batch_stats"]))
    y, new = train(variables, x, label)
    x, y = np.asarray(x), np.asarray(y)
    mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(var + 1e-5), atol=1e-5)
    stats = new["batch_stats"]["norm"]
    np.testing.assert_allclose(stats["mean"], 0.1 * mean, rtol=1e-5)
    np.testing.assert_allclose(stats["var"], 0.9 + 0.1 * var, rtol=1e-4)
    z = jax.jit(BatchNorm(False).apply)({"params": variables["params"]} | new, x, label)
    want = (x - np.asarray(stats["mean"])) / np.sqrt(np.asarray(stats["var"]) + 1e-5)
    np.testing.assert_allclose(z, want, rtol=1e-4, atol=1e-4)


def test_pools_have_stride_two_and_interleave():
    """224 -> 112 -> 56 interleaved; the other reading pools twice at the end."""
    cfg = config.paper()
    image = jax.ShapeDtypeStruct((1, 224, 224, 1), jnp.float32)

    def shape(cfg):
        def run(image):
            net = CNN(cfg)
            variables = net.init(jax.random.key(0), image)
            return net.apply(variables, image, method="map")

        return jax.eval_shape(run, image).shape

    assert shape(cfg) == (1, 56, 56, 64)
    assert shape(change(cfg, "cnn", interleave=False)) == (1, 56, 56, 64)


@pytest.mark.parametrize("pool", ["max", "average", "min"])
def test_cnn_pools(cfg, key, pool):
    image = jax.random.normal(key, (2, 16, 16, 1))
    variables = jax.jit(CNN(cfg).init)(key, image)
    got = jax.jit(CNN(change(cfg, "cnn", pool=pool)).apply)(variables, image)
    baseline = jax.jit(CNN(cfg).apply)(variables, image)
    assert got.shape == (2, 2)
    assert np.array_equal(got, baseline) == (pool == "max")


def test_paper_parameter_counts():
    """Goldens by hand from the layers of the paper's Table 1 and its widths (docs/paper.md)."""
    cfg = config.paper()
    state = jax.eval_shape(lambda: gan.init(cfg, jax.random.key(0)))
    generator = (
        (100 * 16384 + 16384)  # project
        + 2 * 50  # embedding
        + (50 * 16 + 16)  # label map
        + (25 * 1025 * 256 + 256)
        + (25 * 256 * 128 + 128)
        + (25 * 128 * 64 + 64)
        + (25 * 64 * 1 + 1)
        + 2 * (256 + 128 + 64)  # BatchNorm
    )
    assert count(state.generator.params) == generator == 9_242_645
    discriminator = (
        2 * 50
        + (50 * 4096 + 4096)
        + (25 * 2 * 64 + 64)
        + (25 * 64 * 128 + 128)
        + (25 * 128 * 256 + 256)
        + (25 * 256 * 512 + 512)
        + (16 * 512 + 1)
    )
    assert count(state.discriminator.params) == discriminator == 4_522_149
    nets = jax.eval_shape(lambda: classifier.init(cfg, jax.random.key(0)))
    cnn = (9 * 32 + 32) + (9 * 32 * 64 + 64) + (56 * 56 * 64 * 128 + 128) + (128 * 2 + 2)
    assert count(nets.cnn.params) == cnn == 25_709_314
    hybrid = (
        (128 * 128 + 128)
        + (128 * 64 + 64)
        + 4 * (64 * 40 + 40 * 40 + 40)
        + 4 * (40 * 40 + 40 * 40 + 40)
        + (40 * 20 + 20)
        + (20 * 2 + 2)
    )
    assert count(nets.hybrid.params) == hybrid == 55_390


@pytest.mark.parametrize("size, start, doublings", [(64, 8, 3), (128, 8, 4), (224, 7, 5)])
def test_gan_sizes(size, start, doublings):
    cfg = change(config.paper(), "gan", image_size=size)
    assert (cfg.gan.start_size, cfg.gan.doublings) == (start, doublings)
    state = jax.eval_shape(lambda: gan.init(cfg, jax.random.key(0)))
    label = jax.ShapeDtypeStruct((3,), jnp.int32)
    key = jax.eval_shape(lambda: jax.random.key(0))
    image = jax.eval_shape(lambda s, y, k: gan.sample(cfg, s, y, k), state, label, key)
    assert image.shape == (3, size, size, 1)


def test_generator_and_three_channels(cfg, key):
    cfg = change(cfg, "data", channels=3)
    state = jax.jit(gan.init, static_argnums=0)(cfg, key)
    label = jnp.zeros((2,), jnp.int32)
    image = jax.jit(gan.sample, static_argnums=0)(cfg, state, label, key)
    assert image.shape == (2, 32, 32, 3)
    assert float(jnp.abs(image).max()) <= 1.0


@pytest.mark.parametrize("condition", ["concat", "batchnorm"])
def test_generator_listens_to_the_label(cfg, key, condition):
    cfg = change(cfg, "gan", generator_condition=condition)
    z = jax.random.normal(key, (1, 6))
    zero, one = jnp.zeros((1,), jnp.int32), jnp.ones((1,), jnp.int32)
    variables = jax.jit(partial(Generator(cfg).init, train=False))(key, z, zero)
    # Per-class scales start equal; move them as training would.
    rng, params = np.random.default_rng(1), jax.device_get(variables["params"])
    noise = jax.tree.map(lambda p: p + np.float32(0.1 * rng.normal(size=p.shape)), params)
    variables = {"params": noise, "batch_stats": variables["batch_stats"]}
    draw = jax.jit(partial(Generator(cfg).apply, train=False))
    a, b = (np.asarray(draw(variables, z, label)) for label in (zero, one))
    assert np.abs(a - b).max() > 1e-3


def test_number_of_classes_comes_from_the_config(cfg, key):
    cfg = change(cfg, "data", num_classes=4)
    state = jax.jit(classifier.init, static_argnums=0)(cfg, key)
    predict = jax.jit(classifier.predict, static_argnums=0)
    probability = np.asarray(predict(cfg, state, jnp.zeros((3, 16, 16, 1))))
    assert probability.shape == (3, 4)
    np.testing.assert_allclose(probability.sum(1), np.ones(3), rtol=1e-5)


@pytest.mark.parametrize("sequence", ["vector", "scalar", "rows"])
def test_recurrent_kernels_are_vacuous_in_the_vector_reading(cfg, key, sequence):
    """The paper's LSTM, read literally, has one time step and zero initial states: its
    recurrent kernels get a gradient of exactly zero. The other readings use them."""
    cfg = change(cfg, "hybrid", sequence=sequence)
    shape = (5, 8, 7) if sequence == "rows" else (5, 9)
    features = jax.random.normal(key, shape)
    variables = jax.jit(partial(Hybrid(cfg).init, train=False))(key, features)

    def loss(params):
        return (Hybrid(cfg).apply({"params": params}, features, train=False) ** 2).sum()

    grads = jax.device_get(jax.jit(jax.grad(loss))(variables["params"]))
    for name in ("lstm6", "lstm8"):
        assert np.abs(grads[name]["kernel"]).max() > 0
        largest = np.abs(grads[name]["recurrent_kernel"]).max()
        assert (largest == 0.0) == (sequence == "vector")


def test_hybrid_has_table_1_in_its_order(cfg, key):
    """FC sigmoid FC LSTM dropout LSTM dropout FC FC, in an interpreted copy."""
    features = jax.random.normal(key, (3, 5))
    params = jax.jit(partial(Hybrid(cfg).init, train=False))(key, features)["params"]

    def fc(name, x):
        return x @ params[name]["kernel"] + params[name]["bias"][None]

    @jax.jit
    def by_hand():
        x = fc("fc4", jax.nn.sigmoid(fc("fc2", features)))[:, None]
        x = LSTM(4).apply({"params": params["lstm6"]}, x)
        x = LSTM(4, last=True).apply({"params": params["lstm8"]}, x)
        return fc("fc11", fc("fc10", x))

    want = by_hand()
    got = jax.jit(partial(Hybrid(cfg).apply, train=False))({"params": params}, features)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_dropout_is_inverted_and_only_in_training(cfg, key):
    features = jax.random.normal(key, (400, 5))
    variables = jax.jit(partial(Hybrid(cfg).init, train=False))(key, features)

    @partial(jax.jit, static_argnums=(0, 1))
    def run(net, train, variables, features):
        return net.apply(variables, features, train, rngs={"dropout": key})

    quiet = np.asarray(run(Hybrid(cfg), False, variables, features))
    loud = np.asarray(run(Hybrid(cfg), True, variables, features))
    assert np.abs(quiet - loud).max() > 1e-4
    np.testing.assert_allclose(loud.mean(0), quiet.mean(0), atol=0.02)
    exact = run(Hybrid(change(cfg, "hybrid", dropout=0.0)), True, variables, features)
    np.testing.assert_array_equal(exact, quiet)


def test_end_to_end_has_no_unused_parameters(cfg, key):
    """Every parameter of an end-to-end training in the rows reading gets a gradient."""
    cfg = change(change(cfg, "classifier", mode="end_to_end"), "hybrid", sequence="rows")
    state = jax.jit(classifier.init, static_argnums=0)(cfg, key)
    assert set(state.cnn.params) == {"conv1", "conv2"}
    image = jax.random.uniform(key, (4, 16, 16, 1), minval=-1.0)
    batch = Batch(image, jnp.asarray([0, 1, 0, 1], jnp.int32), jnp.ones((4,)))
    new, _ = jax.jit(classifier.train_step, static_argnums=0)(cfg, state, batch, key)
    old = {"cnn": state.cnn.params, "hybrid": state.hybrid.params}
    moved = {"cnn": new.cnn.params, "hybrid": new.hybrid.params}
    for a, b in zip(jax.tree.leaves(old), jax.tree.leaves(moved), strict=True):
        assert not np.array_equal(a, b)


def test_auto_is_bfloat16_on_an_accelerator(monkeypatch):
    cfg = config.recommended()
    assert (cfg.compute, compute_dtype(cfg), config.cpu().compute) == ("auto", "float32", "float32")
    for backend in ("gpu", "tpu"):
        monkeypatch.setattr(ops, "backend", lambda backend=backend: backend)
        assert compute_dtype(cfg) == "bfloat16" and compute_dtype(config.paper()) == "float32"
        cnn = CNN(change(dataclasses.replace(small(), compute="auto"), "data", image_size=16))
        image = jnp.zeros((2, 16, 16, 1))
        params = jax.eval_shape(lambda image=image, cnn=cnn: cnn.init(jax.random.key(0), image))
        found = jax.eval_shape(
            lambda p, image=image, cnn=cnn: cnn.apply(p, image, method="map"), params
        )
        assert found.dtype == jnp.bfloat16
        assert {leaf.dtype.name for leaf in jax.tree.leaves(params)} == {"float32"}


@pytest.mark.parametrize("reading", ["rows", pytest.param("vector", marks=pytest.mark.slow)])
def test_bfloat16_activations_float32_parameters(key, reading):
    """Same parameters, outputs near those of float32 and float32 themselves; the step
    keeps parameters, statistics and optimiser states float32."""
    full = change(small(), "hybrid", sequence=reading, dropout=0.0)
    full = change(change(full, "gan", dropout=0.0), "classifier", mode="end_to_end")
    half = dataclasses.replace(full, compute="bfloat16")
    image = jax.random.uniform(key, (8, 16, 16, 1), minval=-1.0)
    label = jnp.arange(8, dtype=jnp.int32) % 2
    init = jax.jit(classifier.init, static_argnums=0)
    state = init(full, key)
    chex.assert_trees_all_equal(state, init(half, key))
    predict = jax.jit(classifier.predict, static_argnums=0)
    want, got = (np.asarray(predict(cfg, state, image)) for cfg in (full, half))
    assert got.dtype == jnp.float32
    assert 0 < np.abs(got - want).max() < 0.02
    batch = Batch(image, label, jnp.ones((8,)))
    step = jax.jit(classifier.train_step, static_argnums=0)
    (wide, _), (new, metrics) = (step(cfg, state, batch, key) for cfg in (full, half))
    close_updates(state.cnn.params, wide.cnn.params, new.cnn.params)
    assert metrics["loss"].dtype == jnp.float32

    state = jax.jit(gan.init, static_argnums=0)(full, key)
    z = gan.latents(full, 8, key)
    draw = jax.jit(gan.generate, static_argnums=0)
    want, got = (np.asarray(draw(cfg, state, z, label)) for cfg in (full, half))
    assert got.dtype == jnp.float32
    assert 0 < np.abs(got - want).max() < 0.05
    batch = batch._replace(image=jax.random.uniform(key, (8, 32, 32, 1), minval=-1.0))
    new, metrics = jax.jit(gan.train_step, static_argnums=0)(half, state, batch, key)
    for leaf in jax.tree.leaves((new, metrics)):
        assert leaf.dtype in (jnp.float32, jnp.int32)
        assert np.isfinite(leaf).all()


def close_updates(old, want, got) -> None:
    """The whole update has the direction and the length of float32's. (Of single biases,
    sums of thousands of pixels that cancel, bfloat16 leaves a digit.)"""

    def moved(new):
        assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(new))
        gone = jax.tree.map(np.subtract, *map(jax.device_get, (new, old)))
        return np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(gone)])

    wide, half = moved(want), moved(got)
    cosine = float(wide @ half / np.linalg.norm(wide) / np.linalg.norm(half))
    assert cosine > 0.98
    assert np.linalg.norm(half) / np.linalg.norm(wide) == pytest.approx(1.0, abs=0.05)
