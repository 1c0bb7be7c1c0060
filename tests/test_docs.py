"""What is written runs: the Python of README and pages, and the examples of docstrings."""

import dataclasses
import doctest
import importlib
import pkgutil
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import small
from PIL import Image

import jaxbrain
from jaxbrain import config

ROOT = Path(jaxbrain.__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "jaxbrain" / "docs").glob("*.md"))]


def modules() -> list[str]:
    found = pkgutil.walk_packages(jaxbrain.__path__, "jaxbrain.")
    return [one.name for one in found if one.name != "jaxbrain.__main__"]


def test_examples_of_docstrings():
    tried = 0
    for name in modules():
        result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
        assert result.failed == 0, name
        tried += result.attempted
    assert tried > 20


def test_no_example_is_left_out():
    for folder in ("jaxbrain", "experiments", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            assert "doctest: +SKIP" not in path.read_text(), path


def snippets() -> list[str]:
    found = [re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL) for page in PAGES]
    return [text for texts in found for text in texts]


@pytest.fixture
def tiny(monkeypatch):
    """`config.tiny` with every size cut down: its images keep their 48 pixels."""
    cfg = small()
    cut = dataclasses.replace(
        cfg,
        data=dataclasses.replace(cfg.data, image_size=48, n_per_class=8),
        gan=dataclasses.replace(cfg.gan, image_size=48, steps=4),
    )
    monkeypatch.setattr(config, "tiny", lambda: cut)


@pytest.mark.parametrize("text", snippets(), ids=lambda text: text.strip().splitlines()[-1][:40])
def test_the_pages_run(text, tiny, tmp_path, monkeypatch, request):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    text = text.replace("stop=100", "stop=2")
    # A snippet that is a file of its own begins with its name.
    name = re.match(r"# (\w+)\.py\n", text)
    if name:
        (tmp_path / f"{name[1]}.py").write_text(text)
        importlib.import_module(name[1])
        sys.modules.pop(name[1])
        return
    if "runs/first" in text:
        run, _ = request.getfixturevalue("finished")
        shutil.copytree(run, tmp_path / "runs" / "first")
        slope = np.tile(np.arange(64, dtype=np.uint8), (64, 1))
        Image.fromarray(slope).save(tmp_path / "slice.png")
    scope: dict = {}
    exec(compile(text, "page", "exec"), scope)  # noqa: S102, the pages are ours
    for value, shape in re.findall(r"^(\w+) = .*# \[([\d, ]+)\]", text, re.MULTILINE):
        assert list(scope[value].shape) == [int(n) for n in shape.split(",")], value


def test_the_pages_have_snippets():
    assert len(snippets()) >= 5
