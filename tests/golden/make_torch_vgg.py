"""Writes torch_vgg.npz: a narrow VGG-16 in PyTorch, its weights and its logits.

    python tests/golden/make_torch_vgg.py        (with torch 2.13.0 and numpy installed)

The network is written in PyTorch's own layers with torchvision's names (`features.0.weight`
and so on, [out, in, k, k] kernels, the map flattened by channels). The file holds the
tensors under those names, and `logits` of `image()`; tests/test_nn_vgg.py compares.
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn

WIDTHS, DEPTHS, HIDDEN, CLASSES = (4, 4, 8, 8, 8), (2, 2, 3, 3, 3), 16, 5


def image() -> np.ndarray:
    """[2, 224, 224, 3] uint8; the test draws the same."""
    return np.random.default_rng(3).integers(0, 256, (2, 224, 224, 3), np.uint8)


def network() -> nn.Module:
    layers: list[nn.Module] = []
    channels = 3
    for width, depth in zip(WIDTHS, DEPTHS, strict=True):
        for _ in range(depth):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
        layers.append(nn.MaxPool2d(2, 2))
    top = [nn.Linear(channels * 49, HIDDEN), nn.ReLU(), nn.Dropout()]
    top += [nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Dropout(), nn.Linear(HIDDEN, CLASSES)]
    parts = {"features": nn.Sequential(*layers), "classifier": nn.Sequential(*top)}
    return nn.ModuleDict(parts).eval()


def main() -> None:
    torch.manual_seed(0)
    net = network()
    pixels = torch.tensor(image()).permute(0, 3, 1, 2) / 255.0
    mean = torch.tensor([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1)
    deviation = torch.tensor([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            # Larger than PyTorch's own, or fifteen narrow layers end near zero.
            parameter.mul_(2.0) if "features" in name else parameter
        found = net["features"]((pixels - mean) / deviation)
        logits = net["classifier"](found.flatten(1))
    tensors = {name: tensor.numpy() for name, tensor in net.state_dict().items()}
    path = Path(__file__).with_name("torch_vgg.npz")
    np.savez_compressed(path, logits=logits.numpy(), **tensors)


if __name__ == "__main__":
    main()
