"""What is said before a run, and the commands to copy after one."""

import io
import json
import logging
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from jaxbrain.commands import onward, process, telling
from jaxbrain.errors import StoppedError

RUN = ["--data", "a b/set", "--preset", "cpu", "--data.crop=head", "--group_by", "p(1)"]


def test_verbs_are_called_as_this_one_was():
    for prog, wanted in (
        ("jaxbrain paper", "jaxbrain sample"),
        ("python -m jaxbrain paper", "python -m jaxbrain sample"),
        ("python -m experiments.paper", "python -m experiments.sample"),
    ):
        assert " ".join(onward.form(prog, "sample")) == wanted


def test_flags_of_reading_go_on():
    more = ["--gan.steps", "5", "--data.n-per-class", "9", "--workdir", "w"]
    assert onward.reading([*RUN, *more]) == [*RUN[:2], *RUN[4:]]


@pytest.mark.parametrize("workdir", [["--workdir", "my run"], ["--workdir=my run"], []])
def test_a_stopped_run_says_how_it_goes_on(workdir):
    given = ["--seeds", "3", "--fresh", *workdir, "--data", "it's"]
    with pytest.raises(StoppedError) as caught:
        with onward.going_on("jaxbrain paper", given, Path("my run")):
            raise StoppedError(2, "at step 3 of 6 (gan of seed 0), saved")
    first, command = str(caught.value).split("\n  ")
    assert first == "Ctrl-C at step 3 of 6 (gan of seed 0), saved. To go on:"
    words = shlex.split(command)
    # The same words, but for --fresh, which would begin anew.
    assert words[:4] == ["jaxbrain", "paper", "--seeds", "3"] and "--fresh" not in words
    assert " ".join(words).replace("=", " ").count("--workdir my run") == 1
    assert caught.value.signal == 2


def test_after_a_run_only_what_is_possible(tmp_path):
    run = tmp_path / "runs" / "a run"
    (run / "checkpoints" / "seed1" / "classifier").mkdir(parents=True)
    assert [words for _, words in onward.after_paper("jaxbrain paper", RUN, run, "a b/set")] == [
        shlex.join(["jaxbrain", "predict", str(run), "IMAGE", "--explain", "--seed", "1"])
    ]
    (run / "checkpoints" / "seed0" / "gan").mkdir(parents=True)
    (run / "results.json").write_text("{}")
    (run / "config.json").write_text(json.dumps({"classes": ["no", "yes"]}))
    # A run of other classes cannot stand beside it.
    for name, classes in (("other", ["no", "yes"]), ("third", ["a", "b", "c"])):
        other = tmp_path / "runs" / name
        other.mkdir()
        (other / "results.json").write_text("{}")
        (other / "config.json").write_text(json.dumps({"classes": classes}))
    _, sample, ladder, compare = onward.after_paper("jaxbrain paper", RUN, run, "a b/set")
    assert shlex.split(sample[1]) == ["jaxbrain", "sample", str(run), "--n", "16"]
    assert shlex.split(ladder[1])[2:] == [
        *("--data", "a b/set", "--data.crop=head", "--group_by", "p(1)"),
        *("--split", "kfold", "--generators", "none"),
    ]
    assert shlex.split(compare[1]) == [
        "jaxbrain",
        "compare",
        str(run),
        str(tmp_path / "runs/other"),
    ]
    # Phantoms are no images of the user's.
    without = onward.after_paper("jaxbrain paper", [], run, None)
    assert not any("ladder" in command for _, command in without)


def test_after_other_verbs(tmp_path, capsys):
    assert onward.after_study("jaxbrain ladder", tmp_path) == []
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "ladder.json").write_text("{}")
    onward.say(onward.after_study("jaxbrain table4", tmp_path, part="study"))
    assert capsys.readouterr().out == (
        "next   every number again, from the answers that were saved:\n"
        f"  jaxbrain ladder --verify {tmp_path / 'study'}\n"
    )
    assert onward.after_gan("jaxbrain train_gan", tmp_path) == []
    (tmp_path / "checkpoints" / "seed0" / "gan").mkdir(parents=True)
    verbs = [command.split()[1] for _, command in onward.after_gan("jaxbrain x", tmp_path)]
    assert verbs == ["sample", "audit"]
    paper, ladder = onward.after_inspect("jaxbrain inspect", "my set", {"data.frames": "all"})
    assert paper[1] == "jaxbrain paper --data 'my set' --data.frames all"
    assert ladder[1].endswith(" --data.frames all --split kfold --generators none")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def told(stream, seconds: float) -> str:
    """What is written of five files, each of which takes so many seconds."""
    now = [0.0]
    handler = telling.Handler(stream, lambda: now[0])
    logger = logging.Logger("test")
    logger.addHandler(handler)
    logger.info("data   reads %d files", 5)
    for n in range(1, 6):
        now[0] += seconds
        logger.info("data   has read %d of %d files", n, 5, extra={"of": (n, 5)})
    logger.info("data   looks for copies")
    return stream.getvalue()


def test_reading_is_counted():
    assert told(io.StringIO(), 1.0) == "data   reads 5 files\ndata   looks for copies\n"
    slow = [line for line in told(io.StringIO(), 6.0).splitlines() if "has read" in line]
    assert slow == ["data   has read 2 of 5 files", "data   has read 4 of 5 files"]
    shown = told(Terminal(), 1.0)
    assert shown.count("\n") == 3 and "\rdata   has read 2 of 5 files" in shown
    assert "\rdata   has read 5 of 5 files\n" in shown
    # At most ten a second.
    assert told(Terminal(), 0.05).count("has read") == 3


def test_the_first_word_comes_before_jax(tmp_path):
    """As a process, which is stopped at once: nothing of JAX is imported, nothing on standard
    output."""
    code = (
        "import sys; from jaxbrain.commands import process; process.first_word('paper'); "
        "assert 'jax' not in sys.modules"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "paper  loads JAX\n")


def test_what_is_logged_goes_to_standard_error_inside_alone(capsys):
    logger = logging.getLogger("jaxbrain.data.folder")
    with pytest.raises(SystemExit), telling.on_standard_error():
        logger.info("data   reads 3 files")
        sys.exit(2)
    logger.info("data   reads 4 files")
    assert capsys.readouterr() == ("", "data   reads 3 files\n")
    assert not logging.getLogger("jaxbrain").handlers
    process.main(lambda: logger.info("data   reads 5 files"))
    assert capsys.readouterr().err == "data   reads 5 files\n"
