"""An exported run: its numbers are the run's own, where jaxbrain cannot be imported."""

import csv
import dataclasses
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from conftest import rows
from PIL import Image

import jaxbrain
from jaxbrain.commands import export as entry
from jaxbrain.data import unlabelled
from jaxbrain.data.collect import Options
from jaxbrain.errors import ConfigError, DataError
from jaxbrain.runs import compare, export
from jaxbrain.study import exported

safetensors = pytest.importorskip("safetensors.numpy", reason="needs the extra export")
pytest.importorskip("flatbuffers", reason="needs the extra export")

# Runs in a process of its own: jaxbrain cannot be found there.
ALONE = """
import sys

class Refuses:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("jaxbrain", "flax", "orbax"):
            raise ImportError(f"{name} is not here")

sys.meta_path.insert(0, Refuses())
folder, *files = sys.argv[1:]
sys.path.insert(0, folder)
import load
import numpy as np
from jax import export

images = np.load("images.npy")


def platforms(name):
    with open(f"{folder}/{name}.jaxexport", "rb") as file:
        return export.deserialize(bytearray(file.read())).platforms


np.savez(
    "found.npz",
    arrays=load.classify(images),
    files=load.classify(files),
    drawn=load.draw(["no", 1, "yes"], seed=7),
    platforms=[platforms("classifier"), platforms("generator")],
)
sys.argv = ["load.py", *files]
load.main()
"""


@pytest.fixture(scope="module")
def run(finished):
    return jaxbrain.load_run(finished[0], seed=1)


