"""The cells of a search, and its arms: what is inside what, what an arm changes, refusals."""

import dataclasses
from functools import partial

import jax
import numpy as np
import pytest
from conftest import change, small

from jaxbrain import config
from jaxbrain.config.studies import SearchConfig
from jaxbrain.data import phantom
from jaxbrain.errors import ConfigError, DataError
from jaxbrain.study import arms, nested, protocols
from jaxbrain.study.methods import CLASSIFIERS, Classifier
from jaxbrain.study.study import Study, study

KEY = jax.random.key(0)
LABEL = np.repeat(np.int32([0, 1]), 24)
# Twins of one label, and some that are alone.
GROUP = np.int32([i // 2 if i % 24 < 12 else 100 + i for i in range(48)])


def planned(options, names, inner_folds=3, label=LABEL, key=KEY):
    fits, cells = nested.plan(inner_folds, small(), options.study(names), label, GROUP, key)
    assert fits == []
    return cells


def test_inner_folds_deal_the_training_images_alone():
    options = SearchConfig(seeds=2, folds=4, inner_folds=3, shuffled=True)
    cells = planned(options, ("ridge", "nn1"))
    # Of each arm 2 seeds x 2 kinds of labels x 4 folds, each with 3 inner ones.
    assert len(cells) == 2 * 2 * 2 * 4 * (1 + 3)
    outer = {(c.classifier, c.labels, c.seed, c.fold): c for c in cells if c.protocol == "P3"}
    tested = {place: [] for place in outer}
    for cell in (c for c in cells if c.protocol == "inner"):
        place = cell.classifier, cell.labels, cell.seed, cell.fold // 3
        around = outer[place]
        assert set(cell.train) | set(cell.test) == set(around.train)
        assert not set(GROUP[cell.train]) & set(GROUP[cell.test])
        assert not set(GROUP[cell.train]) & set(GROUP[around.test])
        # Stratified: both classes are tested, nearly alike.
        assert np.bincount(cell.label[cell.test], minlength=2).min() >= 3
        tested[place] += cell.test.tolist()
    for place, images in tested.items():
        assert sorted(images) == outer[place].train.tolist()
    names = [c.name for c in cells]
    assert len(set(names)) == len(names)
    assert "inner/none/ridge/true/1/11" in names and "P3/none/nn1/shuffled/0/3" in names


def test_every_arm_has_the_folds_of_the_ladder():
    options = SearchConfig(seeds=2, folds=4)
    by_arm = {}
    for cell in planned(options, ("ridge", "nn1", "cnn")):
        own = by_arm.setdefault(cell.classifier, [])
        own.append((cell.protocol, cell.seed, cell.fold, cell.train.tolist(), cell.test.tolist()))
    assert by_arm["ridge"] == by_arm["nn1"] == by_arm["cnn"]
    # Alone, and without what is inside, an arm has the same ones.
    alone = planned(options, ("cnn",))
    found = [(c.train.tolist(), c.test.tolist()) for c in alone]
    assert found == [one[3:] for one in by_arm["cnn"]]
    _, ladder = protocols.plan(small(), options.study(("cnn",)), LABEL, GROUP, KEY)
    outer = [c.test.tolist() for c in alone if c.protocol == "P3"]
    assert outer == [c.test.tolist() for c in ladder]
    other = planned(options, ("cnn",), key=jax.random.key(1))
    assert [c.test.tolist() for c in other] != [c.test.tolist() for c in alone]


def test_a_training_set_too_small_for_its_inner_folds():
    label = np.repeat(np.int32([0, 1]), [44, 4])
    with pytest.raises(DataError, match=r"inner folds of seed 0, fold \d: class 1: fold .*fewer"):
        planned(SearchConfig(folds=2), ("ridge",), inner_folds=6, label=label)


@pytest.mark.parametrize("field, value", [("inner_folds", 1), ("folds", 1), ("seeds", 0)])
def test_numbers_of_folds_are_refused(field, value):
    with pytest.raises(ConfigError, match=f"{field} is {value}: expected a whole number from"):
        SearchConfig(**{field: value})


def test_inner_trainings_are_padded_among_themselves():
    """An inner training makes the updates of the longest inner training set, not of an outer."""
    cfg = small()
    data = phantom.dataset(KEY, 24, 16, 0.5)
    options = SearchConfig(folds=3, inner_folds=2).study(("cnn",))
    own = Study(cfg, data, KEY, options=options, planner=partial(nested.plan, 2))
    lengths = {c.protocol: own.shared.lengths(c)[0] for c in own.cells}
    assert lengths == {"inner": 16, "P3": 32}
    steps = {p: own.shared.classifiers["cnn"].steps(cfg, n) for p, n in lengths.items()}
    # Two epochs of batches of 5, the last one dropped.
    assert steps == {"inner": 6, "P3": 12}


def test_an_arm_trains_as_its_configuration_says():
    """An arm's answers are those of a study with that configuration, bit for bit."""
    cfg, fields = small(), {"cnn.filters": [4, 5], "classifier.optim.learning_rate": 1e-3}
    given = {"mine": {"classifier": "cnn", **fields}, "cnn": {"classifier": "cnn"}}
    made = arms.classifiers(cfg, given)
    assert [one.name for one in made] == ["mine", "cnn"]
    assert made[1] is CLASSIFIERS["cnn"]
    data, options = phantom.dataset(KEY, 12, 16, 0.5), SearchConfig(folds=2, inner_folds=2)
    how = {"options": options.study(("mine", "cnn")), "planner": partial(nested.plan, 2)}
    found = {a.cell.name: a.p for a in study(cfg, data, KEY, classifiers=made, **how)}
    rate = dataclasses.replace(cfg.classifier.optim, learning_rate=1e-3)
    own = change(change(cfg, "cnn", filters=(4, 5)), "classifier", optim=rate)
    named = dataclasses.replace(CLASSIFIERS["cnn"], name="mine")
    alone = list(study(own, data, KEY, classifiers=[named], **how))
    assert len(alone) == 2 * (1 + 2)
    for answer in alone:
        np.testing.assert_array_equal(found[answer.cell.name], answer.p)


def test_an_arm_on_the_host_is_told_its_configuration():
    seen = []

    def fit_predict(cfg, train, weight, test, key):
        seen.append((cfg.classifier.epochs, cfg.data.num_classes))
        return np.full((len(test), 2), 0.5)

    mine = Classifier("mine", fit_predict)
    given = {"a": {"classifier": mine, "classifier.epochs": 7}, "b": {"classifier": mine}}
    made = arms.classifiers(small(), given)
    options = SearchConfig(folds=2, inner_folds=2).study(("a", "b"))
    data = phantom.dataset(KEY, 8, 16, 0.5)
    list(study(small(), data, KEY, options=options, classifiers=made))
    assert sorted(set(seen)) == [(2, 2), (7, 2)]
    assert arms.settings(given)["a"] == {"classifier": "mine", "classifier.epochs": 7}


@pytest.mark.parametrize("preset", ["tiny", "cpu", "recommended", "paper"])
def test_default_arms_of_every_preset(preset):
    cfg = getattr(config, preset)()
    given = arms.default(cfg)
    assert len(given) == 8
    assert [one.name for one in arms.classifiers(cfg, given)] == list(given)
    half = given["cnn_lstm_half_width"]["cnn.filters"]
    assert all(2 <= n / m <= 3 or n / m == 1.5 for n, m in zip(cfg.cnn.filters, half, strict=True))
    assert given["cnn_lstm_half_epochs"]["classifier.epochs"] == cfg.classifier.epochs // 2


NET = "cnn_lstm_rows"


@pytest.mark.parametrize(
    "arm, message",
    [
        ({}, r"is {}: expected {'classifier': name, ..}"),
        ("ridge", r"is 'ridge': expected {'classifier'"),
        ({"classifier": "svm"}, "classifiers has 'svm': expected some of"),
        (
            {"classifier": NET, "cnn.filter": [1, 2]},
            "unknown field cnn.filter: did you mean cnn.fil",
        ),
        ({"classifier": NET, "classifier.batch-size": 3}, "did you mean classifier.batch_size"),
        (
            {"classifier": NET, "x": 3},
            "unknown field x: expected fields of cnn, hybrid, classifier",
        ),
        ({"classifier": NET, "data.image_size": 32}, "data.image_size is the same for all arms"),
        ({"classifier": NET, "intervals": 3}, "intervals is the same for all arms"),
        (
            {"classifier": NET, "classifier.epochs": 2.5},
            "classifier.epochs is 2.5: expected a whole",
        ),
        (
            {"classifier": NET, "classifier.epochs": True},
            "classifier.epochs is True: expected a who",
        ),
        ({"classifier": NET, "cnn.filters": 8}, "cnn.filters is 8: expected whole numbers"),
        ({"classifier": NET, "cnn.pool": {"a": 1}}, "cnn.pool is {'a': 1}: expected one value"),
        (
            {"classifier": NET, "classifier.augment": "hard"},
            "classifier.augment is 'hard': expected",
        ),
        (
            {"classifier": NET, "hybrid.sequence": "scalar"},
            "expected none, since cnn_lstm_rows make",
        ),
        ({"classifier": "cnn", "classifier.mode": "end_to_end"}, "since cnn makes it 'cnn'"),
        ({"classifier": "ridge", "classifier.epochs": 3}, "ridge reads no field of cnn, hybrid or"),
        ({"classifier": "cnn", "hybrid.hidden_size": 3}, "expected none, since cnn has no LSTM"),
    ],
)
def test_arms_that_cannot_be_are_refused_by_name(arm, message):
    with pytest.raises(ConfigError, match=message) as caught:
        arms.classifiers(small(), {"first": arm, "nn1": {"classifier": "nn1"}})
    assert str(caught.value).startswith("arm 'first': ")


@pytest.mark.parametrize(
    "name, arm, message",
    [
        ("a b", {"classifier": "ridge"}, "name is 'a b': expected letters"),
        ("chosen", {"classifier": "ridge"}, "that name is of the nested answers"),
        ("nn1", {"classifier": "ridge"}, "a built-in method has that name, and this is ridge"),
        ("cnn", {"classifier": "cnn", "classifier.epochs": 1}, "has that name, and this is not it"),
    ],
)
def test_names_of_arms(name, arm, message):
    with pytest.raises(ConfigError, match=message):
        arms.classifiers(small(), {name: arm, "other": {"classifier": "ridge"}})


@pytest.mark.parametrize(
    "text, message",
    [
        ("{", "f.json: is no JSON"),
        ("[]", "f.json: holds a list: expected {arm name"),
        ('{"a": {}, "a": {}}', "f.json: 'a' comes twice"),
        ('{"a": {"classifier": "ridge", "classifier": "nn1"}}', "f.json: 'classifier' comes twice"),
    ],
)
def test_files_of_arms(text, message):
    with pytest.raises(ConfigError, match=message):
        arms.parsed(text, "f.json")


def test_one_arm_is_no_search():
    with pytest.raises(ConfigError, match="arms has 1: expected two arms or more"):
        arms.classifiers(small(), {"ridge": {"classifier": "ridge"}})
    with pytest.raises(ConfigError, match="arms is a list"):
        arms.classifiers(small(), [])


def test_an_endless_file_is_refused():
    with pytest.raises(ConfigError, match="arms f: is no JSON of arms"):
        arms.parsed("[" * 100_000, "arms f")
