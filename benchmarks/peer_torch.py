"""The same nets and steps in PyTorch, written as PyTorch's users would for speed.

Modes: "eager" (contiguous), "channels_last", "compile" (`torch.compile` on channels-last),
and on a GPU "cudagraphs" (`torch.compile(mode="reduce-overhead")`). Optimisers are fused,
gradients are set to None between steps, the discriminator sees real and synthetic images
in one batch, and nothing is read back inside a step.

PyTorch pads an even image of a stride-2 layer at the top and left, MATLAB and jaxbrain at
the bottom and right. So these nets are mirror images of ours: with kernels and images turned
round both give the same outputs, which `peer_agreement` checks before anything is timed.
"""

import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from jaxbrain import Config, ConfigError


def _expect(wanted: dict) -> None:
    for name, (found, expected) in wanted.items():
        if found != expected:
            raise ConfigError(f"{name} is {found!r}: expected {expected!r} for --peer torch")


def refuse_classifier(cfg: Config) -> None:
    """ConfigError for choices that the classifier's peer does not make."""
    _expect(
        {
            "cnn.pool": (cfg.cnn.pool, "max"),
            "cnn.interleave": (cfg.cnn.interleave, True),
            "cnn.norm": (cfg.cnn.norm, "none"),
            "cnn.mirror": (cfg.cnn.mirror, False),
            "cnn.summary": (cfg.cnn.summary, "all"),
            "number of cnn.filters": (len(cfg.cnn.filters), 2),
            "cnn.first_stride": (cfg.cnn.first_stride, 1),
            "cnn.first_kernel_size": (cfg.cnn.first_kernel_size, 0),
            "cnn.last_pool": (cfg.cnn.last_pool, 1),
            "cnn.dropout": (cfg.cnn.dropout, 0.0),
            "classifier.label_smoothing": (cfg.classifier.label_smoothing, 0.0),
            "classifier.average_half_life": (cfg.classifier.average_half_life, 0.0),
            "classifier.optim.weight_decay": (cfg.classifier.optim.weight_decay, 0.0),
            "hybrid.sequence": (cfg.hybrid.sequence, "vector"),
            "classifier.augment": (cfg.classifier.augment, "none"),
            "classifier.optim.name": (cfg.classifier.optim.name, "sgdm"),
        }
    )
    if cfg.cnn.kernel_size % 2 == 0:
        raise ConfigError(f"cnn.kernel_size is {cfg.cnn.kernel_size}: expected an odd number")
    if cfg.data.image_size % cfg.cnn.pool_stride**2:
        raise ConfigError(
            f"data.image_size is {cfg.data.image_size}: expected a multiple of the square of "
            f"cnn.pool_stride, {cfg.cnn.pool_stride**2}, for --peer torch"
        )


def refuse(cfg: Config) -> None:
    """ConfigError for choices that these peers do not make."""
    refuse_classifier(cfg)
    _expect(
        {
            "gan.loss": (cfg.gan.loss, "bce"),
            "gan.update": (cfg.gan.update, "simultaneous"),
            "gan.generator_condition": (cfg.gan.generator_condition, "concat"),
            "gan.discriminator_condition": (cfg.gan.discriminator_condition, "concat"),
            "gan.r1": (cfg.gan.r1, 0.0),
            "gan.average_half_life": (cfg.gan.average_half_life, 0.0),
        }
    )
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
        pad = max(cnn.pool_size - cnn.pool_stride + 1, 0) // 2
        self.pool = nn.MaxPool2d(cnn.pool_size, cnn.pool_stride, padding=pad)
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


