"""Lanes: many trainings in one program end where single ones do; each diverges alone; a run
that is stopped or killed inside a training goes on inside it."""

import dataclasses
import io
import signal
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import change, rows, small
from rich.console import Console

from jaxbrain import phantom
from jaxbrain.data.records import from_arrays
from jaxbrain.errors import ConfigError, DivergedError, StoppedError
from jaxbrain.runs import loop
from jaxbrain.runs.ladder import ladder
from jaxbrain.study.methods import Generator
from jaxbrain.study.protocols import StudyConfig
from jaxbrain.study.shared import named_key
from jaxbrain.study.study import study
from jaxbrain.training import lanes, loops

STEPS = 12


def drift(name: str, spoil=None, mapped: bool = True) -> Generator:
    """A generator that trains in no time: its state walks with every step, and so does the
    grey level that it draws. `spoil(step, key)` is added to its loss."""

    def start(cfg, train, key):
        return {"step": jnp.int32(0), "level": jax.random.uniform(key)}

    def advance(cfg, train, key, state, stop):
        def body(i, carry):
            level, loss = carry
            step = jax.random.uniform(jax.random.fold_in(key, i)) - 0.5
            level = level + 0.1 * step + (spoil(i, key) if spoil else 0.0)
            return level, loss.at[i].set(level)

        empty = jnp.full((STEPS,), jnp.nan)
        carry = state["level"], empty
        level, loss = jax.lax.fori_loop(state["step"], stop, body, carry)
        return {"step": jnp.int32(stop), "level": level}, {"loss": loss}

    def finish(cfg, state, label, key):
        side = cfg.data.image_size
        level = jnp.clip(100.0 + 20.0 * state["level"] + 40.0 * jnp.float32(label), 0.0, 255.0)
        image = jnp.broadcast_to(level.reshape(-1, 1, 1, 1), (label.shape[0], side, side, 1))
        return image.astype(jnp.uint8)

    return Generator(
        name,
        mapped=mapped,
        steps=lambda cfg, count: STEPS,
        start=start,
        advance=advance,
        finish=finish,
    )


@pytest.fixture(scope="module")
def images():
    data = phantom.dataset(jax.random.key(3), 12, 32, 0.3)
    return jax.tree.map(np.asarray, data)


def options(**fields) -> StudyConfig:
    given = dict(
        seeds=3,
        protocols=("P0",),
        classifiers=("ridge",),
        shuffled=False,
        probe=False,
        generators=("linear",),
    )
    return StudyConfig(**(given | fields))


def answers(cfg, data, generator, **fields) -> dict[str, np.ndarray]:
    found = study(cfg, data, jax.random.key(1), options=options(**fields), generators=[generator])
    return {one.cell.name: one.p for one in found}


def test_lanes_of_a_gan_are_single_runs(cfg, key):
    data = phantom.dataset(key, 8, 32, 0.5)
    keys = jax.random.split(key, 2)
    states = lanes.stacked([jax.jit(partial(loops.init_gan, cfg))(one) for one in keys])

    def go(shared, state, key):
        data, stop = shared
        return loops.train_gan(cfg, data, key, state=state, stop=stop)

    alone = jax.jit(lambda state, key, stop: go((data, stop), state, key))
    singles = [alone(lanes.lane(states, i), keys[i], jnp.int32(2)) for i in range(2)]
    for how in ("loop", "vmap"):
        many, history = lanes.Lanes(go, how)((data, jnp.int32(2)), states, keys)
        for i, (one, wanted) in enumerate(singles):
            loss, true = (h.metrics["discriminator_loss"] for h in (lanes.lane(history, i), wanted))
            # The first step is computed from equal states: only sums may round differently.
            np.testing.assert_allclose(loss[0], true[0], rtol=1e-6)
            ours = jax.tree.leaves(lanes.lane(many.generator.params, i))
            for leaf, theirs in zip(ours, jax.tree.leaves(one.generator.params), strict=True):
                np.testing.assert_allclose(leaf, theirs, rtol=1e-4, atol=1e-5)
                assert how == "vmap" or np.array_equal(leaf, theirs)


@pytest.mark.parametrize("how", ["loop", "map", "vmap", "devices"])
def test_every_way_is_the_plain_loop(how, key):
    def walk(shared, state, entry):
        return state + shared * entry

    run = lanes.Lanes(walk, how, donate=True)
    states, entries = jnp.arange(3.0), jax.random.normal(key, (3,))
    wanted = np.asarray(states) + 2.0 * np.asarray(entries)
    said = []
    seconds = run.compile(jnp.float32(2.0), states, entries, lambda: said.append(1))
    # Spread lanes compile at their first call.
    assert (seconds > 0) == (how != "devices") == bool(said)
    assert run.compile(jnp.float32(2.0), states, entries) == 0.0
    np.testing.assert_allclose(run(jnp.float32(2.0), states, entries), wanted, rtol=1e-6)


