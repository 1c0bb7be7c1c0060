"""Whole trainings, pure and compiled: (config, data, key) in, (state, history) out.

A training runs the steps [state.step, stop) inside one loop. Given a state and a stop as
arrays, its program does not depend on where it starts or stops, so cutting a training into
chunks changes no program and no bit. The data stay on the device as bytes; a plan says
which of them make a step (`streamed` runs the same plan with data on the host).

With `axis_name` a training runs on every device of an axis (`devices`), each on its own
rows of every batch; with dropout off it is the training that one device would run.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxbrain.config import Config
from jaxbrain.data.preprocess import to_float
from jaxbrain.errors import ConfigError
from jaxbrain.training import augment, classifier, gan
from jaxbrain.types import Array, Batch, ClassifierState, Dataset, GANState, History


class Plan(NamedTuple):
    """Which examples make which step of a training; static.

    batch_size: examples of a step. rows: that, and rows of weight 0 that make it a
    multiple of the number of devices. shuffle, partial: see `ClassifierConfig`.
    """

    num_examples: int
    batch_size: int
    rows: int
    shuffle: str
    partial: str

    def steps(self) -> int:
        """Steps of one epoch."""
        if self.partial == "pad":
            return -(-self.num_examples // self.batch_size)
        return self.num_examples // self.batch_size

    def order(self, key: Array, step: Array) -> Array:
        """The order of the examples in the epoch of step `step`: random, and dependent
        on the key and the epoch, or with `shuffle="once"` on the key alone (then the same
        examples are dropped in every epoch, as in MATLAB)."""
        epoch = 0 if self.shuffle == "once" else step // self.steps()
        return jax.random.permutation(jax.random.fold_in(key, epoch), self.num_examples)

    def take(self, order: Array, step: Array) -> tuple[Array, Array]:
        """The rows of step `step`.

        Returns:
            index: [rows] int32.
            weight: [rows] float32: 1, and 0 for rows that pad.
        """
        order = jnp.pad(order, (0, self.batch_size + self.rows))
        start = (step % self.steps()) * self.batch_size
        row = jnp.arange(self.rows)
        index = lax.dynamic_slice_in_dim(order, start, self.rows)
        used = (row < self.batch_size) & (start + row < self.num_examples)
        return jnp.where(used, index, 0), used.astype(jnp.float32)


def _plan(field: str, num_examples: int, batch_size: int, shuffle, partial, devices) -> Plan:
    if partial == "drop" and batch_size > num_examples:
        raise ConfigError(
            f"{field} is {batch_size}: expected at most {num_examples}, the number of "
            "training images, since partial batches are dropped"
        )
    if partial == "drop" and batch_size % devices:
        pad = ", or classifier.partial = pad" if field.startswith("classifier") else ""
        raise ConfigError(
            f"{field} is {batch_size}: expected a multiple of {devices}, the number of devices{pad}"
        )
    rows = -(-batch_size // devices) * devices
    return Plan(num_examples, batch_size, rows, shuffle, partial)


def gan_plan(cfg: Config, num_examples: int, devices: int = 1) -> Plan:
    """The plan of a GAN's training: every epoch is reshuffled, partial batches dropped.

    Raises:
        ConfigError: if the batch is larger than the data, or `devices` do not divide it.
    """
    size = cfg.gan.batch_size
    return _plan("gan.batch_size", num_examples, size, "every_epoch", "drop", devices)


def classifier_plan(cfg: Config, num_examples: int, devices: int = 1) -> Plan:
    """The plan of one stage of a classifier's training.

    Raises:
        ConfigError: where partial batches are dropped: if the batch is larger than the
            data, or `devices` do not divide it.
    """
    options = cfg.classifier
    return _plan(
        "classifier.batch_size",
        num_examples,
        options.batch_size,
        options.shuffle,
        options.partial,
        devices,
    )


def run_plan(plan: Plan, key: Array, update: Callable, carry, start, stop, axis_name=None):
    """`update(state, index, weight) -> (state, metrics)` for the steps [start, stop);
    carry is (state, history)."""

    def body(i, carry):
        state, history, order = carry
        # One permutation an epoch: of many images it costs more than a step.
        order = lax.cond(i % plan.steps() == 0, lambda: plan.order(key, i), lambda: order)
        index, weight = (augment.own_rows(leaf, axis_name) for leaf in plan.take(order, i))
        state, metrics = update(state, index, weight)
        history = jax.tree.map(lambda h, m: h.at[i].set(m), history, metrics)
        return state, history, order

    state, history, _ = lax.fori_loop(start, stop, body, (*carry, plan.order(key, start)))
    return state, history


def empty_history(names: tuple[str, ...], total: int) -> dict[str, Array]:
    """Metrics of a training that has not run a step: NaN."""
    return {name: jnp.full((total,), jnp.nan) for name in names}


def _ready(data: Dataset, side: int, num_classes: int) -> Dataset:
    """The data of a training on the device, checked."""
    data.check(side, num_classes)
    label = jnp.asarray(data.label, jnp.int32)
    return jax.tree.map(jnp.asarray, data._replace(label=label))


def _devices(axis_name: str | None) -> int:
    return 1 if axis_name is None else lax.axis_size(axis_name)


GAN_METRICS = (
    "discriminator_loss",
    "generator_loss",
    "real_score",
    "fake_score",
    "discriminator_accuracy",
    "count",
)
CLASSIFIER_METRICS = "loss", "correct", "count"


def split_key(key: Array) -> Array:
    """The three keys of a training: of `init`, of the plan, of the steps."""
    return jax.random.split(key, 3)


def init_gan(cfg: Config, key: Array) -> GANState:
    """The fresh GAN that `train_gan` starts from, given the key of the training."""
    return gan.init(cfg, split_key(key)[0])


def gan_update(cfg: Config, key: Array, axis_name: str | None = None) -> Callable:
    """`gan.train_step` on bytes: (state, image uint8, label, weight) -> (state, metrics).

    key: of the training's steps.
    """

    def update(state, image, label, weight):
        batch = Batch(to_float(image, cfg.data.channels), label, weight)
        return gan.train_step(cfg, state, batch, key, axis_name=axis_name)

    return update


def train_gan(
    cfg: Config,
    data: Dataset,
    key: Array,
    *,
    state: GANState | None = None,
    stop: Array | int | None = None,
    axis_name: str | None = None,
) -> tuple[GANState, History]:
    """Train the conditional GAN for `cfg.gan.steps` updates.

    Args:
        cfg: static.
        data: images of side `cfg.gan.image_size`; each epoch is reshuffled, partial
            batches are dropped.
        key: of the whole training; the same key for every chunk of it.
        state: where to go on; None starts afresh from the key.
        stop: finish after this many updates in all; None runs to the end.
        axis_name: of the device axis (see the module).

    Returns:
        The state, and a `History` of length `cfg.gan.steps`.

    Raises:
        ConfigError: if the batch is larger than the data, or devices do not divide it.
        DataError: for data that are no bytes, see `Dataset.check`.

    Example:
        >>> train = jax.jit(train_gan, static_argnums=0)      # doctest: +SKIP
        >>> state, history = train(cfg, data, jax.random.key(0))  # doctest: +SKIP
    """
    data = _ready(data, cfg.gan.image_size, cfg.data.num_classes)
    plan = gan_plan(cfg, data.label.shape[0], _devices(axis_name))
    _, plan_key, step_key = split_key(key)
    start = 0 if state is None else state.step
    state = init_gan(cfg, key) if state is None else state
    update = gan_update(cfg, step_key, axis_name)

    def step(state, index, weight):
        return update(state, data.image[index], data.label[index], weight)

    stop = cfg.gan.steps if stop is None else stop
    carry = state, empty_history(GAN_METRICS, cfg.gan.steps)
    state, history = run_plan(plan, plan_key, step, carry, start, stop, axis_name)
    return state, History(history)


def classifier_steps(cfg: Config, num_examples: int, devices: int = 1) -> tuple[int, int]:
    """Updates of one stage, and of the whole training (two stages have twice as many).

    Raises:
        ConfigError: as `classifier_plan`.
    """
    one = cfg.classifier.epochs * classifier_plan(cfg, num_examples, devices).steps()
    return one, 2 * one if cfg.classifier.mode == "two_stage" else one


def fitted(cfg: Config, key: Array, num_examples: int, total: Array, count: Array):
    """`init_classifier` from sums: total [S, S, 1] int32, of the bytes of the `count`
    images that train (whole numbers, so that the order of summing changes no bit)."""
    one, _ = classifier_steps(cfg, num_examples)
    state = classifier.init(cfg, split_key(key)[0], one)
    if cfg.data.normalise == "zerocenter":
        mean = total.astype(jnp.float32) / jnp.maximum(count, 1.0)
        state = state._replace(image_mean=mean / 127.5 - 1.0)
    return state


def byte_sum(image: Array, used: Array) -> Array:
    """[N, S, S, 1] uint8, [N] bool -> [S, S, 1] int32, the sum of the images used."""
    masked = jnp.where(used.reshape(-1, 1, 1, 1), image, jnp.zeros((), image.dtype))
    return masked.sum(axis=0, dtype=jnp.int32)


def init_classifier(
    cfg: Config, data: Dataset, key: Array, weight: Array | None = None
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
    total = byte_sum(data.image, used)
    return fitted(cfg, key, data.label.shape[0], total, used.sum().astype(jnp.float32))


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


def classifier_update(
    cfg: Config, key: Array, stage: str, axis_name: str | None = None
) -> Callable:
    """`classifier.train_step` on bytes (stage "hybrid": on features):
    (state, image, label, weight) -> (state, metrics). key: of the training's steps."""

    def update(state, image, label, weight):
        if stage != "hybrid":
            image = to_float(image, cfg.data.channels)
        batch = Batch(image, label, weight)
        return classifier.train_step(cfg, state, batch, key, stage=stage, axis_name=axis_name)

    return update


