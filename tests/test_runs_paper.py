"""The main command: files, numbers, determinism, errors; on phantoms and real images."""

import json
import os
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import SMALL, command, rows, scalars
from PIL import Image
from sklearn import metrics as reference

from jaxbrain import config
from jaxbrain.commands import common, paper
from jaxbrain.data import duplicates, phantom
from jaxbrain.data.preprocess import resized
from jaxbrain.errors import DivergedError
from jaxbrain.reports import paper as report
from jaxbrain.runs import checkpoint
from jaxbrain.runs.paper import paper_study
from jaxbrain.runs.study import KEY
from jaxbrain.scoring import scores
from jaxbrain.study import networks
from jaxbrain.study.protocols import plan
from jaxbrain.study.shared import named_key
from jaxbrain.training import classifier, gan, loops
from jaxbrain.types import Dataset


def test_files(finished):
    workdir, _ = finished
    files = {path.relative_to(workdir).as_posix() for path in workdir.rglob("*")}
    wanted = {
        "config.json",
        "env.json",
        "split.csv",
        "metrics.jsonl",
        "predictions.csv",
        "report.md",
        "images.csv",
        "STATUS",
        "log.txt",
        "results.json",
        "progress.png",
        "confusion.png",
        "comparison.png",
        "roc.png",
        "reliability.png",
    }
    for seed in (0, 1):
        wanted |= {f"checkpoints/seed{seed}/gan", f"checkpoints/seed{seed}/classifier"}
        wanted |= {f"samples/seed{seed}_{name}.png" for name in ("no", "yes", "pool")}
    assert wanted <= files
    for path in workdir.rglob("*.png"):
        with Image.open(path) as image:
            assert np.ptp(np.asarray(image.convert("L"))) > 100


def test_console(finished):
    workdir, text = finished
    for words in (
        "found 24 images in 2 classes (arrays): no 12  yes 12",
        "device cpu",
        "parameters",
        "images/s  eta",
        "Table 3",
        "Table 4",
        "quoted",
        "real half",
        "on fresh phantoms",
        "claims 99.17 % on brain images: not comparable",
        "Metrics, mean of 2 seeds",
        f"open   {workdir / 'confusion.png'}",
    ):
        assert words in text, words


def test_results_follow_from_predictions(finished):
    """Every number of results.json is recomputed from predictions.csv."""
    workdir, _ = finished
    results = json.loads((workdir / "results.json").read_text())
    assert results["protocol"] == "P0"
    assert results["data"] == {
        "source": "phantoms",
        "found": {"no": 12, "yes": 12},
        "used": {"no": 12, "yes": 12},
        "synthetic": {"no": 12, "yes": 12},
    }
    predictions = rows(workdir / "predictions.csv")
    assert list(predictions[0]) == scores.header(["no", "yes"])
    cells = {tuple(row.values())[:4] for row in predictions}
    assert cells == {("P0", "cgan", "cnn_lstm_rows", "true")}
    for result in results["seeds"]:
        own = [row for row in predictions if int(row["seed"]) == result["seed"]]
        label = np.array([int(row["label"]) for row in own])
        p = np.array([[float(row["p_no"]), float(row["p_yes"])] for row in own])
        real = np.array([row["origin"] == "real" for row in own])
        guess = p.argmax(1)
        assert np.bincount(label).tolist() == [7, 7]  # 30 % of 24 each
        (tn, fp), (fn, tp) = reference.confusion_matrix(label, guess, labels=[0, 1])
        assert result["confusion"] == {"tp": tp, "fp": fp, "fn": fn, "tn": tn}
        hit = guess == label
        assert result["accuracy"] == pytest.approx(hit.mean(), abs=1e-12)
        assert result["accuracy_real"] == pytest.approx(hit[real].mean(), abs=1e-12)
        assert result["accuracy_synthetic"] == pytest.approx(hit[~real].mean(), abs=1e-12)
        assert result["num_test_real"] == real.sum()
        assert result["metrics"]["auroc"] == pytest.approx(
            reference.roc_auc_score(label, p[:, 1]), abs=1e-6
        )
        np.testing.assert_allclose(p.sum(1), 1.0, rtol=1e-5)
    summary = results["summary"]
    accuracies = [result["accuracy"] for result in results["seeds"]]
    assert summary["accuracy"] == pytest.approx(np.mean(accuracies))
    assert summary["accuracy_sd"] == pytest.approx(np.std(accuracies, ddof=1))
    assert summary["interval"][0] < summary["accuracy"] < summary["interval"][1]
    assert "seconds" not in json.dumps(results)
    assert results["positive"] == "yes"


