"""An audit in a work directory: what synthetic images are beside held-out ones, which of them
are near-copies of training images, and how well training images are told from held-out ones."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxbrain.audit import features, generative, membership, privacy, shadows, similarity
from jaxbrain.config.studies import TOP_FEATURES, AuditConfig
from jaxbrain.errors import ConfigError
from jaxbrain.reports import audit as report
from jaxbrain.runs import environment, files, pages
from jaxbrain.runs.figures import save, to_open
from jaxbrain.runs.ladder import recomputed
from jaxbrain.runs.log import Log
from jaxbrain.runs.material import HELD_OUT, SETS, SYNTHETIC, Material
from jaxbrain.runs.study import KEY
from jaxbrain.runs.workdir import IMAGES, Stop, opened
from jaxbrain.study.protocols import streams
from jaxbrain.types import Dataset

KIND = "audit"
# What the numbers at the top of audit.json are of, beside TOP_FEATURES.
_TOP_MEMBERSHIP = "distance"
# Of the nearest pairs, those that the report names.
_WORST = 10


_DEFAULT = AuditConfig()


class _Stages(NamedTuple):
    """What runs one after another, timed, said, stopped between two."""

    log: Log
    stop: Stop

    def __call__(self, name: str, function: Callable, *args, **how) -> Any:
        start = time.perf_counter()
        found = function(*args, **how)
        self.log.clock(name, time.perf_counter() - start)
        self.log.line(f"{name:<22} {self.log.seconds[name]:.1f} s")
        self.stop.check(f"after {name}: the same command begins again")
        return found


def audit(
    material: Material,
    workdir: str | Path,
    *,
    options: AuditConfig = _DEFAULT,
    command: str = "",
    fresh: bool = False,
    figures: tuple[str, ...] = ("png",),
    console=None,
) -> dict:
    """Audit synthetic images, and write `audit.json`, `report.md`, sheets and curves.

    Args:
        material: of folders or of a run (`runs.material`).
        workdir: new, empty, or of the same audit, which is computed again.
        options: which features, how many resamples.
        command: the command line, for `config.json`.
        fresh: keep an audit that is there under another name.
        figures: formats beside PNG that curves are written in: pdf, svg.
        console: a `rich.console.Console`; standard output by default.

    Returns:
        What `audit.json` holds: `kid`, `precision`, `recall`, `density`, `coverage`,
        `copied_fraction`, `membership_auroc`, each {"value", "interval": [low, high]}, and
        all else that was measured.

    Raises:
        ConfigError: for settings that do not fit, a directory of something else or in use, an
            extra that is not installed.
        DataError: for images that cannot be compared.
        StoppedError: after SIGTERM or Ctrl-C.
    """
    from rich.console import Console

    started = time.perf_counter()
    console = console or Console()

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    images = [
        [f"{name}/{path}", material.class_names[k], name, digest]
        for name, own in material.sets.items()
        for path, k, digest in zip(own.path, own.label.tolist(), own.digest, strict=True)
    ]
    settings = {"audit": files.settings(options), "material": material.settings}
    how = {"command": command, "fresh": fresh, "say": say}
    with opened(workdir, KIND, settings, images, **how) as directory, Log(directory.path) as log:
        log.console = console
        results = {
            "about": material.about,
            "counts": {name: s.counts(material.class_names) for name, s in material.sets.items()},
            "warnings": material.warnings,
        }
        for text in [*report.heading(results), *(f"warn   {w}" for w in material.warnings)]:
            log.line(text)
        stages = _Stages(log, directory.stop)
        measured, details = _measured(material, options, stages)
        results["warnings"] = [*material.warnings, *_doubts(measured["membership"])]
        results = _top(measured) | results | measured
        log.clock("total", time.perf_counter() - started)
        results |= {"versions": environment.environment(), "jaxbrain": environment.version()}
        results |= {"commit": environment.commit(), "seconds": log.seconds}
        _write(directory.path, results, material, images, details, figures)
        report.show(console, results)
        for text in to_open(directory.path, "pairs.png", "curves.png"):
            log.line(text)
        log.line(f"wrote  {directory.path}  in {log.seconds['total']:.0f} s")
        return results


def _top(measured: dict) -> dict:
    """The numbers that stand first."""
    chosen = measured["features"][TOP_FEATURES]
    names = "kid", "precision", "recall", "density", "coverage"
    found = {name: chosen[name] for name in names}
    found["copied_fraction"] = measured["copies"]
    found["membership_auroc"] = measured["membership"][_TOP_MEMBERSHIP]
    kept = "value", "interval"
    found = {name: {part: one[part] for part in kept} for name, one in found.items()}
    return found | {"top_features": TOP_FEATURES, "top_membership": _TOP_MEMBERSHIP}


def _doubts(attacks: dict) -> list[str]:
    """Attacks whose controls find a difference where no generator can have told one."""
    return [
        f"membership by {name}: its control's interval leaves .5 out, so training and held-out "
        "images differ as such: its own number is no sign of memory"
        for name, found in attacks.items()
        if (ends := (found.get("control") or {}).get("interval"))
        if not ends[0] <= 0.5 <= ends[1]
    ]


def _measured(material: Material, options: AuditConfig, stages: _Stages) -> tuple[dict, dict]:
    """What `audit.json` says of the images, and of each image what was found."""
    rng = streams(jax.random.key(KEY), 0)
    synthetic, training, held_out = (one.used for one in material.sets.values())
    judged = {}
    for name in options.all_features:
        function = stages(f"{name} features", _function, name, material)
        how = {"training": training, "draws": options.draws}
        real = held_out, rng(name)
        judged[name] = stages(name, generative.judged, function, synthetic, *real, **how)
    variety = stages("variety", _variety, material, rng("variety"), options.draws)
    copies, details = stages("copies", _copies, material, rng, options.draws)
    found = _attacks(material, options, rng, stages)
    return {"features": judged, "variety": variety, "copies": copies, "membership": found}, details


def _attacks(material: Material, options: AuditConfig, rng, stages: _Stages) -> dict:
    """Attack -> how well it tells training images from held-out ones."""
    sets = material.synthetic.image, material.training.image, material.held_out.used
    how = {"among": material.among, "draws": options.draws}
    found = {}
    for name, attack in (("distance", membership.by_distance), ("density", membership.by_density)):
        purpose = rng(f"membership {name}")
        found[name] = stages(f"membership {name}", attack, *sets, purpose, **how)
    if material.saved is not None:
        found["discriminator"] = stages("discriminator", _discriminator, material, rng, options)
    if options.shadows:
        found["shadows"] = stages("shadows", _shadows, material, rng, options)
    return found


def _discriminator(material: Material, rng, options: AuditConfig) -> dict:
    """By what the run's own discriminator thinks of whole images."""
    saved = material.saved
    scores = [
        membership.discriminator_scores(
            saved.cfg, saved.state, _dataset(own.used, own.label[own.use])
        )
        for own in (material.training, material.held_out)
    ]
    return membership.judged(*scores, rng("membership discriminator"), draws=options.draws)


