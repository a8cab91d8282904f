"""The numbers of a run for Prometheus are those of its record."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import socket
import sys
import time
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from capstone_metrics.errors import CapstoneError
from tests.conftest import ROOT, project_copy
from tests.lakes import add, clear, finished, line, run_here, started
from tests.receiver import closed_port
from tests.test_runs import records

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Project

    Numbers = dict[tuple[str, ...], float]


@pytest.fixture(scope="module")
def watched(open_folder: Path) -> Iterator[Project]:
    """A project whose runs leave their numbers in a file."""
    with project_copy(open_folder) as copy:
        copy.ingest_nothing()
        yield copy


@pytest.fixture
def lake(watched: Project) -> Path:
    """An empty one."""
    clear(watched.root / "data")
    declared = {"kept_days": 400, "prometheus_file": str(watched.root / "capstone.prom")}
    watched.configure("parameters_operations.yml", operations=declared)
    (watched.root / "capstone.prom").unlink(missing_ok=True)
    return watched.root / "data"


def numbers(project: Project) -> Numbers:
    """What is in the file."""
    return samples((project.root / "capstone.prom").read_text())


def samples(text: str) -> Numbers:
    """Each sample by its name and its labels in the order of theirs, as Prometheus reads it."""
    found = [each for family in text_string_to_metric_families(text) for each in family.samples]
    assert {sample.labels.pop("environment") for sample in found} == {"local"}
    return {
        (each.name.removeprefix("capstone_"), *map(str, each.labels.values())): each.value
        for each in found
    }


def seconds(said: str) -> float:
    return dt.datetime.fromisoformat(said).timestamp()


def test_the_numbers_are_those_of_the_record(watched: Project, lake: Path) -> None:
    add(lake, "2026-01-31T08", line(), line(), line(video_id="v2"), line(views="x"))
    run_here(watched)
    (record,) = records(lake)
    found = numbers(watched)

    silver = record["layers"]["silver"]
    assert silver["quarantined"] == 1
    kinds = {
        "in": "rows_in",
        **{k: k for k in ("accepted", "superseded", "quarantined", "written")},
    }
    assert {kind: found["layer_rows", kind, "silver"] for kind in kinds} == {
        kind: silver[count] for kind, count in kinds.items()
    }
    assert ("layer_rows", "quarantined", "gold") not in found
    assert {
        kind: found["lines", "bronze" if kind == "lines" else kind] for kind in record["total"]
    } == record["total"]
    assert found["findings", "warn"] == len(record["findings"]) == 1
    assert found["run_info", record["run"], "succeeded"] == found["run_succeeded",] == 1
    assert found["run_seconds",] == record["seconds"]
    assert found["run_ended_timestamp_seconds",] == seconds(record["ended"])
    committed = found["layer_committed_timestamp_seconds", "gold"]
    assert committed == seconds(record["layers"]["gold"]["committed"])
    rules = (ROOT / "infra/prometheus/rules.yml").read_text()
    assert set(re.findall(r"capstone_(\w+)", rules)) <= {name for name, *_ in found}


def test_a_run_that_fails_says_so(watched: Project, lake: Path) -> None:
    add(lake, "2026-01-31T08", line(video_id=None))
    with pytest.raises(CapstoneError, match="in none of its 1 lines"):
        run_here(watched)
    (record,) = records(lake)
    found = numbers(watched)

    assert found["run_info", record["run"], "failed"] == 1
    assert found["run_succeeded",] == 0
    assert ("layer_committed_timestamp_seconds", "gold") not in found


def test_prometheus_is_answered_while_a_run_lasts_and_not_after(
    watched: Project, lake: Path
) -> None:
    days = [f"2026-01-{day:02}" for day in range(1, 31)]
    posts = (line(video_id=f"{d}-{n}", data_postagem=d) for n in range(300) for d in days)
    add(lake, "2026-01-31T08", *posts)
    port = closed_port()
    declared = {"kept_days": 400, "prometheus_port": port}
    watched.configure("parameters_operations.yml", operations=declared)
    process = started(watched)
    scraped: list[Numbers] = []
    while process.poll() is None:
        with contextlib.suppress(OSError):
            text = urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode()
            scraped.append(samples(text))
        time.sleep(0.02)
    assert finished(process)[0] == 0
    (record,) = records(lake)

    assert len(scraped) > 2
    assert {found["run_info", record["run"], "running"] for found in scraped} == {1}
    nodes = {
        key[1] for found in scraped for key in found if key[0] == "node_at_work" and found[key]
    }
    assert nodes <= set(record["nodes"])
    assert {"observe", "merge"} <= nodes
    last = scraped[-1]
    assert last["layer_rows", "written", "silver"] == record["layers"]["silver"]["written"] == 9000
    with pytest.raises(OSError, match="refused"):
        urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5)


def test_a_port_that_is_taken_is_one_warning(
    watched: Project, lake: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        declared = {"kept_days": 400, "prometheus_port": taken.getsockname()[1]}
        watched.configure("parameters_operations.yml", operations=declared)
        run_here(watched)

    (warning,) = caplog.messages
    assert warning.startswith("operations.prometheus_port: 127.0.0.1:")
    assert records(lake)[0]["state"] == "succeeded"


def test_a_file_that_cannot_be_written_is_one_warning(
    watched: Project, lake: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (watched.root / "capstone.prom").mkdir()
    run_here(watched)
    (watched.root / "capstone.prom").rmdir()

    (warning,) = [said for said in caplog.messages if "prometheus_file" in said]
    assert f"{watched.root}/capstone.prom: is a directory." in warning
    assert records(lake)[0]["state"] == "succeeded"
    assert not list(watched.root.glob("capstone.prom*"))


def test_without_the_client_the_run_says_what_is_missing(
    watched: Project, lake: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)  # as where it is not installed
    run_here(watched)

    (warning,) = [said for said in caplog.messages if "prometheus_file" in said]
    assert "the extra 'metrics' of this package is not installed" in warning
    assert records(lake)[0]["state"] == "succeeded"
    missing: Any = watched.root / "capstone.prom"
    assert not missing.exists()
