"""A generator of your own, to copy from: blends of two training images of one class.

Copy this file, change `fit_sample`, and name it where `cgan` may stand:

    python -m experiments.ladder --split kfold --seeds 1 --classifiers mirror_kernel \\
        --generators none experiments.example_generator:blend

The report says what its images are worth beside real images alone. A generator in another framework
needs no Python here: see jaxbrain/docs/gans.md, A generator of any kind.
"""

import jax
import numpy as np

from jaxbrain.study.methods import Generator


def fit_sample(cfg, train, label, key):
    """Fit on `train`, and draw an image for each label.

    Args:
        train: a `Dataset`, `train.image` [L, S, S, 1] uint8, `train.label` [L].
        label: [M] classes to draw.
        key: all that is random comes from it, so that a run can be repeated.

    Returns:
        [M, S, S, 1] uint8.
    """
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    image, known = np.float32(train.image), np.asarray(train.label)
    pairs = np.stack([rng.choice(np.flatnonzero(known == k), 2) for k in np.asarray(label)])
    share = rng.uniform(0.3, 0.7, (len(pairs), 1, 1, 1))
    blended = share * image[pairs[:, 0]] + (1 - share) * image[pairs[:, 1]]
    return np.rint(blended).astype(np.uint8)


blend = Generator("blend", fit_sample)
