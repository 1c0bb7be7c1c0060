"""The two trainings of a run: begun or gone on with, saved, watched, drawn."""

import contextlib
import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxbrain.audit import generative
from jaxbrain.config import Config
from jaxbrain.data import preprocess
from jaxbrain.reports import drawing
from jaxbrain.runs import checkpoint, loop, record
from jaxbrain.runs.workdir import Workdir
from jaxbrain.training import devices, gan, loops, streamed
from jaxbrain.types import Dataset

SHEET_COLUMNS = 10
# Samples of each class that a report of the GAN looks at.
_JUDGED = 50

_init_gan = jax.jit(loops.init_gan, static_argnums=0)
_sample = jax.jit(gan.sample, static_argnums=0)


class Run(NamedTuple):
    """What the trainings of a run share. said: lines that are said once."""

    cfg: Config
    names: tuple[str, ...]
    phantoms: bool
    where: loop.Where
    log: record.Log
    workdir: Workdir
    said: set


def _fit(run: Run, training: loop.Training, data: Dataset, key, init: Callable, show: Callable):
    """Begin a training, or go on with it from its newest checkpoint, to its end."""
    log, name, seed = run.log, training.name, training.seed
    with contextlib.ExitStack() as stack:
        store, found = None, None
        like = jax.eval_shape(init)
        if devices.first_process():
            path = run.workdir.path / "checkpoints" / f"seed{seed}" / name
            about = {"config": dataclasses.asdict(run.cfg)}
            store = checkpoint.Store(path, best=training.best, about=about, say=log.line)
            found = stack.enter_context(store).newest(like)
        step = int(devices.from_first(np.int32(found.step if found else -1), np.int32(0)))
        state = init() if step < 0 else devices.from_first(found and found.state, like)
        step = max(step, 0)
        log.restore(seed, name, found.meta["reports"] if found else [])
        # A GAN that is done says nothing: its classifier's step is the one that counts.
        if run.workdir.resumed and not run.said and (step < training.total or name != "gan"):
            log.line(f"resumed at step {step} of {training.total} ({training.who})")
            run.said.add("resumed")
        if step == training.total:
            return state
        with loop.refusing_memory(name, training.batch_size):
            step_fn = loop.step_fn(run.cfg, data, key, state, name, run.where, log)
        watch = loop.Watch(log, store, run.workdir.stop, show)
        return loop.run(training, watch, step_fn, state, found and found.meta["partial"])


class _Sheets:
    """The growing sheets of a GAN's samples: a row of fixed latents per report."""

    def __init__(self, run: Run, seed: int):
        self.run, self.seed = run, seed
        folder = run.workdir.path / "checkpoints" / f"seed{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "sheet.npz"
        self.rows: dict[str, np.ndarray] = {}

    def read(self, step: int) -> None:
        """The rows of an earlier process, up to a step."""
        try:
            with self.path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                self.rows = {name: file[name] for name in file.files if int(name) <= step}
        except FileNotFoundError:
            pass
        except Exception as error:  # A damaged zip raises almost anything.
            self.run.log.line(f"damaged {self.path}: {error}: its rows are left out")

    def add(self, step: int, images: np.ndarray) -> None:
        """images: [K * columns, S, S, 1] uint8, class by class."""
        self.rows[str(step)] = images
        temporary = self.path.with_suffix(".tmp")
        with temporary.open("wb") as file:
            np.savez_compressed(file, **self.rows)
        temporary.replace(self.path)
        steps = sorted(map(int, self.rows))
        for k, name in enumerate(self.run.names):
            own = slice(k * SHEET_COLUMNS, (k + 1) * SHEET_COLUMNS)
            rows = [(f"step {n}", self.rows[str(n)][own]) for n in steps]
            file = f"seed{self.seed}_{record.file_name(name, k)}.png"
            drawing.sheet(self.run.workdir.path / "samples" / file, rows)


def fit_gan(run: Run, data: Dataset, seed: int, keys):
    """Train the GAN on the selected real images, drawing its growing sheets."""
    cfg, count = run.cfg, len(run.names)
    sheets = _Sheets(run, seed)
    label = jnp.repeat(jnp.arange(count, dtype=jnp.int32), SHEET_COLUMNS)
    judged = jnp.repeat(jnp.arange(count, dtype=jnp.int32), _JUDGED)
    judge_key = jax.random.fold_in(keys.sheet, 1)
    real = generative.features(np.asarray(data.image))

    def show(state, stop):
        if not sheets.rows:
            sheets.read(stop - 1)
        sheets.add(stop, np.asarray(preprocess.to_uint8(_sample(cfg, state, label, keys.sheet))))
        images = np.asarray(preprocess.to_uint8(_sample(cfg, state, judged, judge_key)))
        return {
            "sample_spread": generative.spread(images, np.asarray(judged)),
            "frechet_thumbnail": generative.frechet(real, generative.features(images)),
        }

    options = cfg.gan
    total, size = options.steps, options.batch_size
    training = loop.Training("gan", seed, total, size, cfg.intervals, total, "frechet_thumbnail")
    return _fit(run, training, data, keys.gan, lambda: _init_gan(cfg, keys.gan), show)


def judgement(run: Run, data: Dataset, seed: int) -> dict:
    """What the GAN's reports say of it, for `results.json`."""
    events = run.log.of(seed, "gan")
    real = generative.spread(np.asarray(data.image), np.asarray(data.label))
    best = min(events, key=lambda event: event["frechet_thumbnail"])
    names = "step", "frechet_thumbnail", "sample_spread"
    return {
        "real_spread": real,
        "last": {name: events[-1][name] for name in names},
        "best": {name: best[name] for name in names},
        "warnings": generative.warnings(events, real),
    }


def fit_classifier(run: Run, data: Dataset, seed: int, keys):
    cfg = run.cfg
    one, total = loops.classifier_steps(cfg, len(data.label), run.where.count())
    size = cfg.classifier.batch_size
    training = loop.Training("classifier", seed, total, size, cfg.intervals, one, "loss")

    def init():
        return streamed.init_classifier(cfg, data, keys.classifier)

    return _fit(run, training, data, keys.classifier, init, lambda state, stop: None)
