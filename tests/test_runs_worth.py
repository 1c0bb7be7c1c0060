"""The ladder with generators in every mode: its files, verified, gone on with, in shares."""

import contextlib
import csv
import io
import json
import shutil

import jax
import pytest
from conftest import said

from jaxbrain.commands import ladder as entry
from jaxbrain.runs import ladder

OWN = (
    "--seeds 2 --data.n-per-class 20 --data.image-size 32 --gan.image-size 32 --no-shuffled "
    "--no-probe --generators none linear linear@only linear@4,filtered --classifiers ridge nn1"
).split()


def run(*arguments) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        entry.main([*arguments, "--cache", jax.config.jax_compilation_cache_dir])
    return out.getvalue()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("worth") / "run"
    return workdir, run(*OWN, "--workdir", str(workdir))


def test_what_is_said(finished):
    workdir, out = finished
    results = json.loads((workdir / "ladder.json").read_text())
    assert results["modes"]["linear@4,filtered"] == {"unfiltered": ""}
    assert {(row["protocol"], row["generator"], row["against"]) for row in results["worth"]} == {
        (protocol, name, "none")
        for protocol in ("P2", "P3")
        for name in ("linear", "linear@only", "linear@4,filtered")
    }
    # Four of each class in each of two seeds.
    assert {(one["protocol"], one["images"]) for one in results["filtered"]} == {
        (protocol, 16) for protocol in ("P0", "P1", "P2", "P3")
    }
    assert not any(c["protocol"] == "P0" for c in results["cells"] if "only" in c["generator"])
    for text in ("What synthesis is worth", "by more than chance may give"):
        assert text in out and text in (workdir / "report.md").read_text()
    with (workdir / "predictions.csv").open(newline="") as file:
        ids = {
            (row["generator"], row["id"].split("/")[0])
            for row in csv.DictReader(file)
            if row["origin"] == "synthetic"
        }
    assert ids == {("linear", "synthetic"), ("linear@4,filtered", "filtered")}
    splits = [json.loads(line) for line in (workdir / "splits.jsonl").read_text().splitlines()]
    fits = {one["fit"]: one for one in splits if "draws" in one}
    assert fits["linear/all/true/0/0"]["draws"] == [40, 40]


def test_verified(finished, tmp_path):
    assert ladder.verify(finished[0]) == []
    copy = shutil.copytree(finished[0], tmp_path / "copy")
    path = copy / "filtered.csv"
    lines = path.read_text().splitlines()
    *row, near, filled, limit = lines[-1].split(",")
    lines[-1] = ",".join([*row, str(int(near) - 1 if int(near) else 1), "0", limit])
    path.write_text("\n".join(lines) + "\n")
    assert any("ladder.json.filtered" in text and "near" in text for text in ladder.verify(copy))


def test_gone_on_with_and_in_shares(finished, tmp_path):
    """Without its answers, and without its distances, a run comes to the same files."""
    names = "predictions.csv", "filtered.csv", "ladder.json", "report.md"
    copy = shutil.copytree(finished[0], tmp_path / "copy")
    for path in [*(copy / "filters").iterdir(), *(copy / "parts").glob("*filtered*")]:
        path.unlink()
    run(*OWN, "--workdir", str(copy))
    shared = tmp_path / "shared"
    for share in ("1/2", "2/2"):
        run(*OWN, "--workdir", str(shared), "--shard", share)
    run(*OWN, "--workdir", str(shared))
    for name in names:
        assert said(copy / name) == said(shared / name) == said(finished[0] / name), name
