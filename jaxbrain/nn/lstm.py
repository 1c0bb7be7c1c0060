"""LSTM with MATLAB's initialisers and its input product taken out of the loop."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.custom_batching import sequential_vmap

from jaxbrain.nn import ops
from jaxbrain.nn.layers import glorot
from jaxbrain.types import Array

# Steps of a loop that are compiled as one on an accelerator.
_WRITTEN_OUT = 16


def _forget_gate_one(key: Array, shape: tuple[int], dtype=jnp.float32) -> Array:
    """Zeros, and ones for the forget gate (gates are input, forget, cell, output)."""
    del key
    ones = jnp.ones((shape[0] // 4,), dtype)
    return jnp.zeros(shape, dtype).at[shape[0] // 4 : shape[0] // 2].set(ones)


def _orthogonal(key: Array, shape: tuple[int, int], dtype=jnp.float32) -> Array:
    """Mapped over seeds, one at a time: a batched QR decomposition waits on a CPU for
    threads of the pool that it runs in, and two of them at once for ever."""
    init = nn.initializers.orthogonal()
    return sequential_vmap(lambda key: init(key, shape, dtype))(key)


class LSTM(nn.Module):
    """The modern LSTM cell over a sequence, from zero states.

    With gates stacked as (i, f, g, o),

        i, f, o = sigmoid(.), g = tanh(.) of  x_t W + h_{t-1} R + b
        c_t = f c_{t-1} + i g,    h_t = o tanh(c_t)

    Initialisers are those of MATLAB's `lstmLayer`: W Glorot-uniform and R orthogonal,
    each as one stacked matrix, b zero but one for the forget gate.

    Attributes:
        hidden_size: H.
        last: return the last h only (MATLAB's OutputMode "last").
        reverse: read from the last step to the first. Outputs keep the places of their
            steps; the last h is then that of the first step.
        dtype: of activations; parameters are float32.

    Params: `kernel` [D, 4H], `recurrent_kernel` [H, 4H], `bias` [4H].

    References:
        Hochreiter and Schmidhuber, "Long short-term memory", 1997; Gers et al.,
        "Learning to forget", 2000 (the forget gate).
    """

    hidden_size: int
    last: bool = False
    reverse: bool = False
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """[B, T, D] -> [B, T, H], or [B, H] where `last`, of `dtype`."""
        units = self.hidden_size
        kernel = self.param("kernel", glorot, (x.shape[-1], 4 * units))
        recurrent = self.param("recurrent_kernel", _orthogonal, (units, 4 * units))
        bias = self.param("bias", _forget_gate_one, (4 * units,))
        x, kernel, recurrent, bias = (
            leaf.astype(self.dtype) for leaf in (x, kernel, recurrent, bias)
        )
        # One product for all time steps: the loop keeps only what depends on h.
        inputs = jnp.einsum("btd,dg->tbg", x, kernel) + bias.reshape(1, 1, -1)

        def cell(carry, inputs_t):
            h, c = carry
            i, f, g, o = jnp.split(inputs_t + h @ recurrent, 4, axis=-1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), None if self.last else h

        start = jnp.zeros((x.shape[0], units), x.dtype)
        # On an accelerator a short loop is written out: its steps are launches.
        unroll = 1 if ops.backend() == "cpu" else min(x.shape[1], _WRITTEN_OUT)
        (h, _), outputs = jax.lax.scan(
            cell, (start, start), inputs, reverse=self.reverse, unroll=unroll
        )
        return h if self.last else outputs.swapaxes(0, 1)
