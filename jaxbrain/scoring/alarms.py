"""What a run's own numbers say against it, a line each: a classifier that answers at random or
always the same, sets of images too small to mean anything, images that were left out."""

import math

import numpy as np

from jaxbrain.scoring import intervals

# Answers of another class than the usual one: at most this share of all, and this share of the
# images that are of another class.
_FEW, _OF_OTHERS = 0.05, 0.25
# Fewer tested images, or images of a class, say next to nothing: with 30 right answers of 60 %
# the 95 % interval is 33 points wide.
LEAST_TESTED, LEAST_OF_CLASS = 30, 20
# Classifiers that are made to look at no picture.
FLOORS = "majority", "metadata"
# How lines on the answers of a cell begin.
ANSWERS = "the answers of "


def constant(matrix, names) -> str:
    """That all answers, or all but a few, are one class though the images are not; or "".

    matrix: [K, K] counts, true classes in rows; names: of the K classes.

    Example:
        >>> constant([[0, 21], [0, 19]], ("no", "yes"))
        'it answers yes to 40 of 40 images, 21 of which are not'
    """
    matrix = np.asarray(matrix)
    total, answers = int(matrix.sum()), matrix.sum(axis=0)
    usual = int(answers.argmax())
    # Of the images that are of another class.
    others = total - int(matrix[usual].sum())
    rest = total - int(answers[usual])
    if not others or rest > _FEW * total or rest > _OF_OTHERS * others:
        return ""
    return (
        f"it answers {names[usual]} to {answers[usual]} of {total} images, "
        f"{int(answers[usual] - matrix[usual, usual])} of which are not"
    )


def auroc_interval(auroc: float, positives: int, negatives: int) -> tuple[float, float]:
    """The 95 % interval of an AUROC, within [0, 1].

    positives, negatives: images of either class, at least 1.

    Example:
        >>> [round(x, 2) for x in auroc_interval(0.75, 20, 20)]
        [0.6, 0.9]

    References:
        Hanley and McNeil, "The meaning and use of the area under a receiver operating
        characteristic (ROC) curve", 1982.
    """
    square = auroc * auroc
    one, two = auroc / (2 - auroc) - square, 2 * square / (1 + auroc) - square
    variance = auroc * (1 - auroc) + (positives - 1) * one + (negatives - 1) * two
    half = 1.96 * math.sqrt(max(variance, 0.0) / (positives * negatives))
    return max(auroc - half, 0.0), min(auroc + half, 1.0)


def chance(accuracy: float, interval, share: float, auroc: float | None = None, sizes=()) -> str:
    """That a classifier is no better than the largest class, or orders images at random; or "".

    accuracy, interval: shares in [0, 1]; share: of the largest class among what was tested.
    auroc: of two classes; sizes: images of each, of one test.
    """
    found = []
    if interval and interval[0] <= share:
        low, high = (f"{100 * end:.1f}" for end in interval)
        found.append(
            f"accuracy is {100 * accuracy:.1f} % (95 %: {low} to {high}), and the largest class "
            f"alone is {100 * share:.1f} %"
        )
    if auroc is not None and len(sizes) == 2 and min(sizes) > 0:
        least, most = auroc_interval(auroc, *sizes)
        if least <= 0.5:
            found.append(
                f"AUROC is {auroc:.2f} (95 %: {least:.2f} to {most:.2f}), and chance is .50"
            )
    return "; ".join(found)


def unused(found: dict[str, int], used: dict[str, int]) -> list[str]:
    """Images that were found and left out, by class. found, used: counts by class."""
    return [
        f"{found[name] - count} of {found[name]} images of class {name} are not used: "
        f"data.n_per_class takes at most {count} of each class (--data.n-per-class 0 takes all)"
        for name, count in used.items()
        if count < found[name]
    ]


def small(used: dict[str, int], tested: int | None = None, interval=None) -> list[str]:
    """That images are too few to mean anything. used: images by class; tested: real images that
    a seed is tested on; interval: of the accuracy."""
    few = [f"{count} images of class {name}" for name, count in used.items()]
    if min(used.values()) >= LEAST_OF_CLASS and (tested is None or tested >= LEAST_TESTED):
        return []
    what = ", ".join(few) + (f", {tested} real ones tested" if tested is not None else "")
    width = ""
    if interval:
        width = f"; the 95 % interval of accuracy is {100 * (interval[1] - interval[0]):.0f} "
        width += "points wide"
    return [
        f"too few images to mean anything: {what}, and {LEAST_OF_CLASS} of each class and "
        f"{LEAST_TESTED} tested ones are the least{width}"
    ]


def of_paper(results: dict) -> list[str]:
    """What `results.json` of the paper's protocol says against itself, but for its GANs.

    results: with `data`, `seeds` and `summary`.
    """
    seeds, summary, data = results["seeds"], results["summary"], results["data"]
    names = list(data["found"])
    lines = unused(data["found"], data["used"])
    tested = min(seed["num_test_real"] for seed in seeds)
    lines += small(data["used"], tested, summary["interval"])
    for seed in seeds:
        if text := constant(seed["matrix"], names):
            lines.append(f"seed {seed['seed']}: the classifier has learned next to nothing: {text}")
    sizes = np.sum([seed["matrix"] for seed in seeds], axis=(0, 2)) / len(seeds)
    aurocs = [seed["metrics"]["auroc"] for seed in seeds]
    auroc = None if None in aurocs or len(names) > 2 else float(np.mean(aurocs))
    whole = summary["accuracy"], summary["interval"], float(sizes.max() / sizes.sum())
    # Class 1 is the positive one.
    if text := chance(*whole, auroc, tuple(sizes[::-1])):
        lines.append(f"the classifier is not better than chance: {text}")
    real = summary.get("accuracy_real")
    if real is not None and tested:
        used = data["used"].values()
        half = real, intervals.wilson(real * tested, tested), max(used) / sum(used)
        if text := chance(*half):
            lines.append(f"on real images the classifier is not better than chance: {text}")
    return lines


def of_cell(cell: dict, p: np.ndarray, label: np.ndarray, names) -> list[str]:
    """What a cell of a study says against its classifier under P3, where nothing leaks; under
    other protocols only that all answers are alike.

    cell: as `scores.cells` gives it; p: [N, K], label: [N] int, of all its tests.
    """
    if cell["labels"] != "true" or cell["classifier"] in FLOORS:
        return []
    guess = (p[:, 1] > 0.5).astype(int) if p.shape[1] == 2 else p.argmax(axis=1)
    matrix = np.zeros((p.shape[1], p.shape[1]), int)
    np.add.at(matrix, (label, guess), 1)
    texts = [constant(matrix, names)]
    if cell["protocol"] == "P3":
        sizes = matrix.sum(axis=1)
        one = tuple(sizes[::-1] / max(cell["num_seeds"], 1))
        auroc = cell["metrics"].get("auroc") if len(names) == 2 else None
        share = float(sizes.max() / sizes.sum())
        texts.append(chance(cell["accuracy"], cell["interval"], share, auroc, one))
    who = cell["classifier"] + ("" if cell["generator"] == "none" else f" + {cell['generator']}")
    return [f"{ANSWERS}{who} under {cell['protocol']}: {text}" for text in texts if text]
