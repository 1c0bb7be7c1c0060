"""The CNN that extracts features and the LSTM hybrid that reads them."""

import math

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
        The paper, section 2-3-1, equations (1) and (2); docs/paper.md for the widths. Wu and
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
                setattr(
                    self, f"norm{i + 1}", nn.GroupNorm(num_groups=math.gcd(4, filters), dtype=dtype)
                )
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
        """[B, S, S, C] float32 -> what the hybrid reads, float32, of the map [B, H', W', F].

        vector, scalar: [B, cnn.features], or [B, 2 F] with `cnn.summary` = average_max.
        rows, bidirectional: a token per row, [B, H', W' F] or [B, H', 2 F].
        both: those and the same of columns, [B, 2, H', W' F] or [B, 2, H', 2 F].
        mirrored: `beside_mirror` of the map without `cnn.mirror`'s folding, whose F is then
        that of the last filters: [B, H' ceil(W' / 2), 2 F].

        Training draws from the rng "dropout" where `cnn.dropout` is not 0.
        """
        reading = self.cfg.hybrid.sequence
        if reading == "mirrored":
            # The same convolutions, of the image alone: comparing is left to the LSTM.
            x = beside_mirror(ops.in_parts(self._convolved, image))
        elif reading == "both":
            x = self.map(image)
            # Images are square, and so are maps: as many columns as rows.
            x = jnp.stack([self._rows(x), self._rows(x.swapaxes(1, 2))], axis=1)
        elif reading in ("rows", "bidirectional"):
            x = self._rows(self.map(image))
        else:
            x = self._whole(image)
        return self._dropped(x, train)

    def _rows(self, x: Array) -> Array:
        """Of a map [B, H, W, F] a token per row."""
        if self.cfg.cnn.summary == "average_max":
            return jnp.concatenate([x.mean(axis=2), x.max(axis=2)], axis=-1)
        return x.reshape(x.shape[0], x.shape[1], -1)

    def _whole(self, image: Array) -> Array:
        x = self.map(image)
        if self.cfg.cnn.summary == "average_max":
            return jnp.concatenate([x.mean(axis=(1, 2)), x.max(axis=(1, 2))], axis=-1)
        return self.fc(x.reshape(x.shape[0], -1))

    def _dropped(self, x: Array, train: bool) -> Array:
        return self.drop(x, deterministic=not train).astype("float32")

    def __call__(self, image: Array, train: bool = False) -> Array:
        """[B, S, S, C] float32 -> logits [B, K] of the CNN's own softmax, which no reading
        changes: in two stages all of them read the same CNN."""
        return self.fc_out(self._dropped(self._whole(image), train)).astype("float32")


def beside_mirror(x: Array) -> Array:
    """[B, H, W, F] -> [B, H ceil(W / 2), 2 F]: places of the left half row by row, each with
    its mirror place, [x[r, c], x[r, W - 1 - c]]. A middle column stands beside itself."""
    half = (x.shape[2] + 1) // 2
    pairs = jnp.concatenate([x[:, :, :half], x[:, :, ::-1][:, :, :half]], axis=-1)
    return pairs.reshape(x.shape[0], -1, pairs.shape[-1])


class Hybrid(nn.Module):
    """Table 1 of the paper on the CNN's features.

    FC, sigmoid, FC | LSTM over the sequence, dropout, LSTM to its last state, dropout,
    FC, FC. The bar is where Table 1 joins two networks, and `cfg.hybrid.sequence` says
    how: "vector" reads layer 4's output as one time step (the literal reading: both LSTMs
    start from zero states, so their recurrent kernels never matter), "scalar" reads it as
    `fc4` steps of one feature, "rows" applies layers 2 to 4 to each row of the CNN's map
    and reads the rows as time steps.

    Three more readings take layers 2 to 4 of each token too, to ask what the LSTM is worth:

    both: layers 2 to 9 once for rows and once for columns, with parameters of their own
        (those of columns end in `_columns`); layer 10 reads both last states.
    bidirectional: each LSTM also reads from the last row to the first, with parameters of
        its own (they end in `_back`). Layer 8 reads both outputs of layer 6 at each row,
        layer 10 the last state of either direction.
    mirrored: a token is a place of the map and its mirror place (`beside_mirror`), row by
        row; the layers are those of "rows".

    References:
        The paper, Table 1. Schuster and Paliwal, "Bidirectional recurrent neural networks",
        1997.
    """

    cfg: Config

    @nn.compact
    def __call__(self, features: Array, train: bool) -> Array:
        """`CNN.features` -> logits [B, K]. Training draws from the rng "dropout"."""
        require_names(self.cfg)
        hybrid, dtype = self.cfg.hybrid, compute_dtype(self.cfg)
        if hybrid.sequence == "both":
            ends = self._end(features[:, 0], train), self._end(features[:, 1], train, "_columns")
            x = jnp.concatenate(ends, axis=-1)
        else:
            x = self._end(features, train)
        x = dense(hybrid.fc10, dtype, "fc10")(x)
        return dense(self.cfg.data.num_classes, dtype, "fc11")(x).astype("float32")

    def _end(self, features: Array, train: bool, suffix: str = "") -> Array:
        """Layers 2 to 9, whose names end in `suffix`: the last state."""
        hybrid, dtype = self.cfg.hybrid, compute_dtype(self.cfg)
        x = nn.sigmoid(dense(hybrid.fc2, dtype, f"fc2{suffix}")(features))
        x = dense(hybrid.fc4, dtype, f"fc4{suffix}")(x)
        if hybrid.sequence == "vector":
            x = x[:, None, :]
        elif hybrid.sequence == "scalar":
            x = x[:, :, None]
        x = self._lstm(x, f"lstm6{suffix}", last=False)
        x = nn.Dropout(hybrid.dropout, deterministic=not train)(x)
        x = self._lstm(x, f"lstm8{suffix}", last=True)
        return nn.Dropout(hybrid.dropout, deterministic=not train)(x)

    def _lstm(self, x: Array, name: str, last: bool) -> Array:
        """An LSTM, or one of each direction: [B, T, D] -> [B, T, H or 2 H], without T where
        `last`."""
        size, dtype = self.cfg.hybrid.hidden_size, compute_dtype(self.cfg)
        forth = LSTM(size, last, dtype=dtype, name=name)(x)
        if self.cfg.hybrid.sequence != "bidirectional":
            return forth
        back = LSTM(size, last, reverse=True, dtype=dtype, name=f"{name}_back")(x)
        return jnp.concatenate([forth, back], axis=-1)
