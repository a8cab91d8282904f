"""`kedro status` and `kedro runs` tell what ran, what is late, and how bad it is."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from capstone_metrics.schemas import LINE_OUTCOMES
from capstone_metrics.serving.embedded import EmbeddedServer
from capstone_metrics.serving.provision import connect
from tests.flows.test_metrics import samples
from tests.flows.test_runs import killed_while_staging, records
from tests.support.lakes import clear
from tests.support.project import Completed, Project, project_copy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EXPORT = """\
video_id,faculdade,rede_social,data_postagem,views,likes,comentarios
v1,GRAN,tiktok,2026-01-30,5,1,0
v2,GRAN,tiktok,2026-01-31,7,1,0
v2,GRAN,tiktok,2026-01-31,8,1,0
v3,GRAN,tiktok,2026-01-31,n/d,1,0
"""
CANARY = "canário-9f3b"


@pytest.fixture(scope="module")
def ran(open_folder: Path) -> Iterator[tuple[Project, str]]:
    """A project that was run in time at 20:00 and 08:00, and the output of its first run."""
    with project_copy(open_folder) as copy:
        (copy.root / "export.csv").write_text(EXPORT)
        export = {"type": "files", "format": "csv", "path": "export.csv"}
        copy.configure("parameters_sources.yml", sources={"mine": export})
        copy.configure("parameters_quality.yml", quality={})
        options = {
            "prometheus_file": str(copy.root / "capstone.prom"),
            "listeners": ["openlineage"],
        }
        copy.configure("parameters_operations.yml", operations={"kept_days": 400, **options})
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CAPSTONE_LOG_FORMAT", "json")
            for name, value in (("TYPE", "file"), ("APPEND", "true")):
                patch.setenv(f"OPENLINEAGE__TRANSPORT__{name}", value)
            patch.setenv("OPENLINEAGE__TRANSPORT__LOG_FILE_PATH", str(copy.root / "events"))
            done = copy.run(now="2026-01-31T20:05")
        (copy.root / "log").write_text(done.stderr)
        yield copy, done.stdout


def status(done: Completed) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_the_status_of_an_empty_lake_is_unknown_and_creates_nothing(project: Project) -> None:
    done = project.kedro("status", "--json", check=False)

    assert done.returncode == 3
    assert status(done)["health"] == "unknown"
    assert project.kedro("runs").stdout == "No run is recorded.\n"
    assert [path.name for path in (project.root / "data").iterdir()] == ["examples"]


@pytest.mark.few(2)
@pytest.mark.parametrize(
    ("now", "code", "seen"),
    [
        ("2026-01-31T20:29", 0, ("bronze", "on time")),
        ("2026-01-31T22:05", 0, ("gold", "on time")),
        ("2026-01-31T23:31", 0, ("publication", "on time")),
        ("2026-02-01T08:10", 0, ("silver", "due")),
        ("2026-02-01T08:30", 2, ("silver", "missing")),
        ("2026-01-30T12:00", 3, ("bronze", "before")),
    ],
)
def test_the_exit_code_is_for_a_monitor(
    ran: tuple[Project, str], now: str, code: int, seen: tuple[str, str]
) -> None:
    done = ran[0].kedro("status", f"--now={now}", "--json", check=False)

    layer, state = seen
    assert (done.returncode, status(done)["layers"][layer][-1]["state"]) == (code, state)


def test_a_first_run_as_of_the_past_is_nothing_to_attend_to(ran: tuple[Project, str]) -> None:
    shown = ran[0].kedro("status", "--windows=1", check=False).stdout.splitlines()

    assert shown[0] == "OK: nothing is late or missing (times of America/Sao_Paulo)"


def test_record_output_status_and_database_have_the_same_numbers(ran: tuple[Project, str]) -> None:
    project, output = ran
    (record,) = records(project.root / "data")
    document = status(project.kedro("status", "--now=2026-01-31T20:10", "--json", check=False))
    (listed_run,) = json.loads(project.kedro("runs", "--json").stdout)

    total = record["total"]
    assert total["lines"] == sum(total[outcome] for outcome in LINE_OUTCOMES)
    identity = "4 lines in Bronze = 2 current in Silver + 1 superseded + 1 quarantined"
    assert record["total"] == {
        "lines": 4,
        "current": 2,
        "superseded": 1,
        "quarantined": 1,
        "ignored": 0,
        "withdrawn": 0,
    }
    assert identity in output
    assert document["checks"]["identity"]["said"] == identity
    assert listed_run == record
    cells = [[cell.strip() for cell in row.split("│")[1:-1]] for row in output.splitlines()]
    printed = {row[0]: row[1:6] for row in cells if row}
    counts = ("rows_in", "superseded", "quarantined", "written")
    for name, layer in record["layers"].items():
        printed_counts = [printed[name][0], *printed[name][2:]]
        assert printed_counts == ["" if layer[c] is None else f"{layer[c]:,}" for c in counts]
    read, *outcomes = map(int, printed["silver"][:4])  # which add up
    assert (read, outcomes) == (4, [2, 1, 1])
    assert document["layers"]["silver"][-1]["lines"] == 4
    assert record["windows"]["2026-01-31T20"] == {
        "ingested": 4, "lines": 4, "accepted": 3, "quarantined": 1
    }  # fmt: skip

    address = EmbeddedServer(project.root / "data/postgres", port=0).start()
    marts = [name for name in record["datasets"] if name.startswith("gold_")]
    with closing(connect(address, "capstone", "bi_reader")) as database:
        db = database.cursor()
        rows = 0
        for mart in marts:
            db.execute(f'SELECT count(*) FROM serving."{mart}"')
            (count,) = db.fetchone() or (0,)
            assert count == record["datasets"][mart]["rows"]
            if "_views_dia_" in mart:
                db.execute(f'SELECT sum(total_videos) FROM serving."{mart}"')
                assert db.fetchone() == (2,)
            rows += count
        db.execute("SELECT state, record -> 'layers', record -> 'total' FROM serving.runs")
        assert db.fetchall() == [("succeeded", record["layers"], record["total"])]
    assert rows == record["layers"]["serving"]["rows_in"] == record["datasets"]["serving"]["rows"]


def test_metrics_log_and_lineage_have_the_same_numbers(ran: tuple[Project, str]) -> None:
    root = ran[0].root
    (record,) = records(root / "data")

    metrics = samples((root / "capstone.prom").read_text())
    assert metrics["run_info", record["run"], "succeeded"] == 1
    kinds = {"in": "rows_in", "written": "written", "quarantined": "quarantined"}
    for name, layer in record["layers"].items():
        for kind, count in kinds.items():
            assert metrics.get(("layer_rows", kind, name)) == layer[count]
    assert {kind: metrics["lines", kind] for kind in LINE_OUTCOMES} == {
        kind: count for kind, count in record["total"].items() if kind != "lines"
    }

    lines = [json.loads(text) for text in (root / "log").read_text().splitlines()]
    assert {each["run"] for each in lines} == {record["run"]}
    assert (lines[-1]["layers"], lines[-1]["total"]) == (record["layers"], record["total"])

    events = [json.loads(text) for text in (root / "events").read_text().splitlines()]
    tags = [each["run"]["facets"]["tags"]["tags"] for each in events]
    named = {each["value"] for tag in tags for each in tag if each["source"] == "CAPSTONE"}
    assert named == {record["run"]}
    statistics = {
        written["name"].removeprefix(f"{root}/data/"): written["outputFacets"]["outputStatistics"]
        for each in events
        for written in each["outputs"]
        if written.get("outputFacets")
    }
    assert statistics["silver/criacao"]["rowCount"] == record["total"]["current"] == 2
    assert statistics["silver/quarentena"]["rowCount"] == record["total"]["quarantined"] == 1
    for layer in ("bronze", "silver", "gold"):
        rows = sum(
            statistics[name]["rowCount"] for name in statistics if name.startswith(f"{layer}/")
        )
        assert rows == record["layers"][layer]["written"]


def test_a_database_is_queried_if_it_runs_and_never_started(
    ran: tuple[Project, str],
) -> None:
    def message() -> str:
        done = ran[0].kedro("status", "--now=2026-01-31T23:10", "--json", check=False)
        return str(status(done)["checks"]["publication"]["said"])

    server = EmbeddedServer(ran[0].root / "data/postgres", port=0)
    server.start()
    assert message() == "the latest publication is of this Gold"
    server.stop()
    unknown = "the database is not running; the run records say that this Gold was published"
    assert message() == unknown
    assert not server.is_running


def test_an_unreachable_database_is_a_warning_without_its_password(
    ran: tuple[Project, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAPSTONE_DSN", f"postgresql://loader:{CANARY}@127.0.0.1:1/capstone")
    done = ran[0].kedro("status", "--now=2026-01-31T23:10", check=False)

    assert done.returncode == 1
    assert "refused" in done.stdout
    assert CANARY not in done.stdout + done.stderr


def test_a_lake_without_records_tells_what_it_is(ran: tuple[Project, str], tmp_path: Path) -> None:
    operations = ran[0].root / "data/operations"
    operations.rename(tmp_path / "operations")
    done = ran[0].kedro("status", "--now=2026-01-31T20:10", "--json", check=False)
    (tmp_path / "operations").rename(operations)

    assert done.returncode == 3
    assert status(done)["checks"]["identity"]["health"] == "ok"
    assert {slot["state"] for slots in status(done)["layers"].values() for slot in slots} == {
        "before"
    }


@pytest.mark.few(1)
@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_table_fits_its_terminal(ran: tuple[Project, str], width: int) -> None:
    for command in (["status", "--all", "--now=2026-01-31T20:10"], ["runs"]):
        lines = ran[0].kedro(*command, width=width, check=False).stdout.splitlines()
        table = [line for line in lines if line and line[0] in "┏┃┡│├└"]
        assert table
        assert max(map(len, table)) <= width
    shown = ran[0].kedro("status", "--all", width=width, check=False).stdout.splitlines()
    (head,) = (line for line in shown if line.startswith("┃ layer"))
    assert head.count("┃") - 2 == {40: 1, 80: 4, 200: 4}[width]


def test_a_status_begins_with_what_needs_attention(ran: tuple[Project, str]) -> None:
    options = ("--env=local", "--now=2026-02-02T08:31")
    shown = ran[0].kedro("status", *options, check=False).stdout.splitlines()
    good = ran[0].kedro("status", "--now=2026-01-31T20:10", check=False).stdout.splitlines()

    late = "2026-02-01T08, 2026-02-01T20, 2026-02-02T08"
    assert shown[0] == "CRITICAL: 4 to attend to (times of America/Sao_Paulo)"
    assert shown[1:5] == [
        f"  bronze {late} are missing  → kedro run --env=local",
        f"  silver {late} are missing  → kedro run --env=local",
        "  gold 2026-02-01T22 is missing  → kedro run --env=local",
        "  publication 2026-02-01T23 is missing  → kedro run --env=local",
    ]
    assert good[0] == "OK: nothing is late or missing (times of America/Sao_Paulo)"
    assert good[1].startswith(
        "bronze      last good 2026-01-31 20:05  the newest window of Bronze "
    )
    assert [line.split()[0] for line in good[1:]] == ["bronze", "silver", "gold", "publication"]


def test_one_run_is_shown_by_a_part_of_its_name(ran: tuple[Project, str]) -> None:
    (record,) = records(ran[0].root / "data")
    shown = ran[0].kedro("runs", "show", record["run"][-4:], check=False)

    assert record["run"] in shown.stdout
    assert "now=2026-01-31T20:05" in shown.stdout
    assert "│ silver  │  4 │" in shown.stdout
    assert record["configuration"] in shown.stdout
    missing = ran[0].kedro("runs", "show", "none", check=False)
    assert missing.returncode == 1
    assert missing.stderr == "Error: runs: no run 'none'; 'kedro runs' lists them.\n"


def test_a_killed_run_is_seen_by_the_next_command(empty_project: Project) -> None:
    lake = empty_project.root / "data"
    clear(lake)
    assert killed_while_staging(empty_project, lake) == ["account"]
    shown = empty_project.kedro("runs").stdout
    (record,) = records(lake)
    assert (record["state"], record["at_work"]) == ("killed", ["account"])
    assert "killed" in shown
    assert "account" in shown
    done = empty_project.kedro("status", "--json", check=False)
    check = status(done)["checks"]["last run"]
    assert check == {"health": "warning", "said": f"run {record['run']} killed at account"}
    assert done.returncode == 1
    assert (lake / "operations/runs" / f"{record['run']}.json").exists()
