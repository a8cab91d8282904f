"""Reconcile the lines of Bronze with Silver: nothing is lost."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from typing import Any

from capstone_metrics.changes import FORMAT, SilverUpdate, accounted_lines
from capstone_metrics.errors import DataError
from capstone_metrics.pipelines.bronze_to_silver.merge import MergeResult
from capstone_metrics.pipelines.bronze_to_silver.validate import ValidationResult
from capstone_metrics.quality import QualityReport
from capstone_metrics.schemas import LINE_OUTCOMES
from capstone_metrics.validation.objects import parse_object_name
from capstone_metrics.validation.silver import (
    REQUIRED,
    REQUIRED_DAILY,
    REQUIRED_IF_DECLARED,
    declared_columns,
)

FINDINGS_KEPT = dt.timedelta(days=30)
"""How much older than the newest window with a finding the window of a finding may be."""

MAX_FIELDS = 8
"""How many fields a message names."""

MIN_REJECTED = 2
"""From how many lines on an object is refused if all of them were rejected, by whichever rule."""

UNDECLARED = "undeclared"
"""The digest of a source without a declaration."""


def account(
    validation: ValidationResult, merged: MergeResult, report: QualityReport
) -> SilverUpdate:
    """Account for every line of the increment, and for every line of Bronze.

    Args:
        validation: the validated lines, and the number of lines in the bytes of each object.
        merged: what the merge changes.
        report: what is unusual in the windows of this run.

    Returns:
        The new state of Silver. Its accounts have all of the head, and also the `receipts`; the
        counts of this `run`; for each source with undeclared fields, which of them no earlier run
        saw (`drift`); and the sources of which some lines were validated by a declaration that has
        changed since (`outdated`), or is not there any more (`undeclared`).

    Raises:
        DataError: unless each line of each object has one outcome, and the lines of Bronze in
            total equal the sum of those with each outcome.
    """
    receipts = _receipts(validation)
    run = {
        "lines": sum(receipt["lines"] for receipt in receipts.values()),
        "accepted": merged.accepted,
        # an accepted line is current, or supersedes one of the same video, or is superseded by it
        "superseded": merged.accepted - merged.new_current,
        "quarantined": merged.quarantined,
        "ignored": sum(sum(receipt["ignored"].values()) for receipt in receipts.values()),
        "withdrawn": sum(receipt["withdrawn"] for receipt in receipts.values()),
    }
    head = _head(validation, receipts, run, merged) | {"findings": _findings(validation, report)}
    previous_head = validation.snapshot.head
    known_fields = previous_head.get("new_fields", {})
    drift = {
        fonte: sorted(fields.difference(known_fields.get(fonte, ())))
        for fonte, fields in _undeclared_fields(receipts).items()
    }
    declared = validation.declaration_digests
    changed = [
        fonte
        for fonte, digests in head["declarations"].items()
        if digests != [declared.get(fonte, UNDECLARED)]
    ]
    outdated = [fonte for fonte in changed if fonte in declared]
    undeclared = [fonte for fonte in changed if fonte not in declared]
    lists = {"drift": drift, "outdated": outdated, "undeclared": undeclared}
    accounts = {"run": run, **lists, "receipts": receipts, **head}
    # no new object, no new commit
    is_unchanged = bool(previous_head) and not receipts and not validation.is_full
    new_head = previous_head if is_unchanged else head
    return SilverUpdate(validation.snapshot, merged.overwrites, receipts, new_head, accounts)


def _head(
    validation: ValidationResult,
    receipts: Mapping[str, Mapping[str, Any]],
    run: Mapping[str, int],
    merged: MergeResult,
) -> dict[str, Any]:
    """Return the head of Silver after a run, with the totals of all runs.

    Args:
        validation: the validated lines.
        receipts: the receipt of each object of this run.
        run: the counts of this run.
        merged: what the merge changes.
    """
    previous = validation.snapshot.head
    base = {} if validation.is_full else previous  # a full rebuild counts every line again
    total = dict.fromkeys(("lines", *LINE_OUTCOMES), 0) | base.get("total", {})
    total["current"] += merged.new_current
    for count in total.keys() - {"current"}:
        total[count] += run[count]
    _require_equal("Bronze", total["lines"], sum(total[outcome] for outcome in LINE_OUTCOMES))
    reasons, ignored = Counter(base.get("reasons", {})), Counter(base.get("ignored", {}))
    for receipt in receipts.values():
        reasons.update(receipt["reasons"])
        ignored.update(receipt["ignored"])
    digests = {
        fonte: [validation.declaration_digests.get(fonte, UNDECLARED)]
        for fonte in {parse_object_name(name)[0] for name in receipts}
    }
    daily_lines = base.get("daily_lines", 0) + merged.daily_lines
    return {
        "format": FORMAT,
        "origin": previous.get("origin", _origin(receipts)),
        "generation": validation.snapshot.generation + 1,
        "objects": base.get("objects", 0) + len(receipts),
        "total": total,
        "reasons": dict(sorted(reasons.items())),
        "ignored": dict(sorted(ignored.items())),
        "withdrawn": _withdrawn(validation, base, receipts),
        "refused": {**base.get("refused", {}), **_refused(receipts)},
        "new_fields": _merge_names(base.get("new_fields", {}), _undeclared_fields(receipts)),
        "declarations": _merge_names(base.get("declarations", {}), digests),
        "columns": declared_columns(validation.columns),
        **({"daily_lines": daily_lines} if daily_lines else {}),
    }


def _withdrawn(
    validation: ValidationResult, base: Mapping[str, Any], receipts: Mapping[str, Any]
) -> list[str]:
    """Return the names of the merged objects that were read anew in another way."""
    return sorted({*base.get("withdrawn", ()), *(validation.withdrawn & receipts.keys())})


def _findings(validation: ValidationResult, report: QualityReport) -> list[dict[str, Any]]:
    """Return the last finding of each rule and window, with the generation that found it.

    A full rebuild checks every window again, so earlier findings do not count. A finding of an
    earlier run is retained until its window is `FINDINGS_KEPT` older than the newest window with a
    finding.
    """
    generation = validation.snapshot.generation + 1
    known = () if validation.is_full else validation.snapshot.head.get("findings", ())
    new = ({**finding.to_dict(), "generation": generation} for finding in report.findings)
    findings = {(each["rule"], each["of"]): each for each in (*known, *new)}
    windows = {each["of"]: dt.datetime.fromisoformat(each["of"]) for each in findings.values()}
    if not windows:
        return []
    oldest = max(windows.values()) - FINDINGS_KEPT
    return [
        each
        for _, each in sorted(findings.items())
        if each["generation"] == generation or windows[each["of"]] >= oldest
    ]


def _merge_names(
    one: Mapping[str, Collection[str]], other: Mapping[str, Collection[str]]
) -> dict[str, list[str]]:
    """Return the union of the names under each key."""
    return {key: sorted({*one.get(key, ()), *other.get(key, ())}) for key in sorted({*one, *other})}


def _refused(receipts: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return what is wrong with each object of which no line fits the declaration of its source.

    Either a required field is in no line, because it was renamed or removed; or every line has an
    undeclared field, which the source rejects (`schema_drift: freeze`); or several lines were all
    rejected.
    """
    problems = {name: _problem(name, receipt) for name, receipt in sorted(receipts.items())}
    return {name: problem for name, problem in problems.items() if problem}


