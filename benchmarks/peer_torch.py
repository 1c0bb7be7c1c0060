"""The same nets and steps in PyTorch, written as PyTorch's users would for speed.

Modes: "eager" (contiguous), "channels_last", "compile" (`torch.compile` on channels-last),
and on a GPU "cudagraphs" (`mode="reduce-overhead"`). Optimisers are fused, gradients are
set to None between steps, nothing is read back inside a step.

PyTorch pads an even image of a stride-2 layer at the top and left, MATLAB and jaxbrain at
the bottom and right. So these nets are mirror images of ours: `load` turns the kernels
round, and on images turned round both give the same logits (the benchmark checks it).
"""

import torch
import torch.nn.functional as F
from torch import nn

from jaxbrain import ConfigError
from jaxbrain.config import Config


def refuse(cfg: Config) -> None:
    """ConfigError for choices that these peers do not make."""
    wanted = {
        "gan.loss": (cfg.gan.loss, "bce"),
        "gan.update": (cfg.gan.update, "simultaneous"),
        "gan.generator_condition": (cfg.gan.generator_condition, "concat"),
        "gan.discriminator_condition": (cfg.gan.discriminator_condition, "concat"),
        "gan.r1": (cfg.gan.r1, 0.0),
        "gan.average_half_life": (cfg.gan.average_half_life, 0.0),
        "cnn.pool": (cfg.cnn.pool, "max"),
        "cnn.interleave": (cfg.cnn.interleave, True),
        "hybrid.sequence": (cfg.hybrid.sequence, "vector"),
        "classifier.augment": (cfg.classifier.augment, "none"),
        "classifier.optim.name": (cfg.classifier.optim.name, "sgdm"),
    }
    for name, (found, expected) in wanted.items():
        if found != expected:
            raise ConfigError(f"{name} is {found!r}: expected {expected!r} for --peer torch")
    if cfg.gan.augment not in ("none", "reflect"):
        raise ConfigError(f"gan.augment is {cfg.gan.augment!r}: expected none or reflect")


class CNNLSTM(nn.Module):
    """CNN to features, Table 1 on them as one time step."""

    def __init__(self, cfg: Config):
        super().__init__()
        cnn, hybrid = cfg.cnn, cfg.hybrid
        pad = cnn.kernel_size // 2
        self.conv1 = nn.Conv2d(cfg.data.channels, cnn.filters[0], cnn.kernel_size, padding=pad)
        self.conv2 = nn.Conv2d(cnn.filters[0], cnn.filters[1], cnn.kernel_size, padding=pad)
        self.pool = nn.MaxPool2d(cnn.pool_size, cnn.pool_stride, padding=cnn.pool_size // 2)
        side = cfg.data.image_size
        for _ in range(2):
            side = -(-side // cnn.pool_stride)
        self.fc = nn.Linear(side * side * cnn.filters[1], cnn.features)
        self.fc2 = nn.Linear(cnn.features, hybrid.fc2)
        self.fc4 = nn.Linear(hybrid.fc2, hybrid.fc4)
        self.lstm6 = nn.LSTM(hybrid.fc4, hybrid.hidden_size, batch_first=True)
        self.lstm8 = nn.LSTM(hybrid.hidden_size, hybrid.hidden_size, batch_first=True)
        self.fc10 = nn.Linear(hybrid.hidden_size, hybrid.fc10)
        self.fc11 = nn.Linear(hybrid.fc10, cfg.data.num_classes)
        self.dropout = nn.Dropout(hybrid.dropout)

    def forward(self, image):
        x = self.pool(F.relu(self.conv1(image)))
        x = self.pool(F.relu(self.conv2(x)))
        # Channels last in memory, so that this is a view where the net is.
        x = self.fc(x.permute(0, 2, 3, 1).flatten(1))
        x = self.fc4(torch.sigmoid(self.fc2(x)))[:, None]
        x = self.dropout(self.lstm6(x)[0])
        x = self.dropout(self.lstm8(x)[0][:, -1])
        return self.fc11(self.fc10(x))


class Generator(nn.Module):
    def __init__(self, cfg: Config):
        super().__init__()
        gan, k = cfg.gan, cfg.gan.kernel_size
        side = gan.start_size - k + 1
        valid = side >= 1
        self.side = side if valid else gan.start_size
        self.project = nn.Linear(gan.latent_size, self.side**2 * gan.projection)
        self.embed = nn.Embedding(cfg.data.num_classes, gan.embedding_size)
        self.label_map = nn.Linear(gan.embedding_size, self.side**2)
        layers, width = [], gan.projection + 1
        for level in range(gan.doublings):
            features = gan.filters * 2 ** (gan.doublings - 1 - level)
            if level == 0:
                pad = 0 if valid and side < gan.start_size else k // 2
                layers.append(nn.ConvTranspose2d(width, features, k, padding=pad))
            else:
                layers.append(nn.ConvTranspose2d(width, features, k, 2, (k - 1) // 2, (k - 1) % 2))
                layers[-1] = nn.ConvTranspose2d(
                    width, features, k, stride=2, padding=k // 2, output_padding=k % 2
                )
            layers += [nn.BatchNorm2d(features), nn.ReLU(inplace=True)]
            width = features
        layers.append(
            nn.ConvTranspose2d(
                width, cfg.data.channels, k, stride=2, padding=k // 2, output_padding=k % 2
            )
        )
        self.layers = nn.Sequential(*layers)

    def forward(self, z, label):
        x = self.project(z).unflatten(1, (self.side, self.side, -1)).permute(0, 3, 1, 2)
        channel = self.label_map(self.embed(label)).unflatten(1, (1, self.side, self.side))
        x = torch.cat([x, channel], 1)
        return torch.tanh(self.layers(x))


class Discriminator(nn.Module):
    def __init__(self, cfg: Config):
        super().__init__()
        gan, k = cfg.gan, cfg.gan.kernel_size
        self.size = gan.image_size
        self.dropout = nn.Dropout(gan.dropout)
        self.embed = nn.Embedding(cfg.data.num_classes, gan.embedding_size)
        self.label_map = nn.Linear(gan.embedding_size, self.size**2)
        layers, width, size, level = [], cfg.data.channels + 1, self.size, 0
        while size % 2 == 0 and size // 2 >= 4:
            features = gan.filters * min(2**level, 8)
            layers += [
                nn.Conv2d(width, features, k, stride=2, padding=k // 2),
                nn.LeakyReLU(0.2, inplace=True),
            ]
            width, size, level = features, size // 2, level + 1
        layers.append(nn.Conv2d(width, 1, size))
        self.layers = nn.Sequential(*layers)

    def forward(self, image, label):
        channel = self.label_map(self.embed(label)).unflatten(1, (1, self.size, self.size))
        return self.layers(torch.cat([self.dropout(image), channel], 1)).flatten()
