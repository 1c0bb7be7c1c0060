"""One training of a run: chunk by chunk, logged, saved and watched, on one device or
several, with its data on the device or on the host."""

import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxbrain.config import Config
from jaxbrain.errors import ConfigError, DivergedError
from jaxbrain.runs import checkpoint, record
from jaxbrain.runs.workdir import Stop
from jaxbrain.training import devices, loops, streamed
from jaxbrain.types import Dataset

# A call lasts about so many seconds, so that a signal is heard.
_CALL = 1.0
# The score of a checkpoint between two reports, which has none: never the best.
_NO_SCORE = 1e30


class Where(NamedTuple):
    """Which devices train: see `devices.training`."""

    how: str
    num_devices: int

    def count(self) -> int:
        return 1 if self.how == "none" else len(devices.devices(self.num_devices))


class Training(NamedTuple):
    """What one training of a run is.

    name: "gan" or "classifier". total: steps in all; intervals: reports and checkpoints.
    cut_until: calls that end between two reports are made up to this step (after it a call
        would compute the features of all images anew). best: what of a report marks the
        best checkpoint, by its smallest value.
    """

    name: str
    seed: int
    total: int
    batch_size: int
    intervals: int
    cut_until: int
    best: str

    def stops(self) -> list[int]:
        """The steps of the reports."""
        every = {round(self.total * (i + 1) / self.intervals) for i in range(self.intervals)}
        return sorted(every - {0})

    @property
    def who(self) -> str:
        return f"{self.name} of seed {self.seed}"


class Watch(NamedTuple):
    """What a training reports to, and what tells it to stop."""

    log: record.Log
    store: checkpoint.Store | None
    stop: Stop
    show: Callable


@jax.jit
def _all_finite(state):
    finite = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(state)]
    return jnp.stack(finite).all()


def run(training: Training, watch: Watch, step_fn: Callable, state, partial: dict | None = None):
    """Run a compiled training from its state's step to its end; returns the state.

    Every interval is reported, shown and saved. Where a signal asks to stop, the steps
    that are running are finished and saved. Cutting changes no bit.

    Args:
        training, watch: see there. `watch.show(state, step)` is called after each interval
            and returns more to report.
        step_fn: (state, stop) -> (state, history).
        state: of step 0, or restored.
        partial: metrics by step of the interval that was begun before (`meta` of the
            checkpoint).

    Raises:
        DivergedError: for a loss or a weight that is no finite number: with the step, the
            values before, and the last good checkpoint.
        StoppedError: when it was asked to stop, after saving.
        ConfigError: if the device has not the memory, naming the batch size.
        CheckpointError: if a checkpoint cannot be written.
    """
    log, total = watch.log, training.total
    done = int(state.step) if hasattr(state, "step") else 0
    first, busy, ahead = done, 0.0, 1
    # Processes make the same calls: how long one took may differ between them.
    alone = jax.process_count() == 1
    parts: dict[str, list[float]] = {k: list(v) for k, v in (partial or {}).items()}
    for stop in training.stops():
        if stop <= done:
            continue
        began, lasted = done, 0.0
        while done < stop:
            cut = alone and stop <= training.cut_until
            to = min(stop, done + ahead) if cut else stop
            start = time.perf_counter()
            with refusing_memory(training.name, training.batch_size):
                state, history = step_fn(state, to)
                sums = jax.device_get(devices.here(history.metrics))
            seconds = time.perf_counter() - start
            if done == first:
                log.clock(f"{training.name}_first_chunk", seconds)
            ahead = max(1, round(_CALL * (to - done) / max(seconds, 1e-6)))
            lasted += seconds
            _refuse_infinite(training, watch.store, sums, done, to)
            for name, values in sums.items():
                parts.setdefault(name, []).extend(map(float, values[done:to]))
            done = to
            if done < stop and watch.stop.signal is not None:
                state = devices.here(state)
                _save(watch, training, done, state, parts, None)
                watch.stop.check(f"at step {done} of {total} ({training.who}), saved")
        busy += lasted
        # Metrics are taken before an update, so the last update is checked on its result.
        if not _all_finite(state):
            raise DivergedError(
                f"{training.who} diverged: its weights are not finite after step {done}: "
                f"{_last_good(watch.store)}: lower its learning rate"
            )
        count = float(np.sum(np.float32(parts.pop("count"))))
        means = {name: float(np.sum(np.float32(v))) / count for name, v in parts.items()}
        parts = {}
        if "correct" in means:
            means["accuracy"] = means.pop("correct")
        state = devices.here(state)
        means |= watch.show(state, stop) or {}
        speed = (done - began) * training.batch_size / lasted
        _report(training, log, stop, means, speed, (total - stop) * busy / (stop - first))
        _save(watch, training, stop, state, {}, means)
        if devices.any_process(watch.stop.signal is not None):
            watch.stop.signal = watch.stop.signal or 15
            watch.stop.check(f"at step {stop} of {total} ({training.who}), saved")
    log.clock(f"{training.name}_train", busy)
    return devices.here(state)


