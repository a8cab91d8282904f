"""Checks of the lake against its receipts, heads and manifests."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from capstone_metrics.changes import accounted_lines
from capstone_metrics.errors import StorageError, user_message
from capstone_metrics.facts import count_of, facts_of
from capstone_metrics.mart_declarations import marts_in
from capstone_metrics.measures import totals_of
from capstone_metrics.refusals import allowance
from capstone_metrics.schemas import VIDEO_KEY
from capstone_metrics.validation.objects import parse_object_name
from capstone_metrics.wide_sums import exact_sum, rows_within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import ibis.expr.types as ir

    from capstone_metrics.changes import Bronze, GoldSnapshot, SilverSnapshot


@dataclass(frozen=True)
class VerifyResult:
    """The result of a check of the lake: what it checks, whether that holds, and if not, why."""

    check: str
    holds: bool
    detail: str = ""


class Lake:
    """The layers to check, each of which is loaded when a check first reads it.

    Args:
        load: loads a dataset of the catalog.
    """

    def __init__(self, load: Callable[[str], Any]) -> None:
        self.load = load

    @cached_property
    def objects(self) -> Mapping[str, Mapping[str, Any]]:
        """The `lines`, `bytes` and `sha256` of each object of Bronze, counted from its bytes."""
        bronze: Bronze = self.load("bronze_criacao")
        return bronze.stats()

    @cached_property
    def silver(self) -> SilverSnapshot:
        """Silver as of its last commit."""
        snapshot: SilverSnapshot = self.load("silver")
        _check_applied("Silver", snapshot)
        return snapshot

    @cached_property
    def receipts(self) -> Mapping[str, Mapping[str, Any]]:
        """The receipt of each object that Silver merged."""
        return self.silver.receipts(self.silver.merged_objects())

    @cached_property
    def gold(self) -> GoldSnapshot:
        """Gold as of its last commit."""
        snapshot: GoldSnapshot = self.load("gold")
        _check_applied("Gold", snapshot)
        return snapshot


REBUILD = "rebuild Silver from Bronze: kedro run --params=full=true"
REBUILD_GOLD = "rebuild Gold: kedro run --pipelines=silver_to_gold"

Check = tuple[str, "Callable[[Lake], Iterator[str]]", str]


def verify(lake: Lake) -> list[VerifyResult]:
    """Check Bronze against its receipts, Silver against both, and Gold against its manifest."""
    checks: list[Check] = [
        ("every Bronze object has a receipt of its bytes", _receipt_problems, ""),
        (
            "every line of Bronze is accounted for, object by object",
            _accounting_problems,
            REBUILD,
        ),
        ("Silver has one row a video, each from a line of Bronze", _provenance_problems, REBUILD),
        ("each day has one row a video that was observed", _day_problems, REBUILD),
        ("the accounts are the sum of the receipts", _head_problems, REBUILD),
        ("Gold is what its manifest says", _manifest_problems, REBUILD_GOLD),
        ("Gold adds up to Silver as it is now", _silver_problems, ""),
    ]
    return [_result(lake, *check) for check in checks]


def compare_tables(name: str, stored: ir.Table, rebuilt: ir.Table) -> VerifyResult:
    """Check that a table has the same rows as a rebuild of it."""
    removed = count_of(stored.difference(rebuilt))
    added = count_of(rebuilt.difference(stored))
    difference = f"a rebuild would remove {removed} rows and add {added}; {REBUILD}"
    detail = difference if removed or added else ""
    return VerifyResult(f"{name} equals a rebuild from Bronze", not detail, detail)


def _result(
    lake: Lake, check: str, problems: Callable[[Lake], Iterator[str]], remedy: str
) -> VerifyResult:
    """Return the result of a check, which fails as well if what it reads cannot be read."""
    try:
        details = list(problems(lake))
    except KeyError as error:
        details = [f"{error} is missing in a receipt, a head or a manifest"]
    except Exception as error:
        message = user_message(error)
        if not message:
            raise
        return VerifyResult(check, False, str(message))
    if not details:
        return VerifyResult(check, True)
    more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    next_step = f"; {remedy}" if remedy else ""
    return VerifyResult(check, False, details[0] + next_step + more)


def _check_applied(layer: str, snapshot: SilverSnapshot | GoldSnapshot) -> None:
    if snapshot.is_pending():
        raise StorageError(
            f"{layer} is in the middle of a commit; if no run is active, one ended there, and the "
            "next completes it: kedro run."
        )


def _receipt_problems(lake: Lake) -> Iterator[str]:
    are_lost = len(lake.receipts) < lake.silver.head["objects"]
    merge = REBUILD if are_lost else "merge it: kedro run --pipelines=bronze_to_silver"
    for name in sorted(lake.receipts.keys() - lake.objects.keys()):
        fonte, *_ = parse_object_name(name)
        yield (
            f"{name} is missing; restore it, or rebuild Silver without its lines: kedro run "
            f"--params=full=true,{allowance([fonte])}"
        )
    for name, stats in lake.objects.items():
        receipt = lake.receipts.get(name)
        if receipt is None:
            yield f"{name} has no receipt; {merge}"
        elif any(receipt[stat] != value for stat, value in stats.items()):
            yield f"{name} has changed since Silver processed it; restore it, or {REBUILD}"


def _accounting_problems(lake: Lake) -> Iterator[str]:
    current = _current_lines(lake.silver)
    quarantined = _lines_by_object(lake.silver.tables["quarentena"])
    for name, receipt in lake.receipts.items():
        lines = lake.objects.get(name, receipt)["lines"]
        rejected = quarantined.pop(name, 0)
        superseded = receipt["accepted"] - current.pop(name, 0)
        if superseded < 0 or rejected != receipt["quarantined"]:
            yield f"{name} has {rejected} lines in quarantine and {superseded} superseded"
        elif lines != (accounted := accounted_lines(receipt)):
            yield f"{name} has {lines} lines, of which {accounted} are accounted for"
    yield from (f"{name} has no receipt" for name in {**current, **quarantined})


def _provenance_problems(lake: Lake) -> Iterator[str]:
    row_key = [*VIDEO_KEY, "data_postagem"]
    tables = lake.silver.tables
    rows, videos = tables["criacao"], tables["criacao"].select(*VIDEO_KEY).distinct()
    counts = {
        "rows": count_of(rows),
        "videos": count_of(videos),
        "rows of provenance": count_of(tables["provenance"]),
        "rows whose provenance is known": count_of(rows.semi_join(tables["provenance"], row_key)),
        "videos in the index": count_of(tables["video_index"]),
        "rows in the index": count_of(rows.semi_join(tables["video_index"], row_key)),
    }
    yield from _unequal(counts)


def _day_problems(lake: Lake) -> Iterator[str]:
    row_key = [*VIDEO_KEY, "data_observacao"]
    rows, provenance = (lake.silver.tables[name] for name in ("observacao_dia", "day_provenance"))
    counts = {
        "rows": count_of(rows),
        "videos and days": count_of(rows.select(*row_key).distinct()),
        "rows of provenance": count_of(provenance),
        "rows whose provenance is known": count_of(rows.semi_join(provenance, row_key)),
    }
    yield from _unequal(counts)


def _unequal(counts: Mapping[str, int]) -> Iterator[str]:
    """Yield counts that should be equal, if they are not."""
    if len(set(counts.values())) > 1:
        yield f"it has {', '.join(f'{count} {what}' for what, count in counts.items())}"


def _head_problems(lake: Lake) -> Iterator[str]:
    receipts = lake.receipts.values()
    current = sum(_current_lines(lake.silver).values())
    sums = {
        "objects": len(receipts),
        "lines": sum(receipt["lines"] for receipt in receipts),
        "current": current,
        "superseded": sum(receipt["accepted"] for receipt in receipts) - current,
        "quarantined": sum(receipt["quarantined"] for receipt in receipts),
        "ignored": sum(sum(receipt["ignored"].values()) for receipt in receipts),
        "withdrawn": sum(receipt["withdrawn"] for receipt in receipts),
    }
    head = lake.silver.head
    accounts = {"objects": head["objects"], **head["total"]}
    if sums != accounts:
        yield f"the head has {accounts}, and the receipts add up to {sums}"


def _manifest_problems(lake: Lake) -> Iterator[str]:
    for name in lake.gold.manifest["marts"]:
        if lake.gold.tables[name] is None:
            yield f"{name} was changed by hand or is lost"


def _silver_problems(lake: Lake) -> Iterator[str]:
    manifest, head = lake.gold.manifest, lake.silver.head
    built_from = manifest["silver_origin"], manifest["silver_generation"]
    if built_from != (head["origin"], head["generation"]):
        yield f"Silver has changed since; {REBUILD_GOLD}"
        return
    for name, mart in marts_in(manifest).items():
        facts = facts_of(lake.silver.tables, mart.basis, mart.source_columns)
        rows = rows_within(facts, mart, manifest.get("overflows", ()))
        table = lake.gold.tables[name]
        for measure, counted in totals_of(rows, mart.measures).items():
            expected = int(counted.to_pyarrow().as_py() or 0)
            total = None if table is None else exact_sum(table[measure])
            if total is not None and total != expected:
                yield f"{name}.{measure} is {total} where Silver has {expected}; {REBUILD}"


def _current_lines(silver: SilverSnapshot) -> Counter[str]:
    """Return how many lines of each object rows of Silver are made of."""
    current = Counter(_lines_by_object(silver.tables["provenance"]))
    if silver.head.get("daily_lines"):
        rows = silver.tables["day_provenance"]
        sums = rows.group_by("objeto").agg(lines=rows.linhas_somadas.sum())
        current.update({row["objeto"]: row["lines"] for row in sums.to_pyarrow().to_pylist()})
    return +current


def _lines_by_object(table: ir.Table) -> dict[str, int]:
    counts = table.group_by("objeto").agg(lines=table.count()).to_pyarrow().to_pylist()
    return {row["objeto"]: row["lines"] for row in counts}
