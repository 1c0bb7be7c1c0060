"""Many trainings of one shape in one compiled program: lanes.

A lane is one training: a state, and arrays of its own (indices, labels, a key). `Lanes` runs
one pure function over the first axis of states and arrays, as the backend likes it:

    loop      one after another through the program of one lane: a lane's bits depend on no
              other lane, and one program serves any number of them
    map       the same inside one program (`lax.map`)
    vmap      side by side
    devices   side by side, spread over the devices
    pmap, sharded   one after another, the rows of each lane's batches over the devices
    host      one after another, not compiled as a whole: the function is called as it is
"""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxbrain.config import require_name
from jaxbrain.training import devices

# XLA compiles outside of Python's lock, beside what runs. One program at a time: two at once
# take a fifth more memory at their peak.
_COMPILERS = ThreadPoolExecutor(1, "compile")

HOW = "auto", "loop", "map", "vmap", "devices", "pmap", "sharded", "host"


# One program for all arrays of a tree, not one each: compiling forty takes as long as a
# training.
_stack = jax.jit(lambda rows: [jnp.stack(leaves) for leaves in rows])
_join = jax.jit(lambda rows: [jnp.concatenate(leaves) for leaves in rows])
_take = jax.jit(lambda leaves, index: [leaf[index] for leaf in leaves])


def _apart(on_host: Callable, on_device: Callable, trees: list):
    """One tree of many: `on_host` for leaves of NumPy, which stay on the host, and
    `on_device` for all others at once."""
    structure: Any = jax.tree.structure(trees[0])
    rows = list(zip(*(structure.flatten_up_to(tree) for tree in trees), strict=True))
    own = [all(isinstance(leaf, np.ndarray | np.generic) for leaf in row) for row in rows]
    rest = [row for row, host in zip(rows, own, strict=True) if not host]
    made = iter(on_device(rest) if rest else [])
    leaves = [on_host(row) if host else next(made) for row, host in zip(rows, own, strict=True)]
    return structure.unflatten(leaves)


def stacked(trees: list):
    """Trees of arrays along a new first axis; those of NumPy stay on the host."""
    return _apart(np.stack, _stack, trees)


def joined(trees: list):
    """Stacked trees, one after another."""
    return trees[0] if len(trees) == 1 else _apart(np.concatenate, _join, trees)


def count(tree) -> int:
    """How many lanes stacked trees have."""
    return jax.tree.leaves(tree)[0].shape[0]


def _taken(tree, index):
    device = lambda rows: _take([leaf for (leaf,) in rows], index)  # noqa: E731
    return _apart(lambda row: row[0][index], device, [tree])


def lane(tree, number: int):
    """One lane of stacked trees."""
    return _taken(tree, np.int32(number))


def some(tree, numbers: list[int]):
    """Some lanes of stacked trees, stacked; all of them in order are the tree itself."""
    if list(numbers) == list(range(count(tree))):
        return tree
    return _taken(tree, np.asarray(numbers, np.int32))


def merged(states, which: list[int], new):
    """`states` with the lanes `which` replaced by `new`."""
    total = count(states)
    if len(which) == total:
        return new
    rows = [lane(new, which.index(i)) if i in which else lane(states, i) for i in range(total)]
    return stacked(rows)


@jax.jit
def _finite(states):
    leaves = [
        leaf.reshape(leaf.shape[0], -1)
        for leaf in jax.tree.leaves(states)
        if jnp.issubdtype(leaf.dtype, jnp.inexact)
    ]
    # Of one long row: asking every leaf by itself takes four times as long to compile.
    return jnp.isfinite(jnp.concatenate(leaves, axis=1)).all(axis=1) if leaves else None


def finite(states) -> np.ndarray:
    """[L] bool: lanes whose state holds no NaN and no infinity."""
    found = _finite(states)
    return np.ones(count(states), bool) if found is None else np.asarray(found)


