"""Labels that methods doubt: a part of the ladder's page."""

from jaxbrain.reports.drawing import number
from jaxbrain.reports.page import Block, Figure, Heading, Text, new_table


def section(results: dict) -> list[Block]:
    """Labels to look at; nothing where none is doubted."""
    found = results.get("doubts")
    if not found or not found["images"]:
        return []
    names = list(results["data"]["found"])
    all_wrong = sum(one["wrong"] == one["answers"] for one in found["images"])
    header = ["image", "label", "mean probability of it", "wrong"]
    rows = [
        [one["id"], names[one["label"]], number(one["belief"], 2), f"{one['wrong']} of {n}"]
        for one in found["images"]
        for n in (one["answers"],)
    ]
    return [
        Heading("Look at these labels"),
        Text(
            "Real images whose labels the methods that look at pixels "
            f"({', '.join(found['classifiers'])}) believe least under {found['protocol']}: "
            f"{all_wrong} of them wrong in every answer. A hard image and a wrong label look "
            "alike here."
        ),
        new_table("The least believed labels", (header, rows), "doubts"),
        Figure("doubts.png", "These images, the least believed first"),
    ]
