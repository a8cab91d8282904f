"""Check whether Gold may be committed: what was refused, and what is unusual."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from capstone_metrics.changes import GoldUpdate, SourceState
from capstone_metrics.errors import DataError
from capstone_metrics.gold_csv import read_csv
from capstone_metrics.mart_declarations import marts_in
from capstone_metrics.pipelines.silver_to_gold.scope import RebuildScope
from capstone_metrics.quality import Finding, QualityReport, Rules, check_names, check_totals
from capstone_metrics.refusals import allowed_names, refusal_error, refusals_of
from capstone_metrics.validation.silver import NAMES

MAX_RULES = 5
"""How many rules a message names."""


def stop_on_refusals(
    scope: RebuildScope,
    found: Mapping[str, SourceState],
    sources: Mapping[str, Any],
    allow_refused: Any,
    plan: bool,
) -> RebuildScope:
    """Return the scope of a Gold that lacks no source, other than those that it may lack.

    Args:
        scope: the days of Gold to rebuild; the head of Silver has what was refused by it.
        found: what the last ingestion found in each source, by its name.
        sources: the declarations of the sources, by name.
        allow_refused: the names of the sources and marts of which Gold may lack something.
        plan: whether nothing is committed, so that nothing has to be stopped.

    Raises:
        DataError: if a source, or a part of it, is refused.
    """
    refusals = refusals_of(sources, found, scope.silver_head)
    error = refusal_error(refusals, allowed_names(allow_refused), blocks_gold=True)
    if error and not plan:
        raise error
    return scope


def check_gold(update: GoldUpdate, quality: Mapping[str, Any] | None) -> QualityReport:
    """Find totals that changed much since the last commit of Gold, and names that are alike."""
    rules = Rules.of(quality)
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
