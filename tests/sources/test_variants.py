"""Known exports in other languages, orders and encodings, and files that are no known export."""

from __future__ import annotations

import datetime as dt
import io
import json
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from capstone_metrics.sources.preview import declared_of
from tests.sources.test_presets import constants, preview_file

if TYPE_CHECKING:
    from pathlib import Path

    Row = tuple[str, str, int, int | None, int | None]

COLUMNS = ("video_id", "data_postagem", "views", "likes", "comentarios")
ID = "aB3dE5fG7hI"
TIKTOK_ID = str(int(dt.datetime(2026, 7, 26, 15, tzinfo=dt.UTC).timestamp()) << 32)
TIKTOK = (
    '"Time","Video title","Video link","Post time","Total likes","Total comments","Total views"\n'
    f'"x","T","https://www.tiktok.com/@a/video/{TIKTOK_ID}","{{day}}","1,721","47","29,870"'
)
VIDEO = {
    "kind": "youtube#video",
    "id": ID,
    "snippet": {"publishedAt": "2026-01-31T12:00:00Z", "channelTitle": "E", "title": "T"},
    "statistics": {"viewCount": "1588", "likeCount": "3", "commentCount": "2"},
}


def zipped(**members: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in members.items():
            archive.writestr(f"{name.replace('_', ' ')}.csv", text)
    return content.getvalue()


def check(
    path: Path, rows: list[Row], ignored: int, given: dict[str, str], preset: str | None = None
) -> str | None:
    """Check what a file gives; return the name of its preset."""
    name, result = preview_file(path, {"faculdade": "E", **given}, preset)
    assert not result.refused
    assert [tuple(row[column] for column in COLUMNS) for row in result.rows] == rows
    assert (len(result.ignored), result.rejected) == (ignored, [])
    return name


STUDIO = [
    ("Content,Video title,Video publish time,Views,Likes,Comments added", "Total"),
    ("Videos,Titel,Veröffentlichungszeitpunkt des Videos,Aufrufe,Mag ich,Kommentare", "Gesamt"),
    ("動画,動画のタイトル,動画の公開時刻,視聴回数,高評価,追加されたコメント", "合計"),
    ("Content,Videotitel,Publicatietijd van video,Weergaven,Likes,Comments", "Totaal"),
]  # fmt: skip


@pytest.mark.parametrize(("header", "total"), STUDIO)
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_table_of_youtube_studio_is_read_in_any_language_and_as_excel_saves_it(
    tmp_path: Path, header: str, total: str, delimiter: str, encoding: str
) -> None:
    rows = [header.split(","), [ID, "T", "Jan 31, 2026", "1588", "3", "2"], [total, *[""] * 5]]
    quoted = [[f'"{cell}"' if "," in cell else cell for cell in row] for row in rows]
    text = "\r\n".join(delimiter.join(row) for row in quoted)
    (tmp_path / "a.csv").write_bytes(text.encode(encoding))
    row = (ID, "2026-01-31", 1588, 3, 2)
    for preset in (None, "youtube_studio"):
        assert check(tmp_path / "a.csv", [row], 1, {}, preset) == "youtube_studio"


def test_the_table_in_a_zip_is_known_by_the_word_for_table(tmp_path: Path) -> None:
    table = f'Conteúdo,Horário de publicação do vídeo,Visualizações\n{ID},"Jan 31, 2026",5\n'
    (tmp_path / "a.zip").write_bytes(zipped(Totals="a\n1\n", Dados_de_tabela=table))
    assert check(tmp_path / "a.zip", [(ID, "2026-01-31", 5, None, None)], 0, {})


@pytest.mark.parametrize(
    "day",
    [
        *(
            "July 26",
            "26 de julho",
            "26 de julio",
            "26. Juli",
            "26 juillet",
            "26 luglio",
            "7月26日",
        ),
        *("26 de jul.", "July 26, 2026", "26 de julho de 2026", "2026-07-26"),
    ],
)
def test_a_day_of_tiktok_studio_is_read_in_any_language_with_or_without_a_year(
    tmp_path: Path, day: str
) -> None:
    (tmp_path / "Content.csv").write_text(TIKTOK.format(day=day))
    row = (TIKTOK_ID, "2026-07-26", 29870, 1721, 47)
    assert check(tmp_path / "Content.csv", [row], 0, {}) == "tiktok_studio"


LINK = "https://www.tiktok.com/@e/video/7000000000000000001"
TOOLS = [
    ("hootsuite", "Datum (GMT),Beitrags-ID,Beitragstyp,Soziales Netzwerk,Gefällt mir,Videoaufrufe\n"
     '2026-07-26 15:00,7000000000000000001,Reel,TikTok,14,"4.812"\nGesamt,,,,14,4812\n'),
    ("hootsuite", "Date (GMT);Post ID;Post Type;Social Network;Likes;Video Views\n"
     "2026-07-26 15:00;7000000000000000001;Video;TikTok;14;4,812\nTotal;;;;14;4,812\n"),
    ("metricool", "Date;Network;Type;Link;Likes;Views\n"
     f"2026-07-26 15:00;tiktok;Reel;{LINK};14;4,812\nTotal;;;;14;4,812\n"),
    ("metricool", "Data,Rede,Tipo,Link,Curtidas,Visualizações\n"
     f"26/07/2026 15:00,tiktok,Vídeo,{LINK},14,4.812\nTotal,,,,14,4.812\n"),
    ("sprout_social", "Date,Post ID,Network,Post Type,Content Type,Profile,Reactions,Video Views\n"
     '7/26/2026 3:05 PM,7000000000000000001,TikTok,Post,Video,E,14,"4,812"\nTotals,,,,,,14,4812\n'),
    ("later", "Posted At,Caption,Media Type,Post URL,Likes,Video Views\n"
     f'"Jul 26, 2026 3:05 PM",T,Video,{LINK},14,"4,812"\nTotal,,,,14,"4,812"\n'),
    ("buffer", "Date,Update,Service,Service Link,Type,Impressions,Likes\n"
     f'2026-07-26T15:00:00Z,T,tiktok,{LINK},video,"4,812",14\nTotal,,,,,"4,812",14\n'),
    ("agorapulse", "Data de publicação,Hora de publicação,Link,Impressões,Reações\n"
     f"26/07/2026,15:00,{LINK},4.812,14\nTotal geral,,,4.812,14\n"),
]  # fmt: skip


@pytest.mark.parametrize(("preset", "text"), TOOLS)
def test_sums_separators_and_dates_of_planning_tools_are_read_as_they_are_written(
    tmp_path: Path, preset: str, text: str
) -> None:
    (tmp_path / "a.csv").write_text(text)
    row = ("7000000000000000001", "2026-07-26", 4812, 14, None)
    given = {"rede_social": "tiktok"} if preset in {"later", "agorapulse"} else {}
    assert check(tmp_path / "a.csv", [row], 1, given) == preset


@pytest.mark.parametrize("content", [VIDEO, [VIDEO], {"items": [VIDEO]}, [{"items": [VIDEO]}]])
def test_videos_of_an_api_are_read_with_or_without_the_answer_around_them(
    tmp_path: Path, content: Any
) -> None:
    (tmp_path / "a.json").write_text(json.dumps(content))
    row = (ID, "2026-01-31", 1588, 3, 2)
    assert check(tmp_path / "a.json", [row], 0, {}) == "youtube_data_api"


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ({"kind": "youtube#videoListResponse", "items": []}, "youtube_data_api"),
        ({"data": {"videos": [], "has_more": False}}, "tiktok_display_api"),
        ({"data": []}, "instagram_graph_media"),
    ],
)
def test_an_answer_without_videos_is_known_by_its_list(
    tmp_path: Path, content: Any, name: str
) -> None:
    (tmp_path / "a.json").write_text(json.dumps(content))
    assert check(tmp_path / "a.json", [], 0, {}) == name


