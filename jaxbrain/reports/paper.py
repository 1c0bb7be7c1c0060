"""The paper's tables and figures from what `results.json` holds; nothing here knows a
training."""

import numpy as np

from jaxbrain.quoted import PAPER_ACCURACY, TABLE4
from jaxbrain.reports import terminal
from jaxbrain.reports.drawing import number, percent
from jaxbrain.reports.page import (
    Details,
    Facts,
    Figure,
    Heading,
    Page,
    Prose,
    Text,
    Warnings,
    new_table,
)


def total_matrix(results: dict) -> np.ndarray:
    """Confusion [K, K] summed over the seeds of what `results.json` holds."""
    return sum(np.asarray(result["matrix"]) for result in results["seeds"])


def _confusion(matrix: np.ndarray, class_names) -> tuple[list[str], list[list]]:
    """Header and rows of a confusion [K, K]: predicted classes in rows, the last first."""
    order = range(len(class_names) - 1, -1, -1)
    header = ["predicted \\ true", *(class_names[k] for k in order)]
    rows = [[class_names[k], *(int(matrix[truth][k]) for truth in order)] for k in order]
    return header, rows


_HALVES = "accuracy", "accuracy_real", "accuracy_synthetic"
_MEANS = (
    "P0 tests on synthetic images and on real ones that the GAN was trained on: this is no "
    "estimate of accuracy on new patients"
)


def _external(results: dict) -> list[str]:
    """What P4 says; nothing without another source's images."""
    other = results.get("external")
    if not other:
        return []
    low, high = other["interval"] or (None, None)
    return [
        f"P4, trained on all images and tested on another source's ({other['source']}): "
        f"{percent(other['accuracy'])} % (95 %: {percent(low)} to {percent(high)}) in "
        f"{other['n']} answers. {other['sentence']}"
    ]


_NO_WARNING = "None: the GAN, the classifier and the number of images were looked at."


def page(results: dict, class_names) -> Page:
    """The run's report: accuracy, metrics over the seeds, the confusion, the GANs, samples.

    results: what `results.json` holds.
    """
    matrix, seeds = total_matrix(results), len(results["seeds"])
    many = f", all {seeds} seeds" if seeds > 1 else ""
    blocks = [
        Facts(tuple(_facts(results))),
        Heading("Warnings"),
        Warnings(tuple(_warnings(results)), _NO_WARNING),
        Heading("Metrics of the test sets"),
        new_table(_title("Metrics", seeds), _metrics(results["seeds"]), "metrics"),
        new_table("Accuracy by seed, %", _seeds(results["seeds"]), "seeds"),
        Heading("Confusion"),
        new_table(f"Counts of the test set{many}", _confusion(matrix, class_names), "confusion"),
        Figure("confusion.png", f"Confusion{many}"),
        Figure("roc.png", f"Receiver operating characteristic{many}"),
        Figure("reliability.png", f"How often answers are right, by how sure they are{many}"),
        Heading("Beside the paper"),
        new_table("Table 4 of the paper as quoted, and this run: accuracy, %", *_quoted(results)),
        Text("The quoted figures come from other images and tasks: they do not compare."),
        Figure("comparison.png", "Accuracy beside the figures that the paper quotes"),
        Heading("The GAN"),
        new_table("Thumbnail Frechet distances to the training images", _gans(results), "gan"),
        Prose(_FRECHET),
        Figure("progress.png", "Losses, scores and accuracy while training"),
        Heading("Images"),
        Figure("samples/*_pool.png", "Real and synthetic images"),
        Details("Drawn while training", (Figure("samples/*.png", "Drawn"),)),
    ]
    return Page("The paper's protocol (P0)", tuple(_summary(results)), tuple(blocks))


_FRECHET = (
    "Of means over 8 x 8 cells: 0 for equal sets of images. Beside it stands the same of two "
    "halves of the real images, which no generator can be expected to be far below."
)


def _title(what: str, seeds: int) -> str:
    return f"{what}, means over {seeds} seeds" if seeds > 1 else what


def _summary(results: dict) -> list[str]:
    summary, data = results["summary"], results["data"]
    found, used, drawn = (
        ", ".join(f"{name} {n}" for name, n in data[which].items())
        for which in ("found", "used", "synthetic")
    )
    positive = results.get("positive")
    low, high = map(percent, summary["interval"])
    return [
        f"Accuracy {percent(summary['accuracy'])} % (95 %: {low} to {high}) on "
        f"{summary['num_test']} images, real and synthetic ones; the paper claims "
        f"{percent(PAPER_ACCURACY)} %. {_MEANS}.",
        *_external(results),
        f"Images ({data['source']}): found {found}; used {used}; synthetic {drawn}."
        + (f" Positive: {positive}." if positive else ""),
    ]


