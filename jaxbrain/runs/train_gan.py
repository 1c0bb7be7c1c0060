"""GANs trained on all images but a held-out share, in a work directory: watched, saved, gone
on with as every study is, and there for `sample` and `audit`."""

import functools
import os
import time
from pathlib import Path

import numpy as np

from jaxbrain.audit import generative
from jaxbrain.config import Config
from jaxbrain.data.records import Records, describe
from jaxbrain.errors import ConfigError
from jaxbrain.nn.layers import compute_dtype
from jaxbrain.reports import drawing, sheets
from jaxbrain.reports import train_gan as report
from jaxbrain.runs import environment, figures, files, pages, study
from jaxbrain.runs.ladder import copies
from jaxbrain.runs.samples import SHEET_COLUMNS, judgement
from jaxbrain.runs.settings import with_classes
from jaxbrain.runs.study import Session
from jaxbrain.runs.warned import keep, warn
from jaxbrain.scoring import alarms, intervals, metrics
from jaxbrain.study import held_out as held
from jaxbrain.study.protocols import StudyConfig
from jaxbrain.study.study import Prediction
from jaxbrain.training.summary import tabulated
from jaxbrain.types import Dataset

KIND = "train_gan"
# What is asked whether synthetic images are real: a ridge on thumbnails, which takes no time.
PROBE = "ridge"
# Its sheet of what was drawn, beside real images.
_BESIDE = ("samples/seed0_beside.png",)


def train_gan(
    cfg: Config,
    data: Dataset,
    records: Records,
    workdir: str | Path,
    *,
    held_out: float = 0.25,
    num_seeds: int = 1,
    mapping: str = "auto",
    num_devices: int = 0,
    console=None,
    **watched,
) -> dict:
    """Train the conditional GAN, once per seed 0..num_seeds-1, on all images but a held-out
    share, and write the run directory.

    Called again with the same arguments it goes on where it was stopped, to the same bits;
    `num_seeds` may grow. Checkpoints stay, in `checkpoints/seed<N>/gan`.

    Args:
        cfg: the number of classes is replaced by that of `records`.
        data, records: from `load_folder`, images at the larger size in use.
        workdir: new, empty, or of the same run.
        held_out: share of the groups of near-duplicates of each class that no GAN sees, above
            0 and below 1; the same for all seeds.
        mapping: how seeds are mapped, see `StudyConfig`; num_devices: with "devices", how
            many; 0 takes all.
        console: a `rich.console.Console`; standard output by default.
        watched: command, fresh, save_every, on_divergence: see `runs.study.session`.

    Returns:
        What `results.json` holds.

    Raises:
        ConfigError: for settings that do not fit, or a directory of another run (naming what
            differs) or in use.
        DataError: if a class cannot be split.
        CheckpointError, DivergedError: see their messages.
        StoppedError: after SIGTERM or Ctrl-C, when all is saved.
    """
    from rich.console import Console

    started = time.perf_counter()
    console = console or Console()
    cfg = with_classes(cfg, records.class_names)
    options = StudyConfig(
        seeds=num_seeds,
        protocols=("P2",),
        generators=("cgan",),
        classifiers=(PROBE,),
        shuffled=False,
        mapping=mapping,
    )
    planner = functools.partial(held.plan, held_out)
    how = {"options": options, "planner": planner, "num_devices": num_devices}
    planned, audit = study.planned(cfg, data, records, **how)
    names = list(records.class_names)
    settings = {"config": files.settings(cfg), "held_out": held_out, "classes": names}
    watched |= {"kind": KIND, "settings": settings, "console": console, "by_seed": True}
    with study.session(planned, audit, data, records, workdir, **watched) as opened:
        side = held.sides(
            held_out,
            cfg.data.n_per_class,
            np.asarray(data.label),
            planned.group,
            planned.shared.key,
        )
        _write_sides(opened, data, side)
        warned = _of_sides(counted := _counts(opened, data, side), names)
        results = {"held_out": held_out, "data": counted, "probe": PROBE}
        results |= {"warnings": warned} if warned else {}
        for text in [*describe(data, records), *copies(audit, records), *report.sides(results)]:
            opened.log.line(text)
        for text in environment.device_lines(compute_dtype(cfg)):
            opened.log.line(text)
        summary = tabulated(cfg, classifier=False)
        files.write_text(opened.directory.path / "model.txt", summary)
        opened.log.line(f"run    {opened.directory.path}")
        warn(opened.log, warned)
        results = _run(results, opened, side == held.SIDES.index(held.HELD_OUT))
        _close(results, opened, time.perf_counter() - started)
        return results


