"""Methods are values: what they must hold, how they are named, users' own from the command line."""

import contextlib
import io
import json
import sys

import jax
import numpy as np
import pytest
from conftest import rows, small

from jaxbrain import phantom
from jaxbrain.commands import ladder as entry
from jaxbrain.data.records import from_arrays
from jaxbrain.errors import ConfigError, DataError
from jaxbrain.runs.ladder import ladder
from jaxbrain.runs.table4 import table4
from jaxbrain.study import choose, methods
from jaxbrain.study.methods import Classifier, Generator
from jaxbrain.study.protocols import StudyConfig
from jaxbrain.study.study import study

OWN = '''
"""Jittered copies of training images, and the nearest neighbour."""

import jax
import numpy as np

from jaxbrain.study.methods import Classifier, Generator


def fit_sample(cfg, train, label, key):
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    image, told = np.asarray(train.image), np.asarray(train.label)
    rows = [rng.choice(np.flatnonzero(told == k)) for k in np.asarray(label)]
    noise = rng.normal(0.0, 4.0, (len(rows), *image.shape[1:]))
    return np.clip(image[rows] + noise, 0, 255).astype(np.uint8)


def fit_predict(cfg, train, weight, test, key):
    def flat(image):
        rows = np.asarray(image, np.float32).reshape(len(image), -1)
        rows = rows - rows.mean(axis=1, keepdims=True)
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)

    nearest = (flat(test) @ flat(train.image).T).argmax(axis=1)
    return np.eye(cfg.data.num_classes, dtype=np.float32)[np.asarray(train.label)[nearest]]


jitter = Generator("jitter", fit_sample)
neighbour = Classifier("neighbour", fit_predict)
number = 3
'''


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module of one's own in the working directory, by a name no other test imports."""
    name = f"own_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    yield name
    sys.modules.pop(name, None)


def main(*arguments) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        entry.main([*map(str, arguments), "--cache", "off"])
    return out.getvalue()


def test_own_methods_run_through_every_protocol(module, tmp_path):
    own = ["--generators", f"{module}:jitter", "none"]
    own += ["--classifiers", "ridge", f"{module}:neighbour", "--seeds", "2"]
    main(*own, "--workdir", "run", "--data.n-per-class", "60")
    results = json.loads((tmp_path / "run" / "ladder.json").read_text())
    assert results["generators"] == ["jitter", "none"]
    assert results["classifiers"] == ["ridge", "neighbour"]
    accuracy = {
        (c["protocol"], c["generator"], c["classifier"], c["labels"]): c["accuracy"]
        for c in results["cells"]
    }
    for classifier in ("ridge", "neighbour"):
        cells = {p: accuracy[p, "jitter", classifier, "true"] for p in ("P0", "P1", "P2", "P3")}
        # A third of the phantoms are copies, and the generator copies: leaks are worth much.
        assert cells["P0"] - cells["P3"] > 0.1 and cells["P1"] - cells["P3"] > 0.1
        assert accuracy["P0", "jitter", classifier, "shuffled"] > 0.8
        assert abs(accuracy["P3", "jitter", classifier, "shuffled"] - 0.5) < 0.15
    # Without near-duplicates across the split its copies add nothing to a nearest neighbour.
    neighbour = [accuracy["P3", name, "neighbour", "true"] for name in ("jitter", "none")]
    assert neighbour[0] == neighbour[1]
    assert "already complete" in main(*own, "--workdir", "run", "--data.n-per-class", "60")
    # The same names for other code are another study.
    path = tmp_path / f"{module}.py"
    path.write_text(path.read_text() + "\n# changed\n")
    with pytest.raises(ConfigError, match="methods.jitter: "):
        main(*own, "--workdir", "run", "--data.n-per-class", "60")


