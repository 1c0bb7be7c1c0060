"""The paper from images to tables: a study of one protocol, one generator, one classifier.

P0 for each seed, with the paper's report on top: Tables 3 and 4, sheets, curves, Figure 6.
"""

import contextlib
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np

from jaxbrain.config import Config
from jaxbrain.data import external as external_images
from jaxbrain.data import phantom
from jaxbrain.data.external import External
from jaxbrain.data.preprocess import resized
from jaxbrain.data.records import Records, describe
from jaxbrain.errors import CheckpointError, ConfigError, DivergedError
from jaxbrain.nn.layers import compute_dtype
from jaxbrain.reports import drawing, paper_figures, sheets
from jaxbrain.reports import paper as report
from jaxbrain.runs import checkpoint, environment, figures, files, pages, study
from jaxbrain.runs.samples import SHEET_COLUMNS, judgement
from jaxbrain.runs.settings import with_classes
from jaxbrain.runs.study import Session
from jaxbrain.runs.warned import foreseen, keep
from jaxbrain.scoring import alarms
from jaxbrain.scoring import paper as scoring
from jaxbrain.study.cells import Cell
from jaxbrain.study.protocols import EXTERNAL, StudyConfig
from jaxbrain.training import classifier, devices, gan, loops, streamed
from jaxbrain.training.summary import tabulated
from jaxbrain.types import Dataset

GENERATOR = "cgan"
_FRESH = 200


def classifier_name(cfg: Config) -> str:
    """The network of a configuration by its name in a study."""
    return "cnn" if cfg.classifier.mode == "cnn" else f"cnn_lstm_{cfg.hybrid.sequence}"


def paper_study(cfg: Config, num_seeds: int) -> StudyConfig:
    """The cells of the paper: P0 alone, once a seed. (With another source's images a study
    adds P4.)"""
    return StudyConfig(
        split="holdout",
        seeds=num_seeds,
        protocols=("P0",),
        generators=(GENERATOR,),
        classifiers=(classifier_name(cfg),),
        shuffled=False,
        probe=False,
    )


def paper(
    cfg: Config,
    data: Dataset,
    records: Records,
    workdir: str | Path,
    *,
    num_seeds: int = 1,
    phantoms: bool = False,
    external: External | None = None,
    how: str = "none",
    num_devices: int = 0,
    console=None,
    **watched,
) -> dict:
    """The paper's method under its own protocol (P0), once per seed 0..num_seeds-1; prints
    Tables 3 and 4 and writes the run directory (docs/runs.md lists its files).

    Called again with the same arguments it goes on where it was stopped, to the same bits;
    `num_seeds` may grow.

    Args:
        cfg: the number of classes is replaced by that of `records`.
        data, records: from `load_folder`, images at the larger size in use.
        workdir: new, empty, or of the same run.
        num_seeds: at least 1; they are lanes of one training where the device has room.
        phantoms: the data are phantoms, so fresh ones can be drawn to test on.
        external: another source's images (`data.external.prepared`): a GAN and a classifier
            more a seed, fitted on all of the data, are tested on them (P4).
        how: "none" trains on one device, "pmap" or "sharded" on `num_devices` (0: all). In
            a run of several processes (`devices.start`) the first one writes.
        console: a `rich.console.Console`; standard output by default.
        watched: command, fresh, save_every, on_divergence: see `runs.study.session`.

    Returns:
        What `results.json` holds.

    Raises:
        ConfigError: for settings that do not fit, or a directory of another run (naming
            the fields and images that differ) or in use.
        CheckpointError: if all checkpoints of a training are damaged, or none can be written.
        DataError, DivergedError: see their messages.
        StoppedError: after SIGTERM or Ctrl-C, when all is saved.
    """
    from rich.console import Console

    started = time.perf_counter()
    if num_seeds < 1:
        raise ConfigError(f"seeds is {num_seeds}: expected at least 1")
    cfg = with_classes(cfg, records.class_names)
    lanes = {"how": "" if how == "none" else how, "num_devices": num_devices}
    planned, audit = _planned(cfg, data, records, num_seeds, external=external, **lanes)
    console = console or Console()
    with contextlib.ExitStack() as stack:
        if not devices.first_process():
            # Computes the same and leaves nothing.
            workdir = stack.enter_context(tempfile.TemporaryDirectory())
            console = Console(quiet=True)
        watched |= {"settings": {"config": files.settings(cfg)}, "console": console}
        watched |= {"kind": "paper", "by_seed": True, "external": external}
        session = study.session(planned, audit, data, records, workdir, **watched)
        opened = stack.enter_context(session)
        _introduce(cfg, data, opened)
        foreseen(opened.log, data, records, cfg.data.n_per_class)
        results = _run(cfg, data, opened, phantoms)
        _close(results, opened, time.perf_counter() - started)
        return results


