"""Audits of folders and of a run: numbers at their bars, files, what is left out, refusals."""

import contextlib
import io
import json
import shutil
import zipfile
from pathlib import Path

import jax
import numpy as np
import pytest
from conftest import of_numbers, rows
from PIL import Image

from jaxbrain.audit import features
from jaxbrain.commands import audit as entry
from jaxbrain.data import phantom
from jaxbrain.errors import ConfigError, DataError
from jaxbrain.reports import audit as report
from jaxbrain.reports.page import markdown
from jaxbrain.runs import audit, material

TOP = "kid precision recall density coverage copied_fraction membership_auroc".split()
FAST = "--draws", "60", "--features", "texture"


def run(*arguments) -> str:
    out = io.StringIO()
    cache = jax.config.jax_compilation_cache_dir
    with contextlib.redirect_stdout(out):
        entry.main([*map(str, arguments), "--cache", cache])
    return out.getvalue()


def write(folder: Path, image: np.ndarray, label: np.ndarray, kind: str = "png") -> Path:
    for number, (one, k) in enumerate(zip(image, label, strict=True)):
        path = folder / ("no", "yes")[k] / f"{number:03d}.{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(one[..., 0]).save(path)
    return folder


def judged(workdir: Path, synthetic: Path, root: Path, *more) -> dict:
    sets = "--training", root / "training", "--held-out", root / "held_out"
    text = run("--synthetic", synthetic, *sets, "--workdir", workdir, *FAST, *more)
    return json.loads((workdir / "audit.json").read_text()) | {"text": text}


@pytest.fixture
def quick(monkeypatch):
    """Where the numbers of texture are not looked at: it takes most of the time."""
    monkeypatch.setattr(features, "texture", features.pixels)


@pytest.fixture(scope="module")
def phantoms():
    """Phantoms without copies, 40 px: image, label of 60 of each class, at random."""
    data = phantom.dataset(jax.random.key(5), 60, 40, 0.8)
    order = np.random.default_rng(1).permutation(120)
    return np.asarray(data.image)[order], np.asarray(data.label)[order]


@pytest.fixture(scope="module")
def root(phantoms, tmp_path_factory):
    """training 50, held_out 40, third 30."""
    root = tmp_path_factory.mktemp("sets")
    for name, some in (
        ("training", slice(50)),
        ("held_out", slice(50, 90)),
        ("third", slice(90, 120)),
    ):
        write(root / name, *(part[some] for part in phantoms))
    return root


