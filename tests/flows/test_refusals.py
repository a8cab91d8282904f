"""What a source cannot give is refused alone, and the refusal holds until it is resolved."""

from __future__ import annotations

import csv
import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.lakes import LAKE_PIPELINES
from tests.support.project import project_copy
from tests.support.runs import records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.project import Completed, Project

LAKE = f"--pipelines=ingest_bronze,{','.join(LAKE_PIPELINES)}"
HEADER = "faculdade,rede_social,data_postagem,video_id,views,likes,comentarios\n"
GOOD = f"{HEADER}Escola Azul,tiktok,2026-01-30,az-1,12040,800,31\n"
OTHER = f"{HEADER}Escola Verde,tiktok,2026-01-30,ve-1,500,40,2\n"
RENAMED = OTHER.replace("views", "plays").replace("faculdade", "escola")
CSV = {"type": "files", "format": "csv"}
FIELDS = {name: name for name in HEADER.strip().split(",")}


@pytest.fixture
def school(open_folder: Path) -> Iterator[Project]:
    """A project with two sources: `azul`, which is good, and `verde`, which a test spoils."""
    with project_copy(open_folder) as copy:
        put(copy, "azul/a.csv", GOOD)
        put(copy, "verde/a.csv", OTHER)
        declare(copy)
        yield copy


def put(project: Project, path: str, content: str | bytes) -> None:
    """Put a file into the folder of a source."""
    file = project.root / "exports" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())


def declare(project: Project, verde: dict[str, Any] | None = None, **azul: Any) -> None:
    """Declare both sources; `verde` with options of its own, or instead of the usual ones."""
    sources = {
        "azul": {**CSV, "path": "exports/azul/*", **azul},
        "verde": {**CSV, "path": "exports/verde/*", **(verde or {})},
    }
    project.configure("parameters_sources.yml", sources=sources, networks=["tiktok"])


def gold(project: Project) -> dict[str, str]:
    """Return the views of each institution in Gold; nothing if there is no Gold."""
    path = project.root / "data/gold/gold_video_views_dia_faculdade.csv"
    if not path.exists():
        return {}
    return {row["faculdade"]: row["total_views"] for row in csv.DictReader(path.open())}


def silver(project: Project) -> int:
    """Return the number of rows of Silver."""
    head = json.loads((project.root / "data/silver/head.json").read_text())
    return int(head["total"]["current"])


BOTH = {"Escola Azul": "12040", "Escola Verde": "500"}


def unreadable(project: Project) -> None:
    put(project, "verde/a.csv", "a\n1\n".encode("utf-16-be"))


def repeated_columns(project: Project) -> None:
    put(project, "verde/a.csv", OTHER.replace("likes", "views"))


def not_of_its_format(project: Project) -> None:
    declare(project, {"format": "jsonl"})
    put(project, "verde/a.csv", '[\n {"views": 1}\n]')


def broken_archive(project: Project) -> None:
    put(project, "verde/a.csv", b"\x1f\x8b\x08\0" + b"\0" * 20)


def broken_zip(project: Project) -> None:
    put(project, "verde/a.csv", b"PK\x03\x04" + b"\0" * 20)


def no_file(project: Project) -> None:
    (project.root / "exports/verde/a.csv").unlink()


def unknown_option(project: Project) -> None:
    declare(project, {"delimeter": ";"})


def unknown_preset(project: Project) -> None:
    declare(project, {"preset": "youtube"})


def wrong_reading(project: Project) -> None:
    declare(project, {"encoding": "utf-9"})


def wrong_field(project: Project) -> None:
    declare(project, {"fields": {"views": {"feld": "views"}}})


def unknown_network(project: Project) -> None:
    declare(project, {"fields": {**FIELDS, "rede_social": {"constant": "tiktoc"}}})


def wrong_type(project: Project) -> None:
    declare(project, {"type": "file"})


