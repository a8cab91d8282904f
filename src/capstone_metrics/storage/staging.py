"""Names of staged objects, which tell who staged them, so that those of dead writers are swept."""

from __future__ import annotations

import datetime as dt
import os
import re
import socket
from typing import TYPE_CHECKING
from uuid import uuid4

from capstone_metrics.storage.base import TEMPORARY
from capstone_metrics.storage.process import is_dead, is_local

if TYPE_CHECKING:
    from capstone_metrics.storage.base import Storage

SINGLE_OBJECT = "object"
"""The name that replaces the layer's for an object that is staged outside of a commit."""

ABANDONED_AFTER = dt.timedelta(days=1)
"""After this time, what another machine staged is swept: whether its writer lives is not known."""

TIME = "%Y%m%dT%H%M%SZ"
NAME = re.compile(rf"{TEMPORARY}/(\w+)-(\d{{8}}T\d{{6}}Z)-(\d+)-[0-9a-f]+-(.+)~")


def staging_prefix(layer: str) -> str:
    """Return a new prefix of staged keys: the layer, the time, the process and the host."""
    now = dt.datetime.now(dt.UTC).strftime(TIME)
    writer = f"{layer}-{now}-{os.getpid()}-{uuid4().hex[:8]}-{socket.gethostname()}"
    return f"{TEMPORARY}/{writer}~"


def abandoned_keys(storage: Storage, layer: str) -> list[str]:
    """Return the keys that dead processes staged for a layer, or for a single object."""
    return [key for key in storage.keys(TEMPORARY) if _is_abandoned(key, layer)]


def _is_abandoned(key: str, layer: str) -> bool:
    name = NAME.match(key)
    if not name or name[1] not in {layer, SINGLE_OBJECT}:
        return False
    begun = dt.datetime.strptime(name[2], TIME).replace(tzinfo=dt.UTC)
    writer = {"host": name[4], "pid": int(name[3]), "latest_start": begun.timestamp()}
    if is_local(writer):
        return is_dead(writer)
    return dt.datetime.now(dt.UTC) - begun > ABANDONED_AFTER
