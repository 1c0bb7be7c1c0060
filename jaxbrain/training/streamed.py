"""Trainings whose images stay on the host: the same numbers as `loops`'s, in blocks.

`OnHost` is the source of `loops`'s trainings here. A thread gathers the images of the next
block of steps and sends them to the device while it computes the block before; memory on
the device is two blocks of bytes, whatever the number of images. `data.image` needs only to
be indexable by an array of row numbers: a NumPy array, a memory map.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxbrain.config import Config
from jaxbrain.training import classifier, codes, gan, loops
from jaxbrain.types import Array, ClassifierState, Dataset, GANState, History

# Steps that one block of images serves, and images at a time without steps.
_BLOCK = 16
_IMAGES = 1024

# One compiled program each, found again by every call.
_order = jax.jit(loops.Plan.order, static_argnums=0)
_take = jax.jit(loops.Plan.take, static_argnums=0)
_fresh_gan = jax.jit(loops.fresh_gan, static_argnums=(0, 2))
_small = jax.jit(codes.small)
_codes = jax.jit(codes.fit, static_argnums=0)
_fitted = jax.jit(loops.fitted, static_argnums=(0, 5))
_byte_sum = jax.jit(loops.byte_sum)
_standardised = jax.jit(classifier.standardised, static_argnums=0)
_features = jax.jit(loops.features, static_argnums=(0, 3))
_probabilities = jax.jit(loops.probabilities, static_argnums=(0, 3))


def _blocks(plan: loops.Plan, key: Array, data: Dataset, weight, start: int, stop: int) -> Iterator:
    """(first step, steps, image, label, weight) of each block; its leaves are [T, rows, ...],
    T always `_BLOCK`. One block is prepared ahead."""

    orders = {}

    def rows(step: int):
        epoch = step // plan.steps()
        if epoch not in orders:
            orders.clear()
            orders[epoch] = _order(plan, key, jnp.int32(step))
        return jax.device_get(_take(plan, orders[epoch], jnp.int32(step)))

    def prepare(first: int):
        index, real = map(np.stack, zip(*map(rows, range(first, first + _BLOCK)), strict=True))
        flat = index.reshape(-1)
        # Rows ascending, as a file or a memory map is read best.
        unique, back = np.unique(flat, return_inverse=True)
        image = np.asarray(data.image[unique])[back].reshape(*index.shape, *data.image.shape[1:])
        count = min(_BLOCK, stop - first)
        batches = image, np.asarray(data.label, np.int32)[index], real * np.asarray(weight)[index]
        return (first, count, *jax.device_put(batches))

    with ThreadPoolExecutor(1) as pool:
        ahead = None
        for first in range(start, stop, _BLOCK):
            block = prepare(first) if ahead is None else ahead.result()
            ahead = pool.submit(prepare, first + _BLOCK) if first + _BLOCK < stop else None
            yield block


@partial(jax.jit, static_argnums=0, donate_argnums=2)
def _run_block(stage: str, training: loops.Training, carry, first, count, *batches):
    """`count` updates of a stage on the batches of a block, from step `first`."""

    def body(i, carry):
        state, history = carry
        state, metrics = training.update(stage, state, *(leaf[i] for leaf in batches))
        history = jax.tree.map(lambda h, m: h.at[first + i].set(m), history, metrics)
        return state, history

    return jax.lax.fori_loop(0, count, body, carry)


def _slices(num_examples: int) -> Iterator[slice]:
    for first in range(0, num_examples, _IMAGES):
        yield slice(first, min(first + _IMAGES, num_examples))


def _map_images(function, cfg: Config, state, image, networks) -> np.ndarray:
    parts = [
        np.asarray(function(cfg, state, np.asarray(image[rows]), networks))
        for rows in _slices(len(image))
    ]
    return np.concatenate(parts)


class OnHost(NamedTuple):
    """A source of batches whose images are on the host; as `loops.Resident`, not to be
    jitted. The carry is donated."""

    data: Dataset

    def run(self, training, stage: str, carry, start, stop, weight=None, image=None):
        data = self.data if image is None else self.data._replace(image=image)
        plan, key = training.plan(stage, len(data.label)), loops.split_key(training.key)[1]
        weight = np.ones(len(data.label), np.float32) if weight is None else np.asarray(weight)
        for first, count, *batches in _blocks(plan, key, data, weight, int(start), int(stop)):
            carry = _run_block(stage, training, carry, jnp.int32(first), jnp.int32(count), *batches)
        return carry

    def features(self, training, state: ClassifierState, weight: Array, wanted):
        if not wanted:
            return state, None
        read = _map_images(_features, training.cfg, state, self.data.image, training.networks)
        return _standardised(training.cfg, state, jnp.asarray(read), weight), read


def init_gan(cfg: Config, data: Dataset, key: Array, networks=None) -> GANState:
    """`loops.init_gan` with images on the host."""
    state = _fresh_gan(cfg, key, networks)
    if not cfg.gan.anchor:
        return state
    parts = [np.asarray(_small(np.asarray(data.image[rows]))) for rows in _slices(len(data.label))]
    label = np.asarray(data.label, np.int32)
    return state._replace(codes=_codes(cfg, np.concatenate(parts), label))


def train_gan(
    cfg: Config,
    data: Dataset,
    key: Array,
    *,
    state: GANState | None = None,
    stop: int | None = None,
    networks: gan.Networks | None = None,
    lr_scale: Array | float | None = None,
) -> tuple[GANState, History]:
    """`loops.train_gan` with images on the host; not to be jitted. The state is donated.

    Raises:
        ConfigError, DataError: as there.
    """
    data.check(cfg.gan.image_size, cfg.data.num_classes)
    training = loops.Training(cfg, key, networks, lr_scale)
    training.plan("gan", len(data.label))  # refuses before anything is drawn
    state = init_gan(cfg, data, key, networks) if state is None else state
    return loops.run_gan(training, OnHost(data), state, int(state.step), stop)


def init_classifier(
    cfg: Config,
    data: Dataset,
    key: Array,
    weight: Array | None = None,
    networks: classifier.Networks | None = None,
) -> ClassifierState:
    """`loops.init_classifier` with images on the host, checked as there."""
    data.check(cfg.data.image_size)
    used = np.ones(len(data.label), bool) if weight is None else np.asarray(weight) > 0
    classifier.require_weights(used, data.label)
    total = jnp.zeros(data.image.shape[1:], jnp.int32)
    for rows in _slices(len(used)):
        total = total + _byte_sum(np.asarray(data.image[rows]), used[rows])
    steps, _ = loops.classifier_steps(cfg, len(used))
    return _fitted(cfg, key, steps, total, jnp.float32(used.sum()), networks)


def train_classifier(
    cfg: Config,
    data: Dataset,
    key: Array,
    *,
    weight: Array | None = None,
    state: ClassifierState | None = None,
    stop: int | None = None,
    networks: classifier.Networks | None = None,
    lr_scale: Array | float | None = None,
) -> tuple[ClassifierState, History]:
    """`loops.train_classifier` with images on the host; not to be jitted. The state is
    donated.

    Raises:
        ConfigError, DataError: as there.
    """
    data.check(cfg.data.image_size, cfg.data.num_classes)
    training = loops.Training(cfg, key, networks, lr_scale)
    if state is None:
        state = init_classifier(cfg, data, key, weight, networks)
    return loops.run_classifier(training, OnHost(data), state, int(state.step), stop, weight)


def predict(
    cfg: Config,
    state: ClassifierState,
    data: Dataset,
    networks: classifier.Networks | None = None,
) -> np.ndarray:
    """`loops.predict` with images on the host, checked as there: [N, K]."""
    data.check(cfg.data.image_size)
    return _map_images(_probabilities, cfg, state, data.image, networks)


def fits(data: Dataset) -> bool:
    """Whether the images fit on the device beside a training: they may take a third of
    its memory. A CPU's memory is the host's, so there they always do."""
    limit = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")
    return limit is None or data.image.nbytes < limit / 3
