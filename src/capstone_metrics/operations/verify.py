"""Whether the lake is what its receipts, heads and manifests say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import ibis.expr.types as ir
    import pyarrow as pa


@dataclass(frozen=True)
class Finding:
    """One thing that was checked: what, whether it holds, and if not, why."""

    check: str
    holds: bool
    detail: str = ""


@dataclass(frozen=True)
class Lake:
    """What the catalog loads of the lake.

    Attributes:
        bronze: `lines`, `bytes` and `sha256` of each object, counted from its bytes.
        receipts: of each object that Silver took in.
        head: of Silver.
        silver: the table.
        places: the line of Bronze that each of its rows comes from.
        quarantine: the table.
        manifest: of Gold.
        marts: the tables that it names.
    """

    bronze: Mapping[str, Mapping[str, Any]]
    receipts: Mapping[str, Mapping[str, Any]]
    head: Mapping[str, Any]
    silver: ir.Table
    places: ir.Table
    quarantine: ir.Table
    manifest: Mapping[str, Any]
    marts: Mapping[str, pa.Table]


def verify(lake: Lake) -> list[Finding]:
    """Check Bronze against its receipts, Silver against both, and Gold against its manifest."""
    return [
        _finding("every Bronze object has a receipt of its bytes", _unlike_receipts(lake)),
        _finding("every line of Bronze is accounted for, object by object", _unbalanced(lake)),
        _finding("Silver has one row a video, each from a line of Bronze", _unlike_places(lake)),
        _finding("the accounts are the sum of the receipts", _unlike_head(lake)),
        _finding("Gold is what its manifest says", _unlike_manifest(lake)),
        _finding("Gold adds up to Silver as it is now", _unlike_silver(lake)),
    ]


def differences(name: str, one: ir.Table, other: ir.Table) -> Finding:
    """Whether two tables of the same columns have the same rows."""
    gone = one.difference(other).count().to_pyarrow().as_py()
    new = other.difference(one).count().to_pyarrow().as_py()
    detail = f"{gone} rows would go and {new} would come" if gone or new else ""
    return Finding(f"{name} equals a rebuild from Bronze", not detail, detail)


def _finding(check: str, problems: Iterator[str]) -> Finding:
    found = list(problems)
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return Finding(check, not found, found[0] + more if found else "")


def _unlike_receipts(lake: Lake) -> Iterator[str]:
    for name, measured in lake.bronze.items():
        receipt = lake.receipts.get(name)
        if receipt is None:
            yield f"{name} was not taken in yet"
        elif any(receipt[kind] != value for kind, value in measured.items()):
            yield f"{name} is not what it was when it was taken in"
    yield from (f"{name} is gone" for name in lake.receipts.keys() - lake.bronze.keys())


def _unbalanced(lake: Lake) -> Iterator[str]:
    current, quarantined = _by_object(lake.places), _by_object(lake.quarantine)
    for name, receipt in lake.receipts.items():
        lines, rejected = lake.bronze.get(name, receipt)["lines"], quarantined.pop(name, 0)
        superseded = receipt["accepted"] - current.pop(name, 0)
        if superseded < 0 or rejected != receipt["quarantined"]:
            yield f"{name} has {rejected} lines in quarantine and {superseded} superseded"
        elif lines != receipt["accepted"] + rejected:
            yield f"{name} has {lines} lines, of which {receipt['accepted'] + rejected} are known"
    yield from (f"{name} has no receipt" for name in {**current, **quarantined})


def _unlike_places(lake: Lake) -> Iterator[str]:
    where = ["video_id", "rede_social", "data_postagem"]
    rows, places = _count(lake.silver), _count(lake.places)
    videos = lake.silver.video_id.nunique().to_pyarrow().as_py()
    known = _count(lake.silver.semi_join(lake.places, where))
    if not rows == videos == places == known:
        yield f"{rows} rows of {videos} videos, {known} of them known, where {places} were put"


def _unlike_head(lake: Lake) -> Iterator[str]:
    receipts, total = lake.receipts.values(), lake.head["total"]
    found = {
        "lines": sum(receipt["lines"] for receipt in receipts),
        "current": _count(lake.places),
        "quarantined": sum(receipt["quarantined"] for receipt in receipts),
    }
    found["superseded"] = sum(receipt["accepted"] for receipt in receipts) - found["current"]
    if found != total:
        yield f"the head says {total}, the receipts {found}"


def _unlike_manifest(lake: Lake) -> Iterator[str]:
    for name, listed in lake.manifest["marts"].items():
        table = lake.marts[name]
        if table.schema.metadata[b"sha256"].decode() != listed["sha256"]:
            yield f"{name} was changed by hand"


def _unlike_silver(lake: Lake) -> Iterator[str]:
    made_from = lake.manifest["silver_origin"], lake.manifest["silver_generation"]
    if made_from != (lake.head["origin"], lake.head["generation"]):
        yield "Silver changed since; run 'kedro run --pipelines=silver_to_gold'"
        return
    for name, listed in lake.manifest["marts"].items():
        for measure, rule in listed["measures"].items():
            ((aggregate, column),) = rule.items()
            expected = getattr(lake.silver[column], aggregate)().to_pyarrow().as_py() or 0
            found = sum(lake.marts[name][measure].to_pylist())
            if found != expected:
                yield f"{name}.{measure} is {found} where Silver has {expected}"


def _by_object(table: ir.Table) -> dict[str, int]:
    counts = table.group_by("objeto").agg(lines=table.count()).to_pyarrow().to_pylist()
    return {row["objeto"]: row["lines"] for row in counts}


def _count(table: ir.Table) -> int:
    return int(table.count().to_pyarrow().as_py())
