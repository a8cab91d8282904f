"""A mistake of the user is one sentence with the file or option, the name and the choices."""

from __future__ import annotations

import os
import shutil
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.project import project_copy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.project import Completed, Project

FILES = {"type": "files", "format": "csv", "path": "x"}
FIELDS = {name: name for name in ("faculdade", "rede_social", "data_postagem", "video_id", "views")}
INGEST = ("run", "--params=now=2026-01-31T20:05", "--pipelines=ingest_bronze")


@pytest.fixture(scope="module")
def copy(open_folder: Path) -> Iterator[Project]:
    """A project whose local configuration each test writes."""
    with project_copy(open_folder) as copy:
        (copy.root / "bad.yml").write_text("a: b: c\n")
        yield copy


@pytest.fixture
def project(copy: Project) -> Project:
    """That project with an empty local configuration."""
    for path in (copy.root / "conf/local").iterdir():
        path.unlink()
    return copy


def sentence(done: Completed) -> str:
    """Return the one line of an error, after checking that there is no other."""
    code = 3 if "status" in done.args else 1  # a monitor takes 1 for a warning
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stdout
    return done.stderr.removeprefix("Error: ").rstrip("\n")


@pytest.mark.few(8)
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "--pipelines=gold"], "--pipelines: 'gold' is not one of publish_gold, silver_to_"),
        (
            ["run", "--pipelines=x"],
            "--pipelines: 'x' is not one of bronze_to_silver, ingest_bronze, ",
        ),
        (["run", "--nodes=merg"], "--nodes: 'merg' is not one of merge, "),
        (["run", "--from-nodes=merg"], "--from-nodes: 'merg' is not one of merge, "),
        (["run", "--to-nodes=merg"], "--to-nodes: 'merg' is not one of merge, "),
        (["run", "--from-inputs=slver"], "--from-inputs: 'slver' is not one of silver, "),
        (["run", "--to-outputs=slver"], "--to-outputs: 'slver' is not one of silver, "),
        (["run", "--tags=golden"], "--tags: 'golden' is not one of gold, "),
        (["run", "--namespaces=x"], "--namespaces: there is no 'x'."),
        (["run", "--load-versions=gold:1"], "--load-versions: datasets here have no versions"),
        (["run", "--only-missing-outputs"], "--only-missing-outputs: datasets here have no versio"),
        (["run", "--runner=Thread"], "--runner: 'Thread' is not one of ThreadRunner, "),
        (["run", "--env=prodd"], "--env: 'prodd' is not one of prod, "),
        (["run", "--params=nwo=2026-01-01"], "--params: 'nwo' is not one of now, "),
        (["run", "--params=paln=true"], "--params: 'paln' is not one of plan, "),
        (["run", "--params=form=2025-12-01"], "--params: 'form' is not one of from, "),
        (["run", "--params=plan=true", "--params=now=soon"], "--params: is given twice; write it "),
        (["run", "--pipelines=x", "--pipelines=y"], "--pipelines: is given twice; write it once, "),
        (["status", "-e", "prod", "--env=local"], "--env: is given twice; write it once, "),
        (["catalog", "resolve-patterns", "-e", "a", "-e", "b"], "--env: is given twice; write it "),
        (["run", "--params=now=2026-01-01,now=2026-01-02"], "--params: now is given twice; write "),
        (["run", "--params=plan=true,now="], "--params: now has no value; give one, or omit it."),
        (["run", "--params="], "--params: has no value; give one, or omit it."),
        (["run", "--env="], "--env: has no value; give one, or omit it."),
        (["run", "--pipelines", " "], "--pipelines: has no value; give one, or omit it."),
        (["status", "--now="], "--now: has no value; give one, or omit it."),
        (["runs", "show", "x", "--env="], "--env: has no value; give one, or omit it."),
        (["run", "--params=now=soon"], "now: 'soon' is not an instant; write it as "),
        (["run", "--params=now=2999-01-01"], "now: 2999-01-01 is in the future. "),
        (["run", "--params=from=2026-01-01"], "to: None is neither a day nor a window; give "),
        (["run", "--params=from=2026-02-01,to=2026-01-01"], "to: 2026-01-01 is before from: "),
        (["run", "--params=from=2026-01-01,to=2026-01-02,full=true"], "full: Silver is rebuilt "),
        (
            ["run", "--params=allow_refused=faka"],
            "--params: allow_refused: 'faka' is not one of faker, ",
        ),
        (["run", "--params=columns.foo=int"], "--params: columns.foo: 'int' is not one of int64, "),
        (
            ["run", "--params=sources.faker.sead=1"],
            "--params: sources.faker: 'sead' is not one of seed, ",
        ),
        (["run", "--params=quality.gold.chang=1"], "--params: quality.gold: "),
        (
            ["run", "--params=marts.gold_video_views_dia_faculdade.measure=1"],
            "--params: marts.gold_video_views_dia_faculdade: 'measure' is not one of measures, "
            "attributes, from, key.",
        ),
        (["run", "--params=now=null,full=maybe"], "--params: full: 'maybe' must be true or false"),
        (["run", "--params=publication.max=1"], "--params: publication: 'max' is not one of max_"),
        (["run", "--runner=kedro.runner.Threa"], "--runner: 'kedro.runner.Threa' is not one of "),
        (["run", "--config=bad.yml"], "mapping values are not allowed here in "),
        (["status", "--env=prodd"], "--env: 'prodd' is not one of prod, "),
        (["catalog", "resolve-patterns", "--env=prodd"], "--env: 'prodd' is not one of prod, "),
        (["registry", "describe", "gold"], "'gold' pipeline not found. Existing pipelines: "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_unknown_name_is_answered_with_the_choices(
    project: Project, arguments: list[str], expected: str
) -> None:
    message = sentence(project.kedro(*arguments, check=False))
    assert message.startswith(expected)
    # a slip is no failed run: it leaves no record, so that nobody is alerted
    assert not (project.root / "data/operations").exists()


@pytest.mark.few(8)
@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("parameters_a.yml", "schedule:\n  timezone: UTC\n layers: 3\n", ", line 3: expected"),
        ("parameters_a.yml", "full: true\nfull: false\n", ", line 2: found duplicate key full "),
        ("parameters_a.yml", 'now: "\\ud800"\n', ", line 1: found invalid Unicode "),
        ("parameters_a.yml", "full: *here\n", ", line 1: found undefined alias 'here'"),
        ("parameters_a.yml", "full: \xe9\n", ": 'utf-8' codec can't decode byte 0xe9"),
        ("parameters_a.yml", "- full\n", ": must be a mapping of names to values"),
        ("parameters_a.yml", "schedule: {timezone: UTC}\n", ": schedule: layers is missing"),
        ("parameters_a.yml", "schedule: 3\n", ": schedule: 3 must be a mapping with timezone, "),
        ("parameters_a.yml", "networks: tiktok\n", ": networks: 'tiktok' must be a list of texts"),
        (
            "parameters_a.yml",
            "definitions:\n"
            "- {date: 2025-03-31, rede_social: youtube, measure: views, en: a, pt: b}\n",
            ": definitions, number 1.rede_social: 'youtube' is not one of youtube_shorts, ",
        ),
        (
            "parameters_a.yml",
            "networks: [youtube]\ndefinitions:\n"
            "- {date: 2025-03-31, rede_social: tiktok, measure: views, en: a, pt: b}\n"
            "- {date: 2025-03-31, rede_social: youtube, measure: view, en: a, pt: b}\n",
            ": definitions, number 2.measure: 'view' is not one of views, comentarios, likes",
        ),
        ("parameters_a.yml", "operations: {kept_dys: 3}\n", ": operations: 'kept_dys' is not one"),
        ("parameters_a.yml", "operations: {kept_days: x}\n", ": operations.kept_days: 'x' must be"),
        *(
            (
                "parameters_a.yml",
                f"operations: {{kept_days: {days}}}\n",
                f": operations.kept_days: {days} must be a whole number from 1 to 36500",
            )
            for days in (0, 10**10)
        ),
        (
            "parameters_a.yml",
            "operations: {kept_days: 9, prometheus_file: a.txt}\n",
            ": operations.prometheus_file: 'a.txt' must be the path of a file that ends in .prom",
        ),
        (
            "parameters_a.yml",
            "operations: {kept_days: 9, listeners: [x]}\n",
            ": operations.listeners: 'x' is not one of ",
        ),
        (
            "parameters_a.yml",
            "publication: {max_shrink_pct: .nan, changes_kept_days: 9}\n",
            ": publication.max_shrink_pct: nan must be a percentage from 0 to 100",
        ),
        (
            "parameters_a.yml",
            "publication: {max_shrink_pct: 9, changes_kept_days: 0}\n",
            ": publication.changes_kept_days: 0 must be a whole number from 1 to 36500",
        ),
        (
            "parameters_a.yml",
            "schedule: {timezone: UTC, layers: {bronze: {starts: ['08:00'], minutes: 99999}}}\n",
            ": schedule.layers.bronze.minutes: 99999 must be a whole number from 1 to 36500",
        ),
        (
            "parameters_a.yml",
            "schedule: {timezone: UTC, layers: {bronze: {starts: [], minutes: 9}}}\n",
            ": schedule.layers.bronze.starts: declare at least one hour",
        ),
        (
            "parameters_a.yml",
            "schedule: {timezone: UTD, layers: {bronze: {starts: ['08:00'], minutes: 9}}}\n",
            ": schedule.timezone: 'UTD' is not a known time zone",
        ),
        (
            "parameters_a.yml",
            "quality: {gold: {change_pct: {most: -1, action: warn}}}\n",
            ": quality.gold.change_pct.most: -1 must be a number of at least 0",
        ),
        ("parameters_a.yml", "marts: {2026: {}}\n", ": marts: {2026} must be a mapping of names, "),
        ("parameters_a.yml", "2026: 3\n", ": 2026 is no text; write it in quotes."),
        ("globals.yml", "2026: 3\n", ": 2026 is no text; write it in quotes."),
        ("parameters_a.yml", "networks: [a, a]\n", ": networks: ['a', 'a'] must be a list of "),
        ("parameters_a.yml", "networks: ['a ']\n", ": networks: ['a '] must be a list of texts"),
        ("parameters_a.yml", "allow_refused: [x]\n", ": allow_refused: 'x' is not one of faker"),
        ("parameters_a.yml", "source: {}\n", ": 'source' is not one of sources, "),
        ("globals.yml", "lak: data/x\n", ": 'lak' is not one of lake, "),
        ("globals.yml", "lake: ''\n", ": lake: '' must be a path without blanks around it, or a "),
        ("globals.yml", "lake: ' data/x'\n", ": lake: ' data/x' must be a path without blanks "),
        ("globals.yml", "lake: {url: null}\n", ": lake: {url} must be a path without "),
        ("globals.yml", "lake: {url: x, region: 3}\n", ": lake: {url, region} must "),
        ("globals.yml", "postgres: ''\n", ": postgres: '' must be text, not empty and without "),
        ("globals.yml", "engine: dukdb\n", ": engine: 'dukdb' must be duckdb or spark"),
        (
            "globals.yml",
            "engine: {name: spark, opts: {}}\n",
            ": engine: {name, opts} must be duckdb or spark, or a mapping",
        ),
        *(
            (
                "globals.yml",
                f"engine: {{name: duckdb, options: {options}}}\n",
                ": engine: {name, options} must be duckdb or spark, or a mapping",
            )
            for options in ("[a]", "a", "{threads: [2]}", "{threads: null}", "{2026: 2}")
        ),
        ("globals.yml", "- 3\n", ": must be a mapping of names to values"),
        ("catalog.yml", "a: b: c\n", ", line 1: mapping values are not allowed here"),
        ("catalog.yml", "x: {type: a, path: '${globals:no}'}\n", ": x.path: Globals key 'no' not "),
        ("globals.yaml", "lake: data/x\n", ": declares lake, but a file of this name is not read"),
        ("settings.yml", "database: x\n", ": declares database, but a file of this name is not "),
        ("parameters_a.yml", "networks: [tiktok, on]\n", ", line 1: YAML takes on for true or"),
        ("parameters_a.yml", "networks: [tiktok, 010]\n", ", line 1: YAML takes 010 for 8; write"),
        ("parameters_a.yml", "sources:\n  on: {}\n", ", line 2: YAML takes on for true or false;"),
        ("parameters_a.yml", "sources:\n  1_000: {}\n", ", line 2: YAML takes 1_000 for 1000; "),
        (
            "parameters_a.yml",
            "marts: {a: 0x1F}\n",
            ", line 1: YAML takes 0x1F for 31; write it in ",
        ),
        (
            "parameters_a.yml",
            "marts: {a: 1:30.5}\n",
            ", line 1: YAML takes 1:30.5 for 90.5; write ",
        ),
        (
            "parameters_a.yml",
            "gold_new: {key: [faculdade], measures: {n: {count: video_id}}}\n",
            ": gold_new stands beside marts, so it is none of them; indent it below marts.",
        ),
        (
            "parameters_a.yml",
            "by_topic: {key: [categoria], measures: {n: {count: video_id}}}\n",
            ": by_topic stands beside marts, so it is none of them; indent it below marts.",
        ),
        (
            "parameters_a.yml",
            "mine: {type: files, format: csv, path: x}\n",
            ": mine stands beside sources, so it is none of them; indent it below sources.",
        ),
        ("sources.yml", "sources: {}\n", ": declares sources, but a file of this name is not read"),
    ],
)
def test_a_mistake_in_a_file_is_reported_with_the_file(
    project: Project, file: str, content: str, expected: str
) -> None:
    (project.root / "conf/local" / file).write_bytes(content.encode("latin-1"))

    assert sentence(project.kedro(*INGEST, check=False)).startswith(f"conf/local/{file}{expected}")


