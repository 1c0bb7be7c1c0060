"""Warnings of a run: what can be foreseen when it begins, and all of them at its end."""

import numpy as np

from jaxbrain.data.records import Records
from jaxbrain.runs.log import Log
from jaxbrain.runs.samples import judgement
from jaxbrain.runs.study import Session
from jaxbrain.scoring import alarms
from jaxbrain.types import Dataset

# Of many alike so many are shown.
_SHOWN = 3


def counts(data: Dataset, records: Records, n_per_class: int) -> tuple[dict, dict]:
    """Images by class: those that were found, and those that are used.

    n_per_class: at most, 0 for all.
    """
    label, names = np.asarray(data.label), records.class_names
    found = {name: int((label == k).sum()) for k, name in enumerate(names)}
    used = {name: min(count, n_per_class or count) for name, count in found.items()}
    return found, used


def of_images(data: Dataset, records: Records, n_per_class: int) -> list[str]:
    """What the number of images says before anything is trained."""
    found, used = counts(data, records, n_per_class)
    return [*alarms.unused(found, used), *alarms.small(used)]


def foreseen(log: Log, data: Dataset, records: Records, n_per_class: int) -> None:
    """Say `of_images` at the beginning, where it can still be changed."""
    warn(log, of_images(data, records, n_per_class))


def warn(log: Log, lines: list[str]) -> None:
    """Say warnings, a line each."""
    for text in lines:
        log.line(f"warning {text}")


def keep(log: Log, lines: list[str]) -> None:
    """Write warnings into `log.txt` alone: the summary of a run has shown them."""
    for text in lines:
        log.note(f"warning {text}")


def of_gans(opened: Session) -> list[str]:
    """What the reports of a study's generators say against them, the first of many."""
    found = [
        f"{fit.name}: {text}"
        for fit in opened.study.fits
        if fit.labels == "true" and (events := opened.log.of(fit.name))
        for text in judgement(events)["warnings"]
    ]
    more = [f"{len(found) - _SHOWN} more of generators: log.txt has them"]
    return found[:_SHOWN] + more * (len(found) > _SHOWN)
