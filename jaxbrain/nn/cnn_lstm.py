"""The CNN that extracts features and the LSTM hybrid that reads them."""

import flax.linen as nn

from jaxbrain.config import Config, require_names
from jaxbrain.nn import ops
from jaxbrain.nn.layers import Conv, compute_dtype, dense
from jaxbrain.nn.lstm import LSTM
from jaxbrain.types import Array


class CNN(nn.Module):
    """Two convolutions with ReLU, two pools, FC to features, FC to classes.

    References:
        The paper, section 2-3-1, equations (1) and (2); README.md for the widths.
    """

    cfg: Config

    def setup(self):
        require_names(self.cfg)
        cnn, dtype = self.cfg.cnn, compute_dtype(self.cfg)
        self.conv1 = Conv(cnn.filters[0], cnn.kernel_size, dtype=dtype)
        self.conv2 = Conv(cnn.filters[1], cnn.kernel_size, dtype=dtype)
        self.fc = dense(cnn.features, dtype)
        self.fc_out = dense(self.cfg.data.num_classes, dtype)

    def map(self, image: Array) -> Array:
        """[B, S, S, C] float32 -> the second pool's output [B, H', W', filters[1]]."""
        cnn = self.cfg.cnn

        def pool(x):
            return ops.pool(x, cnn.pool, cnn.pool_size, cnn.pool_stride)

        def block(conv, pools, x):
            if cnn.pool == "average":
                x = nn.relu(conv(x))
                return pools(x)
            # Bias and ReLU keep the order of values, so pooling first gives the same
            # numbers and gradients, and they run on the pooled pixels only.
            return nn.relu(conv(x, pools))

        def both(image):
            if cnn.interleave:
                return block(self.conv2, pool, block(self.conv1, pool, image))
            return block(self.conv2, lambda x: pool(pool(x)), nn.relu(self.conv1(image)))

        return ops.in_parts(both, image)

    def features(self, image: Array, train: bool = False) -> Array:
        """[B, S, S, C] float32 -> what the hybrid reads; the same while training.

        [B, cnn.features] for the vector and scalar readings; [B, H', W' * filters[1]],
        one token per row of the map, for the rows reading.
        """
        x = self.map(image)
        if self.cfg.hybrid.sequence == "rows":
            return x.reshape(x.shape[0], x.shape[1], -1).astype("float32")
        return self.fc(x.reshape(x.shape[0], -1)).astype("float32")

    def __call__(self, image: Array, train: bool = False) -> Array:
        """[B, S, S, C] float32 -> logits [B, K] of the CNN's own softmax."""
        x = self.map(image)
        return self.fc_out(self.fc(x.reshape(x.shape[0], -1))).astype("float32")


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
