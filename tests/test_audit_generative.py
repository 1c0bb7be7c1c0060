"""Distances of sets of features: closed forms, plain float64 forms, torch-fidelity and prdc,
intervals that hold what they promise, bounded memory."""

import itertools
import resource
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
from scipy.spatial.distance import cdist

from jaxbrain.audit import generative
from jaxbrain.errors import DataError

GOLDEN = np.load(Path(__file__).parent / "golden" / "generative.npz")
NAMES = "precision", "recall", "density", "coverage"


def normal(rng, count: int, dim: int, shift: float = 0.0, scale: float = 1.0) -> np.ndarray:
    return (shift + scale * rng.normal(size=(count, dim))).astype(np.float32)


def plain_kernel(x, y) -> np.ndarray:
    return (np.float64(x) @ np.float64(y).T / x.shape[1] + 1.0) ** 3


def plain_kid(x, y) -> float:
    own = [
        (k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in map(plain_kernel, (x, y), (x, y))
    ]
    return sum(own) - 2.0 * plain_kernel(x, y).mean()


def plain_neighbours(real, fake, k: int) -> list[float]:
    def apart(a, b):
        return cdist(np.float64(a), np.float64(b))

    radius, fake_radius = (np.sort(apart(x, x), axis=1)[:, k] for x in (real, fake))
    between = apart(real, fake)
    inside = between < radius[:, None]
    return [
        inside.any(axis=0).mean(),
        (between < fake_radius[None]).any(axis=1).mean(),
        inside.sum(axis=0).mean() / k,
        inside.any(axis=1).mean(),
    ]


def test_equals_torch_fidelity_and_prdc():
    rng = np.random.default_rng(19)
    real, fake = rng.normal(size=(2, 60, 12))
    real, fake = real.astype(np.float32), (0.3 + 1.2 * fake).astype(np.float32)
    assert generative.kernel_distance(fake, real) == pytest.approx(GOLDEN["kid"], rel=1e-5)
    assert generative.frechet(fake, real) == pytest.approx(GOLDEN["fid"], rel=1e-9)
    found = generative.neighbours(real, fake, 5)
    np.testing.assert_allclose([found[name] for name in NAMES], GOLDEN["prdc"], rtol=1e-12)


@pytest.mark.parametrize("count, other, dim", [(33, 20, 7), (1100, 1030, 20)])
def test_equals_plain_forms_in_float64(count, other, dim):
    """The larger sets are of more than one block."""
    rng = np.random.default_rng(count)
    x, y = normal(rng, count, dim), normal(rng, other, dim, 0.2, 1.3)
    error = abs(generative.kernel_distance(x, y) - plain_kid(x, y))
    assert error < 1e-6 * plain_kernel(x, y).mean()
    found = generative.neighbours(x, y, 3)
    np.testing.assert_allclose([found[k] for k in NAMES], plain_neighbours(x, y, 3), rtol=1e-12)
    first, second = np.cov(np.float64(x), rowvar=False), np.cov(np.float64(y), rowvar=False)
    root = scipy.linalg.sqrtm(first @ second).real
    mean = np.square(x.mean(axis=0, dtype=np.float64) - y.mean(axis=0, dtype=np.float64)).sum()
    want = mean + np.trace(first + second - 2.0 * root)
    assert generative.frechet(x, y) == pytest.approx(want, rel=1e-6)


def test_weights_are_repeated_images():
    """A resample by weights is the set with images repeated, but for the pairs of an image
    with itself."""
    rng = np.random.default_rng(3)
    x, y = normal(rng, 12, 5), normal(rng, 9, 5, 0.5)
    left, right = (generative.multiplicities(len(s), 4, rng) for s in (x, y))
    assert left.shape == (5, 12) and (left[0] == 1).all() and (left.sum(axis=1) == 12).all()
    assert (left[1:] != 1).any(axis=1).all()
    kid = generative._kernel_distances(x, y, left, right)
    fid = generative._frechet_distances(x, y, left, right)
    found = generative._neighbours(x, y, 3, left, right)
    for b in range(5):
        i, j = (np.repeat(np.arange(len(w)), w.astype(int)) for w in (left[b], right[b]))

        def mean(s, index):
            apart = index[:, None] != index[None]
            return plain_kernel(s[index], s[index])[apart].mean()

        want = mean(x, i) + mean(y, j) - 2.0 * plain_kernel(x[i], y[j]).mean()
        assert kid[b] == pytest.approx(want, abs=1e-5)
        assert fid[b] == pytest.approx(generative.frechet(x[i], y[j]), rel=1e-6)
        radius = np.sort(np.linalg.norm(x[:, None] - x[None], axis=2), axis=1)[:, 3]
        fake = np.sort(np.linalg.norm(y[:, None] - y[None], axis=2), axis=1)[:, 3]
        between = np.linalg.norm(x[i][:, None] - y[j][None], axis=2)
        inside = between < radius[i][:, None]
        want = [
            inside.any(axis=0).mean(),
            (between < fake[j][None]).any(axis=1).mean(),
            inside.sum(axis=0).mean() / 3,
            inside.any(axis=1).mean(),
        ]
        np.testing.assert_allclose([found[name][b] for name in NAMES], want, rtol=1e-6)


def test_kernel_distance_is_exactly_unbiased():
    """Over all pairs of sets of three, drawn from populations of three points each, the mean
    is the distance of the populations: 0 of one and itself."""
    points = np.array([[0.0, 1.0], [2.0, -1.0], [0.5, 0.5]], np.float32)
    draws = [np.array(i) for i in itertools.product(range(3), repeat=3)]
    ones = np.ones((1, 3), np.float32)
    for other in (points, points[[0, 0, 1]]):
        means = [
            plain_kernel(a, b).mean() for a, b in ((points,) * 2, (other,) * 2, (points, other))
        ]
        want = means[0] + means[1] - 2.0 * means[2]
        found = [
            generative._kernel_distances(points[i], other[j], ones, ones)[0]
            for i in draws
            for j in draws
        ]
        assert np.mean(found) == pytest.approx(want, abs=1e-6) and np.std(found) > 0.5
    assert want > 0.1


def test_frechet_of_known_normals():
    """Means 3 apart, standard deviations 1 and 2 in each of four directions: 9 + 4 (2 - 1)^2."""
    rng = np.random.default_rng(5)
    base = np.linalg.qr(rng.normal(size=(400, 4)))[0]
    base -= base.mean(axis=0)
    base = np.linalg.qr(base)[0] * np.sqrt(399.0)
    assert generative.frechet(base + 1.5, 2.0 * base) == pytest.approx(4 * 1.5**2 + 4, rel=1e-9)
    assert generative.frechet(base, base) == pytest.approx(0.0, abs=1e-9)
    # Fewer images than features: covariances without full rank.
    few = rng.normal(size=(20, 64))
    assert generative.frechet(few, few + 1.0) == pytest.approx(64.0, rel=1e-6)


def test_neighbours_of_equal_far_and_repeated_sets():
    rng = np.random.default_rng(6)
    x = normal(rng, 40, 6)
    equal = generative.neighbours(x, x.copy(), 3)
    assert [equal[k] for k in ("precision", "recall", "coverage")] == [1.0, 1.0, 1.0]
    # Three others are at the edge or nearer; the edge is left out, the image itself is in.
    assert equal["density"] == pytest.approx(1.0)
    far = generative.neighbours(x, x + 50.0, 3)
    assert list(far.values()) == [0.0] * 4
    # One picture again and again: its ball is a point, and it covers few real images.
    one = generative.neighbours(x, np.repeat(x[:1], 40, axis=0), 3)
    assert one["precision"] == 1.0 and one["recall"] == 0.0 and one["coverage"] < 0.3
    with pytest.raises(DataError, match="k is 40: expected 1 to 39"):
        generative.neighbours(x, x, 40)


def test_intervals_hold_the_mean_over_fresh_sets():
    """At least 90 of 100 intervals, and not for being far too wide: at most twice."""
    rng = np.random.default_rng(7)
    found = [
        generative._compared(normal(rng, 40, 6, 0.5), normal(rng, 40, 6), rng, 100, 3, 6)
        for _ in range(100)
    ]
    for name in ("kid", "frechet", *NAMES):
        values = np.array([one[name]["value"] for one in found])
        low, high = np.array([one[name]["interval"] for one in found]).T
        held = np.mean((low <= values.mean()) & (values.mean() <= high))
        assert held >= 0.9, name
        assert (high - low).mean() < 2.0 * 3.92 * values.std(), name


def test_intervals_hold_no_distance_at_all():
    """Two sets of one distribution: 0 in at least 95 of 100 intervals, the mean near 0."""
    rng = np.random.default_rng(8)
    found = []
    for _ in range(100):
        x, y = generative.standardised(normal(rng, 30, 6), normal(rng, 30, 6))
        found.append(generative._compared(y, x, rng, 100, 3, 6)["kid"])
    values = np.array([one["value"] for one in found])
    assert np.mean([one["interval"][0] <= 0.0 <= one["interval"][1] for one in found]) >= 0.95
    assert abs(values.mean()) < 4.0 * values.std() / 10.0


def images(rng, count: int) -> np.ndarray:
    return rng.integers(0, 256, (count, 8, 8, 1), np.uint8)


def flat(image: np.ndarray) -> np.ndarray:
    return image[:, ::4, ::4, 0].reshape(len(image), -1) / 255.0


def test_judged_and_its_keys():
    rng = np.random.default_rng(9)
    synthetic, training, held_out = images(rng, 30) // 2, images(rng, 30), images(rng, 36)

    def again(draws=50):
        rng = np.random.default_rng(1)
        return generative.judged(flat, synthetic, held_out, rng, training=training, draws=draws)

    found = again()
    assert found == again()
    assert found["k"] == 3 and found["count"] == [30, 36] and found["real"]["count"] == [30, 36]
    expected = {"n": 30, "dim": 4, "n_over_dim": 7.5}
    assert {k: found["frechet"][k] for k in expected} == expected
    for row in (found, found["real"]):
        for name in ("kid", "frechet", *NAMES):
            low, high = row[name]["interval"]
            assert low <= row[name]["value"] <= high, name
    # Darker images are further from the held-out ones than other real images.
    assert found["kid"]["interval"][0] > max(found["real"]["kid"]["value"], 0.0)
    assert found["frechet"]["value"] > 2.0 * found["real"]["frechet"]["value"]
    without = again(draws=0)["kid"]
    assert without["value"] == pytest.approx(found["kid"]["value"]) and without["interval"] is None
    named = generative.keys("pixels", found)
    assert named["kernel_pixels_distance_mean"] == found["kid"]
    assert named["frechet_pixels_distance_real"] == found["real"]["frechet"]
    assert named["coverage_pixels"] == found["coverage"] and len(named) == 12


def test_a_share_of_all_or_none_has_an_interval():
    rng = np.random.default_rng(10)
    found = generative.judged(
        flat, images(rng, 30) // 16, images(rng, 36) // 2 + 128, rng, draws=50
    )
    assert found["precision"]["value"] == 0.0
    assert found["precision"]["interval"] == pytest.approx([0.0, 0.1135], abs=1e-4)


def test_standardised():
    """Columns that are constant in real images neither vanish nor drown the others."""
    rng = np.random.default_rng(11)
    real = np.column_stack(
        [rng.normal(5.0, 2.0, 500), rng.normal(0.0, 2.0, 500), np.full(500, 7.0)]
    )
    one, two = generative.standardised(real, real + 1.0)
    np.testing.assert_allclose(one.mean(axis=0), 0.0, atol=1e-6)
    np.testing.assert_allclose(one.std(axis=0), [1.0, 1.0, 0.0], atol=1e-6)
    rms = np.sqrt(np.square(real.std(axis=0)).mean())
    np.testing.assert_allclose(
        (two - one)[0], 1.0 / np.append(real.std(axis=0)[:2], 0.1 * rms), rtol=1e-5
    )
    same, shifted = generative.standardised(np.ones((9, 2)), np.full((9, 2), 3.0))
    assert (same == 0.0).all() and (shifted == 2.0).all()


@pytest.mark.parametrize(
    "x, y, message",
    [
        (np.zeros((7, 3)), np.zeros((9, 3)), "N at least 8"),
        (np.zeros((9, 3)), np.zeros((9, 2)), r"shapes \[9, 3\], \[9, 2\]: expected \[N, D\] with"),
        (np.zeros((9, 3, 1)), np.zeros((9, 3, 1)), "expected"),
        (np.zeros((9, 3)), np.full((9, 3), np.nan), "NaN or infinite"),
    ],
)
def test_refuses(x, y, message):
    with pytest.raises(DataError, match=message):
        generative.kernel_distance(x, y)
    with pytest.raises(DataError, match=message):
        generative.neighbours(x, y, 3)


@pytest.mark.slow
def test_ten_thousand_images_in_bounded_memory(optimised):
    """One float32 matrix of all pairs alone would take 381 MiB, and there would be nine."""
    rng = np.random.default_rng(12)
    x, y = normal(rng, 10_000, 64), normal(rng, 10_000, 64)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = generative._compared(x, y, rng, 100, 5, 16)
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert more < 600, f"{more:.0f} MiB"
    low, high = found["kid"]["interval"]
    assert low < 0.0 < high and high - low < 1e-3
