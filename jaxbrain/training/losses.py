"""Losses, in the numerically stable forms of logits."""

import jax
import jax.numpy as jnp
import optax

from jaxbrain.config import require_name
from jaxbrain.types import Array


def cross_entropy(logits: Array, label: Array, smoothing: float = 0.0) -> Array:
    """Cross-entropy in nats: logits [B, K] float32, label [B] int32 -> [B] float32.

    smoothing: share of each target that all K classes get alike (static).
    """
    hard = optax.softmax_cross_entropy_with_integer_labels(logits, label)
    if smoothing == 0:
        return hard
    return (1.0 - smoothing) * hard - smoothing * jax.nn.log_softmax(logits).mean(axis=-1)


def discriminator_loss(kind: str, real_logits: Array, fake_logits: Array, flip: Array) -> Array:
    """What the discriminator minimises: [] float32.

    bce:   mean softplus(-real) + mean softplus(fake), that is
           -mean log sigmoid(real) - mean log(1 - sigmoid(fake))
    hinge: mean relu(1 - real) + mean relu(1 + fake)

    Args:
        kind: "bce" or "hinge".
        real_logits, fake_logits: [B] float32.
        flip: [B] bool; where True a real image counts as fake (for "bce" this is
            MathWorks' p_real <- 1 - p_real).

    Raises:
        ConfigError: for another kind.

    References:
        Goodfellow et al., "Generative adversarial nets", 2014; Lim and Ye, "Geometric
        GAN", 2017 (hinge); MathWorks' conditional-GAN example (flipFactor).
    """
    require_name("gan.loss", kind, ("bce", "hinge"))
    signed = jnp.where(flip, -real_logits, real_logits)
    if kind == "bce":
        return jax.nn.softplus(-signed).mean() + jax.nn.softplus(fake_logits).mean()
    return jax.nn.relu(1.0 - signed).mean() + jax.nn.relu(1.0 + fake_logits).mean()


def generator_loss(kind: str, fake_logits: Array) -> Array:
    """What the generator minimises: mean softplus(-fake) for "bce" (the non-saturating
    loss), -mean fake for "hinge"; a ConfigError for another kind. fake_logits [B] float32
    -> [] float32."""
    require_name("gan.loss", kind, ("bce", "hinge"))
    if kind == "bce":
        return jax.nn.softplus(-fake_logits).mean()
    return -fake_logits.mean()


def r1_penalty(judge, real: Array) -> Array:
    """Half the mean squared gradient of the logit at real images: [] float32.

    Args:
        judge: [B, S, S, C] -> [B] logits, each of its own image alone.
        real: [B, S, S, C] float32.

    References:
        Mescheder et al., "Which training methods for GANs do actually converge?", 2018.
    """
    grads = jax.grad(lambda image: judge(image).sum())(real)
    return 0.5 * jnp.square(grads).sum(axis=(1, 2, 3)).mean()
