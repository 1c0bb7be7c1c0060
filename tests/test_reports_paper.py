"""The paper's tables show what they are given."""

import io

import numpy as np
import pytest
from rich.console import Console

from jaxbrain.reports import paper as report


def printed(table, *arguments, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    table(console, *arguments)
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    return text


def test_table_3_has_the_papers_orientation():
    """Predicted classes in rows, tumour first: TP 60, FP 1 / FN 0, TN 59."""
    text = printed(report.confusion_table, np.array([[59, 1], [0, 60]]), ("no", "yes"))
    rows = [[c.strip() for c in line.split("│")[1:-1]] for line in text.splitlines() if "│" in line]
    assert rows == [["yes", "60", "1", "61"], ["no", "0", "59", "59"], ["sum", "60", "60", "120"]]


def test_table_4_quotes_the_paper_and_ours():
    text = printed(report.comparison_table, {"accuracy": 0.85, "interval": [0.8, 0.9]}, "phantoms")
    for value in ("94.0", "89.6", "96.0", "98.3", "99.1", "85.00", "80.00 .. 90.00"):
        assert value in text


def metrics(value: float) -> dict:
    return {"accuracy": value, "nll": None, "auroc": value}


def results(*accuracies: float) -> dict:
    """A run as `results.json` has it, of three classes."""
    seeds = [
        {
            "seed": seed,
            "matrix": np.diag([20, 20, 20]).tolist(),
            "accuracy": value,
            "accuracy_real": value,
            "accuracy_synthetic": None,
            "num_test": 60,
            "metrics": metrics(value),
            "gan": {"last": None, "warnings": ["mode collapse suspected"]},
        }
        for seed, value in enumerate(accuracies)
    ]
    summary = {
        "num_seeds": len(seeds),
        "accuracy": float(np.mean(accuracies)),
        "accuracy_min": min(accuracies),
        "accuracy_max": max(accuracies),
        "interval": [0.9, 0.995],
    }
    counts = {"a": 98, "a_long_name_of_a_class_with_a_tumour": 155, "[b]": 3}
    data = {"source": "folder", "found": counts, "used": counts, "synthetic": counts}
    return {"data": data, "seeds": seeds, "summary": summary, "positive": None}


@pytest.mark.parametrize("width", [80, 100])
def test_the_end_of_a_run_is_short_and_ends_with_table_3(width):
    found = results(0.95, 0.875, 0.9125, 0.9)
    names = list(found["data"]["found"])
    text = printed(report.show, found, names, width=width)
    lines = text.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("Table 4"))
    assert first <= 14
    said = " ".join(" ".join(lines[:first]).split())
    assert "98 a, 155 a_long_name_of_a_class_with_a_tumour, 3 [b], and synthetic ones" in said
    assert "90.94 % (95 %: 90.00 to 99.50 %), n = 240 test answers of 4 seeds" in said
    assert "claims 99.17 %: above the accuracies of the seeds, 87.50 to 95.00 %" in said
    assert "seed 2: mode collapse suspected" in said and "seed 3" not in said
    assert "and 1 more: see report.md" in said and "no estimate of accuracy on new" in said
    assert text.index("Table 4") < text.index("Metrics, mean of 4 seeds") < text.index("Table 3")
    assert (
        len(lines) - lines.index("Table 3. Confusion matrix: counts of the test set, all 4 seeds")
        < 12
    )
    assert "0.9094" in text and "0.8750" in text and "│ nll" in text


def test_one_seed_has_no_range():
    text = " ".join(printed(report.show, results(0.95), ["a", "b", "c"]).split())
    assert "claims 99.17 %: within the interval" in text
    assert "Metrics of seed 0" in text and "seeds" not in text.split("Table 3")[0]
