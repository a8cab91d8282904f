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
    json_fields,
    json_names,
    json_object_valid,
    local_to_utc,
    present,
)
from capstone_metrics.pipelines.bronze_to_silver.reading import read
from capstone_metrics.schemas import QUARANTINE, SILVER

OBSERVED = ibis.schema({**SILVER, **QUARANTINE, "new_fields": "array<string>"})


@dataclass(frozen=True)
class Judged:
    """The pending lines with their verdicts, and what they came with.

    Attributes:
        rows: the columns of Silver and of the quarantine; `regras` is null in an accepted line.
            `new_fields` are the fields that the source of the line does not declare, or null.
        objects: what is known of each Bronze object, by its name.
        before: Silver as it was.
        is_full: whether Silver is to be built anew from them.
        declared: by source, what tells its declaration from another one.
    """

    rows: ir.Table
    objects: Mapping[str, Mapping[str, Any]]
    before: Before
    is_full: bool = False
    declared: Mapping[str, str] = field(default_factory=dict)

    @property
    def accepted(self) -> ir.Table:
        """The lines that broke no rule."""
        return self.rows.filter(self.rows.regras.isnull())

    @property
    def rejected(self) -> ir.Table:
        """The lines that broke one."""
        return self.rows.filter(self.rows.regras.notnull())


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
    if not pending.objects:
        return judged(ibis.memtable([], schema=OBSERVED), {})
    lines = pending.lines
    # each of them reads Bronze again, on an engine that holds no lines
    parts = [
        _read_source(lines.filter(lines.fonte == name), contracts[name], networks, zone)
        if name in contracts
        else _refuse(lines.filter(lines.fonte == name), zone)
        for name in sorted({lot_of(name)[0] for name in pending.objects})
    ]
    return judged((ibis.union(*parts) if len(parts) > 1 else parts[0]).cache(), pending.objects)


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

    arrived = {"ingestion_ts": _arrival(lines, zone), "run_id": lines.fonte + "-" + lines.janela}
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


def _arrival(lines: ir.Table, zone: str) -> ir.TimestampValue:
    """When the window of a line began, in UTC."""
    return local_to_utc((lines.janela.replace("T", " ") + ":00:00").cast("timestamp"), zone)


def _refuse(lines: ir.Table, zone: str) -> ir.Table:
    """The lines of sources that are not declared any more."""
    return _observations(lines, zone, {"source.undeclared": ibis.literal(True)})


def _observations(lines: ir.Table, zone: str, rules: Mapping[str, ir.BooleanValue]) -> ir.Table:
    """The columns of Silver; those of the quarantine only of lines that broke a rule."""
    broken = {f"{rule}.broken": is_broken.fill_null(False) for rule, is_broken in rules.items()}
    lines = lines.mutate(**broken)
    lines = lines.mutate(is_rejected=ibis.or_(*(lines[column] for column in broken)))
    names = [ibis.ifelse(lines[f"{rule}.broken"], rule, None) for rule in rules]
    arrival = _arrival(lines, zone)
    of_rejected = {
        "lote": lines.objeto.re_extract(r"([^/]+)\.jsonl\z", 1),
        "quando": arrival.strftime("%Y-%m-%d") + "T" + arrival.strftime("%H:%M:%S") + "Z",
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
