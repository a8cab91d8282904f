"""Schemas: the tables of Silver and its quarantine, the declared marts, and a publication."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import ibis
import ibis.expr.datatypes as dt

from capstone_metrics.errors import ConfigError
from capstone_metrics.validation import silver as validation

SILVER = ibis.schema(validation.SILVER)
"""One row per video. `duracao_seg` is in seconds, `ctr_estimado` in percent."""

REQUIRED, REQUIRED_IF_DECLARED = validation.REQUIRED, validation.REQUIRED_IF_DECLARED
"""The fields of Silver that every accepted line has; the latter unless a source leaves them out."""

QUARANTINE = ibis.schema(validation.QUARANTINE)
"""One row per rejected line: its object and line number, and the rules that it broke.

`quando` is the start of its window. `texto` is the line; if it is not valid UTF-8, `texto_base64`
has its bytes instead.
"""

ROWS = ibis.schema({**SILVER, "objeto": "string", "linha": "int64"})
"""A row of Silver, and the object and line number in Bronze that it comes from."""

PROVENANCE = ibis.schema(
    {
        "rede_social": "string",
        "data_postagem": "date",
        "video_id": "string",
        "ingestion_ts": "timestamp('UTC', 6)",
        "objeto": "string",
        "linha": "int64",
    }
)
"""The line of Bronze that each row of Silver comes from, and its observation time.

The observations of a video are ordered by `ingestion_ts`, then by `objeto` and `linha`.
"""

LINE_OUTCOMES = ("current", "superseded", "quarantined", "ignored", "withdrawn")
"""What becomes of the lines of Bronze; the counts of these add up to all lines."""

VIDEO_KEY = ["rede_social", "video_id"]
"""What identifies a video: an id is unique within a network, and not across them."""

VIDEO_INDEX = ibis.schema(
    {"shard": "string", "video_id": "string", "rede_social": "string", "data_postagem": "date"}
)
"""The partition that each video is in. `shard` is the first digit of the MD5 of `video_id`."""

TABLES = {
    "silver_criacao": SILVER,
    "silver_quarentena": QUARANTINE,
    "silver_provenance": PROVENANCE,
    "silver_video_index": VIDEO_INDEX,
}

AGGREGATES = ("sum", "count")
RESERVED_NAMES = ("gold_snapshot",)
MAX_COLUMN_BYTES = 63
"""The longest name that PostgreSQL allows."""

MAX_MART_NAME_BYTES = 50
"""The longest name of a mart: a publication makes longer names of it, such as `staged_gold_…`."""


class Measure(NamedTuple):
    """A measure of a mart: its name, and the aggregate of a column of Silver that it is."""

    name: str
    aggregate: str
    column: str


@dataclass(frozen=True)
class Mart:
    """A declared table of Gold.

    Attributes:
        name: the name of its file and its table, `gold_…`.
        key: the columns that identify a row, in order.
        measures: its measures, in order.
    """

    name: str
    key: tuple[str, ...]
    measures: tuple[Measure, ...]

    @classmethod
    def of(cls, name: str, declaration: Mapping[str, Any]) -> Mart:
        """Parse a declaration: `key: [column, …]`, `measures: {name: {aggregate: column}}`.

        Raises:
            ConfigError: if the name, the key or a measure is invalid.
        """
        if not (name.startswith("gold_") and name.isidentifier() and name.islower()):
            raise ConfigError(
                f"marts.{name}: a mart is named gold_ and lower-case letters, digits and _."
            )
        if name in RESERVED_NAMES or len(name.encode()) > MAX_MART_NAME_BYTES:
            raise ConfigError(
                f"marts.{name}: choose another name, of at most {MAX_MART_NAME_BYTES} bytes; "
                f"{', '.join(RESERVED_NAMES)} is reserved."
            )
        options = declaration if isinstance(declaration, Mapping) else {}
        key_columns = options.get("key")
        measure_rules = options.get("measures")
        key = tuple(map(str, key_columns)) if isinstance(key_columns, list | tuple) else ()
        rules = measure_rules if isinstance(measure_rules, Mapping) else {}
        measures = tuple(_parse_measure(name, measure, rule) for measure, rule in rules.items())
        allowed = [column for column in SILVER if _is_key_type(SILVER[column])]
        if not key or not set(key) <= set(allowed) or len(set(key)) < len(key):
            raise ConfigError(
                f"marts.{name}.key: {key_columns!r} must be a list of distinct text, date or "
                f"whole-number columns of Silver ({', '.join(allowed)})."
            )
        if not measures:
            raise ConfigError(
                f"marts.{name}.measures: declare at least one, such as "
                "{total_views: {sum: views}}."
            )
        return cls(name, key, measures)

    @property
    def declared_measures(self) -> dict[str, dict[str, str]]:
        """The measures in the form of a declaration: {name: {aggregate: column}}."""
        return {each.name: {each.aggregate: each.column} for each in self.measures}

    def may_be_null(self, column: str) -> bool:
        """Return whether a column has no value where no value that it sums is known."""
        return any(
            measure.name == column and measure.aggregate == "sum" and measure.column not in REQUIRED
            for measure in self.measures
        )

    @property
    def source_columns(self) -> set[str]:
        """The columns of Silver that the mart is computed from."""
        return {*self.key, *(measure.column for measure in self.measures)}

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, in order: the key, then the measures."""
        return (*self.key, *self.measure_names)

    @property
    def measure_names(self) -> tuple[str, ...]:
        """The names of the measures, in order."""
        return tuple(measure.name for measure in self.measures)


