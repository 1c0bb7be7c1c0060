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

# The root of `Records` of images that come from no folder.
ROOT = "phantoms"
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


class Mode(NamedTuple):
    """What a caller may choose of a slice, each [] int32: contrast 0 (T1-like), 1 (T2-like) or
    2 (FLAIR-like); ventricles 0 (small) or 1 (large); side of the lesion in the picture 0
    (left) or 1 (right); half of it 0 (front, above) or 1 (back)."""

    contrast: Array | int
    ventricles: Array | int
    side: Array | int
    half: Array | int


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


def _step(distance: Array, softness: float | Array) -> Array:
    """1 where `distance` is well below 0, 0 well above it."""
    return jax.nn.sigmoid(-distance / softness)


class _Draws:
    """The random numbers of one slice, in order: few large draws, since each separate one
    adds a generator to the compiled program."""

    def __init__(self, scalar_key: Array, grid_key: Array, size: int):
        self.size, self.used = size, 0
        self.scalars = iter(jax.random.uniform(scalar_key, (64,)))
        self.grids = jax.random.normal(grid_key, (_GRID_DRAWS + (size // 3 + 3) ** 2,))

    def uniform(self, low, high) -> Array:
        return low + (high - low) * next(self.scalars)

    def noise(self, cells: int) -> Array:
        """Smooth [S, S], of about unit variance, with features of size / cells."""
        start, self.used = self.used, self.used + (cells + 3) ** 2
        grid = self.grids[start : self.used].reshape(cells + 3, cells + 3)
        weights = jnp.asarray(_cubic(self.size, cells))
        return 1.3 * weights @ grid @ weights.T


class _Head(NamedTuple):
    """Where a pixel [S, S] is: u, v from the middle, along and across the head; radius 1 on
    its outline. width, height: half of its extent. soft: half the width of an edge."""

    u: Array
    v: Array
    radius: Array
    width: Array
    height: Array
    soft: float


def _head(draws: _Draws) -> _Head:
    pixel = 2.0 / draws.size
    axis = (jnp.arange(draws.size, dtype=jnp.float32) + 0.5) * pixel - 1.0
    y, x = jnp.meshgrid(axis, axis, indexing="ij")
    angle = draws.uniform(-0.12, 0.12)
    x, y = x - draws.uniform(-0.04, 0.04), y - draws.uniform(-0.04, 0.04)
    u = x * jnp.cos(angle) + y * jnp.sin(angle)
    v = y * jnp.cos(angle) - x * jnp.sin(angle)
    width, height = draws.uniform(0.66, 0.80), draws.uniform(0.82, 0.94)
    outline = 0.02 * draws.noise(3)
    radius = jnp.sqrt((u / width) ** 2 + (v / height) ** 2) + outline
    # The forehead is a little narrower than the back of the head.
    radius = radius * (1.0 - 0.05 * v * jnp.abs(u))
    return _Head(u, v, radius, width, height, 0.6 * pixel)


class _Lesion(NamedTuple):
    """distance: [S, S] from its middle; there: 1, or 0 in a normal slice; u, v: [S, S], of
    `_Head`, as its mass effect leaves them."""

    distance: Array
    size: Array
    there: Array
    u: Array
    v: Array


def _either(choice: Array | int, zero: tuple, one: tuple) -> tuple[Array, Array]:
    """The ends (low, high) of a range: `zero` where the choice is 0, `one` where it is 1."""
    return jnp.where(choice == 0, zero[0], one[0]), jnp.where(choice == 0, zero[1], one[1])


def _lesion(draws: _Draws, head: _Head, there: Array, difficulty: Array, mode) -> _Lesion:
    """It sits off the midline, inside the brain, and pushes tissue outward."""
    side = jnp.where(draws.uniform(0.0, 1.0) < 0.5, -1.0, 1.0)
    across, along, sizes = (0.18, 0.50), (-0.50, 0.50), (0.20, 0.34)
    if mode is not None:
        # Well off the midline and off the middle, so that it is in one quarter.
        side = jnp.where(mode.side == 0, -1.0, 1.0)
        across, along = (0.28, 0.46), _either(mode.half, (-0.44, -0.22), (0.22, 0.44))
        sizes = (0.26, 0.34)
    lesion_u = side * head.width * draws.uniform(*across)
    lesion_v = head.height * draws.uniform(*along)
    size = draws.uniform(*sizes) - 0.12 * difficulty * draws.uniform(0.4, 1.0)
    stretch = draws.uniform(0.75, 1.3)
    away_u, away_v = head.u - lesion_u, head.v - lesion_v
    distance = jnp.sqrt((away_u * stretch) ** 2 + (away_v / stretch) ** 2)
    push = 0.35 * there * jnp.exp(-((distance / (1.8 * size)) ** 2))
    return _Lesion(distance, size, there, head.u - push * away_u, head.v - push * away_v)


def _brain(draws: _Draws, soft: float, depth: Array, u: Array, v: Array, tissue, mode):
    """Folded grey matter, white matter, ventricles and falx: [S, S] grey levels, and the
    ventricles' mask. depth: 1 at the brain's surface."""
    # Folds: thin lines where smooth noise crosses zero, near the brain's surface.
    folds = draws.noise(9) + 0.6 * draws.noise(15)
    surface = _step(0.66 + 0.05 * draws.noise(6) - depth, 0.05)
    sulcus = jnp.exp(-((folds / 0.28) ** 2)) * surface
    ribbon = jnp.exp(-((folds / 0.75) ** 2)) * surface
    cortex = jnp.maximum(_step(0.90 - depth, 0.03), ribbon)
    deep = jnp.exp(-(((jnp.abs(u) - 0.24) / 0.08) ** 2) - ((v - 0.02) / 0.17) ** 2)
    grey = jnp.clip(cortex + 0.85 * deep, 0.0, 1.0)

    # Ventricles: two horns that bend away from the midline at both ends.
    length, bend = draws.uniform(0.26, 0.42), draws.uniform(0.5, 1.1)
    sizes = (0.030, 0.075)
    if mode is not None:
        sizes = _either(mode.ventricles, (0.030, 0.040), (0.085, 0.100))
    thickness = draws.uniform(*sizes)
    along = (v + 0.03) / length
    centre = 0.07 + bend * 0.16 * along**2
    horn = thickness * jnp.sqrt(jnp.clip(1.05 - along**2, 0.0, 1.0))
    ventricle = _step(jnp.abs(jnp.abs(u) - centre) - horn, soft)
    ventricle = ventricle * _step(jnp.abs(along) - 1.0, 0.05)
    gap = jnp.abs(u) + 0.006 * draws.noise(6)
    falx = jnp.exp(-((gap / 0.016) ** 2)) * _step(0.42 - jnp.abs(v), 0.05)

    matter = tissue["white"] * (1 - grey) + tissue["grey"] * grey
    for mask in (0.8 * sulcus, 0.7 * falx, ventricle):
        matter = matter * (1 - mask) + tissue["fluid"] * mask
    return matter, ventricle


def _with_spots(draws: _Draws, head: _Head, matter: Array, difficulty) -> Array:
    """Small bright spots, in either class and more of them when it is difficult."""
    for _ in range(3):
        spot_u = head.width * draws.uniform(-0.5, 0.5)
        spot_v = head.height * draws.uniform(-0.5, 0.5)
        squared = (head.u - spot_u) ** 2 + (head.v - spot_v) ** 2
        spot = jnp.exp(-squared / draws.uniform(0.03, 0.05) ** 2)
        strength = jnp.where(draws.uniform(0.0, 1.0) < difficulty, 0.5 * difficulty, 0.0)
        matter = matter + strength * spot * (0.9 - matter)
    return matter


def _with_lesion(draws, soft, matter, brain, ventricle, lesion: _Lesion, difficulty, tissue):
    """Core, rim and oedema over `matter`, and the lesion's mask, both [S, S]."""
    rough = 0.16 * draws.noise(5) + 0.08 * draws.noise(11)
    edge = lesion.distance / lesion.size + rough
    mask = _step((edge - 1.0) * lesion.size, soft) * brain * lesion.there
    core = _step((edge - draws.uniform(0.35, 0.85)) * lesion.size, 1.5 * soft)
    halo = _step(edge + 2.0 * rough - draws.uniform(1.3, 2.0), 0.12) * lesion.there
    halo = halo * (1.0 - 0.35 * difficulty) * (1 - 0.7 * ventricle)
    matter = matter * (1 - halo) + tissue["oedema"] * halo
    mottled = 1.0 + 0.12 * draws.noise(14)
    tumour = (tissue["rim"] * (1 - core) + tissue["core"] * core) * mottled
    shown = mask * (1.0 - 0.2 * difficulty)
    return matter * (1 - shown) + tumour * shown, mask


def draw(
    key: Array,
    label: Array | int,
    size: int = 64,
    difficulty: float | Array = 0.5,
    mode: Mode | None = None,
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
        mode: what is chosen for it (`jaxbrain.data.modes`); None leaves it to the key, over
            wider ranges that run into one another.

    Returns:
        A `Phantom`; the lesion's mask is zero everywhere for label 0.
    """
    scalar_key, grid_key, level_key, pick_key, rician_key = jax.random.split(key, 5)
    draws = _Draws(scalar_key, grid_key, size)
    difficulty = jnp.float32(difficulty)
    pick = jax.random.randint(pick_key, (), 0, len(_CONTRASTS))
    pick = pick if mode is None else mode.contrast
    vary = 0.05 if mode is None else 0.03
    levels = jnp.asarray(_CONTRASTS)[pick] + vary * jax.random.normal(level_key, (len(_TISSUES),))
    tissue = dict(zip(_TISSUES, jnp.clip(levels, 0.03, 1.0), strict=True))

    head = _head(draws)
    lesion = _lesion(draws, head, jnp.float32(label), difficulty, mode)
    skull = draws.uniform(0.05, 0.08)
    scalp_in = 1.0 - draws.uniform(0.04, 0.08)
    bone_in = scalp_in - skull
    brain_edge = bone_in - draws.uniform(0.015, 0.04)
    whole, inside_scalp, inside_bone, brain = (
        _step((head.radius - edge) * head.width, head.soft)
        for edge in (1.0, scalp_in, bone_in, brain_edge)
    )
    depth = head.radius / brain_edge
    matter, ventricle = _brain(draws, head.soft, depth, lesion.u, lesion.v, tissue, mode)
    matter = _with_spots(draws, head, matter, difficulty)
    matter, mask = _with_lesion(
        draws, head.soft, matter, brain, ventricle, lesion, difficulty, tissue
    )
    texture = 0.025 * draws.noise(size // 3)
    image = tissue["scalp"] * (whole - inside_scalp) * (1.0 + 0.15 * draws.noise(7))
    image = image + tissue["bone"] * (inside_scalp - inside_bone)
    image = image + tissue["fluid"] * 0.8 * (inside_bone - brain) + matter * brain
    image = _received(draws, head, image + texture * brain, difficulty, rician_key)
    return Phantom(image[..., None], mask[..., None])


def _received(draws: _Draws, head: _Head, image: Array, difficulty, key: Array) -> Array:
    """What a scanner makes of it: a bias field, a gain, and Rician noise: the magnitude of
    a complex signal with Gaussian noise."""
    bias = 1.0 + draws.uniform(-0.15, 0.15) * head.u + draws.uniform(-0.15, 0.15) * head.v
    bias = bias + 0.03 * draws.noise(2)
    image = image * bias * draws.uniform(0.8, 1.0)
    level = 0.008 + 0.03 * difficulty * draws.uniform(0.3, 1.0)
    shift = level * jax.random.normal(key, (2, *image.shape))
    image = jnp.sqrt((jnp.maximum(image, 0.0) + shift[0]) ** 2 + shift[1] ** 2)
    return jnp.clip(image, 0.0, 1.0)


# Drawn so many at a time: one program, compiled once, serves any number.
_TOGETHER = 50

_keys = jax.jit(jax.random.split, static_argnums=1)


@functools.partial(jax.jit, static_argnums=2)
def _draw_some(keys, label, size, difficulty, mode):
    def one(key, label, mode):
        return draw(key, label, size, difficulty, mode).image

    return jnp.round(jax.vmap(one)(keys, label, mode) * 255.0).astype(jnp.uint8)


def images(key: Array, label: np.ndarray, size: int, difficulty: float, mode=None) -> np.ndarray:
    """One slice for each label.

    label: [N] int32, N at least 1. mode: a `Mode` of arrays [N], or None. The key is consumed.

    Returns [N, size, size, 1] uint8.
    """
    count = len(label)
    words = np.asarray(jax.random.key_data(_keys(key, count)))
    image = []
    for start in range(0, count, _TOGETHER):
        # The last ones are filled up with the first.
        some = np.arange(start, start + _TOGETHER) % count
        keys = jax.random.wrap_key_data(words[some], impl=jax.random.key_impl(key))
        chosen = jax.tree.map(lambda leaf, some=some: leaf[some], mode)
        image.append(np.asarray(_draw_some(keys, label[some], size, difficulty, chosen)))
    return np.concatenate(image)[:count]


def dataset(key: Array, num_per_class: int, size: int = 64, difficulty: float = 0.5) -> Dataset:
    """A balanced `Dataset` of phantoms: `num_per_class` normal ones, then as many with a
    tumour, each its own group. The key is consumed."""
    label = np.repeat(np.arange(2, dtype=np.int32), num_per_class)
    image = images(key, label, size, difficulty)
    arrays = image, label, np.arange(len(label), dtype=np.int32)
    return Dataset(*map(jax.device_put, arrays))


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
        original = kept[np.arange(count) % max(len(kept), 1)]
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
    return data, from_arrays(data, ("no", "yes"), ROOT)
