"""The hybrid CNN-LSTM as pure functions: `init`, `train_step`, `predict`, `evaluate`.

A training has stages: "end_to_end" trains CNN and hybrid together; "two_stage" trains the
CNN with its own softmax ("cnn"), then the hybrid on its features ("hybrid"); mode "cnn"
stops after the first, a classifier without the LSTM.
"""

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp
from jax import lax

from jaxbrain.config import Config, OptimConfig
from jaxbrain.errors import ConfigError, DataError
from jaxbrain.nn.cnn_lstm import CNN, Hybrid
from jaxbrain.scoring import metrics
from jaxbrain.training import augment, losses, optim
from jaxbrain.types import Array, Batch, ClassifierState, Counts, NetState


def init(cfg: Config, key: Array, total_steps: int | None = None) -> ClassifierState:
    """A fresh classifier for images of `cfg.data.image_size`. The key is consumed.

    Only parameters that the mode trains exist: end to end, the CNN has no softmax of its
    own, and in the rows reading no fully connected layer.

    Args:
        total_steps: updates of one stage; needed by a learning-rate schedule only.

    Raises:
        ConfigError: if the configuration has a schedule and `total_steps` is None.
    """
    if total_steps is None and cfg.classifier.optim.schedule != "constant":
        raise ConfigError(
            f"classifier.optim.schedule is {cfg.classifier.optim.schedule!r}: expected "
            "total_steps, the length of the schedule, to be given"
        )
    cnn_key, hybrid_key = jax.random.split(key)
    size, channels = cfg.data.image_size, cfg.data.channels
    image = jnp.zeros((1, size, size, channels))
    cnn = CNN(cfg)
    both = cfg.classifier.mode == "end_to_end"
    variables = cnn.init(cnn_key, image, method="features" if both else "__call__")
    features = _features(cfg, variables["params"], image)
    hybrid = {"params": {}}
    if cfg.classifier.mode != "cnn":
        hybrid = Hybrid(cfg).init(hybrid_key, features, train=False)

    def net(params):
        return NetState(params, {}, optim.make(cfg.classifier.optim).init(params))

    return ClassifierState(
        step=jnp.int32(0),
        total_steps=jnp.int32(total_steps or 1),
        cnn=net(variables["params"]),
        hybrid=net(hybrid["params"]),
        image_mean=jnp.zeros((size, size, 1)),
        feature_mean=jnp.zeros(features.shape[1:]),
        feature_scale=jnp.ones(features.shape[1:]),
    )


def _features(cfg: Config, params, image: Array) -> Array:
    return CNN(cfg).apply({"params": params}, image, method="features")


def normalise(cfg: Config, state: ClassifierState, image: Array) -> Array:
    """What the CNN sees of images [B, S, S, C] float32 in [-1, 1].

    "zerocenter" subtracts the training images' mean image (MATLAB's input layer);
    "minmax" stretches each image to [-1, 1] (a constant image becomes -1).
    """
    if cfg.data.normalise == "zerocenter":
        return image - state.image_mean[None]
    low = image.min(axis=(1, 2, 3), keepdims=True)
    span = image.max(axis=(1, 2, 3), keepdims=True) - low
    return (image - low) / jnp.maximum(span, 1e-6) * 2.0 - 1.0


