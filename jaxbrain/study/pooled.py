"""The paper's own protocol for one seed, P0, as pure functions; no file is touched here.

The GAN sees every selected real image, real and synthetic images are pooled, and the pool
is split (`protocols` says what that leaks).
"""

from typing import NamedTuple

import jax
import numpy as np

from jaxbrain.config import Config
from jaxbrain.data import splits
from jaxbrain.data.preprocess import resize, resized, to_uint8
from jaxbrain.data.records import Records
from jaxbrain.training import gan, loops
from jaxbrain.types import Array, Dataset, GANState, require_bytes


class Keys(NamedTuple):
    """One key per purpose of a run."""

    gan: Array
    synthesis: Array
    classifier: Array
    sheet: Array
    fresh: Array


class Pool(NamedTuple):
    """Real and synthetic images together, and the split of them.

    data: all M images at the classifier's size.
    source: [M] int64, index of a real image in the full data set, -1 if synthetic.
    train, test: ascending index arrays into `data`.
    """

    data: Dataset
    source: np.ndarray
    train: np.ndarray
    test: np.ndarray


def keys(seed: int) -> Keys:
    """The keys of run number `seed`: `jax.random.key(seed)`, split once."""
    return Keys(*jax.random.split(jax.random.key(seed), len(Keys._fields)))


def select(cfg: Config, data: Dataset, seed: int) -> np.ndarray:
    """Index of the real images that run `seed` uses: see `splits.select`."""
    return splits.select(np.asarray(data.label), cfg.data.n_per_class, seed)


def synthesise(cfg: Config, state: GANState, label: Array, key: Array) -> Array:
    """Synthetic images at the classifier's size: label [M] int32 -> [M, S, S, 1] uint8.

    Drawn at the GAN's size and enlarged by bicubic interpolation (README.md). They
    are rounded to bytes as real images are, so that depth does not tell them apart, and
    drawn `gan.batch_size` at a time, in bounded memory. The key is consumed.
    """

    def draw(one):
        image = gan.generate(cfg, state, *one)
        return to_uint8(resize(image, cfg.data.image_size))

    z = gan.latents(cfg, label.shape[0], key)
    return loops.map_batches(draw, (z, label), cfg.gan.batch_size)


def pool(cfg: Config, data: Dataset, index: np.ndarray, label, image, seed: int) -> Pool:
    """The paper's pool of real and synthetic images, and its stratified split.

    Args:
        data: all real images, at the larger of the sizes in use.
        index: of the selected real images, from `select`.
        label, image: of the synthetic images, [M] int32 and [M, S, S, 1] uint8.
        seed: of the split.

    Raises:
        DataError: if a class would have no training or no test image; for images that are
            not bytes of the classifier's size, and labels that are no integers, one each.
    """
    used = take(data, index)
    if cfg.data.degrade_reals:
        used = resized(used, cfg.gan.image_size)
    real = np.asarray(resized(used, cfg.data.image_size).image)
    image = np.asarray(image)
    require_bytes(image)
    all_image = np.concatenate([real, image])
    all_label = np.concatenate([np.asarray(used.label), np.asarray(label)])
    # A synthetic image belongs to no group of real ones under P0.
    top = int(np.asarray(data.group).max()) + 1
    group = np.concatenate([np.asarray(used.group), top + np.arange(len(label))])
    source = np.concatenate([index, np.full(len(label), -1)])
    pooled = Dataset(all_image, all_label, group)
    pooled.check(cfg.data.image_size, cfg.data.num_classes)
    pooled = pooled._replace(label=all_label.astype(np.int32), group=group.astype(np.int32))
    train_index, test_index = splits.pooled(all_label, cfg.data.test_fraction, seed)
    return Pool(pooled, source, train_index, test_index)


def take(data: Dataset, index: np.ndarray) -> Dataset:
    """The images of `index`, on the host.

    Raises:
        DataError: for data that are no bytes, see `Dataset.check`.
    """
    data.check()
    return Dataset(*(np.asarray(leaf)[index] for leaf in data))


def identity(pool: Pool, records: Records) -> tuple[list[str], list[str]]:
    """Id and origin ("real" or "synthetic") of every image of a pool."""
    names, number, ids = records.class_names, 0, []
    for source, label in zip(pool.source, pool.data.label, strict=True):
        if source >= 0:
            ids.append(records.path[source])
        else:
            ids.append(f"synthetic/{names[label]}/{number:04d}")
            number += 1
    origin = ["real" if source >= 0 else "synthetic" for source in pool.source]
    return ids, origin
