from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import random
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from capstone_metrics.changes import GoldSnapshot, GoldUpdate
from capstone_metrics.errors import CapstoneError
from capstone_metrics.lake import GoldDataset
from capstone_metrics.mart_declarations import marts_of
from capstone_metrics.pipelines.publish_gold.nodes import assemble_publication
from capstone_metrics.publication import PublicationPolicy
from capstone_metrics.serving.compare import compare
from capstone_metrics.serving.embedded import ADMIN, LOADER, READER
from capstone_metrics.serving.provision import connect
from capstone_metrics.serving.publisher import PUBLISH_LOCK_KEY, TRANSACTION_SETTINGS, publish
from capstone_metrics.write_stats import WriteStats
from tests.support.gold import MARTS, gold
from tests.support.waiting import SECONDS, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from psycopg2.extensions import connection

    from capstone_metrics.serving.embedded import Address
    from tests.serving.conftest import Ask

VIEWS = "SELECT faculdade, total_views FROM serving.gold_faculdade ORDER BY 1"
VERSIONS = "SELECT faculdade, xmin::text, xmax::text FROM serving.gold_faculdade ORDER BY 1"
PUBLICATIONS = "SELECT count(*) FROM serving.publications"
MORE = marts_of(
    {
        "gold_faculdade": {
            "key": ["faculdade"],
            "measures": {"total_views": {"sum": "views"}, "total_videos": {"count": "views"}},
        },
        "gold_dia": {
            "key": ["data_postagem", "faculdade"],
            "measures": {"total_views": {"sum": "views"}},
        },
    }
)
ALLOW_SHRINK = PublicationPolicy(allow_shrink=True)


def test_the_first_publication_makes_the_tables(loader: connection, ask: Ask) -> None:
    assert publish(loader, gold({"GRAN": 5, "IMPACTA": 7})) == WriteStats(rows=4)
    assert ask(READER, VIEWS) == [("GRAN", 5), ("IMPACTA", 7)]
    columns = ask(
        READER,
        "SELECT column_name, data_type, is_nullable FROM information_schema.columns"
        " WHERE table_name = 'gold_dia' ORDER BY ordinal_position",
    )
    assert columns == [
        ("data_postagem", "date", "NO"),
        ("faculdade", "text", "NO"),
        ("total_views", "bigint", "NO"),
    ]
    key = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'p' AND conrelid = "
    assert ask(READER, f"{key} 'serving.gold_dia'::regclass") == [
        ("PRIMARY KEY (data_postagem, faculdade)",)
    ]


def test_an_unchanged_gold_writes_nothing(loader: connection, ask: Ask) -> None:
    publish(loader, gold({"GRAN": 5}))
    before = ask(ADMIN, VERSIONS)

    assert publish(loader, gold({"GRAN": 5})) == WriteStats()
    assert ask(ADMIN, VERSIONS) == before
    assert ask(READER, PUBLICATIONS) == [(1,)]


def test_only_what_differs_is_written(loader: connection, ask: Ask) -> None:
    publish(loader, gold({"GRAN": 5, "IMPACTA": 7, "OUTRA": 1}))
    gran, impacta, _ = ask(ADMIN, VERSIONS)

    less = gold({"GRAN": 5, "IMPACTA": 8}, policy=ALLOW_SHRINK)
    assert publish(loader, less) == WriteStats(rows=2, removed=2)
    assert ask(READER, VIEWS) == [("GRAN", 5), ("IMPACTA", 8)]
    same, changed = ask(ADMIN, VERSIONS)
    assert same == gran
    assert changed != impacta


def test_a_table_changed_by_hand_is_corrected_where_all_rows_are_compared(
    loader: connection, ask: Ask
) -> None:
    publish(loader, gold({"GRAN": 5}))
    ask(LOADER, "UPDATE serving.gold_faculdade SET total_views = 6")

    assert publish(loader, gold({"GRAN": 5})) == WriteStats()
    assert ask(READER, VIEWS) == [("GRAN", 6)]
    assert publish(loader, gold({"GRAN": 5}), full=True) == WriteStats(rows=1)
    assert ask(READER, VIEWS) == [("GRAN", 5)]


