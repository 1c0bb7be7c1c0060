"""What every report draws with: numbers as text, tables, figures, sheets of images."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw


def number(value: float | None, digits: int = 1, scale: float = 1.0) -> str:
    """`scale * value` with some digits, "-" for None."""
    return "-" if value is None else f"{scale * value:.{digits}f}"


def percent(value: float | None) -> str:
    """A share in [0, 1] as per cent with two digits, "-" for None."""
    return number(value, 2, 100.0)


def points(value: float | None) -> str:
    """A difference of shares in points of per cent, with its sign; "-" for None."""
    return "-" if value is None else f"{100 * value:+.1f}"


def accuracy(cell: dict | None) -> str:
    """`accuracy` and `interval` of a cell, shares in [0, 1], as per cent; "-" for None."""
    if cell is None:
        return "-"
    text = number(cell["accuracy"], scale=100.0)
    if cell["interval"]:
        low, high = cell["interval"]
        text += f" ({100 * low:.1f}..{100 * high:.1f})"
    return text


def bar(value: float, interval) -> tuple[float, list[list[float]]]:
    """A share and its interval (low, high), or None, in per cent as matplotlib wants them:
    the value and its error [[below], [above]], at least 0."""
    low, high = interval or (value, value)
    return 100 * value, [[max(100 * (value - low), 0)], [max(100 * (high - value), 0)]]


def p_value(value: float | None) -> str:
    """A p value with three digits, never as 0; "-" for None.

    Example:
        >>> p_value(0.0304), p_value(0.0002)
        ('0.030', '< .001')
    """
    return "< .001" if value is not None and value < 0.001 else number(value, 3)


def new_table(title: str, header, rows, right=()):
    """A `rich.table.Table`; every cell is shown as it stands, folded where it is long.

    right: numbers of the columns that are flush right.
    """
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left")
    for number, name in enumerate(header):
        justify = "right" if number in right else "left"
        table.add_column(Text(str(name)), justify=justify, overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    return table


def say(console, *lines: str) -> None:
    """Print lines as they stand: no markup, no colours, no wrapping of names."""
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def new_figure(width: float, height: float, columns: int = 1):
    """A matplotlib figure, inches, and its axes side by side."""
    # The object interface: pyplot would pick a window system and keep figures alive.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    return figure, figure.subplots(1, columns, squeeze=False)[0]


def label(name) -> str:
    """A name as it stands in a figure: bytes that are no UTF-8 cannot be drawn, and a
    dollar begins a formula."""
    return str(name).encode("utf-8", "backslashreplace").decode().replace("$", r"\$")


def sheet(path: Path, rows: list[tuple[str, np.ndarray]]) -> None:
    """Write images in labelled rows.

    rows: (text, [N, S, S, 1] uint8) each, of one N and S; small images are enlarged by a
    whole factor.
    """
    size = rows[0][1].shape[1]
    scale = max(1, 96 // size)
    margin, gap = 84, 2
    cell = size * scale + gap
    width = margin + cell * max(len(images) for _, images in rows)
    canvas = Image.new("L", (width, cell * len(rows) + gap), 255)
    draw = ImageDraw.Draw(canvas)
    for r, (text, images) in enumerate(rows):
        # Lines of 15 pixels, around the middle of the row.
        half = (15 * (text.count("\n") + 1) - 3) // 2
        draw.text((6, gap + r * cell + cell // 2 - half), text, fill=0)
        for c, image in enumerate(images):
            picture = Image.fromarray(image[..., 0]).resize(
                (size * scale, size * scale), Image.Resampling.NEAREST
            )
            canvas.paste(picture, (margin + c * cell, gap + r * cell))
    canvas.save(path)
