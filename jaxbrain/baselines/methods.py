"""The methods that the paper's Table 4 quotes, each as features of images and a
`fit_predict` on them (docs/methods.md, Table 4, says what the originals did, on which data).

All look at the whole head (`preprocess.head`): there are no lesion masks. Scaling and
selection of features are fitted on the training images of a fold.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

from jaxbrain.baselines import floors, heads, radiomics, texture, weights
from jaxbrain.config import OptimConfig
from jaxbrain.data import preprocess
from jaxbrain.errors import ConfigError
from jaxbrain.nn.mlp import MLP
from jaxbrain.nn.vgg import Tumour, VGG16Tumour
from jaxbrain.training import loops
from jaxbrain.types import Array

# Images at a time: co-occurrence matrices of more do not fit a processor's caches.
_BLOCK = 8


class Method(NamedTuple):
    """features: [N, S, S, 1] uint8 -> [N, ...]. fit_predict: (train [N, ...], label [N]
    int32 in [0, K), test [T, ...], num_classes K, key) -> [T, K] float64, rows sum to 1; a
    ConfigError from one that knows two classes only. Both run on the host: a study loops
    over them and maps nothing."""

    features: Callable[[np.ndarray], np.ndarray]
    fit_predict: Callable[[np.ndarray, np.ndarray, np.ndarray, int, Array], np.ndarray]


def _in_blocks(function: Callable, image: np.ndarray) -> np.ndarray:
    """`function(image [B, S, S], region [B, S, S])`, some images at a time."""
    parts = [
        function(some[..., 0], texture.regions(some))
        for some in (image[start : start + _BLOCK] for start in range(0, len(image), _BLOCK))
    ]
    return np.concatenate(parts)


def _varies(train: np.ndarray) -> np.ndarray:
    """[F] bool: columns that differ by more than rounding."""
    return np.ptp(train, axis=0) > 1e-9 * np.maximum(np.abs(train).max(axis=0), 1e-3)


def standardised(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both in standard deviations of the training rows from their mean; columns without a
    spread become 0."""
    varies = _varies(train)
    mean, scale = train.mean(axis=0), np.where(varies, train.std(axis=0), 1.0)
    return (train - mean) / scale * varies, (test - mean) / scale * varies


# B1, `glrlm_cslbp_ann`.

_ELEVEN = (
    "short_emphasis long_emphasis level_nonuniformity size_nonuniformity percentage "
    "low_level_emphasis high_level_emphasis short_low_emphasis short_high_emphasis "
    "long_low_emphasis long_high_emphasis"
).split()
_RECIPE_B1 = heads.Recipe(100, 15, OptimConfig())


def _runs(levels: np.ndarray) -> np.ndarray:
    """[N, 4, 16] statistics of runs, by angle."""
    found = [radiomics.sizes(texture.glrlm(levels, angle)) for angle in texture.ANGLES]
    return np.stack(found, axis=1)


def glrlm_cslbp(image: np.ndarray) -> np.ndarray:
    """[N, S, S, 1] uint8 -> [N, 278]: mean and range over four angles of eleven run
    statistics at 16 grey levels, and CS-LBP histograms on 4 x 4 cells."""
    chosen = [radiomics.SIZES.index(name) for name in _ELEVEN]

    def some(image, region):
        runs = _runs(texture.quantise(image, region, 16))[:, :, chosen]
        patterns = texture.cs_lbp(image, region)
        return np.concatenate([runs.mean(axis=1), np.ptp(runs, axis=1), patterns], axis=1)

    return _in_blocks(some, image)


def ann(train, label: np.ndarray, test, num_classes: int, key: Array) -> np.ndarray:
    """One hidden layer of ten tanh units (MATLAB's `patternnet`), trained by SGDM."""
    train, test = map(np.float32, standardised(train, test))
    return heads.fit_predict(MLP(10, "tanh", num_classes), _RECIPE_B1, train, label, test, key)


# B2, `radiomics_svm`.


def six_families(image: np.ndarray) -> np.ndarray:
    """[N, S, S, 1] uint8 -> [N, 90]: first-order statistics, and at 128 grey levels GLCM
    and GLRLM (each averaged over four angles), GLSZM and NGTDM; the histogram of uniform
    rotation-invariant local binary patterns."""
    local_binary_pattern = texture.need("skimage.feature").local_binary_pattern

    def patterns(one, inside):
        codes = local_binary_pattern(one, 8, 1, "uniform")[inside].astype(int)
        return np.bincount(codes, minlength=10) / len(codes)

    def some(image, region):
        levels = texture.quantise(image, region, 128)
        return np.concatenate(
            [
                radiomics.first_order(image, region),
                radiomics.glcm(texture.glcm(levels, 128)[:, 0]).mean(axis=1),
                _runs(levels).mean(axis=1),
                radiomics.sizes(texture.glszm(levels)),
                radiomics.ngtdm(*texture.ngtdm(levels, 128)),
                np.stack([patterns(*pair) for pair in zip(image, region, strict=True)]),
            ],
            axis=1,
        )

    return _in_blocks(some, image)


