"""What a set of images is, as a page, from what `inspect` finds."""

from jaxbrain.reports.drawing import percent
from jaxbrain.reports.page import Bullets, Facts, Figure, Heading, Page, Prose, Warnings, new_table

_STATUS = "usable", "usable, with warnings", "refused"


def page(found: dict, sheet: str) -> Page:
    """The report on a set of images.

    found: see `runs.inspect.inspect`; sheet: the contact sheet's file.
    """
    error = [found["error"]] if found["error"] else []
    blocks = [
        Facts(tuple(_facts(found))),
        Heading("Warnings"),
        Warnings((*error, *found["warnings"])),
    ]
    if found["counts"]:
        rows = [[name, n, found["groups"][name]] for name, n in found["counts"].items()]
        table = ["class", "images", "groups of copies"], rows
        blocks += [Heading("Classes"), new_table("Images that can be read", table, "classes")]
        blocks += [Bullets(tuple(found["notes"]))] if found["notes"] else []
    if found["unreadable"]:
        rows = [[one["path"], one["reason"]] for one in found["unreadable"]]
        blocks += [Heading("Files that cannot be used")]
        blocks += [new_table("Each with its reason", (["file", "why"], rows), "unreadable")]
    if found["duplicates"]:
        rows = [[one["kind"], len(one["paths"]), ", ".join(one["paths"])] for one in _most(found)]
        table = ["kind", "images", "files"], rows
        blocks += [Heading("Copies"), new_table("The same picture, or nearly", table, "copies")]
        if left := len(found["duplicates"]) - len(rows):
            blocks.append(
                Prose(f"There are {left} groups more: `jaxbrain inspect --json` names them.")
            )
    blocks += [Heading("Images"), Figure(sheet, "Images of every class")]
    layout = f"layout {found['layout']}" if found["layout"] else "of no known layout"
    summary = f"{found['source']}: {layout}; {_STATUS[found['status']]}"
    return Page("A look at the images", (summary,), tuple(blocks))


_MOST = 50


def _most(found: dict) -> list[dict]:
    return found["duplicates"][:_MOST]


def _facts(found: dict) -> list[tuple[str, str, str]]:
    facts = [("Images", str(sum(found["counts"].values())), "that can be read")]
    if found["counts"]:
        facts.append(("Groups", str(found["groups"]["total"]), "copies share one"))
        positive = found["positive"] or "none"
        facts.append(("Positive class", positive, found["why_positive"] or ""))
    if files := found.get("metadata"):
        what = f"size, mode and length; the largest class {percent(files['majority'])} %"
        facts.append(("Accuracy of files alone", f"{percent(files['accuracy'])} %", what))
    return facts
