"""What people hand in, one of each kind, comes into Gold as they would expect."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.lakes import LAKE_PIPELINES
from tests.support.project import project_copy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.project import Project

LAKE = f"--pipelines=ingest_bronze,{','.join(LAKE_PIPELINES)}"
HEADER = "faculdade,rede_social,data_postagem,video_id,views,likes,comentarios"
UTC_EVENING = dt.datetime(2026, 1, 31, 20, tzinfo=dt.UTC)

CSV: dict[str, tuple[str, dict[str, Any]]] = {
    # one id on two networks is two videos
    "ids_azul": (f"{HEADER}\nAzul,tiktok,2026-01-30,1,12040,800,31\n", {}),
    "ids_verde": (f"{HEADER}\nVerde,kwai,2026-01-29,1,500,40,2\n", {}),
    # a row with more values than the header costs itself alone
    "longer": (
        f"{HEADER}\nAzul,tiktok,2026-01-30,l1,1,1,1,x\nAzul,tiktok,2026-01-30,l2,2,1,1\n",
        {"schema_drift": "freeze"},
    ),
    # a quote behind a backslash is no escape, unless that is declared
    "quotes": (
        f'{HEADER},titulo_video\nAzul,tiktok,2026-01-30,q1,1,1,1,"a"\n'
        'Azul,tiktok,2026-01-30,q2,2,1,1,"dita \\"aula\\", 2"\n'
        'Azul,tiktok,2026-01-30,q3,3,1,1,"b"\n',
        {},
    ),
    "escaped": (
        f'{HEADER},titulo_video\nAzul,tiktok,2026-01-30,e1,1,1,1,"dita \\"aula\\", 2"\n',
        {"escape": "\\"},
    ),
    "long": (
        f"{HEADER},transcricao\nAzul,tiktok,2026-01-30,long,7,1,1,{'aula ' * 30_000}\n",
        {},
    ),
    # times as people write them; the last one is none
    "times": (
        f"{HEADER},ingestion_ts\n"
        + "".join(
            f'Azul,tiktok,2026-01-30,t{number},1,1,1,"{text}"\n'
            for number, text in enumerate(
                (
                    "2026-01-31T20:00:00Z",
                    "2026-01-31T20:00Z",
                    "20260131T200000Z",
                    "2026-01-31 17:00:00-03",
                    "2026-01-31T20:00:00,000+0000",
                    "31/01/2026 20:00",
                )
            )
        ),
        {},
    ),
    # ids with blanks around them, and dates without leading zeros
    "youtube": (
        "Video,Publish time,Views,Likes\nTotal,,3,2\naz1,8-May-20,1,1\n -b2,12-Nov-20,2,1\n",
        {
            "fields": {
                "faculdade": {"constant": "Azul"},
                "rede_social": {"constant": "youtube"},
                "data_postagem": {"field": "Publish time", "format": "%-d-%b-%y"},
                "video_id": "Video",
                "views": "Views",
                "likes": "Likes",
            },
            "ignore": {"Video": "Total"},
        },
    ),
    # one institution, however its name is composed and blanks stand around it
    "names": (
        f"{HEADER}\nEscola Ação,kwai,2026-01-30,n1,1,1,1\n"
        "Escola Ac\u0327a\u0303o\u00a0,kwai,2026-01-30,n2,2,1,1\n",
        {},
    ),
}
RECORDS: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
    "epoch": (
        [{"author": "Azul", "createTime": 1769803200, "id": "7601", "playCount": 9}],
        {
            "faculdade": "author",
            "rede_social": {"constant": "tiktok"},
            "data_postagem": {"field": "createTime", "format": "epoch"},
            "posted_at": {"field": "createTime", "format": "epoch"},
            "video_id": "id",
            "views": "playCount",
        },
    ),
    # counters as text, one that is absent, and nested fields
    "api": (
        [
            {"id": "a1", "snippet": {"at": "2026-01-30T10:00:00Z"}, "n": {"v": "12040", "l": "8"}},
            {"id": "a2", "snippet": {"at": "2026-01-30T10:00:00Z"}, "n": {"v": "5"}},
        ],
        {
            "faculdade": {"constant": "Azul"},
            "rede_social": {"constant": "youtube"},
            "data_postagem": "snippet.at",
            "video_id": "id",
            "views": {"field": "n.v", "text": True},
            "likes": {"field": "n.l", "text": True, "optional": True},
        },
    ),
}
ROW = {"faculdade": "Azul", "rede_social": "tiktok", "data_postagem": "2026-01-30"}
TABLES: dict[str, pa.Table] = {
    "binary": pa.table(
        {name: [value.encode()] for name, value in ROW.items()}
        | {"video_id": [b"b1"], "views": [3], "likes": [1], "comentarios": [1]}
    ),
    "decimals": pa.table(
        {name: [value] * 2 for name, value in ROW.items()}
        | {"video_id": ["d1", "d2"], "views": [Decimal("12040.00"), Decimal("1.50")]}
        | {"likes": [8.0, 1.0], "comentarios": [1.0, 1.0], "watch_time": [float("nan"), 1.5]}
    ),
}


@pytest.fixture(scope="module")
def rows(open_folder: Path) -> Iterator[dict[tuple[str, str], dict[str, Any]]]:
    """The rows of Silver, by source and video."""
    with project_copy(open_folder) as copy:
        yield ingested(copy)


def ingested(copy: Project) -> dict[tuple[str, str], dict[str, Any]]:
    """Ingest every file as a source of its own; return the rows of Silver by source and video."""
    folder = copy.root / "exports"
    folder.mkdir()
    sources: dict[str, dict[str, Any]] = {}
    for name, (text, options) in CSV.items():
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
        sources[name] = {"format": "csv", **options}
    for name, (records, fields) in RECORDS.items():
        lines = "".join(f"{json.dumps(record)}\n" for record in records)
        (folder / f"{name}.jsonl").write_text(lines)
        sources[name] = {"format": "jsonl", "fields": fields}
    for name, table in TABLES.items():
        pq.write_table(table, folder / f"{name}.parquet")
        sources[name] = {"format": "parquet"}
    for name, source in sources.items():
        source |= {"type": "files", "path": f"exports/{name}.{source['format']}"}
    copy.configure(
        "parameters_sources.yml", sources=sources, networks=["tiktok", "kwai", "youtube"]
    )
    copy.run(LAKE)
    table = pq.read_table(copy.root / "data/silver/criacao").to_pylist()
    return {(row["run_id"].rpartition("-2026-")[0], row["video_id"]): row for row in table}


ACCEPTED = {
    "ids_azul": {"1": 12040},
    "ids_verde": {"1": 500},
    "longer": {"l2": 2},
    "quotes": {"q1": 1, "q3": 3},
    "escaped": {"e1": 1},
    "long": {"long": 7},
    "times": {f"t{number}": 1 for number in range(5)},
    "youtube": {"az1": 1, "-b2": 2},
    "names": {"n1": 1, "n2": 2},
    "epoch": {"7601": 9},
    "api": {"a1": 12040, "a2": 5},
    "binary": {"b1": 3},
    "decimals": {"d1": 12040},
}


@pytest.mark.parametrize("source", ACCEPTED)
def test_each_kind_of_file_gives_its_videos(
    rows: dict[tuple[str, str], dict[str, Any]], source: str
) -> None:
    views = {video: row["views"] for (name, video), row in rows.items() if name == source}
    assert views == ACCEPTED[source]


def test_values_are_as_they_were_written(rows: dict[tuple[str, str], dict[str, Any]]) -> None:
    assert {rows["names", video]["faculdade"] for video in ("n1", "n2")} == {"Escola Ação"}
    assert {rows["times", f"t{number}"]["ingestion_ts"] for number in range(5)} == {UTC_EVENING}
    assert rows["escaped", "e1"]["titulo_video"] == 'dita "aula", 2'
    assert str(rows["youtube", "az1"]["data_postagem"]) == "2020-05-08"
    assert str(rows["epoch", "7601"]["data_postagem"]) == "2026-01-30"
    assert (rows["api", "a1"]["likes"], rows["api", "a2"]["likes"]) == (8, None)
    assert rows["binary", "b1"]["faculdade"] == "Azul"
