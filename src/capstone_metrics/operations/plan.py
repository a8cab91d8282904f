"""The plan of a run: what each layer would do."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from capstone_metrics.validation.objects import parse_object_name
from capstone_metrics.write_stats import WriteStats

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from rich.console import Console

    from capstone_metrics.changes import GoldUpdate, SilverUpdate
    from capstone_metrics.operations.summary import Summary


def show_plan(
    console: Console,
    saved: Mapping[str, tuple[Any, Mapping[str, WriteStats]]],
    summary: Summary,
) -> None:
    """Print what each layer would change.

    Args:
        console: where to print.
        saved: for each layer what a run would save, and what that would write, by table.
        summary: what would be refused, and what would be unusual.
    """
    lines = ["Plan: nothing was written."]
    if "bronze" in saved:
        _, stats = saved["bronze"]
        lines += _describe_bronze(stats["bronze_criacao"].lines)
    if "silver" in saved:
        lines += _describe_silver(*saved["silver"])
    if "gold" in saved:
        lines += _describe_gold(*saved["gold"])
    lines += summary.outdated_hint()
    lines += summary.refusal_lines
    for finding in summary.findings:
        effect = "; Gold would not be changed" if finding in summary.blocking else ""
        lines.append(f"  unusual: {finding}{effect}")
    if summary.losses:
        lines.append(
            f"  not published: Gold has lost too much: {', '.join(summary.losses)}; "
            "--params=allow_shrink=true publishes it"
        )
    console.print("\n".join(lines), highlight=False, soft_wrap=True)


def _describe_bronze(names: Collection[str]) -> Iterator[str]:
    """Yield the number of objects to ingest, then for each source the days with the same hours.

    For example `faker: 2026-01-01 to 2026-01-05 at 08, 20`.
    """
    windows: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for name in names:
        fonte, janela, _ = parse_object_name(name)
        date, _, hour = janela.partition("T")
        windows[fonte].add((date, hour))
    yield f"bronze  {len(names):,} objects to ingest"
    for fonte, starts in windows.items():
        hours_by_day: dict[str, list[str]] = defaultdict(list)
        for date, hour in sorted(starts):
            hours_by_day[date].append(hour)
        days_by_hours: dict[str, list[dt.date]] = defaultdict(list)
        for date, hours in hours_by_day.items():
            days_by_hours[", ".join(hours)].append(dt.date.fromisoformat(date))
        for hours_text, days in days_by_hours.items():
            yield f"        {fonte}: {', '.join(_date_ranges(days))} at {hours_text}"


def _describe_silver(update: SilverUpdate, stats: Mapping[str, WriteStats]) -> Iterator[str]:
    """Yield what would be processed, and the rows and days that this would change."""
    run = update.accounts["run"]
    yield (
        f"silver  {len(update.receipts):,} objects to process: {run['lines']:,} lines, of which "
        f"{run['quarantined']:,} would be quarantined"
    )
    for name in ("silver_criacao", "silver_observacao_dia"):
        table = stats.get(name, WriteStats())
        days = _describe_days(list(table.days))
        yield f"        {name.removeprefix('silver_')}: {_describe_rows(table)} on {days}"


def _describe_gold(update: GoldUpdate, stats: Mapping[str, WriteStats]) -> Iterator[str]:
    """Yield the rows of each mart that would change, and the marts that would be removed."""
    days = sorted({day for mart in stats.values() for day in mart.days})
    yield f"gold    {_describe_days(days)} to change"
    for name, mart in stats.items():
        yield f"        {name}: {_describe_rows(mart)}"
    declared = update.manifest["marts"]
    for name in update.base.manifest.get("marts", {}):
        if name not in declared:
            yield f"        {name}: to be removed, as it is no longer declared"


def _describe_rows(stats: WriteStats) -> str:
    return f"{stats.rows:,} rows to write, {stats.removed:,} to remove"


def _describe_days(days: list[dt.date]) -> str:
    return f"{len(days):,} days" + (f" ({', '.join(_date_ranges(days))})" if days else "")


def _date_ranges(days: list[dt.date]) -> Iterator[str]:
    """Yield sorted days, consecutive ones as `first to last`."""
    start = 0
    for next_index, day in enumerate(days, 1):
        if next_index == len(days) or days[next_index] - day != dt.timedelta(days=1):
            first, last = days[start], day
            yield str(first) if first == last else f"{first} to {last}"
            start = next_index
