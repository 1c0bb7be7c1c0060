"""The notebooks run, and stand there with their outputs.

`python tests/test_notebooks.py` executes them anew and keeps what they show.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "experiments"
NAMES = "own_folder", "own_generator"


def execute(name: str):
    """A notebook, run from its first cell to its last in an empty folder."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    with tempfile.TemporaryDirectory() as place:
        where = {"metadata": {"path": place}}
        how = {"kernel_name": "python3", "timeout": 200, "record_timing": False}
        NotebookClient(notebook, resources=where, **how).execute()
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            # Pillow gives each picture twice.
            output.get("data", {}).pop("image/jpeg", None)
    # The version of Python that ran it says nothing of the notebook.
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook


def cells(name: str) -> list[dict]:
    notebook = json.loads((FOLDER / f"{name}.ipynb").read_text())
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


@pytest.mark.parametrize("name", NAMES)
def test_outputs_stand_there(name):
    text = (FOLDER / f"{name}.ipynb").read_text()
    assert len(text) < 300_000
    # Whoever runs it anew changes nothing by where and when.
    for trace in ("/tmp/", "/home", "/root", "site-packages", "Traceback", '"execution"'):  # noqa: S108
        assert trace not in text, trace
    counts = [cell["execution_count"] for cell in cells(name)]
    assert counts == list(range(1, len(counts) + 1))
    shown = [output for cell in cells(name) for output in cell["outputs"]]
    assert {output["output_type"] for output in shown} <= {"stream", "execute_result"}
    assert sum(output.get("name") == "stdout" for output in shown) >= 3
    assert not [output for output in shown if output.get("name") == "stderr"]
    assert any("image/png" in output.get("data", {}) for output in shown)


@pytest.mark.parametrize("name", NAMES)
def test_notebook_runs(name):
    for package in ("nbclient", "nbformat", "ipykernel"):
        pytest.importorskip(package, reason='pip install -e ".[notebooks]"')
    # A process of its own: the kernel's sockets and loops are not ours to be strict about.
    environment = os.environ | {"PYTHONPATH": str(FOLDER.parent), "JAX_PLATFORMS": "cpu"}
    program = f"from test_notebooks import execute; print(len(execute({name!r}).cells))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]


if __name__ == "__main__":
    import nbformat

    for one in NAMES:
        nbformat.write(execute(one), FOLDER / f"{one}.ipynb")
