"""The ladder as a table, a figure and a page, from what `ladder.json` holds."""

from jaxbrain.reports import doubts, findings, terminal, worth
from jaxbrain.reports.drawing import accuracy, number, p_value, percent, points
from jaxbrain.reports.page import (
    Block,
    Bullets,
    Details,
    Facts,
    Figure,
    Heading,
    Page,
    Prose,
    Text,
    Warnings,
    new_table,
)

_CELL = ["protocol", "generator", "classifier", "labels"]
# Heading, protocol, generator (None: the row's own), labels.
_COLUMNS = (
    *((protocol, protocol, None, "true") for protocol in ("P0", "P1", "P2", "P3")),
    ("P3 without synthesis", "P3", "none", "true"),
    ("P4", "P4", None, "true"),
    ("shuffled, P0", "P0", None, "shuffled"),
    ("shuffled, P3", "P3", None, "shuffled"),
)
_EXTERNAL = (
    "P4: fitted on all images of the data, tested on another source's, those taken out that copy "
    "one of the data. `external.csv` lists them all. Its interval resamples groups too (one seed "
    "without copies among the tested: Wilson)."
)
MEANING = {
    "L2": "P0 - P1: synthetic images in the test set",
    "L1": "P1 - P2: the generator saw the test's real images",
    "L3+L4": "P2 - P3: copies on both sides of the split",
    "synthesis": "P3 - P3 without synthesis: what synthetic images add when nothing leaks",
}
_UNKNOWN = (
    "What remains: the images carry no patient ids, so slices of one patient that do not look "
    "alike cannot be recognised, and P3 is still an upper estimate."
)
_INTERVALS = (
    "Intervals resample groups of near-duplicates with all seeds' answers (one seed of a "
    "holdout: Wilson); they hold the uncertainty about images, not about other training runs. "
    "Research only: not a medical device."
)


def remains(results: dict) -> str:
    """What the numbers cannot say, for the end of a page."""
    ids = " and ".join(results["data"].get("patient_ids", ()))
    known = f"Images of one patient are kept together, by {ids}: as far as those ids are true."
    return f"{known if ids else _UNKNOWN} {_INTERVALS}"


def methods(results: dict) -> list[tuple[str, str]]:
    """(classifier, generator) of each row of the ladder."""
    return list(dict.fromkeys((c["classifier"], c["generator"]) for c in results["cells"]))


def lookup(results: dict, row: tuple[str, str], column) -> dict | None:
    """The cell of one of `methods` in one of `columns`."""
    _, protocol, generator, labels = column
    classifier, own = row
    # Real images that are seen otherwise beside synthetic ones than without: not one scale.
    if generator == "none" and [own, classifier] in results.get("other_view", ()):
        return None
    wanted = [protocol, generator or own, classifier, labels]
    return next((cell for cell in results["cells"] if [cell[k] for k in _CELL] == wanted), None)


def columns(results: dict) -> list[tuple]:
    """(heading, protocol, generator or None for the row's own, labels) of each column that the
    study has: P4 only with another source's images."""
    return [column for column in _COLUMNS if column[1] != "P4" or results.get("external")]


def outside(results: dict, classifier: str) -> list[str]:
    """What a classifier knows of other images, as a column of its own; none where no
    classifier of the study knows any."""
    known = results.get("outside")
    return [known.get(classifier, "none")] if known else []


def outside_heading(results: dict) -> list[str]:
    return ["outside data"] if results.get("outside") else []


def _ladder(results: dict) -> tuple[list[str], list[list[str]]]:
    shown = columns(results)
    header = ["classifier", "generator", *outside_heading(results), *(c[0] for c in shown)]
    rows = [
        [
            *row,
            *outside(results, row[0]),
            *(accuracy(lookup(results, row, column)) for column in shown),
        ]
        for row in methods(results)
    ]
    return header, rows


