"""A GAN with held-out images in a work directory: files, numbers, resume, refusals."""

import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from conftest import of_numbers, rows, said, trained_gan

from jaxbrain.errors import ConfigError, StoppedError
from jaxbrain.reports import train_gan as report
from jaxbrain.reports.page import markdown
from jaxbrain.runs import loop

pytestmark = pytest.mark.smoke


def objects(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_files_and_what_is_printed(trained):
    workdir, text = trained
    names = "STATUS config.json env.json images.csv metrics.jsonl log.txt results.json report.md"
    for name in (*names.split(), "progress.png", "predictions.csv", "splits.jsonl"):
        assert (workdir / name).stat().st_size, name
    for seed in (0, 1):
        assert (workdir / "checkpoints" / f"seed{seed}" / "gan" / "6").is_dir()
        for what in ("no", "yes", "beside"):
            assert (workdir / "samples" / f"seed{seed}_{what}.png").is_file()
    assert (workdir / "STATUS").read_text() == "done\n"
    for words in ("held-out ", f"jaxbrain audit {workdir}"):
        assert words in text, words
    # It trains nothing but GANs.
    assert {one["training"] for one in objects(workdir / "metrics.jsonl")} == {"gan"}


def test_results_are_those_of_the_files(trained):
    workdir, _ = trained
    results = json.loads((workdir / "results.json").read_text())
    images = rows(workdir / "images.csv")
    for side in ("training", "held-out", "unused"):
        own = [row for row in images if row["side"] == side]
        counts = {name: sum(row["class"] == name for row in own) for name in ("no", "yes")}
        assert results["data"][side]["images"] == counts
        assert results["data"][side]["groups"] == len({row["group"] for row in own})
    sides = {row["group"]: set() for row in images}
    for row in images:
        sides[row["group"]].add(row["side"])
    assert all(len(found) == 1 for found in sides.values())
    # What each fit saw is what images.csv calls training.
    splits = objects(workdir / "splits.jsonl")
    training = [i for i, row in enumerate(images) if row["side"] == "training"]
    assert [one["sees"] for one in splits if "sees" in one] == [training, training]
    answers = rows(workdir / "predictions.csv")
    tested = sum(results["data"]["held-out"]["images"].values())
    for one in results["seeds"]:
        own = [row for row in answers if row["seed"] == str(one["seed"])]
        hits = [(float(row["p_yes"]) > 0.5) == (row["label"] == "1") for row in own]
        assert one["probe"]["accuracy"] == np.mean(hits)
        assert one["probe"]["n"] == len(own) == 2 * tested
        assert one["gan"]["last"]["step"] == 6
    assert said(workdir / "report.md") == of_numbers(markdown(report.page(results)))


def test_a_stopped_run_goes_on_to_the_same_bits(trained, tmp_path, monkeypatch):
    whole, _ = trained
    report_of = loop.Loop._report

    def stopped(self, stop, fresh):
        report_of(self, stop, fresh)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(loop.Loop, "_report", stopped)
    with pytest.raises(StoppedError, match="at step 3 of 6 .gan of seed 0., saved"):
        trained_gan(tmp_path / "run")
    monkeypatch.undo()
    assert (tmp_path / "run" / "STATUS").read_text().startswith("stopped: SIGTERM")
    text = trained_gan(tmp_path / "run")
    assert "\nresumed at step 3 of 6 (gan of seed 0)" in text
    # And grows.
    text = trained_gan(tmp_path / "run", "--seeds", "2")
    assert "gan of seed 0" not in text and "seed 1  gan 6/6" in text
    for name in ("results.json", "predictions.csv", "images.csv", "report.md"):
        assert said(tmp_path / "run" / name) == said(whole / name)
    with pytest.raises(ConfigError, match="seeds is 1: expected at least 2"):
        trained_gan(tmp_path / "run")


def test_another_share_is_another_run(trained, tmp_path):
    whole, _ = trained
    shutil.copytree(whole, tmp_path / "run")
    with pytest.raises(ConfigError, match=r"held_out: 0\.25 there, 0\.4 now"):
        trained_gan(tmp_path / "run", "--held-out", "0.4", "--seeds", "2")
    with pytest.raises(ConfigError, match=r"held_out is 1\.5: expected a share"):
        trained_gan(tmp_path / "new", "--held-out", "1.5")
    with pytest.raises(ConfigError, match="parallel is 'pmap': expected none"):
        trained_gan(tmp_path / "new", "--parallel", "pmap")
    assert not (tmp_path / "new").exists()
