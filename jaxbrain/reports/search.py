"""A search as a table, a figure and a page, from what `search.json` holds."""

from jaxbrain.reports import canvas, drawing, terminal
from jaxbrain.reports.drawing import accuracy, number, p_value, points
from jaxbrain.reports.ladder import (
    RESEARCH,
    heading,
    missing,
    outside,
    outside_heading,
    remains,
    what_ran,
)
from jaxbrain.reports.letters import label
from jaxbrain.reports.page import Facts, Figure, Heading, Page, Text, Warnings, new_table

NESTED = "chosen inside (nested)"
READ = (
    "inner: on folds of the training images alone; outer: on the test folds, trained on all "
    "training images. In every outer fold the arm of the best inner accuracy answers: its "
    "answers are the nested ones, and no test fold had a part in the choice. naive: the arm that "
    "is best on the test folds, as one reports who picks by looking there. Selection effect: "
    "naive minus nested, both on the same draws of groups. points, p: nested against the arm on "
    "the same folds, corrected resampled t test, adjusted by Holm in brackets."
)
SHUFFLED = (
    "Labels are shuffled by groups before anything is split, so that there is nothing to find: "
    "what the naive figure has above the nested one, choosing by the test folds has added."
)


def _largest(results: dict) -> float:
    """The share of the largest class, in [0, 1]."""
    found = results["data"]["found"].values()
    return max(found) / sum(found)


def _p(found: dict | None) -> str:
    if found is None or found["corrected_t_p"] is None:
        return "-"
    return f"{p_value(found['corrected_t_p'])} ({p_value(found['corrected_t_p_holm'])})"


def _table(results: dict, one: dict) -> tuple[list[str], list[list[str]]]:
    """The arms of one of the searches, then the nested figure."""
    header = ["arm", *outside_heading(results), "inner, %", "outer, %", "chosen"]
    header += ["nested - arm, points", "p (Holm)"]
    folds = sum(row["chosen"] for row in one["arms"])
    naive = (one["naive"] or {}).get("arm")
    rows = []
    for row in one["arms"]:
        against = row["against"]
        name = f"{row['name']} (naive)" if row["name"] == naive else row["name"]
        cells = [name, *outside(results, row["name"])]
        cells += [accuracy(row["inner"]), accuracy(row["outer"])]
        cells += [f"{row['chosen']} of {folds}", points(against and against["difference"])]
        rows.append([*cells, _p(against)])
    inner = number(one["inner_of_chosen"], scale=100.0)
    unsaid = [""] * len(outside_heading(results))
    rows.append([NESTED, *unsaid, inner, accuracy(one["chosen"]), f"{folds} of {folds}", "", ""])
    return header, rows


def _sentence(one: dict) -> str:
    nested = f"nested {accuracy(one['chosen'])} %"
    if not one["naive"]:
        return f"{nested}; naive: no arm answered every test"
    effect = one["selection_effect"]
    low_high = " to ".join(map(points, effect["interval"] or ())) or "no interval"
    return (
        f"{nested}; naive {accuracy(one['naive'])} % ({one['naive']['arm']}); selection effect "
        f"{points(effect['difference'])} points ({low_high})"
    )


_NAMES = {"true": "search", "shuffled": "search_shuffled"}


def _title(one: dict) -> str:
    return "True labels" if one["labels"] == "true" else "Control: shuffled labels"


def _choices(results: dict) -> tuple[list[str], list[list[str]]]:
    names = list(results["arms"])
    rows = [
        [
            *(str(one[name]) for name in ("labels", "seed", "fold", "arm")),
            *(number(one["inner_accuracy"].get(name), scale=100.0) for name in names),
        ]
        for one in results["choices"]
    ]
    return ["labels", "seed", "fold", "chosen", *names], rows


def _arms(results: dict) -> tuple[list[str], list[list[str]]]:
    rows = []
    for name, arm in results["arms"].items():
        fields = ", ".join(f"{k} {v}" for k, v in arm.items() if k != "classifier")
        rows.append([name, arm["classifier"], fields or "-"])
    return ["arm", "classifier", "fields"], rows


def _heading(results: dict) -> list[str]:
    return [
        *heading(results),
        f"{results['inner_folds']} inner folds of each training set; P3 without synthesis; always "
        f"the largest class: {100 * _largest(results):.1f} %",
    ]