def _report(training: Training, log, stop: int, means: dict, speed: float, eta: float) -> None:
    log.event(
        {"seed": training.seed, "training": training.name, "step": stop}
        | means
        | {"images_per_second": round(speed, 1)}
    )
    values = "  ".join(f"{name} {value:.3f}" for name, value in means.items())
    text = (
        f"seed {training.seed}  {training.name} {stop}/{training.total}  {speed:.0f} images/s  "
        f"eta {int(eta) // 60}m{int(eta) % 60:02d}s  {values}"
    )
    log.progress(text, last=stop == training.total)


def _save(watch: Watch, training: Training, step: int, state, parts: dict, means) -> None:
    if watch.store is not None:
        reports = watch.log.of(training.seed, training.name)
        score = means[training.best] if means else _NO_SCORE
        meta = {"partial": parts, "reports": reports, training.best: score}
        watch.store.save(step, state, meta)


def _refuse_infinite(training: Training, store, sums: dict, start: int, stop: int) -> None:
    rows = {name: np.asarray(values[start:stop]) for name, values in sums.items()}
    finite = np.all([np.isfinite(values) for values in rows.values()], axis=0)
    if finite.all():
        return
    bad = int(np.argmin(finite))
    now = {name: float(values[bad]) for name, values in rows.items() if name != "count"}
    names = [name for name, value in now.items() if not np.isfinite(value)]
    before = ""
    if bad:
        count = float(rows["count"][bad - 1])
        values = (f"{name} {float(rows[name][bad - 1]) / count:.4g}" for name in now)
        before = f" (the step before: {', '.join(values)})"
    raise DivergedError(
        f"{training.who} diverged at step {start + bad + 1} of {training.total}: "
        f"{', '.join(f'{name} is {now[name]}' for name in names)}{before}: {_last_good(store)}: "
        "lower its learning rate"
    )


def _last_good(store) -> str:
    steps = store.steps() if store is not None else []
    if not steps:
        return "no checkpoint was saved before"
    return f"the last good checkpoint is {store.path / str(steps[-1])}"


class refusing_memory:  # noqa: N801, a context manager
    """Out of memory inside becomes a `ConfigError` that names the batch size."""

    def __init__(self, name: str, batch_size: int):
        self.field, self.size = f"{name}.batch_size", batch_size

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace) -> None:
        if isinstance(error, jax.errors.JaxRuntimeError | MemoryError):
            text = str(error).strip().splitlines()
            first = text[0] if text else "out of memory"
            memory = "RESOURCE_EXHAUSTED" in first or "ut of memory" in first
            if memory or isinstance(error, MemoryError):
                raise ConfigError(
                    f"{self.field} is {self.size}: the device has not the memory for it "
                    f"({first}): try {max(1, self.size // 2)}"
                ) from error


def step_fn(
    cfg: Config, data: Dataset, key, state, training: str, where: Where, log: record.Log
) -> Callable:
    """(state, stop) -> (state, history), compiled; shapes are the same for every seed."""
    resident, on_host_too = {
        "gan": (loops.train_gan, streamed.train_gan),
        "classifier": (loops.train_classifier, streamed.train_classifier),
    }[training]
    if on_host(cfg, data):
        return lambda state, stop: on_host_too(cfg, data, key, state=state, stop=stop)

    def chunk(state, data, key, stop, axis_name):
        return resident(cfg, data, key, state=state, stop=stop, axis_name=axis_name)

    data = jax.tree.map(jnp.asarray, data)
    if training not in log.programs:
        log.line(f"{training}: compiling")
        start = time.perf_counter()
        whole = devices.training(chunk, where.how, where.num_devices)
        log.programs[training] = whole.lower(state, data, key, jnp.int32(0)).compile()
        log.clock(f"{training}_compile", time.perf_counter() - start)
    step = log.programs[training]
    return lambda state, stop: step(state, data, key, jnp.int32(stop))


def on_host(cfg: Config, data: Dataset) -> bool:
    """Whether a training's images stay on the host."""
    placement = cfg.data.placement
    return placement == "host" or (placement == "auto" and not streamed.fits(data))
