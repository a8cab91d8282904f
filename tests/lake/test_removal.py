"""A lake is removed without what lies beside its layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from capstone_metrics.errors import CapstoneError
from capstone_metrics.lake.removal import remove_lake
from capstone_metrics.storage import folder
from capstone_metrics.storage.folder import Folder

if TYPE_CHECKING:
    from pathlib import Path

    from capstone_metrics.storage.base import Storage

OURS = ("gold/manifest.json", "gold/gold_x.csv", "silver/head.json", "bronze/criacao/a.jsonl")
OTHERS = ("exports/a.csv", "escola/gold/gold_x.csv", "gold.csv", "bronze-before/a.jsonl")


def test_only_the_layers_of_a_lake_are_removed(storage: Storage) -> None:
    for key in (*OURS, *OTHERS, "operations/runs/a.json"):
        storage.create(key, [b"x"])

    remove_lake(storage)

    assert [key for key in storage.keys("") if not key.startswith("_tmp/")] == sorted(OTHERS)
    remove_lake(storage)


def test_a_lake_to_which_a_run_commits_is_not_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "LOCK_TIMEOUT_SECONDS", 0)
    storage = Folder(tmp_path)
    storage.create(OURS[0], [b"x"])

    with storage.locked("gold"), pytest.raises(CapstoneError, match="Another run has been writing"):
        remove_lake(Folder(tmp_path))
    assert storage.read(OURS[0]) == b"x"
