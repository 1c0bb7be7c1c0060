"""What a classifier on the host is given."""

import jax
import numpy as np

from jaxbrain import config
from jaxbrain.study.methods import Classifier
from jaxbrain.study.protocols import StudyConfig
from jaxbrain.study.study import study
from jaxbrain.types import Dataset


def test_a_classifier_on_the_host_is_told_which_images_stay_together():
    image = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 1)).astype(np.uint8)
    label, group = np.arange(24, dtype=np.int32) % 2, np.arange(24, dtype=np.int32) // 4
    seen = []

    def fit_predict(cfg, train, weight, test, key):
        seen.append(np.asarray(train.group))
        return np.full((len(test), 2), 0.5)

    options = StudyConfig("kfold", 1, 2, protocols=("P3",), shuffled=False, probe=False)
    own = [Classifier("own", fit_predict)]
    how = {"options": options, "generators": ["linear"], "classifiers": own}
    data = Dataset(image, label, group)
    answers = list(study(config.tiny(), data, jax.random.key(0), **how))
    for answer, groups in zip(answers, seen, strict=True):
        real = answer.cell.train[answer.cell.train < 24]
        np.testing.assert_array_equal(groups[: len(real)], group[real])
        alone = groups[len(real) :]
        assert len(alone) > 0 and len(np.unique(alone)) == len(alone) and alone.min() > 5
