"""Every pending line of Bronze gets its verdict: accepted, or the rules that it broke."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import ibis
import ibis.expr.types as ir

from capstone_metrics.changes import Before, Pending, lot_of
from capstone_metrics.pipelines.bronze_to_silver.declaration import Contract, contract_of
from capstone_metrics.pipelines.bronze_to_silver.functions import (
    arrival,
    json_fields,
    json_names,
    json_object_valid,
    present,
)
from capstone_metrics.pipelines.bronze_to_silver.plain import Plain, plain_of
from capstone_metrics.pipelines.bronze_to_silver.reading import read
from capstone_metrics.schemas import PLACES, QUARANTINE, SILVER

PLACE = ["objeto", "linha"]
OBSERVED = ibis.schema({**SILVER, **QUARANTINE, "new_fields": "array<string>"})


@dataclass(frozen=True)
class Judged:
    """The pending lines with their verdicts, and what they came with.

    Attributes:
        plain: the places of the lines that were accepted at one look.
        sources: the lines from which their rows are read.
        rows: of the other lines, the columns of Silver and of the quarantine; `regras` is null in
            an accepted one. `new_fields` are the fields that the source of the line does not
            declare, or null.
        objects: what is known of each Bronze object, by its name.
        before: Silver as it was.
        is_full: whether Silver is to be built anew from them.
        declared: by source, what tells its declaration from another one.
    """

    plain: ir.Table
    sources: tuple[Plain, ...]
    rows: ir.Table
    objects: Mapping[str, Mapping[str, Any]]
    before: Before
    is_full: bool = False
    declared: Mapping[str, str] = field(default_factory=dict)

    @property
    def accepted(self) -> ir.Table:
        """The places of the lines that broke no rule."""
        return ibis.union(self.plain, self._accepted.select(*PLACES))

    @property
    def rejected(self) -> ir.Table:
        """The lines that broke one."""
        return self.rows.filter(self.rows.regras.notnull())

    @property
    def _accepted(self) -> ir.Table:
        return self.rows.filter(self.rows.regras.isnull())

    def rows_of(self, places: ir.Table) -> ir.Table:
        """The rows of Silver of some places that were accepted."""
        plain = places.anti_join(self.rows, PLACE)
        rows = (source.rows(plain) for source in self.sources)
        return ibis.union(self._accepted.semi_join(places, PLACE).select(*SILVER), *rows)


def observe(
    pending: Pending, sources: Mapping[str, Any], networks: list[str], schedule: Mapping[str, Any]
) -> Judged:
    """Read the pending lines of Bronze and judge each.

    Args:
        pending: the lines, with their `fonte`, `janela`, `objeto` and `linha`.
        sources: the declarations, by `fonte`.
        networks: the known values of `rede_social`.
        schedule: its `timezone` is that of windows, and of times without a zone.

    Raises:
        CapstoneError: if the `fields` of a source do not hold.
    """
    zone = schedule["timezone"]
    contracts = {name: contract_of(name, source, zone) for name, source in sources.items()}
    declared = {name: c.digest(sorted(networks), zone) for name, c in contracts.items()}
    judged = partial(Judged, before=pending.before, is_full=pending.is_full, declared=declared)
    plain, looked, rows = [ibis.memtable([], schema=PLACES)], [], []
    for name in sorted({lot_of(name)[0] for name in pending.objects}):
        lines, contract = pending.lines.filter(pending.lines.fonte == name), contracts.get(name)
        source = plain_of(lines, contract, zone) if contract else None
        if source:
            looked.append(source)
            places = source.places(networks).cache()
            plain.append(places.filter(places.is_plain).select(*PLACES))
            others = places.filter(~places.is_plain)
            if not others.count().to_pyarrow().as_py():
                continue
            lines = lines.semi_join(others, PLACE)
        rows.append(
            _read_source(lines, contract, networks, zone) if contract else _refuse(lines, zone)
        )
    return judged(
        ibis.union(*plain),
        tuple(looked),
        _together(rows).cache() if rows else ibis.memtable([], schema=OBSERVED),
        pending.objects,
    )


def _together(tables: list[ir.Table]) -> ir.Table:
    return ibis.union(*tables) if len(tables) > 1 else tables[0]


def _read_source(lines: ir.Table, contract: Contract, networks: list[str], zone: str) -> ir.Table:
    """The verdicts of a source's lines. What few lines need is worked out for these alone."""
    known = sorted({*contract.read, *contract.others})
    lines = lines.mutate(is_json=json_object_valid(lines.texto).fill_null(False))
    lines = lines.mutate(
        keys=ibis.ifelse(lines.is_json, json_names(lines.texto), None),
        tokens=ibis.ifelse(lines.is_json, json_fields(lines.texto, ibis.array(known)), None),
    )
    # as many keys as known fields that are there: none is repeated, none is new
    lines = lines.mutate(is_usual=(lines.keys.length() == present(lines.tokens)).fill_null(False))
    is_unique = lines.keys.unique().length() == lines.keys.length()
    lines = lines.mutate(
        is_read=lines.is_usual | ibis.ifelse(lines.is_json & ~lines.is_usual, is_unique, False)
    )
    strangers = lines.keys.filter(lambda key: key.notin(known)).nullif([])
    lines = lines.mutate(new_fields=ibis.ifelse(lines.is_read & ~lines.is_usual, strangers, None))
    lines, broken = read(lines, contract, known)

    arrived = {"ingestion_ts": arrival(lines, zone), "run_id": lines.fonte + "-" + lines.janela}
    lines = lines.mutate(
        **{
            name: ibis.ifelse(lines[name].isnull(), value, lines[name])
            if name in contract.fields
            else value
            for name, value in arrived.items()
        }
    )
    tomorrow = (lines.ingestion_ts + ibis.interval(days=1)).date()
    return _observations(
        lines,
        zone,
        {
            "line.not_utf8": lines.texto.isnull(),
            "line.not_json": lines.texto.notnull() & ~lines.is_json,
            "line.repeated_keys": lines.is_json & ~lines.is_read,
            **({"line.new_field": lines.new_fields.notnull()} if contract.is_frozen else {}),
            **{rule: lines.is_read & lines[column] for rule, column in broken.items()},
            "rede_social.unknown": lines.is_read & lines.rede_social.notin(networks),
            "data_postagem.after_observation": lines.is_read & (lines.data_postagem > tomorrow),
        },
    )


