"""A search in a work directory: arms, chosen inside training folds, and what choosing by the
outer tests would have claimed.

One study holds every arm's outer and inner cells (`study.nested`): it is saved and resumed as
a ladder is, and may be computed in shares. What inner folds choose, and every figure, follow
from `inner.csv` and `predictions.csv` (`scoring.nested`).
"""

import functools
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from jaxbrain.config import Config
from jaxbrain.config.studies import SearchConfig
from jaxbrain.data.records import Records, describe
from jaxbrain.errors import ConfigError, DivergedError
from jaxbrain.reports import search as report
from jaxbrain.runs import figures, files, pages
from jaxbrain.runs.ladder import copies, described, images_again, recomputed, write_seconds
from jaxbrain.runs.settings import study_settings
from jaxbrain.runs.study import (
    Session,
    planned,
    predictions,
    session,
    write_predictions,
)
from jaxbrain.scoring import nested as scoring
from jaxbrain.study import arms as study_arms
from jaxbrain.study import nested
from jaxbrain.study.arms import CHOSEN, Arm
from jaxbrain.study.protocols import INNER
from jaxbrain.study.study import Prediction
from jaxbrain.types import Dataset

_ANSWERS = "predictions.csv", "inner.csv"
_DEFAULT = SearchConfig()


def read_arms(path: str | Path) -> dict[str, Arm]:
    """Arms of a JSON file: {name: {"classifier": name, "classifier.epochs": 60, ..}, ..}.

    Raises:
        ConfigError: naming the file, if it cannot be read or is no such object. What the
            arms say is checked when they run.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"arms {path}: cannot be read: {error}") from error
    return study_arms.parsed(text, f"arms {path}")


def search(
    cfg: Config,
    data: Dataset,
    records: Records,
    workdir: str | Path,
    *,
    arms: Mapping[str, Arm] | None = None,
    options: SearchConfig = _DEFAULT,
    num_devices: int = 0,
    console=None,
    **how,
) -> dict:
    """Run or go on with a search, and write its report.

    For every seed and outer fold of P3 without synthesis each arm is judged on inner folds
    of the training images; the best arm's answers on the outer test, trained on all of the
    training images, are the nested ones ("chosen").

    Args:
        cfg, data, records, workdir, num_devices, console: see `runs.ladder.ladder`.
        arms: {name: {"classifier": name, "module:object" or `Classifier`, and fields of the
            configuration by their dotted names}}, two or more; None takes
            `study.arms.default`.
        options: folds, seeds, the control with shuffled labels, how trainings are mapped.
        how: command, fresh, save_every, on_divergence, shard: see `runs.study.session`.

    Returns:
        What `search.json` holds (`scoring.nested.scores_of`, shares in [0, 1]); of a shard
        its name and how many cells it has answered.

    Raises:
        ConfigError: naming the arm, for arms that cannot be (`study.arms.classifiers`); else
            see `runs.ladder.ladder`.
        DataError, DivergedError, StoppedError: see `runs.ladder.ladder`.
    """
    from rich.console import Console

    started = time.perf_counter()
    console = console or Console()
    given = study_arms.default(cfg) if arms is None else arms
    methods = study_arms.classifiers(cfg, given, options.weights)
    chosen = options.study(tuple(given))
    study, audit = planned(
        cfg,
        data,
        records,
        options=chosen,
        classifiers=methods,
        num_devices=num_devices,
        planner=functools.partial(nested.plan, options.inner_folds),
    )
    own = study_arms.settings(given)
    settings = study_settings(cfg, chosen) | {"arms": own, "inner_folds": options.inner_folds}
    how |= {"kind": "search", "settings": settings, "console": console}
    with session(study, audit, data, records, workdir, **how) as opened:
        log = opened.log
        for text in [*describe(data, records), *copies(audit, records), *_size(opened)]:
            log.line(text)
        if opened.shard != (0, 1):
            done = sum(1 for _ in predictions(opened))
            log.line(f"shard {how['shard']}  done: {done} of {len(study.cells)} cells")
            return {"shard": how["shard"], "cells": done}
        _answer(opened, list(given), options.inner_folds)
        results = described(cfg, opened, np.asarray(data.label))
        results |= {"inner_folds": options.inner_folds, "arms": own}
        results |= _scored(opened.directory.path, results)
        _write(results, opened, console, started)
        return results


def _size(opened: Session) -> list[str]:
    cells = opened.study.cells
    inner = sum(cell.protocol == INNER for cell in cells)
    arms = ", ".join(opened.study.options.classifiers)
    return [
        f"arms   {arms}",
        f"run    {opened.directory.path}: {len(cells)} cells, {inner} of them inner",
    ]


def _answer(opened: Session, arms: list[str], inner_folds: int) -> None:
    """`inner.csv`, then `predictions.csv` with the nested answers after those of all arms.

    What is chosen is read from `inner.csv`: of an outer test no more is known here than that
    it was answered.
    """
    answers = list(predictions(opened))
    write_predictions(opened, (one for one in answers if one.cell.protocol == INNER), _ANSWERS[1])
    outer = {
        (one.cell.classifier, one.cell.labels, one.cell.seed, one.cell.fold): one
        for one in answers
        if one.cell.protocol != INNER
    }
    answered: dict[tuple[str, str], set] = {}
    for arm, labels, *test in outer:
        answered.setdefault((arm, labels), set()).add(tuple(test))
    (inner,) = scoring.read(opened.directory.path, _ANSWERS[1:])
    found = scoring.choices(inner, arms, inner_folds, answered)
    if not found:
        raise DivergedError("; ".join(opened.skipped.values()))
    rows = [*outer.values(), *(_nested(outer, choice) for choice in found)]
    write_predictions(opened, rows)


def _nested(outer: dict, choice: dict) -> Prediction:
    """The answers of an outer test of what inner folds chose for it."""
    own = outer[choice["arm"], choice["labels"], choice["seed"], choice["fold"]]
    return own._replace(cell=own.cell._replace(classifier=CHOSEN))


def _scored(workdir: Path, results: dict) -> dict:
    arms, ratio = list(results["arms"]), results["test_over_train"]
    outer, inner = scoring.read(workdir, _ANSWERS)
    return scoring.scores_of(outer, inner, arms, CHOSEN, results["inner_folds"], ratio)


def _write(results: dict, opened: Session, console, started: float) -> None:
    """The report, and what the run took."""
    path = opened.directory.path
    files.write_json(path / "search.json", results)
    figures.save(report.picture(results), path / "search.png", opened.figures)
    pages.write(path, report.page(results))
    report.show(console, results)
    write_seconds(opened, started)
    for text in figures.to_open(path, "search.png"):
        opened.log.line(text)


def verify(workdir: str | Path) -> list[str]:
    """Recompute every number of a report from `inner.csv`, `predictions.csv` and `images.csv`,
    the choices among them: what differs, a line each (none: all as it should be).

    Raises:
        DataError: if a file of the run is missing or is not what a search wrote; if an inner
            fold holds an image of its outer test, or a copy of one.
    """
    workdir = Path(workdir)
    others: list[str] = []

    def again(saved: dict) -> dict:
        scored = _scored(workdir, saved)
        outer, _ = scoring.read(workdir, _ANSWERS)
        others.extend(scoring.unlike(outer, CHOSEN, scored["choices"]))
        return saved | scored | images_again(workdir, saved)

    found = recomputed(workdir, "search", _ANSWERS, again, report.page)
    return found + others
