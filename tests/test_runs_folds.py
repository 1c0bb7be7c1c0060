"""Folders out, folders in: what is written, any generator judged, one that saw too much named."""

import contextlib
import csv
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from jaxbrain import config
from jaxbrain.commands import folds as entry
from jaxbrain.commands import ladder as ladder_entry
from jaxbrain.commands import table4 as table4_entry
from jaxbrain.data import phantom
from jaxbrain.errors import ConfigError, DataError
from jaxbrain.runs import folds, ladder
from jaxbrain.study.methods import Generator
from jaxbrain.study.protocols import StudyConfig

SIZES = "--data.n-per-class 30 --data.image-size 32 --gan.image-size 32".split()
STUDY = [*"--split kfold --folds 3 --seeds 2 --no-shuffled".split(), *SIZES]
JUDGED = "--classifiers nn1 ridge".split()

# Somebody's generator: it knows nothing of jaxbrain, reads two things and writes PNG files.
MIX = """
import json, sys
from pathlib import Path
import numpy as np
from PIL import Image
for wanted in Path(sys.argv[1]).glob("*/wanted.json"):
    about = json.loads(wanted.read_text())
    for one in about["classes"]:
        files = sorted((wanted.parent / "training" / one["folder"]).iterdir())
        image = [np.asarray(Image.open(file)).astype(int) for file in files]
        for i in range(one["wanted"]):
            mixed = (image[i % len(image)] + image[(7 * i + 1) % len(image)]) // 2
            out = wanted.parent / "synthetic" / one["folder"] / f"{i}.png"
            Image.fromarray(mixed.astype(np.uint8)).save(out)
"""


