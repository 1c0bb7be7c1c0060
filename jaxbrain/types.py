"""The tuples of arrays that cross module borders.

`B` is a batch, `N` a number of images, `S` a side in pixels, `C` channels, `K` the
number of classes, `T` a number of training steps.
"""

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import jax
import numpy as np

from jaxbrain.errors import DataError

if TYPE_CHECKING:
    # A host's array stands where a device's does: JAX takes either.
    Array: TypeAlias = jax.Array | np.ndarray
else:
    Array = jax.Array
Params = Any


def require_bytes(image: Array) -> None:
    """Raise a DataError unless an image is uint8; looks at the dtype alone."""
    if image.dtype != np.uint8:
        raise DataError(
            f"image is {image.dtype}: expected uint8 [N, S, S, 1] grey levels 0 to 255; "
            "Dataset.from_arrays converts"
        )


def require_range(name: str, values: np.ndarray, num_classes: int | None = None) -> None:
    """Raise a DataError for integers [N] below 0, or not below `num_classes`.

    num_classes: None takes all of int32.
    """
    top = 2**31 if num_classes is None else num_classes
    outside = np.flatnonzero((values < 0) | (values >= top))
    if len(outside):
        raise DataError(
            f"{name}[{outside[0]}] is {values[outside[0]]}: expected 0 to {top - 1}; "
            f"{len(outside)} of {len(values)} are outside"
        )


class Dataset(NamedTuple):
    """Images of one study, in memory, all of one size; `from_arrays` makes one.

    Attributes:
        image: [N, S, S, 1] uint8, grey levels 0 (black) to 255.
        label: [N] int32 in [0, K); in two-class data 0 = normal, 1 = tumour.
        group: [N] int32; images that must stay on one side of a split share a number.
    """

    image: Array
    label: Array
    group: Array

    @classmethod
    def from_arrays(
        cls, image, label, group=None, *, value_range=None, num_classes: int | None = None
    ) -> "Dataset":
        """A `Dataset` of arrays of your own, checked and converted.

        Takes whatever NumPy makes an array of: arrays of NumPy or JAX, tensors of PyTorch
        on the CPU, nested lists. Returns NumPy arrays that share no memory with them.

        Args:
            image: [N, S, S] or [N, S, S, 1], one grey channel. uint8 is kept as it is.
                float16, float32 and float64 need `value_range`.
            label: [N] integers from 0, or bool (False 0, True 1). One class alone is
                taken: a GAN can be trained on it.
            group: [N] integers from 0; images that share one (copies, slices of a
                patient) stay on one side of a split. None gives each its own.
            value_range: (low, high), the values of black and white in float images: low
                becomes 0, high 255, what lies between the nearest level (halves: the even
                one). Values outside are refused, except by rounding.
            num_classes: labels must be below it, at least 2; None sets no bound.

        Raises:
            DataError: for another dtype, shape or value, saying what was found and where.

        Example:
            >>> image = np.linspace(-1.0, 1.0, 2 * 8 * 8, dtype=np.float32).reshape(2, 8, 8)
            >>> data = Dataset.from_arrays(image, [0, 1], value_range=(-1, 1))
            >>> data.image.shape, data.image.dtype, data.image.min(), data.image.max()
            ((2, 8, 8, 1), dtype('uint8'), np.uint8(0), np.uint8(255))
        """
        whole = isinstance(num_classes, int | np.integer)
        if num_classes is not None and not (whole and num_classes >= 2):
            raise DataError(
                f"num_classes is {num_classes!r}: expected a whole number from 2, or None"
            )
        image = _bytes(_array("image", image), value_range)
        count = len(image)
        label = _numbers("label", label, count, "biu", num_classes)
        group = np.arange(count) if group is None else group
        return cls(image, label, _numbers("group", group, count, "iu"))

    def check(self, side: int | None = None, num_classes: int | None = None) -> None:
        """Refuse what is not a `Dataset` of bytes; every whole training begins with it.

        Looks at dtypes and shapes alone, so it works on traced arrays. Labels and groups
        may be of any integer dtype. Labels that are a NumPy array are held to
        `num_classes` too; those of other arrays are not seen.

        Args:
            side: that the images must have, pixels; None takes any.
            num_classes: that labels must stay below; None takes any label.

        Raises:
            DataError: naming the field, what it is and what is expected.

        Example:
            >>> floats = Dataset(np.ones((2, 8, 8, 1)), np.array([0, 1]), np.arange(2))
            >>> floats.check()  # doctest: +ELLIPSIS
            Traceback (most recent call last):
            jaxbrain.errors.DataError: image is float64: expected uint8 ...
        """
        for name, leaf in self._asdict().items():
            if not (hasattr(leaf, "dtype") and hasattr(leaf, "shape")):
                raise DataError(
                    f"{name} is a {type(leaf).__name__}: expected an array; "
                    "Dataset.from_arrays converts"
                )
        require_bytes(self.image)
        shape = tuple(self.image.shape)
        square = len(shape) == 4 and 0 not in shape and shape[1] == shape[2]
        if not square or shape[3] != 1 or side not in (None, shape[1]):
            size = "S" if side is None else side
            raise DataError(
                f"image has shape {list(shape)}: expected [N, {size}, {size}, 1], N at least 1"
            )
        for name, leaf in (("label", self.label), ("group", self.group)):
            # Dtypes of other libraries have no kind.
            if getattr(leaf.dtype, "kind", None) not in ("i", "u"):
                raise DataError(f"{name} is {leaf.dtype}: expected int32 [N]")
            if tuple(leaf.shape) != shape[:1]:
                raise DataError(
                    f"{name} has shape {list(leaf.shape)}: expected [{shape[0]}], one per image"
                )
        if num_classes is not None and isinstance(self.label, np.ndarray):
            require_range("label", self.label, num_classes)


