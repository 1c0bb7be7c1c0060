"""Several devices give what one gives: steps, trainings, entries spread, processes."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import SMALL, change, small
from test_training_loops import images

from jaxbrain import config
from jaxbrain.config import OptimConfig
from jaxbrain.errors import ConfigError
from jaxbrain.runs import checkpoint
from jaxbrain.training import classifier, devices, gan, loops
from jaxbrain.types import Batch

pytestmark = pytest.mark.smoke

SGD = OptimConfig(learning_rate=0.05, l2=0.0)


def plain(**fields):
    """SGD and no dropout; reflections and flipped labels stay on."""
    options = dict(dropout=0.0, generator_optim=SGD, discriminator_optim=SGD)
    cfg = change(small(), "gan", **(options | fields))
    return change(cfg, "hybrid", dropout=0.0)


def batch(size: int, count: int = 8) -> Batch:
    image = jax.random.uniform(jax.random.key(3), (count, size, size, 1), minval=-1.0)
    return Batch(image, jnp.arange(count, dtype=jnp.int32) % 2, jnp.ones((count,)))


def close(got, want, tolerance=1e-5) -> None:
    chex.assert_trees_all_close(got, want, rtol=tolerance, atol=tolerance)


WRAP = {"pmap": devices.pmap_step, "sharded": devices.sharded_step}


@pytest.mark.parametrize(
    "how, update",
    [
        pytest.param("pmap", "alternating", marks=pytest.mark.slow),
        ("sharded", "simultaneous"),
        pytest.param("pmap", "simultaneous", marks=pytest.mark.slow),
        pytest.param("sharded", "alternating", marks=pytest.mark.slow),
    ],
)
def test_gan_step_on_two_devices_equals_one(key, how, update):
    cfg = plain(update=update)
    init = jax.jit(gan.init, static_argnums=0)
    want, want_metrics = jax.jit(gan.train_step, static_argnums=0)(
        cfg, init(cfg, key), batch(32), key
    )
    state = init(cfg, key)
    new, metrics = WRAP[how](partial(gan.train_step, cfg), 2)(state, batch(32), key)
    assert jax.tree.map(jnp.shape, new) == jax.tree.map(jnp.shape, want)
    close((new, metrics), (want, want_metrics))
    # Not by doing nothing, and BatchNorm saw the whole batch.
    old = init(cfg, key)
    nets = jax.device_get((old.generator, want.generator))
    moved = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), *nets)
    assert max(jax.tree.leaves(moved.params)) > 1e-3
    assert max(jax.tree.leaves(moved.batch_stats)) > 1e-3
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state.generator.params))


@pytest.mark.parametrize("how", ["pmap", pytest.param("sharded", marks=pytest.mark.slow)])
def test_classifier_step_on_two_devices_equals_one(key, how):
    """Unequal weights on the two devices; augmentation on."""
    cfg = change(plain(), "classifier", mode="end_to_end", augment="standard")
    state = jax.jit(classifier.init, static_argnums=0)(cfg, key)
    rows = batch(16, 6)._replace(weight=jnp.asarray([1.0, 1, 0.5, 1, 0, 0]))
    want = jax.jit(classifier.train_step, static_argnums=0)(cfg, state, rows, key)
    got = WRAP[how](partial(classifier.train_step, cfg), 2)(state, rows, key)
    close(got, want)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["pmap", "sharded"])
def test_dropout_is_that_of_the_step_mapped_on_one_device(key, how):
    """The stated reference: each device's masks come from its own key, as those of a
    `vmap` with the same axis name on one device do."""
    cfg = plain(dropout=0.5)
    state = jax.jit(gan.init, static_argnums=0)(cfg, key)
    halves = jax.tree.map(lambda x: x.reshape(2, 4, *x.shape[1:]), batch(32))
    step = partial(gan.train_step, cfg, axis_name=devices.AXIS)
    mapped = jax.vmap(step, in_axes=(None, 0, None), axis_name=devices.AXIS)
    want = jax.tree.map(lambda leaf: leaf[0], jax.jit(mapped)(state, halves, key))
    one, _ = jax.jit(gan.train_step, static_argnums=0)(cfg, state, batch(32), key)
    got = WRAP[how](partial(gan.train_step, cfg), 2)(state, batch(32), key)
    close(got, want)
    apart = jax.tree.map(
        lambda a, b: float(jnp.abs(a - b).max()), got[0].discriminator, one.discriminator
    )
    assert max(jax.tree.leaves(apart.params)) > 1e-4


@pytest.mark.parametrize("how", ["pmap", "sharded"])
def test_a_batch_that_devices_do_not_divide(key, how):
    cfg = plain()
    step = WRAP[how](partial(gan.train_step, cfg), 2)
    state = jax.eval_shape(partial(gan.init, cfg), key)
    with pytest.raises(ConfigError, match="batch of 7: expected a multiple of 2"):
        step(state, batch(32, 7), key)
    with pytest.raises(ConfigError, match="gan.batch_size is 7: .* multiple of 2"):
        loops.gan_plan(plain(batch_size=7), 20, 2)
    with pytest.raises(ConfigError, match=r"classifier.batch_size is 5: .*partial pad"):
        loops.classifier_plan(cfg, 20, 2)


def test_devices_that_are_not_there():
    with pytest.raises(ConfigError, match="devices is 9: expected 1 to 2"):
        devices.devices(9)
    with pytest.raises(ConfigError, match="parallel is 'mpi'"):
        devices.training(lambda state: state, "mpi")
    with pytest.raises(ConfigError, match="all three or none"):
        devices.start("localhost:1")


@pytest.mark.slow
def test_padded_training_on_two_devices_equals_one(key):
    """Batches of 5 on 2 devices: a row of weight 0 in each."""
    cfg = change(plain(), "classifier", partial="pad", shuffle="every_epoch", batch_size=5)
    data = images(13, 16)

    def run(state, data, key, stop, axis_name):
        return loops.train_classifier(cfg, data, key, state=state, stop=stop, axis_name=axis_name)

    def start():
        return loops.init_classifier(cfg, data, key)

    stop = jnp.int32(loops.classifier_steps(cfg, 13)[1])
    want = devices.training(run, "none")(start(), data, key, stop)
    step = devices.training(run, "sharded", 2)
    compiled = step.lower(start(), data, key, jnp.int32(0)).compile()
    state, first = compiled(start(), data, key, jnp.int32(4))
    state, rest = compiled(state, data, key, stop)
    close(state, want[0], 1e-4)
    loss = np.where(np.isnan(first.metrics["loss"]), rest.metrics["loss"], first.metrics["loss"])
    np.testing.assert_allclose(loss, want[1].metrics["loss"], rtol=1e-4)
    assert float(want[1].metrics["count"].sum()) == 13 * 4


def test_entries_spread_over_devices_equal_a_loop(key):
    cfg, data = change(plain(), "classifier", mode="cnn"), images(12, 16)

    def run(key):
        state, history = loops.train_classifier(cfg, data, key)
        return state.cnn.params, history.metrics["loss"]

    keys = jax.random.split(key, 3)
    got = jax.device_get(devices.spread(run, 2)(keys))
    assert got[1].shape == (3, loops.classifier_steps(cfg, 12)[1])
    assert len({leaf.tobytes() for leaf in got[1]}) == 3
    one = jax.jit(run)
    for i in range(3):
        close(jax.tree.map(lambda leaf, i=i: leaf[i], got), one(keys[i]))


EIGHT = """
import sys
sys.path.insert(0, {tests!r})
import conftest
import jax
jax.config.update("jax_num_cpu_devices", 8)
import chex, jax.numpy as jnp
from test_training_devices import SGD, plain
from test_training_loops import images
from conftest import change
from jaxbrain.training import devices, loops

