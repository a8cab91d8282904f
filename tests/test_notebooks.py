"""The notebooks run on the lake that a run leaves, and hold no outputs in the repository."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import nbformat
import pytest
from nbclient import NotebookClient

from tests.conftest import ROOT

if TYPE_CHECKING:
    from tests.conftest import Project

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


PICTURES = {"explore_lake": 2, "three_questions": 3}


def reactions(project: Project) -> str:
    """What the notebook says of Gold, by a query of its file."""
    file = project.root / "data/gold/gold_video_views_dia_rede_social.csv"
    found = duckdb.sql(
        "SELECT rede_social, 100 * sum(total_likes + total_comentarios) / sum(total_views) AS rate "
        f"FROM '{file}' GROUP BY 1 ORDER BY 2 DESC"
    ).fetchall()
    return ", ".join(f"{name} {rate:.1f}" for name, rate in found)


def is_stripped(notebook: Path) -> bool:
    """Whether a notebook is as nbstripout would leave it."""
    nbstripout = Path(sys.executable).parent / "nbstripout"
    return subprocess.run([str(nbstripout), "--verify", str(notebook)], check=False).returncode == 0


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_holds_no_outputs(notebook: Path) -> None:
    assert is_stripped(notebook)


def test_the_notebooks_run_on_a_lake_with_a_quarantine(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MPLBACKEND", raising=False)  # Streamlit, once imported, sets it
    stray = project.root / "data/bronze/criacao/fonte=former/janela=2026-01-30T08/former.jsonl"
    stray.parent.mkdir(parents=True)
    stray.write_text('{"video_id": "of a source that is not declared any more"}\n')
    project.run("--pipelines=ingest_bronze,bronze_to_silver,silver_to_gold")
    (project.root / "notebooks").mkdir()

    assert NOTEBOOKS
    for path in NOTEBOOKS:
        copy = project.root / "notebooks" / path.name
        notebook = nbformat.read(path, as_version=4)
        resources = {"metadata": {"path": str(copy.parent)}}
        NotebookClient(notebook, timeout=120, resources=resources).execute()

        shown = [
            output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", ())
        ]
        assert sum("image/png" in data for data in shown) == PICTURES[path.stem]
        if path.stem == "explore_lake":
            assert any("source.undeclared" in data.get("text/html", "") for data in shown)
        else:
            said = "".join(
                output.get("text", "")
                for cell in notebook.cells
                for output in cell.get("outputs", ())
            )
            assert said.startswith(f"Reactions of 100 views: {reactions(project)}\n")
            assert len(said.splitlines()) == PICTURES[path.stem]

        nbformat.write(notebook, copy)
        assert not is_stripped(copy)  # a control: with outputs it is not
