"""Shards of a study: two that run at once, joined, are one run; what is refused."""

import os
import re
import subprocess
import sys

import jax
import pytest
from test_runs_ladder import FAST, NETS, run

from jaxbrain.commands import ladder as entry
from jaxbrain.errors import ConfigError

SHARED = [*NETS, "--seeds", "2", "--protocols", "P3", "--no-shuffled"]
# No network: what two processes do to one directory is the same without.
CLASSIC = [*SHARED, "--generators", "linear", "none", "--classifiers", "ridge", "nn1"]
TRAINED = [*SHARED, "--generators", "cgan", "none", "--classifiers", "cnn", "ridge"]


def at_once(flags, workdir) -> list[str]:
    """Both shards in processes of their own."""
    command = [sys.executable, "-m", "jaxbrain", "ladder", *flags, "--workdir", str(workdir)]
    command += ["--cache", jax.config.jax_compilation_cache_dir]
    # As in this process.
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    pipes["env"] = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    started = [subprocess.Popen([*command, "--shard", f"{i}/2"], **pipes) for i in (1, 2)]
    texts = []
    for process in started:
        out, err = process.communicate(timeout=250)
        assert process.returncode == 0, err[-2000:]
        texts.append(out)
    return texts


def one_after_another(flags, workdir) -> list[str]:
    shards = ("--shard", "1/2"), ("--shard", "2/2")
    return [run(entry, *flags, *shard, "--workdir", str(workdir)) for shard in shards]


@pytest.mark.parametrize("flags, share", [(CLASSIC, at_once), (TRAINED, one_after_another)])
def test_shards_are_one_run(flags, share, tmp_path):
    """Joined: to the byte what one run gives; nothing is computed again."""
    run(entry, *flags, "--workdir", str(tmp_path / "one"))
    texts = share(flags, tmp_path / "many")
    shares = [re.search(r"shard ./2  done: (\d+) of (\d+) cells", text) for text in texts]
    mine, theirs = (int(found[1]) for found in shares)
    assert min(mine, theirs) > 0 and mine + theirs == int(shares[0][2])
    with pytest.raises(ConfigError, match=r"study\.seeds: 2 there, 3 now"):
        run(entry, *flags, "--seeds", "3", "--workdir", str(tmp_path / "many"))
    text = run(entry, *flags, "--workdir", str(tmp_path / "many"))
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
