"""`jaxbrain predict`: its files, its numbers, what it refuses, and how it is asked."""

import contextlib
import io
import json
import shutil

import jax
import numpy as np
import pytest
from conftest import rows
from PIL import Image

import jaxbrain
from jaxbrain.commands import predict as entry
from jaxbrain.data import nearest, phantom
from jaxbrain.errors import ConfigError, DataError
from jaxbrain.runs import again, predict
from jaxbrain.scoring import calibration


def ask(*arguments) -> str:
    out = io.StringIO()
    cache = jax.config.jax_compilation_cache_dir
    with contextlib.redirect_stdout(out):
        entry.main([*map(str, arguments), "--cache", cache])
    return out.getvalue()


@pytest.fixture(scope="module", autouse=True)
def few():
    """The small run has 17 training images."""
    before, predict._LEAST = predict._LEAST, 5
    yield
    predict._LEAST = before


@pytest.fixture(scope="module")
def asked(finished, tmp_path_factory):
    """A copy of the run; three new phantoms and noise in a folder; what was said of them."""
    folder = tmp_path_factory.mktemp("predict")
    run = folder / "run"
    shutil.copytree(finished[0], run)
    images = folder / "images"
    images.mkdir()
    new = phantom.dataset(jax.random.key(9), 2, 32, 0.2)
    for i, one in enumerate(np.asarray(new.image)[:3]):
        Image.fromarray(one[..., 0]).save(images / f"{i}.png")
    noise = np.random.default_rng(0).integers(0, 255, (40, 40), np.uint8)
    Image.fromarray(noise).save(images / "noise.png")
    return run, images, ask(run, images, "--explain")


def test_files_and_numbers(asked):
    run, images, said = asked
    out = run / "predictions"
    found = rows(out / "predictions.csv")
    assert (
        list(found[0])
        == (
            "path class p_no p_yes calibrated_no calibrated_yes distance quantile nearest unlike "
            "learned"
        ).split()
    )
    assert [row["path"] for row in found] == [f"{images}/{n}.png" for n in (0, 1, 2, "noise")]
    loaded = jaxbrain.load_run(run)
    p = np.float64([[row["p_no"], row["p_yes"]] for row in found])
    np.testing.assert_allclose(p, loaded.predict(images), atol=1e-6)
    assert [row["class"] for row in found] == [("no", "yes")[k] for k in p.argmax(axis=1)]
    fitted = json.loads((run / "calibration" / "seed0.json").read_text())
    calibrated = np.float64([[row["calibrated_no"], row["calibrated_yes"]] for row in found])
    np.testing.assert_allclose(
        calibrated, calibration.tempered(p, fitted["temperature"]), atol=1e-6
    )
    about = json.loads((out / "predictions.json").read_text())
    assert about["notice"] == "for research, not a medical device"
    assert about["calibration"] == fitted and about["unlike"]["learned"] == 0
    assert (out / "STATUS").read_text() == "done\n" and not (out / "skipped.csv").exists()
    assert "For research, not a medical device." in said
    assert f"open   {out / 'predictions.csv'}" in said


def test_unlike_images_are_named(asked):
    """Held to the distances themselves: of the training images among each other, copies of one
    group left out, and of the images to the training images."""
    run, images, said = asked
    loaded = jaxbrain.load_run(run)
    learned = again.taught(loaded)
    split = [row for row in rows(run / "split.csv") if row["seed"] == "0"]
    own = [r["id"] for r in split if (r["origin"], r["split"]) == ("real", "train")]
    assert list(learned.path) == own and len(learned.image) == learned.real == len(own)
    apart, _ = nearest.apart(learned.image, learned.group)
    distance, index = nearest.distances(loaded.read(images).image, learned.image)
    found = rows(run / "predictions" / "predictions.csv")
    assert [float(row["distance"]) for row in found] == pytest.approx(distance.tolist(), abs=1e-5)
    assert [row["nearest"] for row in found] == [own[i] for i in index]
    limit = np.quantile(apart, 0.99)
    assert [bool(row["unlike"]) for row in found] == (distance > limit).tolist()
    assert found[3]["unlike"].startswith("unlike the training images: further than")
    assert float(found[3]["quantile"]) == 1.0
    assert "! 1 unlike the training images" in said


def test_calibration_is_of_images_left_out(asked):
    run, _, said = asked
    folder = run / "calibration"
    kept, found = rows(folder / "seed0.csv"), json.loads((folder / "seed0.json").read_text())
    learned = again.taught(jaxbrain.load_run(run))
    left = [learned.path.index(row["id"]) for row in kept]
    assert len(left) == found["images"] and 0 < len(left) < learned.real / 2
    # A group is left out whole.
    assert not set(learned.group[left]) & set(np.delete(learned.group, left))
    p = np.float64([[row["p_no"], row["p_yes"]] for row in kept])
    label = np.asarray([row["class"] == "yes" for row in kept]).astype(int)
    assert (np.asarray(learned.data.label)[left] == label).all()
    assert found["temperature"] == pytest.approx(calibration.temperature(p, label))
    assert found["ece"]["before"] == pytest.approx(calibration.ece(p, label))
    after = calibration.tempered(p, found["temperature"])
    assert found["nll"]["after"] == pytest.approx(calibration.nll(after, label))
    assert "trains a classifier without a fifth" in said and "calibration on these images" in said
    with Image.open(folder / "seed0.png") as picture:
        assert picture.size[0] > 1000


