"""Exports come in by their presets, and a file that was read wrongly is read again."""

from __future__ import annotations

import json
import shutil
import zipfile
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from capstone_metrics.sources.presets import all_presets, recognised
from tests.sources.test_presets import EXPORTS, comparable, constants, expectation_of
from tests.support.lakes import LAKE_PIPELINES
from tests.support.project import project_copy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.project import Project

LAKE = f"--pipelines=ingest_bronze,{','.join(LAKE_PIPELINES)}"
AFTER_EVERY_POST = "2026-11-28T20:05"


@pytest.fixture
def exporting(open_folder: Path) -> Iterator[Project]:
    """A project without sources."""
    with project_copy(open_folder) as copy:
        (copy.root / "exports").mkdir()
        yield copy


def sources_of_exports(folder: Path) -> dict[str, dict[str, Any]]:
    """Copy every export that holds videos to a folder; return a source for each file."""
    sources: dict[str, dict[str, Any]] = {}
    for export in sorted(EXPORTS.iterdir()):
        for name, expected in expectation_of(export)["files"].items():
            preset = recognised(export / name, all_presets().values())
            assert preset
            if expected["outcome"] == "rows":
                source = f"{export.name}_{len(sources)}"
                shutil.copy(export / name, folder / f"{source}-{name}")
                sources[source] = {
                    "type": "files",
                    "preset": preset.name,
                    "path": f"exports/{source}-*",
                    **constants(expected["constants"]),
                }
    return sources


def silver_rows(copy: Project) -> list[dict[str, Any]]:
    """Return the rows of Silver."""
    table = pq.read_table(copy.root / "data/silver/criacao").to_pylist()
    return [{**row, "data_postagem": str(row["data_postagem"])} for row in table]


def test_every_export_comes_into_silver_as_it_is_expected(exporting: Project) -> None:
    sources = sources_of_exports(exporting.root / "exports")
    networks = sorted({each for preset in all_presets().values() for each in preset.networks})
    exporting.configure("parameters_sources.yml", sources=sources, networks=networks)
    exporting.run(LAKE, now=AFTER_EVERY_POST)
    rows = {
        (row["run_id"].rpartition("-2026-")[0], row["video_id"]): row
        for row in silver_rows(exporting)
    }
    row_count = 0
    for export in EXPORTS.iterdir():
        expectation = expectation_of(export)
        for expected in expectation["rows"]:
            row_count += 1
            (row,) = (
                row
                for (source, video_id), row in rows.items()
                if source.startswith(export.name) and video_id == expected["video_id"]
            )
            for column in set(expectation["columns"]) & expected.keys() - {
                "posted_at",
                "ingestion_ts",
            }:
                assert comparable(column, row[column]) == expected[column], (export.name, column)
    assert row_count == len(rows)
    accounts = [expectation_of(export)["files"] for export in EXPORTS.iterdir()]
    head = json.loads((exporting.root / "data/silver/head.json").read_text())
    files = [
        file["account"]
        for account in accounts
        for file in account.values()
        if file["outcome"] == "rows"
    ]
    assert head["total"] == {
        "lines": sum(file["records"] for file in files),
        "current": row_count,
        "superseded": sum(file["superseded"] for file in files),
        "quarantined": sum(file["rejected"] for file in files),
        "ignored": sum(file["ignored"] for file in files),
        "withdrawn": 0,
    }
    exporting.kedro("verify", "--full")
    assert {video: gains_of(exporting, video) for video in TRENDING_GAINS} == TRENDING_GAINS


TRENDING_GAINS = {
    "kA1gL2eB3rC": {"2023-01-01": 100_200, "2023-01-02": 150_210, "2023-01-03": 61_640},
    "-kD4eF5gH6i": {"2023-01-02": 1_500_300, "2023-01-03": 600_477, "2023-01-04": 299_224},
    "kJ7kL8mN9oP": {"2023-01-03": 20_400, "2023-01-04": -1},  # a counter that fell
}
"""What each day gained, by hand, of an export with several observations of each video.

They were made at midnight in UTC, which is the evening before in São Paulo.
"""


def gains_of(copy: Project, video: str) -> dict[str, int | None]:
    """Return the views that a video gained, by day."""
    rows = pq.read_table(
        copy.root / "data/silver/observacao_dia", filters=[("video_id", "=", video)]
    ).to_pylist()
    return {str(row["data_observacao"]): row["views_ganhas"] for row in rows}


