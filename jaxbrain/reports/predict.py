"""Predictions on a terminal, and pictures of what they rest on."""

import textwrap
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxbrain.reports import canvas, terminal
from jaxbrain.reports.letters import label

_DPI = 160
# Rows of the table on a terminal.
_SHOWN = 20
_WIDTH = 80
# The least change of a probability that an occlusion map shows in full colour.
_LEAST = 0.05
_TITLES = {
    "grad_cam": "Grad-CAM",
    "occlusion": "occlusion",
    "difference": "differs from its mirror image",
}
_MEANS = {
    "grad_cam": "bright: speaks for the class",
    "occlusion": "red: for the class, blue: against it",
    "difference": "bright: the two sides differ",
}


class Explained(NamedTuple):
    """path: of an image. text: what it was called. image: [S, S] uint8. maps: name -> [1, S, S]
    float32, see `audit.explain`."""

    path: str
    text: str
    image: np.ndarray
    maps: dict[str, np.ndarray]


def short(text: str, width: int) -> str:
    """Text of at most some characters: its end is kept, which tells files apart."""
    plain = "".join(c if c.isprintable() else "?" for c in text)
    plain = plain.encode("utf-8", "backslashreplace").decode()
    return plain if len(plain) <= width else "..." + plain[3 - width :]


def _table(rows: list[dict]) -> list[str]:
    """Lines of at most 80 columns: the file, its class, probabilities, distance."""
    calls = max(5, min(14, max(len(row["class"]) for row in rows)))
    room = _WIDTH - calls - 35
    head = f"{'image':<{room}}  {'class':<{calls}}  {'p':>6}  {'calibrated':>10}  {'quantile':>8}"
    lines = [head + "  ", "-" * len(head)]
    for row in rows[:_SHOWN]:
        name = row["class"]
        p, calibrated = row[f"p_{name}"], row[f"calibrated_{name}"]
        sure = "-" if calibrated == "" else f"{calibrated:.3f}"
        place = "-" if row["quantile"] == "" else f"{row['quantile']:.2f}"
        far = " !" if row["unlike"] and row["distance"] != "" else ""
        lines.append(
            f"{short(row['path'], room):<{room}}  {short(name, calls):<{calls}}  {p:>6.3f}  "
            f"{sure:>10}  {place:>8}{far}"
        )
    if len(rows) > _SHOWN:
        lines.append(f"... and {len(rows) - _SHOWN} more in predictions.csv")
    return [line.rstrip() for line in lines]


def show(console, results: dict, paths: tuple[str, ...], out: Path) -> None:
    """Print the predictions, what to mind, and what to open next."""
    rows, far = results["rows"], results["unlike"]
    counts = Counter(row["class"] for row in rows)
    terminal.say(console, "", *_table(rows), "")
    called = ", ".join(f"{n} {short(name, 20)}" for name, n in counts.most_common())
    lines = [f"{len(rows)} images: {called}"]
    if far and far["images"]:
        lines.append(
            f"! {far['images']} unlike the training images: further from them than "
            f"{far['quantile']:.0%} of them are from each other. No number of these is to be "
            "relied on."
        )
    if far and far["learned"]:
        lines.append(
            f"{far['learned']} are training images of this classifier, or near copies: their "
            "numbers say nothing of new ones."
        )
    lines = [text for line in lines for text in textwrap.wrap(line, _WIDTH)]
    if results["skipped"]:
        lines.append(f"{results['skipped']} files were skipped: {out / 'skipped.csv'} says why")
    lines += [f"{results['notice'].capitalize()}.", f"open   {out / 'predictions.csv'}"]
    if "explained" in results:
        lines.append(f"open   {results['explained']}")
    terminal.say(console, *lines)


