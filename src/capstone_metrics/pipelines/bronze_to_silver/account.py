"""Where every line went."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from capstone_metrics.errors import CapstoneError
from capstone_metrics.pipelines.bronze_to_silver.judge import Judged
from capstone_metrics.pipelines.bronze_to_silver.merge import lot_of
from capstone_metrics.schemas import REQUIRED


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
        "origin": judged.before.head.get("origin", _origin(receipts)),
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
            fonte, *_ = lot_of(name)
            raise CapstoneError(
                f"{name} has {', '.join(lost)} in none of its {receipt['lines']} lines: they are "
                f"kept in the quarantine, and Gold is left as it is. Mend sources.{fonte}.fields, "
                "then run 'kedro quarantine replay'."
            )


def _origin(receipts: Mapping[str, Mapping[str, Any]]) -> str:
    """What tells a Silver from another one that was begun anew: what its first commit took in."""
    digests = json.dumps({name: receipt.get("sha256") for name, receipt in receipts.items()})
    return hashlib.sha256(digests.encode()).hexdigest()


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
