"""EfficientNet-lite0 as a frozen trunk, for the baselines that look through it."""

from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jax import lax

from jaxbrain.types import Array


class Stage(NamedTuple):
    """`depth` blocks; the first of them takes the stride and changes the channels."""

    depth: int
    kernel_size: int
    stride: int
    expansion: int
    features: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


def blocks(stages: tuple[Stage, ...] = STAGES) -> list[Stage]:
    """The blocks one by one, each a `Stage` of depth 1."""
    return [
        stage._replace(depth=1, stride=stage.stride if i == 0 else 1)
        for stage in stages
        for i in range(stage.depth)
    ]


class Depthwise(nn.Module):
    """A convolution of each channel with its own kernel, "SAME", without bias:
    [B, H, W, C] -> [B, H / stride, W / stride, C], rounded up; kernel [k, k, 1, C]."""

    kernel_size: int
    stride: int = 1

    @nn.compact
    def __call__(self, x: Array) -> Array:
        window, step = self.kernel_size, self.stride
        kernel = self.param("kernel", nn.initializers.he_normal(), (window, window, 1, x.shape[-1]))
        pads = lax.padtype_to_pads(x.shape[1:3], (window, window), (step, step), "SAME")
        x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
        rows, columns = (size - window + 1 for size in x.shape[1:3])
        # A sum of shifted images: with XLA's grouped convolution the trunk takes 3.5 to 5 times as
        # long on a CPU (102 ms for an image of 224 pixels).
        return sum(
            x[:, i : i + rows : step, j : j + columns : step] * kernel[i, j].reshape(1, 1, 1, -1)
            for i in range(window)
            for j in range(window)
        )


class _Normed(nn.Module):
    """A convolution without bias, BatchNorm by its running statistics, relu6 where `active`.

    `depthwise`: by `Depthwise`; `features` are then those of x.
    """

    features: int
    kernel_size: int = 1
    stride: int = 1
    depthwise: bool = False
    active: bool = True

    @nn.compact
    def __call__(self, x: Array) -> Array:
        size, step = self.kernel_size, self.stride
        # "SAME" is TensorFlow's: of an odd number of rows to add the last goes to the bottom.
        if self.depthwise:
            conv = Depthwise(size, step, name="conv")
        else:
            conv = nn.Conv(
                self.features, (size, size), (step, step), "SAME", use_bias=False, name="conv"
            )
        x = conv(x)
        x = nn.BatchNorm(use_running_average=True, epsilon=1e-3, name="norm")(x)
        return jnp.clip(x, 0.0, 6.0) if self.active else x


class Block(nn.Module):
    """An inverted residual (MBConv without squeeze-and-excite): wider by `expansion`, a
    depthwise convolution, and a linear product to `features`; added to x where the shapes
    agree."""

    stage: Stage

    @nn.compact
    def __call__(self, x: Array) -> Array:
        stage, wide, y = self.stage, x.shape[-1] * self.stage.expansion, x
        if stage.expansion > 1:
            y = _Normed(wide, name="expand")(y)
        y = _Normed(wide, stage.kernel_size, stage.stride, depthwise=True, name="depthwise")(y)
        y = _Normed(stage.features, active=False, name="project")(y)
        return x + y if stage.stride == 1 and x.shape == y.shape else y


class EfficientNetLite0(nn.Module):
    """EfficientNet-B0 without squeeze-and-excite and with relu6: 3,371,008 parameters.

    For inference: BatchNorm reads its running statistics, and the last layer, of ImageNet's
    classes, is left out.

    Attributes:
        stem, head: channels of the first convolution and of the last.
        stages: see `Stage`.

    References:
        Tan and Le, "EfficientNet: rethinking model scaling for convolutional neural
        networks", 2019; the lite variants: TensorFlow, tpu/models/official/efficientnet/lite.
    """

    stem: int = 32
    stages: tuple[Stage, ...] = STAGES
    head: int = 1280

    @nn.compact
    def __call__(self, image: Array) -> Array:
        """[B, S, S, 3] float32, (rgb - 127) / 128 of bytes -> [B, S / 32, S / 32, head],
        rounded up, in [0, 6]."""
        x = _Normed(self.stem, 3, 2, name="stem")(image)
        for i, stage in enumerate(blocks(self.stages)):
            x = Block(stage, name=f"block{i}")(x)
        return _Normed(self.head, name="head")(x)