def _panel(axis, one: Explained, name: str) -> None:
    """One map over its image."""
    axis.imshow(one.image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    found = np.asarray(one.maps[name])[0]
    if name == "occlusion":
        # So that next to no change does not look like much.
        most = max(float(np.abs(found).max()), _LEAST)
        strength = np.abs(found) / most
        shade = {"cmap": "coolwarm", "vmin": -most, "vmax": most}
    else:
        strength = found
        shade = {"cmap": "inferno", "vmin": 0, "vmax": 1}
    # What a map says nothing of shows the image alone.
    axis.imshow(found, alpha=np.clip(0.8 * strength, 0, 0.8), interpolation="bilinear", **shade)
    if name == "occlusion":
        text = f"largest change of p: {np.abs(found).max():.3f}"
        axis.set_xlabel("\n".join(filter(None, [axis.get_xlabel(), text])), fontsize=6)


def _plain(axis) -> None:
    axis.set(xticks=[], yticks=[])
    for side in axis.spines.values():
        side.set_visible(False)


def explained_figure(path: Path, one: Explained) -> None:
    """An image, and each of its maps over it."""
    figure, axes = canvas.new_figure(2.5 * (1 + len(one.maps)), 3.2, 1 + len(one.maps))
    axes[0].imshow(one.image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes[0].set_title(label(one.text), fontsize=9)
    axes[0].set_xlabel("as the classifier sees it", fontsize=7)
    for axis, name in zip(axes[1:], one.maps, strict=True):
        axis.set_title(_TITLES[name], fontsize=9)
        axis.set_xlabel(_MEANS[name], fontsize=7)
        _panel(axis, one, name)
    for axis in axes:
        _plain(axis)
    note = "for research, not a medical device; a hint at what the network used, no segmentation"
    figure.suptitle(label(short(one.path, 90)), fontsize=9)
    figure.supxlabel(note, fontsize=6, color="0.4")
    figure.savefig(path, dpi=_DPI)


def explained_sheet(path: Path, rows: list[Explained]) -> None:
    """The same of several images, a row each."""
    from matplotlib.figure import Figure

    count = 1 + len(rows[0].maps)
    figure = Figure(figsize=(1.9 * count, 2.1 * len(rows) + 0.6), layout="constrained")
    for axes, one in zip(figure.subplots(len(rows), count, squeeze=False), rows, strict=True):
        axes[0].imshow(one.image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        title = label(short(one.path, 26)), label(one.text)
        axes[0].set_title("\n".join(title), fontsize=6)
        for axis, name in zip(axes[1:], one.maps, strict=True):
            axis.set_title(_TITLES[name], fontsize=6)
            _panel(axis, one, name)
        for axis in axes:
            _plain(axis)
    figure.supxlabel("for research, not a medical device", fontsize=6, color="0.4")
    figure.savefig(path, dpi=_DPI)


def reliability_figure(path: Path, found: dict) -> None:
    """How often images were called rightly beside how sure the classifier was, before and after
    its temperature. found: what `calibration/seed<S>.json` holds."""
    figure, axes = canvas.new_figure(8.4, 4.4, 2)
    for axis, (name, bins) in zip(axes, found["reliability"].items(), strict=True):
        axis.plot([0, 1], [0, 1], color="0.6", lw=1, ls=":", label="as sure as right")
        for one in bins:
            (low, high), x, y = one["interval"], one["confidence"], one["accuracy"]
            error = [[max(y - low, 0)], [max(high - y, 0)]]
            axis.errorbar(x, y, yerr=error, fmt="o", ms=5, color="C0", capsize=2)
            axis.annotate(
                str(one["count"]), (x, y), (5, -9), textcoords="offset points", fontsize=7
            )
        ece, nll = found["ece"][name], found["nll"][name]
        sure = f"temperature {found['temperature']:.2f}" if name == "after" else "as it is"
        axis.set_title(f"{sure}: ECE {ece:.3f}, NLL {nll:.3f}", fontsize=10)
        axis.set(xlim=(0, 1.02), ylim=(-0.06, 1.06), xlabel="probability of the class it says")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("share called rightly (95 %, Wilson)")
    axes[0].legend(fontsize=8, frameon=False, loc="upper left")
    figure.suptitle(
        f"{found['images']} training images left out for this; numbers: images in a bin",
        fontsize=9,
    )
    figure.savefig(path, dpi=_DPI)
