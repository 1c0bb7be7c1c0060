"""The readings that ask what an LSTM is worth: rows and columns, rows from either end, places
beside their mirror places; each against loops over steps, and by its symmetry."""

import math
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import change, small

from jaxbrain import config
from jaxbrain.errors import ConfigError
from jaxbrain.nn import ops
from jaxbrain.nn.cnn_lstm import CNN, Hybrid, beside_mirror
from jaxbrain.nn.lstm import LSTM
from jaxbrain.study import methods, networks
from jaxbrain.training import classifier, loops
from jaxbrain.types import Dataset

READINGS = "both", "bidirectional", "mirrored"
# Pools of 17 pixels, and of the 9 that are left, pad both sides alike: the map of 5 x 5 of a
# turned image under turned kernels is the turned map.
SIDE = 17
CHEAP = {"filters": (2, 3), "norm": "none", "mirror": False}  # to compile


def configured(sequence: str, mode="end_to_end", **cnn) -> config.Config:
    cfg = change(change(small(), "data", image_size=SIDE), "hybrid", sequence=sequence)
    fields = dict(filters=(4, 8), norm="group", mirror=True) | cnn
    return change(change(cfg, "cnn", **fields), "classifier", mode=mode)


@pytest.fixture(scope="module")
def image() -> jax.Array:
    return jax.random.uniform(jax.random.key(7), (3, SIDE, SIDE, 1), minval=-1.0)


def moved(params, key):
    """Biases that are not zero, and scales that are not one."""
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    near = [x + 0.2 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)]
    return structure.unflatten(near)


def networks_of(cfg, image):
    """The parameters of both networks, {"cnn", "hybrid"}, none of them as initialised."""
    init = jax.jit(partial(CNN(cfg).init, method="features"))
    cnn = moved(init(jax.random.key(1), image)["params"], jax.random.key(2))
    read = CNN(cfg).apply({"params": cnn}, image, method="features")
    hybrid = jax.jit(Hybrid(cfg).init, static_argnums=2)(jax.random.key(3), read, False)["params"]
    return {"cnn": cnn, "hybrid": moved(hybrid, jax.random.key(4))}, read


def answer(cfg, params, image):
    read = CNN(cfg).apply({"params": params["cnn"]}, image, method="features")
    return Hybrid(cfg).apply({"params": params["hybrid"]}, read, False)


# The same with loops, in NumPy (float64) or jax.numpy.


def tokens_of(xp, z, along: str) -> list:
    """Of a map [B, H, W, F] the tokens [B, D], in their order."""
    height, width = z.shape[1:3]
    if along == "rows":
        places = [[(r, c) for c in range(width)] for r in range(height)]
    elif along == "columns":
        places = [[(r, c) for r in range(height)] for c in range(width)]
    else:
        half = range(math.ceil(width / 2))
        places = [[(r, c), (r, width - 1 - c)] for r in range(height) for c in half]
    return [xp.concatenate([z[:, r, c] for r, c in token], -1) for token in places]


def fc(layer, x):
    return x @ layer["kernel"] + layer["bias"][None]


def sigmoid(xp, x):
    return 1.0 / (1.0 + xp.exp(-x))


