"""Linen modules, ours or a user's own, initialised and applied in one way.

A module takes its inputs and `train`, all by position. It may have parameters and
`batch_stats` (BatchNorm, SpectralNorm) or neither, and may draw from any rng while it is
trained. One with an attribute `axis_name` is given the device axis there.
"""

import flax.linen as nn
import jax
from jax import lax

from jaxbrain.errors import ConfigError
from jaxbrain.types import Array, NetState, Params


def chosen(networks, ours, axis_name: str | None = None):
    """`networks`, or `ours` where it is None, on a device axis.

    Args:
        networks, ours: named tuples of one class, of Linen modules or None.

    Raises:
        ConfigError: for a tuple of another class, or members that are no Linen modules.
    """
    networks = ours if networks is None else networks
    if type(networks) is not type(ours):
        raise ConfigError(
            f"networks is {networks!r}: expected a Networks({', '.join(ours._fields)}) of "
            f"{type(ours).__module__}"
        )
    for name, module in networks._asdict().items():
        optional = module is None and name in networks._field_defaults
        if not optional and not isinstance(module, nn.Module):
            raise ConfigError(f"networks.{name} is {module!r}: expected a Flax Linen module")
    placed = {
        name: module.clone(axis_name=axis_name)
        for name, module in networks._asdict().items()
        if hasattr(module, "axis_name")
    }
    return networks._replace(**placed)


def init(module: nn.Module, key: Array, *inputs, method: str | None = None) -> tuple[Array, dict]:
    """The result for inputs, not training, and the variables. The key is consumed.

    Raises:
        ConfigError: for variables other than params and batch_stats.
    """
    result, variables = module.init_with_output(key, *inputs, False, method=method)
    others = sorted(set(variables) - {"params", "batch_stats"})
    if others:
        raise ConfigError(
            f"{type(module).__name__} has variables in {', '.join(others)}: expected params "
            "and batch_stats alone"
        )
    return result, {"params": {}, "batch_stats": {}} | variables


def predict(module: nn.Module, net: NetState, *inputs, method: str | None = None) -> Array:
    """The result of a network that is not being trained."""
    variables = {"params": net.params, "batch_stats": net.batch_stats}
    return module.apply(variables, *inputs, False, method=method)


def train(
    module: nn.Module,
    params: Params,
    batch_stats: Params,
    key: Array,
    *inputs,
    axis_name: str | None = None,
    method: str | None = None,
) -> tuple[Array, Params]:
    """The result of a network that is being trained, and its new batch_stats.

    key: of this device; "dropout" draws from it, and every other rng.
    """
    # Flax takes "params" for whatever rng it is not given by name.
    rngs = {"dropout": key, "params": jax.random.fold_in(key, 1)}
    result, new = module.apply(
        {"params": params, "batch_stats": batch_stats},
        *inputs,
        True,
        rngs=rngs,
        mutable=["batch_stats"],
        method=method,
    )
    stats = new.get("batch_stats", {})
    if axis_name is not None and not hasattr(module, "axis_name"):
        # The module saw the rows of its own device alone.
        stats = lax.pmean(stats, axis_name)
    return result, stats


def require_output(name: str, result: Array, *shape: int) -> Array:
    """`result`; a ConfigError unless it is float32 of that shape."""
    dtype = getattr(result, "dtype", type(result).__name__)
    found = str(dtype), list(getattr(result, "shape", ()))
    if found != ("float32", list(shape)):
        raise ConfigError(
            f"networks.{name} gives {found[0]} {found[1]}: expected float32 {list(shape)}"
        )
    return result
