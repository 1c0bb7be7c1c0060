"""VGG-16 (configuration D), for the baseline that transfers it."""

import flax.linen as nn
import jax.numpy as jnp

from jaxbrain.nn import ops
from jaxbrain.nn.layers import Conv, dense
from jaxbrain.types import Array

# Thirteen layers without normalisation: Glorot's kernels would lose the signal in them.
he = nn.initializers.he_normal()
# Filters of each block, and how many convolutions it has.
FILTERS = (64, 128, 256, 512, 512)
DEPTHS = (2, 2, 3, 3, 3)


def convolutions(filters: tuple[int, ...] = FILTERS) -> dict[tuple[int, int], int]:
    """(block, number in it), both from 1: filters; in order."""
    return {
        (block, i): features
        for block, (features, depth) in enumerate(zip(filters, DEPTHS, strict=True), start=1)
        for i in range(1, depth + 1)
    }


class VGG16(nn.Module):
    """Thirteen 3 x 3 convolutions in five blocks, each closed by a 2 x 2 max pool, then
    three fully connected layers: 138,357,544 parameters with the widths and the 1000
    classes of ImageNet.

    References:
        Simonyan and Zisserman, "Very deep convolutional networks for large-scale image
        recognition", 2015.
    """

    filters: tuple[int, ...] = FILTERS
    hidden_size: int = 4096
    num_classes: int = 1000

    def setup(self):
        for (block, i), features in convolutions(self.filters).items():
            setattr(self, f"block{block}_conv{i}", Conv(features, 3, kernel_init=he))
        self.fc1 = dense(self.hidden_size, "float32")
        self.fc2 = dense(self.hidden_size, "float32")
        self.predictions = dense(self.num_classes, "float32")
        self.dropout = nn.Dropout(0.5)

    def features(self, image: Array) -> Array:
        """[B, S, S, 3] float32 -> the last pool's output [B, S / 32, S / 32, filters[4]].

        Raises:
            ValueError: for images of less than 32 pixels.
        """
        if min(image.shape[1:3]) < 32:
            raise ValueError(f"images of {image.shape[1:3]} pixels: expected at least 32 a side")

        def blocks(x):
            for block, i in convolutions(self.filters):
                x = nn.relu(getattr(self, f"block{block}_conv{i}")(x))
                if i == DEPTHS[block - 1]:
                    x = ops.pool(x, "max", 2, 2, "VALID")
            return x

        return ops.in_parts(blocks, image)

    def __call__(self, image: Array, train: bool = False) -> Array:
        """[B, S, S, 3] float32 -> logits [B, num_classes]. Training draws from the rng
        "dropout"."""
        x = self.features(image)
        x = x.reshape(x.shape[0], -1)
        x = self.dropout(nn.relu(self.fc1(x)), deterministic=not train)
        x = self.dropout(nn.relu(self.fc2(x)), deterministic=not train)
        return self.predictions(x)


class Tumour(nn.Module):
    """One logit against a fixed 0: flat features [B, ...], dropout 0.5, Dense(1), and the
    softmax of [0, z] is the sigmoid of z."""

    @nn.compact
    def __call__(self, features: Array, train: bool) -> Array:
        x = features.reshape(features.shape[0], -1)
        x = nn.Dropout(0.5, deterministic=not train)(x)
        z = dense(1, "float32", "out")(x)
        return jnp.concatenate([jnp.zeros_like(z), z], axis=-1)


class VGG16Tumour(nn.Module):
    """The convolutions of VGG-16 and `Tumour` on them, to train from scratch:
    images [B, S, S, 1] uint8 -> logits [B, 2]."""

    filters: tuple[int, ...] = FILTERS

    @nn.compact
    def __call__(self, image: Array, train: bool) -> Array:
        grey = image.astype(jnp.float32) / 127.5 - 1.0
        rgb = jnp.broadcast_to(grey, (*grey.shape[:-1], 3))
        return Tumour(name="head")(VGG16(self.filters, name="base").features(rgb), train)
