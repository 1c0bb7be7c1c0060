"""What trains in a study, the conditional GAN and the networks, in the parts that `methods`
asks for; each a thin layer over `training`."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxbrain.config import Config
from jaxbrain.data.preprocess import resize, to_uint8
from jaxbrain.training import gan, loops, streamed
from jaxbrain.types import Array, Dataset, GANState

# The readings of the paper's Table 1, by their names in a study; and all of them, with those
# that ask what an LSTM is worth.
TABLE1 = "cnn_lstm_vector", "cnn_lstm_scalar", "cnn_lstm_rows"
CNN_LSTM = (*TABLE1, "cnn_lstm_both", "cnn_lstm_bidirectional", "cnn_lstm_mirrored")


def synthesise(cfg: Config, state: GANState, label: Array, key: Array) -> Array:
    """Synthetic images at the classifier's size: label [M] int32 -> [M, S, S, 1] uint8.

    Drawn at the GAN's size and enlarged by bicubic interpolation (docs/paper.md). They are
    rounded to bytes as real images are, so that depth does not tell them apart, and drawn
    `gan.batch_size` at a time, in bounded memory. The n-th image of a class is the same
    however many are drawn. The key is consumed.
    """

    def draw(one):
        return to_uint8(resize(gan.generate(cfg, state, *one), cfg.data.image_size))

    return loops.map_batches(draw, (latents(cfg, label, key), label), cfg.gan.batch_size)


def latents(cfg: Config, label: Array, key: Array) -> Array:
    """Latents [M, gan.latent_size] float32 of labels [M] int32: the n-th of a class is the same
    however many there are. The key is consumed."""
    same = jax.nn.one_hot(label, cfg.data.num_classes, dtype=jnp.int32)
    number = (same.cumsum(axis=0) * same).sum(axis=1)

    def latent(label, number):
        return gan.latents(cfg, 1, jax.random.fold_in(jax.random.fold_in(key, label), number))[0]

    return jax.vmap(latent)(label, number)


def gan_steps(cfg: Config, num_examples: int) -> int:
    loops.gan_plan(cfg, num_examples)
    return cfg.gan.steps


def gan_start(cfg, train, key):
    return loops.init_gan(cfg, jax.random.split(key)[0], None, train)


def gan_advance(cfg, train, key, state, stop, *, of=loops, **axis):
    own = jax.random.split(key)[0]
    state, history = of.train_gan(cfg, train, own, state=state, stop=stop, **axis)
    return state, history.metrics


def gan_finish(cfg, state, label, key):
    return synthesise(cfg, state, label, jax.random.split(key)[1])


def gan_streamed_parts() -> dict:
    """start, advance and finish for images that stay on the host."""
    return {
        "start": lambda cfg, train, key: streamed.init_gan(cfg, train, jax.random.split(key)[0]),
        "advance": partial(gan_advance, of=streamed),
        "finish": jax.jit(gan_finish, static_argnums=0),
    }


def network(cfg: Config, name: str) -> Config:
    """The configuration of a network by its name in a study, such as cnn_lstm_rows."""
    if name == "cnn":
        mode = dataclasses.replace(cfg.classifier, mode="cnn")
        hybrid = dataclasses.replace(cfg.hybrid, standardise=False)
        return dataclasses.replace(cfg, classifier=mode, hybrid=hybrid)
    hybrid = dataclasses.replace(cfg.hybrid, sequence=name.removeprefix("cnn_lstm_"))
    return dataclasses.replace(cfg, hybrid=hybrid)


def parts(name: str, of=loops) -> dict:
    """steps, start, advance and finish of a network, as `methods.Classifier` names them.

    of: `loops`, or `streamed` for images that stay on the host.
    """

    def steps(cfg, num_examples):
        return loops.classifier_steps(network(cfg, name), num_examples)[1]

    def start(cfg, train, weight, key):
        return of.init_classifier(network(cfg, name), train, key, weight)

    def advance(cfg, train, weight, key, state, stop, **axis):
        how = {"weight": weight, "state": state, "stop": stop} | axis
        state, history = of.train_classifier(network(cfg, name), train, key, **how)
        return state, history.metrics

    def finish(cfg, state, test):
        unused = np.zeros(len(test), np.int32)
        return of.predict(network(cfg, name), state, Dataset(test, unused, unused))

    return {"steps": steps, "start": start, "advance": advance, "finish": finish}
