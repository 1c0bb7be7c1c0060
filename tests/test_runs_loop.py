"""The loop over chunks, on a training whose losses are given; the presets at full size."""

import io
import shutil
import threading
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from jaxbrain import config
from jaxbrain.data import phantom
from jaxbrain.errors import CheckpointError, ConfigError, StoppedError
from jaxbrain.runs import checkpoint, loop
from jaxbrain.runs.log import Log
from jaxbrain.runs.workdir import Stop
from jaxbrain.study.training import Lane, Training
from jaxbrain.training import lanes, loops
from jaxbrain.types import Dataset


class Net(NamedTuple):
    step: jax.Array
    kernel: jax.Array


START = Net(jnp.int32(0), jnp.zeros((2,)))
LOSSES = [float(x) for x in (8, 7, 6, 5, 4, 3, 2, 1)]


def walk(*losses: list[float], bad_weight=None, before=None) -> Training:
    """Lanes of given losses; their weights count the steps. `before(which, first, stop)` is
    called before every advance."""
    total = len(losses[0])

    def advance(states, which, first, stop):
        if before:
            before(which, first, stop)
        wrong = bad_weight is not None and stop >= bad_weight
        weight = jnp.full((len(which), 2), jnp.nan if wrong else float(stop))
        own = np.full((len(which), total), np.nan, np.float32)
        for place, i in enumerate(which):
            own[place, first:stop] = losses[i][first:stop]
        new = Net(jnp.full((len(which),), stop, jnp.int32), weight)
        rows = [lanes.lane(states, i) for i in range(len(losses))]
        for place, i in enumerate(which):
            rows[i] = lanes.lane(new, place)
        return lanes.stacked(rows), {"loss": own, "count": np.ones_like(own)}

    return Training(
        "classifier",
        "walk",
        tuple(Lane(f"cell{i}", 7 + i) for i in range(len(losses))),
        total,
        1,
        lambda: lanes.stacked([START] * len(losses)),
        lambda states, say: 0.0,
        advance,
    )


def go(tmp_path, training, *, stop=None, intervals=4, show=None, save_every=0.0, kept=True):
    """`loop.run` in a directory of its own: (what it returns, events, text)."""
    out = io.StringIO()
    tmp_path.mkdir(exist_ok=True)
    with Log(tmp_path, Console(file=out, width=300)) as log:
        watch = loop.Watch(
            log,
            stop or Stop(),
            tmp_path,
            {},
            intervals,
            save_every,
            lambda lane, kind: f"store{lane.seed}",
            lambda lane, kind: f"{kind} of seed {lane.seed}".strip(),
            show or (lambda *_: {}),
            kept=kept,
        )
        return loop.run(watch, training), log.events, out.getvalue()


def steps(tmp_path, seed: int = 7) -> list[int]:
    with checkpoint.Store(tmp_path / f"store{seed}") as store:
        return store.steps()


def test_reports_of_every_interval(tmp_path):
    """Saved where it is time: the newest two are kept, and both are told."""
    seen = []

    def show(training, i, state, step, means):
        seen.append((i, step, int(state.step[0]), means["loss"]))
        return {"shown": step}

    found, events, text = go(tmp_path, walk(LOSSES), show=show)
    assert found.states.kernel.tolist() == [[8.0, 8.0]] and found.diverged == {}
    told = [(e["step"], e["loss"], e["shown"], e["lane"], e["seed"]) for e in events]
    assert told == [
        (2, 7.5, 2, "cell0", 7),
        (4, 5.5, 4, "cell0", 7),
        (6, 3.5, 6, "cell0", 7),
        (8, 1.5, 8, "cell0", 7),
    ]
    assert seen == [(0, 2, 2, 7.5), (0, 4, 4, 5.5), (0, 6, 6, 3.5), (0, 8, 8, 1.5)]
    assert steps(tmp_path) == [6, 8]
    assert "of seed 7  classifier 8/8  1 lane " in text
    saved = [line.split("  in ")[0] for line in text.splitlines() if line.startswith("saved ")]
    assert saved == [f"saved  classifier of seed 7  step {n}" for n in (1, 2, 4, 6, 8)]


@pytest.mark.parametrize("kept", [True, False])
def test_a_short_training_is_saved_once(kept, tmp_path):
    """At its end, and not at all where its checkpoints would be removed there."""
    _, _, text = go(tmp_path, walk(LOSSES), save_every=60.0, kept=kept)
    assert text.count("\nsaved  ") == kept
    assert steps(tmp_path) == [8] * kept


