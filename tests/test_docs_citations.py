"""What is cited is there for whoever reads it: no file of elsewhere, no path of one machine."""

import re
from pathlib import Path

import pytest

import jaxbrain

ROOT = Path(jaxbrain.__file__).parents[1]
# Pages that users do not have; issues without the project that they are of; folders of a machine.
PAGES = "PAPER DESIGN EVALUATION JAX RELIABILITY ECOSYSTEM DATASETS STYLE ACCELERATORS".split()
ABSENT = re.compile(rf"\b({'|'.join(PAGES)})\.md\b" + r"|\bissue #?\d+|(?<![\w.])/(work|root)/")
KINDS = {".cff", ".html", ".ipynb", ".j2", ".md", ".py", ".toml", ".yml"}


def written() -> list[Path]:
    found = [path for path in ROOT.glob("*") if path.is_file()]
    for folder in ("jaxbrain", "experiments", "benchmarks", "tests", ".ci"):
        found += (ROOT / folder).rglob("*")
    # Results hold the commands as they were typed.
    return [path for path in found if path.suffix in KINDS and "results" not in path.parts]


def test_nothing_is_cited_that_a_reader_does_not_have():
    paths = written()
    assert {"README.md", "pyproject.toml", "common.py"} <= {path.name for path in paths}
    for path in paths:
        if path != Path(__file__).resolve():
            found = ABSENT.search(path.read_text(encoding="utf-8"))
            assert not found, f"{path}: {found[0]}"


@pytest.mark.parametrize(
    "text, found",
    [("see PAPER.md", True), ("issue 12", True), ("/root/x", True), ("my/work/x", False)],
)
def test_what_is_found(text, found):
    assert bool(ABSENT.search(text)) == found
