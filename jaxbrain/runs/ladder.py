"""The ladder in a work directory: the protocols beside each other, scored, drawn, verified.

Numbers come from `study` (predictions) and `scores` (everything computed from them).
"""

import collections
import csv
import itertools
import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from jaxbrain.config import Config
from jaxbrain.data import duplicates
from jaxbrain.data import external as external_images
from jaxbrain.data.external import External
from jaxbrain.data.layout import shown
from jaxbrain.data.records import Records, describe
from jaxbrain.errors import DataError
from jaxbrain.nn.layers import compute_dtype
from jaxbrain.reports import ladder as report
from jaxbrain.reports import ladder_figures, sheets
from jaxbrain.reports.page import markdown
from jaxbrain.runs import environment, figures, files, pages
from jaxbrain.runs import generators as generators_of
from jaxbrain.runs.settings import study_settings
from jaxbrain.runs.study import (
    EXTERNAL_FILE,
    Session,
    planned,
    predictions,
    session,
    write_predictions,
)
from jaxbrain.runs.warned import keep, of_gans, of_images, warn
from jaxbrain.runs.workdir import differences
from jaxbrain.scoring import alarms, doubts, filtered, scores
from jaxbrain.study import names
from jaxbrain.study.protocols import StudyConfig
from jaxbrain.study.study import Prediction
from jaxbrain.types import Dataset

# Images in a row of the sheet of doubtful labels.
_ROW = 12


def ladder(
    cfg: Config,
    data: Dataset,
    records: Records,
    workdir: str | Path,
    *,
    options: StudyConfig,
    generators=None,
    classifiers=None,
    external: External | None = None,
    num_devices: int = 0,
    console=None,
    **how,
) -> dict:
    """Run or go on with a study, and write its report (docs/runs.md lists the files).

    Called again with the same arguments it goes on where it was stopped.

    Args:
        cfg: of the methods.
        data, records: from `load_folder(dedup="group")`; two classes or more.
        workdir: new, empty, or of the same study.
        options: which cells.
        generators, classifiers: names or values in place of those of the options
            (`study.methods`).
        external: another source's images, which P4 tests (`data.external.prepared`).
        num_devices: with `options.mapping` "devices": how many; 0 takes all.
        console: a `rich.console.Console`; standard output by default.
        how: command, fresh, save_every, on_divergence, shard: see `runs.study.session`.

    Returns:
        What `ladder.json` holds; of a shard its name and how many cells it has answered.

    Raises:
        ConfigError: if the directory is of another study (naming what differs) or in use.
        DataError: see `study.study`.
        DivergedError: if a training diverged, when all others of its call are saved.
        StoppedError: after SIGTERM or Ctrl-C, when the training in work is saved.
    """
    from rich.console import Console

    started = time.perf_counter()
    console = console or Console()
    methods = {"generators": generators, "classifiers": classifiers, "external": external}
    study, audit = planned(cfg, data, records, options=options, num_devices=num_devices, **methods)
    how |= {"kind": "ladder", "settings": study_settings(cfg, options), "console": console}
    how |= {"external": external}
    with session(study, audit, data, records, workdir, **how) as opened:
        log, path = opened.log, opened.directory.path
        other = external_images.describe(external) if external else []
        first = generators_of.first_lines(study)
        about = environment.device_lines(compute_dtype(cfg))
        for text in [*describe(data, records), *copies(audit, records), *other, *first, *about]:
            log.line(text)
        log.line(f"run    {path}")
        few = of_images(data, records, cfg.data.n_per_class if options.split == "holdout" else 0)
        warn(log, few)
        if opened.shard != (0, 1):
            done = sum(1 for _ in predictions(opened))
            log.line(
                f"shard {how['shard']}  done: {done} of {len(study.cells)} cells; when all are, "
                "the same command without --shard joins them"
            )
            return {"shard": how["shard"], "cells": done}
        rows: dict[tuple, list] = {}
        write_predictions(opened, _noted(predictions(opened), rows))
        results = described(cfg, opened, np.asarray(data.label)) | _filtered(path, rows)
        results |= generators_of.described(opened)
        if warned := [*few, *of_gans(opened)]:
            results["warnings"] = warned
        results |= _scored(path, results)
        for text in generators_of.last_lines(results):
            log.line(text)
        _write(results, opened, console, started)
        return results


def _filtered(workdir: Path, rows: dict[tuple, list]) -> dict:
    """What `ladder.json` says of filters, from the file that it writes; nothing without one."""
    if not rows:
        return {}
    path = workdir / filtered.FILE
    files.write_csv(path, filtered.COLUMNS, ([*key, *value] for key, value in rows.items()))
    return {"filtered": filtered.summary(filtered.read(path))}


def _noted(answers: Iterable[Prediction], rows: dict) -> Iterator[Prediction]:
    """The same answers; what filters did goes into `rows` as they pass."""
    for one in answers:
        if one.filtered:
            cell, (view, *counts) = one.cell, one.filtered
            rows[cell.protocol, cell.generator, view, cell.labels, cell.seed, cell.fold] = counts
        yield one