@pytest.mark.parametrize("content", ["{", "[1]", "{}"])
def test_the_status_of_a_lake_that_cannot_be_read_is_unknown(
    project: Project, content: str
) -> None:
    head = project.root / "data/silver/head.json"
    head.parent.mkdir(parents=True)
    head.write_text(content)
    done = project.kedro("status", check=False)
    shutil.rmtree(project.root / "data/silver")
    assert sentence(done).startswith(f"{head}: is not ")


def test_the_status_of_a_broken_configuration_is_unknown(project: Project) -> None:
    (project.root / "conf/local/globals.yml").write_text("lake: [\n")
    done = project.kedro("status", check=False)
    assert sentence(done).startswith("conf/local/globals.yml, line 2: ")


def test_a_mistake_of_a_file_is_not_of_what_the_command_line_gives_beside_it(
    project: Project,
) -> None:
    project.configure("parameters_a.yml", operations={"kept_days": 9, "listeners": 3})
    done = project.kedro("run", "--params=operations.kept_days=5", check=False)
    assert sentence(done).startswith("conf/local/parameters_a.yml: operations.listeners: 3 must ")


@pytest.mark.parametrize("name", ["conf/local", "conf/local/parameters_a.yml"])
def test_what_may_not_be_read_is_named(
    project: Project, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    hidden = project.root / name
    (project.root / "conf/local/parameters_a.yml").write_text("full: false\n")
    may_access, read_text = os.access, Path.read_text

    def refuse(path: Path, *arguments: Any, **options: Any) -> str:
        if path == hidden:
            raise PermissionError(13, "Permission denied", str(path))
        return read_text(path, *arguments, **options)

    monkeypatch.setattr(Path, "read_text", refuse)
    monkeypatch.setattr(os, "access", lambda path, mode: path != hidden and may_access(path, mode))

    expected = f"{hidden}: permission denied; make the configuration readable for this user."
    assert sentence(project.kedro(*INGEST, check=False)) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("x: 3\n", "Catalog entry 'x' is not a valid dataset configuration"),
        ("gold: {type: capstone_metrics.lake.Head}\n", "An exception occurred when pars"),
        ("alerts: {type: capstone_metrics.lake.RunsDataset, pth: x}\n", "RunsDataset.__init__() "),
    ],
)
def test_a_mistake_in_the_catalog_is_one_sentence(
    project: Project, content: str, expected: str
) -> None:
    (project.root / "conf/local/catalog.yml").write_text(content)

    done = project.kedro("catalog", "resolve-patterns", check=False)
    done = done if done.returncode else project.kedro("status", "--alert", check=False)
    assert sentence(done).startswith(f"configuration: {expected}")