def _write_sides(opened: Session, data: Dataset, side: np.ndarray) -> None:
    """`images.csv`, with the side of every image."""
    records = opened.records
    rows = [
        [path, records.class_names[k], int(group), digest, held.SIDES[own]]
        for path, k, group, digest, own in zip(
            records.path,
            np.asarray(data.label),
            opened.study.group,
            records.digest,
            side,
            strict=True,
        )
    ]
    header = ["id", "class", "group", "sha256", "side"]
    files.write_csv(opened.directory.path / "images.csv", header, rows)


def _counts(opened: Session, data: Dataset, side: np.ndarray) -> dict:
    """Images and groups of each side, by class."""
    names, label, group = opened.records.class_names, np.asarray(data.label), opened.study.group
    root = opened.records.root
    found = {
        "source": "phantoms" if opened.records.layout == "arrays" else "folder",
        # For `audit`, which reads them again.
        "root": os.path.abspath(root) if os.path.exists(root) else root,
    }
    for number, name in enumerate(held.SIDES):
        own = side == number
        counts = {one: int((own & (label == k)).sum()) for k, one in enumerate(names)}
        found[name] = {"images": counts, "groups": len(np.unique(group[own]))}
    return found


def _of_sides(found: dict, names: list[str]) -> list[str]:
    """What the number of images says against a run. found: of `_counts`."""
    by_side = {side: found[side]["images"] for side in held.SIDES}
    all_of = {name: sum(by_side[side][name] for side in held.SIDES) for name in names}
    used = {name: all_of[name] - by_side[held.UNUSED][name] for name in names}
    return [*alarms.unused(all_of, used), *alarms.small(by_side[held.TRAINING])]


def _run(results: dict, opened: Session, held_out: np.ndarray) -> dict:
    """Every seed's GAN, and the report after each, so that a later failure loses none.

    held_out: [N] bool, which images choose the checkpoint, where they are enough."""
    judges = opened.study.shared.views.images[held_out]
    judges = judges if len(judges) >= generative.LEAST else None
    answers, seeds = [], []
    done = len(list((opened.directory.path / "images").glob("*.npz")))
    if done > (wanted := opened.study.options.seeds):
        raise ConfigError(f"seeds is {wanted}: expected at least {done}, which this run has done")
    try:
        for answer in study.predictions(opened, judges):
            answers.append(answer)
            seeds.append(_seed(opened, answer))
            _sheet(opened, answer)
            results = results | {"seeds": seeds}
            if opened.skipped:
                results["skipped"] = [{"name": n, "why": w} for n, w in opened.skipped.items()]
            _write(results, opened, answers)
            last = seeds[-1]
            opened.log.line(
                f"seed {last['seed']}  {PROBE} tells held-out images from synthetic ones: "
                f"{drawing.percent(last['probe']['accuracy'])} %"
            )
            opened.curves.step(True)
    finally:
        # Of a run that stops too.
        if seeds:
            opened.curves.draw()
            pages.write(opened.directory.path, report.page(results))
    return results


def _seed(opened: Session, answer: Prediction) -> dict:
    """What `results.json` says of one GAN."""
    hit, total = metrics.called(answer.p) == answer.label, len(answer.label)
    interval = intervals.wilson(float(hit.sum()), total)
    return {
        "seed": answer.cell.seed,
        "gan": judgement(opened.log.of(answer.cell.fit)),
        "probe": {"accuracy": float(hit.mean()), "interval": list(interval), "n": total},
    }


def _write(results: dict, opened: Session, answers: list[Prediction]) -> None:
    path = opened.directory.path
    study.write_predictions(opened, answers)
    files.write_json(path / "results.json", results)


def _sheet(opened: Session, answer: Prediction) -> None:
    """Training, held-out and synthetic images of each class in rows."""
    cell = answer.cell
    drawn = opened.parts.image(cell.fit)
    if drawn is None:
        return
    real = opened.study.shared.views.images
    fit = next(fit for fit in opened.study.fits if fit.name == cell.fit)
    others = cell.test[cell.test < len(real)]
    rows = []
    for k, name in enumerate(opened.records.class_names):
        for side, images, index, label in (
            (held.TRAINING, real, fit.index, fit.label),
            (held.HELD_OUT, real, others, fit.label),
            ("synthetic", drawn, np.arange(len(drawn)), fit.drawn),
        ):
            rows.append((f"{name}\n{side}", images[index[label[index] == k][:SHEET_COLUMNS]]))
    sheets.sheet(opened.directory.path / "samples" / f"seed{cell.seed}_beside.png", rows)


def _close(results: dict, opened: Session, seconds: float) -> None:
    log, path = opened.log, opened.directory.path
    report.show(log.console, results)
    keep(log, results.get("warnings", []))
    log.clock("total", seconds)
    files.write_json(path / "env.json", environment.environment() | {"seconds": log.seconds})
    log.line(f"wrote  {path}  in {log.seconds['total']:.0f} s")
    for text in figures.to_open(path, *_BESIDE, "progress.png"):
        log.line(text)