def test_bits_of_a_lane_depend_on_no_other_lane(cfg, images):
    """One at a time, three in a call: the same digits, where lanes run one after another."""
    for mapping in ("loop", "map"):
        one = answers(cfg, images, drift("drift"), chunk=1, mapping=mapping)
        three = answers(cfg, images, drift("drift"), chunk=3, mapping=mapping)
        assert one.keys() == three.keys() and len(one) == 3
        for name, p in one.items():
            assert np.array_equal(p, three[name]), mapping


def test_side_by_side_is_one_after_another(cfg, images):
    classifier = {"classifiers": ("cnn_lstm_rows",), "seeds": 2}
    cfg = change(cfg, "classifier", mode="end_to_end")
    one = answers(cfg, images, drift("drift"), chunk=1, mapping="loop", **classifier)
    two = answers(cfg, images, drift("drift"), chunk=2, mapping="vmap", **classifier)
    for name, p in one.items():
        np.testing.assert_allclose(p, two[name], atol=1e-4)
        assert p.shape == (len(p), 2) and np.ptp(p[:, 1]) > 0


def test_a_method_on_the_host_is_watched_alike(cfg, images):
    mapped = answers(cfg, images, drift("drift"), chunk=2)
    called = answers(cfg, images, drift("drift", mapped=False), chunk=2)
    for name, p in mapped.items():
        np.testing.assert_allclose(p, called[name], atol=1e-6)


# A run in a work directory.


def spoil_second(i, key):
    """NaN in the lane of seed 1, from its sixth step on."""
    own = jax.random.key_data(named_key(jax.random.key(0), "drift/all/true/1/0"))
    hit = (jax.random.key_data(key) == own).all()
    return jnp.where(hit & (i >= 5), jnp.nan, 0.0)


def run(workdir, images, generator, **how):
    records = from_arrays(images, ("no", "yes"), "made")
    cfg = dataclasses.replace(small(), intervals=4)
    console = Console(file=io.StringIO(), width=200)
    chosen = how.pop("options", options())
    try:
        results = ladder(
            cfg,
            images,
            records,
            workdir,
            options=chosen,
            generators=[generator],
            console=console,
            **how,
        )
    except (DivergedError, StoppedError) as error:
        return error, console.file.getvalue()
    return results, console.file.getvalue()


@pytest.fixture(scope="module")
def whole(images, tmp_path_factory):
    """A run that nothing disturbs, and which labels its lanes are told."""
    path = tmp_path_factory.mktemp("lanes") / "whole"
    results, text = run(path, images, drift("drift"), options=options(chunk=3, mapping="vmap"))
    return path, results, text


def test_one_line_says_how_many_lanes_train(whole):
    path, results, text = whole
    assert results["generators"] == ["drift"] and results["skipped"] == []
    assert f"gan {STEPS}/{STEPS}  3 lanes" in text or "3 fits" in text
    events = [line for line in (path / "metrics.jsonl").read_text().splitlines()]
    # Three lanes report four times each.
    assert len(events) == 3 * 4
    assert sorted(p.name for p in (path / "images").iterdir()) == [
        f"drift+all+true+{seed}+0.npz" for seed in range(3)
    ]


@pytest.mark.parametrize("mapping", ["vmap", "loop"])
def test_a_lane_that_diverges_takes_no_other_with_it(mapping, whole, images, tmp_path):
    chosen = options(chunk=3, mapping=mapping)
    error, text = run(tmp_path / "run", images, drift("drift", spoil_second), options=chosen)
    assert isinstance(error, DivergedError)
    assert "drift/all/true/1/0 diverged at step 6 of 12: loss is nan (the step before: " in str(
        error
    )
    # The others were finished and are kept.
    kept = sorted(p.name for p in (tmp_path / "run" / "images").iterdir())
    assert kept == [f"drift+all+true+{seed}+0.npz" for seed in range(3)]
    # What diverged keeps its checkpoints, if it had any; the others' are gone.
    left = {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()}
    assert left <= {"drift+all+true+1+0"}
    # The same command, told to skip it, trains nothing again and ends.
    results, text = run(
        tmp_path / "run", images, drift("drift", spoil_second), options=chosen, on_divergence="skip"
    )
    assert " fits  " not in text and "damaged" not in text
    assert [one["name"] for one in results["skipped"]] == ["P0/drift/ridge/true/1/0"]
    assert "diverged at step 6" in (tmp_path / "run" / "ladder.json").read_text()
    good = [row for row in rows(whole[0] / "predictions.csv") if row["seed"] != "1"]
    ours = rows(tmp_path / "run" / "predictions.csv")
    if mapping == "vmap":
        assert ours == good
    assert [row["id"] for row in ours] == [row["id"] for row in good]