def _close(results: dict, opened: Session, seconds: float) -> None:
    log = opened.log
    report.show(log.console, results, opened.records.class_names)
    own = [f"seed {s['seed']}: {one}" for s in results["seeds"] for one in s["gan"]["warnings"]]
    keep(log, [*results.get("warnings", ()), *own])
    log.clock("total", seconds)
    about = environment.environment() | {"seconds": log.seconds}
    files.write_json(opened.directory.path / "env.json", about)
    log.line(f"wrote  {opened.directory.path}  in {log.seconds['total']:.0f} s")
    for text in figures.to_open(opened.directory.path, "confusion.png", "progress.png"):
        log.line(text)


def _planned(cfg: Config, data: Dataset, records: Records, num_seeds: int, **lanes):
    """The study of the paper, and the audit of its images. Batches that the devices do not
    divide, and images on the host beside several, are refused before anything is written."""
    planned, audit = study.planned(cfg, data, records, options=paper_study(cfg, num_seeds), **lanes)
    if how := lanes["how"]:
        shared = planned.shared
        count = len(devices.devices(shared.num_devices))
        (trained, _), (told, _) = map(shared.lengths, (planned.fits[0], planned.cells[0]))
        loops.gan_plan(cfg, trained, count)
        loops.classifier_steps(cfg, told, count)
        if shared.how == "host":
            raise ConfigError(
                f"data.placement is {cfg.data.placement!r} and keeps the images on the host: "
                f"expected device with parallel = {how}"
            )
    return planned, audit


def _introduce(cfg: Config, data: Dataset, opened: Session) -> None:
    shared = opened.study.shared
    many = shared.how in ("pmap", "sharded")
    count = len(devices.devices(shared.num_devices)) if many else 1
    key = jax.random.key(0)
    nets = jax.eval_shape(lambda: (gan.init(cfg, key), classifier.init(cfg, key, 1)))

    def size(net):
        return f"{sum(leaf.size for leaf in jax.tree.leaves(net.params)):,}"

    for line in [
        *describe(data, opened.records),
        *(external_images.describe(opened.external) if opened.external else []),
        *environment.device_lines(compute_dtype(cfg), count),
        f"model  generator {size(nets[0].generator)}  discriminator "
        f"{size(nets[0].discriminator)}  CNN {size(nets[1].cnn)}  hybrid "
        f"{size(nets[1].hybrid)} parameters",
        f"run    {opened.directory.path}",
    ]:
        opened.log.line(line)
    files.write_text(opened.directory.path / "model.txt", tabulated(cfg))


def _run(cfg: Config, data: Dataset, opened: Session, phantoms: bool) -> dict:
    """The results of all seeds, and their figures; what is done of a run that stops too."""
    results = None
    try:
        for so_far in _each(cfg, data, opened, phantoms):
            results = so_far
            opened.curves.step(True)
    finally:
        if results:
            _draw(opened, results)
    if results is None:
        raise DivergedError("; ".join(opened.skipped.values()))
    return results


def _each(cfg: Config, data: Dataset, opened: Session, phantoms: bool) -> Iterator[dict]:
    """Every seed's answers, and the results after each, so that a later failure loses none."""
    log, path, results = opened.log, opened.directory.path, None
    done, num_seeds = len(list((path / "parts").glob("P0*.npz"))), opened.study.options.seeds
    if jax.process_count() == 1 and done > num_seeds:
        raise ConfigError(
            f"seeds is {num_seeds}: expected at least {done}, which this run has done"
        )
    answers, extra, earlier = [], {}, _earlier_fresh(path / "results.json")
    for answer in study.predictions(opened):
        cell = answer.cell
        answers.append(answer)
        if cell.protocol == EXTERNAL:
            # Without an answer under P0 there is no report.
            if results:
                results = _save(data, opened, answers, extra, phantoms)
                yield results
            continue
        # With its images come its GAN's reports, where the log has lost them.
        _pool_sheet(path / "samples" / f"seed{cell.seed}_pool.png", opened, cell)
        extra[cell.seed] = {"gan": judgement(log.of(cell.fit))}
        if phantoms:
            fresh = _fresh_accuracy(cfg, opened, cell, earlier.get(cell.seed))
            extra[cell.seed]["accuracy_fresh"] = fresh
        results = _save(data, opened, answers, extra, phantoms)
        seed = next(one for one in results["seeds"] if one["seed"] == cell.seed)
        log.line(
            f"seed {cell.seed}  test accuracy {drawing.percent(seed['accuracy'])} %  real "
            f"{drawing.percent(seed['accuracy_real'])}  synthetic "
            f"{drawing.percent(seed['accuracy_synthetic'])}"
        )
        yield results


