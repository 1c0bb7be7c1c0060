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

import functools
import time
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxbrain.config import require_name
from jaxbrain.training import devices

HOW = "auto", "loop", "map", "vmap", "devices", "pmap", "sharded", "host"


def stacked(trees: list):
    """Trees of arrays along a new first axis; those of NumPy stay on the host."""

    def stack(*leaves):
        own = all(isinstance(leaf, np.ndarray | np.generic) for leaf in leaves)
        return np.stack(leaves) if own else jnp.stack(leaves)

    return jax.tree.map(stack, *trees)


def lane(tree, number: int):
    """One lane of stacked trees."""
    return jax.tree.map(lambda leaf: leaf[number], tree)


def some(tree, numbers: list[int]):
    """Some lanes of stacked trees, stacked; all of them in order are the tree itself."""
    if list(numbers) == list(range(jax.tree.leaves(tree)[0].shape[0])):
        return tree
    return jax.tree.map(lambda leaf: leaf[np.asarray(numbers)], tree)


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
        self._compiled: dict[tuple, Callable] = {}
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
            return jax.jit(lambda state, shared, entry: function(shared, state, entry), **donated)
        if self.how == "devices":
            spread = devices.spread(function, num_devices)
            return lambda states, shared, entries: spread(states, entries, shared=(shared,))

        def all_lanes(states, shared, entries):
            one = partial(function, shared)
            if self.how == "map":
                return jax.lax.map(lambda pair: one(*pair), (states, entries))
            return jax.vmap(one)(states, entries)

        return jax.jit(all_lanes, **donated)

    def compile(self, shared, states, entries, say: Callable[[], None] = lambda: None) -> float:
        """Compile for these shapes, ahead of the first call: seconds, 0 where it was done.
        `say` is called before it begins."""
        if self.how in ("host", "devices"):
            return 0.0
        if self.one_by_one:
            states, entries = lane(states, 0), lane(entries, 0)
        key = _shapes(shared, states, entries)
        if key in self._compiled:
            return 0.0
        say()
        start = time.perf_counter()
        self._compiled[key] = self._whole.lower(states, shared, entries).compile()
        return time.perf_counter() - start

    def __call__(self, shared, states, entries):
        """Results of all lanes, stacked."""
        if not self.one_by_one:
            return self._call(shared, states, entries)
        count = jax.tree.leaves(entries)[0].shape[0]
        results = [self._call(shared, lane(states, i), lane(entries, i)) for i in range(count)]
        return stacked(results)

    def one(self, shared, state, entry):
        """The result of a single lane, not stacked."""
        if self.how == "host":
            return self.function(shared, state, entry)
        return self._single(state, shared, entry)

    @functools.cached_property
    def _single(self):
        return jax.jit(lambda state, shared, entry: self.function(shared, state, entry))

    def _call(self, shared, states, entries):
        if self.how == "host":
            return self.function(shared, states, entries)
        run = self._compiled.get(_shapes(shared, states, entries), self._whole)
        result = run(states, shared, entries)
        return devices.on_one_device(result) if self.how in ("pmap", "sharded") else result


def _shapes(*trees) -> tuple:
    leaves, structure = jax.tree.flatten(trees)
    return structure, tuple((np.shape(leaf), str(jnp.result_type(leaf))) for leaf in leaves)
