"""The tables of Silver: what users read, and the indexes beside it."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import ibis

from capstone_metrics.validation import silver as validation

if TYPE_CHECKING:
    from collections.abc import Mapping

QUARANTINE = ibis.schema(validation.QUARANTINE)
"""One row per rejected line: its object and line number, and the rules that it broke.

`quando` is the start of its window. `texto` is the line; if it is not valid UTF-8, `texto_base64`
has its bytes instead.
"""

GAINS = {"views": "views_ganhas", "likes": "likes_ganhos", "comentarios": "comentarios_ganhos"}
"""The column that has what a counter gained, by the name of the counter."""

DAY_PROVENANCE = ibis.schema(
    {
        name: validation.OBSERVATION[name]
        for name in (
            *("data_observacao", "rede_social", "video_id", "ingestion_ts", *validation.LINE),
            "linhas_somadas",
        )
    }
)
"""The line of Bronze that each row of `observacao_dia` comes from, and its observation time.

If that is of a source of increments by day, `linhas_somadas` is how many lines the row sums, of
which it is the last; otherwise that is 0.
"""

PROVENANCE = ibis.schema(
    {
        name: validation.OBSERVATION[name]
        for name in ("rede_social", "data_postagem", "video_id", "ingestion_ts", *validation.LINE)
    }
)
"""The line of Bronze that each row of `criacao` comes from, and its observation time.

The observations of a video are ordered by `ingestion_ts`, then by `objeto` and `linha`.
"""

LINE_OUTCOMES = ("current", "superseded", "quarantined", "ignored", "withdrawn")
"""What becomes of the lines of Bronze; the counts of these add up to all lines."""

VIDEO_KEY = ["rede_social", "video_id"]
"""What identifies a video: an id is unique within a network, and not across them."""

LATEST_GAIN = "views_ganhas_7d"

VIDEO_INDEX = ibis.schema(
    {"shard": "string", "video_id": "string", "rede_social": "string", "data_postagem": "date"}
)
"""The partition that each video is in. `shard` is the first digit of the MD5 of `video_id`."""

DAYS = {"criacao": "data_postagem", "observacao_dia": "data_observacao"}
"""The tables of Silver that Gold is built from, and the column that says which day a row is of."""


PROVENANCE_OF = {"criacao": "provenance", "observacao_dia": "day_provenance"}
"""The index of the lines of Bronze that the rows of a table come from, by the name of the table."""


def observacao_dia_of(columns: Mapping[str, str]) -> ibis.Schema:
    """Return the schema of the last observation of each video and local day.

    A gain is what came since the last day before on which the video was observed, `dias` ago. A row
    of increments has gains alone, and no counters.

    Args:
        columns: the types of the columns of Silver.
    """
    names = ("data_observacao", "faculdade", "rede_social", "video_id", "data_postagem")
    counters = (*GAINS, *GAINS.values(), "dias")
    return ibis.schema(
        {
            **{name: validation.OBSERVATION[name] for name in names},
            **dict.fromkeys(counters, "int64"),
            "ingestion_ts": validation.OBSERVATION["ingestion_ts"],
            **dict.fromkeys(validation.declared_counters(columns), "int64"),
        }
    )


def silver_tables(columns: Mapping[str, str]) -> dict[str, ibis.Schema]:
    """Return the schemas of the tables of Silver, by name.

    `criacao` has the latest of each video, `observacao_dia` the last of each day, and `quarentena`
    the rejected lines. `provenance` and `day_provenance` have the line of Bronze that each row
    comes from, and `video_index` the day that each video is on.

    Args:
        columns: the types of the columns of Silver.
    """
    return {
        "criacao": ibis.schema(columns),
        "observacao_dia": observacao_dia_of(columns),
        "quarentena": QUARANTINE,
        "provenance": PROVENANCE,
        "day_provenance": DAY_PROVENANCE,
        "video_index": VIDEO_INDEX,
    }


def mart_tables(columns: Mapping[str, str]) -> dict[str, ibis.Schema]:
    """Return the schemas of the rows that marts may be counted from, by the name of their table.

    A row of `observacao_dia` also says whether it is of a new post (`posts`, 1 or 0). A `video` is
    a row of `criacao`, with the hour of its posting, its views 7 days after that, and those that it
    gained in the 7 days that end with its last observation. These columns are not stored.

    Args:
        columns: the types of the columns of Silver.
    """
    return _mart_tables(tuple(columns.items()))


@lru_cache(maxsize=8)
def _mart_tables(items: tuple[tuple[str, str], ...]) -> dict[str, ibis.Schema]:
    columns, computed = dict(items), ("hora_postagem", "views_7d", LATEST_GAIN)
    return {
        "criacao": ibis.schema(columns),
        "observacao_dia": ibis.schema({**observacao_dia_of(columns), "posts": "int64"}),
        "video": ibis.schema({**columns, **dict.fromkeys(computed, "int64")}),
    }