def _earlier_fresh(path: Path) -> dict[int, float]:
    """Accuracy on fresh phantoms by seed, as an earlier call of the run wrote it."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        seeds = json.loads(path.read_text(encoding="utf-8"))["seeds"]
        return {one["seed"]: one["accuracy_fresh"] for one in seeds}
    return {}


def _fresh_accuracy(cfg: Config, opened: Session, cell: Cell, earlier: float | None):
    """Accuracy on phantoms that neither the GAN nor the classifier has seen; what an earlier
    call found where the checkpoint is gone."""
    size = max(cfg.data.image_size, cfg.gan.image_size)
    key = jax.random.fold_in(jax.random.fold_in(opened.study.shared.key, cell.seed), _FRESH)
    fresh = phantom.dataset(key, _FRESH // 2, size, cfg.data.difficulty)
    fresh = resized(fresh, cfg.data.image_size)
    like = jax.eval_shape(lambda: classifier.init(cfg, key, 1))
    own = opened.directory.path / "checkpoints" / f"seed{cell.seed}" / "classifier"
    state = None
    # Processes beside the first have no files.
    if devices.first_process():
        with contextlib.suppress(CheckpointError):
            state = checkpoint.restore(own, like)
    if not devices.any_process(state is not None):
        what = "is not known" if earlier is None else "as before"
        opened.log.line(f"note   no checkpoint in {own}: accuracy on fresh phantoms {what}")
        return earlier
    guess = streamed.predict(cfg, devices.from_first(state, like), fresh).argmax(axis=1)
    return float((guess == np.asarray(fresh.label)).mean())


def _save(data: Dataset, opened: Session, answers, extra: dict, phantoms: bool) -> dict:
    """Write the result files of the seeds done so far; returns what
    `results.json` holds."""
    path, names = opened.directory.path, opened.records.class_names
    study.write_predictions(opened, answers)
    pooled = [answer.cell for answer in answers if answer.cell.protocol == "P0"]
    _write_split(path / "split.csv", opened, pooled)
    first = pooled[0]
    pool, count = np.concatenate([first.train, first.test]), len(data.label)

    def by_class(label):
        found = np.bincount(label, minlength=len(names))
        return {name: int(value) for name, value in zip(names, found, strict=True)}

    results = {
        "protocol": "P0",
        "data": {
            "source": "phantoms" if phantoms else "folder",
            "found": by_class(np.asarray(data.label)),
            "used": by_class(first.label[pool[pool < count]]),
            "synthetic": by_class(first.label[pool[pool >= count]]),
        },
        "positive": names[1] if len(names) == 2 else None,
    }
    results |= scoring.results(path / "predictions.csv", path / "images.csv", extra)
    if "external" in results:
        results["external"] |= opened.external.summary()
    if warned := alarms.of_paper(results):
        results["warnings"] = warned
    if opened.skipped:
        results["skipped"] = [{"name": n, "why": why} for n, why in opened.skipped.items()]
    files.write_json(path / "results.json", results)
    opened.curves.tests.update({seed["seed"]: seed["accuracy"] for seed in results["seeds"]})
    return results


def _draw(opened: Session, results: dict) -> None:
    """The figures, and the report that holds them."""
    path, seeds, names = opened.directory.path, results["seeds"], opened.records.class_names
    opened.curves.draw()
    phantoms = results["data"]["source"] == "phantoms"
    drawn = {
        "confusion": paper_figures.confusion_figure([seed["matrix"] for seed in seeds], names),
        "comparison": paper_figures.comparison_figure(results["summary"], seeds, phantoms),
    }
    if len(names) == 2:
        curves = scoring.curves(path / "predictions.csv", path / "images.csv")
        drawn["roc"] = paper_figures.roc_figure(curves, names[1])
        bins = scoring.reliability(path / "predictions.csv", path / "images.csv")
        drawn["reliability"] = paper_figures.reliability_figure(bins)
    for name, figure in drawn.items():
        figures.save(figure, path / f"{name}.png", opened.figures)
    pages.write(path, report.page(results, names))


def _write_split(path: Path, opened: Session, cells: list[Cell]) -> None:
    """`split.csv`: every image of each seed's pool, and where it fell."""
    names, group, ids = opened.records.class_names, opened.study.group, study.pool_ids(opened)

    def rows():
        for cell in cells:
            own, tested = ids(cell.fit), set(cell.test.tolist())
            for index in sorted([*cell.train.tolist(), *cell.test.tolist()]):
                part, name = "test" if index in tested else "train", names[cell.label[index]]
                # A synthetic image belongs to no group of real ones.
                origin, of = "synthetic", int(group.max()) + 1 + index - len(group)
                if index < len(group):
                    origin, of = "real", int(group[index])
                yield [cell.seed, own[index], origin, name, part, of]

    files.write_csv(path, ["seed", "id", "origin", "class", "split", "group"], rows())


def _pool_sheet(path: Path, opened: Session, cell: Cell) -> None:
    """Real and synthetic images of each class as the classifier sees them."""
    drawn = opened.parts.image(cell.fit)
    if drawn is None:
        return
    real, names = opened.study.shared.views.images, opened.records.class_names
    pool = np.sort(np.concatenate([cell.train, cell.test]))
    rows = []
    for k, name in enumerate(names):
        own = pool[cell.label[pool] == k]
        for origin, images, index in (
            ("real", real, own[own < len(real)]),
            ("synthetic", drawn, own[own >= len(real)] - len(real)),
        ):
            rows.append((f"{name}\n{origin}", images[index[:SHEET_COLUMNS]]))
    sheets.sheet(path, rows)
