"""The GAN step against the same step written plainly, and its contracts."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import change, small

from jaxbrain.config import OptimConfig
from jaxbrain.nn.discriminator import Discriminator
from jaxbrain.nn.generator import Generator
from jaxbrain.training import augment, gan, losses
from jaxbrain.types import Batch

STEP = jax.jit(gan.train_step, static_argnums=0)
INIT = jax.jit(gan.init, static_argnums=0)


def plain(**fields):
    """No randomness but the latents: no dropout, no flips, no augmentation, plain SGD."""
    sgd = OptimConfig(learning_rate=1.0, momentum=0.0, l2=0.0)
    options = dict(
        dropout=0.0, flip=0.0, augment="none", generator_optim=sgd, discriminator_optim=sgd
    )
    return change(small(), "gan", **(options | fields))


@functools.cache
def batch() -> Batch:
    key = jax.random.key(11)
    image = jax.random.uniform(key, (8, 32, 32, 1), minval=-1.0)
    label = jnp.arange(8, dtype=jnp.int32) % 2
    return Batch(image, label, jnp.ones((8,)))


def latents(cfg, key, step, index):
    """The step's own latents: key folded with the step, split by purpose."""
    keys = jax.random.split(jax.random.fold_in(key, step), 6)
    return jax.random.normal(keys[index], (8, cfg.gan.latent_size))


def moved(old, new):
    return jax.tree.map(lambda a, b: a - b, old.params, new.params)


def close(got, want, tolerance=1e-4):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        scale = max(float(jnp.abs(b).max()), 1e-3)
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize(
    ("loss", "bias"),
    [("hinge", 0.0), *(pytest.param("bce", x, marks=pytest.mark.slow) for x in (0.0, -60.0))],
)
def test_simultaneous_takes_both_gradients_at_the_old_parameters(key, loss, bias):
    """Also where a discriminator is so sure that its own gradient at synthetic images is
    next to nothing: the generator's is not."""
    cfg = plain(loss=loss)
    state, data = INIT(cfg, key), batch()
    state.discriminator.params["logit"]["bias"] += bias
    new, metrics = STEP(cfg, state, data, key)
    z = latents(cfg, key, 0, 0)

    @jax.jit
    def by_hand(params_g, params_d):
        def draw(params):
            variables = {"params": params, "batch_stats": state.generator.batch_stats}
            return Generator(cfg).apply(
                variables, z, data.label, train=True, mutable=["batch_stats"]
            )

        def judge(params, image):
            return Discriminator(cfg).apply({"params": params}, image, data.label, True)

        def d_loss(params):
            fake, _ = draw(params_g)
            none = jnp.zeros((8,), bool)
            real_logits = judge(params, data.image)
            return losses.discriminator_loss(loss, real_logits, judge(params, fake), none)

        def g_loss(params):
            fake, stats = draw(params)
            return losses.generator_loss(loss, judge(params_d, fake)), stats

        d_value, d_grads = jax.value_and_grad(d_loss)(params_d)
        (g_value, stats), g_grads = jax.value_and_grad(g_loss, has_aux=True)(params_g)
        return d_value, d_grads, g_value, g_grads, stats["batch_stats"]

    d_value, d_grads, g_value, g_grads, stats = by_hand(
        state.generator.params, state.discriminator.params
    )
    close(moved(state.discriminator, new.discriminator), d_grads)
    close(moved(state.generator, new.generator), g_grads)
    close(new.generator.batch_stats, stats)
    np.testing.assert_allclose(metrics["discriminator_loss"], 8 * d_value, rtol=1e-4)
    np.testing.assert_allclose(metrics["generator_loss"], 8 * g_value, rtol=1e-4)
    assert (int(new.step), float(metrics["count"])) == (1, 8.0)


def test_alternating_generator_sees_the_updated_discriminator(key):
    cfg = plain(update="alternating")
    state, data = INIT(cfg, key), batch()
    new, _ = STEP(cfg, state, data, key)
    z = latents(cfg, key, 0, 1)

    @jax.jit
    def by_hand(params_g, params_d):
        def g_loss(params):
            variables = {"params": params, "batch_stats": state.generator.batch_stats}
            fake, stats = Generator(cfg).apply(
                variables, z, data.label, train=True, mutable=["batch_stats"]
            )
            logits = Discriminator(cfg).apply({"params": params_d}, fake, data.label, True)
            return losses.generator_loss("bce", logits), stats

        return jax.grad(g_loss, has_aux=True)(params_g)

    grads, stats = by_hand(state.generator.params, new.discriminator.params)
    close(moved(state.generator, new.generator), grads)
    # BatchNorm's statistics come from the generator's own pass, once.
    close(new.generator.batch_stats, stats["batch_stats"])
    same, _ = STEP(plain(), state, data, key)
    close(new.discriminator.params, same.discriminator.params)