def upsample(width: int, features: int, k: int) -> nn.Module:
    """Doubles the map."""
    return nn.ConvTranspose2d(width, features, k, 2, padding=(k - 1) // 2, output_padding=k % 2)


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
                layers.append(upsample(width, features, k))
            layers += [nn.BatchNorm2d(features), nn.ReLU(inplace=True)]
            width = features
        layers.append(upsample(width, cfg.data.channels, k))
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
                nn.Conv2d(width, features, k, stride=2, padding=(k - 1) // 2),
                nn.LeakyReLU(0.2, inplace=True),
            ]
            width, size, level = features, size // 2, level + 1
        layers.append(nn.Conv2d(width, 1, size))
        self.layers = nn.Sequential(*layers)

    def forward(self, image, label):
        channel = self.label_map(self.embed(label)).unflatten(1, (1, self.size, self.size))
        return self.layers(torch.cat([self.dropout(image), channel], 1)).flatten()


def modes(device: str) -> list[str]:
    """How PyTorch is run on a device."""
    return ["eager", "channels_last", "compile"] + ["cudagraphs"] * (device == "cuda")


def refuse_modes(names) -> None:
    """ConfigError for modes that the device has not."""
    for name in names:
        if name not in modes(device()):
            expected = " | ".join(modes(device()))
            raise ConfigError(f"peer_modes is {name!r}: expected {expected}")


def like_jax() -> str:
    """Have products of float32 computed as JAX's default does on the device, and say how."""
    if device() == "cuda":
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True
    return torch.get_float32_matmul_precision()


def _prepared(net, mode: str, device: str):
    """The net on the device, and what to call."""
    layout = torch.contiguous_format if mode == "eager" else torch.channels_last
    net = net.to(device).to(memory_format=layout)
    if mode == "compile":
        return net, torch.compile(net)
    if mode == "cudagraphs":
        return net, torch.compile(net, mode="reduce-overhead")
    return net, net


def _autocast(cfg: Config, device: str):
    return torch.autocast(device, torch.bfloat16, enabled=cfg.compute == "bfloat16")


def _classifier_update(cfg: Config, mode: str, device: str):
    """A fresh net's (image, label) -> one update, and the memory layout it wants."""
    options = cfg.classifier.optim
    net, forward = _prepared(CNNLSTM(cfg), mode, device)
    names = {"weight_ih_l0", "weight_hh_l0", "weight"}
    decayed, rest = [], []
    for name, parameter in net.named_parameters():
        (decayed if name.split(".")[-1] in names else rest).append(parameter)
    groups = [{"params": decayed, "weight_decay": options.l2}, {"params": rest}]
    optimiser = torch.optim.SGD(groups, options.learning_rate, options.momentum, fused=True)

    def update(image, label):
        optimiser.zero_grad(set_to_none=True)
        with _autocast(cfg, device):
            logits = forward(image)
        F.cross_entropy(logits.float(), label).backward()
        optimiser.step()

    return update, torch.contiguous_format if mode == "eager" else torch.channels_last


def classifier_step(cfg: Config, mode: str, device: str):
    """A function that makes one update on a batch of images in [-1, 1]."""
    batch, size, channels = cfg.classifier.batch_size, cfg.data.image_size, cfg.data.channels
    update, layout = _classifier_update(cfg, mode, device)
    image = torch.rand(batch, channels, size, size, device=device) * 2 - 1
    image = image.to(memory_format=layout)
    label = torch.arange(batch, device=device) % cfg.data.num_classes
    return lambda: update(image, label)


def classifier_training(cfg: Config, data, mode: str, device: str):
    """A function that makes some updates on bytes that lie on the device, and returns its
    seconds."""
    update, layout = _classifier_update(cfg, mode, device)
    bytes_ = torch.tensor(np.asarray(data.image)[..., 0], device=device)
    label = torch.tensor(np.asarray(data.label), dtype=torch.long, device=device)
    channels, size = cfg.data.channels, cfg.classifier.batch_size

    def run(steps: int) -> float:
        start = time.perf_counter()
        per_epoch = len(label) // size
        for i in range(steps):
            if i % per_epoch == 0:
                order = torch.randperm(len(label), device=device)
            index = order[i % per_epoch * size :][:size]
            image = bytes_[index][:, None].float().div_(127.5).sub_(1.0)
            image = image.expand(-1, channels, -1, -1).contiguous(memory_format=layout)
            update(image, label[index])
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    return run


def gan_step(cfg: Config, mode: str, device: str):
    """A function that makes one simultaneous update of both networks."""
    options = cfg.gan
    batch, size = options.batch_size, options.image_size
    generator, draw = _prepared(Generator(cfg), mode, device)
    discriminator, judge = _prepared(Discriminator(cfg), mode, device)

    def adam(net, optim):
        betas = (optim.b1, optim.b2)
        return torch.optim.Adam(net.parameters(), optim.learning_rate, betas, fused=True)

    optimisers = [
        adam(generator, options.generator_optim),
        adam(discriminator, options.discriminator_optim),
    ]
    real = torch.rand(batch, cfg.data.channels, size, size, device=device) * 2 - 1
    label = torch.arange(batch, device=device) % cfg.data.num_classes
    labels = torch.cat([label, label])
    zeros, ones = torch.zeros(batch, device=device), torch.ones(batch, device=device)
    parameters = [list(generator.parameters()), list(discriminator.parameters())]
    loss = F.binary_cross_entropy_with_logits

    def step():
        image = real
        if options.augment == "reflect":
            swap = torch.rand(batch, 1, 1, 1, device=device) < 0.5
            image = torch.where(swap, real.flip(3), real)
        truth = ones.clone()
        truth[torch.randperm(batch, device=device)[: int(options.flip * batch)]] = 0
        with _autocast(cfg, device):
            fake = draw(torch.randn(batch, options.latent_size, device=device), label)
            logits = judge(torch.cat([image, fake]), labels)
        real_logits, fake_logits = logits.float().split(batch)
        d_loss = loss(real_logits, truth) + loss(fake_logits, zeros)
        g_loss = loss(fake_logits, ones)
        d_grads = torch.autograd.grad(d_loss, parameters[1], retain_graph=True)
        g_grads = torch.autograd.grad(g_loss, parameters[0])
        for own, grads in zip(parameters, (g_grads, d_grads), strict=True):
            for parameter, grad in zip(own, grads, strict=True):
                parameter.grad = grad
        for optimiser in optimisers:
            optimiser.step()

    return step


def timed(step, device: str, count: int = 1) -> float:
    """Seconds of a step, the mean of `count`; the GPU is waited for."""
    start = time.perf_counter()
    for _ in range(count):
        step()
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / count


def device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def versions() -> dict:
    return {"torch": torch.__version__, "torch_threads": torch.get_num_threads()}
