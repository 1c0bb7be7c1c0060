"""The main command again on a run that is finished, stopped or damaged."""

import io
import json
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from conftest import command, rows

from jaxbrain.errors import ConfigError, DivergedError, StoppedError
from jaxbrain.runs import loop, study


def signalled(kind: str):
    """`Loop._report` that sends SIGTERM after the reports of a kind of training."""
    report = loop.Loop._report

    def say(self, stop, fresh):
        report(self, stop, fresh)
        if self.training.kind == kind:
            signal.raise_signal(signal.SIGTERM)

    return say


def results_of(workdir: Path) -> list[bytes]:
    return [(workdir / name).read_bytes() for name in ("results.json", "predictions.csv")]


def test_same_command_again_is_complete_and_grows(finished, tmp_path):
    """One seed, then again (already complete), then a second: the run of two seeds."""
    whole, _ = finished
    again = tmp_path / "run"
    text = command("--seeds", "1", workdir=again)
    assert "seed 0  gan 6/6  1 lane " in text and "resumed" not in text
    first = [row for row in rows(whole / "predictions.csv") if row["seed"] == "0"]
    assert rows(again / "predictions.csv") == first
    saved = results_of(again)
    text = command("--seeds", "1", workdir=again)
    assert "\nalready complete: 1 cells" in text
    assert "compiling" not in text
    assert results_of(again) == saved
    text = command("--seeds", "2", workdir=again)
    assert "\ngoes on: 1 of 2 cells are done" in text
    assert "\nresumed at step 0 of 6 (gan of seed 1)" in text
    # What is finished is not trained again.
    assert "seed 1  gan 6/6" in text and "seed 0  gan" not in text
    assert "seed 1  classifier 10/10" in text and "seed 0  classifier" not in text
    assert results_of(again) == results_of(whole)
    with pytest.raises(ConfigError, match="seeds is 1: expected at least 2"):
        command("--seeds", "1", workdir=again)


def part(workdir: Path, seed: int) -> Path:
    (path,) = (workdir / "parts").glob(f"P0+*+true+{seed}+0.npz")
    return path


def test_a_damaged_result_is_predicted_again(finished, tmp_path):
    """From the final states, without a step of training; what the GAN drew is read."""
    whole, _ = finished
    copy = tmp_path / "run"
    shutil.copytree(whole, copy)
    path = part(copy, 1)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    # What was reported is in the parts and the checkpoints too.
    events = (copy / "metrics.jsonl").read_text()
    (copy / "metrics.jsonl").write_text("lost")
    text = command("--seeds", "2", workdir=copy)
    assert f"damaged {path}" in text
    assert "\ngoes on: 1 of 2 cells are done" in text
    assert "seed 1  classifier" not in text and "compiling" not in text
    assert results_of(copy) == results_of(whole)
    assert (copy / "metrics.jsonl").read_text() == events
    assert path.with_suffix(".damaged").read_bytes() == content


def test_lost_images_are_drawn_again(finished, tmp_path):
    """And with them all that a seed needs them for, but no training."""
    whole, _ = finished
    copy = tmp_path / "run"
    shutil.copytree(whole, copy)
    (image,) = (copy / "images").glob("cgan+all+true+0+0.npz")
    wanted = image.read_bytes()
    image.unlink()
    part(copy, 0).unlink()
    text = command("--seeds", "2", workdir=copy)
    assert "compiling" not in text and "seed 0  gan" not in text
    assert results_of(copy) == results_of(whole)
    with np.load(image) as one, np.load(io.BytesIO(wanted)) as two:
        np.testing.assert_array_equal(one["value0"], two["value0"])


def test_fresh_keeps_the_old_run_and_another_configuration_is_refused(finished, tmp_path):
    whole, _ = finished
    copy = tmp_path / "run"
    shutil.copytree(whole, copy)
    with pytest.raises(ConfigError, match=r"config\.gan\.steps: 6 there, 4 now"):
        command("--seeds", "2", "--gan.steps", "4", workdir=copy)
    assert results_of(copy) == results_of(whole)
    command("--fresh", "--gan.steps", "4", workdir=copy)
    assert results_of(tmp_path / "run_old1") == results_of(whole)
    assert results_of(copy) != results_of(whole)