def _facts(results: dict) -> list[tuple[str, str, str]]:
    summary = results["summary"]
    low, high = map(percent, summary["interval"])
    seeds = summary["num_seeds"]
    ends = f"{percent(summary['accuracy_min'])} to {percent(summary['accuracy_max'])}"
    of_seeds = f"; {seeds} seeds, {ends}" if seeds > 1 else "; 1 seed"
    facts = [
        ("Accuracy", f"{percent(summary['accuracy'])} %", f"95 %: {low} to {high}{of_seeds}"),
        (
            "On real images",
            f"{percent(summary.get('accuracy_real'))} %",
            "the GAN was trained on them",
        ),
        (
            "On synthetic ones",
            f"{percent(summary.get('accuracy_synthetic'))} %",
            "the GAN drew them",
        ),
    ]
    if (fresh := summary.get("accuracy_fresh")) is not None:
        facts.append(("On fresh phantoms", f"{percent(fresh)} %", "which no net has seen"))
    if other := results.get("external"):
        facts.append(
            ("On another source's (P4)", f"{percent(other['accuracy'])} %", other["source"])
        )
    return [*facts, ("The paper claims", f"{percent(PAPER_ACCURACY)} %", "119 of 120 images")]


def _warnings(results: dict) -> list[str]:
    return [
        *results.get("warnings", ()),
        *(
            f"seed {one['seed']}: {text}"
            for one in results["seeds"]
            for text in one["gan"]["warnings"]
        ),
        *(f"{one['name']}: {one['why']}" for one in results.get("skipped", ())),
    ]


# The order in which they are read; others follow.
_FIRST = "accuracy precision recall specificity f1 auroc".split()


def _metrics(seeds: list[dict]) -> tuple[list[str], list[list[str]]]:
    """Every metric: its mean over the seeds and their range, or its one value."""
    header = ["metric", "mean", "least", "most"] if len(seeds) > 1 else ["metric", "value"]
    rows, own = [], seeds[0]["metrics"]
    for name in sorted(own, key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST)):
        values = [one["metrics"].get(name) for one in seeds]
        known = [value for value in values if value is not None]
        found = (float(np.mean(known)), min(known), max(known)) if known else (None, None, None)
        rows.append([name, *(number(value, 4) for value in found[: len(header) - 1])])
    return header, rows


def _seeds(seeds: list[dict]) -> tuple[list[str], list[list[str]]]:
    rows = [[one["seed"], *(percent(one[name]) for name in _HALVES)] for one in seeds]
    return ["seed", "accuracy", "real half", "synthetic half"], rows


def _quoted(results: dict) -> tuple[tuple[list[str], list[list[str]]], str]:
    summary = results["summary"]
    rows = [[row.title, number(row.accuracy), "-", row.what] for row in TABLE4.values()]
    low, high = map(percent, summary["interval"])
    what = "phantoms" if results["data"]["source"] == "phantoms" else "own images"
    rows.append(["CNN-LSTM, this run", percent(summary["accuracy"]), f"{low} to {high}", what])
    return (["method", "accuracy", "95 % interval", "of what"], rows), "table4"


def _gans(results: dict) -> tuple[list[str], list[list[str]]]:
    rows = []
    for seed in results["seeds"]:
        last, best = seed["gan"]["last"], seed["gan"]["best"]
        if not last:
            rows.append([seed["seed"], *["-"] * 4])
            continue
        least = number(best["frechet_thumbnail"], 3)
        found = (number(last.get(name), 3) for name in ("frechet_thumbnail", "frechet_halves"))
        rows.append([seed["seed"], *found, least, best["step"]])
    return ["seed", "at the last step", "real against real", "least", "at step"], rows


def show(console, results: dict, class_names) -> None:
    """Print what was found in a few lines, then Table 4, the metrics and Table 3.

    console: a `rich.console.Console`; results: what `results.json` holds.
    """
    terminal.summary(console, _lines(results))
    phantoms = results["data"]["source"] == "phantoms"
    comparison_table(console, results["summary"], "phantoms" if phantoms else "your images")
    metrics_table(console, results["seeds"])
    confusion_table(console, total_matrix(results), class_names, len(results["seeds"]))


