"""The main command on a folder of images, and what it refuses."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from conftest import command
from PIL import Image

from jaxbrain.data import phantom
from jaxbrain.errors import ConfigError, DataError


def folder(root: Path, **counts) -> Path:
    key = jax.random.key(8)
    for label, (name, count) in enumerate(counts.items()):
        images = np.asarray(phantom.dataset(key, count, 32).image)[label * count :, :, :, 0]
        (root / name).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(images[i]).save(root / name / f"{i}.png")
    return root


@pytest.mark.parametrize(
    "sequence", ["vector", *(pytest.param(s, marks=pytest.mark.slow) for s in ("scalar", "rows"))]
)
def test_own_folder_in_every_reading(tmp_path, sequence):
    """An unbalanced folder: per class min(found, n) real, synthetic up to twice the
    larger, test 30 %."""
    data, workdir = folder(tmp_path / "set", no=9, yes=12), tmp_path / "run"
    arguments = ["--data", str(data), "--hybrid.sequence", sequence]
    if sequence == "vector":
        arguments += ["--classifier.mode", "two_stage"]
    text = command(*arguments, "--data.n-per-class", "10", workdir=workdir)
    results = json.loads((workdir / "results.json").read_text())
    assert results["data"] == {
        "source": "folder",
        "found": {"no": 9, "yes": 12},
        "used": {"no": 9, "yes": 10},
        "synthetic": {"no": 11, "yes": 10},
    }
    (result,) = results["seeds"]
    assert np.sum(result["matrix"], axis=1).tolist() == [6, 6]
    assert "fresh" not in text


@pytest.mark.slow
def test_four_classes(tmp_path):
    data = folder(tmp_path / "set", glioma=6, notumor=6)
    (data / "pituitary").mkdir()
    for i in range(6):
        Image.effect_noise((32, 32), 40).save(data / "pituitary" / f"{i}.png")
    command("--data", str(data), workdir=tmp_path / "run")
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert list(results["data"]["found"]) == ["no", "glioma", "pituitary"]
    (result,) = results["seeds"]
    assert np.shape(result["matrix"]) == (3, 3)
    assert "confusion" not in result
    header = (tmp_path / "run" / "predictions.csv").read_text().splitlines()[0]
    assert header.endswith("p_no,p_glioma,p_pituitary")


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--bogus", "1"], "unknown argument --bogus"),
        (["--gan.stepz", "1"], "unknown argument --gan.stepz: did you mean --gan.steps"),
        (["--gan.image-size", "0"], "gan.image_size is 0: expected a whole number of at least"),
        (["--data.image-size", "0"], "data.image_size is 0"),
        (["--gan.loss", "wgan"], "--gan.loss is 'wgan': expected one of bce, hinge"),
        (["--seeds", "0"], "seeds is 0"),
        (["--data.num-classes", "5"], "data.num_classes is 5: expected 2"),
        (["--gan.batch-size", "500"], "gan.batch_size is 500: expected at most 24"),
        (["--devices", "4"], "devices is 4: expected 1 without --parallel pmap or sharded"),
        (["--devicez", "4"], "unknown argument --devicez: did you mean --devices"),
        (["--parallel", "pmap", "--devices", "9"], "devices is 9: expected 1 to 2"),
        (["--parallel", "pmap", "--gan.batch-size", "7"], "gan.batch_size is 7: expected a mult"),
        (
            ["--compute", "float16"],
            "--compute is 'float16': expected one of auto, float32, bfloat16",
        ),
        (["--process-id", "1"], "expected all three or none"),
    ],
)
def test_refused_arguments(tmp_path, arguments, message):
    with pytest.raises(ConfigError) as caught:
        command(*arguments, workdir=tmp_path / "run")
    assert message in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_workdir_of_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(ConfigError, match="holds files that are no run"):
        command(workdir=tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="cannot be written"):
        command(workdir=tmp_path / "file")


def test_entry_point_errors(tmp_path):
    """One message on standard error, whole paths, status 2, no traceback."""
    (tmp_path / "empty").mkdir()
    one = folder(tmp_path / ("deep" * 30) / "one", no=3)
    text = folder(tmp_path / "text", no=2, yes=2)
    (text / "no" / "words.jpg").write_text("words")
    nested = folder(tmp_path / "nested" / "a" / "b", no=2, yes=2).parents[1]
    missing = tmp_path / "missing"
    cases = {
        tmp_path / "empty": "no images and no class folders",
        one: "one class only",
        text: "words.jpg: not an image",
        nested: "but folders: no, yes",
        missing: "does not exist",
    }
    for path, message in cases.items():
        with pytest.raises(DataError) as caught:
            command("--data", str(path), workdir=tmp_path / "run")
        assert message in str(caught.value)
        assert str(path) in str(caught.value)
    done = subprocess.run(
        [sys.executable, "-m", "jaxbrain", "paper", "--data", str(one)],
        capture_output=True,
        text=True,
        env=os.environ | {"COLUMNS": "40"},
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"paper  loads JAX\nerror: {one}: one class only: no: ")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()
