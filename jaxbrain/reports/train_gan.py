"""GANs with a held-out share as a table and a page, from what `results.json` holds."""

from jaxbrain.reports import terminal
from jaxbrain.reports.drawing import number, percent
from jaxbrain.reports.page import (
    Bullets,
    Details,
    Facts,
    Figure,
    Heading,
    Page,
    Prose,
    Warnings,
    new_table,
)

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
    header = ["seed", "held-out KID", "least, at step", "thumbnail Frechet", "real against real"]
    header += ["spread", "spread of real images"]
    rows = []
    for one in results["seeds"]:
        gan, (low, high) = one["gan"], one["probe"]["interval"]
        judged = ["-"] * 5
        if last := gan["last"]:
            best, score = gan["best"], "kid_held_out"
            judged = [
                number(last.get(score), 3),
                f"{number(best.get(score), 3)}, {best['step']}" if score in best else "-",
                number(last["frechet_thumbnail"], 3),
                number(last.get("frechet_halves"), 3),
                number(last["sample_spread"], 3),
            ]
        probe = f"{percent(one['probe']['accuracy'])} ({percent(low)}..{percent(high)})"
        rows.append([str(one["seed"]), *judged, number(gan["real_spread"], 3), probe])
    return [*header, "probe, % (95 %)"], rows


def _warnings(results: dict) -> list[str]:
    found = [*results.get("warnings", ())]
    found += [f"seed {one['seed']}: {text}" for one in results["seeds"] for text in _of(one)]
    return found + [f"{one['name']}: {one['why']}" for one in results.get("skipped", ())]


def _of(seed: dict) -> list[str]:
    return seed["gan"]["warnings"]


def page(results: dict) -> Page:
    """The run's report: how each GAN's images compare with held-out ones."""
    summary = (
        f"Images ({results['data']['source']}), {percent(results['held_out'])} % of the groups of "
        "each class held out.",
    )
    blocks = (
        Facts(tuple(_facts(results))),
        Heading("Warnings"),
        Warnings(tuple(_warnings(results)), "None: no GAN was seen to collapse."),
        Heading("GANs by seed"),
        new_table("Synthetic images beside held-out ones", _seeds(results), "seeds"),
        Prose(_MEANS),
        Figure("progress.png", "Losses and scores while training"),
        Heading("Which images were held out"),
        Bullets(tuple(sides(results))),
        Prose("`images.csv` has the side of each."),
        Heading("Images"),
        Figure("samples/*_beside.png", "Training, held-out and synthetic images"),
        Details("Drawn while training", (Figure("samples/*.png", "Drawn"),)),
    )
    return Page("The GAN, with held-out images", summary, blocks)


def _facts(results: dict) -> list[tuple[str, str, str]]:
    """Of the first seed's GAN."""
    first = results["seeds"][0]
    last = first["gan"]["last"] or {}
    of = f"seed {first['seed']}"
    low, high = map(percent, first["probe"]["interval"])
    probe = f"of a probe that tells held-out from synthetic images, {of} (95 %: {low} to {high})"
    return [
        ("Right", f"{percent(first['probe']['accuracy'])} %", f"{probe}; 50: it cannot"),
        ("Held-out KID", number(last.get("kid_held_out"), 3), f"{of}, at the last step"),
        ("Thumbnail Frechet", number(last.get("frechet_thumbnail"), 3), f"{of}, the same"),
    ]


def show(console, results: dict) -> None:
    """Print what was found in a few lines, then the table of the seeds."""
    total = sum(one["probe"]["n"] for one in results["seeds"])
    mean = sum(one["probe"]["accuracy"] for one in results["seeds"]) / len(results["seeds"])
    many = f", mean of {len(results['seeds'])} seeds" if len(results["seeds"]) > 1 else ""
    lines = [
        *(("images", " ".join(text.split())) for text in sides(results)),
        (
            "probe",
            f"tells synthetic images from held-out ones: {percent(mean)} % (50 %: it cannot), "
            f"n = {total}{many}",
        ),
        *(("warning", text) for text in terminal.some(_warnings(results))),
        (
            "note",
            "Whether training images are copied is not known from this: jaxbrain audit measures "
            "it. Synthetic images are for research and are not anonymous.",
        ),
    ]
    terminal.summary(console, lines)
    terminal.table(console, "GANs, by seed", *_seeds(results))
