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
from jaxbrain.training import augment, codes, devices, gan, plans
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


def moved(old, new):
    return jax.tree.map(lambda a, b: a - b, *map(jax.device_get, (old.params, new.params)))


def close(got, want, tolerance=1e-4):
    # In NumPy: each shape would be a program of its own.
    got, want = jax.device_get((got, want))
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        # Biases before BatchNorm have no gradient but rounding.
        scale = max(float(np.abs(b).max()), 1e-2)
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * scale)


@functools.partial(jax.jit, static_argnums=0)
def by_hand(cfg, state, data, key):
    """The step as its two losses written out, each with a gradient of its own: the losses,
    their gradients, the generator's batch_stats."""
    options = cfg.gan
    keys = jax.random.split(jax.random.fold_in(key, state.step), 9)
    z_key, fresh_key, flip_key, reflect_key, judge_key, fool_key, *_, code_key = keys
    real_key, fake_key, penalty_key = jax.random.split(judge_key, 3)
    real = data.image
    if options.augment in ("reflect", "gentle"):
        real = augment.reflect(real, jax.random.split(reflect_key, 8))
    flip = jax.random.permutation(flip_key, 8) < int(options.flip * 8)

    def latents(key):
        return options.spread * jax.random.normal(key, (8, options.latent_size))

    def draw(params, z):
        variables = {"params": params, "batch_stats": state.generator.batch_stats}
        return Generator(cfg).apply(variables, z, data.label, True, mutable=["batch_stats"])

    def judge(params, image, key):
        augment_key, dropout_key = jax.random.split(key)
        if options.augment in ("diffaug", "gentle"):
            change = getattr(augment, options.augment)
            image = change(image, jax.random.split(augment_key, 8))
        rngs = {"dropout": dropout_key}
        return Discriminator(cfg).apply({"params": params}, image, data.label, True, rngs=rngs)

    def loss_d(params):
        fake, _ = draw(state.generator.params, latents(z_key))
        real_logits, fake_logits = judge(params, real, real_key), judge(params, fake, fake_key)
        signed = jnp.where(flip, -real_logits, real_logits)
        if options.loss == "bce":
            p_real, p_fake = jax.nn.sigmoid(signed), jax.nn.sigmoid(fake_logits)
            loss = -jnp.log(p_real).mean() - jnp.log1p(-p_fake).mean()
        else:
            loss = jnp.maximum(0, 1 - signed).mean() + jnp.maximum(0, 1 + fake_logits).mean()
        if options.r1 == 0:
            return loss, loss
        slope = jax.grad(lambda image: judge(params, image, penalty_key).sum())(real)
        weight = jnp.where(state.step % options.r1_every == 0, options.r1 * options.r1_every, 0.0)
        return loss + weight / 2 * (slope**2).sum((1, 2, 3)).mean(), loss

    grads_d, value_d = jax.grad(loss_d, has_aux=True)(state.discriminator.params)
    judge_params, z = state.discriminator.params, latents(z_key)
    judged_key = fake_key
    if options.update == "alternating":
        # SGD at a rate of 1.
        judge_params = jax.tree.map(lambda p, g: p - g, judge_params, grads_d)
        z, judged_key = latents(fresh_key), fool_key
    if options.anchor:
        noise = jax.random.normal(code_key, (8, options.latent_size))
        code = codes.of(state.codes, real, data.label, noise, options.spread)
        z = jnp.stack([code[i] if i % 2 else z[i] for i in range(8)])

    def loss_g(params):
        fake, stats = draw(params, z)
        logits = judge(judge_params, fake, judged_key)
        loss = -jax.nn.log_sigmoid(logits).mean() if options.loss == "bce" else -logits.mean()
        if options.anchor:
            # The mean over the four images that were drawn at a code.
            loss += options.anchor * codes.difference(fake[1::2], real[1::2]).mean()
        return loss, stats["batch_stats"]

    (value_g, stats), grads_g = jax.value_and_grad(loss_g, has_aux=True)(state.generator.params)
    return value_d, grads_d, value_g, grads_g, stats


