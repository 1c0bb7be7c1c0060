"""States survive the disk exactly; damage is found, named and walked back from."""

import json
import os
import shutil
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import change, small

from jaxbrain.errors import CheckpointError, ConfigError
from jaxbrain.runs import checkpoint
from jaxbrain.runs.checkpoint import Store
from jaxbrain.training import gan

INIT = jax.jit(gan.init, static_argnums=0)
STATE = {"kernel": np.arange(600, dtype=np.float32).reshape(20, 30), "step": jnp.int32(3)}


def test_round_trip(tmp_path, key):
    cfg = change(small(), "gan", average_half_life=3.0)
    state = INIT(cfg, key)
    with Store(tmp_path / "gan", about={"config": {"filters": 9}}) as store:
        store.save(5, state, {"config": {"filters": 4}})
    written = json.loads((tmp_path / "gan" / "5" / "meta" / "metadata").read_text())
    assert written["about"] == {"config": {"filters": 9}}
    # Only shapes of the target matter.
    like = jax.eval_shape(lambda: gan.init(cfg, key))
    back = checkpoint.restore(tmp_path / "gan", like)
    assert jax.tree.structure(back) == jax.tree.structure(state)
    chex.assert_trees_all_equal(back, state)
    chex.assert_trees_all_equal_dtypes(back, state)
    with Store(tmp_path / "gan") as store:
        found = store.newest(like)
        assert (found.step, found.meta) == (5, {"config": {"filters": 4}})
        chex.assert_trees_all_equal(found.state, state)


def test_keeps_the_newest_and_the_best(tmp_path):
    """Over a reopening too: what was best is read back."""
    with Store(tmp_path, keep=2, best="loss") as store:
        for step, loss in enumerate([3.0, 1.0, 2.0, 5.0], start=1):
            store.save(step, STATE, {"loss": loss})
        assert store.steps() == [2, 3, 4]
    with Store(tmp_path, keep=2, best="loss") as store:
        for step, loss in ((5, 4.0), (6, 4.0), (7, 0.5)):
            store.save(step, STATE, {"loss": loss})
        assert store.steps() == [6, 7]
    with Store(tmp_path / "plain", keep=3) as store:
        for step in range(5):
            store.save(step, STATE, {})
        assert store.steps() == [2, 3, 4]


