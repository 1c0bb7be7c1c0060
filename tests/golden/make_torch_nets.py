"""Writes torch_nets.npz: outputs and gradients of the project's networks in PyTorch.

    python tests/golden/make_torch_nets.py        (with torch 2.13.0 and numpy installed)

Each network is written here a second time, in PyTorch's own layers, on random weights.
The file holds, under `<net>/`: `params/<path>` (in the project's layouts: HWIO kernels,
[D, features] dense kernels, gates i f g o), inputs, `output`, `cotangent`, and
`grads/<path>`, the gradients of sum(output * cotangent). tests/test_nn_parity.py compares.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

RNG = np.random.default_rng(7)


class Params(dict):
    """Leaves in the project's layout; created on first use, with gradients."""

    def get(self, path: str, *shape: int, scale: float = 0.3) -> torch.Tensor:
        if path not in self:
            value = RNG.normal(0.0, scale, shape).astype(np.float32)
            self[path] = torch.tensor(value, requires_grad=True)
        return self[path]


def dense(params, name, x, features):
    kernel = params.get(f"{name}/kernel", x.shape[-1], features)
    return F.linear(x, kernel.T, params.get(f"{name}/bias", features))


def conv(params, name, x, features, size, stride, pad):
    """x is NCHW; pad = (before, after) on both axes."""
    kernel = params.get(f"{name}/kernel", size, size, x.shape[1], features)
    x = F.pad(x, (*pad, *pad))
    bias = params.get(f"{name}/bias", features)
    return F.conv2d(x, kernel.permute(3, 2, 0, 1), bias, stride=stride)


def conv_transpose(params, name, x, features, size, stride, same):
    kernel = params.get(f"{name}/kernel", size, size, x.shape[1], features)
    full = F.conv_transpose2d(x, kernel.permute(2, 3, 0, 1), stride=stride)
    if same:
        low, n = (size - stride) // 2, x.shape[2] * stride
        full = full[:, :, low : low + n, low : low + n]
    return full + params.get(f"{name}/bias", features)[None, :, None, None]


def batch_norm(params, name, x, label, num_classes):
    shape = (x.shape[1],)
    if not num_classes:
        scale = params.get(f"{name}/norm/scale", *shape)
        return F.batch_norm(
            x, None, None, scale, params.get(f"{name}/norm/bias", *shape), True, 0.1, 1e-5
        )
    x = F.batch_norm(x, None, None, None, None, True, 0.1, 1e-5)
    scale = params.get(f"{name}/scale", num_classes, *shape)[label]
    offset = params.get(f"{name}/offset", num_classes, *shape)[label]
    return x * scale[:, :, None, None] + offset[:, :, None, None]


def generator(params, z, label, per_class):
    x = dense(params, "project", z, 4 * 4 * 8).reshape(-1, 4, 4, 8).permute(0, 3, 1, 2)
    if not per_class:
        embedding = params.get("embed/embedding", 2, 3)[label]
        channel = dense(params, "label_map", embedding, 16).reshape(-1, 1, 4, 4)
        x = torch.cat([x, channel], 1)
    classes = 2 if per_class else 0
    x = conv_transpose(params, "conv1", x, 8, 5, 1, False)
    x = F.relu(batch_norm(params, "norm1", x, label, classes))
    x = conv_transpose(params, "conv2", x, 4, 5, 2, True)
    x = F.relu(batch_norm(params, "norm2", x, label, classes))
    x = conv_transpose(params, "image", x, 1, 5, 2, True)
    return torch.tanh(x).permute(0, 2, 3, 1)


def discriminator(params, image, label, projection):
    x = image.permute(0, 3, 1, 2)
    if not projection:
        embedding = params.get("embed/embedding", 2, 3)[label]
        channel = dense(params, "label_map", embedding, 32 * 32).reshape(-1, 1, 32, 32)
        x = torch.cat([x, channel], 1)
    for level, features in enumerate((4, 8, 16)):
        x = conv(params, f"conv{level + 1}", x, features, 5, 2, (1, 2))
        x = F.leaky_relu(x, 0.2)
    logit = conv(params, "logit", x, 1, 4, 1, (0, 0)).reshape(-1)
    if projection:
        embedding = params.get("embed/embedding", 2, 16)[label]
        logit = logit + (x.sum((2, 3)) * embedding).sum(1)
    return logit


def cnn_map(params, image):
    x = image.permute(0, 3, 1, 2)
    for name, features in (("conv1", 3), ("conv2", 4)):
        x = F.relu(conv(params, name, x, features, 3, 1, (1, 1)))
        x = F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=-np.inf), 3, 2)
    return x.permute(0, 2, 3, 1)


def cnn(params, image):
    features = dense(params, "fc", cnn_map(params, image).flatten(1), 5)
    return dense(params, "fc_out", features, 2)


def lstm(params, name, x, hidden):
    layer = torch.nn.LSTM(x.shape[-1], hidden, batch_first=True)
    weights = {
        "weight_ih_l0": params.get(f"{name}/kernel", x.shape[-1], 4 * hidden).T,
        "weight_hh_l0": params.get(f"{name}/recurrent_kernel", hidden, 4 * hidden).T,
        "bias_ih_l0": params.get(f"{name}/bias", 4 * hidden),
        "bias_hh_l0": torch.zeros(4 * hidden),
    }
    return torch.func.functional_call(layer, weights, (x,))[0]


def hybrid(params, features, sequence):
    x = torch.sigmoid(dense(params, "fc2", features, 6))
    x = dense(params, "fc4", x, 5)
    x = {"vector": lambda: x[:, None], "scalar": lambda: x[..., None]}.get(sequence, lambda: x)()
    x = lstm(params, "lstm6", x, 4)
    x = lstm(params, "lstm8", x, 4)[:, -1]
    x = dense(params, "fc10", x, 3)
    return dense(params, "fc11", x, 2)


def main():
    def normal(*shape):
        return torch.tensor(RNG.normal(0.0, 1.0, shape).astype(np.float32))

    label = torch.tensor([0, 1, 1])
    latent, big, small = normal(3, 6), normal(3, 32, 32, 1), normal(3, 16, 16, 1)
    flat, rows = normal(3, 5), normal(3, 4, 16)
    nets = {
        "generator_concat": (lambda p: generator(p, latent, label, False), latent),
        "generator_batchnorm": (lambda p: generator(p, latent, label, True), latent),
        "discriminator_concat": (lambda p: discriminator(p, big, label, False), big),
        "discriminator_projection": (lambda p: discriminator(p, big, label, True), big),
        "cnn": (lambda p: cnn(p, small), small),
        "hybrid_vector": (lambda p: hybrid(p, flat, "vector"), flat),
        "hybrid_scalar": (lambda p: hybrid(p, flat, "scalar"), flat),
        "hybrid_rows": (lambda p: hybrid(p, rows, "rows"), rows),
    }
    arrays = {"label": label.numpy().astype(np.int32)}
    for name, (apply, inputs) in nets.items():
        params = Params()
        output = apply(params)
        cotangent = normal(*output.shape)
        (output * cotangent).sum().backward()
        arrays[f"{name}/input"] = inputs.numpy()
        arrays[f"{name}/output"] = output.detach().numpy()
        arrays[f"{name}/cotangent"] = cotangent.numpy()
        for path, leaf in params.items():
            arrays[f"{name}/params/{path}"] = leaf.detach().numpy()
            gradient = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
            arrays[f"{name}/grads/{path}"] = gradient.numpy()
    np.savez_compressed(Path(__file__).with_name("torch_nets.npz"), **arrays)


if __name__ == "__main__":
    main()
