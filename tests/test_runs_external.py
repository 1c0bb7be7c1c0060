"""P4 in the runs: ladder, table4 and paper tested on another source's images."""

import csv
import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
from conftest import change, rows, small

from jaxbrain import phantom
from jaxbrain.commands import common
from jaxbrain.commands import ladder as entry
from jaxbrain.data import external
from jaxbrain.data.records import from_arrays
from jaxbrain.errors import ConfigError, DataError
from jaxbrain.runs.ladder import ladder, verify
from jaxbrain.runs.paper import paper
from jaxbrain.runs.table4 import table4
from jaxbrain.study.protocols import StudyConfig
from jaxbrain.study.study import Study
from jaxbrain.types import Dataset

COLUMNS = "protocol", "generator", "classifier", "labels", "seed", "fold", "id"


def source(seed, count, size=32):
    data = Dataset(*map(np.asarray, phantom.dataset(jax.random.key(seed), count, size, 0.5)))
    return data, from_arrays(data, ("no", "yes"), f"source {seed}")


@pytest.fixture(scope="module")
def images():
    """Own images, and another source's: 16, and copies of the first two own ones."""
    data, records = source(0, 14)
    other, _ = source(7, 8)
    other = Dataset(
        np.concatenate([other.image, data.image[:2]]),
        np.concatenate([other.label, data.label[:2]]),
        np.arange(18, dtype=np.int32),
    )
    theirs = from_arrays(other, ("no", "yes"), "another source")
    return data, records, external.prepared(data, records, other, theirs)


OPTIONS = StudyConfig(
    split="kfold", seeds=2, folds=2, generators=("linear", "none"), classifiers=("ridge", "nn1")
)


@pytest.fixture(scope="module")
def runs(images, tmp_path_factory):
    """The ladder of the same images, without and with the other source's."""
    data, records, other = images
    path = tmp_path_factory.mktemp("external")
    found = {
        name: ladder(small(), data, records, path / name, options=OPTIONS, **given)
        for name, given in (("without", {}), ("with", {"external": other}))
    }
    return path, found


def test_the_other_protocols_are_what_they_are_without(runs):
    path, found = runs
    without, others = (rows(path / name / "predictions.csv") for name in ("without", "with"))
    assert [row for row in others if row["protocol"] != "P4"] == without
    cells = [cell for cell in found["with"]["cells"] if cell["protocol"] != "P4"]
    assert cells == found["without"]["cells"]
    for name in ("leaks", "comparisons"):
        assert found["with"][name] == found["without"][name]


def test_p4_tests_what_is_left_once_a_seed(runs, images):
    path, found = runs
    *_, other = images
    own = [row for row in rows(path / "with" / "predictions.csv") if row["protocol"] == "P4"]
    for generator in OPTIONS.generators:
        for classifier in OPTIONS.classifiers:
            for seed in "01":
                kept = [r for r in own if [r[k] for k in COLUMNS[1:3]] == [generator, classifier]]
                ids = [row["id"] for row in kept if row["seed"] == seed]
                assert ids == list(other.records.path) and len(ids) == 16
    assert {row["twin"] for row in own} == {"0"} and {row["labels"] for row in own} == {"true"}
    said = found["with"]["external"]
    assert (said["taken_out"], said["copies"], said["tested"]) == (2, 2, {"no": 8, "yes": 8})
    assert found["with"]["groups"] == found["without"]["groups"]
    assert found["with"]["data"] == found["without"]["data"]
    cell = next(c for c in found["with"]["cells"] if c["protocol"] == "P4")
    low, high = cell["interval"]
    assert cell["n"] == 32 and 0 <= low <= cell["accuracy"] <= high <= 1
    assert "missing" not in (path / "with" / "report.md").read_text()


def test_p4_is_fitted_on_all_images(runs, images):
    path, _ = runs
    data, *_ = images
    text = (path / "with" / "splits.jsonl").read_text()
    splits = [json.loads(line) for line in text.splitlines()]
    everyone = list(range(len(data.label)))
    fits = [one for one in splits if one.get("fit", "").startswith("linear/whole/")]
    assert [one["sees"] for one in fits if "sees" in one] == [everyone, everyone]
    cells = [one for one in splits if one.get("protocol") == "P4"]
    assert len(cells) == 4
    for one in cells:
        assert one["train"][: len(everyone)] == everyone
        assert one["test"] == list(range(len(everyone), len(everyone) + 16))
    for one in splits:
        if one.get("protocol", "P4") != "P4":
            real = [i for i in (*one["train"], *one["test"]) if i < len(everyone) + 16]
            assert max(real) < len(everyone)