def test_a_stopped_run_goes_on_to_the_same_bits(finished, tmp_path, monkeypatch):
    """SIGTERM at the first report of each training, in turn."""
    whole, _ = finished
    workdir = tmp_path / "run"
    for name, total in (("gan", 6), ("classifier", 10)):
        monkeypatch.setattr(loop.Loop, "_report", signalled(name))
        with pytest.raises(StoppedError, match=f"SIGTERM at step .* of {total} .{name} of seed 0"):
            command("--seeds", "2", workdir=workdir)
        monkeypatch.undo()
    text = command("--seeds", "2", workdir=workdir)
    assert "\nresumed at step 5 of 10 (classifier of seed 0)" in text
    assert results_of(workdir) == results_of(whole)
    speed = "images_per_second"
    for name in ("metrics.jsonl",):
        mine, theirs = (
            [
                {k: v for k, v in json.loads(line).items() if k != speed}
                for line in (folder / name).read_text().splitlines()
            ]
            for folder in (workdir, whole)
        )
        assert mine == theirs
    for name in ("seed0_no.png", "seed1_yes.png", "seed0_pool.png"):
        assert (workdir / "samples" / name).read_bytes() == (whole / "samples" / name).read_bytes()


@pytest.mark.parametrize("how", ["pmap", pytest.param("sharded", marks=pytest.mark.slow)])
def test_a_run_goes_on_on_other_devices(finished, tmp_path, monkeypatch, how):
    """Begun on one, its GAN ended on two: the losses of one."""
    whole, _ = finished
    workdir = tmp_path / "run"
    monkeypatch.setattr(loop.Loop, "_report", signalled("gan"))
    with pytest.raises(StoppedError, match="at step 3 of 6"):
        command(workdir=workdir)
    with pytest.raises(StoppedError, match="at step 6 of 6"):
        command("--parallel", how, "--devices", "2", workdir=workdir)
    events = [
        [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()[:2]]
        for folder in (whole, workdir)
    ]
    for one, two in zip(*events, strict=True):
        assert (two["step"], two["training"]) == (one["step"], "gan")
        for name in ("generator_loss", "discriminator_loss", "real_score", "fake_score"):
            assert two[name] == pytest.approx(one[name], rel=1e-4, abs=1e-5), name


def test_a_damaged_checkpoint_is_walked_back(finished, tmp_path):
    """The newest step of the classifier loses a byte: what came after the one before is
    trained again."""
    whole, _ = finished
    copy = tmp_path / "run"
    shutil.copytree(whole, copy)
    store = copy / "checkpoints" / "seed1"
    part(copy, 1).unlink()
    largest = max(
        (p for p in (store / "classifier" / "10").rglob("*") if p.is_file()),
        key=lambda p: p.stat().st_size,
    )
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
    text = command("--seeds", "2", workdir=copy)
    assert f"damaged checkpoint {store / 'classifier' / '10'}: " in text
    (step,) = re.findall(r"\nresumed at step (\d+) of 10 \(classifier of seed 1\)", text)
    assert 0 < int(step) < 10
    assert results_of(copy) == results_of(whole)


def test_a_later_failure_loses_no_seed(tmp_path, monkeypatch):
    whole = study.predictions

    def fails(session):
        for answer in whole(session):
            if answer.cell.seed == 1:
                raise DivergedError("seed 1")
            yield answer

    monkeypatch.setattr(study, "predictions", fails)
    with pytest.raises(DivergedError):
        command("--seeds", "2", workdir=tmp_path / "run")
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert [result["seed"] for result in results["seeds"]] == [0]
    assert {row["seed"] for row in rows(tmp_path / "run" / "predictions.csv")} == {"0"}


def test_a_finished_run_is_reported_without_its_checkpoints(finished, tmp_path):
    """What only a checkpoint can tell, accuracy on fresh phantoms, is kept as it was; a GAN
    whose reports are lost too is not judged."""
    whole, _ = finished
    copy = tmp_path / "run"
    shutil.copytree(whole, copy)
    shutil.rmtree(copy / "checkpoints")
    text = command("--seeds", "2", workdir=copy)
    assert text.count("accuracy on fresh phantoms as before") == 2
    assert (copy / "results.json").read_bytes() == (whole / "results.json").read_bytes()
    assert (copy / "report.md").read_bytes() == (whole / "report.md").read_bytes()
    (copy / "metrics.jsonl").unlink()
    (copy / "results.json").unlink()
    shutil.rmtree(copy / "images")
    text = command("--seeds", "2", workdir=copy)
    assert "on fresh phantoms is not known" in text and not re.search(r"phantoms \d", text)
    for seed in json.loads((copy / "results.json").read_text())["seeds"]:
        assert seed["accuracy_fresh"] is seed["gan"]["last"] is seed["gan"]["best"] is None
        (warning,) = seed["gan"]["warnings"]
        assert warning in (copy / "report.md").read_text()
    lost = (copy / "predictions.csv").read_bytes()
    assert lost == (whole / "predictions.csv").read_bytes()