@pytest.mark.parametrize("number", ["-1", str(10**30)])
@pytest.mark.parametrize(
    "command", ["quarantine --lines", "serving diff --rows", "status --windows"]
)
def test_a_number_that_is_out_of_range_is_refused(
    project: Project, command: str, number: str
) -> None:
    done = project.kedro(*f"{command}={number}".split(), check=False)
    assert done.returncode == (3 if command.startswith("status") else 2)
    assert f"{number} is not in the range" in done.stderr


@pytest.mark.few(5)
@pytest.mark.parametrize(
    ("declaration", "expected"),
    [
        ({"type": "files", "format": "csv", "pth": "x.csv"}, ": 'pth' is not one of path, "),
        ({"type": "faker", "sed": 1}, ": 'sed' is not one of seed, "),
        (
            {"type": "files", "format": "csv", "path": "x", "fields": {"views": {"feld": "v"}}},
            ".fields.views: {'feld': 'v'} is not the name of a field",
        ),
        (
            {**FILES, "fields": {**FIELDS, "faculdade": {"constant": True}}},
            ".fields.faculdade.constant: True must be a text or a whole number; write it in quotes",
        ),
        (
            {**FILES, "fields": {**FIELDS, "faculdade": {"constant": 1.5}}},
            ".fields.faculdade.constant: 1.5 must be a text or a whole number; write it in quotes",
        ),
        (
            {**FILES, "fields": {**FIELDS, "views": {"field": True}}},
            ".fields.views: [True] is not a list of names of fields",
        ),
        (
            {**FILES, "fields": {**FIELDS, "faculdade": {"field": "x", "values": {"a": False}}}},
            ".fields.faculdade.values: {'a': False} must be {value of the source: value}, texts",
        ),
        (
            {**FILES, "other_fields": [False]},
            ".other_fields: [False] must be a list of fields, each in quotes",
        ),
        ({"type": ["files"]}, ".type: ['files'] is not one of faker, files"),
        (
            {"type": "files", "preset": ["youtube"]},
            ".preset: ['youtube'] is not one of ",
        ),
        ({"type": "files", "preset": "youtube"}, ".preset: 'youtube' is not one of youtube_"),
        (
            {"type": "files", "fields": {"rede_social": {"constant": "youtube"}}},
            ".fields.rede_social: 'youtube' is not one of youtube_shorts, instagram_reels, tiktok; "
            "correct it, or add it to networks.",
        ),
        (
            {"type": "files", "preset": "youtube_studio"},
            ".fields.rede_social: 'youtube' is not one of youtube_shorts, ",
        ),
        (
            {
                "type": "files",
                "fields": {
                    "rede_social": {"field": ["a", {"field": "b", "values": {"I": "insta"}}]}
                },
            },
            ".fields.rede_social: 'insta' is not one of instagram_reels, ",
        ),
        (
            {"type": "files", "path": "x", "preset": "hootsuite"},
            ".fields: declare where faculdade comes from.",
        ),
    ],
)
def test_a_mistake_in_a_source_is_one_sentence(
    project: Project, declaration: dict[str, object], expected: str
) -> None:
    project.configure("parameters_sources.yml", sources={"mine": declaration})

    done = project.kedro(*INGEST, check=False)
    location = "conf/local/parameters_sources.yml"
    assert sentence(done).startswith(f"{location}: sources.mine{expected}")


