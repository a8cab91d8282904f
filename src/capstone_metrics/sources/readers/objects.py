"""Write columns as JSON objects, one line for each row, without a loop over the rows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

BACKSLASH, QUOTE, FIRST_PRINTABLE = ord("\\"), ord('"'), ord(" ")


def to_line(row: Mapping[str, Any] | str) -> bytes:
    """Return a row as a line of JSON."""
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def escape(texts: pa.Array, doubled: str = "") -> pa.Array:
    """Return texts as they stand between the quotes of a JSON string.

    Args:
        texts: without a null.
        doubled: an ASCII character that stands twice for itself in them; empty for none.
    """
    content = np.frombuffer(texts.buffers()[2] or b"", np.uint8)
    if doubled and (content == ord(doubled)).any():
        texts = pc.replace_substring(texts, doubled * 2, doubled)
    is_special = (content < FIRST_PRINTABLE) | (content == QUOTE) | (content == BACKSLASH)
    special = np.unique(content[is_special]).tolist()
    for byte in sorted(special, reverse=True):  # the backslash before what brings backslashes
        texts = pc.replace_substring(texts, chr(byte), json.dumps(chr(byte))[1:-1])
    return texts


def object_texts(names: Sequence[str], values: Sequence[pa.Array]) -> pa.Array:
    """Return one JSON object for each row, of its values as JSON."""
    return _objects(names, values, quote="", end="}")


def object_lines(names: Sequence[str], values: Sequence[pa.Array], *, are_quoted: bool) -> pa.Array:
    """Return one JSON object in a line for each row.

    Args:
        names: of the fields.
        values: of each field, as JSON; of strings only what stands between the quotes.
        are_quoted: whether the values are strings.
    """
    return _objects(names, values, quote='"' if are_quoted else "", end="}\n")


def _objects(names: Sequence[str], values: Sequence[pa.Array], quote: str, end: str) -> pa.Array:
    pieces, before = [], "{"
    for name, texts in zip(names, values, strict=True):
        key = json.dumps(name, ensure_ascii=False)
        pieces += [pa.scalar(f"{before}{key}:{quote}"), texts]
        before = f"{quote},"
    return pc.binary_join_element_wise(*pieces, pa.scalar(quote + end), "")


def content_of(texts: pa.Array) -> tuple[memoryview, NDArray[np.int32]]:
    """Return the bytes of texts without a null, one after another, and where each begins."""
    _, offsets, content = texts.buffers()
    starts = np.frombuffer(offsets, np.int32, len(texts) + 1, texts.offset * 4)
    return memoryview(content or b""), starts
