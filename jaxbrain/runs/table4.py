"""The paper's Table 4 on one footing: the methods that it quotes, and the CNN-LSTM, on the
same images, folds and seeds, under the paper's protocol (P0) and where nothing leaks (P3).

A study in the folder `study/` of the work directory, saved, resumed and verified as every
`ladder`; `table4.json`, `table4.png` and `report.md` follow from it.
"""

import dataclasses
import json
import os
from pathlib import Path

from jaxbrain.config import Config
from jaxbrain.data.external import External
from jaxbrain.data.records import Records
from jaxbrain.errors import ConfigError
from jaxbrain.quoted import quoted
from jaxbrain.reports import table4 as report
from jaxbrain.reports import terminal
from jaxbrain.runs import figures, files, pages
from jaxbrain.runs.ladder import cell_of, ladder
from jaxbrain.scoring import intervals
from jaxbrain.study import choose
from jaxbrain.study.methods import CLASSIFIERS
from jaxbrain.study.names import NONE, base
from jaxbrain.study.networks import CNN_LSTM
from jaxbrain.study.protocols import StudyConfig
from jaxbrain.types import Dataset

_OUTPUTS = "table4.json", "table4.png", "report.md", "report.html"
_COMPARED = "difference", "p_value", "p_value_holm", "mcnemar_p"


def rows_or_default(
    cfg: Config, rows: tuple[str, ...], weights: str, accelerator: bool
) -> tuple[tuple[str, ...], list[dict]]:
    """The rows to train, and rows of Table 4 left out ({"name", "why"}).

    Without names all of Table 4 and the CNN-LSTM in the reading of `cfg`; VGG-16 from
    scratch only on an accelerator. Without a file of weights "vgg16_transfer" becomes
    "vgg16_scratch".
    """
    vgg = "vgg16_transfer" if weights else "vgg16_scratch"
    if rows:
        named = [vgg if name == "vgg16_transfer" else name for name in rows]
        return tuple(dict.fromkeys(named)), []
    chosen = ["glrlm_cslbp_ann", "radiomics_svm", vgg, "hbtc_mlp"]
    left_out = []
    if vgg == "vgg16_scratch" and not accelerator:
        chosen.remove(vgg)
        why = "hours on a CPU from scratch: give --weights, or name it in --rows"
        left_out = [{"name": vgg, "quoted": quoted(vgg)[0], "why": why}]
    return (*chosen, f"cnn_lstm_{cfg.hybrid.sequence}"), left_out


def table4(
    cfg: Config,
    data: Dataset,
    records: Records,
    workdir: str | Path,
    *,
    options: StudyConfig,
    left_out: list[dict] | None = None,
    external: External | None = None,
    console=None,
    fresh: bool = False,
    **how,
) -> dict:
    """Run or go on with the comparison; write `table4.json`, `table4.png`, `report.md`.

    Args:
        cfg, data, records, workdir, console, fresh, how: see `ladder`.
        options: `classifiers` are the rows, the first of `generators` draws the synthetic
            images; split, seeds, folds, mapping and weights are used. Protocols and
            controls are set here.
        left_out: rows that the report names as not trained.
        external: another source's images, which P4 tests (`data.external.prepared`).

    Returns:
        What `table4.json` holds: `rows`, each with `name`, `quoted` (per cent),
        `quoted_what`, `outside` (data), `P0` and `P3` and with external images `P4` (each
        `accuracy`, `auroc` and `interval`, shares in [0, 1]), `seconds`, and against the first
        CNN-LSTM among the rows, under P3, `difference`, `p_value` (corrected resampled t),
        `p_value_holm` and `mcnemar_p` (None without one); and what was studied.

    Raises:
        ConfigError: for a classifier of files beside a generator, a directory that holds
            something else; else see `ladder`.
    """
    from rich.console import Console

    workdir, console = Path(workdir), console or Console()
    chosen = dataclasses.replace(
        options,
        protocols=("P0", "P3"),
        generators=options.generators[:1],
        shuffled=False,
        probe=False,
    )
    _refuse_files(chosen)
    _refuse_other(workdir)
    if fresh:
        # They are of the study that is renamed.
        for name in _OUTPUTS:
            if (workdir / name).exists():
                os.replace(workdir / name, workdir / "study" / f"table4_{name}")
    study = workdir / "study"
    how |= {"console": console, "fresh": fresh, "external": external}
    found = ladder(cfg, data, records, study, options=chosen, **how)
    seconds = json.loads((study / "env.json").read_text(encoding="utf-8"))["seconds_of"]
    results = _results(found, seconds, left_out or [])
    files.write_json(workdir / "table4.json", results)
    figures.save(report.picture(results), workdir / "table4.png", how.get("figures", ()))
    pages.write(workdir, report.page(results), run=study)
    report.show(console, results)
    terminal.say(console, *figures.to_open(workdir, "table4.png"))
    return results


