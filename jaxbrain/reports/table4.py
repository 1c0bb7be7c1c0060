"""Table 4 as it should have been: a table, Figure 6, a page, from what `table4.json` holds."""

from jaxbrain.reports import canvas, drawing, terminal
from jaxbrain.reports.drawing import accuracy, number, p_value, points
from jaxbrain.reports.ladder import (
    RESEARCH,
    heading,
    in_words,
    outside,
    outside_heading,
    remains,
    what_ran,
)
from jaxbrain.reports.letters import label
from jaxbrain.reports.page import Facts, Figure, Heading, Page, Prose, Text, Warnings, new_table

P0 = (
    "P0 is the paper's protocol: the generator sees every real image and synthetic ones are "
    "tested too. "
)
P0_WITHOUT = "Without a generator P0 is the split by images: copies may stand on both sides. "
READ = (
    "P3 leaks nothing that can be known: a generator is fitted on training images, copies stay on "
    "one side, real images alone are tested. Quoted figures come from other images "
    "or tasks, as said beside them: they are not to be compared with ours. AUROC is of all folds' "
    "answers together. p: each row against the reference on the same folds under P3, corrected "
    "resampled t test, adjusted by Holm in brackets."
)


P4 = "P4 trains on all images and tests another source's, those taken out that are copies."


def _cell(cell: dict | None) -> tuple[str, str]:
    return accuracy(cell), number(cell and cell["auroc"], 3)


_COLOURS = {"P0": canvas.COLOURS[1], "P3": canvas.COLOURS[0], "P4": canvas.COLOURS[2]}
_MEANING = {
    "P0": "ours, P0 (the paper's protocol)",
    "P3": "ours, P3 (nothing leaks)",
    "P4": "ours, P4 (another source's images)",
}


def _protocols(results: dict) -> list[str]:
    return ["P0", "P3", "P4"] if results.get("external") else ["P0", "P3"]


def _table(results: dict) -> tuple[list[str], list[list[str]]]:
    protocols = _protocols(results)
    header = ["method", *outside_heading(results), "quoted", "what that was"]
    header += [text for p in protocols for text in (f"{p}, %", f"{p} AUROC")]
    header += ["points", "p (Holm)", "seconds"]
    rows = []
    for row in results["rows"]:
        p = p_value(row["p_value"])
        if row["p_value_holm"] is not None:
            p += f" ({p_value(row['p_value_holm'])})"
        own = [row["name"], *outside(results, row["name"])]
        own += [number(row["quoted"]), row["quoted_what"]]
        own += [text for p in protocols for text in _cell(row[p])]
        rows.append([*own, points(row["difference"]), p, number(row["seconds"])])
    return header, rows


def _read(results: dict) -> str:
    read = (P0_WITHOUT if results["generator"] == "none" else P0) + READ
    return f"{read} {P4}" if results.get("external") else read


def _notes(results: dict) -> list[str]:
    lines = [
        f"generator {results['generator']}, reference {results['reference'] or 'none'}",
        *(f"not trained: {one['name']} ({one['why']})" for one in results["left_out"]),
    ]
    if results["seconds_of_generator"] is not None:
        lines.append(f"the generator's fits took {results['seconds_of_generator']:.1f} s more")
    return lines


def page(results: dict) -> Page:
    """The comparison's report."""
    blocks = (
        Facts(tuple(_facts(results))),
        Heading("Warnings"),
        Warnings(tuple(results.get("warnings", ()))),
        Heading("The table"),
        new_table("Accuracy (95 % interval) and AUROC", _table(results), "table4"),
        *map(Text, _notes(results)),
        Figure("table4.png", "Figure 6 of the paper, redone on one footing"),
        Heading("How to read it"),
        Prose(_read(results)),
        Text(remains(results)),
    )
    return Page("Table 4, on one footing", tuple(heading(results)), blocks)


