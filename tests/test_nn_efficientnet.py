"""EfficientNet-lite0: its size, plain NumPy on random weights, PyTorch on ImageNet's."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbrain.baselines import pretrained, torch_file
from jaxbrain.errors import ConfigError, DataError
from jaxbrain.nn.efficientnet import STAGES, EfficientNetLite0, Stage, blocks

GOLDEN = np.load(Path(__file__).parent / "golden" / "torch_efficientnet.npz")
# Every kind of block: without expansion, with strides, both kernels, with and without a sum.
NARROW = EfficientNetLite0(4, (Stage(1, 3, 1, 1, 4), Stage(2, 5, 2, 3, 6), Stage(1, 3, 2, 2, 5)), 7)


def random_tensors(module: EfficientNetLite0) -> dict[str, np.ndarray]:
    """Tensors under PyTorch's names, large enough that relu6 cuts on both sides."""
    rng = np.random.default_rng(0)
    found: dict[str, np.ndarray] = {}

    def layer(conv, norm, shape):
        found[f"{conv}.weight"] = rng.normal(0, 1.5 / np.sqrt(np.prod(shape[1:])), shape)
        found[f"{norm}.weight"] = rng.uniform(1, 3, shape[0])
        for part in ("bias", "running_mean"):
            found[f"{norm}.{part}"] = rng.normal(size=shape[0])
        # Small ones, so that epsilon counts.
        found[f"{norm}.running_var"] = rng.uniform(1e-3, 2, shape[0])

    layer("_conv_stem", "_bn0", (module.stem, 3, 3, 3))
    channels = module.stem
    for i, stage in enumerate(blocks(module.stages)):
        name, wide, k = f"_blocks.{i}", channels * stage.expansion, stage.kernel_size
        if stage.expansion > 1:
            layer(f"{name}._expand_conv", f"{name}._bn0", (wide, channels, 1, 1))
        layer(f"{name}._depthwise_conv", f"{name}._bn1", (wide, 1, k, k))
        layer(f"{name}._project_conv", f"{name}._bn2", (stage.features, wide, 1, 1))
        channels = stage.features
    layer("_conv_head", "_bn1", (module.head, channels, 1, 1))
    return found


def plain(module: EfficientNetLite0, t: dict[str, np.ndarray], image: np.ndarray) -> np.ndarray:
    """[C, H, W] float64, pixel by pixel."""

    def conv(x, weight, stride):
        k, each = weight.shape[2], weight.shape[1] == 1 and len(weight) == len(x)
        size = [-(-length // stride) for length in x.shape[1:]]
        total = [max((n - 1) * stride + k - s, 0) for n, s in zip(size, x.shape[1:], strict=True)]
        x = np.pad(x, ((0, 0), *((n // 2, n - n // 2) for n in total)))
        y = np.zeros((len(weight), *size))
        for row in range(size[0]):
            for column in range(size[1]):
                r, c = row * stride, column * stride
                window = x[:, r : r + k, c : c + k]
                if each:
                    y[:, row, column] = (window * weight[:, 0]).sum(axis=(1, 2))
                else:
                    y[:, row, column] = np.tensordot(weight, window, 3)
        return y

    def layer(x, name, norm, stride=1, active=True):
        column = (slice(None), None, None)
        mean, var = t[f"{norm}.running_mean"], t[f"{norm}.running_var"]
        y = conv(x, t[f"{name}.weight"], stride) - mean[column]
        y = y / np.sqrt(var + 1e-3)[column] * t[f"{norm}.weight"][column]
        y += t[f"{norm}.bias"][column]
        return np.minimum(np.maximum(y, 0), 6) if active else y

    x = layer(image.transpose(2, 0, 1), "_conv_stem", "_bn0", 2)
    for i, stage in enumerate(blocks(module.stages)):
        name, y = f"_blocks.{i}", x
        if stage.expansion > 1:
            y = layer(y, f"{name}._expand_conv", f"{name}._bn0")
        y = layer(y, f"{name}._depthwise_conv", f"{name}._bn1", stage.stride)
        y = layer(y, f"{name}._project_conv", f"{name}._bn2", active=False)
        x = x + y if y.shape == x.shape else y
    return layer(x, "_conv_head", "_bn1")


@pytest.mark.parametrize("size", [16, 21])
def test_equals_numpy(size):
    tensors = random_tensors(NARROW)
    image = np.random.default_rng(size).normal(size=(2, size, size, 3)).astype(np.float32)
    got = np.asarray(jax.jit(NARROW.apply)(pretrained.variables(tensors, NARROW), image))
    want = [plain(NARROW, tensors, one).transpose(1, 2, 0) for one in np.float64(image)]
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
    assert got.shape == (2, -(-size // 8), -(-size // 8), 7)
    assert (got == 0).any() and (got == 6).any() and np.ptp(got, axis=0).max() > 1


def test_published_size():
    assert [stage.features for stage in STAGES] == [16, 24, 40, 80, 112, 192, 320]
    assert len(blocks()) == 16 and sum(stage.stride == 2 for stage in blocks()) == 4
    module, image = EfficientNetLite0(), jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    found = jax.eval_shape(module.init_with_output, jax.random.key(0), image)
    answer, values = found
    assert answer.shape == (1, 7, 7, 1280)
    params = sum(leaf.size for leaf in jax.tree.leaves(values["params"]))
    # 4,652,008 with the last layer.
    assert params == 3_371_008 == 4_652_008 - 1281 * 1000


def test_bad_tensors_are_named():
    tensors = random_tensors(NARROW)
    name = "_blocks.1._bn1.running_var"
    cases = {
        f"no tensor {name}": {k: v for k, v in tensors.items() if k != name},
        rf"{name} is \(3,\): expected \(12,\)": tensors | {name: np.zeros(3)},
        f"{name} holds NaN": tensors | {name: np.full(12, np.nan)},
    }
    for message, bad in cases.items():
        with pytest.raises(DataError, match=message):
            pretrained.variables(bad, NARROW)


@pytest.fixture(scope="module")
def imagenet() -> dict:
    try:
        return pretrained.load()
    except ConfigError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("size", [64, 95])
def test_equals_pytorch_with_imagenets_weights(imagenet, size):
    """Stored by tests/golden/make_torch_efficientnet.py."""
    pixels = np.random.default_rng(size).integers(0, 256, (2, size, size, 3))
    image = np.float32((pixels - 127.0) / 128.0)
    got = np.asarray(jax.jit(EfficientNetLite0().apply)(imagenet, image))
    np.testing.assert_allclose(got.mean((1, 2)), GOLDEN[f"mean_{size}"], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(got.max((1, 2)), GOLDEN[f"max_{size}"], rtol=1e-3, atol=2e-4)
    assert GOLDEN[f"mean_{size}"].std() > 0.05


def test_the_package_holds_what_is_expected(imagenet):
    found = torch_file.load(pretrained.weights_file())
    assert len(found) == 296 and found["_fc.weight"].shape == (1000, 1280)
    kernel = np.asarray(imagenet["params"]["block0"]["depthwise"]["conv"]["kernel"])
    np.testing.assert_array_equal(
        kernel[:, :, 0, 5], found["_blocks.0._depthwise_conv.weight"][5, 0]
    )
