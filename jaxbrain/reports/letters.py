"""Text in pictures: names of any kind, in letters that the font has, as long as there is room."""

import functools
from pathlib import Path

from PIL import ImageFont


def _font_file() -> Path:
    """DejaVu Sans, which comes with matplotlib: it has the letters of most alphabets."""
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"


@functools.cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """The font of sheets, `size` pixels high."""
    return ImageFont.truetype(str(_font_file()), size)


@functools.cache
def _known() -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(str(_font_file())).get_charmap())


def drawable(text) -> str:
    """Text as it can be drawn: line breaks and other signs without a picture, bytes that are no
    UTF-8, and letters that the font lacks as escapes.

    Example:
        >>> drawable("tumour 1"), drawable("a\\tb")
        ('tumour 1', 'a\\\\tb')
    """
    return "".join(
        c if c.isprintable() and ord(c) in _known() else ascii(c)[1:-1] for c in str(text)
    )


def label(name) -> str:
    """A name as it stands in a figure: `drawable`, and a dollar begins no formula."""
    return drawable(name).replace("$", r"\$")


def shortened(text: str, fits) -> str:
    """Text that fits, with an ellipsis in its middle where it is too long: names of files differ
    at their ends.

    fits: str -> bool.

    Example:
        >>> shortened("patient_0042_slice_17.png", lambda text: len(text) <= 15)
        'patient…_17.png'
    """
    if fits(text):
        return text
    for kept in range(len(text) - 1, 1, -1):
        short = f"{text[: kept // 2]}…{text[len(text) - (kept - kept // 2) :]}"
        if fits(short):
            return short
    return "…"
