"""The entries of `results.json`, from a run's `predictions.csv` and `images.csv` alone."""

from pathlib import Path

import numpy as np

from jaxbrain.errors import DataError
from jaxbrain.quoted import PAPER_ACCURACY
from jaxbrain.scoring import calibration, metrics, roc, scores


def results(predictions: Path, images: Path, extra: dict[int, dict] | None = None) -> dict:
    """What P0 says of one generator and one classifier, seed by seed and over the seeds.

    Args:
        predictions, images: `predictions.csv` and `images.csv` of a study; rows of other
            protocols and labels are left out.
        extra: more of a seed's entry, by seed, before the summary is taken.

    Returns:
        seeds: a dictionary a seed: seed, confusion (two classes: tp, fp, fn, tn of class 1),
            matrix [K][K] (true class in rows), accuracy, accuracy_real, accuracy_synthetic
            (shares in [0, 1], None without such images), num_test, num_test_real, metrics
            (`metrics.summarise`), and what `extra` has for it.
        summary: over them. The interval is what `scores` gives the cell; accuracy_fresh is
            averaged where the seeds have it.
        external: with answers under P4, on another source's images: their accuracy, interval,
            n, and metrics, of all seeds together, and accuracy_by_seed.

    Raises:
        DataError: unless there is exactly one such cell; if a file is not what a study wrote.
    """
    answers = scores.read(predictions, scores.read_groups(images))
    own = _only(answers, predictions)
    (one,), ((cell,), _) = own.values(), scores.cells(own)
    extra = extra or {}
    seeds = [_seed(seed, one) | extra.get(seed, {}) for seed in cell["seeds"]]
    found = {"seeds": seeds, "summary": _summary(seeds, cell)}
    other = {key: one for key, one in answers.items() if (key[0], key[3]) == ("P4", "true")}
    for cell in scores.cells(other)[0] if other else ():
        found["external"] = {name: cell[name] for name in _EXTERNAL}
    return found


def _only(answers: dict, predictions: Path) -> dict:
    own = {key: one for key, one in answers.items() if (key[0], key[3]) == ("P0", "true")}
    if len(own) != 1:
        raise DataError(
            f"{predictions}: {len(own)} pairs of a generator and a classifier under P0: expected 1"
        )
    return own


def curves(predictions: Path, images: Path) -> dict[str, dict]:
    """ROC curves of the positive one of two classes under P0, for `roc.png`.

    Returns:
        "all tested", "real half" and "synthetic half" -> seeds: a curve (fpr [U], tpr [U]) a
        seed; mean: [[fpr, tpr], ..]; auroc: one a seed. A seed without both classes in a half
        has no curve of it, and a half without a curve is left out.

    Raises:
        DataError: as `results`.
    """
    (one,) = _only(scores.read(predictions, scores.read_groups(images)), predictions).values()
    found = {}
    for name, part in (
        ("all tested", np.ones(len(one.seed), bool)),
        ("real half", one.group >= 0),
        ("synthetic half", one.group < 0),
    ):
        own = []
        for seed in np.unique(one.seed):
            mine = part & (one.seed == seed)
            positive = one.label[mine] == 1
            if positive.any() and not positive.all():
                own.append(roc.curves(one.p[mine, 1], positive))
        if own:
            found[name] = {
                "seeds": [(curve.fpr[0], curve.tpr[0]) for curve in own],
                "mean": roc.mean_points(own),
                "auroc": [float(curve.auroc()[0]) for curve in own],
            }
    return found


def reliability(predictions: Path, images: Path) -> dict[str, dict]:
    """What probabilities were worth under P0, answers of all seeds together, for
    `reliability.png`.

    Returns:
        "real half" and "synthetic half", where there is one -> bins
        (`calibration.reliability`); ece: the mean over seeds of the expected calibration error,
        in [0, 1]; n: answers.

    Raises:
        DataError: as `results`.
    """
    (one,) = _only(scores.read(predictions, scores.read_groups(images)), predictions).values()
    found = {}
    for name, part in (("real half", one.group >= 0), ("synthetic half", one.group < 0)):
        if part.any():
            errors = [
                calibration.ece(one.p[mine], one.label[mine])
                for seed in np.unique(one.seed[part])
                for mine in (part & (one.seed == seed),)
            ]
            bins = calibration.reliability(one.p[part], one.label[part])
            found[name] = {"bins": bins, "ece": float(np.mean(errors)), "n": int(part.sum())}
    return found


_EXTERNAL = "accuracy interval interval_kind n accuracy_by_seed metrics".split()


def _seed(seed: int, one: scores.Answers) -> dict:
    mine = one.seed == seed
    real, hit = one.group[mine] >= 0, one.hit[mine]
    everything = metrics.tally(one.p[mine], one.label[mine])
    matrix = everything.confusion.astype(int)
    result: dict = {"seed": seed}
    if len(matrix) == 2:
        (tn, fp), (fn, tp) = matrix.tolist()
        result["confusion"] = {"tp": tp, "fp": fp, "fn": fn, "tn": tn}
    return result | {
        "matrix": matrix.tolist(),
        "accuracy": scores.share(hit),
        "accuracy_real": scores.share(hit[real]),
        "accuracy_synthetic": scores.share(hit[~real]),
        "num_test": len(real),
        "num_test_real": int(real.sum()),
        "metrics": metrics.summarise(everything),
    }


def _summary(seeds: list[dict], cell: dict) -> dict:
    accuracy = [result["accuracy"] for result in seeds]
    low, high = cell["interval"]
    summary = {
        "num_seeds": len(seeds),
        "accuracy": float(np.mean(accuracy)),
        "accuracy_sd": float(np.std(accuracy, ddof=1)) if len(seeds) > 1 else None,
        "accuracy_min": min(accuracy),
        "accuracy_max": max(accuracy),
        "interval": [low, high],
        "interval_kind": cell["interval_kind"],
        "num_test": seeds[0]["num_test"],
        "paper_accuracy": PAPER_ACCURACY,
        "paper_inside_range": min(accuracy) <= PAPER_ACCURACY <= max(accuracy),
        "paper_inside_interval": low <= PAPER_ACCURACY <= high,
    }
    for name in ("accuracy_real", "accuracy_synthetic", "accuracy_fresh"):
        values = [result[name] for result in seeds if result.get(name) is not None]
        if values:
            summary[name] = float(np.mean(values))
    return summary
