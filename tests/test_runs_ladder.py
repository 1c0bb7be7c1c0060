"""The ladder's entry point: files, honest numbers, resume, verification, refusals, memory."""

import contextlib
import csv
import fcntl
import io
import json
import os
import shutil
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest
from conftest import said
from PIL import Image

from jaxbrain.commands import ablations as ablations_entry
from jaxbrain.commands import ladder as entry
from jaxbrain.errors import ConfigError, DataError, StoppedError
from jaxbrain.reports import ladder as report
from jaxbrain.reports import ladder_figures
from jaxbrain.reports.page import markdown
from jaxbrain.runs import figures, ladder
from jaxbrain.study import methods

FAST = "--seeds 6 --data.n-per-class 60 --data.image-size 32 --gan.image-size 32".split()
NETS = (
    "--data.n-per-class 10 --data.image-size 16 --gan.image-size 32 --gan.steps 3 "
    "--gan.filters 4 --gan.projection 8 --gan.kernel-size 3 --gan.batch-size 8 "
    "--classifier.epochs 1 --classifier.batch-size 16 --cnn.filters 3 4"
).split()


def run(module, *arguments) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        module.main([*arguments, "--cache", jax.config.jax_compilation_cache_dir])
    return out.getvalue()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("ladder") / "run"
    return workdir, run(entry, *FAST, "--workdir", str(workdir))


def cells(workdir):
    names = "protocol", "generator", "classifier", "labels"
    results = json.loads((workdir / "ladder.json").read_text())
    return {tuple(cell[name] for name in names): cell for cell in results["cells"]}, results


def test_files_and_what_is_printed(finished):
    workdir, out = finished
    wanted = {"config.json", "env.json", "images.csv", "splits.jsonl", "predictions.csv"}
    wanted |= {"ladder.json", "ladder.png", "report.md", "parts", "images", "STATUS", "log.txt"}
    wanted |= {"doubts.png", "copies", "report.html", "tables"}
    # Nothing trained, so there is no log of reports, no checkpoint and no picture.
    wanted |= {"samples"}
    assert {path.name for path in workdir.iterdir()} == wanted
    for text in ("P3 without synthesis", "shuffled, P0", "What each leak is worth", "L3+L4"):
        assert text in out
    with Image.open(workdir / "ladder.png") as image:
        assert image.size[0] > 1000
        assert np.asarray(image.convert("L")).std() > 10
    splits = [json.loads(line) for line in (workdir / "splits.jsonl").read_text().splitlines()]
    tested = [s for s in splits if s.get("protocol") == "P3"]
    with (workdir / "images.csv").open(newline="") as file:
        group = [row["group"] for row in csv.DictReader(file)]
    assert tested
    for split in tested:
        seen = {group[i] for i in split["train"] if i < len(group)}
        assert not seen & {group[i] for i in split["test"]}


def test_the_ladder_finds_what_was_planted(finished):
    """Copies are worth something under P2 and nothing can be learnt from shuffled labels
    under P3; all groups are found."""
    found, results = cells(finished[0])
    assert results["groups"] == {"total": 78, "no": 39, "yes": 39}
    for generator in ("linear", "none"):
        (leak,) = [
            row
            for row in results["leaks"]
            if (row["generator"], row["classifier"], row["leak"]) == (generator, "ridge", "L3+L4")
        ]
        assert leak["interval"][0] > 0
    low, high = found["P3", "linear", "ridge", "shuffled"]["interval"]
    assert low < 0.5 < high
    assert found["P0", "linear", "ridge", "shuffled"]["interval"][0] > 0.7
    assert found["P2", "none", "nn1", "true"]["accuracy_twin"] > 0.95
    zero = found["P0", "linear", "ridge", "true"]
    share = 1 - zero["n_real"] / zero["n"]
    parts = share * zero["accuracy_synthetic"] + (1 - share) * zero["accuracy_real"]
    assert zero["accuracy"] == pytest.approx(parts)


def test_without_copies_p3_is_p2(tmp_path):
    run(entry, *FAST, "--data.twins", "0", "--workdir", str(tmp_path / "run"))
    _, results = cells(tmp_path / "run")
    assert results["groups"]["total"] == 120
    for row in results["leaks"]:
        if row["leak"] == "L3+L4" and row["classifier"] in ("ridge", "nn1"):
            assert row["interval"][0] <= 0 <= row["interval"][1]