@functools.partial(jax.jit, static_argnums=0)
def fitted(cfg, data):
    seen = jnp.round((data.image + 1.0) * 127.5).astype(jnp.uint8)
    return codes.fit(cfg, codes.small(seen), data.label)


# As the preset `paper` trains, dropout, flips and reflections included.
PAPER = dict(dropout=0.75, flip=0.5, augment="reflect")
ALTERNATING = dict(loss="hinge", update="alternating", r1=0.3, augment="diffaug")

ANCHORED = dict(anchor=3.0, spread=0.5, patches=True, augment="gentle")


@pytest.mark.parametrize(
    "options, bias, step",
    [
        (PAPER, 0.0, 3),
        (PAPER, -4.0, 3),
        (PAPER, -60.0, 3),
        (dict(loss="hinge", flip=0.5), 0.0, 3),
        pytest.param(ALTERNATING, 0.0, 3, marks=pytest.mark.slow),
        (ALTERNATING | dict(r1_every=3), 0.0, 3),
        # A step at which the penalty is not due.
        (ALTERNATING | dict(r1_every=3), 0.0, 4),
        (ALTERNATING | ANCHORED, 0.0, 3),
    ],
    ids=["paper", "sure", "certain", "hinge", "alternating", "lazy", "between", "anchored"],
)
def test_a_step_takes_the_gradients_of_two_plain_losses(options, bias, step):
    """On networks and images drawn here, to 1e-4 of a tensor's largest gradient. "sure" and
    "certain": the discriminator takes all for synthetic, so that its own gradient there is
    small or nothing, and the generator's is not."""
    cfg, keys = plain(**options), jax.random.split(jax.random.key(42), 4)
    # All start alike but for the kernels of `patches`.
    state, data = INIT(plain(patches=cfg.gan.patches), keys[0]), batch()
    data = data._replace(image=jax.random.uniform(keys[1], data.image.shape, minval=-1.0))
    noise = np.asarray(jax.random.normal(keys[2], (2, 32, 32)))
    params = jax.device_get(state.discriminator.params)
    params["label_map"]["bias"] = np.float32(0.3) * noise[0].reshape(-1)
    params["logit"]["bias"] = params["logit"]["bias"] + np.float32(bias)
    judge = state.discriminator._replace(params=params)
    state = state._replace(step=jnp.int32(step), discriminator=judge)
    if cfg.gan.anchor:
        state = state._replace(codes=fitted(cfg, data))
    new, metrics = STEP(cfg, state, data, keys[3])
    value_d, grads_d, value_g, grads_g, stats = by_hand(cfg, state, data, keys[3])
    assert min(np.abs(g["kernel"]).max() for g in grads_g.values() if "kernel" in g) > 1e-4
    close(moved(state.discriminator, new.discriminator), grads_d)
    close(moved(state.generator, new.generator), grads_g)
    # BatchNorm's statistics come from the pass that trains the generator, once.
    close(new.generator.batch_stats, stats)
    np.testing.assert_allclose(metrics["discriminator_loss"], 8 * value_d, rtol=1e-4)
    np.testing.assert_allclose(metrics["generator_loss"], 8 * value_g, rtol=1e-4)
    assert (int(new.step), float(metrics["count"])) == (step + 1, 8.0)


def test_lanes_take_the_penalty_when_it_is_due_in_one_of_them():
    """Two lanes, of which one stands a step further: as each alone, to 1e-5."""
    cfg, keys = plain(r1=0.3, r1_every=2), jax.random.split(jax.random.key(43), 2)
    states = [jax.device_get(INIT(plain(), key)) for key in keys]
    states[1] = states[1]._replace(step=np.int32(1))
    stacked = jax.tree.map(lambda *rows: np.stack(rows), *states)
    data = batch()
    together = jax.vmap(lambda state, key: gan.train_step(cfg, state, data, key))
    new = jax.device_get(jax.jit(together)(stacked, keys)[0])
    for i in range(2):
        want, _ = STEP(cfg, states[i], data, keys[i])
        close(jax.tree.map(lambda leaf, i=i: leaf[i], new.discriminator), want.discriminator, 1e-5)


