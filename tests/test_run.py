"""The loop over chunks and its console, and the presets at their full size."""

import io

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from jaxbrain import config, loop, record, train
from jaxbrain.data import phantom
from jaxbrain.errors import DivergedError
from jaxbrain.types import Dataset, History


def test_divergence_at_the_last_update_is_seen(tmp_path):
    """Metrics come from before an update, so they miss the last one's result."""
    metrics = {"loss": jnp.ones((4,)), "count": jnp.ones((4,))}

    def step(state, stop):
        return {"kernel": jnp.full((2,), jnp.nan if stop == 4 else 1.0)}, History(metrics)

    def fit(total):
        with record.Log(tmp_path, Console(file=io.StringIO())) as log:
            return loop.run(log, 7, "gan", step, {}, total, 1, 2, lambda state, stop: None)

    assert fit(3)["kernel"].tolist() == [1.0, 1.0]
    with pytest.raises(DivergedError, match="gan of seed 7 diverged at its last step, 4"):
        fit(4)


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
        lambda d, k: train.train_gan(cfg, d, k), data(198, cfg.gan.image_size), key
    )
    assert trained[1].metrics["count"].shape == (cfg.gan.steps,)
    trained = jax.eval_shape(
        lambda d, k: train.train_classifier(cfg, d, k), data(280, cfg.data.image_size), key
    )
    _, total = train.classifier_steps(cfg, 280)
    assert trained[1].metrics["count"].shape == (total,)
    if preset is config.paper:
        assert total == 720  # 18 steps an epoch, 20 epochs, two stages


def test_paper_preset_takes_a_step(key, optimised):
    """A single step of each training at full width: finite, and the state moves."""
    cfg = config.paper()
    data, _ = phantom.folder(config.DataConfig(n_per_class=64), cfg.gan.image_size)
    state, history = jax.jit(train.train_gan, static_argnums=0)(cfg, data, key, stop=1)
    assert np.isfinite(history.metrics["generator_loss"][0])
    assert int(state.step) == 1
    chex.assert_tree_all_finite(state)
    small, _ = phantom.folder(config.DataConfig(n_per_class=8), cfg.data.image_size)
    state, history = jax.jit(train.train_classifier, static_argnums=0)(cfg, small, key, stop=1)
    assert np.isfinite(history.metrics["loss"][0])