key = jax.random.key(0)
cfg = change(plain(), "classifier", batch_size=8, optim=SGD)
gan_data, data = images(20, 32), images(20, 16)

def gan_run(state, data, key, axis_name):
    return loops.train_gan(cfg, data, key, state=state, axis_name=axis_name)

def run(state, data, key, axis_name):
    return loops.train_classifier(cfg, data, key, state=state, axis_name=axis_name)

want = devices.training(gan_run, "none")(loops.init_gan(cfg, key), gan_data, key)
for how in ("pmap", "sharded"):
    got = devices.training(gan_run, how, 8)(loops.init_gan(cfg, key), gan_data, key)
    chex.assert_trees_all_close(got, want, rtol=1e-4, atol=1e-5)
    assert len(jax.tree.leaves(got)[0].sharding.device_set) == 8
start = loops.init_classifier(cfg, data, key)
want = devices.training(run, "none")(start, data, key)
start = loops.init_classifier(cfg, data, key)
got = devices.training(run, "pmap", 8)(start, data, key)
chex.assert_trees_all_close(got, want, rtol=1e-4, atol=1e-5)
print("equal on", len(jax.devices()))
"""


@pytest.mark.slow
def test_eight_devices_equal_one():
    code = EIGHT.format(tests=os.path.dirname(__file__))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "equal on 8"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def curves(workdir) -> list[dict]:
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k != "images_per_second"} for row in rows]


COMMAND = [sys.executable, "-m", "jaxbrain", "paper", *SMALL]
COMMAND += ["--gan.dropout", "0", "--hybrid.dropout", "0"]
# Compilation is most of the time of these runs.
ENVIRONMENT = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}


@pytest.fixture(scope="module")
def one_process(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("one") / "run"
    command = [*COMMAND, "--workdir", str(workdir), "--cache", "off"]
    subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True)
    return curves(workdir)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["pmap", "sharded"])
def test_two_processes_equal_one(how, one_process, tmp_path):
    """The entry point in two real processes that meet over gloo, against one process with
    one device: the same loss curve, and a checkpoint that can be read."""
    workdir, cache = tmp_path / "two", tmp_path / "cache"
    command = [*COMMAND, "--workdir", str(workdir), "--cache", str(cache)]
    command += ["--parallel", how, "--devices", "2", "--num-processes", "2"]
    command += ["--coordinator", f"127.0.0.1:{free_port()}", "--process-id"]
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    started = [subprocess.Popen([*command, str(i)], **pipes) for i in range(2)]
    for process in started:
        out, error = process.communicate(timeout=250)
        assert process.returncode == 0, error + out
    two = curves(workdir)
    assert len(one_process) == len(two) == 4
    for a, b in zip(one_process, two, strict=True):
        for name in ("lane", "training"):
            assert a[name] == b.pop(name)
        assert b == pytest.approx({name: a[name] for name in b}, rel=1e-4)
    assert list(cache.iterdir())
    settings = json.loads((workdir / "config.json").read_text())["config"]["gan"]
    for name in ("generator_optim", "discriminator_optim"):
        settings[name] = OptimConfig(**settings[name])
    cfg = change(config.tiny(), "gan", **settings)
    like = jax.eval_shape(partial(gan.init, cfg), jax.random.key(0))
    state = checkpoint.restore(workdir / "checkpoints" / "seed0" / "gan", like)
    assert int(state.step) == 6
    # The second process left nothing.
    assert {path.name for path in tmp_path.iterdir()} == {"two", "cache"}


@pytest.mark.slow
def test_two_processes_stop_together_and_go_on(one_process, tmp_path):
    """SIGTERM to the second process alone: both save and leave with 143; started again they
    end in the curve of a whole run."""
    workdir = tmp_path / "two"
    command = [*COMMAND, "--workdir", str(workdir), "--cache", str(tmp_path / "cache")]
    command += ["--parallel", "sharded", "--devices", "2", "--num-processes", "2"]
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)

    def start():
        meet = ["--coordinator", f"127.0.0.1:{free_port()}", "--process-id"]
        return [subprocess.Popen([*command, *meet, str(i)], **pipes) for i in range(2)]

    started = start()
    path = workdir / "metrics.jsonl"
    while started[0].poll() is None and not (path.exists() and path.read_text()):
        time.sleep(0.01)
    started[1].send_signal(signal.SIGTERM)
    for process in started:
        out, error = process.communicate(timeout=250)
        assert process.returncode == 143, error + out
    for i, process in enumerate(start()):
        out, error = process.communicate(timeout=250)
        assert process.returncode == 0, error + out
        assert ("resumed at step" in out) == (i == 0)
    for a, b in zip(one_process, curves(workdir), strict=True):
        for name in ("lane", "training"):
            assert a[name] == b.pop(name)
        assert b == pytest.approx({name: a[name] for name in b}, rel=1e-4)


ROWS = """
import sys
import jax, jax.numpy as jnp, numpy as np
from jaxbrain.training import devices
port, own = sys.argv[1], int(sys.argv[2])
devices.start("127.0.0.1:" + port, 2, own)

def step(state, batch, key, axis_name):
    return state + jax.lax.pmean(batch.mean(0), axis_name), jax.lax.psum(batch.sum(), axis_name)

rows = np.arange(16, dtype=np.float32).reshape(8, 2) ** 2
mine = rows[4 * own : 4 * own + 4]
want = rows.mean(0)
for make, batch in (
    (devices.pmap_step, mine),
    (devices.sharded_step, devices.rows_from_process(mine)),
):
    state, total = make(step)(np.zeros(2, np.float32), batch, jax.random.key(0))
    np.testing.assert_allclose(jax.device_get(state), want, rtol=1e-6)
    np.testing.assert_allclose(jax.device_get(total), rows.sum(), rtol=1e-6)
"""


def test_a_process_brings_its_own_rows():
    """Two processes with half a batch each take the step of the whole batch."""
    command = [sys.executable, "-c", ROWS, str(free_port())]
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    started = [subprocess.Popen([*command, str(i)], **pipes) for i in range(2)]
    for process in started:
        out, error = process.communicate(timeout=120)
        assert process.returncode == 0, error + out
