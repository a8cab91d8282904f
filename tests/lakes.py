"""Lakes that a test fills by hand, and runs on them in this process or another."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from tests.oracle import rebuild

if TYPE_CHECKING:
    from tests.conftest import Project

NETWORKS = ["tiktok", "instagram_reels", "youtube_shorts"]
SOURCES: dict[str, Any] = {"faker": {"type": "faker"}}
LAKE_PIPELINES = ["bronze_to_silver", "silver_to_gold"]
LINE = {
    "faculdade": "GRAN",
    "rede_social": "tiktok",
    "data_postagem": "2026-01-30",
    "video_id": "v1",
    "views": 100,
    "likes": 10,
    "comentarios": 1,
    "ingestion_ts": "2026-01-31T11:00:00Z",
}


def line(**changes: Any) -> bytes:
    """A line of Bronze."""
    return json.dumps({**LINE, **changes}, ensure_ascii=False).encode() + b"\n"


def add(lake: Path, window: str, *lines: bytes, name: str = "criacao") -> Path:
    """Put an object into Bronze."""
    path = lake / f"bronze/criacao/fonte=faker/janela={window}/{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(lines))
    return path


def clear(data: Path) -> None:
    """Leave nothing in a lake."""
    for layer in ("bronze", "silver", "gold", "_tmp"):
        shutil.rmtree(data / layer, ignore_errors=True)


def run_here(project: Project, pipelines: list[str] = LAKE_PIPELINES, **params: Any) -> None:
    """`kedro run` in this process."""
    bootstrap_project(project.root)
    with KedroSession.create(project_path=project.root, runtime_params=params) as session:
        session.run(pipeline_names=pipelines)


def started(project: Project, *trace: str, options: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """`kedro run` in a process of its own, of which little may be left."""
    script = [sys.executable, str(Path(__file__).parent / "run_lake.py")]
    return subprocess.Popen(
        [*trace, *script, str(project.root), *LAKE_PIPELINES, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finished(process: subprocess.Popen[str]) -> tuple[int, str]:
    """How a process ended, and what it said."""
    said, _ = process.communicate(timeout=120)
    return process.returncode, said


def content(lake: Path) -> dict[str, Any]:
    """Silver, quarantine and Gold as another program reads them: by a glob over each layer."""
    files = [str(path) for path in (lake / "silver/criacao").rglob("*.parquet")]
    query = (
        "SELECT video_id, views, rede_social, data_postagem::DATE::VARCHAR, ingestion_ts::VARCHAR"
        " FROM read_parquet(?, hive_partitioning=true) ORDER BY ALL"
    )
    with closing(duckdb.connect()) as db:
        db.execute("SET TimeZone = 'UTC'")
        rows = db.execute(query, [files]).fetchall() if files else []
    quarantine = {}
    for path in sorted((lake / "silver/quarentena").rglob("*.jsonl")):
        for text in path.read_text().splitlines():
            rejected = json.loads(text)
            quarantine[rejected["objeto"], rejected["linha"]] = set(rejected["regras"])
    gold = {path.name: path.read_text() for path in sorted((lake / "gold").glob("*.csv"))}
    return {"silver": rows, "quarantine": quarantine, "gold": gold}


def expected(lake: Path) -> dict[str, Any]:
    """What `content` must be, by the naive oracle."""
    layer = lake / "bronze/criacao"
    objects = {p.relative_to(layer).as_posix(): p.read_bytes() for p in layer.rglob("*.jsonl")}
    naive = rebuild(objects, SOURCES, NETWORKS)
    rows = sorted(
        (
            row["video_id"],
            row["views"],
            row["rede_social"],
            str(row["data_postagem"]),
            row["ingestion_ts"].isoformat(" ").replace("+00:00", "+00"),
        )
        for row in naive.silver.values()
    )
    gold = {}
    for column in ("rede_social", "faculdade"):
        head = f"data_postagem,{column},total_views,total_likes,total_comentarios,total_videos"
        lines = [
            f"{key[0]},{key[1]},{','.join(map(str, totals))}"
            for key, totals in naive.mart("data_postagem", column).items()
        ]
        gold[f"gold_video_views_dia_{column}.csv"] = "\n".join([head, *lines]) + "\n"
    return {"silver": rows, "quarantine": naive.quarantine, "gold": gold}


def identity_holds(lake: Path) -> bool:
    """Whether the head's accounts close, and equal the lines counted from the bytes."""
    total = yaml.safe_load((lake / "silver/head.json").read_text())["total"]
    lines = sum(
        bool(text.strip())
        for path in (lake / "bronze").rglob("*.jsonl")
        for text in path.read_bytes().split(b"\n")
    )
    parts = total["current"] + total["superseded"] + total["quarantined"]
    return bool(total["lines"] == lines == parts)


def whole(data: Path) -> bool:
    """Whether each file of the lake can be read to its end."""
    try:
        for path in data.glob("silver/**/*.parquet"):
            pq.read_table(path)
        for path in [*data.glob("silver/**/*.json"), *data.glob("gold/**/*.json")]:
            json.loads(path.read_text())
        for path in data.glob("silver/quarentena/**/*.jsonl"):
            [json.loads(text) for text in path.read_text().splitlines()]
        for path in data.glob("gold/*.csv"):
            rows = list(csv.reader(path.open(newline="")))
            assert rows
            assert {len(row) for row in rows} == {6}
    except (pa.ArrowInvalid, ValueError, AssertionError):
        return False
    return True
