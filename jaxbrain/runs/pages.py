"""The report of a run in its directory: `report.md`, `report.html`, and every table as CSV and
LaTeX; with how to repeat it, from what its `config.json` holds."""

import dataclasses
import json
import re
import shlex
from pathlib import Path

from jaxbrain.reports import page as pages
from jaxbrain.reports.html import html
from jaxbrain.reports.latex import latex
from jaxbrain.reports.page import Bullets, Code, Details, Heading, Page
from jaxbrain.runs import files
from jaxbrain.runs.workdir import CONFIG

MARKDOWN, HTML, TABLES = "report.md", "report.html", "tables"
_REPEAT = "How to repeat it"
# Text of others never begins a line like these: it is escaped.
_OF_PICTURES = "![", "##", "<details>", "</details>"
# Of `config.json`, what is said in words.
_SAID = "command", "commit", "jaxbrain", "started", "floats"


def write(directory: str | Path, page: Page, run: str | Path | None = None) -> None:
    """Write a page's `report.md`, `report.html`, `tables/<name>.csv` and `.tex`, each whole or
    not at all.

    directory: where it goes, and where its pictures are. run: the directory whose
    `config.json` says how to repeat it, if another.
    """
    directory = Path(directory)
    page = pages.with_pictures(page, directory)
    again = how_to_repeat(Path(run or directory))
    page = dataclasses.replace(page, blocks=(*page.blocks, *again))
    files.write_text(directory / MARKDOWN, pages.markdown(page))
    files.write_text(directory / HTML, html(page, directory))
    folder = directory / TABLES
    folder.mkdir(exist_ok=True)
    written = set()
    for table in pages.tables(page):
        own = folder / f"{table.name}.csv", folder / f"{table.name}.tex"
        files.write_csv(own[0], list(table.header), map(_missing_empty, table.rows))
        files.write_text(own[1], latex(table))
        written.update(own)
    # Of an earlier report, which had other tables.
    for path in {*folder.glob("*.csv"), *folder.glob("*.tex")} - written:
        path.unlink()


def _missing_empty(row) -> list:
    return ["" if cell == "-" else cell for cell in row]


def numbers(text: str) -> list[tuple[int, str]]:
    """The lines of a `report.md` that follow from a run's numbers alone, each with its number
    from 1: without pictures and the headings above them, and how to repeat it, which are of one
    directory."""
    own = text.partition(f"\n## {_REPEAT}\n")[0].splitlines()
    found = enumerate(own, start=1)
    return [(n, line) for n, line in found if line and not line.startswith(_OF_PICTURES)]


def how_to_repeat(run: Path) -> tuple[pages.Block, ...]:
    """The last section of a report: the command, when and on what it ran, the whole
    configuration; nothing where no run's `config.json` is."""
    path = run / CONFIG
    if not path.is_file():
        return ()
    config = json.loads(path.read_text(encoding="utf-8"))
    command = config.get("command") or ""
    settings = {name: value for name, value in config.items() if name not in _SAID}
    # In a directory of its own: in this one it would find all done.
    shown = Code(_elsewhere(command)) if command else pages.Text("It was called as a library.")
    about = Bullets(tuple(_about(config, command)))
    whole = Details("The whole configuration", (Code(json.dumps(settings, indent=2)),))
    return Heading(_REPEAT), shown, about, whole


def _elsewhere(command: str) -> str:
    """A command without the work directory that it names.

    Example:
        >>> _elsewhere("jaxbrain paper --workdir 'runs/a b' --seeds 2")
        'jaxbrain paper --seeds 2'
    """
    kept, words = [], iter(shlex.split(command))
    for word in words:
        if word == "--workdir":
            next(words, None)
        elif not word.startswith("--workdir="):
            kept.append(word)
    return shlex.join(kept)


def _about(config: dict, command: str) -> list[str]:
    floats = config.get("floats") or {}
    lines = []
    if found := re.search(r"--preset[ =](\w+)", command):
        lines.append(f"preset: {found[1]}")
    if started := config.get("started"):
        lines.append(f"begun: {started}")
    code = [f"version {config['jaxbrain']}"] if config.get("jaxbrain") else []
    code += [f"commit {config['commit']}"] if config.get("commit") else []
    lines.append(f"jaxbrain: {', '.join(code) or 'version not known'}")
    packages = [f"{name} {floats[name]}" for name in ("jax", "jaxlib", "flax", "optax") if floats]
    lines.append(", ".join(packages))
    if devices := floats.get("devices"):
        kinds = ", ".join(f"{devices.count(one)} x {one}" for one in dict.fromkeys(devices))
        lines.append(f"devices: {kinds} ({floats.get('backend')}), {floats['cpu_count']} CPU cores")
    return [line for line in lines if line]
