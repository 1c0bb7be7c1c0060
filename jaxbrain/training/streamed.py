"""Trainings whose images stay on the host: the same numbers as `loops`'s, in blocks.

The plan is that of `loops`. A thread gathers the images of the next block of steps and
sends them to the device while it computes the block before; memory on the device is two
blocks of bytes, whatever the number of images. `data.image` needs only to be indexable by
an array of row numbers: a NumPy array, a memory map.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxbrain.config import Config
from jaxbrain.data import preprocess
from jaxbrain.training import classifier, loops
from jaxbrain.types import Array, ClassifierState, Dataset, GANState, History

# Steps that one block of images serves, and images at a time without steps.
_BLOCK = 16
_IMAGES = 1024


_order = jax.jit(loops.Plan.order, static_argnums=0)
_take = jax.jit(loops.Plan.take, static_argnums=0)


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


@partial(jax.jit, static_argnums=(0, 1), donate_argnums=(3, 4))
def _run_block(make: Callable, cfg: Config, key: Array, state, history, first, count, *batches):
    """`count` updates on the batches of a block; `make(cfg, key)` gives the update."""
    update = make(cfg, key)

    def body(i, carry):
        state, history = carry
        state, metrics = update(state, *(leaf[i] for leaf in batches))
        history = jax.tree.map(lambda h, m: h.at[first + i].set(m), history, metrics)
        return state, history

    return jax.lax.fori_loop(0, count, body, (state, history))


def _run(make, cfg, plan, plan_key, step_key, data, weight, state, history, start, stop):
    for first, count, *batches in _blocks(plan, plan_key, data, weight, start, stop):
        state, history = _run_block(
            make, cfg, step_key, state, history, jnp.int32(first), jnp.int32(count), *batches
        )
    return state, history


def train_gan(
    cfg: Config,
    data: Dataset,
    key: Array,
    *,
    state: GANState | None = None,
    stop: int | None = None,
) -> tuple[GANState, History]:
    """`loops.train_gan` with images on the host; not to be jitted. The state is donated.

    Raises:
        ConfigError, DataError: as there.
    """
    data.check(cfg.gan.image_size, cfg.data.num_classes)
    plan = loops.gan_plan(cfg, len(data.label))
    _, plan_key, step_key = loops.split_key(key)
    start = 0 if state is None else int(state.step)
    state = _init_gan(cfg, key) if state is None else state
    stop = cfg.gan.steps if stop is None else int(stop)
    history = loops.empty_history(loops.GAN_METRICS, cfg.gan.steps)
    weight = np.ones(len(data.label), np.float32)
    state, history = _run(
        loops.gan_update, cfg, plan, plan_key, step_key, data, weight, state, history, start, stop
    )
    return state, History(history)


_init_gan = jax.jit(loops.init_gan, static_argnums=0)
_fitted = jax.jit(loops.fitted, static_argnums=(0, 2))
_byte_sum = jax.jit(loops.byte_sum)
_standardised = jax.jit(classifier.standardised, static_argnums=0)


def _slices(num_examples: int) -> Iterator[slice]:
    for first in range(0, num_examples, _IMAGES):
        yield slice(first, min(first + _IMAGES, num_examples))


def init_classifier(
    cfg: Config, data: Dataset, key: Array, weight: Array | None = None
) -> ClassifierState:
    """`loops.init_classifier` with images on the host, checked as there."""
    data.check(cfg.data.image_size)
    used = np.ones(len(data.label), bool) if weight is None else np.asarray(weight) > 0
    classifier.require_weights(used, data.label)
    total = jnp.zeros(data.image.shape[1:], jnp.int32)
    for rows in _slices(len(used)):
        total = total + _byte_sum(np.asarray(data.image[rows]), used[rows])
    return _fitted(cfg, key, len(used), total, jnp.float32(used.sum()))


@partial(jax.jit, static_argnums=0)
def _features(cfg: Config, state: ClassifierState, image: Array) -> Array:
    def some(image):
        return classifier.features(cfg, state, preprocess.to_float(image, cfg.data.channels))

    return loops.map_batches(some, image, cfg.classifier.batch_size)


def train_classifier(
    cfg: Config,
    data: Dataset,
    key: Array,
    *,
    weight: Array | None = None,
    state: ClassifierState | None = None,
    stop: int | None = None,
) -> tuple[ClassifierState, History]:
    """`loops.train_classifier` with images on the host; not to be jitted. The state is
    donated.

    Raises:
        ConfigError, DataError: as there.
    """
    data.check(cfg.data.image_size, cfg.data.num_classes)
    num_examples = len(data.label)
    _, plan_key, step_key = loops.split_key(key)
    plan = loops.classifier_plan(cfg, num_examples)
    one, total = loops.classifier_steps(cfg, num_examples)
    start = 0 if state is None else int(state.step)
    state = init_classifier(cfg, data, key, weight) if state is None else state
    stop = total if stop is None else int(stop)
    weight = jnp.ones((num_examples,)) if weight is None else jnp.asarray(weight)
    balanced = classifier.class_weight(cfg, jnp.asarray(data.label), weight)

    def run(stage, source, state, history, start, stop):
        make = _MAKE[stage]
        keys = plan_key, step_key
        return _run(make, cfg, plan, *keys, source, balanced, state, history, start, stop)

    history = loops.empty_history(loops.CLASSIFIER_METRICS, total)
    if cfg.classifier.mode != "two_stage":
        state, history = run(cfg.classifier.mode, data, state, history, start, stop)
        return state, History(history)
    state, history = run("cnn", data, state, history, start, min(stop, one))
    if stop > one:
        rows = [
            np.asarray(_features(cfg, state, np.asarray(data.image[part])))
            for part in _slices(num_examples)
        ]
        source = data._replace(image=np.concatenate(rows))
        state = _standardised(cfg, state, jnp.asarray(source.image), weight)
        state, history = run("hybrid", source, state, history, max(start, one), stop)
    return state, History(history)


# One object each, so that the compiled programs are found again.
_MAKE = {
    stage: partial(loops.classifier_update, stage=stage)
    for stage in ("end_to_end", "cnn", "hybrid")
}


_predict = jax.jit(loops.predict, static_argnums=0)


def predict(cfg: Config, state: ClassifierState, data: Dataset) -> np.ndarray:
    """`loops.predict` with images on the host, checked as there: [N, K]."""
    data.check(cfg.data.image_size)
    parts = [
        np.asarray(_predict(cfg, state, Dataset(*(np.asarray(leaf[rows]) for leaf in data))))
        for rows in _slices(len(data.label))
    ]
    return np.concatenate(parts)


def fits(data: Dataset) -> bool:
    """Whether the images fit on the device beside a training: they may take a third of
    its memory. A CPU's memory is the host's, so there they always do."""
    limit = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")
    return limit is None or data.image.nbytes < limit / 3
