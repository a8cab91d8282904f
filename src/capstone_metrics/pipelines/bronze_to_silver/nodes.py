"""Every new line of Bronze is judged, and brought into Silver or its quarantine."""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ibis
import ibis.expr.types as ir

from capstone_metrics.changes import Before, Change, Pending
from capstone_metrics.errors import CapstoneError
from capstone_metrics.pipelines.bronze_to_silver.declaration import Field, fields_of
from capstone_metrics.pipelines.bronze_to_silver.functions import (
    json_fields,
    json_keys_unique,
    json_object_valid,
    local_to_utc,
)
from capstone_metrics.pipelines.bronze_to_silver.reading import names_of, read
from capstone_metrics.schemas import LOCATOR, PLACES, QUARANTINE, REQUIRED, SILVER

OBSERVED = ibis.schema({**SILVER, **QUARANTINE})


@dataclass(frozen=True)
class Judged:
    """The pending lines with their verdicts, and what they came with.

    Attributes:
        rows: the columns of Silver and of the quarantine; `regras` is null in an accepted line.
        objects: what is known of each Bronze object, by its name.
        before: Silver as it was.
    """

    rows: ir.Table
    objects: Mapping[str, Mapping[str, Any]]
    before: Before

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
    fields = {name: fields_of(name, source, zone) for name, source in sources.items()}
    if not pending.objects:
        return Judged(ibis.memtable([], schema=OBSERVED), {}, pending.before)
    windows = (pending.lines.janela.replace("T", " ") + ":00:00").cast("timestamp")
    lines = pending.lines.mutate(arrival=local_to_utc(windows, zone))
    parts = [
        _read_source(lines.filter(lines.fonte == name), own, networks)
        for name, own in fields.items()
    ]
    undeclared = lines.filter(lines.fonte.notin(list(fields)))
    rows = ibis.union(*parts, _refuse(undeclared)).cache()
    return Judged(rows, pending.objects, pending.before)


def merge(judged: Judged, full: bool) -> tuple[Change, Change, Change, dict[str, int]]:
    """Bring the accepted observations into Silver: the latest of each video stays.

    "Latest" is a total order, the last `ingestion_ts` and then the last place in Bronze. So the
    outcome depends on what is in Bronze, and not on the order or number of merges.

    Args:
        judged: the lines.
        full: whether to forget Silver as it is.

    Returns:
        The changes of `silver_criacao`, `silver_places` and `silver_locator`, and counts: the
        observations `accepted`, and the rows of the changed partitions `before` and `after`.
    """
    before, accepted = judged.before, judged.accepted
    if not judged.objects:
        rows, places, locator = (Change(table, []) for table in before.tables.values())
        return rows, places, locator, {"accepted": 0, "before": 0, "after": 0}
    new = latest(accepted.select(*PLACES).mutate(is_new=True)).cache()
    full = full or before.generation == 0
    if full:
        known, touched = new.filter(~new.is_new), None
    else:
        known, touched = _rows_in_the_way(new, before)
    merged = latest(ibis.union(known, new)).cache()
    fresh, kept = merged.filter(merged.is_new), merged.filter(~merged.is_new)

    rows = accepted.semi_join(fresh, ["objeto", "linha"]).select(*SILVER)
    if touched is not None:
        old = _within(before.tables["criacao"], touched).semi_join(kept, "video_id")
        rows = ibis.union(rows, old.select(*SILVER))
    relocated = fresh.anti_join(known, ["video_id", "rede_social", "data_postagem"])
    counts = {"accepted": _count(accepted), "before": _count(known), "after": _count(merged)}
    return (
        Change(rows, touched),
        Change(merged.select(*PLACES), touched),
        _relocate(relocated, before, full),
        counts,
    )


def quarantine(judged: Judged, full: bool) -> tuple[Change, int]:
    """The rejected lines of the pending objects, with the rules that they broke; and how many."""
    lots = None if full else [_lot(name) for name in judged.objects]
    rejected = judged.rejected.select(*QUARANTINE)
    return Change(rejected, lots), _count(rejected)