@pytest.mark.parametrize(
    ("setting", "value", "named"),
    [
        ("networks", ["tiktok", "TikTok"], "'tiktok' and 'TikTok'"),
        ("networks", ["São", "sa\u0303o"], "'São' and 'são'"),
        ("sources", {"escola": {"type": "faker"}, "Escola": {"type": "faker"}}, "'escola' and "),
    ],
)
def test_names_that_others_take_for_one_are_refused(
    project: Project, setting: str, value: object, named: str
) -> None:
    project.configure("parameters_sources.yml", **{setting: value})

    error = unicodedata.normalize("NFC", sentence(project.kedro(*INGEST, check=False)))
    assert error.startswith(f"conf/local/parameters_sources.yml: {setting}: {named}")
    assert "differ by case or blanks alone" in error


@pytest.mark.few(4)
@pytest.mark.parametrize(
    ("option", "written", "taken_for"),
    [
        ("fields: {video_id: {constant: TEXT}}", "12:30", "750"),
        ("fields: {video_id: {constant: TEXT}}", "010", "8"),
        ("ignore: [{pago: [sim, TEXT]}]", "NO", "true or false"),
        ("fields: {faculdade: {field: inst, values: {TEXT: X}}}", "1.50", "1.5"),
        ("fields: {video_id: {constant: TEXT}}", "1_000", "1000"),
        ("fields: {video_id: {constant: TEXT}}", "1e3", "1000.0"),
        ("fields: {faculdade: {field: inst, values: {A: TEXT}}}", "2.10", "2.1"),
        ("fields: {views: {field: v, missing: TEXT}}", "1.0e3", "1000.0"),
        ("only: {pago: TEXT}", "yes", "true or false"),
        ("defaults: {missing: [TEXT]}", "Off", "true or false"),
    ],
)
def test_a_text_that_yaml_takes_for_something_else_is_refused_with_its_line(
    project: Project, option: str, written: str, taken_for: str
) -> None:
    path = project.root / "conf/local/parameters_sources.yml"
    for text, expected in (
        (written, f", line 3: YAML takes {written} for {taken_for}; write it in quotes"),
        (f"'{written}'", ": sources.mine.type: None is not one of faker, files"),
    ):
        path.write_text(f"sources:\n  mine:\n    {option.replace('TEXT', text)}\n")
        done = project.kedro(*INGEST, check=False)
        assert sentence(done).startswith(f"conf/local/parameters_sources.yml{expected}")