def test_the_report_says_it_and_verifies(runs):
    path, _ = runs
    page = (path / "with" / "report.md").read_text()
    assert "| P4 |" in page and "2 are copies of the data's; with what shares" in page
    assert "always the largest class there: 50.0 %" in page
    assert "P4" not in (path / "without" / "report.md").read_text()
    assert verify(path / "with") == verify(path / "without") == []


@pytest.mark.parametrize("which, message", [(0, "others than those of images.csv"), (1, "a copy")])
def test_verify_knows_what_was_tested(runs, tmp_path, which, message):
    """A copy that counts as tested, in the list or in the answers as well, is found."""
    path, _ = runs
    shutil.copytree(path / "with", tmp_path / "run")
    listed = tmp_path / "run" / "external.csv"
    found = rows(listed)
    copy = next(row for row in found if row["copy_of"])
    copy["tested"] = "1"
    with listed.open("w", newline="") as file:
        writer = csv.DictWriter(file, found[0])
        writer.writeheader()
        writer.writerows(found)
    if which:
        images = tmp_path / "run" / "images.csv"
        images.write_text(f"{images.read_text()}{copy['id']},{copy['own']},999,x\n")
    with pytest.raises(DataError, match=message):
        verify(tmp_path / "run")
    listed.unlink()
    with pytest.raises(DataError, match="external.csv: not what a study wrote"):
        verify(tmp_path / "run")


def test_going_on_needs_the_same_other_images(runs, images, tmp_path):
    path, _ = runs
    data, records, other = images
    with pytest.raises(ConfigError, match="image external:.*removed"):
        ladder(small(), data, records, path / "with", options=OPTIONS)
    again = ladder(small(), data, records, path / "with", options=OPTIONS, external=other)
    assert again["external"]["taken_out"] == 2


def test_table4_has_a_column(images, tmp_path):
    data, records, other = images
    options = dataclasses.replace(OPTIONS, seeds=1)
    found = table4(small(), data, records, tmp_path, options=options, external=other)
    assert [set(row) >= {"P0", "P3", "P4"} for row in found["rows"]] == [True, True]
    assert found["rows"][0]["P4"]["n"] == 16
    assert "P4, %" in (tmp_path / "report.md").read_text()
    without = table4(small(), data, records, tmp_path / "w", options=options)
    assert "P4" not in without["rows"][0]


def test_paper_trains_once_more_for_it(images, tmp_path):
    data, records, other = images
    cfg = change(small(), "data", n_per_class=10)
    alone = paper(cfg, data, records, tmp_path / "alone")
    both = paper(cfg, data, records, tmp_path / "both", external=other)
    assert both["seeds"] == alone["seeds"] and both["summary"] == alone["summary"]
    said = both["external"]
    assert said["n"] == 16 and said["taken_out"] == 2 and len(said["accuracy_by_seed"]) == 1
    answers = [r for r in rows(tmp_path / "both" / "predictions.csv") if r["protocol"] == "P4"]
    right = [int(r["label"]) == (float(r["p"]) > 0.5) for r in answers]
    assert said["accuracy"] == pytest.approx(np.mean(right))
    assert (tmp_path / "both" / "samples" / "seed0_external_no.png").is_file()
    assert "P4, trained on all images" in (tmp_path / "both" / "report.md").read_text()
    # Goes on to the same.
    assert paper(cfg, data, records, tmp_path / "both", external=other)["external"] == said


def test_refusals(images):
    data, records, _ = images
    key, cfg = jax.random.key(0), small()
    options = dataclasses.replace(OPTIONS, protocols=("P3", "P4"))
    with pytest.raises(ConfigError, match="protocols has 'P4'.*--external"):
        Study(cfg, data, key, options=options, records=records)
    with pytest.raises(ConfigError, match="num_external is 28: expected 0 to 27"):
        Study(cfg, data, key, options=OPTIONS, num_external=28)
    arguments = common.parse_study(entry.Arguments, ["--external", ""], "ladder")
    with pytest.raises(ConfigError, match="external is empty"):
        arguments.other(data, records)
    with pytest.raises(ConfigError, match="verify: expected without --external"):
        entry.main(["--verify", "run", "--external", "dir"])
    arguments = common.parse_study(entry.Arguments, ["--map", "a=b"], "ladder")
    with pytest.raises(ConfigError, match="map is a=b: expected with --external"):
        arguments.other(data, records)
