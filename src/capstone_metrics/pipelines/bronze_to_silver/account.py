"""Reconcile the lines of Bronze with Silver: nothing is lost."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from typing import Any

from capstone_metrics.changes import parse_object_name
from capstone_metrics.errors import CapstoneError
from capstone_metrics.pipelines.bronze_to_silver.validate import ValidationResult
from capstone_metrics.schemas import REQUIRED

UNDECLARED = "undeclared"
"""The digest of a source without a declaration."""


def account(
    validation: ValidationResult, merge_counts: Mapping[str, int], quarantined: int
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Account for every line of the increment, and for every line of Bronze.

    Args:
        validation: the validated lines, and the number of lines in the bytes of each object.
        merge_counts: the counts of `merge`.
        quarantined: the number of lines in the quarantine.

    Returns:
        The receipt of each object, the accounts of this run, and the new head of Silver. The
        accounts name the sources with new fields (`drift`), and those of which some lines were
        validated by a declaration that has changed since (`outdated`).

    Raises:
        CapstoneError: unless, for each object and in total, the lines in Bronze equal those that
            are current in Silver, superseded or quarantined.
    """
    receipts = _receipts(validation)
    run = {
        "lines": sum(receipt["lines"] for receipt in receipts.values()),
        "accepted": merge_counts["accepted"],
        "superseded": merge_counts["before"] + merge_counts["accepted"] - merge_counts["after"],
        "quarantined": quarantined,
    }
    head = _head(validation, receipts, run, merge_counts["after"] - merge_counts["before"])
    before = validation.snapshot.head
    known, declared = before.get("new_fields", {}), validation.declared
    drift = {
        name: sorted(fields.difference(known.get(name, ())))
        for name, fields in _new_fields(receipts).items()
    }
    outdated = [
        name
        for name, digests in head["declarations"].items()
        if digests != [declared.get(name, UNDECLARED)]
    ]
    accounts = {"run": run, "drift": drift, "outdated": outdated, "receipts": receipts, **head}
    return receipts, accounts, head if receipts or not before else before


def _head(
    validation: ValidationResult,
    receipts: Mapping[str, Mapping[str, Any]],
    run: Mapping[str, int],
    new_rows: int,
) -> dict[str, Any]:
    """Return the head of Silver after a run, with the totals of all runs.

    Args:
        validation: the validated lines.
        receipts: those of their objects.
        run: the counts of this run.
        new_rows: by how many rows Silver grew.
    """
    before = validation.snapshot.head
    old = {} if validation.is_full else before
    total = dict.fromkeys(("lines", "current", "superseded", "quarantined"), 0)
    total |= old.get("total", {})
    total["current"] += new_rows
    for count in ("lines", "superseded", "quarantined"):
        total[count] += run[count]
    _check("Bronze", total["lines"], sum(total.values()) - total["lines"])
    reasons = Counter(old.get("reasons", {}))
    for receipt in receipts.values():
        reasons.update(receipt["reasons"])
    digests: dict[str, set[str]] = defaultdict(set)
    for fonte in {parse_object_name(name)[0] for name in receipts}:
        digests[fonte].add(validation.declared.get(fonte, UNDECLARED))
    return {
        "origin": before.get("origin", _origin(receipts)),
        "generation": validation.snapshot.generation + 1,
        "total": total,
        "reasons": dict(sorted(reasons.items())),
        "new_fields": _merge_names(old.get("new_fields", {}), _new_fields(receipts)),
        "declarations": _merge_names(old.get("declarations", {}), digests),
    }


def _merge_names(
    one: Mapping[str, Collection[str]], other: Mapping[str, Collection[str]]
) -> dict[str, list[str]]:
    """Return the union of the names under each key."""
    return {
        name: sorted({*one.get(name, ()), *other.get(name, ())}) for name in sorted({*one, *other})
    }


def stop_on_drift(silver_accounts: Mapping[str, Any]) -> None:
    """Stop the run before Gold if the fields of an object do not fit its source's declaration.

    Either a required field is in no line, because it was renamed or removed; or every line has an
    undeclared field, and the source is frozen.

    Raises:
        CapstoneError: for the first such object. Its lines are already in the quarantine.
    """
    for name, receipt in silver_accounts["receipts"].items():
        broken_by_all = {
            rule for rule, lines in receipt["reasons"].items() if lines == receipt["lines"]
        }
        missing = [field for field in REQUIRED if f"{field}.missing" in broken_by_all]
        fonte, *_ = parse_object_name(name)
        if missing:
            problem, setting = f"has {', '.join(missing)} in none", "fields"
        elif "line.new_field" in broken_by_all:
            new_fields = ", ".join(receipt["new_fields"])
            problem, setting = f"has the undeclared {new_fields} in all", "other_fields"
        else:
            continue
        raise CapstoneError(
            f"{name} {problem} of its {receipt['lines']} lines: they are in the quarantine, and "
            f"Gold was not rebuilt. Correct sources.{fonte}.{setting}, then run "
            "'kedro quarantine replay'."
        )


def _new_fields(receipts: Mapping[str, Mapping[str, Any]]) -> dict[str, set[str]]:
    """Return the fields in the lines of each source that its declaration does not name."""
    new_fields: dict[str, set[str]] = defaultdict(set)
    for name, receipt in receipts.items():
        if receipt["new_fields"]:
            fonte, *_ = parse_object_name(name)
            new_fields[fonte].update(receipt["new_fields"])
    return new_fields


def _origin(receipts: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the identifier of a Silver: a hash of the objects that its first commit merged."""
    digests = json.dumps({name: receipt.get("sha256") for name, receipt in receipts.items()})
    return hashlib.sha256(digests.encode()).hexdigest()


def _receipts(validation: ValidationResult) -> dict[str, Any]:
    """Return the receipt of each object: its size, and the outcome of its lines.

    Raises:
        CapstoneError: if the number of validated lines of an object is not that of its lines.
    """
    receipts = {}
    for name, stats in validation.objects.items():
        counts = validation.counts[name]
        _check(name, stats["lines"], counts["accepted"] + counts["quarantined"])
        receipts[name] = {"object": name, **stats, **counts}
    return receipts


def _check(name: str, lines: int, accounted: int) -> None:
    if lines != accounted:
        raise CapstoneError(
            f"Lines are unaccounted for: {name} has {lines} lines, of which {accounted} are "
            "accounted for. Rebuild Silver from Bronze: kedro run --params=full=true."
        )
