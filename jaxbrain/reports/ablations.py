"""The ablations in the terminal and as a page, from what `ablations.json` holds."""

from jaxbrain.reports import terminal
from jaxbrain.reports.drawing import accuracy
from jaxbrain.reports.ladder import remains
from jaxbrain.reports.page import Bullets, Figure, Heading, Page, Text, new_table


def _table(rows: list[dict]) -> tuple[list[str], list[list[str]]]:
    names = "setting", "protocol", "generator", "classifier", "labels"
    shown = []
    for row in rows:
        value = "-" if row["accuracy"] is None else accuracy(row)
        shown.append([*(row[name] for name in names), value, row["n"]])
    return [*names, "accuracy, % (95 % interval)", "n"], shown


def page(results: dict) -> Page:
    """The ablations' report: one table for each thing that is changed.

    results: what `ablations.json` holds.
    """
    data, groups = results["data"], results["groups"]["total"]
    counts = ", ".join(f"{n} {name}" for name, n in data["found"].items())
    folds = f", {results['folds']} folds each" if results["split"] == "kfold" else ""
    summary = (
        f"{data['source']}: {counts}; {groups} groups of near-duplicates",
        f"{results['split']}, seeds {results['seeds']}{folds}; generator {results['generator']}",
    )
    blocks = [Figure("ablations.png", "Accuracy of every setting, by what is changed")]
    kinds = dict.fromkeys(row["ablation"] for row in results["rows"])
    for number, kind in enumerate(kinds, start=1):
        table = _table([row for row in results["rows"] if row["ablation"] == kind])
        # A file's name, whatever an ablation is called.
        blocks += [Heading(kind), new_table(f"Changed: {kind}", table, f"ablation{number}")]
    blocks += [
        Heading("How to read it"),
        Bullets(
            (
                "Under P3 nothing leaks: a generator is fitted on training images alone, copies "
                "stay on one side, and real images alone are tested.",
                "Real or synthetic: 50 % cannot tell them apart. Shuffled labels: there is "
                "nothing to find.",
                "The folders readings/, doses/ and degraded/ have a report each.",
            )
        ),
        Text(remains(results)),
    ]
    return Page("What each part changes", summary, tuple(blocks))


def show(console, results: dict) -> None:
    """Print what was studied, then the accuracy of every setting."""
    found = ", ".join(f"{n} {name}" for name, n in results["data"]["found"].items())
    lines = [
        (
            "run",
            f"ablations on {found}, generator {results['generator']}, seeds {results['seeds']}",
        ),
        ("note", "Research only, not a medical device."),
    ]
    terminal.summary(console, lines)
    rows = [
        [
            row["ablation"],
            row["setting"],
            row["protocol"],
            accuracy(row) if row["accuracy"] is not None else "-",
            str(row["n"]),
        ]
        for row in results["rows"]
    ]
    header = ["ablation", "setting", "protocol", "accuracy, % (95 % interval)", "n"]
    terminal.table(console, "Ablations", header, rows, keys=2, right=(3, 4))
