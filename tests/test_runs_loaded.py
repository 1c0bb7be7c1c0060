"""A finished run as an object: what it predicts and draws, and what it refuses."""

import dataclasses
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from conftest import rows
from PIL import Image

import jaxbrain
from jaxbrain import config
from jaxbrain.data import phantom
from jaxbrain.errors import CheckpointError, ConfigError, DataError
from jaxbrain.runs import sample


@pytest.fixture(scope="module")
def run(finished):
    return jaxbrain.load_run(finished[0], seed=1)


@pytest.fixture(scope="module")
def pictures(run, tmp_path_factory):
    """The phantoms of the run as files, flat, in the order of `images.csv`."""
    data, records = phantom.folder(run.cfg.data, 32)
    folder = tmp_path_factory.mktemp("pictures")
    for path, image in zip(records.path, data.image, strict=True):
        Image.fromarray(np.asarray(image)[..., 0]).save(folder / f"{path.replace('/', '_')}.png")
    return folder


def test_what_it_holds(run, finished):
    saved = json.loads((finished[0] / "config.json").read_text())
    assert (run.path, run.kind, run.seed, run.step) == (finished[0], "paper", 1, 6)
    assert (run.class_names, run.positive) == (("no", "yes"), "yes")
    assert run.command == saved["command"] and run.source == "phantoms" == saved["source"]
    assert run.cfg == jaxbrain.Config.from_dict(saved["config"])
    assert int(run.classifier.step) == int(run.classifier.total_steps) > 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        run.seed = 2


def test_predictions_are_those_of_the_run(run, pictures):
    """The same numbers as in `predictions.csv`, from files and from arrays."""
    known = [
        row
        for row in rows(run.path / "predictions.csv")
        if row["seed"] == "1" and row["origin"] == "real"
    ]
    files = [pictures / f"{row['id'].replace('/', '_')}.png" for row in known]
    wanted = np.float64([[row["p_no"], row["p_yes"]] for row in known])
    found = run.predict(files)
    assert found.dtype == np.float32 and len(known) >= 3
    np.testing.assert_allclose(found, wanted, atol=2e-6)
    arrays = np.stack([np.asarray(Image.open(file)) for file in files])
    np.testing.assert_allclose(run.predict(arrays), wanted, atol=2e-6)
    np.testing.assert_allclose(run.predict(arrays[..., None][:1]), wanted[:1], atol=2e-6)
    np.testing.assert_allclose(run.predict(arrays[0]), wanted[:1], atol=2e-6)
    assert run.predict(str(pictures)).shape == (24, 2)


def test_samples_are_those_of_the_verb(run):
    saved = sample.load(run.path, 1)
    wanted = sample.draw(saved, np.int32([0, 1, 1]), jax.random.key(7))
    found = run.sample(["no", "yes", 1], 7)
    assert found.shape == (3, 32, 32, 1) and (found == wanted).all()
    with pytest.raises(ConfigError, match="label has 2: expected 0 to 1, or one of no, yes"):
        run.sample([0, 2], 7)
    with pytest.raises(ConfigError, match="label has 'maybe'"):
        run.sample("maybe", 7)
    with pytest.raises(ConfigError, match="key is -1"):
        run.sample([0], -1)


