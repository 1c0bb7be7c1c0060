"""The discriminator of the conditional GAN (paper, section 2-2)."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxbrain.config import Config, require_names
from jaxbrain.nn.layers import Conv, compute_dtype, dense, embed
from jaxbrain.types import Array


class Discriminator(nn.Module):
    """Image and label to one logit (large: real), without BatchNorm.

    Dropout on the image; label -> embedding -> FC -> one more channel; convolutions of
    stride 2 with leaky ReLU while the map halves to whole and at least 4 pixels, widths
    doubling up to eight times `filters`; one last convolution over all of it. With
    `discriminator_condition="projection"` the label instead enters as its embedding's
    product with the summed last map. With `patches` the maps of 8 to 16 pixels have a logit at
    each place too, whose mean is added: texture is judged where it is.

    References:
        MathWorks, "Train Conditional Generative Adversarial Network", R2021a.
        Miyato and Koyama, "cGANs with projection discriminator", 2018.
        Isola et al., "Image-to-image translation with conditional adversarial networks", 2017
        (judging patches).
    """

    cfg: Config

    @nn.compact
    def __call__(self, image: Array, label: Array, train: bool) -> Array:
        """image [B, S, S, C] in [-1, 1], label [B] int32 -> [B] float32 logits."""
        require_names(self.cfg)
        gan, num_classes, dtype = self.cfg.gan, self.cfg.data.num_classes, compute_dtype(self.cfg)
        size = image.shape[1]
        x = nn.Dropout(gan.dropout, deterministic=not train)(image.astype(dtype))
        if gan.discriminator_condition == "concat":
            embedding = embed(num_classes, gan.embedding_size, 1.0, dtype)(label)
            channel = dense(size * size, dtype, "label_map")(embedding)
            x = jnp.concatenate([x, channel.reshape(-1, size, size, 1)], axis=-1)
        level = 0
        patches: Any = 0.0
        while x.shape[1] % 2 == 0 and x.shape[1] // 2 >= 4:
            features = gan.filters * min(2**level, 8)
            level += 1
            x = Conv(features, gan.kernel_size, stride=2, dtype=dtype, name=f"conv{level}")(x)
            x = nn.leaky_relu(x, 0.2)
            if gan.patches and 8 <= x.shape[1] <= 16:
                patches += Conv(1, 1, dtype=dtype, name=f"patch{level}")(x).mean(axis=(1, 2, 3))
        last = Conv(1, x.shape[1], padding="VALID", dtype=dtype, name="logit")
        logit = last(x).reshape(-1).astype("float32")
        if gan.discriminator_condition == "projection":
            embedding = embed(num_classes, x.shape[-1], 0.02, dtype)(label)
            logit = logit + jnp.einsum("bhwc,bc->b", x, embedding).astype("float32")
        return logit + patches.astype("float32") if gan.patches else logit
