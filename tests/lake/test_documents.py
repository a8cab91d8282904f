from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from kedro.io import DatasetError

from capstone_metrics.lake.documents import JsonDocumentDataset

if TYPE_CHECKING:
    from pathlib import Path

KEY = "operations/alerts.json"


def document(root: Path) -> JsonDocumentDataset:
    return JsonDocumentDataset(path=str(root), key=KEY)


def test_a_document_is_empty_before_its_first_save(tmp_path: Path) -> None:
    assert not document(tmp_path).exists()
    assert document(tmp_path).load() == {}
    assert list(tmp_path.iterdir()) == []


def test_the_last_save_wins_and_a_person_can_read_it(tmp_path: Path) -> None:
    document(tmp_path).save({"a": 1})
    document(tmp_path).save({"é": ["a", None, True], "n": 2**60})
    assert document(tmp_path).exists()
    assert document(tmp_path).load() == {"é": ["a", None, True], "n": 2**60}
    assert (tmp_path / KEY).read_bytes() == (
        '{\n  "é": [\n    "a",\n    null,\n    true\n  ],\n  "n": 1152921504606846976\n}\n'
    ).encode()


@pytest.mark.parametrize("broken", [b"", b"{", b"\xff", b"[]"])
def test_a_document_that_someone_broke_is_named(tmp_path: Path, broken: bytes) -> None:
    document(tmp_path).save({})
    (tmp_path / KEY).write_bytes(broken)
    with pytest.raises(DatasetError, match=r"alerts\.json: is not valid JSON of an object"):
        document(tmp_path).load()