def renamed_field(project: Project) -> None:
    put(project, "verde/a.csv", RENAMED)


def frozen_field(project: Project) -> None:
    declare(project, {"schema_drift": "freeze"})
    lines = OTHER.splitlines()
    put(project, "verde/a.csv", f"{lines[0]},saves\n{lines[1]},3\n")


FAULTS: dict[Callable[[Project], None], str] = {
    unreadable: "exports/verde/a.csv: is not UTF-8; declare its encoding",
    repeated_columns: "exports/verde/a.csv: two columns have the same name",
    not_of_its_format: "exports/verde/a.csv: its records are not one a line; declare format: json",
    broken_archive: "exports/verde/a.csv: the archive is incomplete or broken",
    broken_zip: "exports/verde/a.csv: the archive is incomplete or broken",
    no_file: "sources.verde.path: no file at 'exports/verde/*'",
    unknown_option: "sources.verde: 'delimeter' is not one of delimiter, ",
    unknown_preset: "sources.verde.preset: 'youtube' is not one of youtube_",
    wrong_reading: "sources.verde.encoding: unknown encoding 'utf-9'",
    wrong_field: "sources.verde.fields.views: {'feld': 'views'} is not the name of a field",
    unknown_network: "sources.verde.fields.rede_social: 'tiktoc' is not one of tiktok; ",
    wrong_type: "sources.verde.type: 'file' is not one of faker, files",
    renamed_field: "exports/verde/a.csv has faculdade, views in none of its 1 lines; it has ",
    frozen_field: "exports/verde/a.csv has the undeclared saves in all of its 1 lines",
}