def confusion_table(console, matrix: np.ndarray, class_names, num_seeds: int = 1) -> None:
    """Print Table 3 of the paper: rows are predicted classes, columns true ones, positive
    first. matrix: [K, K], true class in rows, summed over the seeds."""
    header, rows = _confusion(matrix, class_names)
    rows.append(["sum", *(sum(column) for column in list(zip(*rows, strict=True))[1:])])
    rows = [[*row, sum(row[1:])] for row in rows]
    many = f", all {num_seeds} seeds" if num_seeds > 1 else ""
    title = f"Table 3. Confusion matrix: counts of the test set{many}"
    terminal.table(console, title, [*header, "sum"], rows)


def comparison_table(console, summary: dict, what: str) -> None:
    """Print Table 4 of the paper as quoted, with our accuracy and its interval below.

    summary: of `results.json`; what: the images."""
    header = "method", "accuracy", "95 % interval", "what it is"
    rows = [
        [row.title, number(row.accuracy), "-", f"quoted: {row.what}"] for row in TABLE4.values()
    ]
    own = percent(summary["accuracy"]), " .. ".join(map(percent, summary["interval"]))
    of_which = f"{what}, P0: not comparable with the quoted figures"
    rows.append(["CNN-LSTM, this run", *own, of_which])
    terminal.table(console, "Table 4. Accuracy, %", header, rows, right=(1, 2))


def metrics_table(console, seeds: list[dict]) -> None:
    """Print every metric of the test set, its mean over the seeds and their range.

    seeds: of `results.json`; a metric that a seed does not have is of the others."""
    rows = []
    for name in seeds[0]["metrics"]:
        values = [one["metrics"][name] for one in seeds if one["metrics"][name] is not None]
        mean = number(float(np.mean(values)) if values else None, 4)
        ends = [number(end, 4) for end in (min(values), max(values))] if values else ["-"] * 2
        rows.append([name, mean, *(ends if len(seeds) > 1 else ())])
    if len(seeds) > 1:
        header, title = ("metric", "mean", "least", "most"), f"Metrics, mean of {len(seeds)} seeds"
    else:
        header, title = ("metric", "value"), f"Metrics of seed {seeds[0]['seed']}"
    terminal.table(console, title, header, rows)


def _lines(results: dict) -> list[tuple[str, str]]:
    """The summary of a run."""
    summary, data, seeds = results["summary"], results["data"], results["seeds"]
    used = ", ".join(f"{n} {name}" for name, n in data["used"].items())
    images = "phantoms, not brain images" if data["source"] == "phantoms" else "images"
    low, high = map(percent, summary["interval"])
    tested = sum(seed["num_test"] for seed in seeds)
    many = f" of {len(seeds)} seeds" if len(seeds) > 1 else ""
    halves = (
        f"real half {percent(summary.get('accuracy_real'))} %, synthetic half "
        f"{percent(summary.get('accuracy_synthetic'))} %"
    )
    if (fresh := summary.get("accuracy_fresh")) is not None:
        halves += f"; on fresh phantoms {percent(fresh)} %"
    warned = [
        *map(str, results.get("warnings", ())),
        *(f"seed {seed['seed']}: {text}" for seed in seeds for text in seed["gan"]["warnings"]),
        *(f"{one['name']}: {one['why']}" for one in results.get("skipped", ())),
    ]
    return [
        ("run", f"the paper's protocol (P0) on {images}: {used}, and synthetic ones"),
        (
            "accuracy",
            f"{percent(summary['accuracy'])} % (95 %: {low} to {high} %), n = {tested} "
            f"test answers{many}",
        ),
        ("", halves),
        ("paper", _beside_the_paper(summary, data["source"] == "phantoms")),
        *(("P4", text) for text in _external(results)),
        *(("warning", text) for text in terminal.some(warned)),
        ("note", f"{_MEANS}. Research only, not a medical device."),
    ]


def _beside_the_paper(summary: dict, phantoms: bool) -> str:
    """Where the paper's claim lies beside what was found."""
    if phantoms:
        return f"claims {percent(PAPER_ACCURACY)} % on brain images: not comparable"
    claim, value = percent(PAPER_ACCURACY), PAPER_ACCURACY
    if summary["num_seeds"] > 1:
        low, high = summary["accuracy_min"], summary["accuracy_max"]
        where, ends = "the accuracies of the seeds", f", {percent(low)} to {percent(high)} %"
    else:
        (low, high), where, ends = summary["interval"], "the interval", ""
    place = "within" if low <= value <= high else ("above" if value > high else "below")
    return f"claims {claim} %: {place} {where}{ends}"
