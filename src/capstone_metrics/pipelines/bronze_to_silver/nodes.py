"""Every line of Bronze gets one verdict: current, superseded or quarantined."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import reduce
from operator import or_
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
from capstone_metrics.pipelines.bronze_to_silver.reading import read
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
    for name, entry in {"all of Bronze": total, **objects}.items():
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
    is_utf8 = lines.texto.notnull()
    is_json = json_object_valid(lines.texto).fill_null(False)
    lines = lines.mutate(is_utf8=is_utf8, is_json=is_json)
    is_read = ibis.ifelse(lines.is_json, json_keys_unique(lines.texto), False)
    lines = lines.mutate(is_read=is_read)

    names = sorted({field.field for field in fields.values() if field.field is not None})
    tokens = json_fields(lines.texto, ibis.array(names))
    lines = lines.mutate(
        tokens=ibis.ifelse(lines.is_read, tokens, ibis.null("array<string>")),
    )
    lines = lines.mutate(**{f"token_{i}": lines.tokens[i] for i in range(len(names))})

    readings = {
        name: read(
            field,
            lines[f"token_{names.index(field.field)}"]
            if field.field is not None
            else ibis.literal(json.dumps(field.constant)),
        )
        for name, field in fields.items()
    }
    values = {name: reading.value for name, reading in readings.items()}
    values["ingestion_ts"] = values.get("ingestion_ts", ibis.null("timestamp")).fill_null(
        lines.arrival
    )
    run_id = lines.fonte + "-" + lines.janela
    values["run_id"] = values.get("run_id", ibis.null(str)).fill_null(run_id)
    broken = {rule: at for reading in readings.values() for rule, at in reading.broken.items()}
    broken["rede_social.unknown"] = values["rede_social"].notin(networks)
    broken["data_postagem.after_observation"] = (
        values["data_postagem"] > (values["ingestion_ts"] + ibis.interval(days=1)).date()
    )
    rules = {
        "line.not_utf8": ~lines.is_utf8,
        "line.not_json": lines.is_utf8 & ~lines.is_json,
        "line.repeated_keys": lines.is_json & ~lines.is_read,
        **{rule: lines.is_read & at for rule, at in broken.items()},
    }
    return _observations(lines, values, rules)


def _refuse(lines: ir.Table) -> ir.Table:
    """The lines of sources that are not declared any more."""
    return _observations(lines, {}, {"source.undeclared": ibis.literal(True)})


def _observations(
    lines: ir.Table, values: Mapping[str, ir.Value], rules: Mapping[str, ir.BooleanValue]
) -> ir.Table:
    """The columns of Silver and of the quarantine; the text only of lines that broke a rule."""
    broken = {rule: at.fill_null(False) for rule, at in rules.items()}
    is_rejected = reduce(or_, broken.values())
    named = ibis.array([ibis.ifelse(at, rule, ibis.null(str)) for rule, at in broken.items()])
    kept = {
        column: ibis.ifelse(is_rejected, lines[column], ibis.null(str))
        for column in ("texto", "texto_base64")
    }
    silver = {
        name: values[name].cast(kind) if name in values else ibis.null(kind)
        for name, kind in SILVER.items()
    }
    return lines.select(
        **silver,
        fonte=lines.fonte,
        janela=lines.janela,
        objeto=lines.objeto,
        linha=lines.linha,
        regras=ibis.ifelse(
            is_rejected,
            named.filter(lambda rule: rule.notnull()),
            ibis.null("array<string>"),
        ),
        quando=lines.arrival.strftime("%Y-%m-%dT%H:%M:%SZ"),
        **kept,
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
