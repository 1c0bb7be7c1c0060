"""Networks equal the same networks in PyTorch: outputs and gradients on given weights."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import change

from jaxbrain.nn.cnn_lstm import CNN, Hybrid
from jaxbrain.nn.discriminator import Discriminator
from jaxbrain.nn.generator import Generator

GOLDEN = np.load(Path(__file__).parent / "golden" / "torch_nets.npz")


def tree(prefix: str) -> dict:
    """Nested dicts from the flat names of the file."""
    root: dict = {}
    for name in GOLDEN.files:
        if name.startswith(prefix):
            *folders, leaf = name[len(prefix) :].split("/")
            place = root
            for folder in folders:
                place = place.setdefault(folder, {})
            place[leaf] = GOLDEN[name]
    return root


def check(name: str, apply) -> None:
    """`apply(params, input)` against the stored output and gradients."""
    params, inputs = tree(f"{name}/params/"), jnp.asarray(GOLDEN[f"{name}/input"])

    @jax.jit
    def both(params, inputs, cotangent):
        output, pull = jax.vjp(lambda p: apply(p, inputs), params)
        return output, pull(cotangent)[0]

    cotangent = jnp.asarray(GOLDEN[f"{name}/cotangent"])
    output, grads = jax.device_get(both(params, inputs, cotangent))
    np.testing.assert_allclose(output, GOLDEN[f"{name}/output"], rtol=2e-5, atol=2e-6)
    stored = tree(f"{name}/grads/")
    assert jax.tree.structure(grads) == jax.tree.structure(stored)
    got_leaves = jax.tree_util.tree_leaves_with_path(grads)
    want_leaves = jax.tree.leaves(stored)
    # Float32 sums in another order, so relative to the largest gradient of the layer: a
    # bias before BatchNorm has gradient 0, and both sides hold rounding noise there.
    scale: dict = {}
    for (path, _), want in zip(got_leaves, want_leaves, strict=True):
        layer = path[:-1]
        scale[layer] = max(scale.get(layer, 0.0), float(np.abs(want).max()))
    for (path, got), want in zip(got_leaves, want_leaves, strict=True):
        error = float(np.abs(got - want).max())
        where = f"{name} {jax.tree_util.keystr(path)}"
        assert error <= 2e-5 * scale[path[:-1]], f"{where}: {error}"


@pytest.mark.parametrize("condition", ["concat", "batchnorm"])
def test_generator(cfg, condition):
    cfg = change(cfg, "gan", kernel_size=5, generator_condition=condition)
    label = jnp.asarray(GOLDEN["label"])

    def apply(params, z):
        net = Generator(cfg)
        stats = jax.eval_shape(lambda: net.init(jax.random.key(0), z, label, False))
        stats = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), stats["batch_stats"])
        variables = {"params": params, "batch_stats": stats}
        return net.apply(variables, z, label, train=True, mutable=["batch_stats"])[0]

    check(f"generator_{condition}", apply)


@pytest.mark.parametrize("condition", ["concat", "projection"])
def test_discriminator(cfg, condition):
    cfg = change(cfg, "gan", kernel_size=5, discriminator_condition=condition)
    label = jnp.asarray(GOLDEN["label"])

    def apply(params, image):
        return Discriminator(cfg).apply({"params": params}, image, label, train=False)

    check(f"discriminator_{condition}", apply)


def test_cnn(cfg):
    check("cnn", lambda params, image: CNN(cfg).apply({"params": params}, image))


@pytest.mark.parametrize("sequence", ["vector", "scalar", "rows"])
def test_hybrid(cfg, sequence):
    cfg = change(cfg, "hybrid", sequence=sequence)

    def apply(params, features):
        return Hybrid(cfg).apply({"params": params}, features, train=False)

    check(f"hybrid_{sequence}", apply)
