"""Finished runs side by side: their numbers, and paired tests where their folds match.

Everything is computed from the `predictions.csv` and `images.csv` of each run.
"""

import csv
import datetime
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from jaxbrain.data.external import PREFIX
from jaxbrain.errors import ConfigError, DataError
from jaxbrain.reports import compare as report
from jaxbrain.reports import page as pages
from jaxbrain.reports import terminal
from jaxbrain.reports.html import html
from jaxbrain.reports.latex import latex
from jaxbrain.runs import files
from jaxbrain.runs.workdir import CONFIG, IMAGES, STATUS
from jaxbrain.scoring import compare as scoring
from jaxbrain.scoring import scores

PREDICTIONS = "predictions.csv"
# What a comparison writes; a folder that holds the first one may be written again.
OUTPUTS = "comparison.csv", "pairs.csv", "comparison.md", "comparison.tex", "comparison.html"
# Runs that answer test images, and the file of their results.
_RESULTS = {"paper": "results.json", "ladder": "ladder.json", "search": "search.json"}
# Runs that hold studies in folders: the file that they write last, the folders.
_HOLDS = {
    "table4": ("table4.json", ("study",)),
    "ablations": ("ablations.json", ("readings", "doses", "degraded")),
}


class Finished(NamedTuple):
    """A finished study. path: where it lies; about: what a report says of it; class_names: in
    the order of their labels; own: its answers."""

    path: Path
    about: dict
    class_names: tuple[str, ...]
    own: scoring.Run


def compare(
    runs: Sequence[str | Path], out: str | Path, *, every: bool = False, console=None
) -> dict[str, list[dict]]:
    """Put finished runs side by side, and write `comparison.csv`, `.md`, `.tex` and `.html`,
    and `pairs.csv`.

    Args:
        runs: directories of two runs or more: of paper, ladder, table4, ablations (each of its
            studies counts as a run) or search.
        out: new, empty, or of an earlier comparison.
        every: compare each method of one run with each of another; without it those that are
            alike (`scoring.compare.paired`).
        console: a `rich.console.Console`; standard output by default.

    Returns:
        runs: each {name, path, kind, preset, data, commit, seeds, tests, date}.
        cells: each {run (its number, from 0)} and what `scoring.scores.cells` says of a cell.
        pairs, apart: see `scoring.compare.paired`.

    Raises:
        ConfigError: for fewer than two runs, the same run twice, and an `out` that holds other
            files or cannot be written.
        DataError: for a directory that holds no run, an unfinished one and one without answers,
            where fewer than two others are named; for runs of other classes.
    """
    from rich.console import Console

    out = Path(out)
    console = console or Console()
    found = _all_studies(_named_once(runs), console)
    _refuse_other_classes(found)
    refuse_other_files(out, OUTPUTS[0], "comparison")
    cells = [
        {"run": number} | cell
        for number, one in enumerate(found)
        for cell in scores.cells(one.own.answers)[0]
    ]
    pairs, apart = scoring.paired([one.own for one in found], every)
    about = [one.about | _tests(cells, number) for number, one in enumerate(found)]
    results = {"runs": about, "cells": cells, "pairs": pairs, "apart": apart}
    _write(out, results)
    report.show(console, results)
    return results


def _named_once(runs: Sequence[str | Path]) -> list[Path]:
    paths = [Path(run) for run in runs]
    if len(paths) < 2:
        raise ConfigError(f"runs: found {len(paths)}: expected two directories or more")
    seen: dict[Path, Path] = {}
    for path in paths:
        if (where := path.resolve()) in seen:
            raise ConfigError(
                f"run {path}: is named twice (as {seen[where]} too): expected different runs"
            )
        seen[where] = path
    return paths


def _all_studies(paths: list[Path], console) -> list[Finished]:
    """The studies of all runs. Of more than two, as runs/* names them, those that are no
    finished runs with answers are named and left out, while two are left."""
    found: list[Finished] = []
    notes: list[str] = []
    for path in paths:
        try:
            found += studies(path)
        except DataError as error:
            if len(paths) - len(notes) <= 2:
                raise
            notes.append(f"note   {error}: left out")
    for text in notes:
        terminal.say(console, text)
    return found


def studies(run: Path) -> list[Finished]:
    """The finished studies of a run's directory: one, or those that it holds.

    Raises:
        DataError: if it holds none, an unfinished one, or one without answers.
    """
    if not run.is_dir():
        raise DataError(f"run {run}: there is no such directory: expected that of a finished run")
    if (run / CONFIG).is_file():
        return [_finished(run, "")]
    for kind, (last, folders) in _HOLDS.items():
        if held := [run / name for name in folders if (run / name / CONFIG).is_file()]:
            if not (run / last).is_file():
                raise DataError(
                    f"run {run}: is unfinished ({last} is missing): give the {kind} command again, "
                    "which goes on"
                )
            return [_finished(path, kind) for path in held]
    raise DataError(f"run {run}: holds no {CONFIG}: expected the directory of a run of {_kinds()}")


def _kinds() -> str:
    *first, last = [*_RESULTS, *_HOLDS]
    return f"{', '.join(first)} or {last}"


