"""SGDM equals MATLAB's update, L2 acts where it should, schedules have their shape."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import change, small
from test_training_loops import images

from jaxbrain.config import OptimConfig
from jaxbrain.errors import ConfigError
from jaxbrain.training import loops, optim
from jaxbrain.types import NetState

pytestmark = pytest.mark.smoke


def run(transform, params, gradients):
    state = transform.init(params)
    for gradient in gradients:
        updates, state = transform.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    return params


def trees(steps: int):
    rng = np.random.default_rng(3)

    def tree():
        return {
            "lstm": {
                "kernel": jnp.asarray(rng.normal(size=(3, 2)), jnp.float32),
                "recurrent_kernel": jnp.asarray(rng.normal(size=(2, 2)), jnp.float32),
                "bias": jnp.asarray(rng.normal(size=2), jnp.float32),
            },
            "norm": {"scale": jnp.asarray(rng.normal(size=2), jnp.float32)},
        }

    return tree(), [tree() for _ in range(steps)]


def test_sgdm_equals_matlab():
    """theta <- theta - lr g + 0.9 (theta - theta_previous), g with l2 * kernels."""
    params, gradients = trees(5)
    got = run(optim.sgdm(0.01, 0.9, 0.05), params, gradients)
    decays = {"kernel": 0.05, "recurrent_kernel": 0.05, "bias": 0.0, "scale": 0.0}
    for layer, leaves in params.items():
        for name, start in leaves.items():
            theta, step = np.float64(start), 0.0
            for gradient in gradients:
                g = np.float64(gradient[layer][name]) + decays[name] * theta
                step = -0.01 * g + 0.9 * step
                theta = theta + step
            np.testing.assert_allclose(got[layer][name], theta, rtol=1e-5, atol=1e-6)


def test_decay_enters_before_the_momentum():
    """With zero gradients the second step is larger than the first: momentum carries the
    decay. Decay after the momentum (as in AdamW) would shrink both alike."""
    params, _ = trees(0)
    zero = jax.tree.map(jnp.zeros_like, params)
    one = run(optim.sgdm(0.1, 0.9, 0.5), params, [zero])
    two = run(optim.sgdm(0.1, 0.9, 0.5), params, [zero, zero])
    first = np.abs(one["lstm"]["kernel"] - params["lstm"]["kernel"])
    second = np.abs(two["lstm"]["kernel"] - one["lstm"]["kernel"])
    assert (second > 1.5 * first).all()
    np.testing.assert_array_equal(two["lstm"]["bias"], params["lstm"]["bias"])


def test_defaults_are_matlabs():
    cfg = OptimConfig()
    assert (cfg.name, cfg.learning_rate, cfg.momentum, cfg.l2) == ("sgdm", 0.01, 0.9, 1e-4)


def test_adam_equals_its_definition():
    params, gradients = trees(4)
    got = run(optim.make(OptimConfig("adam", 0.1, b1=0.5, b2=0.9, l2=0.0)), params, gradients)
    theta = np.float64(params["lstm"]["kernel"])
    m = v = 0.0
    for t, gradient in enumerate(gradients, 1):
        g = np.float64(gradient["lstm"]["kernel"])
        m, v = 0.5 * m + 0.5 * g, 0.9 * v + 0.1 * g * g
        theta = theta - 0.1 * (m / (1 - 0.5**t)) / (np.sqrt(v / (1 - 0.9**t)) + 1e-8)
    np.testing.assert_allclose(got["lstm"]["kernel"], theta, rtol=1e-4)


def test_clip_norm():
    params, (gradient,) = trees(1)
    got = run(optim.make(OptimConfig(momentum=0.0, l2=0.0, clip_norm=0.5)), params, [gradient])
    moved = optax.tree.norm(jax.tree.map(jnp.subtract, got, params))
    np.testing.assert_allclose(moved, 0.01 * 0.5, rtol=1e-4)


def test_schedules():
    constant = OptimConfig()
    assert optim.schedule(constant, jnp.int32(7), 10) == 1.0
    cosine = OptimConfig(schedule="warmup_cosine", warmup=0.1)
    factor = [float(optim.schedule(cosine, jnp.int32(i), 100)) for i in range(100)]
    assert factor[:10] == pytest.approx([(i + 0.5) / 10 for i in range(10)], rel=1e-5)
    done = (np.arange(10, 100) + 0.5) / 100
    want = 0.5 * (1 + np.cos(np.pi * (done - 0.1) / 0.9))
    np.testing.assert_allclose(factor[10:], want, rtol=1e-4, atol=1e-6)


def test_one_cycle_rises_and_falls_in_half_cosines():
    cycle = OptimConfig(schedule="one_cycle", warmup=0.2)
    factor = [float(optim.schedule(cycle, jnp.int32(i), 100)) for i in range(100)]
    done = (np.arange(100) + 0.5) / 100
    rise = 0.04 + 0.96 * (1 - np.cos(np.pi * done / 0.2)) / 2
    fall = (1 + np.cos(np.pi * (done - 0.2) / 0.8)) / 2
    np.testing.assert_allclose(factor, np.where(done < 0.2, rise, fall), rtol=1e-4, atol=1e-6)


def test_decoupled_decay_is_adamw():
    """With the schedule, which scales the decay too; biases are left out."""
    params, gradients = trees(4)
    cfg = OptimConfig("adam", 0.01, l2=0.0, weight_decay=0.3, schedule="warmup_cosine", warmup=0.5)
    rate = lambda i: 0.01 * optim.schedule(cfg, i, 4)  # noqa: E731
    adamw = optax.adamw(rate, weight_decay=0.3, mask=optim.kernels)
    net = NetState(params, {}, optim.make(cfg).init(params))
    for i, gradient in enumerate(gradients):
        net = optim.update(cfg, gradient, net, jnp.int32(i), 4)
    with jax.numpy_dtype_promotion("standard"):
        want = run(adamw, params, gradients)
    for got, wanted in zip(*map(jax.tree.leaves, (net.params, want)), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


def test_update_scales_by_the_schedule():
    params, (gradient,) = trees(1)
    cfg = OptimConfig(momentum=0.0, l2=0.0, schedule="warmup_cosine", warmup=0.5)
    net = NetState(params, {}, optim.make(cfg).init(params))
    new = optim.update(cfg, gradient, net, jnp.int32(1), 10)
    want = params["lstm"]["bias"] - 0.01 * 0.3 * gradient["lstm"]["bias"]
    np.testing.assert_allclose(new.params["lstm"]["bias"], want, rtol=1e-5)


@dataclasses.dataclass(frozen=True)
class Lion:
    """An optimiser of a user's own, with a state of its own and a schedule of optax's."""

    rate: float = 0.5

    def make(self):
        return optax.lion(optax.linear_schedule(self.rate, 0.0, 4), b1=0.9, weight_decay=0.0)


def test_an_own_optimiser_updates_by_its_own_rule():
    """Lion moves every weight by the rate, here falling from 0.5 by an eighth a step."""
    params, gradients = trees(3)
    net = NetState(params, {}, optim.make(Lion()).init(params))
    for i, gradient in enumerate(gradients):
        old, net = net, optim.update(Lion(), gradient, net, jnp.int32(i), 3)
        gone = np.abs(np.float64(net.params["norm"]["scale"] - old.params["norm"]["scale"]))
        np.testing.assert_allclose(gone, 0.5 - i / 8, rtol=1e-5)
    assert not optim.has_schedule(Lion())


def test_either_net_and_the_classifier_train_by_an_own_optimiser(key):
    """With Lion every weight whose gradient is not 0 moves by the rate alone."""
    own = Lion(0.25)
    cfg = change(small(), "gan", generator_optim=own, discriminator_optim=own, steps=1)
    cfg = change(cfg, "classifier", optim=own, mode="cnn", epochs=1, batch_size=13)
    assert hash(cfg) == hash(dataclasses.replace(cfg))
    first = jax.jit(loops.init_gan, static_argnums=0)(cfg, key)
    state, _ = jax.jit(loops.train_gan, static_argnums=0)(cfg, images(8, 32), key)
    for name in ("generator", "discriminator"):
        nets = (jax.device_get(getattr(one, name).params) for one in (first, state))
        moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), *nets)
        np.testing.assert_allclose(jax.tree.leaves(moved), 0.25, rtol=1e-5)
    first = jax.jit(loops.init_classifier, static_argnums=0)(cfg, images(13, 16), key)
    state, _ = jax.jit(loops.train_classifier, static_argnums=0)(cfg, images(13, 16), key)
    bias = np.abs(state.cnn.params["fc_out"]["bias"] - first.cnn.params["fc_out"]["bias"])
    np.testing.assert_allclose(bias, 0.25, rtol=1e-5)


@pytest.mark.parametrize("cfg", [OptimConfig(), OptimConfig("adam", 0.1), Lion()])
def test_lr_scale_multiplies_the_update(cfg):
    params, (gradient,) = trees(1)
    net = NetState(params, {}, optim.make(cfg).init(params))

    def update(scale):
        return optim.update(cfg, gradient, net, jnp.int32(0), 3, scale)

    whole, nothing, once = update(None), update(0.0), update(jnp.float32(1.0))
    jax.tree.map(np.testing.assert_array_equal, once, whole)
    jax.tree.map(np.testing.assert_array_equal, nothing.params, params)
    lanes = jax.vmap(update)(jnp.asarray([0.5, 2.0]))
    for lane, scale in enumerate((0.5, 2.0)):
        for start, full, got in zip(
            *map(jax.tree.leaves, (params, whole.params, lanes.params)), strict=True
        ):
            np.testing.assert_allclose(got[lane] - start, scale * (full - start), atol=1e-6)
    with pytest.raises(ConfigError, match=r"lr_scale has shape \[2\]: expected one number"):
        update(jnp.ones((2,)))
