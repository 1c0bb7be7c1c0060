"""The conditional GAN as pure functions: `init`, `train_step`, `sample`.

`networks` stands for the modules of all of them: ours, built from the configuration, where
it is None, else a user's own (`Networks`).
"""

from functools import partial
from typing import NamedTuple

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from jaxbrain.config import Config, OptimConfig, require_names
from jaxbrain.nn import modules
from jaxbrain.nn.discriminator import Discriminator
from jaxbrain.nn.generator import Generator
from jaxbrain.training import augment, codes, losses, optim, plans
from jaxbrain.types import Array, Batch, GANState, NetState, Params


class Networks(NamedTuple):
    """The two Linen modules of a conditional GAN; see `nn.modules` for what they may hold.

    Attributes:
        generator: (z [B, latent_size] float32, label [B] int32, train) -> images
            [B, S, S, C] float32 in [-1, 1], S = cfg.gan.image_size, C = cfg.data.channels.
        discriminator: (image [B, S, S, C] float32, label [B] int32, train) -> logits [B]
            float32, large for real.
    """

    generator: nn.Module
    discriminator: nn.Module


def _networks(cfg: Config, networks: Networks | None, axis_name: str | None = None) -> Networks:
    require_names(cfg)
    return modules.chosen(networks, Networks(Generator(cfg), Discriminator(cfg)), axis_name)


def _require_images(cfg: Config, image: Array, count: int) -> Array:
    size = cfg.gan.image_size
    shape = count, size, size, cfg.data.channels
    return modules.require_output("generator", image, *shape)


def init(cfg: Config, key: Array, networks: Networks | None = None) -> GANState:
    """A fresh GAN for images of `cfg.gan.image_size`. The key is consumed.

    With `cfg.gan.anchor` its codes are empty: `loops.init_gan` fits them on images.

    Raises:
        ConfigError: for networks that are no modules or give other shapes.
    """
    gan, nets = cfg.gan, _networks(cfg, networks)
    generator_key, discriminator_key = jax.random.split(key)
    label = jnp.zeros((1,), jnp.int32)
    z = jnp.zeros((1, gan.latent_size))
    image, drawn = modules.init(nets.generator, generator_key, z, label)
    image = jnp.zeros(_require_images(cfg, image, 1).shape)
    logit, judge = modules.init(nets.discriminator, discriminator_key, image, label)
    modules.require_output("discriminator", logit, 1)

    def net(variables, options):
        return NetState(**variables, opt_state=optim.make(options).init(variables["params"]))

    generator = net(drawn, gan.generator_optim)
    discriminator = net(judge, gan.discriminator_optim)
    # A copy, so that no buffer appears twice in a state that will be donated.
    average = jax.tree.map(jnp.copy, optim.variables(generator)) if _averages(cfg) else {}
    found = codes.empty(cfg) if gan.anchor else {}
    return GANState(jnp.int32(0), generator, discriminator, average, found)


def _averages(cfg: Config) -> bool:
    return cfg.gan.average_half_life > 0


class _Keys(NamedTuple):
    """The keys of one step; of the first six every one is as it was without the rest."""

    z: Array
    fresh: Array
    flip: Array
    reflect: Array
    judge: Array
    fool: Array
    noise: Array
    fresh_noise: Array
    code: Array


