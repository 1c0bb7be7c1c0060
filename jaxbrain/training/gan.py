"""The conditional GAN as pure functions: `init`, `train_step`, `sample`."""

import chex
import jax
import jax.numpy as jnp
from jax import lax

from jaxbrain.config import Config
from jaxbrain.nn.discriminator import Discriminator
from jaxbrain.nn.generator import Generator
from jaxbrain.training import augment, losses, optim
from jaxbrain.types import Array, Batch, GANState, NetState


def init(cfg: Config, key: Array) -> GANState:
    """A fresh GAN for images of `cfg.gan.image_size`. The key is consumed."""
    gan = cfg.gan
    generator_key, discriminator_key = jax.random.split(key)
    label = jnp.zeros((1,), jnp.int32)
    z = jnp.zeros((1, gan.latent_size))
    image = jnp.zeros((1, gan.image_size, gan.image_size, cfg.data.channels))
    drawn = Generator(cfg).init(generator_key, z, label, train=False)
    judge = Discriminator(cfg).init(discriminator_key, image, label, train=False)
    generator = NetState(
        drawn["params"],
        drawn.get("batch_stats", {}),
        optim.make(gan.generator_optim).init(drawn["params"]),
    )
    discriminator = NetState(
        judge["params"], {}, optim.make(gan.discriminator_optim).init(judge["params"])
    )
    # A copy, so that no buffer appears twice in a state that will be donated.
    average = jax.tree.map(jnp.copy, _variables(generator)) if _averages(cfg) else {}
    return GANState(jnp.int32(0), generator, discriminator, average)


def _averages(cfg: Config) -> bool:
    return cfg.gan.average_half_life > 0


def _variables(net: NetState) -> dict:
    return {"params": net.params, "batch_stats": net.batch_stats}


