"""The paper's tables and figures from what `results.json` holds; nothing here knows a
training."""

from pathlib import Path

import numpy as np

from jaxbrain.quoted import PAPER_ACCURACY, TABLE4
from jaxbrain.reports import drawing
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


def confusion_table(matrix: np.ndarray, class_names: tuple[str, ...]):
    """Table 3 of the paper: rows are predicted classes, columns true ones, positive
    first. matrix: [K, K], true class in rows."""
    header, rows = _confusion(matrix, class_names)
    rows.append(["sum", *(sum(column) for column in list(zip(*rows, strict=True))[1:])])
    rows = [[*row, sum(row[1:])] for row in rows]
    right = range(1, len(header) + 1)
    return drawing.new_table("Table 3. Confusion matrix", [*header, "sum"], rows, right)


def comparison_table(accuracy: float, interval: tuple[float, float], what: str):
    """Table 4 of the paper as quoted, with our accuracy and its interval below."""
    header = "method", "accuracy", "95 % interval", "what it is"
    rows = [
        [row.title, number(row.accuracy), "-", f"quoted: {row.what}"] for row in TABLE4.values()
    ]
    shown = " .. ".join(map(percent, interval))
    rows.append(["CNN-LSTM, this run", percent(accuracy), shown, what])
    return drawing.new_table("Table 4. Accuracy, %", header, rows, right=(1, 2))


def metrics_table(metrics: dict[str, float | None], title: str):
    """Every metric of a test set, name and value."""
    rows = [[name, number(value, 4)] for name, value in metrics.items()]
    return drawing.new_table(title, ("metric", "value"), rows, right=(1,))


_PANELS = (
    ("gan", ("discriminator_loss", "generator_loss"), "GAN losses"),
    ("gan", ("real_score", "fake_score"), "discriminator's scores"),
    ("classifier", ("loss", "accuracy"), "classifier, training set"),
)


def progress_figure(path: Path, events: list[dict]) -> None:
    """`progress.png` from the rows of `metrics.jsonl`: GAN losses, GAN scores, and the
    classifier's loss and accuracy, where there is one, against steps; one line per seed."""
    trained = {"gan", *(event["training"] for event in events)}
    panels = [panel for panel in _PANELS if panel[0] in trained]
    figure, axes = drawing.new_figure(13 * len(panels) / 3, 3.6, len(panels))
    for axis, (kind, names, title) in zip(axes, panels, strict=True):
        seeds = sorted({event["seed"] for event in events})
        for index, name in enumerate(names):
            for seed in seeds:
                rows = [e for e in events if e["training"] == kind and e["seed"] == seed]
                axis.plot(
                    [row["step"] for row in rows],
                    [row[name] for row in rows],
                    color=f"C{index}",
                    alpha=1.0 if len(seeds) == 1 else 0.6,
                    label=name.replace("_", " ") if seed == seeds[0] else None,
                )
        axis.set(title=title, xlabel="step")
        axis.grid(alpha=0.3)
        axis.legend()
    figure.savefig(path)


def confusion_figure(path: Path, matrix: np.ndarray, class_names) -> None:
    """`confusion.png`: counts, true classes in rows. matrix: [K, K]."""
    figure, (axis,) = drawing.new_figure(4.2, 3.8)
    axis.imshow(matrix, cmap="Blues", vmin=0)
    ticks = range(len(class_names))
    names = list(map(drawing.label, class_names))
    axis.set_xticks(ticks, names)
    axis.set_yticks(ticks, names)
    axis.set(xlabel="predicted", ylabel="true", title="Test set, all seeds")
    for truth in ticks:
        for guess in ticks:
            value = int(matrix[truth][guess])
            dark = value > np.max(matrix) / 2
            colour = "white" if dark else "black"
            axis.text(guess, truth, value, ha="center", va="center", color=colour)
    figure.savefig(path)


def comparison_figure(
    path: Path, accuracies: list[float], interval: tuple[float, float], what: str
) -> None:
    """`comparison.png`: Figure 6 of the paper, and our accuracy (mean over the seeds,
    interval, one dot per seed)."""
    figure, (axis,) = drawing.new_figure(8, 4.2)
    quoted = [row.accuracy for row in TABLE4.values()]
    here = len(quoted)
    axis.bar(range(here), quoted, color="0.75", label="quoted by the paper")
    mean, error = drawing.bar(float(np.mean(accuracies)), interval)
    axis.bar(here, mean, color="C0", yerr=error, capsize=5, label="this run, 95 %")
    axis.plot([here] * len(accuracies), [100 * a for a in accuracies], "k.", alpha=0.5)
    for x, value in enumerate([*quoted, mean]):
        axis.text(x, 2, f"{value:.1f}", ha="center")
    labels = [row.title.replace(" [", "\n[").replace(", ", "\n") for row in TABLE4.values()]
    labels.append(f"CNN-LSTM\n{what}")
    axis.set_xticks(range(here + 1), labels, fontsize=8)
    axis.set(ylabel="accuracy, %", ylim=(0, 118), title="Figure 6 of the paper, and ours")
    axis.legend(loc="upper center", ncols=2, frameon=False)
    figure.savefig(path)


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


def page(results: dict, class_names) -> Page:
    """The run's report: accuracy, metrics over the seeds, the confusion, the GANs, samples.

    results: what `results.json` holds.
    """
    matrix, seeds = total_matrix(results), len(results["seeds"])
    many = f", all {seeds} seeds" if seeds > 1 else ""
    blocks = [
        Facts(tuple(_facts(results))),
        Heading("Warnings"),
        Warnings(tuple(_warnings(results)), "None: no GAN was seen to collapse."),
        Heading("Metrics of the test sets"),
        new_table(_title("Metrics", seeds), _metrics(results["seeds"]), "metrics"),
        new_table("Accuracy by seed, %", _seeds(results["seeds"]), "seeds"),
        Heading("Confusion"),
        new_table(f"Counts of the test set{many}", _confusion(matrix, class_names), "confusion"),
        Figure("confusion.png", f"Confusion{many}"),
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
    """Print Tables 3 and 4, the metrics, and what the accuracy is made of.

    console: a `rich.console.Console`; results: what `results.json` holds.
    """
    phantoms = results["data"]["source"] == "phantoms"
    summary, first = results["summary"], results["seeds"][0]
    many = f", {summary['num_seeds']} seeds" if summary["num_seeds"] > 1 else ""
    console.print(confusion_table(total_matrix(results), class_names))
    console.print(metrics_table(first["metrics"], f"Metrics of seed {first['seed']}"))
    what = ("phantoms" if phantoms else "own folder") + f", P0{many}"
    console.print(comparison_table(summary["accuracy"], tuple(summary["interval"]), what))
    lines = [
        f"accuracy on the real half {percent(summary.get('accuracy_real'))} %, on "
        f"the synthetic half {percent(summary.get('accuracy_synthetic'))} %"
    ]
    if summary.get("accuracy_fresh") is not None:
        lines.append(f"accuracy on fresh phantoms {percent(summary['accuracy_fresh'])} %")
    where = "inside" if summary["paper_inside_range"] else "outside"
    lines.append(
        f"the paper's {percent(PAPER_ACCURACY)} % is {where} the range of the seeds, "
        f"{percent(summary['accuracy_min'])} .. {percent(summary['accuracy_max'])} %"
    )
    drawing.say(console, *lines, _MEANS, *_external(results))
