"""A lock in a bucket that survives the death of its holder."""

from __future__ import annotations

import contextlib
import json
import random
import time
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from capstone_metrics.errors import CapstoneError
from capstone_metrics.lake.process import is_dead, this_process
from capstone_metrics.lake.storage import SECONDS_TO_WAIT

if TYPE_CHECKING:
    from capstone_metrics.lake.bucket import Bucket

SECONDS = 20
"""How long a lock is respected whose holder does not renew it."""

FREE = b"{}\n"
"""What the object says while nobody holds the lock."""


class Lease:
    """An object that says who holds the lock, and that its holder writes again and again.

    Who waits takes it over if the same version of it has been there for `SECONDS`, by the clock of
    who waits, or if its holder was a process of this machine that lives no more.
    """

    def __init__(self, bucket: Bucket, key: str) -> None:
        self.bucket = bucket
        self.key = key
        self.holder = {"id": uuid4().hex, **this_process()}
        self.version = ""
        self.beat = 0
        self.renewed = 0.0
        self.is_lost = False
        self._mutex, self._end = Lock(), Event()
        self._thread = Thread(target=self._keep_up, daemon=True)

    def acquire(self) -> None:
        """Wait until the lock is ours.

        Raises:
            CapstoneError: if another run holds it for too long.
        """
        deadline = time.monotonic() + SECONDS_TO_WAIT
        seen, since = "", 0.0
        while True:
            version, holder = self._read()
            if version != seen:
                seen, since = version, time.monotonic()
            is_silent = time.monotonic() - since > SECONDS
            condition = {"IfMatch": version} if version else {"IfNoneMatch": "*"}
            if (not holder or is_silent or is_dead(holder)) and self._write(**condition):
                break
            if time.monotonic() > deadline:
                raise self.bucket.busy()
            time.sleep(random.uniform(0.05, 0.3))  # noqa: S311 - so that those who wait do not meet
        self._thread.start()

    def check(self, *, at_once: bool = False) -> None:
        """Make sure that the lock is still ours.

        Args:
            at_once: ask the store even if it was ours a moment ago. The clock of a machine that
                was asleep does not say how long ago that is.

        Raises:
            CapstoneError: if another run has taken it over.
        """
        if not self.is_lost and (at_once or time.monotonic() - self.renewed > SECONDS / 2):
            self._renew()
        if self.is_lost:
            raise CapstoneError(
                f"{self.bucket.root}: another run took over what this one was about to finish, "
                "because it did not answer for too long. Run again."
            )

    def release(self) -> None:
        """Give the lock back, if it is still ours.

        It is written over and not deleted: a delete whose answer is lost is sent again, and would
        then take the lock of who came next.
        """
        self._end.set()
        self._thread.join()
        with self.bucket.explained(self.key):
            self.bucket.write(self.key, FREE, IfMatch=self.version)

    def _keep_up(self) -> None:
        while not self._end.wait(SECONDS / 4):
            with contextlib.suppress(CapstoneError):  # it is told by `check`
                self._renew()

    def _renew(self) -> None:
        with self._mutex:
            if not self.is_lost and not self._write(IfMatch=self.version):
                self.is_lost = True

    def _write(self, **condition: str) -> bool:
        """Write the object on a condition; say whether it is ours now."""
        self.beat += 1
        at = time.monotonic()
        text = json.dumps({**self.holder, "beat": self.beat}) + "\n"
        with self.bucket.explained(self.key):
            version = self.bucket.write(self.key, text.encode(), **condition)
        if version is None:  # or it was written, and the answer got lost
            version, holder = self._read()
            if holder.get("id") != self.holder["id"]:
                return False
            at = at if holder["beat"] == self.beat else self.renewed
        self.version, self.renewed = version, at
        return True

    def _read(self) -> tuple[str, dict[str, Any]]:
        """The version of the object and who holds it; empty where there is none, or nobody."""
        text, version = self.bucket.found(self.key)
        return version, json.loads(text or FREE)
