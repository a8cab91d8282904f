"""The declared marts, and their publication."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import ibis.expr.datatypes as dt

from capstone_metrics.errors import ConfigError, unknown_name
from capstone_metrics.schemas import (
    DAYS,
    GAINS,
    LATEST_GAIN,
    OBSERVACAO_DIA,
    REQUIRED,
    SILVER,
    VIDEO,
    VIDEO_KEY,
)

if TYPE_CHECKING:
    from capstone_metrics.definitions import Definition

MART_OPTIONS = ("from", "key", "attributes", "measures")
AGGREGATES = ("sum", "count")
MAX_AGE = 3650
"""The greatest age at which videos are compared, in days."""

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

    @property
    def is_lasting(self) -> bool:
        """Whether its total grows with the lake; that of a latest gain falls as videos grow old."""
        return self.column != LATEST_GAIN


class Basis(NamedTuple):
    """What the rows of a mart are counted from.

    Attributes:
        table: the table of Silver, or `video`.
        at_days: the age at which videos are compared; None for each row of the table as it is.
    """

    table: str = "criacao"
    at_days: int | None = None

    @property
    def day(self) -> str:
        """The column that says which day a row is of: a video at an age is of its posting day."""
        return DAYS["observacao_dia" if self == Basis("observacao_dia") else "criacao"]

    @property
    def key_columns(self) -> list[str]:
        """The columns that may be in the key of a mart: texts, dates and whole numbers."""
        if self.at_days is not None:
            return [name for name in SILVER if _is_key_type(SILVER[name]) and name not in GAINS]
        schema = SCHEMAS[self.table]
        return [name for name in schema if _is_key_type(schema[name])]


SCHEMAS = {"criacao": SILVER, "observacao_dia": OBSERVACAO_DIA, "video": VIDEO}
CRIACAO = Basis()


@dataclass(frozen=True)
class Mart:
    """A declared table of Gold.

    Attributes:
        name: the name of its file and its table, `gold_…`.
        key: the columns that identify a row, in order.
        measures: its measures, in order.
        basis: what it is counted from.
        attributes: the columns that describe the video of a row, in order.
    """

    name: str
    key: tuple[str, ...]
    measures: tuple[Measure, ...]
    basis: Basis = CRIACAO
    attributes: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, declaration: Mapping[str, Any]) -> Mart:
        """Parse a declaration.

        It is `key: [column, …]`, `measures: {name: {aggregate: column}}`, and where they are
        needed `from: table` and `attributes: [column, …]`.

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
        for option in options:
            if option not in MART_OPTIONS:
                raise unknown_name(f"marts.{name}", option, MART_OPTIONS)
        rules = options.get("measures")
        if not isinstance(rules, Mapping) or not rules:
            raise ConfigError(
                f"marts.{name}.measures: declare at least one, such as "
                "{total_views: {sum: views}}."
            )
        basis = _parse_basis(name, options, rules)
        declared_key = options.get("key")
        key = tuple(map(str, declared_key)) if isinstance(declared_key, list | tuple) else ()
        allowed = basis.key_columns
        if not key or not set(key) <= set(allowed) or len(set(key)) < len(key):
            raise ConfigError(
                f"marts.{name}.key: {declared_key!r} must be a list of distinct text, date or "
                f"whole-number columns of Silver ({', '.join(allowed)})."
            )
        attributes = _parse_attributes(name, options, key, basis)
        measures = tuple(
            _parse_measure(name, measure, rule, basis) for measure, rule in rules.items()
        )
        if repeated := [each.name for each in measures if each.name in key]:
            raise ConfigError(f"marts.{name}.measures: {repeated[0]!r} is in its key already.")
        return cls(name, key, measures, basis, attributes)

    @property
    def declaration(self) -> dict[str, Any]:
        """What was declared of the mart, as its manifest has it."""
        age = {} if self.basis.at_days is None else {"at_days": self.basis.at_days}
        return {
            "from": self.basis.table,
            "key": list(self.key),
            **({"attributes": list(self.attributes)} if self.attributes else {}),
            "measures": {each.name: {each.aggregate: each.column, **age} for each in self.measures},
        }

    @property
    def has_day(self) -> bool:
        """Whether each row is of one day."""
        return self.basis.day in self.labels

    def may_be_null(self, column: str) -> bool:
        """Return whether a column has no value where none is known."""
        if column in self.attributes:
            return bool(gold_type(column).is_integer())
        return any(
            measure.name == column and measure.aggregate == "sum" and measure.column not in REQUIRED
            for measure in self.measures
        )

    @property
    def sums(self) -> list[Measure]:
        """The measures that are sums."""
        return [measure for measure in self.measures if measure.aggregate == "sum"]

    @property
    def source_columns(self) -> set[str]:
        """The columns of Silver that the mart is computed from."""
        return {*self.labels, *(measure.column for measure in self.measures)}

    @property
    def labels(self) -> tuple[str, ...]:
        """The columns that are no measures: the key, then the attributes."""
        return (*self.key, *self.attributes)

    @property
    def other_columns(self) -> tuple[str, ...]:
        """The columns that are not in the key: the attributes, then the measures."""
        return (*self.attributes, *self.measure_names)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, in order: the key, the attributes, the measures."""
        return (*self.key, *self.other_columns)

    @property
    def measure_names(self) -> tuple[str, ...]:
        """The names of the measures, in order."""
        return tuple(measure.name for measure in self.measures)


def declaration_in(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was declared of a mart, by its entry in a manifest; empty without an entry.

    Until Silver had observations by day, a manifest did not say which table a mart was from.
    """
    parts = {"from": CRIACAO.table, **entry}
    return {part: parts[part] for part in MART_OPTIONS if part in parts} if entry else {}


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

    No measure has the name of a column of Silver that is no whole number.
    """
    return SILVER.get(column, OBSERVACAO_DIA.get(column, dt.int64))


def _is_key_type(kind: dt.DataType) -> bool:
    return bool(kind.is_string() or kind.is_date() or kind.is_integer())


def _parse_basis(mart: str, options: Mapping[str, Any], rules: Mapping[str, Any]) -> Basis:
    """Return what a mart is counted from: its `from`, and the `at_days` of its measures."""
    table = options.get("from", "criacao")
    if table not in SCHEMAS:
        raise unknown_name(f"marts.{mart}.from", table, SCHEMAS)
    ages = [rule.get("at_days") for rule in rules.values() if isinstance(rule, Mapping)]
    age = next((age for age in ages if age is not None), None)
    if age is None:
        return Basis(table)
    if not _is_number(age, int) or not 0 <= age <= MAX_AGE:
        raise ConfigError(f"marts.{mart}: at_days: {age!r} must be a number of days, such as 7.")
    if table != "observacao_dia" or set(ages) != {age}:
        raise ConfigError(
            f"marts.{mart}: at_days needs from: observacao_dia, and the same number of days in "
            "each measure; declare a mart for each age."
        )
    return Basis(table, age)


def _parse_attributes(
    mart: str, options: Mapping[str, Any], key: tuple[str, ...], basis: Basis
) -> tuple[str, ...]:
    """Return the attributes of a mart, each of which has one value for each video."""
    declared = options.get("attributes", ())
    attributes = tuple(map(str, declared)) if isinstance(declared, list | tuple) else ("",)
    schema = SCHEMAS[basis.table]
    describing = {*DAYS.values(), "hora_postagem"}
    allowed = [
        name
        for name in (schema if basis.at_days is None else SILVER)
        if name not in key and (schema.get(name, dt.int64).is_string() or name in describing)
    ]
    if not set(attributes) <= set(allowed) or len(set(attributes)) < len(attributes):
        raise ConfigError(
            f"marts.{mart}.attributes: {declared!r} must be a list of distinct columns that "
            f"describe a video and are not in the key ({', '.join(allowed)})."
        )
    if attributes and (not set(VIDEO_KEY) <= set(key) or basis == Basis("observacao_dia")):
        raise ConfigError(
            f"marts.{mart}.attributes: they describe a video, so the key needs "
            f"{' and '.join(VIDEO_KEY)}, and not from: observacao_dia; add them to the key instead."
        )
    return attributes


def _parse_measure(mart: str, measure: str, rule: Any, basis: Basis) -> Measure:
    """Parse a measure of a mart by its name and its rule, `{aggregate: column}`."""
    hint = f"write {{sum: views}} or {{count: video_id}}, not {rule!r}."
    if not str(measure).isidentifier() or not gold_type(measure).is_integer() or measure in SILVER:
        raise ConfigError(
            f"marts.{mart}.measures: {measure!r} must be a name of its own, not a column of Silver."
        )
    if len(str(measure).encode()) > MAX_COLUMN_BYTES:
        raise ConfigError(
            f"marts.{mart}.measures: {measure!r} is longer than the {MAX_COLUMN_BYTES} bytes that "
            "PostgreSQL takes."
        )
    aggregates = (
        {name: rule[name] for name in rule if name != "at_days"}
        if isinstance(rule, Mapping)
        else {}
    )
    if len(aggregates) > 1 and (extra := set(aggregates) - set(AGGREGATES)):
        raise unknown_name(
            f"marts.{mart}.measures.{measure}", extra.pop(), (*AGGREGATES, "at_days")
        )
    if len(aggregates) != 1:
        raise ConfigError(f"marts.{mart}.measures.{measure}: {hint}")
    ((aggregate, column),) = ((str(name), str(value)) for name, value in aggregates.items())
    schema = SCHEMAS[basis.table]
    if aggregate not in AGGREGATES:
        raise unknown_name(f"marts.{mart}.measures.{measure}", aggregate, AGGREGATES)
    if column not in schema:
        raise unknown_name(f"marts.{mart}.measures.{measure}.{aggregate}", column, schema)
    if aggregate == "sum" and not schema[column].is_integer():
        raise ConfigError(
            f"marts.{mart}.measures.{measure}: {column} is not a whole number, so it has no sum "
            "that Gold can store exactly."
        )
    if basis.at_days is not None and column not in {*GAINS, "video_id"}:
        raise ConfigError(
            f"marts.{mart}.measures.{measure}: at an age are known {', '.join(GAINS)}, and "
            "video_id to count."
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
        definitions: when networks changed what they count.
    """

    manifest: dict[str, Any]
    marts: dict[str, Mart]
    files: Mapping[str, bytes]
    policy: PublicationPolicy = field(default_factory=PublicationPolicy)
    versions: Mapping[str, str] = field(default_factory=dict)
    definitions: Sequence[Definition] = ()

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