def features(cfg: Config, state: ClassifierState, image: Array) -> Array:
    """The CNN's features of images [B, S, S, C] float32 in [-1, 1], before z-scoring:
    [B, cnn.features], or [B, H', W' * filters] in the rows reading."""
    return _features(cfg, state.cnn.params, normalise(cfg, state, image))


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
    """
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
) -> tuple[ClassifierState, dict[str, Array]]:
    """One update on the weighted mean cross-entropy of one batch.

    Args:
        cfg: static.
        state: from `init` or an earlier step.
        batch: image [B, S, S, C] float32 in [-1, 1] (for stage "hybrid": `features`),
            label [B] int32, weight [B] float32 with 0 for padding.
        key: may be the same at every step; the step number is folded in.
        stage: static; "end_to_end", "cnn" or "hybrid" (see the module).
        axis_name: of the device axis, where the step runs under `pmap` or
            `shard_map(check_vma=False)`.

    Returns:
        The new state, and weighted sums over the batch: loss, correct, count.

    Raises:
        ValueError: for an unknown stage.
    """
    if stage not in ("end_to_end", "cnn", "hybrid"):
        raise ValueError(f"stage is {stage!r}: expected end_to_end, cnn or hybrid")
    if stage == "hybrid":
        chex.assert_shape(batch.image, (None, *state.feature_mean.shape))
    else:
        size, channels = cfg.data.image_size, cfg.data.channels
        chex.assert_shape(batch.image, (None, size, size, channels))
    chex.assert_shape([batch.label, batch.weight], batch.image.shape[:1])
    chex.assert_type([batch.image, batch.label], [jnp.float32, jnp.int32])
    key = jax.random.fold_in(key, state.step)
    augment_key, dropout_key = jax.random.split(key)
    devices = 1
    if axis_name is not None:
        devices = lax.axis_size(axis_name)
        dropout_key = jax.random.fold_in(dropout_key, lax.axis_index(axis_name))

    image = batch.image
    if stage != "hybrid":
        if cfg.classifier.augment == "standard":
            keys = jax.random.split(augment_key, devices * image.shape[0])
            image = augment.standard(image, augment.own_rows(keys, axis_name))
        image = normalise(cfg, state, image)

    def logits(params):
        if stage == "cnn":
            return CNN(cfg).apply({"params": params["cnn"]}, image)
        read = image
        if stage == "end_to_end":
            read = _features(cfg, params["cnn"], image)
        elif cfg.hybrid.standardise:
            read = _standardise(state, image)
        return Hybrid(cfg).apply(
            {"params": params["hybrid"]}, read, True, rngs={"dropout": dropout_key}
        )

    trained = ("cnn", "hybrid") if stage == "end_to_end" else (stage,)
    nets, sums = descend(
        cfg.classifier.optim,
        {name: getattr(state, name) for name in trained},
        logits,
        batch.label,
        batch.weight,
        state.step % jnp.maximum(state.total_steps, 1),
        state.total_steps,
        axis_name=axis_name,
    )
    return state._replace(step=state.step + 1, **nets), sums


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
) -> tuple[dict[str, NetState], dict[str, Array]]:
    """One update of networks on the weighted mean cross-entropy of one batch: what every
    training of a classifier here does (`train_step`, and the baselines').

    Args:
        options: static.
        nets: the networks that are trained.
        logits: function of {name: params} -> [B, K] float32.
        label: [B] int32; weight: [B] float32, 0 for padding.
        step, total_steps: where the learning-rate schedule stands.
        axis_name: see `train_step`.

    Returns:
        The networks, and weighted sums over the batch: loss, correct, count.
    """

    def total(x):
        return x if axis_name is None else lax.psum(x, axis_name)

    # Weights of padded batches differ between devices: divide by the sum over all.
    count = total(weight.sum())

    def loss_fn(params):
        answers = logits(params)
        loss = (weight * losses.cross_entropy(answers, label)).sum()
        return loss / jnp.maximum(count, 1e-6), (loss, answers)

    params = {name: net.params for name, net in nets.items()}
    (_, (loss, answers)), grads = jax.value_and_grad(loss_fn, has_aux=True)(params)
    grads = total(grads)
    nets = {
        name: optim.update(options, grads[name], net, step, total_steps)
        for name, net in nets.items()
    }
    hit = (answers.argmax(axis=-1) == label).astype(jnp.float32)
    sums = {"loss": total(loss), "correct": total((weight * hit).sum())}
    return nets, sums | {"count": count}


def predict(cfg: Config, state: ClassifierState, image: Array) -> Array:
    """Class probabilities: image [B, S, S, C] float32 in [-1, 1] -> [B, K] float32.

    Dropout is off. The softmax is layer 12 of Table 1.
    """
    if cfg.classifier.mode == "cnn":
        logits = CNN(cfg).apply({"params": state.cnn.params}, normalise(cfg, state, image))
    else:
        read = features(cfg, state, image)
        if cfg.hybrid.standardise:
            read = _standardise(state, read)
        logits = Hybrid(cfg).apply({"params": state.hybrid.params}, read, train=False)
    return jax.nn.softmax(logits, axis=-1)


def evaluate(cfg: Config, state: ClassifierState, batch: Batch) -> Counts:
    """`metrics.Counts` of one batch; rows of weight 0 count for nothing."""
    probability = predict(cfg, state, batch.image)
    return metrics.counts(probability, batch.label, batch.weight)
