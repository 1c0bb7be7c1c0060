"""Tables and figures from results; nothing here knows a training."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

# Table 4 of the paper as it quotes it, and what each figure really was (README.md).
TABLE4 = (
    ("ANN [26]", 94.0, "benign/malignant, other data"),
    ("Linear SVM [27]", 89.6, "an AUC x 100, other data"),
    ("VGG-16 [28]", 96.0, "validation accuracy"),
    ("HBTC + MLP [29]", 98.3, "four tumour types, no normal class"),
    ("CNN-LSTM, the paper", 99.1, "119 of 120, half of them synthetic"),
)
PAPER_ACCURACY = 119 / 120


def percent(value: float | None) -> str:
    """A share in [0, 1] as per cent with two digits, "-" for None."""
    return "-" if value is None else f"{100 * value:.2f}"


def new_table(title: str):
    from rich.table import Table

    return Table(title=title, title_justify="left")


def total_matrix(results: dict) -> np.ndarray:
    """Confusion [K, K] summed over the seeds of what `results.json` holds."""
    return sum(np.asarray(result["matrix"]) for result in results["seeds"])


def confusion_table(matrix: np.ndarray, class_names: tuple[str, ...]):
    """Table 3 of the paper: rows are predicted classes, columns true ones, positive
    first. matrix: [K, K], true class in rows."""
    from rich.markup import escape

    class_names = [escape(name) for name in class_names]
    order = range(len(class_names) - 1, -1, -1)
    table = new_table("Table 3. Confusion matrix")
    table.add_column("predicted \\ true")
    for k in order:
        table.add_column(class_names[k], justify="right")
    table.add_column("sum", justify="right")
    for guess in order:
        row = [int(matrix[truth][guess]) for truth in order]
        table.add_row(class_names[guess], *map(str, row), str(sum(row)))
    sums = [int(sum(matrix[truth])) for truth in order]
    table.add_row("sum", *map(str, sums), str(sum(sums)), end_section=True)
    return table


def comparison_table(accuracy: float, interval: tuple[float, float], what: str):
    """Table 4 of the paper as quoted, with our accuracy and its interval below."""
    table = new_table("Table 4. Accuracy, %")
    table.add_column("method")
    table.add_column("accuracy", justify="right")
    table.add_column("95 % interval", justify="right")
    table.add_column("what it is")
    for name, value, meaning in TABLE4:
        table.add_row(name, f"{value:.1f}", "-", f"quoted: {meaning}")
    low, high = interval
    table.add_section()
    table.add_row(
        "CNN-LSTM, this run",
        percent(accuracy),
        f"{percent(low)} .. {percent(high)}",
        what,
    )
    return table


def metrics_table(metrics: dict[str, float | None], title: str):
    """Every metric of a test set, name and value."""
    table = new_table(title)
    table.add_column("metric")
    table.add_column("value", justify="right")
    for name, value in metrics.items():
        table.add_row(name, "-" if value is None else f"{value:.4f}")
    return table


def sheet(path: Path, rows: list[tuple[str, np.ndarray]]) -> None:
    """Write images in labelled rows.

    rows: (text, [N, S, S, 1] uint8) each, of one N and S; small images are enlarged by a
    whole factor.
    """
    size = rows[0][1].shape[1]
    scale = max(1, 96 // size)
    margin, gap = 84, 2
    cell = size * scale + gap
    width = margin + cell * max(len(images) for _, images in rows)
    canvas = Image.new("L", (width, cell * len(rows) + gap), 255)
    draw = ImageDraw.Draw(canvas)
    for r, (text, images) in enumerate(rows):
        draw.text((6, gap + r * cell + cell // 2 - 6), text, fill=0)
        for c, image in enumerate(images):
            picture = Image.fromarray(image[..., 0]).resize(
                (size * scale, size * scale), Image.Resampling.NEAREST
            )
            canvas.paste(picture, (margin + c * cell, gap + r * cell))
    canvas.save(path)


def new_figure(width: float, height: float, columns: int = 1):
    # The object interface: pyplot would pick a window system and keep figures alive.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(1, columns, squeeze=False)[0]


def progress_figure(path: Path, events: list[dict]) -> None:
    """`progress.png` from the rows of `metrics.jsonl`: GAN losses, GAN scores, and the
    classifier's loss and accuracy against steps; one line per seed."""
    panels = (
        ("gan", ("discriminator_loss", "generator_loss"), "GAN losses"),
        ("gan", ("real_score", "fake_score"), "discriminator's scores"),
        ("classifier", ("loss", "accuracy"), "classifier, training set"),
    )
    figure, axes = new_figure(13, 3.6, 3)
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
    figure, (axis,) = new_figure(4.2, 3.8)
    axis.imshow(matrix, cmap="Blues", vmin=0)
    ticks = range(len(class_names))
    # Bytes that are no UTF-8 cannot be drawn, and a dollar begins a formula.
    texts = (str(name).encode("utf-8", "backslashreplace").decode() for name in class_names)
    names = [text.replace("$", r"\$") for text in texts]
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
    figure, (axis,) = new_figure(8, 4.2)
    names = [name for name, _, _ in TABLE4]
    quoted = [value for _, value, _ in TABLE4]
    axis.bar(range(len(names)), quoted, color="0.75", label="quoted by the paper")
    mean, here = 100 * float(np.mean(accuracies)), len(names)
    error = [[mean - 100 * interval[0]], [100 * interval[1] - mean]]
    axis.bar(here, mean, color="C0", yerr=error, capsize=5, label="this run, 95 %")
    axis.plot([here] * len(accuracies), [100 * a for a in accuracies], "k.", alpha=0.5)
    for x, value in enumerate([*quoted, mean]):
        axis.text(x, 2, f"{value:.1f}", ha="center")
    labels = [name.replace(" [", "\n[").replace(", ", "\n") for name in names]
    labels.append(f"CNN-LSTM\n{what}")
    axis.set_xticks(range(here + 1), labels, fontsize=8)
    axis.set(ylabel="accuracy, %", ylim=(0, 118), title="Figure 6 of the paper, and ours")
    axis.legend(loc="upper center", ncols=2, frameon=False)
    figure.savefig(path)


