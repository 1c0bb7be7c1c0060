"""What the methods of a study are shown of its real images, in the ways they can see."""

import functools

import numpy as np

from jaxbrain.baselines import floors
from jaxbrain.config import Config
from jaxbrain.data import duplicates
from jaxbrain.data.preprocess import resized
from jaxbrain.data.records import Records
from jaxbrain.errors import ConfigError
from jaxbrain.types import Dataset


def _levels(values: np.ndarray) -> np.ndarray:
    """[-1, 1] -> uint8."""
    return np.clip(np.round((values + 1.0) * 127.5), 0, 255).astype(np.uint8)


def thumbnails(image: np.ndarray) -> np.ndarray:
    """[N, S, S, 1] uint8 -> [N, 32, 32, 1] uint8; of that size they stay as they are."""
    if image.shape[1] == duplicates.SIDE:
        return np.asarray(image)
    small = [duplicates.small(one[..., 0] / np.float32(127.5) - 1.0) for one in image]
    shape = len(image), duplicates.SIDE, duplicates.SIDE, 1
    return _levels(np.float64(small).reshape(shape))


def flat(image: np.ndarray) -> np.ndarray:
    """[N, 32, 32, 1] uint8 -> [N, 1024] float64 in [-1, 1]."""
    return np.float64(image).reshape(len(image), -1) / 127.5 - 1.0


def enlarged(values: np.ndarray, side: int) -> np.ndarray:
    """[M, 1024] float in [-1, 1] -> [M, side, side, 1] uint8."""
    small = _levels(values).reshape(-1, duplicates.SIDE, duplicates.SIDE, 1)
    unused = np.zeros(len(small), np.int32)
    return np.asarray(resized(Dataset(small, unused, unused), side).image)


class Views:
    """The real images of a study, [N, ...] each; made when first asked for."""

    def __init__(self, cfg: Config, data: Dataset, records: Records | None):
        self._cfg, self._data, self._records = cfg, data, records

    @functools.cached_property
    def gan(self) -> np.ndarray:
        return np.asarray(resized(self._data, self._cfg.gan.image_size).image)

    @functools.cached_property
    def images(self) -> np.ndarray:
        data = self._data
        if self._cfg.data.degrade_reals:
            data = data._replace(image=self.gan)
        return np.asarray(resized(data, self._cfg.data.image_size).image)

    @functools.cached_property
    def thumbnails(self) -> np.ndarray:
        """Of the whole pictures, as the files have them."""
        if self._records is None:
            return self.prepared_thumbnails
        small = np.float64(self._records.small)
        return _levels(2.0 * small - 1.0).reshape(len(small), duplicates.SIDE, duplicates.SIDE, 1)

    @functools.cached_property
    def prepared_thumbnails(self) -> np.ndarray:
        return thumbnails(self.images)

    @functools.cached_property
    def files(self) -> np.ndarray:
        if self._records is None:
            raise ConfigError("a classifier sees files: expected records, the files' own")
        return floors.file_features(self._records)
