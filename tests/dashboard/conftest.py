"""A Gold of random videos, published to a PostgreSQL of the tests' own, and its CSV beside it."""

from __future__ import annotations

import datetime as dt
import random
import sys
import uuid
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pytest

from capstone_metrics.lake import RunsDataset
from capstone_metrics.marts import Publication, PublicationPolicy, marts_of
from capstone_metrics.serving import ServingDataset
from capstone_metrics.serving.embedded import ADMIN
from capstone_metrics.serving.provision import connect
from tests.support.gold import csv_of, entry_of

if TYPE_CHECKING:
    from pathlib import Path

    from capstone_metrics.serving.embedded import Address, EmbeddedServer

READER_DSN_VARIABLE = "CAPSTONE_READER_DSN"
FIRST, LAST = dt.date(2026, 1, 1), dt.date(2026, 2, 14)
NETWORKS = ("tiktok", "instagram_reels", "youtube_shorts")
LATE = "youtube_shorts"
"""Has no video before February."""

QUOTED = 'Ânima "100%", d\'Ouro'
INSTITUTIONS = ("GRAN", "IMPACTA", QUOTED)
MEASURES = {
    "total_views": {"sum": "views"},
    "total_likes": {"sum": "likes"},
    "total_comentarios": {"sum": "comentarios"},
    "total_videos": {"count": "video_id"},
}
BY_NETWORK, BY_INSTITUTION = "gold_video_views_dia_rede_social", "gold_video_views_dia_faculdade"
DECLARED = {
    BY_NETWORK: {"key": ["data_postagem", "rede_social"], "measures": MEASURES},
    BY_INSTITUTION: {"key": ["data_postagem", "faculdade"], "measures": MEASURES},
}
BY_BOTH = {"key": ["data_postagem", "rede_social", "faculdade"], "measures": MEASURES}
BY_CATEGORY = {"key": ["categoria"], "measures": {"total_videos": {"count": "video_id"}}}
RECORD = {
    "run": "20260214T230500.000Z-0a1b",
    "state": "succeeded",
    "begun": "2026-02-14T23:05:00.000+00:00",
    "ended": "2026-02-14T23:05:07.512+00:00",
    "total": {"lines": 20_229, "current": 687, "superseded": 19_529, "quarantined": 13},
    "reasons": {"views.unreadable": 9, "data_postagem.future": 4, "video_id.missing": 1},
    "layers": {
        "bronze": {"written": 366, "removed": 0},
        "silver": {"accepted": 365, "quarantined": 1, "written": 31, "removed": 0},
        "serving": {"written": 12, "removed": 0, "committed": "2026-02-14T23:05:07.400+00:00"},
    },
}
"""Of a run that published, as far as the pages read it."""

COLUMNS = [
    *("data_postagem", "rede_social", "faculdade", "categoria", "video_id"),
    *("views", "likes", "comentarios"),
]


def videos(seed: int = 7) -> list[tuple[Any, ...]]:
    """Return videos of most days, more of the first institution early and of the last one late."""
    rng = random.Random(seed)
    rows: list[tuple[Any, ...]] = []
    for number in range((LAST - FIRST).days + 1):
        day = FIRST + dt.timedelta(days=number)
        for network in NETWORKS:
            for rank, institution in enumerate(INSTITUTIONS):
                for _ in range(rng.choice([0, 1, 1, 2])):
                    if network == LATE and day < dt.date(2026, 2, 1):
                        continue
                    views = rng.randrange(1_000, 900_000) * (45 - number if rank == 0 else number)
                    name = f"{number}-{len(rows)}"
                    cells = (views, views // rng.randrange(9, 40), views // rng.randrange(90, 400))
                    rows.append((day, network, institution, rng.choice("ab"), name, *cells))
    return rows


@dataclass(frozen=True)
class Served:
    """A database, and a folder with the Gold that was published to it last."""

    dataset: ServingDataset
    gold: Path

    def publish(
        self, declared: dict[str, Any] = DECLARED, seed: int = 7, most: int | None = None
    ) -> None:
        """Aggregate the videos, or the first of them, to Gold, and publish it."""
        marts = marts_of(declared)
        rows, files = {}, {}
        columns = zip(*videos(seed), strict=True)
        silver = pa.table(dict(zip(COLUMNS, map(list, columns), strict=True))).slice(0, most)
        with closing(duckdb.connect()) as db:
            db.register("silver", silver)
            for name, mart in marts.items():
                measures = ", ".join(
                    f"{how}({of})"
                    for rule in declared[name]["measures"].values()
                    for how, of in rule.items()
                )
                keys = ", ".join(mart.key)
                query = f"SELECT {keys}, {measures} FROM silver GROUP BY ALL"
                rows[name] = sorted(tuple(map(_value, row)) for row in db.execute(query).fetchall())
        for name, mart in marts.items():
            files[name] = csv_of(mart, rows[name])
            (self.gold / f"{name}.csv").write_bytes(files[name])
        entries = {name: entry_of(mart, rows[name], files[name]) for name, mart in marts.items()}
        policy = PublicationPolicy(allow_shrink=True)
        self.dataset.save(Publication({"marts": entries}, dict(marts), files, policy))

    def from_gold(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Query the CSV files; each mart is a table of its name."""
        with closing(duckdb.connect()) as db:
            for path in self.gold.glob("*.csv"):
                db.execute(f"CREATE VIEW {path.stem} AS SELECT * FROM read_csv('{path}')")
            return db.execute(query, values or None).fetchall()

    def as_admin(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement that no publication would."""
        address = self.dataset.server.start()
        with closing(connect(address, self.dataset.database, ADMIN)) as admin, admin:
            cursor = admin.cursor()
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []


def _value(value: Any) -> Any:
    return value if isinstance(value, dt.date | str) else int(value)


def runs_of(record: dict[str, Any], lake: Path) -> RunsDataset:
    """The records of a lake that has one."""
    runs = RunsDataset(path=str(lake), silent_minutes=10)
    runs.save(record)
    return runs


@pytest.fixture(autouse=True)
def main_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore the main module, which Streamlit replaces by the script that it runs.

    A process that another test starts would run that script again.
    """
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])


@pytest.fixture(scope="module")
def served(
    server: EmbeddedServer, address: Address, tmp_path_factory: pytest.TempPathFactory
) -> Served:
    """The default marts, published."""
    served = _in_database(server, address, tmp_path_factory.mktemp("gold"))
    served.publish()
    return served


@pytest.fixture
def own(
    server: EmbeddedServer, address: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Served:
    """A database of one test's own, which the pages read, with nothing published."""
    own = _in_database(server, address, tmp_path)
    monkeypatch.setenv(READER_DSN_VARIABLE, own.dataset.reader_dsn())
    return own


@pytest.fixture
def published(own: Served) -> Served:
    """A database of one test's own, which the pages read, with the default marts."""
    own.publish()
    return own


def _in_database(server: EmbeddedServer, address: Address, gold: Path) -> Served:
    name = f"painel_{uuid.uuid4().hex}"
    dataset = ServingDataset(path=str(server.folder), database=name, port=address.port)
    dataset.start()
    return Served(dataset, gold)
