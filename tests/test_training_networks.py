"""Networks of a user's own: trained as written, refused where their shapes are wrong."""

import functools
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import change, small
from test_training_gan import batch, close, moved, plain
from test_training_loops import images

from jaxbrain.config import OptimConfig
from jaxbrain.data import preprocess
from jaxbrain.errors import ConfigError
from jaxbrain.nn.cnn_lstm import CNN, Hybrid
from jaxbrain.nn.discriminator import Discriminator
from jaxbrain.nn.generator import Generator
from jaxbrain.training import classifier, gan, loops, streamed
from jaxbrain.types import Batch


class Drawing(nn.Module):
    """Neither BatchNorm nor dropout; draws from an rng of its own while it is trained."""

    noise: float = 0.0

    @nn.compact
    def __call__(self, z, label, train):
        x = jnp.concatenate([z, jax.nn.one_hot(label, 2)], axis=-1)
        if train and self.noise:
            x = x + self.noise * jax.random.normal(self.make_rng("noise"), x.shape)
        return jnp.tanh(nn.Dense(32 * 32)(x)).reshape(-1, 32, 32, 1)


class Judging(nn.Module):
    """BatchNorm, so that a logit depends on the whole batch."""

    axis_name: str | None = None

    @nn.compact
    def __call__(self, image, label, train):
        x = nn.Dense(4)(image.reshape(image.shape[0], -1))
        axis = self.axis_name if train else None
        x = nn.BatchNorm(use_running_average=not train, axis_name=axis)(x)
        x = jnp.concatenate([nn.relu(x), jax.nn.one_hot(label, 2)], axis=-1)
        return nn.Dense(1)(x)[:, 0]


class Seeing(nn.Module):
    """A whole classifier, BatchNorm and dropout in it; `features` for a hybrid."""

    axis_name: str | None = None
    dropout: float = 0.0
    traced: Any = None

    def setup(self):
        self.read = nn.Dense(5)
        self.norm = nn.BatchNorm(axis_name=self.axis_name)
        self.drop = nn.Dropout(self.dropout)
        self.out = nn.Dense(2)

    def features(self, image, train):
        if self.traced:
            self.traced()
        x = self.norm(self.read(image.reshape(image.shape[0], -1)), use_running_average=not train)
        return self.drop(nn.relu(x), deterministic=not train)

    def __call__(self, image, train):
        return self.out(self.features(image, train))


class Reading(nn.Module):
    @nn.compact
    def __call__(self, features, train):
        return nn.Dense(2)(features)