def _refuse(lines: ir.Table, zone: str) -> ir.Table:
    """The lines of sources that are not declared any more."""
    return _observations(lines, zone, {"source.undeclared": ibis.literal(True)})


def _observations(lines: ir.Table, zone: str, rules: Mapping[str, ir.BooleanValue]) -> ir.Table:
    """The columns of Silver; those of the quarantine only of lines that broke a rule."""
    broken = {f"{rule}.broken": is_broken.fill_null(False) for rule, is_broken in rules.items()}
    lines = lines.mutate(**broken)
    lines = lines.mutate(is_rejected=ibis.or_(*(lines[column] for column in broken)))
    names = [ibis.ifelse(lines[f"{rule}.broken"], rule, None) for rule in rules]
    arrived = arrival(lines, zone)
    of_rejected = {
        "lote": lines.objeto.re_extract(r"([^/]+)\.jsonl\z", 1),
        "quando": arrived.strftime("%Y-%m-%d") + "T" + arrived.strftime("%H:%M:%S") + "Z",
        "regras": ibis.array(names).filter(lambda rule: rule.notnull()),
        "texto": lines.texto,
        "texto_base64": lines.texto_base64,
    }
    return lines.select(
        **{
            name: (lines[name] if name in lines.columns else ibis.null()).cast(kind)
            for name, kind in SILVER.items()
        },
        **{name: lines[name] for name in ("fonte", "janela", "objeto", "linha")},
        new_fields=lines.new_fields
        if "new_fields" in lines.columns
        else ibis.null("array<string>"),
        **{name: ibis.ifelse(lines.is_rejected, v, None) for name, v in of_rejected.items()},
    )
