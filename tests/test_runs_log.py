"""What a run says and keeps: events by lane, the console, a full disk."""

import contextlib
import csv
import io
import json
from pathlib import Path

from rich.console import Console
from rich.text import Text

from jaxbrain.runs.log import Log
from jaxbrain.runs.screen import Bar, Clock, ticking


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


def screen(width: int = 80) -> Console:
    """A terminal whose output is kept."""
    return Console(file=io.StringIO(), force_terminal=True, width=width, _environ={})


def test_a_bar_fits_a_terminal(tmp_path):
    """On 80 columns the speed and the time left are visible, whatever the names and losses."""
    bar = Bar("training 2 of 4: classifier of seed 0 and " + "x" * 40)
    bar.step, bar.total = 1000, 2400
    bar.right, bar.below = "1000/2400  1234 images/s  eta 12m34s", f"loss {'0' * 90}"
    console = screen()
    console.print(bar.render(79))
    first, second = Text.from_ansi(console.file.getvalue()).plain.splitlines()
    assert len(first) == 79 and len(second) == 79
    assert first.startswith("training 2 of 4: classifier of") and "…" in first and "━" in first
    assert first.endswith(bar.right) and second.endswith("…")


def test_a_terminal_keeps_the_last_line_of_a_training(tmp_path):
    console = screen()
    with Log(tmp_path, console) as log, log.bar("training 1 of 1: gan of seed 0"):
        for step in (1, 2):
            text = f"seed 0  gan {step}/2  1234 images/s  eta 12m34s  loss {'0' * 60}"
            log.progress(text, report=True, last=step == 2)
        log.line("saved  gan of seed 0")
    shown = console.file.getvalue()
    assert "gan 2/2" in shown and "gan 1/2" not in shown
    # A line that is printed beside a bar stands whole on a line of its own.
    assert "\nsaved  gan of seed 0\n" in Text.from_ansi(shown).plain
    assert (tmp_path / "log.txt").read_text().count("1234 images/s") == 2


def test_a_clock_says_how_long_something_takes(tmp_path):
    now = [0.0]
    clock = Clock("gan: compiling", lambda: now[0])
    now[0] = 12.4
    assert str(clock) == "gan: compiling, 12 s"
    assert clock.render(79).plain[2:] == "gan: compiling, 12 s"
    console = screen()
    with Log(tmp_path, console) as log, log.waiting("gan: compiling"):
        pass
    assert "gan: compiling, 0 s" in console.file.getvalue()
    assert (tmp_path / "log.txt").read_text() == "gan: compiling\n"


class Ticks:
    """Stands for a `threading.Event`: so many waits, each of which comes to its end."""

    def __init__(self, count: int):
        self.left = iter([False] * count)

    def wait(self, seconds: float) -> bool:
        return next(self.left, True)

    def set(self) -> None:
        pass


def test_off_a_terminal_a_clock_is_a_line_now_and_then(tmp_path, monkeypatch):
    """Of what was begun last; and no line where another was just said."""
    out, now = io.StringIO(), [0.0]
    monkeypatch.setattr("jaxbrain.runs.log.time.monotonic", lambda: now[0])
    ticks = []

    @contextlib.contextmanager
    def ticking(tell, every):
        ticks.append((tell, every))
        yield

    monkeypatch.setattr("jaxbrain.runs.log.ticking", ticking)
    with Log(tmp_path, Console(file=out)) as log, log.waiting("prepares", say=False):
        with log.waiting("gan: compiling"):
            for now[0] in (10.0, 20.0, 20.5):
                for tell, _ in ticks:
                    tell()
    assert {every for _, every in ticks} == {10.0}
    assert out.getvalue().splitlines() == [
        "gan: compiling",
        "gan: compiling, 10 s",
        "gan: compiling, 20 s",
    ]


def test_a_thread_ticks_until_it_is_left():
    told = []
    with ticking(lambda: told.append(1), 10.0, Ticks(3)):
        pass
    assert told == [1, 1, 1]


def test_which_training_of_the_run_it_is(tmp_path):
    with Log(tmp_path, Console(file=io.StringIO())) as log:
        assert log.place(["a"]) == ""
        log.planned = frozenset("abcd")
        assert log.place(["a"]) == "training 1 of 4"
        log.ended |= {"a", "other"}
        assert log.place(["b"]) == "training 2 of 4"
        assert log.place(["b", "c"]) == "trainings 2-3 of 4"
        assert log.place(["b", "z"]) == ""


def test_events_are_a_table_too(tmp_path):
    with Log(tmp_path, Console(file=io.StringIO())) as log:
        log.event(row("gan", 1))
        log.event(row("classifier", 2) | {"loss": 0.5})
    with (tmp_path / "metrics.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["training"], first["step"], first["loss"]) == ("gan", "1", "")
    assert (second["training"], second["step"], second["loss"]) == ("classifier", "2", "0.5")


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