def _write(results: dict, opened: Session, console, started: float) -> None:
    """The report, and what the run took."""
    path = opened.directory.path
    files.write_json(path / "ladder.json", results)
    figures.save(ladder_figures.picture(results), path / "ladder.png", opened.figures)
    _draw_doubts(path / "doubts.png", results["doubts"], opened)
    pages.write(path, report.page(results))
    report.show(console, results)
    keep(opened.log, results.get("warnings", []))
    write_seconds(opened, started)
    for text in figures.to_open(path, "ladder.png", "doubts.png"):
        opened.log.line(text)


def write_seconds(opened: Session, started: float) -> None:
    """`env.json`, what the run took among it, and the last line of its log.

    started: of `time.perf_counter`.
    """
    log, path = opened.log, opened.directory.path
    seconds = round(time.perf_counter() - started, 1)
    # Of all parts, also those of earlier calls.
    spent = {name: round(value, 1) for name, value in opened.parts.seconds.items()}
    about = environment.environment() | {"seconds": seconds, "seconds_of": spent}
    files.write_json(path / "env.json", about)
    log.line(f"wrote  {path}  in {seconds:.0f} s")


def _draw_doubts(path: Path, found: dict | None, opened: Session) -> None:
    """The images of `doubts`, a row for each class, the least believed first."""
    number = {name: i for i, name in enumerate(opened.records.path)}
    shown_of: dict[int, list] = {}
    for one in found["images"] if found else ():
        shown_of.setdefault(one["label"], []).append(number[one["id"]])
    names, images = opened.records.class_names, opened.study.shared.views.images
    rows = [(names[k], images[of[:_ROW]]) for k, of in sorted(shown_of.items())]
    file = [Path(name).name for name in opened.records.path]
    captions = [[file[i] for i in of[:_ROW]] for _, of in sorted(shown_of.items())]
    path.unlink(missing_ok=True)
    if rows:
        sheets.sheet(path, rows, captions)


def described(cfg: Config, opened: Session, label: np.ndarray) -> dict:
    """What `ladder.json` says beside its scores."""
    records, found, options = opened.records, opened.audit, opened.study.options
    classes = records.class_names
    drawn = [name for name in options.generators if name != names.NONE]
    return {
        "split": options.split,
        "seeds": options.seeds,
        "folds": options.folds if options.split == "kfold" else 1,
        "generators": list(options.generators),
        "classifiers": list(options.classifiers),
        "modes": {name: {"unfiltered": _unfiltered(name, drawn)} for name in drawn},
        "other_view": [
            [name, classifier]
            for name in drawn
            for generator, classifier in opened.study.shared.other_view()
            if generator == names.base(name)
        ],
        "seeing": [
            one.name for one in opened.study.shared.classifiers.values() if one.sees != "files"
        ],
        "outside": {
            one.name: one.outside for one in opened.study.shared.classifiers.values() if one.outside
        },
        "external": opened.external.summary() if opened.external else None,
        "test_over_train": _test_over_train(cfg, options),
        "skipped": [{"name": name, "why": why} for name, why in opened.skipped.items()],
        "data": {
            "source": "phantoms" if records.layout == "arrays" else "folder",
            "found": {name: int((label == k).sum()) for k, name in enumerate(classes)},
            "patient_ids": list(records.ids),
        },
        "positive": records.positive_class(),
        "groups": found.counts(label, classes),
        "audit": {
            "threshold": cfg.data.duplicate_threshold,
            "distinct": len(set(records.digest)),
            "identical_pairs": _identical_pairs(records),
            "near_pairs": len(found.near),
            "across_classes": len(found.across),
            "flipped_pairs": len(found.flipped),
            "flipped_apart": found.flipped_apart(),
            "searches": [search._asdict() for search in found.searches],
        },
    }


def _unfiltered(name: str, others: list[str]) -> str:
    """Of a generator with a filter the same without, where the study has it."""
    found = names.unfiltered(name)
    return found if found != name and found in others else ""


def cell_of(results: dict, *which: str) -> dict | None:
    """What `ladder.json` says of a protocol, generator, classifier and labels; None where all
    trainings of such a cell diverged."""
    names = "protocol", "generator", "classifier", "labels"
    cells = {tuple(cell[name] for name in names): cell for cell in results["cells"]}
    return cells.get(which)


def _scored(workdir: Path, results: dict) -> dict:
    # Runs of an earlier version have no modes.
    view = results["test_over_train"], results["other_view"], results.get("modes")
    own = workdir / "predictions.csv", workdir / "images.csv"
    found = scores.scores(*own, *view)
    # Those of images and of generators come from elsewhere than the answers.
    kept = [one for one in results.get("warnings", ()) if not one.startswith(alarms.ANSWERS)]
    if warned := [*kept, *found.get("warnings", ())]:
        found["warnings"] = warned
    if "seeing" in results:  # Runs of an earlier version do not say it.
        answers = scores.read(own[0], scores.read_groups(own[1]))
        found["doubts"] = doubts.doubts(answers, results["seeing"])
    return found | generators_of.again(results)


