"""Every number of a search, from its saved answers alone: which arm inner folds choose in
each outer fold, what the chosen ones reach on outer tests, what looking there would have said.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from jaxbrain.errors import DataError
from jaxbrain.scoring import intervals, scores
from jaxbrain.scoring.scores import Answers, Key

# A test: seed and outer fold.
Test = tuple[int, int]
# As `metrics` clips a probability in a log-likelihood.
_LEAST = 1e-12


def _tests(one: Answers, inner_folds: int = 1) -> dict[Test, np.ndarray]:
    """Rows of each seed and outer fold, in their order. inner_folds: how many of the folds of
    `one` are of an outer one."""
    keys = list(zip(one.seed.tolist(), (one.fold // inner_folds).tolist(), strict=True))
    places: dict[Test, list[int]] = {}
    for place, test in enumerate(keys):
        places.setdefault(test, []).append(place)
    return {test: np.asarray(found) for test, found in sorted(places.items())}


def _judged(one: Answers, rows: np.ndarray) -> tuple[float, float]:
    """(accuracy, mean log-likelihood in nats) of some answers."""
    chosen = one.p[rows, one.label[rows]]
    return float(one.hit[rows].mean()), float(np.log(np.maximum(chosen, _LEAST)).mean())


def choices(
    inner: dict[Key, Answers],
    arms: list[str],
    inner_folds: int,
    answered: dict[tuple[str, str], set[Test]],
) -> list[dict]:
    """What inner folds choose, for each kind of labels, seed and outer fold.

    The arm of the best inner accuracy; of equal ones that of the better log-likelihood; of
    equal ones the first of `arms`. An arm one of whose trainings diverged there, an inner or
    the outer one, is not chosen. Nothing of the outer test set is read.

    Args:
        inner: answers of the inner cells (`scores.read` of `inner.csv`).
        arms: their names, in their order.
        inner_folds: of each outer fold.
        answered: (arm, labels) -> the outer tests that it answered.

    Returns:
        Each {labels, seed, fold, arm, inner_accuracy, inner_log_likelihood}, the last two
        {arm: value}.

    Raises:
        DataError: if arms were judged on other images.
    """
    found = []
    for labels in dict.fromkeys(key[3] for key in inner):
        own = {key[2]: one for key, one in inner.items() if key[3] == labels}
        rows = {arm: _tests(own[arm], inner_folds) for arm in arms if arm in own}
        for seed, fold in sorted(set().union(*rows.values())):
            judged, seen = {}, set()
            for arm, tests in rows.items():
                place = tests.get((seed, fold))
                if place is None or (seed, fold) not in answered.get((arm, labels), ()):
                    continue
                if len(np.unique(own[arm].fold[place])) == inner_folds:
                    judged[arm] = _judged(own[arm], place)
                    names = (own[arm].fold[place].tolist(), own[arm].name[place].tolist())
                    seen.add(tuple(sorted(zip(*names, strict=True))))
            if len(seen) > 1:
                raise DataError(
                    f"inner answers of seed {seed}, fold {fold}: arms have other images: expected "
                    "the same"
                )
            if judged:
                # The first of equal ones.
                best = max(judged, key=lambda name: judged[name])
                found.append(_choice(labels, seed, fold, best, judged))
    return found


def _choice(labels: str, seed: int, fold: int, best: str, judged: dict) -> dict:
    return {
        "labels": labels,
        "seed": seed,
        "fold": fold,
        "arm": best,
        "inner_accuracy": {arm: one[0] for arm, one in judged.items()},
        "inner_log_likelihood": {arm: one[1] for arm, one in judged.items()},
    }


def answered(outer: dict[Key, Answers]) -> dict[tuple[str, str], set[Test]]:
    """For `choices`, of `predictions.csv`."""
    return {(key[2], key[3]): set(_tests(one)) for key, one in outer.items()}


def _refuse_leaks(inner: dict[Key, Answers], outer: dict[Key, Answers], inner_folds: int) -> None:
    """Raise a DataError if an arm was judged by an image, or a copy of one, that is tested, or
    arms were tested on other images."""
    tested: dict[tuple, list] = {}
    for key, one in outer.items():
        for test, rows in _tests(one).items():
            known = tested.setdefault((key[3], *test), sorted(one.name[rows].tolist()))
            if known != sorted(one.name[rows].tolist()):
                raise DataError(
                    f"answers of seed {test[0]}, fold {test[1]}: arms have other images: expected "
                    "the same"
                )
    groups = {
        (key[3], *test): set(one.group[rows].tolist())
        for key, one in outer.items()
        for test, rows in _tests(one).items()
    }
    for key, one in inner.items():
        for test, rows in _tests(one, inner_folds).items():
            if both := groups.get((key[3], *test), set()) & set(one.group[rows].tolist()):
                raise DataError(
                    f"inner answers of seed {test[0]}, fold {test[1]}: group {min(both)} is in the "
                    "outer test set: expected images of its training set alone"
                )


def unlike(outer: dict[Key, Answers], chosen_name: str, chosen: list[dict]) -> list[str]:
    """The folds whose nested answers are not those of the arm that is chosen, a line each."""
    lines = []
    for choice in chosen:
        wanted = choice["seed"], choice["fold"]
        pair = []
        for name in (chosen_name, choice["arm"]):
            one = outer.get(("P3", "none", name, choice["labels"]))
            rows = _tests(one).get(wanted) if one else None
            pair.append(
                None if not one or rows is None else (one.name[rows].tolist(), one.p[rows].tolist())
            )
        if pair[0] is None or pair[0] != pair[1]:
            place = f"{choice['labels']} labels, seed {wanted[0]}, fold {wanted[1]}"
            lines.append(
                f"predictions.csv: {chosen_name}, {place}: not the answers of {choice['arm']}, "
                "which inner folds choose"
            )
    return lines


def _kept(cell: dict | None) -> dict | None:
    return cell and {name: cell[name] for name in ("accuracy", "interval", "n", "num_tests")}


def scores_of(
    outer: dict[Key, Answers],
    inner: dict[Key, Answers],
    arms: list[str],
    chosen_name: str,
    inner_folds: int,
    test_over_train: float,
) -> dict:
    """The numbers of a search.

    Args:
        outer, inner: answers of `predictions.csv`, nested ones (`chosen_name`) among them,
            and of `inner.csv`.
        arms: their names in their order. test_over_train: of one outer fold.

    Returns:
        `cells`, as a ladder has them; `choices`; and `searches`, one for each kind of labels:
        every arm with its `inner` and `outer` accuracy (with intervals), how often it was
        `chosen`, and the paired test of the chosen ones `against` it; `chosen`, the nested
        accuracy; `naive`, the arm that is best on outer tests; `selection_effect`, naive
        minus nested, its interval from the same draws of groups for both.

    Raises:
        DataError: if an inner fold holds an outer test's image, or a copy of one.
    """
    _refuse_leaks(inner, outer, inner_folds)
    only = {key: one for key, one in outer.items() if key[2] != chosen_name}
    found = choices(inner, arms, inner_folds, answered(only))
    cells, draws = scores.cells(outer)
    inner_cells, _ = scores.cells(inner)
    searches = [
        _search(
            labels,
            arms,
            chosen_name,
            [one for one in found if one["labels"] == labels],
            {key[2]: one for key, one in outer.items() if key[3] == labels},
            {cell["classifier"]: cell for cell in cells if cell["labels"] == labels},
            {cell["classifier"]: cell for cell in inner_cells if cell["labels"] == labels},
            {key[2]: one for key, one in draws.items() if key[3] == labels},
            test_over_train,
        )
        for labels in dict.fromkeys(one["labels"] for one in found)
    ]
    return {"cells": cells, "choices": found, "searches": searches}


def _search(labels, arms, name, found, answers, cells, inner, draws, ratio) -> dict:
    """One of the `searches`; answers, cells and draws by arm."""
    rows = []
    for arm in arms:
        pair = name in answers and arm in answers
        rows.append(
            {
                "name": arm,
                "inner": _kept(inner.get(arm)),
                "outer": _kept(cells.get(arm)),
                "chosen": sum(one["arm"] == arm for one in found),
                "against": scores.compared(answers[name], answers[arm], ratio) if pair else None,
            }
        )
    scores.adjust([row["against"] for row in rows if row["against"]])
    best = [one["inner_accuracy"][one["arm"]] for one in found]
    return {
        "labels": labels,
        "arms": rows,
        "chosen": _kept(cells.get(name)),
        # Of the arms that were chosen, by the very answers that chose them: too high.
        "inner_of_chosen": float(np.mean(best)) if best else None,
        **_effect(rows, cells.get(name), draws, name),
    }


def _effect(rows: list[dict], nested: dict | None, draws: dict, name: str) -> dict:
    """`naive` and `selection_effect`; an arm that lacks tests is not compared."""
    whole = [
        row
        for row in rows
        if nested and row["outer"] and row["outer"]["num_tests"] == nested["num_tests"]
    ]
    if not nested or not whole:
        return {"naive": None, "selection_effect": None}
    best = max(whole, key=lambda row: row["outer"]["accuracy"])
    interval = intervals.percentiles(draws[best["name"]] - draws[name])
    return {
        "naive": {"arm": best["name"]} | best["outer"],
        "selection_effect": {
            "difference": best["outer"]["accuracy"] - nested["accuracy"],
            "interval": list(interval) if interval else None,
        },
    }


def read(folder: Path, names: Iterable[str]) -> list[dict[Key, Answers]]:
    """Files of answers of a run, by their names; groups from its `images.csv`.

    Raises:
        DataError: see `scores.read`.
    """
    groups = scores.read_groups(folder / "images.csv")
    return [scores.read(folder / name, groups) for name in names]
