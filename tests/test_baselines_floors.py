"""The floors against scikit-learn, the linear oracle against its own definition."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.gaussian_process.kernels import RBF
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from jaxbrain import load_folder
from jaxbrain.baselines import floors, linear


@pytest.fixture
def task():
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1], [30, 45]).astype(np.int32)
    train = rng.normal(size=(75, 12)) + 0.4 * label[:, None]
    return train, label, rng.normal(size=(20, 12))


def test_ridge(task):
    """Equal weights per class make it scikit-learn's; unequal ones, the plain solution."""
    train, label, test = task
    squared = pairwise_distances(train, metric="sqeuclidean")
    scale = np.median(squared[np.triu_indices(75, 1)])
    kernel = RBF(np.sqrt(scale / 2))
    weights = 0.1 * np.where(label == 1, 45 / 75, 30 / 75)
    want = kernel(test, train) @ np.linalg.solve(kernel(train) + np.diag(weights), 2 * label - 1)
    got = floors.ridge(train, label, test, 2)[:, 1]
    np.testing.assert_allclose(got, np.clip((want + 1) / 2, 0, 1), atol=1e-10)
    even, evenly = train[:60], label[:60]
    squared = pairwise_distances(even, metric="sqeuclidean")
    gamma = 1 / np.median(squared[np.triu_indices(60, 1)])
    model = KernelRidge(alpha=0.05, kernel="rbf", gamma=gamma).fit(even, 2.0 * evenly - 1)
    want = np.clip((model.predict(test) + 1) / 2, 0, 1)
    np.testing.assert_allclose(floors.ridge(even, evenly, test, 2)[:, 1], want, atol=1e-10)


def test_nn1(task):
    train, label, test = task
    model = KNeighborsClassifier(1, metric="correlation").fit(train, label)
    want = np.eye(2)[model.predict(test)]
    np.testing.assert_array_equal(floors.nn1(train, label, test, 2), want)


def test_metadata(task):
    train, label, test = task
    train, test = train * np.arange(1, 13), test * np.arange(1, 13)
    scaler = StandardScaler().fit(train)
    model = KNeighborsClassifier(5).fit(scaler.transform(train), label)
    want = model.predict_proba(scaler.transform(test))
    np.testing.assert_allclose(floors.metadata(train, label, test, 2), want)


def test_majority(task):
    train, label, test = task
    want = np.tile([0.4, 0.6, 0.0], (20, 1))
    np.testing.assert_allclose(floors.majority(train, label, test, 3), want)


@pytest.fixture
def four():
    """Four classes of 2, 10, 20 and 30 images; none of a fifth."""
    rng = np.random.default_rng(3)
    label = rng.permutation(np.repeat([0, 1, 2, 3], [2, 10, 20, 30])).astype(np.int32)
    train = rng.normal(size=(62, 9)) + 2.0 * np.eye(9)[label]
    truth = rng.integers(1, 4, 40)
    return train, label, rng.normal(size=(40, 9)) + 2.0 * np.eye(9)[truth], truth


@pytest.mark.parametrize("name", floors.FLOORS)
def test_several_classes(four, name):
    train, label, test, truth = four
    p = floors.FLOORS[name](train, label, test, 5)
    assert p.shape == (40, 5) and p.dtype == np.float64
    assert (p >= 0).all() and p[:, 4].max() < 0.2
    np.testing.assert_allclose(p.sum(axis=1), 1.0)
    share = (p.argmax(axis=1) == truth).mean()
    assert share > 0.6 or (name == "majority" and share == (truth == 3).mean())


def test_several_classes_are_told_one_against_the_rest(four):
    """Ridge: the two-class scores of each class, over their sum. Neighbours: their share."""
    train, label, test, _ = four
    weights = 0.1 * np.bincount(label)[label] / 62
    squared = pairwise_distances(train, metric="sqeuclidean")
    scale = np.median(squared[np.triu_indices(62, 1)])
    kernel = np.exp(-squared / scale) + np.diag(weights)
    away = np.exp(-pairwise_distances(test, train, metric="sqeuclidean") / scale)
    targets = 2.0 * np.eye(4)[label] - 1
    want = np.clip((1 + away @ np.linalg.solve(kernel, targets)) / 2, 0, 1)
    want /= want.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(floors.ridge(train, label, test, 4), want, atol=1e-10)
    model = KNeighborsClassifier(5).fit(train / train.std(axis=0), label)
    want = model.predict_proba(test / train.std(axis=0))
    np.testing.assert_allclose(floors.metadata(train, label, test, 4), want)
    model = KNeighborsClassifier(1, metric="correlation").fit(train, label)
    np.testing.assert_array_equal(
        floors.nn1(train, label, test, 4).argmax(axis=1), model.predict(test)
    )


