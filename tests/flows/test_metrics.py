"""The numbers of a run for Prometheus are those of its record."""

from __future__ import annotations

import datetime as dt
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from capstone_metrics.errors import CapstoneError
from tests.support.lakes import add, clear, line, run_here
from tests.support.project import ROOT, project_copy
from tests.support.runs import records

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.project import Project

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
    """Return the samples of the file."""
    return samples((project.root / "capstone.prom").read_text())


def samples(text: str) -> Numbers:
    """Return each sample by its name and its labels in their order, as Prometheus reads it."""
    parsed = [each for family in text_string_to_metric_families(text) for each in family.samples]
    assert {sample.labels.pop("environment") for sample in parsed} == {"local"}
    return {
        (each.name.removeprefix("capstone_"), *map(str, each.labels.values())): each.value
        for each in parsed
    }


def seconds(timestamp: str) -> float:
    return dt.datetime.fromisoformat(timestamp).timestamp()


def test_the_numbers_are_those_of_the_record(watched: Project, lake: Path) -> None:
    add(lake, "2026-01-31T08", line(), line(), line(video_id="v2"), line(views="x"))
    run_here(watched)
    (record,) = records(lake)
    values = numbers(watched)

    silver = record["layers"]["silver"]
    assert silver["quarantined"] == 1
    kinds = {
        "in": "rows_in",
        **{k: k for k in ("accepted", "superseded", "quarantined", "written")},
    }
    assert {kind: values["layer_rows", kind, "silver"] for kind in kinds} == {
        kind: silver[count] for kind, count in kinds.items()
    }
    assert ("layer_rows", "quarantined", "gold") not in values
    assert {
        kind: values["lines", "bronze" if kind == "lines" else kind] for kind in record["total"]
    } == record["total"]
    assert values["findings", "warn"] == len(record["findings"]) == 1
    assert values["run_info", record["run"], "succeeded"] == values["run_succeeded",] == 1
    assert values["run_seconds",] == record["seconds"]
    assert values["run_ended_timestamp_seconds",] == seconds(record["ended"])
    committed = values["layer_committed_timestamp_seconds", "gold"]
    assert committed == seconds(record["layers"]["gold"]["committed"])
    rules = (ROOT / "infra/prometheus/rules.yml").read_text()
    assert set(re.findall(r"capstone_(\w+)", rules)) <= {name for name, *_ in values}


def test_a_failed_run_is_marked(watched: Project, lake: Path) -> None:
    add(lake, "2026-01-31T08", line(video_id=None))
    with pytest.raises(CapstoneError, match="in none of its 1 lines"):
        run_here(watched)
    (record,) = records(lake)
    values = numbers(watched)

    assert values["run_info", record["run"], "failed"] == 1
    assert values["run_succeeded",] == 0
    assert ("layer_committed_timestamp_seconds", "gold") not in values


def test_a_file_that_cannot_be_written_is_one_warning(
    watched: Project, lake: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (watched.root / "capstone.prom").mkdir()
    run_here(watched)
    (watched.root / "capstone.prom").rmdir()

    (warning,) = [text for text in caplog.messages if "prometheus_file" in text]
    assert f"{watched.root}/capstone.prom: is a directory." in warning
    assert records(lake)[0]["state"] == "succeeded"
    assert not list(watched.root.glob("capstone.prom*"))


def test_without_the_client_the_run_names_the_missing_extra(
    watched: Project, lake: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)  # as where it is not installed
    run_here(watched)

    (warning,) = [text for text in caplog.messages if "prometheus_file" in text]
    assert "the extra 'metrics' of this package is not installed" in warning
    assert records(lake)[0]["state"] == "succeeded"
    missing: Any = watched.root / "capstone.prom"
    assert not missing.exists()