@pytest.fixture(scope="module")
def folder(finished, tmp_path_factory):
    """The second seed of the finished run, exported."""
    out = tmp_path_factory.mktemp("export") / "model"
    entry.main([str(finished[0]), str(out), "--seed", "1"])
    return out


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Files of the kinds that people have; none is square."""
    place, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    y, x = np.mgrid[:90, :70] / 90
    smooth = np.exp(-20 * ((y - 0.45) ** 2 + (x - 0.35) ** 2)) * 200
    grey = np.uint8(np.clip(smooth + rng.normal(0, 8, y.shape), 0, 255))
    colour = Image.fromarray(np.stack([grey, np.roll(grey, 3, 1), grey // 2], axis=-1))
    one = Image.fromarray(grey)
    one.save(place / "grey.png")
    one.save(place / "grey.jpg", quality=90)
    colour.save(place / "colour.png")
    colour.save(place / "colour.jpg", quality=90)
    colour.quantize(16).save(place / "palette.png")
    colour.putalpha(one)
    colour.save(place / "veiled.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    one.save(place / "turned.jpg", exif=turned)
    Image.fromarray(np.uint16(grey) * 37).save(place / "deep.png")
    return sorted(place.iterdir())


def loader(folder: Path):
    """The `load.py` of an export as a module."""
    spec = importlib.util.spec_from_file_location("exported_load", folder / "load.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_same_numbers_where_jaxbrain_is_not(run, folder, pictures, tmp_path):
    images = np.random.default_rng(1).integers(0, 256, (5, 32, 32, 1), np.uint8)
    np.save(tmp_path / "images.npy", images)
    files = [str(path) for path in pictures]
    command = [sys.executable, "-c", ALONE, str(folder), *files]
    env = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    how = {"cwd": tmp_path, "env": env, "capture_output": True, "text": True, "timeout": 200}
    done = subprocess.run(command, **how)
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / "found.npz")
    wanted = run.predict(files)
    np.testing.assert_allclose(found["files"], wanted, atol=1e-5)
    np.testing.assert_allclose(found["arrays"], run.predict(images), atol=1e-5)
    assert found["arrays"].dtype == np.float32
    assert (found["drawn"] == run.sample(["no", 1, "yes"], 7)).all()
    assert found["platforms"].tolist() == [["cpu", "cuda", "tpu"]] * 2
    table = list(csv.DictReader(done.stdout.splitlines()))
    assert [row["path"] for row in table] == files
    names = [run.class_names[k] for k in wanted.argmax(axis=1)]
    assert [row["class"] for row in table] == names
    assert [float(row["p_yes"]) for row in table] == pytest.approx(wanted[:, 1], abs=1e-5)
    assert "not a medical device" in done.stderr


@pytest.mark.parametrize("crop, square", [("head", "stretch"), ("none", "pad")])
def test_pictures_are_read_as_the_library_reads_them(folder, pictures, crop, square, monkeypatch):
    module = loader(folder)
    how = {"image_size": 24, "reading": {"crop": crop, "square": square}}
    monkeypatch.setattr(module, "about", lambda: how)
    wanted = unlabelled.read(pictures, Options(image_size=24, crop=crop, square=square))
    assert not wanted.bad
    for path, image in zip(pictures, wanted.image, strict=True):
        assert (module.read(path) == image).all(), path


def test_what_the_loader_refuses(folder, tmp_path, monkeypatch):
    module = loader(folder)
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(module.DataError, match=r"text\.png: cannot be read"):
        module.classify(tmp_path / "text.png")
    Image.new("CMYK", (40, 40)).save(tmp_path / "four.jpg")
    with pytest.raises(module.DataError, match="pixel mode CMYK is not supported"):
        module.read(tmp_path / "four.jpg")
    with pytest.raises(module.DataError, match=r"float64 .*expected uint8 \[N, 32, 32, 1\]"):
        module.classify(np.zeros((2, 32, 32)))
    with pytest.raises(module.DataError, match="label has 'maybe'"):
        module.draw("maybe")
    # Without Pillow arrays are still classified.
    with monkeypatch.context() as patch:
        patch.setattr(module, "Image", None)
        assert module.classify(np.zeros((1, 32, 32), np.uint8)).shape == (1, 2)
        with pytest.raises(ImportError, match="Pillow is needed to read pictures"):
            module.read(tmp_path / "four.jpg")
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    damaged = loader(copy)
    content = bytearray((copy / "classifier.jaxexport").read_bytes())
    content[100] ^= 1
    (copy / "classifier.jaxexport").write_bytes(content)
    with pytest.raises(damaged.DataError, match="not what SHA256SUMS says"):
        damaged.classify(np.zeros((1, 32, 32), np.uint8))
    monkeypatch.setattr(damaged.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install flatbuffers"):
        damaged.program("generator")


def test_arrays_are_those_of_the_run(run, folder):
    found = safetensors.load_file(folder / "classifier.safetensors")
    assert {array.dtype for array in found.values()} == {np.dtype("float32")}
    kernel = found["cnn/params/conv1/kernel"]
    assert (kernel == run.classifier.cnn.params["conv1"]["kernel"]).all()
    assert (found["image_mean"] == run.classifier.image_mean).all()
    net = run.generator.average or {"params": run.generator.generator.params}
    drawn = safetensors.load_file(folder / "generator.safetensors")
    wanted = [np.asarray(leaf) for leaf in jax.tree.leaves(net["params"])]
    own = [drawn[name] for name in drawn if name.startswith("generator/params/")]
    assert sorted(a.sum() for a in own) == pytest.approx(sorted(a.sum() for a in wanted))
    assert any(name.startswith("generator/batch_stats/") for name in drawn)


def test_files_sums_and_nothing_of_the_images(run, folder):
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "SHA256SUMS",
        *export._NAMES,
        *(
            f"{part}.{kind}"
            for part in ("classifier", "generator")
            for kind in ("jaxexport", "safetensors")
        ),
    }
    listed = dict(
        line.split("  ")[::-1] for line in (folder / "SHA256SUMS").read_text().splitlines()
    )
    assert listed.keys() == names - {"SHA256SUMS"}
    images = rows(run.path / "images.csv")
    hidden = [row[name] for row in images for name in ("id", "sha256")]
    hidden += [str(run.path), str(Path(jaxbrain.__file__).parents[1])]
    for name in names - {"SHA256SUMS"}:
        content = (folder / name).read_bytes()
        assert listed[name] == hashlib.sha256(content).hexdigest()
        assert not [text for text in hidden if text.encode() in content], name
    assert not (folder.parent / "model.partial").exists()
    about = json.loads((folder / "metadata.json").read_text())
    assert (about["classes"], about["image_size"], about["seed"]) == (["no", "yes"], 32, 1)
    saved = json.loads((folder / "config.json").read_text())
    assert jaxbrain.Config.from_dict(saved) == run.cfg


def test_the_same_run_gives_the_same_bytes(run, folder):
    again = exported.classifier_program(run.network, run.classifier)
    assert again == (folder / "classifier.jaxexport").read_bytes()
    again = exported.generator_program(run.cfg, run.generator)
    assert again == (folder / "generator.jaxexport").read_bytes()
    assert export.loader_text() == (folder / "load.py").read_text()
    ruff = [sys.executable, "-m", "ruff"]
    for how in (["check", "--select", "E,F,I,B"], ["format", "--check"]):
        command = [*ruff, *how, "--isolated", "--line-length", "100", str(folder / "load.py")]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def test_the_cards_hold_what_was_measured(run, folder):
    card = (folder / "README.md").read_text()
    (own,) = compare.studies(run.path)
    cell = next(c for c in export.described(run)["cells"] if c["protocol"] == "P0")
    assert f"| P0 | this run, 2 seeds | cgan | {100 * cell['accuracy']:.1f} (" in card
    assert f"{cell['n']} in 2 tests |" in card and len(own.own.answers) == 1
    assert "**P0 is no estimate for new patients.**" in card and "| P3 |" not in card
    assert card.startswith("---\nlicense: unknown\nlibrary_name: jax\n")
    for text in ("Intended use", "Limitations", "Training data", "Evaluation", "How to run"):
        assert f"## {text}" in card
    assert "Not a medical device" in card and "not anonymous" in card
    assert "0 differ from the run's own" in card
    data = (folder / "DATA_CARD.md").read_text()
    assert "Source: phantoms" in data and "| no | 12 |" in data
    assert "Of these, 12 no, 12 yes were pooled" in data


def evaluated(run, place: Path, classifier: str, protocols=("P3",)) -> Path:
    """A ladder on the same images, as far as a card reads it: every second answer is right."""
    place.mkdir()
    shutil.copy(run.path / "images.csv", place)
    about = json.loads((run.path / "config.json").read_text()) | {"kind": "ladder"}
    about["config"]["classifier"]["epochs"] = 99
    (place / "config.json").write_text(json.dumps(about))
    (place / "ladder.json").write_text('{"data": {"source": "phantoms"}, "test_over_train": 0.25}')
    (place / "STATUS").write_text("done\n")
    with (place / "predictions.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        header = "protocol generator classifier labels seed fold id origin twin label p p_no p_yes"
        writer.writerow(header.split())
        for protocol in protocols:
            for i, row in enumerate(rows(place / "images.csv")):
                p = 1.0 if i % 2 else 0.0
                cell = [protocol, "none", classifier, "true", 0, i % 5, row["id"], "real", 0]
                writer.writerow([*cell, int(row["class"] == "yes"), p, 1 - p, p])
    return place


def test_p3_of_another_run_stands_beside_p0(run, tmp_path):
    other = evaluated(run, tmp_path / "ladder", "cnn_lstm_rows")
    about = export.described(run, other)
    assert [cell["protocol"] for cell in about["cells"]] == ["P0", "P3"]
    assert about["cells"][1]["accuracy"] == 0.5
    assert about["differences"] == ["classifier.epochs 99 there, 2 here"]
    texts = export._texts(run, about | {"check": []}, [])
    card = texts["README.md"].decode()
    assert "| P3 | another run (ladder), 1 seed | real images alone | 50.0 (" in card
    assert "P0 is no estimate" not in card and "had other settings" in card
    with pytest.raises(ConfigError, match="no answers of cnn_lstm_rows under P3 or P4"):
        export.described(run, evaluated(run, tmp_path / "ridge", "ridge"))
    text = (other / "images.csv").read_text().replace(rows(other / "images.csv")[0]["sha256"], "x")
    (other / "images.csv").write_text(text)
    with pytest.raises(DataError, match="of 24 and 24 the runs share 23"):
        export.described(run, other)


def test_hostile_names_stay_text(run):
    names = "<script>alert(1)</script>", 'a/b": [x]\n- ```'
    hostile = dataclasses.replace(run, class_names=names, positive=names[1])
    about = export.described(hostile) | {"check": []}
    about["data"]["images"] = dict.fromkeys(names, 3)
    texts = {name: text.decode() for name, text in export._texts(hostile, about, []).items()}
    assert json.loads(texts["metadata.json"])["classes"] == list(names)
    for name in ("README.md", "DATA_CARD.md"):
        assert "<script>" not in texts[name]
        assert r"\<script\>alert(1)\</script\>" in texts[name]
    assert texts["README.md"].split("---")[1].count("\n") == 9
    assert texts["README.md"].count("\n```") == 4


def test_a_generator_alone(run, tmp_path):
    """Of train_gan; what is read of its files is made by hand."""
    shutil.copy(run.path / "images.csv", tmp_path)
    results = json.loads((run.path / "results.json").read_text())
    results["data"] = {"source": "folder", "training": {"images": {"no": 8, "yes": 7}}}
    (tmp_path / "results.json").write_text(json.dumps(results))
    alone = dataclasses.replace(run, path=tmp_path, kind="train_gan", classifier=None)
    about = export.described(alone)
    assert list(about["parts"]) == ["generator"] and about["cells"] == []
    assert about["data"]["used"] == ["Of these, 8 no, 7 yes trained, and the others were held out."]
    about |= {"check": []}
    card = export._texts(alone, about, ["generator.jaxexport"])["README.md"].decode()
    assert "Frechet distance of 8 x 8 thumbnails" in card and "classify" not in card
    assert "P0" not in card and "`classifier" not in card and "`generator.jaxexport`" in card
    with pytest.raises(ConfigError, match="expected with a run of paper"):
        export.described(alone, tmp_path)


def test_folders_that_are_there(finished, tmp_path, monkeypatch):
    out = tmp_path / "model"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="there is something in it: .*--fresh"):
        entry.main([str(finished[0]), str(out)])
    with pytest.raises(ConfigError, match="flatbuffers is needed and missing.*export"):
        monkeypatch.setitem(sys.modules, "flatbuffers", None)
        export.export(finished[0], tmp_path / "new")
    # What fails leaves what was there, and nothing half-written; a user's folder of a like name
    # is none of ours.
    (tmp_path / "model.partial").mkdir()
    (tmp_path / "model.partial" / "mine.txt").write_text("mine")
    with pytest.raises(RuntimeError), export._whole(out, True) as place:
        (place / "README.md").write_text("half")
        raise RuntimeError
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "model.partial"]
    assert (tmp_path / "model.partial" / "mine.txt").read_text() == "mine"
    with export._whole(out, True) as place:
        (place / "README.md").write_text("whole")
    assert (out / "README.md").read_text() == "whole"
    assert (tmp_path / "model_old1" / "mine.txt").read_text() == "mine"
