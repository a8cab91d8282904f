"""Remove a lake: its own layers, and nothing else that lies in its folder or under its prefix."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from capstone_metrics.lake.transaction import GOLD, SILVER
from capstone_metrics.storage.staging import abandoned_keys

if TYPE_CHECKING:
    from capstone_metrics.storage.base import Storage

LAYERS = ("gold", "silver", "bronze", "operations")
"""The folders of a lake, in the order in which they are removed: each is built from a later one."""


def remove_lake(storage: Storage) -> None:
    """Remove the layers of a lake, while no run commits to one.

    Raises:
        CapstoneError: if a run holds the lock of a layer for too long.
    """
    with ExitStack() as locks:
        for layer in LAYERS:
            locks.enter_context(storage.locked(layer))
        storage.delete([layer.head for layer in (GOLD, SILVER)])  # they say what a layer has
        for layer in LAYERS:
            storage.delete(storage.keys(layer))
            storage.delete(abandoned_keys(storage, layer))
