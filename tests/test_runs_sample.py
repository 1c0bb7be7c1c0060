"""Files drawn from a run's GAN: what they are, where they say they are from, refusals."""

import contextlib
import hashlib
import io
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from jaxbrain.commands import sample as entry
from jaxbrain.errors import CheckpointError, ConfigError, DataError
from jaxbrain.runs import checkpoint, sample
from jaxbrain.study import networks
from jaxbrain.training import gan


def draw(*arguments) -> str:
    out = io.StringIO()
    cache = jax.config.jax_compilation_cache_dir
    with contextlib.redirect_stdout(out):
        entry.main([*map(str, arguments), "--cache", cache])
    return out.getvalue()


def pictures(folder: Path) -> np.ndarray:
    found = [np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))]
    return np.stack(found)[..., None]


@pytest.fixture(scope="module")
def drawn(finished, tmp_path_factory):
    """A finished `jaxbrain paper`, and six images of each class of its second GAN."""
    run, _ = finished
    out = tmp_path_factory.mktemp("drawn") / "out"
    assert f"wrote  {out}: synthetic" in draw(run, "--n", 6, "--seed", 1, "--key", 7, "--out", out)
    return run, out


def test_images_are_those_of_the_checkpoint(drawn):
    """As `synthesise` draws them from a state that is restored by hand."""
    run, out = drawn
    saved = sample.load(run, 1)
    cfg, names = saved.cfg, saved.class_names
    assert names == ("no", "yes") and cfg.data.image_size == cfg.gan.image_size == 32
    like = jax.eval_shape(lambda: gan.init(cfg, jax.random.key(0)))
    state = checkpoint.restore(run / "checkpoints" / "seed1" / "gan", like)
    label = np.repeat(np.int32([0, 1]), 6)
    wanted = np.asarray(networks.synthesise(cfg, state, label, jax.random.key(7)))
    assert wanted.shape == (12, 32, 32, 1)
    for k, name in enumerate(names):
        found = pictures(out / name)
        assert np.abs(found.astype(int) - wanted[label == k]).max() <= 1
        assert len(np.unique(found, axis=0)) == 6


def test_provenance(drawn):
    run, out = drawn
    about = json.loads((out / "provenance.json").read_text())
    assert "synthetic, for research, not anonymous" in about["notice"]
    assert (about["run"], about["seed"], about["key"]) == (str(run), 1, 7)
    assert about["command"] == json.loads((run / "config.json").read_text())["command"]
    manifest = run / "checkpoints" / "seed1" / "gan" / "6" / "manifest.sha256"
    digest = hashlib.sha256(manifest.read_bytes()).hexdigest()
    assert about["checkpoint"] == {"step": 6, "sha256": digest}
    assert len(about["files"]) == 12
    for one in about["files"]:
        assert hashlib.sha256((out / one["file"]).read_bytes()).hexdigest() == one["sha256"]
        assert one["file"] == f"{one['class']}/{one['index']:04d}.png"


def test_more_of_one_class_are_added(drawn, tmp_path):
    """The n-th image is the same however many are drawn, and of which classes."""
    run, out = drawn
    where = tmp_path / "out"
    how = run, "--seed", 1, "--key", 7, "--out", where
    draw(*how, "--n", 2, "--class", "yes")
    assert not (where / "no").exists()
    draw(*how, "--n", 9, "--class", "yes")
    draw(*how, "--n", 1)
    assert (pictures(where / "yes")[:6] == pictures(out / "yes")).all()
    assert (pictures(where / "no") == pictures(out / "no")[:1]).all()
    listed = [one["file"] for one in json.loads((where / "provenance.json").read_text())["files"]]
    assert listed == ["no/0000.png", *(f"yes/{n:04d}.png" for n in range(9))]
    with pytest.raises(ConfigError, match=r"holds another draw .key: 7 there, 8 now"):
        draw(run, "--seed", 1, "--key", 8, "--out", where)
    (where / "provenance.json").unlink()
    with pytest.raises(ConfigError, match="holds files that are no draw of ours"):
        draw(*how)


def test_refusals(drawn, tmp_path):
    run, _ = drawn
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match="class is 'maybe': expected one of no, yes"):
        draw(run, "--class", "maybe", "--out", out)
    with pytest.raises(ConfigError, match="n is 0: expected at least 1"):
        draw(run, "--n", 0, "--out", out)
    with pytest.raises(CheckpointError, match="no GAN of seed 5: expected a run of seed0, seed1"):
        draw(run, "--seed", 5, "--out", out)
    with pytest.raises(DataError, match="does not exist: expected the directory of a run"):
        draw(tmp_path / "nowhere", "--out", out)
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    shutil.rmtree(copy / "checkpoints")
    with pytest.raises(CheckpointError, match="no GAN of seed 0: .* train_gan or paper"):
        draw(copy, "--out", out)
    about = json.loads((copy / "config.json").read_text())
    del about["config"]["gan"]["flip"]
    (copy / "config.json").write_text(json.dumps(about))
    with pytest.raises(ConfigError, match=r"config\.json: config\.gan has no flip"):
        draw(copy, "--out", out)
    assert not out.exists()


def test_a_damaged_checkpoint_is_left_out(drawn, tmp_path):
    """The step before counts; without one it is said."""
    run, _ = drawn
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    folder = copy / "checkpoints" / "seed0" / "gan"
    for step in sorted(folder.glob("[0-9]*"), key=lambda path: -int(path.name)):
        largest = max(step.rglob("*"), key=lambda path: path.is_file() and path.stat().st_size)
        largest.write_bytes(largest.read_bytes()[:-1])
        if step.name == "6":
            lines = []
            assert 0 < sample.load(copy, 0, lines.append).step < 6
            assert any(f"damaged checkpoint {step}" in line for line in lines)
    with pytest.raises(CheckpointError, match="no checkpoint is as it was saved"):
        sample.load(copy, 0)
