"""`kedro verify` reports what no run wrote; `kedro quarantine` shows rejected lines."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
from kedro.io import DatasetError

from capstone_metrics.errors import StorageError
from capstone_metrics.lake.transaction import GOLD, SILVER
from capstone_metrics.storage.folder import Folder
from tests.support.lakes import (
    accounts_balance,
    add,
    content,
    expected,
    line,
    restore,
    run_here,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from capstone_metrics.lake.transaction import Layer
    from capstone_metrics.storage.base import StagedObject
    from tests.support.project import Project

LATER = {"ingestion_ts": "2026-01-31T23:00:00Z"}


@pytest.fixture(scope="module")
def filled(empty_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with a superseded line, a rejected one, and two windows."""
    data = empty_project.root / "data"
    add(data, "2026-01-31T08", line(), line(video_id="v2"), line(views="x"))
    run_here(empty_project)
    add(data, "2026-01-31T20", line(views=7, **LATER), b"{cut")
    run_here(empty_project)
    copy = tmp_path_factory.mktemp("filled") / "data"
    shutil.copytree(data, copy)
    return copy


@pytest.fixture
def lake(empty_project: Project, filled: Path) -> Path:
    """A copy of it in the folder of the project."""
    data = empty_project.root / "data"
    restore(data, filled)
    return data


def test_a_sound_lake_passes_every_check(empty_project: Project, lake: Path) -> None:
    done = empty_project.kedro("verify", "--full", "--json")
    findings = json.loads(done.stdout)
    assert [finding["holds"] for finding in findings] == [True] * 10
    assert accounts_balance(lake)


def edit_bronze(lake: Path) -> None:
    add(lake, "2026-01-31T08", line(), line(video_id="v2"), line(views="y"))


def drop_quarantine(lake: Path) -> None:
    shutil.rmtree(lake / "silver/quarentena/fonte=faker/janela=2026-01-31T08")


def drop_a_day(lake: Path) -> None:
    shutil.rmtree(lake / "silver/criacao/rede_social=tiktok/data_postagem=2026-01-30")


def drop_observations(lake: Path) -> None:
    shutil.rmtree(next((lake / "silver/observacao_dia").iterdir()))


def edit_head(lake: Path) -> None:
    head = lake / "silver/head.json"
    head.write_text(head.read_text().replace('"superseded": 1', '"superseded": 2'))


def edit_gold(lake: Path) -> None:
    mart = lake / "gold/gold_video_views_dia_faculdade.csv"
    mart.write_text(mart.read_text().replace("107", "108"))


def drop_a_shard(lake: Path) -> None:
    shutil.rmtree(next((lake / "silver/video_index").iterdir()))


def cut_a_day(lake: Path) -> None:
    (part,) = lake.glob("silver/criacao/rede_social=tiktok/data_postagem=2026-01-30/*.parquet")
    part.write_bytes(part.read_bytes()[:-7])


def add_bronze(lake: Path) -> None:
    add(lake, "2026-01-30T08", line())


@pytest.mark.few(2)
@pytest.mark.parametrize(
    ("damage", "check"),
    [
        (edit_bronze, "every Bronze object has a receipt of its bytes"),
        (add_bronze, "every Bronze object has a receipt of its bytes"),
        (drop_quarantine, "every line of Bronze is accounted for, object by object"),
        (drop_a_day, "Silver has one row a video, each from a line of Bronze"),
        (drop_a_shard, "Silver has one row a video, each from a line of Bronze"),
        (cut_a_day, "Silver has one row a video, each from a line of Bronze"),
        (drop_observations, "each day has one row a video that was observed"),
        (edit_head, "the accounts are the sum of the receipts"),
        (edit_gold, "Gold is what its manifest says"),
    ],
)
def test_a_damage_is_named_and_the_exit_code_is_one(
    empty_project: Project, lake: Path, damage: Callable[[Path], None], check: str
) -> None:
    damage(lake)
    done = empty_project.kedro("verify", check=False)
    assert done.returncode == 1
    assert f"FAIL {check}: " in done.stdout
    assert len(done.stdout.splitlines()) == 7  # the other checks are made too