def account(
    judged: Judged, counts: Mapping[str, int], quarantined: int, full: bool
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Where every pending line went, and every line of Bronze.

    Args:
        judged: the lines, and those of each object counted from its bytes.
        counts: of the merge.
        quarantined: the lines that went to the quarantine.
        full: whether Silver was built anew.

    Returns:
        The receipt of each object, the accounts of this run, and the new head of Silver.

    Raises:
        CapstoneError: unless, for each object and in total, the lines in Bronze are those
            current in Silver, superseded and quarantined.
    """
    receipts = _receipts(judged)
    run = {
        "lines": sum(receipt["lines"] for receipt in receipts.values()),
        "accepted": counts["accepted"],
        "superseded": counts["before"] + counts["accepted"] - counts["after"],
        "quarantined": quarantined,
    }
    old = {} if full else judged.before.head
    total = dict.fromkeys(("lines", "current", "superseded", "quarantined"), 0)
    total |= old.get("total", {})
    total["current"] += counts["after"] - counts["before"]
    for kind in ("lines", "superseded", "quarantined"):
        total[kind] += run[kind]
    _check("Bronze", total["lines"], sum(total.values()) - total["lines"])
    reasons = Counter(old.get("reasons", {}))
    for receipt in receipts.values():
        reasons.update(receipt["reasons"])
    head = {
        "generation": judged.before.generation + 1,
        "total": total,
        "reasons": dict(sorted(reasons.items())),
    }
    if not receipts and judged.before.head:
        head = judged.before.head
    return receipts, {"run": run, "receipts": receipts, **head}, head


def refuse_lost_fields(silver_accounts: Mapping[str, Any]) -> None:
    """Stop before Gold if a required field is in no line of an object: it was renamed, or is gone.

    Raises:
        CapstoneError: for the first such object. Its lines are in the quarantine already.
    """
    for name, receipt in silver_accounts["receipts"].items():
        lost = [
            field
            for field in REQUIRED
            if receipt["lines"] and receipt["reasons"].get(f"{field}.missing") == receipt["lines"]
        ]
        if lost:
            fonte, *_ = _lot(name)
            raise CapstoneError(
                f"{name} has {', '.join(lost)} in none of its {receipt['lines']} lines: they are "
                f"kept in the quarantine, and Gold is left as it is. Mend sources.{fonte}.fields, "
                "then run 'kedro quarantine replay'."
            )


def latest(places: ir.Table) -> ir.Table:
    """The latest place of each video; of two equal ones, the new one."""
    last_first = [places[name].desc() for name in ("ingestion_ts", "objeto", "linha", "is_new")]
    rank = ibis.row_number().over(group_by="video_id", order_by=last_first)
    return places.mutate(rank=rank).filter(lambda t: t["rank"] == 0).drop("rank")


def _rows_in_the_way(new: ir.Table, before: Before) -> tuple[ir.Table, list[tuple[str, ...]]]:
    """The places in the partitions that a merge touches, and these partitions.

    Those are the partitions that the new observations belong to and, for a video whose posting
    date or network was corrected, the one that it is in now.
    """
    touched = _partitions(new)
    here = _within(before.tables["places"], touched)
    strangers = new.anti_join(here, "video_id").select("video_id", shard=_shard(new.video_id))
    shards = strangers.select("shard").distinct().to_pyarrow()["shard"].to_pylist()
    locator = before.tables["locator"]
    elsewhere = locator.filter(locator.shard.isin(shards)).semi_join(strangers, "video_id")
    touched = sorted({*touched, *_partitions(elsewhere)})
    known = _within(before.tables["places"], touched).select(*PLACES)
    return known.mutate(is_new=False).cache(), touched


def _relocate(relocated: ir.Table, before: Before, is_whole: bool) -> Change:
    """The shards of the locator with the videos that are new or moved."""
    moved = relocated.mutate(shard=_shard(relocated.video_id)).select(*LOCATOR).cache()
    if is_whole:
        return Change(moved)
    shards = moved.select("shard").distinct().to_pyarrow()["shard"].to_pylist()
    locator = before.tables["locator"]
    rest = locator.filter(locator.shard.isin(shards)).anti_join(moved, "video_id")
    return Change(ibis.union(moved, rest.select(*LOCATOR)), [(shard,) for shard in shards])


def _shard(video_id: ir.StringValue) -> ir.StringValue:
    return video_id.hexdigest("md5").left(2)


def _partitions(table: ir.Table) -> list[tuple[str, ...]]:
    found = table.select("rede_social", "data_postagem").distinct().to_pyarrow().to_pylist()
    return sorted((row["rede_social"], str(row["data_postagem"])) for row in found)


def _within(table: ir.Table, partitions: list[tuple[str, ...]] | None) -> ir.Table:
    """The rows of some partitions; files of others are not opened."""
    if partitions is None:
        return table
    networks, days = ({part[i] for part in partitions} for i in (0, 1))
    name = table.rede_social + "/" + table.data_postagem.cast("string")
    return table.filter(
        table.rede_social.isin(sorted(networks)),
        table.data_postagem.isin([dt.date.fromisoformat(day) for day in sorted(days)]),
        name.isin(["/".join(part) for part in partitions]),
    )


def _lot(name: str) -> tuple[str, ...]:
    """The partition of the quarantine that an object's lines go to."""
    return tuple(part.rpartition("=")[2].removesuffix(".jsonl") for part in name.split("/"))


def _receipts(judged: Judged) -> dict[str, Any]:
    """For each object what it held and where it went.

    Raises:
        CapstoneError: if an object has more or fewer judged lines than lines.
    """
    if not judged.objects:
        return {}
    is_rejected = judged.rows.regras.notnull()
    counts = judged.rows.group_by("objeto").agg(
        accepted=(~is_rejected).sum(), quarantined=is_rejected.sum()
    )
    found = {row.pop("objeto"): row for row in counts.to_pyarrow().to_pylist()}
    rules = judged.rejected.select("objeto", rule=judged.rejected.regras.unnest())
    broken = rules.group_by("objeto", "rule").agg(lines=rules.count()).order_by("objeto", "rule")
    reasons: dict[str, dict[str, int]] = defaultdict(dict)
    for row in broken.to_pyarrow().to_pylist():
        reasons[row["objeto"]][row["rule"]] = row["lines"]
    receipts = {}
    for name, measured in judged.objects.items():
        verdicts = found.get(name, {"accepted": 0, "quarantined": 0})
        _check(name, measured["lines"], sum(verdicts.values()))
        receipts[name] = {"object": name, **measured, **verdicts, "reasons": reasons[name]}
    return receipts


def _check(what: str, expected: int, found: int) -> None:
    if expected != found:
        raise CapstoneError(
            f"The accounts do not close: {what} has {expected} lines, of which {found} were "
            "found again. Build Silver anew from Bronze: kedro run --params=full=true."
        )


def _count(table: ir.Table) -> int:
    return int(table.count().to_pyarrow().as_py())


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
        lote=lines.objeto.re_extract(r"([^/]+)\.jsonl$", 1),
        quando=lines.arrival.strftime("%Y-%m-%dT%H:%M:%SZ"),
        **{
            name: ibis.ifelse(lines.is_rejected, lines[name], None)
            for name in ("regras", "texto", "texto_base64")
        },
    )