def most_different(train: np.ndarray, label: np.ndarray, count: int) -> np.ndarray:
    """The columns with the smallest p values of Welch's t test between the classes, in
    their order; columns without a spread come last.

    References:
        Welch, "The generalization of 'Student's' problem when several different population
        variances are involved", 1947.
    """
    import scipy.stats

    first, second = train[label == 0], train[label == 1]
    if min(len(first), len(second)) < 2:
        return np.arange(min(count, train.shape[1]))
    a, b = first.var(axis=0, ddof=1) / len(first), second.var(axis=0, ddof=1) / len(second)
    varies, gap = _varies(train), first.mean(axis=0) - second.mean(axis=0)
    # A column that is constant within each class but not over both tells them apart.
    noise = np.maximum(np.sqrt(a + b), 1e-12 * np.where(varies, train.std(axis=0), 1.0))
    t = np.where(varies, np.abs(gap) / np.maximum(noise, 1e-300), 0.0)
    bottom = np.square(a) / (len(first) - 1) + np.square(b) / (len(second) - 1)
    # Between the smaller class's and the whole: the limit of a spread in one class alone.
    least = min(len(first), len(second)) - 1
    freedom = np.divide(np.square(a + b), bottom, out=np.full_like(a, least), where=bottom > 0)
    p = np.where(varies, 2.0 * scipy.stats.t.sf(t, freedom), 2.0)
    # By t where p is 0 to machine precision.
    return np.sort(np.lexsort((-t, p))[:count])


def svm(train, label: np.ndarray, test, num_classes: int, key: Array) -> np.ndarray:
    """A linear support vector machine (C = 1, squared hinge) on 32 columns chosen by
    `most_different`; of more than two classes one machine each, against the rest, on
    columns of its own. p is the logistic of the scores, then `floors.shares`: a ranking,
    not calibrated."""
    train, test = standardised(train, test)
    each = [_machine(train, label == k, test) for k in floors.one_against_rest(num_classes)]
    return floors.shares(np.stack(each, axis=1))


def _machine(train: np.ndarray, positive: np.ndarray, test: np.ndarray) -> np.ndarray:
    """[T] float64, the logistic of the score of `positive` [N] bool."""
    if positive.all() or not positive.any():
        return np.full(len(test), float(positive[0]))
    chosen = most_different(train, positive, 32)
    linear = texture.need("sklearn.svm").LinearSVC(C=1.0, dual=False, max_iter=10_000)
    model = linear.fit(train[:, chosen], positive)
    return scipy.special.expit(model.decision_function(test[:, chosen]))


# B4, `hbtc_mlp`.

_COM = (
    "angular_second_moment contrast correlation joint_variance inverse_difference_moment "
    "sum_average sum_variance sum_entropy joint_entropy difference_variance difference_entropy"
).split()
# Weka's defaults.
_RECIPE_B4 = heads.Recipe(500, 1, OptimConfig("sgdm", 0.3, momentum=0.2, l2=0.0))


def hybrid_texture(image: np.ndarray) -> np.ndarray:
    """[N, S, S, 1] uint8 -> [N, 245], at 64 grey levels: eleven co-occurrence statistics at
    distances 1 to 5 and four angles, five run statistics at four angles, five of the
    gradient. (Diagonals are as long as their distance, rounded: those of 1 and 2 pixels
    are one step, so 22 columns stand there twice.)"""
    com = [radiomics.GLCM.index(name) for name in _COM]
    rlm = [radiomics.SIZES.index(name) for name in _ELEVEN[:5]]

    def some(image, region):
        levels = texture.quantise(image, region, 64)
        pairs = radiomics.glcm(texture.glcm(levels, 64, (1, 2, 3, 4, 5)))[..., com]
        runs = _runs(levels)[..., rlm]
        parts = pairs, runs, radiomics.gradient(image, region)
        return np.concatenate([part.reshape(len(image), -1) for part in parts], axis=1)

    return _in_blocks(some, image)


def correlated(train: np.ndarray, label: np.ndarray, count: int, num_classes=2) -> np.ndarray:
    """Columns chosen one by one for the largest merit k r_c / sqrt(k + k (k - 1) r_f): r_c
    the mean absolute correlation of k columns with the class, r_f among them. Columns
    without a spread come last. Of more than two classes the correlation with the class is
    that with each against the rest, averaged by their frequencies.

    References:
        Hall, "Correlation-based feature selection for machine learning", 1999.
    """
    unit = standardised(train, train)[0] / np.sqrt(len(train))
    frequency = np.bincount(label, minlength=num_classes) / len(label)
    with_label, among = np.zeros(train.shape[1]), np.abs(unit.T @ unit)
    for k in floors.one_against_rest(num_classes):
        target = (label == k) - frequency[k]
        target = target / max(np.linalg.norm(target), 1e-12)
        share = 1.0 if num_classes == 2 else frequency[k]
        with_label += share * np.abs(target @ unit)
    np.fill_diagonal(among, 0.0)
    chosen: list[int] = []
    for k in range(1, min(count, train.shape[1]) + 1):
        relevance = with_label + with_label[chosen].sum()
        # Correlations of each pair among k - 1 chosen columns and the candidate.
        pairs = among[chosen].sum(axis=0) + among[np.ix_(chosen, chosen)].sum() / 2
        merit = np.where(_varies(train), relevance / np.sqrt(k + 2 * pairs), -1.0)
        merit[chosen] = -np.inf
        chosen.append(int(merit.argmax()))
    return np.asarray(chosen)


