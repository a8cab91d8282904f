from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from capstone_metrics.sources.absent_fields import SAMPLE_RECORDS, with_warnings
from capstone_metrics.sources.objects import NewObjects
from capstone_metrics.validation.silver import SILVER

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUIRED = {
    "faculdade": "canal.nome",
    "rede_social": {"constant": "kwai"},
    "data_postagem": "quando",
    "video_id": "id",
    "views": "n.views",
}
RECORD = {
    "id": "v1",
    "quando": "2026-01-20",
    "canal": {"nome": "A", "inscritos": 3},
    "n": {"views": 5},
    "tipo": "",
}


def warnings(
    caplog: pytest.LogCaptureFixture, *files: list[dict[str, Any]], **declaration: Any
) -> list[str]:
    """Return what is logged as files of a source are read, in chunks that end anywhere."""

    def chunks(content: bytes) -> Iterator[bytes]:
        yield from (content[start : start + 7] for start in range(0, len(content), 7))

    contents = ["".join(f"{json.dumps(each)}\n" for each in file).encode() for file in files]
    new = NewObjects(
        {f"fonte=x/{number}.jsonl": lambda c=c: chunks(c) for number, c in enumerate(contents)},
        contents={f"in/{number}": str(number) for number in range(len(files))},
    )
    fields = {**REQUIRED, **declaration.pop("fields", {})}
    declared = {"type": "files", "format": "jsonl", "fields": fields, **declaration}
    with caplog.at_level(logging.WARNING):
        objects = with_warnings("x", declared, declared, SILVER, new)
        assert [b"".join(each()) for each in objects.values()] == contents
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(
    ("declaration", "expected"),
    [
        ({"fields": {"likes": {"field": "n.like", "optional": True}}},
         "fields.likes: in/0 has no value at n.like, as far as its first records show; it has "
         "n.views."),
        ({"fields": {"posted_at": ["hora", "canal.hora.local"]}},
         "fields.posted_at: in/0 has no value at hora or canal.hora.local, as far as its first "
         "records show; it has id, quando, canal, n, tipo."),
        ({"fields": {"ingestion_ts": "canal.coletado"}},
         "fields.ingestion_ts: in/0 has no value at canal.coletado, as far as its first records "
         "show; it has canal.nome, canal.inscritos."),
        ({"only": {"tipo do post": "vídeo"}}, "only.tipo do post: in/0 has no value at tipo do "),
        ({"ignore": [{"tipo": "foto"}, {"perfil": "x"}]}, "ignore.perfil: in/0 has no value at "),
    ],
    ids=["optional", "alternatives", "time", "only", "ignore"],
)  # fmt: skip
def test_a_declared_field_that_no_record_has_is_reported_once(
    caplog: pytest.LogCaptureFixture, declaration: dict[str, Any], expected: str
) -> None:
    (warning,) = warnings(caplog, [RECORD], [RECORD], **declaration)
    assert warning.startswith(f"sources.x.{expected}")


@pytest.mark.parametrize(
    "declaration",
    [
        {},
        {"fields": {"categoria": "tipo"}},
        {"fields": {"posted_at": ["hora", "quando"]}},
        {"fields": {"likes": {"constant": 1}}},
        {"fields": {"likes": "n.like"}},
        {"only": {"tipo": "vídeo"}},
    ],
    ids=["none", "blank", "alternative", "constant", "required", "only"],
)
def test_a_field_that_is_there_or_required_is_not_reported(
    caplog: pytest.LogCaptureFixture, declaration: dict[str, Any]
) -> None:
    assert not warnings(caplog, [RECORD], **declaration)


def test_a_field_that_a_later_file_lacks_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    likes = {"likes": {"field": "n.likes", "optional": True}}
    with_likes = {**RECORD, "n": {"views": 5, "likes": 1}}
    (warning,) = warnings(caplog, [with_likes], [RECORD], fields=likes)
    assert "in/1 has no value at n.likes" in warning


def test_a_field_that_some_of_the_first_records_have_is_not_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    likes = {"likes": {"field": "n.likes", "optional": True}}
    with_likes = {**RECORD, "n": {"views": 5, "likes": 1}}
    rows = [RECORD] * (SAMPLE_RECORDS - 1)
    assert not warnings(caplog, [*rows, with_likes], fields=likes)


def test_no_record_lacks_no_field(caplog: pytest.LogCaptureFixture) -> None:
    likes = {"likes": {"field": "n.likes", "optional": True}}
    assert not warnings(caplog, [], [{}], fields=likes)
