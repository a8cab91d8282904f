"""The tables of the platform: the columns of Silver and its quarantine, and the declared marts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import ibis
import ibis.expr.datatypes as dt

from capstone_metrics.errors import CapstoneError

SILVER = ibis.schema(
    {
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
)
"""One row a video. Counters are whole numbers, `duracao_seg` seconds, `ctr_estimado` percent."""

REQUIRED = (
    "faculdade",
    "rede_social",
    "data_postagem",
    "video_id",
    "views",
    "likes",
    "comentarios",
)
"""The fields of Silver without which a line is quarantined."""

QUARANTINE = ibis.schema(
    {
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
)
"""One rejected line: the object and line that it came from, the rules that it broke, and when.

`texto` is the line; a line that is not UTF-8 has its bytes in `texto_base64` instead.
"""

PLACES = ibis.schema(
    {
        "rede_social": "string",
        "data_postagem": "date",
        "video_id": "string",
        "ingestion_ts": "timestamp('UTC', 6)",
        "objeto": "string",
        "linha": "int64",
    }
)
"""The line of Bronze that each row of Silver comes from: what decides which of two is later."""

LOCATOR = ibis.schema(
    {"shard": "string", "video_id": "string", "rede_social": "string", "data_postagem": "date"}
)
"""The partition that each video is in. `shard` is the start of the MD5 of `video_id`."""

TABLES = {
    "silver_criacao": SILVER,
    "silver_quarentena": QUARANTINE,
    "silver_places": PLACES,
    "silver_locator": LOCATOR,
}

AGGREGATES = ("sum", "count")
RESERVED = ("gold_before", "gold_manifest", "gold_plan", "gold_planned")
LONGEST_COLUMN, LONGEST_NAME = 63, 50
"""What PostgreSQL takes, in bytes, and that less the room that a publication needs."""


@dataclass(frozen=True)
class Mart:
    """A declared table of Gold: its key, and its measures as (name, aggregate, column)."""

    name: str
    key: tuple[str, ...]
    measures: tuple[tuple[str, str, str], ...]

    @classmethod
    def of(cls, name: str, declaration: Mapping[str, Any]) -> Mart:
        """Read a declaration: `key: [column, …]`, `measures: {name: {aggregate: column}}`.

        Raises:
            CapstoneError: for a name, key or measure that does not fit Silver.
        """
        if not (name.startswith("gold_") and name.isidentifier() and name.islower()):
            raise CapstoneError(
                f"marts.{name}: a mart is named gold_ and lower-case letters, digits and _."
            )
        if name in RESERVED or len(name.encode()) > LONGEST_NAME:
            raise CapstoneError(
                f"marts.{name}: choose another name, of at most {LONGEST_NAME} bytes; "
                f"{', '.join(RESERVED)} have a meaning already."
            )
        said = declaration if isinstance(declaration, Mapping) else {}
        declared, rules = said.get("key"), said.get("measures")
        key = tuple(map(str, declared)) if isinstance(declared, list | tuple) else ()
        measures = tuple(
            (str(measure), *_aggregate(name, measure, rule))
            for measure, rule in (rules.items() if isinstance(rules, Mapping) else ())
        )
        fitting = [column for column in SILVER if _is_key(SILVER[column])]
        if not key or not set(key) <= set(fitting) or len(set(key)) < len(key):
            raise CapstoneError(
                f"marts.{name}.key: {declared!r} must be a list of different text, date or "
                f"whole-number columns of Silver ({', '.join(fitting)})."
            )
        if not measures:
            raise CapstoneError(
                f"marts.{name}.measures: declare at least one, {{name: {{sum: views}}}}."
            )
        return cls(name, key, measures)

    @property
    def rules(self) -> dict[str, dict[str, str]]:
        """The measures as they are declared: {name: {aggregate: column}}."""
        return {name: {aggregate: column} for name, aggregate, column in self.measures}

    @property
    def needs(self) -> set[str]:
        """The columns of Silver that it is made from."""
        return {*self.key, *(column for _, _, column in self.measures)}

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the mart, in order: its key, then its measures."""
        return (*self.key, *(measure for measure, _, _ in self.measures))


