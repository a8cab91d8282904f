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
"""Enough for the first question, which compares two whole weeks after the first day."""

RESET = "%reset -f\nget_ipython().extension_manager.loaded.clear()"
"""Between two notebooks: no name of the one is left for the other, and it loads its extensions."""


OBSERVED = """
    CREATE TABLE observed AS
    SELECT * FROM read_parquet('{lake}/silver/observacao_dia/*/*.parquet', hive_partitioning = true)
"""
AGED = """
    CREATE TABLE aged AS
    SELECT faculdade || ' on ' || rede_social AS channel, data_postagem, views FROM observed
    WHERE data_observacao = (
        SELECT max(data_observacao) FROM observed AS other
        WHERE (other.rede_social, other.video_id) = (observed.rede_social, observed.video_id)
        AND other.data_observacao <= observed.data_postagem + 7
    ) AND (rede_social, video_id) IN (
        SELECT (rede_social, video_id) FROM observed WHERE data_observacao >= data_postagem + 7
    )
"""
GAINED = """
    SELECT sum(views_ganhas) FILTER (data_observacao BETWEEN '2026-01-24' AND '2026-01-30'),
           sum(views_ganhas) FILTER (data_observacao BETWEEN '2026-01-17' AND '2026-01-23')
    FROM observed
"""
AT_EQUAL_AGE = """
    SELECT avg(views) FILTER (data_postagem BETWEEN '2026-01-17' AND '2026-01-23'),
           avg(views) FILTER (data_postagem BETWEEN '2026-01-10' AND '2026-01-16')
    FROM aged
"""
TOO_YOUNG = """
    SELECT count(DISTINCT (rede_social, video_id)) FROM observed WHERE data_postagem > '2026-01-23'
"""
MOST = """
    SELECT faculdade || ' on ' || rede_social, sum(views_ganhas) FROM observed
    WHERE data_observacao BETWEEN '2026-01-24' AND '2026-01-30' GROUP BY 1 ORDER BY 2 DESC LIMIT 1
"""
BEST = """
    SELECT channel, avg(views) FROM aged
    WHERE data_postagem BETWEEN '2025-12-27' AND '2026-01-23' GROUP BY 1 ORDER BY 2 DESC LIMIT 1
"""


def answers(project: Project) -> list[str]:
    """Return what the questions should be answered on the last day, by queries of Silver."""
    with duckdb.connect() as db:
        db.execute(OBSERVED.format(lake=project.root / "data"))
        db.execute(AGED)

        def compared(query: str) -> tuple[str, str, str]:
            ((now, before),) = db.execute(query).fetchall()
            return f"{now:,.0f}", f"{before:,.0f}", f"{100 * (now / before - 1):+.1f} %"

        ((young,),) = db.execute(TOO_YOUNG).fetchall()
        ((most, gained),) = db.execute(MOST).fetchall()
        ((best, average),) = db.execute(BEST).fetchall()
        now, before, change = compared(GAINED)
        at_7_days, at_7_days_before, change_at_7_days = compared(AT_EQUAL_AGE)
    return [
        f"Gained from 2026-01-24 to 2026-01-30: {now} views; from 2026-01-17 to 2026-01-23: "
        f"{before} views; {change}",
        "Views of a post after 7 days, if posted from 2026-01-17 to 2026-01-23: "
        f"{at_7_days}; from 2026-01-10 to 2026-01-16: {at_7_days_before}; {change_at_7_days}; "
        f"posts still too young: {young}",
        f"Most is gained by {most}: {gained:,} views; "
        f"best after 7 days are posts of {best}: {average:,.0f} views",
    ]


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


def printed(notebook: Any) -> list[str]:
    """Return the lines that the cells printed."""
    return "".join(output.get("text", "") for output in outputs(notebook)).splitlines()


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_has_no_outputs(notebook: Path) -> None:
    assert is_stripped(notebook)


@pytest.mark.slow
def test_the_notebooks_run_on_a_lake_with_rejected_and_ignored_lines(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    import nbformat  # noqa: PLC0415

    monkeypatch.delenv("MPLBACKEND", raising=False)  # Streamlit, once imported, sets it
    declared = project.parameters("sources.yml")
    declared["sources"]["faker"]["history_days"] = HISTORY_DAYS
    declared["sources"]["faker"]["channels"] = declared["sources"]["faker"]["channels"][:3]
    declared["sources"]["faker"]["ignore"] = [{"categoria": "carreira"}]
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
        assert sum("image/png" in each for each in data) == PICTURES[path.stem]
        if path.stem == "explore_lake":
            assert any("source.undeclared" in each.get("text/html", "") for each in data)
        else:
            assert printed(notebook) == answers(project)

        nbformat.write(notebook, folder / path.name)
        assert not is_stripped(folder / path.name)  # a control: with outputs it is not


@pytest.mark.slow
@pytest.mark.parametrize(
    ("counters", "answer"),
    [
        ("lifetime", "no comparison yet, since videos were first observed on 2026-01-29"),
        ("period", "No gains yet"),
    ],
)
def test_what_a_young_lake_cannot_answer_is_said(
    project: Project, counters: str, answer: str
) -> None:
    import nbformat  # noqa: PLC0415

    declared = project.parameters("sources.yml")
    declared["sources"]["faker"] |= {"history_days": 3, "observation_days": 3, "counters": counters}
    project.configure("parameters_sources.yml", **declared)
    project.run("--pipelines=ingest_bronze,bronze_to_silver,silver_to_gold")
    folder = project.root / "notebooks"
    folder.mkdir()
    notebook = nbformat.read(ROOT / "notebooks/three_questions.ipynb", as_version=4)

    execute([notebook], folder)

    gained, at_equal_age, by_channel = printed(notebook)
    assert answer in gained
    assert "was observed 7 days after its posting; posts still too young: " in at_equal_age
    assert by_channel.endswith("no post was observed 7 days after its posting")