def page(results: dict) -> Page:
    """The search's report: what nested choosing finds, and what choosing by the tests claims."""
    blocks = [
        Facts(tuple(_facts(results))),
        Heading("Warnings"),
        Warnings((*results.get("warnings", ()), *missing(results))),
    ]
    for one in results["searches"]:
        table = new_table("Accuracy (95 % interval)", _table(results, one), _NAMES[one["labels"]])
        blocks += [Heading(_title(one)), Text(_sentence(one)), table]
        blocks += [Text(SHUFFLED)] if one["labels"] == "shuffled" else []
    arms = new_table("Their classifiers and fields", _arms(results), "arms")
    choices = new_table("Inner accuracy of every arm, %", _choices(results), "choices")
    blocks += [
        Figure("search.png", "Inner accuracy against outer accuracy of every arm"),
        Heading("How to read it"),
        Text(READ),
        Text(remains(results)),
        Heading("The arms"),
        arms,
        Heading("What was chosen in each fold"),
        choices,
    ]
    summary = tuple(_heading(results))
    return Page("A search, chosen inside training folds", summary, tuple(blocks))


def _facts(results: dict) -> list[tuple[str, str, str]]:
    facts = []
    for one in results["searches"]:
        if one["labels"] == "true":
            chosen = accuracy(one["chosen"])
            facts.append(("Nested accuracy", f"{chosen} %", "no test fold had a part in it"))
            if one["naive"]:
                effect = points(one["selection_effect"]["difference"])
                arm = f"{one['naive']['arm']}, picked by the tests"
                facts.append(("Naive accuracy", f"{accuracy(one['naive'])} %", arm))
                facts.append(("Selection effect", f"{effect} points", "naive minus nested"))
    share = number(_largest(results), scale=100.0)
    return [*facts, ("Always the largest class", f"{share} %", "needs no image")]


def show(console, results: dict) -> None:
    """Print what was found in a few lines, then a table for each kind of labels."""
    inner = f"{results['inner_folds']} inner folds of each training set"
    lines = [("run", f"{len(results['arms'])} arms; {what_ran(results)}; {inner}")]
    for one in results["searches"]:
        shuffled = one["labels"] == "shuffled"
        word, of = ("control", "shuffled labels: ") if shuffled else ("found", "")
        lines.append((word, of + _sentence(one)))
    lines.append(("guessing", f"always the largest class: {100 * _largest(results):.1f} %"))
    lines += [("warning", text) for text in terminal.some(missing(results))]
    how = "Nested: chosen on inner folds of training images alone; naive: on the test folds."
    lines.append(("note", f"{how} {RESEARCH}"))
    terminal.summary(console, lines)
    for one in reversed(results["searches"]):
        title = f"{_title(one)}: accuracy, % (95 % interval)"
        keys = 1 + len(outside_heading(results))
        terminal.table(console, title, *_table(results, one), keys=keys)


def picture(results: dict):
    """`search.png`: the inner accuracy of every arm against its outer one with its interval,
    the nested figure as a band, the naive one in a ring; a panel for each kind of labels."""
    searches = results["searches"]
    arms = max(len(one["arms"]) for one in searches)
    size = 5.6 * len(searches) + 0.4, 5.2 + 0.18 * arms
    figure, axes = canvas.new_figure(*size, len(searches))
    for axis, one in zip(axes, searches, strict=True):
        _panel(axis, one, _largest(results))
    return figure


def _panel(axis, one: dict, largest: float) -> None:
    naive = (one["naive"] or {}).get("arm")
    for place, row in enumerate(one["arms"]):
        if row["inner"] is None or row["outer"] is None:
            continue
        x, across = drawing.bar(row["inner"]["accuracy"], row["inner"]["interval"])
        y, along = drawing.bar(row["outer"]["accuracy"], row["outer"]["interval"])
        text = f"{label(row['name'])}, chosen {row['chosen']} times"
        how = canvas.style(place) | {"ls": "none", "capsize": 2, "lw": 1, "ms": 5, "alpha": 0.8}
        axis.errorbar(x, y, xerr=across, yerr=along, label=text, **how)
        if row["name"] == naive:
            ring = dict(marker="o", ms=13, mfc="none", color="0.2", ls="none")
            axis.plot(x, y, label="naive: best on the test folds", **ring)
    if one["chosen"]:
        value = 100 * one["chosen"]["accuracy"]
        axis.axhline(value, color="0.2", lw=1.2, label=f"nested, {value:.1f} % (band: 95 %)")
        if one["chosen"]["interval"]:
            low, high = one["chosen"]["interval"]
            axis.axhspan(100 * low, 100 * high, color="0.2", alpha=0.08)
    text = f"always the largest class, {100 * largest:.1f} %"
    axis.axhline(100 * largest, color="0.5", lw=1, ls=":", label=text)
    axis.axline((60, 60), slope=1, color="0.8", lw=1, zorder=0)
    axis.set(xlabel="inner accuracy, %", ylabel="outer accuracy, %", title=_title(one))
    axis.grid(alpha=0.3)
    # Under the panel: among so many marks no place is free.
    axis.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2)
