"""Which examples make which step of a training: index plans drawn from a key."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap

from jaxbrain.config import Config, require_name, require_names
from jaxbrain.errors import ConfigError
from jaxbrain.training import augment
from jaxbrain.types import Array


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
        """Steps of one epoch.

        Raises:
            ConfigError: for an unknown `partial`; `order`, for an unknown `shuffle`.
        """
        require_name("partial", self.partial, ("drop", "pad"))
        if self.partial == "pad":
            return -(-self.num_examples // self.batch_size)
        return self.num_examples // self.batch_size

    def order(self, key: Array, step: Array) -> Array:
        """The order of the examples in the epoch of step `step`: random, and dependent
        on the key and the epoch, or with `shuffle="once"` on the key alone (then the same
        examples are dropped in every epoch, as in MATLAB)."""
        require_name("shuffle", self.shuffle, ("once", "every_epoch"))
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


def _fitting(num_examples: int, devices: int) -> int:
    """A batch size that some images and devices allow: a power of two where it can be one."""
    power = 1 << max(num_examples.bit_length() - 1, 0)
    return power if power % devices == 0 and num_examples else num_examples // devices * devices


def _flag(field: str, value: int) -> str:
    return f"--{field.replace('_', '-')} {value}" if value else ""


def _pad(field: str) -> list[str]:
    return ["--classifier.partial pad"] if field.startswith("classifier") else []


def _plan(field: str, num_examples: int, batch_size: int, shuffle, partial, devices) -> Plan:
    if partial == "drop" and batch_size > num_examples:
        ways = [_flag(field, _fitting(num_examples, devices)), *_pad(field), "more images"]
        raise ConfigError(
            f"{field} is {batch_size}: expected at most {num_examples}, the number of images to "
            f"train on, since partial batches are dropped: {', or '.join(filter(None, ways))}"
        )
    if partial == "drop" and batch_size % devices:
        ways = [_flag(field, max(batch_size // devices, 1) * devices), *_pad(field)]
        raise ConfigError(
            f"{field} is {batch_size}: expected a multiple of {devices}, the number of devices: "
            f"{', or '.join(ways)}"
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
    require_names(cfg)
    size, shuffle, partial = (
        getattr(cfg.classifier, name) for name in ("batch_size", "shuffle", "partial")
    )
    return _plan("classifier.batch_size", num_examples, size, shuffle, partial, devices)


def classifier_steps(cfg: Config, num_examples: int, devices: int = 1) -> tuple[int, int]:
    """Updates of one stage, and of the whole training (two stages have twice as many).

    Raises:
        ConfigError: as `classifier_plan`.
    """
    one = cfg.classifier.epochs * classifier_plan(cfg, num_examples, devices).steps()
    return one, 2 * one if cfg.classifier.mode == "two_stage" else one


def sometimes(due: Array, function: Callable, value, *args):
    """`function(value, *args)` where `due` [] bool, else `value`: arrays, or trees of them.

    Mapped over lanes, where `lax.cond` would compute both for all, `function` runs at the
    steps at which it is due in some lane.
    """

    @custom_vmap
    def one(due, value, *args):
        return lax.cond(due, function, lambda value, *_: value, value, *args)

    @one.def_vmap
    def rule(size, mapped, due, *operands):
        axes = [jax.tree.map(lambda is_row: 0 if is_row else None, tree) for tree in mapped]
        all_rows = lambda tree, axis: jax.vmap(lambda x: x, (axis,), axis_size=size)(tree)  # noqa: E731
        due, value = all_rows(due, axes[0]), all_rows(operands[0], axes[1])

        def some(value, *args):
            new = jax.vmap(function, (0, *axes[2:]))(value, *args)
            return jax.vmap(lambda due, new, old: jax.tree.map(partial(jnp.where, due), new, old))(
                due, new, value
            )

        result = lax.cond(due.any(), some, lambda value, *_: value, value, *operands[1:])
        return result, jax.tree.map(lambda _: True, result)

    return one(due, value, *args)


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
