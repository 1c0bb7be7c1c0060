"""The generator of the conditional GAN (paper, section 2-2)."""

import flax.linen as nn
import jax.numpy as jnp

from jaxbrain.config import Config, require_names
from jaxbrain.nn.layers import BatchNorm, ConvTranspose, compute_dtype, dense, embed
from jaxbrain.types import Array


class Generator(nn.Module):
    """Latent vector and label to image, after MathWorks' conditional-GAN example.

    z -> FC -> a small map; label -> embedding -> FC -> one more channel; then a
    transposed convolution without stride and `cfg.gan.doublings` with stride 2, BatchNorm
    and ReLU between them, tanh at the end. At 64 px: 4 -> 8 -> 16 -> 32 -> 64. With
    `generator_condition="batchnorm"` the label sets scale and offset of every BatchNorm
    instead of a channel.

    References:
        MathWorks, "Train Conditional Generative Adversarial Network", R2021a.
        Mirza and Osindero, "Conditional generative adversarial nets", 2014.
    """

    cfg: Config
    axis_name: str | None = None

    @nn.compact
    def __call__(self, z: Array, label: Array, train: bool) -> Array:
        """z [B, latent_size] float32, label [B] int32 -> [B, S, S, C] in [-1, 1]."""
        require_names(self.cfg)
        gan, num_classes, dtype = self.cfg.gan, self.cfg.data.num_classes, compute_dtype(self.cfg)
        side = gan.start_size - gan.kernel_size + 1
        if side < 1:
            side = gan.start_size
        x = dense(side * side * gan.projection, dtype, "project")(z)
        x = x.reshape(-1, side, side, gan.projection)
        per_class = gan.generator_condition == "batchnorm"
        if not per_class:
            embedding = embed(num_classes, gan.embedding_size, 1.0, dtype)(label)
            channel = dense(side * side, dtype, "label_map")(embedding)
            x = jnp.concatenate([x, channel.reshape(-1, side, side, 1)], axis=-1)
        for level in range(gan.doublings):
            first = level == 0
            x = ConvTranspose(
                gan.filters * 2 ** (gan.doublings - 1 - level),
                gan.kernel_size,
                stride=1 if first else 2,
                padding="VALID" if first and side < gan.start_size else "SAME",
                dtype=dtype,
                name=f"conv{level + 1}",
            )(x)
            x = BatchNorm(
                train,
                num_classes if per_class else 0,
                self.axis_name,
                dtype,
                name=f"norm{level + 1}",
            )(x, label)
            x = nn.relu(x)
        x = ConvTranspose(
            self.cfg.data.channels, gan.kernel_size, stride=2, dtype=dtype, name="image"
        )(x)
        return jnp.tanh(x.astype("float32"))
