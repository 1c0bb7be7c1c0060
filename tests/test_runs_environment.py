"""Which code a run records: our version, and our commit alone."""

import importlib.metadata
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import jaxbrain
from jaxbrain.runs import environment

PACKAGE = Path(jaxbrain.__file__).parent
PROJECT = '[project]\nname = "jaxbrain"\nversion = "9.8.7"\n'


def git(folder: Path, *arguments) -> str:
    about = "user.name=a", "user.email=a@b", "commit.gpgsign=false", "core.hooksPath=/dev/null"
    settings = [word for one in about for word in ("-c", one)]
    command = ["git", "-C", str(folder), *settings, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def tree(tmp_path, monkeypatch) -> Path:
    """A repository with a copy of the package (of its first file) and its pyproject.toml."""
    (tmp_path / "jaxbrain").mkdir()
    shutil.copy(PACKAGE / "__init__.py", tmp_path / "jaxbrain")
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "all")
    monkeypatch.setattr(environment, "_ROOT", tmp_path.resolve())
    return tmp_path


def test_the_commit_of_our_own_tree(tree, monkeypatch):
    head = git(tree, "rev-parse", "HEAD")
    assert environment.code() == {"jaxbrain": "9.8.7", "commit": head}
    # What does not run is not looked at.
    (tree / "notes.txt").write_text("x")
    monkeypatch.setenv("GIT_DIR", str(tree / "of-a-hook"))
    assert environment.commit() == head
    (tree / "jaxbrain" / "new.py").write_text("")
    assert environment.commit() == f"{head}+changes"
    (tree / "jaxbrain" / "new.py").unlink()
    (tree / "jaxbrain" / "__init__.py").write_text("")
    assert environment.commit() == f"{head}+changes"


def test_a_copy_inside_a_repository_of_others(tree, monkeypatch):
    """Installed into an environment there, committed with it or not, or as a folder of theirs."""
    inside = tree / "venv" / "site-packages"
    shutil.copytree(tree / "jaxbrain", inside / "jaxbrain")
    monkeypatch.setattr(environment, "_ROOT", inside.resolve())
    assert environment.commit() is None
    git(tree, "add", ".")
    git(tree, "commit", "-qm", "with the environment")
    assert environment.commit() is None
    monkeypatch.setattr(environment, "_ROOT", tree.resolve())
    (tree / "pyproject.toml").write_text(PROJECT.replace("jaxbrain", "theirs"))
    assert environment.commit() is None
    # Ours, but not of this repository.
    (tree / "pyproject.toml").write_text(PROJECT)
    git(tree, "rm", "-rq", "--cached", "jaxbrain")
    assert environment.commit() is None


def test_the_version_of_an_installed_package_and_of_none(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "_ROOT", tmp_path)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.2.3")
    assert environment.version() == "1.2.3"

    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert environment.version() == "unknown"


def test_the_version_is_that_of_this_tree():
    text = (PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8")
    assert jaxbrain.__version__ == re.search(r'^version = "(.*)"', text, re.MULTILINE)[1]
