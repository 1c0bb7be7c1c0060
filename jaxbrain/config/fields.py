"""Every choice of a run, as frozen and hashable dataclasses.

One field per knob of the method; a configuration is static under `jax.jit`. Field
comments are the help texts of the command line, one for each (`commands.flags.texts`).
"""

import dataclasses
import math
from typing import Literal, get_args, get_origin, get_type_hints

from jaxbrain.config import saved
from jaxbrain.errors import ConfigError, nearest


def require_name(field: str, value, allowed: tuple) -> None:
    """Raise a ConfigError unless `value` is one of the names allowed for `field`."""
    if value not in allowed:
        expected = f"{' | '.join(allowed)}{nearest(value, allowed)}"
        raise ConfigError(f"{field} is {value!r}: expected {expected}")


def _check_choices(section: str, config, cls: type | None = None) -> None:
    """Literal fields (of `cls`, or of the own class) hold a literal of theirs, bools a bool."""
    for name, hint in get_type_hints(cls or type(config)).items():
        value = getattr(config, name)
        if get_origin(hint) is Literal:
            require_name(f"{section}.{name}", value, get_args(hint))
        elif hint is bool and not isinstance(value, bool):
            raise ConfigError(f"{section}.{name} is {value!r}: expected True or False")


def require_names(config: "Config", section: str = "config", cls: type | None = None) -> None:
    """Raise a ConfigError unless every name in a configuration is known.

    A configuration is checked when it is built. Whoever acts on its names asks again: a
    subclass, or a field set afterwards, would else pass for the name that stands last.
    """
    # Names are those of the classes here: a subclass may have declared others.
    cls = cls or Config
    _check_choices(section, config, cls)
    for name, hint in get_type_hints(cls).items():
        if hint is OptimConfig:
            require_optimiser(f"{section}.{name}", getattr(config, name))
        elif isinstance(hint, type) and dataclasses.is_dataclass(hint):
            if not isinstance(part := getattr(config, name), hint):
                raise ConfigError(f"{section}.{name} is {part!r}: expected a {hint.__name__}")
            require_names(part, name, hint)  # type: ignore[arg-type]


def require_optimiser(field: str, optim) -> None:
    """Raise a ConfigError unless `optim` is an `OptimConfig` of known names, or a hashable
    object with `make() -> optax.GradientTransformation`."""
    own = callable(getattr(optim, "make", None)) and not isinstance(optim, type)
    known = own or isinstance(optim, OptimConfig)
    try:
        hash(optim)
    except TypeError:
        known = False
    if not known:
        raise ConfigError(
            f"{field} is {optim!r}: expected an OptimConfig, or a hashable object with "
            "make() -> optax.GradientTransformation"
        )
    if not own:
        _check_choices("optim", optim, OptimConfig)


