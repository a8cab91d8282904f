"""Lakes that a test fills itself, and runs on them in this process or another."""

from __future__ import annotations

import csv
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from tests.support.forks import Fork
from tests.support.oracle import rebuild

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tests.support.oracle import Lake
    from tests.support.project import Project

NETWORKS = ["tiktok", "instagram_reels", "youtube_shorts"]
SOURCES: dict[str, Any] = {"faker": {"type": "faker"}}
DECLARED = ("qtd_inscritos", "compartilhamentos", "salvamentos")
"""The columns that the project declares, which are counters."""

LAKE_PIPELINES = ["bronze_to_silver", "silver_to_gold"]
SECONDS_TO_END = 300
"""After this time a process counts as hung."""

LINE = {
    "faculdade": "GRAN",
    "rede_social": "tiktok",
    "data_postagem": "2026-01-30",
    "video_id": "v1",
    "views": 100,
    "likes": 10,
    "comentarios": 1,
    "run_id": "faker-2026-01-31T08",
    "ingestion_ts": "2026-01-31T11:00:00Z",
}
"""The fields that every line has."""


def line(**changes: Any) -> bytes:
    """Return a line of Bronze."""
    return json.dumps({**LINE, **changes}, ensure_ascii=False).encode() + b"\n"


def add(lake: Path, window: str, *lines: bytes, name: str = "criacao") -> Path:
    """Write an object of Bronze; return its path."""
    path = lake / f"bronze/criacao/fonte=faker/janela={window}/{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(lines))
    return path


def clear(data: Path) -> None:
    """Remove everything from a lake."""
    for layer in ("bronze", "silver", "gold", "operations", "_tmp"):
        shutil.rmtree(data / layer, ignore_errors=True)


def restore(data: Path, copy: Path) -> None:
    """Make a lake again what a copy of it is."""
    clear(data)
    shutil.copytree(copy, data, dirs_exist_ok=True)


def run_here(
    project: Project,
    pipelines: list[str] = LAKE_PIPELINES,
    env: str | None = None,
    **params: Any,
) -> None:
    """Run pipelines as `kedro run` does, in this process."""
    bootstrap_project(project.root)
    session = KedroSession.create(project_path=project.root, env=env, runtime_params=params)
    with session:
        session.run(pipeline_names=pipelines)


def started(
    project: Project,
    *options: str,
    pipelines: Sequence[str] = LAKE_PIPELINES,
    trace: Sequence[str] = (),
) -> Fork:
    """Start a run in a process of its own.

    Args:
        project: the project with its lake.
        options: of `run_lake.py`.
        pipelines: their names.
        trace: a command of strace that traces the process.
    """
    return Fork([str(project.root), *pipelines, *options], trace)


def finished(process: Fork) -> tuple[int, str]:
    """Wait for a process; return its exit code and its output."""
    output, _ = process.communicate(timeout=SECONDS_TO_END)
    assert process.returncode is not None
    return process.returncode, output


@dataclass(frozen=True)
class BucketLake:
    """A lake in a bucket, which the test fills and reads by a client of its own."""

    client: Any
    bucket: str
    prefix: str

    def add(self, window: str, *lines: bytes, name: str = "criacao") -> str:
        """Write an object of Bronze; return its key."""
        key = f"bronze/criacao/fonte=faker/janela={window}/{name}.jsonl"
        self.fill({key: b"".join(lines)})
        return key

    def fill(self, objects: Mapping[str, bytes]) -> None:
        """Write objects by their keys."""

        def put(key: str) -> None:
            name = f"{self.prefix}/{key}"
            self.client.put_object(Bucket=self.bucket, Key=name, Body=objects[key])

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(put, objects))

    def keys(self, top: str = "") -> list[str]:
        """Return the keys of its objects."""
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=f"{self.prefix}/{top}"
        )
        names = (entry["Key"] for page in pages for entry in page.get("Contents", ()))
        return [name.removeprefix(f"{self.prefix}/") for name in names]

    def read(self, key: str) -> bytes:
        """Return the bytes of an object."""
        response = self.client.get_object(Bucket=self.bucket, Key=f"{self.prefix}/{key}")
        content: bytes = response["Body"].read()
        return content

    def objects(self, top: str = "") -> dict[str, bytes]:
        """Return the objects below a prefix; below none, all but the records of runs."""
        keys = [key for key in self.keys(top) if top or not key.startswith("operations/")]
        with ThreadPoolExecutor(8) as pool:
            return dict(zip(keys, pool.map(self.read, keys), strict=True))

    def clear(self) -> None:
        """Remove every object."""
        keys = self.keys()
        for start in range(0, len(keys), 1000):
            names = [{"Key": f"{self.prefix}/{key}"} for key in keys[start : start + 1000]]
            self.client.delete_objects(Bucket=self.bucket, Delete={"Objects": names})

    def download(self, folder: Path) -> Path:
        """Copy its objects into a folder, which is cleared before; return the folder."""
        clear(folder)
        for key, content in self.objects().items():
            (folder / key).parent.mkdir(parents=True, exist_ok=True)
            (folder / key).write_bytes(content)
        return folder


