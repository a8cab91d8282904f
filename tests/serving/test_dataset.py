from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from kedro.io.core import DatasetError

from capstone_metrics.errors import CapstoneError
from capstone_metrics.serving.embedded import ADMIN, LOADER, READER
from capstone_metrics.serving.provision import connect
from capstone_metrics.write_stats import WriteStats
from tests.support.gold import gold
from tests.support.waiting import SECONDS, wait_until

if TYPE_CHECKING:
    from capstone_metrics.serving import ServingDataset
    from capstone_metrics.serving.embedded import Address
    from tests.serving.conftest import Ask

VIEWS = "SELECT faculdade, total_views FROM serving.gold_dia ORDER BY 1"
GRANTS = (
    "SELECT table_name, grantee, privilege_type FROM information_schema.role_table_grants"
    " WHERE table_schema = 'serving' ORDER BY 1, 2, 3"
)


def test_it_loads_the_latest_entry_of_the_ledger(serving: ServingDataset) -> None:
    serving.save(gold({"GRAN": 5}))
    serving.save(gold({"GRAN": 5, "IMPACTA": 7}))

    assert serving.write_stats == {"serving": WriteStats(rows=2)}
    entry = serving.load()
    assert entry["marts"]["gold_dia"]["totals"] == {"total_views": 12}
    assert (entry["publication"], entry["rows_changed"]) == (2, 2)


def test_a_dropped_database_is_recreated_from_gold(
    serving: ServingDataset, address: Address, database: str, ask: Ask
) -> None:
    serving.save(gold({"GRAN": 5, "IMPACTA": 7}))
    before = ask(READER, VIEWS), ask(ADMIN, GRANTS)
    with closing(connect(address, "postgres", ADMIN)) as admin:
        admin.autocommit = True
        admin.cursor().execute(f"DROP DATABASE {database} WITH (FORCE)")

    serving.save(gold({"GRAN": 5, "IMPACTA": 7}))

    assert (ask(READER, VIEWS), ask(ADMIN, GRANTS)) == before
    assert ("gold_dia", READER, "SELECT") in before[1]


def test_a_cut_connection_leaves_the_publication_before(
    serving: ServingDataset, address: Address, database: str, ask: Ask
) -> None:
    serving.save(gold({"GRAN": 5}))
    cut = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    with (
        ThreadPoolExecutor() as pool,
        closing(connect(address, database, LOADER)) as holder,
    ):
        holder.cursor().execute("SELECT FROM serving.gold_dia FOR UPDATE")
        publishing = pool.submit(serving.save, gold({"GRAN": 6}))
        wait_until(lambda: ask(ADMIN, cut))
        with pytest.raises(DatasetError) as failure:
            publishing.result(timeout=SECONDS)

    assert isinstance(failure.value.__cause__, CapstoneError)
    assert str(failure.value.__cause__).startswith(f"PostgreSQL, database '{database}': ")
    assert ask(READER, VIEWS) == [("GRAN", 5)]
    serving.save(gold({"GRAN": 6}))
    assert ask(READER, VIEWS) == [("GRAN", 6)]


def test_psql_opens_it_as_the_reader(serving: ServingDataset, database: str) -> None:
    program, options, environment = serving.psql()
    query = "SELECT current_user, current_database()"
    done = subprocess.run(
        [program, *options, "-Atc", query], env=environment, capture_output=True, check=True
    )

    assert done.stdout.decode() == f"{READER}|{database}\n"


def test_the_command_to_connect_works_in_a_shell(serving: ServingDataset) -> None:
    folder = serving.psql()[0].removesuffix("/psql")
    done = subprocess.run(
        f"PATH={folder}:$PATH; {serving.connect_command()} -Atc 'SELECT 7'",
        shell=True,
        capture_output=True,
        check=True,
    )

    assert done.stdout == b"7\n"


def test_its_representation_has_no_password(serving: ServingDataset, address: Address) -> None:
    passwords = [line.split(":")[4] for line in address.passfile.read_text().splitlines()]
    output = repr(serving) + repr(vars(serving)) + serving.connect_command()

    assert serving.database in output
    assert not [password for password in passwords if password in output]
