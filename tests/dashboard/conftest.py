"""A Gold of random videos, published to a PostgreSQL of the tests' own, and its CSV beside it."""

from __future__ import annotations

import datetime as dt
import functools
import random
import sys
import uuid
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pytest
import yaml
from streamlit.components.v2 import manifest_scanner

from capstone_metrics.lake import RunsDataset
from capstone_metrics.mart_declarations import marts_of
from capstone_metrics.publication import Publication, PublicationPolicy
from capstone_metrics.serving import ServingDataset
from capstone_metrics.serving.embedded import ADMIN
from capstone_metrics.serving.provision import connect
from tests.support.gold import csv_of, entry_of
from tests.support.project import COLUMNS as SILVER_COLUMNS
from tests.support.project import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from capstone_metrics.marts import Measure
    from capstone_metrics.serving.embedded import Address, EmbeddedServer

READER_DSN_VARIABLE = "CAPSTONE_READER_DSN"
FIRST, LAST = dt.date(2026, 1, 1), dt.date(2026, 2, 14)
NETWORKS = ("tiktok", "instagram_reels", "youtube_shorts")
LATE = "youtube_shorts"
"""Has no video before February."""

OBSERVED_FROM = FIRST + dt.timedelta(days=3)
"""The first day of observations: what earlier videos gained by then is not known."""

OBSERVED_DAYS = 14
"""The days after its posting on which a video is observed."""

QUOTED = 'Ânima "100%", d\'Ouro'
INSTITUTIONS = ("GRAN", "IMPACTA", QUOTED)
BY_NETWORK, BY_INSTITUTION = "gold_video_views_dia_rede_social", "gold_video_views_dia_faculdade"
BY_CHANNEL = "gold_video_views_dia_canal"
GAINED, AT_7_DAYS = "gold_video_crescimento_dia_canal", "gold_video_views_7d_dia_canal"
VIDEO = "gold_video"
DECLARED = yaml.safe_load((ROOT / "conf/base/parameters/marts.yml").read_text())["marts"]
"""The default marts."""

NO_TITLE = "(não informado)"
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

COLUMNS = pa.schema(
    [
        ("data_postagem", pa.date32()),
        *((name, pa.string()) for name in ("rede_social", "faculdade", "categoria", "video_id")),
        *((name, pa.int64()) for name in ("views", "likes", "comentarios")),
    ]
)
OBSERVATIONS = f"""
CREATE TABLE observed AS
SELECT
    data_postagem + age AS data_observacao, data_postagem, rede_social, faculdade, video_id,
    views * (age + 1) // {OBSERVED_DAYS} AS views, likes * (age + 1) // {OBSERVED_DAYS} AS likes,
    comentarios * (age + 1) // {OBSERVED_DAYS} AS comentarios
FROM videos, (SELECT unnest(range({OBSERVED_DAYS}))::INTEGER AS age)
WHERE data_postagem + age BETWEEN DATE '{OBSERVED_FROM}' AND DATE '{LAST}';

CREATE TABLE observacao_dia AS
SELECT
    *, views - before.views AS views_ganhas, likes - before.likes AS likes_ganhos,
    comentarios - before.comentarios AS comentarios_ganhos,
    (before.views = 0 AND data_observacao <= data_postagem + 1)::INTEGER AS posts,
    1000 + length(faculdade) AS qtd_inscritos
FROM (
    SELECT *, coalesce(
        lag({{'views': views, 'likes': likes, 'comentarios': comentarios}}) OVER (
            PARTITION BY rede_social, video_id ORDER BY data_observacao
        ),
        CASE WHEN data_postagem >= data_observacao - 1
            THEN {{'views': 0, 'likes': 0, 'comentarios': 0}} END
    ) AS before
    FROM observed
);

CREATE TABLE at_7_days AS
SELECT * FROM observacao_dia
WHERE data_observacao <= data_postagem + 7
QUALIFY
    data_observacao = max(data_observacao) OVER (PARTITION BY rede_social, video_id)
    AND data_postagem <= DATE '{LAST}' - 7;

CREATE TABLE criacao AS
SELECT observed.*, categoria FROM observed JOIN videos USING (rede_social, video_id)
QUALIFY data_observacao = max(data_observacao) OVER (PARTITION BY rede_social, video_id);

CREATE TABLE video AS
SELECT
    criacao.*, views_7d, views_ganhas_7d,
    CASE WHEN video_id NOT LIKE '%3' THEN 9 + 12 * (length(video_id) % 2) END AS hora_postagem,
    CASE WHEN video_id LIKE '%7' THEN '{NO_TITLE}' ELSE concat('Aula ', video_id) END
        AS titulo_video
FROM criacao
LEFT JOIN (SELECT rede_social, video_id, views AS views_7d FROM at_7_days)
    USING (rede_social, video_id)
LEFT JOIN (
    SELECT rede_social, video_id, sum(views_ganhas) AS views_ganhas_7d
    FROM (
        SELECT *, max(data_observacao) OVER (PARTITION BY rede_social, video_id) AS last
        FROM observacao_dia
    ) WHERE data_observacao > last - 7 GROUP BY ALL
) USING (rede_social, video_id);
"""
"""Each video grows evenly, from the day of its posting on. Every tenth has no title."""


def day_of(mart: str) -> str:
    """Return the day of a default mart."""
    declared = DECLARED[mart]
    columns = [*declared["key"], *declared.get("attributes", ())]
    return next(name for name in columns if name.startswith("data_"))


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
        self,
        declared: dict[str, Any] = DECLARED,
        seed: int = 7,
        most: int | None = None,
        of: list[tuple[Any, ...]] | None = None,
    ) -> None:
        """Aggregate videos, or the first of them, to Gold, and publish it."""
        marts = marts_of(declared, SILVER_COLUMNS)
        rows, files = {}, {}
        silver = (of or videos(seed))[:most]
        cells = [list(column) for column in zip(*silver, strict=True)] or [[] for _ in COLUMNS]
        with closing(duckdb.connect()) as db:
            db.register("videos", pa.table(cells, schema=COLUMNS))
            db.execute(OBSERVATIONS)
            for name, mart in marts.items():
                table = mart.basis.table if mart.basis.at_days is None else "at_7_days"
                measures = ", ".join(map(_sql, mart.measures))
                labels = ", ".join([*mart.key, *(f"max({name})" for name in mart.attributes)])
                query = f"SELECT {labels}, {measures} FROM {table} GROUP BY ALL"
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


def _sql(measure: Measure) -> str:
    if measure.aggregate == "ratio":
        return f"(sum({measure.column}) / nullif(sum({measure.divisor}), 0))::DECIMAL(18, 6)::TEXT"
    return f"{measure.aggregate}({measure.column})"


def _value(value: Any) -> Any:
    return value if value is None or isinstance(value, dt.date | str) else int(value)


def runs_of(record: dict[str, Any], lake: Path) -> RunsDataset:
    """The records of a lake that has one."""
    runs = RunsDataset(path=str(lake), silent_minutes=10)
    runs.save(record)
    return runs


@pytest.fixture(autouse=True, scope="session")
def components() -> Iterator[None]:
    """Have pages look once for components of installed packages, as a server does."""
    find = functools.cache(manifest_scanner.scan_component_manifests)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest_scanner, "scan_component_manifests", find)
        yield


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