def marts_of(declarations: Mapping[str, Any]) -> dict[str, Mart]:
    """Read every declared mart, by name.

    Raises:
        CapstoneError: for the first declaration that does not hold.
    """
    if not isinstance(declarations, Mapping) or not declarations:
        raise CapstoneError("marts: declare at least one mart, by its key and measures.")
    return {name: Mart.of(name, declaration) for name, declaration in declarations.items()}


def gold_type(column: str) -> dt.DataType:
    """The type of a column of Gold: a key's is that of Silver, a measure's a whole number."""
    return SILVER.get(column, dt.int64)


def _is_key(kind: dt.DataType) -> bool:
    return bool(kind.is_string() or kind.is_date() or kind.is_integer())


def _aggregate(mart: str, measure: str, rule: Any) -> tuple[str, str]:
    known = f"write {{sum: views}} or {{count: video_id}}, not {rule!r}."
    if not str(measure).isidentifier() or measure in SILVER:
        raise CapstoneError(
            f"marts.{mart}.measures: {measure!r} must be a name of its own, not a column of Silver."
        )
    if len(str(measure).encode()) > LONGEST_COLUMN:
        raise CapstoneError(
            f"marts.{mart}.measures: {measure!r} is longer than the {LONGEST_COLUMN} bytes that "
            "PostgreSQL takes."
        )
    if not isinstance(rule, dict) or len(rule) != 1:
        raise CapstoneError(f"marts.{mart}.measures.{measure}: {known}")
    ((aggregate, column),) = ((str(word), str(column)) for word, column in rule.items())
    if aggregate not in AGGREGATES or column not in SILVER:
        raise CapstoneError(f"marts.{mart}.measures.{measure}: {known}")
    if aggregate == "sum" and not SILVER[column].is_integer():
        raise CapstoneError(
            f"marts.{mart}.measures.{measure}: {column} is not a whole number, so it has no sum "
            "that Gold can hold exactly."
        )
    return aggregate, column


@dataclass(frozen=True)
class Terms:
    """What a publication may do.

    Attributes:
        max_shrink_pct: by how many percent the rows or a total of a mart may be less than in the
            publication before.
        changes_kept_days: for how many days it is kept which keys a publication changed.
        allow_shrink: whether a mart may be empty, end, or shrink by more than that.
    """

    max_shrink_pct: float = 20
    changes_kept_days: int = 90
    allow_shrink: bool = False

    @classmethod
    def of(cls, declared: Mapping[str, Any], allow_shrink: Any) -> Terms:
        """Read the parameters `publication` and `allow_shrink`.

        Raises:
            CapstoneError: for one that does not hold.
        """
        said = declared if isinstance(declared, Mapping) else {}
        shrink: Any = said.get("max_shrink_pct")
        days: Any = said.get("changes_kept_days")
        if not _is_number(shrink, int, float) or not 0 <= shrink <= 100:  # noqa: PLR2004
            raise CapstoneError(
                f"publication.max_shrink_pct: {shrink!r} must be a percentage from 0 to 100."
            )
        if not _is_number(days, int) or days < 1:
            raise CapstoneError(
                f"publication.changes_kept_days: {days!r} must be a whole number of days."
            )
        if not isinstance(allow_shrink, bool):
            raise CapstoneError(f"allow_shrink: {allow_shrink!r} must be true or false.")
        return cls(shrink, days, allow_shrink)


def _is_number(value: Any, *kinds: type) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)


@dataclass(frozen=True)
class Publication:
    """Gold on its way to the serving database.

    Attributes:
        manifest: of Gold.
        marts: the declared marts, by name.
        files: the CSV of each; one that is not the manifest's is refused when it is asked for.
        terms: what the publication may do.
        versions: what changes whenever a file does, where that is known.
    """

    manifest: dict[str, Any]
    marts: dict[str, Mart]
    files: Mapping[str, bytes]
    terms: Terms = field(default_factory=Terms)
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def tables(self) -> dict[str, dict[str, Any]]:
        """Of each mart its `rows`, and of its `columns` the types by their names."""
        return {
            name: {
                "rows": self.manifest["marts"][name]["rows"],
                "columns": {column: str(gold_type(column)) for column in mart.columns},
            }
            for name, mart in self.marts.items()
        }
