"""The figures of the paper's run: confusion, Figure 6, ROC."""

import numpy as np

from jaxbrain.quoted import TABLE4
from jaxbrain.reports import canvas, drawing
from jaxbrain.reports.letters import label

# Classes up to which a confusion has its numbers written in.
_WRITTEN = 12


def confusion_figure(matrices: list[np.ndarray], class_names):
    """`confusion.png`: predicted classes in rows, the last first, as in Table 3; the mean count
    over the seeds and the share of the true class.

    matrices: [K, K] counts a seed, true class in rows.
    """
    count = len(class_names)
    mean = np.mean(matrices, axis=0).T[::-1, ::-1]
    share = 100 * mean / np.maximum(mean.sum(axis=0), 1e-9)
    side = max(4.0, 1.1 + 0.85 * min(count, _WRITTEN) + 0.12 * max(0, count - _WRITTEN))
    figure, (axis,) = canvas.new_figure(side + 1.2, side)
    image = axis.imshow(share, cmap="Blues", vmin=0, vmax=100)
    bar = figure.colorbar(image, ax=axis, shrink=0.85)
    bar.set_label("share of the true class, %", fontsize=9)
    names = [_short(name) for name in reversed(list(class_names))]
    small = 10 if count < 6 else 8
    turn = {"rotation": 45, "ha": "right"} if max(map(len, names)) > 8 or count > 4 else {}
    axis.set_xticks(range(count), names, fontsize=small, **turn)
    axis.set_yticks(range(count), names, fontsize=small)
    seeds = len(matrices)
    title = "Test set" if seeds == 1 else f"Test set, mean of {seeds} seeds"
    axis.set(xlabel="true class", ylabel="predicted class", title=title)
    for row in range(count) if count <= _WRITTEN else ():
        for column in range(count):
            text = f"{mean[row, column]:.{0 if seeds == 1 else 1}f}\n{share[row, column]:.1f} %"
            dark = share[row, column] > 50
            style = {"color": "white" if dark else "black", "fontsize": 11 if count < 4 else 8}
            axis.text(column, row, text, ha="center", va="center", **style)
    return figure


def _short(name) -> str:
    return label(name if len(str(name)) <= 20 else f"{str(name)[:9]}…{str(name)[-9:]}")


def comparison_figure(summary: dict, seeds: list[dict], phantoms: bool):
    """`comparison.png`: the accuracy of this run on all test images, with its interval and a dot
    for each seed, and on its real and its synthetic half; beside Figure 6 of the paper where
    real images were tested. Phantoms are no brains: nothing is quoted beside them.

    summary, seeds: of `results.json`.
    """
    quoted = () if phantoms else tuple(TABLE4.values())
    figure, (axis,) = canvas.new_figure(4.6 if phantoms else 9.2, 4.6)
    names, place = [], 0.0
    for row in quoted:
        axis.bar(place, row.accuracy, color="0.85", edgecolor="0.5", hatch="//", width=0.7)
        _above(axis, place, f"{row.accuracy:.1f}", row.accuracy)
        names.append((place, row.title.replace(" [", "\n[").replace(", ", "\n")))
        place += 1.0
    if quoted:
        axis.axvline(place - 0.25, color="0.6", lw=1)
        place += 0.5
    for turn, (name, what) in enumerate(_HALVES.items()):
        values = [seed[name] for seed in seeds if seed[name] is not None]
        if not values:
            continue
        interval = summary["interval"] if name == "accuracy" else None
        mean, error = drawing.bar(float(np.mean(values)), interval)
        shown = {"yerr": error, "capsize": 5} if interval else {}
        axis.bar(place, mean, color=canvas.COLOURS[(0, 2, 5)[turn]], alpha=0.6, width=0.7, **shown)
        if len(values) > 1:
            spread = np.linspace(-0.18, 0.18, len(values))
            axis.plot(place + spread, [100 * v for v in values], "o", color="black", ms=3)
        text = f"mean {mean:.1f}" if len(values) > 1 else f"{mean:.1f}"
        _above(axis, place, text, max(mean + error[1][0], 100 * max(values)))
        names.append((place, what))
        place += 1.0
    axis.set_xticks([at for at, _ in names], [text for _, text in names], fontsize=8)
    axis.set(ylabel="accuracy, %", ylim=(0, 112), yticks=range(0, 101, 20))
    axis.grid(axis="y", alpha=0.3)
    axis.set_axisbelow(True)
    axis.set_title(_title(len(seeds), phantoms), fontsize=10)
    return figure


