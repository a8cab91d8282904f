"""A column that is declared is in every layer, and the lake is as if it had always been."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from tests.support.lakes import LAKE_PIPELINES
from tests.support.project import project_copy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.project import Completed, Project

LAKE = f"--pipelines={','.join(LAKE_PIPELINES)}"
LINES = """\
{"canal":"A","dia":"2026-01-29","id":"v1","v":90,"l":9,"f":"reel","s":4,"em":"2026-01-30T11:00:00Z"}
{"canal":"A","dia":"2026-01-29","id":"v2","v":60,"l":1,"f":"short","s":null,"em":"2026-01-30T11:00:00Z"}
{"canal":"A","dia":"2026-01-29","id":"v1","v":99,"l":9,"f":"reel","s":7,"em":"2026-01-31T11:00:00Z"}
{"canal":"A","dia":"2026-01-29","id":"v3","v":50,"l":2,"f":"reel","s":-1,"em":"2026-01-31T11:00:00Z"}
"""
FIELDS: dict[str, Any] = {
    "faculdade": "canal",
    "rede_social": {"constant": "tiktok"},
    "data_postagem": "dia",
    "video_id": "id",
    "views": "v",
    "likes": "l",
    "ingestion_ts": "em",
}
MART = {
    "key": ["data_postagem", "formato"],
    "measures": {
        "salvos": {"sum": "salvos"},
        "mais_vistas": {"max": "views"},
        "taxa": {"ratio": ["likes", "views"]},
    },
}


@pytest.fixture
def mine(open_folder: Path) -> Iterator[Project]:
    """A project that has an export in Bronze, and its lake without columns of its own."""
    with project_copy(open_folder) as copy:
        export = copy.root / "export.jsonl"
        export.write_text(LINES)
        declare(copy, {}, FIELDS)
        copy.run("--pipelines=ingest_bronze," + LAKE.partition("=")[2])
        yield copy


def declare(project: Project, columns: dict[str, str], fields: dict[str, Any]) -> None:
    source = {"type": "files", "format": "jsonl", "path": "export.jsonl", "fields": fields}
    project.configure("parameters_sources.yml", sources={"mine": source})
    project.configure("parameters_columns.yml", columns=columns)
    marts = {"gold_canal": {"key": ["faculdade"], "measures": {"n": {"count": "video_id"}}}}
    marts |= {"gold_formato": MART} if columns else {}
    project.configure("parameters_marts.yml", marts=marts)


def tables(project: Project) -> dict[str, bytes]:
    """Return the files of Silver and Gold that users read."""
    files = project.files()
    return {path: files[path][0] for path in files if path.endswith((".parquet", ".jsonl", ".csv"))}


def text_of(result: Completed) -> str:
    return " ".join(result.stdout.split())


def test_a_declared_column_is_in_every_layer_also_of_earlier_lines(mine: Project) -> None:
    columns = {"formato": "string", "salvos": "int64"}
    declare(mine, columns, FIELDS | {"formato": "f", "salvos": "s"})
    plan = text_of(mine.run(LAKE, more=",plan=true"))
    rows, removed = map(int, re.findall(r"(\d+) rows to write, (\d+) to remove on", plan)[0])
    result = mine.run(LAKE)
    assert "Silver has other columns than are declared (formato, salvos)" in text_of(result)
    assert (rows, removed) == (2, 3)  # of videos: one is rejected now

    assert (mine.root / "data/gold/gold_formato.csv").read_text() == (
        "data_postagem,formato,salvos,mais_vistas,taxa\n"
        "2026-01-29,reel,7,99,0.090909\n"
        "2026-01-29,short,,60,0.016667\n"
    )
    assert mine.kedro("quarantine").stdout.split() == ["1", "salvos.negative"]
    days = pq.read_table(mine.root / "data/silver/observacao_dia").to_pylist()
    assert sorted((row["views"], row["salvos"]) for row in days if row["salvos"]) == [
        (90, 4),
        (99, 7),
    ]
    before = tables(mine)
    mine.run(LAKE, more=",full=true")
    assert tables(mine) == before
    assert "equals a rebuild" in mine.kedro("verify", "--full").stdout

    declare(mine, {}, FIELDS)
    mine.run(LAKE)
    assert "formato" not in pq.read_table(mine.root / "data/silver/criacao").column_names
    assert mine.kedro("quarantine").stdout == "No line is in quarantine.\n"


MARTS_OF_ANY_NAMES = {
    "gold_formato": {
        "key": ["data_postagem", "value", "v_right"],
        "measures": {"ultimas": {"last": "views"}, "n_right": {"max": "views"}},
    },
    "gold_idade": {
        "from": "observacao_dia",
        "key": ["data_postagem", "value", "categoria"],
        "measures": {"views_1d": {"sum": "views", "at_days": 1}},
    },
}


@pytest.mark.slow
def test_a_column_may_change_its_type_and_have_the_name_of_what_is_computed(mine: Project) -> None:
    declare(mine, {"value": "string", "v_right": "int64"}, FIELDS | {"value": "f", "v_right": "v"})
    mine.configure("parameters_marts.yml", marts=MARTS_OF_ANY_NAMES)
    mine.run(LAKE)
    gold = mine.root / "data/gold"
    assert (gold / "gold_formato.csv").read_text().splitlines()[1] == "2026-01-29,reel,50,50,50"
    assert (gold / "gold_idade.csv").read_text() == (
        "data_postagem,value,categoria,views_1d\n"
        "2026-01-29,reel,(não informado),90\n"
        "2026-01-29,short,(não informado),60\n"
    )

    numbers = FIELDS | {"value": "l", "v_right": "v"}
    declare(mine, {"value": "int64", "v_right": "int64"}, numbers)
    mine.configure("parameters_marts.yml", marts=MARTS_OF_ANY_NAMES)
    result = mine.run("--pipelines=silver_to_gold", check=False)
    assert "Silver was built without value as it is declared now" in " ".join(result.stderr.split())
    mine.run(LAKE)
    assert (gold / "gold_formato.csv").read_text().splitlines()[1] == "2026-01-29,1,60,60,60"
    before = tables(mine)
    mine.run(LAKE, more=",full=true")
    assert tables(mine) == before


@pytest.mark.slow
def test_gold_waits_for_a_column_that_silver_lacks(mine: Project) -> None:
    declare(mine, {"formato": "string", "salvos": "int64"}, FIELDS)
    result = mine.run("--pipelines=silver_to_gold", check=False)
    assert result.returncode == 1
    sentence = "marts.gold_formato: Silver was built without formato as it is declared now"
    assert sentence in " ".join(result.stderr.split())
    assert "Run 'kedro run'" in " ".join(result.stderr.split())
    result = mine.kedro("verify", "--full", check=False)
    assert "Silver has other columns than are declared" in result.stdout + result.stderr
