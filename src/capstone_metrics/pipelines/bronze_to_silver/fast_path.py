"""The fast path: accept most lines by one check of the JSON types of all their fields.

`parsing` would accept these lines with the same values. Nothing is rejected here: a line with
anything unusual is left to `rules`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import ibis

from capstone_metrics.pipelines.bronze_to_silver.functions import (
    json_kinds,
    json_names,
    json_values,
    present,
)
from capstone_metrics.pipelines.bronze_to_silver.parsing import (
    ISO_DATE,
    ISO_HOUR,
    NEVER_BLANK,
    SECONDS_LENGTH,
    window_start,
)
from capstone_metrics.schemas import PROVENANCE, REQUIRED, SILVER
from capstone_metrics.validation.contract import ISO

if TYPE_CHECKING:
    import ibis.expr.datatypes as dt
    import ibis.expr.types as ir

    from capstone_metrics.validation.contract import Contract, Field

JSON_TYPES = {
    "string": ("VARCHAR",),
    "int64": ("UBIGINT",),
    "float64": ("DOUBLE", "UBIGINT", "BIGINT"),
}
"""The JSON types whose values are read without a conversion, by the type in Silver."""

UNREAD_JSON_TYPES = ("VARCHAR", "UBIGINT", "BIGINT", "BOOLEAN", "NULL")
"""The JSON types of fields that are not read. A `DOUBLE` may be NaN, which is not valid JSON."""

WINDOW_DEFAULTS = ("ingestion_ts", "run_id")
"""The fields that a line without them gets from its window."""

FIRST_VISIBLE = "!"
"""The first character after the space: a text that starts at or after it is not blank."""

DATE_LENGTH = len("2026-01-31")


@dataclass(frozen=True)
class FastPath:
    """The fast path for the lines of a source.

    Attributes:
        lines: the lines.
        contract: that of the source.
        shape: the type of each field of the source that is read, by its name.
        zone: the time zone of windows.
    """

    lines: ir.Table
    contract: Contract
    shape: dict[str, dt.DataType]
    zone: str

    def check(self, networks: list[str]) -> ir.Table:
        """Return for every line whether it `is_accepted`, and the provenance of those that are."""
        known = [*self.shape, *sorted(self.contract.other_fields.difference(self.shape))]
        lines, texto = self.lines, self.lines.texto
        lines = lines.mutate(json_types=json_kinds(texto, ibis.array(known)))
        lines = lines.mutate(keys=ibis.ifelse(lines.json_types.notnull(), json_names(texto), None))
        lines = self._with_values(lines)
        json_types = {name: lines.json_types[i] for i, name in enumerate(known)}
        observed = (
            lines["ingestion_ts.text"] if "ingestion_ts.text" in lines.columns else lines.janela
        )
        is_accepted = ibis.and_(
            lines.keys.length() == present(lines.json_types),  # no key is repeated, none is new
            *(
                json_types[name].isin(UNREAD_JSON_TYPES).fill_null(True)
                for name in known[len(self.shape) :]
            ),
            *(_is_valid(lines, f, json_types[f.origins[0]]) for f in self.contract.fields.values()),
            lines.rede_social.isin(networks),
            lines["data_postagem.text"].left(DATE_LENGTH) <= observed.left(DATE_LENGTH),
        )
        return lines.select(*PROVENANCE, is_accepted=is_accepted.fill_null(False))

    def rows(self, provenance: ir.Table) -> ir.Table:
        """Return the rows of Silver for accepted lines, with their object and line number."""
        lines = self.lines.semi_join(provenance, ["objeto", "linha"])
        return self._with_values(lines).select(*SILVER, "objeto", "linha")

    def _with_values(self, lines: ir.Table) -> ir.Table:
        """Add the columns of Silver; their values are undefined for lines that are not accepted."""
        lines = lines.mutate(parsed=json_values(lines.texto, self.shape))
        values = {
            name: lines.parsed[field.origins[0]] for name, field in self.contract.fields.items()
        }
        times = [name for name, field in self.contract.fields.items() if field.is_time]
        lines = lines.mutate(**values, **{f"{name}.text": values[name] for name in times})
        moments = {
            n: lines[n].left(SECONDS_LENGTH).try_cast("timestamp(6)").cast(SILVER[n]) for n in times
        }
        absent: dict[str, ir.Value] = {
            name: ibis.null(kind) for name, kind in SILVER.items() if name not in values
        }
        if "ingestion_ts" in absent:
            absent["ingestion_ts"] = window_start(lines, self.zone).cast(SILVER["ingestion_ts"])
        if "run_id" in absent:
            absent["run_id"] = lines.fonte + "-" + lines.janela
        return lines.mutate(**moments, **absent)


def fast_path_of(lines: ir.Table, contract: Contract, zone: str) -> FastPath | None:
    """Return the fast path of a source, None if its values need a conversion.

    Args:
        lines: the lines.
        contract: that of the source.
        zone: the time zone of windows.
    """
    shape: dict[str, dt.DataType] = {}
    for name, field in contract.fields.items():
        kind = ibis.dtype("string") if field.is_time else SILVER[name]
        if len(field.origins) != 1 or field.quoted or field.format != ISO:
            return None
        if shape.setdefault(field.origins[0], kind) != kind:
            return None
    if len({origin.casefold() for origin in shape}) < len(shape):
        return None  # an engine may compare names case-insensitively
    return FastPath(lines, contract, shape, zone)


def _is_valid(lines: ir.Table, field: Field, json_type: ir.StringValue) -> ir.BooleanValue:
    """Return whether a field breaks no rule and needs no conversion."""
    name, value = field.name, lines[field.name]
    json_types = JSON_TYPES["string" if field.is_time else str(SILVER[name])]
    is_valid = json_type.isin(json_types) & value.notnull()
    if field.is_time:
        is_valid &= lines[f"{name}.text"].re_search(_pattern(field))
    elif SILVER[name].is_floating():
        is_valid &= value.abs() < float("inf")
    elif name in NEVER_BLANK:
        is_valid &= value >= FIRST_VISIBLE
    if name in REQUIRED or name in WINDOW_DEFAULTS:
        return is_valid
    return is_valid.fill_null(False) | (json_type == "NULL").fill_null(True)


def _pattern(field: Field) -> str:
    """Return the pattern of times that need no conversion: local, or UTC for an observation."""
    if field.name != "ingestion_ts":
        return rf"^{ISO_DATE}([T ]{ISO_HOUR})?\z"
    return rf"^{ISO_DATE}[T ]{ISO_HOUR}{'Z?' if field.timezone == 'UTC' else 'Z'}\z"