def error_of(done: Completed) -> str:
    """Return the one line of an error, without the file of a declaration."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    return line.removeprefix("Error: ").removeprefix("conf/local/parameters_sources.yml: ")


@pytest.mark.few(1)
@pytest.mark.parametrize("spoil", FAULTS, ids=lambda spoil: spoil.__name__)
def test_the_fault_of_one_source_does_not_stop_the_others(
    school: Project, spoil: Callable[[Project], None]
) -> None:
    reason = FAULTS[spoil]
    spoil(school)
    for _ in range(2):  # it holds
        done = school.run(LAKE, check=False)
        assert error_of(done).startswith(reason)
        assert f"  refused: {reason[:60]}" in done.stdout
        assert silver(school) == 1
        assert gold(school) == {}
    last = records(school.root / "data")[-1]
    assert (last["state"], list(last["refused"])) == ("failed", ["verde"])
    status = school.kedro("status", "--now=2026-01-31T20:20", check=False)
    assert f"refused: {reason[:60]}" in status.stdout

    # Gold may lack it if that is allowed by name
    done = school.kedro("run", LAKE, "--params=now=2026-01-31T20:05,allow_refused=verde")
    assert gold(school) == {"Escola Azul": "12040"}
    assert f"  refused: {reason[:60]}" in done.stdout

    # and once it is mended, nothing is left of the refusal
    declare(school)
    put(school, "verde/a.csv", OTHER)
    done = school.run(LAKE)
    assert "refused" not in done.stdout
    assert gold(school) == BOTH
    assert "refused" not in school.kedro("status", "--now=2026-01-31T20:20", check=False).stdout


def test_a_file_that_is_refused_does_not_stop_the_others_of_its_source(school: Project) -> None:
    put(school, "verde/b.csv", OTHER.replace("ve-1", "ve-2").encode("utf-16-le"))
    done = school.run(LAKE, check=False)
    assert error_of(done).startswith("exports/verde/b.csv: is not UTF-8")
    assert silver(school) == 2


@pytest.mark.few(1)
@pytest.mark.parametrize("pipelines", ["ingest_bronze", "ingest_bronze,bronze_to_silver"])
def test_a_run_without_gold_ends_with_an_error_too(school: Project, pipelines: str) -> None:
    unreadable(school)
    done = school.run(f"--pipelines={pipelines}", check=False)
    assert error_of(done) == FAULTS[unreadable] + ", such as utf-16-le."
    assert list((school.root / "data/bronze").rglob("fonte=azul/**/*.jsonl"))
    # a later run that does not look at the sources knows of it
    held = school.run(f"--pipelines={','.join(LAKE_PIPELINES)}", check=False)
    assert error_of(held).startswith(FAULTS[unreadable])
    assert "--params=allow_refused=verde builds it without." in held.stderr
    assert gold(school) == {}


def test_the_ways_out_of_a_declaration_that_does_not_fit_are_as_they_are_printed(
    school: Project,
) -> None:
    renamed_field(school)
    message = error_of(school.run(LAKE, check=False))
    assert "Correct sources.verde.fields, then run 'kedro quarantine replay'" in message
    declare(school, {"fields": {**FIELDS, "faculdade": "escola", "views": "plays"}})
    school.kedro("quarantine", "replay")
    assert gold(school) == BOTH


@pytest.mark.slow
def test_hints_keep_the_environment(school: Project) -> None:
    (school.root / "conf/local/parameters_sources.yml").rename(
        school.root / "conf/youtube/parameters_sources.yml"
    )
    renamed_field(school)
    done = school.run(LAKE, "--env=youtube", check=False)
    hint = "then run 'kedro quarantine replay --env=youtube'; or correct"
    assert hint in done.stdout
    assert hint in done.stderr
    status = school.kedro("status", "--env=youtube", "--now=2026-01-31T20:20", check=False)
    assert hint in status.stdout
    declare(school, {"fields": {**FIELDS, "faculdade": "escola", "views": "plays"}})
    (school.root / "conf/local/parameters_sources.yml").rename(
        school.root / "conf/youtube/parameters_sources.yml"
    )
    school.kedro("quarantine", "replay", "--env=youtube")


@pytest.mark.slow
def test_a_rebuild_does_not_lose_a_source_whose_declaration_is_wrong(school: Project) -> None:
    school.run(LAKE)
    before = gold(school)
    wrong_reading(school)
    for command in (
        ["run", LAKE, "--params=now=2026-01-31T20:05,full=true"],
        ["quarantine", "replay"],
    ):
        error = error_of(school.kedro(*command, check=False))
        assert error.startswith(FAULTS[wrong_reading])
        assert (silver(school), gold(school)) == (2, before)
    declare(school)
    school.kedro("run", LAKE, "--params=now=2026-01-31T20:05,full=true")
    assert gold(school) == before


def test_a_refusal_ends_with_its_source(school: Project) -> None:
    renamed_field(school)
    school.run(LAKE, check=False)
    sources = {"azul": {**CSV, "path": "exports/azul/*"}}
    school.configure("parameters_sources.yml", sources=sources, networks=["tiktok"])
    school.run(LAKE)
    assert gold(school) == {"Escola Azul": "12040"}


def test_several_refusals_are_allowed_by_their_names(school: Project) -> None:
    renamed_field(school)
    put(school, "azul/b.csv", b"\x1f\x8b\x08\0" + b"\0" * 20)
    error = error_of(school.run(LAKE, check=False))
    assert " Refused besides: 1; 'kedro status' names them." in error
    assert error.endswith("--params=allow_refused='azul verde' builds it without.")
    status = school.kedro("status", "--now=2026-01-31T20:20", check=False).stdout
    assert "exports/azul/b.csv: the archive is incomplete" in status
    assert "exports/verde/a.csv has faculdade, views in none" in status
    school.kedro("run", LAKE, "--params=now=2026-01-31T20:05,allow_refused=azul verde")
    assert gold(school) == {"Escola Azul": "12040"}


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ("allow_refused=verd", "--params: allow_refused: 'verd' is not one of verde, "),
        ("sources.verde.delimeter=x", "sources.verde: 'delimeter' is not one of delimiter, "),
    ],
)
def test_a_slip_on_the_command_line_stops_at_once(
    school: Project, params: str, expected: str
) -> None:
    done = school.kedro("run", LAKE, f"--params=now=2026-01-31T20:05,{params}", check=False)
    assert expected in error_of(done)
    assert not (school.root / "data/bronze").exists()
    assert not (school.root / "data/operations").exists()


@pytest.mark.slow
def test_a_file_that_is_put_back_as_it_was_counts_again(school: Project) -> None:
    put(school, "verde/a.csv", OTHER)
    for views in (500, 900, 500):
        put(school, "verde/a.csv", OTHER.replace(",500,", f",{views},"))
        output = school.run(LAKE).stdout
        assert gold(school) == BOTH | {"Escola Verde": str(views)}
    assert "4 lines in Bronze = 2 current in Silver + 2 superseded + 0 quarantined" in output
    assert "Nothing new" in school.run(LAKE).stdout
    (school.root / "data/operations/sources.json").unlink()
    assert "Nothing new: no file and no table was changed." in school.run(LAKE).stdout
    school.kedro("run", LAKE, "--params=now=2026-01-31T20:05,full=true")
    assert gold(school) == BOTH


def test_a_plan_says_what_would_be_refused_and_writes_nothing(school: Project) -> None:
    unreadable(school)
    done = school.kedro("run", LAKE, "--params=now=2026-01-31T20:05,plan=true")
    assert f"  refused: {FAULTS[unreadable]}" in done.stdout
    assert not (school.root / "data/operations/sources.json").exists()


LARGEST = 2**63 - 1


def jsonl(*videos: tuple[str, str, int], **fields: Any) -> str:
    """Return lines of videos, each with its id, its day and its views."""
    names = {"faculdade": "Escola Azul", "rede_social": "tiktok", "likes": 1, "comentarios": 0}
    return "".join(
        json.dumps({**names, "video_id": video, "data_postagem": day, "views": views, **fields})
        + "\n"
        for video, day, views in videos
    )


def days_of_gold(project: Project) -> dict[str, str]:
    """Return the views of each day in Gold."""
    path = project.root / "data/gold/gold_video_views_dia_rede_social.csv"
    return {row["data_postagem"]: row["total_views"] for row in csv.DictReader(path.open())}


@pytest.mark.slow
def test_a_sum_past_64_bits_costs_its_day_alone_until_a_later_observation(
    school: Project,
) -> None:
    source = {"type": "files", "format": "jsonl", "path": "exports/*.jsonl"}
    school.configure("parameters_sources.yml", sources={"caso": source}, networks=["tiktok"])
    school.run(LAKE, check=False)
    put(school, "a.jsonl", jsonl(("a", "2026-01-30", LARGEST), ("b", "2026-01-30", 1)))
    put(school, "b.jsonl", jsonl(("c", "2026-01-29", 5), ("d", "2026-01-28", LARGEST)))
    expected = (
        "gold_video_views_dia_faculdade: total_views of 2026-01-30, Escola Azul is "
        "9,223,372,036,854,775,808, more than the 64 bits of Gold hold, so that day is in no mart "
        "from criacao. "
    )
    kinds = ("views_dia", "crescimento_dia")
    marts = [f"gold_video_{k}_{of}" for k in kinds for of in ("faculdade", "rede_social", "canal")]
    marts.append("gold_canal_dia")
    rest = {"2026-01-28": str(LARGEST), "2026-01-29": "5"}
    for _ in range(2):
        done = school.run(LAKE, check=False)
        assert error_of(done).endswith("Refused besides: 6; 'kedro status' names them.")
        assert expected in done.stdout
        for total in (
            "gold_video_views_dia_rede_social: total_views of 2026-01-30, tiktok is",
            "gold_video_crescimento_dia_rede_social: views_ganhas of 2026-01-31, tiktok is",
        ):
            assert total in done.stdout
        assert days_of_gold(school) == rest
    status = school.kedro("status", "--now=2026-01-31T20:20", check=False)
    assert expected in status.stdout
    school.kedro("verify")
    # it stays while other days change, and in a rebuild
    put(school, "c.jsonl", jsonl(("e", "2026-01-29", 4)))
    rest["2026-01-29"] = "9"
    for params in ("", ",full=true"):
        done = school.kedro("run", LAKE, f"--params=now=2026-01-31T20:06{params}", check=False)
        assert expected in done.stdout
        assert days_of_gold(school) == rest
    # another run than that of the day is allowed by name
    names = " ".join(marts)
    school.kedro("run", LAKE, f"--params=now=2026-01-31T20:06,allow_refused={names}")
    put(school, "d.jsonl", jsonl(("a", "2026-01-30", 7), ingestion_ts="2026-01-31T23:30:00Z"))
    done = school.run(LAKE, now="2026-01-31T20:40")
    assert "refused" not in done.stdout
    assert days_of_gold(school) == rest | {"2026-01-30": "8"}
    school.kedro("verify")


def test_a_sum_past_64_bits_of_a_mart_without_days_costs_its_key_alone(school: Project) -> None:
    source = {"type": "files", "format": "jsonl", "path": "exports/*.jsonl"}
    school.configure("parameters_sources.yml", sources={"caso": source}, networks=["tiktok"])
    mart = {"key": ["faculdade"], "measures": {"total_views": {"sum": "views"}}}
    school.configure("parameters_marts.yml", marts={"gold_faculdade": mart})
    put(school, "a.jsonl", jsonl(("a", "2026-01-30", LARGEST), ("b", "2026-01-29", 1)))
    put(school, "b.jsonl", jsonl(("c", "2026-01-29", 5), faculdade="Escola Verde"))
    done = school.run(LAKE, check=False)
    assert error_of(done).startswith("gold_faculdade: total_views of Escola Azul is 9,223,372,036,")
    path = school.root / "data/gold/gold_faculdade.csv"
    assert path.read_text() == "faculdade,total_views\nEscola Verde,5\n"
    school.kedro("verify")


def test_a_rebuild_of_a_bronze_that_lost_lines_is_refused_until_that_is_allowed(
    school: Project,
) -> None:
    school.run(LAKE)
    for lost in (school.root / "data/bronze/criacao/fonte=verde").rglob("*.jsonl"):
        lost.unlink()
    put(school, "verde/a.csv", OTHER.replace("ve-1", "ve-2").replace("500", "700"))
    names = ("qtd_inscritos", "compartilhamentos", "salvamentos", "salvos")
    school.configure("parameters_columns.yml", columns=dict.fromkeys(names, "int64"))
    for _ in range(2):  # it holds
        done = school.run(LAKE, check=False)
        assert error_of(done).startswith("Bronze has lost fonte=verde/")
        assert gold(school) == BOTH
    verified = school.kedro("verify", check=False).stdout
    command = re.findall("kedro (run --params=full=true,allow_refused=verde)", verified)
    assert command, verified
    assert command[0] in error_of(done)
    school.kedro(*command[0].split(), LAKE)
    assert gold(school) == {"Escola Azul": "12040", "Escola Verde": "700"}
    assert "FAIL" not in school.kedro("verify", "--full").stdout


def test_a_rebuild_without_any_line_leaves_none(school: Project) -> None:
    school.run(LAKE)
    shutil.rmtree(school.root / "data/bronze")
    rebuild = ("run", "--pipelines=bronze_to_silver,silver_to_gold")
    done = school.kedro(*rebuild, "--params=full=true", check=False)
    assert error_of(done).startswith("Bronze has lost fonte=azul/")
    assert gold(school) == BOTH
    school.kedro(*rebuild, "--params=full=true,allow_refused=azul verde")
    assert gold(school) == {}
    assert "FAIL" not in school.kedro("verify", "--full").stdout