def test_r1_adds_its_gradient(key):
    cfg, with_r1 = plain(), plain(r1=0.3)
    state, data = INIT(cfg, key), batch()
    without, _ = STEP(cfg, state, data, key)
    new, _ = STEP(with_r1, state, data, key)

    def penalty(params):
        def judge(image):
            return Discriminator(cfg).apply({"params": params}, image, data.label, True)

        return losses.r1_penalty(judge, data.image)

    want = jax.jit(jax.grad(penalty))(state.discriminator.params)
    got = jax.tree.map(
        lambda a, b: (a - b) / 0.3, without.discriminator.params, new.discriminator.params
    )
    close(got, want, 1e-3)
    close(without.generator.params, new.generator.params)


def test_flip_calls_a_share_of_the_real_images_fake(key):
    """With half of 8 images flipped, the loss is that of exactly 4 flips."""
    cfg = plain(flip=0.5)
    state, data = INIT(cfg, key), batch()
    _, metrics = STEP(cfg, state, data, key)
    z = latents(cfg, key, 0, 0)
    variables = {
        "params": state.generator.params,
        "batch_stats": state.generator.batch_stats,
    }
    fake, _ = Generator(cfg).apply(variables, z, data.label, True, mutable=["batch_stats"])
    judge = {"params": state.discriminator.params}
    real_logits = Discriminator(cfg).apply(judge, data.image, data.label, True)
    fake_logits = Discriminator(cfg).apply(judge, fake, data.label, True)
    keys = jax.random.split(jax.random.fold_in(key, 0), 6)
    flip = jax.random.permutation(keys[2], 8) < 4
    assert int(flip.sum()) == 4
    want = losses.discriminator_loss("bce", real_logits, fake_logits, flip)
    np.testing.assert_allclose(metrics["discriminator_loss"], 8 * want, rtol=1e-4)


def test_average_halves_after_its_half_life(key):
    cfg = plain(average_half_life=2.0)
    state = INIT(cfg, key)
    keep = 0.5**0.5
    want = jax.tree.map(lambda p: p, state.average)
    for _ in range(2):
        state, _ = STEP(cfg, state, batch(), key)
        now = {"params": state.generator.params, "batch_stats": state.generator.batch_stats}
        want = jax.tree.map(lambda a, b: keep * a + (1 - keep) * b, want, now)
    close(state.average, want)
    # Samples come from the average.
    label = jnp.zeros((2,), jnp.int32)
    off = state._replace(average={})
    assert not np.array_equal(gan.sample(cfg, state, label, key), gan.sample(cfg, off, label, key))


def test_samples_do_not_depend_on_their_neighbours(key, cfg):
    state = INIT(cfg, key)
    label = jnp.asarray([0, 1, 1, 0], jnp.int32)
    sample = jax.jit(gan.sample, static_argnums=0)
    image = sample(cfg, state, label, key)
    again = sample(cfg, state, label.at[0].set(1), key)
    np.testing.assert_allclose(image[1:], again[1:], atol=1e-6)
    assert image.dtype == jnp.float32
    np.testing.assert_array_equal(image, sample(cfg, state, label, key))


@pytest.mark.parametrize("preset", ["sgdm", "adam"])
def test_either_optimiser_trains_either_net(key, preset):
    optim = OptimConfig(preset, 1e-3)
    cfg = plain(generator_optim=optim, discriminator_optim=optim)
    state = INIT(cfg, key)
    new, metrics = STEP(cfg, state, batch(), key)
    chex.assert_tree_all_finite((new, metrics))
    for old, now in zip(
        jax.tree.leaves(state.generator.params),
        jax.tree.leaves(new.generator.params),
        strict=True,
    ):
        assert old.shape == now.shape
    assert float(jnp.abs(moved(state.generator, new.generator)["image"]["kernel"]).max()) > 0


def test_one_trace_for_equal_configurations(key):
    traced = chex.assert_max_traces(gan.train_step, n=1)
    step = jax.jit(traced, static_argnums=0)
    state = INIT(plain(), key)
    for i in range(3):
        # A rebuilt but equal configuration must not trace again.
        state, _ = step(plain(), state, batch(), jax.random.key(i))
    assert int(state.step) == 3
    chex.clear_trace_counter()


