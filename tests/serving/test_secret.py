"""The user and the password of a secret: read for each connection, and in no output."""

from __future__ import annotations

import traceback
import uuid
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from infra.s3.seaweed import REGION

from capstone_metrics.errors import CapstoneError
from capstone_metrics.serving import ServingDataset
from capstone_metrics.serving.remote import RemoteServer
from capstone_metrics.serving.secret import fetch_login
from tests.support.aws import CANARY, Secrets, of, secrets_manager, set_password
from tests.support.gold import gold

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from capstone_metrics.serving.embedded import Address


@pytest.fixture(scope="module")
def manager() -> Iterator[Secrets]:
    """A server of secrets for the tests of this module."""
    with secrets_manager() as server:
        yield server


@pytest.fixture
def secrets(manager: Secrets, monkeypatch: pytest.MonkeyPatch) -> Secrets:
    """The server of secrets that the environment names."""
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "PGPASSFILE", "PGPASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", manager.endpoint)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "any")
    return manager


def traceback_of(error: BaseException) -> str:
    """Return an error with its causes, but for the lines of this module."""
    lines = traceback.format_exception(error)
    return "".join(line for line in lines if __file__ not in line)


@pytest.mark.parametrize("server", ["packaged"], indirect=True)
def test_a_publication_reads_its_secret_again_after_a_rotation(
    secrets: Secrets,
    address: Address,
    database: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    user = f"task_{uuid.uuid4().hex}"
    set_password(address, user, CANARY)
    arn = secrets.keep(user, of(user, CANARY))
    monkeypatch.setenv("CAPSTONE_DSN", f"host={address.host} port={address.port}")
    monkeypatch.setenv("CAPSTONE_DSN_SECRET", arn)
    serving = ServingDataset(path=str(tmp_path / "none"), database=database, port=0)

    serving.save(gold({"GRAN": 5}))
    assert serving.load()["publication"] == 1

    set_password(address, user, "another")
    with pytest.raises(Exception, match="password authentication failed") as error:
        serving.save(gold({"GRAN": 6}))
    assert "Can" not in traceback_of(error.value)

    secrets.rotate(arn, of(user, "another"))
    serving.save(gold({"GRAN": 6}))
    assert serving.load()["publication"] == 2
    monkeypatch.setenv("CAPSTONE_READER_DSN_SECRET", arn)
    where = f"host={address.host} port={address.port} user=bi_reader"
    with closing(RemoteServer(where, database, "CAPSTONE_READER_DSN").connect()) as reader:
        assert reader.info.user == user
    shown = (serving, vars(serving), serving.remote, serving.connect_command())
    assert "another" not in repr(shown)


def test_the_region_is_that_of_the_secret_or_of_the_environment(
    secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = uuid.uuid4().hex
    arn = secrets.keep(name, of("loader", "x"))
    assert fetch_login(arn, "ANY") == {"user": "loader", "password": "x"}
    with pytest.raises(CapstoneError, match="You must specify a region"):
        fetch_login(name, "ANY")
    monkeypatch.setenv("AWS_REGION", REGION)
    assert fetch_login(name, "ANY") == {"user": "loader", "password": "x"}


@pytest.mark.parametrize(
    "text",
    [CANARY, f'"{CANARY}"', f'{{"password": "{CANARY}"}}', of("", CANARY), f'["{CANARY}"]'],
)
def test_an_invalid_secret_is_an_error_that_does_not_repeat_it(
    secrets: Secrets, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("CAPSTONE_DSN_SECRET", secrets.keep(uuid.uuid4().hex, text))
    with pytest.raises(CapstoneError, match=r"^CAPSTONE_DSN_SECRET: .* is not JSON") as error:
        RemoteServer("host=localhost", "capstone").connect()
    assert "Can" not in traceback_of(error.value)


def test_a_secret_that_does_not_exist_is_an_error(
    secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", REGION)
    monkeypatch.setenv("CAPSTONE_DSN_SECRET", "none")
    with pytest.raises(CapstoneError, match=r"'none' of Secrets Manager cannot be read: .*find"):
        RemoteServer("host=localhost", "capstone").connect()


def test_a_secret_without_a_server_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CAPSTONE_DSN_SECRET", "any")
    serving = ServingDataset(path=str(tmp_path / "none"), database="capstone", port=0)
    with pytest.raises(Exception, match="CAPSTONE_DSN_SECRET is set and CAPSTONE_DSN is not"):
        serving.save(gold({"GRAN": 5}))
    assert not (tmp_path / "none").exists()
