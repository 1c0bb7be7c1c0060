"""Membership inference: whether images that trained a generator can be told from held-out ones.

An attack is a score, large where an image is thought to be a training image (a member); its
AUROC is .5 where it tells nothing. Beside each stands a control, the same images scored by
what no generator can have told: where its interval leaves .5 out, training and held-out
images differ as such, and the attack's own number is no sign of memory. An attack that finds
nothing says that it found nothing, not that there is nothing to find.

Images of a group of near-duplicates that has training and held-out images count for neither
side, and of any other group one counts (`privacy.kept`). Results are those of `scoring.roc.judged`.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxbrain.audit.privacy import Kept, kept
from jaxbrain.config import Config
from jaxbrain.data.nearest import apart, distances, smoothed
from jaxbrain.data.preprocess import resized, to_float
from jaxbrain.errors import DataError
from jaxbrain.scoring import roc
from jaxbrain.training import gan
from jaxbrain.training.loops import map_batches
from jaxbrain.types import Array, Dataset, GANState

# Principal components of a density: more leave every image alone in its corner.
COMPONENTS = 8


def judged(members: np.ndarray, others: np.ndarray, rng: np.random.Generator, **how) -> dict:
    """`scoring.roc.judged` of members' scores [M] against others' [H].

    Raises:
        DataError: if one of them has no image.
    """
    if not (len(members) and len(others)):
        raise DataError(
            f"{len(members)} training and {len(others)} held-out images without near-duplicates "
            "on the other side: expected at least 1 of each"
        )
    score = np.concatenate([members, others])
    return roc.judged(score, np.arange(len(score)) < len(members), rng, **how)


def by_distance(
    synthetic: np.ndarray,
    training: np.ndarray,
    held_out: np.ndarray,
    rng: np.random.Generator,
    *,
    among: Kept | None = None,
    draws: int = 1000,
) -> dict:
    """Of a folder of images: scored by minus the distance to the nearest synthetic image.

    The control scores by minus the distance to the nearest other real image, of either set:
    it shows whether training images lie nearer to images of their kind as such. Two images
    are often each other's nearest, so that its interval is a little too narrow.

    Args:
        synthetic, training, held_out: uint8 [N, S, S, 1], of any sides.
        rng: of the bootstraps over images. among: from `privacy.kept`; None calls it.

    Returns:
        As `scoring.roc.judged`, and "control", the same of the control.

    Raises:
        DataError: for empty sets, other dtypes or shapes, or if no held-out image is left.
    """
    among = kept(training, held_out) if among is None else among
    members, others = training[among.members], held_out[among.held_out]
    near = [-distances(images, synthetic)[0] for images in (members, others)]
    alone = -apart(np.concatenate([smoothed(members), smoothed(others)]))[0]
    control = judged(alone[: len(members)], alone[len(members) :], rng, draws=draws)
    return judged(*near, rng, draws=draws) | {"control": control}


def _log_density(points: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Log of a Gaussian kernel density of points [N, D] at x [M, D], up to a constant of D;
    the width is Scott's, of points of unit variance."""
    count, size = points.shape
    width = count ** (-1.0 / (size + 4))
    result = np.empty(len(x))
    for i in range(0, len(x), 256):
        gap = np.square(x[i : i + 256, None] - points[None]).sum(axis=2)
        exponent = -0.5 * gap / width**2
        top = exponent.max(axis=1)
        result[i : i + 256] = top + np.log(np.exp(exponent - top[:, None]).sum(axis=1))
    return result - np.log(count) - size * np.log(width)


def _components(reference: np.ndarray, most: int):
    """A function to the first principal components of reference rows [N, D], each of unit
    variance there."""
    mean = reference.mean(axis=0)
    _, scale, basis = np.linalg.svd(reference - mean, full_matrices=False)
    scale = scale / np.sqrt(len(reference) - 1)
    used = np.flatnonzero(scale > 1e-6 * max(scale[0], 1e-12))[:most]
    if not len(used):
        raise DataError("the reference images are all the same: expected images that differ")
    return lambda x: (x - mean) @ basis[used].T / scale[used]


def by_density(
    synthetic: np.ndarray,
    training: np.ndarray,
    held_out: np.ndarray,
    rng: np.random.Generator,
    *,
    among: Kept | None = None,
    components: int = COMPONENTS,
    draws: int = 1000,
) -> dict:
    """Of a folder of images: scored by the density of synthetic images over that of real ones,
    both Gaussian kernel densities on principal components of smoothed 32 x 32 images.

    Half of the held-out images, drawn by `rng`, are the real ones of components and density;
    the other half stands against the members. The control scores by the real density alone.

    Args, Returns, Raises: as `by_distance`; "reference": images of the real density. At least
        8 held-out images must be left.

    References:
        van Breugel et al., "Membership inference attacks against synthetic data through
        overfitting detection" (DOMIAS), 2023.
    """
    among = kept(training, held_out) if among is None else among
    if len(among.held_out) < 8:
        raise DataError(
            f"{len(among.held_out)} held-out images: expected at least 8, half of them for the "
            "density of real images"
        )
    order = rng.permutation(among.held_out)
    half = len(order) // 2
    sets = held_out[order[:half]], synthetic, training[among.members], held_out[order[half:]]
    flat = [np.float64(smoothed(x)[:, ::2, ::2]).reshape(len(x), -1) for x in sets]
    reference, drawn, *tested = map(_components(flat[0], components), flat)
    real = [_log_density(reference, x) for x in tested]
    ratio = [_log_density(drawn, x) - r for x, r in zip(tested, real, strict=True)]
    control = judged(*real, rng, draws=draws)
    return judged(*ratio, rng, draws=draws) | {"control": control, "reference": half}


def logits(cfg: Config, state: GANState, image: Array, label: Array, networks=None) -> Array:
    """`discriminator_scores` of bytes [N, S, S, 1] of the GAN's size; traceable."""

    def some(batch):
        image, label = batch
        return gan.score(cfg, state, to_float(image, cfg.data.channels), label, networks)

    return map_batches(some, (image, label), cfg.gan.batch_size)


_compiled_logits = jax.jit(logits, static_argnums=(0, 4))


def discriminator_scores(
    cfg: Config, state: GANState, data: Dataset, networks: gan.Networks | None = None
) -> np.ndarray:
    """A discriminator's logits [N] float32 of whole images, large for real: what it learned of
    its training images is an attack on them (give them to `judged`, and those of a GAN that
    saw neither set as a control).

    data: of any side, brought to `cfg.gan.image_size`. networks: as in `gan`.

    Raises:
        DataError: see `Dataset.check`.
    """
    data = resized(data, cfg.gan.image_size)
    image, label = jnp.asarray(data.image), jnp.asarray(data.label, jnp.int32)
    return np.asarray(_compiled_logits(cfg, state, image, label, networks))
