"""The functions that an engine gives besides those of Ibis; the lake defines them for each.

None has a name that sqlglot knows: it would call what it takes for the same on the engine, which
is another function. So `json_keys` becomes Spark's `json_object_keys`.
"""

import datetime as dt

import ibis


@ibis.udf.scalar.builtin
def json_object_valid(line: str) -> bool:
    """Whether a line is one JSON object, by the grammar of RFC 8259."""


@ibis.udf.scalar.builtin
def json_names(line: str) -> list[str]:
    """The keys of a valid object, as often as they stand in it."""


@ibis.udf.scalar.builtin
def json_fields(line: str, fields: list[str]) -> list[str]:
    """The JSON text of each field of a valid object: `1.7`, `true`, `"12"`; null where absent."""


@ibis.udf.scalar.builtin
def present(values: list[str]) -> int:
    """How many of some values are not null."""


@ibis.udf.scalar.builtin
def json_unquoted(token: str) -> str:
    """The text that a JSON string stands for."""


@ibis.udf.scalar.builtin
def local_to_utc(moment: dt.datetime, zone: str) -> dt.datetime:
    """The UTC time of a local time. An hour that is skipped or repeated counts as before it."""


@ibis.udf.scalar.builtin
def utc_to_local(moment: dt.datetime, zone: str) -> dt.datetime:
    """The local time of a UTC time."""
