"""The temperature of a run's classifier, fitted on training images that were left out for it.

The classifier itself has learned all of its training images, so how sure it is of these says
nothing. Its configuration is trained once more without a fifth of them, and the temperature is
fitted on what that one says of the real images of this fifth.
"""

import contextlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxbrain.data import splits
from jaxbrain.errors import DataError, DivergedError
from jaxbrain.reports import predict as report
from jaxbrain.runs import files
from jaxbrain.runs.again import Taught, part
from jaxbrain.runs.loaded import Run
from jaxbrain.runs.log import Log
from jaxbrain.runs.paper import classifier_name
from jaxbrain.runs.study import KEY
from jaxbrain.runs.workdir import Stop
from jaxbrain.scoring import calibration
from jaxbrain.scoring.intervals import wilson
from jaxbrain.study import networks
from jaxbrain.study.protocols import streams
from jaxbrain.training import lanes, loops, streamed

FOLDER, FOLDS = "calibration", 5
WAYS = "once", "all", "off"
# Calls that a training is cut into, so that progress is seen and a signal heard.
_CALLS = 50
# Fewer images say little of a temperature.
_FEW = 50
_NOTICE = (
    "P0's generator has seen every image, those that were left out too, and its images are among "
    "the training images: new images may fit worse than this says"
)


def kept(home: Path, seed: int, how: str) -> dict | None:
    """What an earlier call has fitted, or None. "all" also serves where "once" is asked for."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads((home / FOLDER / f"seed{seed}.json").read_text(encoding="utf-8"))
        enough = found["folds"] == FOLDS or how == "once"
        return found if enough and found["seed"] == seed and found["temperature"] > 0 else None
    return None


def calibrate(run: Run, taught: Taught, home: Path, how: str, log: Log, stop: Stop) -> dict:
    """Fit the temperature of a run's classifier, and write `calibration/seed<S>.json`, `.csv` and
    `.png` in `home`; none of them holds an image.

    Args:
        taught: what the classifier was trained on.
        how: "once" trains one classifier without a fifth of the images, "all" five, so that every
            real image is left out once.

    Returns:
        What the JSON file holds: temperature, n, NLL (nats) and ECE before and after, and
        crossed: ECE where each half is judged at the other half's temperature.

    Raises:
        DataError: if a class has fewer than five groups of images.
        DivergedError: if a training diverged.
    """
    label, group, real = np.asarray(taught.data.label), np.asarray(taught.data.group), taught.real
    rng = streams(jax.random.key(KEY), run.seed)("calibration")
    left = splits.folds(label, group, np.arange(real), FOLDS, 0.0, rng)
    synthetic = rng.permutation(np.arange(real, len(label)))
    # The same share of the synthetic images is left out with them.
    drawn = np.array_split(synthetic, FOLDS)
    count = FOLDS if how == "all" else 1
    log.line(_plan(run, len(label), count))
    train, rows = _trainer(run, log, stop), []
    for fold in range(count):
        out = np.concatenate([left[fold], drawn[fold]])
        own = np.setdiff1d(np.arange(len(label)), out)
        state = train(part(taught, own), fold, count)
        p = run.probabilities(state, np.asarray(taught.data.image)[left[fold]])
        rows += [(i, fold, one) for i, one in zip(left[fold].tolist(), p, strict=True)]
    index = np.asarray([i for i, _, _ in rows])
    p, truth = np.float64([one for *_, one in rows]), label[index]
    about = {"seed": run.seed, "folds": count, "of": FOLDS}
    found = about | summary(p, truth, group[index], rng) | {"notice": _NOTICE}
    folder = home / FOLDER
    folder.mkdir(exist_ok=True)
    header = ["id", "class", "fold", *(f"p_{name}" for name in run.class_names)]
    names = run.class_names
    cells = ([taught.path[i], names[label[i]], fold, *map(float, one)] for i, fold, one in rows)
    # What says that it is done is written last.
    (folder / f"seed{run.seed}.json").unlink(missing_ok=True)
    files.write_csv(folder / f"seed{run.seed}.csv", header, cells)
    files.write_json(folder / f"seed{run.seed}.json", found)
    report.reliability_figure(folder / f"seed{run.seed}.png", found)
    return found


def summary(p: np.ndarray, label: np.ndarray, group: np.ndarray, rng) -> dict:
    """What left-out images say: p [N, K] of them, label and group [N] int."""
    chosen = calibration.temperature(p, label)
    after = calibration.tempered(p, chosen)
    crossed = None
    # Too few images cannot be halved.
    with contextlib.suppress(DataError):
        one, _ = splits.folds(label, group, np.arange(len(label)), 2, 0.0, rng)
        half = np.isin(np.arange(len(label)), one)
        crossed = calibration.ece(calibration.crossed(p, label, half), label)
    both = {"before": p, "after": after}
    hit = p.argmax(axis=1) == label
    return {
        "images": len(label),
        "right": int(hit.sum()),
        "temperature": chosen,
        "nll": {name: calibration.nll(one, label) for name, one in both.items()},
        "ece": {name: calibration.ece(one, label) for name, one in both.items()}
        | {"crossed": crossed},
        "bins": f"{calibration.BINS} of equal width over [0, 1]",
        "reliability": {
            name: _rows(calibration.reliability(one, label)) for name, one in both.items()
        },
    }


def _rows(bins: calibration.Bins) -> list[dict]:
    """The bins that hold images, with Wilson's 95 % interval of their accuracy."""
    rows = []
    for low, high, count, confidence, accuracy in zip(*map(np.ndarray.tolist, bins), strict=True):
        if count:
            ends = list(wilson(round(accuracy * count), count))
            own = {"low": low, "high": high, "count": count, "confidence": confidence}
            rows.append(own | {"accuracy": accuracy, "interval": ends})
    return rows