def train_classifier(
    cfg: Config,
    data: Dataset,
    key: Array,
    *,
    weight: Array | None = None,
    state: ClassifierState | None = None,
    stop: Array | int | None = None,
    axis_name: str | None = None,
) -> tuple[ClassifierState, History]:
    """Train the CNN-LSTM for `cfg.classifier.epochs` epochs per stage.

    Args:
        cfg: static.
        data: training images of side `cfg.data.image_size`.
        key: of the whole training; the same key for every chunk of it.
        weight: [N] float32, 0 leaves an image out; None weighs all alike.
        state: where to go on, from `init_classifier` or an earlier chunk; None starts
            afresh from the key.
        stop: finish after this many updates in all; None runs to the end.
        axis_name: of the device axis (see the module).

    Returns:
        The state, and a `History` as long as `classifier_steps` says.

    Raises:
        ConfigError: as `classifier_plan`.
        DataError: for data that are no bytes, see `Dataset.check`; for weights that are not
            one per image.
    """
    data = _ready(data, cfg.data.image_size, cfg.data.num_classes)
    _, plan_key, step_key = split_key(key)
    start = 0 if state is None else state.step
    if state is None:
        state = init_classifier(cfg, data, key, weight)
    num_examples, devices = data.label.shape[0], _devices(axis_name)
    plan = classifier_plan(cfg, num_examples, devices)
    one, total = classifier_steps(cfg, num_examples, devices)
    stop = total if stop is None else stop
    weight = jnp.ones((num_examples,)) if weight is None else jnp.asarray(weight)
    balanced = classifier.class_weight(cfg, data.label, weight)

    def run(stage, source, state, history, start, stop):
        update = classifier_update(cfg, step_key, stage, axis_name)

        def step(state, index, real):
            return update(state, source[index], data.label[index], real * balanced[index])

        return run_plan(plan, plan_key, step, (state, history), start, stop, axis_name)

    history = empty_history(CLASSIFIER_METRICS, total)
    if cfg.classifier.mode != "two_stage":
        state, history = run(cfg.classifier.mode, data.image, state, history, start, stop)
        return state, History(history)

    state, history = run("cnn", data.image, state, history, start, jnp.minimum(stop, one))

    def extract(state):
        def some(image):
            return classifier.features(cfg, state, to_float(image, cfg.data.channels))

        return map_batches(some, data.image, cfg.classifier.batch_size)

    # Recomputed by every chunk of the second stage: cheaper than carrying them.
    shape = (num_examples, *state.feature_mean.shape)
    features = lax.cond(stop > one, extract, lambda _: jnp.zeros(shape), state)
    state = classifier.standardised(cfg, state, features, weight)
    second = jnp.maximum(start, one)
    state, history = run("hybrid", features, state, history, second, stop)
    return state, History(history)


def predict(cfg: Config, state: ClassifierState, data: Dataset) -> Array:
    """Class probabilities [N, K] float32 of a whole `Dataset`, in bounded memory.

    Raises:
        DataError: see `Dataset.check`.
    """
    data.check(cfg.data.image_size)

    def some(image):
        image = to_float(image, cfg.data.channels)
        return classifier.predict(cfg, state, image)

    return map_batches(some, jnp.asarray(data.image), cfg.classifier.batch_size)
