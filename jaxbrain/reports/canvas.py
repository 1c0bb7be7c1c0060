"""Figures: their colours, their size, and how they become files."""

FORMATS = "png", "pdf", "svg"
# Of Okabe and Ito (2008): told apart by the colour-blind too. Yellow, too light for lines, is
# left out.
COLOURS = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"
MARKERS = "o", "s", "^", "D", "v", "P", "X"
_DPI = 200
# No part of a file depends on the time or on chance; letters of a PDF stay letters.
_SETTINGS = {"svg.hashsalt": "jaxbrain", "pdf.fonttype": 42}
_METADATA = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None},
    "svg": {"Date": None, "Creator": None},
}


def new_figure(width: float, height: float, columns: int = 1, rows: int = 1):
    """A matplotlib figure, inches, and its axes [rows * columns], row by row."""
    # The object interface: pyplot would pick a window system and keep figures alive.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False).ravel()


def write(figure, file, kind: str) -> None:
    """Write a figure into an open binary file: the same figure gives the same bytes.

    kind: of `FORMATS`.
    """
    import matplotlib

    with matplotlib.rc_context(_SETTINGS):
        figure.savefig(file, format=kind, metadata=_METADATA[kind])


def style(number: int) -> dict:
    """Colour and marker of the number-th of many things: 49 that differ."""
    count = len(COLOURS)
    return {
        "color": COLOURS[number % count],
        "marker": MARKERS[(number + number // count) % len(MARKERS)],
    }


def legend_below(figure, axis, columns: int = 3) -> None:
    """The legend of an axis's labels under the whole figure, where it covers nothing."""
    handles, texts = axis.get_legend_handles_labels()
    if handles:
        ncols = min(columns, len(handles))
        figure.legend(handles, texts, loc="outside lower center", ncols=ncols, fontsize=8)