def test_verify(finished, tmp_path):
    workdir, _ = finished
    assert ladder.verify(workdir) == []
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("ladder.json", "report.md", "predictions.csv", "images.csv"):
        (copy / name).write_bytes((workdir / name).read_bytes())
    lines = (copy / "predictions.csv").read_text().splitlines()
    place = next(i for i, line in enumerate(lines) if ",ridge,true," in line)
    *row, p, no, yes = lines[place].split(",")
    assert p == yes
    lines[place] = ",".join([*row, no, yes, no])
    (copy / "predictions.csv").write_text("\n".join(lines) + "\n")
    differences = ladder.verify(copy)
    assert any("accuracy" in text for text in differences)
    with pytest.raises(SystemExit) as stop:
        run(entry, "--verify", str(copy))
    assert stop.value.code == 1
    (copy / "predictions.csv").write_bytes((workdir / "predictions.csv").read_bytes())
    page = (workdir / "report.md").read_text().splitlines()
    page[2] = page[2].replace("78 groups", "80 groups")
    (copy / "report.md").write_text("\n".join(page) + "\n")
    assert ladder.verify(copy) == ["report.md, line 3: differs from what the numbers say"]
    with pytest.raises(SystemExit) as stop:
        run(entry, "--verify", str(workdir))
    assert stop.value.code == 0
    (copy / "report.md").unlink()
    with pytest.raises(DataError, match=r"report\.md: missing"):
        ladder.verify(copy)


def test_a_stopped_study_goes_on(finished, tmp_path, monkeypatch):
    """Stopped after four parts and started again: no part is made twice, and every file is
    that of the run that was not stopped."""
    whole, _ = finished
    workdir, made = tmp_path / "run", []
    save = np.savez_compressed

    def stop_early(file, **arrays):
        if len(made) == 4:
            raise KeyboardInterrupt
        save_rest(file, **arrays)

    def save_rest(file, **arrays):
        made.append(json.loads(arrays["about"].item())["names"])
        save(file, **arrays)

    monkeypatch.setattr(np, "savez_compressed", stop_early)
    with pytest.raises(KeyboardInterrupt):
        run(entry, *FAST, "--workdir", str(workdir))
    assert not (workdir / "ladder.json").exists()
    assert not (workdir / "predictions.csv").exists()
    first = list(made)

    monkeypatch.setattr(np, "savez_compressed", save_rest)
    text = run(entry, *FAST, "--workdir", str(workdir))
    done = sum(map(len, first))
    assert f"\nresumed at step {done} of " in text
    names = [name for members in made for name in members]
    assert len(names) == len(set(names))
    assert made[:4] == first
    for name in ("predictions.csv", "ladder.json", "report.md", "splits.jsonl"):
        assert said(workdir / name) == said(whole / name)


def test_refusals(finished, tmp_path):
    workdir, _ = finished
    with pytest.raises(ConfigError, match=r"study\.seeds: 6 there, 7 now"):
        run(entry, *FAST, "--seeds", "7", "--workdir", str(workdir))
    with pytest.raises(ConfigError, match="image .*: (added|removed|changed)"):
        run(entry, *FAST, "--data.twins", "0.1", "--workdir", str(workdir))
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(ConfigError, match="no run"):
        run(entry, *FAST, "--workdir", str(tmp_path))
    with pytest.raises(DataError, match=r"ladder\.json: missing"):
        run(entry, "--verify", str(tmp_path))
    with pytest.raises(ConfigError, match="generators has 'gan'"):
        run(entry, "--generators", "gan", "--workdir", str(tmp_path / "new"))
    with pytest.raises(ConfigError, match="classifiers has 'svm'"):
        run(entry, "--classifiers", "svm", "--workdir", str(tmp_path / "new"))
    with pytest.raises(ConfigError, match="save_every is -1.0: expected seconds, 0 or more"):
        run(entry, *FAST, "--save-every", "-1", "--workdir", str(tmp_path / "new"))
    assert not (tmp_path / "new").exists()
    with pytest.raises(ConfigError, match="did you mean --generators"):
        run(entry, "--generator", "cgan")


