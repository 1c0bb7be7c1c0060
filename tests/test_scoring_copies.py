"""Copies over the fits of a generator."""

import numpy as np
import pytest

from jaxbrain.reports import findings, page
from jaxbrain.scoring import copies, intervals


def counted(**more):
    found = {
        "g/all/true/0/0": np.asarray([40, 40, 0, 0]),
        "g/train/true/0/0": np.asarray([50, 10, 2, 9]),
        "g/train/true/0/1": np.asarray([50, 20, 5, 8]),
        "g/train/true/0/2": "diverged",
        "g/grouped/shuffled/1/0": np.asarray([300, 0, 4, 9]),
    }
    return found | more


def test_sums_and_what_is_beyond_chance():
    rows = copies.rows(counted())
    assert rows[1] == {
        "fit": "g/train/true/0/0",
        "synthetic": 50,
        "of_training": 10,
        "of_others": 2,
        "others": 9,
    }
    assert len(rows) == 4
    every, inside, shuffled = copies.pooled(rows)
    assert (every["protocol"], every["judged"], every["interval"]) == ("P0, P1", 0, None)
    assert not every["beyond"] and every["worst"] is None
    names = "protocol", "labels", "fits", "synthetic", "of_training", "judged", "of_others"
    assert [inside[name] for name in names] == ["P2", "true", 2, 100, 30, 100, 7]
    assert inside["interval"] == pytest.approx(intervals.wilson(7, 100))
    assert inside["beyond"] and inside["worst"]["fit"] == "g/train/true/0/1"
    # 4 of 300: may be chance, by its interval.
    assert shuffled["interval"][0] < copies.BY_CHANCE and not shuffled["beyond"]


def leak(low, **more):
    return {
        "leak": "L1",
        "generator": "g",
        "classifier": "c",
        "difference": 0.125,
        "interval": [low, 0.2],
    } | more


def test_lines_of_the_report():
    results = {"leaks": [leak(0.04), leak(-0.01, classifier="d"), leak(0.1, leak="L2")]}
    results["leaks"] += [leak(0.0, interval=None)]
    results["copying"] = copies.pooled(copies.rows(counted()))
    assert findings.lines(results) == [
        "g (P2): 7 of 100 synthetic images (3.43..13.75 %) are copies of test images that their "
        "fits were not given, and of no training image: it was fitted on more than its training "
        "images; most in fold 1 of seed 0: 5 of 50",
        "g with c: P1 - P2 is +12.5 points (+4.0..+20.0): what it draws hands on the test images "
        "that it was fitted on under P1",
    ]
    parts = page.markdown(page.Page("", (), tuple(findings.page(results | {"audit": {}}))))
    assert "| g | P2 | true | 2 | 100 | 30 (30.00 %) | 7 of 100 |" in parts
    assert "| g | P0, P1 | true | 1 | 40 | 40 (100.00 %) | - |" in parts
    # Runs of an earlier version have no counts.
    assert findings.page({"leaks": []}) == []


def test_fits_that_are_left_out():
    fits = [f"g/train/true/0/{fold}" for fold in range(7)]
    one = {"generator": "g", "fits": fits, "why": ["x", "y"], "cells": 14}
    assert findings.left_out({"left_out": [one]}) == [
        "g: 7 fits have no synthetic images, so 14 cells are left out: train/true/0/0, "
        "train/true/0/1, train/true/0/2, train/true/0/3, train/true/0/4 and 2 more (x; y)"
    ]
    assert findings.left_out({}) == []
