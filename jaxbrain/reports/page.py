"""A report as a page of blocks, and that page as Markdown. `html` has the same page for a
browser, `latex` its tables for a paper.

A block holds plain text. Each rendering escapes what its own format would take for more, so that
names of classes, files and methods may be anything.
"""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote


@dataclasses.dataclass(frozen=True)
class Heading:
    """Of a section; level 2 or 3."""

    text: str
    level: int = 2


@dataclasses.dataclass(frozen=True)
class Text:
    """A paragraph, shown as it stands."""

    text: str


@dataclasses.dataclass(frozen=True)
class Prose:
    """A paragraph of our own words: `...` marks code."""

    text: str


@dataclasses.dataclass(frozen=True)
class Bullets:
    """A list of lines."""

    items: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Warnings:
    """What a reader must know before the numbers; `none` stands where there is nothing."""

    items: tuple[str, ...]
    none: str = "None."


@dataclasses.dataclass(frozen=True)
class Facts:
    """The few numbers of a run: (name, value, what it is) each."""

    items: tuple[tuple[str, str, str], ...]


@dataclasses.dataclass(frozen=True)
class Table:
    """A table.

    header: a text for each column; rows: as many values each. name: of its files
    (`tables/<name>.csv`, `.tex`), one of its own on a page. right: numbers of the columns that
    are flush right; None takes those that hold numbers.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]
    name: str
    right: tuple[int, ...] | None = None

    @property
    def flush_right(self) -> tuple[int, ...]:
        if self.right is not None:
            return self.right
        columns = range(len(self.header))
        return tuple(i for i in columns if _numbers([str(row[i]) for row in self.rows]))


@dataclasses.dataclass(frozen=True)
class Figure:
    """A picture of the run's directory, by its path there, or every one that a pattern like
    `samples/*.png` finds."""

    path: str
    caption: str


@dataclasses.dataclass(frozen=True)
class Code:
    """Lines to be read or typed as they are."""

    text: str


@dataclasses.dataclass(frozen=True)
class Details:
    """Blocks behind a line that opens them."""

    title: str
    blocks: tuple["Block", ...]


Block = Heading | Text | Prose | Bullets | Warnings | Facts | Table | Figure | Code | Details


@dataclasses.dataclass(frozen=True)
class Page:
    """A report. summary: its first lines."""

    title: str
    summary: tuple[str, ...]
    blocks: tuple[Block, ...]


def new_table(title: str, table, name: str, right: tuple[int, ...] | None = None) -> Table:
    """A `Table` of a header and rows, lists of values of any kind.

    Example:
        >>> new_table("Folds", (["fold", "n"], [[0, 51], [1, 50]]), "folds").flush_right
        (0, 1)
    """
    header, rows = table
    shown = tuple(tuple(map(str, row)) for row in rows)
    return Table(title, tuple(map(str, header)), shown, name, right)


def _numbers(column: list[str]) -> bool:
    said = [text for text in column if text not in ("", "-")]
    return bool(said) and all(re.match(r"[<+-]? ?\.?\d", text) for text in said)


def tables(page: Page) -> list[Table]:
    """All tables of a page, in order."""
    return [block for block in _every(page.blocks) if isinstance(block, Table)]


def _every(blocks: tuple[Block, ...]) -> Iterator[Block]:
    for block in blocks:
        yield block
        if isinstance(block, Details):
            yield from _every(block.blocks)


def with_pictures(page: Page, directory: Path) -> Page:
    """The page with the pictures that are there, each once: a pattern becomes one figure for
    each file that it finds, with the file's name in the caption; what is not there is left
    out, and a heading with nothing under it too."""
    blocks = list(_pictures(page.blocks, directory, set()))
    below = [*blocks[1:], Heading("")]
    kept = [
        one
        for one, next_ in zip(blocks, below, strict=True)
        if not (
            isinstance(one, Heading) and isinstance(next_, Heading) and one.level >= next_.level
        )
    ]
    return dataclasses.replace(page, blocks=tuple(kept))


def _pictures(blocks: tuple[Block, ...], directory: Path, shown: set) -> Iterator[Block]:
    for block in blocks:
        if isinstance(block, Details):
            if inner := tuple(_pictures(block.blocks, directory, shown)):
                yield dataclasses.replace(block, blocks=inner)
        elif not isinstance(block, Figure):
            yield block
        else:
            for path in sorted(directory.glob(block.path)):
                own, caption = path.relative_to(directory).as_posix(), block.caption
                if own not in shown:
                    shown.add(own)
                    name = path.stem.replace("_", " ")
                    caption += f": {name}" if "*" in block.path else ""
                    yield dataclasses.replace(block, path=own, caption=caption)


def code_parts(text: str) -> list[tuple[bool, str]]:
    """Text with `...` as (is code, text) parts; without a partner a mark is a character."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        parts = [*parts[:-2], "`".join(parts[-2:])]
    return [(number % 2 == 1, part) for number, part in enumerate(parts) if part]


def escaped(text) -> str:
    """Text as it stands in Markdown, a table's cell too, whatever it holds."""
    text = "".join(f"\\{c}" if c in "\\`*_[]<>|#$&~" else c for c in str(text))
    return re.sub(r"\s", " ", text)


def _paragraph(text) -> str:
    """The same at the beginning of a line, where some characters would begin a list."""
    return re.sub(r"^(\d*)([-+.)])(?=\s|$)", r"\1\\\2", escaped(text).strip())


def markdown_table(header, rows, right=()) -> str:
    """A Markdown table; every cell is shown as it stands.

    Example:
        >>> print(markdown_table(["a_b"], [["1|2"]]))
        | a\\_b |
        |---|
        | 1\\|2 |
    """
    lines = ["| " + " | ".join(map(escaped, row)) + " |" for row in (header, *rows)]
    rule = "|".join("---:" if i in right else "---" for i in range(len(header)))
    return "\n".join([lines[0], f"|{rule}|", *lines[1:]])


def markdown(page: Page) -> str:
    """`report.md`."""
    parts = [f"# {escaped(page.title)}", *map(_paragraph, page.summary), *_markdown(page.blocks)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _markdown(blocks: tuple[Block, ...]) -> Iterator[str]:
    for block in blocks:
        match block:
            case Heading(text, level):
                yield f"{'#' * level} {escaped(text)}"
            case Text(text):
                yield _paragraph(text)
            case Prose(text):
                parts = ((f"`{s}`" if code else escaped(s)) for code, s in code_parts(text))
                yield "".join(parts)
            case Bullets(items):
                yield _listed(items)
            case Warnings(items, none):
                yield _listed(items) or _paragraph(none)
            case Facts(items):
                yield "\n".join(
                    f"- {escaped(name)}: **{escaped(value)}**" + (f", {escaped(what)}" * bool(what))
                    for name, value, what in items
                )
            case Table():
                yield f"**{escaped(block.title)}**"
                yield markdown_table(block.header, block.rows, block.flush_right)
            case Figure(path, caption):
                yield f"![{escaped(caption)}]({quote(path)})"
            case Code(text):
                yield _fenced(text)
            case Details(title, inner):
                yield f"<details><summary>{escaped(title)}</summary>"
                yield from _markdown(inner)
                yield "</details>"


def _listed(items: tuple[str, ...]) -> str:
    return "\n".join(f"- {_paragraph(text)}" for text in items)


def _fenced(text: str) -> str:
    """A block of code, within a fence longer than any in it."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}\n{text}\n{fence}"
