"""The reports of every kind of run, with hostile names of classes, files and methods."""

import copy

from parsed import EVIL, written

from jaxbrain.reports import ablations, inspect, paper, search, train_gan
from jaxbrain.reports.page import markdown

AUDIT = dict(distinct=4, near_pairs=0, across_classes=0, flipped_pairs=0)
ABOUT = {
    "split": "kfold",
    "seeds": 1,
    "folds": 2,
    "data": {"source": "folder", "found": {EVIL: 2, "yes": 2}},
    "positive": EVIL,
    "groups": {EVIL: 2, "yes": 2, "total": 4},
    "audit": AUDIT,
}


def gan(thumbnail: float, halves: float | None = None) -> dict:
    last = {"step": 6, "frechet_thumbnail": thumbnail, "sample_spread": 0.1}
    last |= {} if halves is None else {"frechet_halves": halves}
    return {"real_spread": 0.2, "last": last, "best": last, "warnings": []}


def paper_results() -> dict:
    metrics = {"accuracy": 0.75, "nll": 0.5, "precision": 0.6, "recall": None, "auroc": 0.9}
    one = {
        "seed": 0,
        "matrix": [[3, 1], [1, 3]],
        "accuracy": 0.75,
        "accuracy_real": 0.5,
        "accuracy_synthetic": 1.0,
        "num_test": 8,
        "metrics": metrics,
        "gan": gan(0.25, 0.125),
    }
    other = copy.deepcopy(one) | {"seed": 1, "gan": gan(0.5)}
    other["metrics"] |= {"precision": 0.8, "auroc": 0.7}
    other["gan"] |= {"last": None, "best": None, "warnings": [f"lost: {EVIL}"]}
    summary = {
        "num_seeds": 2,
        "accuracy": 0.75,
        "accuracy_min": 0.5,
        "accuracy_max": 1.0,
        "interval": [0.625, 0.875],
        "num_test": 8,
        "accuracy_real": 0.5,
        "accuracy_synthetic": 1.0,
        "accuracy_fresh": 0.7,
        "paper_inside_range": True,
    }
    counts = {EVIL: 4, "yes": 4}
    data = {"source": "folder"} | dict.fromkeys(("found", "used", "synthetic"), counts)
    skipped = [{"name": "seed 2", "why": "diverged"}]
    known = {"data": data, "positive": EVIL, "seeds": [one, other], "summary": summary}
    return known | {"skipped": skipped, "warnings": [f"images of {EVIL} left unused"]}


def test_the_papers_report(tmp_path):
    page = paper.page(paper_results(), (EVIL, "yes"))
    written(tmp_path, page, EVIL)
    lines = markdown(page).replace("\\", "").splitlines()
    for line in (
        "| accuracy | 0.7500 | 0.7500 | 0.7500 |",
        "| precision | 0.7000 | 0.6000 | 0.8000 |",
        "| recall | - | - | - |",
        "| auroc | 0.8000 | 0.7000 | 0.9000 |",
        "| 0 | 75.00 | 50.00 | 100.00 |",
        # Predicted classes in rows, the positive one first.
        f"| predicted  true | yes | {EVIL} |",
        "| yes | 6 | 2 |",
        "| CNN-LSTM, this run | 75.00 | 62.50 to 87.50 | own images |",
        "| seed | at the last step | real against real | least | at step |",
        "| 0 | 0.250 | 0.125 | 0.250 | 6 |",
        "| 1 | - | - | - | - |",
        f"- images of {EVIL} left unused",
        f"- seed 1: lost: {EVIL}",
        "- seed 2: diverged",
        "- On fresh phantoms: **70.00 %**, which no net has seen",
    ):
        assert line in lines, line
    alone = paper_results()
    alone["seeds"] = alone["seeds"][:1]
    alone["summary"]["num_seeds"] = 1
    assert "| metric | value |" in markdown(paper.page(alone, (EVIL, "yes")))


def test_the_report_of_gans(tmp_path):
    side = {"images": {EVIL: 3, "yes": 3}, "groups": 6}
    probe = {"accuracy": 0.75, "interval": [0.5, 0.9], "n": 12}
    lost = {"real_spread": None, "last": None, "best": None, "warnings": [f"lost {EVIL}"]}
    seeds = [
        {"seed": 0, "probe": probe, "gan": gan(0.25, 0.125)},
        {"seed": 1, "probe": probe, "gan": lost},
    ]
    data = {"source": "folder", "root": EVIL, "training": side, "held-out": side}
    page = train_gan.page({"data": data, "held_out": 0.25, "seeds": seeds})
    written(tmp_path, page, EVIL)
    text = markdown(page).replace("\\", "")
    assert "| 0 | - | - | 0.250 | 0.125 | 0.100 | 0.200 | 75.00 (50.00..90.00) |" in text
    assert f"- training  6 images of 6 groups: {EVIL} 3  yes 3" in text
    assert f"- seed 1: lost {EVIL}" in text