SILVER_ROWS = """
SELECT video_id, views, rede_social, data_postagem::DATE::VARCHAR, ingestion_ts::VARCHAR
FROM read_parquet(?, hive_partitioning=true) ORDER BY ALL
"""
DAY_ROWS = """
SELECT rede_social, video_id, data_observacao::DATE::VARCHAR, views, views_ganhas, dias
FROM read_parquet(?, hive_partitioning=true) ORDER BY ALL
"""
MART_KEYS = {
    "rede_social": ("rede_social",),
    "faculdade": ("faculdade",),
    "canal": ("rede_social", "faculdade"),
}
"""The columns beside the day in the key of each mart, by the end of its name."""


def content(lake: Path) -> dict[str, Any]:
    """Return Silver, quarantine and Gold as another program reads them: by globs over layers."""
    rows = {}
    with closing(duckdb.connect()) as db:
        db.execute("SET TimeZone = 'UTC'")
        for name, query in (("criacao", SILVER_ROWS), ("observacao_dia", DAY_ROWS)):
            files = [str(path) for path in (lake / "silver" / name).rglob("*.parquet")]
            rows[name] = db.execute(query, [files]).fetchall() if files else []
    quarantine = {}
    for path in sorted((lake / "silver/quarentena").rglob("*.jsonl")):
        for text in path.read_text().splitlines():
            rejected = json.loads(text)
            quarantine[rejected["objeto"], rejected["linha"]] = set(rejected["regras"])
    gold = {path.name: path.read_text() for path in sorted((lake / "gold").glob("*.csv"))}
    return {
        "silver": rows["criacao"],
        "days": rows["observacao_dia"],
        "quarantine": quarantine,
        "gold": gold,
    }


def expected(lake: Path) -> dict[str, Any]:
    """Return what `content` must be, by the naive oracle."""
    layer = lake / "bronze/criacao"
    objects = {p.relative_to(layer).as_posix(): p.read_bytes() for p in layer.rglob("*.jsonl")}
    naive = rebuild(objects, SOURCES, NETWORKS, declared=DECLARED)
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
    days = [
        (network, video, str(day), row["views"], row["views_ganhas"], row["dias"])
        for (network, video, day), row in sorted(naive.days.items())
    ]
    return {"silver": rows, "days": days, "quarantine": naive.quarantine, "gold": _marts(naive)}


CHANNEL_COLUMNS = "data_observacao,rede_social,faculdade,qtd_inscritos,posts,views_ganhas"
VIDEO_COLUMNS = (
    "rede_social,video_id,data_postagem,hora_postagem,faculdade,titulo_video,categoria,"
    "total_views,total_likes,total_comentarios,views_ganhas_7d,views_7d"
)


def _marts(naive: Lake) -> dict[str, str]:
    """Return the CSV of each mart of the project."""
    gold = {}
    for suffix, columns in MART_KEYS.items():
        posted, observed = ("data_postagem", *columns), ("data_observacao", *columns)
        views = "total_views,total_likes,total_comentarios,total_videos"
        gains = "views_ganhas,likes_ganhos,comentarios_ganhos,videos_observados"
        for kind, key, measures, mart in (
            ("views_dia", posted, views, naive.mart(*posted)),
            ("crescimento_dia", observed, gains, naive.growth(*observed)),
            ("views_7d_dia", posted, "views_7d,videos_7d", naive.at_days(7, *posted)),
        ):
            rows = [(*group, *values) for group, values in mart.items()]
            lines = [",".join("" if cell is None else str(cell) for cell in row) for row in rows]
            text = "\n".join([f"{','.join(key)},{measures}", *lines]) + "\n"
            gold[f"gold_video_{kind}_{suffix}.csv"] = text
    videos = [(*video, *values) for video, values in naive.videos().items()]
    lines = [",".join("" if cell is None else str(cell) for cell in row) for row in videos]
    channels = [(*key, *values) for key, values in naive.channels().items()]
    cells = [["" if cell is None else str(cell) for cell in row] for row in channels]
    gold["gold_canal_dia.csv"] = "\n".join([CHANNEL_COLUMNS, *map(",".join, cells)]) + "\n"
    gold["gold_video.csv"] = "\n".join([VIDEO_COLUMNS, *lines]) + "\n"
    return gold


def accounts_balance(lake: Path) -> bool:
    """Return whether the head's accounts sum up to the lines counted from the bytes."""
    total = yaml.safe_load((lake / "silver/head.json").read_text())["total"]
    lines = sum(
        bool(text.strip())
        for path in (lake / "bronze").rglob("*.jsonl")
        for text in path.read_bytes().split(b"\n")
    )
    parts = total["current"] + total["superseded"] + total["quarantined"]
    return bool(total["lines"] == lines == parts)


def is_readable(data: Path) -> bool:
    """Return whether each file of the lake can be read to its end."""
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
            assert len({len(row) for row in rows}) == 1
    except (pa.ArrowInvalid, ValueError, AssertionError):
        return False
    return True
