"""Optimisers as optax transformations, built from a configuration."""

import jax
import jax.numpy as jnp
import optax

from jaxbrain.config import OptimConfig, require_name, require_optimiser
from jaxbrain.errors import ConfigError
from jaxbrain.types import Array, NetState, Params


def kernels(params: Params) -> Params:
    """A tree of bools: True at leaves whose name ends in `kernel`.

    These carry MATLAB's `WeightL2Factor` 1; biases carry 0. Embeddings and BatchNorm's
    scale and offset are left out here too.
    """
    return jax.tree_util.tree_map_with_path(
        lambda path, _: str(path[-1].key).endswith("kernel"), params
    )


def sgdm(
    learning_rate: float, momentum: float = 0.9, l2: float = 1e-4
) -> optax.GradientTransformation:
    """SGD with momentum as MATLAB's `sgdm` with `L2Regularization`.

    With g the gradient and w the kernels,

        m <- momentum m + (g + l2 w),    w <- w - learning_rate m

    so the decay enters the gradient, before the momentum (not as in AdamW), and acts on
    kernels only. At a constant learning rate this equals MATLAB's form, which keeps the
    last step instead of m.

    References:
        MathWorks, `trainingOptions("sgdm")`, R2021a.
    """
    return optax.chain(
        optax.add_decayed_weights(l2, mask=kernels),
        optax.sgd(learning_rate, momentum=momentum),
    )


def _lenient(transform: optax.GradientTransformation) -> optax.GradientTransformation:
    """The same under strict dtype promotion: optax's Adam raises a Python float to its
    int32 count, which users with `jax_numpy_dtype_promotion="strict"` could not run."""

    def update(updates, state, params=None):
        with jax.numpy_dtype_promotion("standard"):
            return transform.update(updates, state, params)

    return optax.GradientTransformation(transform.init, update)


def make(cfg: OptimConfig) -> optax.GradientTransformation:
    """The transformation that `cfg` names, without its schedule (see `schedule`).

    Args:
        cfg: an `OptimConfig`, or any hashable object with `make()`, which is called.

    Raises:
        ConfigError: for an unknown name, or if `make()` returns something else.

    Example:
        >>> import dataclasses
        >>> @dataclasses.dataclass(frozen=True)
        ... class Lion:
        ...     rate: float
        ...
        ...     def make(self):
        ...         return optax.lion(self.rate, weight_decay=0.0)
        >>> lion, params = make(Lion(0.5)), {"kernel": jnp.ones(1)}
        >>> lion.update({"kernel": jnp.full(1, 3.0)}, lion.init(params), params)[0]
        {'kernel': Array([-0.5], dtype=float32)}
    """
    require_optimiser("optim", cfg)
    if hasattr(cfg, "make"):
        transform = cfg.make()
        if not isinstance(transform, optax.GradientTransformation):
            raise ConfigError(
                f"make() of {cfg!r} returned a {type(transform).__name__}: expected an "
                "optax.GradientTransformation"
            )
        return _lenient(transform)
    if cfg.name == "sgdm":
        transform = sgdm(cfg.learning_rate, cfg.momentum, cfg.l2)
    else:
        transform = optax.chain(
            optax.add_decayed_weights(cfg.l2, mask=kernels),
            optax.adam(cfg.learning_rate, b1=cfg.b1, b2=cfg.b2),
        )
    if cfg.weight_decay:
        # After the rate, so that no moment sees it (Loshchilov and Hutter, 2019).
        decay = -cfg.learning_rate * cfg.weight_decay
        transform = optax.chain(transform, optax.add_decayed_weights(decay, mask=kernels))
    if cfg.clip_norm:
        transform = optax.chain(optax.clip_by_global_norm(cfg.clip_norm), transform)
    return _lenient(transform)


def has_schedule(cfg: OptimConfig) -> bool:
    """Whether the learning rate depends on the length of the training. An object of a
    user's own that is no `OptimConfig` keeps its schedule in its transformation."""
    return isinstance(cfg, OptimConfig) and cfg.schedule != "constant"


def schedule(cfg: OptimConfig, step: Array, total_steps: Array | int) -> Array:
    """Factor on the learning rate at `step` of `total_steps`: [] float32 in [0, 1].

    The factor multiplies the update, so that the length of a training may be a traced
    number and the transformation stays the same object for every length.

    Raises:
        ConfigError: for an unknown schedule.
    """
    if not has_schedule(cfg):
        return jnp.float32(1.0)
    require_name("optim.schedule", cfg.schedule, ("constant", "warmup_cosine", "one_cycle"))
    done = (jnp.float32(step) + 0.5) / jnp.maximum(jnp.float32(total_steps), 1.0)
    rise = done / max(cfg.warmup, 1e-6)
    if cfg.schedule == "one_cycle":
        rise = 0.04 + 0.96 * 0.5 * (1.0 - jnp.cos(jnp.pi * rise))
    fall = (done - cfg.warmup) / (1.0 - cfg.warmup)
    cosine = 0.5 * (1.0 + jnp.cos(jnp.pi * jnp.clip(fall, 0.0, 1.0)))
    return jnp.where(done < cfg.warmup, rise, cosine)


def update(
    cfg: OptimConfig,
    grads: Params,
    net: NetState,
    step: Array,
    total_steps: Array | int,
    lr_scale: Array | float | None = None,
) -> NetState:
    """One optimiser step: `net` with new params and opt_state.

    Args:
        grads: a tree like `net.params`.
        step, total_steps: [] int32, where the schedule stands.
        lr_scale: [] float, may be traced: multiplies the update, and so the learning
            rate. None leaves it.

    Raises:
        ConfigError: for unknown names; for an `lr_scale` that is not one number.
    """
    factor = schedule(cfg, step, total_steps)
    if lr_scale is not None:
        if jnp.shape(lr_scale):
            raise ConfigError(
                f"lr_scale has shape {list(jnp.shape(lr_scale))}: expected one number; "
                "jax.vmap maps over several"
            )
        factor = factor * jnp.asarray(lr_scale, jnp.float32)
    updates, opt_state = make(cfg).update(grads, net.opt_state, net.params)
    updates = jax.tree.map(lambda u: u * factor, updates)
    params = optax.apply_updates(net.params, updates)
    return net._replace(params=params, opt_state=opt_state)


def variables(net: NetState) -> dict:
    """What a network computes with: its params and batch_stats, without its optimiser."""
    return {"params": net.params, "batch_stats": net.batch_stats}


def averaged(average: dict, net: NetState, half_life: float, step: Array | None = None) -> dict:
    """The moving average of a network's `variables` after one step; an old value counts for
    half after `half_life` steps.

    step: [] int32, updates before; with it the average forgets faster at first, so that it is
        not of weights that had learnt nothing (a tenth of the steps so far, while that is
        less).
    """
    keep = 0.5 ** (1.0 / half_life)
    if step is not None:
        done = step.astype(jnp.float32)
        keep = jnp.minimum(keep, (1.0 + done) / (10.0 + done))
    return jax.tree.map(lambda old, new: old * keep + new * (1.0 - keep), average, variables(net))