def folder(root, *names):
    """Four pictures of noise a class, brighter class by class."""
    rng = np.random.default_rng(0)
    for k, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for i in range(4):
            noise = rng.integers(0, 100, (32, 32), np.uint8)
            Image.fromarray(noise + np.uint8(50 * k)).save(root / name / f"{i}.png")
    return str(root)


def test_three_classes_of_a_folder(tmp_path):
    """Every number follows from the predictions; the probe has two classes."""
    root, workdir = folder(tmp_path / "set", "no", "glioma", "yes"), tmp_path / "run"
    few = ["--seeds", "2", "--classifiers", "ridge", "nn1", "--data.image-size", "32"]
    run(entry, "--data", root, *few, "--workdir", str(workdir))
    found, results = cells(workdir)
    assert results["data"]["found"] == {"no": 4, "glioma": 4, "yes": 4}
    assert results["positive"] is None
    with (workdir / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        p = [row[f"p_{name}"] for name in ("no", "glioma", "yes")]
        assert (p[2] == "") == (row["labels"] == "origin")
        assert sum(map(float, filter(None, p))) == pytest.approx(1.0)
    for at, cell in found.items():
        own = [r for r in rows if tuple(list(r.values())[:4]) == at]
        p = np.array([[float(r[f"p_{k}"] or 0) for k in ("no", "glioma", "yes")] for r in own])
        hit = p.argmax(1) == [int(r["label"]) for r in own]
        assert (cell["n"], cell["accuracy"]) == (len(own), pytest.approx(hit.mean())), at
    assert {row["label"] for row in rows if row["labels"] == "true"} == {"0", "1", "2"}
    assert ladder.verify(workdir) == []


def test_one_class_is_refused(tmp_path):
    with pytest.raises(DataError, match="one class only: yes"):
        run(entry, "--data", folder(tmp_path / "set", "yes"), "--workdir", str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_damaged_part_is_named_and_made_again(finished, tmp_path):
    workdir = tmp_path / "run"
    arguments = [*FAST, "--classifiers", "nn1", "--generators", "none", "--workdir", str(workdir)]
    run(entry, *arguments)
    whole = (workdir / "predictions.csv").read_bytes()
    text = run(entry, *arguments)
    assert "\nalready complete" in text
    # With shuffled labels, and with true ones.
    other, part = sorted((workdir / "parts").iterdir())
    assert "shuffled" in other.name
    content = part.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    for damaged in (content[:100], b"", flipped):
        part.write_bytes(damaged)
        text = run(entry, *arguments)
        assert f"damaged {part}: " in text
        assert "\nresumed at step 12 of 24 (cells)" in text
        assert (workdir / "predictions.csv").read_bytes() == whole
        assert part.with_suffix(".damaged").read_bytes() == damaged


def test_sigterm_ends_a_study_after_its_part(tmp_path, monkeypatch):
    save = np.savez_compressed

    def stopped(file, **arrays):
        save(file, **arrays)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(np, "savez_compressed", stopped)
    with pytest.raises(StoppedError, match="SIGTERM after 12 of 222 cells, saved"):
        run(entry, *FAST, "--workdir", str(tmp_path / "run"))
    monkeypatch.undo()
    assert "stopped: SIGTERM" in (tmp_path / "run" / "STATUS").read_text()
    text = run(entry, *FAST, "--workdir", str(tmp_path / "run"))
    assert "\nresumed at step " in text


def test_ablations(tmp_path, monkeypatch):
    """Every row is there and is the cell it names, each study verifies. Trainings are
    stood in for by draws of their own key: `test_study_study` holds them to single runs."""

    def drawn(cfg, train, weight, test, key):
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        p = rng.random(len(test))
        return np.stack([1.0 - p, p], axis=1)

    for name, one in methods.CLASSIFIERS.items():
        if one.trains:
            stand_in = methods.Classifier(name, drawn)
            monkeypatch.setitem(methods.CLASSIFIERS, name, stand_in)
    workdir = tmp_path / "run"
    arguments = [*NETS, "--data.image-size", "48", "--data.n-per-class", "30"]
    run(ablations_entry, *arguments, "--generator", "linear", "--workdir", str(workdir))
    results = json.loads((workdir / "ablations.json").read_text())
    assert results["positive"] == "yes"
    kinds = {row["ablation"] for row in results["rows"]}
    assert kinds == {
        "GAN",
        "LSTM",
        "reading of Table 1",
        "synthetic images per class",
        "shuffled labels",
        "tested under P0",
        "real or synthetic",
        "real or synthetic, degraded reals",
        "degraded reals",
    }
    doses = [r["setting"] for r in results["rows"] if "per class" in r["ablation"]]
    assert doses == ["0", "50", "100", "200", "400"]
    found, _ = cells(workdir / "readings")
    row = next(r for r in results["rows"] if (r["ablation"], r["setting"]) == ("LSTM", "without"))
    want = found["P3", "linear", "cnn", "true"]
    assert [row[name] for name in ("accuracy", "interval", "n")] == [
        want[name] for name in ("accuracy", "interval", "n")
    ]
    with Image.open(workdir / "ablations.png") as image:
        assert np.asarray(image.convert("L")).std() > 10
    for name in ("readings", "doses", "degraded"):
        assert ladder.verify(workdir / name) == []
    with pytest.raises(ConfigError, match="generator"):
        run(ablations_entry, *NETS, "--generator", "none")


MEMORY = """
import resource, sys
from jaxbrain.commands import ladder
ladder.main(sys.argv[1:])
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_cells(tmp_path):
    """4 and 32 cells of a network, two in a call."""
    peaks = []
    for seeds in (2, 16):
        command = [sys.executable, "-c", MEMORY, *NETS, "--classifiers", "cnn"]
        command += ["--generators", "none", "--protocols", "P2", "P3", "--no-shuffled"]
        command += [
            "--seeds",
            str(seeds),
            "--cache",
            "off",
            "--workdir",
            str(tmp_path / str(seeds)),
        ]
        environment = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout.split("peak ")[1]))
        found, _ = cells(tmp_path / str(seeds))
        assert {cell["num_seeds"] for cell in found.values()} == {seeds}
    assert peaks[1] < 1.05 * peaks[0]


def test_the_kaggle_ladder(kaggle, tmp_path):
    """docs/results.md's table, of 100 draws, with 20; it spreads by about a point."""
    command = ["--data", str(kaggle), "--classifiers", "ridge", "nn1", "--seeds", "20"]
    run(entry, *command, "--workdir", str(tmp_path / "run"))
    found, results = cells(tmp_path / "run")
    assert results["groups"] == {"total": 199, "no": 76, "yes": 123}
    wanted = {
        ("P0", "linear", "true"): 0.929,
        ("P1", "linear", "true"): 0.895,
        ("P2", "linear", "true"): 0.763,
        ("P3", "linear", "true"): 0.700,
        ("P3", "none", "true"): 0.696,
        ("P0", "linear", "shuffled"): 0.890,
        ("P3", "linear", "shuffled"): 0.502,
    }
    for (protocol, generator, labels), accuracy in wanted.items():
        got = found[protocol, generator, "ridge", labels]["accuracy"]
        assert got == pytest.approx(accuracy, abs=0.03), (protocol, generator, labels)


def test_a_page_without_intervals(finished, tmp_path):
    """A cell that no bootstrap draw reached has no interval, in the page and the figure."""
    _, results = cells(finished[0])
    for cell in results["cells"]:
        cell["accuracy"], cell["interval"] = 0.5, None
    line = markdown(report.page(results)).split("| ridge | linear |")[1].splitlines()[0]
    # P0 to P3, without synthesis, shuffled labels under P0 and P3.
    assert [one.strip() for one in line.strip("| ").split("|")] == ["50.0"] * 7
    figures.save(ladder_figures.picture(results), tmp_path / "ladder.png")
    with Image.open(tmp_path / "ladder.png") as image:
        assert np.asarray(image.convert("L")).std() > 10


def test_a_shard_that_is_at_work_is_not_joined(finished, tmp_path):
    whole, _ = finished
    share = tmp_path / "run" / "shards" / "1of2"
    shutil.copytree(whole, share)
    with (share / "LOCK").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match=r"workdir .*/shards/1of2: in use by"):
            run(entry, *FAST, "--workdir", str(tmp_path / "run"))
    # It has ended: what it has made counts.
    text = run(entry, *FAST, "--workdir", str(tmp_path / "run"))
    assert "already complete" in text
    assert (tmp_path / "run" / "ladder.json").read_bytes() == (whole / "ladder.json").read_bytes()
