"""What a run says and keeps: events by lane, the console, a full disk."""

import io
import json
from pathlib import Path

from rich.console import Console

from jaxbrain.runs.log import Log


def row(training: str, step: int, seed: int = 0, **more) -> dict:
    lane = f"{training} of seed {seed}"
    return {"lane": lane, "seed": seed, "training": training, "step": step} | more


def test_events_of_a_killed_run_are_read_and_mended(tmp_path):
    rows = [row("gan", 2), row("gan", 4), row("classifier", 3)]
    text = "".join(json.dumps(one) + "\n" for one in rows)
    (tmp_path / "metrics.jsonl").write_text(text + '{"seed": 0, "trai')
    with Log(tmp_path, Console(file=io.StringIO())) as log:
        assert log.events == rows
        log.restore("classifier of seed 0", [])
        log.restore("gan of seed 0", [row("gan", 1), row("gan", 2)])
        log.event(row("gan", 4, loss=1.0))
        wanted = [row("gan", 1), row("gan", 2), row("gan", 4, loss=1.0)]
        assert log.of("gan of seed 0") == wanted
        assert log.of("classifier of seed 0") == log.of("another") == []
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert list(map(json.loads, lines)) == log.events == wanted


def test_events_stand_by_seed_and_training(tmp_path):
    """Whatever the order in which lanes report."""
    with Log(tmp_path, Console(file=io.StringIO())) as log:
        for one in (row("classifier", 1), row("gan", 2, 1), row("gan", 2), row("gan", 4)):
            log.event(one)
        wanted = [row("gan", 2), row("gan", 4), row("classifier", 1), row("gan", 2, 1)]
        assert log.events == wanted


def test_a_full_disk_costs_a_line_of_the_log_and_not_the_training(tmp_path):
    out = io.StringIO()
    with Log(tmp_path, Console(file=out)) as log:
        log.path = Path("/nonexistent/metrics.jsonl")
        log.event(row("gan", 1))
        assert log.of("gan of seed 0") == [row("gan", 1)]
    assert "cannot be written" in out.getvalue()


def test_live_line_fits_a_terminal(tmp_path):
    """On 80 columns the speed and the time left are visible, one line for all."""
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80)
    with Log(tmp_path, console) as log:
        for step in (1, 2):
            text = f"seed 0  classifier 1000/2400  1234 images/s  eta 12m34s  loss {'0' * 60}"
            log.progress(text, report=True, last=step == 2)
    lines = screen.getvalue()
    assert lines.count("\n") == lines.count("\r") == 1
    assert all(len(line) == 79 for line in lines.replace("\r", "\n").splitlines())
    assert "1234 images/s  eta 12m34s" in lines
    assert (tmp_path / "log.txt").read_text().count("1234 images/s") == 2


def test_off_a_terminal_silence_is_short(tmp_path, monkeypatch):
    """A line for every report, and between two where nothing was said for long."""
    out, now = io.StringIO(), [0.0]
    monkeypatch.setattr("jaxbrain.runs.log.time.monotonic", lambda: now[0])
    with Log(tmp_path, Console(file=out)) as log:
        for second in range(25):
            now[0] = float(second)
            log.progress(f"step {second}", report=second == 3)
    said = [int(line.split()[1]) for line in out.getvalue().splitlines()]
    assert said[0] == 3
    assert all(after - before < 10 for before, after in zip(said, [*said[1:], 25], strict=True))
    assert len(said) < 6


def test_seconds_of_a_name_add_up(tmp_path):
    with Log(tmp_path, Console(file=io.StringIO())) as log:
        for seconds in (1.5, 0.25):
            log.clock("gan_train", seconds)
        assert log.seconds == {"gan_train": 1.75}
