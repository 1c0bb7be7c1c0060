"""The paper's tables and figures from what `results.json` holds; nothing here knows a
training."""

from pathlib import Path

import numpy as np

from jaxbrain.quoted import PAPER_ACCURACY, TABLE4
from jaxbrain.reports import drawing
from jaxbrain.reports.drawing import markdown, markdown_table, number, percent


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


def page(results: dict, class_names) -> str:
    """`report.md`: accuracy per seed and in all, the confusion, what the GANs' reports say.

    results: what `results.json` holds.
    """
    summary, data = results["summary"], results["data"]
    found, used, drawn = (
        ", ".join(f"{markdown(name)} {n}" for name, n in data[which].items())
        for which in ("found", "used", "synthetic")
    )
    positive = results.get("positive")
    low, high = summary["interval"]
    header = "seed", "accuracy", "real half", "synthetic half", "GAN's last step: thumbnail Frechet"
    seeds, warned = [], [f"- {markdown(text)}" for text in results.get("warnings", ())]
    for seed in results["seeds"]:
        gan, judged = seed["gan"], "-"
        if gan["last"]:
            last, least = (gan[which]["frechet_thumbnail"] for which in ("last", "best"))
            judged = f"{last:.3f} (least at step {gan['best']['step']}: {least:.3f})"
        seeds.append([seed["seed"], *(percent(seed[name]) for name in _HALVES), judged])
        warned += [f"- seed {seed['seed']}: {text}" for text in gan["warnings"]]
    parts = [
        "# The paper's protocol (P0)",
        f"Images ({data['source']}): found {found}; used {used}; synthetic {drawn}."
        + (f" Positive: {markdown(positive)}." if positive else ""),
        f"Accuracy {percent(summary['accuracy'])} % (95 %: {percent(low)} to {percent(high)}) on "
        f"{summary['num_test']} images, real and synthetic ones; the paper claims "
        f"{percent(PAPER_ACCURACY)} %. {_MEANS}.",
        *map(markdown, _external(results)),
        markdown_table(header, seeds),
        markdown_table(*_confusion(total_matrix(results), class_names)),
        "## Warnings",
        "\n".join(warned) or "None: no GAN was seen to collapse.",
    ]
    return "\n\n".join(parts) + "\n"


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
