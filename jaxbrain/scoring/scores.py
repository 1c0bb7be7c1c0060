"""Every number of a study's report, from its `predictions.csv` and `images.csv` alone."""

import csv
import itertools
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxbrain.errors import DataError
from jaxbrain.scoring import intervals, metrics

COLUMNS = (
    "protocol",
    "generator",
    "classifier",
    "labels",
    "seed",
    "fold",
    "id",
    "origin",
    "twin",
    "label",
    "p",
)
# What one step down the ladder is worth: the leak, the cell it is in, the cell without.
LEAKS = (
    ("L2", "P0", "P1"),
    ("L1", "P1", "P2"),
    ("L3+L4", "P2", "P3"),
)


class Answers(NamedTuple):
    """The rows of one cell over its seeds and folds, each array [N].

    seed, fold: int; group: int, of a real image's near-duplicates, -1 for synthetic;
    name: the image's id; twin: 1, 0, or -1 for synthetic; label: 0 or 1; p: float64.
    """

    seed: np.ndarray
    fold: np.ndarray
    group: np.ndarray
    name: np.ndarray
    twin: np.ndarray
    label: np.ndarray
    p: np.ndarray

    @property
    def hit(self) -> np.ndarray:
        return (self.p > 0.5) == (self.label == 1)


def read_groups(path: Path) -> dict[str, int]:
    """Group of each real image, by its id, from `images.csv`."""
    with path.open(newline="", encoding="utf-8") as file:
        return {row["id"]: int(row["group"]) for row in csv.DictReader(file)}


def read(path: Path, groups: dict[str, int]) -> dict[tuple[str, str, str, str], Answers]:
    """`predictions.csv` by (protocol, generator, classifier, labels).

    Raises:
        DataError: naming the line, for other columns or values.
    """
    rows: dict[tuple, list] = {}
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        header = tuple(next(reader, ()))
        if header != COLUMNS:
            raise DataError(f"{path}: columns {header}: expected {COLUMNS}")
        for line, row in enumerate(reader, start=2):
            try:
                *cell, seed, fold, name, origin, twin, label, p = row
                if origin == "synthetic":
                    group, twin = -1, -1
                else:
                    group, twin = groups[name], int(twin)
                values = (int(seed), int(fold), group, name, twin, int(label), float(p))
                if not 0.0 <= values[-1] <= 1.0 or values[5] not in (0, 1):
                    raise ValueError("a label other than 0 and 1, or p outside [0, 1]")
            except (ValueError, KeyError) as error:
                raise DataError(f"{path}, line {line}: {error}: {row}") from error
            rows.setdefault(tuple(cell), []).append(values)
    return {
        cell: Answers(*map(np.asarray, zip(*values, strict=True))) for cell, values in rows.items()
    }


def _share(hit: np.ndarray) -> float | None:
    return float(hit.mean()) if len(hit) else None


def _bootstrap(answers: dict) -> np.ndarray:
    """[B, cells]: `intervals.clustered_bootstrap` of all cells, on shared draws."""
    groups = sorted({int(g) for one in answers.values() for g in np.unique(one.group) if g >= 0})
    place = {group: i for i, group in enumerate(groups)}
    hits, counts = np.zeros((2, len(answers), len(groups)))
    alone = np.zeros((len(answers), 2), np.int64)
    for c, one in enumerate(answers.values()):
        real = one.group >= 0
        where = np.asarray([place[int(g)] for g in one.group[real]], np.int64)
        counts[c] = np.bincount(where, minlength=len(groups))
        hits[c] = np.bincount(where, one.hit[real], minlength=len(groups))
        alone[c] = one.hit[~real].sum(), (~real).sum()
    return intervals.clustered_bootstrap(hits, counts, alone=alone)


def _cell(key, one: Answers, draws: np.ndarray) -> dict:
    single = len(set(zip(one.seed.tolist(), one.fold.tolist(), strict=True))) == 1
    interval = intervals.percentiles(draws)
    if single:
        interval = intervals.wilson(int(one.hit.sum()), len(one.hit))
    real = one.group >= 0
    by_seed = [float(one.hit[one.seed == seed].mean()) for seed in np.unique(one.seed)]
    return {
        "protocol": key[0],
        "generator": key[1],
        "classifier": key[2],
        "labels": key[3],
        "accuracy": _share(one.hit),
        "interval": list(interval) if interval else None,
        "interval_kind": "wilson" if single else "clustered bootstrap",
        "accuracy_real": _share(one.hit[real]),
        "accuracy_synthetic": _share(one.hit[~real]),
        "accuracy_twin": _share(one.hit[one.twin == 1]),
        "accuracy_no_twin": _share(one.hit[one.twin == 0]),
        "n": len(one.hit),
        "n_real": int(real.sum()),
        "n_synthetic": int((~real).sum()),
        "n_twin": int((one.twin == 1).sum()),
        "n_no_twin": int((one.twin == 0).sum()),
        "num_seeds": len(by_seed),
        "accuracy_by_seed": by_seed,
        "metrics": metrics.two_class(one.p, one.label),
    }


