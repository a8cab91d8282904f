from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from psycopg2.errors import InsufficientPrivilege

from capstone_metrics.publication import PublicationPolicy
from capstone_metrics.serving.embedded import ADMIN, LOADER, OWNER, READER
from capstone_metrics.serving.provision import connect, provision
from capstone_metrics.serving.publisher import publish
from capstone_metrics.serving.tables import ddl
from capstone_metrics.write_stats import WriteStats
from tests.support.gold import MARTS, gold
from tests.support.waiting import SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from capstone_metrics.serving.embedded import Address, EmbeddedServer
    from tests.serving.conftest import Ask

TABLE = f"SET ROLE {OWNER}; CREATE TABLE serving.mart AS SELECT 7 AS views"


def test_the_reader_reads_the_later_tables_of_the_loader(ask: Ask) -> None:
    ask(LOADER, TABLE)

    assert ask(READER, "SELECT views FROM serving.mart") == [(7,)]


def allowed(ask: Ask, role: str, statements: Iterable[str]) -> list[str]:
    done = []
    for statement in statements:
        with contextlib.suppress(InsufficientPrivilege):
            ask(role, statement)
            done.append(statement)
    return done


def test_the_reader_only_reads(ask: Ask) -> None:
    ask(LOADER, TABLE)
    reading = "SELECT views FROM serving.mart"
    writing = [
        "INSERT INTO serving.mart VALUES (8)",
        "UPDATE serving.mart SET views = 8",
        "DELETE FROM serving.mart",
        "TRUNCATE serving.mart",
        "SELECT FROM serving.mart FOR UPDATE",
        "CREATE TABLE serving.other (views int)",
        "CREATE TABLE public.other (views int)",
        "CREATE TEMPORARY TABLE other (views int)",
        "CREATE SCHEMA other",
        "SET ROLE loader",
    ]

    assert allowed(ask, READER, [reading, *writing]) == [reading]


def test_the_loader_writes_rows_and_nothing_else(ask: Ask) -> None:
    ask(LOADER, TABLE)
    its_own = [
        "INSERT INTO serving.mart VALUES (8)",
        "UPDATE serving.mart SET views = 9",
        "DELETE FROM serving.mart WHERE views = 8",
        "CREATE TEMPORARY TABLE other (views int)",
        "DELETE FROM serving.changes",
    ]
    others = [
        "CREATE TABLE serving.other (views int)",
        "ALTER TABLE serving.mart ADD COLUMN other int",
        "DROP TABLE serving.mart",
        "TRUNCATE serving.mart",
        "DELETE FROM serving.publications",
        "UPDATE serving.publications SET rows_changed = 0",
        "UPDATE serving.changes SET change = 'delete'",
        "CREATE ROLE other",
        "ALTER ROLE bi_reader SUPERUSER",
        "CREATE TABLE public.other (views int)",
        "SELECT rolpassword FROM pg_authid",
        "COPY (SELECT 1) TO PROGRAM 'true'",
    ]

    assert allowed(ask, LOADER, [*its_own, *others]) == its_own


def test_nobody_logs_in_as_the_owner(ask: Ask) -> None:
    query = "SELECT rolname FROM pg_roles WHERE rolcanlogin ORDER BY 1"
    users = {name for (name,) in ask(ADMIN, query)}

    of_other_tests = {name for name in users if name.startswith("task_")}
    assert users - of_other_tests == {"bi_reader", "loader", "postgres"}


def test_a_statement_of_a_reader_ends(ask: Ask) -> None:
    assert ask(READER, "SHOW statement_timeout") == [("1min",)]
    assert ask(READER, "SHOW idle_in_transaction_session_timeout") == [("10min",)]


def test_the_loader_makes_no_database(address: Address, database: str) -> None:
    with closing(connect(address, database, LOADER)) as loader:
        loader.autocommit = True
        with pytest.raises(InsufficientPrivilege):
            loader.cursor().execute("CREATE DATABASE other")


def test_eight_may_provision_at_once(address: Address, database: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        done = [pool.submit(provision, address, f"{database}_{i % 2}") for i in range(16)]

    assert [each.exception() for each in done] == [None] * 16


def test_it_waits_for_no_publisher_and_no_reader(address: Address, database: str, ask: Ask) -> None:
    ask(LOADER, TABLE)
    with (
        closing(connect(address, database, LOADER)) as loader,
        closing(connect(address, database, READER)) as reader,
        ThreadPoolExecutor() as pool,
    ):
        loader.cursor().execute("INSERT INTO serving.changes VALUES (1, 'm', '{}', 'insert')")
        loader.cursor().execute("UPDATE serving.mart SET views = 8")
        reader.cursor().execute("SELECT FROM serving.mart, serving.changes, serving.publications")
        try:
            pool.submit(provision, address, database).result(timeout=SECONDS)
        finally:
            loader.rollback()
            reader.rollback()


def test_a_revoked_right_is_granted_again(address: Address, database: str, ask: Ask) -> None:
    ask(LOADER, TABLE)
    ask(ADMIN, "REVOKE SELECT ON serving.mart FROM bi_reader")
    provision(address, database)

    assert ask(READER, "SELECT views FROM serving.mart") == [(7,)]


def test_the_script_needs_no_superuser(own: EmbeddedServer) -> None:
    address = own.start()
    with closing(connect(address, "postgres", ADMIN)) as admin:
        admin.autocommit = True
        admin.cursor().execute("CREATE ROLE dba LOGIN CREATEROLE CREATEDB")
        admin.cursor().execute("CREATE DATABASE capstone OWNER dba")
    for _ in range(2):
        with closing(connect(address, "capstone", ADMIN)) as dba, dba:
            dba.cursor().execute("SET SESSION AUTHORIZATION dba")
            dba.cursor().execute(ddl(MARTS))
    with closing(connect(address, "capstone", ADMIN)) as loader:
        loader.cursor().execute("SET SESSION AUTHORIZATION loader")
        loader.commit()
        assert publish(loader, gold({"GRAN": 5})) == WriteStats(rows=2)
        one = {"gold_dia": MARTS["gold_dia"]}  # a table to drop, as the owner
        assert publish(
            loader, gold({"GRAN": 5}, one, PublicationPolicy(allow_shrink=True))
        ) == WriteStats(removed=1)
