"""Are the PyTorch nets the same nets? Our parameters copied into them, outputs compared."""

import dataclasses

import jax
import numpy as np
import torch
from torch import nn

from benchmarks import peer_torch
from jaxbrain import Config
from jaxbrain.nn.discriminator import Discriminator
from jaxbrain.training import classifier, gan


def _turned(kernel) -> torch.Tensor:
    """[k, k, I, O] of ours -> [O, I, k, k], turned round."""
    return torch.tensor(np.asarray(kernel)[::-1, ::-1].transpose(3, 2, 0, 1).copy())


def _turned_rows(kernel, side: int) -> torch.Tensor:
    """[side * side * C, F] of ours -> [F, side * side * C], the map turned round."""
    kernel = np.asarray(kernel)
    maps = kernel.reshape(side, side, -1, kernel.shape[-1])[::-1, ::-1]
    return torch.tensor(maps.reshape(-1, kernel.shape[-1]).T.copy())


def _turned_columns(kernel, side: int) -> torch.Tensor:
    """[D, side * side * C] of ours -> [side * side * C, D], the map turned round."""
    return _turned_rows(np.asarray(kernel).T, side).T


def _set(parameter, value) -> None:
    value = value if isinstance(value, torch.Tensor) else torch.tensor(np.array(value))
    if parameter.shape != value.shape:
        raise ValueError(f"shape {tuple(value.shape)}: expected {tuple(parameter.shape)}")
    parameter.data.copy_(value)


def _load_dense(layer, params) -> None:
    _set(layer.weight, np.asarray(params["kernel"]).T)
    _set(layer.bias, params["bias"])


def load_classifier(net: peer_torch.CNNLSTM, state) -> None:
    """Copy the parameters of a `ClassifierState`."""
    cnn, hybrid = state.cnn.params, state.hybrid.params
    for name in ("conv1", "conv2"):
        _set(getattr(net, name).weight, _turned(cnn[name]["kernel"]))
        _set(getattr(net, name).bias, cnn[name]["bias"])
    side = int((net.fc.in_features // net.conv2.out_channels) ** 0.5)
    _set(net.fc.weight, _turned_rows(cnn["fc"]["kernel"], side))
    _set(net.fc.bias, cnn["fc"]["bias"])
    for name in ("fc2", "fc4", "fc10", "fc11"):
        _load_dense(getattr(net, name), hybrid[name])
    for name in ("lstm6", "lstm8"):
        layer = getattr(net, name)
        _set(layer.weight_ih_l0, np.asarray(hybrid[name]["kernel"]).T)
        _set(layer.weight_hh_l0, np.asarray(hybrid[name]["recurrent_kernel"]).T)
        _set(layer.bias_ih_l0, hybrid[name]["bias"])
        layer.bias_hh_l0.data.zero_()


def load_gan(generator, discriminator, state) -> None:
    """Copy the parameters of a `GANState`."""
    params = state.generator.params
    _set(generator.project.weight, _turned_columns(params["project"]["kernel"], generator.side))
    bias = np.asarray(params["project"]["bias"])[None]
    _set(generator.project.bias, _turned_columns(bias, generator.side)[:, 0])
    _set(generator.embed.weight, params["embed"]["embedding"])
    _set(generator.label_map.weight, _turned_columns(params["label_map"]["kernel"], generator.side))
    bias = np.asarray(params["label_map"]["bias"])[None]
    _set(generator.label_map.bias, _turned_columns(bias, generator.side)[:, 0])
    convolutions = [m for m in generator.layers if isinstance(m, nn.ConvTranspose2d)]
    names = [f"conv{i + 1}" for i in range(len(convolutions) - 1)] + ["image"]
    for layer, name in zip(convolutions, names, strict=True):
        _set(layer.weight, _turned(params[name]["kernel"]).transpose(0, 1))
        _set(layer.bias, params[name]["bias"])
    norms = [m for m in generator.layers if isinstance(m, nn.BatchNorm2d)]
    for i, layer in enumerate(norms):
        _set(layer.weight, params[f"norm{i + 1}"]["norm"]["scale"])
        _set(layer.bias, params[f"norm{i + 1}"]["norm"]["bias"])
    params = state.discriminator.params
    _set(discriminator.embed.weight, params["embed"]["embedding"])
    size = discriminator.size
    _set(discriminator.label_map.weight, _turned_columns(params["label_map"]["kernel"], size))
    bias = np.asarray(params["label_map"]["bias"])[None]
    _set(discriminator.label_map.bias, _turned_columns(bias, size)[:, 0])
    convolutions = [m for m in discriminator.layers if isinstance(m, nn.Conv2d)]
    names = [f"conv{i + 1}" for i in range(len(convolutions) - 1)] + ["logit"]
    for layer, name in zip(convolutions, names, strict=True):
        _set(layer.weight, _turned(params[name]["kernel"]))
        _set(layer.bias, params[name]["bias"])


def _tensor(image) -> torch.Tensor:
    """Images of ours, turned round, [B, C, H, W]."""
    return torch.tensor(np.asarray(image)[:, ::-1, ::-1].transpose(0, 3, 1, 2).copy())


def agreement(cfg: Config, key) -> dict[str, float]:
    """Largest difference between our outputs and the peers' at the same parameters, over
    the largest output: that both are the same architecture. The peers' are computed on the
    processor in float32: ours in full precision, which is not a GPU's default."""
    with jax.default_matmul_precision("highest"):
        return _agreement(dataclasses.replace(cfg, compute="float32"), key)


def _agreement(cfg: Config, key) -> dict[str, float]:
    batch = 4
    size, gan_size, channels = cfg.data.image_size, cfg.gan.image_size, cfg.data.channels
    label = np.arange(batch) % cfg.data.num_classes
    image = jax.random.uniform(key, (batch, size, size, channels), minval=-1.0)
    small = jax.random.uniform(key, (batch, gan_size, gan_size, channels), minval=-1.0)

    def apart(ours, theirs):
        ours, theirs = np.asarray(ours, np.float64), theirs.detach().double().numpy()
        return float(np.abs(ours - theirs).max() / np.abs(ours).max())

    state = classifier.init(cfg, key, 1)
    net = peer_torch.CNNLSTM(cfg).eval()
    load_classifier(net, state)
    ours = classifier.predict(cfg, state, image)
    theirs = net(_tensor(classifier.normalise(cfg, state, image)))
    found = {"classifier": apart(ours, theirs.softmax(1))}

    state = gan.init(cfg, key)
    generator = peer_torch.Generator(cfg).eval()
    discriminator = peer_torch.Discriminator(cfg).eval()
    load_gan(generator, discriminator, state)
    z = gan.latents(cfg, batch, key)
    drawn = generator(torch.tensor(np.asarray(z)), torch.tensor(label)).permute(0, 2, 3, 1)
    ours = gan.generate(cfg, state, z, label.astype(np.int32))
    found["generator"] = apart(ours, drawn.flip(1, 2))
    variables = {"params": state.discriminator.params}
    ours = Discriminator(cfg).apply(variables, small, label.astype(np.int32), False)
    found["discriminator"] = apart(ours, discriminator(_tensor(small), torch.tensor(label)))
    return found
