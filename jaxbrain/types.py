"""The tuples of arrays that cross module borders.

`B` is a batch, `N` a number of images, `S` a side in pixels, `C` channels, `K` the
number of classes, `T` a number of training steps.
"""

from typing import Any, NamedTuple

import jax

Array = jax.Array
Params = Any


class Dataset(NamedTuple):
    """Images of one study, in memory, all of one size.

    image: [N, S, S, 1] uint8, grey levels 0 (black) to 255.
    label: [N] int32 in [0, K); in two-class data 0 = normal, 1 = tumour.
    group: [N] int32; images that must stay on one side of a split share a number.
    """

    image: Array
    label: Array
    group: Array


class Batch(NamedTuple):
    """One step's examples.

    image: [B, S, S, C] float32 in [-1, 1] (for the second stage of a two-stage
        training: the CNN's features).
    label: [B] int32 in [0, K).
    weight: [B] float32, at least 0; 0 marks a padded row that counts for nothing.
    """

    image: Array
    label: Array
    weight: Array


class NetState(NamedTuple):
    """One network while it is trained: `params`, `batch_stats` (empty without
    BatchNorm) and the optax `opt_state`."""

    params: Params
    batch_stats: Params
    opt_state: Any


class GANState(NamedTuple):
    """A conditional GAN while it is trained.

    step: [] int32, finished updates.
    generator, discriminator: their `NetState`s.
    average: exponential moving average of the generator's params and batch_stats
        (`{"params", "batch_stats"}`), or an empty dict where it is off.
    """

    step: Array
    generator: NetState
    discriminator: NetState
    average: Any


class ClassifierState(NamedTuple):
    """The CNN-LSTM while it is trained.

    step: [] int32, finished updates over all stages.
    total_steps: [] int32, updates of one stage: the length of a learning-rate schedule.
    cnn, hybrid: their `NetState`s.
    image_mean: [S, S, 1] float32, subtracted from every image (zeros if unused).
    feature_mean, feature_scale: statistics of the CNN's features on the training
        images, used by the hybrid's input where `hybrid.standardise` is on.
    """

    step: Array
    total_steps: Array
    cnn: NetState
    hybrid: NetState
    image_mean: Array
    feature_mean: Array
    feature_scale: Array


class History(NamedTuple):
    """What every step reported, as sums over its examples.

    metrics: name -> [T] float32, T the length of the whole training; NaN at steps
        that this call did not run. `count` holds the sum of the weights: divide by it.
    """

    metrics: dict[str, Array]


class Counts(NamedTuple):
    """Sums that leave the device; `metrics.summarise` takes the ratios.

    confusion: [K, K] float32, weight of examples of true class (row) predicted as
        class (column).
    wins: [K] float32, over pairs of one example of class k and one of another, the
        weight of those where the first has the larger probability of k (ties half).
    pairs: [K] float32, the weight of all such pairs.
    loss: [] float32, sum of cross-entropies in nats.
    """

    confusion: Array
    wins: Array
    pairs: Array
    loss: Array
