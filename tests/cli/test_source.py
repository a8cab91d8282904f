"""An analyst's export: recognised or guessed, shown, and added to an environment by one command."""

from __future__ import annotations

import json
import os
import shutil
import sys
from typing import TYPE_CHECKING, Any

import openpyxl
import pytest
import yaml

from tests.sources.test_presets import EXPORTS
from tests.support.project import project_copy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.project import Project

STUDIO = "youtube_studio_table_en/Table data.csv"
WEEK = """sep=;
Perfil;Publicado em;Link;Visualizações;Curtidas
Escola Azul;3 de jan. de 2026;https://www.tiktok.com/@a/video/7600000000000000901;1,5 mil;98
Escola Azul;9 de fev. de 2026;https://www.tiktok.com/@a/video/7600000000000000902;12.040;
Escola Azul;9 de fev. de 2026;https://www.tiktok.com/@a/video/7600000000000000903;n/d;1
"""


@pytest.fixture
def copy(open_folder: Path) -> Iterator[Project]:
    with project_copy(open_folder) as project:
        shutil.copy(EXPORTS / STUDIO, project.root / "studio.csv")
        (project.root / "week.csv").write_text(WEEK)
        (project.root / "icon.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
        (project.root / "old.xlsx").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
        (project.root / "cut.json").write_text('{"videos": [{"id": "a')
        (project.root / "blank.csv").write_text("\n \n")
        (project.root / "colons.csv").write_text("id:data:views\na:2026-01-30:5\n")
        (project.root / "spoilt.xlsx").write_bytes(b"PK\x03\x04 and no more")
        yield project


def declared(project: Project, env: str) -> dict[str, Any]:
    path = project.root / "conf" / env / "parameters_sources.yml"
    content: dict[str, Any] = yaml.safe_load(path.read_text())
    return content


def test_a_separator_of_thousands_is_named_and_given(copy: Project) -> None:
    text = "Content;Video publish time;Views\nabc12345678;Jan 3, 2026;1.012.040\n"
    (copy.root / "saved.csv").write_text(text)
    inspect = ("source", "inspect", "saved.csv", "--set=faculdade=Escola Azul")
    shown = copy.kedro(*inspect).stdout
    assert "rejected  record 1: views.unreadable: Views = '1.012.040'" in shown
    assert "Numbers such as these are read with --set thousands='.'" in shown
    read = copy.kedro(*inspect, "--set=thousands=.", "--json").stdout
    assert [row["views"] for row in json.loads(read)["rows"]] == [1_012_040]


def test_a_known_export_is_added_to_a_new_environment_and_run(copy: Project) -> None:
    given = "--set=faculdade=Escola Azul"
    shown = copy.kedro("source", "inspect", "studio.csv", given).stdout
    assert "Recognised as youtube_studio" in shown
    assert "14 records = 11 rows + 0 superseded + 1 ignored + 2 rejected" in shown
    assert "rejected  record 11: views.unreadable: Views = '#VALUE!'" in shown
    added = copy.kedro("source", "add", "studio.csv", "--env=escola", given).stdout
    assert "Next: kedro run --env=escola" in added
    assert "has files of" not in added
    assert declared(copy, "escola") == {
        "networks": ["youtube"],
        "sources": {
            "youtube_studio": {
                "type": "files",
                "preset": "youtube_studio",
                "path": "studio.csv",
                "fields": {"faculdade": {"constant": "Escola Azul"}},
            }
        },
    }
    lake = "--pipelines=ingest_bronze,bronze_to_silver,silver_to_gold"
    output = copy.kedro("run", "--env=escola", lake).stdout
    assert "11 current in Silver + 0 superseded + 2 quarantined + 1 ignored" in output
    shutil.rmtree(copy.root / "conf/escola")
    again = copy.kedro("source", "add", "studio.csv", "--env=escola", given).stdout
    assert "data/escola has files of an environment of this name that was deleted" in again


def test_an_unknown_export_is_guessed_and_joins_the_sources_of_an_environment(
    copy: Project,
) -> None:
    folder = copy.root / "conf/escola"
    folder.mkdir()
    before = (
        "# ours\nnetworks: [youtube]  # and more\n\nsources:  # weekly\n  other: {type: faker}\n"
    )
    (folder / "parameters_sources.yml").write_text(before)
    (folder / "globals.yml").write_text("{lake: data/escola, database: capstone_escola}")
    copy.kedro("source", "add", "week.csv", "--env=escola", "--set=rede_social=tiktok")
    text = (folder / "parameters_sources.yml").read_text()
    assert "# ours" in text
    content = declared(copy, "escola")
    assert content["networks"] == ["youtube", "tiktok"]
    assert list(content["sources"]) == ["week", "other"]
    fields = content["sources"]["week"]["fields"]
    assert fields["data_postagem"] == {
        "field": "Publicado em",
        "format": "%-d de %b de %Y",
        "language": "pt",
    }
    numbers = {"compact": "pt", "thousands": ".", "decimal": ","}
    assert fields["views"] == {"field": "Visualizações", **numbers}
    assert fields["likes"] == {"field": "Curtidas", "optional": True}
    again = copy.kedro("source", "add", "week.csv", "--env=escola", check=False)
    assert again.returncode == 1


def test_a_guessed_source_reads_the_known_networks_of_later_files(copy: Project) -> None:
    rows = "id,faculdade,rede,data,views\nv-{0},E,{1},2026-01-30,5\n"
    folder = copy.root / "weeks"
    folder.mkdir()
    (folder / "1.csv").write_text(rows.format(1, "TikTok"))
    file = str(folder / "1.csv")  # a path counts from the project, wherever the command is run
    added = copy.kedro("source", "add", file, "--env=escola", "--name=weekly").stdout
    assert "make its path a pattern such as weeks/weekly/*.csv." in added
    path = copy.root / "conf/escola/parameters_sources.yml"
    path.write_text(path.read_text().replace("weeks/1.csv", "weeks/*.csv"))
    for number, network in enumerate(("Instagram", "X (Twitter)", "kwai"), 2):
        (folder / f"{number}.csv").write_text(rows.format(number, network))
    lake = "--pipelines=ingest_bronze,bronze_to_silver,silver_to_gold"
    assert "4 current in Silver" in copy.kedro("run", "--env=escola", lake).stdout
    silver = copy.root / "data/escola/silver/criacao"
    networks = sorted(each.name.partition("=")[2] for each in silver.iterdir())
    assert networks == ["instagram", "kwai", "tiktok", "twitter"]


@pytest.mark.parametrize(
    ("content", "networks"),
    [
        (
            "sources:\n    velha:\n        type: faker\n",
            ["tiktok", "instagram_reels", "youtube_shorts"],
        ),
        ("networks:\nsources:\n  velha: {type: faker}\n", None),
        ("sources:\n- type: faker\n", None),
    ],
)
def test_a_file_of_declarations_is_extended_or_left_alone(
    copy: Project, content: str, networks: list[str] | None
) -> None:
    path = copy.root / "conf/local/parameters_sources.yml"
    path.write_text(content)
    command = ("source", "add", "week.csv", "--env=local", "--set=rede_social=tiktok")
    done = copy.kedro(*command, check=False)
    if done.returncode:
        assert "Traceback" not in done.stderr
        assert path.read_text() == content
        assert networks is None
        return
    after = declared(copy, "local")
    assert list(after["sources"]) == ["week", "velha"]
    assert after["sources"]["velha"] == {"type": "faker"}
    assert networks is None or set(after.get("networks", networks)) == set(networks)


def test_a_source_is_named_after_its_file_without_accents(copy: Project) -> None:
    (copy.root / "week.csv").rename(copy.root / "Relato\u0301rio de março.csv")
    command = ("source", "add", "Relato\u0301rio de março.csv", "--env=escola")
    copy.kedro(*command, "--set=rede_social=tiktok")
    assert list(declared(copy, "escola")["sources"]) == ["relatorio_de_marco"]


def test_a_text_that_yaml_takes_for_a_number_is_declared_in_quotes(copy: Project) -> None:
    copy.kedro("source", "add", "week.csv", "--env=escola", "--set=rede_social=1e3")
    text = (copy.root / "conf/escola/parameters_sources.yml").read_text()
    assert "constant: '1e3'" in text
    assert "- '1e3'" in text


@pytest.mark.parametrize(
    "options", [["--env=base"], ["--env=../x"], ["--name=a b", "--env=ours"]], ids=" ".join
)
def test_no_other_file_is_written(copy: Project, options: list[str]) -> None:
    before = {path: path.read_bytes() for path in (copy.root / "conf").rglob("*.yml")}
    command = ("source", "add", "week.csv", *options, "--set=rede_social=tiktok")
    done = copy.kedro(*command, check=False)
    assert done.returncode == 1
    assert f"{options[0].partition('=')[0]}: " in done.stderr
    assert {path: path.read_bytes() for path in (copy.root / "conf").rglob("*.yml")} == before


def test_a_number_that_a_preset_reads_otherwise_names_the_field(copy: Project) -> None:
    workbook = openpyxl.Workbook()
    workbook.active.append(["Institution", "Network", "Date", "Video ID", "Views"])
    workbook.active.append(["A", "tiktok", "yesterday", "az-123456", "5.100"])
    workbook.active.append(["A", "tiktok", "2026-01-30", "az-123457", "5.100"])
    workbook.save(copy.root / "plan.xlsx")
    inspect = ("source", "inspect", "plan.xlsx", "--preset=planilha_excel", "--set=thousands=.")
    shown = copy.kedro(*inspect).stdout
    assert "Numbers such as these are read with --field views=Views\n" in shown
    read = copy.kedro(*inspect, "--field=views=Views", "--json").stdout
    assert [row["views"] for row in json.loads(read)["rows"]] == [5100]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            ["inspect", "week.csv", "--set=rede_social=TikTok"],
            "rede_social: 'TikTok' differs from 'tiktok' by case or blanks alone; write tiktok.",
        ),
        (
            ["add", "studio.csv", "--set=faculdade=A", "--env=Local"],
            "--env: 'Local' differs from 'local' by case or blanks alone; write local.",
        ),
    ],
)
def test_a_name_that_differs_from_a_known_one_by_case_is_refused(
    copy: Project, command: list[str], message: str
) -> None:
    done = copy.kedro("source", *command, check=False)
    assert done.returncode == 1
    assert done.stderr == f"Error: {message}\n"
    assert not (copy.root / "conf/Local").exists()