def test_the_ledger_has_every_publication(loader: connection, ask: Ask) -> None:
    publications = [gold({"GRAN": 5, "IMPACTA": 7}), gold({"GRAN": 6}, policy=ALLOW_SHRINK)]
    ((start,),) = ask(READER, "SELECT now()")
    for each in publications:
        publish(loader, each)

    entries = ask(
        READER,
        "SELECT gold_sha256, marts, rows_changed, rows_deleted,"
        " published_at BETWEEN %s AND now()"
        " FROM serving.publications ORDER BY publication",
        start,
    )
    manifests = [each.manifest for each in publications]
    digests = [hashlib.sha256(json.dumps(m, sort_keys=True).encode()) for m in manifests]
    assert entries == [
        (digests[0].hexdigest(), manifests[0]["marts"], 4, 0, True),
        (digests[1].hexdigest(), manifests[1]["marts"], 2, 2, True),
    ]


def test_an_added_measure_is_an_added_column(loader: connection, ask: Ask) -> None:
    publish(loader, gold({"GRAN": 5}))
    publish(loader, gold({"GRAN": 5}, MORE))

    assert ask(READER, "SELECT * FROM serving.gold_faculdade") == [("GRAN", 5, 1)]


def test_a_reader_of_a_table_that_must_change_is_not_waited_for_long(
    loader: connection, address: Address, database: str, ask: Ask
) -> None:
    publish(loader, gold({"GRAN": 5}))
    with closing(connect(address, database, READER)) as reader:
        reader.cursor().execute(VIEWS)
        with pytest.raises(CapstoneError, match=r"lock timeout: another session .* Run again"):
            publish(loader, gold({"GRAN": 5}, MORE))
        assert ask(READER, VIEWS) == [("GRAN", 5)]

    assert publish(loader, gold({"GRAN": 5}, MORE)) == WriteStats(rows=1)


def test_a_name_is_stored_as_it_is(loader: connection, ask: Ask) -> None:
    names = [
        "'); DROP TABLE serving.publications; --",
        'uma, "duas"\nlinhas\\',
        "🎬 עברית",
        "007",
        "NULL",
        "\\N",
        "\\.",
        "um\n\\.\noutro",
        "2026-01-31,x,1\n2026-01-31,y,1",
        "\r",
        "\t",
        " ",
        '"',
        "",
        "\ufeff𐍈",
        "x" * 10_000,
    ]
    views = dict.fromkeys(names, 1)
    publish(loader, gold(views))

    assert {name for name, _ in ask(READER, VIEWS)} == set(names)
    assert ask(READER, PUBLICATIONS) == [(1,)]
    assert compare(loader, gold(views)).is_equal
    loader.set_session(isolation_level="READ COMMITTED", readonly=False)

    # as some of the rows, beside the table
    more = gold({**views, "GRAN": 1, "": 2})
    assert publish(loader, more) == WriteStats(rows=4)
    assert compare(loader, more).is_equal


ENDS = {
    (dt.date(1, 1, 1), "first"): 2**63 - 1,
    (dt.date(9999, 12, 31), "last"): 2**63 - 1,
    (dt.date(9999, 12, 31), "less"): -(2**63),
}


def test_the_ends_of_a_type_are_published(loader: connection) -> None:
    publish(loader, gold(ENDS))
    assert compare(loader, gold(ENDS)).is_equal
    loader.set_session(isolation_level="READ COMMITTED", readonly=False)
    more = gold({**ENDS, (dt.date(9999, 12, 31), "less"): 5})

    assert publish(loader, more) == WriteStats(rows=2)
    assert compare(loader, more).is_equal


@pytest.mark.parametrize(
    ("views", "message"),
    [
        ({"GRAN": 5, "a\0b": 1}, r"invalid byte sequence .* line \d"),
        ({"GRAN": 2**63}, "out of range for type bigint .* column total_views"),
    ],
)
def test_a_value_out_of_the_range_of_postgresql_is_an_error(
    loader: connection, ask: Ask, views: dict[str, int], message: str
) -> None:
    publish(loader, gold({"GRAN": 5}))
    with pytest.raises(CapstoneError, match=f"{message}.*nothing was published. Ingest a later"):
        publish(loader, gold(views))
    assert ask(READER, VIEWS) == [("GRAN", 5)]


def test_a_violated_constraint_of_others_is_an_error(loader: connection, ask: Ask) -> None:
    publish(loader, gold({"GRAN": 5, "IMPACTA": 7}))
    ask(
        ADMIN,
        "CREATE TABLE public.fees (faculdade text REFERENCES serving.gold_faculdade);"
        "INSERT INTO public.fees VALUES ('IMPACTA')",
    )
    with pytest.raises(CapstoneError, match=r'foreign key constraint "fees_.* Drop a const'):
        publish(loader, gold({"GRAN": 5}, policy=ALLOW_SHRINK))
    assert ask(READER, VIEWS) == [("GRAN", 5), ("IMPACTA", 7)]


