"""The notebook of the examples runs from its first cell to its last, and draws the report's figures."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

pytestmark = pytest.mark.slow

NOTEBOOK = Path(__file__).parents[1] / "examples" / "network_to_report.ipynb"
LIMIT_S = 300


def executed(notebook: Any, folder: Path) -> Any:
    client = NotebookClient(notebook, timeout=LIMIT_S, resources={"metadata": {"path": str(folder)}})
    client.execute()
    return notebook


def outputs(notebook: Any, kind: str) -> list[str]:
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [out["data"][kind] for cell in cells for out in cell.outputs if kind in out.get("data", {})]


def said(notebook: Any) -> str:
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return "".join(out["text"] for cell in cells for out in cell.outputs if out.output_type == "stream")


def test_it_goes_from_a_network_to_figures(tmp_path: Path) -> None:
    notebook = executed(nbformat.read(NOTEBOOK, as_version=4), tmp_path)
    text = said(notebook)
    assert [f"{name:6} pass: 0 of" in text for name in ("graph", "twin", "netx")] == [True] * 3
    drawn = outputs(notebook, "text/html")
    assert len(drawn) >= 6 and all("<iframe srcdoc=" in figure and "&lt;svg" in figure for figure in drawn)
    assert {"network.net", "twin.onnx", "report.html"} <= {path.name for path in tmp_path.iterdir()}


def test_a_broken_cell_is_seen(tmp_path: Path) -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    notebook.cells[1].source = "import spikeport\nspikeport.nothing"
    with pytest.raises(CellExecutionError, match="has no attribute 'nothing'"):
        executed(notebook, tmp_path)


def test_no_output_is_kept_in_it() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert all(not cell.outputs and cell.execution_count is None for cell in notebook.cells if cell.cell_type == "code")