def steps_of(xp, layer, tokens: list) -> list:
    """The h of an LSTM after each token."""
    h = c = xp.zeros((tokens[0].shape[0], layer["bias"].shape[0] // 4))
    found = []
    for x in tokens:
        gates = x @ layer["kernel"] + h @ layer["recurrent_kernel"] + layer["bias"][None]
        i, f, g, o = xp.split(gates, 4, axis=-1)
        c = sigmoid(xp, f) * c + sigmoid(xp, i) * xp.tanh(g)
        h = sigmoid(xp, o) * xp.tanh(c)
        found.append(h)
    return found


def end_of(xp, params, tokens: list, suffix: str = ""):
    """Layers 2 to 9 without dropout, in one direction."""
    tokens = [sigmoid(xp, fc(params[f"fc2{suffix}"], x)) for x in tokens]
    tokens = [fc(params[f"fc4{suffix}"], x) for x in tokens]
    return steps_of(xp, params[f"lstm8{suffix}"], steps_of(xp, params[f"lstm6{suffix}"], tokens))[
        -1
    ]


def ends_of_either_direction(xp, params, tokens: list):
    tokens = [fc(params["fc4"], sigmoid(xp, fc(params["fc2"], x))) for x in tokens]
    forth = steps_of(xp, params["lstm6"], tokens)
    back = steps_of(xp, params["lstm6_back"], tokens[::-1])[::-1]
    tokens = [xp.concatenate(pair, -1) for pair in zip(forth, back, strict=True)]
    ends = (
        steps_of(xp, params["lstm8"], tokens)[-1],
        steps_of(xp, params["lstm8_back"], tokens[::-1])[-1],
    )
    return xp.concatenate(ends, -1)


def in_loops(xp, reading: str, params, z):
    """Logits of a map, folded but for "mirrored"."""
    if reading == "both":
        rows = end_of(xp, params, tokens_of(xp, z, "rows"))
        columns = end_of(xp, params, tokens_of(xp, z, "columns"), "_columns")
        x = xp.concatenate([rows, columns], -1)
    elif reading == "bidirectional":
        x = ends_of_either_direction(xp, params, tokens_of(xp, z, "rows"))
    else:
        x = end_of(xp, params, tokens_of(xp, z, "mirrored"))
    return fc(params["fc11"], fc(params["fc10"], x))


def map_of(reading: str, params, image, **cnn):
    """What the CNN, tested elsewhere, makes of images; unfolded for "mirrored"."""
    net = CNN(configured("rows", **cnn | {"mirror": reading != "mirrored"}))
    return net.apply({"params": params["cnn"]}, image, method="map")


@pytest.mark.parametrize("reading", READINGS)
def test_values_are_those_of_loops(reading, image):
    params, _ = networks_of(cfg := configured(reading), image)
    z = np.float64(map_of(reading, params, image))
    want = in_loops(np, reading, jax.tree.map(np.float64, params["hybrid"]), z)
    got = jax.jit(partial(answer, cfg))(params, image)
    assert np.ptp(want, axis=0).max() > 1e-3  # images are told apart
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("reading", READINGS)
def test_gradients_are_those_of_loops(reading, image):
    cheap = CHEAP | {"mirror": True}
    params, _ = networks_of(cfg := configured(reading, **cheap), image)

    def loss(logits):
        return (jnp.asarray([[1.0, -2.0]]) * logits).sum() + (logits**2).sum()

    def plain(params):
        z = map_of(reading, params, image, **cheap)
        return loss(in_loops(jnp, reading, params["hybrid"], z))

    got = jax.jit(jax.grad(lambda params: loss(answer(cfg, params, image))))(params)
    want = jax.jit(jax.grad(plain))(params)
    # Sums in another order: 2e-5 of the largest gradient of a layer.
    for net, layer in [(net, layer) for net, layers in want.items() for layer in layers]:
        largest = max(float(abs(leaf).max()) for leaf in want[net][layer].values())
        assert largest > 1e-6, layer
        chex.assert_trees_all_close(got[net][layer], want[net][layer], atol=2e-5 * largest, rtol=0)


@pytest.mark.parametrize(
    "reading, mirror, shape",
    [
        ("rows", True, (3, 5, 5 * 16)),
        ("both", True, (3, 2, 5, 5 * 16)),
        ("both", False, (3, 2, 5, 5 * 8)),
        ("bidirectional", True, (3, 5, 5 * 16)),
        ("mirrored", True, (3, 5 * 3, 2 * 8)),
        ("mirrored", False, (3, 5 * 3, 2 * 8)),
    ],
)
def test_shapes(reading, mirror, shape, image):
    cfg = configured(reading, mirror=mirror)
    _, read = networks_of(cfg, image)
    assert read.shape == shape and read.dtype == jnp.float32
    state = jax.eval_shape(lambda: classifier.init(cfg, jax.random.key(0)))
    assert state.feature_mean.shape == shape[1:]
    # No fully connected layer of the CNN is trained where none is read.
    assert set(state.cnn.params) == {"conv1", "conv2", "norm1", "norm2"}


def test_layers_by_their_names():
    """Checkpoints of the first three readings hold what they held."""
    table1 = {"fc2", "fc4", "lstm6", "lstm8", "fc10", "fc11"}
    columns = {f"{name}_columns" for name in ("fc2", "fc4", "lstm6", "lstm8")}
    more = {"both": columns, "bidirectional": {"lstm6_back", "lstm8_back"}}
    for reading in ("vector", "scalar", "rows", *READINGS):
        cfg = change(config.recommended(), "hybrid", sequence=reading)
        state = jax.eval_shape(lambda cfg=cfg: classifier.init(cfg, jax.random.key(0), 1))
        params = state.hybrid.params
        assert set(params) == table1 | more.get(reading, set())
        kernels = {name: layer["kernel"].shape for name, layer in params.items()}
        token = {"vector": 128, "scalar": 128, "mirrored": 64}.get(reading, 8 * 64)
        assert kernels["fc2"] == (token, 128)
        assert kernels["lstm8"] == ((80 if reading == "bidirectional" else 40), 160)
        assert kernels["fc10"] == ((80 if reading in more else 40), 20)
        shape = {"both": (2, 8, 512), "mirrored": (8 * 4, 64), "bidirectional": (8, 512)}
        assert state.feature_mean.shape == shape.get(reading, state.feature_mean.shape)


def test_both_reads_rows_and_columns_of_summaries(image):
    cfg = configured("both", summary="average_max")
    params, read = networks_of(cfg, image)
    z = map_of("both", params, image)
    want = [jnp.concatenate([z.mean(axis=a), z.max(axis=a)], -1) for a in (2, 1)]
    np.testing.assert_allclose(read, jnp.stack(want, 1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("width, pairs", [(4, [[0, 3], [1, 2]]), (5, [[0, 4], [1, 3], [2, 2]])])
def test_places_beside_their_mirror_places(width, pairs):
    x = jnp.arange(2.0 * 3 * width).reshape(2, 3, width, 1)
    want = np.float32([[[r * width + c for c in p] for r in range(3) for p in pairs]])
    np.testing.assert_array_equal(beside_mirror(x), np.concatenate([want, want + 3 * width]))


def swapped(params, names: dict, *halves: str):
    """Layers by the names of others, and the halves of what some layers read."""
    new = {name: params[names.get(name, name)] for name in params}
    for name in halves:
        one, other = jnp.split(new[name]["kernel"], 2)
        new[name] = new[name] | {"kernel": jnp.concatenate([other, one])}
    return new


def pairs_of(suffix: str, *names: str) -> dict:
    there = {name: f"{name}{suffix}" for name in names}
    return there | {other: name for name, other in there.items()}


def test_rows_from_either_end(image):
    """Rows turned over, directions swapped: the same logits, and others without the swap."""
    params, read = networks_of(cfg := configured("bidirectional"), image)
    names = pairs_of("_back", "lstm6", "lstm8")
    turned = swapped(params["hybrid"], names, "lstm8", "lstm8_back", "fc10")
    want, still, got = (
        Hybrid(cfg).apply({"params": p}, x, False)
        for p, x in (
            (params["hybrid"], read),
            (params["hybrid"], read[:, ::-1]),
            (turned, read[:, ::-1]),
        )
    )
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    assert float(jnp.abs(still - want).max()) > 1e-3


def turned_kernels(cnn, turn):
    return {
        name: layer | {"kernel": turn(layer["kernel"])} if name.startswith("conv") else layer
        for name, layer in cnn.items()
    }


def test_rows_and_columns_of_the_transposed_image(image):
    """Image and kernels transposed, stacks swapped: the same logits (of a CNN that does not
    fold, since folding knows left from above)."""
    params, _ = networks_of(cfg := configured("both", mirror=False), image)
    names = pairs_of("_columns", "fc2", "fc4", "lstm6", "lstm8")
    other = {
        "cnn": turned_kernels(params["cnn"], lambda kernel: kernel.swapaxes(0, 1)),
        "hybrid": swapped(params["hybrid"], names, "fc10"),
    }
    want, got = answer(cfg, params, image), answer(cfg, other, image.swapaxes(1, 2))
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    still = answer(cfg, other | {"hybrid": params["hybrid"]}, image.swapaxes(1, 2))
    assert float(jnp.abs(still - want).max()) > 1e-3


def test_halves_of_tokens_of_the_mirrored_image(image):
    """Image and kernels mirrored: the halves of every token change places."""
    params, read = networks_of(cfg := configured("mirrored"), image)
    cnn = turned_kernels(params["cnn"], lambda kernel: kernel[:, ::-1])
    again = CNN(cfg).apply({"params": cnn}, image[:, :, ::-1], method="features")
    one, other = jnp.split(read, 2, axis=-1)
    np.testing.assert_allclose(again, jnp.concatenate([other, one], -1), rtol=1e-5, atol=1e-6)
    assert float(jnp.abs(one - other).max()) > 1e-2
    # A middle column stands beside itself.
    np.testing.assert_array_equal(one[:, 2::3], other[:, 2::3])


@pytest.mark.parametrize("reading", READINGS)
def test_the_order_of_tokens_matters(reading, image):
    params, read = networks_of(cfg := configured(reading), image)
    order = np.random.default_rng(0).permutation(read.shape[-2])
    want, got = (
        Hybrid(cfg).apply({"params": params["hybrid"]}, x, False)
        for x in (read, read[..., order, :])
    )
    assert float(jnp.abs(got - want).max()) > 1e-3


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_an_lstm_from_the_last_step(backend, monkeypatch, key):
    """Outputs keep their places; on an accelerator its steps are written out."""
    monkeypatch.setattr(ops, "backend", lambda: backend)
    x = jax.random.normal(key, (2, 6, 3))
    params = LSTM(4).init(key, x)
    want = LSTM(4).apply(params, x[:, ::-1])[:, ::-1]
    np.testing.assert_allclose(LSTM(4, reverse=True).apply(params, x), want, rtol=1e-6)
    last = LSTM(4, last=True, reverse=True).apply(params, x)
    np.testing.assert_allclose(last, want[:, 0], rtol=1e-6)


def test_no_reading_changes_the_cnn_of_the_first_stage(image):
    """Nor what mode "cnn" trains: it folds in every reading."""
    cfg = configured("vector", "two_stage")
    params = CNN(cfg).init(jax.random.key(1), image)
    want = CNN(cfg).apply(params, image)
    for reading in READINGS:
        other = CNN(configured(reading, "two_stage"))
        chex.assert_trees_all_equal(other.init(jax.random.key(1), image), params)
        np.testing.assert_array_equal(other.apply(params, image), want)


def pictures(count: int) -> Dataset:
    image = np.random.default_rng(3).integers(0, 256, (count, SIDE, SIDE, 1), np.uint8)
    order = jnp.arange(count, dtype=jnp.int32)
    return Dataset(jnp.asarray(image), order % 2, order)


# Both modes in CI, and two readings; the other pairs are variants of these.
@pytest.mark.parametrize(
    "reading, mode",
    [
        ("bidirectional", "end_to_end"),
        ("mirrored", "two_stage"),
        pytest.param("both", "end_to_end", marks=pytest.mark.slow),
        pytest.param("both", "two_stage", marks=pytest.mark.slow),
        pytest.param("bidirectional", "two_stage", marks=pytest.mark.slow),
        pytest.param("mirrored", "end_to_end", marks=pytest.mark.slow),
    ],
)
def test_each_trains(reading, mode):
    """In one trace, whatever it is cut into; features are z-scored between two stages."""
    cfg = configured(reading, mode, **CHEAP | {"mirror": reading == "mirrored"})
    cfg = change(cfg, "hybrid", standardise=mode == "two_stage")
    cfg = change(cfg, "classifier", epochs=1)
    data, key = pictures(10), jax.random.key(5)
    first = jax.jit(loops.init_classifier, static_argnums=0)(cfg, data, key)
    train = jax.jit(chex.assert_max_traces(loops.train_classifier, n=1), static_argnums=0)
    total = loops.classifier_steps(cfg, 10)[1]
    assert total == (2 if mode == "end_to_end" else 4)
    state, losses = first, np.full(total, np.nan)
    for stop in (1, total):
        start = int(state.step)
        state, history = train(cfg, data, key, state=state, stop=jnp.int32(stop))
        losses[start:stop] = history.metrics["loss"][start:stop]
    chex.clear_trace_counter()
    assert np.isfinite(losses).all() and (losses > 0).all()
    for name in ("cnn", "hybrid"):
        old, new = (jax.tree.leaves(getattr(one, name).params) for one in (first, state))
        for a, b in zip(old, new, strict=True):
            assert bool(jnp.isfinite(b).all()) and not np.array_equal(a, b)
    p = loops.predict(cfg, state, data)
    np.testing.assert_allclose(p.sum(axis=1), 1.0, rtol=1e-5)
    if mode == "two_stage":
        read = np.asarray(loops.features(cfg, state, data.image))
        np.testing.assert_allclose(state.feature_mean, read.mean(0), rtol=1e-4, atol=1e-5)


def test_a_mapped_lane_is_a_single_training():
    cfg = change(configured("bidirectional", **CHEAP), "classifier", epochs=1)
    data, keys = pictures(5), jax.random.split(jax.random.key(6), 2)
    train = partial(loops.train_classifier, cfg, data)
    mapped, _ = jax.jit(jax.vmap(train))(keys)
    single, _ = jax.jit(train)(keys[1])
    for name in ("cnn", "hybrid"):
        lane = jax.tree.map(lambda leaf: leaf[1], getattr(mapped, name).params)
        chex.assert_trees_all_close(lane, getattr(single, name).params, atol=1e-5)


def test_places_have_no_summaries():
    message = "cnn.summary is 'average_max': expected 'all', since hybrid.sequence is 'mirrored'"
    with pytest.raises(ConfigError, match=message):
        configured("mirrored", summary="average_max")
    cfg = configured("rows", summary="average_max")
    with pytest.raises(ConfigError, match=message):
        networks.network(cfg, "cnn_lstm_mirrored")
    # A study asks this before it trains anything.
    with pytest.raises(ConfigError, match=message):
        methods.CLASSIFIERS["cnn_lstm_mirrored"].steps(cfg, 13)
    for reading in ("both", "bidirectional"):
        assert methods.CLASSIFIERS[f"cnn_lstm_{reading}"].steps(cfg, 13) == 4
    with pytest.raises(ConfigError, match="hybrid.sequence is 'columns': expected vector | "):
        config.HybridConfig(sequence="columns")
