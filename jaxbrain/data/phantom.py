"""Stylised axial MR slices of heads, with and without a tumour, drawn by a pure function.

They stand in for real images where there are none, and give tests a ground truth: every
slice comes with the mask of its lesion. They are drawings, not simulations.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxbrain.config import DataConfig
from jaxbrain.data.records import Records, from_arrays
from jaxbrain.types import Array, Dataset

# Grey levels of the drawn contrasts (rows) for each tissue (columns): T1-, T2- and
# FLAIR-like.
_TISSUES = ("scalp", "bone", "fluid", "grey", "white", "core", "rim", "oedema")
_CONTRASTS = (
    (0.85, 0.10, 0.10, 0.42, 0.62, 0.28, 0.95, 0.36),
    (0.60, 0.07, 0.92, 0.55, 0.36, 0.88, 0.70, 0.78),
    (0.60, 0.07, 0.12, 0.52, 0.42, 0.66, 0.92, 0.74),
)


# Normal draws of all smooth noises but the finest, whose grid follows the size.
_GRID_DRAWS = 1340


class Phantom(NamedTuple):
    """A slice and its ground truth, both [S, S, 1] float32 in [0, 1]."""

    image: Array
    lesion: Array


def _cubic(size: int, cells: int) -> np.ndarray:
    """Weights [size, cells + 3] of Keys' cubic interpolation on a grid with one row
    before, and two after, the `cells` that the pixels span."""
    position = (np.arange(size) + 0.5) / size * cells + 1.0
    t = np.abs(position[:, None] - np.arange(cells + 3)[None, :])
    near, far = 1.5 * t**3 - 2.5 * t**2 + 1, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    return np.where(t < 1, near, np.where(t < 2, far, 0.0)).astype(np.float32)


def _noise(grid: Array, size: int, cells: int) -> Array:
    """Smooth noise [S, S] of about unit variance with features of size / cells, from
    normal draws [cells + 3, cells + 3]."""
    weights = jnp.asarray(_cubic(size, cells))
    return 1.3 * weights @ grid @ weights.T


def _step(distance: Array, softness: float | Array) -> Array:
    """1 where `distance` is well below 0, 0 well above it."""
    return jax.nn.sigmoid(-distance / softness)


def draw(
    key: Array, label: Array | int, size: int = 64, difficulty: float | Array = 0.5
) -> Phantom:
    """One slice: scalp, skull, folded grey matter, white matter, ventricles, falx; with
    label 1 a lesion with core, rim, oedema and mass effect.

    Contrast (T1-, T2- or FLAIR-like), anatomy, pose, bias field and noise vary with the
    key. With rising `difficulty` lesions get smaller and fainter, noise grows, and small
    bright spots (as of white-matter disease) appear in either class.

    Args:
        key: the key is consumed.
        label: 0 normal, 1 tumour.
        size: side in pixels, 16 or more; static.
        difficulty: in [0, 1].

    Returns:
        A `Phantom`; the lesion's mask is zero everywhere for label 0.
    """
    scalar_key, grid_key, level_key, pick_key, rician_key = jax.random.split(key, 5)
    # Few large draws: each separate one adds a generator to the compiled program.
    scalars = iter(jax.random.uniform(scalar_key, (64,)))
    grids = jax.random.normal(grid_key, (_GRID_DRAWS + (size // 3 + 3) ** 2,))
    used = 0

    def uniform(low, high):
        return low + (high - low) * next(scalars)

    def noise(cells):
        nonlocal used
        start, used = used, used + (cells + 3) ** 2
        return _noise(grids[start:used].reshape(cells + 3, cells + 3), size, cells)

    has_lesion = jnp.float32(label)
    difficulty = jnp.float32(difficulty)
    pixel = 2.0 / size
    axis = (jnp.arange(size, dtype=jnp.float32) + 0.5) * pixel - 1.0
    y, x = jnp.meshgrid(axis, axis, indexing="ij")
    angle = uniform(-0.12, 0.12)
    x, y = x - uniform(-0.04, 0.04), y - uniform(-0.04, 0.04)
    u = x * jnp.cos(angle) + y * jnp.sin(angle)
    v = y * jnp.cos(angle) - x * jnp.sin(angle)
    width, height = uniform(0.66, 0.80), uniform(0.82, 0.94)
    outline = 0.02 * noise(3)
    radius = jnp.sqrt((u / width) ** 2 + (v / height) ** 2) + outline
    # The forehead is a little narrower than the back of the head.
    radius = radius * (1.0 - 0.05 * v * jnp.abs(u))

    # The lesion sits off the midline, inside the brain, and pushes tissue outward.
    side = jnp.where(uniform(0.0, 1.0) < 0.5, -1.0, 1.0)
    lesion_u = side * width * uniform(0.18, 0.50)
    lesion_v = height * uniform(-0.50, 0.50)
    lesion_size = uniform(0.20, 0.34) - 0.12 * difficulty * uniform(0.4, 1.0)
    stretch = uniform(0.75, 1.3)
    away_u, away_v = u - lesion_u, v - lesion_v
    distance = jnp.sqrt((away_u * stretch) ** 2 + (away_v / stretch) ** 2)
    push = 0.35 * has_lesion * jnp.exp(-((distance / (1.8 * lesion_size)) ** 2))
    anatomy_u, anatomy_v = u - push * away_u, v - push * away_v

    soft = 0.6 * pixel
    skull = uniform(0.05, 0.08)
    scalp_in = 1.0 - uniform(0.04, 0.08)
    bone_in = scalp_in - skull
    brain_edge = bone_in - uniform(0.015, 0.04)
    head = _step((radius - 1.0) * width, soft)
    inside_scalp = _step((radius - scalp_in) * width, soft)
    inside_bone = _step((radius - bone_in) * width, soft)
    brain = _step((radius - brain_edge) * width, soft)

    # Folds: thin lines where smooth noise crosses zero, near the brain's surface.
    folds = noise(9) + 0.6 * noise(15)
    depth = radius / brain_edge
    surface = _step(0.66 + 0.05 * noise(6) - depth, 0.05)
    sulcus = jnp.exp(-((folds / 0.28) ** 2)) * surface
    ribbon = jnp.exp(-((folds / 0.75) ** 2)) * surface
    cortex = jnp.maximum(_step(0.90 - depth, 0.03), ribbon)
    deep = jnp.exp(-(((jnp.abs(anatomy_u) - 0.24) / 0.08) ** 2) - ((anatomy_v - 0.02) / 0.17) ** 2)
    grey = jnp.clip(cortex + 0.85 * deep, 0.0, 1.0)

    # Ventricles: two horns that bend away from the midline at both ends.
    length, bend = uniform(0.26, 0.42), uniform(0.5, 1.1)
    thickness = uniform(0.030, 0.075)
    along = (anatomy_v + 0.03) / length
    centre = 0.07 + bend * 0.16 * along**2
    horn = thickness * jnp.sqrt(jnp.clip(1.05 - along**2, 0.0, 1.0))
    ventricle = _step(jnp.abs(jnp.abs(anatomy_u) - centre) - horn, soft)
    ventricle = ventricle * _step(jnp.abs(along) - 1.0, 0.05)
    gap = jnp.abs(anatomy_u) + 0.006 * noise(6)
    falx = jnp.exp(-((gap / 0.016) ** 2)) * _step(0.42 - jnp.abs(anatomy_v), 0.05)

    contrasts = jnp.asarray(_CONTRASTS)
    pick = jax.random.randint(pick_key, (), 0, len(_CONTRASTS))
    levels = contrasts[pick] + 0.05 * jax.random.normal(level_key, (len(_TISSUES),))
    tissue = dict(zip(_TISSUES, jnp.clip(levels, 0.03, 1.0), strict=True))

    matter = tissue["white"] * (1 - grey) + tissue["grey"] * grey
    for mask in (0.8 * sulcus, 0.7 * falx, ventricle):
        matter = matter * (1 - mask) + tissue["fluid"] * mask

    # Small bright spots, in either class and more of them when it is difficult.
    for _ in range(3):
        spot_u, spot_v = width * uniform(-0.5, 0.5), height * uniform(-0.5, 0.5)
        spot = jnp.exp(-((u - spot_u) ** 2 + (v - spot_v) ** 2) / uniform(0.03, 0.05) ** 2)
        strength = jnp.where(uniform(0.0, 1.0) < difficulty, 0.5 * difficulty, 0.0)
        matter = matter + strength * spot * (0.9 - matter)

    rough = 0.16 * noise(5) + 0.08 * noise(11)
    edge = distance / lesion_size + rough
    lesion = _step((edge - 1.0) * lesion_size, soft) * brain * has_lesion
    core_share = uniform(0.35, 0.85)
    core = _step((edge - core_share) * lesion_size, 1.5 * soft)
    swelling = uniform(1.3, 2.0)
    halo = _step(edge + 2.0 * rough - swelling, 0.12) * has_lesion
    visible = 1.0 - 0.35 * difficulty
    halo = halo * visible * (1 - 0.7 * ventricle)
    matter = matter * (1 - halo) + tissue["oedema"] * halo
    mottled = 1.0 + 0.12 * noise(14)
    tumour = (tissue["rim"] * (1 - core) + tissue["core"] * core) * mottled
    shown = lesion * (1.0 - 0.2 * difficulty)
    matter = matter * (1 - shown) + tumour * shown

    texture = 0.025 * noise(size // 3)
    image = tissue["scalp"] * (head - inside_scalp)
    image = image * (1.0 + 0.15 * noise(7))
    image = image + tissue["bone"] * (inside_scalp - inside_bone)
    image = image + tissue["fluid"] * 0.8 * (inside_bone - brain) + matter * brain
    image = image + texture * brain
    bias = 1.0 + uniform(-0.15, 0.15) * u + uniform(-0.15, 0.15) * v
    bias = bias + 0.03 * noise(2)
    image = image * bias * uniform(0.8, 1.0)
    # Rician: the magnitude of a complex signal with Gaussian noise.
    level = 0.008 + 0.03 * difficulty * uniform(0.3, 1.0)
    shift = level * jax.random.normal(rician_key, (2, size, size))
    image = jnp.sqrt((jnp.maximum(image, 0.0) + shift[0]) ** 2 + shift[1] ** 2)
    return Phantom(jnp.clip(image, 0.0, 1.0)[..., None], lesion[..., None])


@functools.partial(jax.jit, static_argnums=(2,))
def _draw_many(keys, label, size, difficulty):
    draw_one = functools.partial(draw, size=size, difficulty=difficulty)
    return jax.vmap(lambda key, label: draw_one(key, label))(keys, label)


def dataset(key: Array, num_per_class: int, size: int = 64, difficulty: float = 0.5) -> Dataset:
    """A balanced `Dataset` of phantoms: `num_per_class` normal ones, then as many with a
    tumour, each its own group. The key is consumed."""
    label = jnp.repeat(jnp.arange(2, dtype=jnp.int32), num_per_class)
    keys = jax.random.split(key, 2 * num_per_class)
    image = _draw_many(keys, label, size, difficulty).image
    image = jnp.round(image * 255.0).astype(jnp.uint8)
    return Dataset(image, label, jnp.arange(2 * num_per_class, dtype=jnp.int32))


def plant_twins(key: Array, data: Dataset, share: float) -> Dataset:
    """`data` with copies in place of some images: of each class, the last round(share *
    its size) become copies of earlier ones, by turns exact (leak L3) and with another
    gain, offset and noise (L4). A copy has the group of its original. The key is consumed.

    Returns NumPy arrays.
    """
    image, label, group = (np.array(leaf) for leaf in data)
    for k in np.unique(label):
        members = np.flatnonzero(label == k)
        count = round(share * len(members))
        kept, copies = members[: len(members) - count], members[len(members) - count :]
        original = kept[np.arange(count) % max(len(kept), 1)] if count else kept[:0]
        one_key, key = jax.random.split(key)
        scale_key, noise_key = jax.random.split(one_key)
        gain, offset = jax.random.uniform(scale_key, (2, count, 1, 1, 1))
        noise = jax.random.normal(noise_key, image[copies].shape)
        value = image[original] / 255.0 * (0.85 + 0.15 * gain) + 0.04 * offset + 0.01 * noise
        near = np.clip(np.round(value * 255.0), 0, 255).astype(np.uint8)
        exact = (np.arange(count) % 2 == 0).reshape(-1, 1, 1, 1)
        image[copies] = np.where(exact, image[original], near)
        group[copies] = group[original]
    return Dataset(image, label, group)


def folder(cfg: DataConfig, size: int, key: Array | None = None) -> tuple[Dataset, Records]:
    """Phantoms as `load_folder` would return them: `cfg.n_per_class` of each class (100
    where that is 0), a share `cfg.twins` of them copies of others. Groups are the true
    ones. The key is consumed; None takes a fixed one."""
    key = jax.random.key(2**31) if key is None else key
    data = dataset(key, cfg.n_per_class or 100, size, cfg.difficulty)
    if cfg.twins:
        data = plant_twins(jax.random.fold_in(key, 1), data, cfg.twins)
    return data, from_arrays(data, ("no", "yes"), "phantoms")
