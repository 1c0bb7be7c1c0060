"""Whole trainings, pure and compiled: (config, data, key) in, (state, history) out.

A training runs the steps [state.step, stop) inside one loop. Given a state and a stop as
arrays, its program does not depend on where it starts or stops, so cutting a training into
chunks changes no program and no bit. A plan says which images make a step, and a source
brings them: `Resident` has them on the device as bytes, `streamed.OnHost` sends them there.

With `axis_name` a training runs on every device of an axis (`devices`), each on its own
rows of every batch; with dropout off it is the training that one device would run.
"""

import dataclasses
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxbrain.config import Config
from jaxbrain.data.preprocess import to_float
from jaxbrain.errors import ConfigError
from jaxbrain.training import classifier, codes, gan
from jaxbrain.training.plans import (
    Plan,
    classifier_plan,
    classifier_steps,
    empty_history,
    gan_plan,
    run_plan,
)
from jaxbrain.types import Array, Batch, ClassifierState, Dataset, GANState, History


def _ready(data: Dataset, side: int, num_classes: int) -> Dataset:
    """The data of a training on the device, checked."""
    data.check(side, num_classes)
    label = jnp.asarray(data.label, jnp.int32)
    return jax.tree.map(jnp.asarray, data._replace(label=label))


GAN_METRICS = (
    "discriminator_loss",
    "generator_loss",
    "real_score",
    "fake_score",
    "discriminator_accuracy",
    "real_sign",
    "count",
)
CLASSIFIER_METRICS = "loss", "correct", "count"


def split_key(key: Array) -> Array:
    """The three keys of a training: of `init`, of the plan, of the steps."""
    return jax.random.split(key, 3)


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["key", "lr_scale"],
    meta_fields=["cfg", "networks", "axis_name"],
)
@dataclasses.dataclass(frozen=True)
class Training:
    """What a training is made of besides its images. As a pytree it has arrays for leaves,
    and what is static beside them.

    key: of the whole training. lr_scale: [] float, multiplies every update, or None.
    networks: `gan.Networks` or `classifier.Networks`; None is ours.
    axis_name: of the device axis (see the module).
    """

    cfg: Config
    key: Array
    networks: gan.Networks | classifier.Networks | None = None
    lr_scale: Array | float | None = None
    axis_name: str | None = None

    def plan(self, stage: str, num_examples: int) -> Plan:
        """The plan of a stage: "gan", or one of `classifier.train_step`'s."""
        devices = 1 if self.axis_name is None else lax.axis_size(self.axis_name)
        make = gan_plan if stage == "gan" else classifier_plan
        return make(self.cfg, num_examples, devices)

    def update(self, stage: str, state, image: Array, label: Array, weight: Array):
        """One step of a stage on bytes (of stage "hybrid": on features)."""
        if stage != "hybrid":
            image = to_float(image, self.cfg.data.channels)
        step = gan.train_step if stage == "gan" else classifier.train_step
        return step(
            self.cfg,
            state,
            Batch(image, label, weight),
            split_key(self.key)[2],
            axis_name=self.axis_name,
            networks=self.networks,
            lr_scale=self.lr_scale,
            **({} if stage == "gan" else {"stage": stage}),
        )


class Resident(NamedTuple):
    """A source of batches whose images are on the device."""

    data: Dataset

    def run(self, training: Training, stage: str, carry, start, stop, weight=None, image=None):
        """The steps [start, stop) of a stage: carry is (state, history), and so the result.

        weight: [N] float32, of the examples; None weighs all alike.
        image: [N, ...], read in place of the images.
        """
        image = self.data.image if image is None else image

        def update(state, index, real):
            rows = image[index], self.data.label[index]
            real = real if weight is None else real * weight[index]
            return training.update(stage, state, *rows, real)

        plan, key = training.plan(stage, self.data.label.shape[0]), split_key(training.key)[1]
        return run_plan(plan, key, update, carry, start, stop, training.axis_name)

    def features(self, training: Training, state: ClassifierState, weight: Array, wanted):
        """The CNN's features of all images where they are wanted, and the state with their
        mean and scale."""
        num_examples = self.data.label.shape[0]

        def extract(state):
            return features(training.cfg, state, self.data.image, training.networks)

        # Recomputed by every chunk of the second stage: cheaper than carrying them.
        shape = (num_examples, *state.feature_mean.shape)
        read = lax.cond(wanted, extract, lambda _: jnp.zeros(shape), state)
        return classifier.standardised(training.cfg, state, read, weight), read


def fresh_gan(cfg: Config, key: Array, networks: gan.Networks | None = None) -> GANState:
    """`gan.init`, given the key of the training."""
    return gan.init(cfg, split_key(key)[0], networks)