def test_steps_run_while_a_save_is_written(tmp_path, monkeypatch):
    """One save at a time; what is written is the state of its step, though the training has
    gone on; a save that fails ends the training."""
    gate, written, save = threading.Event(), [], checkpoint.Store.save

    def slow(self, step, state, meta):
        assert gate.wait(10)
        written.append((step, state.kernel.tolist(), meta["partial"].get("loss")))
        save(self, step, state, meta)

    monkeypatch.setattr(checkpoint.Store, "save", slow)
    monkeypatch.setattr(loop, "_CALL", 1e-9)
    began = []

    def before(which, first, to):
        began.append(first)
        if first == 1:
            # The first save waits for this.
            assert written == []
            gate.set()

    go(tmp_path / "one", walk(LOSSES, before=before), intervals=1)
    assert began == list(range(8))
    assert written == [(n, [float(n)] * 2, LOSSES[:n]) for n in range(1, 8)] + [
        (8, [8.0, 8.0], None)
    ]

    def full(*_):
        raise CheckpointError("the disk is full")

    monkeypatch.setattr(checkpoint.Store, "save", full)
    with pytest.raises(CheckpointError, match="the disk is full"):
        go(tmp_path / "two", walk(LOSSES))


@pytest.mark.parametrize(("total", "intervals", "count"), [(40, 20, 10), (8, 4, 4), (30, 11, 6)])
def test_samples_are_looked_at_ten_times_at_most(total, intervals, count, tmp_path):
    """At the last report always."""
    seen = []

    def show(training, i, state, step, means):
        seen.append(step)
        return {}

    _, events, _ = go(tmp_path, walk([1.0] * total), intervals=intervals, show=show, save_every=60)
    assert len(seen) == count and seen[-1] == total
    assert set(seen) <= {event["step"] for event in events} and len(events) == intervals


def test_a_bad_loss_is_named_with_its_step(tmp_path):
    """And takes no other lane with it."""
    losses = [*LOSSES[:4], float("inf"), *LOSSES[5:]]
    found, events, text = go(tmp_path, walk(losses, LOSSES))
    ((lane, message),) = found.diverged.items()
    assert lane == 0 and message == (
        "classifier of seed 7 diverged at step 5 of 8: loss is inf: "
        f"the last good checkpoint is {tmp_path}/store7/4: lower its learning rate"
    )
    assert f"warning {message}" in text
    assert steps(tmp_path) == [2, 4]
    with checkpoint.Store(tmp_path / "store7") as store:
        assert np.isfinite(store.newest(START).state.kernel).all()
    assert found.states.kernel[1].tolist() == [8.0, 8.0] and steps(tmp_path, 8) == [6, 8]
    assert [e["step"] for e in events if e["seed"] == 7] == [2, 4]
    assert [e["step"] for e in events if e["seed"] == 8] == [2, 4, 6, 8]


def test_the_step_before_a_bad_loss_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "_CALL", 1e9)
    losses = [8.0, 7.0, 6.0, float("nan"), 4.0, 3.0, 2.0, 1.0]
    found, _, _ = go(tmp_path, walk(losses), intervals=1, save_every=1e9)
    assert found.diverged[0] == (
        "classifier of seed 7 diverged at step 4 of 8: loss is nan (the step before: loss 6): "
        "no checkpoint was saved before: lower its learning rate"
    )


def test_divergence_at_the_last_update_is_seen(tmp_path):
    """Metrics come from before an update, so they miss the last one's result; a state that
    is not finite is never saved."""
    found, _, _ = go(tmp_path, walk(LOSSES, bad_weight=8))
    assert "its weights are not finite after step 8" in found.diverged[0]
    assert steps(tmp_path) == [4, 6]


def test_a_stop_between_two_reports_changes_no_report(tmp_path, monkeypatch):
    """Stopped after one step of an interval, and gone on: the events of a whole run."""
    monkeypatch.setattr(loop, "_CALL", 1e-9)
    stop = Stop()

    def before(which, first, to):
        stop.signal = 15 if first == 4 else None

    match = r"SIGTERM at step 5 of 8 \(classifier of seed 7\), saved"
    with pytest.raises(StoppedError, match=match):
        go(tmp_path, walk(LOSSES, before=before), stop=stop, intervals=2)
    with checkpoint.Store(tmp_path / "store7") as store:
        found = store.newest(START)
    assert (found.step, found.meta["partial"]) == (5, {"loss": [4.0], "count": [1.0]})
    assert [event["step"] for event in found.meta["reports"]] == [4]
    done, events, text = go(tmp_path, walk(LOSSES), intervals=2)
    assert "resumed at step 5 of 8 (classifier of seed 7)" in text
    assert [(e["step"], e["loss"]) for e in events] == [(4, 6.5), (8, 2.5)]
    assert done.states.kernel.tolist() == [[8.0, 8.0]]


