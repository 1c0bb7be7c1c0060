"""Whole trainings, pure and compiled: (config, data, key) in, (state, history) out.

A training runs the steps [state.step, stop) inside one loop. Given a state and a stop as
arrays, its program does not depend on where it starts or stops, so cutting a training into
chunks changes no program and no bit.
"""

import jax
import jax.numpy as jnp
from jax import lax

from jaxbrain import classifier, gan
from jaxbrain.config import Config
from jaxbrain.errors import ConfigError
from jaxbrain.types import Array, Batch, ClassifierState, Dataset, GANState, History


def to_float(image: Array, channels: int) -> Array:
    """[..., S, S, 1] uint8 -> [..., S, S, channels] float32 in [-1, 1]."""
    scaled = image.astype(jnp.float32) / 127.5 - 1.0
    return jnp.broadcast_to(scaled, (*scaled.shape[:-1], channels))


def to_uint8(image: Array) -> Array:
    """[..., S, S, C] float32 in [-1, 1] -> [..., S, S, 1] uint8, the channels' mean."""
    grey = image.mean(axis=-1, keepdims=True)
    return jnp.clip(jnp.round((grey + 1.0) * 127.5), 0, 255).astype(jnp.uint8)


def steps_per_epoch(num_examples: int, batch_size: int, partial: str) -> int:
    """Steps of one pass over the data; `partial` is "drop" or "pad"."""
    if partial == "pad":
        return -(-num_examples // batch_size)
    return num_examples // batch_size


def _refuse_large_batch(field: str, batch_size: int, num_examples: int) -> None:
    if batch_size > num_examples:
        raise ConfigError(
            f"{field} is {batch_size}: expected at most {num_examples}, the number of "
            "training images, since partial batches are dropped"
        )


def gan_steps_per_epoch(cfg: Config, num_examples: int) -> int:
    """Steps of one pass of the GAN over its real images.

    Raises:
        ConfigError: if the batch is larger than the data.
    """
    _refuse_large_batch("gan.batch_size", cfg.gan.batch_size, num_examples)
    return steps_per_epoch(num_examples, cfg.gan.batch_size, "drop")


def batch_index(
    key: Array,
    step: Array,
    num_examples: int,
    batch_size: int,
    shuffle: str,
    partial: str,
) -> tuple[Array, Array]:
    """Which examples make step `step` of a training.

    Epoch e visits the examples in a random order that depends on (key, e), or with
    `shuffle="once"` on the key alone: then the same examples are dropped in every epoch,
    as in MATLAB.

    Returns:
        index: [batch_size] int32.
        weight: [batch_size] float32: 1, and 0 for rows that pad a partial batch.
    """
    count = steps_per_epoch(num_examples, batch_size, partial)
    epoch = step // count
    key = jax.random.fold_in(key, 0 if shuffle == "once" else epoch)
    order = jax.random.permutation(key, num_examples)
    if partial == "pad":
        order = jnp.pad(order, (0, count * batch_size - num_examples))
    start = (step % count) * batch_size
    position = start + jnp.arange(batch_size)
    index = lax.dynamic_slice_in_dim(order, start, batch_size)
    return index, (position < num_examples).astype(jnp.float32)


def _run(step, state, history, start, stop):
    """`step(state, i) -> (state, metrics)` for i in [start, stop)."""

    def body(i, carry):
        state, history = carry
        state, metrics = step(state, i)
        history = jax.tree.map(lambda h, m: h.at[i].set(m), history, metrics)
        return state, history

    return lax.fori_loop(start, stop, body, (state, history))


def _empty(names: tuple[str, ...], total: int) -> dict[str, Array]:
    return {name: jnp.full((total,), jnp.nan) for name in names}


def init_gan(cfg: Config, key: Array) -> GANState:
    """The fresh GAN that `train_gan` starts from, given the key of the training."""
    init_key, _, _ = jax.random.split(key, 3)
    return gan.init(cfg, init_key)


def train_gan(
    cfg: Config,
    data: Dataset,
    key: Array,
    *,
    state: GANState | None = None,
    stop: Array | int | None = None,
) -> tuple[GANState, History]:
    """Train the conditional GAN for `cfg.gan.steps` updates.

    Args:
        cfg: static.
        data: images of side `cfg.gan.image_size`; each epoch is reshuffled, partial
            batches are dropped.
        key: of the whole training; the same key for every chunk of it.
        state: where to go on; None starts afresh from the key.
        stop: finish after this many updates in all; None runs to the end.

    Returns:
        The state, and a `History` of length `cfg.gan.steps`.

    Raises:
        ConfigError: if the batch is larger than the data.

    Example:
        >>> train = jax.jit(train_gan, static_argnums=0)      # doctest: +SKIP
        >>> state, history = train(cfg, data, jax.random.key(0))  # doctest: +SKIP
    """
    data = jax.tree.map(jnp.asarray, data)
    num_examples, size = data.label.shape[0], cfg.gan.batch_size
    gan_steps_per_epoch(cfg, num_examples)
    _, shuffle_key, step_key = jax.random.split(key, 3)
    start = 0 if state is None else state.step
    state = init_gan(cfg, key) if state is None else state

    def step(state, i):
        index, weight = batch_index(shuffle_key, i, num_examples, size, "every_epoch", "drop")
        image = to_float(data.image[index], cfg.data.channels)
        batch = Batch(image, data.label[index], weight)
        return gan.train_step(cfg, state, batch, step_key)

    names = "discriminator_loss", "generator_loss", "real_score", "fake_score", "count"
    stop = cfg.gan.steps if stop is None else stop
    history = _empty(names, cfg.gan.steps)
    state, history = _run(step, state, history, start, stop)
    return state, History(history)


def classifier_steps(cfg: Config, num_examples: int) -> tuple[int, int]:
    """Updates of one stage, and of the whole training (two stages have twice as many).

    Raises:
        ConfigError: if the batch is larger than the data and partial ones are dropped.
    """
    options = cfg.classifier
    if options.partial == "drop":
        _refuse_large_batch("classifier.batch_size", options.batch_size, num_examples)
    one = options.epochs * steps_per_epoch(num_examples, options.batch_size, options.partial)
    return one, one if options.mode == "end_to_end" else 2 * one


def init_classifier(
    cfg: Config, data: Dataset, key: Array, weight: Array | None = None
) -> ClassifierState:
    """A fresh classifier whose image statistics are fitted on `data`.

    Rows of weight 0 do not count. The key is that of `train_classifier`.
    """
    init_key, _, _ = jax.random.split(key, 3)
    one, _ = classifier_steps(cfg, data.label.shape[0])
    state = classifier.init(cfg, init_key, one)
    if cfg.data.normalise == "zerocenter":
        weight = jnp.ones(data.label.shape) if weight is None else weight
        used = (weight > 0).astype(jnp.float32)
        total = jnp.einsum("n,nhwc->hwc", used, to_float(data.image, 1))
        state = state._replace(image_mean=total / jnp.maximum(used.sum(), 1.0))
    return state


def _class_weight(cfg: Config, data: Dataset, weight: Array) -> Array:
    if cfg.classifier.class_weight == "none":
        return weight
    truth = jax.nn.one_hot(data.label, cfg.data.num_classes)
    per_class = jnp.einsum("n,nk->k", weight, truth)
    share = weight.sum() / (cfg.data.num_classes * jnp.maximum(per_class, 1.0))
    return weight * share[data.label]


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


def train_classifier(
    cfg: Config,
    data: Dataset,
    key: Array,
    *,
    weight: Array | None = None,
    state: ClassifierState | None = None,
    stop: Array | int | None = None,
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

    Returns:
        The state, and a `History` as long as `classifier_steps` says.

    Raises:
        ConfigError: if the batch is larger than the data and partial ones are dropped.
    """
    data = jax.tree.map(jnp.asarray, data)
    _, shuffle_key, step_key = jax.random.split(key, 3)
    start = 0 if state is None else state.step
    if state is None:
        state = init_classifier(cfg, data, key, weight)
    options, num_examples = cfg.classifier, data.label.shape[0]
    one, total = classifier_steps(cfg, num_examples)
    stop = total if stop is None else stop
    weight = jnp.ones((num_examples,)) if weight is None else weight
    used = (weight > 0).astype(jnp.float32)
    weight = _class_weight(cfg, data, weight)

    def run(stage, source, state, history, start, stop):
        def step(state, i):
            index, real = batch_index(
                shuffle_key,
                i % one,
                num_examples,
                options.batch_size,
                options.shuffle,
                options.partial,
            )
            image = source[index]
            if stage != "hybrid":
                image = to_float(image, cfg.data.channels)
            batch = Batch(image, data.label[index], real * weight[index])
            return classifier.train_step(cfg, state, batch, step_key, stage=stage)

        return _run(step, state, history, start, stop)

    history = _empty(("loss", "correct", "count"), total)
    if options.mode == "end_to_end":
        state, history = run("end_to_end", data.image, state, history, start, stop)
        return state, History(history)

    state, history = run("cnn", data.image, state, history, start, jnp.minimum(stop, one))

    def extract(state):
        def some(image):
            return classifier.features(cfg, state, to_float(image, cfg.data.channels))

        return map_batches(some, data.image, options.batch_size)

    # Recomputed by every chunk of the second stage: cheaper than carrying them.
    shape = (num_examples, *state.feature_mean.shape)
    features = lax.cond(stop > one, extract, lambda _: jnp.zeros(shape), state)
    if cfg.hybrid.standardise:
        share = used / jnp.maximum(used.sum(), 1.0)
        mean = jnp.einsum("n,n...->...", share, features)
        variance = jnp.einsum("n,n...->...", share, jnp.square(features - mean[None]))
        scale = jnp.where(variance > 1e-12, jnp.sqrt(variance), 1.0)
        state = state._replace(feature_mean=mean, feature_scale=scale)
    second = jnp.maximum(start, one)
    state, history = run("hybrid", features, state, history, second, stop)
    return state, History(history)


def predict(cfg: Config, state: ClassifierState, data: Dataset) -> Array:
    """Class probabilities [N, K] of a whole `Dataset`, in bounded memory."""

    def some(image):
        image = to_float(image, cfg.data.channels)
        return classifier.predict(cfg, state, image)

    return map_batches(some, jnp.asarray(data.image), cfg.classifier.batch_size)