class Lanes:
    """`function(shared, state, entry) -> result` over the first axis of states and entries.

    Args:
        function: pure where it is compiled; "pmap" and "sharded" also hand it `axis_name`.
        how: see the module; "auto" is "loop" on a CPU, whose cores one lane fills, and
            "vmap" elsewhere.
        num_devices: of "devices", "pmap" and "sharded"; 0 takes all.
        donate: whether a call may use the memory of the states it is given ("pmap" and
            "sharded" always do).
    """

    def __init__(
        self, function: Callable, how: str = "auto", num_devices: int = 0, *, donate: bool = False
    ):
        require_name("how", how, HOW)
        if how == "auto":
            how = "loop" if jax.default_backend() == "cpu" else "vmap"
        self.how, self.function, self._donate = how, function, donate
        self._compiled: dict[tuple, Future] = {}
        self._whole = self._program(num_devices)

    @property
    def one_by_one(self) -> bool:
        return self.how in ("loop", "pmap", "sharded", "host")

    def _program(self, num_devices: int):
        function, donated = self.function, {"donate_argnums": 0} if self._donate else {}
        if self.how == "host":
            return function
        if self.how in ("pmap", "sharded"):

            def chunk(state, shared, entry, axis_name):
                return function(shared, state, entry, axis_name=axis_name)

            return devices.training(chunk, self.how, num_devices)
        if self.how == "loop":

            def alone(states, shared, entries):
                # Of one lane with its leading axis: nothing is taken out, nothing put in.
                own = jax.tree.map(lambda leaf: leaf[0], (states, entries))
                return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], function(shared, *own))

            return jax.jit(alone, **donated)
        if self.how == "devices":
            spread = devices.spread(function, num_devices)
            return lambda states, shared, entries: spread(states, entries, shared=(shared,))

        def all_lanes(states, shared, entries):
            one = partial(function, shared)
            if self.how == "map":
                return jax.lax.map(lambda pair: one(*pair), (states, entries))
            return jax.vmap(one)(states, entries)

        return jax.jit(all_lanes, **donated)

    def ahead(self, shared, states, entries) -> None:
        """Begin to compile for these arrays, or shapes of arrays, in a thread: `compile` and
        calls find it done, or wait for it."""
        if self.how in ("loop", "map", "vmap"):
            args = self._arguments(*map(_shapes_of, (states, shared, entries)))
            if (key := _key(*args)) not in self._compiled:
                self._compiled[key] = _COMPILERS.submit(self._compile, args)

    def result_shapes(self, shared, states, entries):
        """The shapes of what a call returns, as `jax.ShapeDtypeStruct`; where lanes run one
        after another, of one lane: their first axis is 1."""
        args = self._arguments(*map(_shapes_of, (states, shared, entries)))
        return jax.eval_shape(self._whole, *args)

    def compile(self, shared, states, entries, say: Callable[[], None] = lambda: None) -> float:
        """Compile for these arrays, before the first call: the seconds that this took, 0 where
        it was done. `say` is called before it begins, or is waited for."""
        if self.how in ("host", "devices"):
            return 0.0
        if self.how in ("pmap", "sharded"):
            args = lane(states, 0), shared, lane(entries, 0)
        else:
            args = self._arguments(*map(_shapes_of, (states, shared, entries)))
        start, found = time.perf_counter(), self._compiled.get(_key(*args))
        if found is not None and found.done():
            found.result()
            return 0.0
        say()
        if found is None:
            found = self._compiled[_key(*args)] = Future()
            found.set_result(self._compile(args))
        found.result()
        return time.perf_counter() - start

    def _compile(self, args):
        return self._whole.lower(*args).compile()

    def _arguments(self, states, shared, entries):
        """The shapes that the program of one lane, or of all, is given."""
        if self.how == "loop":
            one = lambda leaf: jax.ShapeDtypeStruct((1, *leaf.shape[1:]), leaf.dtype)  # noqa: E731
            states, entries = jax.tree.map(one, (states, entries))
        return states, shared, entries

    def __call__(self, shared, states, entries):
        """Results of all lanes, stacked."""
        if not self.one_by_one:
            return self._call(shared, states, entries)
        results = [
            self._call(shared, *self._of_one(states, entries, i)) for i in range(count(entries))
        ]
        return (joined if self.how == "loop" else stacked)(results)

    def _of_one(self, states, entries, number: int):
        if self.how != "loop":
            return lane(states, number), lane(entries, number)
        own = some(states, [number]) if jax.tree.leaves(states) else states
        return own, some(entries, [number])

    def _call(self, shared, states, entries):
        if self.how == "host":
            return self.function(shared, states, entries)
        found = self._compiled.get(_key(states, shared, entries))
        run = self._whole if found is None else found.result()
        result = run(states, shared, entries)
        return devices.on_one_device(result) if self.how in ("pmap", "sharded") else result


def _shapes_of(tree):
    def shape(leaf):
        return jax.ShapeDtypeStruct(np.shape(leaf), jnp.result_type(leaf))

    return jax.tree.map(lambda x: x if isinstance(x, jax.ShapeDtypeStruct) else shape(x), tree)


def _key(*args) -> tuple:
    leaves, structure = jax.tree.flatten(_shapes_of(args))
    return structure, tuple((leaf.shape, str(leaf.dtype)) for leaf in leaves)
