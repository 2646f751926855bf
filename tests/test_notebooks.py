"""The notebooks run as they stand, in a kernel of their own, with RL4BIO_FAST=1."""

from __future__ import annotations

import ast
import os
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
FIVE = {"starter", "pubmedqa", "sft_and_compare", "therapeutics", "molecules"}


def read(path: Path) -> Any:
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def test_there_is_one_a_task() -> None:
    assert {path.stem for path in NOTEBOOKS} == FIVE


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_each_has_a_cell_for_the_real_checkpoint(path: Path) -> None:
    """It is not executed here, but its configuration ships and its code is code."""
    from rl4bio.config.load import load_config

    cells = [cell for cell in read(path).cells if "gpu" in cell.metadata.get("tags", [])]
    assert len(cells) == 1
    for node in ast.walk(ast.parse(cells[0].source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "rl4bio.run":
            assert isinstance(node.args[0], ast.Constant)
            keywords = {word.arg: word.value for word in node.keywords if word.arg}
            given = {name: ast.literal_eval(value) for name, value in keywords.items()}
            load_config(node.args[0].value, [f"{name}={value}" for name, value in given.items()])


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_each_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient = pytest.importorskip("nbclient")
    specification = pytest.importorskip("jupyter_client.kernelspec")
    notebook = read(path)
    notebook.cells = [cell for cell in notebook.cells if "gpu" not in cell.metadata.get("tags", [])]
    for name, value in {"RL4BIO_FAST": "1", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "jupyter"))
    client = nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.create_kernel_manager()
    client.km._kernel_spec = specification.KernelSpec(
        argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        display_name="this Python",
        language="python",
    )
    client.execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("text/html" in output.get("data", {}) for output in shown)  # the picture of a run
    assert list((tmp_path / "runs").glob("*/report.html"))
