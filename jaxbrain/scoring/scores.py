"""Every number of a study's report, from its `predictions.csv` and `images.csv` alone.

A row of `predictions.csv` is one answer: the columns of `header`. The cells of the probe
(`labels` is "origin": real images, 0, against synthetic ones, 1) have two classes whatever
the study has: their probabilities stand in the first two of the columns p_<class>, the
others are empty. Names of generators and classifiers are whatever a study's methods are
called; "none" is the generator of cells without synthetic images.
"""

import csv
import itertools
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxbrain.errors import DataError
from jaxbrain.scoring import alarms, intervals, metrics

COLUMNS = tuple("protocol generator classifier labels seed fold id origin twin label".split())
# What one step down the ladder is worth: the leak, the cell it is in, the cell without.
LEAKS = ("L2", "P0", "P1"), ("L1", "P1", "P2"), ("L3+L4", "P2", "P3")
# By which probabilities may miss a sum of 1: they are float32, or rounded in a file.
_ROUNDING = 1e-4


class Answers(NamedTuple):
    """The rows of one cell over its seeds and folds, each array [N].

    seed, fold: int; group: int, of a real image's near-duplicates, -1 for synthetic;
    name: the image's id; twin: 1, 0, or -1 for synthetic; label: int in [0, K);
    p: [N, K] float64 in [0, 1], rows sum to 1.
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
        """[N] bool: right answers, by `metrics.called`."""
        return metrics.called(self.p) == self.label


Key = tuple[str, str, str, str]


def header(class_names) -> list[str]:
    """The columns of `predictions.csv`: `COLUMNS`, for two classes `p` (the probability of
    class 1), then p_<name> for every class.

    Example:
        >>> header(["no", "yes"])[9:]
        ['label', 'p', 'p_no', 'p_yes']
    """
    own = [f"p_{name}" for name in class_names]
    return [*COLUMNS, *(["p"] if len(own) == 2 else []), *own]


def read_groups(path: Path) -> dict[str, int]:
    """Group of each real image, by its id, from `images.csv`."""
    with path.open(newline="", encoding="utf-8") as file:
        return {row["id"]: int(row["group"]) for row in csv.DictReader(file)}


def read(path: Path, groups: dict[str, int]) -> dict[Key, Answers]:
    """`predictions.csv` by (protocol, generator, classifier, labels).

    Args:
        groups: of the real images, by id (`read_groups`).

    Raises:
        DataError: naming the file and the line, for other columns than `header` has, a
            label that is no class, probabilities outside [0, 1] or that do not sum to 1.
    """
    rows: dict[Key, list] = {}
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        try:
            columns = next(reader, [])
            names = [name.removeprefix("p_") for name in columns if name.startswith("p_")]
            if len(names) < 2 or columns != header(names):
                raise ValueError(f"columns {columns}: expected {header(['<class>', '...'])}")
            for row in reader:
                if len(row) != len(columns):
                    raise ValueError(f"{len(row)} values: expected {len(columns)}")
                cell, values = _row(row, len(names), groups)
                rows.setdefault(cell, []).append(values)
        except (ValueError, csv.Error) as error:
            raise DataError(f"{path}, line {reader.line_num}: {error}") from error
    return {
        cell: Answers(*map(np.asarray, zip(*values, strict=True))) for cell, values in rows.items()
    }


def _class_names(path: Path) -> list[str]:
    """The classes by the columns of `predictions.csv`."""
    with path.open(newline="", encoding="utf-8") as file:
        columns = next(csv.reader(file), [])
    return [name.removeprefix("p_") for name in columns if name.startswith("p_")]


def _row(row: list[str], num_classes: int, groups: dict[str, int]) -> tuple[Key, tuple]:
    protocol, generator, classifier, labels, seed, fold, name, origin, twin, label = row[:10]
    count = 2 if labels == "origin" else num_classes
    values = row[-num_classes:]
    p, true = [float(value) for value in values[:count]], int(label)
    if not 0 <= true < count:
        raise ValueError(f"label {true}: expected 0 to {count - 1}")
    if not all(0.0 <= value <= 1.0 for value in p) or any(values[count:]):
        raise ValueError(f"p {values}: expected {count} probabilities, from 0 to 1")
    if abs(sum(p) - 1.0) > _ROUNDING:
        raise ValueError(f"p {values}: the sum is {sum(p):.6g}, expected 1")
    if num_classes == 2 and not abs(float(row[10]) - p[1]) <= _ROUNDING:
        raise ValueError(f"p {row[10]}: expected that of class 1, {p[1]}")
    if origin != "synthetic" and name not in groups:
        raise ValueError(f"id {name!r} is not in images.csv")
    real = (groups[name], name, int(twin)) if origin != "synthetic" else (-1, name, -1)
    return (protocol, generator, classifier, labels), (int(seed), int(fold), *real, true, p)


def share(hit: np.ndarray) -> float | None:
    """The share of right answers [N] bool, in [0, 1]; None without answers."""
    return float(hit.mean()) if len(hit) else None


def _bootstrap(answers: dict) -> dict:
    """[B] draws of each cell's accuracy: `intervals.clustered_bootstrap`, the same clusters
    for all."""
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
    draws = intervals.clustered_bootstrap(hits, counts, alone=alone)
    return {key: draws[:, c] for c, key in enumerate(answers)}


def cells(answers: dict[Key, Answers]) -> tuple[list[dict], dict[Key, np.ndarray]]:
    """Accuracies, intervals and metrics of each cell, and [B] draws of its accuracy."""
    # Another source's images are drawn apart: without them the others' draws are the same.
    other = {key: one for key, one in answers.items() if key[0] == "P4"}
    own = {key: one for key, one in answers.items() if key[0] != "P4"}
    draws = (_bootstrap(own) if own else {}) | (_bootstrap(other) if other else {})
    return [_cell(key, one, draws[key]) for key, one in answers.items()], draws


def _cell(key: Key, one: Answers, draws: np.ndarray) -> dict:
    num_tests = len(set(zip(one.seed.tolist(), one.fold.tolist(), strict=True)))
    interval, real = intervals.percentiles(draws), one.group[one.group >= 0]
    # P4 tests once a seed what may be many slices of few heads.
    alone = num_tests == 1 and (key[0] != "P4" or len(np.unique(real)) == len(real))
    if alone:
        interval = intervals.wilson(int(one.hit.sum()), len(one.hit))
    seeds = np.unique(one.seed)
    parts = {
        "real": one.group >= 0,
        "synthetic": one.group < 0,
        "twin": one.twin == 1,
        "no_twin": one.twin == 0,
    }
    return {
        **dict(zip(COLUMNS[:4], key, strict=True)),
        "accuracy": share(one.hit),
        "interval": list(interval) if interval else None,
        "interval_kind": "wilson" if alone else "clustered bootstrap",
        **{f"accuracy_{name}": share(one.hit[part]) for name, part in parts.items()},
        "n": len(one.hit),
        **{f"n_{name}": int(part.sum()) for name, part in parts.items()},
        "num_seeds": len(seeds),
        # Test sets: of each seed and fold.
        "num_tests": num_tests,
        "seeds": seeds.tolist(),
        "accuracy_by_seed": [share(one.hit[one.seed == seed]) for seed in seeds],
        "metrics": metrics.predicted(one.p, one.label),
    }


def _leak(answers: dict, draws: dict, upper: Key, lower: Key) -> dict | None:
    """One cell's accuracy minus another's, over the seeds that both have; None if none."""
    if upper not in answers or lower not in answers:
        return None
    seeds = np.intersect1d(answers[upper].seed, answers[lower].seed)
    if not len(seeds):
        return None
    shared = {}
    for key in (upper, lower):
        kept = np.isin(answers[key].seed, seeds)
        shared[key] = Answers(*(leaf[kept] for leaf in answers[key]))
    if any(len(one.seed) < len(answers[key].seed) for key, one in shared.items()):
        draws = _bootstrap(shared)
    interval = intervals.percentiles(draws[upper] - draws[lower])
    return {
        "difference": float(shared[upper].hit.mean() - shared[lower].hit.mean()),
        "interval": list(interval) if interval else None,
        "num_seeds": len(seeds),
    }


def _leaks(answers: dict, draws: dict, other_view: set) -> list[dict]:
    rows = []
    for generator, classifier in dict.fromkeys(key[1:3] for key in answers):
        own = [(*leak, generator) for leak in (LEAKS[2:] if generator == "none" else LEAKS)]
        if generator != "none" and (generator, classifier) not in other_view:
            own.append(("synthesis", "P3", "P3", "none"))
        for leak, upper, lower, other in own:
            pair = (upper, generator, classifier, "true"), (lower, other, classifier, "true")
            found = _leak(answers, draws, *pair)
            if found:
                name = {"generator": generator, "classifier": classifier, "leak": leak}
                rows.append(name | found)
    return rows


def _by_test(one: Answers) -> dict[tuple[int, int], dict[str, bool]]:
    """Whether each image was called right, by seed and fold, then by id."""
    tests: dict[tuple[int, int], dict[str, bool]] = {}
    columns = (leaf.tolist() for leaf in (one.seed, one.fold, one.name, one.hit))
    for seed, fold, name, hit in zip(*columns, strict=True):
        tests.setdefault((seed, fold), {})[name] = hit
    return tests


def compared(first: Answers, second: Answers, test_over_train: float) -> dict | None:
    """Two cells tested on the same images: `difference` (shares), `mcnemar_p_by_seed`, their
    median, `corrected_t_p`, and over how many tests. None if they share no test, or were
    tested on other images. test_over_train: of one fold."""
    return _paired(_by_test(first), _by_test(second), test_over_train)


def _paired(first: dict, second: dict, test_over_train: float) -> dict | None:
    """Two cells tested on the same images, over the seeds and folds that both have: McNemar
    on each seed's pooled answers, and the corrected t over seeds and folds. None if they
    share no test, or were tested on other images. first, second: of `_by_test`."""
    both = sorted(first.keys() & second.keys())
    if not both or any(first[test].keys() != second[test].keys() for test in both):
        return None
    p_values, gaps, right = [], [], []
    for _, tests in itertools.groupby(both, key=lambda test: test[0]):
        hits = []
        for test in tests:
            pairs = [(hit, second[test][name]) for name, hit in first[test].items()]
            gaps.append(np.mean([float(one) - float(two) for one, two in pairs]))
            hits += pairs
        p_values.append(intervals.mcnemar(*np.transpose(hits)))
        right += hits
    one, two = np.mean(right, axis=0)
    return {
        "difference": float(one - two),
        "mcnemar_p_by_seed": p_values,
        "mcnemar_p_median": float(np.median(p_values)),
        "corrected_t_p": intervals.corrected_t(np.asarray(gaps), test_over_train)
        if len(gaps) > 1
        else None,
        "num_tests": len(both),
        "num_tests_of_one": len(first.keys() ^ second.keys()),
    }


def _comparisons(answers: dict, other_view: set, test_over_train: float) -> list[dict]:
    """With against without synthesis, and every two classifiers, under P3; p values of the
    corrected t adjusted over all of them by Holm."""
    rows = []
    clean = {
        key[1:3]: _by_test(one)
        for key, one in answers.items()
        if key[0] == "P3" and key[3] == "true"
    }
    pairs = [
        (own, ("none", own[1]))
        for own in clean
        if own[0] != "none" and ("none", own[1]) in clean and own not in other_view
    ]
    pairs += [
        (one, two)
        for one, two in itertools.combinations(clean, 2)
        if one[0] == two[0] and one[1] != two[1]
    ]
    for one, two in pairs:
        found = _paired(clean[one], clean[two], test_over_train)
        if found:
            rows.append({"first": list(one), "second": list(two)} | found)
    adjust(rows)
    return rows


def adjust(rows: list[dict]) -> None:
    """Add `corrected_t_p_holm`, p values adjusted over these rows, to those that were tested
    (whose `corrected_t_p` is not None)."""
    tested = [row for row in rows if row["corrected_t_p"] is not None]
    adjusted = intervals.holm([row["corrected_t_p"] for row in tested])
    for row, value in zip(tested, adjusted, strict=True):
        row["corrected_t_p_holm"] = value


def _worth(answers, draws, other_view: set, modes: dict, test_over_train: float) -> list[dict]:
    """Under P2 and P3 each generator against real images alone, and what has a filter against
    the same without; p values adjusted by Holm over the rows of a protocol."""
    rows = []
    for protocol in ("P2", "P3"):
        own = []
        cells = {key: one for key, one in answers.items() if key[::3] == (protocol, "true")}
        for classifier in dict.fromkeys(key[2] for key in cells):
            for generator, mode in modes.items():
                others = ["none"] if (generator, classifier) not in other_view else []
                for other in [*others, *filter(None, [mode["unfiltered"]])]:
                    pair = [(protocol, name, classifier, "true") for name in (generator, other)]
                    if not cells.keys() >= set(pair):
                        continue
                    one, two = (cells[key] for key in pair)
                    found = compared(one, two, test_over_train)
                    gap = _leak(answers, draws, *pair)
                    if found and gap:
                        names = {"generator": generator, "classifier": classifier}
                        own.append({"protocol": protocol} | names | {"against": other} | found)
                        own[-1] |= gap
        adjust(own)
        rows += own
    return rows


def scores(
    predictions: Path, images: Path, test_over_train: float, other_view=(), modes=None
) -> dict:
    """The numbers of a ladder: its cells, what each leak is worth, paired comparisons, and where
    there are any the warnings of `alarms.of_cell`.

    A cell may lack seeds or folds (trainings that diverged): what is compared is compared
    over those that both sides have.

    Args:
        predictions, images: `predictions.csv` and `images.csv` of a study.
        test_over_train: of one fold.
        other_view: pairs [generator, classifier] whose classifier sees real images
            otherwise beside this generator's than without synthesis: those two are not
            compared.
        modes: generators but "none", {name: {"unfiltered": the same without its filter, or
            ""}}; with it what each is worth is said too.

    Raises:
        DataError: if a file is not what a study wrote.
    """
    answers = read(predictions, read_groups(images))
    if not answers:
        raise DataError(f"{predictions}: no predictions")
    other_view = {tuple(pair) for pair in other_view}
    rows, draws = cells(answers)
    found: dict[str, object] = {
        "cells": rows,
        "leaks": _leaks(answers, draws, other_view),
        "comparisons": _comparisons(answers, other_view, test_over_train),
    }
    names = _class_names(predictions)
    warned = [
        text
        for cell, one in zip(rows, answers.values(), strict=True)
        for text in alarms.of_cell(cell, one.p, one.label, names)
    ]
    if warned:
        found["warnings"] = warned
    if modes is not None:
        found["worth"] = _worth(answers, draws, other_view, modes, test_over_train)
    return found
