"""The study: methods, protocols, cells."""

from jaxbrain.study.study import Prediction, study

__all__ = ["Prediction", "study"]