def train_step(
    cfg: Config,
    state: GANState,
    batch: Batch,
    key: Array,
    *,
    axis_name: str | None = None,
) -> tuple[GANState, dict[str, Array]]:
    """One update of both networks on one batch of real images.

    "simultaneous" (MathWorks' example, the paper's reading) takes both gradients from one
    forward pass; "alternating" updates the discriminator, then the generator against it
    on fresh latents. Synthetic images get the batch's labels. Each net's BatchNorm
    statistics are those of the pass that trains it.

    Args:
        cfg: static.
        state: from `init` or an earlier step.
        batch: image [B, S, S, C] float32 in [-1, 1] with S = cfg.gan.image_size, label
            [B] int32. Weights are not used: a GAN drops partial batches.
        key: may be the same at every step; the step number is folded in.
        axis_name: of the device axis, where the step runs under `pmap` or
            `shard_map(check_vma=False)`.

    Returns:
        The new state, and sums over the batch: discriminator_loss, generator_loss,
        real_score and fake_score (sigmoid of the logits), discriminator_accuracy (share of
        real and synthetic images on their side of 0), count.
    """
    gan = cfg.gan
    size, channels = gan.image_size, cfg.data.channels
    chex.assert_shape(batch.image, (None, size, size, channels))
    chex.assert_shape(batch.label, batch.image.shape[:1])
    chex.assert_type([batch.image, batch.label], [jnp.float32, jnp.int32])
    key = jax.random.fold_in(key, state.step)
    z_key, fresh_key, flip_key, reflect_key, judge_key, generator_key = jax.random.split(key, 6)
    label, count = batch.label, batch.label.shape[0]
    devices = 1 if axis_name is None else lax.axis_size(axis_name)

    def own(values):
        return augment.own_rows(values, axis_name)

    def own_latents(key):
        return own(latents(cfg, count * devices, key))

    def image_keys(key):
        return own(jax.random.split(key, count * devices))

    real = batch.image
    if gan.augment == "reflect":
        real = augment.reflect(real, image_keys(reflect_key))
    # Exactly this share of the batch, as in MathWorks' modelGradients.
    order = jax.random.permutation(flip_key, count * devices)
    flip = own(order < int(gan.flip * count * devices))

    def draw(params, z):
        variables = {"params": params, "batch_stats": state.generator.batch_stats}
        image, new = Generator(cfg, axis_name).apply(
            variables, z, label, train=True, mutable=["batch_stats"]
        )
        return image, new.get("batch_stats", {})

    def judge(params, image, key):
        augment_key, dropout_key = jax.random.split(key)
        if gan.augment == "diffaug":
            image = augment.diffaug(image, image_keys(augment_key))
        if axis_name is not None:
            dropout_key = jax.random.fold_in(dropout_key, lax.axis_index(axis_name))
        rngs = {"dropout": dropout_key}
        return Discriminator(cfg).apply({"params": params}, image, label, True, rngs=rngs)

    def update(net, grads, options):
        if axis_name is not None:
            grads = lax.pmean(grads, axis_name)
        return optim.update(options, grads, net, state.step, gan.steps)

    real_key, fake_key, penalty_key = jax.random.split(judge_key, 3)
    params_g, params_d = state.generator.params, state.discriminator.params

    # The chain rule is cut at the synthetic images and at the logits, so that the
    # discriminator and the generator share one forward pass.
    fake, pull_generator, batch_stats = jax.vjp(
        lambda params: draw(params, own_latents(z_key)), params_g, has_aux=True
    )
    (real_logits, fake_logits), pull_judge = jax.vjp(
        lambda params, image: (
            judge(params, real, real_key),
            judge(params, image, fake_key),
        ),
        params_d,
        fake,
    )
    d_loss, (real_cotangent, fake_cotangent) = jax.value_and_grad(
        lambda logits: losses.discriminator_loss(gan.loss, *logits, flip)
    )((real_logits, fake_logits))
    if gan.loss == "bce":
        # So that one may divide by it below. Tiny: it moves no weight.
        fake_cotangent = jnp.maximum(fake_cotangent, 1e-20)
    d_grads, fake_grads = pull_judge((real_cotangent, fake_cotangent))
    if gan.r1 > 0:
        r1_grads = jax.grad(
            lambda params: losses.r1_penalty(lambda image: judge(params, image, penalty_key), real)
        )(params_d)
        d_grads = jax.tree.map(lambda g, r: g + gan.r1 * r, d_grads, r1_grads)
    discriminator = update(state.discriminator, d_grads, gan.discriminator_optim)

    if gan.update == "simultaneous":
        g_loss, g_cotangent = jax.value_and_grad(
            lambda logits: losses.generator_loss(gan.loss, logits)
        )(fake_logits)
        if gan.loss == "bce":
            # A logit depends on its own image alone, so the image's gradient is
            # proportional to the logit's: that of the other loss needs no pass.
            fake_grads = fake_grads * (g_cotangent / fake_cotangent).reshape(-1, 1, 1, 1)
        else:
            _, fake_grads = pull_judge((jnp.zeros_like(real_logits), g_cotangent))
        (g_grads,) = pull_generator(fake_grads)
    else:

        def loss_fn(params):
            image, batch_stats = draw(params, own_latents(fresh_key))
            logits = judge(discriminator.params, image, generator_key)
            return losses.generator_loss(gan.loss, logits), batch_stats

        (g_loss, batch_stats), g_grads = jax.value_and_grad(loss_fn, has_aux=True)(params_g)
    generator = update(state.generator, g_grads, gan.generator_optim)
    generator = generator._replace(batch_stats=batch_stats)

    average = state.average
    if _averages(cfg):
        keep = 0.5 ** (1.0 / gan.average_half_life)
        average = jax.tree.map(
            lambda old, new: old * keep + new * (1.0 - keep), average, _variables(generator)
        )
    metrics = {
        "discriminator_loss": d_loss * count,
        "generator_loss": g_loss * count,
        "real_score": jax.nn.sigmoid(real_logits).sum(),
        "fake_score": jax.nn.sigmoid(fake_logits).sum(),
        "discriminator_accuracy": ((real_logits > 0).mean() + (fake_logits < 0).mean())
        * (0.5 * count),
        "count": jnp.float32(count),
    }
    if axis_name is not None:
        metrics = lax.psum(metrics, axis_name)
    return GANState(state.step + 1, generator, discriminator, average), metrics


def latents(cfg: Config, num: int, key: Array) -> Array:
    """Standard normal latent vectors [num, latent_size] float32. The key is consumed."""
    return jax.random.normal(key, (num, cfg.gan.latent_size))


def generate(cfg: Config, state: GANState, z: Array, label: Array) -> Array:
    """`sample` for given latents: z [N, latent_size], label [N] int32."""
    variables = state.average or _variables(state.generator)
    return Generator(cfg).apply(variables, z, label, train=False)


def sample(cfg: Config, state: GANState, label: Array, key: Array) -> Array:
    """Synthetic images, one per label, from the averaged generator where there is one.

    Args:
        cfg: static.
        state: a GAN; its running BatchNorm statistics are used, so that an image does
            not depend on the others.
        label: [N] int32.
        key: of the latents; the same key gives the same latents. The key is consumed.

    Returns:
        [N, S, S, C] float32 in [-1, 1], S = cfg.gan.image_size.
    """
    chex.assert_rank(label, 1)
    return generate(cfg, state, latents(cfg, label.shape[0], key), label)
