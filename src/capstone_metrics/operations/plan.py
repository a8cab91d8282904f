"""The plan of a run: what each layer would do."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from capstone_metrics.changes import parse_object_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rich.console import Console


def show_plan(console: Console, plan: Mapping[str, Any]) -> None:
    """Print what each layer would do.

    Args:
        console: where to print.
        plan: any of `dry_run_bronze`, the names of the objects that Bronze lacks;
            `dry_run_silver`, the `objects` and `lines` to process, those `accepted`, and the
            `days` that change; `dry_run_gold`, the days that changed since Gold was built, None
            for all.
    """
    lines = ["Plan: nothing was written."]
    if "dry_run_bronze" in plan:
        lines += _bronze_lines(plan["dry_run_bronze"])
    silver = plan.get("dry_run_silver")
    if silver:
        lines.append(
            f"silver  {len(silver['objects']):,} objects to process: {silver['lines']:,} lines, of "
            f"which {silver['lines'] - silver['accepted']:,} would be quarantined"
        )
        lines.append(f"        {_describe_days(silver['days'])} to change")
    if "dry_run_gold" in plan:
        lines.append(_gold_line(plan["dry_run_gold"], silver["days"] if silver else []))
    console.print("\n".join(lines), highlight=False, soft_wrap=True)


def _bronze_lines(names: Iterable[str]) -> Iterator[str]:
    windows: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for name in names:
        fonte, janela, _ = parse_object_name(name)
        date, _, hour = janela.partition("T")
        windows[fonte][date].add(hour)
    total = sum(len(hours) for dates in windows.values() for hours in dates.values())
    yield f"bronze  {total:,} windows missing"
    for fonte, dates in windows.items():
        by_hours: dict[str, list[dt.date]] = defaultdict(list)
        for date, hours in sorted(dates.items()):
            by_hours[", ".join(sorted(hours))].append(dt.date.fromisoformat(date))
        for times, days in by_hours.items():
            yield f"        {fonte}: {', '.join(_date_ranges(days))} at {times}"


def _gold_line(changed_days: list[dt.date] | None, new_days: list[dt.date]) -> str:
    if changed_days is None:
        return "gold    every day to rebuild"
    return f"gold    {_describe_days(sorted({*changed_days, *new_days}))} to rebuild"


def _describe_days(days: list[dt.date]) -> str:
    return f"{len(days):,} days" + (f" ({', '.join(_date_ranges(days))})" if days else "")


def _date_ranges(days: list[dt.date]) -> Iterator[str]:
    """Return sorted days, with consecutive ones as `first to last`."""
    start = 0
    for end, day in enumerate(days, 1):
        if end == len(days) or days[end] - day != dt.timedelta(days=1):
            first, last = days[start], day
            yield str(first) if first == last else f"{first} to {last}"
            start = end
