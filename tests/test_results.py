"""The results that stand in docs/results.md: their files hold them, and compute to them again."""

import csv
import json
from pathlib import Path

import pytest

from jaxbrain.runs.ladder import cell_of, verify

ROOT = Path(__file__).parents[1]
HONEST = ROOT / "experiments" / "results" / "kaggle_honest"


def test_frozen_answers_compute_to_the_frozen_numbers():
    assert verify(HONEST) == []


@pytest.mark.parametrize("name", ["mirror_kernel", "cnn_lstm_rows", "cnn_lstm_bidirectional"])
def test_the_page_says_what_the_files_hold(name):
    results = json.loads((HONEST / "ladder.json").read_text())
    cell = cell_of(results, "P3", "none", name, "true")
    accuracy, low, high = (f"{100 * x:.1f}" for x in (cell["accuracy"], *cell["interval"]))
    page = (ROOT / "jaxbrain" / "docs" / "results.md").read_text()
    rows = [line for line in page.splitlines() if f"`{name}` |" in line]
    assert any(f"{accuracy} ({low}..{high})" in line for line in rows)
    assert (cell["num_seeds"], cell["num_tests"], cell["n"]) == (5, 25, 5 * 253)


def test_no_group_is_on_both_sides_of_a_frozen_split():
    with (HONEST / "images.csv").open(newline="") as file:
        group = [row["group"] for row in csv.DictReader(file)]
    assert (len(group), len(set(group))) == (253, 199)
    splits = [json.loads(line) for line in (HONEST / "splits.jsonl").read_text().splitlines()]
    assert len(splits) == 25
    for one in splits:
        train, test = ({group[i] for i in one[part]} for part in ("train", "test"))
        assert not train & test and len(one["train"]) + len(one["test"]) == 253
