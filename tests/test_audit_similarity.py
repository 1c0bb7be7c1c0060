"""MS-SSIM against a plain float64 form and scikit-image; what the mean over pairs says."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from jaxbrain.audit import similarity
from jaxbrain.errors import DataError

EXPONENTS = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])


def smooth(rng, count: int, side: int) -> np.ndarray:
    """Blurred noise [N, S, S] in [0, 1], so that there is structure at every scale."""
    found = ndimage.gaussian_filter(rng.normal(size=(count, side, side)), (0, 2, 2))
    return (found - found.min()) / np.ptp(found)


def plain(one: np.ndarray, two: np.ndarray, scales: int) -> float:
    def mean(x):
        # Eleven pixels: sigma 1.5, cut five from the middle.
        return ndimage.gaussian_filter(x, 1.5, truncate=5 / 1.5)[5:-5, 5:-5]

    result, exponents = 1.0, EXPONENTS[:scales] / EXPONENTS[:scales].sum()
    for scale in range(scales):
        a, b = mean(one), mean(two)
        covariance = mean(one * two) - a * b
        variances = mean(one * one) - a * a + mean(two * two) - b * b
        found = (2 * covariance + 9e-4) / (variances + 9e-4)
        if scale == scales - 1:
            found = found * (2 * a * b + 1e-4) / (a * a + b * b + 1e-4)
        result *= max(found.mean(), 0.0) ** exponents[scale]
        half = len(one) // 2
        one, two = (
            x[: 2 * half, : 2 * half].reshape(half, 2, half, 2).mean(axis=(1, 3))
            for x in (one, two)
        )
    return result


@pytest.mark.parametrize("side, scales", [(11, 1), (21, 1), (22, 2), (64, 3), (90, 4)])
def test_equals_a_plain_form(side, scales):
    rng = np.random.default_rng(side)
    one = smooth(rng, 3, side)
    two = np.clip(0.8 * one + 0.2 * smooth(rng, 3, side), 0.0, 1.0)
    assert similarity.scales(side) == scales
    got = similarity.ms_ssim(jnp.float32(one), jnp.float32(two))
    want = [plain(a, b, scales) for a, b in zip(one, two, strict=True)]
    np.testing.assert_allclose(got, want, rtol=2e-5)
    assert 0.05 < min(want) and max(want) < 0.999


def test_one_scale_equals_scikit_image():
    metrics = pytest.importorskip("skimage.metrics", reason="needs jaxbrain[baselines]")
    one, two = smooth(np.random.default_rng(1), 2, 21)
    want = metrics.structural_similarity(
        one, two, gaussian_weights=True, use_sample_covariance=False, data_range=1.0
    )
    got = similarity.ms_ssim(jnp.float32(one[None]), jnp.float32(two[None]))
    np.testing.assert_allclose(got[0], max(want, 0.0), rtol=1e-4)
    assert want > 0.01


def test_scales_of_whole_numbers():
    assert [similarity.scales(n) for n in (43, 44, 88, 175, 176, 512)] == [2, 3, 4, 4, 5, 5]
    with pytest.raises(DataError, match="10 x 10: expected 11 pixels"):
        similarity.scales(10)


def test_similarity_is_the_mean_over_pairs_of_a_class():
    rng = np.random.default_rng(2)
    image = np.round(255 * smooth(rng, 9, 16)).astype(np.uint8)[..., None]
    label = np.array([0, 1, 0, 1, 0, 1, 0, 0, 1])
    found = similarity.similarity(image, label, rng, draws=200)
    grey = image[..., 0] / 255.0
    means = []
    for k in (0, 1):
        own = grey[label == k]
        pairs = zip(*np.triu_indices(len(own), 1), strict=True)
        means.append(np.mean([plain(own[i], own[j], 1) for i, j in pairs]))
    assert found["value"] == pytest.approx(np.mean(means), rel=1e-4) and found["scales"] == 1
    low, high = found["interval"]
    assert low < found["value"] < high


def test_similarity_of_random_pairs_and_of_one_picture():
    rng = np.random.default_rng(3)
    image = np.round(255 * smooth(rng, 40, 16)).astype(np.uint8)[..., None]
    label = np.zeros(40, int)
    every = similarity.similarity(image, label, rng, pairs=780)
    some = similarity.similarity(image, label, rng, pairs=100)
    low, high = some["interval"]
    assert low < every["value"] < high and high - low > np.ptp(every["interval"])
    first, second = similarity._pairs(40, 100, rng)
    assert (first != second).all() and len(first) == 100 and {*first, *second} == {*range(40)}
    # One picture a class, whatever the classes: 1, and nothing to resample.
    one = similarity.similarity(image[[0, 0, 0, 1, 1, 1]], np.repeat([0, 1], 3), rng)
    assert one["value"] == pytest.approx(1.0, abs=1e-5)
    assert np.ptp(one["interval"]) < 1e-5
    # Fewer pictures are more alike.
    few = similarity.similarity(image[np.arange(40) % 4], label, rng, pairs=780)
    assert few["value"] > every["value"] + 0.1


def test_refuses():
    rng = np.random.default_rng(4)
    image = np.zeros((3, 16, 16, 1), np.uint8)
    with pytest.raises(DataError, match="class 1 has 1 image: expected 2 or more"):
        similarity.similarity(image, np.array([0, 0, 1]), rng)
    with pytest.raises(DataError, match="expected uint8"):
        similarity.similarity(np.float32(image), np.zeros(3, int), rng)
