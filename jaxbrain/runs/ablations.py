"""The ablations that the paper owed: what the GAN, the LSTM, the reading of Table 1 and the
number of synthetic images change, under P3 where nothing leaks; and the controls.

Three studies in one work directory, each saved and resumed by `ladder`: `readings/` (every
network, with and without synthesis, controls), `doses/` (0 to 400 synthetic images per
class) and, where the classifier's images are larger than the generator's, `degraded/`
(real images without the detail that synthetic ones lack).
"""

import dataclasses
from pathlib import Path

from jaxbrain.config import Config
from jaxbrain.data.records import Records
from jaxbrain.errors import ConfigError
from jaxbrain.reports import ladder as report
from jaxbrain.runs import record
from jaxbrain.runs.ladder import ladder
from jaxbrain.study.protocols import NETWORKS, StudyConfig
from jaxbrain.types import Dataset

DOSES = 50, 100, 200, 400


def ablations(
    cfg: Config,
    data: Dataset,
    records: Records,
    workdir: str | Path,
    *,
    options: StudyConfig,
    generator: str = "cgan",
    command: str = "",
    console=None,
    num_devices: int = 0,
    fresh: bool = False,
) -> dict:
    """Run or go on with the ablations; write `ablations.json` and `ablations.png`.

    Args:
        cfg, data, records, workdir, command, console, num_devices, fresh: see `ladder`.
        options: split, seeds, folds and mapping are used; which cells there are is set
            here.
        generator: "cgan" or "linear".

    Returns:
        What `ablations.json` holds: `rows`, each with `ablation`, `setting`, what of the
        study it is (`protocol`, `generator`, `classifier`, `labels`), `accuracy`,
        `interval` and `n`.

    Raises:
        ConfigError: for another generator; else see `ladder`.
    """
    if generator not in ("cgan", "linear"):
        raise ConfigError(f"generator is {generator!r}: expected cgan or linear")
    workdir = Path(workdir)
    main = f"cnn_lstm_{cfg.hybrid.sequence}"

    def run(name: str, cfg: Config, **fields) -> dict:
        chosen = dataclasses.replace(options, **fields)
        return ladder(
            cfg,
            data,
            records,
            workdir / name,
            options=chosen,
            command=command,
            console=console,
            num_devices=num_devices,
            fresh=fresh,
        )

    readings = run(
        "readings",
        cfg,
        protocols=("P0", "P3"),
        generators=(generator, "none"),
        classifiers=NETWORKS,
        shuffled=True,
        probe=True,
    )
    doses = run(
        "doses",
        cfg,
        protocols=("P3",),
        generators=("none", *(f"{generator}@{dose}" for dose in DOSES)),
        classifiers=(main,),
        shuffled=False,
        probe=False,
    )
    rows = []

    def add(results, ablation, setting, protocol, of, classifier, labels="true", part=None):
        names = "protocol", "generator", "classifier", "labels"
        wanted = protocol, of, classifier, labels
        (cell,) = [c for c in results["cells"] if tuple(c[name] for name in names) == wanted]
        row = {"ablation": ablation, "setting": setting} | dict(zip(names, wanted, strict=True))
        if part:
            row |= {"accuracy": cell[f"accuracy_{part}"], "interval": None, "n": cell[f"n_{part}"]}
        else:
            row |= {name: cell[name] for name in ("accuracy", "interval", "n")}
        rows.append(row)

    for setting, of in (("with", generator), ("without", "none")):
        add(readings, "GAN", setting, "P3", of, main)
    for setting, classifier in (("with", main), ("without", "cnn")):
        add(readings, "LSTM", setting, "P3", generator, classifier)
    for classifier in NETWORKS[:3]:
        setting = classifier.removeprefix("cnn_lstm_")
        add(readings, "reading of Table 1", setting, "P3", generator, classifier)
    add(doses, "synthetic images per class", "0", "P3", "none", main)
    for dose in DOSES:
        of = f"{generator}@{dose}"
        add(doses, "synthetic images per class", str(dose), "P3", of, main)
    for protocol in ("P0", "P3"):
        add(readings, "shuffled labels", protocol, protocol, generator, main, "shuffled")
    for part in ("twin", "no_twin", "synthetic"):
        add(readings, "tested under P0", part.replace("_", " "), "P0", generator, main, part=part)
    for classifier in ("cnn", main):
        add(readings, "real or synthetic", classifier, "P0", generator, classifier, "origin")
    if cfg.data.image_size > cfg.gan.image_size and not cfg.data.degrade_reals:
        blurred = dataclasses.replace(cfg.data, degrade_reals=True)
        degraded = run(
            "degraded",
            dataclasses.replace(cfg, data=blurred),
            protocols=("P0", "P3"),
            generators=(generator, "none"),
            classifiers=("cnn", main),
            shuffled=False,
            probe=True,
        )
        for classifier in ("cnn", main):
            name = "real or synthetic, degraded reals"
            add(degraded, name, classifier, "P0", generator, classifier, "origin")
        for protocol in ("P0", "P3"):
            add(degraded, "degraded reals", protocol, protocol, generator, main)
    names = "split", "seeds", "folds", "data", "positive", "groups"
    results = {name: readings[name] for name in names} | {"generator": generator, "rows": rows}
    record.write_json(workdir / "ablations.json", results)
    report.ablation_picture(workdir / "ablations.png", results)
    return results
