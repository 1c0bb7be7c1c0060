"""Finished runs beside each other: paired tests where they were tested on the same images.

Two runs match where they hold the same pictures (by class and digest) and each seed and fold
that both have tests the same of them. All else may be read side by side, and no more.
"""

import collections
import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from jaxbrain.scoring import intervals, scores
from jaxbrain.scoring.scores import Answers, Key

# Seed and fold.
Test = tuple[int, int]
_SYNTHETIC = "each run tests synthetic images that it drew itself"
_SAME_TEST = "every seed tests the same images: there are no folds to resample"
_NO_METHOD = "no method in common: --all-pairs compares each of one run with each of the other"
_ONE_TEST = "one test in common: expected two or more"


class Run(NamedTuple):
    """What one run has answered, and on which pictures.

    answers: by cell, `scores.read`. pictures, groups: of each id of `images.csv`, what
    `pictures` and `scores.read_groups` give. external: ids of another source's images, which
    P4 tests. test_over_train: size of a test set over that of its training set.
    """

    answers: dict[Key, Answers]
    pictures: dict[str, str]
    groups: dict[str, int]
    external: frozenset[str]
    test_over_train: float


def pictures(rows: Iterable[tuple[str, str, str]]) -> dict[str, str]:
    """What each image is, whatever its path: its digest, its number among those that are
    alike, its class.

    Args:
        rows: (id, class, digest) of each image.

    Example:
        >>> pictures([("no/b", "no", "x"), ("no/a", "no", "x"), ("no/c", "no", "y")])
        {'no/a': 'x 0 no', 'no/b': 'x 1 no', 'no/c': 'y 0 no'}
    """
    seen: collections.Counter = collections.Counter()
    found = {}
    for name, kind, digest in sorted(rows):
        found[name] = f"{digest} {seen[kind, digest]} {kind}"
        seen[kind, digest] += 1
    return found


def paired(runs: list[Run], every: bool = False) -> tuple[list[dict], list[dict]]:
    """Every two runs, method by method, with true labels.

    Compared are, under each protocol, the methods (a generator and a classifier) that both
    runs have; where there is none, their common classifiers beside whatever generators; and
    where one of the runs has one method only, it with each of the other.

    Args:
        every: compare each method of one run with each of the other.

    Returns:
        pairs: each {first, second (numbers of the runs, from 0), protocol, first_method,
            second_method ([generator, classifier]), difference (first minus second, shares in
            [-1, 1]), interval (95 %, groups of near-duplicates resampled), corrected_t_p,
            corrected_t_p_holm (over all pairs), num_tests (seeds and folds that both have),
            num_tests_of_one, note (why p is None, or "")}.
        apart: each {first, second, protocol ("" for all of them), why}: what is not compared.
    """
    pairs: list[dict] = []
    apart: list[dict] = []
    for (i, one), (j, two) in itertools.combinations(enumerate(runs), 2):
        for found in _two(one, two, every):
            (apart if "why" in found else pairs).append({"first": i, "second": j} | found)
    scores.adjust(pairs)
    return pairs, apart


def _two(one: Run, two: Run, every: bool) -> Iterator[dict]:
    """The pairs of two runs; of what cannot be compared {protocol, why}, once each."""
    if why := other_images(one, two, external=False):
        yield {"protocol": "", "why": why}
        return
    protocols = sorted(_protocols(one) & _protocols(two))
    if not protocols:
        shown = " and ".join(", ".join(sorted(_protocols(run))) for run in (one, two))
        yield {"protocol": "", "why": f"no protocol in common ({shown})"}
    for protocol in protocols:
        why = other_images(one, two, external=True) if protocol == "P4" else ""
        if why:
            yield {"protocol": protocol, "why": why}
            continue
        methods = _methods(one, two, protocol, every)
        if not methods:
            yield {"protocol": protocol, "why": _NO_METHOD}
        said = set()
        for first, second in methods:
            found = {"protocol": protocol} | _pair(one, two, first, second)
            if found.get("why") not in said:
                yield found
            said |= {found["why"]} if "why" in found else set()


def _protocols(run: Run) -> set[str]:
    return {key[0] for key in run.answers if key[3] == "true"}