def markdown(text) -> str:
    """Text as it stands in a Markdown table, whatever it holds."""
    escaped = "".join(f"\\{c}" if c in "\\`*_[]<>|#" else c for c in str(text))
    return escaped.replace("\n", " ")


def page(results: dict, class_names) -> str:
    """`report.md`: accuracy per seed and in all, the confusion, what the GANs' reports say.

    results: what `results.json` holds.
    """
    summary, data = results["summary"], results["data"]
    found = ", ".join(f"{markdown(name)} {n}" for name, n in data["found"].items())
    used = ", ".join(f"{markdown(name)} {n}" for name, n in data["used"].items())
    drawn = ", ".join(f"{markdown(name)} {n}" for name, n in data["synthetic"].items())
    low, high = summary["interval"]
    lines = [
        "# The paper's protocol (P0)",
        "",
        f"Images ({data['source']}): found {found}; used {used}; synthetic {drawn}."
        + (f" Positive: {markdown(results['positive'])}." if results.get("positive") else ""),
        "",
        f"Accuracy {percent(summary['accuracy'])} % (95 %: {percent(low)} to {percent(high)}) on "
        f"{summary['num_test']} images, real and synthetic ones; the paper claims "
        f"{percent(PAPER_ACCURACY)} %. P0 tests on synthetic images and on real ones that the "
        "GAN was trained on: this is no estimate of accuracy on new patients.",
        "",
        "| seed | accuracy | real half | synthetic half | GAN's last step: thumbnail Frechet |",
        "|---|---|---|---|---|",
    ]
    for seed in results["seeds"]:
        last, best = seed["gan"]["last"], seed["gan"]["best"]
        judged = (
            f"{last['frechet_thumbnail']:.3f} (least at step {best['step']}: "
            f"{best['frechet_thumbnail']:.3f})"
        )
        cells = [percent(seed[name]) for name in _HALVES]
        lines.append(f"| {seed['seed']} | {' | '.join(cells)} | {judged} |")
    order = range(len(class_names) - 1, -1, -1)
    matrix = total_matrix(results)
    names = [markdown(class_names[k]) for k in order]
    lines += ["", f"| predicted \\ true | {' | '.join(names)} |", f"|---{'|---' * len(names)}|"]
    for guess in order:
        row = [str(int(matrix[truth][guess])) for truth in order]
        lines.append(f"| {markdown(class_names[guess])} | {' | '.join(row)} |")
    warned = [
        f"- seed {seed['seed']}: {text}"
        for seed in results["seeds"]
        for text in seed["gan"]["warnings"]
    ]
    lines += ["", "## Warnings", "", *(warned or ["None: no GAN was seen to collapse."]), ""]
    return "\n".join(lines)


_HALVES = "accuracy", "accuracy_real", "accuracy_synthetic"


def show(console, results: dict, class_names) -> None:
    """Print Tables 3 and 4, the metrics, and what the accuracy is made of.

    console: a `rich.console.Console`; results: what `results.json` holds.
    """
    phantoms = results["data"]["source"] == "phantoms"
    summary = results["summary"]

    def line(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    many = f", {summary['num_seeds']} seeds" if summary["num_seeds"] > 1 else ""
    console.print(confusion_table(total_matrix(results), class_names))
    console.print(metrics_table(results["seeds"][0]["metrics"], "Metrics of seed 0"))
    what = ("phantoms" if phantoms else "own folder") + f", P0{many}"
    console.print(comparison_table(summary["accuracy"], tuple(summary["interval"]), what))
    line(
        f"accuracy on the real half {percent(summary.get('accuracy_real'))} %, on "
        f"the synthetic half {percent(summary.get('accuracy_synthetic'))} %"
    )
    if phantoms:
        line(f"accuracy on fresh phantoms {percent(summary['accuracy_fresh'])} %")
    where = "inside" if summary["paper_inside_range"] else "outside"
    line(
        f"the paper's {100 * PAPER_ACCURACY:.2f} % is {where} the range of the "
        f"seeds, {percent(summary['accuracy_min'])} .. "
        f"{percent(summary['accuracy_max'])} %"
    )
    line(
        "P0 tests on synthetic images and on real ones that the GAN was trained on: this "
        "is no estimate of accuracy on new patients"
    )
