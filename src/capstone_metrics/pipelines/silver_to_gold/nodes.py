"""Aggregate Silver into the declared marts."""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.compute as pc

from capstone_metrics.changes import (
    GoldSnapshot,
    GoldUpdate,
    SilverSnapshot,
    SourceState,
    current_rows,
)
from capstone_metrics.errors import DataError
from capstone_metrics.facts import Days, changed_days, facts_of, rows_of_days
from capstone_metrics.gold_csv import read_csv, to_csv
from capstone_metrics.mart_declarations import declaration_in, marts_in, marts_of
from capstone_metrics.marts import Basis, Mart
from capstone_metrics.measures import aggregate, keyed, totals_of
from capstone_metrics.quality import Finding, QualityReport, Rules, check_names, check_totals
from capstone_metrics.refusals import allowed_names, refusal_error, refusals_of
from capstone_metrics.schedule import Span
from capstone_metrics.schemas import DAYS, PROVENANCE_OF
from capstone_metrics.validation.silver import NAMES, columns_of
from capstone_metrics.wide_sums import (
    MAX_MEASURE,
    exact_sum,
    overflow,
    overflow_days,
    rows_within,
    sum_of,
    wide_sum,
)

if TYPE_CHECKING:
    from capstone_metrics.wide_sums import Sum

log = logging.getLogger(__name__)

HASH_MODULUS = 2**31 - 1
"""So that the sum of billions of hashes fits into 64 bits."""

MAX_RULES = 5
"""How many rules a message names."""


@dataclass(frozen=True)
class Facts:
    """The rows of Silver that marts are rebuilt from.

    Attributes:
        days: the days to rebuild; None for all days.
        rows: the columns of Silver that the marts need, for these days; None if there are no days.
        sum_of: how a column of them is summed.
    """

    days: set[dt.date] | None
    rows: ir.Table | None
    sum_of: Sum = wide_sum


@dataclass(frozen=True)
class RebuildScope:
    """The days of Gold to rebuild, and the rows to rebuild them from.

    Attributes:
        facts: the days and rows for the marts of each basis.
        gold: Gold as of its last commit.
        silver_head: the head of Silver as it is now.
        marts: the declared marts, by name.
        overflows: the sums of these rows that Gold cannot store.
    """

    facts: Mapping[Basis, Facts]
    gold: GoldSnapshot
    silver_head: Mapping[str, Any]
    marts: Mapping[str, Mart] = field(default_factory=dict)
    overflows: Sequence[Mapping[str, Any]] = ()

    def rows_of(self, mart: Mart) -> ir.Table:
        """Return the rows that a mart is rebuilt from; there are days to rebuild."""
        rows = self.facts[mart.basis].rows
        assert rows is not None
        return rows_within(rows, mart, self.overflows)

    @property
    def all_overflows(self) -> list[Mapping[str, Any]]:
        """The sums that Gold lacks: of these rows, and as before on other days."""
        before = self.gold.manifest.get("overflows", ())
        return [*(each for each in before if not self._is_rebuilt(each)), *self.overflows]

    def _is_rebuilt(self, each: Mapping[str, Any]) -> bool:
        facts = self.facts.get(Basis(*each["basis"]), Facts(None, None))
        return facts.days is None or bool(overflow_days([each]) & facts.days)

    def reusable_rows(self, mart: Mart) -> pa.Table | None:
        """Return the current rows of a mart, to be reused on other days; None if all are rebuilt.

        All rows are rebuilt if the mart is new, was declared differently, or has no day in its key.
        """
        entry = self.gold.manifest.get("marts", {}).get(mart.name, {})
        before = self.gold.manifest.get("columns", {})
        is_declared_alike = mart.declaration == declaration_in(entry) and all(
            before.get(name, kind) == kind for name, kind in mart.declared_columns.items()
        )
        has_reusable_days = self.facts[mart.basis].days == set() or mart.has_day
        is_reusable = is_declared_alike and has_reusable_days
        return self.gold.tables.get(mart.name) if is_reusable else None


