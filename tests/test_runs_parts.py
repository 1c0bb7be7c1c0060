"""What a study keeps on disk: whole or not there, damaged files set aside, nothing made twice."""

import io
import os
import signal
import time

import numpy as np
import pytest
from rich.console import Console

from jaxbrain.errors import StoppedError
from jaxbrain.runs import parts
from jaxbrain.runs.log import Log
from jaxbrain.runs.workdir import Stop

CELLS = ["P0/cgan/cnn/true/0/0", "P0/cgan/cnn/true/1/0", "P3/cgan/cnn/true/0/0"]


def answers(names) -> dict:
    return {name: np.full((4, 2), 0.25 + CELLS.index(name)) for name in names}


class Folder:
    """Parts of a run, opened anew by every `with`."""

    def __init__(self, path):
        self.path, self.out, self.stop = path, io.StringIO(), Stop()

    def __enter__(self):
        self.log = Log(self.path, Console(file=self.out, width=300))
        self.parts = parts.Parts(self.path, self.log, self.stop, len(CELLS))
        self.made = []
        return self

    def __exit__(self, *error):
        self.log.__exit__(*error)

    def make(self, names):
        self.made += names
        return answers(names)

    def files(self, kind="parts") -> set[str]:
        return {path.name for path in (self.path / kind).iterdir()}


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


def same(one: dict, two: dict):
    assert sorted(one) == sorted(two)
    for name, value in one.items():
        np.testing.assert_array_equal(value, two[name], strict=True)


def test_each_answer_of_a_training_has_a_file(folder):
    with folder:
        same(folder.parts("parts", CELLS[:2], folder.make), answers(CELLS[:2]))
        assert folder.files() == {"P0+cgan+cnn+true+0+0.npz", "P0+cgan+cnn+true+1+0.npz"}
        assert (folder.parts.done, folder.parts.found()) == (2, 2)
    with folder:
        # Two are read, one is made.
        same(folder.parts("parts", CELLS, folder.make), answers(CELLS))
        assert folder.made == CELLS[2:] and folder.parts.found() == 3
    assert "cells 3/3" in folder.out.getvalue()


def test_quick_answers_share_a_file(folder):
    with folder:
        same(folder.parts("parts", CELLS, folder.make, "none_ridge_0000"), answers(CELLS))
        assert folder.files() == {"none_ridge_0000.npz"} and folder.parts.found() == 3
    with folder:
        same(folder.parts("parts", CELLS, folder.make, "none_ridge_0000"), answers(CELLS))
        assert folder.made == []
        # A file of other cells is no answer.
        folder.parts("parts", CELLS[:2], folder.make, "none_ridge_0000")
        assert folder.made == CELLS[:2]


def test_a_kill_while_one_is_written_leaves_none(folder, monkeypatch):
    save = np.savez_compressed

    def half(file, **arrays):
        save(file, **arrays)
        if folder.files() - {"P0+cgan+cnn+true+0+0.npz.tmp"}:
            raise KeyboardInterrupt

    with folder, monkeypatch.context() as patch:
        patch.setattr(np, "savez_compressed", half)
        with pytest.raises(KeyboardInterrupt):
            folder.parts("parts", CELLS, folder.make)
        finished = {name for name in folder.files() if name.endswith(".npz")}
    assert finished == {"P0+cgan+cnn+true+0+0.npz"}
    with folder:
        same(folder.parts("parts", CELLS, folder.make), answers(CELLS))
        assert folder.made == CELLS[1:]


