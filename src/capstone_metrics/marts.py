"""The declared marts, and their publication."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import ibis.expr.datatypes as dt

from capstone_metrics.errors import ConfigError, unknown_name
from capstone_metrics.schemas import DAYS, GAINS, LATEST_GAIN, REQUIRED, VIDEO_KEY, mart_tables
from capstone_metrics.validation.silver import (
    MAX_COLUMN_BYTES,
    RESERVED,
    SILVER,
    columns_of,
    declared_columns,
)

if TYPE_CHECKING:
    import ibis

    from capstone_metrics.definitions import Definition

MART_OPTIONS = ("from", "key", "attributes", "measures")
AGGREGATES = ("sum", "count", "max", "last", "ratio")
ADDITIVE = ("sum", "count")
"""The aggregates that add up: of some rows to that of all."""

RATIO_DIGITS = 6
RATIO = dt.Decimal(38, RATIO_DIGITS)
"""The type of a ratio."""

MAX_AGE = 3650
"""The greatest age at which videos are compared, in days."""

RESERVED_NAMES = ("gold_snapshot",)
MAX_MART_NAME_BYTES = 50
"""The longest name of a mart: a publication makes longer names of it, such as `staged_gold_…`."""


class Measure(NamedTuple):
    """A measure of a mart.

    Attributes:
        name: its name.
        aggregate: `sum`, `count` or `max` of a column; `last`, its latest value; or `ratio`, its
            sum divided by that of another column.
        column: the column.
        divisor: the other column of a ratio.
    """

    name: str
    aggregate: str
    column: str
    divisor: str = ""

    @property
    def is_additive(self) -> bool:
        """Whether the values of some rows add up to that of all."""
        return self.aggregate in ADDITIVE

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it is computed from."""
        return (self.column, self.divisor) if self.divisor else (self.column,)

    @property
    def declaration(self) -> dict[str, Any]:
        """What was declared of it, but for an age."""
        return {self.aggregate: list(self.columns) if self.divisor else self.column}

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

    def schema(self, columns: Mapping[str, str]) -> ibis.Schema:
        """Return the schema of its rows, by the types of the columns of Silver."""
        return mart_tables(columns)[self.table]

    def label_schema(self, columns: Mapping[str, str]) -> ibis.Schema:
        """Return the schema of the columns that keys and attributes are of."""
        return mart_tables(columns)[self.table if self.at_days is None else CRIACAO.table]

    def key_columns(self, columns: Mapping[str, str]) -> list[str]:
        """Return the columns that a key may have: texts, dates and whole numbers."""
        names = [name for name, kind in self.label_schema(columns).items() if _is_key_type(kind)]
        return names if self.at_days is None else [name for name in names if name not in GAINS]


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
        silver: the types of the columns of Silver.
    """

    name: str
    key: tuple[str, ...]
    measures: tuple[Measure, ...]
    basis: Basis = CRIACAO
    attributes: tuple[str, ...] = ()
    silver: Mapping[str, str] = field(default_factory=lambda: SILVER, compare=False)

    @classmethod
    def of(
        cls, name: str, declaration: Mapping[str, Any], columns: Mapping[str, str] = SILVER
    ) -> Mart:
        """Parse a declaration.

        It is `key: [column, …]`, `measures: {name: {aggregate: column}}`, and where they are
        needed `from: table` and `attributes: [column, …]`.

        Args:
            name: its name.
            declaration: the declaration.
            columns: the types of the columns of Silver.

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
        allowed = basis.key_columns(columns)
        if not key or not set(key) <= set(allowed) or len(set(key)) < len(key):
            raise ConfigError(
                f"marts.{name}.key: {declared_key!r} must be a list of distinct text, date or "
                f"whole-number columns of Silver ({', '.join(allowed)})."
            )
        attributes = _parse_attributes(name, options, key, basis, columns)
        measures = tuple(
            _parse_measure(name, measure, rule, basis, columns) for measure, rule in rules.items()
        )
        names = [*key, *attributes, *(each.name for each in measures)]
        counts = Counter(each.casefold() for each in names)
        if repeated := [each for each in names if counts[each.casefold()] > 1]:
            raise ConfigError(
                f"marts.{name}.measures: {repeated[-1]!r} is a column of it already; readers do "
                "not tell names apart by case."
            )
        return cls(name, key, measures, basis, attributes, columns)

    @property
    def declaration(self) -> dict[str, Any]:
        """What was declared of the mart, as its manifest has it."""
        age = {} if self.basis.at_days is None else {"at_days": self.basis.at_days}
        return {
            "from": self.basis.table,
            "key": list(self.key),
            **({"attributes": list(self.attributes)} if self.attributes else {}),
            "measures": {each.name: {**each.declaration, **age} for each in self.measures},
        }

    @property
    def has_day(self) -> bool:
        """Whether each row is of one day."""
        return self.basis.day in self.labels

    def may_be_null(self, column: str) -> bool:
        """Return whether a column has no value where none is known."""
        if column in self.labels:
            is_known = column in self.key or column in DAYS.values()
            return not is_known and not self.types[column].is_string()
        measure = self.measure(column)
        if measure.aggregate in {"count", "ratio"}:
            return measure.aggregate == "ratio"
        # a row of increments by day has no counters
        known = set() if self.basis == Basis("observacao_dia") else {*REQUIRED}
        return measure.column not in {*known, "posts"}

    def measure(self, name: str) -> Measure:
        """Return a measure by its name."""
        return next(each for each in self.measures if each.name == name)

    @property
    def types(self) -> dict[str, dt.DataType]:
        """The type of each column: a label has its type in Silver, a measure is a number."""
        known = self.basis.label_schema(self.silver)
        numbers = {m.name: RATIO if m.aggregate == "ratio" else dt.int64 for m in self.measures}
        return {**{column: known[column] for column in self.labels}, **numbers}

    @property
    def sums(self) -> list[Measure]:
        """The measures that are sums."""
        return [measure for measure in self.measures if measure.aggregate == "sum"]

    @property
    def summed_columns(self) -> set[str]:
        """The columns whose sums the mart has, or is computed from."""
        summing = ("sum", "ratio")
        return {
            name for each in self.measures if each.aggregate in summing for name in each.columns
        }

    @property
    def source_columns(self) -> set[str]:
        """The columns of Silver that the mart is computed from."""
        latest = {"ingestion_ts" for each in self.measures if each.aggregate == "last"}
        return {*self.labels, *latest, *(name for each in self.measures for name in each.columns)}

    @property
    def declared_columns(self) -> dict[str, str]:
        """The types of the declared columns of Silver that the mart is computed from."""
        declared = declared_columns(self.silver)
        return {name: kind for name, kind in declared.items() if name in self.source_columns}

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

    @property
    def additive_names(self) -> tuple[str, ...]:
        """The names of the measures that add up, in order."""
        return tuple(measure.name for measure in self.measures if measure.is_additive)