def marts_of(declarations: Mapping[str, Any]) -> dict[str, Mart]:
    """Parse the declarations of all marts, by name.

    Raises:
        ConfigError: for the first invalid declaration.
    """
    if not isinstance(declarations, Mapping) or not declarations:
        raise ConfigError("marts: declare at least one mart, by its key and measures.")
    return {name: Mart.of(name, declaration) for name, declaration in declarations.items()}


def gold_type(column: str) -> dt.DataType:
    """Return the type of a column of Gold: a key has its type in Silver, a measure is an int64.

    No measure has the name of a column of Silver.
    """
    return SILVER.get(column, dt.int64)


def _is_key_type(kind: dt.DataType) -> bool:
    return bool(kind.is_string() or kind.is_date() or kind.is_integer())


def _parse_measure(mart: str, measure: str, rule: Any) -> Measure:
    """Parse a measure of a mart by its name and its rule, `{aggregate: column}`."""
    hint = f"write {{sum: views}} or {{count: video_id}}, not {rule!r}."
    if not str(measure).isidentifier() or measure in SILVER:
        raise ConfigError(
            f"marts.{mart}.measures: {measure!r} must be a name of its own, not a column of Silver."
        )
    if len(str(measure).encode()) > MAX_COLUMN_BYTES:
        raise ConfigError(
            f"marts.{mart}.measures: {measure!r} is longer than the {MAX_COLUMN_BYTES} bytes that "
            "PostgreSQL takes."
        )
    if not isinstance(rule, dict) or len(rule) != 1:
        raise ConfigError(f"marts.{mart}.measures.{measure}: {hint}")
    ((aggregate, column),) = ((str(name), str(value)) for name, value in rule.items())
    if aggregate not in AGGREGATES or column not in SILVER:
        raise ConfigError(f"marts.{mart}.measures.{measure}: {hint}")
    if aggregate == "sum" and not SILVER[column].is_integer():
        raise ConfigError(
            f"marts.{mart}.measures.{measure}: {column} is not a whole number, so it has no sum "
            "that Gold can store exactly."
        )
    return Measure(str(measure), aggregate, column)


@dataclass(frozen=True)
class PublicationPolicy:
    """The limits of a publication.

    Attributes:
        max_shrink_pct: by how many percent the number of rows or a total of a mart may fall from
            one publication to the next.
        changes_kept_days: for how many days the keys that a publication changed are retained.
        allow_shrink: whether a mart may be empty, be removed, or shrink beyond the limit.
    """

    max_shrink_pct: float = 20
    changes_kept_days: int = 90
    allow_shrink: bool = False

    @classmethod
    def of(cls, publication: Mapping[str, Any], allow_shrink: Any) -> PublicationPolicy:
        """Parse the parameters `publication` and `allow_shrink`.

        Raises:
            ConfigError: if a value is invalid or missing.
        """
        options = publication if isinstance(publication, Mapping) else {}
        shrink: Any = options.get("max_shrink_pct")
        days: Any = options.get("changes_kept_days")
        if not _is_number(shrink, int, float) or not 0 <= shrink <= 100:  # noqa: PLR2004
            raise ConfigError(
                f"publication.max_shrink_pct: {shrink!r} must be a percentage from 0 to 100."
            )
        if not _is_number(days, int) or days < 1:
            raise ConfigError(
                f"publication.changes_kept_days: {days!r} must be a whole number of days."
            )
        if not isinstance(allow_shrink, bool):
            raise ConfigError(f"allow_shrink: {allow_shrink!r} must be true or false.")
        return cls(shrink, days, allow_shrink)


def _is_number(value: Any, *kinds: type) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)  # a bool is an int


@dataclass(frozen=True)
class Publication:
    """Gold as it is published to the serving database.

    Attributes:
        manifest: the manifest of Gold.
        marts: the declared marts, by name.
        files: the CSV of each mart, read lazily; reading one that does not match the manifest
            raises a `CapstoneError`.
        policy: the limits of the publication.
        versions: for each mart a token that changes whenever its file does; empty if unknown.
    """

    manifest: dict[str, Any]
    marts: dict[str, Mart]
    files: Mapping[str, bytes]
    policy: PublicationPolicy = field(default_factory=PublicationPolicy)
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def tables(self) -> dict[str, dict[str, Any]]:
        """For each mart the number of its `rows`, and the types of its `columns` by name."""
        return {
            name: {
                "rows": self.manifest["marts"][name]["rows"],
                "columns": {column: str(gold_type(column)) for column in mart.columns},
            }
            for name, mart in self.marts.items()
        }
