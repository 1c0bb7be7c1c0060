"""What a run says of its generators before and after its cells: fits that are left out, copies."""

from jaxbrain.reports import findings
from jaxbrain.runs.study import Session
from jaxbrain.scoring import copies
from jaxbrain.study import folders
from jaxbrain.study.study import Study


def left_out(study: Study) -> list[dict]:
    """For each generator some of whose fits have no images: these `fits`, `why`, and how many
    `cells` they take with them."""
    alike: dict[str, dict[str, str]] = {}
    for fit, why in study.without.items():
        alike.setdefault(fit.split("/")[0], {})[fit] = why
    return [
        {
            "generator": generator,
            "fits": list(found),
            "why": list(dict.fromkeys(found.values())),
            "cells": len({cell.name for cell in study.left_out if cell.fit in found}),
        }
        for generator, found in alike.items()
    ]


def first_lines(study: Study) -> list[str]:
    """What to say before anything is computed."""
    drawn = [one.fit_sample for one in study.shared.generators.values()]
    notes = [text for one in drawn if isinstance(one, folders.Drawn) for text in one.notes]
    lines = findings.left_out({"left_out": left_out(study)})
    return [f"note   {text}" for text in notes] + [f"warn   {text}" for text in lines]


def last_lines(results: dict) -> list[str]:
    """What to say of them when all is known."""
    return [f"warn   {text}" for text in findings.lines(results)]


def described(opened: Session) -> dict:
    """What `ladder.json` says of them; `again` follows from it."""
    return {"left_out": left_out(opened.study), "copied": copies.rows(opened.copied)}


def again(results: dict) -> dict:
    """What follows from the counts of copies; nothing of runs of an earlier version."""
    return {"copying": copies.pooled(results["copied"])} if "copied" in results else {}