@pytest.mark.parametrize("file", ["studio.csv", "week.csv"])
def test_a_field_that_a_file_lacks_is_refused_with_those_that_it_has(
    copy: Project, file: str
) -> None:
    given = ("--set=faculdade=A", "--field=views=Vews")
    done = copy.kedro("source", "inspect", file, *given, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: --field: 'Vews' is not one of ")


def test_a_field_that_no_known_export_has_is_named(copy: Project) -> None:
    (copy.root / "ours.csv").write_text(
        "Relatório da semana;;;;\nUnidade;Dt. post;Peça;Cód.;Plays\n"
        "A;30/01/2026;Aula;az-1;12.040\nTotal;;;;12.040\n"
    )
    named = ("data_postagem=Dt. post", "video_id=Cód.", "views=Plays", "faculdade=Unidade")
    options = [f"--field={each}" for each in named]
    output = copy.kedro(
        "source", "preview", "ours.csv", "--set=rede_social=kwai", "--json", *options
    )
    result = json.loads(output.stdout)
    assert [(row["video_id"], row["views"], row["data_postagem"]) for row in result["rows"]] == [
        ("az-1", 12040, "2026-01-30")
    ]
    assert [each["rule"] for each in result["ignored"]] == ["ignore.Unidade"]


def test_an_environment_has_to_be_named(copy: Project) -> None:
    done = copy.kedro("source", "add", "week.csv", "--set=rede_social=tiktok", check=False)
    assert "--env: name an environment of your own" in done.stderr


def test_the_preview_is_json_too_and_writes_nothing(copy: Project) -> None:
    before = {path for path in copy.root.rglob("*") if path.is_file()}
    output = copy.kedro("source", "preview", "week.csv", "--set=rede_social=tiktok", "--json")
    result = json.loads(output.stdout)
    assert [row["views"] for row in result["rows"]] == [1500, 12040]
    assert [row["video_id"] for row in result["rows"]] == [
        "7600000000000000901",
        "7600000000000000902",
    ]
    assert [(each["record"], each["rules"]) for each in result["rejected"]] == [
        (3, ["views.unreadable"])
    ]
    refused = copy.kedro("source", "preview", "week.csv", "--json")
    assert json.loads(refused.stdout)["refused"] == {
        "week.csv": "it has no field for rede_social; its fields are Perfil, Publicado em, Link, "
        "Visualizações, Curtidas; give the value, or name the field: --set rede_social='…'."
    }
    after = {path for path in copy.root.rglob("*") if path.is_file()}
    assert {path for path in after - before if "__pycache__" not in path.parts} == set()


@pytest.mark.few(5)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["week.csv"], "week.csv: it has no field for rede_social; its fields are Perfil, "),
        (["week.csv", "--set=rede=x"], "--set: 'rede' is not one of rede_social, "),
        (["week.csv", "--set=views=1"], "--set: 'views' is not one of "),
        (["week.csv", "--set=rede_social"], "--set: 'rede_social' is not COLUMN=VALUE"),
        (
            ["week.csv", "--field=views=Plays"],
            "--field: 'Plays' is not one of Curtidas, Link, Perfil, ",
        ),
        (["icon.png"], "icon.png: is no CSV, JSON, Parquet or Excel file; export it again as one"),
        (["cut.json"], "cut.json: has no complete record from which its fields could be guessed;"),
        (
            ["blank.csv"],
            "blank.csv: has no complete record from which its fields could be guessed;",
        ),
        (["colons.csv"], "colons.csv: it has one column, id:data:views: no comma, semicolon, tab"),
        (["old.xlsx"], "old.xlsx: is an old workbook, which is not read; save it as .xlsx."),
        (["spoilt.xlsx"], "spoilt.xlsx: is incomplete or broken; copy it again, or export it"),
        (["week.csv", "--preset=youtube"], "--preset: 'youtube' is not one of youtube_"),
        (["pyproject.toml"], "pyproject.toml: "),
        (["."], "is a folder; name one of the files in it."),
        (["weak.csv"], "weak.csv: there is no such file, seen from "),
    ],
)
def test_a_mistake_is_one_sentence(copy: Project, arguments: list[str], message: str) -> None:
    result = copy.kedro("source", "preview", *arguments, check=False)
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_a_configuration_that_may_not_be_written_is_one_sentence(
    copy: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.write_text", refuse)
    given = ("studio.csv", "--env=escola", "--set=faculdade=A")
    done = copy.kedro("source", "add", *given, check=False)
    assert done.returncode == 1
    message = "globals.yml: permission denied; make the configuration writable for this user.\n"
    assert done.stderr.endswith(message)
    assert done.stderr.startswith("Error: ")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, every name is UTF-8")
@pytest.mark.parametrize("command", ["preview", "add"])
def test_a_file_whose_name_is_not_utf8_is_to_be_renamed(copy: Project, command: str) -> None:
    odd = os.fsdecode(b"Relat\xf3rio.csv")
    (copy.root / "studio.csv").rename(copy.root / odd)
    done = copy.kedro("source", command, odd, "--env=local", check=False)
    assert done.returncode == 1
    name = "Relat\N{REPLACEMENT CHARACTER}rio.csv"
    assert done.stderr == f"Error: {name}: its name is not UTF-8; rename it.\n"


@pytest.mark.few(1)
@pytest.mark.parametrize(("file", "institution"), [("a.csv", "Ação"), ("relatório.csv", "E")])
def test_a_shell_without_accents_is_told_what_to_set(
    copy: Project, monkeypatch: pytest.MonkeyPatch, file: str, institution: str
) -> None:
    (copy.root / "studio.csv").rename(copy.root / file)
    for name, value in (("PYTHONUTF8", "0"), ("PYTHONCOERCECLOCALE", "0"), ("LC_ALL", "C")):
        monkeypatch.setenv(name, value)
    given = f"--set=faculdade={institution}"
    done = copy.process("source", "add", file, "--env=escola", given, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        "Error: A name has a character that ascii, the encoding of this shell, lacks; set "
        "PYTHONUTF8=1, and run the command again.\n"
    )
    assert not (copy.root / "conf/escola").exists()