def test_a_number_that_is_written_as_it_is_read_is_taken(project: Project) -> None:
    path = project.root / "conf/local/parameters_sources.yml"
    path.write_text("sources:\n  mine:\n    only: {nota: [1.5, 10, true, False]}\n")
    done = project.kedro(*INGEST, check=False)
    assert "sources.mine.type: None is not one of faker, files" in sentence(done)


def test_a_source_whose_name_is_a_number_is_refused(project: Project) -> None:
    (project.root / "conf/local/parameters_sources.yml").write_text("sources: {2026: {type: x}}\n")
    done = project.kedro(*INGEST, check=False)
    assert "sources.2026: the name of a source is a text; write it in quotes." in sentence(done)


@pytest.mark.slow
def test_an_instant_in_the_future_may_be_asked_for_by_name(project: Project) -> None:
    project.ingest_nothing()
    project.kedro("run", "--params=now=2999-01-01,plan=true", "--pipelines=ingest_bronze")
    params = "--params=now=2999-01-01,allow_future=true"
    project.kedro("run", params, "--pipelines=ingest_bronze")


def test_a_lake_of_its_own_is_not_filled_from_the_sources_of_base_by_accident(
    project: Project,
) -> None:
    folder = project.root / "conf/escola"
    folder.mkdir(exist_ok=True)
    settings = folder / "globals.yml"
    settings.write_text("lake: data/escola\ndatabase: escola\n")
    run = (*INGEST, "--env=escola")
    for params in ("plan=true", "full=true"):
        done = project.kedro(*run[:1], f"--params={params}", *run[2:], check=False)
        assert sentence(done).startswith(
            "conf/escola: has a lake of its own, but declares no sources for it. Run 'kedro source "
        )
    assert not (project.root / "data/escola").exists()
    project.kedro("status", "--env=escola", check=False)  # what does not fill it needs none

    export = project.root / "a.csv"
    export.write_text(
        "faculdade,rede_social,data_postagem,video_id,views\nA,tiktok,2026-01-30,a,1\n"
    )
    project.kedro("source", "add", str(export), "--env=escola")
    assert "Synthetic" not in project.kedro(*run).stdout

    (folder / "parameters_sources.yml").unlink()
    settings.write_text("lake: data/escola2\nsources: base\n")
    assert "Synthetic   the lines of faker are invented" in project.kedro(*run).stdout


@pytest.mark.slow
def test_a_parameter_of_a_users_own_in_base_may_be_overridden(project: Project) -> None:
    (project.root / "conf/base/parameters/mine.yml").write_text("mine: {answer: 42}\n")
    project.configure("parameters_mine.yml", mine={"answer": 43})
    project.ingest_nothing()
    try:
        project.kedro(*INGEST)
    finally:
        (project.root / "conf/base/parameters/mine.yml").unlink()
    assert sentence(project.kedro(*INGEST, check=False)).startswith("conf/local/parameters_mine.y")
