"""The functions that an engine gives besides those of Ibis; the lake defines them for each.

None has a name that sqlglot knows: it would call what it takes for the same on the engine, which
is another function. So `json_keys` becomes Spark's `json_object_keys`.
"""

import datetime as dt
import json
from collections.abc import Mapping

import ibis
import ibis.expr.datatypes as types
import ibis.expr.types as ir


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
def json_kinds(line: str, fields: list[str]) -> list[str]:
    """The kind of each field of an object, as DuckDB calls it; null where absent.

    A number that is no whole one is `DOUBLE`; so are NaN, Infinity and one past 64 bits. There are
    none of a line that is not JSON, and none where that, or a NUL in it, is not plain to see.
    """


def json_values(line: ir.StringValue, shape: Mapping[str, types.DataType]) -> ir.StructValue:
    """The values of some fields of an object; null where one is absent or not of its type.

    Args:
        line: JSON or not, of which the values are all null.
        shape: by the name of the field `string`, `int64` or `float64`.
    """
    names = {"string": "VARCHAR", "int64": "BIGINT", "float64": "DOUBLE"}
    said = json.dumps({field: names[str(kind)] for field, kind in shape.items()})
    signature = ((types.string, types.string), types.Struct(dict(shape)))

    def taken(line: ir.StringValue, said: str) -> ir.StructValue:
        """Declared here, for its type is that of the call."""

    return ibis.udf.scalar.builtin(taken, name="json_values", signature=signature)(line, said)


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
