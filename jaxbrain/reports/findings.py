"""What a ladder says of its generators: what they looked at, what they copied, which fits of
folders are not there."""

from jaxbrain.reports.drawing import percent, points
from jaxbrain.reports.page import Block, Heading, Text, new_table

_MOST = 5


def _where(fit: str) -> str:
    _, _, _, seed, fold = fit.split("/")
    return f"fold {fold} of seed {seed}"


def left_out(results: dict) -> list[str]:
    """A line for each generator some of whose fits have no images."""
    lines = []
    for one in results.get("left_out", ()):
        names = [name.partition("/")[2] for name in one["fits"]]
        more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
        lines.append(
            f"{one['generator']}: {len(names)} fits have no synthetic images, so {one['cells']} "
            f"cells are left out: {', '.join(names[:_MOST])}{more} ({'; '.join(one['why'])})"
        )
    return lines


def _looked(results: dict) -> list[str]:
    return [
        f"{leak['generator']} with {leak['classifier']}: P1 - P2 is {points(leak['difference'])} "
        f"points ({points(leak['interval'][0])}..{points(leak['interval'][1])}): what it draws "
        "hands on the test images that it was fitted on under P1"
        for leak in results["leaks"]
        if leak["leak"] == "L1" and leak["interval"] and leak["interval"][0] > 0
    ]


def _copied(results: dict) -> list[str]:
    lines = []
    for one in results.get("copying", ()):
        if not one["beyond"]:
            continue
        worst, labels = one["worst"], "" if one["labels"] == "true" else ", shuffled labels"
        low, high = map(percent, one["interval"])
        lines.append(
            f"{one['generator']} ({one['protocol']}{labels}): {one['of_others']} of "
            f"{one['judged']} synthetic images ({low}..{high} %) are copies of test images that "
            "their fits were not given, and of no training image: it was fitted on more than its "
            f"training images; most in {_where(worst['fit'])}: {worst['of_others']} of "
            f"{worst['synthetic']}"
        )
    return lines


def lines(results: dict) -> list[str]:
    """What a reader must know of the generators before reading their rows."""
    return [*_copied(results), *_looked(results)]


def page(results: dict) -> list[Block]:
    """What synthetic images copy; nothing without any."""
    if not results.get("copying"):
        return []
    threshold = results["audit"].get("threshold", 0.98)
    return [
        Heading("What synthetic images copy"),
        new_table("Copies among synthetic images", _copying(results), "copying"),
        Text(
            "A copy: a synthetic image, as it is or mirrored, whose thumbnail correlates with a "
            f"real one's at {threshold:g} or more. The last column: copies of test images that "
            "the fit was not given, which copy no training image."
        ),
    ]


def _copying(results: dict) -> tuple[list[str], list[list[str]]]:
    header = ["generator", "fits for", "labels", "fits", "synthetic", "copies of training"]
    rows = [
        [
            *(str(one[n]) for n in ("generator", "protocol", "labels", "fits", "synthetic")),
            f"{one['of_training']} ({percent(one['of_training'] / one['synthetic'])} %)",
            f"{one['of_others']} of {one['judged']}" if one["judged"] else "-",
        ]
        for one in results["copying"]
        if one["synthetic"]
    ]
    return [*header, "copies of test images alone"], rows
