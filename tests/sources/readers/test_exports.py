"""The exports that social networks and planning tools hand out, each read into its records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.sources.readers.files import lines_of

EXPORTS = Path(__file__).parents[2] / "data/exports"
OPTIONS: dict[str, dict[str, Any]] = {
    "apify_instagram": {"format": "json"},
    "apify_tiktok": {"format": "json"},
    "csv_ptbr_semicolon_cp1252": {"delimiter": ";", "encoding": "cp1252"},
    "excel_xlsx": {"format": "xlsx", "header": ["Rede", "ID do vídeo"]},
    "hootsuite": {"header": ["Post ID", "Post Permalink"]},
    "instagram_graph_media": {"format": "json", "records": "data"},
    "meta_account_metrics_utf16": {"header": [["Date", "Primary"]], "until": "blank"},
    "metricool": {"delimiter": ";"},
    "parquet_pandas": {"format": "parquet"},
    "tiktok_display_api": {"format": "json", "records": "data.videos"},
    "tiktok_studio_content": {"member": "Content.csv"},
    "tiktok_user_data": {
        "format": "json",
        "records": ["Post.Posts.VideoList", "Video.Videos.VideoList"],
    },
    "youtube_data_api_v3": {"format": "json", "records": "items[]", "envelope": ["fetched_at"]},
    "youtube_studio_zip": {"member": "Table data.csv"},
    "yt_dlp_info": {"format": "json"},
}
"""How each folder is read, where it is not as CSV by default."""

SEVERAL_TABLES = {"Reach (1).csv", "Audience.csv"}
"""Files of which one declaration reads one table."""


def export_files() -> list[Any]:
    return [
        pytest.param(folder, name, id=f"{folder.name}/{name}")
        for folder in sorted(EXPORTS.iterdir())
        for name in expected(folder)["files"]
        if name not in SEVERAL_TABLES
    ]


def expected(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "expected.json").read_text())
    return content


def records(slug: str, name: str) -> list[bytes]:
    """Return the lines of a file of an export."""
    return lines_of(EXPORTS / slug / name, **{"format": "csv"} | OPTIONS.get(slug, {}))


@pytest.mark.parametrize(("folder", "name"), export_files())
def test_an_export_gives_its_records_in_their_order(folder: Path, name: str) -> None:
    expectation = expected(folder)
    lines = records(folder.name, name)
    assert len(lines) == expectation["files"][name]["records"]
    for row in [*expectation["rows"], *expectation["superseded"]]:
        if row["file"] == name:
            # ids and titles stand in the export as they are expected, but for blanks around them
            line = lines[row["record"] - 1].decode()
            record = json.dumps(json.loads(line), ensure_ascii=False)
            for column in {"video_id", "titulo_video"} & row.keys():
                text = json.dumps(row[column] or "", ensure_ascii=False)[1:-1]
                assert text in record


def test_rows_shorter_or_longer_than_their_header_are_distinguished() -> None:
    (cut,) = [
        r
        for r in map(json.loads, records("kaggle_trending_2020", "BR_youtube_trending_data.csv"))
        if "_missing" in r
    ]
    assert cut["title"] == "Cortado ao baixar"
    assert cut["_missing"][0] == "likes"
    (footer,) = [
        r
        for r in map(json.loads, records("youtube_studio_tabela_pt", "Dados da tabela.csv"))
        if "_missing" in r
    ]
    assert footer["Conteúdo"].startswith("Mostrando os primeiros 500")
    (shifted,) = [
        r
        for r in map(
            json.loads, records("tiktok_studio_content", "Content_faculdade.horizonte.zip")
        )
        if "_extra" in r
    ]
    assert (shifted["Video link"], shifted["_extra"]) == (" e mais texto", ["588"])
    assert (
        sum(b"_extra" in r for r in records("youtube_studio_table_en", "Table data (1).csv")) == 1
    )


def test_each_record_of_a_page_has_the_time_of_the_page_and_a_cut_one_costs_itself() -> None:
    *complete, cut = records("youtube_data_api_v3", "videos_pages.jsonl")
    times = [json.loads(line)["fetched_at"] for line in complete]
    assert len(times) == 15
    assert len(set(times)) == 3
    assert cut.startswith(b'{"fetched_at":"2026-04-10 11:00:02.1+00","kind":"youtube#video"')
    with pytest.raises(ValueError, match="Unterminated"):
        json.loads(cut)


def test_what_is_no_number_in_a_workbook_or_parquet_stays_visible() -> None:
    sheet = [json.loads(r) for r in records("excel_xlsx", "relatorio_junho_2026.xlsx")]
    assert [sheet[number]["Visualizações"] for number in (8, 9, 10)] == ["#N/A", 12.5, True]
    assert sheet[7]["ID do vídeo"] == 1.8070000000001e16
    assert sheet[11]["ID do vídeo"] == 7640012
    assert sheet[2]["Publicado em"] == "2026-06-03"
    videos = b"".join(records("parquet_pandas", "videos.parquet"))
    assert b'"views":12040,' in videos
    assert b'"views":1.5,' in videos
    extract = b"".join(records("parquet_pandas", "extrato.parquet"))
    assert b'"NaN"' in extract
    assert b'"Infinity"' in extract


@pytest.mark.parametrize(
    ("name", "header", "count"),
    [
        ("Reach (1).csv", ["Facebook Page reach", "Date"], 6),
        ("Reach (1).csv", ["Instagram reach", "Date"], 6),
        ("Audience.csv", ["Women", "Men"], 3),
        ("Audience.csv", ["Top cities"], 2),
    ],
)
def test_one_of_the_tables_of_a_file_is_found_by_its_columns(
    name: str, header: list[str], count: int
) -> None:
    path = EXPORTS / "meta_account_metrics_utf16" / name
    assert len(lines_of(path, format="csv", header=header, until="blank")) == count
