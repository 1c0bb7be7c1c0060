"""kill -9 at random moments: the same command goes on and ends in the same bits.

Two kills run always; the others behind the marker `slow`.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from conftest import said

PAPER = (
    "--data.n-per-class 12 --data.image-size 16 --gan.image-size 32 --gan.steps 40 "
    "--gan.filters 4 --gan.projection 8 --gan.kernel-size 3 --gan.batch-size 8 "
    "--classifier.epochs 8 --classifier.batch-size 8 --cnn.filters 3 4 --intervals 10 "
    "--save-every 0"
).split()
LADDER = (
    "--seeds 3 --data.n-per-class 30 --data.image-size 32 --gan.image-size 32 "
    "--generators linear none --classifiers ridge nn1"
).split()
# Bits depend on the number of threads.
ENVIRONMENT = os.environ | {"NPROC": "2", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}


def command(kind: str, workdir: Path) -> list[str]:
    name, flags = ("ladder", LADDER) if kind == "study" else ("paper", PAPER)
    cache = ["--cache", jax.config.jax_compilation_cache_dir]
    return [sys.executable, "-m", "jaxbrain", name, *flags, "--workdir", str(workdir), *cache]


def finish(kind: str, workdir: Path) -> str:
    done = subprocess.run(
        command(kind, workdir), env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def outcome(kind: str, workdir: Path) -> list:
    """The files and the final states."""
    if kind == "study":
        names = "ladder.json", "predictions.csv", "report.md", "splits.jsonl"
        return [said(workdir / name) for name in names]
    found: list = [(workdir / name).read_bytes() for name in ("results.json", "predictions.csv")]
    for name in ("gan", "classifier"):
        folder = workdir / "checkpoints" / "seed0" / name
        last = max(int(path.name) for path in folder.iterdir() if path.name.isdigit())
        state = ocp.StandardCheckpointer().restore(folder / str(last) / "state")
        found += [last, *(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(state))]
    events = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    speed = "images_per_second"
    return found + [{k: v for k, v in event.items() if k != speed} for event in events]


def progress(kind: str, workdir: Path) -> int:
    """Reports of the training, or parts of the study."""
    if kind == "study":
        return len(list((workdir / "parts").glob("*.npz")))
    path = workdir / "metrics.jsonl"
    if not path.exists():
        return 0
    return sum(f'"training": "{kind}"' in line for line in path.read_text().splitlines())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What uninterrupted runs leave."""
    runs = {}

    def get(kind: str) -> list:
        name = "study" if kind == "study" else "paper"
        if name not in runs:
            runs[name] = tmp_path_factory.mktemp(name) / "run"
            finish(kind, runs[name])
        return outcome(kind, runs[name])

    return get


def kill_once(kind: str, workdir: Path, rng: np.random.Generator) -> str:
    """Start, kill at a random moment after a random report, go on to the end."""
    # A part of this study takes a moment, and so do all reports of a training.
    most, longest = (4, 0.02) if kind == "study" else (6, 0.1)
    target, delay = int(rng.integers(0, most)), float(rng.uniform(0.0, longest))
    process = subprocess.Popen(
        command(kind, workdir),
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and progress(kind, workdir) < target:
        time.sleep(0.005)
    if not target:
        while process.poll() is None and not (workdir / "config.json").exists():
            time.sleep(0.005)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.wait()
    seen = progress(kind, workdir)
    text = finish(kind, workdir)
    (line,) = [one for one in text.splitlines() if re.match("resumed at|already complete", one)]
    if kind != "study" and (found := re.match(rf"resumed at step (\d+) of (\d+) \({kind}", line)):
        step, total = map(int, found.groups())
        # A report is written before its checkpoint is begun, and the one before may still be
        # in work: at most these two intervals are lost.
        assert step >= round(total * max(seen - 2, 0) / 10), (line, seen)
    return line


@pytest.mark.parametrize(
    "kind", ["gan", pytest.param("classifier", marks=pytest.mark.slow), "study"]
)
def test_a_killed_run_ends_in_the_same_bits(kind, whole, tmp_path):
    want, rng = whole(kind), np.random.default_rng(5)
    # On a busy machine a run may have ended before it is killed: then another is.
    for attempt in range(4):
        line = kill_once(kind, tmp_path / str(attempt), rng)
        assert outcome(kind, tmp_path / str(attempt)) == want
        if line.startswith("resumed at step"):
            break
    assert line.startswith("resumed at step"), line


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(20))
def test_twenty_kills(seed, whole, tmp_path):
    """Two kills each; anywhere."""
    kind = ("gan", "classifier", "study")[seed % 3]
    rng = np.random.default_rng([seed, 1])
    process = subprocess.Popen(
        command(kind, tmp_path / "run"),
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    # Before or after its first file.
    time.sleep(float(rng.uniform(2.0, 12.0)))
    process.kill()
    process.wait()
    kill_once(kind, tmp_path / "run", rng)
    assert outcome(kind, tmp_path / "run") == whole(kind)