GUESSED = [
    ("Video-ID;Titel;Datum;Aufrufe\naz-12;A;30.01.2026;1.205\n;Gesamt;;1.205\n", 1),
    ("Compte;Publié le;Identifiant;Nombre de vues\nE;30 janv. 2026;az-12;1 205\nTotal;;;11\n", 1),
    ("Caption,Posted,Id,Plays\nTotal,2026-01-30,az-12,1205\n,Total,,11\n", 1),
    ("Conta;ID;Publicado;Exibições\nTotal;az-12;30/01/2026;1.205\n;;Soma;1.205\n", 1),
]


@pytest.mark.parametrize(("text", "ignored"), GUESSED)
def test_a_row_of_sums_of_an_unknown_file_is_known_by_any_of_its_columns(
    tmp_path: Path, text: str, ignored: int
) -> None:
    (tmp_path / "a.csv").write_text(text)
    rows: list[Row] = [("az-12", "2026-01-30", 1205, None, None)]
    assert check(tmp_path / "a.csv", rows, ignored, {"rede_social": "kwai"}) is None


def test_a_row_of_sums_is_found_below_any_number_of_rows(tmp_path: Path) -> None:
    body = "".join(f"az-{number};A;2026-01-30;5\n" for number in range(1000, 1300))
    (tmp_path / "a.csv").write_text(f"Id;Caption;Posted;Plays\n{body};Total;;1500\n")
    rows: list[Row] = [(f"az-{n}", "2026-01-30", 5, None, None) for n in range(1000, 1300)]
    check(tmp_path / "a.csv", rows, 1, {"rede_social": "kwai"})


def test_networks_and_kinds_of_posts_of_an_unknown_file_are_those_of_known_exports(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.csv").write_text(
        "Servicio,Fecha,Tipo de publicación,Enlace,Visualizaciones\n"
        f"TikTok,2026-07-26,Vídeo,{LINK},5\n"
        f"Facebook Page,2026-07-26,Foto,{LINK},7\n"
    )
    declared = declared_of(tmp_path / "a.csv", None, constants({"faculdade": "E"}), path="a.csv")
    assert {"facebook", "tiktok", "kwai"} <= set(declared.networks)
    rule = declared.declaration["fields"]["rede_social"]
    assert (rule["field"], rule["values"]["facebook page"]) == ("Servicio", "facebook")
    check(tmp_path / "a.csv", [("7000000000000000001", "2026-07-26", 5, None, None)], 1, {})