def init_gan(
    cfg: Config,
    key: Array,
    networks: gan.Networks | None = None,
    data: Dataset | None = None,
) -> GANState:
    """The fresh GAN that `train_gan` starts from, given the key of the training.

    data: the training images; needed with `cfg.gan.anchor`, whose codes are fitted on them.

    Raises:
        ConfigError: without data where they are needed.
    """
    if cfg.gan.anchor and data is None:
        raise ConfigError(f"gan.anchor is {cfg.gan.anchor}: expected the training images with it")
    state = fresh_gan(cfg, key, networks)
    if not cfg.gan.anchor:
        return state
    small = map_batches(codes.small, data.image, cfg.gan.batch_size)
    return state._replace(codes=codes.fit(cfg, small, data.label))


def run_gan(
    training: Training, source, state: GANState, start, stop: Array | int | None
) -> tuple[GANState, History]:
    """`train_gan` on the batches of a source, from a state at step `start`."""
    total = training.cfg.gan.steps
    carry = state, empty_history(GAN_METRICS, total)
    state, history = source.run(training, "gan", carry, start, total if stop is None else stop)
    return state, History(history)


def train_gan(
    cfg: Config,
    data: Dataset,
    key: Array,
    *,
    state: GANState | None = None,
    stop: Array | int | None = None,
    axis_name: str | None = None,
    networks: gan.Networks | None = None,
    lr_scale: Array | float | None = None,
) -> tuple[GANState, History]:
    """Train the conditional GAN for `cfg.gan.steps` updates.

    Args:
        cfg, networks: static; without networks ours are trained.
        data: images of side `cfg.gan.image_size`; each epoch is reshuffled, partial
            batches are dropped.
        key: of the whole training; the same key for every chunk of it.
        state: where to go on; None starts afresh from the key.
        stop: finish after this many updates in all; None runs to the end.
        axis_name: of the device axis (see the module).
        lr_scale: [] float, multiplies every update; `jax.vmap` over it works.

    Returns:
        The state, and a `History` of length `cfg.gan.steps`.

    Raises:
        ConfigError: if the batch is larger than the data, or devices do not divide it; for
            unknown names, and networks that give other shapes.
        DataError: for data that are no bytes, see `Dataset.check`.

    Example:
        >>> from jaxbrain import config
        >>> cfg, order = config.tiny(), jnp.arange(16)
        >>> data = Dataset(jnp.zeros((16, 48, 48, 1), jnp.uint8), order % 2, order)
        >>> train = jax.jit(train_gan, static_argnums=0)
        >>> state, history = jax.eval_shape(lambda: train(cfg, data, jax.random.key(0)))
        >>> history.metrics["generator_loss"].shape
        (2000,)
    """
    data = _ready(data, cfg.gan.image_size, cfg.data.num_classes)
    training = Training(cfg, key, networks, lr_scale, axis_name)
    training.plan("gan", data.label.shape[0])  # refuses before anything is drawn
    start = 0 if state is None else state.step
    state = init_gan(cfg, key, networks, data) if state is None else state
    return run_gan(training, Resident(data), state, start, stop)


def fitted(cfg: Config, key: Array, steps: Array | int, total: Array, count: Array, networks=None):
    """`init_classifier` from sums: total [S, S, 1] int32, of the bytes of the `count`
    images that train (whole numbers, so that the order of summing changes no bit)."""
    state = classifier.init(cfg, split_key(key)[0], steps, networks)
    if cfg.data.normalise == "zerocenter":
        mean = total.astype(jnp.float32) / jnp.maximum(count, 1.0)
        state = state._replace(image_mean=mean / 127.5 - 1.0)
    return state


def byte_sum(image: Array, used: Array) -> Array:
    """[N, S, S, 1] uint8, [N] bool -> [S, S, 1] int32, the sum of the images used."""
    masked = jnp.where(used.reshape(-1, 1, 1, 1), image, jnp.zeros((), image.dtype))
    return masked.sum(axis=0, dtype=jnp.int32)


def init_classifier(
    cfg: Config,
    data: Dataset,
    key: Array,
    weight: Array | None = None,
    networks: classifier.Networks | None = None,
) -> ClassifierState:
    """A fresh classifier whose image statistics are fitted on `data`.

    Rows of weight 0 do not count. The key is that of `train_classifier`.

    Raises:
        DataError: see `Dataset.check`.
    """
    data.check(cfg.data.image_size)
    weight = jnp.ones(data.label.shape) if weight is None else weight
    classifier.require_weights(weight, data.label)
    used = weight > 0
    steps, _ = classifier_steps(cfg, data.label.shape[0])
    sums = byte_sum(data.image, used), used.sum().astype(jnp.float32)
    return fitted(cfg, key, steps, *sums, networks)


