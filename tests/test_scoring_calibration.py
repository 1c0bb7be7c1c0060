"""Reliability, its error and temperatures, against plain loops and closed forms."""

import numpy as np
import pytest

from jaxbrain.scoring import calibration


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def drawn():
    """Logits of three classes, and labels that their softmax at a temperature of 2 gave."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(20_000, 3)) * 3
    true = softmax(z / 2.0)
    label = (rng.random(len(z))[:, None] > true.cumsum(axis=1)).sum(axis=1)
    return z, label


def test_the_temperature_that_made_the_labels_is_found(drawn):
    z, label = drawn
    assert calibration.temperature(softmax(z), label) == pytest.approx(2.0, abs=0.06)
    # Of probabilities that were right it is 1.
    assert calibration.temperature(softmax(z / 2.0), label) == pytest.approx(1.0, abs=0.03)
    # Surer where they were not sure enough.
    assert calibration.temperature(softmax(z / 8.0), label) == pytest.approx(0.25, abs=0.01)


def test_tempered_is_the_softmax_of_scaled_logits(drawn):
    z, _ = drawn
    np.testing.assert_allclose(
        calibration.tempered(softmax(z), 3.0), softmax(z / 3.0), rtol=1e-9, atol=1e-12
    )
    sure = calibration.tempered(np.float32([[1.0, 0.0]]), 2.0)
    assert sure[0, 0] == pytest.approx(1.0) and 0 < sure[0, 1] < 1e-15


def test_least_of_a_grid(drawn):
    z, label = drawn
    p, label = softmax(z)[:300], label[:300]
    grid = np.linspace(0.5, 5, 2000)
    losses = [-np.log(softmax(np.log(p) / t)[np.arange(len(label)), label]).mean() for t in grid]
    found = calibration.temperature(p, label)
    assert found == pytest.approx(grid[np.argmin(losses)], abs=0.005)
    assert calibration.nll(calibration.tempered(p, found), label) <= min(losses) + 1e-9


def test_ece_is_that_of_a_plain_loop(drawn):
    z, label = drawn
    p = softmax(z)
    sure, hit = p.max(axis=1), p.argmax(axis=1) == label
    wanted = 0.0
    for i in range(10):
        own = (sure > i / 10) & (sure <= (i + 1) / 10)
        if own.any():
            wanted += own.mean() * abs(hit[own].mean() - sure[own].mean())
    assert calibration.ece(p, label) == pytest.approx(wanted, rel=1e-9)
    assert wanted > 0.1 > 0.02 > calibration.ece(softmax(z / 2.0), label)


def test_bins_hold_what_they_say():
    p = np.float32([[0.3, 0.7], [0.0, 1.0], [0.65, 0.35], [0.5, 0.5]])
    found = calibration.reliability(p, np.int32([1, 1, 1, 0]))
    assert found.count.tolist() == [0, 0, 0, 0, 1, 0, 2, 0, 0, 1]
    assert found.accuracy[[4, 6, 9]].tolist() == [1.0, 0.5, 1.0]
    assert found.confidence[6] == pytest.approx(0.675)
    assert np.isnan(found.accuracy[0]) and (found.low[4], found.high[4]) == (0.4, 0.5)


def test_what_says_nothing_changes_nothing():
    p = np.asarray([[0.9, 0.1], [0.2, 0.8]])
    assert calibration.temperature(p, np.int32([0, 1])) == 1.0
    assert calibration.temperature(p, np.int32([1, 0])) == 1.0


def test_each_half_has_the_temperature_of_the_other(drawn):
    z, label = drawn
    p, label = softmax(z)[:400], label[:400]
    half = np.arange(400) % 2 == 0
    found = calibration.crossed(p, label, half)
    other = calibration.temperature(p[~half], label[~half])
    np.testing.assert_allclose(found[half], calibration.tempered(p[half], other))
    assert calibration.temperature(p[half], label[half]) != other
