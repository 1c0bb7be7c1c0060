"""`progress.png` while a run goes, and what to open when it has ended."""

import json

import numpy as np
import pytest
from conftest import rows
from PIL import Image
from rich.console import Console

from jaxbrain.commands.common import parse_study
from jaxbrain.commands.paper import Arguments
from jaxbrain.errors import ConfigError
from jaxbrain.runs import figures
from jaxbrain.runs.log import Log
from jaxbrain.scoring import paper as scoring


@pytest.fixture
def clock(monkeypatch):
    """A clock that tests move; drawing takes half a second of it."""
    now = [100.0]
    monkeypatch.setattr(figures.time, "monotonic", lambda: now[0])
    return now


def curves(monkeypatch, clock, tmp_path):
    drawn = []
    with Log(tmp_path, Console(quiet=True)) as log:
        found = figures.Curves(log, ("png",), lambda event: event["lane"] != "other")

    def save(figure, path, formats):
        drawn.append((round(clock[0], 1), path.name, len(figure.axes)))
        clock[0] += 0.5

    monkeypatch.setattr(figures, "save", save)
    own = {"lane": "a", "seed": 0, "training": "gan", "step": 5, "generator_loss": 0.5}
    log._reports = {"a": [own], "other": [own | {"lane": "other", "frechet_thumbnail": 1.0}]}
    return found, drawn


def test_the_figure_is_drawn_as_the_run_goes(monkeypatch, clock, tmp_path):
    """Every 20 seconds at most, and in no more than 2 % of the time."""
    found, drawn = curves(monkeypatch, clock, tmp_path)
    for _ in range(400):
        clock[0] += 1.0
        found.step(False)
    # The first takes its imports, then 25 s each pay for half a second.
    times = [at for at, _, _ in drawn]
    assert times[0] == 175.0 and len(drawn) > 10
    assert min(b - a for a, b in zip(times, times[1:], strict=False)) >= 20.0
    assert 0.5 * len(drawn) <= 0.02 * (clock[0] - 100.0)
    assert {(name, panels) for _, name, panels in drawn} == {("progress.png", 1)}


def test_the_end_of_a_training_is_drawn_at_once_where_there_was_time(monkeypatch, clock, tmp_path):
    found, drawn = curves(monkeypatch, clock, tmp_path)
    found.step(True)
    assert not drawn
    clock[0] += 80.0
    found.step(True)
    assert len(drawn) == 1
    for _ in range(20):  # Trainings of a second each do not draw one each.
        clock[0] += 1.0
        found.step(True)
    assert len(drawn) == 4
    clock[0] += 400.0
    found.step(False)
    clock[0] += 3.0
    found.step(False)
    assert len(drawn) == 5
    found.step(True)
    assert len(drawn) == 6


def test_a_full_disk_costs_the_figure_alone(monkeypatch, clock, tmp_path):
    found, _ = curves(monkeypatch, clock, tmp_path)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(figures, "save", full)
    said = []
    found.log.line = said.append
    found.draw()
    assert said == [
        f"warning {tmp_path / 'progress.png'}: cannot be written: No space left on device"
    ]


def test_what_to_open_is_what_is_there(tmp_path):
    (tmp_path / "report.md").touch()
    (tmp_path / "a.png").touch()
    lines = figures.to_open(tmp_path, "missing.png", "a.png")
    assert lines == [f"open   {tmp_path / 'report.md'}", f"open   {tmp_path / 'a.png'}"]
    (tmp_path / "report.html").touch()
    assert figures.to_open(tmp_path) == [f"open   {tmp_path / 'report.html'}"]


def test_references_stand_beside_what_is_drawn(finished, trained):
    """Of real images: one half to the other, and where images are held out those of training."""
    for workdir, names in (
        (finished[0], {"frechet_halves"}),
        (trained[0], {"frechet_halves", "real_kid"}),
    ):
        events = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
        looks = [event for event in events if "frechet_thumbnail" in event]
        assert looks and all(names <= event.keys() for event in looks)
        assert all(event["frechet_halves"] > 0 for event in looks)
        # They are of the images, not of the step.
        assert len({(event["lane"], event["frechet_halves"]) for event in looks}) == 2
    assert not any("real_kid" in event for event in events if event["training"] != "gan")


def test_the_curves_of_a_run_are_those_of_its_answers(finished):
    """AUROC by halves, against a count of pairs."""
    workdir, _ = finished
    found = scoring.curves(workdir / "predictions.csv", workdir / "images.csv")
    answers = rows(workdir / "predictions.csv")
    results = json.loads((workdir / "results.json").read_text())
    assert list(found)[0] == "all tested" and set(found) <= {
        "all tested",
        "real half",
        "synthetic half",
    }
    whole = [seed["metrics"]["auroc"] for seed in results["seeds"]]
    assert found["all tested"]["auroc"] == pytest.approx(whole, abs=1e-6)
    if "real half" in found:
        own = [row for row in answers if row["origin"] == "real"]
        wanted = []
        for seed in ("0", "1"):
            p = [
                [float(r["p_yes"]) for r in own if (r["seed"], r["label"]) == (seed, k)]
                for k in "01"
            ]
            pairs = [(b > a) + 0.5 * (b == a) for a in p[0] for b in p[1]]
            wanted += [sum(pairs) / len(pairs)] if pairs else []
        assert found["real half"]["auroc"] == pytest.approx(wanted, abs=1e-6)


def test_the_bins_of_a_run_hold_its_answers(finished):
    workdir, _ = finished
    found = scoring.reliability(workdir / "predictions.csv", workdir / "images.csv")
    answers = rows(workdir / "predictions.csv")
    for name, own in found.items():
        origin = [row for row in answers if row["origin"] == name.split()[0]]
        assert own["n"] == own["bins"].count.sum() == len(origin) > 0
        gap = [abs(float(row["p_yes"]) - 0.5) + 0.5 for row in origin]
        held = own["bins"].count > 0
        mean = (own["bins"].count * np.where(held, own["bins"].confidence, 0)).sum() / own["n"]
        assert mean == pytest.approx(np.mean(gap), abs=1e-6)


def test_figures_of_a_run_in_the_formats_asked_for(finished):
    """The fixture asks for SVG beside PNG."""
    for name in ("progress", "confusion", "comparison", "roc", "reliability"):
        with Image.open(finished[0] / f"{name}.png") as image:
            assert image.width >= 900
        assert "<svg" in (finished[0] / f"{name}.svg").read_text()


def test_other_formats_are_refused():
    with pytest.raises(ConfigError, match="figures"):
        parse_study(Arguments, ["--figures", "jpg"], "jaxbrain paper")
    options = parse_study(Arguments, ["--figures", "png", "pdf"], "jaxbrain paper")
    assert options.watched("jaxbrain paper", [])["figures"] == ("png", "pdf")
