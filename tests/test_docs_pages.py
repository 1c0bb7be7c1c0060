"""README and the pages hold together: links lead somewhere, commands are ones that we have."""

import importlib
import json
import re
import shlex
import tomllib
from pathlib import Path
from unittest import mock

import pytest
from test_docs import PAGES, ROOT

from jaxbrain import commands
from jaxbrain.commands import common
from jaxbrain.errors import ConfigError

MARKDOWN = [
    *PAGES,
    *(ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", ".github/SECURITY.md")),
    ROOT / "benchmarks" / "README.md",
]
NAMES = [str(path.relative_to(ROOT)) for path in MARKDOWN]


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("path", MARKDOWN, ids=NAMES)
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        assert "://" not in target, f"{target}: nothing here needs another site"
        name, _, anchor = target.partition("#")
        found = (path.parent / name).resolve() if name else path
        assert found.exists(), target
        assert ROOT in found.parents, target
        if anchor:
            assert anchor in anchors(found), target


def test_every_page_is_listed_and_leads_back():
    index = ROOT / "jaxbrain" / "docs" / "index.md"
    for page in PAGES[1:]:
        if page != index:
            assert f"({page.name})" in index.read_text(), page
            assert "(index.md)" in page.read_text(), page


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) < 250


def commands_of(path: Path) -> list[tuple[str, str]]:
    """(verb, flags) of the commands that stand in a page's code, in lines of their own or in words
    between backquotes, which may be broken over lines."""
    text = path.read_text()
    if path.suffix == ".ipynb":
        texts = [cell["source"] for cell in json.loads(text)["cells"]]
        text = "\n".join("".join(lines) for lines in texts)
    inline = re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    lines = [*text.splitlines(), *(" ".join(piece.split()) for piece in inline if "\n" in piece)]
    pattern = r"(?:python -m experiments\.|python -m jaxbrain |`jaxbrain )(\w+)([^#'\"&`]*)"
    found = [match for line in lines for match in re.findall(pattern, line)]
    # A verb alone may be no more than its name.
    return [(verb, flags) for verb, flags in found if verb != "VERB" and flags.strip()]


class Parsed(Exception):
    """The flags of a command were read, and nothing was done yet."""


def check(verb: str, flags: str) -> None:
    """Refuse a command as its entry point would; do nothing else of it."""
    read = common.parse

    def stop(*arguments, **options):
        read(*arguments, **options)
        raise Parsed

    with mock.patch.object(common, "parse", stop), pytest.raises(Parsed):
        importlib.import_module(f"jaxbrain.commands.{verb}").main(shlex.split(flags))


def test_commands_are_ones_that_we_have():
    notebooks = sorted((ROOT / "experiments").glob("*.ipynb"))
    assert len(notebooks) == 2
    found = {one: path for path in [*MARKDOWN, *notebooks] for one in commands_of(path)}
    assert len(found) > 40
    for (verb, flags), path in found.items():
        assert verb in commands.VERBS, f"{path}: {verb}"
        if "--help" not in flags:
            check(verb, flags)


def test_a_command_that_is_wrong_is_found():
    for verb, flags in (("ladder", "--sedes 5"), ("paper", "--preset huge"), ("sample", "--n 3")):
        with pytest.raises(ConfigError):
            check(verb, flags)


def test_benchmarks_of_the_pages_exist():
    for path in MARKDOWN:
        for name in re.findall(r"python -m benchmarks\.(\w+)", path.read_text()):
            assert (ROOT / "benchmarks" / f"{name}.py").is_file(), f"{path}: {name}"


def test_files_that_pages_name_exist():
    for path in PAGES:
        for name in re.findall(r"`((?:tests|jaxbrain|experiments)/[\w/]+\.\w+)", path.read_text()):
            assert (ROOT / name).is_file(), f"{path}: {name}"


def test_the_citation_is_of_this_version():
    cited = (ROOT / "CITATION.cff").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"\nversion: {project['version']}\n" in cited
    assert f"\nlicense: {project['license']}\n" in cited
    assert cited.startswith("cff-version: 1.2.0\n") and "\nauthors:\n" in cited