def test_doses_of_an_own_generator(module):
    own = f"{module}:jitter"
    names, found = choose.generators((own, f"{own}@7", "none"))
    assert names == ("jitter", "jitter@7", "none")
    assert list(found) == ["jitter"] and found["jitter"].name == "jitter"


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("nowhere:jitter", "nowhere cannot be imported"),
        (":jitter", "':jitter': expected module:object"),
        ("{}:", "expected module:object"),
        (".x:y", "expected module:object"),
        ("{}:nothing", "has no nothing"),
        ("{}:number", "it is a int: expected a jaxbrain.study.methods.Generator"),
        ("{}:neighbour", "it is a Classifier: expected a jaxbrain.study.methods.Generator"),
        ("gcan", "'gcan': expected some of cgan, linear, none, or module:object"),
        ("cgan@", "expected a name such as cgan@50"),
        ("cgan@0", "expected a name such as cgan@50"),
        ("none@5", "expected a name such as cgan@50"),
    ],
)
def test_what_names_no_generator(name, match, module):
    with pytest.raises(ConfigError, match=match):
        choose.generators((name.format(module),))


@pytest.mark.parametrize("text", ["def (", "raise KeyError('why')", "1 / 0"])
def test_a_module_that_fails(text, module, tmp_path):
    (tmp_path / f"{module}.py").write_text(text)
    with pytest.raises(ConfigError, match=f"{module} cannot be imported: "):
        choose.classifiers((f"{module}:neighbour",))


def test_a_classifier_has_no_dose(module):
    with pytest.raises(ConfigError, match="has no neighbour@7"):
        choose.classifiers((f"{module}:neighbour@7",))


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"split": "xx"}, r"split is 'xx': expected holdout \| kfold"),
        ({"mapping": "xx"}, "mapping is 'xx': expected auto"),
        ({"seeds": True}, "seeds is True: expected a whole number from 1"),
    ],
)
def test_words_of_a_study(fields, match):
    with pytest.raises(ConfigError, match=match):
        StudyConfig(**fields)


def test_names_are_each_of_one_method(images):
    own = Generator("ridge", lambda cfg, train, label, key: None)
    with pytest.raises(ConfigError, match="'ridge' names a generator and a classifier"):
        study(small(), images, jax.random.key(0), generators=[own], classifiers=["ridge"])
    other = Generator("linear", lambda cfg, train, label, key: None)
    with pytest.raises(ConfigError, match="two named 'linear'"):
        choose.generators((other,))
    with pytest.raises(ConfigError, match="expected each once"):
        choose.generators(("linear", "linear"))
    with pytest.raises(ConfigError, match="is empty"):
        choose.classifiers(())
    with pytest.raises(ConfigError, match="'rigde': expected some of cnn_lstm_vector, "):
        choose.classifiers(("rigde",))
    with pytest.raises(ConfigError, match="'ridge@5': expected some of cnn_lstm_vector, "):
        choose.classifiers(("ridge@5",))
    with pytest.raises(ConfigError, match="has 3: expected a name or a jaxbrain.study.methods"):
        choose.classifiers((3,))
    assert set(methods.GENERATORS) == {"cgan", "linear"}
    assert all(one.name == name for name, one in methods.CLASSIFIERS.items())


def some(*_):
    return None


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Generator("a b", some), "name is 'a b': expected letters, digits"),
        (lambda: Generator("a" * 61, some), "at most 60"),
        (lambda: Generator("none", some), "that word stands for no synthesis"),
        (lambda: Generator("x"), "x: expected fit_sample, or steps, start, advance and finish"),
        (lambda: Generator("x", some, start=some), "expected fit_sample, or steps, start"),
        (lambda: Generator("x", steps=some, start=some), "expected fit_sample, or steps, start"),
        (lambda: Generator("x", some, sees="files"), "sees 'files': expected images | gan | each"),
        (lambda: Classifier("x", 3), "x: expected fit_predict, or steps, start"),
        (lambda: Classifier("x", some, sees="gan"), "expected images | thumbnails | files"),
        (lambda: Classifier("x", some, True, features=some), "features"),
    ],
)
def test_what_is_no_method(make, match):
    with pytest.raises(ConfigError, match=match.replace("|", r"\|")):
        make()


# What a method returns is looked at.


@pytest.fixture(scope="module")
def images():
    data = phantom.dataset(jax.random.key(3), 12, 32, 0.3)
    return jax.tree.map(np.asarray, data)


