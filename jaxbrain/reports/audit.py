"""An audit of synthetic images as tables, a page, sheets and curves, from what `audit.json` and
the files beside it hold."""

from pathlib import Path

import numpy as np

from jaxbrain.reports import canvas, letters, sheets, terminal
from jaxbrain.reports.drawing import number
from jaxbrain.reports.page import (
    Facts,
    Figure,
    Heading,
    Page,
    Prose,
    Text,
    Warnings,
    new_table,
)

# The numbers at the top of `audit.json`, and what each says.
TOP = {
    "kid": "kernel distance of {features} features, synthetic to held-out; 0: of one distribution",
    "precision": "share of synthetic images that are near held-out ones",
    "recall": "share of held-out images that are near synthetic ones",
    "density": "how densely synthetic images lie where held-out ones do; 1: as densely",
    "coverage": "share of held-out images with a synthetic one among their nearest",
    "copied_fraction": "share of synthetic images as near to a training image as the nearest 5 % "
    "of held-out images are; .05: as chance has it",
    "membership_auroc": "how well {membership} tells training images from held-out ones; .5: not "
    "at all",
}
_JUDGED = "kid", "frechet", "precision", "recall", "density", "coverage"
_ROW = 10
_PAIRS, _BESIDE = 20, 4
_MEANS = (
    "What was measured: distances between images, statistics of their features, and how well the "
    "attacks listed tell training images from held-out ones. Other attacks may tell more, and "
    "images of one patient that do not look alike are not recognised as such. No number here "
    "shows that synthetic images are anonymous or safe to share. Research only: not a medical "
    "device."
)


def measured(found: dict | None, digits: int = 3) -> str:
    """{"value", "interval"} as "0.512 (0.401..0.623)", "-" for None."""
    if found is None or found["value"] is None:
        return "-"
    ends = found.get("interval") or ()
    # Kernel distances of what is no image at all may have ten digits.
    large = max(map(abs, (found["value"], *ends))) >= 1000
    shown = [
        f"{value:.4g}" if large else number(value, digits) for value in (found["value"], *ends)
    ]
    return shown[0] + (f" ({shown[1]}..{shown[2]})" if ends else "")


def heading(results: dict) -> list[str]:
    """Lines that say what was compared."""
    about = results["about"]
    lines = []
    if about["kind"] == "run":
        lines.append(
            f"run {about['run']}, seed {about['seed']}, step {about['checkpoint']['step']}"
        )
    for name, counts in results["counts"].items():
        by_class = ", ".join(f"{n} {one}" for one, n in counts["found"].items())
        left_out = "".join(f", {n} {why}" for why, n in counts["left_out"].items())
        where = f" ({about[name]})" if about["kind"] == "folders" else ""
        lines.append(f"{name}{where}: {by_class}{left_out}; {counts['used']} compared")
    return lines


def _top(results: dict) -> tuple[list[str], list[list[str]]]:
    named = {"features": results["top_features"], "membership": results["top_membership"]}
    rows = [[name, measured(results[name]), text.format(**named)] for name, text in TOP.items()]
    return ["number", "value (95 % interval)", "what it is"], rows


def _features(results: dict) -> tuple[list[str], list[list[str]]]:
    header = ["features", "images", *_JUDGED, "n / dim of frechet"]
    rows = []
    for name, found in results["features"].items():
        for images, own in (("synthetic", found), ("training: real against real", found["real"])):
            shown = [measured(own.get(what)) for what in _JUDGED]
            rows.append([name, images, *shown, number(own["frechet"]["n_over_dim"])])
    return header, rows


def _variety(results: dict) -> tuple[list[str], list[list[str]]]:
    rows = [[name, measured(found)] for name, found in results["variety"].items()]
    return ["images", "MS-SSIM of pairs of a class"], rows


def _membership(results: dict) -> tuple[list[str], list[list[str]]]:
    rows = [
        [
            name,
            measured(found),
            measured(found["tpr_at"]),
            measured(found.get("control")),
            f"{found['positives']} / {found['negatives']}",
        ]
        for name, found in results["membership"].items()
    ]
    header = ["attack", "AUROC", "TPR at 1 % FPR", "AUROC of the control"]
    return [*header, "training / held-out images"], rows


def _worst(results: dict) -> tuple[list[str], list[list[str]]]:
    rows = [
        [one["file"], one["nearest"], number(one["distance"], 4), "yes" if one["copied"] else ""]
        for one in results["copies"]["worst"]
    ]
    return ["synthetic image", "nearest training image", "distance", "counts as copied"], rows


def _copies(results: dict) -> list[str]:
    found = results["copies"]
    return [
        f"{found['count']} of {found['synthetic']} synthetic images are at most "
        f"{found['threshold']:.4f} from a training image; of images like the "
        f"{found['held_out']} held-out ones a share of {found['expected']:.3f} is expected to be.",
        f"AuthPct (synthetic images further from their nearest training image than that is from "
        f"its own nearest one): {measured(found['authentic'])}.",
    ]


