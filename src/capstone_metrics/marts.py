"""The declared marts, and their publication."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import ibis.expr.datatypes as dt

from capstone_metrics.schemas import DAYS, GAINS, LATEST_GAIN, mart_tables
from capstone_metrics.validation.silver import REQUIRED, SILVER, declared_columns

if TYPE_CHECKING:
    from collections.abc import Mapping

    import ibis


MART_OPTIONS = ("from", "key", "attributes", "measures")
ADDITIVE = ("sum", "count")
"""The aggregates that add up: of some rows to that of all."""

RATIO_DIGITS = 6
RATIO = dt.Decimal(38, RATIO_DIGITS)
"""The type of a ratio."""


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


def _is_key_type(kind: dt.DataType) -> bool:
    return bool(kind.is_string() or kind.is_date() or kind.is_integer())
