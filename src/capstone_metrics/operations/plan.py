"""What a run would do, told before it does it."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from capstone_metrics.changes import lot_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rich.console import Console


def show_plan(console: Console, plan: Mapping[str, Any]) -> None:
    """Print what each layer would do.

    Args:
        console: where to.
        plan: `plan_bronze`, the names of the objects that Bronze lacks; `plan_silver`, the
            `objects` and `lines` to take in, those `accepted`, and the `days` that change;
            `plan_gold`, the days that changed since Gold was made, None for all. Any of them may
            be left out.
    """
    lines = ["Plan: nothing was written."]
    if "plan_bronze" in plan:
        lines += _bronze(plan["plan_bronze"])
    silver = plan.get("plan_silver")
    if silver:
        lines.append(
            f"silver  {len(silver['objects']):,} objects to take in: {silver['lines']:,} lines, of "
            f"which {silver['lines'] - silver['accepted']:,} to the quarantine"
        )
        lines.append(f"        {_days(silver['days'])} to change")
    if "plan_gold" in plan:
        lines.append(_gold(plan["plan_gold"], silver["days"] if silver else []))
    console.print("\n".join(lines), highlight=False, soft_wrap=True)


def _bronze(names: Iterable[str]) -> Iterator[str]:
    windows: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for name in names:
        fonte, janela, _ = lot_of(name)
        date, _, hour = janela.partition("T")
        windows[fonte][date].add(hour)
    total = sum(len(hours) for dates in windows.values() for hours in dates.values())
    yield f"bronze  {total:,} windows missing"
    for fonte, dates in windows.items():
        by_hours: dict[str, list[dt.date]] = defaultdict(list)
        for date, hours in sorted(dates.items()):
            by_hours[", ".join(sorted(hours))].append(dt.date.fromisoformat(date))
        for times, days in by_hours.items():
            yield f"        {fonte}: {', '.join(_ranges(days))} at {times}"


def _gold(changed: list[dt.date] | None, more: list[dt.date]) -> str:
    if changed is None:
        return "gold    every day to make again"
    return f"gold    {_days(sorted({*changed, *more}))} to make again"


def _days(days: list[dt.date]) -> str:
    return f"{len(days):,} days" + (f" ({', '.join(_ranges(days))})" if days else "")


def _ranges(days: list[dt.date]) -> Iterator[str]:
    """Sorted days, those that follow one another as `first to last`."""
    start = 0
    for end, day in enumerate(days, 1):
        if end == len(days) or days[end] - day != dt.timedelta(days=1):
            first, last = days[start], day
            yield str(first) if first == last else f"{first} to {last}"
            start = end
