"""The plan of a run: what each layer would do."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from capstone_metrics.validation.objects import parse_object_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rich.console import Console


def show_plan(console: Console, plan: Mapping[str, Any]) -> None:
    """Print what each layer would do.

    Args:
        console: where to print.
        plan: the results of the dry runs, any of which may be missing. `dry_run_bronze`: the names
            of the objects that Bronze lacks. `dry_run_silver`: the names of the `objects` to
            process, the numbers of their `lines` and of the `accepted` ones, and the `days` of
            Silver that would change. `dry_run_gold`: the days that changed since Gold was built;
            None for all.
    """
    lines = ["Plan: nothing was written."]
    if "dry_run_bronze" in plan:
        lines += _describe_bronze(plan["dry_run_bronze"])
    silver = plan.get("dry_run_silver")
    if silver:
        lines.append(
            f"silver  {len(silver['objects']):,} objects to process: {silver['lines']:,} lines, of "
            f"which {silver['lines'] - silver['accepted']:,} would be quarantined"
        )
        lines.append(f"        {_describe_days(silver['days'])} to change")
    if "dry_run_gold" in plan:
        lines.append(_describe_gold(plan["dry_run_gold"], silver["days"] if silver else []))
    console.print("\n".join(lines), highlight=False, soft_wrap=True)


def _describe_bronze(names: Iterable[str]) -> Iterator[str]:
    """Yield the number of missing windows, then for each source the days that lack the same hours.

    For example `faker: 2026-01-01 to 2026-01-05 at 08, 20`.
    """
    windows: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for name in names:
        fonte, janela, _ = parse_object_name(name)
        date, _, hour = janela.partition("T")
        windows[fonte].add((date, hour))
    yield f"bronze  {sum(map(len, windows.values())):,} windows missing"
    for fonte, missing in windows.items():
        hours_by_day: dict[str, list[str]] = defaultdict(list)
        for date, hour in sorted(missing):
            hours_by_day[date].append(hour)
        days_by_hours: dict[str, list[dt.date]] = defaultdict(list)
        for date, hours in hours_by_day.items():
            days_by_hours[", ".join(hours)].append(dt.date.fromisoformat(date))
        for hours_text, days in days_by_hours.items():
            yield f"        {fonte}: {', '.join(_date_ranges(days))} at {hours_text}"


def _describe_gold(changed_days: list[dt.date] | None, silver_days: list[dt.date]) -> str:
    """Return how many days to rebuild: those that changed, and those that Silver would change."""
    if changed_days is None:
        return "gold    every day to rebuild"
    return f"gold    {_describe_days(sorted({*changed_days, *silver_days}))} to rebuild"


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