def test_lanes_that_were_saved_apart_go_on_together(tmp_path):
    """The checkpoint of one lane is gone: it begins again, the other waits for it."""
    calls = []
    losses = LOSSES, [2 * loss for loss in LOSSES]
    whole, events, _ = go(tmp_path / "whole", walk(*losses))
    stop = Stop()

    def before(which, first, to):
        stop.signal = 15 if first >= 4 else None

    with pytest.raises(StoppedError):
        go(tmp_path / "cut", walk(*losses, before=before), stop=stop)
    shutil.rmtree(tmp_path / "cut" / "store8")
    again = walk(*losses, before=lambda which, first, to: calls.append((which, first)))
    done, found, text = go(tmp_path / "cut", again)
    assert "resumed at step 0 of 8 (classifier of seed 7 and 1 more)" in text
    assert calls[0] == ([1], 0) and calls[-1][0] == [0, 1]
    np.testing.assert_array_equal(done.states.kernel, whole.states.kernel)
    speed = "images_per_second"
    for one, two in zip(events, found, strict=True):
        assert {k: v for k, v in one.items() if k != speed} == {
            k: v for k, v in two.items() if k != speed
        }


def test_a_finished_training_is_not_run_again(tmp_path):
    calls = []
    go(tmp_path, walk(LOSSES))
    again = walk(LOSSES, before=lambda *call: calls.append(call))
    found, events, text = go(tmp_path, again)
    assert found.states.kernel.tolist() == [[8.0, 8.0]] and not calls
    assert [e["step"] for e in events] == [2, 4, 6, 8]
    assert "resumed" not in text and "compiling" not in text


def test_a_call_lasts_about_two_seconds(tmp_path, monkeypatch):
    """Four at most: long intervals are cut, so that a signal is heard."""
    calls, now = [], [0.0]

    def before(which, first, to):
        calls.append((first, to))
        now[0] += 0.1 * (to - first)

    monkeypatch.setattr(loop.time, "perf_counter", lambda: now[0])
    go(tmp_path, walk([1.0] * 160, before=before), intervals=2)
    one = [(0, 1), (1, 21), (21, 61), (61, 80)]
    assert calls == [*one, (80, 118), (118, 138), (138, 160)]


def test_calls_that_cost_the_same_however_long_get_longer(tmp_path, monkeypatch):
    calls, now = [], [0.0]

    def before(which, first, to):
        calls.append(to - first)
        now[0] += 1.0

    monkeypatch.setattr(loop.time, "perf_counter", lambda: now[0])
    go(tmp_path, walk([1.0] * 64, before=before), intervals=1)
    assert calls == [1, 2, 4, 8, 16, 32, 1]


def test_saves_are_so_many_seconds_apart(tmp_path, monkeypatch):
    """Between reports too; with 0 at every call."""
    saves, now = [], [0.0]
    monkeypatch.setattr(loop.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(loop.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(checkpoint.Store, "save", lambda _, step, *rest: saves.append(step))

    def before(which, first, to):
        now[0] += 3.0 * (to - first)

    training = walk([1.0] * 10, before=before)
    go(tmp_path / "often", training, intervals=1, save_every=0.0)
    assert saves == list(range(1, 11))
    saves.clear()
    go(tmp_path / "rarely", training, intervals=1, save_every=10.0)
    assert saves == [4, 8, 10]


def test_out_of_memory_names_the_batch(tmp_path):
    def memory(*_):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.")

    training = walk(LOSSES, before=memory)._replace(batch_size=128)
    match = r"classifier\.batch_size is 128: .*allocating 9 bytes.*try --classifier.batch-size 64"
    with pytest.raises(ConfigError, match=match):
        go(tmp_path / "one", training)

    def broken(*_):
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")

    with pytest.raises(jax.errors.JaxRuntimeError):
        go(tmp_path / "two", walk(LOSSES, before=broken))


def test_real_memory_runs_out_with_a_message():
    """What XLA says when a program asks for more than there is."""
    training = walk(LOSSES)._replace(batch_size=4)
    with pytest.raises(
        ConfigError, match=r"classifier\.batch_size is 4: .* try --classifier.batch-size 2"
    ):
        with loop.refusing_memory(training):
            jax.block_until_ready(jnp.zeros((1 << 46,), jnp.uint8))


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
    assert int(state.step[0]) == 1
    chex.assert_tree_all_finite(state)
    small, _ = phantom.folder(config.DataConfig(n_per_class=8), cfg.data.image_size)
    state, history = jax.jit(loops.train_classifier, static_argnums=0)(cfg, small, key, stop=1)
    assert np.isfinite(history.metrics["loss"][0])
