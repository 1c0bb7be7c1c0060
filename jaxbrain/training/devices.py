"""Several devices, several hosts: the only module that names devices.

A step or a training given to it stays the pure function that it is; state has no device
axis, goes in whole and comes out whole. "pmap" runs one copy a device by `jax.pmap`,
"sharded" compiles one program over a mesh (`shard_map`); both give the same numbers.

    one host     every device it has, or the first `num_devices`
    many hosts   `start` in every process first; then all devices of all processes, with
                 the same program, data and keys in each
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxbrain.errors import ConfigError

AXIS = "devices"


def start(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
) -> None:
    """Join the processes of a run over several hosts; before anything else of JAX.

    Args:
        coordinator: "host:port" of process 0, reachable by all. None finds it, and the
            other two, where the cluster says so (Cloud TPU, SLURM, Open MPI).
        num_processes: how many there are.
        process_id: which of them this is, from 0.

    Raises:
        ConfigError: if only some of the three are given, or the processes do not meet.
    """
    given = [value is not None for value in (coordinator, num_processes, process_id)]
    if any(given) and not all(given):
        raise ConfigError("coordinator, num_processes and process_id: expected all three or none")
    try:
        jax.distributed.initialize(coordinator, num_processes, process_id)
    except (RuntimeError, ValueError) as error:
        where = coordinator or "the cluster's environment"
        raise ConfigError(f"coordinator {where}: the processes did not meet: {error}") from error


def first_process() -> bool:
    """True in the one process that writes files."""
    return jax.process_index() == 0


def any_process(flag: bool) -> bool:
    """Whether `flag` is true in any process of a run; all of them call it together."""
    if jax.process_count() == 1:
        return flag
    from jax.experimental import multihost_utils

    return bool(multihost_utils.process_allgather(np.asarray(flag)).any())


def from_first(tree, like):
    """The tree of arrays that the first process holds, in every process of a run.

    like: a tree of the same structure, shapes and dtypes, which the others bring.
    """
    if jax.process_count() == 1:
        return tree
    from jax.experimental import multihost_utils

    own = tree if first_process() else jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), like)
    return jax.tree.map(jnp.asarray, multihost_utils.broadcast_one_to_all(own))


def devices(num_devices: int = 0) -> list:
    """The first `num_devices` devices; 0 takes all, of all processes.

    Raises:
        ConfigError: if there are not so many, or a process would have none of them.
    """
    found = jax.devices()
    if not 0 <= num_devices <= len(found):
        raise ConfigError(
            f"devices is {num_devices}: expected 1 to {len(found)}, what JAX finds here "
            f"({found[0].platform}), or 0 for all"
        )
    chosen = found[: num_devices or len(found)]
    if len({device.process_index for device in chosen}) != jax.process_count():
        raise ConfigError(
            f"devices is {num_devices}: expected 0 or {len(found)}, since every one of "
            f"{jax.process_count()} processes takes part"
        )
    return chosen


def mesh(num_devices: int = 0) -> Mesh:
    """A mesh of one axis, `AXIS`, over `devices(num_devices)`."""
    return Mesh(np.array(devices(num_devices)), (AXIS,))


def _refuse_undivided(batch, count: int) -> None:
    size = jax.tree.leaves(batch)[0].shape[0]
    if size % count:
        raise ConfigError(f"batch of {size}: expected a multiple of {count}, the number of devices")


def pmap_step(step: Callable, num_devices: int = 0) -> Callable:
    """A training step on several devices by `jax.pmap`.

    Args:
        step: `step(state, batch, key, axis_name=...) -> (state, metrics)`, such as
            `partial(gan.train_step, cfg)`.
        num_devices: see `devices`.

    Returns:
        `(state, batch, key) -> (state, metrics)`; the state is donated. Rows of the batch
        [B, ...] are spread over the devices of this process, which must divide B; over
        several processes each brings its own rows.

    Raises:
        ConfigError: see `devices`; on a call, if the devices do not divide the batch.
    """
    chosen = devices(num_devices)
    mapped = jax.pmap(
        partial(step, axis_name=AXIS),
        AXIS,
        in_axes=(None, 0, None),
        out_axes=None,
        devices=chosen,
        donate_argnums=0,
    )
    local = sum(device.process_index == jax.process_index() for device in chosen)

    def run(state, batch, key):
        _refuse_undivided(batch, local)
        rows = jax.tree.map(lambda x: x.reshape(local, -1, *x.shape[1:]), batch)
        return mapped(state, rows, key)

    return run


def sharded_step(step: Callable, num_devices: int = 0) -> Callable:
    """`pmap_step` as one compiled program over a mesh; the batch may also be a global
    array sharded over `AXIS` (`rows_from_process`)."""
    over = mesh(num_devices)
    compiled = step_over(step, over)

    def run(state, batch, key):
        _refuse_undivided(batch, over.size)
        return compiled(state, batch, key)

    return run


def step_over(step: Callable, over: Mesh):
    """The compiled function of `sharded_step`, over any mesh of the axis `AXIS`, that of
    devices which are not here too (`.lower(...)` of `jax.ShapeDtypeStruct`)."""
    # Unchecked: the body reduces over the axis itself, as under pmap.
    body = jax.shard_map(
        partial(step, axis_name=AXIS),
        mesh=over,
        in_specs=(P(), P(AXIS), P()),
        out_specs=P(),
        check_vma=False,
    )
    return jax.jit(body, donate_argnums=0)


def rows_from_process(batch, num_devices: int = 0):
    """A global batch from the rows [B / processes, ...] that each process has read."""
    sharding = NamedSharding(mesh(num_devices), P(AXIS))
    return jax.tree.map(
        lambda rows: jax.make_array_from_process_local_data(sharding, np.asarray(rows)), batch
    )


def training(function: Callable, how: str, num_devices: int = 0) -> Any:
    """A whole training compiled for one device ("none") or several ("pmap", "sharded").

    Args:
        function: `function(state, *args, axis_name=...)`; every argument goes to every
            device whole, and every result is the same on all.
        how: "none", "pmap" or "sharded".
        num_devices: see `devices`; "none" takes 1.

    Returns:
        `(state, *args) -> results` with `.lower(...)` like `jax.jit`; the state is
        donated.

    Raises:
        ConfigError: see `devices`.
    """
    if how == "none":
        return jax.jit(partial(function, axis_name=None), donate_argnums=0)
    chosen = devices(num_devices)
    local = sum(device.process_index == jax.process_index() for device in chosen)
    if how == "pmap":

        def body(_, state, args):
            return function(state, *args, axis_name=AXIS)

        mapped = jax.pmap(
            body,
            AXIS,
            in_axes=(0, None, None),
            out_axes=None,
            devices=chosen,
            donate_argnums=1,
        )
        # pmap must map something.
        # Over several processes pmap takes this process's part and compiles for the whole,
        # so that what `lower` compiles does not take what it was given.
        on_call = jax.process_count() > 1

        def prepared(state, *args):
            # What was compiled ahead refuses arrays that lie on one device.
            own = (state, args) if on_call else everywhere((state, args), mesh(num_devices))
            return np.zeros(local), *own

        return _Called(mapped, prepared, on_call)
    if how != "sharded":
        raise ConfigError(f"parallel is {how!r}: expected none, pmap or sharded")
    over = mesh(num_devices)
    body = jax.shard_map(
        partial(function, axis_name=AXIS), mesh=over, in_specs=P(), out_specs=P(), check_vma=False
    )
    compiled = jax.jit(body, donate_argnums=0)
    return _Called(compiled, lambda *args: everywhere(args, over))


class _Called:
    """A compiled function whose arguments are prepared first; `on_call` compiles at the
    first call whatever is asked."""

    def __init__(self, function: Callable, prepare: Callable, on_call: bool = False):
        self._function, self._prepare, self._on_call = function, prepare, on_call

    def __call__(self, *args):
        return self._function(*self._prepare(*args))

    def lower(self, *args):
        if self._on_call:
            return self
        return _Called(self._function.lower(*self._prepare(*args)), self._prepare)

    def compile(self):
        if self._on_call:
            return self
        return _Called(self._function.compile(), self._prepare)


def everywhere(tree, over: Mesh):
    """The same values on every device of a mesh, of all processes."""
    sharding = NamedSharding(over, P())

    def put(leaf):
        if isinstance(leaf, jax.Array) and leaf.sharding == sharding:
            return leaf
        if sharding.is_fully_addressable:
            return jax.device_put(leaf, sharding)
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(put(jax.random.key_data(leaf)))
        return jax.make_array_from_process_local_data(sharding, np.asarray(leaf))

    return jax.tree.map(put, tree)


def on_one_device(tree):
    """A tree that all devices hold, as arrays of one device of this process."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf.addressable_data(0)), tree)


