"""Functions that Ibis lacks; the lake defines them on each engine.

None has a name that sqlglot knows, since sqlglot would replace it by a function of the engine: it
turns `json_keys` into Spark's `json_object_keys`, which does something else.
"""

import datetime as dt
import json
from collections.abc import Mapping

import ibis
import ibis.expr.datatypes as types
import ibis.expr.types as ir


@ibis.udf.scalar.builtin
def json_object_valid(line: str) -> bool:
    """Return whether a line is one JSON object, by the grammar of RFC 8259."""


@ibis.udf.scalar.builtin
def json_names(line: str) -> list[str]:
    """Return the keys of a valid object, including repetitions."""


@ibis.udf.scalar.builtin
def json_fields(line: str, fields: list[str]) -> list[str]:
    """Return the JSON text of each field of a valid object, `1.7`, `"12"`, …; null if absent."""


@ibis.udf.scalar.builtin
def json_kinds(line: str, fields: list[str]) -> list[str]:
    """Return the JSON type of each field of an object, as DuckDB names it; null if absent.

    A number that is not an integer is `DOUBLE`; so are NaN, Infinity and integers past 64 bits. The
    result is null for a line that is not JSON, has a NUL, or cannot be told from one cheaply.
    """


def json_values(line: ir.StringValue, shape: Mapping[str, types.DataType]) -> ir.StructValue:
    """Return the values of some fields of an object; null if absent or not of the given type.

    Args:
        line: the object; all values are null if it is not JSON.
        shape: the type of each field, by its name: `string`, `int64` or `float64`.
    """
    names = {"string": "VARCHAR", "int64": "BIGINT", "float64": "DOUBLE"}
    structure = json.dumps({field: names[str(kind)] for field, kind in shape.items()})
    signature = ((types.string, types.string), types.Struct(dict(shape)))

    def parse(line: ir.StringValue, structure: str) -> ir.StructValue:
        """Declared per call, since its return type depends on `shape`."""

    return ibis.udf.scalar.builtin(parse, name="json_values", signature=signature)(line, structure)


@ibis.udf.scalar.builtin
def present(values: list[str]) -> int:
    """Return how many of the values are not null."""


@ibis.udf.scalar.builtin
def json_unquoted(token: str) -> str:
    """Return the text of a JSON string."""


@ibis.udf.scalar.builtin
def local_to_utc(moment: dt.datetime, zone: str) -> dt.datetime:
    """Convert a local time to UTC. In a skipped or repeated hour, the offset before it applies."""


@ibis.udf.scalar.builtin
def utc_to_local(moment: dt.datetime, zone: str) -> dt.datetime:
    """Convert a UTC time to local time."""
