"""`jaxbrain table4`: every row on phantoms, its numbers, its errors, resuming."""

import contextlib
import csv
import io
import json
import os
import signal

import jax
import numpy as np
import pytest
from conftest import change
from sklearn import metrics as reference

from jaxbrain import config
from jaxbrain.baselines import heads, methods
from jaxbrain.commands import table4 as entry
from jaxbrain.config import OptimConfig
from jaxbrain.errors import ConfigError, DataError, StoppedError
from jaxbrain.nn.vgg import VGG16Tumour, convolutions
from jaxbrain.quoted import quoted
from jaxbrain.runs import ladder, table4
from jaxbrain.scoring import intervals

pytest.importorskip("skimage", reason="needs jaxbrain[baselines]")

SMALL = (
    "--data.n-per-class 12 --data.image-size 32 --gan.image-size 32 --folds 2 "
    "--classifier.epochs 1 --cnn.filters 3 4"
).split()
ROWS = "glrlm_cslbp_ann radiomics_svm hbtc_mlp vgg16_transfer cnn_lstm_rows majority".split()


def command(*arguments, workdir) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        cache = jax.config.jax_compilation_cache_dir
        entry.main([*SMALL, "--workdir", str(workdir), "--cache", cache, *arguments])
    return out.getvalue()


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Made-up weights of the published shapes, without the fully connected layers."""
    rng = np.random.default_rng(0)
    tensors, channels = {}, 3
    for (block, i), filters in convolutions().items():
        scale = np.sqrt(2 / (9 * channels))
        kernel = rng.standard_normal((3, 3, channels, filters), np.float32) * scale
        tensors[f"block{block}_conv{i}/kernel"] = np.float32(kernel)
        tensors[f"block{block}_conv{i}/bias"] = np.zeros(filters, np.float32)
        channels = filters
    path = tmp_path_factory.mktemp("weights") / "vgg16.npz"
    np.savez(path, **tensors)
    return path


@pytest.fixture(scope="module")
def finished(weights, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("table4") / "run"
    with pytest.MonkeyPatch.context() as patch:
        # The published size would take a CPU minutes.
        patch.setattr(methods, "VGG_SIZE", 32)
        text = command("--rows", *ROWS, "--weights", str(weights), workdir=workdir)
    return workdir, text


def test_every_row(finished):
    workdir, text = finished
    results = json.loads((workdir / "table4.json").read_text())
    assert results["positive"] == "yes"
    assert [row["name"] for row in results["rows"]] == ROWS
    for row in results["rows"]:
        assert row["quoted"] == quoted(row["name"])[0]
        assert row["seconds"] >= 0
        for protocol in ("P0", "P3"):
            cell = row[protocol]
            low, high = cell["interval"]
            assert 0 <= low <= cell["accuracy"] <= high <= 1
            assert 0 <= cell["auroc"] <= 1
        # P0 tests as many synthetic images as real ones.
        assert (row["P0"]["n"], row["P3"]["n"]) == (48, 24)
        assert row["name"] in text
    assert results["rows"][-1]["P3"]["accuracy"] == 0.5
    assert results["left_out"] == []
    for name in ("table4.png", "report.md", "study/predictions.csv"):
        assert (workdir / name).stat().st_size > 500


def test_numbers_follow_from_the_predictions(finished):
    """Accuracy and AUROC by scikit-learn, the paired test by hand, from predictions.csv."""
    workdir, _ = finished
    results = json.loads((workdir / "table4.json").read_text())
    with (workdir / "study" / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    by_fold = {}
    for row in results["rows"]:
        for protocol in ("P0", "P3"):
            own = [r for r in rows if (r["protocol"], r["classifier"]) == (protocol, row["name"])]
            label = np.array([int(r["label"]) for r in own])
            p = np.array([float(r["p"]) for r in own])
            assert row[protocol]["accuracy"] == pytest.approx(((p > 0.5) == label).mean())
            assert row[protocol]["auroc"] == pytest.approx(reference.roc_auc_score(label, p))
            if protocol == "P3":
                fold = np.array([int(r["fold"]) for r in own])
                hit = (p > 0.5) == label
                by_fold[row["name"]] = [hit[fold == k].mean() for k in (0, 1)]
    assert results["reference"] == "cnn_lstm_rows"
    raw = {}
    for row in results["rows"]:
        if row["name"] == "cnn_lstm_rows":
            assert row["p_value"] is row["difference"] is row["mcnemar_p"] is None
            continue
        gap = np.subtract(by_fold[row["name"]], by_fold["cnn_lstm_rows"])
        raw[row["name"]] = row["p_value"]
        assert row["p_value"] == pytest.approx(intervals.corrected_t(gap, 1.0))
        want = row["P3"]["accuracy"] - results["rows"][4]["P3"]["accuracy"]
        assert row["difference"] == pytest.approx(want)
    adjusted = dict(zip(raw, intervals.holm(list(raw.values())), strict=True))
    for row in results["rows"]:
        if row["name"] in adjusted:
            assert row["p_value_holm"] == pytest.approx(adjusted[row["name"]])
    assert ladder.verify(workdir / "study") == []


def test_again_is_complete(finished, weights):
    workdir, _ = finished
    saved = (workdir / "table4.json").read_bytes()
    text = command("--rows", *ROWS, "--weights", str(weights), workdir=workdir)
    assert "already complete" in text
    assert (workdir / "table4.json").read_bytes() == saved
    # The file may lie elsewhere.
    again = weights.with_name("again.npz")
    again.write_bytes(weights.read_bytes())
    text = command("--rows", *ROWS, "--weights", str(again), workdir=workdir)
    assert "already complete" in text
    other = weights.with_name("other.npz")
    with np.load(weights) as file:
        tensors = {name: file[name] for name in file.files}
    tensors["block1_conv1/bias"] = tensors["block1_conv1/bias"] + 1
    np.savez(other, **tensors)
    # The same name with other bytes is another run too.
    with pytest.raises(ConfigError, match="weights"):
        command("--rows", *ROWS, "--weights", str(other), workdir=workdir)


def test_vgg_from_scratch_is_named_so(tmp_path, monkeypatch):
    narrow = VGG16Tumour((2, 2, 3, 3, 3)), heads.Recipe(1, 16, OptimConfig("adam", 1e-4, l2=0.0))

    def fit_predict(train, label, test, num_classes, key):
        assert train.shape[1:] == test.shape[1:] == (64, 64, 1) and num_classes == 2
        return heads.fit_predict(*narrow, train, label, test, key)

    scratch = methods.METHODS["vgg16_scratch"]._replace(fit_predict=fit_predict)
    monkeypatch.setitem(methods.METHODS, "vgg16_scratch", scratch)
    monkeypatch.setattr(methods, "VGG_SIZE", 64)
    text = command("--rows", "vgg16_transfer", "--generator", "none", workdir=tmp_path / "run")
    assert "vgg16_transfer needs --weights: vgg16_scratch instead" in text
    results = json.loads((tmp_path / "run" / "table4.json").read_text())
    (row,) = results["rows"]
    assert row["name"] == "vgg16_scratch"
    assert "without them" in row["quoted_what"]
    assert row["p_value"] is None and results["reference"] is None
    # Without a generator P0 is the split by images.
    assert row["P0"]["n"] == row["P3"]["n"] == 24


def test_default_rows():
    cfg = config.tiny()
    rows, left_out = table4.rows_or_default(cfg, (), "", accelerator=False)
    assert rows == ("glrlm_cslbp_ann", "radiomics_svm", "hbtc_mlp", "cnn_lstm_rows")
    assert [one["name"] for one in left_out] == ["vgg16_scratch"]
    rows, left_out = table4.rows_or_default(cfg, (), "", accelerator=True)
    assert rows[2] == "vgg16_scratch" and not left_out
    rows, left_out = table4.rows_or_default(cfg, (), "file", accelerator=False)
    assert rows[2] == "vgg16_transfer" and not left_out
    both = change(cfg, "hybrid", sequence="both")
    assert table4.rows_or_default(both, (), "", accelerator=False)[0][-1] == "cnn_lstm_both"


HOST = "--rows radiomics_svm hbtc_mlp majority".split()


def test_stopped_and_gone_on(tmp_path, monkeypatch):
    """SIGTERM while the second method predicts: the rest ends in the same bits."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    command(*HOST, workdir=whole)
    predict, calls = methods.METHODS["hbtc_mlp"].fit_predict, []

    def stop(*arguments):
        calls.append(1)
        if len(calls) == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return predict(*arguments)

    stopping = methods.METHODS["hbtc_mlp"]._replace(fit_predict=stop)
    monkeypatch.setitem(methods.METHODS, "hbtc_mlp", stopping)
    with pytest.raises(StoppedError):
        command(*HOST, workdir=cut)
    assert not (cut / "table4.json").exists()
    text = command(*HOST, workdir=cut)
    assert "resumed at step " in text
    for name in ("study/predictions.csv", "study/ladder.json"):
        assert (cut / name).read_bytes() == (whole / name).read_bytes()
    # What was predicted before is not predicted again: two protocols of two folds.
    assert len(calls) == 4


