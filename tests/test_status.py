"""`kedro status` and `kedro runs` tell what ran, what is late, and how bad it is."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from capstone_metrics.serving.embedded import EmbeddedServer
from capstone_metrics.serving.provision import connect
from tests.conftest import Project, project_copy
from tests.lakes import clear
from tests.test_metrics import samples
from tests.test_runs import killed_in_merge, records

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from click.testing import Result

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
    """A project whose windows of 20:00 and 08:00 were run in time, and what the first run said."""
    with project_copy(open_folder) as copy:
        (copy.root / "export.csv").write_text(EXPORT)
        export = {"type": "files", "format": "csv", "path": "export.csv"}
        copy.configure("parameters_sources.yml", sources={"mine": export})
        copy.configure("parameters_quality.yml", quality={})
        told = {"prometheus_file": str(copy.root / "capstone.prom"), "openlineage": True}
        copy.configure("parameters_operations.yml", operations={"kept_days": 400, **told})
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CAPSTONE_LOG_FORMAT", "json")
            for name, value in (("TYPE", "file"), ("APPEND", "true")):
                patch.setenv(f"OPENLINEAGE__TRANSPORT__{name}", value)
            patch.setenv("OPENLINEAGE__TRANSPORT__LOG_FILE_PATH", str(copy.root / "events"))
            done = copy.run(now="2026-01-31T20:05")
        (copy.root / "log").write_text(done.stderr)
        yield copy, done.stdout


def status(done: Result) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_of_an_empty_lake_nothing_is_known_and_nothing_is_made(project: Project, here: Any) -> None:
    done = here(project, "status", "--json")

    assert done.exit_code == 3
    assert status(done)["health"] == "unknown"
    assert here(project, "runs").stdout == "No run is recorded.\n"
    assert [path.name for path in (project.root / "data").iterdir()] == ["examples"]


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
    ran: tuple[Project, str], here: Any, now: str, code: int, seen: tuple[str, str]
) -> None:
    done = here(ran[0], "status", f"--now={now}", "--json")

    layer, state = seen
    assert (done.exit_code, status(done)["layers"][layer][-1]["state"]) == (code, state)


def test_every_place_has_the_same_numbers(ran: tuple[Project, str], here: Any) -> None:
    project, said = ran
    (record,) = records(project.root / "data")
    found = status(here(project, "status", "--now=2026-01-31T20:10", "--json"))
    (listed,) = json.loads(here(project, "runs", "--json").stdout)

    total = record["total"]
    assert total["lines"] == total["current"] + total["superseded"] + total["quarantined"]
    identity = "4 lines in Bronze = 2 current in Silver + 1 superseded + 1 quarantined"
    assert record["total"] == {"lines": 4, "current": 2, "superseded": 1, "quarantined": 1}
    assert identity in said
    assert found["checks"]["identity"]["said"] == identity
    assert listed == record
    cells = [[cell.strip() for cell in row.split("│")[1:-1]] for row in said.splitlines()]
    told = {row[0]: row[1:6] for row in cells if row}
    counts = ("rows_in", "accepted", "superseded", "quarantined", "written")
    for name, layer in record["layers"].items():
        assert told[name] == ["" if layer[c] is None else f"{layer[c]:,}" for c in counts]
    assert found["layers"]["silver"][-1]["lines"] == 4
    assert record["windows"]["2026-01-31T20"] == {
        "ingested": 4, "lines": 4, "accepted": 3, "quarantined": 1
    }  # fmt: skip

    address = EmbeddedServer(project.root / "data/postgres", port=0).start()
    marts = [name for name in record["datasets"] if name.startswith("gold_video")]
    with closing(connect(address, "capstone", "bi_reader")) as database:
        db = database.cursor()
        rows = 0
        for mart in marts:
            db.execute(f'SELECT count(*), sum(total_videos) FROM serving."{mart}"')
            count, videos = db.fetchone() or (0, 0)
            assert (count, videos) == (record["datasets"][mart]["rows"], 2)
            rows += count
        db.execute("SELECT state, record -> 'layers', record -> 'total' FROM serving.runs")
        assert db.fetchall() == [("succeeded", record["layers"], record["total"])]
    assert rows == record["layers"]["serving"]["rows_in"] == record["datasets"]["serving"]["rows"]


def test_what_is_told_to_machines_has_the_same_numbers(ran: tuple[Project, str]) -> None:
    root = ran[0].root
    (record,) = records(root / "data")

    found = samples((root / "capstone.prom").read_text())
    assert found["run_info", record["run"], "succeeded"] == 1
    kinds = {"in": "rows_in", "written": "written", "quarantined": "quarantined"}
    for name, layer in record["layers"].items():
        for kind, count in kinds.items():
            assert found.get(("layer_rows", kind, name)) == layer[count]
    assert {kind: found["lines", kind] for kind in ("current", "superseded", "quarantined")} == {
        kind: count for kind, count in record["total"].items() if kind != "lines"
    }

    lines = [json.loads(text) for text in (root / "log").read_text().splitlines()]
    assert {each["run"] for each in lines} == {record["run"]}
    assert (lines[-1]["layers"], lines[-1]["total"]) == (record["layers"], record["total"])

    events = [json.loads(text) for text in (root / "events").read_text().splitlines()]
    tags = [each["run"]["facets"]["tags"]["tags"] for each in events]
    named = {each["value"] for tag in tags for each in tag if each["source"] == "CAPSTONE"}
    assert named == {record["run"]}
    told = {
        written["name"].removeprefix(f"{root}/data/"): written["outputFacets"]["outputStatistics"]
        for each in events
        for written in each["outputs"]
        if written.get("outputFacets")
    }
    assert told["silver/criacao"]["rowCount"] == record["total"]["current"] == 2
    assert told["silver/quarentena"]["rowCount"] == record["total"]["quarantined"] == 1
    for layer in ("bronze", "silver", "gold"):
        rows = sum(told[name]["rowCount"] for name in told if name.startswith(f"{layer}/"))
        assert rows == record["layers"][layer]["written"]


def test_the_database_is_asked_if_it_runs_and_not_started(
    ran: tuple[Project, str], here: Any
) -> None:
    def said() -> str:
        done = here(ran[0], "status", "--now=2026-01-31T23:10", "--json")
        return str(status(done)["checks"]["publication"]["said"])

    server = EmbeddedServer(ran[0].root / "data/postgres", port=0)
    server.start()
    assert said() == "the latest publication is of this Gold"
    server.stop()
    assert said() == "the database is not running; the records say that this Gold was published"
    assert not server.is_running


def test_a_database_that_does_not_answer_is_a_warning_without_its_password(
    ran: tuple[Project, str], here: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAPSTONE_DSN", f"postgresql://loader:{CANARY}@127.0.0.1:1/capstone")
    done = here(ran[0], "status", "--now=2026-01-31T23:10")

    assert done.exit_code == 1
    assert "refused" in done.stdout
    assert CANARY not in done.output


def test_a_lake_without_records_tells_what_it_is(
    ran: tuple[Project, str], here: Any, tmp_path: Path
) -> None:
    kept = ran[0].root / "data/operations"
    kept.rename(tmp_path / "operations")
    done = here(ran[0], "status", "--now=2026-01-31T20:10", "--json")
    (tmp_path / "operations").rename(kept)

    assert done.exit_code == 3
    assert status(done)["checks"]["identity"]["health"] == "ok"
    assert {slot["state"] for slots in status(done)["layers"].values() for slot in slots} == {
        "before"
    }


@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_table_fits_its_terminal(ran: tuple[Project, str], here: Any, width: int) -> None:
    for command in (["status", "--now=2026-01-31T20:10"], ["runs"]):
        lines = here(ran[0], *command, width=width).stdout.splitlines()
        table = [line for line in lines if line and line[0] in "┏┃┡│├└"]
        assert table
        assert max(map(len, table)) <= width
    shown = here(ran[0], "status", width=width).stdout.splitlines()
    (head,) = (line for line in shown if line.startswith("┃ layer"))
    assert head.count("┃") - 2 == {40: 1, 80: 4, 200: 4}[width]


def test_one_run_is_shown_by_a_part_of_its_name(ran: tuple[Project, str], here: Any) -> None:
    (record,) = records(ran[0].root / "data")
    shown = here(ran[0], "runs", "show", record["run"][-4:])

    assert record["run"] in shown.stdout
    assert "now=2026-01-31T20:05" in shown.stdout
    assert "│ silver  │  4 │" in shown.stdout
    assert record["configuration"] in shown.stdout
    missing = here(ran[0], "runs", "show", "none")
    assert missing.exit_code == 1
    assert missing.stderr == "Error: runs: no run 'none'; 'kedro runs' lists them.\n"


def test_a_killed_run_is_seen_by_the_next_command(shared: Project, here: Any) -> None:
    lake = shared.root / "data"
    clear(lake)
    assert killed_in_merge(shared, lake) == ["merge"]
    listed = here(shared, "runs").stdout
    (record,) = records(lake)
    assert (record["state"], record["at_work"]) == ("killed", ["merge"])
    assert "killed" in listed
    assert "merge" in listed
    done = here(shared, "status", "--json")
    said = status(done)["checks"]["last run"]
    assert said == {"health": "warning", "said": f"run {record['run']} killed at merge"}
    assert done.exit_code in {1, 2}  # as the clock says: is the deadline over?
    assert (lake / "operations/runs" / f"{record['run']}.json").exists()
