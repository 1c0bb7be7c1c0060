"""Shards of a study: two that run at once, joined, are one run; what is refused."""

import re
import subprocess
import sys

import jax
import pytest
from test_runs_ladder import FAST, NETS, run

from jaxbrain.commands import ladder as entry
from jaxbrain.errors import ConfigError


def test_shards_are_one_run(tmp_path):
    """Two at once, then joined: to the byte what one run gives; nothing is computed again."""
    flags = [*NETS, "--seeds", "2", "--generators", "cgan", "none", "--protocols", "P3"]
    flags += ["--classifiers", "cnn_lstm_rows", "ridge", "--no-shuffled"]
    flags += ["--cache", jax.config.jax_compilation_cache_dir]

    def start(name, *more):
        command = [sys.executable, "-m", "jaxbrain", "ladder", *flags, *more]
        command += ["--workdir", str(tmp_path / name)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    processes = [start("one"), *(start("many", "--shard", f"{i}/2") for i in (1, 2))]
    texts = []
    for process in processes:
        out, err = process.communicate(timeout=250)
        assert process.returncode == 0, err[-2000:]
        texts.append(out)
    shares = [re.search(r"shard ./2  done: (\d+) of (\d+) cells", text) for text in texts[1:]]
    mine, theirs = (int(found[1]) for found in shares)
    assert min(mine, theirs) > 0 and mine + theirs == int(shares[0][2])
    with pytest.raises(ConfigError, match=r"study\.seeds: 2 there, 3 now"):
        run(entry, *flags[:-2], "--seeds", "3", "--workdir", str(tmp_path / "many"))
    text = run(entry, *flags[:-2], "--workdir", str(tmp_path / "many"))
    assert " fits  " not in text and "compiling" not in text
    for name in ("predictions.csv", "ladder.json", "splits.jsonl", "images.csv"):
        one, many = ((tmp_path / run / name).read_bytes() for run in ("one", "many"))
        assert one == many, name


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "1/0", "a/b", "-1/2"])
def test_shards_are_checked(shard, tmp_path):
    with pytest.raises(ConfigError, match=f"shard is '{shard}': expected I/N"):
        run(entry, *FAST, f"--shard={shard}", "--workdir", str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_shard_needs_a_place_to_meet(tmp_path):
    with pytest.raises(ConfigError, match="shard: expected with --workdir"):
        run(entry, *FAST, "--shard", "1/2")
    with pytest.raises(ConfigError, match="fresh: expected without shard"):
        run(entry, *FAST, "--shard", "1/2", "--fresh", "--workdir", str(tmp_path / "run"))