def test_dates_that_only_postgresql_has_are_differences(loader: connection, ask: Ask) -> None:
    publish(loader, gold({"GRAN": 5}))
    days = ["0044-03-15 BC", "20000-01-01", "infinity"]
    for day in days:
        ask(LOADER, "INSERT INTO serving.gold_dia VALUES (%s, 'GRAN', 1)", day)

    deleted = compare(loader, gold({"GRAN": 5})).differences[1].deleted
    assert sorted(day for day, _ in deleted) == days


def test_the_settings_of_the_server_do_not_matter(
    monkeypatch: pytest.MonkeyPatch, address: Address, database: str, ask: Ask
) -> None:
    for setting in (
        "datestyle = 'SQL, DMY'",
        "search_path = ''",
        "standard_conforming_strings = off",
        "default_transaction_isolation = 'serializable'",
    ):
        ask(ADMIN, f"ALTER DATABASE {database} SET {setting}")
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    day = dt.date(2026, 1, 2)
    for views in (1, 2):
        with closing(connect(address, database, LOADER)) as loader:
            content = gold({(day, "a\\b 🎬"): views})
            assert publish(loader, content) == WriteStats(rows=2)
            assert compare(loader, content).is_equal


def test_a_publisher_that_comes_after_another_sees_what_it_published(
    address: Address, database: str, ask: Ask
) -> None:
    """Where a snapshot is that of a transaction, it is older than the lock."""
    ask(ADMIN, f"ALTER DATABASE {database} SET default_transaction_isolation = 'serializable'")
    with closing(connect(address, database, LOADER)) as loader:
        publish(loader, gold({"GRAN": 5}))
        cursor = loader.cursor()
        cursor.execute(TRANSACTION_SETTINGS)
        cursor.execute("SELECT count(*) FROM serving.publications")
        assert cursor.fetchall() == [(1,)]
        with closing(connect(address, database, LOADER)) as other:
            publish(other, gold({"GRAN": 6}))
        cursor.execute("SELECT count(*) FROM serving.publications")
        assert cursor.fetchall() == [(2,)]


def test_a_name_too_long_for_a_key_is_an_error_and_nothing_is_published(
    loader: connection, ask: Ask
) -> None:
    publish(loader, gold({"GRAN": 5}))
    letters = [chr(code) for code in range(0x4E00, 0x9FFF)]
    name = "".join(random.Random(1).choices(letters, k=10_000))
    with pytest.raises(CapstoneError) as error:
        publish(loader, gold({"GRAN": 6, name: 1, "x" * 50_000: 1}))

    message = str(error.value)
    assert f"serving.gold_faculdade: faculdade '{name[:20]}…' has 30000 bytes" in message
    assert "nothing was published. Ingest a later observation" in message
    assert len(message) < 400
    assert ask(READER, VIEWS) == [("GRAN", 5)]
    assert ask(READER, PUBLICATIONS) == [(1,)]
    assert publish(loader, gold({"GRAN": 6, name[:500]: 1})) == WriteStats(rows=4)


def test_a_second_publisher_fails_while_one_is_at_work(
    loader: connection, address: Address, database: str
) -> None:
    with closing(connect(address, database, LOADER)) as other:
        other.cursor().execute("SELECT pg_advisory_xact_lock(%s)", [PUBLISH_LOCK_KEY])
        with pytest.raises(CapstoneError, match="Another publication is running"):
            publish(loader, gold({"GRAN": 5}))
        other.rollback()

    assert publish(loader, gold({"GRAN": 5})) == WriteStats(rows=2)