def _problem(name: str, receipt: Mapping[str, Any]) -> str | None:
    """Return what is wrong with an object, as the end of a sentence that its path begins."""
    fonte, *_ = parse_object_name(name)
    observations = receipt["accepted"] + receipt["quarantined"]
    broken_by_every_line = {
        rule for rule, lines in receipt["reasons"].items() if lines == observations
    }
    missing = [
        field
        for field in dict.fromkeys((*REQUIRED, *REQUIRED_DAILY, *REQUIRED_IF_DECLARED))
        if f"{field}.missing" in broken_by_every_line
    ]
    undeclared = ", ".join(list(receipt["new_fields"])[:MAX_FIELDS])
    if missing:
        has = f"; it has {undeclared}" if undeclared else ""
        problem = f"has {', '.join(missing)} in none of its {observations} lines{has}"
        setting = "fields"
    elif "line.new_field" in broken_by_every_line:
        problem = f"has the undeclared {undeclared} in all of its {observations} lines"
        setting = "other_fields"
    elif not receipt["accepted"] and observations >= MIN_REJECTED:
        rules = ", ".join(sorted(broken_by_every_line) or receipt["reasons"])
        problem = f"has no valid line among its {observations} lines ({rules})"
        setting = "fields"
    else:
        return None
    if "rede_social.unknown" in broken_by_every_line:
        setting = "fields or networks"
    return (
        f"{problem}: they are in the quarantine. Correct sources.{fonte}.{setting}, then run "
        "'kedro quarantine replay'; or correct how its files are read, such as the delimiter, or "
        "replace the file, then run again."
    )


def _undeclared_fields(receipts: Mapping[str, Mapping[str, Any]]) -> dict[str, set[str]]:
    """Return the fields in the lines of each source that its declaration does not name."""
    fields: dict[str, set[str]] = defaultdict(set)
    for name, receipt in receipts.items():
        if receipt["new_fields"]:
            fonte, *_ = parse_object_name(name)
            fields[fonte].update(receipt["new_fields"])
    return fields


def _origin(receipts: Mapping[str, Mapping[str, Any]]) -> str:
    """Return an identifier of Silver: a hash of the objects that its first commit merged.

    It remains through a full rebuild; if Silver is deleted, the next first commit gets another.
    """
    digests = json.dumps({name: receipt.get("sha256") for name, receipt in receipts.items()})
    return hashlib.sha256(digests.encode()).hexdigest()


def _receipts(validation: ValidationResult) -> dict[str, Any]:
    """Return the receipt of each object: its size, its hash, and the outcome of its lines.

    Raises:
        DataError: if some lines of an object have no outcome.
    """
    receipts = {}
    for name, counts in validation.objects.items():
        _require_equal(name, counts["lines"], accounted_lines(counts))
        receipts[name] = {"object": name, **counts}
    return receipts


def _require_equal(name: str, lines: int, accounted: int) -> None:
    """Raise if not every line of an object, or of Bronze, is accounted for."""
    if lines != accounted:
        raise DataError(
            f"Lines are unaccounted for: {name} has {lines} lines, of which {accounted} are "
            "accounted for. Rebuild Silver from Bronze: kedro run --params=full=true."
        )
