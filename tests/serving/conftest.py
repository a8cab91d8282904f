"""A database of each test's own on the tests' PostgreSQL."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import uuid
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from capstone_metrics.serving import ServingDataset
from capstone_metrics.serving.embedded import ADMIN, LOADER, EmbeddedServer
from capstone_metrics.serving.provision import connect, provision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from psycopg2.extensions import connection

    from capstone_metrics.serving.embedded import Address

    Ask = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def database(address: Address) -> Iterator[str]:
    """The name of a new serving database."""
    name = f"test_{uuid.uuid4().hex}"
    provision(address, name)
    yield name
    with closing(connect(address, "postgres", ADMIN)) as admin:
        admin.autocommit = True
        admin.cursor().execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def loader(address: Address, database: str) -> Iterator[connection]:
    """A connection of the role that publishes."""
    with closing(connect(address, database, LOADER)) as loader:
        yield loader


@pytest.fixture
def serving(server: EmbeddedServer, address: Address, database: str) -> ServingDataset:
    """The new database, as the catalog has it."""
    return ServingDataset(path=str(server.folder), database=database, port=address.port)


@pytest.fixture(scope="session")
def initialised(server: EmbeddedServer, open_folder: Path) -> Path:
    """The files of a server without databases, which is stopped: a copy of them is another one."""
    folder = open_folder / f"initialised {'15' if server.programs else 'packaged'}"
    template = EmbeddedServer(folder, 0, server.programs)
    with closing(connect(template.start(), "postgres", ADMIN)) as admin:
        admin.autocommit = True
        admin.cursor().execute("ALTER SYSTEM SET fsync = off")
    template.stop()
    template.port_file.unlink()
    return folder


@pytest.fixture
def own(server: EmbeddedServer, initialised: Path, open_folder: Path) -> Iterator[EmbeddedServer]:
    """A stopped server of the same version, which a test may start and kill."""
    folder = Path(tempfile.mkdtemp(dir=open_folder, prefix="à parte "))
    subprocess.run(["cp", "-a", f"{initialised}/.", str(folder)], check=True)
    folder.chmod(0o755)
    own = EmbeddedServer(folder, 0, server.programs)
    yield own
    own.stop()
    shutil.rmtree(folder)


@pytest.fixture
def ask(address: Address, database: str) -> Ask:
    """Run a statement as a role, and return its rows."""

    def ask(role: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with closing(connect(address, database, role)) as connection, connection:
            cursor = connection.cursor()
            cursor.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    return ask
