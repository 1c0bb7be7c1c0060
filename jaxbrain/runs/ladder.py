"""A study in a work directory: saved part by part, resumed, scored, drawn, verified.

Numbers come from `study` (predictions) and `scores` (everything computed from them).
"""

import contextlib
import csv
import dataclasses
import itertools
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from jaxbrain.baselines import weights
from jaxbrain.baselines.methods import method
from jaxbrain.config import Config
from jaxbrain.data import duplicates, patients
from jaxbrain.data.layout import shown
from jaxbrain.data.records import Records, describe
from jaxbrain.errors import DataError
from jaxbrain.reports import ladder as report
from jaxbrain.runs import record
from jaxbrain.runs.workdir import Stop, differences, opened
from jaxbrain.scoring import scores
from jaxbrain.study.protocols import METHODS, PREPARED, StudyConfig, plan
from jaxbrain.study.study import Prediction, study
from jaxbrain.training import devices
from jaxbrain.types import Dataset


def ladder(
    cfg: Config,
    data: Dataset,
    records: Records,
    workdir: str | Path,
    *,
    options: StudyConfig,
    command: str = "",
    console=None,
    num_devices: int = 0,
    fresh: bool = False,
) -> dict:
    """Run or go on with a study, and write its report.

    The work directory holds `config.json`, `env.json`, `images.csv` (class, group and
    digest of every real image), `splits.jsonl` (who is fitted, trained and tested),
    `images/` (what the GANs drew) and `parts/` (predictions, as they are made),
    `predictions.csv`, and from that alone `ladder.json`, `ladder.png`, `report.md`. Called
    again with the same arguments it goes on where it was stopped.

    Args:
        cfg: of the generators and networks.
        data, records: from `load_folder(dedup="group")`; two classes.
        workdir: new, empty, or of the same study.
        options: which cells.
        command: the command line, for `config.json`.
        console: a `rich.console.Console`; standard output by default.
        num_devices: with `options.mapping` "devices": how many; 0 takes all.
        fresh: keep a study that is there under another name, and begin anew.

    Returns:
        What `ladder.json` holds.

    Raises:
        ConfigError: if the directory is of another study (naming what differs) or in use.
        DataError, DivergedError: see `study`.
        StoppedError: after SIGTERM or Ctrl-C, when the part in work is saved.
    """
    from rich.console import Console

    console = console or Console()
    if not console.is_terminal:
        # A file or a pipe has room; the default of 80 columns would break every cell.
        console.width = 170

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    data.check(num_classes=len(records.class_names))
    found = duplicates.audit(
        records.small,
        data.label,
        records.digest,
        cfg.data.duplicate_threshold,
        records.patient,
        records.small_head,
    )
    data = data._replace(group=found.group)
    names, label = records.class_names, np.asarray(data.label)
    try:
        planned = plan(cfg, options, label, found.group)
    except DataError as error:
        why = [text for text in records.warnings if text.startswith(patients.COVERS)]
        raise DataError("; ".join([str(error), *why])) from error
    for name in set(METHODS) & set(options.classifiers):
        # Refused before the directory is theirs: no extra, or a file that cannot be used.
        method(name, options.weights)
    settings = {"config": dataclasses.asdict(cfg), "study": dataclasses.asdict(options)}
    # By what the file holds, wherever it lies.
    settings["study"]["weights"] = weights.digest(options.weights) if options.weights else ""
    rows = zip(records.path, label, found.group, records.digest, strict=True)
    images = [[path, names[k], int(group), digest] for path, k, group, digest in rows]
    how = dict(command=command, fresh=fresh, say=say)
    with (
        opened(workdir, "ladder", settings, images, **how) as directory,
        record.Log(directory.path, console) as log,
    ):
        for text in [*describe(data, records), *_copies(found, records)]:
            log.line(text)
        log.line(f"run    {directory.path}")
        return _run(cfg, data, records, directory, log, options, found, planned, num_devices)


