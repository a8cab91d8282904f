"""Runs on Spark and on DuckDB leave the same lake: Silver's content, Gold's bytes, the accounts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.lakes import add, clear, content, expected, identity_holds, line, run_here

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Project

pytest.importorskip("pyspark", reason="pyspark is not installed; it comes with the extra 'spark'")

MORNING, EVENING, NEXT = "2026-01-30T20", "2026-01-31T08", "2026-01-31T20"


def fill(lake: Path, *windows: str) -> None:
    """Put lines of every fate into Bronze."""
    for number, window in enumerate(windows):
        seen = f"{window}:00:00Z"
        add(
            lake,
            window,
            *(
                line(
                    video_id=f"v{video}",
                    views=10 * number + video,
                    faculdade=("GRAN", "Ação \\ x")[video % 2],
                    rede_social=("tiktok", "youtube_shorts")[(video + number) % 7 == 0],
                    data_postagem=f"2026-01-{20 + video % 5}",
                    titulo_video="a\u0000\n😀" if video == 3 else "Título \\ \u2028",
                    engagement_rate=0.1 + 0.2,
                    posted_at="2018-11-04T00:00:00-03:00",
                    ingestion_ts=seen,
                )
                for video in range(number, 12)
            ),
            line(video_id="again", likes=number, ingestion_ts="2026-01-30T00:00:00"),
            line(views=2**63),
            line(views=float("nan")),
            b'{"a": 1, "a": 2}\r\n',
            b"\xff\xfe\n",
            b"\n",
            line(video_id=f"n{number}", nova=1),
        )


def files(lake: Path) -> dict[str, bytes]:
    """Every file of the lake but those of one process: the commits name its workspace."""
    paths = [path for layer in ("silver", "gold") for path in (lake / layer).rglob("*")]
    return {
        path.relative_to(lake).as_posix(): path.read_bytes()
        for path in paths
        if path.is_file() and "commits" not in path.parts
    }


def steps(project: Project, engine: Any) -> list[dict[str, bytes]]:
    """The lake after a first run, an incremental one and a full one."""
    lake = project.root / "data"
    clear(lake)
    project.configure("globals.yml", engine=engine)
    left = []
    for windows, said in (((MORNING, EVENING), {}), ((NEXT,), {}), ((), {"full": True})):
        fill(lake, *windows)
        run_here(project, now="2026-01-31T20:05", **said)
        left.append(files(lake))
    return left


@pytest.mark.timeout(900)
def test_a_run_on_spark_leaves_the_files_that_one_on_duckdb_does(shared: Project) -> None:
    on_duckdb = steps(shared, "duckdb")
    on_spark = steps(shared, "spark")
    lake = shared.root / "data"
    for known, found in zip(on_duckdb, on_spark, strict=True):
        assert {name for name in known if known[name] != found.get(name)} == set()
        assert set(found) == set(known)
    assert content(lake) == expected(lake)
    assert identity_holds(lake)
    assert json.loads((lake / "silver/head.json").read_text())["total"]["quarantined"]