def test_report_and_what_the_gan_is_said_to_be(finished):
    workdir, text = finished
    results = json.loads((workdir / "results.json").read_text())
    events = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    for seed in results["seeds"]:
        own = [e for e in events if (e["seed"], e["training"]) == (seed["seed"], "gan")]
        assert seed["gan"]["last"]["step"] == 6
        least = min(e["frechet_thumbnail"] for e in own)
        assert seed["gan"]["best"]["frechet_thumbnail"] == least
        assert 0.0 < seed["gan"]["real_spread"] < 0.5
    page = (workdir / "report.md").read_text()
    assert f"Accuracy {100 * results['summary']['accuracy']:.2f} %" in page
    assert "## Warnings" in page
    assert (workdir / "log.txt").read_text().splitlines()[0] == "data   phantoms"
    assert "resumed" not in text and "already complete" not in text


def test_a_collapsed_gan_is_said_so(tmp_path):
    """A generator that cannot move draws one picture a class."""
    frozen = "--gan.generator-optim.learning-rate 1e-12 --gan.latent-size 1 --intervals 3".split()
    text = command(*frozen, "--gan.generator-condition", "concat", workdir=tmp_path / "run")
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    (warning,) = [w for w in results["seeds"][0]["gan"]["warnings"] if "mode collapse" in w]
    assert f"warning seed 0: {warning}" in text
    assert f"- seed 0: {warning}" in (tmp_path / "run" / "report.md").read_text()


def test_split_file(finished):
    workdir, _ = finished
    split = [row for row in rows(workdir / "split.csv") if row["seed"] == "1"]
    assert len(split) == 48
    tested = {row["id"] for row in split if row["split"] == "test"}
    predicted = {r["id"] for r in rows(workdir / "predictions.csv") if r["seed"] == "1"}
    assert tested == predicted
    assert len({row["id"] for row in split}) == 48


def test_metrics_log(finished):
    workdir, _ = finished
    events = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    steps = [(e["seed"], e["training"], e["step"]) for e in events]
    assert steps[:4] == [(0, "gan", 3), (0, "gan", 6), (0, "classifier", 5), (0, "classifier", 10)]
    assert len(steps) == 8
    assert all(np.isfinite(v) for e in events for v in e.values() if isinstance(v, float))


