"""Build the declared marts, and reconcile them with Silver."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import ibis
import pyarrow as pa
import pyarrow.compute as pc

from capstone_metrics.changes import GoldUpdate, current_rows
from capstone_metrics.errors import DataError
from capstone_metrics.gold_csv import read_csv, to_csv
from capstone_metrics.marts import Mart
from capstone_metrics.measures import aggregate, totals_of
from capstone_metrics.pipelines.silver_to_gold.scope import RebuildScope
from capstone_metrics.wide_sums import exact_sum


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
