"""What every report writes with: numbers as text, tables."""


def number(value: float | None, digits: int = 1, scale: float = 1.0) -> str:
    """`scale * value` with some digits, "-" for None."""
    return "-" if value is None else f"{scale * value:.{digits}f}"


def percent(value: float | None) -> str:
    """A share in [0, 1] as per cent with two digits, "-" for None."""
    return number(value, 2, 100.0)


def points(value: float | None) -> str:
    """A difference of shares in points of per cent, with its sign; "-" for None."""
    return "-" if value is None else f"{100 * value:+.1f}"


def p_value(value: float | None) -> str:
    """A p value with three digits, "<.001" below that, "-" for None: none is 0."""
    return "<.001" if value is not None and value < 0.001 else number(value, 3)


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
