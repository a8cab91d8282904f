"""Validate lines field by field: accept each, or name the rules that it broke."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ibis

from capstone_metrics.pipelines.bronze_to_silver.functions import (
    json_fields,
    json_names,
    json_object_valid,
    present,
)
from capstone_metrics.pipelines.bronze_to_silver.parsing import parse_fields, window_start
from capstone_metrics.schemas import QUARANTINE, SILVER

if TYPE_CHECKING:
    from collections.abc import Mapping

    import ibis.expr.types as ir

    from capstone_metrics.validation.contract import Contract

VALIDATED = ibis.schema({**SILVER, **QUARANTINE, "new_fields": "array<string>"})
"""A validated line. `regras` is null if it was accepted; `new_fields` are the fields that its
source does not declare, null without any."""


def validate_by_field(
    lines: ir.Table, contract: Contract, networks: list[str], zone: str
) -> ir.Table:
    """Validate the lines of a source.

    What only few lines need is computed for these alone.

    Args:
        lines: the lines.
        contract: that of the source.
        networks: the known values of `rede_social`.
        zone: the time zone of windows, and of times without one.

    Returns:
        A table of `VALIDATED`.
    """
    known = sorted({*contract.source_fields, *contract.other_fields})
    lines = lines.mutate(is_json=json_object_valid(lines.texto).fill_null(False))
    lines = lines.mutate(
        keys=ibis.ifelse(lines.is_json, json_names(lines.texto), None),
        tokens=ibis.ifelse(lines.is_json, json_fields(lines.texto, ibis.array(known)), None),
    )
    # as many keys as known fields: no key is repeated, and none is new
    lines = lines.mutate(
        has_known_keys=(lines.keys.length() == present(lines.tokens)).fill_null(False)
    )
    is_unique = lines.keys.unique().length() == lines.keys.length()
    lines = lines.mutate(
        is_readable=lines.has_known_keys
        | ibis.ifelse(lines.is_json & ~lines.has_known_keys, is_unique, False)
    )
    new_fields = lines.keys.filter(lambda key: key.notin(known)).nullif([])
    lines = lines.mutate(
        new_fields=ibis.ifelse(lines.is_readable & ~lines.has_known_keys, new_fields, None)
    )
    lines, broken = parse_fields(lines, contract, known)

    defaults = {
        "ingestion_ts": window_start(lines, zone),
        "run_id": lines.fonte + "-" + lines.janela,
    }
    lines = lines.mutate(
        **{
            name: ibis.ifelse(lines[name].isnull(), value, lines[name])
            if name in contract.fields
            else value
            for name, value in defaults.items()
        }
    )
    tomorrow = (lines.ingestion_ts + ibis.interval(days=1)).date()
    return _with_outcome(
        lines,
        zone,
        {
            "line.not_utf8": lines.texto.isnull(),
            "line.not_json": lines.texto.notnull() & ~lines.is_json,
            "line.repeated_keys": lines.is_json & ~lines.is_readable,
            **({"line.new_field": lines.new_fields.notnull()} if contract.is_frozen else {}),
            **{rule: lines.is_readable & lines[column] for rule, column in broken.items()},
            "rede_social.unknown": lines.is_readable & lines.rede_social.notin(networks),
            "data_postagem.after_observation": lines.is_readable & (lines.data_postagem > tomorrow),
        },
    )


def reject_undeclared(lines: ir.Table, zone: str) -> ir.Table:
    """Reject the lines of a source that is no longer declared."""
    return _with_outcome(lines, zone, {"source.undeclared": ibis.literal(True)})


def _with_outcome(lines: ir.Table, zone: str, rules: Mapping[str, ir.BooleanValue]) -> ir.Table:
    """Return a table of `VALIDATED`; the quarantine's columns are null for accepted lines."""
    broken = {f"{rule}.broken": is_broken.fill_null(False) for rule, is_broken in rules.items()}
    lines = lines.mutate(**broken)
    lines = lines.mutate(is_rejected=ibis.or_(*(lines[column] for column in broken)))
    names = [ibis.ifelse(lines[f"{rule}.broken"], rule, None) for rule in rules]
    started = window_start(lines, zone)
    quarantine = {
        "lote": lines.objeto.re_extract(r"([^/]+)\.jsonl\z", 1),
        "quando": started.strftime("%Y-%m-%d") + "T" + started.strftime("%H:%M:%S") + "Z",
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
        **{name: ibis.ifelse(lines.is_rejected, v, None) for name, v in quarantine.items()},
    )