def _leaks(results: dict) -> tuple[list[str], list[list[str]]]:
    names, rows = ["classifier", "generator", "leak"], []
    for leak in results["leaks"]:
        shown = "..".join(map(points, leak["interval"] or ())) or "-"
        rows.append([*(leak[name] for name in names), points(leak["difference"]), shown])
    return [*names, "points", "95 % interval"], rows


def _parts(results: dict) -> tuple[list[str], list[list[str]]]:
    """Accuracy by what is tested: real images with and without a twin, synthetic ones."""
    header = ["all", "real", "real, twin in training", "real, no twin", "synthetic", "n"]
    names = "accuracy", "accuracy_real", "accuracy_twin", "accuracy_no_twin", "accuracy_synthetic"
    rows = [
        [*(cell[k] for k in _CELL), *(percent(cell[name]) for name in names), str(cell["n"])]
        for cell in results["cells"]
    ]
    return [*_CELL, *header], rows


def _metrics(results: dict) -> tuple[list[str], list[list[str]]]:
    chosen = [
        c for c in results["cells"] if c["labels"] == "true" and c["protocol"] in ("P0", "P3", "P4")
    ]
    names = list(chosen[0]["metrics"]) if chosen else []
    rows = [
        [
            *(cell[k] for k in _CELL[:3]),
            *outside(results, cell["classifier"]),
            *(number(cell["metrics"][name], 3) for name in names),
        ]
        for cell in chosen
    ]
    return [*_CELL[:3], *outside_heading(results), *names], rows


def _comparisons(results: dict) -> tuple[list[str], list[list[str]]]:
    rows = []
    for one in results["comparisons"]:
        values = one["mcnemar_p_median"], one["corrected_t_p"], one.get("corrected_t_p_holm")
        first, second = (" + ".join(reversed(one[name])) for name in ("first", "second"))
        tests = f"{one['num_tests']} of {one['num_tests'] + one['num_tests_of_one']}"
        shown = map(p_value, values)
        rows.append([first, second, tests, points(one["difference"]), *shown])
    header = ["first", "second", "tests of both", "points", "McNemar p (median of seeds)"]
    return [*header, "corrected t p", "Holm"], rows


def _identity(results: dict) -> list[str]:
    """What P0's accuracy is made of: A = w * A_synthetic + (1 - w) * A_real."""
    lines = []
    for cell in results["cells"]:
        if cell["protocol"] == "P0" and cell["labels"] == "true" and cell["generator"] != "none":
            w = 1.0 - cell["n_real"] / cell["n"]
            lines.append(
                f"P0, {cell['classifier']} + {cell['generator']}: {percent(cell['accuracy'])} = "
                f"{w:.3f} x {percent(cell['accuracy_synthetic'])} (synthetic) + {1 - w:.3f} x "
                f"{percent(cell['accuracy_real'])} (real)"
            )
    return lines


def missing(results: dict) -> list[str]:
    """A line for each cell that lacks some of its trainings."""
    seeds, folds = results["seeds"], results["folds"]
    return [
        f"{cell['protocol']}, {cell['classifier']} + {cell['generator']} ({cell['labels']} "
        f"labels): {cell['num_tests']} of {wanted} trainings; the others are missing"
        for cell in results["cells"]
        for wanted in (seeds if cell["protocol"] == "P4" else seeds * folds,)
        if cell["num_tests"] < wanted
    ]


def heading(results: dict) -> list[str]:
    """Lines that say what was studied."""
    data, groups, audit = results["data"], results["groups"], results["audit"]
    by_class = ", ".join(f"{n} {name}" for name, n in data["found"].items())
    of_groups = ", ".join(f"{groups[name]} {name}" for name in data["found"])
    how = "each its own draw and test set"
    if results["split"] == "kfold":
        how = f"{results['folds']} folds each"
    positive = f" (positive: {results['positive']})" if results.get("positive") else ""
    return [
        f"{data['source']}: {by_class}{positive}; {groups['total']} groups ({of_groups}), "
        f"{audit['distinct']} distinct pictures, {audit['near_pairs']} near pairs, "
        f"{audit['across_classes']} across classes, {audit['flipped_pairs']} when mirrored"
        + _apart(audit),
        f"{results['split']}, seeds {results['seeds']}, {how}",
        *external_lines(results),
    ]


