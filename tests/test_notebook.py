"""The notebook of the first ten minutes: it runs as it is committed, offline, and shows pictures and tables."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "examples" / "quickstart.ipynb"


@pytest.fixture
def committed() -> nbformat.NotebookNode:
    found = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(found)
    return found


def test_what_is_committed_has_no_outputs_and_names_no_machine(committed):
    code = [cell for cell in committed.cells if cell.cell_type == "code"]
    assert code and all(not cell.outputs and cell.execution_count is None for cell in code)
    assert committed.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    assert all(cell.metadata == {} for cell in committed.cells)


def test_the_notebook_runs_and_shows_figures_tables_and_the_report(committed, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    NotebookClient(committed, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = {
        cell.source.splitlines()[-1]: output.data
        for cell in committed.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type == "execute_result"
    }
    # Nothing in it imports pyplot: the figures show themselves.
    for line in ("found.plot()", "result.plot()", 'comparison.plot("differences")'):
        assert shown[line]["image/png"], line
    assert sum("image/png" in data for data in shown.values()) == 4
    (scores,) = (data["text/html"] for line, data in shown.items() if line.startswith("result.scores"))
    assert "between.auc" in scores
    assert "<table" in shown["comparison"]["text/html"]
    (report,) = tmp_path.rglob("report.html")
    assert str(report) in next(data["text/html"] for line, data in shown.items() if line.startswith("HTML("))