OPTIONS = StudyConfig(
    seeds=1, protocols=("P0",), generators=("none",), classifiers=("ridge",), shuffled=False
)


def drawing(value):
    def fit_sample(cfg, train, label, key):
        side = cfg.data.image_size
        return value(len(label), side)

    return Generator("drawn", fit_sample)


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (lambda m, s: np.zeros((m, s, s, 1)), "drawn returned float64"),
        (lambda m, s: np.zeros((m, s, s), np.uint8), "drawn returned uint8"),
        (lambda m, s: np.zeros((m - 1, s, s, 1), np.uint8), "returned 23 images: expected 24"),
        (lambda m, s: np.zeros((m + 1, s, s, 1), np.uint8), "returned 25 images: expected 24"),
        (lambda m, s: np.zeros((m, s + 1, s + 1, 1), np.uint8), "expected uint8 .24, 16, 16, 1"),
    ],
)
def test_images_that_are_none(value, match, images):
    with pytest.raises(DataError, match=match):
        list(
            study(small(), images, jax.random.key(0), options=OPTIONS, generators=[drawing(value)])
        )


def test_a_mapped_generator_draws_as_many_as_asked(images):
    few = Generator("few", lambda cfg, train, label, key: train.image[:3], True)
    with pytest.raises(DataError, match="few returned 3 images: expected 24"):
        list(study(small(), images, jax.random.key(0), options=OPTIONS, generators=[few]))


def long(start=None, advance=None) -> Generator:
    """A generator that trains, of which one part is wrong."""

    def begin(cfg, train, key):
        return {"level": np.zeros(())}

    def go(cfg, train, key, state, stop):
        return state, {"loss": np.zeros(4)}

    def finish(cfg, state, label, key):
        return np.zeros((len(label), 16, 16, 1), np.uint8)

    parts = {"start": start or begin, "advance": advance or go, "finish": finish}
    return Generator("long", steps=lambda cfg, count: 4, **parts)


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"start": lambda *_: ()}, "long: start returned .*expected a tree of arrays"),
        ({"advance": lambda *a: a[3]}, r"advance returned a dict: expected \(state, metrics\)"),
        ({"advance": lambda *a: (a[3], {"loss": np.zeros(3)})}, r"'loss' of shape \[3\]"),
        ({"advance": lambda *a: (a[3], {"step": np.zeros(4)})}, "not named .*step"),
    ],
)
def test_trainings_that_are_none(wrong, match, images, tmp_path):
    with pytest.raises(DataError, match=match):
        list(study(small(), images, jax.random.key(0), options=OPTIONS, generators=[long(**wrong)]))
    right = study(small(), images, jax.random.key(0), options=OPTIONS, generators=[long()])
    assert len(list(right)) == 2


def saying(value):
    def fit_predict(cfg, train, weight, test, key):
        assert train.image.dtype == test.dtype == np.uint8
        assert weight.tolist() == [1.0] * len(train.label)
        return value(len(test), cfg.data.num_classes)

    return Classifier("said", fit_predict)


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (lambda t, k: np.full(t, 0.5), r"said returned \[8\]: expected \[8, 2\]"),
        (lambda t, k: np.full((t, k), 0.7), "expected probabilities that sum to 1"),
        (lambda t, k: [[0.5, 0.5], [1.0]], "said returned no array"),
        (lambda t, k: np.tile([1.5, -0.5], (t, 1)), "expected probabilities that sum to 1"),
    ],
)
def test_answers_that_are_none(value, match, images):
    with pytest.raises(DataError, match=match):
        list(
            study(small(), images, jax.random.key(0), options=OPTIONS, classifiers=[saying(value)])
        )


