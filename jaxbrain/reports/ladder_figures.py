"""The figures of ladders and ablations, from what `ladder.json` and `ablations.json` hold."""

import numpy as np

from jaxbrain.reports import canvas, drawing
from jaxbrain.reports.ladder import columns, lookup, methods
from jaxbrain.reports.letters import label

# Columns from which on methods are lines down the ladder; rows of dots below.
_LINES = 3


def picture(results: dict):
    """`ladder.png`: the accuracy of every method under every protocol that has one, with its
    interval, and where there are leaks what each is worth."""
    rows = methods(results)
    shown = [c for c in columns(results) if any(_cell(results, row, c) for row in rows)]
    leaks, dots = results["leaks"][::-1], len(shown) < _LINES
    height = 1.6 + 0.3 * len(rows) * len(shown) if dots else 4.6 + 0.2 * (1 + len(rows) // 2)
    size = 12 if leaks else 7.5, max(height, 1.6 + 0.2 * len(leaks), 3.2)
    figure, axes = canvas.new_figure(*size, 2 if leaks else 1)
    (_dots if dots else _lines)(axes[0], results, rows, shown)
    share = 100 / len(results["data"]["found"])
    (axes[0].axvline if dots else axes[0].axhline)(
        share, color="0.4", lw=1, ls=":", label=f"guessing, {share:.0f} %"
    )
    canvas.legend_below(figure, axes[0], columns=4 if leaks else 2)
    if leaks:
        _leaks(axes[1], leaks, rows)
    return figure


def _cell(results: dict, row: tuple[str, str], column) -> dict | None:
    """What is drawn of a row in a column; of a row without synthesis nothing twice."""
    return None if (column[2], row[1]) == ("none", "none") else lookup(results, row, column)


def _named(classifier: str, generator: str) -> str:
    return label(classifier if generator == "none" else f"{classifier} + {generator}")


def _lines(axis, results: dict, rows: list, shown: list) -> None:
    """A line for each method, down the protocols."""
    width = 0.6 / max(len(rows), 1)
    for r, row in enumerate(rows):
        style, shift = canvas.style(r), (r - (len(rows) - 1) / 2) * width
        for labels, line in (("true", "-"), ("shuffled", "--")):
            found = {
                x + shift: drawing.bar(cell["accuracy"], cell["interval"])
                for x, column in enumerate(shown)
                if column[3] == labels and (cell := _cell(results, row, column))
            }
            if found:
                value, error = zip(*found.values(), strict=True)
                named = {"label": _named(*row)} if labels == "true" else {"mfc": "white"}
                ends = np.concatenate(error, axis=1)
                how = style | named | {"ls": line, "capsize": 2, "lw": 1.2, "ms": 5}
                axis.errorbar(list(found), value, yerr=ends, **how)
    names = [column[0].replace(" ", "\n") for column in shown]
    axis.set_xticks(range(len(shown)), names, fontsize=9)
    axis.set(ylabel="accuracy, %", title="Accuracy down the ladder (95 % intervals)")
    axis.grid(axis="y", alpha=0.3)


def _dots(axis, results: dict, rows: list, shown: list) -> None:
    """A row for each method, a mark for each protocol."""
    for turn, column in enumerate(shown):
        drawn = False
        for place, row in enumerate(rows):
            if not (cell := _cell(results, row, column)):
                continue
            value, error = drawing.bar(cell["accuracy"], cell["interval"])
            at = -place - (turn - (len(shown) - 1) / 2) * 0.42
            how = canvas.style(turn) | {"ls": "none", "capsize": 3, "ms": 6}
            axis.errorbar(value, at, xerr=error, label=None if drawn else column[0], **how)
            axis.annotate(
                f"{value:.1f}",
                (value, at),
                (0, 4),
                textcoords="offset points",
                ha="center",
                va="bottom",
                fontsize=8,
            )
            drawn = True
    axis.set_yticks([-i for i in range(len(rows))], [_named(*row) for row in rows], fontsize=9)
    axis.set_ylim(0.7 - len(rows) - 0.1, 0.8)
    axis.set(xlabel="accuracy, % (95 % intervals)", title="Accuracy by method")
    axis.grid(axis="x", alpha=0.3)


def _leaks(axis, leaks: list[dict], rows: list) -> None:
    places = {row: number for number, row in enumerate(rows)}
    for place, leak in enumerate(leaks):
        value, error = drawing.bar(leak["difference"], leak["interval"])
        colour = canvas.style(places[leak["classifier"], leak["generator"]])["color"]
        axis.barh(place, value, xerr=error, color=colour, alpha=0.6, capsize=2)
    names = [
        f"{label(one['leak'])}  {_named(one['classifier'], one['generator'])}" for one in leaks
    ]
    axis.set_yticks(range(len(leaks)), names, fontsize=8)
    # Few bars are no thicker than many.
    slots = max(len(leaks), int(axis.figure.get_figheight() / 0.4))
    axis.set_ylim(len(leaks) - 0.3 - slots, len(leaks) - 0.3)
    axis.axvline(0, color="0.3", lw=1)
    axis.set(xlabel="points of accuracy (95 % intervals)", title="What each leak is worth")
    axis.grid(axis="x", alpha=0.3)


def ablation_picture(results: dict):
    """`ablations.png`: the accuracy of every setting with its interval, by ablation."""
    rows = results["rows"]
    figure, (axis,) = canvas.new_figure(8.5, 1.5 + 0.28 * len(rows))
    kinds = list(dict.fromkeys(row["ablation"] for row in rows))
    place, ticks, names = 0.0, [], []
    for turn, kind in enumerate(kinds):
        for row in (row for row in rows if row["ablation"] == kind):
            if row["accuracy"] is not None:
                value, error = drawing.bar(row["accuracy"], row["interval"])
                axis.errorbar(value, place, xerr=error, capsize=3, **canvas.style(turn))
                axis.text(103, place, f"{value:.1f}", va="center", fontsize=8)
            ticks.append(place)
            names.append(label(f"{kind}: {row['setting']}"))
            place -= 1.0
        place -= 0.6
    axis.set_yticks(ticks, names, fontsize=8)
    axis.set_ylim(place + 0.8, 0.8)
    share = 100 / len(results["data"]["found"])
    axis.axvline(share, color="0.4", lw=1, ls=":", label=f"guessing, {share:.0f} %")
    axis.set(xlim=(0, 111), xticks=range(0, 101, 20), xlabel="accuracy, % (95 % intervals)")
    axis.set_title("Under P3 unless another protocol is named", fontsize=10)
    axis.grid(axis="x", alpha=0.3)
    canvas.legend_below(figure, axis)
    return figure