def mlp(train, label: np.ndarray, test, num_classes: int, key: Array) -> np.ndarray:
    """Nine columns by `correlated`, scaled to [-1, 1] on the training rows, and Weka's
    multilayer perceptron: (9 + K) / 2 sigmoid units (of two classes five), one example an
    update."""
    chosen = correlated(train, label, 9, num_classes)
    train, test = train[:, chosen], test[:, chosen]
    low, high, varies = train.min(axis=0), train.max(axis=0), _varies(train)

    def scaled(x):
        share = (x - low) / np.where(varies, high - low, 1.0)
        return np.float32(np.where(varies, 2.0 * share - 1.0, 0.0))

    module = MLP((9 + num_classes) // 2, "sigmoid", num_classes)
    return heads.fit_predict(module, _RECIPE_B4, scaled(train), label, scaled(test), key)


# B3, `vgg16_transfer` and, without weights, `vgg16_scratch`; both at 224 pixels.

_ADAM = OptimConfig("adam", 1e-4, l2=0.0)
_HEAD = Tumour(), heads.Recipe(50, 16, _ADAM)
_SCRATCH = VGG16Tumour(), heads.Recipe(20, 16, _ADAM)
VGG_SIZE = 224


def _one_logit(network, name, train, label, test, num_classes: int, key: Array) -> np.ndarray:
    """`heads.fit_predict` of a network (module, recipe) that has one logit."""
    if num_classes != 2:
        raise ConfigError(
            f"{name} has one logit, of class 1 against class 0: expected two classes, found "
            f"{num_classes}; glrlm_cslbp_ann, radiomics_svm and hbtc_mlp take more"
        )
    return heads.fit_predict(*network, train, label, test, key)


def _enlarged(image: Array) -> Array:
    """[B, S, S, 1] uint8 -> [B, 224, 224, 1] float32 in [0, 255]."""
    return jnp.clip(preprocess.resize(image.astype(jnp.float32), VGG_SIZE), 0.0, 255.0)


def enlarged(image: np.ndarray) -> np.ndarray:
    """[N, S, S, 1] uint8 -> [N, 224, 224, 1] uint8."""
    bytes_of = jax.jit(lambda some: jnp.round(_enlarged(some)).astype(jnp.uint8))
    return np.asarray(loops.map_batches(bytes_of, jnp.asarray(image), 8))


def vgg_features(pretrained: weights.Pretrained, image: np.ndarray) -> np.ndarray:
    """What ImageNet's VGG-16 sees in images, enlarged to 224 pixels:
    [N, S, S, 1] uint8 -> [N, 7, 7, 512] float32."""
    return np.asarray(_vgg_features(pretrained.module, pretrained[1:], jnp.asarray(image)))


@partial(jax.jit, static_argnums=0)
def _vgg_features(module, arrays, image):
    params, mean, scale = arrays

    def some(image):
        large = _enlarged(image)
        rgb = jnp.broadcast_to(large, (*large.shape[:3], 3))
        rgb = (rgb - mean.reshape(1, 1, 1, 3)) / scale.reshape(1, 1, 1, 3)
        return module.apply({"params": params}, rgb, method="features")

    return loops.map_batches(some, image, 8)


METHODS = {
    "glrlm_cslbp_ann": Method(glrlm_cslbp, ann),
    "radiomics_svm": Method(six_families, svm),
    "hbtc_mlp": Method(hybrid_texture, mlp),
    "vgg16_scratch": Method(enlarged, partial(_one_logit, _SCRATCH, "vgg16_scratch")),
}


def method(name: str, weights_file: str | Path | None = None) -> Method:
    """A method by its name; "vgg16_transfer" reads `weights_file` (see `weights.load`).

    Raises:
        ConfigError: for another name, if an extra that it needs is not installed, or for
            "vgg16_transfer" without a file.
        DataError: see `weights.load`.
    """
    if name in ("glrlm_cslbp_ann", "radiomics_svm", "hbtc_mlp"):
        texture.need("skimage")
        texture.need("sklearn")
    if name in METHODS:
        return METHODS[name]
    if name != "vgg16_transfer":
        raise ConfigError(f"method is {name!r}: expected {', '.join([*METHODS, 'vgg16_transfer'])}")
    if not weights_file:
        raise ConfigError("vgg16_transfer: expected a file of VGG-16's ImageNet weights")
    pretrained = weights.load(weights_file)
    return Method(partial(vgg_features, pretrained), partial(_one_logit, _HEAD, name))
