"""The hybrid CNN-LSTM as pure functions: `init`, `train_step`, `predict`, `evaluate`.

A training has stages: "end_to_end" trains CNN and hybrid together; "two_stage" trains the
CNN with its own softmax ("cnn"), then the hybrid on its features ("hybrid"); mode "cnn"
stops after the first, a classifier without the LSTM.

`networks` stands for the modules of all functions: ours, built from the configuration,
where it is None, else a user's own (`Networks`).
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from jaxbrain.config import Config, OptimConfig, require_name, require_names
from jaxbrain.errors import ConfigError, DataError
from jaxbrain.nn import modules
from jaxbrain.nn.cnn_lstm import CNN, Hybrid
from jaxbrain.scoring import metrics
from jaxbrain.training import augment, losses, optim
from jaxbrain.types import Array, Batch, ClassifierState, Counts, NetState


class Networks(NamedTuple):
    """The two Linen modules of a classifier; see `nn.modules` for what they may hold.

    cnn: (image [B, S, S, C] float32 as `normalise` gives it, train) -> logits [B, K]
        float32. Where there is a hybrid, its method `features`, of the same arguments,
        gives what that reads: [B, ...] float32; `__call__` then has all its parameters.
    hybrid: (features, train) -> logits [B, K] float32. Mode "cnn" needs none.
    """

    cnn: nn.Module
    hybrid: nn.Module | None = None


def _networks(cfg: Config, networks: Networks | None, axis_name: str | None = None) -> Networks:
    require_names(cfg)
    networks = modules.chosen(networks, Networks(CNN(cfg), Hybrid(cfg)), axis_name)
    if networks.hybrid is None and cfg.classifier.mode != "cnn":
        raise ConfigError(
            "networks.hybrid is None: expected a Flax Linen module, since classifier.mode is "
            f"{cfg.classifier.mode!r}"
        )
    return networks


def _require_logits(cfg: Config, name: str, logits: Array, count: int) -> Array:
    return modules.require_output(name, logits, count, cfg.data.num_classes)


def init(
    cfg: Config,
    key: Array,
    total_steps: Array | int | None = None,
    networks: Networks | None = None,
) -> ClassifierState:
    """A fresh classifier for images of `cfg.data.image_size`. The key is consumed.

    Only parameters that the mode trains exist: end to end, the CNN has no softmax of its
    own, and in the readings of its map no fully connected layer.

    Args:
        total_steps: updates of one stage; needed by a learning-rate schedule only.

    Raises:
        ConfigError: if the configuration has a schedule and `total_steps` is None; for
            networks that are no modules or give other shapes.
    """
    nets, options, mode = _networks(cfg, networks), cfg.classifier.optim, cfg.classifier.mode
    if total_steps is None and optim.has_schedule(options):
        raise ConfigError(
            f"classifier.optim.schedule is {options.schedule!r}: expected "
            "total_steps, the length of the schedule, to be given"
        )
    cnn_key, hybrid_key = jax.random.split(key)
    size, channels = cfg.data.image_size, cfg.data.channels
    image = jnp.zeros((1, size, size, channels))
    method = "features" if mode == "end_to_end" else None
    result, cnn = modules.init(nets.cnn, cnn_key, image, method=method)
    if method is None:
        _require_logits(cfg, "cnn", result, 1)
    cnn = NetState(**cnn, opt_state=optim.make(options).init(cnn["params"]))
    shape, hybrid = (), {"params": {}, "batch_stats": {}}
    if hasattr(nets.cnn, "features"):
        shape = modules.predict(nets.cnn, cnn, image, method="features").shape[1:]
    if mode != "cnn":
        logits, hybrid = modules.init(nets.hybrid, hybrid_key, jnp.zeros((1, *shape)))
        _require_logits(cfg, "hybrid", logits, 1)
    hybrid = NetState(**hybrid, opt_state=optim.make(options).init(hybrid["params"]))
    average = {}
    if cfg.classifier.average_half_life > 0:
        average = {"cnn": optim.variables(cnn), "hybrid": optim.variables(hybrid)}
        # A copy, so that no buffer appears twice in a state that will be donated.
        average = jax.tree.map(jnp.copy, average)
    return ClassifierState(
        step=jnp.int32(0),
        total_steps=jnp.int32(1 if total_steps is None else total_steps),
        cnn=cnn,
        hybrid=hybrid,
        image_mean=jnp.zeros((size, size, 1)),
        feature_mean=jnp.zeros(shape),
        feature_scale=jnp.ones(shape),
        average=average,
    )


def normalise(cfg: Config, state: ClassifierState, image: Array) -> Array:
    """What the CNN sees of images [B, S, S, C] float32 in [-1, 1].

    "zerocenter" subtracts the training images' mean image (MATLAB's input layer);
    "minmax" stretches each image to [-1, 1] (a constant image becomes -1).

    Raises:
        DataError: for another dtype or shape.
        ConfigError: for unknown names in the configuration.
    """
    require_names(cfg)
    shape = cfg.data.image_size, cfg.data.image_size, cfg.data.channels
    if image.dtype != jnp.float32 or image.shape[1:] != shape:
        # Bytes would pass for bright images.
        raise DataError(
            f"image is {image.dtype} {list(image.shape)}: expected float32 "
            f"{['B', *shape]} in [-1, 1]; preprocess.to_float converts bytes"
        )
    if cfg.data.normalise == "zerocenter":
        return image - state.image_mean[None]
    low = image.min(axis=(1, 2, 3), keepdims=True)
    span = image.max(axis=(1, 2, 3), keepdims=True) - low
    return (image - low) / jnp.maximum(span, 1e-6) * 2.0 - 1.0


def features(
    cfg: Config, state: ClassifierState, image: Array, networks: Networks | None = None
) -> Array:
    """The CNN's features of images [B, S, S, C] float32 in [-1, 1], before z-scoring:
    [B, ...] as the reading has it (`CNN.features`)."""
    cnn, net = _networks(cfg, networks).cnn, predicting(state, "cnn")
    return modules.predict(cnn, net, normalise(cfg, state, image), method="features")


def predicting(state: ClassifierState, name: str) -> NetState:
    """A network as it predicts: with its averages where there are any."""
    net = getattr(state, name)
    return net._replace(**state.average[name]) if state.average else net


def _standardise(state: ClassifierState, features: Array) -> Array:
    return (features - state.feature_mean[None]) / state.feature_scale[None]


def standardised(cfg: Config, state: ClassifierState, features: Array, weight: Array):
    """The state with the mean and scale of features [N, ...] whose weight is not 0, where
    cfg says so."""
    if not cfg.hybrid.standardise:
        return state
    used = (weight > 0).astype(jnp.float32)
    share = used / jnp.maximum(used.sum(), 1.0)
    mean = jnp.einsum("n,n...->...", share, features)
    variance = jnp.einsum("n,n...->...", share, jnp.square(features - mean[None]))
    scale = jnp.where(variance > 1e-12, jnp.sqrt(variance), 1.0)
    return state._replace(feature_mean=mean, feature_scale=scale)


def require_weights(weight: Array, label: Array) -> None:
    """Raise a DataError unless there is a weight for each label."""
    # JAX would read the last row in place of a missing one.
    if weight.shape != label.shape:
        raise DataError(
            f"weight has shape {list(weight.shape)}: expected {list(label.shape)}, one per image"
        )


def class_weight(cfg: Config, label: Array, weight: Array) -> Array:
    """The weights [N] of examples, balanced over the classes where cfg says so.

    Raises:
        DataError: unless there is one for each label.
        ConfigError: for unknown names in the configuration.
    """
    require_names(cfg)
    require_weights(weight, label)
    if cfg.classifier.class_weight == "none":
        return weight
    truth = jax.nn.one_hot(label, cfg.data.num_classes)
    per_class = jnp.einsum("n,nk->k", weight, truth)
    share = weight.sum() / (cfg.data.num_classes * jnp.maximum(per_class, 1.0))
    return weight * share[label]


def train_step(
    cfg: Config,
    state: ClassifierState,
    batch: Batch,
    key: Array,
    *,
    stage: str = "end_to_end",
    axis_name: str | None = None,
    networks: Networks | None = None,
    lr_scale: Array | float | None = None,
) -> tuple[ClassifierState, dict[str, Array]]:
    """One update on the weighted mean cross-entropy of one batch.

    Args:
        cfg, networks, stage: static; the stage is "end_to_end", "cnn" or "hybrid" (see the
            module).
        batch: image [B, S, S, C] float32 in [-1, 1] (for stage "hybrid": `features`),
            label [B] int32, weight [B] float32 with 0 for padding (which a BatchNorm of
            networks of your own still sees).
        key: may be the same at every step; the step number is folded in.
        axis_name: of the device axis, under `pmap` or `shard_map(check_vma=False)`.
        lr_scale: [] float, multiplies the update; None leaves it.

    Returns:
        The new state, and weighted sums over the batch: loss, correct, count.

    Raises:
        ConfigError: for unknown names, and networks that give other shapes.
    """
    nets = _networks(cfg, networks, axis_name)
    _check(cfg, state, batch, stage)
    keys = _Keys(*jax.random.split(jax.random.fold_in(key, state.step), len(_Keys._fields)))
    image = batch.image
    if stage != "hybrid":
        image = _seen(cfg, state, image, keys.augment, axis_name)
    trained = ("cnn", "hybrid") if stage == "end_to_end" else (stage,)
    new, sums = descend(
        cfg.classifier.optim,
        {name: getattr(state, name) for name in trained},
        partial(_logits, cfg, nets, state, stage, image, keys, axis_name),
        batch.label,
        batch.weight,
        state.step % jnp.maximum(state.total_steps, 1),
        state.total_steps,
        axis_name=axis_name,
        lr_scale=lr_scale,
        smoothing=cfg.classifier.label_smoothing,
    )
    average = state.average
    if half_life := cfg.classifier.average_half_life:
        # Of what is trained: in two stages the second reads the average of the first.
        own = {k: optim.averaged(average[k], net, half_life) for k, net in new.items()}
        average = average | own
    return state._replace(step=state.step + 1, average=average, **new), sums


class _Keys(NamedTuple):
    """The keys of one step; the first two are as they were without the third."""

    augment: Array
    hybrid: Array
    cnn: Array


def _check(cfg: Config, state: ClassifierState, batch: Batch, stage: str) -> None:
    require_name("stage", stage, ("end_to_end", "cnn", "hybrid"))
    if stage == "hybrid":
        chex.assert_shape(batch.image, (None, *state.feature_mean.shape))
    else:
        size, channels = cfg.data.image_size, cfg.data.channels
        chex.assert_shape(batch.image, (None, size, size, channels))
    chex.assert_shape([batch.label, batch.weight], batch.image.shape[:1])
    chex.assert_type([batch.image, batch.label], [jnp.float32, jnp.int32])


def _seen(cfg: Config, state: ClassifierState, image: Array, key: Array, axis_name) -> Array:
    """What the CNN sees of a batch while it is trained."""
    if cfg.classifier.augment != "none":
        devices = 1 if axis_name is None else lax.axis_size(axis_name)
        keys = jax.random.split(key, devices * image.shape[0])
        change = augment.strong if cfg.classifier.augment == "strong" else augment.standard
        image = change(image, augment.own_rows(keys, axis_name))
    return normalise(cfg, state, image)


def _logits(
    cfg: Config, nets: Networks, state: ClassifierState, stage, image, keys, axis_name, params
) -> tuple[Array, dict]:
    """The logits that a stage trains, [B, K], and the batch_stats of its networks."""

    def run(name, x, method=None):
        key = getattr(keys, name)
        if axis_name is not None:
            key = jax.random.fold_in(key, lax.axis_index(axis_name))
        module, stats = getattr(nets, name), getattr(state, name).batch_stats
        return modules.train(
            module, params[name], stats, key, x, axis_name=axis_name, method=method
        )

    if stage == "cnn":
        logits, stats = run("cnn", image)
        return _require_logits(cfg, "cnn", logits, image.shape[0]), {"cnn": stats}
    read, batch_stats = image, {}
    if stage == "end_to_end":
        read, batch_stats["cnn"] = run("cnn", image, "features")
    elif cfg.hybrid.standardise:
        read = _standardise(state, image)
    logits, batch_stats["hybrid"] = run("hybrid", read)
    return _require_logits(cfg, "hybrid", logits, image.shape[0]), batch_stats


def descend(
    options: OptimConfig,
    nets: dict[str, NetState],
    logits: Callable,
    label: Array,
    weight: Array,
    step: Array,
    total_steps: Array | int,
    *,
    axis_name: str | None = None,
    lr_scale: Array | float | None = None,
    smoothing: float = 0.0,
) -> tuple[dict[str, NetState], dict[str, Array]]:
    """One update of networks on the weighted mean cross-entropy of one batch: what every
    training of a classifier here does (`train_step`, and the baselines').

    Args:
        options: static.
        nets: the networks that are trained.
        logits: function of {name: params} -> [B, K] float32, {name: new batch_stats}.
        label: [B] int32; weight: [B] float32, 0 for padding.
        step, total_steps: where the learning-rate schedule stands.
        axis_name, lr_scale: see `train_step`.
        smoothing: static, of the targets (`losses.cross_entropy`).

    Returns:
        The networks, and weighted sums over the batch: loss, correct, count.
    """

    def total(x):
        return x if axis_name is None else lax.psum(x, axis_name)

    # Weights of padded batches differ between devices: divide by the sum over all.
    count = total(weight.sum())

    def loss_fn(params):
        answers, batch_stats = logits(params)
        loss = (weight * losses.cross_entropy(answers, label, smoothing)).sum()
        return loss / jnp.maximum(count, 1e-6), (loss, answers, batch_stats)

    params = {name: net.params for name, net in nets.items()}
    (_, (loss, answers, stats)), grads = jax.value_and_grad(loss_fn, has_aux=True)(params)
    grads = total(grads)
    nets = {
        name: optim.update(
            options, grads[name], net._replace(batch_stats=stats[name]), step, total_steps, lr_scale
        )
        for name, net in nets.items()
    }
    hit = (answers.argmax(axis=-1) == label).astype(jnp.float32)
    sums = {"loss": total(loss), "correct": total((weight * hit).sum())}
    return nets, sums | {"count": count}


def predict(
    cfg: Config, state: ClassifierState, image: Array, networks: Networks | None = None
) -> Array:
    """Class probabilities: image [B, S, S, C] float32 in [-1, 1] -> [B, K] float32.

    Dropout is off. The softmax is layer 12 of Table 1; with `classifier.predict_shift` its mean
    over the image in nine places (`augment.around`).
    """
    if not (reach := cfg.classifier.predict_shift):
        return jax.nn.softmax(logits(cfg, state, image, networks), axis=-1)

    def one(step):
        moved = augment.moved(image, step, reach)
        return jax.nn.softmax(logits(cfg, state, moved, networks), axis=-1)

    return lax.map(one, augment.around(reach)).mean(axis=0)


def logits(
    cfg: Config, state: ClassifierState, image: Array, networks: Networks | None = None
) -> Array:
    """Logits [B, K] float32 of image [B, S, S, C] float32 in [-1, 1], in its place."""
    nets, count = _networks(cfg, networks), image.shape[0]
    if cfg.classifier.mode == "cnn":
        found = modules.predict(nets.cnn, predicting(state, "cnn"), normalise(cfg, state, image))
        return _require_logits(cfg, "cnn", found, count)
    read = features(cfg, state, image, networks)
    if cfg.hybrid.standardise:
        read = _standardise(state, read)
    found = modules.predict(nets.hybrid, predicting(state, "hybrid"), read)
    return _require_logits(cfg, "hybrid", found, count)


def evaluate(
    cfg: Config, state: ClassifierState, batch: Batch, networks: Networks | None = None
) -> Counts:
    """`metrics.Counts` of one batch; rows of weight 0 count for nothing."""
    probability = predict(cfg, state, batch.image, networks)
    return metrics.counts(probability, batch.label, batch.weight)
