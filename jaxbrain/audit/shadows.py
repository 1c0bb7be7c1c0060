"""Shadow GANs: the same training on many random halves of the images, as lanes.

Each says of every image what a discriminator thinks of it that saw it, or that did not. A
target's score of an image, less what GANs that never saw the image give it, tells members
better than the score alone. What is measured is this training on these images at half their
number, by this one attack; GANs of all the images may remember less, or other attacks find
more.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxbrain.audit.membership import logits
from jaxbrain.config import Config
from jaxbrain.data.preprocess import resized, to_uint8
from jaxbrain.errors import ConfigError
from jaxbrain.scoring import roc
from jaxbrain.training import gan, lanes
from jaxbrain.training.loops import train_gan
from jaxbrain.types import Array, Dataset, GANState


class Shadows(NamedTuple):
    """L GANs and what they say of N images.

    Attributes:
        inside: [L, N] bool, whether an image was in the half that a GAN was trained on.
        score: [L, N] float32, the logits of its discriminator, large for real.
        image, label: [L, M, S, S, 1] uint8, [L, M] int32, images that its generator drew.
    """

    inside: np.ndarray
    score: np.ndarray
    image: np.ndarray
    label: np.ndarray


def halves(group: np.ndarray, num_lanes: int, key: Array) -> np.ndarray:
    """[L, N] bool: of each lane its own random half of the groups (the larger one of an odd
    number), drawn without regard to the other lanes. The key is consumed."""
    names, number = np.unique(group, return_inverse=True)
    keys = jax.random.split(key, num_lanes)
    order = jax.vmap(lambda key: jax.random.permutation(key, len(names)))(keys)
    return (np.asarray(order) < (len(names) + 1) // 2)[:, number]


def drawn(
    cfg: Config, state: GANState, label: Array, key: Array, networks: gan.Networks | None = None
) -> Array:
    """`gan.sample` as bytes [N, S, S, 1] uint8; traceable. The key is consumed."""
    return to_uint8(gan.sample(cfg, state, label, key, networks))


def _lane(cfg, networks, data: Dataset, _, entry):
    index, label, key = entry
    train_key, draw_key = jax.random.split(key)
    own = Dataset(data.image[index], data.label[index], index)
    state, _ = train_gan(cfg, own, train_key, networks=networks)
    score = logits(cfg, state, data.image, data.label, networks)
    return score, drawn(cfg, state, label, draw_key, networks)


def train(
    cfg: Config,
    data: Dataset,
    key: Array,
    num_lanes: int,
    *,
    num_drawn: int = 64,
    networks: gan.Networks | None = None,
    how: str = "auto",
) -> Shadows:
    """Train shadow GANs by `cfg.gan`, each on its own half of the groups of `data`.

    Args:
        data: [N, S, S, 1], of any side, brought to `cfg.gan.image_size`; images of one group
            are in or out together.
        num_lanes: L, at least 3.
        num_drawn: M, images that each draws; their classes are as frequent as in its half.
        how: lanes run: see `training.lanes`.

    Raises:
        ConfigError: for fewer lanes, or a batch larger than a half.
        DataError: see `Dataset.check`.
    """
    if num_lanes < 3:
        raise ConfigError(
            f"{num_lanes} shadow GANs: expected at least 3, a target, one that never saw an "
            "image, and one for the control"
        )
    data = resized(data, cfg.gan.image_size)
    half_key, lane_key = jax.random.split(key)
    inside = halves(np.asarray(data.group), num_lanes, half_key)
    # Some images twice an epoch where a half has fewer: lanes are of one length.
    length = inside.sum(axis=1).max()
    index = np.stack([np.resize(np.flatnonzero(row), length) for row in inside])
    label = np.asarray(data.label, np.int32)
    wanted = np.stack([np.resize(label[row], num_drawn) for row in index])
    entries = index.astype(np.int32), wanted, jax.random.split(lane_key, num_lanes)
    shared = Dataset(jnp.asarray(data.image), jnp.asarray(label), jnp.asarray(data.group))
    run = lanes.Lanes(partial(_lane, cfg, networks), how)
    score, image = run(shared, (), entries)
    return Shadows(inside, np.asarray(score), np.asarray(image), wanted)


def calibrated(inside: np.ndarray, score: np.ndarray, target: int, without: int = -1):
    """[N] float64: a target's scores less the mean of the lanes that never saw the image, each
    lane's of mean 0 and standard deviation 1; NaN for an image that all others saw.

    without: a lane that is not used.
    """
    score = np.float64(score)
    scale = np.maximum(score.std(axis=1, keepdims=True), 1e-12)
    score = (score - score.mean(axis=1, keepdims=True)) / scale
    used = ~inside
    used[[lane for lane in (target, without) if lane >= 0]] = False
    count = used.sum(axis=0)
    total = np.where(used, score, 0.0).sum(axis=0)
    mean = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
    return score[target] - mean


def membership(
    found: Shadows, group: np.ndarray, rng: np.random.Generator, *, draws: int = 1000
) -> dict:
    """Membership over lanes, each in turn the target: calibrated scores of the images in its
    half against those out of it.

    The control asks which images were in one lane by the scores of the next one, which had a
    half of its own and can know nothing of that: it should hold .5.

    Args:
        group: [N] int, of `data`; what the bootstrap draws. Trainings are not drawn again.

    Returns:
        As `scoring.roc.judged` (means over lanes), and "control", the same of the control, and
        "uncalibrated", of the scores as they are.
    """
    inside, score = np.asarray(found.inside, bool), np.asarray(found.score)
    count = len(inside)
    own = np.stack([calibrated(inside, score, i) for i in range(count)])
    other = np.stack([calibrated(inside, score, (i + 1) % count, i) for i in range(count)])
    judged = partial(roc.judged, positive=inside, rng=rng, group=group, draws=draws)
    return judged(own) | {"control": judged(other), "uncalibrated": judged(score)}