def verify(workdir: str | Path) -> list[str]:
    """Recompute every number of a report from `predictions.csv` and `images.csv`, and the
    text of `report.md` from them: what differs, a line each (none: all as it should be).

    Raises:
        DataError: if a file of the run is missing or is not what a study wrote.
    """
    workdir = Path(workdir)

    def again(saved: dict) -> dict:
        found = saved | _scored(workdir, saved) | images_again(workdir, saved)
        if saved.get("filtered"):
            found["filtered"] = filtered.summary(filtered.read(workdir / filtered.FILE))
        return found

    return recomputed(workdir, "ladder", ("predictions.csv",), again, report.page)


def recomputed(workdir: Path, kind: str, answers, again: Callable, page: Callable) -> list[str]:
    """What of a run's `<kind>.json` and `report.md` is not what its answers say, a line each.

    answers: names of its files of answers. again: what is saved -> what should be; page: that
    -> the page of `report.md`.
    """
    name = f"{kind}.json"
    for needed in (name, "report.md", "images.csv", *answers):
        if not (workdir / needed).is_file():
            run = f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
            raise DataError(f"{workdir / needed}: missing: expected the directory of {run} run")
    try:
        saved = json.loads((workdir / name).read_text(encoding="utf-8"))
        fresh = again(saved)
        text = markdown(page(fresh))
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise DataError(f"{workdir / name}: not what a {kind} wrote: {error!r}") from error
    # Through JSON, so that both have its types.
    fresh = json.loads(json.dumps(fresh))
    found = [
        f"{where}: {old!r} is saved, {new!r} recomputed"
        for where, old, new in differences(saved, fresh, name)
    ]
    written = pages.numbers((workdir / "report.md").read_text(encoding="utf-8"))
    lines = itertools.zip_longest(written, pages.numbers(text), fillvalue=(len(written), None))
    other = [number for (number, one), (_, two) in lines if one != two]
    return found + [f"report.md, line {n}: differs from what the numbers say" for n in other[:1]]


def images_again(workdir: Path, saved: dict) -> dict:
    """What `ladder.json` says of the images that `images.csv` and `external.csv` can tell."""
    with (workdir / "images.csv").open(newline="", encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if not r["id"].startswith(external_images.PREFIX)]
    own = {name: [r for r in rows if r["class"] == name] for name in saved["data"]["found"]}
    groups = {
        name: len({r["group"] for r in some}) for name, some in ({"total": rows} | own).items()
    }
    other = saved.get("external")
    if other:
        other = other | external_images.summary(_external_rows(workdir))
    return ({"external": other} if other else {}) | {
        "groups": groups,
        "data": saved["data"] | {"found": {name: len(some) for name, some in own.items()}},
        "audit": saved["audit"] | {"distinct": len({r["sha256"] for r in rows})},
    }


def _external_rows(workdir: Path) -> list[external_images.Row]:
    """The rows of `external.csv`.

    Raises:
        DataError: if it is not what a study wrote, or a copy, or another image than those of
            `images.csv`, counts as tested.
    """
    path = workdir / EXTERNAL_FILE
    try:
        with path.open(newline="", encoding="utf-8") as file:
            found = [
                external_images.Row(**row | {"value": float(row["value"])})._replace(
                    tested=int(row["tested"])
                )
                for row in csv.DictReader(file)
            ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not what a study wrote: {error!r}") from error
    with (workdir / "images.csv").open(newline="", encoding="utf-8") as file:
        ids = [row["id"] for row in csv.DictReader(file)]
    known = {name for name in ids if name.startswith(external_images.PREFIX)}
    tested = [row for row in found if row.tested]
    if {row.id for row in tested} != known:
        raise DataError(f"{path}: tested images are others than those of images.csv")
    if copied := [row.id for row in tested if row.copy_of]:
        raise DataError(f"{path}: {copied[0]} is a copy and counts as tested")
    return found


def _identical_pairs(records: Records) -> int:
    return sum(n * (n - 1) // 2 for n in collections.Counter(records.digest).values())


def copies(found: duplicates.Audit, records: Records) -> list[str]:
    lines = [
        f"copies {_identical_pairs(records)} identical pairs, {len(found.near)} near pairs, "
        f"{len(found.flipped)} when one is mirrored (reported, not grouped)"
    ]
    if apart := found.flipped_apart():
        lines.append(
            f"warn   {apart} mirrored pairs are in different groups, so on both sides of a split: "
            "methods that compare mirror places (mirror_kernel, cnn.mirror) know one from the other"
        )
    for one in found.searches:
        beyond = "" if one.next is None else f", the next at {one.next:.3f}"
        lines.append(
            f"copies {one.images}: {one.pairs} pairs at {one.threshold:g} or more "
            f"({one.distance}){beyond}"
        )
    for one, two in found.across:
        lines.append(
            "note   near-duplicates of two classes: "
            f"{shown(records.path[one])}, {shown(records.path[two])}"
        )
    return lines


def _test_over_train(cfg: Config, options: StudyConfig) -> float:
    share = cfg.data.test_fraction if options.split == "holdout" else 1.0 / options.folds
    return share / (1.0 - share)