def test_a_reader_sees_one_publication_and_does_not_wait(
    loader: connection, address: Address, database: str, ask: Ask
) -> None:
    publish(loader, gold({"GRAN": 5}))
    both = (
        "SELECT a.total_views, b.total_views"
        " FROM serving.gold_faculdade AS a JOIN serving.gold_dia AS b USING (faculdade)"
    )
    halfway = (
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = %s"
    )
    with (
        ThreadPoolExecutor() as pool,
        closing(connect(address, database, LOADER)) as holder,
        closing(connect(address, database, READER)) as reader,
    ):
        holder.cursor().execute("SELECT FROM serving.gold_dia FOR UPDATE")
        publishing = pool.submit(publish, loader, gold({"GRAN": 6}))
        wait_until(lambda: ask(ADMIN, halfway, database) == [(1,)])
        reader.set_session(isolation_level="REPEATABLE READ")
        cursor = reader.cursor()
        cursor.execute("SET LOCAL lock_timeout = '1ms'")
        cursor.execute(both)
        assert cursor.fetchall() == [(5, 5)]

        holder.rollback()
        publishing.result(timeout=SECONDS)

        cursor.execute(both)
        assert cursor.fetchall() == [(5, 5)]
        reader.commit()
        cursor.execute(both)
        assert cursor.fetchall() == [(6, 6)]


def test_all_marts_are_published_or_none(loader: connection, ask: Ask) -> None:
    publish(loader, gold({"GRAN": 5}))
    torn = gold({"GRAN": 6})
    torn.manifest["marts"]["gold_dia"]["totals"] = {"total_views": 7}

    with pytest.raises(CapstoneError, match=r"serving\.gold_dia .* nothing was published"):
        publish(loader, torn)

    assert ask(READER, VIEWS) == [("GRAN", 5)]
    assert ask(READER, PUBLICATIONS) == [(1,)]


@pytest.fixture
def stored(tmp_path: Path) -> GoldSnapshot:
    """The Gold of a lake with one mart."""
    content = b"faculdade,total_views\nGRAN,5\n"
    entry = {**DECLARED["gold_faculdade"], "sha256": hashlib.sha256(content).hexdigest()}
    entry |= {"rows": 1, "totals": {"total_views": 5}}
    manifest = {"generation": 1, "marts": {"gold_faculdade": entry}}
    dataset = GoldDataset(path=str(tmp_path))
    dataset.save(GoldUpdate(GoldSnapshot(), {"gold_faculdade": content}, manifest))
    return dataset.load()


DECLARED: dict[str, dict[str, Any]] = {
    "gold_faculdade": {"key": ["faculdade"], "measures": {"total_views": {"sum": "views"}}}
}
POLICY = {"max_shrink_pct": 20, "changes_kept_days": 90}


def test_a_gold_of_another_hash_than_its_manifest_has_is_an_error(
    stored: GoldSnapshot, tmp_path: Path
) -> None:
    file = tmp_path / "gold/gold_faculdade.csv"

    content = assemble_publication(stored, DECLARED, {}, POLICY, False, None, ())
    assert content.files["gold_faculdade"] == file.read_bytes()
    assert content.marts == {"gold_faculdade": MARTS["gold_faculdade"]}
    assert content.policy == PublicationPolicy()
    file.write_text(file.read_text().replace("5", "6"))
    with pytest.raises(CapstoneError, match=r"gold_faculdade is not the file .* 'kedro run"):
        assemble_publication(stored, DECLARED, {}, POLICY, True, None, ()).files["gold_faculdade"]


def test_only_the_definitions_of_declared_networks_are_published(stored: GoldSnapshot) -> None:
    entry = {"date": "2025-03-31", "measure": "views", "en": "a", "pt": "b"}
    declared = [entry | {"rede_social": network} for network in ("tiktok", "kwai")]
    publication = assemble_publication(stored, DECLARED, {}, POLICY, False, declared, ["kwai"])
    assert [each.rede_social for each in publication.definitions] == ["kwai"]


