"""Runs side by side, as a page, as rows of a CSV file, and on a terminal."""

from jaxbrain.reports import drawing, terminal
from jaxbrain.reports.drawing import number, p_value, points
from jaxbrain.reports.page import Heading, Page, Text, Warnings, new_table

_CELL = "protocol", "generator", "classifier", "labels"
_RUN = "name", "kind", "preset", "data", "seeds", "tests", "date", "commit", "path"
_MEANING = (
    "Points are the first run's accuracy minus the second's, on the same test images of the seeds "
    "and folds that both have; the interval resamples groups of near-duplicates. p is of the "
    "corrected resampled t test, Holm's is adjusted over all pairs here. Runs whose test images "
    "differ may be read side by side, and no more. Research only: not a medical device."
)


def method(generator: str, classifier: str) -> str:
    """Of a cell, as one name.

    Example:
        >>> method("cgan", "ridge"), method("none", "ridge")
        ('ridge + cgan', 'ridge')
    """
    return classifier if generator == "none" else f"{classifier} + {generator}"


def _protocol(cell: dict) -> str:
    return cell["protocol"] + ("" if cell["labels"] == "true" else f", {cell['labels']}")


def _ordered(results: dict) -> list[dict]:
    """The cells, so that the same cell of different runs stands together; with the true labels
    first."""
    order = {"true": 0, "shuffled": 1}

    def place(cell: dict):
        own = order.get(cell["labels"], 2), cell["protocol"], cell["classifier"], cell["generator"]
        return (*own, cell["run"])

    return sorted(results["cells"], key=place)


def runs_table(results: dict) -> tuple[list[str], list[list[str]]]:
    """What each run is; the number is what other tables call it."""
    rows = [
        [str(i), *(str(run[name])[: 12 if name == "commit" else None] or "-" for name in _RUN)]
        for i, run in enumerate(results["runs"], start=1)
    ]
    return ["run", *_RUN], rows


def cells_table(results: dict, labels: tuple[str, ...] = ()) -> tuple[list[str], list[list[str]]]:
    """Every cell of every run. labels: those of the cells to keep, () for all."""
    header = ["protocol", "method", "run", "accuracy, %", "AUROC", "n"]
    rows = [
        [
            _protocol(cell),
            method(cell["generator"], cell["classifier"]),
            str(cell["run"] + 1),
            drawing.accuracy(cell),
            number(cell["metrics"]["auroc"], 3),
            str(cell["n"]),
        ]
        for cell in _ordered(results)
        if not labels or cell["labels"] in labels
    ]
    return header, rows


def pairs_table(results: dict) -> tuple[list[str], list[list[str]]]:
    """The differences that could be tested."""
    rows = [
        [
            one["protocol"],
            f"{one['first'] + 1} - {one['second'] + 1}",
            " - ".join(dict.fromkeys(method(*one[m]) for m in ("first_method", "second_method"))),
            points(one["difference"]),
            "..".join(map(points, one["interval"] or ())) or "-",
            p_value(one["corrected_t_p"]),
            p_value(one["corrected_t_p_holm"]),
            f"{one['num_tests']} of {one['num_tests'] + one['num_tests_of_one']}",
        ]
        for one in results["pairs"]
    ]
    header = ["protocol", "runs", "method", "points", "95 % interval", "p", "Holm", "tests"]
    return header, rows


def reasons(results: dict) -> list[str]:
    """A sentence for all that has no p value, or lacks some tests."""
    found = []
    for one in results["apart"]:
        where = f", {one['protocol']}" if one["protocol"] else ""
        found.append(f"{_runs(one)}{where}: not compared: {one['why']}.")
    for one in results["pairs"]:
        where, count = f"{_runs(one)}, {one['protocol']}", one["num_tests"]
        if one["note"]:
            found.append(f"{where}: no p: {one['note']}.")
        if of_one := one["num_tests_of_one"]:
            found.append(
                f"{where}: over {count} of {count + of_one} seeds and folds, those that both have."
            )
    return list(dict.fromkeys(found))


def _runs(pair: dict) -> str:
    return f"runs {pair['first'] + 1} and {pair['second'] + 1}"


def cells_csv(results: dict) -> tuple[list[str], list[list]]:
    """`comparison.csv`: numbers as they are, shares in [0, 1]."""
    header = ["run", *_RUN, *_CELL, "accuracy", "low", "high", "interval_kind", "auroc", "n"]
    rows = [
        [
            cell["run"] + 1,
            *(results["runs"][cell["run"]][name] for name in _RUN),
            *(cell[name] for name in _CELL),
            cell["accuracy"],
            *(cell["interval"] or ("", "")),
            cell["interval_kind"],
            _or_empty(cell["metrics"]["auroc"]),
            cell["n"],
        ]
        for cell in _ordered(results)
    ]
    return header, rows


def pairs_csv(results: dict) -> tuple[list[str], list[list]]:
    """`pairs.csv`: every pair, with numbers or with the reason why there are none."""
    values = "corrected_t_p", "corrected_t_p_holm", "num_tests", "num_tests_of_one", "note"
    header = "first second protocol first_generator first_classifier second_generator".split()
    header += ["second_classifier", "difference", "low", "high", *values]
    rows = [
        [
            one["first"] + 1,
            one["second"] + 1,
            one["protocol"],
            *one["first_method"],
            *one["second_method"],
            one["difference"],
            *(one["interval"] or ("", "")),
            *(_or_empty(one[name]) for name in values),
        ]
        for one in results["pairs"]
    ]
    for one in results["apart"]:
        own = [one["first"] + 1, one["second"] + 1, one["protocol"]]
        rows.append([*own, *[""] * (len(header) - 4), one["why"]])
    return header, rows


def _or_empty(value):
    return "" if value is None else value


def page(results: dict) -> Page:
    """The comparison as a page."""
    count = len(results["runs"])
    blocks = [new_table("The runs", runs_table(results), "runs")]
    blocks += [Heading("Accuracy"), new_table("95 % intervals", cells_table(results), "cells")]
    if results["pairs"]:
        table = new_table("The same test images", pairs_table(results), "pairs")
        blocks += [Heading("Differences"), table]
    blocks += [Warnings(tuple(reasons(results)), none="All pairs of runs are compared.")]
    summary = f"{count} runs, {len(results['pairs'])} differences on the same test images."
    return Page("Runs side by side", (summary,), (*blocks, Text(_MEANING)))


def show(console, results: dict) -> None:
    """Print the runs, their cells with true labels, the differences, and why there are none."""
    for i, run in enumerate(results["runs"], start=1):
        preset = f"preset {run['preset']}  " if run["preset"] else ""
        seeds = f"{run['seeds']} seed{'s' * (run['seeds'] != 1)}"
        about = f"{run['kind']}  {preset}{seeds}  {run['date']}  {run['commit'][:7]}"
        terminal.summary(console, [(f"run {i}", about), ("", run["data"]), ("", run["path"])])
    cells = cells_table(results, ("true",))
    terminal.table(console, "Accuracy, % (95 % interval)", *cells, keys=3)
    if results["pairs"]:
        title = "Differences on the same test images"
        terminal.table(console, title, *_short_pairs(results), keys=2)
    terminal.summary(console, [("note", text) for text in reasons(results)])


def _short_pairs(results: dict) -> tuple[list[str], list[list[str]]]:
    """`pairs_table` for a terminal."""
    rows = [
        [f"{runs}, {protocol}", names, f"{value} ({interval})", p, holm]
        for protocol, runs, names, value, interval, p, holm, _ in pairs_table(results)[1]
    ]
    return ["runs", "method", "points (95 %)", "p", "Holm"], rows
