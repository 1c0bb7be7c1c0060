"""A classifier of your own, to copy from: two numbers that a reader can check by hand.

Copy this file, change `features` and `fit_predict`, and name it where `ridge` may stand:

    python -m experiments.ladder --split kfold --seeds 2 --protocols P3 --generators none \\
        --classifiers majority ridge experiments.example_classifier:sides

Nothing else needs to know of it: protocols, controls, resuming, scores and reports take any method.
jaxbrain/docs/methods.md says what more a method may have.
"""

import numpy as np

from jaxbrain.study.methods import Classifier


def features(cfg, image):
    """How bright each picture is, and how much its left half differs from its right one.

    Called once for all images of a study.

    Args:
        image: [N, S, S, 1] uint8.

    Returns:
        [N, 2] float32, what `fit_predict` gets in place of the images.
    """
    grey = np.float32(image[..., 0]) / 255
    difference = np.abs(grey - grey[:, :, ::-1])
    return np.stack([grey.mean(axis=(1, 2)), difference.mean(axis=(1, 2))], axis=1)


def fit_predict(cfg, train, weight, test, key):
    """Each class as a cloud around its mean, all clouds of one width.

    Args:
        train: a `Dataset`, `train.image` [L, 2] here, `train.label` [L].
        weight: [L], of the training images; all 1 for a method that is one function.
        test: [T, 2], of the test images.
        key: for methods that draw; this one does not.

    Returns:
        [T, K] probabilities, whose rows sum to 1.
    """
    label = np.asarray(train.label)
    classes = range(cfg.data.num_classes)
    mean = np.stack([train.image[label == k].mean(axis=0) for k in classes])
    width = (train.image - mean[label]).std(axis=0) + 1e-6
    distance = (((test[:, None] - mean) / width) ** 2).sum(axis=-1)
    likelihood = np.exp(-(distance - distance.min(axis=1, keepdims=True)) / 2)
    return likelihood / likelihood.sum(axis=1, keepdims=True)


sides = Classifier("sides", fit_predict, features=features)