def spread(function: Callable, num_devices: int = 0) -> Callable:
    """`function` mapped over the first axis of its arguments (seeds, folds), the entries
    spread over the devices without communication.

    On a CPU a device runs two entries at a time: more would leave its caches. On an
    accelerator all run side by side (`vmap`).

    Args:
        function: `function(*shared, *entry)`; any arguments and results that are trees of
            arrays.
        num_devices: see `devices`.

    Returns:
        The mapped, compiled function `(*entries, shared=())`: [N, ...] in every leaf of its
        entries and results; `shared` goes to every device whole. N needs not be a multiple
        of the number of devices (the last entry is then computed more than once).
    """
    over = mesh(num_devices)
    in_pairs = over.devices.flat[0].platform == "cpu"

    def own(shared, args):
        count = jax.tree.leaves(args)[0].shape[0]
        one = partial(function, *shared)
        if in_pairs and count > 1:
            return jax.lax.map(lambda entry: one(*entry), args, batch_size=2)
        return jax.vmap(one)(*args)

    specs = P(), P(AXIS)
    mapped = jax.shard_map(own, mesh=over, in_specs=specs, out_specs=P(AXIS), check_vma=False)

    @jax.jit
    def run(shared, args):
        count = jax.tree.leaves(args)[0].shape[0]
        # Whole rounds: the last entry again where some are missing.
        index = jnp.minimum(jnp.arange(-(-count // over.size) * over.size), count - 1)
        results = mapped(shared, jax.tree.map(lambda leaf: leaf[index], args))
        return jax.tree.map(lambda leaf: leaf[:count], results)

    return lambda *args, shared=(): run(shared, args)