def _dataset(image: np.ndarray, label: np.ndarray, group: np.ndarray | None = None) -> Dataset:
    group = np.arange(len(label)) if group is None else group
    return Dataset(image, np.int32(label), np.int32(group))


def _shadows(material: Material, rng, options: AuditConfig) -> dict:
    """By shadow GANs, trained as the run's was on halves of all real images."""
    training, held_out = material.training, material.held_out
    own = material.among.group
    group = np.concatenate([own, own.max() + 1 + np.arange(len(held_out.use))])
    label = np.concatenate([training.label, held_out.label[held_out.use]])
    data = _dataset(np.concatenate([training.image, held_out.used]), label, group)
    key = jax.random.fold_in(jax.random.key(KEY), 2)
    found = shadows.train(material.cfg, data, key, options.shadows)
    judged = shadows.membership(found, group, rng("membership shadows"), draws=options.draws)
    return judged | {"shadows": options.shadows}


def _function(name: str, material: Material) -> features.Features:
    """Features by their name, fitted on training images where they are fitted."""
    if name in ("texture", "pixels"):
        return getattr(features, name)
    if name == "pretrained":
        return features.pretrained()
    if len(material.class_names) < 2:
        raise ConfigError(
            "features has 'classifier': expected the same two or more classes in all three sets"
        )
    training = material.training
    data = _dataset(training.used, training.label[training.use])
    key = jax.random.fold_in(jax.random.key(KEY), 1)
    return features.of_classifier(material.cfg, data, key)


def _variety(material: Material, rng: np.random.Generator, draws: int) -> dict:
    """MS-SSIM of each set, over the classes of which each set has two images or more."""
    labels = {name: own.label[own.use] for name, own in material.sets.items()}
    counts = [np.bincount(label, minlength=len(material.class_names)) for label in labels.values()]
    enough = np.flatnonzero(np.min(counts, axis=0) >= 2)
    if not len(enough):
        return {}
    found = {}
    for name, own in material.sets.items():
        some = np.isin(labels[name], enough)
        found[name] = similarity.similarity(own.used[some], labels[name][some], rng, draws=draws)
    return found


