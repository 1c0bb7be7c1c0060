"""Sheets: images in labelled rows, as one PNG."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from jaxbrain.reports import letters

# Pixels: a cell at least, between two cells, around a label, the widest label, heights of text.
_CELL, _GAP, _AROUND, _WIDEST = 96, 2, 8, 220
_TEXT, _CAPTION = 15, 11


def sheet(
    path: Path,
    rows: list[tuple[str, np.ndarray]],
    captions: list[list[str]] | None = None,
) -> None:
    """Write images in labelled rows.

    Args:
        path: of the PNG.
        rows: (text, [N, S, S, 1] uint8) each, of one S; a line break in a text begins a line.
            Small images are enlarged by a whole factor, to 96 pixels or more.
        captions: a name for each image of each row, written under it, shortened in the middle
            where the cell is too narrow; None writes none.
    """
    size = rows[0][1].shape[1]
    side = size * -(-_CELL // size) if size < _CELL else size
    font, small = letters.font(_TEXT), letters.font(_CAPTION)
    texts = ["\n".join(_fitting(line, font, _WIDEST) for line in t.split("\n")) for t, _ in rows]
    wide = max((font.getlength(line) for text in texts for line in text.split("\n")), default=0)
    margin = int(np.ceil(wide)) + 2 * _AROUND if wide else _GAP
    below = _CAPTION + 6 if captions else 0
    step, high = side + _GAP, side + _GAP + below
    width = margin + step * max(len(images) for _, images in rows)
    canvas = Image.new("L", (width, high * len(rows) + _GAP), 255)
    draw = ImageDraw.Draw(canvas)
    for r, (text, (_, images)) in enumerate(zip(texts, rows, strict=True)):
        top = _GAP + r * high
        middle = _AROUND, top + side // 2
        draw.multiline_text(middle, text, fill=0, font=font, anchor="lm", spacing=4)
        for c, image in enumerate(images):
            left = margin + c * step
            picture = Image.fromarray(image[..., 0])
            canvas.paste(picture.resize((side, side), Image.Resampling.NEAREST), (left, top))
            if captions:
                name = _fitting(captions[r][c], small, side)
                draw.text((left, top + side + 2), name, fill=60, font=small, anchor="la")
    canvas.save(path)


def _fitting(text: str, font, width: int) -> str:
    return letters.shortened(letters.drawable(text), lambda one: font.getlength(one) <= width)
