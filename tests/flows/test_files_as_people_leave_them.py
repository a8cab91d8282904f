"""Files as people leave them come in with the right values, or are refused by name and mended."""

from __future__ import annotations

import csv
import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.lakes import LAKE_PIPELINES
from tests.support.project import project_copy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.project import Project

LAKE = f"--pipelines=ingest_bronze,{','.join(LAKE_PIPELINES)}"
NAMES = "faculdade,rede_social,data_postagem,video_id,views,likes,comentarios"
VIDEO = {
    "faculdade": "Escola Azul",
    "rede_social": "tiktok",
    "data_postagem": "2026-01-30",
    "video_id": "az-1",
    "views": 12040,
    "likes": 800,
    "comentarios": 31,
}
ROW = ",".join(map(str, VIDEO.values()))
RIGHT = [("Escola Azul", "12040", "1")]


@pytest.fixture
def school(open_folder: Path) -> Iterator[Project]:
    """A project with one source of files, which a test declares."""
    with project_copy(open_folder) as copy:
        (copy.root / "exports").mkdir()
        yield copy


def declare(project: Project, **options: Any) -> None:
    """Declare the source, of CSV unless another format is given."""
    source = {"type": "files", "format": "csv", "path": "exports/*", **options}
    project.configure("parameters_sources.yml", sources={"caso": source}, networks=["tiktok"])


def put(project: Project, content: str | bytes, name: str = "e.csv") -> None:
    """Put a file into the folder of the source."""
    data = content if isinstance(content, bytes) else content.encode()
    (project.root / "exports" / name).write_bytes(data)


def gold(project: Project) -> list[tuple[str, str, str]]:
    """Return institutions, views and videos in Gold; nothing if there is no Gold."""
    path = project.root / "data/gold/gold_video_views_dia_faculdade.csv"
    rows = csv.DictReader(path.open()) if path.exists() else ()
    return [(row["faculdade"], row["total_views"], row["total_videos"]) for row in rows]


LINE = json.dumps(VIDEO)
ARRAY = json.dumps([VIDEO], indent=2)


@pytest.mark.few(3)
@pytest.mark.parametrize(
    ("content", "options"),
    [
        (gzip.compress(LINE.encode()), {"format": "jsonl"}),
        (LINE.encode("utf-16"), {"format": "jsonl"}),
        (ARRAY, {"format": "json"}),
        (f"sep=;\n{NAMES}\n{ROW}\n".replace(",", ";"), {}),
        (f"sep=;\n{NAMES}\n{ROW}\n".replace(",", ";"), {"delimiter": ";"}),
        (f"Relatório,31/01/2026\n{NAMES}\n{ROW}\n", {"header": ["video_id", "views"]}),
        (f"Relatório\n\n{NAMES}\n{ROW}\n", {"header": 3}),
        (f"{NAMES},,\n{ROW},,\n", {}),
    ],
    ids=["gz", "utf-16", "array", "sep", "sep declared", "title", "line 3", "trailing commas"],
)
def test_a_file_that_is_declared_as_it_is_comes_in(
    school: Project, content: str | bytes, options: dict[str, Any]
) -> None:
    declare(school, **options)
    put(school, content)
    school.run(LAKE)
    assert gold(school) == RIGHT


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("content", "options", "reason"),
    [
        (ARRAY, {"format": "jsonl"}, "its records are not one a line; declare format: json"),
        (f"[{LINE}]", {"format": "jsonl"}, "its records are not one a line; declare format: json"),
        (
            f"Relatório,31/01/2026\n{NAMES}\n{ROW}\n",
            {},
            "has faculdade, rede_social, data_postagem, video_id, views, likes, comentarios in "
            "none of its 2 lines; it has 31/01/2026, Relatório: they are in the quarantine.",
        ),
        (
            f"{NAMES}\n{ROW}\n".replace(",", ";"),
            {},
            f"has faculdade, rede_social, data_postagem, video_id, views, likes, comentarios in "
            f"none of its 1 lines; it has {NAMES.replace(',', ';')}: they are in the quarantine.",
        ),
    ],
    ids=["document", "array in a line", "title", "delimiter"],
)
def test_a_file_that_does_not_fit_shows_what_it_has_and_comes_in_once_it_is_replaced(
    school: Project, content: str, options: dict[str, Any], reason: str
) -> None:
    declare(school, **options)
    put(school, content)
    for _ in range(2):
        done = school.run(LAKE, check=False)
        assert done.returncode == 1
        assert reason in done.stderr
        assert gold(school) == []
    put(school, f"{LINE}\n" if options else f"{NAMES}\n{ROW}\n")
    school.run(LAKE, now="2026-01-31T20:40")
    assert gold(school) == RIGHT


@pytest.mark.few(1)
@pytest.mark.parametrize("filler", ["", "\n" * 27], ids=["one hash", "another hash"])
def test_of_two_files_without_a_time_the_later_one_wins(school: Project, filler: str) -> None:
    declare(school)
    for views in (9000, 12040):
        row = ROW.replace("12040", str(views))
        put(school, f"{NAMES}\n{row}\n{filler if views == 9000 else ''}")
        school.run(LAKE, now=f"2026-01-31T20:{views // 1000:02}")
        assert gold(school) == [("Escola Azul", str(views), "1")]


@pytest.mark.slow
def test_half_a_file_is_replaced_by_the_whole_one(school: Project) -> None:
    declare(school)
    put(school, f"{NAMES}\n{ROW[:-2]}")
    school.run(LAKE, check=False)
    put(school, f"{NAMES}\n{ROW}\nEscola Azul,tiktok,2026-01-30,az-2,5,1,0\n")
    school.run(LAKE, now="2026-01-31T20:40")
    assert gold(school) == [("Escola Azul", "12045", "2")]


@pytest.mark.slow
def test_an_observation_after_its_arrival_does_not_win_for_ever(school: Project) -> None:
    fields = {name: name for name in NAMES.split(",")}
    seen = {"field": "visto", "format": "%d/%m/%Y"}
    declare(school, fields={**fields, "ingestion_ts": seen})
    put(school, f"{NAMES},visto\n{ROW.replace('12040', '100')},31/12/2026\n", "1.csv")
    school.run(LAKE, check=False)
    put(school, f"{NAMES},visto\n{ROW},01/02/2026\n", "2.csv")
    output = school.run(LAKE, now="2026-02-01T20:05").stdout
    assert "quarantined by ingestion_ts.after_arrival: 1" in output
    assert gold(school) == RIGHT


def test_many_files_at_once_have_a_receipt_each_with_async_saves(school: Project) -> None:
    declare(school)
    for number in range(60):
        day = f"2026-01-{number % 28 + 1:02}"
        put(school, f"{NAMES}\nEscola,tiktok,{day},v{number},{number},1,0\n", f"{number}.csv")
    school.run("--pipelines=ingest_bronze,bronze_to_silver", "--async")
    head = json.loads((school.root / "data/silver/head.json").read_text())
    assert len(list((school.root / "data/silver/receipts").rglob("*.json"))) == 60
    assert head["total"]["lines"] == head["total"]["current"] == 60
