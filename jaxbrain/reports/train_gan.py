"""GANs with a held-out share as a table and a page, from what `results.json` holds."""

from jaxbrain.reports import drawing
from jaxbrain.reports.drawing import markdown, markdown_table, number, percent

_MEANS = (
    "The probe learns training images from synthetic ones and is tested on held-out and on "
    "further synthetic ones, as many of each: 50 % means that it cannot tell them apart. KID is "
    "that of texture, between samples and held-out images; the checkpoint of its least value is "
    "what `sample` and `audit` draw from (the probe: from the last). Frechet "
    "distances are those of 8 x 8 thumbnails, to the training images; none of these numbers says "
    "whether training images are copied: `jaxbrain audit` measures that. Synthetic images are for "
    "research and are not anonymous."
)


def sides(results: dict) -> list[str]:
    """Lines that say how many images are on which side."""
    lines = []
    for name, found in results["data"].items():
        if name in ("source", "root") or not (total := sum(found["images"].values())):
            continue
        counts = "  ".join(f"{one} {n}" for one, n in found["images"].items())
        lines.append(f"{name:<9} {total} images of {found['groups']} groups: {counts}")
    return lines


def _seeds(results: dict) -> tuple[list[str], list[list[str]]]:
    header = ["seed", "held-out KID", "least, at step", "thumbnail Frechet", "spread"]
    header.append("spread of real images")
    rows = []
    for one in results["seeds"]:
        gan, (low, high) = one["gan"], one["probe"]["interval"]
        judged = ["-"] * 4
        if last := gan["last"]:
            best, score = gan["best"], "kid_held_out"
            judged = [
                number(last.get(score), 3),
                f"{number(best.get(score), 3)}, {best['step']}" if score in best else "-",
                number(last["frechet_thumbnail"], 3),
                number(last["sample_spread"], 3),
            ]
        probe = f"{percent(one['probe']['accuracy'])} ({percent(low)}..{percent(high)})"
        rows.append([str(one["seed"]), *judged, number(gan["real_spread"], 3), probe])
    return [*header, "probe, % (95 %)"], rows


def _warnings(results: dict) -> list[str]:
    found = [f"seed {one['seed']}: {text}" for one in results["seeds"] for text in _of(one)]
    found = [*results.get("warnings", ()), *found]
    return found + [f"{one['name']}: {one['why']}" for one in results.get("skipped", ())]


def _of(seed: dict) -> list[str]:
    return seed["gan"]["warnings"]


def page(results: dict) -> str:
    """`report.md`."""
    parts = [
        "# The GAN, with held-out images",
        f"Images ({results['data']['source']}), {percent(results['held_out'])} % of the groups of "
        "each class held out (`images.csv` has the side of each):",
        "\n".join(f"- {markdown(text)}" for text in sides(results)),
        markdown_table(*_seeds(results)),
        _MEANS,
        "## Warnings",
        "\n".join(f"- {markdown(text)}" for text in _warnings(results))
        or "None: no GAN was seen to collapse.",
    ]
    return "\n\n".join(parts) + "\n"


def show(console, results: dict) -> None:
    """Print the table of the seeds, and what it means."""
    console.print(drawing.new_table("GANs, by seed", *_seeds(results)))
    drawing.say(console, *_warnings(results), _MEANS)
