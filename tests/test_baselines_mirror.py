"""`mirror_kernel`: its features against plain NumPy, what it does not see, what it finds."""

from unittest import mock

import jax
import numpy as np
import pytest
from scipy import ndimage

from jaxbrain import phantom
from jaxbrain.baselines import floors, mirror


@pytest.fixture(scope="module", autouse=True)
def short_blocks():
    """Blocks of 8 pictures in place of 32: most of these tests have a few."""
    with mock.patch.object(mirror, "_BLOCK", 8):
        yield


@pytest.fixture(scope="module")
def heads() -> np.ndarray:
    """[5, 128, 128] float32 in [0, 1]: smooth noise, no two alike, and a blank one."""
    rng = np.random.default_rng(3)
    noise = ndimage.gaussian_filter(rng.normal(size=(5, 128, 128)), (0, 2.5, 2.5))
    image = np.float32((noise - noise.min()) / np.ptp(noise))
    image[4] = 0.0
    return image


def plain_blobs(image: np.ndarray) -> list[float]:
    axis = (np.arange(128) - 63.5) / 64
    radius = np.hypot(*np.meshgrid(axis, axis))
    inside = radius < 0.8
    z = (image - image[inside].mean()) / max(image[inside].std(), 1e-6)
    found = []
    for sigma in mirror.SIGMAS:
        height = -(sigma**2) * ndimage.gaussian_laplace(z, sigma)
        blur = ndimage.gaussian_filter(z, sigma)
        more_height, more = (value - value[:, ::-1] for value in (height, blur))
        for sign in (1, -1):
            around = ndimage.maximum_filter(
                sign * height, 2 * int(sigma) + 1, mode="constant", cval=-np.inf
            )
            peaks = np.argwhere((sign * height == around) & inside)
            peaks = sorted(peaks.tolist(), key=lambda at: -sign * height[tuple(at)])[:3]
            for row, column in peaks:
                at = row, column
                found += [sign * height[at], blur[at], sign * more[at], sign * more_height[at]]
                found += [radius[at], abs(axis[column])]
            found += [0.0] * 6 * (3 - len(peaks))
            found += [(sign * value)[inside].max() for value in (more_height, more)]
    return found


def test_blobs_are_those_of_scipy(heads):
    got = jax.jit(mirror.blobs)(heads[:4])
    assert got.shape == (4, mirror.BLOBS)
    np.testing.assert_allclose(got, [plain_blobs(np.float64(one)) for one in heads[:4]], atol=2e-3)


def test_blobs_of_a_blank_picture_are_numbers(heads):
    assert np.isfinite(jax.jit(mirror.blobs)(heads[4:])).all()


