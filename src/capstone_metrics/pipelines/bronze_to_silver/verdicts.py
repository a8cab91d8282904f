"""The verdict on a line, field by field: accepted, or the rules that it broke."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ibis

from capstone_metrics.pipelines.bronze_to_silver.functions import (
    json_fields,
    json_names,
    json_object_valid,
    present,
)
from capstone_metrics.pipelines.bronze_to_silver.reading import arrival, read
from capstone_metrics.schemas import QUARANTINE, SILVER

if TYPE_CHECKING:
    from collections.abc import Mapping

    import ibis.expr.types as ir

    from capstone_metrics.pipelines.bronze_to_silver.declaration import Contract

OBSERVED = ibis.schema({**SILVER, **QUARANTINE, "new_fields": "array<string>"})
"""A line with its verdict: `regras` is null where it is accepted, and `new_fields` are those that
its source does not declare, or null."""


def judge_by_field(lines: ir.Table, contract: Contract, networks: list[str], zone: str) -> ir.Table:
    """The verdicts on lines of a source. What few of them need is worked out for these alone.

    Args:
        lines: the lines.
        contract: of the source.
        networks: the known values of `rede_social`.
        zone: of windows, and of times without one.

    Returns:
        A table of `OBSERVED`.
    """
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


def refuse(lines: ir.Table, zone: str) -> ir.Table:
    """The verdicts on lines of a source that is not declared any more."""
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