def _results(found: dict, seconds: dict, left_out: list[dict]) -> dict:
    """What `table4.json` holds, from a ladder's results and its seconds by name."""
    names, (generator,) = found["classifiers"], found["generators"]
    reference = next((name for name in names if name in CNN_LSTM), None)
    compared = _compared(found["comparisons"], reference)
    rows = []
    for name in names:
        # The paper knows no method of a user's own, whatever its name.
        figure, what = quoted(name if name in CLASSIFIERS else "")
        row = {"name": name, "quoted": figure, "quoted_what": what}
        row["outside"] = found["outside"].get(name, "")
        for protocol in ("P0", "P3", "P4") if found["external"] else ("P0", "P3"):
            row[protocol] = _kept(cell_of(found, protocol, generator, name, "true"))
        row["seconds"] = seconds.get(name)
        rows.append(row | compared.get(name, dict.fromkeys(_COMPARED)))
    results = {"warnings": found["warnings"]} if "warnings" in found else {}
    kept = "split seeds folds data positive groups audit external outside skipped".split()
    results |= {name: found[name] for name in kept}
    results |= {"generator": generator, "reference": reference, "rows": rows}
    # What a generator draws in a moment is counted with the first row.
    return results | {"left_out": left_out, "seconds_of_generator": seconds.get(base(generator))}


def _refuse_files(options: StudyConfig) -> None:
    """A row of P0 and P3 that would have no cell."""
    _, found = choose.classifiers(options.classifiers, options.weights)
    for name, method in found.items():
        if method.sees == "files" and options.generators != (NONE,):
            raise ConfigError(
                f"rows has {name!r}: expected generator none, since synthetic images come from no "
                "file"
            )


def _refuse_other(workdir: Path) -> None:
    """Another run's report, or a user's own files, are not written over."""
    found = sorted(path.name for path in workdir.iterdir()) if workdir.is_dir() else []
    if "config.json" in found or (found and "study" not in found):
        raise ConfigError(
            f"{workdir}: holds files that are no table4 run ({', '.join(found[:3])}): expected a "
            "new or empty directory"
        )


def _kept(cell: dict | None) -> dict | None:
    """Of a cell; None of none. Recall and specificity are of two classes."""
    if cell is None:
        return None
    kept = {key: cell[key] for key in ("accuracy", "interval", "interval_kind", "n")}
    return kept | {key: cell["metrics"].get(key) for key in ("auroc", "recall", "specificity")}


def _compared(comparisons: list[dict], reference: str | None) -> dict[str, dict]:
    """Each row against the reference, p values adjusted over these comparisons alone."""
    found: dict[str, dict] = {}
    for one in comparisons:
        (_, first), (_, second) = one["first"], one["second"]
        if reference not in (first, second):
            continue
        sign = 1.0 if second == reference else -1.0
        found[first if second == reference else second] = {
            "difference": sign * one["difference"],
            "p_value": one["corrected_t_p"],
            "p_value_holm": None,
            "mcnemar_p": one["mcnemar_p_median"],
        }
    tested = [row for row in found.values() if row["p_value"] is not None]
    for row, value in zip(tested, intervals.holm([r["p_value"] for r in tested]), strict=True):
        row["p_value_holm"] = value
    return found
