"""Numbers and Markdown show what they are given, whatever it holds."""

from jaxbrain.reports import drawing, page


def test_no_p_value_is_0():
    shown = [drawing.p_value(value) for value in (None, 0.0, 0.0004, 0.001, 0.0376, 1.0)]
    assert shown == ["-", "<.001", "<.001", "0.001", "0.038", "1.000"]


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
    """Pipes are no cells of Markdown."""
    rows = [["[red]a[/red]", "x|y_z"]]
    lines = page.markdown_table(("name", "[b]"), rows).splitlines()
    assert lines == ["| name | \\[b\\] |", "|---|---|", "| \\[red\\]a\\[/red\\] | x\\|y\\_z |"]