def _check_int(section: str, config, low: int, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < low:
            raise ConfigError(
                f"{section}.{name} is {value!r}: expected a whole number of at least {low}"
            )


def _check_float(section: str, config, low: float, high: float, *names: str) -> None:
    """low <= value < high; an infinite `high` still refuses infinity and NaN, and a tiny `low`
    stands for more than 0."""
    for name in names:
        value = getattr(config, name)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or not low <= value < high:
            bounds = f"from {low:g} to below {high:g}"
            if high == math.inf:
                bounds = "above 0" if 0 < low < 1e-9 else f"of at least {low:g}"
            raise ConfigError(f"{section}.{name} is {value!r}: expected a number {bounds}")


@dataclasses.dataclass(frozen=True)
class OptimConfig:
    """An optimiser.

    Its defaults are those of MATLAB's `trainingOptions("sgdm")`; for one of your own see
    `require_optimiser`.
    """

    name: Literal["sgdm", "adam"] = "sgdm"  # sgdm: gradient descent with momentum
    learning_rate: float = 0.01  # of a step, the highest where a schedule changes it; above 0
    momentum: float = 0.9  # of sgdm: share of the last step that is kept
    b1: float = 0.9  # of adam: decay of the mean gradient, per step
    b2: float = 0.999  # of adam: decay of the mean squared gradient, per step
    l2: float = 1e-4  # times the kernels, added to their gradient before momentum
    weight_decay: float = 0.0  # decoupled: kernels lose this share, times the rate, a step
    clip_norm: float = 0.0  # longest gradient of all parameters together; 0 never clips
    # how the learning rate goes: warmup_cosine rises in a line from 0, one_cycle in half a
    # cosine from a 25th, and both then fall in half a cosine
    schedule: Literal["constant", "warmup_cosine", "one_cycle"] = "constant"
    warmup: float = 0.05  # share of the steps that warm up

    def __post_init__(self):
        _check_choices("optim", self)
        _check_float("optim", self, 0.0, math.inf, "l2", "clip_norm", "weight_decay")
        _check_float("optim", self, 0.0, 1.0, "momentum", "b1", "b2", "warmup")
        _check_float("optim", self, 1e-12, math.inf, "learning_rate")


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Images in, arrays out, and the pooled split of the paper's protocol."""

    num_classes: int = 2  # how many there are; entry points take it from the images
    n_per_class: int = 100  # real images drawn of each class, at most; 0 takes all
    image_size: int = 224  # side of the classifier's images, in pixels
    channels: int = 1  # 1, or 3 (the grey image three times)
    crop: Literal["none", "head"] = "none"  # head: images are cut to the head in them
    # images that are not square: stretch changes their shape, pad adds black edges
    square: Literal["stretch", "pad"] = "stretch"
    # of the classifier's pixels: zerocenter takes the training images' mean away, minmax maps
    # each image's own range to -1 .. 1
    normalise: Literal["zerocenter", "minmax"] = "zerocenter"
    dedup: Literal["none", "group"] = "none"  # group: near-duplicates share a group
    duplicate_threshold: float = 0.98  # correlation of thumbnails that makes near-duplicates
    # films and files of several pages: error refuses them, first takes a page, all takes all
    frames: Literal["error", "first", "all"] = "error"
    brain_fraction: float = 0.1  # slices of volumes with a smaller share of brain are left out
    positive: str = ""  # of two classes the positive one; by their names without it
    # a regular expression, searched in each file's path: what its groups match says whose the
    # image is; without it patients, subjects and BraTS sequences in file names do
    group_by: str = ""
    # auto: ids of patients (DICOM's PatientID, Cheng's PID, file names) make groups
    patients: Literal["auto", "ignore"] = "auto"
    degrade_reals: bool = False  # real images lose detail as synthetic ones do
    test_fraction: float = 0.3  # share of the images that are tested, of a hold-out
    difficulty: float = 0.5  # of phantoms, from 0 to below 1
    twins: float = 0.0  # share of phantoms that are copies of others
    # where images are while a net is trained; auto: on the device if they fit there
    placement: Literal["auto", "device", "host"] = "auto"

    def __post_init__(self):
        _check_choices("data", self)
        _check_int("data", self, 2, "num_classes")
        _check_int("data", self, 0, "n_per_class")
        _check_int("data", self, 8, "image_size")
        _check_float("data", self, 0.0, 1.0, "difficulty", "duplicate_threshold", "twins")
        _check_float("data", self, 0.0, 1.0, "brain_fraction")
        _check_float("data", self, 0.01, 1.0, "test_fraction")
        if self.channels not in (1, 3):
            raise ConfigError(f"data.channels is {self.channels!r}: expected 1 or 3")


@dataclasses.dataclass(frozen=True)
class GANConfig:
    """The conditional GAN; the defaults are MathWorks' example for R2021."""

    # side of the GAN's images, in pixels: 7 to 16 times a power of two
    image_size: int = 64
    latent_size: int = 100  # random numbers that an image is drawn from
    embedding_size: int = 50  # numbers that a class becomes, of the condition concat
    filters: int = 64  # of the widest maps; they double as maps get smaller
    projection: int = 1024  # channels of the generator's first map
    kernel_size: int = 5  # side of the convolutions, in pixels
    dropout: float = 0.75  # share of the discriminator's input that is dropped
    # how the generator is told the class: beside the latent, or by scales and shifts
    generator_condition: Literal["concat", "batchnorm"] = "concat"
    # how the discriminator is told the class: as a channel, or by a projection of its features
    discriminator_condition: Literal["concat", "projection"] = "concat"
    loss: Literal["bce", "hinge"] = "bce"  # bce: binary cross-entropy
    r1: float = 0.0  # weight of the gradient penalty on real images; 0 is off
    # steps from one penalty to the next, which then weighs as many times more (lazy
    # regularisation: Karras et al., "Analyzing and improving the image quality of
    # StyleGAN", 2020, appendix B)
    r1_every: int = 1
    # whether the generator's update sees the discriminator before or after its own
    update: Literal["simultaneous", "alternating"] = "simultaneous"
    flip: float = 0.5  # share of real images called fake in a discriminator update
    # reflect: real images alone. diffaug, gentle: all that the discriminator sees; gentle
    # changes less, and reflects real images
    augment: Literal["none", "reflect", "diffaug", "gentle"] = "reflect"
    # weight of drawing every real image at its own code; 0 is off; needs update alternating
    anchor: float = 0.0
    spread: float = 1.0  # standard deviation of latents
    patches: bool = False  # the discriminator judges places of its middle maps too
    average_half_life: float = 0.0  # of the averaged generator, in steps; 0 is off
    steps: int = 500  # updates of a training
    batch_size: int = 128  # real images of an update, and as many drawn ones
    # see OptimConfig
    generator_optim: OptimConfig = OptimConfig("adam", 2e-4, b1=0.5, l2=0.0)
    # see OptimConfig
    discriminator_optim: OptimConfig = OptimConfig("adam", 2e-4, b1=0.5, l2=0.0)

    def __post_init__(self):
        _check_choices("gan", self)
        _check_int("gan", self, 1, "latent_size", "embedding_size", "filters")
        _check_int("gan", self, 1, "projection", "steps", "batch_size", "r1_every")
        _check_int("gan", self, 2, "kernel_size")
        _check_int("gan", self, 14, "image_size")
        _check_float("gan", self, 0.0, 1.0, "dropout", "flip")
        _check_float("gan", self, 0.0, math.inf, "r1", "average_half_life", "anchor")
        _check_float("gan", self, 1e-3, math.inf, "spread")
        if self.anchor and self.batch_size < 2:
            raise ConfigError(f"gan.batch_size is {self.batch_size}: expected 2 with gan.anchor")
        if self.anchor and self.update != "alternating":
            raise ConfigError(
                f"gan.anchor is {self.anchor}: expected 0, since gan.update is {self.update!r}"
            )
        require_optimiser("gan.generator_optim", self.generator_optim)
        require_optimiser("gan.discriminator_optim", self.discriminator_optim)
        if self.start_size > 16 or self.start_size == self.image_size:
            raise ConfigError(
                f"gan.image_size is {self.image_size}: expected 7 to 16 times a power "
                "of two, such as 32, 64, 96, 128 or 224"
            )

    @property
    def start_size(self) -> int:
        """Side of the map after the generator's first transposed convolution: the
        image halved while it stays whole and at least 7 pixels (64 -> 8, 224 -> 7)."""
        size = self.image_size
        while size % 2 == 0 and size // 2 >= 7:
            size //= 2
        return size

    @property
    def doublings(self) -> int:
        """How often the generator doubles its map after the first one."""
        return (self.image_size // self.start_size).bit_length() - 1


@dataclasses.dataclass(frozen=True)
class CNNConfig:
    """Two convolutions, two pools, a fully connected layer (paper, section 2-3-1); and what
    else helps."""

    filters: tuple[int, ...] = (32, 64)  # of each convolution, two or more of them
    kernel_size: int = 3  # side of the convolutions, in pixels
    first_kernel_size: int = 0  # side of the first convolution; 0 is as the others
    first_stride: int = 1  # of the first convolution, in pixels
    # after each convolution; in four groups, or two or one where four do not divide its filters
    norm: Literal["none", "group"] = "none"
    pool: Literal["max", "average", "min"] = "max"  # what is kept of each square of a map
    pool_size: int = 3  # side of these squares, in pixels
    pool_stride: int = 2  # from one square to the next, in pixels
    interleave: bool = True  # conv pool conv pool; else conv conv pool pool
    last_pool: int = 1  # side of the squares whose averages the last map becomes; 1 leaves it
    # each filter beside its mirror image: of z = f(x) and z' = flip(f(flip(x))), which are of the
    # same place, the CNN goes on with z + z' and |z - z'|
    mirror: bool = False
    # what is read of the map, or of a row of it: all of it, or mean and maximum
    summary: Literal["all", "average_max"] = "all"
    dropout: float = 0.0  # share of what is read that is dropped
    features: int = 128  # of the fully connected layer, which the summary all has

    def __post_init__(self):
        _check_choices("cnn", self)
        _check_int("cnn", self, 1, "kernel_size", "pool_size", "pool_stride", "features")
        _check_int("cnn", self, 1, "first_stride", "last_pool")
        _check_int("cnn", self, 0, "first_kernel_size")
        _check_float("cnn", self, 0.0, 1.0, "dropout")
        found = self.filters
        some = isinstance(found, tuple) and len(found) >= 2
        if not some or not all(isinstance(n, int) and n >= 1 for n in found):
            raise ConfigError(
                f"cnn.filters is {found!r}: expected whole numbers of at least 1, two or more"
            )
        if not self.interleave and len(found) > 2:
            raise ConfigError(f"cnn.interleave is False: expected True with {len(found)} filters")


@dataclasses.dataclass(frozen=True)
class HybridConfig:
    """Table 1 of the paper: FC, sigmoid, FC, LSTM, dropout, LSTM, dropout, FC, FC."""

    # what the LSTM reads as time steps. vector, scalar: the CNN's features at once, or one by
    # one. rows: rows of its map. both: rows, and columns in an LSTM of their own.
    # bidirectional: rows from either end. mirrored: each place of the map beside its mirror
    # place, row by row, without cnn.mirror's folding
    sequence: Literal["vector", "scalar", "rows", "both", "bidirectional", "mirrored"] = "vector"
    hidden_size: int = 40  # units of each LSTM
    dropout: float = 0.2  # share of an LSTM's output that is dropped
    fc2: int = 128  # units of Table 1's layer 2
    fc4: int = 64  # units of Table 1's layer 4
    fc10: int = 20  # units of Table 1's layer 10; layer 11 has one per class
    standardise: bool = False  # the CNN's features become z-scores (mode two_stage only)

    def __post_init__(self):
        _check_choices("hybrid", self)
        _check_int("hybrid", self, 1, "hidden_size", "fc2", "fc4", "fc10")
        _check_float("hybrid", self, 0.0, 1.0, "dropout")


@dataclasses.dataclass(frozen=True)
class ClassifierConfig:
    """How the CNN and the hybrid are trained (Table 2, and MATLAB's defaults)."""

    # two_stage: the CNN, then the hybrid on its features. end_to_end: both at once. cnn: the
    # CNN and its softmax
    mode: Literal["two_stage", "end_to_end", "cnn"] = "two_stage"
    epochs: int = 20  # passes over the training images, of each stage
    batch_size: int = 15  # images of an update
    shuffle: Literal["once", "every_epoch"] = "once"  # when training images change their order
    partial: Literal["drop", "pad"] = "drop"  # what becomes of a last batch that is not full
    # balanced: each class counts alike in the loss, however many images it has
    class_weight: Literal["none", "balanced"] = "none"
    # of training images. standard: flips, shifts, gain. strong: turns, sizes, shifts, gamma,
    # gain, noise
    augment: Literal["none", "standard", "strong"] = "none"
    label_smoothing: float = 0.0  # share of a target that all classes get alike
    average_half_life: float = 0.0  # of the averaged parameters, in steps; 0 is off
    # in pixels: a prediction is the mean over the image in its place and moved so far to each
    # of its eight sides; 0 is off
    predict_shift: int = 0
    optim: OptimConfig = OptimConfig()  # see OptimConfig

    def __post_init__(self):
        _check_choices("classifier", self)
        _check_int("classifier", self, 1, "epochs", "batch_size")
        _check_int("classifier", self, 0, "predict_shift")
        _check_float("classifier", self, 0.0, 1.0, "label_smoothing")
        _check_float("classifier", self, 0.0, math.inf, "average_half_life")
        require_optimiser("classifier.optim", self.optim)


@dataclasses.dataclass(frozen=True)
class Config:
    """What is trained, and on what.

    Hashable: pass it as a static argument.
    """

    data: DataConfig = DataConfig()
    gan: GANConfig = GANConfig()
    cnn: CNNConfig = CNNConfig()
    hybrid: HybridConfig = HybridConfig()
    classifier: ClassifierConfig = ClassifierConfig()
    intervals: int = 20  # reports of a training, each with samples
    # of activations; parameters, their updates, losses and logits stay float32; auto:
    # bfloat16 on a GPU or TPU, float32 on a CPU
    compute: Literal["auto", "float32", "bfloat16"] = "float32"

    def __post_init__(self):
        require_names(self)
        _check_int("config", self, 1, "intervals")
        if self.hybrid.standardise and self.classifier.mode != "two_stage":
            raise ConfigError(
                "hybrid.standardise is True: expected False, since classifier.mode is "
                f"{self.classifier.mode!r} and features move while they are trained"
            )
        if self.hybrid.sequence == "mirrored" and self.cnn.summary != "all":
            raise ConfigError(
                f"cnn.summary is {self.cnn.summary!r}: expected 'all', since hybrid.sequence is "
                "'mirrored' and reads places, not summaries of rows"
            )

    @classmethod
    def from_dict(cls, values: dict, where: str = "config") -> "Config":
        """The configuration whose `dataclasses.asdict` gave some JSON values, such as
        `config` in a run's `config.json`.

        Args:
            values: every field, sections as dictionaries; lists stand for tuples.
            where: what messages call it.

        Raises:
            ConfigError: see `saved.read`.

        Example:
            >>> import json
            >>> values = json.loads(json.dumps(dataclasses.asdict(Config())))
            >>> Config.from_dict(values) == Config()
            True
        """
        return saved.read(cls, values, where)