EXPORT = "Perfil;Publicado;Código;Exibições;Curtidas\nEscola Ação;30/01/2026 18:03;az-1;12040;800\n"
DECLARED = {
    "type": "files",
    "format": "csv",
    "path": "exports/*.csv",
    "fields": {
        "faculdade": "Perfil",
        "rede_social": {"constant": "tiktok"},
        "data_postagem": {"field": "Publicado", "format": "%d/%m/%Y %H:%M"},
        "video_id": "Código",
        "views": "Exibições",
    },
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrong", "right"),
    [({}, {"delimiter": ";"}), ({"delimiter": ";", "encoding": "cp1252"}, {"delimiter": ";"})],
    ids=["delimiter", "encoding"],
)
def test_a_file_that_was_read_wrongly_is_right_after_its_declaration_was_mended(
    exporting: Project, wrong: dict[str, str], right: dict[str, str]
) -> None:
    (exporting.root / "exports/a.csv").write_text(EXPORT, encoding="utf-8")
    networks = ["tiktok"]
    exporting.configure(
        "parameters_sources.yml", sources={"mine": DECLARED | wrong}, networks=networks
    )
    exporting.run(LAKE, check=False)
    exporting.configure(
        "parameters_sources.yml", sources={"mine": DECLARED | right}, networks=networks
    )
    output = exporting.run(LAKE).stdout
    (row,) = silver_rows(exporting)
    assert (row["faculdade"], row["video_id"], row["views"], row["likes"]) == (
        "Escola Ação",
        "az-1",
        12040,
        None,
    )
    assert "2 lines in Bronze = 1 current in Silver + 0 superseded + 0 quarantined" in output
    assert "1 withdrawn" in output
    gold = exporting.root / "data/gold/gold_video_views_dia_rede_social.csv"
    assert gold.read_text().splitlines()[1] == "2026-01-30,tiktok,12040,,,1"
    before = gold.read_bytes()
    assert "Nothing new" in exporting.run(LAKE).stdout
    exporting.kedro(
        "run", "--params=now=2026-01-31T20:05,full=true", f"--pipelines={','.join(LAKE_PIPELINES)}"
    )
    assert gold.read_bytes() == before
    exporting.kedro("verify", "--full")


@pytest.mark.slow
def test_a_member_that_is_no_longer_read_leaves_silver(exporting: Project) -> None:
    with zipfile.ZipFile(exporting.root / "exports/a.zip", "w") as archive:
        archive.writestr("videos.csv", EXPORT)
        archive.writestr("old.csv", EXPORT.replace("az-1", "az-2"))
    for member, ids in (("*.csv", ["az-1", "az-2"]), ("videos.csv", ["az-1"])):
        source = DECLARED | {"path": "exports/*.zip", "delimiter": ";", "member": member}
        exporting.configure("parameters_sources.yml", sources={"mine": source}, networks=["tiktok"])
        output = exporting.run(LAKE).stdout
        assert sorted(row["video_id"] for row in silver_rows(exporting)) == ids
    assert "3 lines in Bronze = 1 current in Silver" in output
    assert "2 withdrawn" in output
    exporting.kedro("verify", "--full")


@pytest.mark.slow
def test_an_export_of_which_every_line_is_rejected_is_named_and_mended(exporting: Project) -> None:
    (exporting.root / "exports/a.csv").write_text(EXPORT, encoding="utf-8")
    wrong = {**DECLARED["fields"], "data_postagem": "Publicado"}
    for fields in (wrong, DECLARED["fields"]):
        source = DECLARED | {"delimiter": ";", "fields": fields}
        exporting.configure("parameters_sources.yml", sources={"mine": source}, networks=["tiktok"])
        if fields is wrong:
            done = exporting.run(LAKE, check=False)
            assert done.returncode == 1
            assert (
                "Silver has no row: all 1 lines are in the quarantine "
                "(data_postagem.unreadable in 1)." in done.stderr
            )
            assert "1 lines in Bronze = 0 current in Silver" in done.stdout
            again = exporting.run(LAKE, "--env=local", check=False)
            assert "then run 'kedro quarantine replay --env=local'" in again.stderr
            shown = exporting.kedro("quarantine", "--lines=1").stdout
            assert "\nexports/a.csv, record 1: data_postagem.unreadable\n    {" in shown
            (exporting.root / "exports/a.csv").rename(exporting.root / "a.csv")
            shown = exporting.kedro("quarantine", "--lines=1").stdout
            assert "\na file of mine that is no longer there as it was, record 1: " in shown
            (exporting.root / "a.csv").rename(exporting.root / "exports/a.csv")
    exporting.kedro("quarantine", "replay")
    assert len(silver_rows(exporting)) == 1