@pytest.mark.parametrize("layer", [SILVER, GOLD], ids=lambda layer: layer.name)
def test_a_commit_that_a_run_left_half_applied_is_no_edit(
    empty_project: Project, lake: Path, monkeypatch: pytest.MonkeyPatch, layer: Layer
) -> None:
    add(lake, "2026-02-01T08", line(video_id="v3", **LATER))
    promote = Folder.promote

    def fail_at_the_head(folder: Folder, objects: Mapping[str, StagedObject]) -> None:
        if layer.head in objects:
            raise StorageError("operation not permitted")
        promote(folder, objects)

    with monkeypatch.context() as patch, pytest.raises(DatasetError, match="not permitted"):
        patch.setattr(Folder, "promote", fail_at_the_head)
        run_here(empty_project)
    for options in ([], ["--full"]):
        done = empty_project.kedro("verify", *options, check=False)
        assert done.returncode == 1
        output = done.stdout + done.stderr
        assert f"{layer.name.capitalize()} is in the middle of a commit; if no run is" in output
        assert "by hand" not in output
    status = json.loads(empty_project.kedro("status", "--json", check=False).stdout)
    assert "a run ended in the middle of a commit" in json.dumps(status)
    run_here(empty_project)
    assert empty_project.kedro("verify", "--full", check=False).returncode == 0


def test_a_rebuild_shows_a_value_that_was_edited(empty_project: Project, lake: Path) -> None:
    other = empty_project.root / "other"
    add(other, "2026-01-31T20", line(views=8, **LATER), b"{cut")
    shutil.copytree(other / "bronze", lake / "bronze", dirs_exist_ok=True)
    done = empty_project.kedro("verify", "--full", check=False)
    assert (
        "FAIL silver_criacao equals a rebuild from Bronze: a rebuild would remove 1 rows and add 1"
        in done.stdout
    )


def test_the_quarantine_is_counted_by_rule_and_shown(empty_project: Project, lake: Path) -> None:
    assert "1  line.not_json" in empty_project.kedro("quarantine").stdout
    output = empty_project.kedro("quarantine", "--rule=views.unreadable", "--lines=5").stdout
    assert "1  views.unreadable" in output
    assert "line.not_json" not in output
    assert "janela=2026-01-31T08/criacao.jsonl:3 views.unreadable" in output
    assert '"views": "x"' in output
    assert "{cut" not in output


def test_lines_are_replayed_after_their_rule_was_corrected(
    empty_project: Project, lake: Path
) -> None:
    add(lake, "2026-01-30T08", line(video_id="v3", rede_social="orkut"), line(video_id="v4"))
    run_here(empty_project)
    assert content(lake) == expected(lake)
    declared = empty_project.parameters("sources.yml")
    declared["sources"]["faker"]["channels"] = []
    declared["networks"].append("orkut")
    empty_project.configure("parameters_sources.yml", **declared)
    replayed = empty_project.kedro("quarantine", "replay").stdout
    assert replayed.endswith("Next        make run ARGS=--pipelines=publish_gold\n")
    empty_project.ingest_nothing()
    assert ("v3", "orkut") in [(row[0], row[2]) for row in content(lake)["silver"]]
    assert accounts_balance(lake)


def test_a_renamed_field_stops_before_gold_and_retains_the_lines(
    empty_project: Project, lake: Path
) -> None:
    gold = {path.name: path.read_bytes() for path in (lake / "gold").glob("*.csv")}
    renamed = line(video_id="v9", **LATER).replace(b'"likes"', b'"curtidas"')
    add(lake, "2026-01-30T08", renamed, renamed)
    done = empty_project.run("--pipelines=bronze_to_silver,silver_to_gold", check=False)
    assert done.returncode == 1
    assert "has likes in none of its 2 lines" in done.stdout + done.stderr
    assert {path.name: path.read_bytes() for path in (lake / "gold").glob("*.csv")} == gold
    rejected = list((lake / "silver/quarentena").rglob("janela=2026-01-30T08/**/*.jsonl"))
    assert [len(path.read_text().splitlines()) for path in rejected] == [2]
    assert accounts_balance(lake)
