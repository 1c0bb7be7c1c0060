"""One run in a work directory: trains chunk by chunk, reports, saves, goes on.

The only loop with side effects. All numbers of a run come from the pure functions of
`pooled`, `loops` and `metrics`; cutting trainings into chunks changes no bit, and so does
going on from a checkpoint.
"""

import contextlib
import dataclasses
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxbrain.config import Config
from jaxbrain.data import phantom, preprocess, splits
from jaxbrain.data.records import Records, describe
from jaxbrain.errors import CheckpointError, ConfigError, DivergedError
from jaxbrain.reports import drawing
from jaxbrain.reports import paper as report
from jaxbrain.runs import loop, record
from jaxbrain.runs.fit import SHEET_COLUMNS, Run, fit_classifier, fit_gan, judgement
from jaxbrain.runs.workdir import opened
from jaxbrain.study import pooled
from jaxbrain.training import classifier, devices, gan, loops, streamed
from jaxbrain.types import Dataset

_FRESH = 200

_synthesise = jax.jit(pooled.synthesise, static_argnums=0)


class _Seed(NamedTuple):
    """What one seed leaves: its entry in `results.json`, rows of the CSV files, the numbers
    of real and synthetic images per class, and its trainings' events."""

    result: dict
    split: list
    predictions: list
    used: list[int]
    drawn: list[int]
    events: dict[str, list]


