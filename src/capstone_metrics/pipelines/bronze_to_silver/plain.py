"""Lines that are plainly sound, as most are: told by one look at all of their fields.

What is plain, `reading` would accept with the same values. Nothing is refused here: a line of
which anything is unusual is left to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import ibis

from capstone_metrics.pipelines.bronze_to_silver.declaration import ISO
from capstone_metrics.pipelines.bronze_to_silver.functions import (
    json_kinds,
    json_names,
    json_values,
    present,
)
from capstone_metrics.pipelines.bronze_to_silver.reading import (
    CLOCK,
    ISO_DATE,
    ISO_HOUR,
    NEVER_BLANK,
    arrival,
)
from capstone_metrics.schemas import PLACES, REQUIRED, SILVER

if TYPE_CHECKING:
    import ibis.expr.datatypes as dt
    import ibis.expr.types as ir

    from capstone_metrics.pipelines.bronze_to_silver.declaration import Contract, Field

KINDS = {"string": ("VARCHAR",), "int64": ("UBIGINT",), "float64": ("DOUBLE", "UBIGINT", "BIGINT")}
"""The kinds of JSON from which a value of each type is taken as it stands."""

HARMLESS = ("VARCHAR", "UBIGINT", "BIGINT", "BOOLEAN", "NULL")
"""The kinds of a field that is not read. What is `DOUBLE` may be NaN, which JSON does not know."""

ARRIVED = ("ingestion_ts", "run_id")
"""What a line without it has from its window."""

FIRST_VISIBLE = "!"
"""The first character after the space: what begins with it, or with a later one, is not blank."""

DAY = len("2026-01-31")


@dataclass(frozen=True)
class Plain:
    """The lines of a source, of which most are plain.

    Attributes:
        lines: the lines.
        contract: of the source.
        shape: the fields that are read, with the type of each.
        zone: of windows.
    """

    lines: ir.Table
    contract: Contract
    shape: dict[str, dt.DataType]
    zone: str

    def places(self, networks: list[str]) -> ir.Table:
        """Of every line whether it `is_plain`; and of one that is its place, which others lack."""
        known = [*self.shape, *sorted(self.contract.others.difference(self.shape))]
        lines, texto = self.lines, self.lines.texto
        lines = lines.mutate(kinds=json_kinds(texto, ibis.array(known)))
        lines = lines.mutate(keys=ibis.ifelse(lines.kinds.notnull(), json_names(texto), None))
        lines = self._valued(lines)
        kinds = {name: lines.kinds[at] for at, name in enumerate(known)}
        today = lines["ingestion_ts.text"] if "ingestion_ts.text" in lines.columns else lines.janela
        is_plain = ibis.and_(
            lines.keys.length() == present(lines.kinds),  # none is repeated, none is new
            *(kinds[name].isin(HARMLESS).fill_null(True) for name in known[len(self.shape) :]),
            *(_is_sound(lines, f, kinds[f.origins[0]]) for f in self.contract.fields.values()),
            lines.rede_social.isin(networks),
            lines["data_postagem.text"].left(DAY) <= today.left(DAY),
        )
        return lines.select(*PLACES, is_plain=is_plain.fill_null(False))

    def rows(self, places: ir.Table) -> ir.Table:
        """The rows of Silver of some places, all of which are plain, with their place in Bronze."""
        found = self.lines.semi_join(places, ["objeto", "linha"])
        return self._valued(found).select(*SILVER, "objeto", "linha")

    def _valued(self, lines: ir.Table) -> ir.Table:
        """The columns of Silver; of a line that is not plain these may be anything."""
        lines = lines.mutate(held=json_values(lines.texto, self.shape))
        values = {
            name: lines.held[field.origins[0]] for name, field in self.contract.fields.items()
        }
        times = [name for name, field in self.contract.fields.items() if field.is_time]
        lines = lines.mutate(**values, **{f"{name}.text": values[name] for name in times})
        moments = {n: lines[n].left(CLOCK).try_cast("timestamp(6)").cast(SILVER[n]) for n in times}
        absent: dict[str, ir.Value] = {
            name: ibis.null(kind) for name, kind in SILVER.items() if name not in values
        }
        if "ingestion_ts" in absent:
            absent["ingestion_ts"] = arrival(lines, self.zone).cast(SILVER["ingestion_ts"])
        if "run_id" in absent:
            absent["run_id"] = lines.fonte + "-" + lines.janela
        return lines.mutate(**moments, **absent)


def plain_of(lines: ir.Table, contract: Contract, zone: str) -> Plain | None:
    """The lines of a source; None if its fields are not read as they stand, so that none is plain.

    Args:
        lines: the lines.
        contract: of the source.
        zone: of windows.
    """
    shape: dict[str, dt.DataType] = {}
    for name, field in contract.fields.items():
        kind = ibis.dtype("string") if field.is_time else SILVER[name]
        if len(field.origins) != 1 or field.quoted or field.format != ISO:
            return None
        if shape.setdefault(field.origins[0], kind) != kind:
            return None
    if len({origin.casefold() for origin in shape}) < len(shape):
        return None  # an engine may take them for one
    return Plain(lines, contract, shape, zone)


def _is_sound(lines: ir.Table, field: Field, kind: ir.StringValue) -> ir.BooleanValue:
    """Whether a field breaks no rule, and needs no conversion."""
    name, value = field.name, lines[field.name]
    kinds = KINDS["string"] if field.is_time else KINDS[str(SILVER[name])]
    is_sound = kind.isin(kinds) & value.notnull()
    if field.is_time:
        is_sound &= lines[f"{name}.text"].re_search(_pattern(field))
    elif SILVER[name].is_floating():
        is_sound &= value.abs() < float("inf")
    elif name in NEVER_BLANK:
        is_sound &= value >= FIRST_VISIBLE
    if name in REQUIRED or name in ARRIVED:
        return is_sound
    return is_sound.fill_null(False) | (kind == "NULL").fill_null(True)


def _pattern(field: Field) -> str:
    """What needs no conversion: a local time without an offset, an observation in UTC."""
    if field.name != "ingestion_ts":
        return rf"^{ISO_DATE}([T ]{ISO_HOUR})?\z"
    return rf"^{ISO_DATE}[T ]{ISO_HOUR}{'Z?' if field.timezone == 'UTC' else 'Z'}\z"