def find_rebuild_scope(
    silver: SilverSnapshot,
    gold: GoldSnapshot,
    declarations: Mapping[str, Any],
    columns: Mapping[str, str],
    full: bool,
    first: str | None,
    last: str | None,
) -> RebuildScope:
    """Find the days of Gold to rebuild, and load and check the rows of Silver for them.

    These are the days of Silver that changed since Gold was built, and the days of a backfill. If
    a mart is new, was declared differently, or has no day in its key, and a day changed, all days
    of all marts of its basis are rebuilt.

    Args:
        silver: Silver as of its last commit.
        gold: Gold as of its last commit.
        declarations: the declared marts.
        columns: the types of the declared columns of Silver, by name.
        full: whether to rebuild all days.
        first: the first day or window of a backfill; None without one.
        last: the last day or window of a backfill.

    Raises:
        DataError: if there is no Silver, or it lacks a declared column; or if on these days it is
            not what its last commit wrote.
    """
    marts = marts_of(declarations, columns_of(columns))
    if not silver.head:
        raise DataError("There is no Silver to build Gold from; run 'kedro run' first.")
    by_basis: dict[Basis, list[Mart]] = defaultdict(list)
    for mart in marts.values():
        by_basis[mart.basis].append(mart)
    _require_columns(marts, silver)
    _tell_what_is_new(marts, gold)
    days = _days(silver, gold, by_basis, full, first, last)
    unread = {basis: Facts(days[basis], None) for basis in by_basis}
    scope = RebuildScope(unread, gold, silver.head, marts)
    facts = {}
    overflows = []
    for basis, own in by_basis.items():
        rebuilt = days[basis]
        if any(scope.reusable_rows(mart) is None for mart in own):
            rebuilt = None
        facts[basis] = Facts(rebuilt, None)
        if rebuilt != set():
            needed = set().union(*(mart.source_columns for mart in own))
            rows = facts_of(silver.tables, basis, needed, rebuilt).cache()
            summed = sorted(set().union(*(mart.summed_columns for mart in own)))
            facts[basis] = Facts(rebuilt, rows, sum_of(rows, summed))
            if facts[basis].sum_of == wide_sum:
                overflows += _overflows(rows, own)
    _check_silver(silver, facts)
    return RebuildScope(facts, gold, silver.head, marts, overflows)


def _require_columns(marts: Mapping[str, Mart], silver: SilverSnapshot) -> None:
    """Raise an error if a mart needs a declared column as Silver was not built with it."""
    for mart in marts.values():
        for column, kind in sorted(mart.declared_columns.items()):
            if silver.columns.get(column) != kind:
                raise DataError(
                    f"marts.{mart.name}: Silver was built without {column} as it is declared now. "
                    "Run 'kedro run', which builds it again."
                )


def _tell_what_is_new(marts: Mapping[str, Mart], gold: GoldSnapshot) -> None:
    """Log which marts were declared since Gold was last committed, and what they bring."""
    known = gold.manifest.get("marts", {})
    for name in marts if known else ():
        if name not in known:
            log.info("%s is new: it is built from all of Silver, with every day.", name)


def _overflows(rows: ir.Table, marts: Iterable[Mart]) -> list[dict[str, Any]]:
    """Return the sums of the marts of one basis that are past 64 bits."""
    found = []
    for mart in marts:
        sums = [each.name for each in mart.sums]
        labelled = keyed(rows, mart)
        measures = {each.name: wide_sum(labelled[each.column]) for each in mart.sums}
        table = labelled.group_by(*mart.key).agg(**measures)
        for name in sums:
            is_within = table[name].between(-MAX_MEASURE - 1, MAX_MEASURE)
            large = table.filter(~is_within).order_by(*mart.key)
            found += [
                overflow(mart, {column: row[column] for column in mart.key}, name, int(row[name]))
                for row in large.to_pyarrow().to_pylist()
            ]
    return found


