"""Pictures in, arrays out."""

from jaxbrain.data import phantom
from jaxbrain.data.folder import Records, load_folder

__all__ = ["Records", "load_folder", "phantom"]
