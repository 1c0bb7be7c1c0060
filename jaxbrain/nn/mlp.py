"""A perceptron with one hidden layer."""

from typing import Literal

import flax.linen as nn

from jaxbrain.config import require_name
from jaxbrain.nn.layers import dense
from jaxbrain.types import Array


class MLP(nn.Module):
    """Features [B, F] float32 -> logits [B, num_classes]."""

    hidden_size: int
    activation: Literal["tanh", "sigmoid"] = "tanh"
    num_classes: int = 2

    @nn.compact
    def __call__(self, features: Array, train: bool) -> Array:
        require_name("activation", self.activation, ("tanh", "sigmoid"))
        squash = nn.tanh if self.activation == "tanh" else nn.sigmoid
        hidden = squash(dense(self.hidden_size, "float32", "hidden")(features))
        return dense(self.num_classes, "float32", "out")(hidden)
