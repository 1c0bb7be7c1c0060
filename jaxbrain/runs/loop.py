"""The loop over chunks: L lanes of one training, logged, saved, watched, stopped, gone on with.

One control flow for whatever trains: the GAN and the classifier of `paper`, every fit and
cell of a study, on one device or several, with the data on the device or on the host.
"""

import contextlib
import json
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from jaxbrain.errors import ConfigError
from jaxbrain.runs import checkpoint
from jaxbrain.runs.checkpoint import NO_SCORE
from jaxbrain.runs.log import Log
from jaxbrain.runs.screen import Bar
from jaxbrain.runs.workdir import Stop
from jaxbrain.study.training import Finished, Lane, Training
from jaxbrain.training import devices, lanes

# A call lasts about so many seconds, so that a signal is heard and progress is seen.
_CALL = 2.0
# Reports of a training that look at samples too, at most: drawing some costs many steps.
_LOOKS = 10


class Watch(NamedTuple):
    """What the loop reports to, and what tells it to stop.

    path: of the checkpoints. about: JSON values kept in every one.
    intervals: reports of a training. save_every: seconds between two saves.
    folder: lane, kind -> its folder in `path`; title: lane, kind -> what it is called.
    show: (training, lane number, its states [1, ...], step, means) -> more to report of it;
        at some reports, evenly spaced, the last among them.
    keep: called with every lane that is saved.
    kept: its checkpoints stay when it is done: the last step is saved too, and every report
        says something.
    drawn: called with every report, whether it is the training's last, between two calls of it.
    best: name of what is smallest in a generator's best report. chooses: that report's state is
        what the run is for, and is saved at once.
    """

    log: Log
    stop: Stop
    path: Path
    about: dict
    intervals: int
    save_every: float
    folder: Callable[[Lane, str], str]
    title: Callable[[Lane, str], str]
    show: Callable[[Training, int, object, int, dict], dict]
    keep: Callable[[Lane], None] = lambda lane: None
    kept: bool = False
    drawn: Callable[[bool], None] = lambda ended: None
    best: str = "frechet_thumbnail"
    chooses: bool = False


def reports(total: int, intervals: int) -> list[int]:
    """The steps of the reports."""
    return sorted({round(total * (i + 1) / intervals) for i in range(intervals)} - {0})


def _of_first(meta: dict) -> dict:
    """JSON values that the first process holds, in every process of a run."""
    text = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    size = int(devices.from_first(np.int32(len(text)), np.int32(0)))
    text = devices.from_first(text, jax.ShapeDtypeStruct((size,), np.uint8))
    return json.loads(np.asarray(text).tobytes())


