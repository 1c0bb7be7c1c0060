"""The CNN that extracts features and the LSTM hybrid that reads them."""

import flax.linen as nn
import jax.numpy as jnp

from jaxbrain.config import Config, require_names
from jaxbrain.nn import ops
from jaxbrain.nn.layers import Conv, compute_dtype, dense
from jaxbrain.nn.lstm import LSTM
from jaxbrain.types import Array


class CNN(nn.Module):
    """Convolutions with ReLU, two pools, FC to features, FC to classes.

    The paper's has two convolutions; what else `cfg.cnn` may ask for its comments say.

    References:
        The paper, section 2-3-1, equations (1) and (2); README.md for the widths. Wu and
        He, "Group normalization", 2018.
    """

    cfg: Config

    def setup(self):
        require_names(self.cfg)
        cnn, dtype = self.cfg.cnn, compute_dtype(self.cfg)
        for i, filters in enumerate(cnn.filters):
            size, stride = cnn.kernel_size, 1
            if i == 0:
                size, stride = cnn.first_kernel_size or size, cnn.first_stride
            setattr(self, f"conv{i + 1}", Conv(filters, size, stride, dtype=dtype))
            if cnn.norm == "group":
                setattr(self, f"norm{i + 1}", nn.GroupNorm(num_groups=4, dtype=dtype))
        self.drop = nn.Dropout(cnn.dropout)
        if cnn.summary == "all":
            self.fc = dense(cnn.features, dtype)
        self.fc_out = dense(self.cfg.data.num_classes, dtype)

    def _block(self, number: int, x: Array, pools=None) -> Array:
        """A convolution, its norm, ReLU and pools."""
        cnn, conv = self.cfg.cnn, getattr(self, f"conv{number}")
        if pools is None:
            pools = lambda x: x  # noqa: E731
        elif cnn.norm == "none" and cnn.pool != "average":
            # Bias and ReLU keep the order of values, so pooling first gives the same
            # numbers and gradients, and they run on the pooled pixels only.
            return nn.relu(conv(x, pools))
        x = conv(x)
        if cnn.norm == "group":
            x = getattr(self, f"norm{number}")(x)
        return pools(nn.relu(x))

    def _convolved(self, image: Array) -> Array:
        cnn = self.cfg.cnn

        def pool(x):
            return ops.pool(x, cnn.pool, cnn.pool_size, cnn.pool_stride)

        if cnn.interleave:
            x = self._block(2, self._block(1, image, pool), pool)
        else:
            x = self._block(2, self._block(1, image), lambda x: pool(pool(x)))
        for number in range(3, len(cnn.filters) + 1):
            x = self._block(number, x)
        if cnn.last_pool == 1:
            return x
        return ops.pool(x, "average", cnn.last_pool, cnn.last_pool)

    def map(self, image: Array) -> Array:
        """[B, S, S, C] float32 -> the last layer's output [B, H', W', F], F of the last
        filters; twice as many with `cnn.mirror`, and the map of an image's mirror image is
        then the mirror image of its map."""
        if not self.cfg.cnn.mirror:
            return ops.in_parts(self._convolved, image)
        both = jnp.concatenate([image, image[:, :, ::-1]])
        x, other = jnp.split(ops.in_parts(self._convolved, both), 2)
        other = other[:, :, ::-1]
        return jnp.concatenate([x + other, jnp.abs(x - other)], axis=-1)

    def features(self, image: Array, train: bool = False) -> Array:
        """[B, S, S, C] float32 -> what the hybrid reads.

        For the vector and scalar readings [B, cnn.features], or [B, 2 F] with `cnn.summary`
        = average_max; for the rows reading one token per row of the map, [B, H', W' F] or
        [B, H', 2 F]. Training draws from the rng "dropout" where `cnn.dropout` is not 0.
        """
        return self._read(image, train, self.cfg.hybrid.sequence == "rows")

    def _read(self, image: Array, train: bool, by_row: bool) -> Array:
        x = self.map(image)
        if self.cfg.cnn.summary == "average_max":
            axes = (2,) if by_row else (1, 2)
            x = jnp.concatenate([x.mean(axis=axes), x.max(axis=axes)], axis=-1)
        elif by_row:
            x = x.reshape(x.shape[0], x.shape[1], -1)
        else:
            x = self.fc(x.reshape(x.shape[0], -1))
        return self.drop(x, deterministic=not train).astype("float32")

    def __call__(self, image: Array, train: bool = False) -> Array:
        """[B, S, S, C] float32 -> logits [B, K] of the CNN's own softmax."""
        return self.fc_out(self._read(image, train, by_row=False)).astype("float32")


class Hybrid(nn.Module):
    """Table 1 of the paper on the CNN's features.

    FC, sigmoid, FC | LSTM over the sequence, dropout, LSTM to its last state, dropout,
    FC, FC. The bar is where Table 1 joins two networks, and `cfg.hybrid.sequence` says
    how: "vector" reads layer 4's output as one time step (the literal reading: both LSTMs
    start from zero states, so their recurrent kernels never matter), "scalar" reads it as
    `fc4` steps of one feature, "rows" applies layers 2 to 4 to each row of the CNN's map
    and reads the rows as time steps.
    """

    cfg: Config

    @nn.compact
    def __call__(self, features: Array, train: bool) -> Array:
        """`CNN.features` -> logits [B, K]. Training draws from the rng "dropout"."""
        require_names(self.cfg)
        hybrid, dtype = self.cfg.hybrid, compute_dtype(self.cfg)
        x = nn.sigmoid(dense(hybrid.fc2, dtype, "fc2")(features))
        x = dense(hybrid.fc4, dtype, "fc4")(x)
        if hybrid.sequence == "vector":
            x = x[:, None, :]
        elif hybrid.sequence == "scalar":
            x = x[:, :, None]
        x = LSTM(hybrid.hidden_size, dtype=dtype, name="lstm6")(x)
        x = nn.Dropout(hybrid.dropout, deterministic=not train)(x)
        x = LSTM(hybrid.hidden_size, last=True, dtype=dtype, name="lstm8")(x)
        x = nn.Dropout(hybrid.dropout, deterministic=not train)(x)
        x = dense(hybrid.fc10, dtype, "fc10")(x)
        return dense(self.cfg.data.num_classes, dtype, "fc11")(x).astype("float32")
