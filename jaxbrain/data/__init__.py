"""Pictures in, arrays out."""

from jaxbrain.data import phantom
from jaxbrain.data.folder import load_folder
from jaxbrain.data.records import Records
from jaxbrain.data.sources import load_data

__all__ = ["Records", "load_data", "load_folder", "phantom"]
