"""Layers with MATLAB's initialisers: Glorot-uniform kernels and zero biases.

`dtype` is that of activations (`compute_dtype`); parameters are float32.
"""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from jaxbrain.config import Config
from jaxbrain.nn import ops
from jaxbrain.types import Array

glorot = nn.initializers.xavier_uniform()
_zeros = nn.initializers.zeros_init()


def compute_dtype(cfg: Config) -> str:
    """The dtype of activations on this backend, as `cfg.compute` has it."""
    if cfg.compute != "auto":
        return cfg.compute
    return "float32" if ops.backend() == "cpu" else "bfloat16"


def dense(features: int, dtype: str, name: str | None = None) -> nn.Dense:
    """A fully connected layer on the last axis: kernel [D, features], bias."""
    return nn.Dense(features, dtype=dtype, kernel_init=glorot, bias_init=_zeros, name=name)


def embed(num_classes: int, features: int, scale: float, dtype: str) -> nn.Embed:
    """One normally distributed row per class: label [B] int32 -> [B, features]."""
    init = nn.initializers.normal(scale)
    return nn.Embed(num_classes, features, dtype=dtype, embedding_init=init, name="embed")


class Conv(nn.Module):
    """`ops.conv` with a kernel [k, k, C_in, features] and a bias.

    `between` is applied before the bias is added: a pool that picks pixels gives the same
    there, on a fraction of the memory.
    """

    features: int
    kernel_size: int
    stride: int = 1
    padding: str = "SAME"
    dtype: str = "float32"
    kernel_init: Callable = glorot

    @nn.compact
    def __call__(self, x: Array, between: Callable[[Array], Array] = lambda y: y) -> Array:
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        bias = self.param("bias", _zeros, (self.features,))
        x, kernel, bias = (leaf.astype(self.dtype) for leaf in (x, kernel, bias))
        y = between(ops.conv(x, kernel, self.stride, self.padding))
        return y + bias.reshape(1, 1, 1, -1)


class ConvTranspose(nn.Module):
    """`ops.conv_transpose` with a kernel [k, k, C_in, features] and a bias."""

    features: int
    kernel_size: int
    stride: int = 1
    padding: str = "SAME"
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", glorot, shape)
        bias = self.param("bias", _zeros, (self.features,))
        x, kernel, bias = (leaf.astype(self.dtype) for leaf in (x, kernel, bias))
        y = ops.conv_transpose(x, kernel, self.stride, self.padding)
        return y + bias.reshape(1, 1, 1, -1)


class BatchNorm(nn.Module):
    """BatchNorm with MATLAB's constants; per-class scale and offset where labels come.

    Running statistics move by 0.1 a step, epsilon is 1e-5. With `num_classes` above 0
    scale and offset are rows of an embedding, one per class.

    References:
        de Vries et al., "Modulating early visual processing by language", 2017.
    """

    train: bool
    num_classes: int = 0
    axis_name: str | None = None
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Array, label: Array) -> Array:
        per_class = self.num_classes > 0
        x = nn.BatchNorm(
            use_running_average=not self.train,
            momentum=0.9,
            epsilon=1e-5,
            use_scale=not per_class,
            use_bias=not per_class,
            axis_name=self.axis_name if self.train else None,
            name="norm",
        )(x.astype("float32"))
        x = x.astype(self.dtype)
        if not per_class:
            return x
        shape = (self.num_classes, x.shape[-1])
        scale = self.param("scale", nn.initializers.ones_init(), shape)
        offset = self.param("offset", _zeros, shape)
        scale, offset = scale.astype(self.dtype), offset.astype(self.dtype)
        rows = (slice(None), None, None)
        return x * jnp.take(scale, label, axis=0)[rows] + jnp.take(offset, label, axis=0)[rows]