def test_images_that_are_refused(run, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(DataError, match="2 of the images cannot be used") as caught:
        run.predict([tmp_path / "text.png", tmp_path / "nowhere.png"])
    assert f"{tmp_path / 'text.png'}: not an image that can be read" in str(caught.value)
    assert f"{tmp_path / 'nowhere.png'}: does not exist" in str(caught.value)
    with pytest.raises(DataError, match="no image is named"):
        run.predict([])
    with pytest.raises(DataError, match="image is float64: expected uint8"):
        run.predict(np.zeros((2, 16, 16)))
    with pytest.raises(DataError, match=r"image has shape \[2, 16, 17, 1\]"):
        run.predict(np.zeros((2, 16, 17), np.uint8))
    with pytest.raises(DataError, match=r"images are \[0, 16, 16, 1\]: expected"):
        run.predict(np.zeros((0, 16, 16), np.uint8))
    one = np.zeros((1, 16, 16), np.uint8)
    with pytest.raises(ConfigError, match="target has 'maybe': expected 0 to 1, or one of no, yes"):
        run.explain(one, "maybe")
    with pytest.raises(ConfigError, match="target has 2 classes: expected one, or 1"):
        run.explain(one, ["no", "yes"])


def test_runs_that_are_refused(finished, tmp_path):
    with pytest.raises(DataError, match=r"holds no config\.json: expected the directory of a run"):
        jaxbrain.load_run(tmp_path)
    with pytest.raises(CheckpointError, match="has no seed 5: expected one of 0, 1"):
        jaxbrain.load_run(finished[0], 5)
    with pytest.raises(CheckpointError, match="no step 5: expected one that is kept: .*6"):
        jaxbrain.load_run(finished[0], step=5)
    copy = tmp_path / "run"
    shutil.copytree(finished[0], copy)
    about = json.loads((copy / "config.json").read_text())

    def changed(**fields) -> Path:
        (copy / "config.json").write_text(json.dumps(about | fields))
        return copy

    with pytest.raises(ConfigError, match=r"a run of ladder, which keeps no trained network.*run"):
        jaxbrain.load_run(changed(kind="ladder"))
    changed(command="jaxbrain paper --data elsewhere", source="")
    results = json.loads((copy / "results.json").read_text())
    results["data"]["source"] = "folder"
    (copy / "results.json").write_text(json.dumps(results))
    assert jaxbrain.load_run(copy, generator=False).source == "elsewhere"
    (copy / "results.json").unlink()
    (copy / "STATUS").write_text("stopped: by signal 2\n")
    with pytest.raises(CheckpointError, match=r"is not finished \(STATUS: stopped.*--data else"):
        jaxbrain.load_run(copy)


def test_a_damaged_classifier_falls_back(finished, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(finished[0], copy)
    said = []
    steps = sorted(
        (copy / "checkpoints/seed0/classifier").glob("[0-9]*"), key=lambda p: int(p.name)
    )
    (steps[-1] / "manifest.sha256").write_text("other")
    if len(steps) > 1:
        run = jaxbrain.load_run(copy, say=said.append)
        assert int(run.classifier.step) == int(steps[-2].name)
    for step in steps[:-1]:
        shutil.rmtree(step, ignore_errors=True)
        shutil.rmtree(step.with_name(f"{step.name}.damaged"), ignore_errors=True)
    with pytest.raises(CheckpointError, match="no checkpoint"):
        jaxbrain.load_run(copy, say=said.append)
    assert any("damaged checkpoint" in text for text in said)


def test_classes_are_in_the_order_of_their_numbers(finished, tmp_path):
    """Not in that of their names: somebody may have named the positive one, or given arrays."""
    about = json.loads((finished[0] / "config.json").read_text())
    assert about["classes"] == ["no", "yes"]
    cfg = config.from_dict(about["config"])
    (tmp_path / "predictions.csv").write_text("seed,p,p_yes,p_=a no\n")
    assert sample.class_names(tmp_path, {"classes": ["b", "a"]}, cfg) == ("b", "a")
    # Of a run that did not save them.
    assert sample.class_names(tmp_path, {}, cfg) == ("yes", "=a no")


def test_a_gan_alone_predicts_nothing(trained):
    run = jaxbrain.load_run(trained[0])
    assert run.kind == "train_gan" and run.classifier is None
    assert run.sample([1], 0).shape == (1, 32, 32, 1)
    with pytest.raises(
        ConfigError, match="a run of train_gan, which trains no classifier: .*paper"
    ):
        run.predict(np.zeros((1, 16, 16), np.uint8))
