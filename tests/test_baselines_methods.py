"""Table 4's methods: what they select, how they train, and that folds do not leak."""

import itertools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats

from jaxbrain.baselines import heads, methods
from jaxbrain.config import OptimConfig
from jaxbrain.data import phantom
from jaxbrain.errors import ConfigError
from jaxbrain.nn.mlp import MLP
from jaxbrain.training.loops import split_key

pytest.importorskip("skimage", reason="needs jaxbrain[baselines]")
sklearn_svm = pytest.importorskip("sklearn.svm", reason="needs jaxbrain[baselines]")


def table(seed=0, rows=60, columns=40):
    """Columns 3, 7 and 11 tell the classes apart; column 5 does not vary."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, rows).astype(np.int32)
    x = rng.normal(size=(rows, columns)) * rng.uniform(0.1, 1000, columns) + 50
    for column, gap in ((3, 3.0), (7, 1.5), (11, 2.0)):
        x[:, column] += gap * label * x[:, column].std()
    x[:, 5] = 4.25
    return x, label


def test_most_different_are_the_smallest_p_values():
    x, label = table()
    got = methods.most_different(x, label, 6)
    p = []
    for column in x.T:
        one, two = column[label == 0], column[label == 1]
        a, b = one.var(ddof=1) / len(one), two.var(ddof=1) / len(two)
        if a + b == 0:
            p.append(1.0)
            continue
        t = (one.mean() - two.mean()) / np.sqrt(a + b)
        freedom = (a + b) ** 2 / (a**2 / (len(one) - 1) + b**2 / (len(two) - 1))
        p.append(2 * scipy.stats.t.sf(abs(t), freedom))
    assert got.tolist() == sorted(np.argsort(p, kind="stable")[:6].tolist())
    assert {3, 7, 11} <= set(got.tolist())


def test_correlated_columns_have_the_largest_merit():
    """Each step against all candidates, correlations from NumPy's corrcoef."""
    x, label = table(1, columns=12)
    x[:, 8] = x[:, 3] + 0.1 * x[:, 3].std() * np.sin(np.arange(60))  # nearly a copy
    got = methods.correlated(x, label, 5).tolist()
    kept = [c for c in range(12) if c != 5]

    def merit(columns):
        with_label = [abs(np.corrcoef(x[:, c], label)[0, 1]) for c in columns]
        pairs = itertools.combinations(columns, 2)
        among = [abs(np.corrcoef(x[:, a], x[:, b])[0, 1]) for a, b in pairs]
        return sum(with_label) / np.sqrt(len(columns) + 2 * sum(among))

    chosen = []
    for _ in range(5):
        best = max((c for c in kept if c not in chosen), key=lambda c: merit([*chosen, c]))
        chosen.append(best)
    assert got == chosen