def _copies(material: Material, rng, draws: int) -> tuple[dict, dict]:
    """Near-copies of training images; and of each image its distance."""
    training, among = material.training, material.among
    sets = material.synthetic.image, training.image, material.held_out.used
    found = privacy.copied(*sets, rng("copied"), among=among, draws=draws)
    near = found.pop("distance"), found.pop("nearest")
    how = {"group": among.group, "found": near, "draws": draws}
    own = privacy.authentic(*sets[:2], rng("authentic"), **how)
    details = {"distance": near[0], "nearest": near[1], "held_out": found.pop("held_out_distance")}
    copied = near[0] <= found["threshold"]
    names = [training.path[i] for i in near[1]]
    columns = material.synthetic.path, names, near[0], copied, own.pop("authentic")
    rows = [
        [file, name, float(d), int(c), int(a)] for file, name, d, c, a in zip(*columns, strict=True)
    ]
    del found["order"]
    found |= {"count": int(copied.sum()), "authentic": own, "worst": _worst(rows)}
    return found, details | {"rows": rows}


def _worst(rows: list[list]) -> list[dict]:
    """The nearest pairs, from the rows of `distances.csv`."""
    near = sorted(rows, key=lambda row: row[2])[:_WORST]
    return [dict(zip(("file", "nearest", "distance", "copied"), row, strict=False)) for row in near]


# Files.


_DISTANCES = ["file", "nearest", "distance", "copied", "authentic"]


def _write(path: Path, results: dict, material: Material, images, details, figures) -> None:
    files.write_csv(path / "distances.csv", _DISTANCES, details["rows"])
    _write_images(path / IMAGES, material, images, details)
    files.write_json(path / "audit.json", results)
    shown = {name: (one.used, one.label[one.use]) for name, one in material.sets.items()}
    report.sheet(path / "sheet.png", shown, material.class_names)
    near = material.training.image[details["nearest"]]
    report.pairs(path / "pairs.png", material.synthetic.image, near, details["distance"])
    distances = {SYNTHETIC: details["distance"], HELD_OUT: details["held_out"]}
    save(report.curves(results, distances), path / "curves.png", figures)
    pages.write(path, report.page(results))


def _write_images(path: Path, material: Material, images: list, details: dict) -> None:
    """`images.csv`: of every image whether it is used, and how far a held-out one is
    from training images."""
    to_training = iter(details["held_out"].tolist())
    rows, row = [], iter(images)
    for name, own in material.sets.items():
        used = set(own.use.tolist())
        for i, why in enumerate(own.why):
            distance = next(to_training) if name == HELD_OUT and i in used else ""
            rows.append([*next(row), int(i in used), why, distance])
    header = ["id", "class", "set", "sha256", "used", "why", "to_training"]
    files.write_csv(path, header, rows)


def verify(workdir: str | Path) -> list[str]:
    """Recompute what `distances.csv` and `images.csv` can tell: how many images are copies, the
    threshold, the numbers of images; and the text of the report. What differs, a line each
    (none: all as it should be).

    Raises:
        DataError: if a file is missing or is not what an audit wrote.
    """
    workdir = Path(workdir)

    def again(saved: dict) -> dict:
        pairs = [
            [row["file"], row["nearest"], float(row["distance"]), int(row["copied"])]
            for row in files.read_csv(workdir / "distances.csv")
        ]
        images = files.read_csv(workdir / IMAGES)
        others = [float(row["to_training"]) for row in images if row["to_training"]]
        threshold, expected = privacy.near(np.asarray(others))
        copied = np.asarray([row[2] <= threshold for row in pairs])
        pairs = [[*row[:3], int(near)] for row, near in zip(pairs, copied, strict=True)]
        found = {"threshold": threshold, "expected": expected, "count": int(copied.sum())}
        found |= {"value": float(copied.mean()), "worst": _worst(pairs)}
        fresh = saved | {"copies": saved["copies"] | found}
        fresh["counts"] = {name: _counted(images, name, saved) for name in SETS}
        return fresh | _top(fresh)

    return recomputed(workdir, KIND, ("distances.csv",), again, report.page)


def _counted(images: list[dict], name: str, saved: dict) -> dict:
    own = [row for row in images if row["set"] == name]
    left_out = [row["why"] for row in own if row["why"]]
    classes = saved["counts"][name]["found"]
    return {
        "found": {one: sum(row["class"] == files.cell(one) for row in own) for one in classes},
        "left_out": {why: left_out.count(why) for why in left_out},
        "used": sum(row["used"] == "1" for row in own),
    }