@pytest.mark.parametrize(
    "spread", [devices.pmap_step, pytest.param(devices.sharded_step, marks=pytest.mark.slow)]
)
def test_the_penalty_on_two_devices_is_that_of_one(spread):
    """At steps at which it is due and at one at which it is not, to 1e-5."""
    cfg, key = plain(r1=0.3, r1_every=2), jax.random.key(44)
    one, two = INIT(plain(), key), INIT(plain(), key)
    step = spread(functools.partial(gan.train_step, cfg), 2)
    for _ in range(3):
        one, _ = STEP(cfg, one, batch(), key)
        two, _ = step(two, batch(), key)
    close(jax.device_get(two.discriminator.params), one.discriminator.params, 1e-5)


def test_what_is_sometimes_due_is_skipped_for_all_lanes_at_once():
    def some(due, value, more):
        return plans.sometimes(due, lambda value, more: value + more, value, more)

    due, value = jnp.asarray([False, True, False]), jnp.arange(3.0)
    for axes, args, want in (
        ((0, 0, None), (due, value, 10.0), [0, 11, 2]),
        ((0, None, 0), (due, 1.0, value), [1, 2, 1]),
        ((None, 0, 0), (due[0], value, value), [0, 1, 2]),
        ((None, None, 0), (due[1], 1.0, value), [1, 2, 3]),
    ):
        mapped = jax.vmap(some, axes)
        np.testing.assert_array_equal(mapped(*args), want)
        # A branch that is taken or not, where `lax.cond` would have become a selection.
        assert "cond[" in str(jax.make_jaxpr(mapped)(*args))


def test_average_halves_after_its_half_life(key):
    cfg = plain(average_half_life=2.0)
    state = INIT(cfg, key)
    want = jax.device_get(state.average)
    for done in (0, 1, 50):
        # At first a tenth of the steps so far, not half a life that nothing was learnt in.
        keep = min(0.5**0.5, (1 + done) / (10 + done))
        state = state._replace(step=jnp.int32(done))
        state, _ = STEP(cfg, state, batch(), key)
        net = jax.device_get(state.generator)
        now = {"params": net.params, "batch_stats": net.batch_stats}
        want = jax.tree.map(lambda a, b, k=keep: k * a + (1 - k) * b, want, now)
    close(state.average, want)
    # Samples come from the average.
    label = jnp.zeros((2,), jnp.int32)
    off, sample = state._replace(average={}), jax.jit(gan.sample, static_argnums=0)
    assert not np.array_equal(sample(cfg, state, label, key), sample(cfg, off, label, key))


def test_samples_do_not_depend_on_their_neighbours(key, cfg):
    state = INIT(cfg, key)
    label = jnp.asarray([0, 1, 1, 0], jnp.int32)
    sample = jax.jit(gan.sample, static_argnums=0)
    image = sample(cfg, state, label, key)
    again = sample(cfg, state, label.at[0].set(1), key)
    np.testing.assert_allclose(image[1:], again[1:], atol=1e-6)
    assert image.dtype == jnp.float32
    np.testing.assert_array_equal(image, sample(cfg, state, label, key))


@pytest.mark.parametrize(
    "one, other", [("sgdm", "adam"), pytest.param("adam", "sgdm", marks=pytest.mark.slow)]
)
def test_either_optimiser_trains_either_net(key, one, other):
    optims = OptimConfig(one, 1e-3), OptimConfig(other, 1e-3)
    cfg = plain(generator_optim=optims[0], discriminator_optim=optims[1])
    state = INIT(cfg, key)
    new, metrics = STEP(cfg, state, batch(), key)
    chex.assert_tree_all_finite((new, metrics))
    for net, layer in (("generator", "image"), ("discriminator", "logit")):
        old, now = getattr(state, net), getattr(new, net)
        for a, b in zip(*map(jax.tree.leaves, (old.params, now.params)), strict=True):
            assert a.shape == b.shape
        assert np.abs(moved(old, now)[layer]["kernel"]).max() > 0


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
