"""Runs side by side: hand-made ones, whose statistics a plain computation gives too."""

import csv
import io
import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from conftest import rows

from jaxbrain.commands import compare as entry
from jaxbrain.errors import ConfigError, DataError
from jaxbrain.runs import compare
from jaxbrain.scoring import scores

# Twelve images of two classes, the first two of each near-duplicates.
IDS = [f"{name}/{i}.png" for name in ("no", "yes") for i in range(6)]
SEEDS, FOLDS = 2, 3
RIDGE, NN1 = ("P3", "none", "ridge", "true"), ("P3", "none", "nn1", "true")


def answers(key, shift: int, rng, images=range(12)) -> list[list]:
    """Rows of predictions.csv: image i is tested in fold (i + seed + shift) mod 3."""
    found = []
    for seed, fold in itertools.product(range(SEEDS), range(FOLDS)):
        for i in images:
            if (i + seed + shift) % FOLDS == fold:
                p = round(float(rng.uniform()), 3)
                label = int(i >= 6)
                found.append([*key, seed, fold, IDS[i], "real", 0, label, p, 1 - p, p])
    return found


def make(
    path: Path, cells, seed: int = 0, *, shift: int = 0, kind: str = "ladder", folder: str = ""
) -> Path:
    """A finished run of some cells, as far as a comparison reads it."""
    rng = np.random.default_rng(seed)
    path.mkdir(parents=True)
    with (path / "images.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "class", "group", "sha256"])
        for i, name in enumerate(IDS):
            group = i - (i % 6 == 1)
            writer.writerow([folder + name, name.split("/")[0], group, f"sha{i}"])
    with (path / "predictions.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(scores.header(("no", "yes")))
        for key in cells:
            for row in answers(key, shift, rng):
                row[6] = folder + row[6]
                writer.writerow(row)
    about = {"command": f"jaxbrain {kind} --data D --preset recommended", "commit": "0123456789ab"}
    about |= {"kind": kind, "config": {"data": {"test_fraction": 0.3}}}
    results = {"data": {"source": "folder"}, "test_over_train": 0.5}
    (path / "config.json").write_text(json.dumps(about))
    (path / f"{'results' if kind == 'paper' else kind}.json").write_text(json.dumps(results))
    (path / "STATUS").write_text("done\n")
    return path


def silent():
    from rich.console import Console

    return Console(file=io.StringIO(), width=80)


def plain(one: Path, two: Path, first, second) -> tuple[float, float]:
    """(mean difference, p of the corrected resampled t test), by their definitions."""
    hits = []
    for path, key in ((one, first), (two, second)):
        found = {}
        for row in rows(path / "predictions.csv"):
            own = tuple(row[name] for name in ("protocol", "generator", "classifier", "labels"))
            if own == key:
                right = (float(row["p_yes"]) > 0.5) == (row["label"] == "1")
                found.setdefault((row["seed"], row["fold"]), []).append(right)
        hits.append([np.mean(found[test]) for test in sorted(found)])
    gap = np.subtract(*hits)
    t = gap.mean() / np.sqrt((1 / len(gap) + 0.5) * gap.var(ddof=1))
    return gap.mean(), 2 * scipy.stats.t.sf(abs(t), len(gap) - 1)


def test_paired_statistics_are_the_plain_ones(tmp_path):
    one = make(tmp_path / "one", [RIDGE, NN1], 1)
    # The same pictures under other paths.
    two = make(tmp_path / "two", [RIDGE, NN1], 2, folder="new/")
    results = compare.compare([one, two], tmp_path / "out", console=silent())
    assert results["apart"] == []
    pairs = results["pairs"]
    assert [pair["first_method"] for pair in pairs] == [["none", "ridge"], ["none", "nn1"]]
    wanted = [plain(one, two, key, key) for key in (RIDGE, NN1)]
    for pair, (difference, p) in zip(pairs, wanted, strict=True):
        assert pair["difference"] == pytest.approx(difference, abs=1e-12)
        assert pair["corrected_t_p"] == pytest.approx(p, rel=1e-9)
        assert pair["interval"][0] <= difference <= pair["interval"][1]
        assert (pair["num_tests"], pair["num_tests_of_one"], pair["note"]) == (6, 0, "")
    small, large = sorted(p for _, p in wanted)
    holm = sorted(pair["corrected_t_p_holm"] for pair in pairs)
    assert holm == pytest.approx([min(2 * small, 1), min(max(2 * small, large), 1)])


def test_cells_are_those_of_the_runs(tmp_path):
    paths = [make(tmp_path / name, [RIDGE], i) for i, name in enumerate(("one", "two", "three"))]
    results = compare.compare(paths, tmp_path / "out", console=silent())
    assert len(results["pairs"]) == 3
    table = rows(tmp_path / "out" / "comparison.csv")
    assert [row["run"] for row in table] == ["1", "2", "3"]
    for path, row in zip(paths, table, strict=True):
        images = scores.read_groups(path / "images.csv")
        ((cell,), _) = scores.cells(scores.read(path / "predictions.csv", images))
        assert float(row["accuracy"]) == cell["accuracy"]
        assert [float(row["low"]), float(row["high"])] == cell["interval"]
        assert float(row["auroc"]) == cell["metrics"]["auroc"]
        assert (row["n"], row["preset"], row["seeds"]) == ("24", "recommended", "2")
        assert (row["commit"], row["data"]) == ("0123456789ab", "folder: 6 no, 6 yes")


def test_other_folds_and_other_images_have_no_p(tmp_path):
    one = make(tmp_path / "one", [RIDGE])
    moved = make(tmp_path / "moved", [RIDGE], shift=1)
    other = make(tmp_path / "other", [RIDGE])
    text = (other / "images.csv").read_text()
    (other / "images.csv").write_text(text.replace("sha3", "another"))
    results = compare.compare([one, moved, other], tmp_path / "out", console=silent())
    assert results["pairs"] == []
    why = [pair["why"] for pair in results["apart"]]
    assert why[0] == (
        "other folds: 6 of 6 test sets differ; of seed 0, fold 0, 4 and 4 images, 0 are in both"
    )
    images = "other images: of 12 and 12 the runs share 11 (the same pixels, of the same class)"
    assert why[1:] == [images, images]
    page = (tmp_path / "out" / "comparison.md").read_text()
    assert "runs 1 and 3: not compared: other images: of 12 and 12" in page
    assert "Differences" not in page and "\n- runs 1 and 2: not compared: other folds" not in page
    assert [row["note"] for row in rows(tmp_path / "out" / "pairs.csv")] == why


def test_seeds_of_one_run_alone_are_left_out(tmp_path):
    one, two = make(tmp_path / "one", [RIDGE], 1), make(tmp_path / "two", [RIDGE], 2)
    own = [row for row in rows(two / "predictions.csv") if row["seed"] == "0"]
    with (two / "predictions.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(own[0]))
        writer.writeheader()
        writer.writerows(own)
    results = compare.compare([one, two], tmp_path / "out", console=silent())
    (pair,) = results["pairs"]
    assert (pair["num_tests"], pair["num_tests_of_one"]) == (3, 3)
    page = (tmp_path / "out" / "comparison.md").read_text()
    assert "over 3 of 6 seeds and folds, those that both have" in page


def test_synthetic_tests_and_other_methods(tmp_path):
    drawn = ("P0", "linear", "ridge", "true")
    one, two = make(tmp_path / "one", [NN1, drawn], 1), make(tmp_path / "two", [RIDGE, drawn], 2)
    for path in (one, two):
        text = (path / "predictions.csv").read_text()
        lines = text.splitlines()
        first = next(i for i, line in enumerate(lines) if line.startswith("P0"))
        lines[first] = lines[first].replace("no/0.png,real,0", "synthetic/no/0000,synthetic,")
        assert lines[first] not in text
        (path / "predictions.csv").write_text("\n".join(lines) + "\n")
    results = compare.compare([one, two], tmp_path / "out", console=silent())
    assert [(x["protocol"], x["why"][:14]) for x in results["apart"]] == [("P0", "each run tests")]
    # Each has one method under P3: they are compared.
    (pair,) = results["pairs"]
    assert (pair["first_method"][1], pair["second_method"][1]) == ("nn1", "ridge")
    assert pair["corrected_t_p"] == pytest.approx(plain(one, two, NN1, RIDGE)[1])


def test_methods_that_none_shares_are_compared_on_request(tmp_path):
    other = ("P3", "none", "cnn", "true"), ("P3", "none", "majority", "true")
    paths = make(tmp_path / "one", [RIDGE, NN1]), make(tmp_path / "two", other)
    results = compare.compare(paths, tmp_path / "out", console=silent())
    assert results["pairs"] == [] and "no method in common" in results["apart"][0]["why"]
    results = compare.compare(paths, tmp_path / "out", every=True, console=silent())
    assert len(results["pairs"]) == 4


def test_what_is_printed_fits_and_what_is_written(tmp_path, capsys):
    name = "cnn_lstm_bidirectional"
    cells = [("P3", "cgan@filtered", name, "true"), ("P3", "cgan@filtered", name, "shuffled")]
    one, two = make(tmp_path / "one", cells, 1), make(tmp_path / "two", cells, 2)
    entry.main([str(one), str(two), "--out", str(tmp_path / "out")])
    out = capsys.readouterr().out
    # Paths are as long as they are.
    table = [line for line in out.splitlines() if str(tmp_path) not in line]
    assert max(map(len, table)) <= 80
    # Long names are folded after a sign between words.
    assert "bidirectional" in out and "cgan@" in out and "filtered " in out
    assert "run 2     ladder  preset recommended" in out
    assert "shuffled" not in out
    tex = (tmp_path / "out" / "comparison.tex").read_text()
    assert r"cnn\_lstm\_bidirectional + cgan@filtered & 1" in tex
    assert tex.count(r"\toprule") == tex.count(r"\end{tabular}") == 3
    assert "<h1>Runs side by side</h1>" in (tmp_path / "out" / "comparison.html").read_text()
    assert "P3, shuffled" in (tmp_path / "out" / "comparison.md").read_text()
    # An earlier comparison may be written again, and among runs/* what is no run is named.
    entry.main([*map(str, (one, two, tmp_path / "out")), "--out", str(tmp_path / "out")])
    said = capsys.readouterr().out
    assert f"note   run {tmp_path / 'out'}: holds no config.json" in said and ": left out" in said
    assert "run 2     ladder" in said and "run 3" not in said
    with pytest.raises(ConfigError, match="holds files that are no comparison"):
        entry.main([str(one), str(two), "--out", str(one)])


def test_runs_in_folders_of_a_run(tmp_path):
    one, two = make(tmp_path / "one", [RIDGE], 1), make(tmp_path / "t4" / "study", [RIDGE], 2)
    with pytest.raises(DataError, match=r"t4: is unfinished \(table4.json is missing\)"):
        compare.compare([one, tmp_path / "t4"], tmp_path / "out", console=silent())
    (two.parent / "table4.json").write_text("{}")
    results = compare.compare([one, two.parent], tmp_path / "out", console=silent())
    assert [run["name"] for run in results["runs"]] == ["one", "t4/study"]
    assert results["runs"][1]["kind"] == "table4" and len(results["pairs"]) == 1


def test_refusals(tmp_path):
    one, out = make(tmp_path / "one", [RIDGE]), tmp_path / "out"

    def refused(kind, text, *runs):
        with pytest.raises(kind, match=text):
            compare.compare(runs, out, console=silent())
        assert not out.exists()

    def changed(name, file, text):
        path = tmp_path / name
        shutil.copytree(one, path)
        (path / file).write_text(text)
        return path

    refused(ConfigError, "runs: found 1: expected two", one)
    refused(ConfigError, "one: is named twice", one, tmp_path / "x" / ".." / "one")
    refused(DataError, "none: there is no such directory", one, tmp_path / "none")
    refused(DataError, "holds no config.json: expected .* table4 or ablations", one, tmp_path)
    stopped = changed("stopped", "STATUS", "stopped: SIGTERM\n")
    refused(DataError, r"unfinished \(STATUS: stopped: SIGTERM\): .*--preset", one, stopped)
    gan = changed("gan", "config.json", '{"kind": "train_gan"}')
    refused(DataError, "is of train_gan, which answers no test images", one, gan)
    header = ",".join(scores.header(("a", "b"))) + "\n"
    refused(DataError, "holds no answers", one, changed("empty", "predictions.csv", header))
    bare = changed("bare", "predictions.csv", "")
    refused(DataError, "predictions.csv, line 0", one, bare)
    (bare / "predictions.csv").unlink()
    refused(DataError, "bare: has no predictions.csv", one, bare)
    text = (one / "predictions.csv").read_text().replace("p_yes", "p_maybe")
    other = changed("other", "predictions.csv", text)
    refused(DataError, r"other classes \(.*one: no, yes; .*other: no, maybe\)", one, other)