def _apart(audit: dict) -> str:
    count = audit.get("flipped_apart")
    known = "which methods that compare mirror places know from one another"
    return f" ({count} in different groups, {known})" if count else ""


def external_lines(results: dict) -> list[str]:
    """What is known of another source's images; nothing without them."""
    other = results.get("external")
    if not other:
        return []
    tested = other["tested"].values()
    largest = 100 * max(tested) / sum(tested)
    lines = [
        f"P4, images of another source ({other['source']}): {other['sentence']}; always the "
        f"largest class there: {largest:.1f} %"
    ]
    if missing := [name for name in results["data"]["found"] if not other["tested"].get(name)]:
        lines.append(
            f"P4 tests no image of class {', '.join(missing)}: what metrics say of it is no more "
            "than 0 or 1"
        )
    return lines


def page(results: dict) -> Page:
    """The study's report: the ladder, what each leak is worth, what is tested, comparisons."""
    blocks = [
        Facts(tuple(_facts(results))),
        Heading("Warnings"),
        Warnings(tuple(_warnings(results))),
        Heading("The ladder"),
        new_table("Accuracy, % (95 % interval)", _ladder(results), "ladder"),
        *([Prose(_EXTERNAL)] if results.get("external") else []),
        Figure("ladder.png", "Accuracy down the ladder, and what each leak is worth"),
        *findings.page(results),
    ]
    if results["leaks"]:
        blocks += [
            Heading("What each leak is worth"),
            new_table("Points of accuracy", _leaks(results), "leaks"),
            Bullets(tuple(f"{leak}: {text}" for leak, text in MEANING.items())),
        ]
    blocks += [*worth.section(results), *_tested(results)]
    if results["comparisons"]:
        table = new_table("Paired on the same tests", _comparisons(results), "comparisons")
        blocks += [Heading("Paired comparisons under P3"), table]
    blocks += [
        *doubts.section(results),
        Heading("Synthetic images"),
        Details("Drawn while training", (Figure("samples/*.png", "Drawn"),)),
        Heading("What remains"),
        Text(remains(results)),
    ]
    return Page("The ladder", tuple(heading(results)), tuple(blocks))


def _tested(results: dict) -> list[Block]:
    """What the accuracies are made of, the probes, and the metrics."""
    blocks = [
        Heading("What is tested"),
        *map(Text, _identity(results)),
        new_table("Accuracy by what is tested, %", _parts(results), "parts"),
    ]
    if probes := [c for c in results["cells"] if c["labels"] == "origin"]:
        rows = [[c["classifier"], c["generator"], accuracy(c)] for c in probes]
        table = ["classifier", "generator", "accuracy"], rows
        blocks.append(Heading("Real or synthetic? (0.5: cannot tell)"))
        blocks.append(new_table("Telling synthetic from real images, %", table, "probes"))
    shown = "P0, P3 and P4" if results.get("external") else "P0 and P3"
    table = new_table("With true labels", _metrics(results), "metrics")
    return [*blocks, Heading(f"Metrics under {shown}"), table]


def _facts(results: dict) -> list[tuple[str, str, str]]:
    """The best under P3, and what it costs to say nothing."""
    found = results["data"]["found"]
    facts = []
    clean = [c for c in results["cells"] if c["protocol"] == "P3" and c["labels"] == "true"]
    if clean:
        best = max(clean, key=lambda cell: cell["accuracy"])
        drawn = "" if best["generator"] == "none" else f" with {best['generator']}"
        what = f"{best['classifier']}{drawn}: the best of {len(clean)} rows, so a little lucky"
        facts.append(("Accuracy where nothing leaks (P3)", f"{accuracy(best)} %", what))
    share = percent(max(found.values()) / sum(found.values()))
    facts.append(("Always the largest class", f"{share} %", "needs no image"))
    groups, images = results["groups"]["total"], sum(found.values())
    return [*facts, ("Images", str(images), f"in {groups} groups of near-duplicates")]