class _Step(NamedTuple):
    """The passes of one step, on one device."""

    cfg: Config
    networks: Networks
    state: GANState
    label: Array
    axis_name: str | None
    lr_scale: Array | float | None

    def _own(self, values: Array) -> Array:
        return augment.own_rows(values, self.axis_name)

    def _count(self) -> int:
        """Rows of all devices."""
        devices = 1 if self.axis_name is None else lax.axis_size(self.axis_name)
        return self.label.shape[0] * devices

    def _image_keys(self, key: Array) -> Array:
        return self._own(jax.random.split(key, self._count()))

    def _train(self, name: str, params: Params, batch_stats: Params, key: Array, *inputs):
        if self.axis_name is not None:
            key = jax.random.fold_in(key, lax.axis_index(self.axis_name))
        module = getattr(self.networks, name)
        return modules.train(module, params, batch_stats, key, *inputs, axis_name=self.axis_name)

    def real(self, image: Array, keys: _Keys) -> Array:
        """The batch's images, checked, some of them reflected."""
        size, channels = self.cfg.gan.image_size, self.cfg.data.channels
        chex.assert_shape(image, (None, size, size, channels))
        chex.assert_shape(self.label, image.shape[:1])
        chex.assert_type([image, self.label], [jnp.float32, jnp.int32])
        if self.cfg.gan.augment in ("reflect", "gentle"):
            image = augment.reflect(image, self._image_keys(keys.reflect))
        return image

    def flip(self, key: Array) -> Array:
        """[B] bool, which real images count as fake: exactly this share of the batch, as
        in MathWorks' modelGradients."""
        order = jax.random.permutation(key, self._count())
        return self._own(order < int(self.cfg.gan.flip * self._count()))

    def latents(self, key: Array) -> Array:
        return self._own(latents(self.cfg, self._count(), key))

    def draw(self, z: Array, noise_key: Array, params: Params) -> tuple[Array, Params]:
        """Synthetic images of the batch's labels, and the generator's batch_stats."""
        stats = self.state.generator.batch_stats
        image, stats = self._train("generator", params, stats, noise_key, z, self.label)
        return _require_images(self.cfg, image, self.label.shape[0]), stats

    def judge(self, key: Array, params: Params, batch_stats: Params, image: Array):
        """Logits [B] of images, and the discriminator's batch_stats."""
        augment_key, dropout_key = jax.random.split(key)
        changes = {"diffaug": augment.diffaug, "gentle": augment.gentle}
        if change := changes.get(self.cfg.gan.augment):
            image = change(image, self._image_keys(augment_key))
        logits, stats = self._train(
            "discriminator", params, batch_stats, dropout_key, image, self.label
        )
        return modules.require_output("discriminator", logits, *self.label.shape), stats

    def judge_both(self, key: Array, real: Array, params: Params, fake: Array):
        """(logits of real images, of synthetic ones), batch_stats after both."""
        real_key, fake_key, _ = jax.random.split(key, 3)
        real_logits, stats = self.judge(
            real_key, params, self.state.discriminator.batch_stats, real
        )
        fake_logits, stats = self.judge(fake_key, params, stats, fake)
        return (real_logits, fake_logits), stats

    def discriminator_slopes(self, logits: tuple, flip: Array) -> tuple[Array, tuple]:
        """The discriminator's loss, and its gradient at both logits."""
        loss, (real, fake) = jax.value_and_grad(
            lambda logits: losses.discriminator_loss(self.cfg.gan.loss, *logits, flip)
        )(logits)
        if self.cfg.gan.loss == "bce":
            # So that `other_side` may divide by it. Tiny: it moves no weight.
            fake = jnp.maximum(fake, 1e-20)
        return loss, (real, fake)

    def penalised(self, grads: Params, key: Array, real: Array) -> Params:
        """The discriminator's gradients, where R1's turn has come with its own."""
        gan, (params, stats, _) = self.cfg.gan, self.state.discriminator
        if gan.r1 == 0:
            return grads
        *_, key = jax.random.split(key, 3)

        def add(grads, params, stats, key, real, label):
            judge = self._replace(state=None, label=label).judge
            penalty = lambda params: losses.r1_penalty(  # noqa: E731
                lambda image: judge(key, params, stats, image)[0], real
            )
            weight, slope = gan.r1 * gan.r1_every, jax.grad(penalty)(params)
            return jax.tree.map(lambda g, r: g + weight * r, grads, slope)

        args = grads, params, stats, key, real, self.label
        if gan.r1_every == 1:
            return add(*args)
        return plans.sometimes(self.state.step % gan.r1_every == 0, add, *args)

    def other_side(self, logits: tuple, slopes: tuple, fake_grads: Array, pull_judge):
        """The generator's loss, and its gradient at the synthetic images; `fake_grads` is
        that of the discriminator's loss, whose `slopes` were pulled back to it."""
        loss, slope = jax.value_and_grad(
            lambda fake: losses.generator_loss(self.cfg.gan.loss, fake)
        )(logits[1])
        own = type(self.networks.discriminator) is Discriminator
        if self.cfg.gan.loss == "bce" and own:
            # A logit depends on its own image alone, so the image's gradient is
            # proportional to the logit's: that of the other loss needs no pass.
            return loss, fake_grads * (slope / slopes[1]).reshape(-1, 1, 1, 1)
        # A user's discriminator may mix the images of a batch.
        return loss, pull_judge((jnp.zeros_like(logits[0]), slope))[1]

    def fool(self, keys: _Keys, discriminator: NetState, real: Array, params: Params):
        """The generator's loss on images of its own, and its batch_stats."""
        gan, z = self.cfg.gan, self.latents(keys.fresh)
        if gan.anchor:
            # Every second image is drawn at the code of a real one.
            at_code = self._own(jnp.arange(self._count()) % 2 == 1)
            noise = self._own(jax.random.normal(keys.code, (self._count(), gan.latent_size)))
            code = codes.of(self.state.codes, real, self.label, noise, gan.spread)
            z = jnp.where(at_code[:, None], code, z)
        image, stats = self.draw(z, keys.fresh_noise, params)
        logits, _ = self.judge(keys.fool, *discriminator[:2], image)
        loss = losses.generator_loss(gan.loss, logits)
        if gan.anchor:
            apart = jnp.where(at_code, codes.difference(image, real), 0.0)
            count = self._count()
            loss = loss + gan.anchor * (count / (count // 2)) * apart.mean()
        return loss, stats

    def update(self, options: OptimConfig, net: NetState, grads: Params, batch_stats: Params):
        """The network after one optimiser step."""
        if self.axis_name is not None:
            grads = lax.pmean(grads, self.axis_name)
        step, total = self.state.step, self.cfg.gan.steps
        net = optim.update(options, grads, net, step, total, self.lr_scale)
        return net._replace(batch_stats=batch_stats)


def train_step(
    cfg: Config,
    state: GANState,
    batch: Batch,
    key: Array,
    *,
    axis_name: str | None = None,
    networks: Networks | None = None,
    lr_scale: Array | float | None = None,
) -> tuple[GANState, dict[str, Array]]:
    """One update of both networks on one batch of real images.

    "simultaneous" (MathWorks' example, the paper's reading) takes both gradients from one
    forward pass; "alternating" updates the discriminator, then the generator against it
    on fresh latents. Synthetic images get the batch's labels. Each net's BatchNorm
    statistics are those of the pass that trains it.

    Args:
        cfg, networks: static.
        batch: image [B, S, S, C] float32 in [-1, 1], label [B] int32. Weights are not
            used: a GAN drops partial batches.
        key: may be the same at every step; the step number is folded in.
        axis_name: of the device axis, under `pmap` or `shard_map(check_vma=False)`.
        lr_scale: [] float, multiplies every update; None leaves them.

    Returns:
        The new state, and sums over the batch: losses, scores (sigmoids of the logits),
        accuracy (share of real and synthetic images on their side of 0), real_sign (signs of
        the logits of real images: a mean that goes to 1 tells of a discriminator that knows
        its images by heart; Karras et al., "Training generative adversarial networks with
        limited data", 2020, their r_t), count.

    Raises:
        ConfigError: for unknown names, and networks that give other shapes.
    """
    gan, params_g, params_d = cfg.gan, state.generator.params, state.discriminator.params
    once = _Step(cfg, _networks(cfg, networks, axis_name), state, batch.label, axis_name, lr_scale)
    keys = _Keys(*jax.random.split(jax.random.fold_in(key, state.step), len(_Keys._fields)))
    real, flip = once.real(batch.image, keys), once.flip(keys.flip)
    # The chain rule is cut at the synthetic images and at the logits, so that the
    # discriminator and the generator share one forward pass.
    fake, pull_generator, stats_g = jax.vjp(
        partial(once.draw, once.latents(keys.z), keys.noise), params_g, has_aux=True
    )
    logits, pull_judge, stats_d = jax.vjp(
        partial(once.judge_both, keys.judge, real), params_d, fake, has_aux=True
    )
    loss_d, slopes = once.discriminator_slopes(logits, flip)
    grads_d, fake_grads = pull_judge(slopes)
    grads_d = once.penalised(grads_d, keys.judge, real)
    discriminator = once.update(gan.discriminator_optim, state.discriminator, grads_d, stats_d)
    if gan.update == "simultaneous":
        loss_g, fake_grads = once.other_side(logits, slopes, fake_grads, pull_judge)
        (grads_g,) = pull_generator(fake_grads)
    else:
        fool = jax.value_and_grad(partial(once.fool, keys, discriminator, real), has_aux=True)
        (loss_g, stats_g), grads_g = fool(params_g)
    generator = once.update(gan.generator_optim, state.generator, grads_g, stats_g)
    average = state.average
    if _averages(cfg):
        average = optim.averaged(average, generator, gan.average_half_life, state.step)
    sums = _sums(logits, loss_d, loss_g, axis_name)
    new = GANState(state.step + 1, generator, discriminator, average, state.codes)
    return new, sums


def _sums(logits: tuple, loss_d: Array, loss_g: Array, axis_name: str | None) -> dict[str, Array]:
    real, fake = logits
    count = real.shape[0]
    right = (real > 0).mean() + (fake < 0).mean()
    sums = {
        "discriminator_loss": loss_d * count,
        "generator_loss": loss_g * count,
        "real_score": jax.nn.sigmoid(real).sum(),
        "fake_score": jax.nn.sigmoid(fake).sum(),
        "discriminator_accuracy": right * (0.5 * count),
        "real_sign": jnp.sign(real).sum(),
        "count": jnp.float32(count),
    }
    return sums if axis_name is None else lax.psum(sums, axis_name)


def latents(cfg: Config, num: int, key: Array) -> Array:
    """Normal latent vectors [num, latent_size] float32 of standard deviation `gan.spread`. The
    key is consumed."""
    z = jax.random.normal(key, (num, cfg.gan.latent_size))
    return z if cfg.gan.spread == 1 else cfg.gan.spread * z


def generate(
    cfg: Config, state: GANState, z: Array, label: Array, networks: Networks | None = None
) -> Array:
    """`sample` for given latents: z [N, latent_size], label [N] int32."""
    net = state.generator._replace(**state.average) if state.average else state.generator
    image = modules.predict(_networks(cfg, networks).generator, net, z, label)
    return _require_images(cfg, image, label.shape[0])


def sample(
    cfg: Config, state: GANState, label: Array, key: Array, networks: Networks | None = None
) -> Array:
    """Synthetic images, one per label, from the averaged generator where there is one.

    Args:
        cfg, networks: static.
        state: a GAN; its running BatchNorm statistics are used, so that an image does
            not depend on the others.
        label: [N] int32.
        key: of the latents; the same key gives the same latents. The key is consumed.

    Returns:
        [N, S, S, C] float32 in [-1, 1], S = cfg.gan.image_size.
    """
    chex.assert_rank(label, 1)
    return generate(cfg, state, latents(cfg, label.shape[0], key), label, networks)


def score(
    cfg: Config, state: GANState, image: Array, label: Array, networks: Networks | None = None
) -> Array:
    """The discriminator's logits [N] float32, large for real, not training.

    image: [N, S, S, C] float32 in [-1, 1], S = cfg.gan.image_size; label: [N] int32. No image's
    logit depends on the others, as long as ours is the network.
    """
    judge = _networks(cfg, networks).discriminator
    return modules.predict(judge, state.discriminator, image, label)