def test_a_run_is_few_programs_and_few_saves(tmp_path):
    """From nothing, in a process of its own: what XLA compiles is counted, and what is saved."""
    done = subprocess.run(
        [sys.executable, "-m", "experiments.paper", *SMALL, "--cache", "off"]
        + ["--workdir", str(tmp_path / "run")],
        env=os.environ | {"JAX_LOG_COMPILES": "1", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    compiled = re.findall(r"Finished XLA compilation of (\S+)", done.stderr)
    # Three of phantoms, some of keys, four of each training, and the fresh phantoms' answers.
    assert 8 <= len(compiled) <= 20, compiled
    text = (tmp_path / "run" / "log.txt").read_text()
    saved = re.findall(r"\nsaved  (gan|classifier) of seed 0  step (\d+)  in ", text)
    assert saved == [("gan", "6"), ("classifier", "10")]
    assert done.stdout.startswith("paper  draws phantoms\n")


def test_environment_and_config_files(finished):
    workdir, _ = finished
    env = json.loads((workdir / "env.json").read_text())
    assert env["packages"]["jax"] == jax.__version__
    assert set(env["seconds"]) >= {"gan_compile", "gan_train", "classifier_train", "total"}
    saved = json.loads((workdir / "config.json").read_text())
    assert saved["config"]["gan"]["filters"] == 4
    assert saved["command"].startswith("jaxbrain paper --data.n-per-class 12 --data.image-size 16")


def test_tensorboard_says_what_the_events_do(finished):
    workdir, _ = finished
    found = scalars(workdir / "tensorboard" / "seed1" / "classifier")
    places = {str(path.relative_to(workdir / "tensorboard")) for path in workdir.glob("ten*/*/*")}
    assert places == {f"seed{n}/{kind}" for n in (0, 1) for kind in ("gan", "classifier")}
    events = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    wanted = [e for e in events if (e["seed"], e["training"]) == (1, "classifier")]
    losses = [(step, value) for tag, step, value in found if tag == "classifier/loss"]
    assert losses == [(e["step"], pytest.approx(e["loss"], rel=1e-6)) for e in wanted]
    tags = {tag for tag, *_ in scalars(workdir / "tensorboard" / "seed0" / "gan")}
    assert {"gan/generator_loss", "gan/frechet_thumbnail", "samples/seed0_yes"} <= tags


def test_sheets_grow_with_the_training(finished):
    """One row per interval, ten columns of fixed latents."""
    workdir, _ = finished
    with Image.open(workdir / "samples" / "seed0_yes.png") as image:
        # The label of a row stands left of it.
        assert image.height == 2 + 2 * 98 and 30 < image.width - 10 * 98 < 120


@pytest.mark.parametrize("seed", [0, 1])
def test_checkpoints_predict_what_was_predicted(finished, seed):
    """The saved GAN and classifier of a seed give that seed's rows of predictions.csv."""
    workdir, _ = finished
    cfg, key = paper_config(), jax.random.key(KEY)
    folder = workdir / "checkpoints" / f"seed{seed}"
    state = checkpoint.restore(folder / "gan", jax.eval_shape(lambda: gan.init(cfg, key)))
    data, records = phantom.folder(cfg.data, 32)
    group = duplicates.audit(
        records.small, data.label, records.digest, cfg.data.duplicate_threshold
    ).group
    fits, cells = plan(cfg, paper_study(cfg, 2), data.label, group, key)
    (fit,), (cell,) = ([one for one in some if one.seed == seed] for some in (fits, cells))
    _, synthesis = jax.random.split(named_key(key, fit.name))
    draw = jax.jit(networks.synthesise, static_argnums=0)
    image = np.asarray(draw(cfg, state, jnp.asarray(fit.drawn), synthesis))
    pool = np.concatenate([np.asarray(resized(data, cfg.data.image_size).image), image])
    like = jax.eval_shape(lambda: classifier.init(cfg, key, 1))
    trained = checkpoint.restore(folder / "classifier", like)
    assert (int(state.step), int(trained.step)) == (6, 10)
    unused = np.zeros(len(cell.test), np.int32)
    got = loops.predict(cfg, trained, Dataset(pool[cell.test], unused, unused))
    own = [r for r in rows(workdir / "predictions.csv") if int(r["seed"]) == seed]
    want = [[float(row["p_no"]), float(row["p_yes"])] for row in own]
    np.testing.assert_allclose(got, want, atol=1e-5)
    # Synthetic images are numbered within their class.
    ids = [*records.path, *(f"synthetic/{k}/{n:04d}" for k in ("no", "yes") for n in range(12))]
    assert [ids[i] for i in cell.test] == [row["id"] for row in own]
    assert [str(cell.label[i]) for i in cell.test] == [row["label"] for row in own]


def paper_config() -> config.Config:
    default = paper.Arguments(preset="tiny", cfg=config.tiny())
    return common.parse(paper.Arguments, SMALL, default=default).cfg


def test_divergence_stops_the_run(tmp_path):
    with pytest.raises(DivergedError, match="classifier of seed 0 diverged at step"):
        command(
            "--classifier.optim.name",
            "sgdm",
            "--classifier.optim.learning-rate",
            "1e30",
            workdir=tmp_path / "run",
        )


@pytest.mark.slow
def test_predictions_that_are_not_numbers_stop_the_run(tmp_path):
    """A finite state can be so large that it predicts NaN."""
    with pytest.raises(DivergedError, match="P0/cgan/cnn_lstm_rows/true/0/0 predicts NaN"):
        command(
            "--classifier.epochs",
            "1",
            "--classifier.batch-size",
            "500",
            "--classifier.optim.name",
            "sgdm",
            "--classifier.optim.learning-rate",
            "1e38",
            workdir=tmp_path / "run",
        )


@pytest.mark.slow
def test_the_kaggle_set(kaggle, tmp_path):
    """Real images: 253 found, 198 used, 202 drawn, 120 tested."""
    text = command(
        "--data",
        str(kaggle),
        "--preset",
        "cpu",
        "--data.n-per-class",
        "100",
        workdir=tmp_path / "run",
    )
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["data"] == {
        "source": "folder",
        "found": {"no": 98, "yes": 155},
        "used": {"no": 98, "yes": 100},
        "synthetic": {"no": 102, "yes": 100},
    }
    (result,) = results["seeds"]
    assert np.sum(result["matrix"], axis=1).tolist() == [60, 60]
    assert "found 253 images" in text
    assert report.PAPER_ACCURACY == 119 / 120
