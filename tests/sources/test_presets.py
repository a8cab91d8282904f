"""Each known export is recognised, and gives the rows that a person would read in it."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from capstone_metrics.errors import CapstoneError
from capstone_metrics.sources.presets import all_presets, with_preset
from capstone_metrics.sources.preview import Arrival, declared_of, preview_declared
from capstone_metrics.validation.contract import contract_of
from capstone_metrics.validation.silver import SILVER
from tests.support.project import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from capstone_metrics.sources.preview import Preview

EXPORTS = Path(__file__).parents[1] / "data/exports"
ZONE = "America/Sao_Paulo"
ARRIVAL = Arrival((), dt.datetime(2026, 11, 28, 11, tzinfo=dt.UTC), ZONE, COLUMNS)


def expectation_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "expected.json").read_text())
    return content


FILES = [
    pytest.param(folder, name, id=f"{folder.name}: {name}")
    for folder in sorted(EXPORTS.iterdir())
    for name in expectation_of(folder)["files"]
]


def constants(values: Mapping[str, Any]) -> dict[str, Any]:
    return {"fields": {column: {"constant": value} for column, value in values.items()}}


def preview_file(
    path: Path, lacking: Mapping[str, Any], preset: str | None = None
) -> tuple[str | None, Preview]:
    """Return the name of the preset of a file, and what it gives with the values that it lacks."""
    declared = declared_of(path, preset, constants(lacking), path.name, COLUMNS)
    return declared.preset, preview_declared(path, declared, ARRIVAL)


@pytest.mark.parametrize(("folder", "name"), FILES)
def test_an_export_is_recognised_and_read_as_it_is_expected(folder: Path, name: str) -> None:
    expectation = expectation_of(folder)
    preset, result = preview_file(folder / name, expectation["files"][name]["constants"])
    assert preset

    def expected(kind: str) -> dict[int, dict[str, Any]]:
        of_file = (each for each in expectation[kind] if each["file"] == name)
        return {each["record"]: each for each in of_file if not each.get("optional")}

    rows = {row["record"]: row for row in result.rows}
    for record, row in expected("rows").items():
        for column in set(expectation["columns"]) & row.keys():
            assert comparable(column, rows[record][column]) == comparable(column, row[column])
    rejected = {each["record"]: set(each["rules"]) for each in result.rejected}
    for record, each in expected("rejected").items():
        assert rejected[record] & set(each["rules"])
    for kind in ("rows", "rejected", "ignored", "superseded"):
        assert {each["record"] for each in getattr(result, kind)} == set(expected(kind))
    is_refused = expectation["files"][name]["outcome"] == "refuse"
    assert list(result.refused) == ([name] if is_refused else [])
    for column in expectation["files"][name].get("says", ()):
        assert f"has no field for {column}" in result.refused[name]


def comparable(column: str, value: Any) -> Any:
    """Return a time without its zone and fractions, which expectations write in several ways."""
    if column in {"posted_at", "ingestion_ts"} and value:
        return dt.datetime.fromisoformat(value).replace(tzinfo=None, microsecond=0)
    return value


@pytest.mark.parametrize("name", [name for name, p in all_presets().items() if not p.lacks])
def test_a_preset_is_a_whole_declaration_but_for_what_its_files_lack(name: str) -> None:
    lacking = constants({"faculdade": "A", "rede_social": "tiktok"})
    declared = {"preset": name, "path": "x", **lacking}
    contract = contract_of("mine", with_preset("mine", declared, COLUMNS), ZONE, COLUMNS)
    assert contract.fields["faculdade"].constant == "A"
    preset = all_presets()[name]
    assert preset.networks
    assert preset.description


def test_a_preset_leaves_out_columns_that_are_not_declared() -> None:
    declared = {"preset": "apify_tiktok", "path": "x"}
    with_all, without = (
        with_preset("mine", declared, columns)["fields"] for columns in (COLUMNS, SILVER)
    )
    assert {*with_all} - {*without} == {"compartilhamentos", "salvamentos", "qtd_inscritos"}


def test_a_declaration_overrides_its_preset_field_by_field() -> None:
    declared = with_preset(
        "mine",
        {
            "preset": "youtube_studio",
            "path": "x",
            "counters": "lifetime",
            "fields": {"faculdade": {"constant": "A"}, "views": "Engaged views"},
        },
    )
    assert (declared["format"], declared["counters"]) == ("csv", "lifetime")
    assert declared["fields"]["views"] == "Engaged views"
    assert declared["fields"]["rede_social"] == {"constant": "youtube"}


def test_an_unknown_preset_is_answered_with_the_nearest_ones() -> None:
    with pytest.raises(CapstoneError, match=r"mine.preset: 'youtube' is not one of youtube_"):
        with_preset("mine", {"preset": "youtube"})


def test_an_export_without_videos_is_refused_as_a_source() -> None:
    with pytest.raises(CapstoneError, match="meta_account_metrics has no field for video_id"):
        with_preset("mine", {"preset": "meta_account_metrics"})


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("equipe.csv",
         "Perfil;Rede;Publicado;Código;Título;Exibições;Curtidas;Seguidores;Compartilhamentos\n"
         "Azul;kwai;20/01/2026;k10001;A;1.200;5;12,5 mil;1.034\n",
         {"qtd_inscritos": 12_500, "compartilhamentos": 1_034, "salvamentos": None}),
        ("posts.csv",
         '"Identificação do post","Nome de usuário da conta","Nome da conta",Descrição,"Horário de '
         'publicação","Tipo de post",Data,Visualizações,Curtidas,Compartilhamentos,Comentários,'
         "Salvamentos\n"
         '18207701234571212,azul,Azul,A,"01/18/2026 11:05","Reel do Instagram",Total,2690,149,6,9,'
         "3\n",
         {"qtd_inscritos": None, "compartilhamentos": 6, "salvamentos": 3}),
    ],
)  # fmt: skip
def test_an_export_fills_the_declared_columns_that_it_has(
    tmp_path: Path, name: str, text: str, expected: dict[str, int | None]
) -> None:
    (tmp_path / name).write_text(text, encoding="cp1252" if ";" in text else "utf-8")
    _, result = preview_file(tmp_path / name, {})
    (row,) = result.rows
    assert {column: row[column] for column in expected} == expected