def declaration_in(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was declared of a mart, by its entry in a manifest; empty without an entry.

    Until Silver had observations by day, a manifest did not say which table a mart was from.
    """
    parts = {"from": CRIACAO.table, **entry}
    return {part: parts[part] for part in MART_OPTIONS if part in parts} if entry else {}


def marts_in(manifest: Mapping[str, Any]) -> dict[str, Mart]:
    """Return the marts of a manifest, by name."""
    columns = columns_of(manifest.get("columns", {}))
    entries = manifest.get("marts", {})
    return {name: Mart.of(name, declaration_in(each), columns) for name, each in entries.items()}


def marts_of(
    declarations: Mapping[str, Any], columns: Mapping[str, str] = SILVER
) -> dict[str, Mart]:
    """Parse the declarations of all marts, by name.

    Args:
        declarations: the declarations.
        columns: the types of the columns of Silver.

    Raises:
        ConfigError: for the first invalid declaration.
    """
    if not isinstance(declarations, Mapping) or not declarations:
        raise ConfigError("marts: declare at least one mart, by its key and measures.")
    return {name: Mart.of(name, each, columns) for name, each in declarations.items()}


def _is_key_type(kind: dt.DataType) -> bool:
    return bool(kind.is_string() or kind.is_date() or kind.is_integer())


def _parse_basis(mart: str, options: Mapping[str, Any], rules: Mapping[str, Any]) -> Basis:
    """Return what a mart is counted from: its `from`, and the `at_days` of its measures."""
    table = options.get("from", "criacao")
    if not isinstance(table, str) or table not in mart_tables(SILVER):
        raise unknown_name(f"marts.{mart}.from", table, mart_tables(SILVER))
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
    mart: str,
    options: Mapping[str, Any],
    key: tuple[str, ...],
    basis: Basis,
    columns: Mapping[str, str],
) -> tuple[str, ...]:
    """Return the attributes of a mart, each of which has one value for each video."""
    declared = options.get("attributes", ())
    attributes = tuple(map(str, declared)) if isinstance(declared, list | tuple) else ("",)
    allowed = [
        name
        for name, kind in basis.label_schema(columns).items()
        if name not in key and (kind.is_string() or kind.is_date() or name == "hora_postagem")
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


def _parse_measure(
    mart: str, measure: str, rule: Any, basis: Basis, columns: Mapping[str, str]
) -> Measure:
    """Parse a measure of a mart by its name and its rule, `{aggregate: column}`."""
    if not str(measure).isidentifier() or measure in {*SILVER, *DAYS.values()}:
        raise ConfigError(
            f"marts.{mart}.measures: {measure!r} must be a name of its own, not a column of Silver."
        )
    if str(measure).casefold() in RESERVED:
        raise ConfigError(f"marts.{mart}.measures: {measure!r} is reserved; choose another name.")
    if len(str(measure).encode()) > MAX_COLUMN_BYTES:
        raise ConfigError(
            f"marts.{mart}.measures: {measure!r} is longer than the {MAX_COLUMN_BYTES} bytes that "
            "PostgreSQL takes."
        )
    setting = f"marts.{mart}.measures.{measure}"
    aggregate, names = _parse_aggregate(setting, rule)
    for column in names:
        _check_column(setting, aggregate, column, basis, columns)
    if basis.at_days is not None and aggregate == "last":
        raise ConfigError(f"{setting}: at an age each video has one value; use max.")
    return Measure(str(measure), aggregate, *names)


def _parse_aggregate(setting: str, rule: Any) -> tuple[str, list[str]]:
    """Return the aggregate of a rule, and its columns."""
    aggregates = dict(rule) if isinstance(rule, Mapping) else {}
    aggregates.pop("at_days", None)
    if len(aggregates) > 1 and (extra := set(aggregates) - set(AGGREGATES)):
        raise unknown_name(setting, extra.pop(), (*AGGREGATES, "at_days"))
    hint = (
        f"write {{sum: views}}, {{count: video_id}}, {{max: views}}, {{last: views}} or "
        f"{{ratio: [likes, views]}}, not {rule!r}."
    )
    if len(aggregates) != 1:
        raise ConfigError(f"{setting}: {hint}")
    ((aggregate, value),) = aggregates.items()
    if aggregate not in AGGREGATES:
        raise unknown_name(setting, aggregate, AGGREGATES)
    names = list(map(str, value)) if isinstance(value, list | tuple) else [str(value)]
    if len(names) != (2 if aggregate == "ratio" else 1) or value is None:
        raise ConfigError(f"{setting}: {hint}")
    return aggregate, names


def _check_column(
    setting: str, aggregate: str, column: str, basis: Basis, columns: Mapping[str, str]
) -> None:
    """Check that a measure can be computed from a column."""
    schema = basis.schema(columns)
    if column not in schema:
        elsewhere = [table for table, other in mart_tables(columns).items() if column in other]
        if elsewhere:
            raise ConfigError(
                f"{setting}: {column} is no column of {basis.table}; declare from: {elsewhere[0]}, "
                "or another column. Of declared columns, observacao_dia has the whole numbers."
            )
        raise unknown_name(f"{setting}.{aggregate}", column, schema, declared_in="columns")
    if aggregate != "count" and not schema[column].is_integer():
        raise ConfigError(
            f"{setting}: {column} is not a whole number, so it has no {aggregate} that Gold can "
            "store exactly."
        )
    if basis.at_days is not None and column not in {*GAINS, "video_id"}:
        raise ConfigError(
            f"{setting}: at an age are known {', '.join(GAINS)}, and video_id to count."
        )


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
                "columns": {column: str(kind) for column, kind in mart.types.items()},
            }
            for name, mart in self.marts.items()
        }