def test_all_lanes_diverged_is_no_result(images, tmp_path):
    spoil = lambda i, key: jnp.where(i >= 5, jnp.nan, 0.0)  # noqa: E731
    error, text = run(tmp_path / "run", images, drift("drift", spoil), on_divergence="skip")
    assert isinstance(error, DivergedError) and "diverged at step 6" in str(error)


@pytest.mark.parametrize("mapping", ["vmap", "loop"])
@pytest.mark.parametrize("save_every", [0.0, 1e9])
def test_killed_inside_a_training(mapping, save_every, images, tmp_path, monkeypatch):
    """Killed in the second half of the first call's training: what was saved is gone on
    with, and the answers are those of the run that was not."""
    chosen = options(chunk=2, mapping=mapping)
    run(tmp_path / "whole", images, drift("drift"), options=chosen)
    monkeypatch.setattr(loop, "_CALL", 1e-9)
    calls = loop.Loop._call

    def killed(self, which, first, to):
        if first >= 7:
            raise KeyboardInterrupt
        return calls(self, which, first, to)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Loop, "_call", killed)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "run", images, drift("drift"), options=chosen, save_every=save_every)
    results, text = run(
        tmp_path / "run", images, drift("drift"), options=chosen, save_every=save_every
    )
    resumed = [line for line in text.splitlines() if line.startswith("resumed at step ")]
    if save_every == 0.0:
        assert len(resumed) == 1
        step = int(resumed[0].split()[3])
        assert 0 < step <= 7 and f"resumed at step {step} of {STEPS} (drift/all/true/0/0" in text
    else:
        # Nothing was saved: the training that was begun begins anew, and says so.
        assert len(resumed) == 1 and resumed[0].startswith(
            "resumed at step 0 of 12 (drift/all/true/0"
        )
    for name in ("predictions.csv", "ladder.json", "metrics.jsonl"):
        if name == "metrics.jsonl" and save_every > 0:
            continue
        ours, theirs = ((tmp_path / run / name).read_bytes() for run in ("run", "whole"))
        if name == "metrics.jsonl":
            # Speeds differ.
            assert ours.count(b"\n") == theirs.count(b"\n")
        else:
            assert ours == theirs
    assert not list((tmp_path / "run" / "checkpoints").iterdir())


def test_a_signal_inside_a_training_is_heard(images, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "_CALL", 1e-9)
    chosen = options(chunk=3, mapping="vmap")
    calls = loop.Loop._call

    def signalled(self, which, first, to):
        if first == 4:
            signal.raise_signal(signal.SIGTERM)
        return calls(self, which, first, to)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Loop, "_call", signalled)
        error, _ = run(tmp_path / "run", images, drift("drift"), options=chosen)
    assert isinstance(error, StoppedError) and error.signal == signal.SIGTERM
    assert "(drift/all/true/0/0 and 2 more), saved" in str(error)
    results, text = run(tmp_path / "run", images, drift("drift"), options=chosen)
    assert "goes on: 0 of 3 cells are done\nresumed at step " in text
    assert results["cells"][0]["n"] == 3 * 14


def test_lanes_saved_at_other_steps_catch_up(images, tmp_path, monkeypatch):
    """A kill between the saves of two lanes leaves one of them behind."""
    chosen = options(chunk=2, mapping="vmap")
    run(tmp_path / "whole", images, drift("drift"), options=chosen)
    monkeypatch.setattr(loop, "_CALL", 1e-9)
    saves = loop.checkpoint.Store.save

    def second_fails(self, step, state, meta):
        if self.path.name == "drift+all+true+1+0" and step >= 5:
            raise KeyboardInterrupt
        saves(self, step, state, meta)

    with monkeypatch.context() as patch:
        patch.setattr(loop.checkpoint.Store, "save", second_fails)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "run", images, drift("drift"), options=chosen, save_every=0.0)
    steps = {
        path.name: max(int(one.name) for one in path.iterdir() if one.name.isdigit())
        for path in (tmp_path / "run" / "checkpoints").iterdir()
    }
    assert steps["drift+all+true+0+0"] > steps["drift+all+true+1+0"] > 0
    run(tmp_path / "run", images, drift("drift"), options=chosen, save_every=0.0)
    ours, theirs = ((tmp_path / one / "predictions.csv").read_bytes() for one in ("run", "whole"))
    assert ours == theirs


@pytest.mark.parametrize(
    ("how", "match"),
    [
        ({"on_divergence": "ignore"}, "on_divergence is 'ignore': expected stop or skip"),
        ({"save_every": -1.0}, "save_every is -1.0: expected seconds, 0 or more"),
        ({"save_every": float("nan")}, "save_every is nan: expected seconds, 0 or more"),
    ],
)
def test_how_a_run_is_watched_is_checked(how, match, images, tmp_path):
    with pytest.raises(ConfigError, match=match):
        run(tmp_path / "run", images, drift("drift"), **how)