@pytest.fixture(scope="module")
def two_steps(tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "gan"
    with Store(path) as store:
        store.save(1, STATE, {})
        store.save(2, STATE | {"step": jnp.int32(4)}, {})
    return path


def damage(path: Path, kind: str) -> None:
    content = bytearray(path.read_bytes())
    if kind == "delete":
        path.unlink()
    elif kind == "truncate":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "zero":
        path.write_bytes(b"\0" * len(content))
    else:
        content[len(content) // 2] ^= 1
        path.write_bytes(content)


@pytest.mark.parametrize("kind", ["truncate", "zero", "delete", "flip"])
def test_each_damage_to_each_file_is_walked_back(two_steps, tmp_path, kind):
    """Bare Orbax restores a flipped byte as it is."""
    files = [p.relative_to(two_steps) for p in sorted((two_steps / "2").rglob("*")) if p.is_file()]
    assert len(files) > 10
    for number, name in enumerate(files):
        copy, said = tmp_path / str(number), []
        shutil.copytree(two_steps, copy)
        damage(copy / name, kind)
        with Store(copy, say=said.append) as store:
            found = store.newest(STATE)
        assert found.step == 1, name
        chex.assert_trees_all_equal(found.state, STATE)
        assert len(said) == 1 and str(copy / "2") in said[0]
        assert name.name in said[0]
        assert (copy / "2.damaged").is_dir()


def test_nothing_left_is_an_error_and_stays_one(two_steps, tmp_path):
    copy = tmp_path / "gan"
    shutil.copytree(two_steps, copy)
    for step in (1, 2):
        files = (path for path in (copy / str(step)).rglob("*") if path.is_file())
        largest = max(files, key=lambda path: path.stat().st_size)
        damage(largest, "flip")
    for _ in range(2):
        with pytest.raises(CheckpointError, match=r"no checkpoint is as it was saved.*--fresh"):
            checkpoint.restore(copy, STATE)


def test_an_unfinished_step_is_ignored_and_removed(two_steps, tmp_path):
    """What Orbax had not renamed, and a step whose manifest was not yet written."""
    copy, said = tmp_path / "gan", []
    shutil.copytree(two_steps, copy)
    (copy / "7.orbax-checkpoint-tmp").mkdir()
    shutil.copytree(copy / "2", copy / "3")
    (copy / "3" / checkpoint.MANIFEST).unlink()
    with Store(copy, say=said.append) as store:
        assert store.newest(STATE).step == 2
        store.save(3, STATE, {})
        assert store.newest(STATE).step == 3
    assert [text.split(" in ")[0] for text in said] == [
        "ignored unfinished checkpoint 7",
        "ignored unfinished checkpoint 3",
    ]
    # The first step of all, too: a training that begins again is no error.
    (tmp_path / "new").mkdir()
    shutil.copytree(copy / "2", tmp_path / "new" / "2")
    (tmp_path / "new" / "2" / checkpoint.MANIFEST).unlink()
    with Store(tmp_path / "new") as store:
        assert store.newest(STATE) is None


def test_other_arrays_are_refused(two_steps):
    wider = {"kernel": np.zeros((20, 32), np.float32), "step": jnp.int32(0)}
    with pytest.raises(ConfigError, match=r"\['kernel'\] float32 \[20, 30\]: expected .*32\]"):
        checkpoint.restore(two_steps, wider)
    half = {"kernel": np.zeros((20, 30), np.float16), "step": jnp.int32(0)}
    with pytest.raises(ConfigError, match="float16"):
        checkpoint.restore(two_steps, half)
    with pytest.raises(ConfigError, match="expected 3"):
        checkpoint.restore(two_steps, STATE | {"z": np.zeros(3, np.float32)})
    assert sorted(p.name for p in two_steps.iterdir()) == ["1", "2", "finished"]


def test_missing_is_an_error(tmp_path):
    with pytest.raises(CheckpointError, match=f"{tmp_path / 'none'}: no checkpoint there"):
        checkpoint.restore(tmp_path / "none", STATE)


def test_a_full_disk_is_named_and_earlier_steps_stay(tmp_path, monkeypatch):
    with Store(tmp_path) as store:
        store.save(1, STATE, {})
        manager = store._manager()

        def full(step, **_):
            (tmp_path / "2.orbax-checkpoint-tmp" / "state").mkdir(parents=True)
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(manager, "save", full)
        with pytest.raises(CheckpointError, match=r"step 2.*2404 bytes needed, \d+ free.*No space"):
            store.save(2, STATE, {})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1", "finished"]
    chex.assert_trees_all_equal(checkpoint.restore(tmp_path, STATE), STATE)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_manifest_that_cannot_be_written_is_no_checkpoint(tmp_path, monkeypatch):
    with Store(tmp_path) as store:
        store.save(1, STATE, {})
        monkeypatch.setattr(
            checkpoint.os, "fsync", lambda _: os.write(os.open("/dev/full", 1), b"x")
        )
        with pytest.raises(CheckpointError, match="No space left"):
            store.save(2, STATE, {})
    monkeypatch.undo()
    with Store(tmp_path) as store:
        assert store.newest(STATE).step == 1


def test_deleted_steps_are_said(two_steps, tmp_path):
    """The newest gone: named, the one before used. All gone: an error, no fresh start."""
    copy, said = tmp_path / "gan", []
    shutil.copytree(two_steps, copy)
    shutil.rmtree(copy / "2")
    with Store(copy, say=said.append) as store:
        assert store.newest(STATE).step == 1
    assert said == [f"missing checkpoint {copy / '2'}: it was saved, and is gone"]
    shutil.rmtree(copy / "1")
    with pytest.raises(CheckpointError, match="step 2 was saved and no step is left"):
        checkpoint.restore(copy, STATE)
