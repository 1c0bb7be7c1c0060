"""The main command again on a run that is finished, stopped or damaged."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
from conftest import command, rows

from jaxbrain.errors import ConfigError, DivergedError, StoppedError
from jaxbrain.runs import checkpoint, paper


def results_of(workdir: Path) -> list[bytes]:
    return [(workdir / name).read_bytes() for name in ("results.json", "predictions.csv")]


def test_same_command_again_is_complete_and_grows(finished, tmp_path):
    """One seed, then again (already complete), then a second: the run of two seeds."""
    whole, _ = finished
    again = tmp_path / "run"
    command("--seeds", "1", workdir=again)
    first = [row for row in rows(whole / "predictions.csv") if row["seed"] == "0"]
    assert rows(again / "predictions.csv") == first
    saved = results_of(again)
    text = command("--seeds", "1", workdir=again)
    assert "\nalready complete: 1 seeds" in text
    assert "compiling" not in text
    assert results_of(again) == saved
    text = command("--seeds", "2", workdir=again)
    assert "\nresumed at step 0 of 6 (gan of seed 1)" in text
    assert results_of(again) == results_of(whole)
    with pytest.raises(ConfigError, match="seeds is 1: expected at least 2"):
        command("--seeds", "1", workdir=again)


def test_a_damaged_result_is_predicted_again(finished, tmp_path):
    """From the final states, without a step of training."""
    whole, _ = finished
    copy = tmp_path / "run"
    shutil.copytree(whole, copy)
    path = copy / "checkpoints" / "seed1" / "result.json"
    path.write_text(path.read_text().replace("0.", "1.", 1))
    # What was reported is in the checkpoints too.
    events = (copy / "metrics.jsonl").read_text()
    (copy / "metrics.jsonl").write_text("lost")
    text = command("--seeds", "2", workdir=copy)
    assert f"damaged {path}" in text
    assert "resumed at step 10 of 10 (classifier of seed 1)" in text
    assert results_of(copy) == results_of(whole)
    assert (copy / "metrics.jsonl").read_text() == events


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
    """SIGTERM after the first report of each training, in turn."""
    whole, _ = finished
    workdir = tmp_path / "run"
    for name, total in (("gan", 6), ("classifier", 10)):
        save = checkpoint.Store.save

        def stop(self, step, state, meta, name=name, save=save):
            save(self, step, state, meta)
            if self.path.name == name:
                os.kill(os.getpid(), signal.SIGTERM)

        monkeypatch.setattr(checkpoint.Store, "save", stop)
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


@pytest.mark.parametrize("how", [pytest.param("pmap", marks=pytest.mark.slow), "sharded"])
def test_a_run_goes_on_on_other_devices(finished, tmp_path, monkeypatch, how):
    """Begun on one, its GAN ended on two: the losses of one."""
    whole, _ = finished
    save = checkpoint.Store.save

    def stop(self, step, state, meta):
        save(self, step, state, meta)
        os.kill(os.getpid(), signal.SIGTERM)

    workdir = tmp_path / "run"
    monkeypatch.setattr(checkpoint.Store, "save", stop)
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
    """The newest step of the classifier loses a byte: one interval is trained again."""
    whole, _ = finished
    copy = tmp_path / "run"
    shutil.copytree(whole, copy)
    store = copy / "checkpoints" / "seed1"
    (store / "result.json").unlink()
    largest = max(
        (p for p in (store / "classifier" / "10").rglob("*") if p.is_file()),
        key=lambda p: p.stat().st_size,
    )
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
    text = command("--seeds", "2", workdir=copy)
    assert f"damaged checkpoint {store / 'classifier' / '10'}: " in text
    assert "\nresumed at step 5 of 10 (classifier of seed 1)" in text
    assert results_of(copy) == results_of(whole)


def test_a_later_failure_loses_no_seed(tmp_path, monkeypatch):
    whole = paper._run_seed

    def fails(run, data, records, seed):
        if seed == 1:
            raise DivergedError("seed 1")
        return whole(run, data, records, seed)

    monkeypatch.setattr(paper, "_run_seed", fails)
    with pytest.raises(DivergedError):
        command("--seeds", "2", workdir=tmp_path / "run")
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert [result["seed"] for result in results["seeds"]] == [0]
    assert {row["seed"] for row in rows(tmp_path / "run" / "predictions.csv")} == {"0"}
