"""Remove a lake: its own layers, and nothing else that lies in its folder or under its prefix."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from capstone_metrics.lake.storage import Storage

LAYERS = ("gold", "silver", "bronze", "operations")
"""The folders of a lake, in the order in which they are removed: each is built from a later one."""

HEADS = ("gold/manifest.json", "silver/head.json")
"""The objects that say what a layer has; they are removed before it."""


def remove_lake(storage: Storage) -> None:
    """Remove the layers of a lake, while no run commits to one.

    Raises:
        CapstoneError: if a run holds the lock of a layer for too long.
    """
    with ExitStack() as locks:
        for layer in LAYERS:
            locks.enter_context(storage.locked(layer))
        storage.delete([head for head in HEADS if storage.exists(head)])
        for layer in LAYERS:
            storage.delete(storage.keys(layer))
            storage.sweep(layer)
