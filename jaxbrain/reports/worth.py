"""What synthesis is worth, and what its filters left out: a part of the ladder's page."""

from jaxbrain.reports import terminal
from jaxbrain.reports.drawing import accuracy, number, p_value, percent, points
from jaxbrain.reports.page import Block, Heading, Prose, Text, new_table

TITLE = "What synthesis is worth"
# Below it a difference is called more than chance.
_LEVEL = 0.05
_READ = (
    "`only`: trained on synthetic images, tested on real ones (TSTR), beside trained and tested on "
    "real ones (TRTR: real alone). p: corrected resampled t, and adjusted by Holm over the rows of "
    "a protocol. The interval resamples groups of images, not trainings. A gain is claimed where "
    "Holm's p is under 5 % and the interval above 0."
)


def _against(row: dict) -> str:
    return "real alone" if row["against"] == "none" else row["against"]


def _interval(row: dict) -> str:
    return "..".join(map(points, row["interval"] or ())) or "-"


def finding(results: dict) -> str:
    """Whether a generator helps a classifier, in a sentence; empty without such rows."""
    rows = [row for row in results.get("worth", ()) if row["against"] == "none"]
    if not rows:
        return ""
    last = max(row["protocol"] for row in rows)
    rows = [row for row in rows if row["protocol"] == last]
    tested = [row for row in rows if row.get("corrected_t_p_holm") is not None]
    if not tested:
        return f"Whether synthesis helps under {last} cannot be told from one test set."
    # Of two or three tests the t test can say 0: the images must agree.
    helps = [
        row
        for row in tested
        if row["corrected_t_p_holm"] < _LEVEL and row["interval"] and row["interval"][0] > 0
    ]
    if not helps:
        return (
            f"No generator helps any classifier by more than chance may give ({last}, "
            f"{len(tested)} comparisons with real images alone, Holm, {100 * _LEVEL:.0f} %)."
        )
    named = [
        f"{row['classifier']} + {row['generator']} {points(row['difference'])} points "
        f"({_interval(row)}; p {p_value(row['corrected_t_p_holm'])})"
        for row in helps
    ]
    return (
        f"Synthesis helps by more than chance may give in {len(helps)} of {len(tested)} "
        f"comparisons with real images alone ({last}, Holm): {', '.join(named)}."
    )


def table(results: dict) -> tuple[list[str], list[list[str]]]:
    """Header and rows: a protocol after the other, the cleanest first."""
    cells = {
        (cell["protocol"], cell["generator"], cell["classifier"]): cell
        for cell in results["cells"]
        if cell["labels"] == "true"
    }
    rows = []
    for row in sorted(results["worth"], key=lambda row: row["protocol"], reverse=True):
        own, other = (
            accuracy(cells.get((row["protocol"], name, row["classifier"])))
            for name in (row["generator"], row["against"])
        )
        p = (p_value(row.get(name)) for name in ("corrected_t_p", "corrected_t_p_holm"))
        names = row["protocol"], row["classifier"], row["generator"]
        rows.append(
            [*names, own, _against(row), other, points(row["difference"]), _interval(row), *p]
        )
    header = ["protocol", "classifier", "generator", "accuracy", "against", "its accuracy"]
    return [*header, "points", "95 % interval", "corrected t p", "Holm"], rows


def _filters(results: dict) -> tuple[list[str], list[list[str]]]:
    rows = [
        [
            *(one[name] for name in ("generator", "protocol", "view")),
            *(str(one[name]) for name in ("images", "near")),
            percent(one["near"] / one["images"]),
            str(one["filled"]),
            number(one["limit"], 4),
        ]
        for one in results["filtered"]
    ]
    header = ["generator", "protocol", "as", "images taken", "near-copies among those drawn", "%"]
    return [*header, "of them taken after all", "distance of a near-copy, at most"], rows


def filled(results: dict) -> list[str]:
    """A line for each generator whose filter found too few other images."""
    return [
        f"{one['generator']}, {one['protocol']} ({one['view']}): {one['filled']} of "
        f"{one['images']} images are near-copies all the same: too few others were drawn"
        for one in results.get("filtered", ())
        if one["filled"]
    ]


def section(results: dict) -> list[Block]:
    """Of a report; nothing where no generator stands beside real images alone."""
    blocks = []
    if results.get("worth"):
        text = finding(results)
        blocks += [Heading(TITLE), *([Text(text)] if text else [])]
        blocks += [new_table("Accuracy, % (95 % interval)", table(results), "worth"), Prose(_READ)]
    if results.get("filtered"):
        blocks += [Heading("Near-copies left out")]
        blocks += [new_table("What filters left out", _filters(results), "filters")]
        blocks += map(Text, filled(results))
    return blocks


def show(console, results: dict) -> None:
    """Print the table and the finding."""
    if results.get("worth"):
        header, rows = table(results)
        # Accuracies stand in the ladder.
        chosen = [i for i, name in enumerate(header) if "accuracy" not in name]
        header, *rows = ([row[i] for i in chosen] for row in (header, *rows))
        terminal.table(console, f"{TITLE}, points of accuracy", header, rows, keys=3)
    terminal.summary(console, [("copies", text) for text in terminal.some(filled(results))])
    terminal.summary(console, [("synthesis", finding(results))])
