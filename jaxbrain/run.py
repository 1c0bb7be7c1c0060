"""One run in a work directory: trains chunk by chunk, reports, saves.

The only loop with side effects. All numbers of a run come from the pure functions of
`pooled`, `train` and `metrics`; cutting trainings into chunks for reports changes no bit.
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

from jaxbrain import (
    checkpoint,
    classifier,
    gan,
    loop,
    parallel,
    pooled,
    record,
    report,
    stream,
    train,
)
from jaxbrain.config import Config
from jaxbrain.data import phantom, splits
from jaxbrain.data.folder import Records, describe
from jaxbrain.errors import ConfigError, DivergedError
from jaxbrain.types import Dataset

_SHEET_COLUMNS = 10
_FRESH = 200

_init_gan = jax.jit(train.init_gan, static_argnums=0)
_sample = jax.jit(gan.sample, static_argnums=0)
_synthesise = jax.jit(pooled.synthesise, static_argnums=0)


class _Seed(NamedTuple):
    """What one seed leaves: its entry in `results.json`, rows of the CSV files, and the
    numbers of real and synthetic images per class."""

    result: dict
    split: list
    predictions: list
    used: np.ndarray
    drawn: np.ndarray


def _run_gan(
    cfg: Config, data: Dataset, names, seed: int, keys, where: loop.Where, log: record.Log
):
    """Train the GAN on the selected real images and draw its growing sheets."""
    state = _init_gan(cfg, keys.gan)
    step_fn = loop.step_fn(cfg, data, keys.gan, state, "gan", where, log)
    label = jnp.repeat(jnp.arange(len(names), dtype=jnp.int32), _SHEET_COLUMNS)
    rows: dict[str, list] = {name: [] for name in names}

    def show(state, stop):
        images = np.asarray(train.to_uint8(_sample(cfg, state, label, keys.sheet)))
        for k, name in enumerate(names):
            own = images[k * _SHEET_COLUMNS : (k + 1) * _SHEET_COLUMNS]
            rows[name].append((f"step {stop}", own))
            path = log.workdir / "samples" / f"seed{seed}_{name}.png"
            report.sheet(path, rows[name])

    options = cfg.gan
    total, size = options.steps, options.batch_size
    return loop.run(log, seed, "gan", step_fn, state, total, size, cfg.intervals, show)


def _run_classifier(
    cfg: Config, data: Dataset, seed: int, keys, where: loop.Where, log: record.Log
):
    state = stream.init_classifier(cfg, data, keys.classifier)
    step_fn = loop.step_fn(cfg, data, keys.classifier, state, "classifier", where, log)
    total = train.classifier_steps(cfg, len(data.label), where.count())[1]
    size = cfg.classifier.batch_size

    def show(state, stop):
        pass

    return loop.run(log, seed, "classifier", step_fn, state, total, size, cfg.intervals, show)


def _fresh_accuracy(cfg: Config, state, key) -> float:
    """Accuracy on phantoms that neither the GAN nor the classifier has seen."""
    size = max(cfg.data.image_size, cfg.gan.image_size)
    fresh = phantom.dataset(key, _FRESH // 2, size, cfg.data.difficulty)
    fresh = pooled.resized(fresh, cfg.data.image_size)
    guess = stream.predict(cfg, state, fresh).argmax(axis=1)
    return float((guess == np.asarray(fresh.label)).mean())


def _run_seed(
    cfg, data, records, seed: int, phantoms: bool, where: loop.Where, log: record.Log
) -> _Seed:
    """The whole of P0 for one seed, and its pictures and checkpoints."""
    names, label = records.class_names, np.asarray(data.label)
    keys = pooled.keys(seed)
    index = pooled.select(cfg, data, seed)
    real = pooled.resized(pooled.take(data, index), cfg.gan.image_size)
    gan_state = _run_gan(cfg, real, names, seed, keys, where, log)
    new_label = splits.synthetic_labels(label[index])
    image = _synthesise(cfg, gan_state, jnp.asarray(new_label), keys.synthesis)
    pool = pooled.pool(cfg, data, index, new_label, image, seed)
    _pool_sheet(log.workdir / "samples" / f"seed{seed}_pool.png", pool, names)
    train_data = pooled.take(pool.data, pool.train)
    state = _run_classifier(cfg, train_data, seed, keys, where, log)
    probability = stream.predict(cfg, state, pooled.take(pool.data, pool.test))
    if not np.isfinite(probability).all():
        raise DivergedError(
            f"classifier of seed {seed} predicts NaN after its last step: lower its learning rate"
        )
    is_real = pool.source >= 0
    test_label = pool.data.label[pool.test]
    result = record.seed_result(seed, test_label, is_real[pool.test], probability)
    if phantoms:
        result["accuracy_fresh"] = _fresh_accuracy(cfg, state, keys.fresh)
    if parallel.first_process():
        folder = log.workdir / "checkpoints" / f"seed{seed}"
        checkpoint.save(folder / "gan", gan_state)
        checkpoint.save(folder / "classifier", state)
    report.progress_figure(log.workdir / "progress.png", log.events)
    log.line(
        f"seed {seed}  test accuracy {report.percent(result['accuracy'])} %  real "
        f"{report.percent(result['accuracy_real'])}  synthetic "
        f"{report.percent(result['accuracy_synthetic'])}"
    )
    ids, origin = pooled.identity(pool, records)
    part = np.where(np.isin(np.arange(len(ids)), pool.test), "test", "train")
    split = [
        [seed, ids[i], origin[i], names[pool.data.label[i]], part[i], pool.data.group[i]]
        for i in range(len(ids))
    ]
    predictions = [
        [seed, ids[i], origin[i], pool.data.label[i], *(repr(float(p)) for p in row)]
        for i, row in zip(pool.test, probability, strict=True)
    ]
    num_classes = len(names)
    used = np.bincount(pool.data.label[is_real], minlength=num_classes)
    drawn = np.bincount(pool.data.label[~is_real], minlength=num_classes)
    return _Seed(result, split, predictions, used, drawn)


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
) -> dict:
    """The paper from images to tables (protocol P0), once per seed 0..num_seeds-1.

    Selects real images, trains the GAN on all of them, synthesises, pools, splits, trains
    the classifier, predicts the test set; prints Tables 3 and 4 and writes the run
    directory (README.md lists its files).

    Args:
        cfg: the number of classes is replaced by that of `records`.
        data, records: from `load_folder`, images at the larger size in use.
        workdir: of this run; an earlier run there is kept under another name.
        num_seeds: at least 1.
        command: the command line, for `config.json`.
        phantoms: the data are phantoms, so fresh ones can be drawn to test on.
        console: a `rich.console.Console`; standard output by default.
        how: "none" trains on one device, "pmap" or "sharded" on several
            (`parallel.training`). In a run of several processes (`parallel.start`) the
            first one writes.
        num_devices: how many; 0 takes all.

    Returns:
        What `results.json` holds.

    Raises:
        ConfigError, DataError, DivergedError: see their messages.
    """
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
    with contextlib.ExitStack() as stack:
        if not parallel.first_process():
            # Computes the same and leaves nothing.
            from rich.console import Console

            workdir = stack.enter_context(tempfile.TemporaryDirectory())
            console = Console(quiet=True)
        workdir = record.prepare_workdir(workdir)
        return _paper(cfg, data, records, workdir, num_seeds, command, phantoms, console, where)


def _paper(cfg, data, records, workdir, num_seeds, command, phantoms, console, where) -> dict:
    started = time.perf_counter()
    names, label = records.class_names, np.asarray(data.label)
    settings = {"command": command, "commit": record.commit()}
    settings["config"] = dataclasses.asdict(cfg)
    record.write_json(workdir / "config.json", settings)
    devices = jax.devices()
    with record.Log(workdir, console) as log:
        for line in [
            *describe(data, records),
            f"device {jax.default_backend()} x{len(devices)} ({devices[0].device_kind})  "
            f"jax {jax.__version__}  {cfg.compute}  trains on {where.count()}",
            *_parameters(cfg),
            f"run    {workdir}",
        ]:
            log.line(line)
        done: list[_Seed] = []
        for seed in range(num_seeds):
            done.append(_run_seed(cfg, data, records, seed, phantoms, where, log))
            # After every seed, so that a later failure loses none.
            results = _save(names, label, done, phantoms, log)
        report.show(log.console, results, names)
        log.clock("total", time.perf_counter() - started)
        environment = record.environment() | {"seconds": log.seconds}
        record.write_json(workdir / "env.json", environment)
        log.line(f"wrote  {workdir}  in {log.seconds['total']:.0f} s")
    return results


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
        "seeds": seeds,
        "summary": record.summary(seeds),
    }
    record.write_json(log.workdir / "results.json", results)
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
    train.gan_plan(cfg, int(used.sum()), devices)
    pool = np.repeat(np.arange(len(counts)), 2 * used.max())
    train.classifier_steps(cfg, len(splits.pooled(pool, cfg.data.test_fraction, 0)[0]), devices)


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
            own = np.flatnonzero(mask & (pool.data.label == k))[:_SHEET_COLUMNS]
            rows.append((f"{name} {origin}", pool.data.image[own]))
    report.sheet(path, rows)