def _run(cfg, data, records, directory, log, options, found, planned, num_devices) -> dict:
    started = time.perf_counter()
    workdir, line, console = directory.path, log.line, log.console
    names, label = records.class_names, np.asarray(data.label)
    fits, cells = planned
    for name in ("parts", "images"):
        (workdir / name).mkdir(exist_ok=True)
    _write_splits(workdir / "splits.jsonl", fits, cells)
    keep = _Keep(workdir, line, len({cell.name for cell in cells}), directory.stop)
    if directory.resumed:
        keep.report()
    mapping = None
    if options.mapping == "devices":
        each = options.chunk or (2 if jax.default_backend() == "cpu" else 32)
        many = each * len(devices.devices(num_devices))
        options = dataclasses.replace(options, chunk=many)

        def mapping(function):
            spread = devices.spread(function, num_devices)
            return lambda shared, entries: spread(entries, shared=(shared,))

    answers = study(
        cfg,
        data,
        jax.random.key(0),
        options=options,
        records=records,
        mapping=mapping,
        keep=keep,
    )
    _write_predictions(workdir / "predictions.csv", answers, records)
    results = {
        "split": options.split,
        "seeds": options.seeds,
        "folds": options.folds if options.split == "kfold" else 1,
        "prepared": [name for name in options.classifiers if name in PREPARED],
        "test_over_train": _test_over_train(cfg, options),
        "data": {
            "source": "phantoms" if records.layout == "arrays" else "folder",
            "found": {name: int((label == k).sum()) for k, name in enumerate(names)},
            "patient_ids": list(records.ids),
        },
        "positive": records.positive_class(),
        "groups": found.counts(label, names),
        "audit": {
            "threshold": cfg.data.duplicate_threshold,
            "distinct": len(set(records.digest)),
            "identical_pairs": len(found.identical),
            "near_pairs": len(found.near),
            "across_classes": len(found.across),
            "flipped_pairs": len(found.flipped),
            "searches": [search._asdict() for search in found.searches],
        },
    }
    results |= _scored(workdir, results)
    record.write_json(workdir / "ladder.json", results)
    record.write_text(workdir / "report.md", report.page(results))
    report.picture(workdir / "ladder.png", results)
    report.show(console, results)
    environment = record.environment() | {
        "seconds": round(time.perf_counter() - started, 1),
        # Of all parts, also those of earlier calls.
        "seconds_of": {name: round(spent, 1) for name, spent in keep.seconds.items()},
    }
    record.write_json(workdir / "env.json", environment)
    line(f"wrote  {workdir}  in {environment['seconds']:.0f} s")
    line(f"verify python -m jaxbrain ladder --verify {workdir}")
    return results


def _scored(workdir: Path, results: dict) -> dict:
    return scores.scores(
        workdir / "predictions.csv",
        workdir / "images.csv",
        results["test_over_train"],
        tuple(results["prepared"]),
    )


def verify(workdir: str | Path) -> list[str]:
    """Recompute every number of a report from `predictions.csv` and `images.csv`, and the
    text of `report.md` from them: what differs, a line each (none: all as it should be).

    Raises:
        DataError: if a file of the run is missing or is not what a study wrote.
    """
    workdir = Path(workdir)
    for name in ("ladder.json", "report.md", "predictions.csv", "images.csv"):
        if not (workdir / name).is_file():
            raise DataError(f"{workdir / name}: missing: expected the directory of a ladder run")
    try:
        saved = json.loads((workdir / "ladder.json").read_text(encoding="utf-8"))
        again = saved | _scored(workdir, saved) | _images(workdir, saved)
        page = report.page(again)
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise DataError(f"{workdir / 'ladder.json'}: not what a ladder wrote: {error!r}") from error
    # Through JSON, so that both have its types.
    again = json.loads(json.dumps(again))
    found = [
        f"{where}: {old!r} is saved, {new!r} recomputed"
        for where, old, new in differences(saved, again, "ladder.json")
    ]
    written = (workdir / "report.md").read_text(encoding="utf-8").splitlines()
    recomputed = page.splitlines()
    for number, (one, two) in enumerate(itertools.zip_longest(written, recomputed), start=1):
        if one != two:
            found.append(f"report.md, line {number}: differs from what the numbers say")
            break
    return found


