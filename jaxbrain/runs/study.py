"""A study in a work directory: begun or gone on with, watched, saved; every run's way to it."""

import contextlib
import functools
import itertools
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from jaxbrain.config import Config
from jaxbrain.data import duplicates, patients
from jaxbrain.data.external import External, Row
from jaxbrain.data.records import Records, joined
from jaxbrain.errors import ConfigError, DataError, DivergedError
from jaxbrain.runs import files, loop, own_methods
from jaxbrain.runs.board import Board
from jaxbrain.runs.figures import Curves
from jaxbrain.runs.log import Log
from jaxbrain.runs.parts import Parts, file_of
from jaxbrain.runs.samples import KID, Samples
from jaxbrain.runs.workdir import SHARDS, Workdir, beside, opened
from jaxbrain.scoring import scores
from jaxbrain.study.cells import Cell, Fit
from jaxbrain.study.names import parted
from jaxbrain.study.protocols import EXTERNAL
from jaxbrain.study.study import Prediction, Study
from jaxbrain.study.training import Lane
from jaxbrain.types import Dataset

# Every image of another source: its class, what it copies, whether it was tested.
EXTERNAL_FILE = "external.csv"
# A run's splits, selections and trainings all come from this key; seed s folds s into it.
KEY = 0


class Session(NamedTuple):
    """A study that is open in its directory. audit: of the images' copies; external: another
    source's images, which P4 tests; parts: what is kept; skipped: cells without an answer, and
    why; copied: see `Study.predictions`; figures: the formats of figures; curves: how trainings
    go, drawn as they do."""

    study: Study
    records: Records
    audit: duplicates.Audit
    external: External | None
    directory: Workdir
    log: Log
    parts: Parts
    skipped: dict[str, str]
    copied: dict[str, np.ndarray]
    save_every: float
    on_divergence: str
    by_seed: bool
    shard: tuple[int, int]
    figures: tuple[str, ...]
    curves: Curves


def planned(
    cfg: Config, data: Dataset, records: Records, external: External | None = None, **how
) -> tuple[Study, duplicates.Audit]:
    """The study of some images, near-duplicates in one group, and what is known of copies.

    external: another source's images, for P4; how: see `study.Study`.

    Raises:
        DataError: if the images cannot be split.
    """
    data.check(num_classes=len(records.class_names))
    small = records.small, data.label, records.digest, cfg.data.duplicate_threshold
    audit = duplicates.audit(*small, records.patient, records.small_head)
    key = jax.random.key(KEY)
    data = data._replace(group=audit.group)
    if external is not None:
        data = _beside(data, external)
        records = joined(records, external.records)
        how = how | {"num_external": len(external.data.label)}
    try:
        found = Study(cfg, data, key, records=records, **how)
    except DataError as error:
        why = [text for text in records.warnings if text.startswith(patients.COVERS)]
        raise DataError("; ".join([str(error), *why])) from error
    return found, audit


def _beside(data: Dataset, external: External) -> Dataset:
    """The images of a data set, then another source's, whose groups are others."""
    first = int(np.asarray(data.group).max()) + 1
    other = external.data._replace(group=external.data.group + np.int32(first))
    return Dataset(*(np.concatenate([one, two]) for one, two in zip(data, other, strict=True)))


