"""Table 4 as it should have been: a table, Figure 6, a page, from what `table4.json` holds."""

from pathlib import Path

from jaxbrain.reports import drawing
from jaxbrain.reports.drawing import accuracy, markdown, markdown_table, number, points
from jaxbrain.reports.ladder import heading, outside, outside_heading, remains

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


_COLOURS = {"P0": "C1", "P3": "C0", "P4": "C2"}
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
        p = number(row["p_value"], 3)
        if row["p_value_holm"] is not None:
            p += f" ({row['p_value_holm']:.3f})"
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


def page(results: dict) -> str:
    """`report.md`."""
    parts = ["# Table 4, on one footing", *map(markdown, heading(results))]
    parts += [markdown_table(*_table(results)), *map(markdown, _notes(results))]
    if warned := results.get("warnings"):
        parts += ["## Warnings", "\n".join(f"- {markdown(text)}" for text in warned)]
    return "\n\n".join([*parts, _read(results), remains(results)]) + "\n"


def show(console, results: dict) -> None:
    """Print the table."""
    title = "Table 4, on one footing: accuracy, % (95 % interval)"
    console.print(drawing.new_table(title, *_table(results)))
    drawing.say(console, *_notes(results), _read(results))


def picture(path: Path, results: dict) -> None:
    """`table4.png`: Figure 6 of the paper, redone."""
    rows = results["rows"]
    figure, (axis,) = drawing.new_figure(max(7.0, 1.7 * len(rows) + 2.0), 4.8)
    drawn = [(p, colour) for p, colour in _COLOURS.items() if p in _protocols(results)]
    width = 0.78 / (1 + len(drawn))
    for place, row in enumerate(rows):
        if row["quoted"] is not None:
            axis.bar(place - width, row["quoted"], width, color="0.8", hatch="//", edgecolor="0.6")
            axis.text(place - width, 2, f"{row['quoted']:.1f}", ha="center", fontsize=8)
        for turn, (protocol, colour) in enumerate(drawn):
            cell, shift = row[protocol], turn * width
            if cell is None:
                continue
            value, error = drawing.bar(cell["accuracy"], cell["interval"])
            axis.bar(place + shift, value, width, color=colour, yerr=error, capsize=3)
            axis.text(place + shift, 2, f"{value:.1f}", ha="center", fontsize=8)
    handles = [
        axis.bar(0, 0, color=colour, hatch=hatch, edgecolor=edge, label=text)
        for colour, hatch, edge, text in (
            ("0.8", "//", "0.6", "quoted by the paper (other images, tasks, measures)"),
            *((colour, None, None, _MEANING[protocol]) for protocol, colour in drawn),
        )
    ]
    share = max(results["data"]["found"].values()) / sum(results["data"]["found"].values())
    text = f"always the largest class, {100 * share:.1f} %"
    handles.append(axis.axhline(100 * share, color="0.3", lw=1, ls=":", label=text))
    axis.set_xticks(range(len(rows)), [drawing.label(row["name"]) for row in rows], fontsize=8)
    axis.set(ylabel="accuracy, % (95 % interval)", ylim=(0, 125), yticks=range(0, 101, 20))
    axis.set_title("Figure 6 of the paper, redone on one footing")
    axis.legend(handles=handles, loc="upper center", ncols=2, frameon=False, fontsize=8)
    figure.savefig(path)