_HALVES = {
    "accuracy": "this run:\nall tested",
    "accuracy_real": "this run:\nreal half",
    "accuracy_synthetic": "this run:\nsynthetic half",
}


def _title(seeds: int, phantoms: bool) -> str:
    many = f"mean of {seeds} seeds, a dot each" if seeds > 1 else "one seed"
    ours = f"this run (P0): {many}; bar: 95 % interval"
    if phantoms:
        return f"Phantoms, not brain images\n{ours}"
    quoted = "Hatched: quoted by the paper, from other images and tasks: not to be compared"
    return f"{quoted}\nColoured: {ours}"


def _above(axis, place: float, text: str, top: float) -> None:
    """A value over its bar, and over what stands out of it."""
    ground = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    axis.text(place, top + 2, text, ha="center", va="bottom", fontsize=9, bbox=ground)


def roc_figure(curves: dict[str, dict], positive: str):
    """`roc.png`: the ROC of what was tested.

    curves: name of a part ("all tested", ..) -> {"seeds": [(fpr [U], tpr [U]), ..], "mean":
    [[fpr, tpr], ..], "auroc": [a seed's, ..]}.
    """
    figure, (axis,) = canvas.new_figure(5.0, 5.2)
    for turn, (name, found) in enumerate(curves.items()):
        colour, areas = canvas.COLOURS[turn], found["auroc"]
        for fpr, tpr in found["seeds"] if len(areas) > 1 else ():
            axis.step(fpr, tpr, where="post", color=colour, alpha=0.25, lw=0.8)
        text = f"{name}: AUROC {np.mean(areas):.3f}"
        if len(areas) > 1:
            text += f" (seeds {min(areas):.3f} to {max(areas):.3f})"
        fpr, tpr = zip(*found["mean"], strict=True)
        style = ("-", "--", "-.")[turn % 3]
        axis.step(fpr, tpr, where="post", color=colour, lw=1.8, ls=style, label=text)
    axis.plot([0, 1], [0, 1], color="0.6", lw=1, ls=":")
    axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axis.set_xlabel(f"share of the others called {_short(positive)}")
    axis.set_ylabel(f"share of {_short(positive)} called so")
    axis.set_title("ROC under P0 (tests on synthetic images too)", fontsize=10)
    axis.grid(alpha=0.3)
    canvas.legend_below(figure, axis, columns=1)
    return figure


def reliability_figure(halves: dict[str, dict]):
    """`reliability.png`: how often answers are right, by how sure they are, before any
    calibration; and how many answers there are of each.

    halves: name of a part -> bins (low, high, count, confidence, accuracy: [B] each), ece (in
    [0, 1]), n.
    """
    figure, (upper, lower) = canvas.new_figure(5.0, 6.2, 1, 2)
    for turn, (name, found) in enumerate(halves.items()):
        bins, style = found["bins"], canvas.style(turn)
        held = np.asarray(bins.count) > 0
        text = f"{name}: calibration error {found['ece']:.3f}, n = {found['n']}"
        how = style | {"ls": ("-", "--")[turn % 2], "label": text}
        upper.plot(100 * bins.confidence[held], 100 * bins.accuracy[held], **how)
        width = (bins.high - bins.low) / (1 + len(halves))
        lower.bar(
            100 * (bins.low + (turn + 0.75) * width), bins.count, 100 * width, color=style["color"]
        )
    upper.plot([0, 100], [0, 100], color="0.6", lw=1, ls=":", label="as sure as right")
    least = 100 * min(found["bins"].low[found["bins"].count > 0].min() for found in halves.values())
    for axis in (upper, lower):
        axis.set_xlim(least, 101)
        axis.grid(alpha=0.3)
        axis.set_axisbelow(True)
    upper.set(ylim=(-2, 102), ylabel="right, % of the answers")
    upper.set_title("Reliability under P0, as the classifier answers", fontsize=10)
    lower.set_xlabel("probability of the class that is called, %")
    lower.set_ylabel("answers")
    lower.yaxis.get_major_locator().set_params(integer=True)
    canvas.legend_below(figure, upper, columns=1)
    return figure
