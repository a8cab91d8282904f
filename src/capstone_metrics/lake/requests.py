"""How many requests this process made of an object store."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_made: Counter[str] = Counter()
_engines: dict[int, Callable[[], dict[str, int]]] = {}


def count_requests(events: Any) -> None:
    """Count the requests of a client of boto3 or of s3fs, retries included, by its events."""
    events.register("before-send.s3", _count)


def count_reads(engine: int, reads: Callable[[], dict[str, int]]) -> None:
    """Count the requests of an engine.

    Args:
        engine: which one it is; it is counted once.
        reads: gives its requests by kind since the last call.
    """
    _engines[engine] = reads


def requests_made() -> Counter[str]:
    """The requests so far, by their kind: LIST, HEAD, GET, PUT, DELETE."""
    for reads in _engines.values():
        _made.update(reads())
    return _made.copy()


def _count(request: Any, **_: Any) -> None:
    is_list = request.method == "GET" and "list-type=" in request.url
    is_delete = request.method == "POST" and "delete" in request.url
    _made["LIST" if is_list else "DELETE" if is_delete else request.method] += 1