def other_images(one: Run, two: Run, external: bool) -> str:
    """How the pictures of two runs differ, or ""."""
    first, second = (
        {picture for name, picture in run.pictures.items() if (name in run.external) == external}
        for run in (one, two)
    )
    if first == second:
        return ""
    what = "other images of the other source" if external else "other images"
    return (
        f"{what}: of {len(first)} and {len(second)} the runs share {len(first & second)} (the "
        "same pixels, of the same class)"
    )


def _methods(one: Run, two: Run, protocol: str, every: bool) -> list[tuple[Key, Key]]:
    """Which cells of two runs are compared: see `paired`."""
    first, second = (
        [key for key in run.answers if (key[0], key[3]) == (protocol, "true")] for run in (one, two)
    )
    pairs = list(itertools.product(first, second))
    if every:
        return pairs
    # Keys are (protocol, generator, classifier, labels).
    same = [(a, b) for a, b in pairs if a == b]
    return (
        same
        or [(a, b) for a, b in pairs if a[2] == b[2]]
        or (pairs if 1 in (len(first), len(second)) else [])
    )


def _pair(one: Run, two: Run, first: Key, second: Key) -> dict:
    own, other = one.answers[first], two.answers[second]
    if (own.group < 0).any() or (other.group < 0).any():
        return {"why": _SYNTHETIC}
    # Groups may be numbered otherwise, and found with another threshold: those of the first.
    group = {picture: one.groups[name] for name, picture in one.pictures.items()}
    own, other = _named(own, one.pictures, group), _named(other, two.pictures, group)
    tests = _tests(own), _tests(other)
    both = tests[0].keys() & tests[1].keys()
    if why := _other_folds(*tests):
        return {"why": why}
    own, other = _only(own, both), _only(other, both)
    if (found := scores.compared(own, other, one.test_over_train)) is None:
        return {"why": "they share no test"}
    note = _SAME_TEST if first[0] == "P4" else _ONE_TEST if len(both) == 1 else ""
    return {
        "first_method": list(first[1:3]),
        "second_method": list(second[1:3]),
        "difference": found["difference"],
        "interval": _interval(first[0], own, other),
        "corrected_t_p": None if note else found["corrected_t_p"],
        "corrected_t_p_holm": None,
        "num_tests": len(both),
        "num_tests_of_one": len(tests[0].keys() ^ tests[1].keys()),
        "note": note,
    }


def _named(one: Answers, pictures_of: dict[str, str], group: dict[str, int]) -> Answers:
    """Answers whose names are those of the pictures, with their groups."""
    names = [pictures_of[name] for name in one.name.tolist()]
    return one._replace(name=np.asarray(names), group=np.asarray([group[n] for n in names]))


def _tests(one: Answers) -> dict[Test, set[str]]:
    """Names of the images of each test."""
    found: dict[Test, set[str]] = {}
    columns = (leaf.tolist() for leaf in (one.seed, one.fold, one.name))
    for seed, fold, name in zip(*columns, strict=True):
        found.setdefault((seed, fold), set()).add(name)
    return found


def _other_folds(first: dict[Test, set[str]], second: dict[Test, set[str]]) -> str:
    """How the tests of two cells differ, or ""."""
    both = sorted(first.keys() & second.keys())
    if not both:
        return f"other folds: no seed and fold in common ({len(first)} and {len(second)})"
    other = [test for test in both if first[test] != second[test]]
    if not other:
        return ""
    (seed, fold), count = other[0], len(first[other[0]] & second[other[0]])
    return (
        f"other folds: {len(other)} of {len(both)} test sets differ; of seed {seed}, fold {fold}, "
        f"{len(first[other[0]])} and {len(second[other[0]])} images, {count} are in both"
    )


def _only(one: Answers, tests: set[Test]) -> Answers:
    """The answers of some tests."""
    places = zip(one.seed.tolist(), one.fold.tolist(), strict=True)
    kept = np.asarray([place in tests for place in places])
    return Answers(*(leaf[kept] for leaf in one))


def _interval(protocol: str, own: Answers, other: Answers) -> list[float] | None:
    """95 % of the difference, the same groups drawn for both."""
    keys = [(protocol, "", "", side) for side in ("first", "second")]
    _, draws = scores.cells(dict(zip(keys, (own, other), strict=True)))
    found = intervals.percentiles(draws[keys[0]] - draws[keys[1]])
    return list(found) if found else None