def _warnings(results: dict) -> list[str]:
    return [
        *results.get("warnings", ()),
        *missing(results),
        *findings.left_out(results),
        *findings.lines(results),
    ]


def show(console, results: dict) -> None:
    """Print what was found in a few lines, then what synthesis and each leak are worth, and the
    ladder."""
    terminal.summary(console, _summary(results))
    worth.show(console, results)
    if results["leaks"]:
        terminal.table(console, "What each leak is worth, points", *_leaks(results), keys=3)
        found = {leak["leak"] for leak in results["leaks"]}
        meaning = [(leak, text) for leak, text in MEANING.items() if leak in found]
        terminal.summary(console, meaning)
    outsides = len(outside_heading(results))
    header, rows = _ladder(results)
    if all(generator == "none" for _, generator in methods(results)):
        # Nothing is with synthesis.
        at = header.index("P3 without synthesis")
        header, *rows = ([*row[:at], *row[at + 1 :]] for row in (header, *rows))
    title = "The ladder: accuracy, % (95 % interval)"
    terminal.table(console, title, header, rows, keys=2 + outsides)


def in_words(cell: dict) -> str:
    """The accuracy of a cell, its interval and the number of answers, in per cent."""
    text = f"{100 * cell['accuracy']:.1f} %"
    if cell["interval"]:
        low, high = cell["interval"]
        text += f" (95 %: {100 * low:.1f} to {100 * high:.1f} %)"
    return text + (f", n = {cell['n']} answers" if cell.get("n") else "")


def what_ran(results: dict) -> str:
    """The images and the splits of a study, for the first line of a summary."""
    data = results["data"]
    found = ", ".join(f"{n} {name}" for name, n in data["found"].items())
    images = "phantoms, not brain images" if data["source"] == "phantoms" else "images"
    how = "each its own draw" if results["split"] != "kfold" else f"{results['folds']} folds each"
    seeds = "1 seed" if results["seeds"] == 1 else f"{results['seeds']} seeds"
    groups = f"{results['groups']['total']} groups of copies"
    return f"{images}: {found}, in {groups}; {results['split']}, {seeds}, {how}"


def _summary(results: dict) -> list[tuple[str, str]]:
    data, lines = results["data"], [("run", what_ran(results))]
    for protocol, meaning in _SHOWN.items():
        own = [c for c in results["cells"] if c["protocol"] == protocol and c["labels"] == "true"]
        if own:
            best = max(own, key=lambda cell: cell["accuracy"])
            name = best["classifier"]
            name += "" if best["generator"] == "none" else f" + {best['generator']}"
            name = f"highest of {len(own)}, {name}" if len(own) > 1 else name
            lines.append((protocol, f"{meaning}: {in_words(best)}: {name}"))
    largest = max(data["found"].values()) / sum(data["found"].values())
    lines.append(("guessing", f"always the largest class: {100 * largest:.1f} %"))
    warned = [*missing(results), *findings.left_out(results), *findings.lines(results)]
    lines += [("warning", text) for text in terminal.some(warned)]
    ids = " and ".join(data.get("patient_ids", ()))
    patients = f"by {ids}" if ids else "only where they look alike"
    return [*lines, ("note", f"Images of one patient are kept together {patients}. {RESEARCH}")]


_SHOWN = {
    "P0": "the paper's protocol, which leaks",
    "P3": "nothing leaks that can be known",
    "P4": "another source's images",
}
RESEARCH = "Research only, not a medical device."
