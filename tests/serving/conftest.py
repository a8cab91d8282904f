"""A database of each test's own on the tests' PostgreSQL."""

from __future__ import annotations

import tempfile
import uuid
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from capstone_metrics.serving.embedded import EmbeddedServer
from capstone_metrics.serving.provision import connect, provision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from capstone_metrics.serving.embedded import Address

    Ask = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def database(address: Address) -> str:
    """The name of a fresh serving database."""
    name = f"test_{uuid.uuid4().hex}"
    provision(address, name)
    return name


@pytest.fixture
def own(server: EmbeddedServer, open_folder: Path) -> Iterator[EmbeddedServer]:
    """A server that a test may restart, of the same version."""
    folder = Path(tempfile.mkdtemp(dir=open_folder))
    folder.chmod(0o755)
    own = EmbeddedServer(folder, 0, server.programs)
    yield own
    own.stop()


@pytest.fixture
def ask(address: Address, database: str) -> Ask:
    """What a role is answered to a statement."""

    def ask(role: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with closing(connect(address, database, role)) as connection, connection:
            cursor = connection.cursor()
            cursor.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    return ask
