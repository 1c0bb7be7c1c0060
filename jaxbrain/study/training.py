"""What the loop is given to run: L lanes of one training, whatever trains.

`straight` runs them to their end without a look; `runs.loop` watches and saves them.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxbrain.errors import DataError
from jaxbrain.training import lanes
from jaxbrain.types import Dataset


class Lane(NamedTuple):
    """One training: the name of its fit or cell, and its seed."""

    name: str
    seed: int


class Training(NamedTuple):
    """L lanes of one training.

    kind: "gan" (a generator) or "classifier"; method: its name. total: updates of each.
    start: () -> states, stacked [L, ...].
    compile: (states, say) -> seconds, 0.0 where it was done before; calls `say()` first.
    advance: (states, which, first, stop) -> (states, {name: [len(which), total]}): the lanes
        `which`, all of them after `first` updates, to `stop`.
    draw: of a generator: (states of one lane [1, ...], label [M], key) -> [M, S, S, 1] uint8.
    seen: of a generator: lane -> the real images that it is fitted on.
    """

    kind: str
    method: str
    lanes: tuple[Lane, ...]
    total: int
    batch_size: int
    start: Callable[[], Any]
    compile: Callable[[Any, Callable[[], None]], float]
    advance: Callable[[Any, list[int], int, int], tuple[Any, dict[str, np.ndarray]]]
    draw: Callable | None = None
    seen: Callable[[int], Dataset] | None = None


class Finished(NamedTuple):
    """states: of all lanes, stacked. diverged: lane -> what happened to it."""

    states: Any
    diverged: dict[int, str]


def straight(training: Training) -> Finished:
    """Every lane from its start to its end."""
    states = training.start()
    which = list(range(len(training.lanes)))
    states, _ = training.advance(states, which, 0, training.total)
    bad = np.flatnonzero(~lanes.finite(states)).tolist()
    why = "diverged: lower its learning rate"
    return Finished(states, {i: f"{training.lanes[i].name} {why}" for i in bad})


# What a report says beside a method's metrics.
_RESERVED = {"lane", "seed", "training", "step", "images_per_second"}


def checked_state(name: str, states):
    """`states`; a DataError unless `start` gave a tree of arrays."""
    leaves = jax.tree.leaves(states)
    if not leaves or not all(hasattr(leaf, "shape") and leaf.shape for leaf in leaves):
        raise DataError(f"{name}: start returned {states!r:.200}: expected a tree of arrays")
    return states


def checked_metrics(name: str, total: int, returned) -> tuple:
    """(states, metrics on the host); a DataError unless `advance` gave such a pair."""
    pair = isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[1], dict)
    if not pair:
        raise DataError(
            f"{name}: advance returned a {type(returned).__name__}: expected (state, metrics)"
        )
    metrics = {key: np.asarray(value) for key, value in jax.device_get(returned[1]).items()}
    for key, values in metrics.items():
        if key in _RESERVED or values.shape[1:] != (total,):
            raise DataError(
                f"{name}: advance returned {key!r} of shape {list(values.shape[1:])}: expected "
                f"metrics of shape [{total}], not named {', '.join(sorted(_RESERVED))}"
            )
    return returned[0], metrics


def checked_answer(method, cell, p, wanted: tuple[int, int]) -> np.ndarray | str:
    """The probabilities [T, K] of a cell, or that they are NaN; a DataError unless a classifier
    gave some. wanted: (T, K)."""
    try:
        p = np.float64(p)
    except (ValueError, TypeError) as error:
        raise DataError(f"classifier {method.name} returned no array: {error}") from error
    if p.shape != wanted:
        raise DataError(
            f"classifier {method.name} returned {list(p.shape)}: expected {list(wanted)}, "
            "probabilities of every class for every test image"
        )
    if not np.isfinite(p).all():
        hint = ": lower its learning rate" if method.trains else ""
        return f"{cell.name} predicts NaN{hint}"
    if (p < 0).any() or np.abs(p.sum(axis=1) - 1.0).max() > 1e-3:
        bad = int(np.argmax(np.abs(p.sum(axis=1) - 1.0)))
        raise DataError(
            f"classifier {method.name} returned {p[bad].tolist()} for a test image: expected "
            "probabilities that sum to 1"
        )
    return p