def _array(name: str, values) -> np.ndarray:
    try:
        return np.asarray(values)
    # What NumPy, JAX and PyTorch raise: ragged lists, traced arrays, tensors on a GPU.
    except (ValueError, TypeError, RuntimeError) as error:
        raise DataError(
            f"{name} cannot become a NumPy array: expected rows of one length, on the CPU: {error}"
        ) from error


def _bytes(image: np.ndarray, value_range) -> np.ndarray:
    """The images of `Dataset.from_arrays`: [N, S, S, 1] uint8, a copy."""
    floats = image.dtype.kind == "f" and image.dtype.itemsize <= 8
    if image.dtype != np.uint8 and not floats:
        raise DataError(
            f"image is {image.dtype}: expected uint8 grey levels 0 to 255, or float16, float32 "
            "or float64 with value_range=(low, high)"
        )
    shape = image.shape
    square = len(shape) in (3, 4) and 0 not in shape and shape[1] == shape[2]
    if not square or shape[3:] not in ((), (1,)):
        raise DataError(
            f"image has shape {list(shape)}: expected [N, S, S] or [N, S, S, 1]: at least one "
            "image, square, one grey channel"
        )
    ends = None if value_range is None else _ends(value_range)
    if not floats:
        if ends not in (None, (0.0, 255.0)):
            raise DataError(
                f"value_range is {value_range!r} and image is uint8: expected (0, 255) or None"
            )
        return np.array(image, order="C").reshape(*shape[:3], 1)
    _refuse_values(image, ends)
    low, high = ends  # type: ignore[misc]  # refused above without
    # One by one: float64 of all images would need eight times their bytes.
    shares = ((one.astype(np.float64) - low) / (high - low) for one in image)
    levels = [np.rint(255.0 * share).clip(0, 255).astype(np.uint8) for share in shares]
    return np.stack(levels).reshape(*shape[:3], 1)


def _ends(value_range) -> tuple[float, float]:
    ends = _array("value_range", value_range)
    if ends.shape == (2,) and ends.dtype.kind in "iuf":
        low, high = ends.tolist()
        if low < high and np.isfinite(high - low):
            return low, high
    raise DataError(
        f"value_range is {value_range!r}: expected (low, high), two finite numbers, low below high"
    )


def _refuse_values(image: np.ndarray, ends: tuple[float, float] | None) -> None:
    """Raise a DataError for floats that have no level: not finite, or not in `ends`."""
    bad = ~np.isfinite(image)
    if bad.any():
        raise DataError(
            f"image has {bad.sum()} NaN or infinite values, the first in image "
            f"{np.argwhere(bad)[0, 0]}: expected finite values"
        )
    found = f"image is {image.dtype} from {image.min()!s} to {image.max()!s}"
    if ends is None:
        raise DataError(
            f"{found}: expected value_range=(low, high), the values of black and of white"
        )
    low, high = ends
    # The dtype may hold an end of the range only rounded.
    slack = 1e-6 * (high - low) + float(np.finfo(image.dtype).eps) * max(abs(low), abs(high))
    spans = ((float(one.min()), float(one.max())) for one in image)
    outside = [i for i, (a, b) in enumerate(spans) if a < low - slack or b > high + slack]
    if outside:
        raise DataError(
            f"{found}: expected values in value_range, {low} to {high}; {len(outside)} of "
            f"{len(image)} images have others, the first is image {outside[0]}"
        )


def _numbers(name, values, count: int, kinds: str, num_classes=None) -> np.ndarray:
    """The labels or groups of `Dataset.from_arrays`: [count] int32, a copy."""
    found = _array(name, values)
    if found.shape != (count,):
        raise DataError(f"{name} has shape {list(found.shape)}: expected [{count}], one per image")
    if found.dtype.kind not in kinds:
        raise DataError(f"{name} is {found.dtype}: expected integers, whole numbers from 0")
    require_range(name, found, num_classes)
    return found.astype(np.int32)


class Batch(NamedTuple):
    """One step's examples.

    Attributes:
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

    Attributes:
        step: [] int32, finished updates.
        generator, discriminator: their `NetState`s.
        average: exponential moving average of the generator's params and batch_stats
            (`{"params", "batch_stats"}`), or an empty dict where it is off.
        codes: `training.codes.Codes` of the training images, or an empty dict where
            `gan.anchor` is 0.
    """

    step: Array
    generator: NetState
    discriminator: NetState
    average: Any
    codes: Any = {}


class ClassifierState(NamedTuple):
    """The CNN-LSTM while it is trained.

    Attributes:
        step: [] int32, finished updates over all stages.
        total_steps: [] int32, updates of one stage: the length of a learning-rate schedule.
        cnn, hybrid: their `NetState`s.
        image_mean: [S, S, 1] float32, subtracted from every image (zeros if unused).
        feature_mean, feature_scale: statistics of the CNN's features on the training
            images, used by the hybrid's input where `hybrid.standardise` is on.
        average: {"cnn": .., "hybrid": ..}, the moving averages of their params and batch_stats,
            which predict; empty where `classifier.average_half_life` is 0.
    """

    step: Array
    total_steps: Array
    cnn: NetState
    hybrid: NetState
    image_mean: Array
    feature_mean: Array
    feature_scale: Array
    average: Any


class History(NamedTuple):
    """What every step reported, as sums over its examples.

    Attributes:
        metrics: name -> [T] float32, T the length of the whole training; NaN at steps
            that this call did not run. `count` holds the sum of the weights: divide by it.
    """

    metrics: dict[str, Array]


class Counts(NamedTuple):
    """Sums that leave the device; `metrics.summarise` takes the ratios.

    Attributes:
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