def page(results: dict) -> Page:
    """The audit's report: what was drawn, and what was copied."""
    blocks = (
        Facts(tuple(_facts(results))),
        Heading("Warnings"),
        Warnings(tuple(results["warnings"])),
        Heading("The numbers"),
        new_table("The audit", _top(results), "audit"),
        Text(_MEANS),
        Heading("Synthetic against held-out images"),
        Text(
            "Beside each the same of training images against held-out ones, which is what real "
            "images reach. With as many synthetic as training images the rows compare."
        ),
        new_table("By features (95 % intervals)", _features(results), "features"),
        new_table("Variety (95 % intervals)", _variety(results), "variety"),
        Text("An MS-SSIM above that of real images says that synthetic ones are more alike."),
        Figure("sheet.png", "Images of each set, evenly chosen"),
        Heading("Copies of training images"),
        *map(Text, _copies(results)),
        new_table("The nearest pairs", _worst(results), "nearest"),
        Figure("pairs.png", "The nearest pairs: synthetic, then training image"),
        Prose("`distances.csv` has all pairs."),
        Heading("Membership"),
        new_table("Attacks (95 % intervals)", _membership(results), "membership"),
        Figure("curves.png", "Membership, and distances to training images"),
    )
    return Page("What was drawn, and what was copied", tuple(heading(results)), blocks)


def _facts(results: dict) -> list[tuple[str, str, str]]:
    """The numbers at the top that are read first."""
    named = {"features": results["top_features"], "membership": results["top_membership"]}
    shown = {"kid": "KID", "copied_fraction": "Copied", "membership_auroc": "Membership AUROC"}
    return [
        (title, measured(results[name]), TOP[name].format(**named)) for name, title in shown.items()
    ]


def show(console, results: dict) -> None:
    """Print what was found in a few lines, then the numbers of all features, membership, and
    those at the top."""
    counts = ", ".join(f"{one['used']} {name}" for name, one in results["counts"].items())
    lines = [("run", f"images compared: {counts}"), ("copies", _copies(results)[0])]
    lines += [("warning", text) for text in terminal.some(results["warnings"])]
    lines.append(
        (
            "note",
            "No number here shows that synthetic images are anonymous or safe to share. Research "
            "only, not a medical device.",
        )
    )
    terminal.summary(console, lines)
    title = "Synthetic against held-out images (95 % interval)"
    terminal.table(console, title, *_features(results), keys=2)
    terminal.table(console, "Membership (95 % interval)", *_membership(results))
    terminal.table(console, "The audit", *_top(results), right=())


def sheet(path: Path, sets: dict[str, tuple[np.ndarray, np.ndarray]], class_names) -> None:
    """`sheet.png`: a row of each class of each set. sets: name -> image [N, S, S, 1] uint8,
    label [N]; evenly chosen."""
    rows = []
    for k, name in enumerate(class_names):
        for of, (image, label) in sets.items():
            own = image[label == k]
            chosen = np.linspace(0, len(own) - 1, min(_ROW, len(own))).round().astype(int)
            of_class = [letters.drawable(name)] if len(class_names) > 1 else []
            rows.append(("\n".join([*of_class, of]), own[chosen]))
    sheets.sheet(path, [row for row in rows if len(row[1])])


def pairs(path: Path, synthetic: np.ndarray, nearest: np.ndarray, distance: np.ndarray) -> None:
    """`pairs.png`: each synthetic image with its nearest training image on its right and their
    distance below, the nearest pairs first, four pairs a row.

    synthetic, nearest: [N, S, S, 1] uint8; distance: [N]."""
    worst = np.argsort(distance, kind="stable")[:_PAIRS]
    rows, captions = [], []
    for start in range(0, len(worst), _BESIDE):
        some = worst[start : start + _BESIDE]
        both = np.stack([synthetic[some], nearest[some]], axis=1)
        text = f"pairs\n{start + 1} to {start + len(some)}"
        rows.append((text, both.reshape(-1, *both.shape[2:])))
        shown = [f"synthetic, {distance[j]:.4f}" for j in some]
        captions.append([text for one in shown for text in (one, "its nearest")])
    sheets.sheet(path, rows, captions)


def curves(results: dict, distances: dict[str, np.ndarray]):
    """`curves.png`: ROC of membership, and cumulative distances to training images.

    distances: set -> [N], to the nearest training image.
    """
    figure, (left, right) = canvas.new_figure(10, 5.2, 2)
    for turn, (name, found) in enumerate(results["membership"].items()):
        fpr, tpr = zip(*found["roc"], strict=True)
        text = f"{letters.label(name)}, AUROC {measured(found)}"
        how = {"color": canvas.style(turn)["color"], "ls": ("-", "--", "-.")[turn % 3]}
        left.plot(fpr, tpr, label=text, drawstyle="steps-post", **how)
    left.plot([0, 1], [0, 1], color="0.6", lw=1, ls=":", label="chance")
    left.axvline(0.01, color="0.7", lw=1, label="1 % of held-out images")
    left.set_xlabel("share of held-out images called training")
    left.set_ylabel("share of training images called training")
    left.set_title("Membership")
    for turn, (name, values) in enumerate(distances.items()):
        ordered = np.sort(values)
        share, how = np.arange(1, len(ordered) + 1) / len(ordered), canvas.style(turn)["color"]
        right.step(ordered, share, where="post", label=name, color=how, ls=("-", "--")[turn % 2])
    threshold = results["copies"]["threshold"]
    right.axvline(threshold, color="0.4", lw=1, ls=":", label="copied at or below")
    right.set_xlabel("distance to the nearest training image")
    right.set_ylabel("share of images at most so far")
    right.set_title("Nearest training images")
    for axis in (left, right):
        axis.grid(alpha=0.3)
        place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.13)}
        axis.legend(fontsize=8, frameon=False, ncols=2 if axis is right else 1, **place)
    return figure
