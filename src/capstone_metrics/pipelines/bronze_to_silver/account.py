"""Where every line went."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from typing import Any

from capstone_metrics.changes import lot_of
from capstone_metrics.errors import CapstoneError
from capstone_metrics.pipelines.bronze_to_silver.judge import Judged
from capstone_metrics.schemas import REQUIRED

UNDECLARED = "undeclared"


def account(
    judged: Judged, counts: Mapping[str, int], quarantined: int
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Where every pending line went, and every line of Bronze.

    Args:
        judged: the lines, and those of each object counted from its bytes.
        counts: of the merge.
        quarantined: the lines that went to the quarantine.

    Returns:
        The receipt of each object, the accounts of this run, and the new head of Silver. The
        accounts name the sources with new fields (`drift`), and those some of whose lines were
        judged by another declaration than the one that they have now (`outdated`).

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
    head = _head(judged, receipts, run, counts["after"] - counts["before"])
    known, now = judged.before.head.get("new_fields", {}), judged.declared
    drift = {
        name: sorted(fields.difference(known.get(name, ())))
        for name, fields in _new_fields(receipts).items()
    }
    outdated = [
        name for name, by in head["declarations"].items() if by != [now.get(name, UNDECLARED)]
    ]
    accounts = {"run": run, "drift": drift, "outdated": outdated, "receipts": receipts, **head}
    return receipts, accounts, head if receipts or not judged.before.head else judged.before.head


def _head(
    judged: Judged, receipts: Mapping[str, Mapping[str, Any]], run: Mapping[str, int], gained: int
) -> dict[str, Any]:
    """What Silver is after a run: the totals of all runs, and what was seen in them.

    Args:
        judged: the lines.
        receipts: of their objects.
        run: where the lines of this run went.
        gained: how many rows more there are.
    """
    before = judged.before.head
    old = {} if judged.is_full else before
    total = dict.fromkeys(("lines", "current", "superseded", "quarantined"), 0)
    total |= old.get("total", {})
    total["current"] += gained
    for kind in ("lines", "superseded", "quarantined"):
        total[kind] += run[kind]
    _check("Bronze", total["lines"], sum(total.values()) - total["lines"])
    reasons = Counter(old.get("reasons", {}))
    for receipt in receipts.values():
        reasons.update(receipt["reasons"])
    judged_by: dict[str, set[str]] = defaultdict(set)
    for fonte in {lot_of(name)[0] for name in receipts}:
        judged_by[fonte].add(judged.declared.get(fonte, UNDECLARED))
    return {
        "origin": before.get("origin", _origin(receipts)),
        "generation": judged.before.generation + 1,
        "total": total,
        "reasons": dict(sorted(reasons.items())),
        "new_fields": _together(old.get("new_fields", {}), _new_fields(receipts)),
        "declarations": _together(old.get("declarations", {}), judged_by),
    }


def _together(
    one: Mapping[str, Collection[str]], other: Mapping[str, Collection[str]]
) -> dict[str, list[str]]:
    """Two tables of names, joined."""
    return {
        name: sorted({*one.get(name, ()), *other.get(name, ())}) for name in sorted({*one, *other})
    }


def refuse_drift(silver_accounts: Mapping[str, Any]) -> None:
    """Stop before Gold if the fields of an object are not those that its source declares.

    A required field is in none of its lines, because it was renamed or is gone; or each line has
    a new one, and the source is frozen.

    Raises:
        CapstoneError: for the first such object. Its lines are in the quarantine already.
    """
    for name, receipt in silver_accounts["receipts"].items():
        everywhere = {r for r, lines in receipt["reasons"].items() if lines == receipt["lines"]}
        lost = [field for field in REQUIRED if f"{field}.missing" in everywhere]
        fonte, *_ = lot_of(name)
        if lost:
            found, mend = f"has {', '.join(lost)} in none", "fields"
        elif "line.new_field" in everywhere:
            found, mend = f"has {', '.join(receipt['new_fields'])}, new, in all", "other_fields"
        else:
            continue
        raise CapstoneError(
            f"{name} {found} of its {receipt['lines']} lines: they are kept in the quarantine, "
            f"and Gold is left as it is. Mend sources.{fonte}.{mend}, then run "
            "'kedro quarantine replay'."
        )


def _new_fields(receipts: Mapping[str, Mapping[str, Any]]) -> dict[str, set[str]]:
    """The fields that are in the lines of each source and not in its declaration."""
    found: dict[str, set[str]] = defaultdict(set)
    for name, receipt in receipts.items():
        if receipt["new_fields"]:
            fonte, *_ = lot_of(name)
            found[fonte].update(receipt["new_fields"])
    return found


def _origin(receipts: Mapping[str, Mapping[str, Any]]) -> str:
    """What tells a Silver from another one that was begun anew: what its first commit took in."""
    digests = json.dumps({name: receipt.get("sha256") for name, receipt in receipts.items()})
    return hashlib.sha256(digests.encode()).hexdigest()


def _receipts(judged: Judged) -> dict[str, Any]:
    """For each object what it held and where it went.

    Raises:
        CapstoneError: if an object has more or fewer judged lines than lines.
    """
    receipts = {}
    for name, measured in judged.objects.items():
        verdicts = judged.verdicts[name]
        _check(name, measured["lines"], verdicts["accepted"] + verdicts["quarantined"])
        receipts[name] = {"object": name, **measured, **verdicts}
    return receipts


def _check(what: str, expected: int, found: int) -> None:
    if expected != found:
        raise CapstoneError(
            f"The accounts do not close: {what} has {expected} lines, of which {found} were "
            "found again. Build Silver anew from Bronze: kedro run --params=full=true."
        )
