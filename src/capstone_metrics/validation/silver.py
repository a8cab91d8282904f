"""The columns of Silver and of its quarantine, with their types and what else is required."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from capstone_metrics.errors import ConfigError, unknown_name

SILVER = {
    "faculdade": "string",
    "rede_social": "string",
    "data_postagem": "date",
    "posted_at": "timestamp(6)",
    "video_id": "string",
    "titulo_video": "string",
    "categoria": "string",
    "duracao_seg": "int64",
    "views": "int64",
    "likes": "int64",
    "comentarios": "int64",
    "engagement_rate": "float64",
    "leads_estimados": "int64",
    "ctr_estimado": "float64",
    "run_id": "string",
    "ingestion_ts": "timestamp('UTC', 6)",
}
"""The type of each column that every Silver has.

`duracao_seg` is in seconds, `ctr_estimado` in percent.
"""

OBSERVATION = {
    "rede_social": "string",
    "video_id": "string",
    "data_observacao": "date",
    "faculdade": "string",
    "data_postagem": "date",
    "views": "int64",
    "likes": "int64",
    "comentarios": "int64",
    "ingestion_ts": "timestamp('UTC', 6)",
    "objeto": "string",
    "linha": "int64",
    "linhas_somadas": "int64",
}
"""The type of each column of an observation that is the last of its video on a local day.

`objeto` and `linha` are the line of Bronze that it comes from. If that is of a source of increments
by day, `linhas_somadas` is how many such lines it stands for, and its counters are increments;
otherwise that is 0.
"""

LINE = ("data_observacao", "objeto", "linha")
"""The local day of an observation, and the object and line number in Bronze that it comes from."""

DAILY_COLUMNS = (
    *("faculdade", "rede_social", "video_id", "data_observacao"),
    *("views", "likes", "comentarios", "ingestion_ts"),
)
"""The columns that a source of increments by day may declare."""

TIMES = ("date", "timestamp(6)", "timestamp('UTC', 6)")
"""The types of dates and times."""

NUMBERS = ("int64", "float64")

REQUIRED = ("faculdade", "rede_social", "data_postagem", "video_id", "views")
"""The columns that every source declares, and every accepted line has a value for."""

REQUIRED_DAILY = ("faculdade", "rede_social", "data_observacao", "video_id", "views")
"""The same of a source of increments by day."""

LIFETIME, PERIOD, DAILY = KINDS_OF_COUNTERS = ("lifetime", "period", "daily")
"""What counters count: all since the posting, what came in a period, or what came on a day."""

REQUIRED_IF_DECLARED = ("likes", "comentarios")
"""The columns that a line has a value for unless its source leaves them out, or says otherwise."""

COUNTERS = ("views", "likes", "comentarios")
"""The columns that are never negative, but as increments; so are declared ones of whole numbers."""

NAMES = ("faculdade", "categoria")
"""The columns of names, which are compared: without blanks around them, and normalised (NFC)."""

NEVER_BLANK = (*NAMES, "video_id")
"""The columns in which a blank text counts as missing."""

QUARANTINE = {
    "fonte": "string",
    "janela": "string",
    "lote": "string",
    "objeto": "string",
    "linha": "int64",
    "regras": "array<string>",
    "quando": "string",
    "texto": "string",
    "texto_base64": "string",
}
"""The type of each column of the quarantine, which has the rejected lines.

`regras` are the rules that the line broke, and `quando` is the start of its window. `texto` is the
line; if it is not valid UTF-8, `texto_base64` has its bytes instead.
"""

DECLARABLE_TYPES = ("int64", "float64", "string", "date")

COMPUTED = (
    *("views_ganhas", "likes_ganhos", "comentarios_ganhos", "dias", "posts"),
    *("hora_postagem", "views_7d", "views_ganhas_7d", "shard"),
)
"""The columns that tables of Silver and of marts have besides."""

RESERVED = frozenset(
    (
        *("rank", "first", "last", "number", "is_new", "follows_new", "previous_is_new"),
        *("previous_data_observacao", "previous_views", "previous_likes", "previous_comentarios"),
        *("counted_views_ganhas", "counted_likes_ganhos", "counted_comentarios_ganhos"),
        "follows_new_daily_lines",
        *("tableoid", "ctid", "xmin", "xmax", "cmin", "cmax", "oid"),
    )
)
"""The names that nodes, and PostgreSQL, have for columns of their own."""

JOINED = frozenset(f"{name}_right" for name in (*SILVER, *OBSERVATION))
"""The names that a join gives to columns of its right side."""

MAX_COLUMN_BYTES = 63
"""The longest name that PostgreSQL allows."""


def columns_of(declared: Any) -> dict[str, str]:
    """Return the type of each column of Silver: those that it always has, then the declared ones.

    Args:
        declared: the types of the declared columns, by name.

    Raises:
        ConfigError: if a name or a type cannot be one.
    """
    if not isinstance(declared, Mapping):
        raise ConfigError(
            f"columns: {declared!r} must be {{name: type}}, such as {{alcance: int64}}."
        )
    for name, kind in declared.items():
        if not (isinstance(name, str) and name.isidentifier() and name.islower()):
            raise ConfigError(f"columns.{name}: name a column by lower-case letters, digits and _.")
        if len(name.encode()) > MAX_COLUMN_BYTES:
            raise ConfigError(
                f"columns.{name}: the name is longer than the {MAX_COLUMN_BYTES} bytes that "
                "PostgreSQL takes."
            )
        if name in {*SILVER, *OBSERVATION, *QUARANTINE, *COMPUTED, *RESERVED, *JOINED}:
            raise ConfigError(
                f"columns.{name}: there is such a column already, or the name is reserved; choose "
                "another one."
            )
        if kind not in DECLARABLE_TYPES:
            raise unknown_name(f"columns.{name}", kind, DECLARABLE_TYPES)
    return {**SILVER, **declared}


def declared_columns(columns: Mapping[str, str]) -> dict[str, str]:
    """Return the types of those columns that not every Silver has."""
    return {name: kind for name, kind in columns.items() if name not in SILVER}


def declared_counters(columns: Mapping[str, str]) -> list[str]:
    """Return the declared columns of whole numbers, which are observed on each day anew."""
    return [name for name, kind in declared_columns(columns).items() if kind == "int64"]


def columns_for(counters: Any, columns: Mapping[str, str]) -> Mapping[str, str]:
    """Return the types of the columns that a source may declare.

    Args:
        counters: what its counters count.
        columns: the types of the columns of Silver.
    """
    if counters != DAILY:
        return columns
    return {name: OBSERVATION[name] for name in DAILY_COLUMNS}


def required_columns(counters: Any) -> tuple[str, ...]:
    """Return the columns that a source declares, by what its counters count."""
    return REQUIRED_DAILY if counters == DAILY else REQUIRED