def _finished(path: Path, kind: str) -> Finished:
    """A study with its answers. kind: of the run that holds it, or ""."""
    about = read_object(path / CONFIG)
    own = about.get("kind")
    if own not in _RESULTS:
        raise DataError(
            f"run {path}: is of {own}, which answers no test images: expected one of {_kinds()}"
        )
    status = _text(path / STATUS).strip() or "missing"
    if status != "done":
        raise DataError(
            f"run {path}: is unfinished (STATUS: {status}): go on with it first: "
            f"{about.get('command') or 'give its command again'}"
        )
    for name in (PREDICTIONS, IMAGES, _RESULTS[own]):
        if not (path / name).is_file():
            raise DataError(f"run {path}: has no {name}: expected a finished run of {_kinds()}")
    results = read_object(path / _RESULTS[own])
    rows = files.read_csv(path / IMAGES)
    try:
        images = [(row["id"], row["class"], row["sha256"]) for row in rows]
        answered = scoring.Run(
            scores.read(path / PREDICTIONS, groups := scores.read_groups(path / IMAGES)),
            scoring.pictures(images),
            groups,
            frozenset(name for name, *_ in images if name.startswith(PREFIX)),
            _test_over_train(about, results),
        )
        names = _class_names(path / PREDICTIONS)
        said = _about(path, kind or own, about, results, images)
    except (KeyError, TypeError) as error:
        raise DataError(f"run {path}: is not what a run writes: {error!r}") from error
    if not answered.answers:
        raise DataError(f"{path / PREDICTIONS}: holds no answers: expected those of test images")
    return Finished(path, said, names, answered)


def read_object(path: Path) -> dict:
    """The JSON object of a file; a DataError if it holds none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise DataError(f"{path}: holds a {type(found).__name__}: expected an object")
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _class_names(predictions: Path) -> tuple[str, ...]:
    with predictions.open(newline="", encoding="utf-8") as file:
        columns = next(csv.reader(file), [])
    return tuple(name.removeprefix("p_") for name in columns if name.startswith("p_"))


def _test_over_train(about: dict, results: dict) -> float:
    """Of one fold; `results.json` does not say it of a run of the paper, whose split is one."""
    share = about["config"]["data"]["test_fraction"]
    return results.get("test_over_train", share / (1.0 - share))


def _about(path: Path, kind: str, about: dict, results: dict, images: list) -> dict:
    own = [name for one, name, _ in images if not one.startswith(PREFIX)]
    counts = ", ".join(f"{own.count(name)} {name}" for name in dict.fromkeys(own))
    ended = datetime.datetime.fromtimestamp((path / STATUS).stat().st_mtime)
    return {
        "name": path.parent.name + "/" + path.name if kind in _HOLDS else path.name,
        "path": str(path),
        "kind": kind,
        "preset": _preset(about),
        "data": f"{results['data']['source']}: {counts}",
        "commit": about.get("commit") or about.get("jaxbrain") or "",
        # Older runs do not say when they began, but when they ended.
        "date": about.get("started") or ended.isoformat(" ", "minutes"),
    }


def _preset(about: dict) -> str:
    """The preset that the command line named, or that it took by itself; "" of a run that was
    started in Python."""
    words = about.get("command", "").split()
    try:
        words = shlex.split(about.get("command", ""))
    except ValueError:
        pass
    given = [one.partition("=") for one in words]
    for place, (flag, equals, value) in enumerate(given):
        if flag == "--preset":
            return value if equals else "".join(words[place + 1 : place + 2])
    if not words:
        return ""
    return "cpu" if any(flag == "--data" for flag, *_ in given) else "tiny"


def _tests(cells: list[dict], number: int) -> dict:
    """Seeds and test sets of a run: the most that one of its cells has."""
    own = [cell for cell in cells if cell["run"] == number]
    return {
        "seeds": max(cell["num_seeds"] for cell in own),
        "tests": max(cell["num_tests"] for cell in own),
    }


def _refuse_other_classes(found: list[Finished]) -> None:
    first = found[0]
    for one in found[1:]:
        if set(one.class_names) != set(first.class_names):
            shown = "; ".join(f"{x.path}: {', '.join(x.class_names)}" for x in (first, one))
            raise DataError(f"runs of other classes ({shown}): expected the same in all runs")


def refuse_other_files(out: Path, own: str, what: str) -> None:
    """Raise a ConfigError for a folder that holds files, and not `own` among them."""
    if out.exists() and not out.is_dir():
        raise ConfigError(f"out {out}: is a file: expected a folder")
    if out.is_dir() and any(out.iterdir()) and not (out / own).is_file():
        raise ConfigError(f"out {out}: holds files that are no {what}: name a new folder")


def _write(out: Path, results: dict) -> None:
    page = report.page(results)
    texts = (
        pages.markdown(page),
        "\n".join(map(latex, pages.tables(page))),
        html(page, out),
    )
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in zip(OUTPUTS[2:], texts, strict=True):
            files.write_text(out / name, text)
        files.write_csv(out / OUTPUTS[1], *report.pairs_csv(results))
        # Last: a folder that holds it is a whole comparison.
        files.write_csv(out / OUTPUTS[0], *report.cells_csv(results))
    except OSError as error:
        raise ConfigError(f"out {out}: cannot be written: {error.strerror}") from error
