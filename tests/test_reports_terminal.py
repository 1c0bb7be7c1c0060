"""The end of a run in a terminal: nothing wider than it, no number and no word broken."""

import io
import re

import pytest
from rich.console import Console

from jaxbrain.reports import terminal

LONG = "my_module:a_classifier_of_a_rather_long_name@50"


def printed(width: int, what, *arguments, **options) -> str:
    console = Console(file=io.StringIO(), width=width)
    what(console, *arguments, **options)
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    return text


def cells(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]


@pytest.mark.parametrize("width", [60, 80, 100])
def test_a_wide_table_is_cut_into_tables(width):
    header = ["classifier", "generator", *(f"P{i} without synthesis" for i in range(9))]
    rows = [
        [name, "cgan", *(f"{10 * r + i}.5 (1{i}.0..9{i}.0)" for i in range(9))]
        for r, name in enumerate((LONG, "cnn", "肿瘤"))
    ]
    text = printed(width, terminal.table, "A title", header, rows, keys=2)
    assert text.startswith("A title\n")
    words = set(re.findall(r"[^\s│┃]+", text))
    for row in rows:
        assert set(" ".join(row[1:]).split()) <= words
    assert {"P8", "without", "synthesis"} <= words
    # Every table begins with what a row is; a long name is folded between its words.
    tables = text.count("┏")
    assert tables > 1 and [row[0] for row in cells(text)].count("cnn") == tables
    assert LONG in "".join(row[0] for row in cells(text))
    assert not any(row[0].startswith(("assifier", "odule")) for row in cells(text))


def test_columns_without_values_are_left_out():
    rows = [["a", "-", "1.0", ""], ["b", "-", "-", ""]]
    text = printed(80, terminal.table, "", ["name", "P1", "P2", "P3"], rows)
    assert cells(text) == [["a", "1.0"], ["b", "-"]] and text.startswith("┏")


def test_names_stand_as_they_are():
    """Square brackets are no markup, and no name moves the cursor."""
    rows = [["[red]a[/red]", "x\x1b[2J"]]
    text = printed(80, terminal.table, "", ("name", "[b]"), rows)
    assert "[red]a[/red]" in text and "[b]" in text
    assert "\x1b" not in text and "x\\x1b[2J" in text


def test_a_summary_is_wrapped_at_spaces():
    text = "accuracy 78.17 % (95 %: 74.50 to 81.50 %) of cnn_lstm_bidirectional, " * 3
    found = printed(80, terminal.summary, [("accuracy", text), ("empty", ""), ("", "more")])
    lines = found.splitlines()
    assert lines[0].startswith("accuracy  accuracy 78.17 % (95 %: 74.50 to 81.50 %) of")
    assert lines[-1] == "          more" and len(lines) == 4
    assert all(line.startswith(" " * 10) for line in lines[1:])
    assert " ".join(found.split()) == "accuracy " + " ".join(text.split()) + " more"
    # A number keeps its unit.
    assert not any(line.lstrip().startswith("%") for line in lines)


def test_many_warnings_are_counted():
    assert terminal.some(["a", "b", "c"]) == ["a", "b", "c"]
    assert terminal.some(list("abcde")) == ["a", "b", "c", "and 2 more: see report.md"]