def stop_on_refusals(
    scope: RebuildScope,
    found: Mapping[str, SourceState],
    sources: Mapping[str, Any],
    marts: Mapping[str, Any],
    allow_refused: Any,
    plan: bool,
) -> RebuildScope:
    """Return the scope of a Gold that lacks no source, other than those that it may lack.

    Args:
        scope: the days of Gold to rebuild; the head of Silver has what was refused by it.
        found: what the last ingestion found in each source, by its name.
        sources: the declarations of the sources, by name.
        marts: the declarations of the marts, by name.
        allow_refused: the names of the sources and marts of which Gold may lack something.
        plan: whether nothing is committed, so that nothing has to be stopped.

    Raises:
        DataError: if a source, or a part of it, is refused.
    """
    allowed = allowed_names(allow_refused, [*sources, *marts])
    error = refusal_error(refusals_of(sources, found, scope.silver_head), allowed, blocks_gold=True)
    if error and not plan:
        raise error
    return scope


def _require_rows(head: Mapping[str, Any]) -> None:
    """Raise an error if every line was rejected: a declaration does not fit what it reads."""
    total = head["total"]
    if total["current"] or not total.get("quarantined"):
        return
    rules = sorted(head["reasons"].items(), key=lambda each: (-each[1], each[0]))[:MAX_RULES]
    named = ", ".join(f"{rule} in {lines:,}" for rule, lines in rules)
    raise DataError(
        f"Silver has no row: all {total['quarantined']:,} lines are in the quarantine ({named}). "
        "'kedro quarantine --lines=5' shows them; correct the fields of the source, then run "
        "'kedro quarantine replay', or how its files are read, then run again."
    )


def _days(
    silver: SilverSnapshot,
    gold: GoldSnapshot,
    bases: Collection[Basis],
    full: bool,
    first: str | None,
    last: str | None,
) -> dict[Basis, set[dt.date] | None]:
    """Return the days that changed since Gold was built or that a backfill names; None for all."""
    span = Span.of(first, last)
    manifest = gold.manifest
    changed = silver.days_changed_since(
        manifest.get("silver_origin"), manifest.get("silver_generation", 0)
    )
    if full or changed is None:
        return dict.fromkeys(bases)
    backfilled = span.days if span else ()
    changed_of = changed_days(bases, changed, silver.tables)
    return {basis: days.union(backfilled) for basis, days in changed_of.items()}


def build_marts(scope: RebuildScope) -> dict[str, bytes]:
    """Return the CSV of each mart: one row for each value of its key, sorted by the key.

    On days outside the scope, it has the current rows of the mart.
    """
    return {name: to_csv(_build(scope, mart)) for name, mart in scope.marts.items()}


def _build(scope: RebuildScope, mart: Mart) -> pa.Table:
    """Return the rows of a mart: rebuilt on the days of the scope, and current on other days."""
    current = scope.reusable_rows(mart)
    facts = scope.facts[mart.basis]
    if facts.rows is None:  # no day changed, so each mart has reusable rows, which are sorted
        return current
    rebuilt = aggregate(scope.rows_of(mart), mart, facts.sum_of)
    if facts.days is not None:
        old = ibis.memtable(current)  # every mart has reusable rows, or all days are rebuilt
        unchanged = old.filter(old[mart.basis.day].notin(sorted(facts.days)))
        rebuilt = ibis.union(rebuilt, unchanged).order_by(*mart.key)
    return rebuilt.to_pyarrow()