class Narrow(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        return nn.Dense(1)(x.reshape(x.shape[0], -1))


class Rows(nn.Module):
    """BatchNorm that knows no devices."""

    @nn.compact
    def __call__(self, image, train):
        x = nn.BatchNorm(use_running_average=not train)(image.reshape(image.shape[0], -1))
        return nn.Dense(2)(x)


class Whole(nn.Module):
    """No method `features`."""

    @nn.compact
    def __call__(self, image, train):
        return nn.Dense(2)(image.reshape(image.shape[0], -1))


OWN = gan.Networks(Drawing(), Judging())
SGD = OptimConfig(learning_rate=0.5, momentum=0.0, l2=0.0)


def reading(mode, **fields):
    cfg = change(small(), "classifier", mode=mode, optim=SGD, **fields)
    return change(cfg, "hybrid", dropout=0.0)


def test_ours_given_are_ours(key):
    """To the bit: samples and probabilities after training, of both spellings."""
    cfg, train = change(small(), "gan", steps=2), images(8, 32)
    ours = gan.Networks(Generator(cfg), Discriminator(cfg))
    run = jax.jit(loops.train_gan, static_argnums=0, static_argnames="networks")
    chex.assert_trees_all_equal(run(cfg, train, key, networks=ours), run(cfg, train, key))
    cfg = change(small(), "classifier", epochs=1)
    ours = classifier.Networks(CNN(cfg), Hybrid(cfg))
    run = jax.jit(loops.train_classifier, static_argnums=0, static_argnames="networks")
    got, want = (run(cfg, images(10, 16), key, networks=nets) for nets in (ours, None))
    chex.assert_trees_all_equal(got, want)
    predict = jax.jit(loops.predict, static_argnums=(0, 3))
    got = predict(cfg, got[0], images(4, 16), ours)
    np.testing.assert_array_equal(got, predict(cfg, want[0], images(4, 16)))


@pytest.mark.parametrize("update", ["simultaneous", "alternating"])
def test_a_discriminator_may_mix_its_batch(key, update):
    """Both gradients, and the batch_stats after both passes, are those of plain losses:
    where logits depend on one another, no image's gradient follows from its logit's."""
    cfg, data = plain(update=update), batch()
    state = jax.jit(gan.init, static_argnums=(0, 2))(cfg, key, OWN)
    new, _ = jax.jit(functools.partial(gan.train_step, cfg, networks=OWN))(state, data, key)
    z_key, fresh_key = jax.random.split(jax.random.fold_in(key, 0), 6)[:2]

    def judge(params, stats, image):
        variables = {"params": params, "batch_stats": stats}
        logits, moved = Judging().apply(variables, image, data.label, True, mutable=["batch_stats"])
        return logits, moved["batch_stats"]

    def draw(params, key):
        z = jax.random.normal(key, (8, cfg.gan.latent_size))
        return Drawing().apply({"params": params}, z, data.label, True)

    def loss_d(params):
        real, stats = judge(params, state.discriminator.batch_stats, data.image)
        fake, stats = judge(params, stats, draw(state.generator.params, z_key))
        return -jax.nn.log_sigmoid(real).mean() - jax.nn.log_sigmoid(-fake).mean(), stats

    grads_d, stats = jax.jit(jax.grad(loss_d, has_aux=True))(state.discriminator.params)
    close(moved(state.discriminator, new.discriminator), grads_d)
    close(new.discriminator.batch_stats, stats)
    judged, draw_key = state.discriminator.params, z_key
    if update == "alternating":
        judged, draw_key = new.discriminator.params, fresh_key

    def loss_g(params):
        logits, _ = judge(judged, stats, draw(params, draw_key))
        return -jax.nn.log_sigmoid(logits).mean()

    grads_g = jax.jit(jax.grad(loss_g))(state.generator.params)
    close(moved(state.generator, new.generator), grads_g)
    assert new.generator.batch_stats == {}


def test_an_own_gan_trains_samples_and_streams(key):
    cfg, data = change(small(), "gan", average_half_life=3.0), images(20, 32)
    own = gan.Networks(Drawing(noise=0.5), Judging())
    run = jax.jit(loops.train_gan, static_argnums=0, static_argnames="networks")
    state, history = run(cfg, data, key, networks=own)
    assert np.isfinite(history.metrics["generator_loss"]).all()
    on_host = jax.tree.map(np.asarray, data)
    half, _ = streamed.train_gan(cfg, on_host, key, networks=own, stop=2)
    other, _ = streamed.train_gan(cfg, on_host, key, networks=own, state=half)
    chex.assert_trees_all_equal(other, state)
    still, _ = run(cfg, data, key, networks=gan.Networks(Drawing(), Judging()))
    kernel = "Dense_0", "kernel"
    a, b = (s.generator.params[kernel[0]][kernel[1]] for s in (state, still))
    assert float(jnp.abs(a - b).max()) > 1e-5
    # Sampling draws no noise: from given latents it is a function of the average.
    z, label = gan.latents(cfg, 3, key), jnp.asarray([0, 1, 1], jnp.int32)
    want = Drawing().apply({"params": state.average["params"]}, z, label, False)
    drawn = jax.jit(gan.sample, static_argnums=(0, 4))(cfg, state, label, key, own)
    np.testing.assert_allclose(drawn, want, atol=1e-6)


@pytest.mark.parametrize("mode", ["cnn", "end_to_end", "two_stage"])
def test_an_own_classifier_trains_predicts_and_streams(key, mode):
    cfg, data = reading(mode, partial="pad"), images(13, 16)
    own = classifier.Networks(Seeing(dropout=0.3), None if mode == "cnn" else Reading())
    run = jax.jit(loops.train_classifier, static_argnums=0, static_argnames="networks")
    init = jax.jit(loops.init_classifier, static_argnums=0, static_argnames="networks")
    first = init(cfg, data, key, networks=own)
    state, history = run(cfg, data, key, networks=own)
    assert np.isfinite(history.metrics["loss"]).all()
    for old, new in zip(
        *map(jax.tree.leaves, (first.hybrid.params, state.hybrid.params)), strict=True
    ):
        assert float(jnp.abs(old - new).max()) > 0
    assert float(jnp.abs(moved(first.cnn, state.cnn)["read"]["kernel"]).max()) > 0
    assert float(jnp.abs(state.cnn.batch_stats["norm"]["mean"]).max()) > 1e-3
    # Running statistics: what is told of an image does not depend on the others.
    predict = jax.jit(loops.predict, static_argnums=(0, 3))
    p = predict(cfg, state, data, own)
    scaled = Batch(preprocess.to_float(data.image, 1), data.label, jnp.ones((13,)))
    counts = jax.jit(classifier.evaluate, static_argnums=(0, 3))(cfg, state, scaled, own)
    right = (np.asarray(p).argmax(1) == np.asarray(data.label)).sum()
    assert float(np.trace(counts.confusion)) == right
    one = jax.tree.map(lambda leaf: leaf[3:4], data)
    np.testing.assert_allclose(predict(cfg, state, one, own), p[3:4], atol=1e-6)
    on_host = jax.tree.map(np.asarray, data)
    half, _ = streamed.train_classifier(cfg, on_host, key, networks=own, stop=4)
    other, _ = streamed.train_classifier(cfg, on_host, key, networks=own, state=half)
    chex.assert_trees_all_close(other, state, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(streamed.predict(cfg, other, on_host, own), p, atol=1e-5)


def test_an_own_step_is_its_plain_gradient(key):
    """BatchNorm in a network of one's own: cross-entropy of the training pass, by hand."""
    cfg, own = reading("cnn"), classifier.Networks(Seeing())
    state = classifier.init(cfg, key, networks=own)
    image = jax.random.uniform(key, (6, 16, 16, 1), minval=-1.0)
    data = Batch(image, jnp.asarray([0, 1, 1, 0, 1, 0], jnp.int32), jnp.ones((6,)))
    step = functools.partial(classifier.train_step, cfg, stage="cnn", networks=own)
    new, metrics = jax.jit(step)(state, data, key)

    def loss(params):
        variables = {"params": params, "batch_stats": state.cnn.batch_stats}
        logits, stats = Seeing().apply(variables, image, True, mutable=["batch_stats"])
        picked = jax.nn.log_softmax(logits)[jnp.arange(6), data.label]
        return -picked.mean(), stats["batch_stats"]

    (value, stats), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(state.cnn.params)
    want = jax.tree.map(lambda g: 0.5 * g, grads)
    chex.assert_trees_all_close(moved(state.cnn, new.cnn), want, atol=1e-6)
    chex.assert_trees_all_close(new.cnn.batch_stats, stats, atol=1e-6)
    np.testing.assert_allclose(metrics["loss"], 6 * value, rtol=1e-5)


def test_a_network_without_features_is_a_whole_classifier(key):
    cfg, own = reading("cnn"), classifier.Networks(Whole())
    train = jax.jit(loops.train_classifier, static_argnums=0, static_argnames="networks")
    state, _ = train(cfg, images(10, 16), key, networks=own)
    assert loops.predict(cfg, state, images(3, 16), own).shape == (3, 2)


@pytest.mark.parametrize("module", [Seeing(), Rows()])
def test_two_devices_share_batch_statistics(key, module):
    """A module with `axis_name` normalises over both devices, as one device would. One
    without sees its own rows; its statistics are then the mean of both."""
    cfg, own = reading("cnn"), classifier.Networks(module)
    state = classifier.init(cfg, key, networks=own)
    image = jax.random.uniform(key, (6, 16, 16, 1), minval=-1.0)
    data = Batch(image, jnp.asarray([0, 1, 1, 0, 1, 0], jnp.int32), jnp.ones((6,)))
    step = functools.partial(classifier.train_step, cfg, stage="cnn", networks=own)
    halves = jax.tree.map(lambda x: x.reshape(2, 3, *x.shape[1:]), data)
    mapped = functools.partial(step, axis_name="devices")
    new, _ = jax.pmap(mapped, "devices", in_axes=(None, 0, None))(state, halves, key)
    for leaf in jax.tree.leaves(new):
        np.testing.assert_array_equal(leaf[0], leaf[1])
    got = jax.tree.map(lambda leaf: leaf[0], new.cnn)
    step = jax.jit(step)
    if isinstance(module, Seeing):
        want = step(state, data, key)[0].cnn
        chex.assert_trees_all_close(got.params, want.params, atol=1e-6)
        chex.assert_trees_all_close(got.batch_stats, want.batch_stats, atol=1e-6)
        return
    parts = [
        step(state, jax.tree.map(lambda leaf, i=i: leaf[i], halves), key)[0].cnn.batch_stats
        for i in range(2)
    ]
    want = jax.tree.map(lambda a, b: (a + b) / 2, *parts)
    chex.assert_trees_all_close(got.batch_stats, want, atol=1e-6)


def test_a_chunk_of_a_streamed_training_traces_nothing_again(key, monkeypatch):
    """Neither the second chunk nor a network, configuration and source built anew."""
    monkeypatch.setattr(streamed, "_BLOCK", 2)
    traces = []
    count = functools.partial(traces.append, 1)

    def chunk(stop, state):
        cfg, own = reading("end_to_end"), classifier.Networks(Seeing(traced=count), Reading())
        data = jax.tree.map(np.asarray, images(13, 16))
        return streamed.train_classifier(cfg, data, key, networks=own, state=state, stop=stop)[0]

    state = chunk(2, None)
    before = len(traces)
    assert before > 0
    assert int(chunk(4, state).step) == 4
    assert len(traces) == before


class Small(nn.Module):
    """Images of half the side."""

    @nn.compact
    def __call__(self, z, label, train):
        return Drawing()(z, label, train)[:, ::2, ::2]


class Column(nn.Module):
    @nn.compact
    def __call__(self, image, label, train):
        return Judging()(image, label, train)[:, None]


class Half(nn.Module):
    @nn.compact
    def __call__(self, image, label, train):
        return Judging()(image, label, train).astype(jnp.bfloat16)


class Counting(nn.Module):
    @nn.compact
    def __call__(self, z, label, train):
        self.variable("counters", "calls", jnp.zeros, ())
        return Drawing()(z, label, train)


@pytest.mark.parametrize(
    "networks, message",
    [
        (
            gan.Networks(Small(), Judging()),
            r"networks.generator gives float32 \[1, 16, 16, 1\]: expected float32 \[1, 32, 32, 1\]",
        ),
        (
            gan.Networks(Drawing(), Column()),
            r"networks.discriminator gives float32 \[1, 1\]: expected float32 \[1\]",
        ),
        (gan.Networks(Drawing(), Half()), r"gives bfloat16 \[1\]: expected float32 \[1\]"),
        (gan.Networks(Counting(), Judging()), "Counting has variables in counters: expected"),
        (gan.Networks(Drawing(), None), "networks.discriminator is None: expected a Flax Linen"),
        (gan.Networks(Drawing, Judging()), "networks.generator is .*Drawing.*: expected a Flax"),
        ((Drawing(), Judging()), r"expected a Networks\(generator, discriminator\)"),
        (classifier.Networks(Whole()), r"expected a Networks\(generator, discriminator\) of"),
    ],
)
def test_other_networks_of_a_gan_are_refused(key, networks, message):
    with pytest.raises(ConfigError, match=message):
        gan.init(small(), key, networks)


@pytest.mark.parametrize(
    "mode, networks, message",
    [
        ("cnn", classifier.Networks(Narrow()), r"networks.cnn gives float32 \[1, 1\]: .* \[1, 2\]"),
        ("end_to_end", classifier.Networks(Seeing(), Narrow()), r"networks.hybrid gives float32"),
        ("two_stage", classifier.Networks(Seeing()), "networks.hybrid is None: expected"),
        ("cnn", gan.Networks(Drawing(), Judging()), r"expected a Networks\(cnn, hybrid\)"),
    ],
)
def test_other_networks_of_a_classifier_are_refused(key, mode, networks, message):
    with pytest.raises(ConfigError, match=message):
        classifier.init(reading(mode), key, networks=networks)


def test_shapes_are_asked_of_every_pass(key):
    """A state that was made by hand, and networks that look at `train`."""

    class Wide(nn.Module):
        @nn.compact
        def __call__(self, z, label, train):
            image = Drawing()(z, label, train)
            return jnp.concatenate([image, image], axis=-1) if train else image

    own = gan.Networks(Wide(), Judging())
    state = gan.init(plain(), key, own)
    with pytest.raises(ConfigError, match=r"networks.generator gives float32 \[8, 32, 32, 2\]"):
        gan.train_step(plain(), state, batch(), key, networks=own)