class Loop:
    """The lanes of one training while they run; `run` is the way in."""

    def __init__(self, watch: Watch, training: Training, stores: list):
        self.watch, self.training, self.stores = watch, training, stores
        count = len(training.lanes)
        self.states = None
        self.done = [0] * count
        stops = reports(training.total, watch.intervals)
        self.looks = stops[::-1][:: -(-len(stops) // _LOOKS)]
        # Metrics by step of the interval that was begun, lane by lane.
        self.parts: list[dict[str, list[float]]] = [{} for _ in range(count)]
        self.diverged: dict[int, str] = {}
        self.bar = Bar("")
        # Steps of a call.
        self.ahead, self.busy, self.speed = 1, 0.0, 0.0
        self.saved_at, self.save_seconds = time.monotonic(), 0.0
        # A save is written while the next calls run; one at a time.
        self.writer, self.writing = ThreadPoolExecutor(1), Future()
        self.writing.set_result(None)

    def __enter__(self):
        return self

    def __exit__(self, *error) -> None:
        self.writer.shutdown()

    # Begin, or go on.

    def restore(self) -> None:
        """The newest checkpoint of each lane, or its start."""
        self.states = self.training.start()
        like = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), self.states
        )
        found = [store and store.newest(like) for store in self.stores]
        saved: dict = {}
        for i, (one, lane) in enumerate(zip(found, self.training.lanes, strict=True)):
            step = int(devices.from_first(np.int32(one.step if one else -1), np.int32(0)))
            if step > -1:
                self.done[i] = step
                saved[i] = devices.from_first(one and one.state, like)
            meta = _of_first(one.meta if one else {"reports": [], "partial": {}})
            self.parts[i] = {name: list(values) for name, values in meta["partial"].items()}
            self.watch.log.restore(lane.name, meta["reports"])
        if saved:
            everyone = range(len(found))
            self.states = lanes.stacked(
                [saved[i] if i in saved else lanes.lane(self.states, i) for i in everyone]
            )
        step, total = min(self.done), self.training.total
        if step < total and (saved or self.watch.log.goes_on):
            self.watch.log.goes_on = False
            self.watch.log.line(f"resumed at step {step} of {total} ({self.who})")

    @property
    def who(self) -> str:
        first, *others = self.training.lanes
        title = self.watch.title(first, self.training.kind)
        return f"{title} and {len(others)} more" if others else title

    @property
    def name(self) -> str:
        """Which training this is, for a bar."""
        place = self.watch.log.place([lane.name for lane in self.training.lanes])
        return f"{place}: {self.who}" if place else self.who

    # Run.

    def run(self) -> Finished:
        with self.watch.log.bar(self.name) as self.bar:
            return self._run()

    def _run(self) -> Finished:
        total, watch = self.training.total, self.watch
        if min(self.done) < total:
            self._compile()
        for stop in reports(total, watch.intervals):
            if stop <= min(self.done):
                continue
            fresh = [i for i, step in enumerate(self.done) if step < stop]
            self._interval(stop)
            self._report(stop, fresh)
            if devices.any_process(watch.stop.signal is not None):
                watch.stop.signal = watch.stop.signal or 15
                self._leave(stop)
        self.writing.result()
        watch.log.clock(f"{self.training.kind}_train", self.busy)
        return Finished(self.states, self.diverged)

    def _compile(self) -> None:
        kind, log = self.training.kind, self.watch.log
        with refusing_memory(self.training), contextlib.ExitStack() as stack:

            def say() -> None:
                # It may take a minute.
                stack.enter_context(log.waiting(f"{kind}: compiling"))

            seconds = self.training.compile(self.states, say)
        log.clock(f"{kind}_compile", seconds)
        self.saved_at = time.monotonic()

    def _interval(self, stop: int) -> None:
        """All lanes to the step `stop`, in calls of a few seconds."""
        # Processes make the same calls: how long one took may differ between them.
        alone = jax.process_count() == 1
        while min(self.done) < stop and len(self.diverged) < len(self.done):
            # Lanes that were saved at another step catch up first.
            first = min(self.done)
            which = [i for i, step in enumerate(self.done) if step == first]
            others = [step for step in self.done if step > first]
            to = min([stop, *others, first + self.ahead] if alone else [stop, *others])
            seconds = self._call(which, first, to)
            # Twice as far while calls are short: some cost the same however far they go.
            longer = 2 * (to - first) if seconds < 1.5 * _CALL else 1
            self.ahead = max(1, round(_CALL * (to - first) / max(seconds, 1e-6)), longer)
            if to < stop:
                self._between(to)

    def _call(self, which: list[int], first: int, to: int) -> float:
        start = time.perf_counter()
        with refusing_memory(self.training):
            self.states, sums = self.training.advance(self.states, which, first, to)
        seconds = time.perf_counter() - start
        if not self.busy:
            self.watch.log.clock(f"{self.training.kind}_first_chunk", seconds)
        self.busy += seconds
        self.speed = (to - first) * len(which) * self.training.batch_size / max(seconds, 1e-9)
        for place, i in enumerate(which):
            rows = {name: np.asarray(values[place][first:to]) for name, values in sums.items()}
            self._refuse_infinite(i, rows, first)
            for name, values in rows.items():
                self.parts[i].setdefault(name, []).extend(map(float, values))
            self.done[i] = to
        return seconds

    def _between(self, to: int) -> None:
        """Between two reports: progress, a save, a signal."""
        self._progress(to, {}, report=False)
        if self.watch.stop.signal is not None and jax.process_count() == 1:
            self._leave(to)
        if self._due():
            self._save()

    def _leave(self, step: int) -> None:
        self._save()
        self.writing.result()
        total = self.training.total
        self.watch.stop.check(f"at step {step} of {total} ({self.who}), saved")

    def _due(self) -> bool:
        every = self.watch.save_every
        # Saves of many lanes take at most a tenth of the time.
        return time.monotonic() - self.saved_at >= (
            max(every, 9 * self.save_seconds) if every else 0
        )

    def _report(self, stop: int, fresh: list[int]) -> None:
        """What the lanes `fresh` did since their last report, said and saved."""
        training, watch = self.training, self.watch
        # Metrics are taken before an update, so the last update is checked on its result.
        for i in np.flatnonzero(~lanes.finite(self.states)).tolist():
            self._diverge(i, f"its weights are not finite after step {stop}")
        shown = {}
        for i in fresh:
            if i in self.diverged:
                continue
            parts, lane = self.parts[i], training.lanes[i]
            self.parts[i] = {}
            counts = parts.pop("count", None) or [1.0] * len(next(iter(parts.values()), [0.0]))
            count = float(np.sum(np.float32(counts)))
            means = {
                name: float(np.sum(np.float32(v))) / max(count, 1e-9) for name, v in parts.items()
            }
            if "correct" in means:
                means["accuracy"] = means.pop("correct")
            if stop in self.looks:
                means |= watch.show(training, i, lanes.some(self.states, [i]), stop, means)
            of = {"lane": lane.name, "seed": lane.seed, "training": training.kind, "step": stop}
            watch.log.event(of | means | {"images_per_second": round(self.speed, 1)})
            for name, value in means.items():
                shown.setdefault(name, []).append(value)
        if len(self.diverged) == len(training.lanes):
            # Nobody is left to train.
            self.done = [training.total] * len(training.lanes)
            return
        self._progress(stop, shown, report=watch.kept)
        if self._due() or (watch.kept and stop == training.total) or self._chosen(stop, fresh):
            self._save()
        watch.drawn(stop == training.total)

    def _chosen(self, stop: int, fresh: list[int]) -> bool:
        """Whether the report at `stop` is the best so far of one of the lanes."""
        if not self.watch.chooses:
            return False
        for i in set(fresh) - set(self.diverged):
            events = [e for e in self.watch.log.of(self.training.lanes[i].name)]
            scored = [event for event in events if self.watch.best in event]
            if scored and min(scored, key=lambda e: e[self.watch.best])["step"] == stop:
                return True
        return False

    def _progress(self, step: int, shown: dict, *, report: bool) -> None:
        training, count = self.training, len(self.training.lanes)
        left = training.total - step
        eta = int(left * count * training.batch_size / max(self.speed, 1e-9))
        values = "  ".join(f"{name} {np.mean(values):.3f}" for name, values in shown.items())
        speed, left = f"{self.speed:.0f} images/s", f"eta {eta // 60}m{eta % 60:02d}s"
        text = (
            f"{self.watch.title(training.lanes[0], '')}  {training.kind} {step}/{training.total}  "
            f"{count} lane{'s' if count > 1 else ''}  {speed}  {left}  {values}"
        )
        bar = self.bar
        bar.step, bar.total, bar.below = step, training.total, values or bar.below
        bar.right = f"{step}/{training.total}  {speed}  {left}"
        self.watch.log.progress(text.rstrip(), report=report, last=step == training.total)

    # Save.

    def _save(self) -> None:
        """Begin to write what is not saved yet, when what was begun before is written."""
        self.writing.result()
        training, log, jobs = self.training, self.watch.log, []
        # Copied: the next call may use the memory of what it is given.
        states = jax.tree.map(np.array, jax.device_get(self.states))
        for i, (store, lane) in enumerate(zip(self.stores, training.lanes, strict=True)):
            if store is None or i in self.diverged or self.done[i] in store.steps():
                continue
            events = log.of(lane.name)
            latest = bool(events) and events[-1]["step"] == self.done[i]
            score = events[-1].get(store.best, NO_SCORE) if latest else NO_SCORE
            partial = {name: list(values) for name, values in self.parts[i].items()}
            meta = {"partial": partial, "reports": events, store.best: score}
            jobs.append((lane, store, self.done[i], lanes.lane(states, i), meta))
        self.saved_at = time.monotonic()
        if jobs:
            self.writing = self.writer.submit(self._write, jobs)

    def _write(self, jobs: list) -> None:
        start = time.monotonic()
        for lane, store, step, state, meta in jobs:
            self.watch.keep(lane)
            store.save(step, state, meta)
        self.save_seconds = time.monotonic() - start
        steps = sorted({step for _, _, step, _, _ in jobs})
        self.watch.log.line(f"saved  {self.who}  step {steps[0]}  in {self.save_seconds:.1f} s")

    # Divergence.

    def _refuse_infinite(self, i: int, rows: dict[str, np.ndarray], first: int) -> None:
        good = np.all([np.isfinite(values) for values in rows.values()], axis=0)
        if np.all(good):
            return
        bad = int(np.argmin(good))
        now = {name: float(values[bad]) for name, values in rows.items() if name != "count"}
        names = [name for name, value in now.items() if not np.isfinite(value)]
        before = ""
        if bad:
            count = float(rows["count"][bad - 1]) if "count" in rows else 1.0
            values = (f"{name} {float(rows[name][bad - 1]) / count:.4g}" for name in now)
            before = f" (the step before: {', '.join(values)})"
        what = ", ".join(f"{name} is {now[name]}" for name in names)
        self._diverge(i, f"{what}{before}", f" at step {first + bad + 1} of {self.training.total}")

    def _diverge(self, i: int, what: str, where: str = "") -> None:
        """Lane i counts no more; the others go on."""
        if i in self.diverged:
            return
        self.writing.result()
        store, lane = self.stores[i], self.training.lanes[i]
        steps = store.steps() if store is not None else []
        last = "no checkpoint was saved before"
        if steps:
            last = f"the last good checkpoint is {store.path / str(steps[-1])}"
        title = self.watch.title(lane, self.training.kind)
        text = f"{title} diverged{where}: {what}: {last}: lower its learning rate"
        self.diverged[i] = text
        self.watch.log.line(f"warning {text}")