def test_damaged_files_are_set_aside(folder):
    with folder:
        folder.parts("parts", CELLS[:1], folder.make)
    (path,) = (folder.path / "parts").iterdir()
    content = path.read_bytes()
    places = [*range(0, len(content), 61), len(content) // 2]
    for damage in [b"", content[:100], *places]:
        wrong = damage
        if isinstance(damage, int):
            wrong = bytearray(content)
            wrong[damage] ^= 1
        path.write_bytes(wrong)
        with folder:
            same(folder.parts("parts", CELLS[:1], folder.make), answers(CELLS[:1]))
            if folder.made:
                assert path.with_suffix(".damaged").read_bytes() == bytes(wrong)
                assert f"damaged {path}: cannot be read: " in folder.out.getvalue()
                path.with_suffix(".damaged").unlink()
        # Else a byte that no reader looks at.
        assert folder.made == CELLS[:1] or isinstance(damage, int)
        assert folder.files() == {path.name}


def test_a_part_of_another_cell_is_set_aside(folder):
    with folder:
        folder.parts("parts", CELLS[:2], folder.make)
    one, two = (folder.path / "parts" / f"{parts.file_of(name)}.npz" for name in CELLS[:2])
    os.replace(two, one)
    with folder:
        same(folder.parts("parts", CELLS[:1], folder.make), answers(CELLS[:1]))
    assert folder.made == CELLS[:1] and one.with_suffix(".damaged").exists()
    assert f"damaged {one}: holds ['{CELLS[1]}']" in folder.out.getvalue()


def test_reports_come_back_with_the_answer_and_checkpoints_go(folder):
    """The log may have lost what a finished training had reported."""
    fit = "cgan/all/true/0/0"
    event = {"lane": fit, "seed": 0, "training": "gan", "step": 6, "loss": 1.5}
    image = np.arange(32, dtype=np.uint8).reshape(2, 4, 4, 1)
    begun = folder.path / "checkpoints" / parts.file_of(fit)

    def make(names):
        begun.mkdir(parents=True)
        folder.log.event(event)
        return {fit: image}

    with folder:
        folder.parts("images", [fit], make)
        assert not begun.exists()
    (folder.path / "metrics.jsonl").write_text("lost")
    begun.mkdir()
    with folder:
        assert folder.log.of(fit) == []
        got = folder.parts("images", [fit], folder.make)
        assert folder.log.of(fit) == [event] and not folder.made
        np.testing.assert_array_equal(got[fit], image, strict=True)
        np.testing.assert_array_equal(folder.parts.image(fit), image)
        # Killed before it was removed.
        assert not begun.exists()
        assert folder.parts.image("cgan/all/true/1/0") is None


def test_why_there_is_no_answer_is_kept(folder):
    why = "P0/cgan/cnn/true/1/0 diverged at step 3 of 6: lower its learning rate"

    def make(names):
        folder.made += names
        return answers(names) | {CELLS[1]: why}

    for made in (CELLS, []):
        with folder:
            found = folder.parts("parts", CELLS, make, "")
            assert found[CELLS[1]] == why and folder.made == made
            np.testing.assert_array_equal(found[CELLS[2]], answers(CELLS)[CELLS[2]])


def test_a_signal_ends_a_run_when_its_part_is_saved(folder):
    folder.stop.signal = int(signal.SIGTERM)
    with folder, pytest.raises(StoppedError, match="after 2 of 3 cells, saved"):
        folder.parts("parts", CELLS[:2], folder.make)
    folder.stop.signal = None
    with folder:
        folder.parts("parts", CELLS, folder.make)
        assert folder.made == CELLS[2:]


def test_seconds_of_fits_are_not_the_classifiers(folder):
    """The images of a GAN are fitted while the first classifier waits; both are read back."""
    fit = "cgan/all/true/0/0"

    def images(names):
        time.sleep(0.3)
        return {fit: np.zeros((1, 4, 4, 1), np.uint8)}

    def predict(names):
        folder.parts("images", [fit], images)
        time.sleep(0.05)
        return answers(names)

    with folder:
        folder.parts("parts", CELLS[:1], predict)
        first = dict(folder.parts.seconds)
    assert first["cgan"] >= 0.3
    assert 0.05 <= first["cnn"] < 0.25
    with folder:
        folder.parts("parts", CELLS[:1], predict)
        folder.parts("images", [fit], images)
        assert folder.parts.seconds == pytest.approx(first)
