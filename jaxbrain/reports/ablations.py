"""Ablations in the terminal, from what `ablations.json` holds."""

from jaxbrain.reports import terminal
from jaxbrain.reports.drawing import accuracy


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