def reconcile(scope: RebuildScope, files: Mapping[str, bytes]) -> GoldUpdate:
    """Check the marts as they are written against Silver, and return the new state of Gold.

    Args:
        scope: the days that were rebuilt, and the rows that they were rebuilt from.
        files: the CSV of each mart.

    Returns:
        The files of the marts, and a manifest: the generation; the origin, generation and number
        of rows of the Silver that Gold was built from; the key, measures, number of rows, totals
        and SHA-256 of each mart; and the sums that are left out, since they are past 64 bits.

    Raises:
        DataError: if a mart and Silver differ in a total.
    """
    entries = {}
    silver_totals = _silver_totals(scope)
    for mart in scope.marts.values():
        table = read_csv(files[mart.name], mart.types)
        totals = {name: exact_sum(table[name]) for name in mart.additive_names}
        expected = _expected_totals(scope, mart, silver_totals[mart.name])
        if totals != expected:
            raise DataError(
                f"{mart.name} does not add up to Silver: it has {totals} where Silver has "
                f"{expected}. Rebuild Gold: kedro run --pipelines=silver_to_gold "
                "--params=full=true."
            )
        entries[mart.name] = {
            **mart.declaration,
            "rows": table.num_rows,
            "totals": totals,
            "sha256": hashlib.sha256(files[mart.name]).hexdigest(),
        }
    content = {
        "silver_origin": scope.silver_head["origin"],
        "silver_generation": scope.silver_head["generation"],
        "silver_rows": current_rows(scope.silver_head),
        "marts": entries,
        **({"columns": columns} if (columns := scope.silver_head.get("columns")) else {}),
        **({"overflows": overflows} if (overflows := scope.all_overflows) else {}),
    }
    gold = scope.gold
    # an unchanged Gold keeps its generation
    is_unchanged = gold.manifest == {"generation": gold.generation, **content} and all(
        gold.tables[name] is not None for name in entries
    )
    generation = gold.generation if is_unchanged else gold.generation + 1
    return GoldUpdate(gold, files, {"generation": generation, **content})


def check_gold(
    update: GoldUpdate, quality: Mapping[str, Any] | None, marts: Mapping[str, Any]
) -> QualityReport:
    """Find totals that changed much since the last commit of Gold, and names that are alike.

    Raises:
        DataError: if a rule is invalid.
    """
    rules = Rules.of(quality or {}, marts)
    findings = check_totals(update.base.manifest, update.manifest, rules).findings
    findings += check_names(_names(update), rules).findings
    return QualityReport("gold", findings)


def _names(update: GoldUpdate) -> dict[str, dict[str, list[str]]]:
    """Return the different names in each mart, by the columns of its key that have names."""
    names: dict[str, dict[str, list[str]]] = {}
    for mart in marts_in(update.manifest).values():
        if columns := [column for column in mart.key if column in NAMES]:
            table = read_csv(update.files[mart.name], mart.types)
            names[mart.name] = {column: table[column].unique().to_pylist() for column in columns}
    return names


def enforce_quality(
    scope: RebuildScope,
    update: GoldUpdate,
    report: QualityReport,
    allow_findings: bool,
    plan: bool,
) -> GoldUpdate:
    """Return the new state of Gold, unless a finding blocks it, or every line was rejected.

    Args:
        scope: the Silver that Gold is built from; the head has the findings in Silver.
        update: the new state of Gold.
        report: what is unusual in the new state of Gold.
        allow_findings: whether Gold is committed whatever was found.
        plan: whether nothing is committed, so that nothing has to be blocked.

    Raises:
        DataError: for the first blocking finding in this update, or in Silver since Gold was
            last committed; if Silver has no row, since every line was rejected.
    """
    manifest = update.base.manifest
    head = scope.silver_head
    is_same_silver = manifest.get("silver_origin") == head["origin"]
    checked = manifest["silver_generation"] if is_same_silver else 0
    in_silver = [Finding.of(each) for each in head["findings"] if each["generation"] > checked]
    blocking = [each for each in (*report.findings, *in_silver) if each.action == "block"]
    if blocking and not (allow_findings or plan):
        raise DataError(
            f"{blocking[0].message}. Gold was not changed. If the data is right, run with "
            "--params=allow_findings=true; if not, fix the source or the rule in quality.yml."
        )
    if not plan:
        _require_rows(head)
    return update


def _silver_totals(scope: RebuildScope) -> dict[str, dict[str, int]]:
    """Return the totals of each mart by Silver, on the rebuilt days; marts of equal rows share."""
    by_rows: dict[Any, list[Mart]] = defaultdict(list)
    totals: dict[str, dict[str, int]] = {}
    for mart in scope.marts.values():
        totals[mart.name] = {}
        if scope.facts[mart.basis].rows is not None and mart.additive_names:
            by_rows[scope.rows_of(mart).op()].append(mart)
    for marts in by_rows.values():
        rows = scope.rows_of(marts[0])
        sum_of = scope.facts[marts[0].basis].sum_of
        measures = {str(m.declaration): m for mart in marts for m in mart.measures if m.is_additive}
        named = [m._replace(name=name) for name, m in measures.items()]
        (row,) = rows.agg(**totals_of(rows, named, sum_of)).to_pyarrow().to_pylist()
        for mart in marts:
            additive = (each for each in mart.measures if each.is_additive)
            totals[mart.name] = {m.name: int(row[str(m.declaration)] or 0) for m in additive}
    return totals


