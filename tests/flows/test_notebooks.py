"""The notebooks run on a lake, and have no outputs in the repository."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from tests.support.project import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.project import Project

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PICTURES = {"explore_lake": 2, "three_questions": 3}
HISTORY_DAYS = 16
"""Enough for the third question, which needs videos that were observed for two weeks."""

RESET = "%reset -f\nget_ipython().extension_manager.loaded.clear()"
"""Between two notebooks: no name of the one is left for the other, and it loads its extensions."""


def reactions(project: Project) -> str:
    """Return the answer to the first question, by a query of the file of Gold."""
    file = project.root / "data/gold/gold_video_views_dia_rede_social.csv"
    rows = duckdb.sql(
        "SELECT rede_social, 100 * sum(total_likes + total_comentarios) / sum(total_views) AS rate "
        f"FROM '{file}' GROUP BY 1 ORDER BY 2 DESC"
    ).fetchall()
    return ", ".join(f"{name} {rate:.1f}" for name, rate in rows)


def is_stripped(notebook: Path) -> bool:
    """Whether nbstripout would change nothing in a notebook."""
    from nbstripout._nbstripout import main as nbstripout  # noqa: PLC0415 - it is slow to import

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["nbstripout", "--verify", str(notebook)])
        for name in ("stdin", "stdout"):
            patch.setattr(sys, name, io.TextIOWrapper(io.BytesIO()))
        try:
            return not nbstripout()
        except SystemExit as end:
            return not end.code


def execute(notebooks: list[Any], folder: Path) -> None:
    """Run the cells of notebooks in one kernel, whose start takes longer than they do."""
    import nbformat  # noqa: PLC0415 - it is slow to import
    from nbclient import NotebookClient  # noqa: PLC0415

    cells = []
    for number, notebook in enumerate(notebooks):
        for cell in notebook.cells:
            cell.id = f"{number}-{cell.id}"
        cells += [*notebook.cells, nbformat.v4.new_code_cell(RESET)]
    joined = nbformat.v4.new_notebook(cells=cells, metadata=notebooks[0].metadata)
    NotebookClient(joined, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()


def outputs(notebook: Any) -> list[Any]:
    """Return the outputs of all cells."""
    return [output for cell in notebook.cells for output in cell.get("outputs", ())]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_has_no_outputs(notebook: Path) -> None:
    assert is_stripped(notebook)


def test_the_notebooks_run_on_a_lake_with_a_quarantine(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    import nbformat  # noqa: PLC0415

    monkeypatch.delenv("MPLBACKEND", raising=False)  # Streamlit, once imported, sets it
    declared = project.parameters("sources.yml")
    declared["sources"]["faker"]["history_days"] = HISTORY_DAYS
    declared["sources"]["faker"]["channels"] = declared["sources"]["faker"]["channels"][:3]
    project.configure("parameters_sources.yml", **declared)
    stray = project.root / "data/bronze/criacao/fonte=former/janela=2026-01-30T08/former.jsonl"
    stray.parent.mkdir(parents=True)
    stray.write_text('{"video_id": "of a source that is not declared any more"}\n')
    project.run("--pipelines=ingest_bronze,bronze_to_silver,silver_to_gold")
    folder = project.root / "notebooks"
    folder.mkdir()

    notebooks = {path: nbformat.read(path, as_version=4) for path in NOTEBOOKS}
    assert {path.stem for path in notebooks} == set(PICTURES)
    execute(list(notebooks.values()), folder)

    for path, notebook in notebooks.items():
        data = [output.get("data", {}) for output in outputs(notebook)]
        text = "".join(output.get("text", "") for output in outputs(notebook))
        assert sum("image/png" in each for each in data) == PICTURES[path.stem]
        if path.stem == "explore_lake":
            assert any("source.undeclared" in each.get("text/html", "") for each in data)
        else:
            assert text.startswith(f"Reactions of 100 views: {reactions(project)}\n")
            assert len(text.splitlines()) == PICTURES[path.stem]

        nbformat.write(notebook, folder / path.name)
        assert not is_stripped(folder / path.name)  # a control: with outputs it is not
