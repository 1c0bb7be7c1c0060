"""The classifier's step against the same step written plainly, and its contracts."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import change, small

from jaxbrain.config import OptimConfig
from jaxbrain.errors import ConfigError, DataError
from jaxbrain.nn.cnn_lstm import CNN, Hybrid
from jaxbrain.training import augment, classifier
from jaxbrain.types import Batch

STEP = jax.jit(classifier.train_step, static_argnums=0, static_argnames="stage")
INIT = jax.jit(classifier.init, static_argnums=0)
PREDICT = jax.jit(classifier.predict, static_argnums=0)
FEATURES = jax.jit(classifier.features, static_argnums=0)


def plain(mode="end_to_end", sequence="vector", **fields):
    sgd = OptimConfig(learning_rate=1.0, momentum=0.0, l2=0.0)
    cfg = change(small(), "classifier", mode=mode, optim=sgd, **fields)
    return change(cfg, "hybrid", sequence=sequence, dropout=0.0)


@pytest.fixture
def batch(key):
    image = jax.random.uniform(key, (6, 16, 16, 1), minval=-1.0)
    label = jnp.asarray([0, 1, 1, 0, 1, 0], jnp.int32)
    return Batch(image, label, jnp.ones((6,)))


def cross_entropy(logits, label, weight):
    picked = jnp.take_along_axis(jax.nn.log_softmax(logits), label[:, None], 1)[:, 0]
    return -(weight * picked).sum() / weight.sum()


@pytest.mark.parametrize(
    "sequence", ["vector", "rows", pytest.param("scalar", marks=pytest.mark.slow)]
)
def test_end_to_end_step(batch, key, sequence):
    cfg = plain(sequence=sequence)
    state = INIT(cfg, key)
    new, metrics = STEP(cfg, state, batch, key)

    @jax.jit
    def by_hand(params):
        def loss(params):
            # The image mean is zero in a fresh state.
            read = CNN(cfg).apply({"params": params["cnn"]}, batch.image, method="features")
            logits = Hybrid(cfg).apply({"params": params["hybrid"]}, read, train=False)
            return cross_entropy(logits, batch.label, batch.weight)

        return jax.value_and_grad(loss)(params)

    value, grads = by_hand({"cnn": state.cnn.params, "hybrid": state.hybrid.params})
    for name in ("cnn", "hybrid"):
        want = jax.tree.map(lambda p, g: p - g, getattr(state, name).params, grads[name])
        chex.assert_trees_all_close(getattr(new, name).params, want, atol=1e-5)
    np.testing.assert_allclose(metrics["loss"], 6 * value, rtol=1e-5)


def test_stages_train_their_own_net(batch, key):
    cfg = plain(mode="two_stage")
    state = INIT(cfg, key)
    after_cnn, _ = STEP(cfg, state, batch, key, stage="cnn")
    chex.assert_trees_all_equal(after_cnn.hybrid, state.hybrid)
    assert not np.array_equal(
        after_cnn.cnn.params["conv1"]["kernel"], state.cnn.params["conv1"]["kernel"]
    )
    features = FEATURES(cfg, after_cnn, batch.image)
    after, _ = STEP(cfg, after_cnn, batch._replace(image=features), key, stage="hybrid")
    chex.assert_trees_all_equal(after.cnn, after_cnn.cnn)
    assert not np.array_equal(
        after.hybrid.params["fc2"]["kernel"], state.hybrid.params["fc2"]["kernel"]
    )
    assert int(after.step) == 2


def test_weight_zero_counts_for_nothing(batch, key):
    cfg = plain()
    state = INIT(cfg, key)
    weight = jnp.asarray([1.0, 1, 1, 1, 0, 0])
    new, metrics = STEP(cfg, state, batch._replace(weight=weight), key)
    short = Batch(batch.image[:4], batch.label[:4], jnp.ones((4,)))
    want, want_metrics = STEP(cfg, state, short, key)
    chex.assert_trees_all_close(new.cnn.params, want.cnn.params, atol=1e-6)
    for name, value in want_metrics.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-5)


def test_a_batch_of_padding_changes_nothing_but_the_step(batch, key):
    cfg = plain()
    state = INIT(cfg, key)
    new, metrics = STEP(cfg, state, batch._replace(weight=jnp.zeros((6,))), key)
    chex.assert_trees_all_equal(new.cnn.params, state.cnn.params)
    assert float(metrics["count"]) == 0.0


def test_predict_and_evaluate(batch, key):
    cfg = plain()
    state = INIT(cfg, key)
    probability = np.asarray(PREDICT(cfg, state, batch.image))
    np.testing.assert_allclose(probability.sum(1), np.ones(6), rtol=1e-6)
    counts = jax.jit(classifier.evaluate, static_argnums=0)(cfg, state, batch)
    assert float(counts.confusion.sum()) == 6.0
    guess = np.asarray(probability).argmax(1)
    np.testing.assert_allclose(np.trace(counts.confusion), (guess == np.asarray(batch.label)).sum())


def test_normalisations(batch, key):
    cfg = plain()
    state = INIT(cfg, key)._replace(image_mean=jnp.full((16, 16, 1), 0.25))
    centred = classifier.normalise(cfg, state, batch.image)
    np.testing.assert_allclose(centred, batch.image - 0.25, rtol=1e-6)
    cfg = change(cfg, "data", normalise="minmax")
    scaled = np.asarray(classifier.normalise(cfg, state, batch.image * 0.3 + 0.1))
    np.testing.assert_allclose(scaled.min((1, 2, 3)), -1.0, atol=1e-6)
    np.testing.assert_allclose(scaled.max((1, 2, 3)), 1.0, atol=1e-5)
    constant = classifier.normalise(cfg, state, jnp.full((1, 16, 16, 1), 0.4))
    np.testing.assert_array_equal(constant, -np.ones((1, 16, 16, 1)))


def test_one_trace_for_equal_configurations(batch, key):
    step = jax.jit(chex.assert_max_traces(classifier.train_step, n=1), static_argnums=0)
    state = INIT(plain(), key)
    for i in range(3):
        state, _ = step(plain(), state, batch, jax.random.key(i))
    assert int(state.step) == 3
    chex.clear_trace_counter()


def test_border_refuses(batch, key):
    cfg = plain()
    state = INIT(cfg, key)
    with pytest.raises(AssertionError, match="shape"):
        classifier.train_step(cfg, state, batch._replace(image=batch.image[:, :8]), key)
    with pytest.raises(ValueError, match="stage"):
        classifier.train_step(cfg, state, batch, key, stage="third")


@pytest.mark.parametrize("dtype, side", [("uint8", 16), ("int32", 16), ("float32", 15)])
def test_only_scaled_images_are_judged(batch, key, dtype, side):
    """Of bytes the CNN would see values up to 255 in place of [-1, 1]."""
    cfg, image = plain(), batch.image[:, :side].astype(dtype)
    state = INIT(cfg, key)
    match = rf"image is {dtype} \[6, {side}, 16, 1\]: expected float32 \['B', 16, 16, 1\]"
    for judge in (classifier.predict, classifier.features, classifier.normalise):
        with pytest.raises(DataError, match=match):
            judge(cfg, state, image)
    with pytest.raises(DataError, match=match):
        classifier.evaluate(cfg, state, batch._replace(image=image))


def test_augmentation_is_part_of_the_step(batch, key):
    cfg = plain(augment="standard")
    state = INIT(cfg, key)
    _, metrics = STEP(cfg, state, batch, key)
    augment_key, _ = jax.random.split(jax.random.fold_in(key, 0))
    keys = jax.random.split(augment_key, len(batch.label))
    changed = batch._replace(image=jax.jit(augment.standard)(batch.image, keys))
    _, want = STEP(plain(), state, changed, key)
    _, without = STEP(plain(), state, batch, key)
    np.testing.assert_allclose(metrics["loss"], want["loss"], rtol=1e-5)
    assert abs(float(metrics["loss"] - without["loss"])) > 1e-5


def test_two_devices_equal_one(batch, key):
    """SGD, no dropout, and unequal weights on the two devices."""
    cfg = plain()
    state = INIT(cfg, key)
    batch = batch._replace(weight=jnp.asarray([1.0, 1, 1, 1, 0, 0]))
    step = functools.partial(classifier.train_step, cfg, axis_name="devices")
    halves = jax.tree.map(lambda x: x.reshape(2, 3, *x.shape[1:]), batch)
    mapped = jax.pmap(step, axis_name="devices", in_axes=(None, 0, None))
    new, metrics = mapped(state, halves, key)
    want, want_metrics = STEP(cfg, state, batch, key)
    for got, one in zip(
        jax.tree.leaves((new.cnn.params, new.hybrid.params, metrics)),
        jax.tree.leaves((want.cnn.params, want.hybrid.params, want_metrics)),
        strict=True,
    ):
        np.testing.assert_array_equal(got[0], got[1])
        np.testing.assert_allclose(got[0], one, rtol=1e-5, atol=1e-6)


def test_a_schedule_needs_its_length(key):
    cfg = plain()
    cfg = change(cfg, "classifier", optim=OptimConfig(schedule="warmup_cosine"))
    with pytest.raises(ConfigError, match="total_steps"):
        classifier.init(cfg, key)
    assert int(INIT(cfg, key, 7).total_steps) == 7


def test_averages_predict(batch, key):
    """Each step moves the average by its share to the new parameters, of what it trains; the
    second of two stages reads the average of the first."""
    cfg = plain("two_stage", average_half_life=1.0)
    state = INIT(cfg, key)
    want = {"params": state.cnn.params, "batch_stats": {}}
    chex.assert_trees_all_equal(state.average["cnn"], want)
    for _ in range(2):
        state, _ = STEP(cfg, state, batch, key, stage="cnn")
        want["params"] = jax.tree.map(lambda a, b: (a + b) / 2, want["params"], state.cnn.params)
    chex.assert_trees_all_close(state.average["cnn"], want, rtol=1e-5, atol=1e-7)
    read = FEATURES(cfg, state, batch.image)
    image = classifier.normalise(cfg, state, batch.image)
    look = jax.jit(functools.partial(CNN(cfg).apply, method="features"))
    chex.assert_trees_all_close(read, look({"params": want["params"]}, image), rtol=1e-4)
    new, _ = STEP(cfg, state, batch._replace(image=read), key, stage="hybrid")
    chex.assert_trees_all_equal(new.average["cnn"], state.average["cnn"])
    halfway = jax.tree.map(lambda a, b: (a + b) / 2, state.hybrid.params, new.hybrid.params)
    chex.assert_trees_all_close(new.average["hybrid"]["params"], halfway, rtol=1e-5, atol=1e-7)
    logits = jax.jit(functools.partial(Hybrid(cfg).apply, train=False))({"params": halfway}, read)
    got = PREDICT(cfg, new, batch.image)
    np.testing.assert_allclose(got, jax.nn.softmax(logits), rtol=1e-4)


def test_predictions_of_an_image_in_nine_places(batch, key):
    """The mean over images moved by hand; black comes in at the sides."""
    cfg = plain(predict_shift=2)
    state = INIT(cfg, key)
    image = np.asarray(batch.image)
    size, padded = image.shape[1], np.pad(image, ((0, 0), (2, 2), (2, 2), (0, 0)))
    padded[:] = -1.0
    padded[:, 2:-2, 2:-2] = image
    want = [
        PREDICT(plain(), state, jnp.asarray(padded[:, i : i + size, j : j + size]))
        for i in (0, 2, 4)
        for j in (0, 2, 4)
    ]
    got = PREDICT(cfg, state, batch.image)
    np.testing.assert_allclose(got, np.mean(want, axis=0), rtol=1e-5, atol=1e-6)
    alone = PREDICT(plain(), state, batch.image)
    assert np.abs(np.asarray(got) - np.asarray(alone)).max() > 1e-4
