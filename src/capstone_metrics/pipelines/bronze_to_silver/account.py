"""Where every line went."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

import ibis.expr.types as ir

from capstone_metrics.errors import CapstoneError
from capstone_metrics.pipelines.bronze_to_silver.judge import Judged
from capstone_metrics.pipelines.bronze_to_silver.merge import lot_of
from capstone_metrics.schemas import REQUIRED


def account(
    judged: Judged, counts: Mapping[str, int], quarantined: int
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Where every pending line went, and every line of Bronze.

    Args:
        judged: the lines, and those of each object counted from its bytes.
        counts: of the merge.
        quarantined: the lines that went to the quarantine.

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
    old = {} if judged.is_full else judged.before.head
    total = dict.fromkeys(("lines", "current", "superseded", "quarantined"), 0)
    total |= old.get("total", {})
    total["current"] += counts["after"] - counts["before"]
    for kind in ("lines", "superseded", "quarantined"):
        total[kind] += run[kind]
    _check("Bronze", total["lines"], sum(total.values()) - total["lines"])
    reasons = Counter(old.get("reasons", {}))
    for receipt in receipts.values():
        reasons.update(receipt["reasons"])
    new_fields = _new_fields(receipts)
    known = {name: set(fields) for name, fields in old.get("new_fields", {}).items()}
    head = {
        "origin": judged.before.head.get("origin", _origin(receipts)),
        "generation": judged.before.generation + 1,
        "total": total,
        "reasons": dict(sorted(reasons.items())),
        "new_fields": {
            name: sorted(known.get(name, set()) | new_fields.get(name, set()))
            for name in sorted({*known, *new_fields})
        },
    }
    drift = {name: sorted(fields - known.get(name, set())) for name, fields in new_fields.items()}
    if not receipts and judged.before.head:
        head = judged.before.head
    return receipts, {"run": run, "drift": drift, "receipts": receipts, **head}, head


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
    if not judged.objects:
        return {}
    is_rejected = judged.rows.regras.notnull()
    counts = judged.rows.group_by("objeto").agg(
        accepted=(~is_rejected).sum(), quarantined=is_rejected.sum()
    )
    found = {row.pop("objeto"): row for row in counts.to_pyarrow().to_pylist()}
    reasons, new_fields = (_lines_by(judged.rows, column) for column in ("regras", "new_fields"))
    receipts = {}
    for name, measured in judged.objects.items():
        verdicts = found.get(name, {"accepted": 0, "quarantined": 0})
        _check(name, measured["lines"], sum(verdicts.values()))
        said = {"reasons": reasons[name], "new_fields": new_fields[name]}
        receipts[name] = {"object": name, **measured, **verdicts, **said}
    return receipts


def _lines_by(rows: ir.Table, column: str) -> dict[str, dict[str, int]]:
    """For each object the lines that have each value of a column of lists."""
    values = rows.filter(rows[column].notnull()).select("objeto", value=rows[column].unnest())
    counts = values.group_by("objeto", "value").agg(lines=values.count())
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for row in counts.order_by("objeto", "value").to_pyarrow().to_pylist():
        found[row["objeto"]][row["value"]] = row["lines"]
    return found


def _check(what: str, expected: int, found: int) -> None:
    if expected != found:
        raise CapstoneError(
            f"The accounts do not close: {what} has {expected} lines, of which {found} were "
            "found again. Build Silver anew from Bronze: kedro run --params=full=true."
        )