def _fresh_accuracy(cfg: Config, state, key) -> float:
    """Accuracy on phantoms that neither the GAN nor the classifier has seen."""
    size = max(cfg.data.image_size, cfg.gan.image_size)
    fresh = phantom.dataset(key, _FRESH // 2, size, cfg.data.difficulty)
    fresh = preprocess.resized(fresh, cfg.data.image_size)
    guess = streamed.predict(cfg, state, fresh).argmax(axis=1)
    return float((guess == np.asarray(fresh.label)).mean())


def _run_seed(run: Run, data: Dataset, records: Records, seed: int) -> _Seed:
    """The whole of P0 for one seed, and its pictures and checkpoints."""
    cfg, names, label, log = run.cfg, run.names, np.asarray(data.label), run.log
    samples = run.workdir.path / "samples"
    keys = pooled.keys(seed)
    index = pooled.select(cfg, data, seed)
    real = preprocess.resized(pooled.take(data, index), cfg.gan.image_size)
    gan_state = fit_gan(run, real, seed, keys)
    judged = judgement(run, real, seed)
    for text in judged["warnings"]:
        log.line(f"warning seed {seed}: {text}")
    new_label = splits.synthetic_labels(label[index])
    image = _synthesise(cfg, gan_state, jnp.asarray(new_label), keys.synthesis)
    pool = pooled.pool(cfg, data, index, new_label, image, seed)
    _pool_sheet(samples / f"seed{seed}_pool.png", pool, names)
    state = fit_classifier(run, pooled.take(pool.data, pool.train), seed, keys)
    probability = streamed.predict(cfg, state, pooled.take(pool.data, pool.test))
    if not np.isfinite(probability).all():
        raise DivergedError(
            f"classifier of seed {seed} predicts NaN after its last step: lower its learning rate"
        )
    is_real = pool.source >= 0
    test_label = pool.data.label[pool.test]
    result = record.seed_result(seed, test_label, is_real[pool.test], probability)
    result["gan"] = judged
    if run.phantoms:
        result["accuracy_fresh"] = _fresh_accuracy(cfg, state, keys.fresh)
    report.progress_figure(run.workdir.path / "progress.png", log.events)
    log.line(
        f"seed {seed}  test accuracy {drawing.percent(result['accuracy'])} %  real "
        f"{drawing.percent(result['accuracy_real'])}  synthetic "
        f"{drawing.percent(result['accuracy_synthetic'])}"
    )
    ids, origin = pooled.identity(pool, records)
    part = np.where(np.isin(np.arange(len(ids)), pool.test), "test", "train").tolist()
    group = pool.data.group.tolist()
    split = [
        [seed, ids[i], origin[i], names[pool.data.label[i]], part[i], group[i]]
        for i in range(len(ids))
    ]
    predictions = [
        [seed, ids[i], origin[i], int(pool.data.label[i]), *(repr(float(p)) for p in row)]
        for i, row in zip(pool.test.tolist(), probability, strict=True)
    ]
    num_classes = len(names)
    used = np.bincount(pool.data.label[is_real], minlength=num_classes).tolist()
    drawn = np.bincount(pool.data.label[~is_real], minlength=num_classes).tolist()
    events = {name: log.of(seed, name) for name in ("gan", "classifier")}
    return _Seed(result, split, predictions, used, drawn, events)


def paper(
    cfg: Config,
    data: Dataset,
    records: Records,
    workdir: str | Path,
    *,
    num_seeds: int = 1,
    command: str = "",
    phantoms: bool = False,
    console=None,
    how: str = "none",
    num_devices: int = 0,
    fresh: bool = False,
) -> dict:
    """The paper from images to tables (protocol P0), once per seed 0..num_seeds-1.

    Selects real images, trains the GAN on all of them, synthesises, pools, splits, trains
    the classifier, predicts the test set; prints Tables 3 and 4 and writes the run
    directory (README.md lists its files). Called again with the same arguments it goes on
    where it was stopped, to the same bits; `num_seeds` may grow.

    Args:
        cfg: the number of classes is replaced by that of `records`.
        data, records: from `load_folder`, images at the larger size in use.
        workdir: new, empty, or of the same run.
        num_seeds: at least 1.
        command: the command line, for `config.json`.
        phantoms: the data are phantoms, so fresh ones can be drawn to test on.
        console: a `rich.console.Console`; standard output by default.
        how: "none" trains on one device, "pmap" or "sharded" on several
            (`devices.training`). In a run of several processes (`devices.start`) the
            first one writes.
        num_devices: how many; 0 takes all.
        fresh: keep a run that is there under another name, and begin anew.

    Returns:
        What `results.json` holds.

    Raises:
        ConfigError: for settings that do not fit, or a directory of another run (naming
            the fields and images that differ) or in use.
        CheckpointError: if no checkpoint of a training is as it was saved, or none can be
            written.
        DataError, DivergedError: see their messages.
        StoppedError: after SIGTERM or Ctrl-C, when all is saved.
    """
    data.check(num_classes=len(records.class_names))
    if num_seeds < 1:
        raise ConfigError(f"seeds is {num_seeds}: expected at least 1")
    names, label = records.class_names, np.asarray(data.label)
    if cfg.data.num_classes not in (2, len(names)):
        raise ConfigError(
            f"data.num_classes is {cfg.data.num_classes}: expected {len(names)}, the number "
            f"of classes found ({', '.join(names)})"
        )
    cfg = dataclasses.replace(cfg, data=dataclasses.replace(cfg.data, num_classes=len(names)))
    where = loop.Where(how, num_devices)
    _refuse_small(cfg, label, where.count())
    if how != "none" and loop.on_host(cfg, data):
        raise ConfigError(
            f"data.placement is {cfg.data.placement!r} and keeps the images on the host: "
            f"expected device with parallel = {how}"
        )
    if console is None:
        from rich.console import Console

        console = Console()

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    with contextlib.ExitStack() as stack:
        if not devices.first_process():
            # Computes the same and leaves nothing.
            from rich.console import Console

            workdir = stack.enter_context(tempfile.TemporaryDirectory())
            console = Console(quiet=True)
        settings = {"config": dataclasses.asdict(cfg)}
        images = [
            [path, names[k], int(group), digest]
            for path, k, group, digest in zip(
                records.path, label, data.group, records.digest, strict=True
            )
        ]
        how_opened = dict(command=command, fresh=fresh, say=say)
        directory = stack.enter_context(opened(workdir, "paper", settings, images, **how_opened))
        log = stack.enter_context(record.Log(directory.path, console))
        run = Run(cfg, names, phantoms, where, log, directory, set())
        return _paper(run, data, records, num_seeds)


def _paper(run: Run, data: Dataset, records: Records, num_seeds: int) -> dict:
    started = time.perf_counter()
    log, workdir, label = run.log, run.workdir.path, np.asarray(data.label)
    (workdir / "samples").mkdir(exist_ok=True)
    devices = jax.devices()
    for line in [
        *describe(data, records),
        f"device {jax.default_backend()} x{len(devices)} ({devices[0].device_kind})  "
        f"jax {jax.__version__}  {run.cfg.compute}  trains on {run.where.count()}",
        *_parameters(run.cfg),
        f"run    {workdir}",
    ]:
        log.line(line)
    done = _finished(run, num_seeds)
    for seed in range(len(done), num_seeds):
        one = _run_seed(run, data, records, seed)
        record.write_sealed(_seed_path(workdir, seed), one._asdict())
        done.append(one)
        # After every seed, so that a later failure loses none.
        _save(run.names, label, done, run.phantoms, log)
    if run.workdir.resumed and not run.said:
        log.line(f"already complete: {num_seeds} seeds; the report is written again")
    results = _save(run.names, label, done, run.phantoms, log)
    report.show(log.console, results, run.names)
    log.clock("total", time.perf_counter() - started)
    environment = record.environment() | {"seconds": log.seconds}
    record.write_json(workdir / "env.json", environment)
    log.line(f"wrote  {workdir}  in {log.seconds['total']:.0f} s")
    return results


def _seed_path(workdir: Path, seed: int) -> Path:
    return workdir / "checkpoints" / f"seed{seed}" / "result.json"


def _finished(run: Run, num_seeds: int) -> list[_Seed]:
    """The seeds that an earlier process of this run finished, 0 first."""
    done: list[_Seed] = []
    # Every process decides alike: those that write nothing know nothing.
    if jax.process_count() > 1 or not run.workdir.resumed:
        return done
    while True:
        path = _seed_path(run.workdir.path, len(done))
        try:
            value = record.read_sealed(path)
        except CheckpointError as error:
            # Made again, from the final states of its trainings.
            run.log.line(f"damaged {error}: predicted again")
            break
        if value is None:
            break
        for name, events in value["events"].items():
            run.log.restore(len(done), name, events)
        done.append(_Seed(**value))
    if len(done) > num_seeds:
        raise ConfigError(
            f"seeds is {num_seeds}: expected at least {len(done)}, which this run has done"
        )
    return done


def _save(names, label: np.ndarray, done: list[_Seed], phantoms: bool, log) -> dict:
    """Write the result files and figures of the seeds done so far; returns what
    `results.json` holds."""
    header = ["seed", "id", "origin"]
    record.write_csv(
        log.workdir / "split.csv",
        [*header, "class", "split", "group"],
        [row for one in done for row in one.split],
    )
    record.write_csv(
        log.workdir / "predictions.csv",
        [*header, "label", *(f"p_{name}" for name in names)],
        [row for one in done for row in one.predictions],
    )

    def by_class(values):
        return {name: int(value) for name, value in zip(names, values, strict=True)}

    seeds = [one.result for one in done]
    results = {
        "protocol": "P0",
        "data": {
            "source": "phantoms" if phantoms else "folder",
            "found": by_class(np.bincount(label, minlength=len(names))),
            "used": by_class(done[0].used),
            "synthetic": by_class(done[0].drawn),
        },
        "positive": names[1] if len(names) == 2 else None,
        "seeds": seeds,
        "summary": record.summary(seeds),
    }
    record.write_json(log.workdir / "results.json", results)
    record.write_text(log.workdir / "report.md", report.page(results, names))
    matrix = report.total_matrix(results)
    report.confusion_figure(log.workdir / "confusion.png", matrix, names)
    report.comparison_figure(
        log.workdir / "comparison.png",
        [result["accuracy"] for result in seeds],
        tuple(results["summary"]["interval"]),
        "phantoms" if phantoms else "this run",
    )
    return results


def _refuse_small(cfg: Config, label: np.ndarray, devices: int) -> None:
    """Refuse, before anything is written, a folder too small for the configuration, or
    batches that the devices do not divide."""
    counts = np.bincount(label)
    limit = cfg.data.n_per_class or counts.max()
    used = np.minimum(counts, limit)
    loops.gan_plan(cfg, int(used.sum()), devices)
    pool = np.repeat(np.arange(len(counts)), 2 * used.max())
    loops.classifier_steps(cfg, len(splits.pooled(pool, cfg.data.test_fraction, 0)[0]), devices)


def _parameters(cfg: Config) -> list[str]:
    """How many parameters each network has."""
    key = jax.random.key(0)
    nets = jax.eval_shape(lambda: (gan.init(cfg, key), classifier.init(cfg, key, 1)))

    def count(net):
        return f"{sum(leaf.size for leaf in jax.tree.leaves(net.params)):,}"

    return [
        f"model  generator {count(nets[0].generator)}  discriminator "
        f"{count(nets[0].discriminator)}  CNN {count(nets[1].cnn)}  hybrid "
        f"{count(nets[1].hybrid)} parameters"
    ]


def _pool_sheet(path: Path, pool: pooled.Pool, names) -> None:
    """Real and synthetic images of each class as the classifier sees them."""
    rows = []
    for k, name in enumerate(names):
        for origin, mask in (("real", pool.source >= 0), ("synthetic", pool.source < 0)):
            own = np.flatnonzero(mask & (pool.data.label == k))[:SHEET_COLUMNS]
            rows.append((f"{name} {origin}", pool.data.image[own]))
    drawing.sheet(path, rows)
