"""A page of blocks as Markdown, HTML, CSV and LaTeX: names may be anything."""

import csv
import json

import numpy as np
import pytest
from parsed import EVIL, Read
from PIL import Image

from jaxbrain.reports import latex, page
from jaxbrain.reports.html import html as as_html
from jaxbrain.reports.page import (
    Bullets,
    Code,
    Details,
    Facts,
    Figure,
    Heading,
    Page,
    Prose,
    Text,
    Warnings,
)
from jaxbrain.runs import environment, pages

NAMES = (
    EVIL,
    '"><img src=x onerror=alert(1)>',
    "{{ 7 * 7 }}",
    "a|b\n# c",
    "=cmd|' /C'!A0",
    "\udcff",
)


def every_block(name: str) -> Page:
    """A page with a name in each place of each block."""
    table = page.new_table(name, (["n", name], [[10, name], [9, "-"]]), "names")
    blocks = (
        Facts(((name, name, name),)),
        Warnings((name,)),
        Heading(name),
        Text(name),
        Prose(f"{name} and `code`"),
        Bullets((name, name)),
        table,
        Figure("a b.png", name),
        Code(name),
        Details(name, (Heading(name, 3), Text(name))),
        Heading("Last"),
        Text("words"),
    )
    return Page(name, (name,), blocks)


@pytest.fixture
def directory(tmp_path):
    Image.fromarray(np.zeros((4, 6), np.uint8)).save(tmp_path / "a b.png")
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_text_in_html(directory, name):
    plain = Read(as_html(every_block("plain"), directory))
    read = Read(as_html(every_block(name), directory))
    # The same tags with the same attributes, whatever the name.
    assert [tag for tag, _ in read.tags] == [tag for tag, _ in plain.tags]
    assert [list(attrs) for _, attrs in read.tags] == [list(attrs) for _, attrs in plain.tags]
    assert sum(name.strip() in text for text in read.texts) == sum(
        "plain" in text for text in plain.texts
    )
    assert [attrs["alt"] for attrs in read.of("img")] == [name]


def test_html_loads_nothing(directory):
    read = Read(as_html(every_block("x"), directory))
    (policy,) = (a["content"] for a in read.of("meta") if "http-equiv" in a)
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy
    (picture,) = read.of("img")
    assert picture["src"].startswith("data:image/png;base64,")
    assert (picture["width"], picture["height"]) == ("6", "4")
    for tag, attrs in read.tags:
        for key in ("src", "href"):
            assert attrs.get(key, "#").startswith(("#", "data:")), (tag, attrs)
        assert "style" not in attrs and not any(key.startswith("on") for key in attrs)
    assert read.of("html") == [{"lang": "en"}] and len(read.of("caption")) == 1
    # Contents lead to sections that are there.
    (first, last) = (a["href"] for a in read.of("a") if a["href"].startswith("#s"))
    assert [a["id"] for a in read.of("h2")] == [first[1:], last[1:]] == ["s1", "s2"]


def test_markdown(directory):
    table = page.new_table("T", (["n", "a_b"], [[1, "x|y"], [2, "-"]]), "t")
    blocks = (
        Heading("One"),
        Prose("ours `a_b` here"),
        Warnings((), "None: all is well."),
        Warnings(("- a", "1. b")),
        table,
        Facts((("Accuracy", "94.2 %", "of *all*"), ("n", "3", ""))),
        Code("a ``` b"),
        Figure("a b.png", "a [picture]"),
        Figure("missing.png", "not there"),
    )
    own = page.with_pictures(Page("P & Q", ("$x$ ~~y~~",), blocks), directory)
    assert page.markdown(own).split("\n\n") == [
        "# P \\& Q",
        "\\$x\\$ \\~\\~y\\~\\~",
        "## One",
        "ours `a_b` here",
        "None: all is well.",
        "- \\- a\n- 1\\. b",
        "**T**",
        "| n | a\\_b |\n|---:|---|\n| 1 | x\\|y |\n| 2 | - |",
        "- Accuracy: **94.2 %**, of \\*all\\*\n- n: **3**",
        "````\na ``` b\n````",
        "![a \\[picture\\]](a%20b.png)\n",
    ]
    assert page.code_parts("a `b` c ` d") == [(False, "a "), (True, "b"), (False, " c ` d")]