def lines(found: dict) -> list[str]:
    """What a terminal says of a temperature."""
    ece, nll, n = found["ece"], found["nll"], found["images"]
    crossed = ece["crossed"]
    said = [
        f"calibration: temperature {found['temperature']:.2f}, from {n} real training images that "
        "its classifier did not learn",
        f"calibration on these images: NLL {nll['before']:.3f} before, {nll['after']:.3f} after; "
        f"error (ECE) {ece['before']:.3f} before, {ece['after']:.3f} after"
        + ("" if crossed is None else f", {crossed:.3f} where each half is judged by the other's"),
    ]
    if found["right"] == n:
        said.append("calibration: all of them were called rightly, so nothing says how sure to be")
    elif n < _FEW:
        said.append(f"calibration: {n} images say little: --calibrate all leaves out each once")
    return said


def _plan(run: Run, count: int, times: int) -> str:
    _, steps = loops.classifier_steps(run.network, count - count // FOLDS)
    many = "a classifier" if times == 1 else f"{times} classifiers"
    return (
        f"calibration: trains {many} without a fifth of the {count} training images, "
        f"{times * steps} updates in all; once a run, and kept (--calibrate off goes without)"
    )


def _trainer(run: Run, log: Log, stop: Stop) -> Callable:
    """(training images, fold, folds) -> the state of a classifier of the run's configuration."""
    own = networks.parts(classifier_name(run.cfg), loops)
    start, advance = (jax.jit(own[name], static_argnums=0) for name in ("start", "advance"))
    root = jax.random.fold_in(jax.random.key(KEY), run.seed)
    root = jax.random.fold_in(root, int.from_bytes(b"cal"))

    def train(data, fold: int, folds: int):
        if not streamed.fits(data):
            raise DataError("the training images do not fit on the device beside a training")
        data, began = jax.tree.map(jnp.asarray, data), 0.0
        key, weight = jax.random.fold_in(root, fold), jnp.ones(len(data.label))
        total = own["steps"](run.cfg, len(data.label))
        state, done, step = start(run.cfg, data, weight, key), 0, max(1, total // _CALLS)
        log.progress("calibration: compiling", report=False)
        while done < total:
            done = min(total, done + step)
            state, _ = jax.block_until_ready(
                advance(run.cfg, data, weight, key, state, jnp.int32(done))
            )
            if done <= step:
                # The first call compiles, and says nothing of the others.
                began, left = time.perf_counter(), "some time"
            else:
                took = (time.perf_counter() - began) / (done - step)
                left = f"{took * (total - done):.0f} s"
            text = f"calibration {fold + 1}/{folds}: {done}/{total} updates, {left} left"
            log.progress(text, report=done == total, last=done == total)
            stop.check(f"calibration at update {done}: the same command begins it again")
        if not lanes.finite(jax.tree.map(lambda leaf: leaf[None], state)).all():
            raise DivergedError("the classifier of the calibration diverged")
        return state

    return train


def home_of(run: Run, out: Path) -> Path:
    """Where a temperature is kept: in the run, or beside the predictions where it is read-only."""
    return run.path if os.access(run.path, os.W_OK) else out