def _images(workdir: Path, saved: dict) -> dict:
    """What `ladder.json` says of the images that `images.csv` can tell."""
    with (workdir / "images.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = list(saved["data"]["found"])
    groups = {"total": len({row["group"] for row in rows})}
    for name in names:
        groups[name] = len({row["group"] for row in rows if row["class"] == name})
    found = {name: sum(row["class"] == name for row in rows) for name in names}
    distinct = len({row["sha256"] for row in rows})
    return {
        "groups": groups,
        "data": saved["data"] | {"found": found},
        "audit": saved["audit"] | {"distinct": distinct},
    }


def _copies(found: duplicates.Audit, records: Records) -> list[str]:
    lines = [
        f"copies {len(found.identical)} identical pairs, {len(found.near)} near pairs, "
        f"{len(found.flipped)} when one is mirrored (reported, not grouped)"
    ]
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


class _Keep:
    """`study`'s memory on disk: one compressed file a part, whole or not there."""

    def __init__(self, workdir: Path, line: Callable[[str], None], num_cells: int, stop: Stop):
        self.workdir, self.line, self.num_cells, self.stop = workdir, line, num_cells, stop
        self.done = 0
        self.seconds: dict[str, float] = {}
        self.inner = 0.0

    def report(self) -> None:
        """Say how far the study came before."""
        done = 0
        for path in (self.workdir / "parts").glob("*.npz"):
            with contextlib.suppress(ValueError):
                done += len(self._load(path)[0])
        if done < self.num_cells or not (self.workdir / "ladder.json").is_file():
            self.line(f"resumed at step {done} of {self.num_cells} (cells)")
        else:
            self.line(f"already complete: {done} cells; the report is written again")

    def __call__(self, name: str, members: list[str], make: Callable) -> np.ndarray:
        drawn = name.startswith("images_")
        path = self.workdir / ("images" if drawn else "parts") / f"{name}.npz"
        self.done += 0 if drawn else len(members)
        if path.is_file():
            try:
                found, values, spent = self._load(path)
                if found != members:
                    raise ValueError(f"holds {found[:2]}..., expected {members[:2]}...")
                self._spent(members, spent)
                return values
            except ValueError as error:
                aside = path.with_suffix(".damaged")
                self.line(f"damaged {path}: {error}: kept as {aside.name}, and computed again")
                os.replace(path, aside)
        if drawn:
            self.line(f"fitting {', '.join(members)}")
        start, outer, self.inner = time.perf_counter(), self.inner, 0.0
        values = make()
        took = time.perf_counter() - start
        # A part may call for the images of its fits, which are a part of their own.
        spent, self.inner = took - self.inner, outer + took
        self._spent(members, spent)
        temporary = path.with_suffix(".tmp")
        with temporary.open("wb") as file:
            np.savez_compressed(file, members=np.asarray(members), values=values, seconds=spent)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        count = f"{len(members)} fits" if drawn else f"cells {self.done}/{self.num_cells}"
        self.line(f"{count}  {name}  {spent:.1f} s")
        self.stop.check(f"after {self.done} of {self.num_cells} cells, saved")
        return values

    def _spent(self, members: list[str], seconds: float) -> None:
        """A part is of one classifier (protocol/generator/classifier/...), or of fits of one
        generator (generator/scope/...)."""
        parts = members[0].split("/")
        name = parts[2] if len(parts) == 6 else parts[0]
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def _load(self, path: Path) -> tuple[list[str], np.ndarray, float]:
        """Members, values and seconds of a part; ValueError if it is damaged (zip keeps
        checksums)."""
        try:
            # Opened here: NumPy leaves a file that it refuses open.
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                return file["members"].tolist(), file["values"], float(file["seconds"])
        # A damaged zip raises almost anything.
        except Exception as error:
            raise ValueError(f"cannot be read: {error}") from error


def _write_splits(path: Path, fits, cells) -> None:
    """One JSON object a fit and a split: indices into `images.csv`'s rows, then (from its
    length on) into what the fit drew."""
    with path.with_suffix(".tmp").open("w", encoding="utf-8") as file:
        for fit in fits:
            drawn = np.bincount(fit.drawn, minlength=2).tolist()
            entry = {"fit": fit.name, "sees": fit.index.tolist(), "draws": drawn}
            file.write(json.dumps(entry) + "\n")
        written = set()
        for cell in cells:
            names = {
                f: getattr(cell, f) for f in ("protocol", "generator", "labels", "seed", "fold")
            }
            # Every classifier of a cell has the same one.
            if (once := tuple(names.values())) not in written:
                written.add(once)
                split = {"fit": cell.fit, "train": cell.train.tolist(), "test": cell.test.tolist()}
                file.write(json.dumps(names | split) + "\n")
    os.replace(path.with_suffix(".tmp"), path)


def _write_predictions(path: Path, answers, records: Records) -> None:
    """A row a test image, written as cells finish, so that memory does not grow with them."""
    rows = (row for answer in answers for row in _rows(answer, records, len(records.path)))
    record.write_csv(path, scores.COLUMNS, rows)


def _rows(answer: Prediction, records: Records, count: int):
    cell = answer.cell
    head = [cell.protocol, cell.generator, cell.classifier, cell.labels, cell.seed, cell.fold]
    for index, twin, label, p in zip(
        cell.test.tolist(),
        answer.twin.tolist(),
        answer.label.tolist(),
        answer.p.tolist(),
        strict=True,
    ):
        if index < count:
            yield [*head, records.path[index], "real", twin, label, repr(p)]
        else:
            yield [*head, f"synthetic/{index - count:04d}", "synthetic", "", label, repr(p)]
