"""What a run has trained as programs by themselves: `jax.export`, every backend in one, any
number of images; and as named arrays."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from jaxbrain.config import Config
from jaxbrain.data.preprocess import resize, to_float, to_uint8
from jaxbrain.nn import ops
from jaxbrain.study import networks
from jaxbrain.training import classifier, gan
from jaxbrain.types import Array, ClassifierState, GANState, NetState

PLATFORMS = "cpu", "cuda", "tpu"


def classifier_program(cfg: Config, state: ClassifierState) -> bytes:
    """Images [b, S, S, 1] uint8 -> probabilities [b, K] float32, serialised.

    S is the side that images are read at, the larger of the two sizes in use. What comes after
    reading is inside: the loss of detail of `data.degrade_reals`, the classifier's size, its
    normalisation by the training images' mean.

    Args:
        cfg: that the classifier was trained with (`Run.network`). `compute` auto becomes
            float32, the same on every backend.
    """
    cfg = _fixed(cfg)
    side, sizes = read_size(cfg), [cfg.data.image_size]
    if cfg.data.degrade_reals:
        sizes.insert(0, cfg.gan.image_size)

    def probabilities(image: Array) -> Array:
        for size in sizes:
            # Of this size already: nothing to round.
            if image.shape[1] != size:
                image = to_uint8(resize(to_float(image, 1), size))
        return classifier.predict(cfg, state, to_float(image, cfg.data.channels))

    (count,) = export.symbolic_shape("b")
    return _serialised(probabilities, _like((count, side, side, 1), jnp.uint8))


def generator_program(cfg: Config, state: GANState) -> bytes:
    """Labels [b] int32 and a key's data [2] uint32 -> images [b, S, S, 1] uint8, serialised; S
    is the GAN's size. Number n's key data are [0, n]."""
    cfg = _fixed(cfg)

    def images(label: Array, key_data: Array) -> Array:
        key = jax.random.wrap_key_data(key_data, impl="threefry2x32")
        return to_uint8(gan.generate(cfg, state, networks.latents(cfg, label, key), label))

    (count,) = export.symbolic_shape("b")
    return _serialised(images, _like((count,), jnp.int32), _like((2,), jnp.uint32))


def read_size(cfg: Config) -> int:
    """The side that images are read at, pixels."""
    return max(cfg.data.image_size, cfg.gan.image_size)


def _fixed(cfg: Config) -> Config:
    return dataclasses.replace(cfg, compute="float32") if cfg.compute == "auto" else cfg


def _like(shape: tuple, dtype) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, dtype)


def _serialised(function: Callable, *inputs: jax.ShapeDtypeStruct) -> bytes:
    # As a CPU computes: products are not rounded to fewer bits on accelerators.
    with ops.portable(), _without_places(), jax.default_matmul_precision("highest"):
        return bytes(export.export(jax.jit(function), platforms=PLATFORMS)(*inputs).serialize())


@contextlib.contextmanager
def _without_places() -> Iterator[None]:
    """Programs without the lines of code that they came from, which name folders of this
    machine."""
    name = "jax_traceback_in_locations_limit"
    before = getattr(jax.config, name)
    jax.config.update(name, 0)
    try:
        yield
    finally:
        jax.config.update(name, before)


def classifier_arrays(state: ClassifierState) -> dict[str, np.ndarray]:
    """The arrays that a prediction reads, float32, by names such as cnn/params/conv1/kernel."""
    found = {}
    for name in ("cnn", "hybrid"):
        found |= _named(name, classifier.predicting(state, name))
    for name in ("image_mean", "feature_mean", "feature_scale"):
        found[name] = np.asarray(getattr(state, name), np.float32)
    return found


def generator_arrays(state: GANState) -> dict[str, np.ndarray]:
    """The arrays that drawing reads, float32: the averaged generator where there is one."""
    net = state.generator._replace(**state.average) if state.average else state.generator
    return _named("generator", net)


def _named(name: str, net: NetState) -> dict[str, np.ndarray]:
    leaves = jax.tree.leaves_with_path({"params": net.params, "batch_stats": net.batch_stats})
    return {
        "/".join([name, *(str(part.key) for part in path)]): np.asarray(leaf, np.float32)
        for path, leaf in leaves
    }
