"""One training of a run: chunk by chunk, logged, on one device or several, with its data on
the device or on the host."""

import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxbrain import parallel, record, stream, train
from jaxbrain.config import Config
from jaxbrain.errors import DivergedError
from jaxbrain.types import Dataset


class Where(NamedTuple):
    """Which devices train: see `parallel.training`."""

    how: str
    num_devices: int

    def count(self) -> int:
        return 1 if self.how == "none" else len(parallel.devices(self.num_devices))


@jax.jit
def _all_finite(state):
    finite = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(state)]
    return jnp.stack(finite).all()


def run(
    log: record.Log,
    seed: int,
    training: str,
    step_fn: Callable,
    state,
    total: int,
    batch_size: int,
    intervals: int,
    show: Callable,
):
    """Run a compiled training to its end in `intervals` chunks; returns the state.

    step_fn(state, stop) -> (state, history). `show(state, step)` is called after each
    chunk with the metrics reported.
    """
    stops = sorted({round(total * (i + 1) / intervals) for i in range(intervals)} - {0})
    done, busy = 0, 0.0
    for stop in stops:
        start = time.perf_counter()
        state, history = step_fn(state, stop)
        sums = jax.device_get(parallel.here(history.metrics))
        seconds = time.perf_counter() - start
        if not done:
            log.clock(f"{training}_first_chunk", seconds)
        busy += seconds
        part = {name: values[done:stop] for name, values in sums.items()}
        count = float(part.pop("count").sum())
        means = {name: float(values.sum()) / count for name, values in part.items()}
        if "correct" in means:
            means["accuracy"] = means.pop("correct")
        if not all(np.isfinite(value) for value in means.values()):
            raise DivergedError(
                f"{training} of seed {seed} diverged between steps {done} and {stop}: "
                f"{means}: lower its learning rate"
            )
        speed = (stop - done) * batch_size / seconds
        eta = (total - stop) * busy / stop
        log.event(
            {"seed": seed, "training": training, "step": stop}
            | means
            | {"images_per_second": round(speed, 1)}
        )
        values = "  ".join(f"{name} {value:.3f}" for name, value in means.items())
        text = (
            f"seed {seed}  {training} {stop}/{total}  {speed:.0f} images/s  "
            f"eta {int(eta) // 60}m{int(eta) % 60:02d}s  {values}"
        )
        log.progress(text, last=stop == stops[-1])
        show(parallel.here(state), stop)
        done = stop
    state = parallel.here(state)
    # Metrics are taken before an update, so the last update is checked on its result.
    if not _all_finite(state):
        raise DivergedError(
            f"{training} of seed {seed} diverged at its last step, {total}: lower its learning rate"
        )
    log.clock(f"{training}_train", busy)
    return state


def step_fn(
    cfg: Config, data: Dataset, key, state, training: str, where: Where, log: record.Log
) -> Callable:
    """(state, stop) -> (state, history), compiled; shapes are the same for every seed."""
    resident, streamed = {
        "gan": (train.train_gan, stream.train_gan),
        "classifier": (train.train_classifier, stream.train_classifier),
    }[training]
    if on_host(cfg, data):
        return lambda state, stop: streamed(cfg, data, key, state=state, stop=stop)

    def chunk(state, data, key, stop, axis_name):
        return resident(cfg, data, key, state=state, stop=stop, axis_name=axis_name)

    data = jax.tree.map(jnp.asarray, data)
    if training not in log.programs:
        log.line(f"{training}: compiling")
        start = time.perf_counter()
        whole = parallel.training(chunk, where.how, where.num_devices)
        log.programs[training] = whole.lower(state, data, key, jnp.int32(0)).compile()
        log.clock(f"{training}_compile", time.perf_counter() - start)
    step = log.programs[training]
    return lambda state, stop: step(state, data, key, jnp.int32(stop))


def on_host(cfg: Config, data: Dataset) -> bool:
    """Whether a training's images stay on the host."""
    placement = cfg.data.placement
    return placement == "host" or (placement == "auto" and not stream.fits(data))
