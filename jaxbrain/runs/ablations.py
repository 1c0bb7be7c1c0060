"""The ablations that the paper owed: what the GAN, the LSTM, the reading of Table 1 and the
number of synthetic images change, under P3 where nothing leaks; and the controls.

Three studies in one work directory, each saved and resumed by `ladder`: `readings/` (every
network, with and without synthesis, controls), `doses/` (0 to 400 synthetic images per
class) and, where the classifier's images are larger than the generator's, `degraded/`
(real images without the detail that synthetic ones lack).
"""

import dataclasses
from pathlib import Path
from typing import NamedTuple

from jaxbrain.config import Config
from jaxbrain.data.records import Records
from jaxbrain.errors import ConfigError
from jaxbrain.reports import ablations as report
from jaxbrain.reports import ladder_figures
from jaxbrain.runs import figures, files, pages
from jaxbrain.runs.ladder import cell_of, ladder
from jaxbrain.study import folders
from jaxbrain.study.names import NONE, base
from jaxbrain.study.networks import TABLE1
from jaxbrain.study.protocols import StudyConfig
from jaxbrain.types import Dataset

DOSES = 50, 100, 200, 400


class Row(NamedTuple):
    """A line of the ablations: which cell of which study it reads. part: a share of the
    cell's test images ("twin", "no_twin", "synthetic") in place of all."""

    study: str
    ablation: str
    setting: str
    protocol: str
    generator: str
    classifier: str
    labels: str = "true"
    part: str = ""


def _studies(cfg: Config, options: StudyConfig, generator: str, main: str) -> dict:
    """{name: (configuration, options)} of each study."""
    replace = dataclasses.replace
    readings = replace(
        options,
        protocols=("P0", "P3"),
        generators=(generator, "none"),
        # The main one too, where it is no reading of Table 1.
        classifiers=tuple(dict.fromkeys((*TABLE1, main, "cnn"))),
        shuffled=True,
        probe=True,
    )
    doses = replace(
        options,
        protocols=("P3",),
        generators=("none", *(f"{generator}@{dose}" for dose in DOSES)),
        classifiers=(main,),
        shuffled=False,
        probe=False,
    )
    found = {"readings": (cfg, readings), "doses": (cfg, doses)}
    if cfg.data.image_size > cfg.gan.image_size and not cfg.data.degrade_reals:
        degraded = replace(readings, classifiers=("cnn", main), shuffled=False)
        blurred = replace(cfg, data=replace(cfg.data, degrade_reals=True))
        found["degraded"] = (blurred, degraded)
    return found


def _rows(generator: str, main: str, degraded: bool) -> list[Row]:
    rows = [
        Row("readings", "GAN", "with", "P3", generator, main),
        Row("readings", "GAN", "without", "P3", NONE, main),
        Row("readings", "LSTM", "with", "P3", generator, main),
        Row("readings", "LSTM", "without", "P3", generator, "cnn"),
    ]
    for name in TABLE1:
        setting = name.removeprefix("cnn_lstm_")
        rows.append(Row("readings", "reading of Table 1", setting, "P3", generator, name))
    for dose in (0, *DOSES):
        of = f"{generator}@{dose}" if dose else NONE
        rows.append(Row("doses", "synthetic images per class", str(dose), "P3", of, main))
    for protocol in ("P0", "P3"):
        of = protocol, generator, main, "shuffled"
        rows.append(Row("readings", "shuffled labels", protocol, *of))
    for part in ("twin", "no_twin", "synthetic"):
        of = part.replace("_", " "), "P0", generator, main
        rows.append(Row("readings", "tested under P0", *of, part=part))
    probes = {"readings": "real or synthetic", "degraded": "real or synthetic, degraded reals"}
    for study in ("readings", "degraded") if degraded else ("readings",):
        for name in ("cnn", main):
            rows.append(Row(study, probes[study], name, "P0", generator, name, "origin"))
    for protocol in ("P0", "P3") if degraded else ():
        rows.append(Row("degraded", "degraded reals", protocol, protocol, generator, main))
    return rows


def _read(results: dict, row: Row) -> dict | None:
    """What a row says, from its study's results; None where its trainings diverged."""
    cell = cell_of(results, *row[3:7])
    if cell is None:
        return None
    said = {name: getattr(row, name) for name in Row._fields[1:7]}
    part = f"_{row.part}" if row.part else ""
    own = {"accuracy": cell[f"accuracy{part}"], "interval": None if part else cell["interval"]}
    return said | own | {"n": cell[f"n{part}"]}


def ablations(
    cfg: Config,
    data: Dataset,
    records: Records,
    workdir: str | Path,
    *,
    options: StudyConfig,
    generator: str = "cgan",
    **how,
) -> dict:
    """Run or go on with the ablations; write `ablations.json`, `ablations.png`
    and the report.

    Args:
        cfg, data, records, workdir, how: see `ladder`.
        options: split, seeds, folds and mapping are used; which cells there are is set
            here.
        generator: any but "none", such as "cgan" or "linear".

    Returns:
        What `ablations.json` holds: `rows`, each with `ablation`, `setting`, what of the
        study it is (`protocol`, `generator`, `classifier`, `labels`), `accuracy`,
        `interval` and `n`.

    Raises:
        ConfigError: for "none"; else see `ladder`.
    """
    if generator.startswith(folders.PREFIX):
        raise ConfigError(
            f"generator is {generator!r}: expected one that is fitted here: ablations change the "
            "real images, and a folder's were drawn for one kind"
        )
    if generator == NONE or base(generator) != generator:
        raise ConfigError(f"generator is {generator!r}: expected one that draws, without a mode")
    from rich.console import Console

    workdir, main = Path(workdir), f"cnn_lstm_{cfg.hybrid.sequence}"
    found = {
        name: ladder(own, data, records, workdir / name, options=chosen, **how)
        for name, (own, chosen) in _studies(cfg, options, generator, main).items()
    }
    own = found["readings"]["generators"][0]
    rows = [(found[row.study], row) for row in _rows(own, main, "degraded" in found)]
    names = "split", "seeds", "folds", "data", "positive", "groups"
    results = {name: found["readings"][name] for name in names} | {"generator": own}
    results["rows"] = [said for study, row in rows if (said := _read(study, row))]
    files.write_json(workdir / "ablations.json", results)
    formats = how.get("figures", ())
    figures.save(ladder_figures.ablation_picture(results), workdir / "ablations.png", formats)
    report.show(how.get("console") or Console(), results)
    pages.write(workdir, report.page(results), run=workdir / "readings")
    return results
