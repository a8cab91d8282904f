"""What the pages say of runs: their accounts, and when they last looked for something new."""

from __future__ import annotations

import datetime as dt
import json
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from capstone_metrics.dashboard.database import VARIABLE
from capstone_metrics.dashboard.freshness import VARIABLE as SCHEDULE
from capstone_metrics.dashboard.texts import Texts
from capstone_metrics.serving import ServingDataset
from capstone_metrics.serving.embedded import ADMIN
from capstone_metrics.serving.provision import connect
from tests.dashboard.test_pages import page, said
from tests.lakes import LAKE_PIPELINES, add, line, run_here

if TYPE_CHECKING:
    from tests.conftest import Project

TEXTS = Texts("en")
AN_HOUR_AGO = f"{dt.datetime.now(dt.UTC) - dt.timedelta(hours=1):%H:%M}"
DUE = {"timezone": "UTC", "starts": [AN_HOUR_AGO], "minutes": 0}


@pytest.fixture(scope="module")
def dataset(shared: Project) -> ServingDataset:
    """The serving database of a lake whose run took in four lines: two of them of one video."""
    later = line(views=150, ingestion_ts="2026-01-31T12:00:00Z")
    broken = line(video_id="v2", views="x"), line(video_id=" ", views=-1)
    add(shared.root / "data", "2026-01-31T08", line(), later, *broken)
    run(shared)
    return ServingDataset(path=str(shared.root / "data/postgres"), database="capstone", port=0)


def run(project: Project) -> None:
    run_here(project, [*LAKE_PIPELINES, "publish_gold"])


@pytest.fixture(autouse=True)
def environment(dataset: ServingDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, dataset.reader_dsn())
    monkeypatch.setenv(SCHEDULE, json.dumps(DUE))


def as_admin(dataset: ServingDataset, statement: str) -> None:
    with closing(connect(dataset.server.start(), "capstone", ADMIN)) as admin, admin:
        admin.cursor().execute(statement)


@pytest.mark.parametrize("language", ["en", "pt_BR"])
def test_the_accounts_of_the_latest_run_are_shown(language: str) -> None:
    app, texts = page("method", language), Texts(language)

    assert not app.exception
    shown = {metric.label: metric.value for metric in app.metric}
    kinds = {"lines": "4", "current": "1", "superseded": "1", "quarantined": "2"}
    assert shown == {texts(kind): count for kind, count in kinds.items()}
    assert texts("accounted") in said(app)
    assert texts("unaccounted") not in said(app)
    rules, *_, publications, runs = app.dataframe
    broken = {"views.unreadable", "views.negative", "video_id.missing"}
    assert dict(rules.value.values.tolist()) == dict.fromkeys(broken, 1)
    assert len(publications.value) == len(runs.value) == 1
    row = runs.value.iloc[0]
    assert row[texts("state")] == "succeeded"
    assert row[texts("accepted")] == row[texts("quarantined")] == 2
    assert row[texts("rows_changed")] == 2


def test_lines_that_are_not_accounted_for_are_told(dataset: ServingDataset) -> None:
    as_admin(
        dataset,
        "CREATE TABLE kept AS TABLE serving.runs; UPDATE serving.runs "
        "SET record = jsonb_set(record, '{total,lines}', '5')",
    )
    try:
        assert TEXTS("unaccounted") in said(page("method"))
    finally:
        as_admin(dataset, "TRUNCATE serving.runs; INSERT INTO serving.runs TABLE kept")


def test_a_run_that_found_nothing_new_is_told_from_one_that_did_not_come(
    dataset: ServingDataset, shared: Project
) -> None:
    as_admin(dataset, "UPDATE serving.publications SET published_at = now() - interval '2 days'")
    badges = {name: f"{TEXTS(name)}]" for name in ("fresh", "quiet", "stale")}

    def badge() -> list[str]:
        app = page("overview")
        assert bool(app.warning) == (badges["stale"] in said(app))
        return [name for name, text in badges.items() if text in said(app)]

    assert badge() == ["stale"]
    run(shared)
    assert badge() == ["quiet"]
    assert TEXTS("unchanged", ago="", moment="").split(",")[0] in said(page("overview"))
    as_admin(dataset, "DROP TABLE serving.runs")  # as in a database of an older release
    assert badge() == ["stale"]
    app = page("method")
    assert not app.exception
    assert TEXTS("no_accounts") in [box.value for box in app.info]