def test_patterns_find_pictures(directory):
    (directory / "samples").mkdir()
    for name in ("seed1_no", "seed0_no"):
        (directory / "samples" / f"{name}.png").write_bytes((directory / "a b.png").read_bytes())
    drawn = Details("D", (Figure("samples/*.png", "Drawn"),))
    nothing = Heading("Empty"), Details("None", (Figure("none/*.png", "None"),))
    own = Page("P", (), (drawn, *nothing))
    ((details,), where) = page.with_pictures(own, directory).blocks, "samples/seed"
    assert [(one.path, one.caption) for one in details.blocks] == [
        (f"{where}0_no.png", "Drawn: seed0 no"),
        (f"{where}1_no.png", "Drawn: seed1 no"),
    ]


def test_latex():
    hostile = r"50% & \input{x} $a_b^c$ ~#[*]<|>"
    found = latex.latex(page.new_table(hostile, (["n", "x"], [[1.5, hostile], ["-", "é"]]), "t"))
    lines = found.splitlines()
    own = (
        r"50\% \& \textbackslash{}input\{x\} \$a\_b\textasciicircum{}c\$ \textasciitilde{}\#"
        r"{[}{*}]\textless{}\textbar{}\textgreater{}"
    )
    assert lines[0] == r"% \usepackage{booktabs}"
    assert rf"\caption{{{own}}}" in lines and rf"1.5 & {own} \\" in lines
    assert r"\begin{tabular}{rl}" in lines and r"- & é \\" in lines
    assert latex.escaped("a\nb\udcff") == r"a b\textbackslash{}udcff"


def test_columns_of_numbers_are_flush_right():
    rows = [["a", "+1.0", "< .001", "2 of 3", "-"], ["1", "-", "0.5 (0.1..0.9)", "", "-"]]
    table = page.new_table("T", (list("abcde"), rows), "t")
    assert table.flush_right == (1, 2, 3)
    assert page.new_table("T", (list("abcde"), rows), "t", right=(0,)).flush_right == (0,)


def test_files(directory):
    (directory / "tables").mkdir()
    (directory / "tables" / "old.csv").write_text("of an earlier report")
    rows = [["=1+1", -2.5], ["+5.0", "-"], ["@x", "+1 (2..3)"], [EVIL, "\udcff"]]
    own = Page("P", (), (page.new_table("T", (["name", "n"], rows), "t"),))
    pages.write(directory, own)
    assert sorted(path.name for path in (directory / "tables").iterdir()) == ["t.csv", "t.tex"]
    with (directory / "tables" / "t.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [
            ["name", "n"],
            ["'=1+1", "-2.5"],
            ["+5.0", ""],
            ["'@x", "'+1 (2..3)"],
            [EVIL, "\\udcff"],
        ]
    # A library's page has no run to repeat.
    assert "repeat" not in (directory / "report.md").read_text()
    assert not list(directory.glob("*.tmp"))


def test_how_to_repeat_it(directory):
    floats = {"jax": "1", "jaxlib": "2", "flax": "3", "optax": "4", "devices": ["cpu", "cpu"]}
    floats |= {"backend": "cpu", "cpu_count": 2}
    command = "jaxbrain paper --workdir 'runs/a b' --preset tiny"
    about = {"command": command, **environment.code(), "commit": None}
    about |= {"started": "2026-01-02 03:04 UTC", "floats": floats, "kind": "paper", "seeds": 2}
    (directory / "config.json").write_text(json.dumps(about))
    pages.write(directory, Page("P", ("one",), (Figure("a b.png", "c"), Text("two"))))
    text = (directory / "report.md").read_text()
    for line in (
        "jaxbrain paper --preset tiny",
        "- preset: tiny",
        "- begun: 2026-01-02 03:04 UTC",
        f"- jaxbrain: version {environment.version()}",
        "- jax 1, jaxlib 2, flax 3, optax 4",
        "- devices: 2 x cpu (cpu), 2 CPU cores",
        '  "seeds": 2',
    ):
        assert line in text.splitlines(), line
    # In its own directory the command would find all done.
    assert "--workdir" not in text
    assert pages.numbers(text) == [(1, "# P"), (3, "one"), (7, "two")]
