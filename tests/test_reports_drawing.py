"""Tables, sheets and numbers show what they are given, whatever it holds."""

import io

import numpy as np
from PIL import Image
from rich.console import Console

from jaxbrain.reports import drawing, page


def test_sheet_places_images(tmp_path):
    image = np.zeros((2, 48, 48, 1), np.uint8)
    image[1] = 200
    drawing.sheet(tmp_path / "a.png", [("first", image), ("second", image[::-1])])
    with Image.open(tmp_path / "a.png") as picture:
        pixels = np.asarray(picture)
    # A margin of 84, cells of 2 x 48 pixels and 2 of gap.
    assert pixels.shape == (2 + 2 * 98, 84 + 2 * 98)
    centres = pixels[[50, 148]][:, [84 + 48, 84 + 98 + 48]]
    assert centres.tolist() == [[0, 200], [200, 0]]


def test_percent():
    assert (drawing.percent(119 / 120), drawing.percent(None)) == ("99.17", "-")


def test_numbers():
    assert (drawing.number(None), drawing.number(0.25, 1, 100.0)) == ("-", "25.0")
    assert (drawing.points(None), drawing.points(-0.0125)) == ("-", "-1.2")
    cell = {"accuracy": 0.5, "interval": [0.41, 0.6]}
    assert drawing.accuracy(cell) == "50.0 (41.0..60.0)"
    assert drawing.accuracy(cell | {"interval": None}) == "50.0"
    assert drawing.bar(0.5, (0.25, 0.625)) == (50.0, [[25.0], [12.5]])
    # An end on the wrong side, by rounding, is no error below 0.
    assert drawing.bar(0.5, (0.75, 0.5)) == (50.0, [[0], [0.0]])


def test_names_stand_in_tables_as_they_are():
    """Square brackets are no markup of rich, pipes no cells of Markdown."""
    rows = [["[red]a[/red]", "x|y_z"]]
    console = Console(file=io.StringIO(), width=80)
    console.print(drawing.new_table("t", ("name", "[b]"), rows))
    text = console.file.getvalue()
    assert "[red]a[/red]" in text and "x|y_z" in text and "[b]" in text
    lines = page.markdown_table(("name", "[b]"), rows).splitlines()
    assert lines == ["| name | \\[b\\] |", "|---|---|", "| \\[red\\]a\\[/red\\] | x\\|y\\_z |"]


def test_a_p_value_is_never_0():
    shown = [drawing.p_value(p) for p in (0.0, 0.0009, 0.001, 0.0304, 1.0, None)]
    assert shown == ["< .001", "< .001", "0.001", "0.030", "1.000", "-"]