def comparable(generator: str, classifier: str, prepared: tuple[str, ...]) -> bool:
    """Whether cells with and without synthesis see real images in the same way: floors see
    files as they are, but beside a GAN's images they see what networks see."""
    return classifier in prepared or not generator.startswith("cgan")


def _leaks(answers: dict, draws: dict, prepared: tuple[str, ...]) -> list[dict]:
    rows = []
    for generator, classifier in dict.fromkeys((key[1], key[2]) for key in answers):
        own = [
            (leak, (upper, generator, classifier, "true"), (lower, generator, classifier, "true"))
            for leak, upper, lower in LEAKS
        ]
        if generator == "none":
            own = own[2:]
        elif comparable(generator, classifier, prepared):
            without = ("P3", "none", classifier, "true")
            own.append(("synthesis", ("P3", generator, classifier, "true"), without))
        for leak, upper, lower in own:
            if upper in answers and lower in answers:
                interval = intervals.percentiles(draws[upper] - draws[lower])
                rows.append(
                    {
                        "generator": generator,
                        "classifier": classifier,
                        "leak": leak,
                        "difference": float(answers[upper].hit.mean() - answers[lower].hit.mean()),
                        "interval": list(interval) if interval else None,
                    }
                )
    return rows


def _paired(first: Answers, second: Answers, test_over_train: float) -> dict | None:
    """Two cells tested on the same images: McNemar on each seed's pooled answers, and the
    corrected t over seeds and folds. None if they were not."""
    differences, p_values = [], []
    for seed in np.unique(first.seed):
        one, two = (
            {
                (fold, name): hit
                for s, fold, name, hit in zip(a.seed, a.fold, a.name, a.hit, strict=True)
                if s == seed
            }
            for a in (first, second)
        )
        if one.keys() != two.keys():
            return None
        p_values.append(intervals.mcnemar(list(one.values()), [two[key] for key in one]))
        for fold in sorted({fold for fold, _ in one}):
            own = [key for key in one if key[0] == fold]
            differences.append(np.mean([float(one[key]) - float(two[key]) for key in own]))
    result = {
        "difference": float(first.hit.mean() - second.hit.mean()),
        "mcnemar_p_by_seed": p_values,
        "mcnemar_p_median": float(np.median(p_values)),
        "corrected_t_p": None,
    }
    if len(differences) > 1:
        result["corrected_t_p"] = intervals.corrected_t(np.asarray(differences), test_over_train)
    return result


def _comparisons(answers: dict, prepared, test_over_train: float) -> list[dict]:
    """With against without synthesis, and every two classifiers, under P3; p values of the
    corrected t adjusted over all of them by Holm."""
    rows = []
    clean = {key[1:3]: one for key, one in answers.items() if key[0] == "P3" and key[3] == "true"}
    pairs = []
    for generator, classifier in clean:
        base = ("none", classifier)
        if generator != "none" and base in clean:
            if comparable(generator, classifier, prepared):
                pairs.append(((generator, classifier), base))
    for one, two in itertools.combinations(clean, 2):
        if one[0] == two[0] and one[1] != two[1]:
            pairs.append((one, two))
    for one, two in pairs:
        found = _paired(clean[one], clean[two], test_over_train)
        if found:
            rows.append({"first": list(one), "second": list(two)} | found)
    tested = [row for row in rows if row["corrected_t_p"] is not None]
    adjusted = intervals.holm([row["corrected_t_p"] for row in tested])
    for row, value in zip(tested, adjusted, strict=True):
        row["corrected_t_p_holm"] = value
    return rows


def scores(
    predictions: Path, images: Path, test_over_train: float, prepared: tuple[str, ...]
) -> dict:
    """The numbers of a ladder: its cells, what each leak is worth, paired comparisons.

    Args:
        predictions, images: `predictions.csv` and `images.csv` of a study.
        test_over_train: of one fold.
        prepared: classifiers that see images as they are prepared for networks, not files.

    Raises:
        DataError: if a file is not what a study wrote.
    """
    answers = read(predictions, read_groups(images))
    if not answers:
        raise DataError(f"{predictions}: no predictions")
    resampled = _bootstrap(answers)
    draws = {key: resampled[:, c] for c, key in enumerate(answers)}
    return {
        "cells": [_cell(key, one, draws[key]) for key, one in answers.items()],
        "leaks": _leaks(answers, draws, prepared),
        "comparisons": _comparisons(answers, prepared, test_over_train),
    }
