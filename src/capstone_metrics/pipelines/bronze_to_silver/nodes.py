"""Every line of Bronze gets one verdict: current, superseded or quarantined."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ibis
import ibis.expr.types as ir

from capstone_metrics.errors import CapstoneError
from capstone_metrics.pipelines.bronze_to_silver.declaration import Field, fields_of
from capstone_metrics.pipelines.bronze_to_silver.functions import (
    json_fields,
    json_keys_unique,
    json_object_valid,
    local_to_utc,
)
from capstone_metrics.pipelines.bronze_to_silver.reading import names_of, read
from capstone_metrics.schemas import QUARANTINE, SILVER

CURRENT, SUPERSEDED, QUARANTINED = "current", "superseded", "quarantined"


def observe(
    bronze: ir.Table, sources: Mapping[str, Any], networks: list[str], schedule: Mapping[str, Any]
) -> ir.Table:
    """Read every line of Bronze and give it its verdict.

    Args:
        bronze: the lines, with their `fonte`, `janela`, `objeto` and `linha`.
        sources: the declarations, by `fonte`.
        networks: the known values of `rede_social`.
        schedule: its `timezone` is that of windows, and of times without a zone.

    Returns:
        The columns of Silver and of the quarantine, and `situacao`.

    Raises:
        CapstoneError: if the `fields` of a source do not hold.
    """
    zone = schedule["timezone"]
    fields = {name: fields_of(name, source, zone) for name, source in sources.items()}
    lines = bronze.mutate(
        arrival=local_to_utc((bronze.janela.replace("T", " ") + ":00:00").cast("timestamp"), zone)
    )
    undeclared = lines.filter(lines.fonte.notin(list(fields)))
    parts = [
        _read_source(lines.filter(lines.fonte == name), own, networks)
        for name, own in fields.items()
    ]
    return _settle(ibis.union(*parts, _refuse(undeclared))).cache()


def current(observacoes: ir.Table) -> ir.Table:
    """Silver: the latest observation of each video."""
    return observacoes.filter(observacoes.situacao == CURRENT).select(*SILVER)


def quarantined(observacoes: ir.Table) -> ir.Table:
    """The quarantine: the rejected lines, with the rules that they broke."""
    return observacoes.filter(observacoes.situacao == QUARANTINED).select(*QUARANTINE)


def account(
    observacoes: ir.Table,
    bronze_line_counts: Mapping[str, int],
    silver: ir.Table,
    quarantine: ir.Table,
) -> dict[str, Any]:
    """Where every line went: in total, by broken rule, and by Bronze object.

    Args:
        observacoes: the verdicts.
        bronze_line_counts: the lines of each object, counted from the bytes.
        silver: as it was written.
        quarantine: as it was written.

    Raises:
        CapstoneError: unless, for each object and in total, the lines in Bronze are those
            current in Silver, superseded and quarantined.
    """
    counts = observacoes.group_by("objeto", "situacao").agg(lines=observacoes.count())
    verdicts = dict.fromkeys((CURRENT, SUPERSEDED, QUARANTINED), 0)
    objects = {name: {"lines": n, **verdicts} for name, n in bronze_line_counts.items()}
    for row in counts.to_pyarrow().to_pylist():
        objects.setdefault(row["objeto"], {"lines": 0, **verdicts})[row["situacao"]] = row["lines"]
    total = {kind: sum(entry[kind] for entry in objects.values()) for kind in ("lines", *verdicts)}
    for name, entry in {**objects, "all of Bronze": total}.items():
        _check(name, entry["lines"], sum(entry[verdict] for verdict in verdicts))
    _check("silver_criacao", total[CURRENT], silver.count().to_pyarrow().as_py())
    _check("silver_quarentena", total[QUARANTINED], quarantine.count().to_pyarrow().as_py())
    rules = quarantine.select(rule=quarantine.regras.unnest()).rule.value_counts(name="lines")
    reasons = {row["rule"]: row["lines"] for row in rules.to_pyarrow().to_pylist()}
    return {"total": total, "reasons": dict(sorted(reasons.items())), "objects": objects}


def _check(what: str, expected: int, found: int) -> None:
    if expected != found:
        raise CapstoneError(
            f"The accounts do not close: {what} should have {expected} lines and has {found}. "
            "Something else changed the lake during this run; run again."
        )


def _read_source(lines: ir.Table, fields: dict[str, Field], networks: list[str]) -> ir.Table:
    lines = lines.mutate(is_json=json_object_valid(lines.texto).fill_null(False))
    lines = lines.mutate(is_read=ibis.ifelse(lines.is_json, json_keys_unique(lines.texto), False))
    tokens = json_fields(lines.texto, ibis.array(names_of(fields)))
    lines = lines.mutate(tokens=ibis.ifelse(lines.is_read, tokens, None))
    lines, broken = read(lines, fields)

    arrived = {"ingestion_ts": lines.arrival, "run_id": lines.fonte + "-" + lines.janela}
    lines = lines.mutate(
        **{
            name: lines[name].fill_null(value) if name in fields else value
            for name, value in arrived.items()
        }
    )
    tomorrow = (lines.ingestion_ts + ibis.interval(days=1)).date()
    return _observations(
        lines,
        {
            "line.not_utf8": lines.texto.isnull(),
            "line.not_json": lines.texto.notnull() & ~lines.is_json,
            "line.repeated_keys": lines.is_json & ~lines.is_read,
            **{rule: lines.is_read & lines[column] for rule, column in broken.items()},
            "rede_social.unknown": lines.is_read & lines.rede_social.notin(networks),
            "data_postagem.after_observation": lines.is_read & (lines.data_postagem > tomorrow),
        },
    )


def _refuse(lines: ir.Table) -> ir.Table:
    """The lines of sources that are not declared any more."""
    return _observations(lines, {"source.undeclared": ibis.literal(True)})


def _observations(lines: ir.Table, rules: Mapping[str, ir.BooleanValue]) -> ir.Table:
    """The columns of Silver and of the quarantine; the text only of lines that broke a rule."""
    names = [ibis.ifelse(broken.fill_null(False), rule, None) for rule, broken in rules.items()]
    lines = lines.mutate(regras=ibis.array(names).filter(lambda rule: rule.notnull()))
    lines = lines.mutate(is_rejected=lines.regras.length() > 0)
    return lines.select(
        **{
            name: (lines[name] if name in lines.columns else ibis.null()).cast(kind)
            for name, kind in SILVER.items()
        },
        **{name: lines[name] for name in ("fonte", "janela", "objeto", "linha")},
        quando=lines.arrival.strftime("%Y-%m-%dT%H:%M:%SZ"),
        **{
            name: ibis.ifelse(lines.is_rejected, lines[name], None)
            for name in ("regras", "texto", "texto_base64")
        },
    )


def _settle(observations: ir.Table) -> ir.Table:
    """Add `situacao`. The latest observation has the last `ingestion_ts`, then place in Bronze."""
    latest_first = [
        observations.ingestion_ts.desc(),
        observations.objeto.desc(),
        observations.linha.desc(),
    ]
    accepted = observations.regras.isnull()
    rank = ibis.row_number().over(group_by=[accepted, "video_id"], order_by=latest_first)
    situacao = ibis.cases(
        (~accepted, QUARANTINED),
        (rank == 0, CURRENT),
        else_=SUPERSEDED,
    )
    return observations.mutate(situacao=situacao)
