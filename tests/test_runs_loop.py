"""The loop over chunks and its console, and the presets at their full size."""

import io
import json
from pathlib import Path
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from jaxbrain import config
from jaxbrain.data import phantom
from jaxbrain.errors import ConfigError, DivergedError, StoppedError
from jaxbrain.runs import checkpoint, loop, record
from jaxbrain.runs.workdir import Stop
from jaxbrain.training import loops
from jaxbrain.types import Dataset, History

TRAINING = loop.Training("gan", 7, 8, 1, 4, 8, "loss")


def fit(tmp_path, step, state, training=TRAINING, stop=None, partial=None, show=None):
    """`loop.run` in a directory of its own: (state, events)."""
    with (
        record.Log(tmp_path, Console(file=io.StringIO())) as log,
        checkpoint.Store(tmp_path / "store", keep=9, best="loss") as store,
    ):
        watch = loop.Watch(log, store, stop or Stop(), show or (lambda state, stop: None))
        return loop.run(training, watch, step, state, partial), log.events


class Net(NamedTuple):
    step: jax.Array
    kernel: jax.Array


def walk(losses, bad_weight=None):
    """A training whose losses are given; its weight counts the steps."""

    def step(state, stop):
        start = int(state.step)
        loss = jnp.full((len(losses),), jnp.nan).at[start:stop].set(jnp.array(losses[start:stop]))
        weight = jnp.nan if bad_weight is not None and stop >= bad_weight else float(stop)
        new = Net(jnp.int32(stop), jnp.full((2,), weight))
        return new, History({"loss": loss, "count": jnp.ones((len(losses),))})

    return step


START = Net(jnp.int32(0), jnp.zeros((2,)))
LOSSES = [float(x) for x in (8, 7, 6, 5, 4, 3, 2, 1)]


def test_reports_and_checkpoints_per_interval(tmp_path):
    state, events = fit(tmp_path, walk(LOSSES), START)
    assert state.kernel.tolist() == [8.0, 8.0]
    assert [(e["step"], e["loss"]) for e in events] == [(2, 7.5), (4, 5.5), (6, 3.5), (8, 1.5)]
    with checkpoint.Store(tmp_path / "store") as store:
        assert store.steps() == [2, 4, 6, 8]


def test_a_bad_loss_is_named_with_its_step(tmp_path):
    losses = [*LOSSES[:4], float("inf"), *LOSSES[5:]]
    message = (
        r"gan of seed 7 diverged at step 5 of 8: loss is inf.*"
        rf"the last good checkpoint is {tmp_path}/store/4: lower its learning rate"
    )
    with pytest.raises(DivergedError, match=message):
        fit(tmp_path, walk(losses), START)
    with checkpoint.Store(tmp_path / "store") as store:
        assert store.steps() == [2, 4]
        assert np.isfinite(store.newest(START).state.kernel).all()


def test_the_step_before_a_bad_loss_is_told(tmp_path):
    whole = TRAINING._replace(intervals=1, cut_until=0)
    with pytest.raises(
        DivergedError, match=r"at step 4 of 8: loss is nan \(the step before: loss 6"
    ):
        fit(tmp_path, walk([8.0, 7.0, 6.0, float("nan"), 4.0, 3.0, 2.0, 1.0]), START, whole)


def test_divergence_at_the_last_update_is_seen(tmp_path):
    """Metrics come from before an update, so they miss the last one's result; a state that
    is not finite is never saved."""
    with pytest.raises(DivergedError, match="its weights are not finite after step 8"):
        fit(tmp_path, walk(LOSSES, bad_weight=8), START)
    with checkpoint.Store(tmp_path / "store") as store:
        assert store.steps() == [2, 4, 6]


def test_a_stop_between_two_reports_changes_no_report(tmp_path, monkeypatch):
    """Stopped after one step of an interval, and gone on: the events of a whole run."""
    monkeypatch.setattr(loop, "_CALL", 0.0)
    stop, training = Stop(), TRAINING._replace(intervals=2)
    inner = walk(LOSSES)

    def step(state, to):
        stop.signal = 15 if int(state.step) == 4 else None
        return inner(state, to)

    with pytest.raises(StoppedError, match=r"SIGTERM at step 5 of 8 \(gan of seed 7\), saved"):
        fit(tmp_path, step, START, training, stop)
    with checkpoint.Store(tmp_path / "store") as store:
        found = store.newest(START)
    assert (found.step, found.meta["partial"]) == (5, {"loss": [4.0], "count": [1.0]})
    assert [event["step"] for event in found.meta["reports"]] == [4]
    state, events = fit(tmp_path, inner, found.state, training, partial=found.meta["partial"])
    assert [(e["step"], e["loss"]) for e in events] == [(4, 6.5), (8, 2.5)]
    assert state.kernel.tolist() == [8.0, 8.0]