def test_shares_of_nothing_are_equal():
    p = floors.shares(np.array([[0.0, 0.0, 0.0], [0.5, 1.0, 0.5]]))
    np.testing.assert_allclose(p, [[1 / 3] * 3, [0.25, 0.5, 0.25]])
    assert list(floors.one_against_rest(2)) == [1]
    assert list(floors.one_against_rest(3)) == [0, 1, 2]


def test_metadata_alone_beats_chance_on_the_kaggle_files(kaggle):
    """About 74 % from the files' sizes, modes, borders and brightness."""
    data, records = load_folder(kaggle, image_size=8)
    features = floors.file_features(records)
    assert features.shape == (253, 6 + len(set(records.mode)))
    order = np.random.default_rng(0).permutation(253)
    hits = []
    for test in np.array_split(order, 5):
        train = np.setdiff1d(order, test)
        p = floors.metadata(features[train], data.label[train], features[test], 2)
        hits.extend(p.argmax(axis=1) == data.label[test])
    assert 0.68 < np.mean(hits) < 0.82


def test_linear_oracle_has_the_mean_and_variance_of_its_components():
    rng = np.random.default_rng(1)
    mix = rng.normal(size=(50, 200)) * 0.02
    train = rng.normal(size=(90, 50)) @ mix + 0.1
    label = np.repeat([0, 1], 45).astype(np.int32)
    wanted = np.repeat([0, 1], [20_000, 3]).astype(np.int32)
    drawn = linear.draw(train, label, wanted, np.random.default_rng(2))
    assert drawn.shape == (20_003, 200)
    own = train[:45]
    model = PCA(30).fit(own)
    score = model.transform(drawn[:20_000])
    np.testing.assert_allclose(score.mean(0), 0, atol=0.05 * np.sqrt(model.explained_variance_[0]))
    np.testing.assert_allclose(score.var(0), model.explained_variance_, rtol=0.06)
    # Nothing outside the 30 components.
    np.testing.assert_allclose(model.inverse_transform(score), drawn[:20_000], atol=1e-9)


def test_linear_oracle_of_one_image_repeats_it_and_stays_in_range():
    train = np.array([[0.5, -2.0], [0.1, 0.2], [0.3, 0.9]])
    drawn = linear.draw(train, np.int32([0, 1, 1]), np.int32([0, 0, 1]), np.random.default_rng(0))
    np.testing.assert_allclose(drawn[:2], [[0.5, -1.0]] * 2)
    assert np.abs(drawn).max() <= 1


@pytest.mark.parametrize("count", [20, 60])
def test_the_linear_oracle_spreads_as_its_training_images_do(count):
    """Fewer images than pixels, and more: the same covariance, of 30 components."""
    rng = np.random.default_rng(count)
    train = 0.02 * rng.normal(size=(count, 40)) @ rng.normal(size=(40, 40))
    train = np.clip(train, -0.5, 0.5)
    wanted = np.zeros(200, np.int32)
    drawn = linear.draw(train, np.zeros(count, np.int32), wanted, np.random.default_rng(1))
    rank = min(30, count - 1)
    z = np.random.default_rng(1).standard_normal((200, rank))
    centred = train - train.mean(axis=0)
    spread = np.linalg.lstsq(z, drawn - train.mean(axis=0), rcond=None)[0]
    _, values, vectors = np.linalg.svd(centred, full_matrices=False)
    kept = vectors[:rank] * (values[:rank] / np.sqrt(count - 1))[:, None]
    assert np.abs(drawn).max() < 1.0
    np.testing.assert_allclose(spread.T @ spread, kept.T @ kept, rtol=1e-6, atol=1e-9)


def test_the_median_above_the_diagonal():
    distances = np.array([[0.0, 1.0, 5.0], [1.0, 0.0, 2.0], [5.0, 2.0, 0.0]])
    assert floors.median_apart(distances) == 2.0
    assert floors.median_apart(np.zeros((3, 3))) == floors.median_apart(np.zeros((1, 1))) == 1.0