def plain_scattering(image: np.ndarray) -> np.ndarray:
    """Every map at every pixel of the grid, and then every so many of them."""
    x = np.pad(image, 16, mode="reflect")
    waves, low = mirror.filters(96)

    def smooth(values, step):
        n = values.shape[0]
        kept = low.reshape(96 // n, n, 96 // n, n).sum(axis=(0, 2))
        return np.fft.ifft2(np.fft.fft2(values) * kept).real[:: 16 // step, :: 16 // step][
            1:-1, 1:-1
        ]

    def modulus(values, step, scale, angle):
        n = values.shape[0]
        kept = waves[scale, angle].reshape(96 // n, n, 96 // n, n).sum(axis=(0, 2))
        every = 2**scale // step
        return np.abs(np.fft.ifft2(np.fft.fft2(values) * kept))[::every, ::every]

    zero, first, second = [smooth(x, 1)], [], []
    for j in range(4):
        ones = [modulus(x, 1, j, angle) for angle in range(6)]
        first += [smooth(one, 2**j) for one in ones]
        for scale in range(j + 1, 4):
            for one in ones:
                second += [smooth(modulus(one, 2**j, scale, a), 2**scale) for a in range(6)]
    return np.stack(zero + first + second)


def test_scattering_is_that_of_numpy(heads):
    small = heads[:3].reshape(3, 64, 2, 64, 2).mean(axis=(2, 4))
    got = np.asarray(jax.jit(mirror.scattering)(small))
    assert got.shape == (3, 241, 4, 4)
    for one, image in zip(got, small, strict=True):
        np.testing.assert_allclose(one, plain_scattering(np.float64(image)), atol=2e-6)


def test_wavelets_see_their_own_direction_and_scale():
    """Stripes of a wavelet's frequency: its map is the largest, by half and more."""
    waves, low = mirror.filters(96)
    assert np.abs(waves[..., 0, 0]).max() < 1e-12 and low[0, 0] == pytest.approx(1.0, abs=1e-6)
    row, column = np.mgrid[:64, :64]
    scattering = jax.jit(mirror.scattering)
    for j, angle in ((1, 0), (1, 3), (2, 0)):
        turn = np.pi * angle / 6
        phase = 0.75 * np.pi / 2**j * (row * np.cos(turn) + column * np.sin(turn))
        maps = np.asarray(scattering(np.float32(0.5 + 0.5 * np.cos(phase))[None]))
        maps = maps[0, 1:25].mean((1, 2))
        order = np.argsort(maps)
        assert order[-1] == 6 * j + angle and maps[order[-2]] < 0.67 * maps[order[-1]]


def test_a_head_and_its_mirror_image_fold_alike(heads):
    folded = jax.jit(mirror.folded)
    np.testing.assert_allclose(folded(heads), folded(heads[:, :, ::-1]), rtol=1e-4, atol=1e-4)


def framed(image: np.ndarray, top: int, left: int) -> np.ndarray:
    frame = np.zeros((len(image), 200, 200, 1), np.uint8)
    frame[:, top : top + 64, left : left + 64] = image
    return frame


def test_where_the_head_stands_in_its_picture_is_not_seen():
    image = np.asarray(phantom.dataset(jax.random.key(2), 3, 64).image)
    one, other = (mirror.features(framed(image, *at)) for at in ((0, 0), (90, 31)))
    assert one.shape == (6, 1164)
    np.testing.assert_array_equal(one, other)


def test_a_picture_without_a_head_has_features():
    for value in (0, 200):
        assert np.isfinite(mirror.features(np.full((1, 32, 32, 1), value, np.uint8))).all()
    assert mirror.features(np.zeros((0, 32, 32, 1), np.uint8)).shape == (0, 1164)


def test_a_bright_spot_on_one_side_is_found():
    """Round heads with a spot on both sides, on one, and of three classes none: 40 of each,
    half of them to test on."""
    rng = np.random.default_rng(3)
    row, column = np.mgrid[:64, :64]
    images, label = [], np.arange(40 * 3) % 3
    for kind in label:
        image = 0.4 * (np.hypot(row - 31.5, column - 31.5) < 30) + rng.normal(0, 0.03, (64, 64))
        at = rng.integers(18, 46), rng.integers(12, 24)
        for side, on in ((1, kind < 2), (-1, kind == 0)):
            spot = np.hypot(row - at[0], (column - 31.5) * side + 31.5 - at[1]) < 5
            image += 0.3 * on * spot
        images.append(image)
    image = np.uint8(np.clip(images, 0, 1) * 255)[..., None]
    all_found = mirror.features(image)
    for num_classes in (2, 3):
        kept = label < num_classes
        found, truth, half = all_found[kept], label[kept], 20 * num_classes
        p = mirror.fit_predict(found[:half], truth[:half], found[half:], num_classes)
        np.testing.assert_allclose(p.sum(axis=1), 1.0)
        right = (p.argmax(axis=1) == truth[half:]).mean()
        seen = image[kept, ..., 0].reshape(len(truth), -1) / 255.0
        blind = floors.ridge(seen[:half], truth[:half], seen[half:], num_classes)
        assert right > 0.94 and right > (blind.argmax(axis=1) == truth[half:]).mean()