@pytest.fixture(scope="module")
def third(root, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("audits") / "third"
    return workdir, judged(workdir, root / "third", root)


def test_images_of_a_third_set_are_no_copies(third):
    _, found = third
    assert found["copied_fraction"]["value"] <= 0.25
    low, high = found["membership_auroc"]["interval"]
    assert low <= 0.5 <= high
    # As real images are, and as the row of real images says.
    for row in (found["features"]["texture"], found["features"]["texture"]["real"]):
        low, high = row["kid"]["interval"]
        assert low <= 0.0 <= high
        assert row["coverage"]["value"] > 0.7 and row["precision"]["value"] > 0.7


def test_replayed_images_are_copies(root, phantoms, quick, tmp_path):
    """As they are, then mirrored and moved by two pixels of 40, darker, in another format."""
    found = judged(tmp_path / "replayed", root / "training", root)
    assert found["copied_fraction"]["value"] >= 0.99
    assert found["membership_auroc"]["value"] >= 0.99
    assert any("synthetic images are the training images" in one for one in found["warnings"])
    image, label = phantoms[0][:50], phantoms[1][:50]
    moved = np.zeros_like(image)
    moved[:, 2:, 2:] = image[:, :-2, :-2, :][:, :, ::-1] // 2
    write(tmp_path / "moved", moved, label, "tif")
    found = judged(tmp_path / "audit", tmp_path / "moved", root)
    assert found["copied_fraction"]["value"] >= 0.95
    pairs = rows(tmp_path / "audit" / "distances.csv")
    # Their classes are the same, their numbers too.
    assert sum(row["file"][:-3] == row["nearest"][:-3] for row in pairs) >= 48


def test_files_and_the_numbers_in_them(third):
    workdir, found = third
    for name in TOP:
        assert set(found[name]) == {"value", "interval"}
        low, high = found[name]["interval"]
        assert low <= found[name]["value"] <= high
    assert list(found)[:7] == TOP
    for name in ("sheet.png", "pairs.png", "curves.png"):
        with Image.open(workdir / name) as image:
            assert np.ptp(np.asarray(image.convert("L"))) > 100
    assert (workdir / "STATUS").read_text() == "done\n"
    page, written = (
        (workdir / "report.md").read_text(),
        json.loads((workdir / "audit.json").read_text()),
    )
    assert of_numbers(page) == of_numbers(markdown(report.page(written)))
    assert "No number here shows that synthetic images are anonymous" in page
    for words in ("The audit", "copied_fraction", "density"):
        assert words in found["text"]
    pairs = rows(workdir / "distances.csv")
    near = [float(row["distance"]) <= found["copies"]["threshold"] for row in pairs]
    assert len(pairs) == 30 and [row["copied"] == "1" for row in pairs] == near
    assert found["copied_fraction"]["value"] == np.mean(near)
    first = found["copies"]["worst"][0]
    assert first["distance"] == min(float(row["distance"]) for row in pairs)
    images = rows(workdir / "images.csv")
    assert len(images) == 120
    assert [row["set"] for row in images].count("held-out") == 40
    for name, counts in found["counts"].items():
        own = [row for row in images if row["set"] == name]
        assert counts["used"] == sum(row["used"] == "1" for row in own)


def test_verify(third, tmp_path):
    workdir, _ = third
    assert audit.verify(workdir) == []
    copy = tmp_path / "audit"
    shutil.copytree(workdir, copy)
    pairs = (copy / "distances.csv").read_text().splitlines()
    file, nearest, _, *rest = pairs[1].split(",")
    pairs[1] = ",".join([file, nearest, "0.0", *rest])
    (copy / "distances.csv").write_text("\n".join(pairs))
    assert any("copied_fraction.value" in line for line in audit.verify(copy))
    (copy / "audit.json").unlink()
    with pytest.raises(DataError, match=r"audit\.json: missing: expected .* an audit run"):
        audit.verify(copy)
    with pytest.raises(SystemExit) as stop:
        run("--verify", workdir)
    assert stop.value.code == 0


def test_again_and_other_settings(third, root, quick, tmp_path):
    whole, found = third
    copy = tmp_path / "audit"
    shutil.copytree(whole, copy)
    again = judged(copy, root / "third", root)
    for name in ("variety", "copies", "membership"):
        assert again[name] == found[name]
    with pytest.raises(ConfigError, match=r"material\.size: 64 there, 48 now"):
        judged(copy, root / "third", root, "--size", "48")
    with pytest.raises(ConfigError, match="image synthetic/no/.*: removed"):
        judged(copy, root / "training", root)


def test_overlap_is_said_and_left_out(root, phantoms, quick, tmp_path):
    """Held-out images that are training images, as they are and enlarged; a zip of a folder."""
    for name in ("training", "held_out"):
        shutil.copytree(root / name, tmp_path / name)
    for file in sorted((root / "training" / "no").iterdir())[:5]:
        shutil.copy(file, tmp_path / "held_out" / "no" / f"same_{file.name}")
        larger = Image.open(file).resize((80, 80), Image.Resampling.BICUBIC)
        larger.save(tmp_path / "held_out" / "no" / f"larger_{file.name}")
    with zipfile.ZipFile(tmp_path / "synthetic.zip", "w") as file:
        for path in sorted((root / "third").rglob("*.png")):
            file.write(path, path.relative_to(root / "third"))
    found = judged(tmp_path / "audit", tmp_path / "synthetic.zip", tmp_path)
    assert "warn   5 of 50 held-out images are identical with training images" in found["text"]
    assert found["counts"]["held-out"]["left_out"]["identical with a training image"] == 5
    assert found["counts"]["held-out"]["used"] <= 40
    assert found["counts"]["held-out"]["found"]["no"] > 10
    images = rows(tmp_path / "audit" / "images.csv")
    same = [row for row in images if "same_" in row["id"] or "larger_" in row["id"]]
    assert len(same) == 10 and all(row["used"] == "0" and row["why"] for row in same)
    assert audit.verify(tmp_path / "audit") == []


def test_folders_without_classes(root, quick, tmp_path):
    """One of the three is enough: all images are one class then."""
    (tmp_path / "flat").mkdir()
    for path in (root / "third").rglob("*.png"):
        shutil.copy(path, tmp_path / "flat")
    found = judged(tmp_path / "audit", tmp_path / "flat", root)
    assert found["counts"]["training"]["found"] == {"all images": 50}
    assert any("classes differ" in one for one in found["warnings"])
    with pytest.raises(ConfigError, match="features has 'classifier': expected the same two"):
        judged(tmp_path / "two", tmp_path / "flat", root, "--features", "classifier")


def test_refusals(root, phantoms, quick, tmp_path):
    with pytest.raises(ConfigError, match="expected a run of train_gan, or --synthetic, --train"):
        run("--synthetic", root / "third")
    with pytest.raises(ConfigError, match="expected a run of train_gan, or"):
        run(root, "--synthetic", root / "third")
    with pytest.raises(ConfigError, match="one holds the other: expected as held-out"):
        same = root / "training"
        run("--synthetic", root / "third", "--training", same, "--held-out", same)
    shutil.copytree(root / "training", tmp_path / "held_out")
    shutil.copytree(root / "training", tmp_path / "training")
    with pytest.raises(DataError, match="all 50 held-out images are identical with training"):
        judged(tmp_path / "audit", root / "third", tmp_path)
    write(tmp_path / "few", *(part[-5:] for part in phantoms))
    with pytest.raises(DataError, match="synthetic: 5 images are left of 5 .* at least 8"):
        judged(tmp_path / "audit", tmp_path / "few", root)
    (tmp_path / "few" / "maybe").mkdir()
    with pytest.raises(DataError, match=r"synthetic: .*maybe: no images in it"):
        judged(tmp_path / "audit", tmp_path / "few", root)
    with pytest.raises(ConfigError, match="features is 'texure': expected texture"):
        judged(tmp_path / "audit", root / "third", root, "--features", "texure")
    with pytest.raises(ConfigError, match="shadows is 2: expected 0, or at least 3"):
        judged(tmp_path / "audit", root / "third", root, "--shadows", "2")
    with pytest.raises(ConfigError, match="draws is 5: expected a whole number from 20"):
        judged(tmp_path / "audit", root / "third", root, "--draws", "5")
    assert not (tmp_path / "audit").exists()


# Of a run.


def test_a_run(trained, quick, tmp_path):
    workdir, _ = trained
    run(workdir, *FAST, "--shadows", "3", "--seed", "1", "--workdir", tmp_path / "audit")
    found = json.loads((tmp_path / "audit" / "audit.json").read_text())
    images = rows(workdir / "images.csv")
    for side in ("training", "held-out"):
        own = [row for row in images if row["side"] == side]
        counts = {name: sum(row["class"] == name for row in own) for name in ("no", "yes")}
        assert found["counts"][side]["found"] == counts
    # As many as training images when copies count once.
    assert found["counts"]["synthetic"]["used"] == found["counts"]["training"]["used"]
    assert (found["about"]["seed"], found["about"]["checkpoint"]["step"]) == (1, 6)
    assert list(found["membership"]) == ["distance", "density", "discriminator", "shadows"]
    for attack in found["membership"].values():
        assert 0.0 <= attack["interval"][0] <= attack["value"] <= attack["interval"][1] <= 1.0
    # Six updates draw nothing like an image.
    assert found["copied_fraction"]["value"] == 0.0
    assert found["kid"]["interval"][0] > found["features"]["texture"]["real"]["kid"]["value"]
    assert audit.verify(tmp_path / "audit") == []


def test_a_run_whose_images_are_others(trained, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(trained[0], copy)
    config = copy / "config.json"
    about = json.loads(config.read_text())
    config.write_text(json.dumps(about | {"kind": "paper"}))
    with pytest.raises(DataError, match="is a run of paper, whose GAN held no image out"):
        run(copy)
    config.write_text(json.dumps(about))
    table = (copy / "images.csv").read_text().splitlines()
    first = table[1].split(",")
    table[1] = ",".join([*first[:3], "0" * 64, *first[4:]])
    (copy / "images.csv").write_text("\n".join(table))
    with pytest.raises(DataError, match=f"not those of phantoms: 1 changed, such as {first[0]}"):
        run(copy)


def test_shares():
    assert material.shares(np.asarray([3, 3, 3]), 7).tolist() == [3, 2, 2]
    assert material.shares(np.asarray([98, 155]), 253).tolist() == [98, 155]
