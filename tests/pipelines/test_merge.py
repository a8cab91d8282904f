"""Merges into a Silver that has rows: what an update changes, and what identifies a video."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from capstone_metrics.pipelines.bronze_to_silver.account import account
from capstone_metrics.pipelines.bronze_to_silver.merge import merge
from capstone_metrics.quality import QualityReport
from tests.pipelines.conftest import NETWORKS, committed, line, rows_of, validated
from tests.support.oracle import rebuild

if TYPE_CHECKING:
    from capstone_metrics.changes import SilverSnapshot, SilverUpdate

SOURCES: dict[str, Any] = {"faker": {"type": "faker"}}
MORNING = "fonte=faker/janela=2026-01-31T08/a.jsonl"
EVENING = "fonte=faker/janela=2026-01-31T20/a.jsonl"
LATER = {"ingestion_ts": "2026-01-31T23:00:00Z"}


def update_of(name: str, *lines: bytes, silver: SilverSnapshot | None = None) -> SilverUpdate:
    """Merge the lines of an object into Silver, or into an empty one."""
    validation = validated({name: b"".join(lines)}, SOURCES, silver)
    return account(validation, merge(validation), QualityReport("silver", []))


def rows(update: SilverUpdate, table: str = "criacao") -> dict[tuple[str, str], dict[str, Any]]:
    """Return the rows of a table that an update writes, by network and video."""
    written = rows_of(update.overwrites[table])
    by_video = {(row["rede_social"], row["video_id"]): row for row in written}
    assert len(by_video) == len(written)
    return by_video


def test_one_id_on_two_networks_is_two_videos() -> None:
    both = [line(rede_social=network, views=views) for views, network in enumerate(NETWORKS, 1)]
    update = update_of(MORNING, *both)
    expected = rebuild({MORNING: b"".join(both)}, SOURCES, NETWORKS)
    assert rows(update) == expected.silver
    assert [row["views"] for row in rows(update).values()] == [1, 2]
    for table in ("provenance", "video_index"):
        assert rows(update, table).keys() == rows(update).keys()
    assert update.head["total"] == {
        "lines": 2,
        "current": 2,
        "superseded": 0,
        "quarantined": 0,
        "ignored": 0,
        "withdrawn": 0,
    }


def test_an_observation_replaces_the_video_of_its_network_alone() -> None:
    """Also where its id moves to another day: the video of the other network stays."""
    both = [line(rede_social=network) for network in NETWORKS]
    for moved in ({}, {"data_postagem": "2026-01-29"}):
        new = line(rede_social="youtube", views=7, **LATER, **moved)
        update = update_of(EVENING, new, silver=committed(update_of(MORNING, *both)))
        assert update.head["total"] == {
            "lines": 3,
            "current": 2,
            "superseded": 1,
            "quarantined": 0,
            "ignored": 0,
            "withdrawn": 0,
        }
        silver = rebuild({MORNING: b"".join(both), EVENING: new}, SOURCES, NETWORKS).silver
        assert len(silver) == 2
        assert rows(update) == {key: row for key, row in silver.items() if key[0] == "youtube"}
        provenance = {key: row["data_postagem"] for key, row in rows(update, "provenance").items()}
        assert provenance == {key: row["data_postagem"] for key, row in silver.items()}


def test_a_video_that_moves_leaves_its_day() -> None:
    before = committed(update_of(MORNING, line(), line(video_id="v2")))
    update = update_of(EVENING, line(data_postagem="2026-01-29", **LATER), silver=before)
    assert update.overwrites["criacao"].partitions == [
        ("tiktok", "2026-01-29"),
        ("tiktok", "2026-01-30"),
    ]
    days = {key: str(row["data_postagem"]) for key, row in rows(update).items()}
    assert days == {("tiktok", "v1"): "2026-01-29", ("tiktok", "v2"): "2026-01-30"}
    assert str(rows(update, "video_index")["tiktok", "v1"]["data_postagem"]) == "2026-01-29"


def test_an_earlier_observation_changes_no_row() -> None:
    before = committed(update_of(EVENING, line(views=5, **LATER)))
    update = update_of(MORNING, line(views=1), silver=before)
    assert update.overwrites["criacao"].partitions == []
    assert rows(update) == {}
    assert update.head["total"] == {
        "lines": 2,
        "current": 1,
        "superseded": 1,
        "quarantined": 0,
        "ignored": 0,
        "withdrawn": 0,
    }


def test_without_new_objects_nothing_changes() -> None:
    before = committed(update_of(MORNING, line()))
    validation = validated({}, SOURCES, before)
    update = account(validation, merge(validation), QualityReport("silver", []))
    assert (update.overwrites, update.receipts, update.head) == ({}, {}, before.head)
    assert set(update.accounts["run"].values()) == {0}
