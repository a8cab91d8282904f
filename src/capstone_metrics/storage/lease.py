"""A lock in a bucket that expires if its holder dies."""

from __future__ import annotations

import contextlib
import json
import random
import time
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from capstone_metrics.errors import CommitConflictError, StorageError
from capstone_metrics.storage.base import LOCK_TIMEOUT_SECONDS
from capstone_metrics.storage.process import is_dead, this_process

if TYPE_CHECKING:
    from capstone_metrics.storage.bucket import Bucket

EXPIRY_SECONDS = 20
"""How long a lock stays valid without a heartbeat of its holder."""

FREE = b"{}\n"
"""The content of the object while nobody holds the lock."""


class Lease:
    """A lock that is an object in a bucket, and names its holder.

    The holder renews the lock periodically. A waiting run takes it over if the object has not
    changed for `EXPIRY_SECONDS` by the clock of the waiting run, or if the holder was a process of
    the same machine that has ended.
    """

    def __init__(self, bucket: Bucket, key: str) -> None:
        self.bucket = bucket
        self.key = key
        self.holder = {"id": uuid4().hex, **this_process()}
        self.version = ""
        self.heartbeat = 0
        self.renewed_at = 0.0
        self.is_lost = False
        self._mutex = Lock()
        self._stop = Event()
        self._thread = Thread(target=self._renew_periodically, daemon=True)

    def acquire(self) -> None:
        """Wait for the lock and take it.

        Raises:
            StorageError: if another run holds it for longer than the timeout.
        """
        deadline = time.monotonic() + LOCK_TIMEOUT_SECONDS
        last_version: str | None = None
        changed_at = 0.0
        while True:
            version, holder = self._read()
            if version != last_version:
                last_version = version
                changed_at = time.monotonic()
            is_expired = time.monotonic() - changed_at > EXPIRY_SECONDS
            can_take = not holder or is_expired or is_dead(holder)
            condition = {"IfMatch": version} if version else {"IfNoneMatch": "*"}
            if can_take and self._write(**condition):
                break
            if time.monotonic() > deadline:
                raise self.bucket.lock_timeout_error()
            time.sleep(random.uniform(0.05, 0.3))  # noqa: S311 - jitter between waiting runs
        self._thread.start()

    def check(self, *, force_renewal: bool = False) -> None:
        """Renew the lock if the last renewal is old; raise if this run no longer holds it.

        Args:
            force_renewal: renew it even if the last renewal seems recent: if the machine was
                suspended since, the monotonic clock does not tell how long ago it was.

        Raises:
            StorageError: if another run has taken it over.
        """
        if not self.is_lost and (
            force_renewal or time.monotonic() - self.renewed_at > EXPIRY_SECONDS / 2
        ):
            self._renew()
        if self.is_lost:
            raise CommitConflictError(
                f"{self.bucket.root}: another run took over the lock, because this run did not "
                "renew it in time. Run again."
            )

    def release(self) -> None:
        """Release the lock, if this run still holds it.

        The object is overwritten and not deleted: a delete whose response is lost is retried, and
        would then remove the lock of the next holder.
        """
        self._stop.set()
        self._thread.join()
        with self.bucket.translate_errors(self.key):
            self.bucket.write(self.key, FREE, IfMatch=self.version)

    def _renew_periodically(self) -> None:
        while not self._stop.wait(EXPIRY_SECONDS / 4):
            with contextlib.suppress(StorageError):  # `check` tries again, and raises
                self._renew()

    def _renew(self) -> None:
        with self._mutex:
            if not self.is_lost and not self._write(IfMatch=self.version):
                self.is_lost = True

    def _write(self, **condition: str) -> bool:
        """Write the object on a condition; return whether this run now holds the lock."""
        self.heartbeat += 1
        written_at = time.monotonic()
        text = json.dumps({**self.holder, "beat": self.heartbeat}) + "\n"
        with self.bucket.translate_errors(self.key):
            version = self.bucket.write(self.key, text.encode(), **condition)
        if version is None:  # refused; perhaps only a retry, after a response was lost
            version, holder = self._read()
            if holder.get("id") != self.holder["id"]:
                return False
            if holder["beat"] != self.heartbeat:  # the object is an earlier write of this run
                written_at = self.renewed_at
        self.version, self.renewed_at = version, written_at
        return True

    def _read(self) -> tuple[str, dict[str, Any]]:
        """Return the version of the object, empty if there is none; the holder, empty if free."""
        text, version = self.bucket.read_if_exists(self.key)
        return version, json.loads(text or FREE)