def test_border_refuses_wrong_shapes(key, cfg):
    state = INIT(cfg, key)
    wrong = batch()._replace(image=jnp.zeros((8, 16, 16, 1)))
    with pytest.raises(AssertionError, match="shape"):
        gan.train_step(cfg, state, wrong, key)
    wrong = batch()._replace(image=jnp.zeros((8, 32, 32, 1), jnp.uint8))
    with pytest.raises(AssertionError):
        gan.train_step(cfg, state, wrong, key)


def test_keys_differ_from_step_to_step(key):
    """The same state at another step number draws other latents."""
    cfg = plain()
    state = INIT(cfg, key)
    one, _ = STEP(cfg, state, batch(), key)
    other, _ = STEP(cfg, state._replace(step=jnp.int32(5)), batch(), key)
    assert not np.array_equal(
        one.generator.params["image"]["kernel"], other.generator.params["image"]["kernel"]
    )


def judged(cfg, state, key, real):
    """The logits that the step reports, as mean scores of real and fake images."""
    _, metrics = STEP(cfg, state, batch()._replace(image=real), key)
    return float(metrics["real_score"]), float(metrics["fake_score"])


def test_reflection_touches_real_images_only(key):
    cfg = plain(augment="reflect")
    state = INIT(cfg, key)
    keys = jax.random.split(jax.random.fold_in(key, 0), 6)
    mirrored = augment.reflect(batch().image, jax.random.split(keys[3], 8))
    real, fake = judged(cfg, state, key, batch().image)
    want_real, want_fake = judged(plain(), state, key, mirrored)
    assert real == pytest.approx(want_real, rel=1e-5)
    assert fake == pytest.approx(want_fake, rel=1e-5)
    assert abs(real - judged(plain(), state, key, batch().image)[0]) > 1e-4


@pytest.mark.slow
def test_diffaug_touches_real_and_synthetic_images(key):
    cfg = plain(augment="diffaug")
    state = INIT(cfg, key)
    keys = jax.random.split(jax.random.fold_in(key, 0), 6)
    real_key, fake_key, _ = jax.random.split(keys[4], 3)
    z = latents(cfg, key, 0, 0)
    variables = {"params": state.generator.params, "batch_stats": state.generator.batch_stats}
    fake, _ = Generator(cfg).apply(variables, z, batch().label, train=True, mutable=["batch_stats"])

    def score(image, key):
        keys = jax.random.split(jax.random.split(key)[0], 8)
        image = augment.diffaug(image, keys)
        judge = {"params": state.discriminator.params}
        logits = Discriminator(cfg).apply(judge, image, batch().label, True)
        return float(jax.nn.sigmoid(logits).sum())

    got = judged(cfg, state, key, batch().image)
    assert got[0] == pytest.approx(score(batch().image, real_key), rel=1e-4)
    assert got[1] == pytest.approx(score(fake, fake_key), rel=1e-4)
    assert got[1] != pytest.approx(judged(plain(), state, key, batch().image)[1], rel=1e-4)


def test_input_dropout_is_on_while_training(key):
    state = INIT(plain(), key)
    with_dropout = judged(plain(dropout=0.75), state, key, batch().image)
    without = judged(plain(), state, key, batch().image)
    assert abs(with_dropout[0] - without[0]) > 1e-3
    assert abs(with_dropout[1] - without[1]) > 1e-3


@pytest.mark.slow
def test_two_devices_agree_with_one_another(key):
    """Under a device axis gradients, BatchNorm and metrics are those of the whole batch."""
    cfg = plain()
    state = INIT(cfg, key)
    step = functools.partial(gan.train_step, cfg, axis_name="devices")
    halves = jax.tree.map(lambda x: x.reshape(2, 4, *x.shape[1:]), batch())
    mapped = jax.pmap(step, axis_name="devices", in_axes=(None, 0, None))
    new, metrics = mapped(state, halves, key)
    for leaf in jax.tree.leaves((new, metrics)):
        np.testing.assert_array_equal(leaf[0], leaf[1])
    np.testing.assert_array_equal(metrics["count"], [8.0, 8.0])
    old = state.generator.batch_stats["norm1"]["norm"]["mean"]
    assert not np.array_equal(new.generator.batch_stats["norm1"]["norm"]["mean"][0], old)
