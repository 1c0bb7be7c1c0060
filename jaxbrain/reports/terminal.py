"""What a run prints when it ends: a short summary, then tables that fit the terminal; the rest
stands in its report."""

import re
import textwrap

# Columns of a terminal at which nothing is broken, and the narrowest that are thought of.
WIDTH, _LEAST = 80, 40
# The narrowest that a column of names is folded to, characters, and after which of them.
_NAME = 14
_ENDS = re.compile(r"(?<=[-_/ .+@:])")
# Lines of one kind in a summary.
_MOST = 3
# A space that no line is broken at.
_TIE = "\N{NO-BREAK SPACE}"


def summary(console, rows) -> None:
    """Print lines with a word before each, wrapped at spaces; names and numbers stay whole.

    rows: (word of at most 9 letters, or None for a whole line, text) each; empty texts are left
    out.
    """
    width = max(_LEAST, console.width)
    for word, text in rows:
        # A number and its unit are one word.
        lines = textwrap.wrap(
            _plain(text).replace(" %", f"{_TIE}%"),
            width,
            initial_indent="" if word is None else f"{word:<10}",
            subsequent_indent="" if word is None else " " * 10,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for line in lines if text else ():
            say(console, line.replace(_TIE, " "))


def say(console, *lines: str) -> None:
    """Print lines as they stand: no markup, no colours, no wrapping of names."""
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def some(texts: list[str], where: str = "report.md") -> list[str]:
    """The first of many lines, and where the others are."""
    if len(texts) <= _MOST:
        return texts
    return [*texts[:_MOST], f"and {len(texts) - _MOST} more: see {where}"]


def table(console, title: str, header, rows, keys: int = 1, right=None) -> None:
    """Print a table that is no wider than the terminal.

    Columns that have no value in any row are left out. What does not fit follows in a table
    below, beside the same first columns. Cells are wrapped at spaces alone; those of the first
    columns, which are names, are folded where they are long, after a sign between words if they
    have one.

    Args:
        header, rows: text, or what prints as it.
        keys: how many of the first columns say what a row is.
        right: numbers of the columns that are flush right; None: all but the first ones.
    """
    from rich.table import Table
    from rich.text import Text

    header, rows = list(map(str, header)), [list(map(_plain, map(str, row))) for row in rows]
    flush = range(keys, len(header)) if right is None else right
    kept = [
        i for i in range(len(header)) if i < keys or any(row[i] not in ("", "-") for row in rows)
    ]
    blocks = _blocks([[header[i], *(row[i] for row in rows)] for i in kept], keys, console.width)
    for turn, (chosen, widths) in enumerate(blocks):
        shown = Table()
        if title and not turn:
            summary(console, [(None, title)])
        for place, width in zip(chosen, widths, strict=True):
            justify = "right" if kept[place] in flush else "left"
            name = Text(header[kept[place]])
            shown.add_column(name, justify=justify, overflow="fold", width=width)
        folds = dict(zip(chosen[:keys], widths, strict=False))
        for row in rows:
            cells = {place: row[kept[place]] for place in chosen}
            cells |= {place: _folded(cells[place], width) for place, width in folds.items()}
            shown.add_row(*map(Text, cells.values()))
        console.print(shown)


def _folded(text: str, width: int) -> str:
    """A name in lines of at most `width`; a piece of it that is longer is broken anywhere."""
    lines = [""]
    for piece in _ENDS.split(text):
        if _cells((lines[-1] + piece).rstrip()) > width and lines[-1]:
            lines.append("")
        lines[-1] += piece
    return "\n".join(line.rstrip() for line in lines)


def _blocks(columns: list[list[str]], keys: int, width: int) -> list[tuple[list[int], list[int]]]:
    """Which columns stand in each table, and how wide; each begins with the first ones."""
    natural = [max(map(_cells, column)) for column in columns]
    least = [max(_cells(w) for text in c for w in text.split() or [""]) for c in columns]
    least = [min(natural[i], _NAME) if i < keys else n for i, n in enumerate(least)]
    # A border, and a space on both sides, of each column.
    room = width - 1

    def total(some: list[int], sizes: list[int]) -> int:
        return sum(sizes[i] + 3 for i in some)

    blocks: list[list[int]] = [list(range(keys))]
    for i in range(keys, len(columns)):
        if len(blocks[-1]) > keys and total([*blocks[-1], i], least) > room:
            blocks.append(list(range(keys)))
        blocks[-1].append(i)
    found = []
    for some in blocks:
        sizes = list(natural)
        while total(some, sizes) > room:
            wide = [i for i in some if sizes[i] > least[i]]
            if not wide:
                break
            sizes[max(wide, key=lambda i: sizes[i])] -= 1
        found.append((some, [sizes[i] for i in some]))
    return found


def _cells(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)


def _plain(text: str) -> str:
    """Control characters, with which a name could move the cursor, as escapes."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