@contextlib.contextmanager
def session(
    study: Study,
    audit: duplicates.Audit,
    data: Dataset,
    records: Records,
    workdir: str | Path,
    *,
    kind: str,
    settings: dict,
    console,
    external: External | None = None,
    command: str = "",
    fresh: bool = False,
    save_every: float = 60.0,
    on_divergence: str = "stop",
    by_seed: bool = False,
    shard: str = "",
    figures: tuple[str, ...] = ("png",),
    tensorboard: bool = False,
) -> Iterator[Session]:
    """Open the directory of a study.

    Args:
        study, audit: from `planned`.
        workdir: new, empty, or of the same run.
        kind: of the run ("paper", "ladder"); settings: JSON values that must be the same to
            go on.
        console: a `rich.console.Console`.
        external: as `planned` was given it.
        command: the command line, for `config.json`.
        fresh: keep a run that is there under another name, and begin anew.
        save_every: seconds between two saves of a training.
        on_divergence: "stop" ends the run when its other lanes are saved, "skip" goes on.
        by_seed: one training of a kind a seed: checkpoints are kept, by seed.
        shard: "I/N": the I-th of N shares of the cells alone, in a directory of its own in
            `workdir`; without it the parts of all shares there count as this run's.
        figures: formats beside PNG that figures are written in: pdf, svg.
        tensorboard: write TensorBoard's files too (`runs.board`).

    Raises:
        ConfigError: if the directory is of another run (naming what differs) or in use.
    """
    if on_divergence not in ("stop", "skip"):
        raise ConfigError(f"on_divergence is {on_divergence!r}: expected stop or skip")
    if not save_every >= 0:
        raise ConfigError(f"save_every is {save_every!r}: expected seconds, 0 or more")
    share = parsed_shard(shard)
    if shard and fresh:
        raise ConfigError("fresh: expected without shard: remove the directory of the shares")
    if own := own_methods.digests(study):
        settings = settings | {"methods": own}
    if drawn := own_methods.drawn(study):
        settings = settings | {"synthetic": drawn}
    names, group = records.class_names, audit.group
    every = records
    if external is not None:
        data = _beside(data._replace(group=group), external)
        every, group = joined(records, external.records), data.group
    rows = zip(every.path, np.asarray(data.label), group, every.digest, strict=True)
    images = [[path, names[k], int(group), digest] for path, k, group, digest in rows]

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    drawn = records.layout == "arrays" or not os.path.exists(records.root)
    source = records.root if drawn else os.path.abspath(records.root)
    how = {"command": command, "source": source, "classes": names, "fresh": fresh, "say": say}
    path = Path(workdir).absolute()
    place = path / SHARDS / shard.replace("/", "of") if shard else path
    others = beside(path, place, kind, settings, images, say)
    with (
        opened(place, kind, settings, images, **how) as directory,
        Log(directory.path, console) as log,
    ):
        if tensorboard:
            log.show_on(Board(directory.path, _board_folder if by_seed else _lane_folder))
        num_cells = len({cell.name for cell in study.cells})
        parts = Parts(directory.path, log, directory.stop, num_cells, others)
        curves = Curves(log, figures, lambda event: not for_external(event["lane"]))
        watched = save_every, on_divergence, by_seed, share, tuple(figures), curves
        if external is not None:
            rows = [list(row) for row in external.rows]
            files.write_csv(directory.path / EXTERNAL_FILE, list(Row._fields), rows)
        yield Session(study, records, audit, external, directory, log, parts, {}, {}, *watched)


def parsed_shard(text: str) -> tuple[int, int]:
    """ "2/4" -> (1, 4); "" is all of it, (0, 1).

    Raises:
        ConfigError: for anything else.
    """
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text or "1/1")
    number, of = map(int, found.groups()) if found else (0, 0)
    if not 1 <= number <= of:
        raise ConfigError(f"shard is {text!r}: expected I/N, the I-th of N, such as 1/4")
    return number - 1, of


def predictions(session: Session, held_out: np.ndarray | None = None) -> Iterator[Prediction]:
    """The study's answers as they are made or read.

    held_out: [N, S, S, 1] uint8, images that no generator sees: its best state is the one whose
        samples are nearest to them.

    Raises:
        StoppedError: after a signal, when the training in work is saved.
        DivergedError: for a training that diverged, when the others of its call are saved;
            with `on_divergence` "skip" only where no answer is left.
    """
    log, path, planned = session.log, session.directory.path, session.study
    names, by_seed = session.records.class_names, session.by_seed

    def folder(lane: Lane, kind: str) -> str:
        if not by_seed:
            return file_of(lane.name)
        part = "_external" if for_external(lane.name) else ""
        return f"seed{lane.seed}{part}/{kind}".rstrip("/")

    def title(lane: Lane, kind: str) -> str:
        if not by_seed:
            return lane.name
        part = f" ({EXTERNAL})" if for_external(lane.name) else ""
        return (f"{kind} of seed {lane.seed}" if kind else f"seed {lane.seed}") + part

    sheet_key = jax.random.fold_in(planned.shared.key, np.uint32(2**31 - 1))
    samples = Samples(log, names, sheet_key, folder, title, held_out)
    watch = loop.Watch(
        log,
        session.directory.stop,
        path / "checkpoints",
        {"config": files.settings(planned.shared.cfg)},
        planned.shared.cfg.intervals,
        session.save_every,
        folder,
        title,
        samples.show,
        samples.keep,
        kept=by_seed,
        **({"drawn": session.curves.step} if by_seed else {}),
        **({} if held_out is None else {"best": KID, "chooses": True}),
    )

    def skip(name: str, problem: str) -> None:
        if session.on_divergence == "stop":
            raise DivergedError(problem)
        session.skipped[name] = problem

    _write_splits(path / "splits.jsonl", planned.fits, planned.cells, len(names))
    # Of a share it is not known which.
    log.planned = planned.trainings() if session.shard == (0, 1) else log.planned
    if session.directory.resumed:
        _say_resumed(session)

    answered = False
    train = functools.partial(loop.run, watch)
    # One fit a seed that sees all images: there is nothing that it was not given.
    copied = None if by_seed else session.copied
    for answer in planned.predictions(train, session.parts, skip, session.shard, copied):
        answered = True
        yield answer
    # A share may hold no cell.
    if session.skipped and not answered:
        raise DivergedError("; ".join(session.skipped.values()))


