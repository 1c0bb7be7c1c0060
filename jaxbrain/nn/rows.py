"""A map read row by row."""

import flax.linen as nn

from jaxbrain.nn.layers import dense
from jaxbrain.nn.lstm import LSTM
from jaxbrain.types import Array


class RowReader(nn.Module):
    """An LSTM over the rows of a map, each seen through one small layer: features [B, T, D]
    float32 -> logits [B, num_classes].

    Half of what it reads, and half of what it has read, are dropped in training (rng
    "dropout").
    """

    hidden_size: int = 64
    num_classes: int = 2

    @nn.compact
    def __call__(self, features: Array, train: bool) -> Array:
        x = nn.Dropout(0.5, deterministic=not train)(features)
        x = nn.relu(dense(self.hidden_size, "float32", "row")(x))
        x = LSTM(self.hidden_size, last=True, name="lstm")(x)
        x = nn.Dropout(0.5, deterministic=not train)(x)
        return dense(self.num_classes, "float32", "out")(x)