def test_a_call_lasts_about_a_second(tmp_path, monkeypatch):
    """Long intervals are cut, so that a signal is heard; after `cut_until` they are not."""
    calls, now, inner = [], [0.0], walk([1.0] * 80)

    def step(state, to):
        calls.append((int(state.step), to))
        now[0] += 0.1 * (to - int(state.step))
        return inner(state, to)

    monkeypatch.setattr(loop.time, "perf_counter", lambda: now[0])
    fit(tmp_path, step, START, TRAINING._replace(total=80, intervals=2, cut_until=40))
    assert calls == [(0, 1), (1, 11), (11, 21), (21, 31), (31, 40), (40, 80)]


def test_out_of_memory_names_the_batch(tmp_path):
    def step(state, to):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.")

    training = TRAINING._replace(batch_size=128)
    with pytest.raises(ConfigError, match=r"gan\.batch_size is 128: .*allocating 9 bytes.*try 64"):
        fit(tmp_path, step, START, training)

    def broken(state, to):
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")

    with pytest.raises(jax.errors.JaxRuntimeError):
        fit(tmp_path, broken, START)


def test_real_memory_runs_out_with_a_message():
    """What XLA says when a program asks for more than there is."""
    with pytest.raises(ConfigError, match=r"classifier\.batch_size is 4: .* try 2"):
        with loop.refusing_memory("classifier", 4):
            jax.block_until_ready(jnp.zeros((1 << 46,), jnp.uint8))


def test_events_of_a_killed_run_are_read_and_mended(tmp_path):
    def row(training, step, **more):
        return {"seed": 0, "training": training, "step": step} | more

    rows = [row("gan", 2), row("gan", 4), row("classifier", 3)]
    text = "".join(json.dumps(one) + "\n" for one in rows)
    (tmp_path / "metrics.jsonl").write_text(text + '{"seed": 0, "trai')
    with record.Log(tmp_path, Console(file=io.StringIO())) as log:
        assert log.events == rows
        log.restore(0, "classifier", [])
        log.restore(0, "gan", [row("gan", 1), row("gan", 2)])
        log.event(row("gan", 4, loss=1.0))
        assert log.of(0, "gan") == [row("gan", 1), row("gan", 2), row("gan", 4, loss=1.0)]
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert list(map(json.loads, lines)) == log.events


def test_a_full_disk_costs_a_line_of_the_log_and_not_the_training(tmp_path):
    out = io.StringIO()
    with record.Log(tmp_path, Console(file=out)) as log:
        log.path = Path("/nonexistent/metrics.jsonl")
        log.event({"seed": 0, "training": "gan", "step": 1})
    assert "cannot be written" in out.getvalue()


def test_live_line_fits_a_terminal(tmp_path):
    """On 80 columns the speed and the time left are visible, one line for all."""
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80)
    with record.Log(tmp_path, console) as log:
        for step in (1, 2):
            text = f"seed 0  classifier 1000/2400  1234 images/s  eta 12m34s  loss {'0' * 60}"
            log.progress(text, last=step == 2)
    lines = screen.getvalue()
    assert lines.count("\n") == lines.count("\r") == 1
    assert all(len(line) == 79 for line in lines.replace("\r", "\n").splitlines())
    assert "1234 images/s  eta 12m34s" in lines


@pytest.mark.parametrize("preset", [config.paper, config.recommended, config.cpu, config.tiny])
def test_presets_trace(preset):
    """Both trainings trace at full size, so every shape fits; nothing is computed."""
    cfg = preset()
    size = max(cfg.data.image_size, cfg.gan.image_size)

    def data(num, size):
        shapes = ((num, size, size, 1), np.uint8), ((num,), np.int32), ((num,), np.int32)
        return Dataset(*(jax.ShapeDtypeStruct(*shape) for shape in shapes))

    assert size in (224, 64, 48)
    key = jax.eval_shape(lambda: jax.random.key(0))
    trained = jax.eval_shape(
        lambda d, k: loops.train_gan(cfg, d, k), data(198, cfg.gan.image_size), key
    )
    assert trained[1].metrics["count"].shape == (cfg.gan.steps,)
    trained = jax.eval_shape(
        lambda d, k: loops.train_classifier(cfg, d, k), data(280, cfg.data.image_size), key
    )
    _, total = loops.classifier_steps(cfg, 280)
    assert trained[1].metrics["count"].shape == (total,)
    if preset is config.paper:
        assert total == 720  # 18 steps an epoch, 20 epochs, two stages


@pytest.mark.slow
def test_paper_preset_takes_a_step(key, optimised):
    """A single step of each training at full width: finite, and the state moves."""
    cfg = config.paper()
    data, _ = phantom.folder(config.DataConfig(n_per_class=64), cfg.gan.image_size)
    state, history = jax.jit(loops.train_gan, static_argnums=0)(cfg, data, key, stop=1)
    assert np.isfinite(history.metrics["generator_loss"][0])
    assert int(state.step) == 1
    chex.assert_tree_all_finite(state)
    small, _ = phantom.folder(config.DataConfig(n_per_class=8), cfg.data.image_size)
    state, history = jax.jit(loops.train_classifier, static_argnums=0)(cfg, small, key, stop=1)
    assert np.isfinite(history.metrics["loss"][0])