def cell(value: float) -> dict:
    return {"accuracy": value, "interval": [value - 0.1, value + 0.1]}


def test_the_report_of_a_search(tmp_path):
    against = {"difference": 0.01, "corrected_t_p": 0.0, "corrected_t_p_holm": 0.5}
    arm = {"inner": cell(0.7), "outer": cell(0.8), "chosen": 1, "against": against}
    one = {
        "labels": "true",
        "arms": [arm | {"name": EVIL}, arm | {"name": "other", "against": None}],
        "chosen": cell(0.75),
        "naive": cell(0.8) | {"arm": EVIL},
        "selection_effect": {"difference": 0.05, "interval": [0.0, 0.1]},
        "inner_of_chosen": 0.7,
    }
    accuracies = {EVIL: 0.7, "other": 0.6}
    choice = {"labels": "true", "seed": 0, "fold": 0, "arm": EVIL, "inner_accuracy": accuracies}
    results = ABOUT | {
        "inner_folds": 2,
        "arms": {EVIL: {"classifier": EVIL, "x": EVIL}, "other": {"classifier": "ridge"}},
        "searches": [one, one | {"labels": "shuffled", "naive": None}],
        "choices": [choice],
        "cells": [],
    }
    page = search.page(results)
    written(tmp_path, page, EVIL)
    text = markdown(page).replace("\\", "")
    # No p is 0.
    assert "| +1.0 | <.001 (0.500) |" in text and "0.000" not in text
    assert "- Selection effect: **+5.0 points**, naive minus nested" in text
    assert {path.stem for path in (tmp_path / "tables").glob("*.csv")} == {
        "search",
        "search_shuffled",
        "arms",
        "choices",
    }


def test_the_report_of_ablations(tmp_path):
    names = {"protocol": "P3", "generator": EVIL, "classifier": "cnn", "labels": "true"}
    row = names | {"ablation": "GAN", "setting": "with", "n": 8} | cell(0.75)
    other = row | {"ablation": EVIL, "accuracy": None, "interval": None}
    page = ablations.page(ABOUT | {"generator": EVIL, "rows": [row, other]})
    written(tmp_path, page, EVIL)
    lines = markdown(page).replace("\\", "").splitlines()
    assert f"| with | P3 | {EVIL} | cnn | true | 75.0 (65.0..85.0) | 8 |" in lines
    assert f"| with | P3 | {EVIL} | cnn | true | - | 8 |" in lines and f"## {EVIL}" in lines


def test_the_report_on_images(tmp_path):
    found = {
        "source": EVIL,
        "status": 2,
        "error": f"{EVIL}: 1 of 5 files cannot be used",
        "layout": "class folders",
        "counts": {EVIL: 2, "yes": 2},
        "groups": {EVIL: 1, "yes": 2, "total": 3},
        "positive": "yes",
        "why_positive": "by its name",
        "unreadable": [{"path": EVIL, "reason": "is empty"}],
        "duplicates": [{"kind": "near", "paths": [EVIL, "b.png"]}] * 51,
        "warnings": ["one"],
        "notes": [EVIL],
        "metadata": {"accuracy": 0.75, "majority": 0.5},
    }
    page = inspect.page(found, "sheet.png")
    written(tmp_path, page, EVIL)
    lines = markdown(page).replace("\\", "").splitlines()
    for line in (
        f"{EVIL}: layout class folders; refused",
        f"- {EVIL}: 1 of 5 files cannot be used",
        f"| {EVIL} | 2 | 1 |",
        f"| {EVIL} | is empty |",
        f"| near | 2 | {EVIL}, b.png |",
        "There are 1 groups more: `jaxbrain inspect --json` names them.",
        "- Accuracy of files alone: **75.00 %**, size, mode and length; the largest class 50.00 %",
    ):
        assert line in lines, line
    nothing = {"source": "x", "status": 2, "error": "no image", "layout": None, "counts": {}}
    nothing |= {"unreadable": [], "duplicates": [], "warnings": [], "notes": []}
    assert "- no image" in markdown(inspect.page(nothing, "sheet.png"))
