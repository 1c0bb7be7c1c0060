"""The CNN beyond the paper's: mirror folding, group norm, more convolutions, summaries."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import change, small

from jaxbrain import config
from jaxbrain.errors import ConfigError
from jaxbrain.nn.cnn_lstm import CNN
from jaxbrain.training import classifier
from jaxbrain.types import Batch

FOLDED = dict(filters=(4, 8, 8), norm="group", last_pool=2, mirror=True, summary="average_max")


def configured(sequence="vector", **fields) -> config.Config:
    cfg = change(change(small(), "cnn", **fields), "classifier", mode="end_to_end")
    return change(change(cfg, "data", image_size=32), "hybrid", sequence=sequence)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.asarray(jax.random.uniform(jax.random.key(7), (3, 32, 32, 1), minval=-1.0))


@partial(jax.jit, static_argnums=(0, 2))
def init(cfg, image, method):
    return CNN(cfg).init(jax.random.key(1), image, method=method)


@partial(jax.jit, static_argnums=(0, 3))
def apply(cfg, params, image, method):
    return CNN(cfg).apply(params, image, method=method)


def read(cfg, image, method):
    """What the method gives of images, and the parameters of it."""
    params = init(cfg, image, method)
    return apply(cfg, params, image, method), params


@pytest.mark.parametrize("fields", [{"filters": (3, 4)}, FOLDED | {"first_stride": 2}])
def test_each_filter_beside_its_mirror_image(image, fields):
    """z + z' and |z - z'| of the same networks without folding; a mirrored image gives the
    mirrored map."""
    cfg = configured(**fields | {"mirror": True})
    folded, params = read(cfg, image, "map")
    plain, turned = configured(**fields | {"mirror": False}), image[:, :, ::-1]
    one = np.asarray(apply(plain, params, image, "map"))
    other = np.asarray(apply(plain, params, turned, "map"))[:, :, ::-1]
    np.testing.assert_allclose(
        folded, np.concatenate([one + other, np.abs(one - other)], -1), rtol=1e-5, atol=1e-6
    )
    mirrored = apply(cfg, params, turned, "map")
    np.testing.assert_allclose(mirrored, np.asarray(folded)[:, :, ::-1], rtol=1e-5, atol=1e-6)


def test_what_is_read_of_a_map(image):
    """Mean and maximum of the map, or of each of its rows; all of either."""
    for sequence, axes in (("vector", (1, 2)), ("scalar", (1, 2)), ("rows", (2,))):
        cfg = configured(sequence, **FOLDED)
        got, params = read(cfg, image, "features")
        grid = np.asarray(apply(cfg, params, image, "map"))
        assert grid.shape == (3, 4, 4, 16)
        want = np.concatenate([grid.mean(axis=axes), grid.max(axis=axes)], axis=-1)
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
        # A head and its mirror image are one: of rows too, whose columns are not told apart.
        again = apply(cfg, params, image[:, :, ::-1], "features")
        np.testing.assert_allclose(again, got, rtol=1e-4, atol=1e-5)
    whole, _ = read(configured("rows", **FOLDED | {"summary": "all"}), image, "features")
    assert whole.shape == (3, 4, 4 * 16)


def test_four_convolutions_written_out(image):
    """Conv 5 of stride 2, group norm, ReLU, pool; conv, norm, ReLU, pool; twice conv, norm,
    ReLU; averages of squares of two: with `jax.lax` alone."""
    fields = dict(filters=(4, 8, 8, 8), first_kernel_size=5, first_stride=2, norm="group")
    got, params = read(configured(**fields, last_pool=2), image, "map")
    params, x = params["params"], image

    def pooled(x):
        window, strides = (1, 3, 3, 1), (1, 2, 2, 1)
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, strides, "SAME")

    for i, stride in enumerate((2, 1, 1, 1), 1):
        layer = params[f"conv{i}"]
        x = jax.lax.conv_general_dilated(
            x, layer["kernel"], (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        x = x + layer["bias"].reshape(1, 1, 1, -1)
        grouped = x.reshape(*x.shape[:3], 4, -1)
        mean = grouped.mean(axis=(1, 2, 4), keepdims=True)
        variance = grouped.var(axis=(1, 2, 4), keepdims=True)
        x = ((grouped - mean) / jnp.sqrt(variance + 1e-6)).reshape(x.shape)
        scale, bias = (params[f"norm{i}"][name].reshape(1, 1, 1, -1) for name in ("scale", "bias"))
        x = jax.nn.relu(x * scale + bias)
        x = pooled(x) if i <= 2 else x
    want = x.reshape(3, 2, 2, 2, 2, 8).mean(axis=(2, 4))
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_dropout_is_of_training_alone(image):
    cfg = configured(**FOLDED, dropout=0.5)
    still, params = read(cfg, image, "features")

    @jax.jit
    def run(key):
        return CNN(cfg).apply(params, image, True, method="features", rngs={"dropout": key})

    one, other = (run(jax.random.key(i)) for i in (1, 2))
    assert not np.array_equal(one, other)
    kept = np.asarray(one) != 0
    np.testing.assert_allclose(np.asarray(one)[kept], 2 * np.asarray(still)[kept], rtol=1e-5)


@pytest.mark.parametrize(
    "mode", ["end_to_end", "cnn", pytest.param("two_stage", marks=pytest.mark.slow)]
)
def test_every_mode_trains_a_folded_network(mode, image):
    """In every reading: the loss falls on three images, and all parameters move."""
    for sequence in ("vector", "rows") if mode == "end_to_end" else ("rows",):
        cfg = change(configured(sequence, **FOLDED), "classifier", mode=mode)
        optim = config.OptimConfig("adam", 1e-2)
        cfg = change(cfg, "classifier", optim=optim, label_smoothing=0.1, average_half_life=2.0)
        state = jax.jit(classifier.init, static_argnums=0)(cfg, jax.random.key(3))
        batch = Batch(image, jnp.asarray([0, 1, 0], jnp.int32), jnp.ones(3))
        step = jax.jit(classifier.train_step, static_argnums=0, static_argnames="stage")
        stage = "cnn" if mode == "two_stage" else mode
        losses, first = [], state.cnn.params
        for _ in range(80):
            state, sums = step(cfg, state, batch, jax.random.key(4), stage=stage)
            losses.append(float(sums["loss"]))
        assert losses[-1] < 0.8 * losses[0]
        for old, new in zip(*map(jax.tree.leaves, (first, state.cnn.params)), strict=True):
            assert not np.array_equal(old, new)
        p = np.asarray(jax.jit(classifier.predict, static_argnums=0)(cfg, state, image))
        np.testing.assert_allclose(p.sum(axis=1), 1.0, rtol=1e-5)


def test_refusals():
    for fields, message in (
        ({"filters": (4, 4, 4), "interleave": False}, "cnn.interleave is False: expected True"),
        ({"norm": "batch"}, "cnn.norm is 'batch'"),
        ({"dropout": 1.0}, "cnn.dropout is 1.0"),
        ({"last_pool": 0}, "cnn.last_pool is 0"),
    ):
        with pytest.raises(ConfigError, match=message):
            dataclasses.replace(config.CNNConfig(), **fields)