def test_columns_without_a_spread_are_chosen_last():
    """Also beside copies of one another, which add nothing to the merit."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 60).astype(np.int32)
    x = label[:, None] + 0.3 * rng.normal(size=(60, 12))
    x[:, [4, 9]] = 4.25, 0.1
    assert not {4, 9} & set(methods.correlated(x, label, 9).tolist())
    assert not {4, 9} & set(methods.most_different(x, label, 9).tolist())
    assert set(methods.correlated(x, label, 12).tolist()) == set(range(12))
    # In a test row they may hold anything.
    for name in ("ann", "svm", "mlp"):
        fit_predict, key = getattr(methods, name), jax.random.key(0)
        want = fit_predict(x[:40], label[:40], x[40:], 2, key)
        other = x[40:] + np.where(np.arange(12) == 4, 1e4, 0.0)
        np.testing.assert_array_equal(fit_predict(x[:40], label[:40], other, 2, key), want)


def test_a_column_that_is_the_label_is_chosen():
    x, label = table(5)
    x[:, 20] = 0.1 + 0.2 * label
    assert 20 in methods.most_different(x, label, 1)
    assert 20 in methods.correlated(x, label, 1)


@pytest.mark.parametrize("name", ["ann", "svm", "mlp"])
def test_they_learn_what_can_be_learnt(name, key):
    x, label = table(2, rows=90)
    p = getattr(methods, name)(x[:60], label[:60], x[60:], 2, key)
    assert p.shape == (30, 2) and p.dtype == np.float64
    assert ((0 <= p) & (p <= 1)).all()
    np.testing.assert_allclose(p.sum(axis=1), 1.0, rtol=1e-6)
    assert (p.argmax(axis=1) == label[60:]).mean() >= 0.8


def of_four(rows=120):
    """Four classes; each has a column of its own that tells it from the rest."""
    rng = np.random.default_rng(6)
    label = rng.integers(0, 4, rows).astype(np.int32)
    x = rng.normal(size=(rows, 40))
    x[:, [3, 7, 11, 15]] += 4.0 * np.eye(4)[label]
    return x, label


@pytest.mark.parametrize("name", ["ann", "svm", "mlp"])
def test_they_learn_several_classes(name, key):
    x, label = of_four()
    # A fifth class has no image.
    p = getattr(methods, name)(x[:80], label[:80], x[80:], 5, key)
    assert p.shape == (40, 5) and p.dtype == np.float64
    np.testing.assert_allclose(p.sum(axis=1), 1.0, rtol=1e-6)
    assert (p.argmax(axis=1) == label[80:]).mean() >= 0.85
    assert p[:, 4].mean() < 0.1


def test_columns_of_several_classes():
    """Of each class against the rest, by their frequencies; of two as of the label alone."""
    x, label = of_four()
    assert set(methods.correlated(x, label, 4, 4).tolist()) == {3, 7, 11, 15}
    two = (label > 1).astype(np.int32)
    one = methods.correlated(x, two, 9)
    np.testing.assert_array_equal(one, methods.correlated(x, two, 9, 2))


def test_several_machines_are_scikit_learns_one_by_one(key):
    x, label = of_four()
    got = methods.svm(x[:80], label[:80], x[80:], 4, key)
    z = (x - x[:80].mean(axis=0)) / x[:80].std(axis=0)
    each = []
    for k in range(4):
        chosen = methods.most_different(z[:80], label[:80] == k, 32)
        model = sklearn_svm.LinearSVC(C=1.0, dual=False, max_iter=10_000)
        score = model.fit(z[:80][:, chosen], label[:80] == k).decision_function(z[80:][:, chosen])
        each.append(1 / (1 + np.exp(-score)))
    want = np.stack(each, axis=1)
    np.testing.assert_allclose(got, want / want.sum(axis=1, keepdims=True), rtol=1e-6)


def test_one_logit_knows_two_classes(key):
    x = np.zeros((4, 32, 32, 1), np.uint8)
    with pytest.raises(
        ConfigError, match="vgg16_scratch has one logit.*expected two classes, .* 3"
    ):
        methods.method("vgg16_scratch").fit_predict(x, np.arange(4) % 3, x, 3, key)


def test_machines_of_one_class_alone(key):
    x, _ = of_four()
    p = methods.svm(x[:20], np.full(20, 2, np.int32), x[:5], 3, key)
    np.testing.assert_array_equal(p, np.tile([0.0, 0.0, 1.0], (5, 1)))


@pytest.mark.parametrize("name", ["ann", "svm", "mlp"])
def test_a_test_row_changes_nothing_for_others(name, key):
    """Scaling and selection are those of the training rows."""
    x, label = table(3)
    fit_predict = getattr(methods, name)
    whole = fit_predict(x[:40], label[:40], x[40:], 2, key)
    strange = x[40:].copy()
    strange[0] = 1e6
    np.testing.assert_array_equal(fit_predict(x[:40], label[:40], strange, 2, key)[1:], whole[1:])


def test_svm_is_scikit_learns_on_the_chosen_columns(key):
    x, label = table(4)
    got = methods.svm(x[:40], label[:40], x[40:], 2, key)[:, 1]
    spread = x[:40].std(axis=0)
    z = (x - x[:40].mean(axis=0)) / np.where(spread > 1e-9, spread, 1.0)
    chosen = methods.most_different(z[:40], label[:40], 32)
    model = sklearn_svm.LinearSVC(C=1.0, dual=False, max_iter=10_000)
    score = model.fit(z[:40][:, chosen], label[:40]).decision_function(z[40:][:, chosen])
    np.testing.assert_allclose(got, 1 / (1 + np.exp(-score)), rtol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_fit_equals_a_loop_in_optax(batch_size, key):
    """The same shuffles and updates, one by one; the last batch is not full."""
    module = MLP(3, "tanh")
    recipe = heads.Recipe(3, batch_size, OptimConfig("sgdm", 0.1, momentum=0.5, l2=1e-2))
    rng = np.random.default_rng(0)
    x, label = rng.normal(size=(10, 4)).astype(np.float32), rng.integers(0, 2, 10, np.int32)
    got = heads.fit(module, recipe, jnp.asarray(x), jnp.asarray(label), key)
    init_key, plan_key, _ = split_key(key)
    params = module.init(init_key, x[:1], False)["params"]
    mask = {"hidden": {"kernel": True, "bias": False}, "out": {"kernel": True, "bias": False}}
    rule = optax.chain(optax.add_decayed_weights(1e-2, mask=mask), optax.sgd(0.1, momentum=0.5))
    state = rule.init(params)
    for epoch in range(3):
        order = np.asarray(jax.random.permutation(jax.random.fold_in(plan_key, epoch), 10))
        for start in range(0, 10, batch_size):
            rows = order[start : start + batch_size]

            def loss(params, rows=rows):
                logits = module.apply({"params": params}, x[rows], True)
                each = optax.softmax_cross_entropy_with_integer_labels(logits, label[rows])
                return each.mean()

            updates, state = rule.update(jax.grad(loss)(params), state, params)
            params = optax.apply_updates(params, updates)
    chex_close(got, params)
    p = heads.probability(module, got, jnp.asarray(x))
    want = jax.nn.softmax(module.apply({"params": params}, x, False))
    np.testing.assert_allclose(p, want, rtol=1e-4)


def chex_close(got, want):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), got, want)


def test_a_head_on_frozen_features_trains_with_dropout(key):
    """Dense(1) behind dropout 0.5; another key is another training."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 2, 2, 8)).astype(np.float32)
    label = (x[:, 0, 0, 0] > 0).astype(np.int32)
    recipe = heads.Recipe(40, 8, OptimConfig("adam", 1e-2, l2=0.0))
    module = methods.Tumour()
    one = heads.fit_predict(module, recipe, x, label, x, key)
    assert one.shape == (30, 2) and (one.argmax(axis=1) == label).mean() > 0.9
    two = heads.fit_predict(module, recipe, x, label, x, jax.random.key(1))
    assert np.abs(one - two).max() > 1e-3
    np.testing.assert_array_equal(heads.fit_predict(module, recipe, x, label, x, key), one)


