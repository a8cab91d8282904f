"""Checks of the lake against its receipts, heads and manifests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import ibis.expr.types as ir
    import pyarrow as pa


@dataclass(frozen=True)
class VerifyResult:
    """The result of a check of the lake: what it checks, whether that holds, and if not, why."""

    check: str
    holds: bool
    detail: str = ""


@dataclass(frozen=True)
class Lake:
    """The parts of the lake to check, as the catalog loads them.

    Attributes:
        bronze: `lines`, `bytes` and `sha256` of each object, counted from its bytes.
        receipts: the receipt of each object that Silver processed.
        head: the head of Silver.
        silver: the table of Silver.
        provenance: the table of the line of Bronze that each row of Silver comes from.
        quarantine: the table of rejected lines.
        manifest: the manifest of Gold.
        marts: the tables in the manifest.
    """

    bronze: Mapping[str, Mapping[str, Any]]
    receipts: Mapping[str, Mapping[str, Any]]
    head: Mapping[str, Any]
    silver: ir.Table
    provenance: ir.Table
    quarantine: ir.Table
    manifest: Mapping[str, Any]
    marts: Mapping[str, pa.Table]


def verify(lake: Lake) -> list[VerifyResult]:
    """Check Bronze against its receipts, Silver against both, and Gold against its manifest."""
    return [
        _result("every Bronze object has a receipt of its bytes", _receipt_problems(lake)),
        _result(
            "every line of Bronze is accounted for, object by object", _accounting_problems(lake)
        ),
        _result(
            "Silver has one row a video, each from a line of Bronze", _provenance_problems(lake)
        ),
        _result("the accounts are the sum of the receipts", _head_problems(lake)),
        _result("Gold is what its manifest says", _manifest_problems(lake)),
        _result("Gold adds up to Silver as it is now", _silver_problems(lake)),
    ]


def compare_tables(name: str, stored: ir.Table, rebuilt: ir.Table) -> VerifyResult:
    """Check that a table has the same rows as a rebuild of it."""
    removed = stored.difference(rebuilt).count().to_pyarrow().as_py()
    added = rebuilt.difference(stored).count().to_pyarrow().as_py()
    detail = f"a rebuild would remove {removed} rows and add {added}" if removed or added else ""
    return VerifyResult(f"{name} equals a rebuild from Bronze", not detail, detail)


def _result(check: str, problems: Iterator[str]) -> VerifyResult:
    details = list(problems)
    more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    return VerifyResult(check, not details, details[0] + more if details else "")


def _receipt_problems(lake: Lake) -> Iterator[str]:
    for name, stats in lake.bronze.items():
        receipt = lake.receipts.get(name)
        if receipt is None:
            yield f"{name} has no receipt; run 'kedro run --pipelines=bronze_to_silver'"
        elif any(receipt[stat] != value for stat, value in stats.items()):
            yield f"{name} has changed since Silver processed it"
    yield from (f"{name} is missing" for name in lake.receipts.keys() - lake.bronze.keys())


def _accounting_problems(lake: Lake) -> Iterator[str]:
    current = _lines_by_object(lake.provenance)
    quarantined = _lines_by_object(lake.quarantine)
    for name, receipt in lake.receipts.items():
        lines = lake.bronze.get(name, receipt)["lines"]
        rejected = quarantined.pop(name, 0)
        superseded = receipt["accepted"] - current.pop(name, 0)
        if superseded < 0 or rejected != receipt["quarantined"]:
            yield f"{name} has {rejected} lines in quarantine and {superseded} superseded"
        elif lines != receipt["accepted"] + rejected:
            accounted = receipt["accepted"] + rejected
            yield f"{name} has {lines} lines, of which {accounted} are accounted for"
    yield from (f"{name} has no receipt" for name in {**current, **quarantined})


def _provenance_problems(lake: Lake) -> Iterator[str]:
    key = ["video_id", "rede_social", "data_postagem"]
    rows = _count(lake.silver)
    provenance = _count(lake.provenance)
    videos = lake.silver.video_id.nunique().to_pyarrow().as_py()
    matched = _count(lake.silver.semi_join(lake.provenance, key))
    if not rows == videos == provenance == matched:
        yield (
            f"{rows} rows of {videos} videos; the provenance table has {provenance} rows, and "
            f"{matched} of Silver's rows are in it"
        )


def _head_problems(lake: Lake) -> Iterator[str]:
    receipts = lake.receipts.values()
    total = lake.head["total"]
    sums = {
        "lines": sum(receipt["lines"] for receipt in receipts),
        "current": _count(lake.provenance),
        "quarantined": sum(receipt["quarantined"] for receipt in receipts),
    }
    sums["superseded"] = sum(receipt["accepted"] for receipt in receipts) - sums["current"]
    if sums != total:
        yield f"the head has {total}, and the receipts add up to {sums}"


def _manifest_problems(lake: Lake) -> Iterator[str]:
    for name, entry in lake.manifest["marts"].items():
        table = lake.marts[name]
        if table.schema.metadata[b"sha256"].decode() != entry["sha256"]:
            yield f"{name} was changed by hand"


def _silver_problems(lake: Lake) -> Iterator[str]:
    built_from = lake.manifest["silver_origin"], lake.manifest["silver_generation"]
    if built_from != (lake.head["origin"], lake.head["generation"]):
        yield "Silver has changed since; run 'kedro run --pipelines=silver_to_gold'"
        return
    for name, entry in lake.manifest["marts"].items():
        for measure, rule in entry["measures"].items():
            ((aggregate, column),) = rule.items()
            expected = getattr(lake.silver[column], aggregate)().to_pyarrow().as_py() or 0
            total = sum(lake.marts[name][measure].to_pylist())
            if total != expected:
                yield f"{name}.{measure} is {total} where Silver has {expected}"


def _lines_by_object(table: ir.Table) -> dict[str, int]:
    counts = table.group_by("objeto").agg(lines=table.count()).to_pyarrow().to_pylist()
    return {row["objeto"]: row["lines"] for row in counts}


def _count(table: ir.Table) -> int:
    return int(table.count().to_pyarrow().as_py())