def run(watch: Watch, training: Training) -> Finished:
    """Run the lanes of a training from their starts, or their checkpoints, to their end.

    Every interval is reported and shown; what was done is saved each time `save_every` seconds
    have passed, while the next calls run. Where a signal asks to stop, the steps that
    are running are finished and saved. Cutting changes no bit. A lane that diverges is named
    and takes no other with it.

    Raises:
        StoppedError: when it was asked to stop, after saving.
        ConfigError: if the device has not the memory, naming the batch size.
        CheckpointError: if a checkpoint cannot be written, or all of a lane are damaged.
    """
    with contextlib.ExitStack() as stack:
        stores: list[checkpoint.Store | None] = [None] * len(training.lanes)
        if devices.first_process():
            best = watch.best if training.kind == "gan" else "loss"
            for i, lane in enumerate(training.lanes):
                path = watch.path / watch.folder(lane, training.kind)
                store = checkpoint.Store(path, best=best, about=watch.about, say=watch.log.line)
                stores[i] = stack.enter_context(store)
        loop = stack.enter_context(Loop(watch, training, stores))
        loop.restore()
        found = loop.run()
        watch.log.ended |= {lane.name for lane in training.lanes}
        return found


@contextlib.contextmanager
def refusing_memory(training: Training):
    """Out of memory inside becomes a `ConfigError` that names the batch size."""
    try:
        yield
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        text = str(error).strip().splitlines()
        first, size = text[0] if text else "out of memory", training.batch_size
        memory = "RESOURCE_EXHAUSTED" in first or "ut of memory" in first
        if not memory and not isinstance(error, MemoryError):
            raise
        raise ConfigError(
            f"{training.kind}.batch_size is {size}: the device has not the memory for it "
            f"({first}): try --{training.kind}.batch-size {max(1, size // 2)}"
        ) from error