@pytest.mark.parametrize(
    "name, columns", [("glrlm_cslbp_ann", 278), ("radiomics_svm", 90), ("hbtc_mlp", 245)]
)
def test_features_of_images(name, columns):
    """Finite, one row an image whatever is beside it; and they tell phantoms apart."""
    data = phantom.dataset(jax.random.key(2), 10, 40, difficulty=0.0)
    image = np.asarray(data.image)
    features = methods.METHODS[name].features
    got = features(image)
    assert got.shape == (20, columns) and np.isfinite(got).all()
    # Blocks of eight: the fifth image of another block, alone.
    np.testing.assert_allclose(features(image[12:13])[0], got[12], rtol=1e-9, atol=1e-12)
    # A black image has no head; its frame is taken.
    assert np.isfinite(features(np.zeros((1, 40, 40, 1), np.uint8))).all()


def test_unknown_methods_are_refused():
    with pytest.raises(ConfigError, match="method is 'forest': expected glrlm_cslbp_ann"):
        methods.method("forest")
    with pytest.raises(ConfigError, match="expected a file of VGG-16's ImageNet weights"):
        methods.method("vgg16_transfer")


def test_without_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ConfigError, match=r"pip install 'jaxbrain\[baselines\]'"):
        methods.method("radiomics_svm")