def test_a_pure_function_runs_as_lanes(images):
    """The same classifier as a promise of pure JAX, and on the host: the same answers; padded
    rows of weight 0 count for nothing."""

    def fit_predict(cfg, train, weight, test, key):
        import jax.numpy as jnp

        mean = lambda image: jnp.asarray(image, jnp.float32).mean(axis=(1, 2, 3))  # noqa: E731
        told = jax.nn.one_hot(train.label, cfg.data.num_classes) * weight[:, None]
        centre = (told * mean(train.image)[:, None]).sum(axis=0) / told.sum(axis=0)
        return jax.nn.softmax(-0.1 * jnp.abs(mean(test)[:, None] - centre[None]))

    options = StudyConfig(
        split="kfold", seeds=1, protocols=("P2", "P3"), classifiers=("ridge",), shuffled=False
    )
    group = np.repeat(np.arange(12), 2)
    found = []
    for mapped in (True, False):
        own = Classifier("centres", fit_predict, mapped)
        answers = study(
            small(),
            images._replace(group=group.astype(np.int32)),
            jax.random.key(2),
            options=options,
            classifiers=[own],
        )
        found.append({one.cell.name: one.p for one in answers})
    assert found[0].keys() == found[1].keys() and len(found[0]) == 20
    lengths = {len(p) for p in found[0].values()}
    assert len(lengths) > 1, "no cell is padded"
    for name, p in found[0].items():
        np.testing.assert_allclose(p, found[1][name], atol=1e-5)


def test_three_classes(images, tmp_path):
    data = images._replace(label=(np.arange(24) % 3).astype(np.int32))
    # Grey levels that tell the classes apart.
    image = np.clip(data.image // 4 + 60 * data.label.reshape(-1, 1, 1, 1), 0, 255)
    data = data._replace(image=image.astype(np.uint8))
    records = from_arrays(data, ("glioma", "no", "pituitary"), "made")
    options = StudyConfig(
        seeds=2, classifiers=("ridge", "nn1", "majority"), generators=("linear", "none")
    )
    results = ladder(small(), data, records, tmp_path / "run", options=options)
    accuracy = {
        (c["protocol"], c["generator"], c["classifier"]): c["accuracy"]
        for c in results["cells"]
        if c["labels"] == "true"
    }
    assert len(accuracy) == 4 * 2 * 3
    assert accuracy["P3", "none", "majority"] < 0.5 < 0.9 < accuracy["P0", "linear", "ridge"]
    first = rows(tmp_path / "run" / "predictions.csv")[0]
    assert "p" not in first
    p = [float(first[f"p_{name}"]) for name in ("glioma", "no", "pituitary")]
    assert sum(p) == pytest.approx(1.0)


def test_other_keys_draw_other_splits(images):
    options = StudyConfig(seeds=2, classifiers=("majority",), generators=("linear",))

    def tests(key):
        answers = study(small(), images, key, options=options)
        return {one.cell.name: one.cell.test.tolist() for one in answers}

    one, again, other = (tests(jax.random.key(k)) for k in (0, 0, 1))
    assert one == again and one.keys() == other.keys()
    same = sum(one[name] == other[name] for name in one)
    assert same < len(one) / 4


def test_table_4_of_three_classes(images, tmp_path):
    data = images._replace(label=(np.arange(24) % 3).astype(np.int32))
    records = from_arrays(data, ("glioma", "no", "pituitary"), "made")
    options = StudyConfig("kfold", 1, 2, classifiers=("ridge", "majority"), generators=("linear",))
    results = table4(small(), data, records, tmp_path / "run", options=options)
    by_name = {row["name"]: row["P3"] for row in results["rows"]}
    assert by_name["majority"]["recall"] is None and 0 <= by_name["ridge"]["accuracy"] <= 1
    assert "| majority |" in (tmp_path / "run" / "report.md").read_text()


def test_names_that_join_alike_keep_their_own_files(images, tmp_path):
    draw = drawing(lambda m, s: np.zeros((m, s, s, 1), np.uint8)).fit_sample
    say = saying(lambda t, k: np.full((t, k), 1.0 / k)).fit_predict
    given = {
        "generators": [Generator("a", draw), Generator("a_b", draw)],
        "classifiers": [Classifier("b_c", say), Classifier("c", say)],
    }
    records = from_arrays(images, ("no", "yes"), "made")
    for _ in range(2):
        ladder(small(), images, records, tmp_path / "run", options=OPTIONS, **given)
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "damaged" not in log and "already complete" in log
    # Two generators, two classifiers, and the probe of each.
    assert len(list((tmp_path / "run" / "parts").iterdir())) == 8
