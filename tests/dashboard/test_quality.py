"""The runs on the pages: their accounts, and whether the latest was in time."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from capstone_metrics.dashboard.freshness import SCHEDULE_VARIABLE
from capstone_metrics.dashboard.texts import Texts
from capstone_metrics.serving import ServingDataset
from capstone_metrics.serving.embedded import ADMIN
from capstone_metrics.serving.provision import connect
from tests.dashboard.conftest import READER_DSN_VARIABLE
from tests.dashboard.test_pages import page, text_of
from tests.support.lakes import LAKE_PIPELINES, add, line, run_here

if TYPE_CHECKING:
    from capstone_metrics.serving.embedded import Address, EmbeddedServer
    from tests.support.project import Project

TEXTS = Texts("en")
LAST_HOUR = (dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)).hour
DUE = {
    "timezone": "UTC",
    "layers": {"publication": {"starts": [LAST_HOUR], "minutes": 1}},
}

pytestmark = pytest.mark.parametrize("server", ["packaged"], indirect=True)


@pytest.fixture(scope="module")
def dataset(empty_project: Project, server: EmbeddedServer, address: Address) -> ServingDataset:
    """The serving database of a lake after a run with four lines: two of them of one video."""
    database = f"painel_{uuid.uuid4().hex}"
    empty_project.configure("globals.yml", postgres=str(server.folder), database=database)
    later = line(views=150, ingestion_ts="2026-01-31T12:00:00Z")
    broken = line(video_id="v2", views="x"), line(video_id=" ", views=-1)
    add(empty_project.root / "data", "2026-01-31T08", line(), later, *broken)
    run(empty_project)
    return ServingDataset(path=str(server.folder), database=database, port=address.port)


def run(project: Project) -> None:
    run_here(project, [*LAKE_PIPELINES, "publish_gold"])


@pytest.fixture(autouse=True)
def environment(dataset: ServingDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(READER_DSN_VARIABLE, dataset.reader_dsn())
    monkeypatch.setenv(SCHEDULE_VARIABLE, json.dumps(DUE))


def as_admin(dataset: ServingDataset, statement: str) -> None:
    with closing(connect(dataset.server.start(), dataset.database, ADMIN)) as admin, admin:
        admin.cursor().execute(statement)


@pytest.mark.parametrize("language", ["en", "pt_BR"])
def test_the_accounts_of_the_latest_run_are_shown(language: str) -> None:
    app, texts = page("method", language), Texts(language)

    assert not app.exception
    shown = {metric.label: metric.value for metric in app.metric}
    kinds = {"lines": "4", "current": "1", "superseded": "1", "quarantined": "2"}
    assert shown == {texts(kind): count for kind, count in kinds.items()}
    assert texts("accounted") in text_of(app)
    assert texts("unaccounted") not in text_of(app)
    rules, *_, publications, runs = app.dataframe
    broken = {"views.unreadable", "views.negative", "video_id.missing"}
    assert dict(rules.value.values.tolist()) == dict.fromkeys(broken, 1)
    assert len(publications.value) == len(runs.value) == 1
    row = runs.value.iloc[0]
    assert row[texts("state")] == "succeeded"
    assert row[texts("accepted")] == row[texts("quarantined")] == 2
    # of a video in three marts of views, three of growth, its own and that of its channel
    assert row[texts("rows_changed")] == 8


def test_lines_that_are_not_accounted_for_are_reported(dataset: ServingDataset) -> None:
    as_admin(
        dataset,
        "CREATE TABLE before AS TABLE serving.runs; UPDATE serving.runs "
        "SET record = jsonb_set(record, '{total,lines}', '5')",
    )
    try:
        assert TEXTS("unaccounted") in text_of(page("method"))
    finally:
        as_admin(dataset, "TRUNCATE serving.runs; INSERT INTO serving.runs TABLE before")


def test_a_run_with_nothing_new_differs_from_a_missing_run(
    dataset: ServingDataset, empty_project: Project
) -> None:
    as_admin(dataset, "UPDATE serving.publications SET published_at = now() - interval '2 days'")
    for key in ("rede_social", "faculdade", "canal"):
        mart = f"gold_video_views_dia_{key}"
        as_admin(dataset, f"UPDATE serving.{mart} SET data_postagem = current_date")
    badges = {name: f"{TEXTS(name)}]" for name in ("fresh", "no_new_data", "stale")}

    def badge() -> list[str]:
        app = page("overview")
        assert bool(app.warning) == (badges["stale"] in text_of(app))
        return [name for name, text in badges.items() if text in text_of(app)]

    assert badge() == ["stale"]
    run(empty_project)
    assert badge() == ["no_new_data"]
    assert TEXTS("unchanged", ago="", moment="").split(",")[0] in text_of(page("overview"))
    as_admin(dataset, "DROP TABLE serving.runs")  # as in a database of an older release
    assert badge() == ["stale"]
    app = page("method")
    assert not app.exception
    assert TEXTS("no_line_counts") in [box.value for box in app.info]