def test_pictures(asked):
    run, images, said = asked
    folder = run / "predictions" / "explain"
    names = ["0001_0.png", "0002_1.png", "0003_2.png", "0004_noise.png", "sheet.png"]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert f"open   {folder / 'sheet.png'}" in said
    with Image.open(folder / "sheet.png") as picture:
        assert picture.size[0] > 800 and len(np.unique(np.asarray(picture.convert("L")))) > 50
    loaded = jaxbrain.load_run(run)
    maps = loaded.explain(images)
    assert sorted(maps) == ["grad_cam", "occlusion"]
    assert all(one.shape == (4, 16, 16) and one.dtype == np.float32 for one in maps.values())


def test_again_and_beside(asked, tmp_path):
    """The same is predicted again, without another training; other images have another place."""
    run, images, _ = asked
    before = (run / "predictions" / "predictions.csv").read_bytes()
    said = ask(images.parent / "run", "--seed", 0, images)
    assert "trains a classifier" not in said
    assert (run / "predictions" / "predictions.csv").read_bytes() == before
    said = ask(run, images / "0.png", "--calibrate", "off")
    assert f"open   {run / 'predictions_2' / 'predictions.csv'}" in said
    assert (run / "predictions" / "predictions.csv").read_bytes() == before
    with pytest.raises(ConfigError, match="holds predictions of other images.*--fresh"):
        ask(run, images / "1.png", "--out", run / "predictions_2")
    archive = shutil.make_archive(str(tmp_path / "some"), "zip", images)
    said = ask(run, archive, images / "0.png", "--out", tmp_path / "out", "--calibrate", "off")
    found = rows(tmp_path / "out" / "predictions.csv")
    assert [row["path"] for row in found[:2]] == [f"{archive}/0.png", f"{archive}/1.png"]
    assert len(found) == 5 and {row["calibrated_yes"] for row in found} == {""}
    assert found[4]["p_yes"] == pytest.approx(found[0]["p_yes"]) and "calibration: off" in said
    table = said[said.index("image  ") :].split("For research")[0]
    assert max(map(len, table.splitlines())) <= 80


def test_bad_images(asked, tmp_path):
    run, images, _ = asked
    (tmp_path / "bad.png").write_text("nothing")
    given = run, images / "0.png", tmp_path / "bad.png", tmp_path / "gone.png"
    with pytest.raises(DataError, match="2 of the images cannot be used.*--skip-bad") as caught:
        ask(*given, "--out", tmp_path / "out")
    assert "bad.png: not an image" in str(caught.value) and "gone.png: does not" in str(
        caught.value
    )
    assert not (tmp_path / "out").exists()
    said = ask(*given, "--skip-bad", "--out", tmp_path / "out", "--calibrate", "off")
    skipped = rows(tmp_path / "out" / "skipped.csv")
    assert [row["path"] for row in skipped] == [str(one) for one in given[2:]]
    assert "2 files were skipped" in said and len(rows(tmp_path / "out" / "predictions.csv")) == 1
    with pytest.raises(DataError, match="no image is left"):
        ask(run, tmp_path / "bad.png", "--skip-bad", "--out", tmp_path / "none")


def test_without_the_training_images(asked, tmp_path):
    """Probabilities as they are, and one line that says why."""
    run, images, _ = asked
    other = tmp_path / "run"
    shutil.copytree(run, other, ignore=shutil.ignore_patterns("calibration", "predictions"))
    said = ask(other, images / "0.png", "--data", tmp_path / "nowhere")
    (row,) = rows(other / "predictions" / "predictions.csv")
    assert (row["unlike"], row["distance"], row["calibrated_no"]) == ("not known", "", "")
    assert "unlike the training images: not known" in said and "nowhere" in said
    assert "calibration: none, probabilities are as the classifier gives them" in said
    with pytest.raises(ConfigError, match=r"expected a run and images: jaxbrain predict RUN"):
        ask(other)


def test_arguments_stand_anywhere():
    assert entry.parted(["R", "--explain", "a.png", "--out", "O", "b", "--seed=1", "c"]) == (
        ["R", "a.png", "b", "c"],
        ["--explain", "--out", "O", "--seed=1"],
    )
    assert entry.parted(["--skip_bad", "R", "--no-fresh", "x"])[0] == ["R", "x"]
    assert entry.parted(["--run", "R", "--seed", "2", "--images", "x", "y"])[0] == ["R", "x", "y"]
