"""Notebooks run from top to bottom, with what is public, and keep their pictures."""

import ast
import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import geoseg
import geoseg.analysis

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
BOOKS = sorted(FOLDER.glob("*.ipynb"))
PUBLIC = {"geoseg": geoseg.__all__, "geoseg.analysis": geoseg.analysis.__all__}


def cells(book):
    return [cell for cell in book.cells if cell.cell_type == "code"]


def test_there_are_six():
    assert [book.name[:2] for book in BOOKS] == ["01", "02", "03", "04", "05", "06"]


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_a_notebook_imports_what_is_public(path):
    for cell in cells(nbformat.read(path, 4)):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.Import):
                names = [name.name for name in node.names if name.name.startswith("geoseg")]
                assert set(names) <= {"geoseg"}
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("geoseg"):
                assert {name.name for name in node.names} <= set(PUBLIC[node.module])


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_a_notebook_keeps_its_pictures_and_is_small(path):
    book = nbformat.read(path, 4)
    assert all(cell.execution_count for cell in cells(book))
    pictures = [o for cell in cells(book) for o in cell.outputs if "image/png" in o.get("data", {})]
    assert pictures
    assert path.stat().st_size < 700_000


# What the kernel leaves behind: sockets that are closed when they are collected.
@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, monkeypatch, tmp_path):
    root = str(FOLDER.parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    book = nbformat.read(path, 4)
    where = {"metadata": {"path": str(FOLDER)}}
    NotebookClient(book, timeout=300, kernel_name="python3", resources=where).execute()
    said = [o for cell in cells(book) for o in cell.outputs if o.output_type == "stream"]
    assert not [o.text for o in said if o.name == "stderr"]