def _facts(results: dict) -> list[tuple[str, str, str]]:
    """The best under each protocol."""
    facts = []
    for protocol in _protocols(results):
        if rows := [row for row in results["rows"] if row[protocol]]:
            best = max(rows, key=lambda row: row[protocol]["accuracy"])
            what = f"{best['name']}: the best of {len(rows)} rows, so a little lucky"
            facts.append((f"Under {protocol}", f"{accuracy(best[protocol])} %", what))
    return facts


def show(console, results: dict) -> None:
    """Print what was found in a few lines, then the table."""
    best = max(results["rows"], key=lambda row: row["P3"]["accuracy"] if row["P3"] else -1.0)
    lines = [("run", f"{what_ran(results)}; {_notes(results)[0]}")]
    for protocol, meaning in (("P0", "the paper's protocol, which leaks"), ("P3", "no known leak")):
        if cell := best[protocol]:
            lines.append((protocol, f"{meaning}: {in_words(cell)}: {best['name']}"))
    lines += [("warning", text) for text in _notes(results)[1:]]
    quoted = "Quoted figures come from other images or tasks: they are not to be compared with ours"
    lines.append(("note", f"{quoted}. {RESEARCH}"))
    terminal.summary(console, lines)
    header, rows = _table(results)
    # What a quoted figure was is long: last, so that the numbers stand together.
    at = header.index("what that was")
    header, *rows = ([*row[:at], *row[at + 1 :], row[at]] for row in (header, *rows))
    header[-1] = "what the quoted figure was"
    title = "Table 4, on one footing: accuracy, % (95 % interval)"
    terminal.table(
        console, title, header, rows, right=range(header.index("quoted"), len(header) - 1)
    )
    if results["reference"]:
        terminal.summary(console, [("points, p", f"each row against {results['reference']}, P3")])


def picture(results: dict):
    """`table4.png`: Figure 6 of the paper, redone."""
    rows = results["rows"]
    figure, (axis,) = canvas.new_figure(max(7.0, 1.25 * len(rows) + 1.5), 5.0)
    drawn = [(p, colour) for p, colour in _COLOURS.items() if p in _protocols(results)]
    width = 0.8 / (1 + len(drawn))
    for place, row in enumerate(rows):
        if row["quoted"] is not None:
            axis.bar(place - width, row["quoted"], width, **_QUOTED)
            _above(axis, place - width, row["quoted"], row["quoted"])
        for turn, (protocol, colour) in enumerate(drawn):
            cell, at = row[protocol], place + turn * width
            if cell is None:
                continue
            value, error = drawing.bar(cell["accuracy"], cell["interval"])
            axis.bar(at, value, width, color=colour, alpha=0.7, yerr=error, capsize=3)
            _above(axis, at, value, value + error[1][0])
    handles = [axis.bar(0, 0, label="quoted by the paper (other images and tasks)", **_QUOTED)]
    for protocol, colour in drawn:
        handles.append(axis.bar(0, 0, color=colour, alpha=0.7, label=_MEANING[protocol]))
    share = max(results["data"]["found"].values()) / sum(results["data"]["found"].values())
    text = f"always the largest class, {100 * share:.1f} %"
    handles.append(axis.axhline(100 * share, color="0.3", lw=1, ls=":", label=text))
    turned = {"rotation": 30, "ha": "right"} if len(rows) > 4 else {}
    names = [label(row["name"]) for row in rows]
    axis.set_xticks([i + width * (len(drawn) - 2) / 2 for i in range(len(rows))], names, **turned)
    axis.set(ylabel="accuracy, % (95 % intervals)", ylim=(0, 110), yticks=range(0, 101, 20))
    axis.set_title("Figure 6 of the paper, redone on one footing")
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=8)
    return figure


_QUOTED = {"color": "0.85", "hatch": "//", "edgecolor": "0.5"}


def _above(axis, place: float, value: float, top: float) -> None:
    """A value over its bar and its interval."""
    axis.text(place, top + 1.5, f"{value:.1f}", ha="center", va="bottom", fontsize=7)