def for_external(lane: str) -> bool:
    """Whether a training is for P4, by its name: seeds have one of each kind for it too."""
    first, scope, *_ = lane.split("/")
    return EXTERNAL == first or scope == "whole"


def _lane_folder(event: dict) -> str:
    return file_of(event["lane"])


def _board_folder(event: dict) -> str:
    part = "_external" if for_external(event["lane"]) else ""
    return f"seed{event['seed']}{part}/{event['training']}"


def _say_resumed(session: Session) -> None:
    """How far the run came before; a training that was begun says so itself."""
    log, done, count = session.log, session.parts.found(), session.parts.num_cells
    checkpoints = session.directory.path / "checkpoints"
    if done >= count:
        log.line(f"already complete: {done} cells; the report is written again")
    elif session.by_seed or any(checkpoints.glob("*")):
        log.line(f"goes on: {done} of {count} cells are done")
        log.goes_on = True
    else:
        log.line(f"resumed at step {done} of {count} (cells)")


def _write_splits(path: Path, fits: list[Fit], cells: list[Cell], num_classes: int) -> None:
    """One JSON object a fit and a split: indices into `images.csv`'s rows, then (from its
    length on) into what the fit drew, or of that into what the filter chose."""
    with files.whole(path) as file:
        for fit in fits:
            drawn = np.bincount(fit.drawn, minlength=num_classes)
            drawn = (drawn * (1 + fit.spare)).tolist()
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


def synthetic_ids(fit: Fit, class_names, source: str = "synthetic") -> list[str]:
    """Ids of what a fit draws: synthetic/<class>/<number>, numbered within the class."""
    numbers = [itertools.count() for _ in class_names]
    return [f"{source}/{class_names[k]}/{next(numbers[k]):04d}" for k in fit.drawn.tolist()]


def pool_ids(session: Session) -> Callable[..., list[str]]:
    """(name of a fit, "" for none; what its images' ids begin with) -> ids of the real images,
    then of what it draws."""
    fits, records = {fit.name: fit for fit in session.study.fits}, session.records
    others = () if session.external is None else session.external.records.path

    def ids(fit: str, source: str = "synthetic") -> list[str]:
        return [
            *records.path,
            *others,
            *(synthetic_ids(fits[fit], records.class_names, source) if fit else ()),
        ]

    return functools.cache(ids)


def _prediction_rows(session: Session, answers: Iterable[Prediction]) -> Iterator[list]:
    """As `scores.header` names them: one a test image."""
    ids, num_classes = pool_ids(session), len(session.records.class_names)
    for cell, twin, label, p, _ in answers:
        head = [cell.protocol, cell.generator, cell.classifier, cell.labels, cell.seed, cell.fold]
        # The n-th that a filter leaves is not the n-th that was drawn.
        filters = parted(cell.generator)[1].filtered
        own = ids(cell.fit, "filtered") if filters else ids(cell.fit)
        for place, index in enumerate(cell.test.tolist()):
            one = ["real", int(twin[place])] if twin[place] >= 0 else ["synthetic", ""]
            values = [repr(float(value)) for value in p[place]]
            empty = [""] * (num_classes - len(values))
            both = values[1:2] if num_classes == 2 else []
            yield [*head, own[index], *one, int(label[place]), *both, *values, *empty]


def write_predictions(
    session: Session, answers: Iterable[Prediction], name: str = "predictions.csv"
) -> None:
    """`predictions.csv`, written as cells finish, so that memory does not grow with them."""
    path, header = session.directory.path, scores.header(session.records.class_names)
    files.write_csv(path / name, header, _prediction_rows(session, answers))