def mix(cfg, train, label, key):
    """The same as a Python generator."""
    found, count = [], dict.fromkeys(range(2), 0)
    for k in label.tolist():
        image, i = train.image[train.label == k].astype(int), count[k]
        count[k] += 1
        found.append((image[i % len(image)] + image[(7 * i + 1) % len(image)]) // 2)
    return np.asarray(found, np.uint8)


def run(module, *arguments) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        module.main([*map(str, arguments), "--cache", jax.config.jax_compilation_cache_dir])
    return out.getvalue()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("folds") / "empty"
    text = run(entry, *STUDY, "--out", out)
    # 2 seeds of P0 and P1 see the same: all images.
    assert "wrote  13 folders for 14 fits" in text
    return out


@pytest.fixture
def empty(written, tmp_path):
    return Path(shutil.copytree(written, tmp_path / "my set@home"))


def wanted(place: Path) -> dict:
    return json.loads((place / "wanted.json").read_text())


def fill(place: Path, source: Path) -> None:
    """Copies of the training images of `source`, spread over all of a class."""
    for one in wanted(place)["classes"]:
        files = sorted((source / "training" / one["folder"]).iterdir())
        for i in range(one["wanted"]):
            name = place / "synthetic" / one["folder"] / f"{i}.png"
            shutil.copy(files[i * len(files) // one["wanted"]], name)


def judge(root: Path, workdir: Path, *flags) -> dict:
    generators = ["--generators", f"folder:{root}", "none"]
    run(ladder_entry, *STUDY, *JUDGED, *generators, *flags, "--workdir", workdir)
    return json.loads((workdir / "ladder.json").read_text())


def leak(results, name, classifier):
    return next(
        row
        for row in results["leaks"]
        if (row["leak"], row["generator"], row["classifier"]) == ("L1", name, classifier)
    )


def test_what_is_written(empty):
    """The images, bytes as a generator of the study is given them; numbers as it is asked."""
    places = sorted(path.name for path in empty.iterdir())
    assert "all_true_seed0_fold0" in places and "all_true_seed1_fold0" not in places
    assert sum(name.startswith("train_") for name in places) == 6
    place = empty / "all_true_seed0_fold0"
    about = wanted(place)
    assert about["fits"] == ["all/true/0/0", "all/true/1/0"]
    assert [one["wanted"] for one in about["classes"]] == [30, 30]
    cfg = config.tiny()
    cfg = config.DataConfig(**vars(cfg.data) | dict(n_per_class=30, difficulty=0.8, twins=0.35))
    data, records = phantom.folder(cfg, 32)
    assert [row["id"] for row in about["training"]] == list(records.path)
    for i, row in enumerate(about["training"]):
        with Image.open(place / "training" / row["file"]) as image:
            assert image.mode == "L"
            np.testing.assert_array_equal(np.asarray(image), data.image[i, ..., 0])
    inner = wanted(empty / "grouped_true_seed1_fold2")
    assert len(inner["training"]) < 60 and inner["side"] == 32
    assert [one["wanted"] for one in inner["classes"]] == [
        one["training"] for one in inner["classes"]
    ]
    assert "Train anew in every folder" in (place / "README.txt").read_text()


def test_an_independent_generator_is_judged_as_a_python_one(empty, tmp_path):
    script = tmp_path / "mix.py"
    script.write_text(MIX)
    subprocess.run([sys.executable, str(script), str(empty)], check=True)
    workdir = tmp_path / "run"
    found = judge(empty, workdir)
    name = "folder_my_set_home"
    assert found["generators"] == [name, "none"] and found["left_out"] == []
    assert ladder.verify(workdir) == []
    cfg = ladder_entry.common.parse_study(ladder_entry.Arguments, STUDY, "x").cfg
    data, records = phantom.folder(cfg.data, 32)
    options = StudyConfig(
        split="kfold", seeds=2, folds=3, shuffled=False, classifiers=("nn1", "ridge")
    )
    own = ladder.ladder(
        cfg,
        data,
        records,
        tmp_path / "own",
        options=options,
        generators=[Generator("mix", mix), "none"],
    )

    def plain(value) -> str:
        return json.dumps(value).replace(name, "mix")

    for part in ("cells", "leaks", "comparisons", "copied", "copying"):
        assert plain(found[part]) == plain(own[part]), part
    assert {row["generator"] for row in found["leaks"]} == {name, "none"}


def test_copies_of_what_each_fit_was_given(empty, tmp_path):
    """Under P1 that is every real image: it is named; what no fit saw is not copied."""
    for place in empty.iterdir():
        fill(place, place)
    results = judge(empty, tmp_path / "run")
    for classifier in ("nn1", "ridge"):
        found = leak(results, "folder_my_set_home", classifier)
        assert found["interval"][0] > 0
    assert not any(one["beyond"] for one in results["copying"])
    for one in results["copying"]:
        assert one["of_training"] == one["synthetic"] and one["of_others"] == 0
    page = (tmp_path / "run" / "report.md").read_text().replace("\\", "")
    assert "- folder_my_set_home with nn1: P1 - P2 is +" in page
    assert "more than its training images" not in page


def test_a_generator_that_saw_everything_is_named(empty, tmp_path):
    """Fitted once on all real images, its images in every folder: P1 and P2 leak alike, and
    the copies give it away. The rest is left out, by name."""
    shutil.rmtree(empty / "grouped_true_seed1_fold0")
    everything = empty / "all_true_seed0_fold0"
    for place in empty.iterdir():
        if place.name != "grouped_true_seed1_fold1":
            fill(place, everything)
    workdir = tmp_path / "run"
    results = judge(empty, workdir)
    assert results["left_out"] == [
        {
            "generator": "folder_my_set_home",
            "fits": [f"folder_my_set_home/grouped/true/1/{fold}" for fold in (0, 1)],
            "why": ["no folder was written for it", "nothing is in its synthetic/"],
            "cells": 4,
        }
    ]
    by_protocol = {one["protocol"]: one for one in results["copying"]}
    assert by_protocol["P2"]["beyond"] and by_protocol["P3"]["beyond"]
    # A third of the images is tested; of those in P3 none has a copy in training.
    assert by_protocol["P3"]["of_others"] / by_protocol["P3"]["judged"] == pytest.approx(
        1 / 3, abs=0.1
    )
    assert (by_protocol["P0, P1"]["judged"], by_protocol["P3"]["fits"]) == (0, 4)
    page = (workdir / "report.md").read_text().replace("\\", "")
    log = (workdir / "log.txt").read_text()
    for text in (
        "are copies of test images that their fits were not given",
        "2 fits have no synthetic images, so 4 cells are left out: grouped/true/1/0, grouped/true",
    ):
        assert text in page and text in log
    assert ladder.verify(workdir) == []
    changed = json.loads((workdir / "ladder.json").read_text())
    changed["copied"][-1]["of_others"] += 1
    (workdir / "ladder.json").write_text(json.dumps(changed))
    assert any("copying" in text for text in ladder.verify(workdir))


def test_refusals(empty, tmp_path):
    """Each says where, what was found and what was wanted."""
    for place in empty.iterdir():
        fill(place, place)
    place = empty / "train_true_seed0_fold1"
    short = place / "synthetic" / "no" / "3.png"
    content = short.read_bytes()
    short.unlink()
    with pytest.raises(
        DataError, match=r"train_true_seed0_fold1/synthetic/no: 19 images, 20 wanted"
    ):
        judge(empty, tmp_path / "x")
    short.write_bytes(content[:40])
    with pytest.raises(
        DataError, match=r"1 synthetic images cannot be used:\n.*/no/3.png: not an image that"
    ):
        judge(empty, tmp_path / "x")
    short.write_bytes(content)
    (place / "synthetic" / "healthy").mkdir()
    with pytest.raises(DataError, match="healthy is no class: expected folders no, yes"):
        judge(empty, tmp_path / "x")
    (place / "synthetic" / "healthy").rmdir()
    with pytest.raises(ConfigError, match=r"folds: 3 there, 4 now\n  images: "):
        judge(empty, tmp_path / "x", "--folds", "4")
    with pytest.raises(ConfigError, match=r"data.difficulty: 0.8 there, 0.1 now\n  images: 60 of"):
        judge(empty, tmp_path / "x", "--data.difficulty", "0.1")
    with pytest.raises(ConfigError, match="data.image_size: 32 there, 24 now"):
        judge(empty, tmp_path / "x", "--data.image-size", "24")
    with pytest.raises(ConfigError, match="no folder: expected one that `jaxbrain folds` wrote"):
        judge(empty / "nowhere", tmp_path / "x")
    with pytest.raises(ConfigError, match="no folder with a wanted.json in it"):
        judge(place, tmp_path / "x")
    with pytest.raises(ConfigError, match="out .*: there is something in it"):
        run(entry, *STUDY, "--out", empty)
    with pytest.raises(ConfigError, match="out is missing"):
        run(entry, *STUDY)
    assert not (tmp_path / "x").exists()


def test_another_filling_is_another_study(empty, tmp_path):
    for place in empty.iterdir():
        fill(place, place)
    few = ["--protocols", "P2"]
    workdir = tmp_path / "run"
    judge(empty, workdir, *few)
    before = (workdir / "ladder.json").read_bytes()
    # Wherever it lies, and whatever else is there.
    moved = tmp_path / "elsewhere" / empty.name
    shutil.copytree(empty, moved)
    own = moved / "train_true_seed1_fold0" / "synthetic" / "yes"
    shutil.copy(own / "0.png", own / "99.png")
    (own / "notes.txt").write_text("hidden files and documents are left out")
    judge(moved, workdir, *few)
    assert (workdir / "ladder.json").read_bytes() == before
    log = (workdir / "log.txt").read_text()
    assert "already complete" in log
    assert "note   train_true_seed1_fold0: 1 synthetic images more than the 40 wanted" in log
    shutil.copy(own / "1.png", own / "0.png")
    with pytest.raises(ConfigError, match=r"synthetic.folder_my_set_home.train_true_seed1_fold0: "):
        judge(moved, workdir, *few)


def test_doses_and_table4(tmp_path):
    """Other sizes and formats are taken; a dose beside the protocols' own numbers."""
    out, few = tmp_path / "set", "--split kfold --folds 3 --seeds 1 --no-shuffled".split()
    run(entry, *few, *SIZES, "--doses", "25", "--out", out)
    for place in out.iterdir():
        assert [one["wanted"] for one in wanted(place)["classes"]] in ([25, 25], [60, 60], [30, 30])
        for one in wanted(place)["classes"]:
            for i, file in enumerate(sorted((place / "training" / one["folder"]).iterdir()) * 2):
                with Image.open(file) as image:
                    picture = image.convert("RGB").resize((48, 48))
                picture.save(place / "synthetic" / one["folder"] / f"{i}.bmp")
    generators = ["--generators", f"folder:{out}", f"folder:{out}@25"]
    run(ladder_entry, *few, *SIZES, *JUDGED, *generators, "--workdir", tmp_path / "run")
    results = json.loads((tmp_path / "run" / "ladder.json").read_text())
    assert results["generators"] == ["folder_set", "folder_set@25"]
    with (tmp_path / "run" / "predictions.csv").open(newline="") as file:
        assert {row["generator"] for row in csv.DictReader(file)} == set(results["generators"])
    flags = ["--folds", "3", "--rows", "ridge", "--generator", f"folder:{out}", *SIZES]
    run(table4_entry, *flags, "--workdir", tmp_path / "table4")
    found = json.loads((tmp_path / "table4" / "table4.json").read_text())
    assert found["generator"] == "folder_set" and found["rows"][0]["P3"]["n"] == 60


def pictures(root, seed):
    """Eight pictures of noise a class, brighter class by class."""
    rng = np.random.default_rng(seed)
    for k, name in enumerate(("no", "yes")):
        (root / name).mkdir(parents=True)
        for i in range(8):
            noise = rng.integers(0, 100, (32, 32), np.uint8) + np.uint8(50 * k)
            Image.fromarray(noise).save(root / name / f"{i}.png")
    return root


def test_another_source_and_shuffled_labels(tmp_path):
    """P4's fit of a seed sees what P1's does in a kfold: one folder for both."""
    data, other = pictures(tmp_path / "data", 0), pictures(tmp_path / "other", 1)
    flags = "--split kfold --folds 2 --seeds 1 --protocols P1 P3".split()
    flags += ["--data.image-size", "32", "--data", data, "--external", other]
    run(entry, *flags, "--out", tmp_path / "set")
    found = {place.name: wanted(place)["fits"] for place in (tmp_path / "set").iterdir()}
    assert found["all_true_seed0_fold0"] == ["all/true/0/0", "whole/true/0/0"]
    assert len(found) == 5 and "grouped_shuffled_seed0_fold1" in found
    for place in (tmp_path / "set").iterdir():
        fill(place, place)
    more = ["--generators", f"folder:{tmp_path / 'set'}", "--classifiers", "nn1"]
    run(ladder_entry, *flags, *more, "--workdir", tmp_path / "run")
    results = json.loads((tmp_path / "run" / "ladder.json").read_text())
    assert {one["protocol"]: one["judged"] for one in results["copying"]} == {
        "P0, P1": 0,
        "P3": 16,
        "P4": 16,
    }
    assert {(c["protocol"], c["labels"]) for c in results["cells"]} == {
        ("P1", "true"),
        ("P3", "true"),
        ("P3", "shuffled"),
        ("P4", "true"),
    }
    assert not any(one["beyond"] for one in results["copying"])


def test_hostile_names():
    assert folds.folder_names(("no", "a/b")) == ["no", "class1"]
    assert folds.folder_names(("class1", "..")) == ["class0", "class1"]
    assert folds.folder_names(("Yes", "yes ")) == ["class0", "class1"]
    assert folds.image_name(3, "x/../a:b\n*.tif") == "0003_a_b__.png"
    assert folds.image_name(3, "x/" + 200 * "é" + ".png") == f"0003_{60 * '_'}.png"
