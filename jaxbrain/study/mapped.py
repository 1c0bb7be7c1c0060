"""What one lane of a study is given, and the functions that run over lanes.

These are pure: (method, cfg, shared, state, entry), `shared` the arrays that all lanes read,
`entry` the arrays of one. What a method is fitted on stands first in an entry and its key last.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxbrain.types import ClassifierState, Dataset, GANState


def fit_data(real, entry) -> Dataset:
    """The real images of a fit. entry: (index [F] int32, label [F] int32, ...)."""
    index, label = entry[:2]
    return Dataset(real[index], label, index)


def pool_images(real, synthetic, which, index):
    """Images of a cell's pool: of N real ones [N, ...], then of synthetic [E, M, ...] those
    of fit `which`; index [L] int32."""
    count = real.shape[0]
    if isinstance(real, np.ndarray):
        return np.concatenate([real, synthetic[which]])[index]
    ours = synthetic[which, jnp.maximum(index - count, 0)]
    is_real = (index < count).reshape(-1, *[1] * (real.ndim - 1))
    return jnp.where(is_real, real[jnp.minimum(index, count - 1)], ours)


def cell_data(arrays, entry) -> tuple[Dataset, jax.Array]:
    """Training images of a cell, and their weights. entry: (which, train [L] int32, label [L]
    int32, weight [L] float32, ...)."""
    which, index, label, weight = entry[:4]
    return Dataset(pool_images(*arrays, which, index), label, index), weight


def fit_only(real, entry) -> tuple[Dataset]:
    return (fit_data(real, entry),)


def _at(state, first):
    """A lane's state, its step the same array for all lanes: then loops over steps keep their
    bounds under `vmap`, and no step is computed in vain."""
    if isinstance(state, GANState | ClassifierState):
        return state._replace(step=jnp.asarray(first, jnp.int32))
    return state


def start(given, method, cfg, arrays, _, entry):
    return method.start(cfg, *given(arrays, entry), entry[-1])


def advance(given, method, cfg, shared, state, entry, **axis):
    arrays, first, stop = shared
    own = given(arrays, entry)
    return method.advance(cfg, *own, entry[-1], _at(state, first), stop, **axis)


def finish_fit(method, cfg, _, state, entry):
    return method.finish(cfg, state, *entry)


def sample(method, cfg, real, _, entry):
    return method.fit_sample(cfg, fit_data(real, entry), *entry[2:])


def finish_cell(method, cfg, arrays, state, entry):
    return method.finish(cfg, state, pool_images(*arrays, *entry))


def predict(method, cfg, arrays, _, entry):
    which, *_, test, key = entry
    data, weight = cell_data(arrays, entry)
    return method.fit_predict(cfg, data, weight, pool_images(*arrays, which, test), key)
