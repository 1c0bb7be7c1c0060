"""A run's directory: one process, the same run, signals, what is refused."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from jaxbrain.errors import ConfigError, StoppedError
from jaxbrain.runs import files, workdir

SETTINGS = {"config": {"gan": {"filters": 4}, "data": {"placement": "auto"}}}
IMAGES = [["no/1.png", "no", 0, "aa"], ["yes/=1.png", "yes", 1, "bb"]]


def opened(path, settings=SETTINGS, images=IMAGES, said=None, **options):
    say = (lambda text: None) if said is None else said.append
    return workdir.opened(path, "paper", settings, images, say=say, **options)


def test_new_then_the_same(tmp_path):
    with opened(tmp_path / "run") as first:
        assert not first.resumed
        assert (first.path / "STATUS").read_text() == "running\n"
    assert (first.path / "STATUS").read_text() == "done\n"
    assert not (first.path / "LOCK").exists()
    with opened(tmp_path / "run") as second:
        assert second.resumed
    # Where images are kept changes no number.
    moved = {"config": {"gan": {"filters": 4}, "data": {"placement": "host"}}}
    with opened(tmp_path / "run", moved) as third:
        assert third.resumed


def test_other_settings_and_images_are_named(tmp_path):
    with opened(tmp_path / "run"):
        pass
    before = (tmp_path / "run" / "config.json").read_bytes()
    other = {"config": {"gan": {"filters": 8}, "data": {"placement": "auto"}}}
    with pytest.raises(ConfigError, match=r"config\.gan\.filters: 4 there, 8 now"):
        with opened(tmp_path / "run", other):
            pass
    with pytest.raises(ConfigError, match="image yes/=1.png: removed"):
        with opened(tmp_path / "run", images=IMAGES[:1]):
            pass
    with pytest.raises(ConfigError, match="image no/2.png: added"):
        with opened(tmp_path / "run", images=[*IMAGES, ["no/2.png", "no", 2, "cc"]]):
            pass
    with pytest.raises(ConfigError, match="image no/1.png: changed"):
        with opened(tmp_path / "run", images=[["no/1.png", "no", 0, "ab"], IMAGES[1]]):
            pass
    with pytest.raises(ConfigError, match="kind: 'paper' there, 'ladder' now"):
        with workdir.opened(tmp_path / "run", "ladder", SETTINGS, IMAGES, say=print):
            pass
    assert (tmp_path / "run" / "config.json").read_bytes() == before
    (tmp_path / "run" / "config.json").write_text("{")
    with pytest.raises(ConfigError, match=r"config\.json: cannot be read"):
        with opened(tmp_path / "run"):
            pass


def test_fresh_keeps_the_old_run(tmp_path):
    other, said = {"config": {"gan": {"filters": 8}}}, []
    with opened(tmp_path / "run") as first:
        (first.path / "results.json").write_text("precious")
    for number in (1, 2):
        with opened(tmp_path / "run", other, said=said, fresh=True) as again:
            assert not again.resumed
        assert (tmp_path / f"run_old{number}" / "config.json").is_file()
    assert (tmp_path / "run_old1" / "results.json").read_text() == "precious"
    assert str(tmp_path / "run_old2") in said[1]
    assert not (tmp_path / "run_old1" / "LOCK").exists()


def test_what_is_no_run_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    for fresh in (False, True):
        with pytest.raises(ConfigError, match="holds files that are no run"):
            with opened(tmp_path, fresh=fresh):
                pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["thesis.tex"]
    with pytest.raises(ConfigError, match="cannot be written by user"):
        with opened(tmp_path / "thesis.tex"):
            pass


def test_a_directory_that_was_only_begun(tmp_path):
    """Killed before its settings were written: gone on with, from nothing."""
    (tmp_path / "LOCK").write_text("pid 1")
    (tmp_path / "images.csv").write_text("id")
    with opened(tmp_path) as run:
        assert run.resumed
    assert json.loads((tmp_path / "config.json").read_text())["kind"] == "paper"


def test_a_directory_that_may_not_be_written(tmp_path, monkeypatch):
    """As root a mode of 000 does not stop one, so the system's answer is stood in for."""

    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(workdir.Path, "mkdir", refused)
    with pytest.raises(ConfigError, match=r"run: cannot be written by user .*: Permission denied"):
        with opened(tmp_path / "run"):
            pass


HOLD = """
import sys, time
from jaxbrain.runs import workdir
with workdir.opened(sys.argv[1], "paper", {}, [], say=print):
    print("open", flush=True)
    time.sleep(60)
"""


def test_one_process_at_a_time(tmp_path):
    """A second one is refused while the first lives; the lock of one that was killed is
    nobody's."""
    path = tmp_path / "run"
    command = [sys.executable, "-c", HOLD, str(path)]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert first.stdout.readline() == "open\n"
        with pytest.raises(ConfigError, match=f"in use by pid {first.pid} on "):
            with workdir.opened(path, "paper", {}, [], say=print):
                pass
        with pytest.raises(ConfigError, match="in use by pid"):
            with workdir.opened(path, "paper", {}, [], say=print, fresh=True):
                pass
    finally:
        first.kill()
        first.communicate()
    assert (path / "LOCK").exists()
    assert (path / "STATUS").read_text() == "running\n"
    with workdir.opened(path, "paper", {}, [], say=print) as run:
        assert run.resumed


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_are_heard_and_handlers_given_back(tmp_path, number):
    before = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)}
    with pytest.raises(StoppedError, match="at step 7") as caught:
        with opened(tmp_path / "run") as run:
            run.stop.check("at step 6")
            os.kill(os.getpid(), number)
            while run.stop.signal is None:
                time.sleep(0.01)
            # A second signal would end the process.
            assert signal.getsignal(number) is signal.SIG_DFL
            run.stop.check("at step 7 of 9, saved")
    assert caught.value.signal == number
    assert {one: signal.getsignal(one) for one in before} == before
    status = (tmp_path / "run" / "STATUS").read_text()
    assert status.startswith("stopped: ") and "at step 7 of 9" in status


def test_a_failure_leaves_its_traceback(tmp_path):
    with pytest.raises(ZeroDivisionError):
        with opened(tmp_path / "run"):
            1 / 0  # noqa: B018
    assert (tmp_path / "run" / "STATUS").read_text() == "failed: division by zero\n"
    assert "ZeroDivisionError" in (tmp_path / "run" / "log.txt").read_text()


def test_other_versions_are_said(tmp_path):
    said = []
    with opened(tmp_path / "run"):
        pass
    path = tmp_path / "run" / "config.json"
    saved = json.loads(path.read_text())
    saved["floats"]["jax"], saved["commit"] = "0.0.1", "abc"
    files.write_json(path, saved)
    with opened(tmp_path / "run", said=said):
        pass
    assert any("jax is" in text and "was '0.0.1'" in text for text in said)
    assert any("was abc" in text for text in said)


def test_a_class_that_a_spreadsheet_would_compute(tmp_path):
    """Its cell has an apostrophe in images.csv, and is the same class the next time."""
    images = [["=cmd/0.png", "=cmd", 0, "a" * 64], ["b\udcff/0.png", "b\udcff", 1, "b" * 64]]
    with opened(tmp_path / "run", images=images):
        pass
    with opened(tmp_path / "run", images=images) as directory:
        assert directory.resumed


def test_a_path_longer_than_any(tmp_path):
    with pytest.raises(ConfigError, match="cannot be written"), opened(tmp_path / ("x" * 300)):
        pass