def map_batches(function, inputs, batch_size: int):
    """`function` on arrays [N, ...] (or a tree of them), `batch_size` rows at a time, in
    bounded memory; its result is an array with as many rows."""
    count = jax.tree.leaves(inputs)[0].shape[0]
    pad = -count % batch_size

    def split(leaf):
        padded = jnp.pad(leaf, ((0, pad), *[(0, 0)] * (leaf.ndim - 1)))
        return padded.reshape(-1, batch_size, *leaf.shape[1:])

    result = lax.map(function, jax.tree.map(split, inputs))
    return result.reshape(-1, *result.shape[2:])[:count]


def _map_bytes(function, cfg: Config, state: ClassifierState, image: Array, networks) -> Array:
    def some(image):
        return function(cfg, state, to_float(image, cfg.data.channels), networks)

    return map_batches(some, image, cfg.classifier.batch_size)


def features(cfg: Config, state: ClassifierState, image: Array, networks=None) -> Array:
    """`classifier.features` of bytes [N, S, S, 1], in bounded memory."""
    return _map_bytes(classifier.features, cfg, state, image, networks)


def run_classifier(
    training: Training, source, state: ClassifierState, start, stop, weight: Array | None
) -> tuple[ClassifierState, History]:
    """`train_classifier` on the batches of a source, from a state at step `start`."""
    cfg, label = training.cfg, jnp.asarray(source.data.label)
    mode, num_examples = cfg.classifier.mode, label.shape[0]
    one = cfg.classifier.epochs * training.plan(mode, num_examples).steps()
    total = 2 * one if mode == "two_stage" else one
    stop = total if stop is None else stop
    weight = jnp.ones((num_examples,)) if weight is None else jnp.asarray(weight)
    balanced = classifier.class_weight(cfg, label, weight)
    carry = state, empty_history(CLASSIFIER_METRICS, total)
    if mode == "two_stage":
        carry = source.run(training, "cnn", carry, start, jnp.minimum(stop, one), balanced)
        state, read = source.features(training, carry[0], weight, stop > one)
        carry, start, mode = (state, carry[1]), jnp.maximum(start, one), "hybrid"
        state, history = source.run(training, mode, carry, start, stop, balanced, read)
    else:
        state, history = source.run(training, mode, carry, start, stop, balanced)
    return state, History(history)


def train_classifier(
    cfg: Config,
    data: Dataset,
    key: Array,
    *,
    weight: Array | None = None,
    state: ClassifierState | None = None,
    stop: Array | int | None = None,
    axis_name: str | None = None,
    networks: classifier.Networks | None = None,
    lr_scale: Array | float | None = None,
) -> tuple[ClassifierState, History]:
    """Train the CNN-LSTM for `cfg.classifier.epochs` epochs per stage.

    Args:
        cfg, networks: static; without networks ours are trained.
        data: training images of side `cfg.data.image_size`.
        key: of the whole training; the same key for every chunk of it.
        weight: [N] float32, 0 leaves an image out; None weighs all alike.
        state: where to go on, from `init_classifier` or an earlier chunk; None starts
            afresh from the key.
        stop: finish after this many updates in all; None runs to the end.
        axis_name: of the device axis (see the module).
        lr_scale: [] float, multiplies every update; `jax.vmap` over it works.

    Returns:
        The state, and a `History` as long as `classifier_steps` says.

    Raises:
        ConfigError: as `classifier_plan`; for unknown names, and networks that give other
            shapes.
        DataError: for data that are no bytes, see `Dataset.check`; for weights that are not
            one per image.
    """
    data = _ready(data, cfg.data.image_size, cfg.data.num_classes)
    training = Training(cfg, key, networks, lr_scale, axis_name)
    start = 0 if state is None else state.step
    if state is None:
        state = init_classifier(cfg, data, key, weight, networks)
    return run_classifier(training, Resident(data), state, start, stop, weight)


def probabilities(cfg: Config, state: ClassifierState, image: Array, networks=None) -> Array:
    """`classifier.predict` of bytes [N, S, S, 1], in bounded memory."""
    return _map_bytes(classifier.predict, cfg, state, image, networks)


def predict(
    cfg: Config,
    state: ClassifierState,
    data: Dataset,
    networks: classifier.Networks | None = None,
) -> Array:
    """Class probabilities [N, K] float32 of a whole `Dataset`, in bounded memory.

    Raises:
        DataError: see `Dataset.check`.
    """
    data.check(cfg.data.image_size)
    return probabilities(cfg, state, jnp.asarray(data.image), networks)
