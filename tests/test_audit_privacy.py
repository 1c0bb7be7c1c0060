"""Near-copies counted: planted ones are found, images of a third set are not, twins mislead
nobody. Phantoms stand for images; where copies are made, no generator was trained."""

import jax
import numpy as np
import pytest

from jaxbrain.audit import membership, privacy
from jaxbrain.data import load_data, phantom
from jaxbrain.errors import DataError


def draw(seed: int, per_class: int) -> np.ndarray:
    return np.asarray(phantom.dataset(jax.random.key(seed), per_class, 32).image)


@pytest.fixture(scope="module")
def sets():
    """120 training, 60 held-out images and 60 of a third set."""
    image = np.random.default_rng(0).permutation(draw(0, 120))
    return image[:120], image[120:180], image[180:]


def moved(image, down, right, mode):
    side = image.shape[1]
    wide = np.pad(image, ((0, 0), (2, 2), (2, 2), (0, 0)), mode=mode)
    return wide[:, 2 - down : 2 - down + side, 2 - right : 2 - right + side]


def test_replays_changed_copies_and_a_third_set(sets):
    training, held_out, third = sets
    rng = np.random.default_rng(1)
    found = privacy.copied(training, training, held_out, rng)
    assert found["value"] == 1.0 and found["interval"] == [1.0, 1.0]
    assert found["distance"].max() == 0.0
    np.testing.assert_array_equal(found["nearest"], np.arange(120))
    among = privacy.kept(training, held_out)
    for down, right, mode in ((2, 2, "constant"), (-2, 0, "edge"), (1, -2, "constant")):
        copy = moved(training, down, right, mode)[:, :, ::-1]
        copy = np.clip(0.8 * copy + 10, 0, 255).astype(np.uint8)
        found = privacy.copied(copy, training, held_out, rng, among=among, draws=100)
        assert found["value"] >= 0.95, (down, right, mode)
    found = privacy.copied(third, training, held_out, rng, among=among)
    low, high = found["interval"]
    assert found["value"] <= 0.25 and low <= found["value"] <= high < 0.4
    assert found["expected"] == pytest.approx(3 / 61) and found["held_out"] == 60
    assert found["threshold"] == np.sort(found["held_out_distance"])[2]
    assert (np.diff(found["distance"][found["order"]]) >= 0).all()


def test_a_mixture_is_measured(sets):
    training, held_out, third = sets
    mixed = np.concatenate([training[:30], third[:30]])
    found = privacy.copied(mixed, training, held_out, np.random.default_rng(0))
    assert 0.5 <= found["value"] <= 0.62
    assert found["interval"][0] > 0.3 and found["interval"][1] < 0.8
    assert set(found["order"][:30]) == set(range(30))


def test_the_threshold_is_an_order_statistic():
    distance = np.random.default_rng(0).permutation(np.arange(1.0, 100.0))
    assert privacy.near(distance) == (5.0, pytest.approx(0.05))
    assert privacy.near(distance[:40])[1] == pytest.approx(2 / 41)
    assert privacy.near(np.array([3.0, 2.0])) == (2.0, pytest.approx(1 / 3))
    # Of new numbers like the others no more than it says fall below it, on average.
    rng = np.random.default_rng(1)
    share = np.mean([privacy.near(rng.random(40))[0] for _ in range(4000)])
    assert share == pytest.approx(2 / 41, abs=0.003)


def test_held_out_copies_are_left_out_and_counted(sets):
    """Exact, mirrored, and gain-changed copies; a twin among themselves."""
    training, held_out, _ = sets
    training = np.concatenate([training, training[:5]])
    copies = [training[:3], training[3:6, :, ::-1], training[6:8] // 2 + 30]
    spoiled = np.concatenate([*copies, held_out[:20], held_out[:2]])
    found = privacy.kept(training, spoiled)
    assert (found.twins, found.copies, found.held_out_twins) == (5, 8, 2)
    np.testing.assert_array_equal(found.held_out, np.arange(8, 28))
    np.testing.assert_array_equal(found.members, np.arange(8, 120))
    np.testing.assert_array_equal(found.group[:5], found.group[120:])
    with pytest.raises(DataError, match="8 held-out images, of which 8 are copies"):
        privacy.kept(training, spoiled[:8])


def test_twins_make_copies_pass_for_authentic_unless_groups_say_so(sets):
    """A training image with a twin has its neighbour at 0, so that a copy of it, a little
    changed, is farther away than that."""
    training, held_out, third = sets
    rng = np.random.default_rng(0)
    noise = rng.normal(size=training.shape)
    copy = np.clip(training + 4 * noise, 0, 255).astype(np.uint8)
    twinned = np.concatenate([training, training])
    group = privacy.kept(twinned, held_out).group
    blind, seeing = (
        privacy.authentic(copy, twinned, rng, group=one, draws=100)["value"]
        for one in (None, group)
    )
    assert blind == 1.0 and seeing == 0.0
    found = privacy.copied(copy, twinned, held_out, rng, draws=10)
    again = privacy.authentic(
        copy, twinned, rng, group=group, found=(found["distance"], found["nearest"])
    )
    assert again["value"] == 0.0 and again["interval"] == [0.0, 0.0]
    # Other images are farther from a training image than that one from its neighbour, mostly.
    found = privacy.authentic(third, training, rng)
    assert 0.3 < found["value"] <= 1.0 and found["interval"][0] <= found["value"]
    with pytest.raises(DataError, match="expected at least 2 groups"):
        privacy.authentic(copy, training[:1], rng)


def test_planted_images_are_found_where_a_replay_stands_for_a_gan(sets):
    """Canaries: training images with a bright square of their own, which a stand-in for a
    generator that memorised gives back with noise; all else that it draws is new."""
    training, held_out, third = sets
    rng = np.random.default_rng(0)
    training = training.copy()
    for i in range(6):
        training[i, 4 * i + 2 : 4 * i + 8, 20 - 3 * i : 27 - 3 * i] = 255
    noise = rng.normal(size=training[:6].shape)
    drawn = np.concatenate([third[:40], np.clip(training[:6] + 5 * noise, 0, 255).astype(np.uint8)])
    found = privacy.copied(drawn, training, held_out, rng)
    assert sorted(found["order"][:6]) == list(range(40, 46))
    assert found["distance"][40:].max() < 0.02 < found["threshold"]
    np.testing.assert_array_equal(found["nearest"][40:], np.arange(6))
    told = membership.by_distance(drawn, training[:6], held_out, rng)
    assert told["value"] > 0.95 and told["tpr_at"]["value"] > 0.9


@pytest.mark.slow
def test_the_bars_on_real_images(kaggle, optimised):
    data, _ = load_data(kaggle, dedup="group", image_size=64)
    rng = np.random.default_rng(0)
    names = rng.permutation(np.unique(data.group))
    training, held_out, third = (
        data.image[np.isin(data.group, part)] for part in np.split(names, [110, 160])
    )
    among = privacy.kept(training, held_out)
    how = {"among": among, "draws": 300}
    assert privacy.copied(training, training, held_out, rng, **how)["value"] >= 0.99
    for down, right, mode in ((2, 2, "constant"), (-2, 0, "edge"), (0, -2, "constant")):
        copy = moved(training, down, right, mode)[:, :, ::-1]
        assert privacy.copied(copy, training, held_out, rng, **how)["value"] >= 0.95
    assert privacy.copied(third, training, held_out, rng, **how)["value"] <= 0.25
    low, high = membership.by_distance(third, training, held_out, rng, **how)["interval"]
    assert low <= 0.5 <= high
