"""Labels to look at: what is counted, how it is weighed, what it finds."""

import dataclasses
import json

import jax
import numpy as np

from jaxbrain import config, phantom
from jaxbrain.data.records import from_arrays
from jaxbrain.reports import ladder as report
from jaxbrain.reports.page import markdown
from jaxbrain.runs.ladder import ladder, verify
from jaxbrain.scoring.doubts import doubts
from jaxbrain.scoring.scores import Answers
from jaxbrain.study.protocols import StudyConfig


def answers(p, label, seed=0, group=None) -> Answers:
    """Of two classes: p of class 1 and labels, by image a, b, c, ..."""
    n = len(p)
    group = np.arange(n) if group is None else np.asarray(group)
    p = np.stack([1 - np.asarray(p), p], axis=1)
    zeros = np.zeros(n, int)
    return Answers(zeros + seed, zeros, group, np.array([*"abcdef"][:n]), zeros, np.array(label), p)


def test_beliefs_are_weighed_by_how_right_a_method_is():
    """One is right in 5 of 6, one in 3 of 6, whose word then hardly counts."""
    label = [0, 0, 0, 1, 1, 1]
    good = answers([0.9, 0.1, 0.1, 0.9, 0.9, 0.8], label)
    poor = answers([0.1, 0.9, 0.9, 0.9, 0.9, 0.1], label)
    found = doubts(
        {("P3", "none", "good", "true"): good, ("P3", "none", "poor", "true"): poor},
        ["good", "poor"],
    )
    weights = np.log(5.5 / 1.5), 0.01
    want = np.average([[0.1, 0.9], [0.9, 0.1], [0.8, 0.1]], axis=1, weights=weights)
    assert found["classifiers"] == ["good", "poor"] and found["protocol"] == "P3"
    assert [one["id"] for one in found["images"]] == ["a"]
    assert found["images"][0] == {
        "id": "a",
        "label": 0,
        "belief": round(float(want[0]), 4),
        "answers": 2,
        "wrong": 1,
    }


def test_what_is_counted():
    """The last protocol, true labels, methods that look at pixels and do not say one thing."""
    right, wrong = answers([0.2, 0.8], [0, 1]), answers([0.8, 0.2], [0, 1])
    cells = {
        ("P0", "none", "seen", "true"): wrong,
        ("P3", "none", "seen", "true"): right,
        ("P3", "none", "seen", "shuffled"): wrong,
        ("P3", "none", "files", "true"): wrong,
        ("P3", "none", "same", "true"): answers([0.9, 0.9], [0, 1]),
    }
    found = doubts(cells, ["seen", "same"])
    assert found == {"protocol": "P3", "classifiers": ["seen"], "images": []}
    assert doubts(cells, ["same"]) is None
    # Seeds and generators are answers of one method; synthetic images are none.
    more = {
        ("P3", "none", "seen", "true"): wrong,
        ("P3", "cgan", "seen", "true"): answers([0.6, 0.1, 0.0], [0, 1, 1], 1, [0, 1, -1]),
    }
    images = doubts(more, ["seen"])["images"]
    assert [(one["id"], one["belief"], one["answers"]) for one in images] == [
        ("b", 0.15, 2),
        ("a", 0.3, 2),
    ]


def test_at_most_a_tenth_or_twenty():
    p = np.linspace(0.01, 0.49, 60)
    one = answers(p, np.ones(60, int))._replace(name=np.array([f"{i:03d}" for i in range(60)]))
    images = doubts({("P3", "none", "seen", "true"): one}, ["seen"])["images"]
    assert [one["id"] for one in images] == [f"{i:03d}" for i in range(20)]


def test_swapped_labels_of_phantoms_are_found(tmp_path):
    """3 % of the labels: at least four in five of them among the first 2 x 3 %; the page names
    them, `--verify` computes them again, and the sheet is drawn."""
    base = config.tiny()
    drawn = phantom.dataset(jax.random.key(4), 100, 48, 0.2)
    label = np.array(drawn.label)
    swapped = np.random.default_rng(1).choice(200, 6, replace=False)
    label[swapped] = 1 - label[swapped]
    data = drawn._replace(image=np.asarray(drawn.image), label=label, group=np.arange(200))
    records = from_arrays(data, ("no", "yes"), "phantoms")
    options = StudyConfig(
        split="kfold",
        seeds=2,
        protocols=("P3",),
        generators=("none",),
        classifiers=("mirror_kernel", "ridge", "nn1", "metadata"),
        shuffled=False,
        probe=False,
    )
    cfg = dataclasses.replace(base, data=dataclasses.replace(base.data, image_size=48))
    results = ladder(cfg, data, records, tmp_path / "run", options=options)
    assert results["doubts"]["classifiers"] == ["mirror_kernel", "nn1", "ridge"]
    first = {one["id"] for one in results["doubts"]["images"][:12]}
    assert len(first & {records.path[i] for i in swapped}) >= 0.8 * 6
    page = (tmp_path / "run" / "report.md").read_text()
    assert "Look at these labels" in page and all(name in page for name in first)
    assert verify(tmp_path / "run") == []
    assert (tmp_path / "run" / "doubts.png").stat().st_size > 1000
    # A run of a version that knew no doubts is as it should be too.
    old = {key: value for key, value in results.items() if key not in ("doubts", "seeing")}
    (tmp_path / "run" / "ladder.json").write_text(json.dumps(old))
    (tmp_path / "run" / "report.md").write_text(markdown(report.page(old)))
    assert verify(tmp_path / "run") == []


def test_nothing_to_doubt(tmp_path):
    """Methods that see no pixels: no list, no sheet."""
    data, records = phantom.folder(dataclasses.replace(config.tiny().data, n_per_class=20), 32)
    options = StudyConfig(
        seeds=2,
        protocols=("P3",),
        generators=("none",),
        classifiers=("majority",),
        shuffled=False,
        probe=False,
    )
    results = ladder(config.tiny(), data, records, tmp_path / "run", options=options)
    assert results["doubts"] is None and not (tmp_path / "run" / "doubts.png").exists()
    assert "Look at these labels" not in (tmp_path / "run" / "report.md").read_text()
