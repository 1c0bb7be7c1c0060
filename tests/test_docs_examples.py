"""The example files that users copy from do what they say, under the commands that they name."""

import json

import jax
import numpy as np

from experiments.example_classifier import features, fit_predict, sides
from experiments.example_generator import blend, fit_sample
from jaxbrain import config
from jaxbrain.commands import ladder
from jaxbrain.types import Dataset

SMALL = "--data.n-per-class 12 --data.image-size 16 --gan.image-size 32 --split kfold --seeds 1"


def dataset(image, label) -> Dataset:
    label = np.asarray(label, np.int32)
    return Dataset(np.asarray(image), label, np.arange(len(label), dtype=np.int32))


def test_the_classifier_looks_at_sides():
    even, left = np.full((2, 8, 8, 1), 51, np.uint8)
    left[:, :4] = 255
    got = features(config.tiny(), np.stack([even, left]))
    np.testing.assert_allclose(got, [[0.2, 0.0], [0.6, 0.8]], rtol=1e-5)


def test_the_classifier_takes_the_nearer_cloud():
    train = dataset(np.float32([[0, 0], [1, 1], [8, 8], [9, 9]]), [0, 0, 1, 1])
    test = np.float32([[0, 1], [9, 8], [4.5, 4.5]])
    got = fit_predict(config.tiny(), train, np.ones(4), test, None)
    np.testing.assert_allclose(got, [[1, 0], [0, 1], [0.5, 0.5]], atol=1e-6)


def test_the_generator_blends_images_of_one_class():
    image = np.stack([np.full((4, 4, 1), value, np.uint8) for value in (10, 90, 200, 200)])
    train, wanted = dataset(image, [0, 0, 1, 1]), np.arange(40) % 2
    got = fit_sample(config.tiny(), train, wanted, jax.random.key(3))
    assert got.shape == (40, 4, 4, 1) and got.dtype == np.uint8
    assert (got[wanted == 1] == 200).all()
    low = got[wanted == 0]
    assert low.min() >= 10 and low.max() <= 90 and len(np.unique(low)) > 5
    again = fit_sample(config.tiny(), train, wanted, jax.random.key(3))
    np.testing.assert_array_equal(got, again)


def test_the_command_takes_both(tmp_path, capsys):
    run = tmp_path / "run"
    names = "experiments.example_generator:blend", "experiments.example_generator:blend@only"
    ladder.main(
        [*SMALL.split(), "--protocols", "P3", "--no-shuffled", "--workdir", str(run)]
        + ["--cache", jax.config.jax_compilation_cache_dir, "--generators", "none", *names]
        + ["--classifiers", "majority", "experiments.example_classifier:sides"]
    )
    results = json.loads((run / "ladder.json").read_text())
    cells = {(one["generator"], one["classifier"]) for one in results["cells"]}
    assert {("blend", "sides"), ("blend@only", "sides"), ("none", "majority")} <= cells
    assert (blend.name, sides.name) == ("blend", "sides")
    assert "sides" in capsys.readouterr().out