def _expected_totals(
    scope: RebuildScope, mart: Mart, silver_totals: Mapping[str, int]
) -> dict[str, int]:
    """Return the totals of Silver on the rebuilt days, plus the mart's totals on the other days."""
    facts = scope.facts[mart.basis]
    if facts.rows is None:
        return dict(scope.gold.manifest["marts"][mart.name]["totals"])
    current = scope.reusable_rows(mart)
    if facts.days is None or current is None:
        return dict(silver_totals)
    is_rebuilt = pc.is_in(current[mart.basis.day], pa.array(sorted(facts.days), pa.date32()))
    reused = current.filter(pc.invert(is_rebuilt))
    return {name: total + exact_sum(reused[name]) for name, total in silver_totals.items()}


def _check_silver(silver: SilverSnapshot, facts: Mapping[Basis, Facts]) -> None:
    """Raise if Silver has lost, gained, repeated or changed a video since its last commit.

    Each table is compared with the provenance of what was committed, on the days of which rows are
    read; observations of earlier days, which videos at an age need too, have to have their files.

    Raises:
        DataError: with the numbers of rows.
    """
    read = {basis: each for basis, each in facts.items() if each.rows is not None}
    if read and (lost := silver.lost_days()):
        table, lost_days = next(iter(lost.items()))
        more = f" and {len(lost_days) - 1:,} days more" if len(lost_days) > 1 else ""
        raise DataError(
            f"Silver has lost its file of {table} of {lost_days[0]}{more}. Rebuild Silver from "
            "Bronze: kedro run --params=full=true."
        )
    for table, provenance in PROVENANCE_OF.items():
        parts = [each.days for basis, each in read.items() if basis.day == DAYS[table]]
        if not parts:
            continue
        days = _union(parts)
        complete = {Basis(table), Basis("video")}  # a video is a row of criacao
        same = (
            each.rows
            for basis, each in read.items()
            if basis in complete and basis.day == DAYS[table] and each.days == days
        )
        rows = next(same, None)
        rows = silver.tables[table] if rows is None else rows
        tables = (rows, silver.tables[provenance])
        found, expected = (
            _fingerprints(rows_of_days(each, DAYS[table], days), DAYS[table]) for each in tables
        )
        count, expected_count = (
            sum(rows for rows, _ in each.values()) for each in (found, expected)
        )
        is_whole = table == "criacao" and days is None
        if found != expected or (is_whole and count != current_rows(silver.head)):
            raise DataError(
                f"Silver is not as its last commit left it: its {table} has {count} rows where "
                f"{expected_count} were committed, or other videos. If a file was edited or lost, "
                "rebuild Silver from Bronze: kedro run --params=full=true; if a run was killed, "
                "'kedro run --pipelines=bronze_to_silver' completes its commit."
            )


def _union(parts: Iterable[Days]) -> Days:
    """Return the days of any part; None, which is all days, if a part has all."""
    days: set[dt.date] = set()
    for part in parts:
        if part is None:
            return None
        days |= part
    return days


def _fingerprints(rows: ir.Table, day: str) -> dict[dt.date, tuple[int, int]]:
    """Return for each day the number of rows, and a sum over their videos in any order."""
    video = (rows.rede_social + "/" + rows.video_id).hash() % HASH_MODULUS
    by_day = rows.mutate(video=video).group_by(day)
    counts = by_day.agg(rows=lambda each: each.count(), videos=lambda each: each.video.sum())
    return {row[day]: (row["rows"], row["videos"]) for row in counts.to_pyarrow().to_pylist()}