def test_a_published_file_is_read_again_only_after_it_was_written(
    stored: GoldSnapshot, tmp_path: Path, loader: connection
) -> None:
    mart_file, read = stored.files["gold_faculdade"], []

    def reading() -> bytes:
        read.append(mart_file)
        return mart_file.read()

    def publish_again() -> WriteStats:
        counted = {"gold_faculdade": replace(mart_file, read=reading)}
        gold = replace(stored, files=counted)
        return publish(loader, assemble_publication(gold, DECLARED, {}, POLICY, False, None, ()))

    assert publish_again() == WriteStats(rows=1)
    assert publish_again() == WriteStats()
    assert len(read) == 1
    file = tmp_path / "gold/gold_faculdade.csv"
    before = file.stat()
    file.write_bytes(file.read_bytes())
    assert publish_again() == WriteStats()
    assert len(read) == 2

    file.write_text(file.read_text().replace("5", "6"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # of the same size and time
    with pytest.raises(CapstoneError, match="is not the file that Gold's manifest names"):
        publish_again()


@pytest.mark.parametrize(
    "changes",
    [
        {"gold_faculdade": {"measures": {"total_views": {"count": "views"}}}},
        {"gold_faculdade": {"key": ["rede_social"]}},
        {"gold_faculdade": {}, "gold_other": {"key": ["rede_social"], "measures": {}}},
    ],
)
def test_a_gold_of_other_declarations_is_an_error(
    stored: GoldSnapshot, changes: dict[str, dict[str, Any]]
) -> None:
    built = stored.manifest["marts"]
    marts = {**built, **{name: {**built.get(name, {}), **v} for name, v in changes.items()}}
    with pytest.raises(CapstoneError, match="have changed since Gold was built"):
        gold = replace(stored, manifest={"marts": marts})
        assemble_publication(gold, DECLARED, {}, POLICY, True, None, ())


DAYS = {(dt.date(2026, 1, day), name): day for day in range(1, 31) for name in ("GRAN", "IMPACTA")}


def test_only_the_days_that_changed_are_written(loader: connection, ask: Ask) -> None:
    publish(loader, gold(DAYS))
    third, fourth = dt.date(2026, 1, 3), dt.date(2026, 1, 4)
    ask(LOADER, "UPDATE serving.gold_dia SET total_views = 0 WHERE data_postagem = %s", fourth)
    ask(
        LOADER,
        "UPDATE serving.gold_dia SET total_views = 8 WHERE total_views = 0 AND faculdade = 'GRAN'",
    )
    swapped = "SELECT faculdade, total_views FROM serving.gold_dia WHERE data_postagem = %s"

    # what a hand did to another day is not looked at, so long as the totals hold
    assert publish(loader, gold({**DAYS, (third, "GRAN"): 4})) == WriteStats(rows=2)
    assert sorted(ask(READER, swapped, third)) == [("GRAN", 4), ("IMPACTA", 3)]
    assert sorted(ask(READER, swapped, fourth)) == [("GRAN", 8), ("IMPACTA", 0)]


def test_a_table_changed_by_hand_is_not_added_to(loader: connection, ask: Ask) -> None:
    publish(loader, gold(DAYS))
    ask(LOADER, "DELETE FROM serving.gold_dia WHERE data_postagem = '2026-01-04'")
    more = gold({**DAYS, (dt.date(2026, 1, 31), "GRAN"): 1})

    with pytest.raises(CapstoneError, match=r"would have 59 rows .* 'kedro serving recreate'"):
        publish(loader, more)
    assert publish(loader, more, full=True) == WriteStats(rows=4)


def test_a_table_emptied_by_hand_is_not_filled_unasked(loader: connection, ask: Ask) -> None:
    publish(loader, gold(DAYS))
    ask(ADMIN, "TRUNCATE serving.gold_dia")
    more = gold({**DAYS, (dt.date(2026, 1, 31), "GRAN"): 1})

    with pytest.raises(CapstoneError, match="would have 1 rows"):
        publish(loader, more)
    assert publish(loader, more, full=True) == WriteStats(rows=62)


def test_a_mart_with_line_feeds_in_its_rows_is_compared_in_full(
    loader: connection, ask: Ask
) -> None:
    days = {**DAYS, (dt.date(2026, 1, 3), "duas\nlinhas"): 1}
    publish(loader, gold(days))
    assert publish(loader, gold({**days, (dt.date(2026, 1, 3), "GRAN"): 4})) == WriteStats(rows=2)
    parts = "SELECT part FROM serving.parts WHERE mart = 'gold_dia'"
    assert ask(READER, parts) == [("",)]

    assert publish(loader, gold(DAYS, policy=ALLOW_SHRINK)) == WriteStats(rows=2, removed=2)
    assert len(ask(READER, parts)) == 30


def test_a_day_within_a_name_is_no_day(loader: connection, ask: Ask) -> None:
    forged = {**DAYS, (dt.date(2026, 1, 3), "x\n2026-01-09,y,1"): 1}
    publish(loader, gold(forged))
    publish(loader, gold({**forged, (dt.date(2026, 1, 9), "GRAN"): 1}))

    assert compare(loader, gold({**forged, (dt.date(2026, 1, 9), "GRAN"): 1})).is_equal


def test_a_day_that_is_missing_is_deleted(loader: connection, ask: Ask) -> None:
    publish(loader, gold(DAYS))
    less = {at: n for at, n in DAYS.items() if at[0].day != 2}

    assert publish(loader, gold(less)) == WriteStats(rows=2, removed=2)
    assert ask(READER, "SELECT count(*) FROM serving.gold_dia") == [(58,)]
    parts = "SELECT count(*), count(*) FILTER (WHERE part = '') FROM serving.parts"
    assert ask(READER, parts) == [(30, 1)]


BEFORE = {"GRAN": 50, "IMPACTA": 50, "A": 1, "B": 1, "C": 1}


@pytest.mark.parametrize(
    ("now", "message"),
    [
        ({}, "gold_faculdade is empty, gold_dia is empty"),
        ({"GRAN": 50, "IMPACTA": 50, "A": 3}, "gold_faculdade had rows 5 and has 3"),
        ({**BEFORE, "GRAN": 20}, "gold_dia had total_views 103 and has 73"),
    ],
)
def test_a_gold_that_shrank_too_much_is_an_error_unless_that_is_allowed(
    loader: connection, ask: Ask, now: dict[str, int], message: str
) -> None:
    publish(loader, gold(BEFORE))
    with pytest.raises(
        CapstoneError, match=f"lost too much .*{message}.* --params=allow_shrink=true"
    ):
        publish(loader, gold(now))
    assert dict(ask(READER, VIEWS)) == BEFORE

    publish(loader, gold(now, policy=ALLOW_SHRINK))
    assert dict(ask(READER, VIEWS)) == now


def test_a_gold_that_shrank_a_little_is_published(loader: connection, ask: Ask) -> None:
    publish(loader, gold(BEFORE))
    little = {"GRAN": 34, "IMPACTA": 50, "A": 1, "B": 1}

    assert publish(loader, gold(little)) == WriteStats(rows=2, removed=2)


def test_a_first_gold_that_is_empty_is_an_error(loader: connection) -> None:
    with pytest.raises(CapstoneError, match="gold_faculdade is empty"):
        publish(loader, gold({}))


GAINS = {
    "gold_faculdade": {
        "from": "observacao_dia",
        "key": ["faculdade"],
        "measures": {"total_views": {"sum": "views_ganhas"}},
    }
}


def test_a_mart_of_days_is_empty_at_first_and_may_fall_below_nothing(
    loader: connection, ask: Ask
) -> None:
    """What was gained may be negative, and there is none before a second observation."""
    marts = marts_of(GAINS)
    assert publish(loader, gold({}, marts)) == WriteStats()
    for gained in (-50, -55, 7):
        assert publish(loader, gold({"GRAN": gained}, marts)).rows == 1
    with pytest.raises(CapstoneError, match="total_views 7 and has -3"):
        publish(loader, gold({"GRAN": -3}, marts))
    with pytest.raises(CapstoneError, match="gold_faculdade is empty"):
        publish(loader, gold({}, marts))


def test_the_latest_gain_of_videos_may_fall(loader: connection) -> None:
    """It does so as they grow old, and none is lost."""
    declared = {
        "gold_faculdade": {
            "from": "video",
            "key": ["faculdade"],
            "measures": {"total_views": {"sum": "views_ganhas_7d"}},
        }
    }
    marts = marts_of(declared)
    for gained in (1_000, 7):
        assert publish(loader, gold({"GRAN": gained}, marts)).rows == 1


def test_a_database_that_is_not_set_up_is_an_error(address: Address) -> None:
    name = f"bare_{uuid.uuid4().hex}"
    with closing(connect(address, "postgres", ADMIN)) as admin:
        admin.autocommit = True
        admin.cursor().execute(f"CREATE DATABASE {name}")
    with (
        closing(connect(address, name, LOADER)) as loader,
        pytest.raises(CapstoneError, match=r"is not set up; .* 'kedro serving ddl'"),
    ):
        publish(loader, gold({"GRAN": 5}))


def test_a_publisher_without_its_rights_is_an_error(
    loader: connection, address: Address, database: str, ask: Ask
) -> None:
    publish(loader, gold({"GRAN": 5}))
    with (
        closing(connect(address, database, READER)) as reader,
        pytest.raises(CapstoneError, match=r"permission denied .* rights of the role loader"),
    ):
        publish(reader, gold({"GRAN": 6}))
    assert ask(READER, VIEWS) == [("GRAN", 5)]
