"""A search in a work directory: nothing looks at a test fold, its numbers, resume, refusals."""

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from conftest import change, rows, said, small
from rich.console import Console

import jaxbrain
from jaxbrain.commands import search as entry
from jaxbrain.config.studies import SearchConfig
from jaxbrain.data import phantom
from jaxbrain.data.records import from_arrays
from jaxbrain.errors import ConfigError, DataError
from jaxbrain.runs import search

FAST = (
    "--seeds 2 --folds 4 --inner-folds 2 --shuffled --data.n-per-class 30 --data.image-size 32 "
    "--gan.image-size 32"
).split()
ARMS = {
    "ridge": {"classifier": "ridge"},
    "nn1": {"classifier": "nn1"},
    "again": {"classifier": "ridge"},
    "majority": {"classifier": "majority"},
}
QUIET = {"console": Console(file=io.StringIO())}


def run(*arguments) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        entry.main([*map(str, arguments), "--cache", jax.config.jax_compilation_cache_dir])
    return out.getvalue()


@pytest.fixture(scope="module")
def arms(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("arms") / "arms.json"
    path.write_text(json.dumps(ARMS))
    return path


@pytest.fixture(scope="module")
def finished(arms, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("search") / "run"
    return workdir, run(*FAST, "--arms", arms, "--workdir", workdir)


def read(workdir: Path) -> dict:
    return json.loads((workdir / "search.json").read_text())


def test_files_and_what_is_printed(finished):
    workdir, out = finished
    wanted = "search.json report.md search.png predictions.csv inner.csv images.csv splits.jsonl"
    for name in wanted.split():
        assert (workdir / name).stat().st_size > 500, name
    for text in ("chosen inside", "(nested)", "Control: shuffled labels", "selection effect"):
        assert text in out and text in (workdir / "report.md").read_text()
    own = out[out.index("\nrun       4 arms") :].splitlines()
    assert max(len(line) for line in own if not line.startswith(("wrote", "verify", "open"))) <= 80
    assert (workdir / "STATUS").read_text() == "done\n"
    found = read(workdir)
    assert (found["split"], found["seeds"], found["folds"], found["inner_folds"]) == (
        ("kfold", 2, 4, 2)
    )
    assert found["arms"] == ARMS and found["positive"] == "yes"
    # Of each arm 2 seeds x 2 kinds of labels x 4 folds, with 2 inner ones each.
    splits = [json.loads(line) for line in (workdir / "splits.jsonl").read_text().splitlines()]
    assert len(splits) == 2 * 2 * 4 * 3
    assert "128 of them inner" in out


def test_chosen_answers_are_the_chosen_arms(finished):
    """Every image is tested once a seed; accuracies by hand."""
    workdir, _ = finished
    found = read(workdir)
    table: dict[tuple, list] = {}
    for row in rows(workdir / "predictions.csv"):
        assert row["protocol"] == "P3" and row["generator"] == "none"
        place = row["classifier"], row["labels"], int(row["seed"]), int(row["fold"])
        table.setdefault(place, []).append((row["id"], row["label"], row["p"], row["twin"]))
    assert len(found["choices"]) == 2 * 2 * 4
    for one in found["choices"]:
        place = one["labels"], one["seed"], one["fold"]
        assert table["chosen", *place] == table[one["arm"], *place]
        assert one["arm"] != "again", "as good as ridge, and listed after it"
    for one in found["searches"]:
        own = [v for k, v in table.items() if k[:2] == ("chosen", one["labels"])]
        hit = [(float(p) > 0.5) == (label == "1") for fold in own for _, label, p, _ in fold]
        assert len(hit) == 2 * 60
        assert one["chosen"]["accuracy"] == pytest.approx(np.mean(hit))
        best = max(row["outer"]["accuracy"] for row in one["arms"])
        assert one["naive"]["accuracy"] == best
        effect = one["selection_effect"]
        assert effect["difference"] == pytest.approx(best - one["chosen"]["accuracy"])
        assert effect["interval"][0] <= effect["difference"] <= effect["interval"][1]
        assert sum(row["chosen"] for row in one["arms"]) == 8


def test_every_arm_has_the_same_folds_and_no_copy_is_inside(finished):
    workdir, _ = finished
    group = {row["id"]: row["group"] for row in rows(workdir / "images.csv")}
    tested: dict[tuple, dict[str, list]] = {}
    judged: dict[tuple, dict[str, list]] = {}
    for name, kept, of in (("predictions.csv", tested, 1), ("inner.csv", judged, 2)):
        for row in rows(workdir / name):
            place = row["labels"], row["seed"], int(row["fold"]) // of
            kept.setdefault(place, {}).setdefault(row["classifier"], []).append(row["id"])
    assert len(tested) == 16 and tested.keys() == judged.keys()
    for place, by_arm in tested.items():
        assert set(by_arm) == {*ARMS, "chosen"} and set(judged[place]) == set(ARMS)
        (test,) = {tuple(ids) for ids in by_arm.values()}
        (inner,) = {tuple(sorted(ids)) for ids in judged[place].values()}
        # The training images, each once.
        assert sorted({*inner} | {*test}) == sorted(group) and len(inner) + len(test) == 60
        assert not {group[i] for i in test} & {group[i] for i in inner}


def test_verify(finished, tmp_path):
    workdir, _ = finished
    assert search.verify(workdir) == []
    names = "search.json", "report.md", "predictions.csv", "inner.csv", "images.csv"
    for name in names:
        (tmp_path / name).write_bytes((workdir / name).read_bytes())

    def swapped(name: str, mark: str) -> list[str]:
        """The differences when an answer's probabilities are exchanged."""
        lines = (tmp_path / name).read_text().splitlines()
        place = next(i for i, line in enumerate(lines) if mark in line)
        *head, p, no, yes = lines[place].split(",")
        lines[place] = ",".join([*head, no, yes, no])
        (tmp_path / name).write_text("\n".join(lines) + "\n")
        found = search.verify(tmp_path)
        (tmp_path / name).write_bytes((workdir / name).read_bytes())
        return found

    assert any("inner_accuracy.nn1" in text for text in swapped("inner.csv", ",nn1,true,0,0,"))
    found = swapped("predictions.csv", ",chosen,true,0,0,")
    assert any("chosen.accuracy" in text for text in found)
    assert any("chosen, true labels, seed 0, fold 0: not the answers of" in text for text in found)
    assert any(text.startswith("report.md, line ") for text in found)
    changed = read(workdir)
    changed["searches"][0]["selection_effect"]["difference"] += 0.01
    (tmp_path / "search.json").write_text(json.dumps(changed))
    (line,) = search.verify(tmp_path)
    assert "searches[0].selection_effect.difference" in line
    (tmp_path / "inner.csv").unlink()
    with pytest.raises(DataError, match=r"inner\.csv: missing: expected .* a search run"):
        search.verify(tmp_path)
    with pytest.raises(SystemExit) as stop:
        run("--verify", workdir)
    assert stop.value.code == 0


def test_a_stopped_search_goes_on(finished, arms, tmp_path, monkeypatch):
    """Stopped after five parts and started again: no part is made twice, and every file is
    that of the search that was not stopped."""
    whole, _ = finished
    workdir, made, save = tmp_path / "run", [], np.savez_compressed

    def save_some(file, **arrays):
        if len(made) == limit:
            raise KeyboardInterrupt
        made.append(json.loads(arrays["about"].item())["names"])
        save(file, **arrays)

    monkeypatch.setattr(np, "savez_compressed", save_some)
    limit = 5
    with pytest.raises(KeyboardInterrupt):
        run(*FAST, "--arms", arms, "--workdir", workdir)
    assert not (workdir / "search.json").exists() and not (workdir / "inner.csv").exists()
    limit = -1
    text = run(*FAST, "--arms", arms, "--workdir", workdir)
    assert f"\nresumed at step {sum(map(len, made[:5]))} of 192 " in text
    names = [name for members in made for name in members]
    assert len(names) == len(set(names)) == 192
    for name in "predictions.csv inner.csv search.json report.md splits.jsonl".split():
        assert said(workdir / name) == said(whole / name)
    assert "already complete" in run(*FAST, "--arms", arms, "--workdir", workdir)
    other = tmp_path / "other.json"
    other.write_text(json.dumps(ARMS | {"more": {"classifier": "nn1"}}))
    with pytest.raises(ConfigError, match=r"arms\.more: None there"):
        run(*FAST, "--arms", other, "--workdir", workdir)
    with pytest.raises(ConfigError, match="inner_folds: 2 there, 3 now"):
        run(*FAST, "--inner-folds", "3", "--arms", arms, "--workdir", workdir)


def test_shares_are_joined(finished, arms, tmp_path):
    whole, _ = finished
    for share in ("1/2", "2/2"):
        run(*FAST, "--arms", arms, "--workdir", tmp_path / "run", "--shard", share)
    run(*FAST, "--arms", arms, "--workdir", tmp_path / "run")
    for name in "predictions.csv inner.csv search.json".split():
        assert (tmp_path / "run" / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.parametrize(
    "text, message",
    [
        ("{", r"arms .*bad\.json: is no JSON"),
        ('{"a": {"classifier": "ridge"}}', "arms has 1: expected two arms or more"),
        (
            '{"a": {"classifier": "cnn", "classifier.epoch": 3}, "b": {"classifier": "nn1"}}',
            "arm 'a': unknown field classifier.epoch: did you mean classifier.epochs?",
        ),
        (
            '{"a": {"classifier": "cnn", "data.crop": "head"}, "b": {"classifier": "nn1"}}',
            "arm 'a': data.crop is the same for all arms",
        ),
    ],
)
def test_bad_files_of_arms(tmp_path, text, message):
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(ConfigError, match=message):
        run(*FAST, "--arms", tmp_path / "bad.json", "--workdir", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_flags_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="arms .*absent.json: cannot be read"):
        run("--arms", tmp_path / "absent.json", "--workdir", tmp_path / "run")
    with pytest.raises(ConfigError, match="inner_folds is 1: expected a whole number from 2"):
        run("--inner-folds", "1")
    with pytest.raises(ConfigError, match="unknown argument --generators"):
        run("--generators", "cgan")
    with pytest.raises(ConfigError, match="shard: expected with --workdir"):
        run("--shard", "1/2")
    with pytest.raises(ConfigError, match="another run|another configuration|kind"):
        (tmp_path / "ladder").mkdir()
        (tmp_path / "ladder" / "config.json").write_text('{"kind": "ladder"}')
        (tmp_path / "ladder" / "images.csv").write_text("id,class,group,sha256\n")
        run(*FAST, "--workdir", tmp_path / "ladder")


def test_three_classes(tmp_path):
    """Every number follows from the predictions, of any number of classes."""
    rng = np.random.default_rng(0)
    label = np.repeat(np.int32([0, 1, 2]), 8)
    image = (rng.integers(0, 120, (24, 32, 32, 1)) + 60 * label[:, None, None, None]).astype(
        np.uint8
    )
    data = phantom.dataset(jax.random.key(0), 12, 32, 0.5)._replace(image=image, label=label)
    records = from_arrays(data, ("a", "b", "c"), "test")
    arms = {name: {"classifier": name} for name in ("ridge", "nn1")}
    options = SearchConfig(folds=2, inner_folds=2)
    found = search.search(
        change(small(), "data", image_size=32),
        data,
        records,
        tmp_path,
        arms=arms,
        options=options,
        **QUIET,
    )
    assert found["positive"] is None and found["searches"][0]["chosen"]["n"] == 24
    assert search.verify(tmp_path) == []


def test_the_entry_points(tmp_path, arms):
    """As a process, beside `--help` of both."""
    root = Path(jaxbrain.__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": str(root), "JAX_PLATFORMS": "cpu"}
    few = "--seeds 1 --folds 2 --inner-folds 2 --data.n-per-class 12 --data.image-size 32".split()
    command = [sys.executable, "-m", "experiments.search", *few, "--gan.image-size", "32"]
    command += ["--arms", str(arms), "--workdir", str(tmp_path / "run"), "--cache", "off"]
    done = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    assert "selection effect" in done.stdout
    assert done.stderr == "search  loads JAX\ndata   lists the copies among 24 images\n"
    about = json.loads((tmp_path / "run" / "config.json").read_text())
    assert about["kind"] == "search"
    assert about["command"].startswith("python -m experiments.search --seeds 1")
    assert jaxbrain.search is search