def test_workdirs_of_other_things_are_left_alone(tmp_path):
    """And --fresh keeps the old report with its study."""
    workdir = tmp_path / "run"
    (workdir / "study").mkdir(parents=True)
    (workdir / "config.json").write_text("{}")
    (workdir / "report.md").write_text("a ladder's")
    with pytest.raises(ConfigError, match="holds files that are no table4 run"):
        command("--rows", "majority", workdir=workdir)
    assert (workdir / "report.md").read_text() == "a ladder's"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("precious")
    with pytest.raises(ConfigError, match="thesis.tex"):
        command("--rows", "majority", workdir=tmp_path / "mine")
    fresh = tmp_path / "fresh"
    command("--rows", "majority", "--generator", "none", workdir=fresh)
    old = (fresh / "report.md").read_bytes()
    command("--rows", "ridge", "--generator", "none", "--fresh", workdir=fresh)
    assert (fresh / "study_old1" / "table4_report.md").read_bytes() == old
    assert (fresh / "report.md").read_bytes() != old
    assert "Without a generator P0 is the split by images" in (fresh / "report.md").read_text()


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ("--rows metadata", ConfigError, "expected generator none"),
        ("--rows majority metadata", ConfigError, "rows has 'metadata': expected generator none"),
        ("--rows svm", ConfigError, "classifiers has 'svm': expected some of"),
        ("--rows majority --folds 1", ConfigError, "folds is 1"),
        ("--rows vgg16_transfer --weights absent.npz", DataError, "absent.npz"),
    ],
)
def test_refused(tmp_path, arguments, error, message):
    with pytest.raises(error, match=message):
        command(*arguments.split(), workdir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_metadata_without_a_generator(tmp_path):
    command("--rows", "metadata", "majority", "--generator", "none", workdir=tmp_path / "run")
    results = json.loads((tmp_path / "run" / "table4.json").read_text())
    assert [row["name"] for row in results["rows"]] == ["metadata", "majority"]


def test_a_method_of_ones_own_is_not_the_papers(tmp_path, monkeypatch):
    """Whatever its name: it is no reference, and nothing is quoted beside it."""
    (tmp_path / "own_of_table4.py").write_text(
        "import numpy as np\nfrom jaxbrain.study.methods import Classifier\n"
        "half = lambda cfg, train, weight, test, key: np.full((len(test), 2), 0.5)\n"
        "mine = Classifier('cnn_lstm_mine', half)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    own = "--rows own_of_table4:mine majority --generator none".split()
    command(*own, workdir=tmp_path / "run")
    results = json.loads((tmp_path / "run" / "table4.json").read_text())
    assert results["reference"] is None
    assert [row["name"] for row in results["rows"]] == ["cnn_lstm_mine", "majority"]
    assert all(row["quoted"] is row["p_value"] is None for row in results["rows"])


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_kaggle_set(kaggle, tmp_path):
    """B1, B2 and B4, one seed, five folds: every real image tested once."""
    workdir = tmp_path / "run"
    rows = "glrlm_cslbp_ann", "radiomics_svm", "hbtc_mlp"
    entry.main(["--data", str(kaggle), "--rows", *rows, "--workdir", str(workdir)])
    results = json.loads((workdir / "table4.json").read_text())
    for row in results["rows"]:
        assert (row["P0"]["n"], row["P3"]["n"]) == (506, 253)
        assert row["P0"]["accuracy"] > row["P3"]["accuracy"] > 0.6
