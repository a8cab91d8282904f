"""A database of each test's own on the tests' PostgreSQL."""

from __future__ import annotations

import uuid
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from capstone_metrics.serving.provision import connect, provision

if TYPE_CHECKING:
    from collections.abc import Callable

    from capstone_metrics.serving.embedded import Address

    Ask = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def database(address: Address) -> str:
    """The name of a fresh serving database."""
    name = f"test_{uuid.uuid4().hex}"
    provision(address, name)
    return name


@pytest.fixture
def ask(address: Address, database: str) -> Ask:
    """What a role is answered to a statement."""

    def ask(role: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with closing(connect(address, database, role)) as connection, connection:
            cursor = connection.cursor()
            cursor.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    return ask
