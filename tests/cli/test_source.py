"""An analyst's export: recognised or guessed, shown, and added to an environment by one command."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

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
        yield project


def declared(project: Project, env: str) -> dict[str, Any]:
    path = project.root / "conf" / env / "parameters_sources.yml"
    content: dict[str, Any] = yaml.safe_load(path.read_text())
    return content


def test_a_known_export_is_added_to_a_new_environment_and_run(copy: Project) -> None:
    given = "--set=faculdade=Escola Azul"
    shown = copy.kedro("source", "inspect", "studio.csv", given).stdout
    assert "Recognised as youtube_studio" in shown
    assert "14 records = 11 rows + 0 superseded + 1 ignored + 2 rejected" in shown
    assert "rejected  record 11: views.unreadable: " in shown
    added = copy.kedro("source", "add", "studio.csv", "--env=escola", given).stdout
    assert "Next: kedro run --env=escola" in added
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


@pytest.mark.parametrize("option", ["--env=base", "--env=../x", "--name=a b"])
def test_no_other_file_is_written(copy: Project, option: str) -> None:
    before = {path: path.read_bytes() for path in (copy.root / "conf").rglob("*.yml")}
    command = ("source", "add", "week.csv", option, "--set=rede_social=tiktok")
    done = copy.kedro(*command, check=False)
    assert done.returncode == 1
    assert option.partition("=")[0] in done.stderr
    assert {path: path.read_bytes() for path in (copy.root / "conf").rglob("*.yml")} == before


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
        "week.csv": "it has no field for rede_social; give it: --set rede_social=…."
    }
    after = {path for path in copy.root.rglob("*") if path.is_file()}
    assert {path for path in after - before if "__pycache__" not in path.parts} == set()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["week.csv"], "week.csv: it has no field for rede_social; give it: --set rede_social"),
        (["week.csv", "--set=rede=x"], "--set: 'rede=x' is not COLUMN=VALUE; choose from fac"),
        (["week.csv", "--preset=youtube"], "--preset: 'youtube' is not one of youtube_"),
        (["pyproject.toml"], "pyproject.toml: "),
        (["weak.csv"], "weak.csv: there is no such file, seen from "),
    ],
)
def test_a_mistake_is_one_sentence(copy: Project, arguments: list[str], message: str) -> None:
    result = copy.kedro("source", "preview", *arguments, check=False)
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr
