"""Check the windows that a run processed against the quality rules."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from capstone_metrics.pipelines.bronze_to_silver.validate import ValidationResult
from capstone_metrics.quality import QualityReport, Rules, check_windows, usual_windows
from capstone_metrics.validation.objects import parse_object_name


def check_silver(validation: ValidationResult, quality: Mapping[str, Any] | None) -> QualityReport:
    """Find what is unusual in the windows that a run processed.

    Args:
        validation: the validated lines.
        quality: the declared rules.
    """
    rules = Rules.of(quality)
    windows: dict[str, Counter[str]] = defaultdict(Counter)
    for name, counts in validation.objects.items():
        if counts["lines"]:
            windows[_window(name)].update(lines=counts["lines"], quarantined=counts["quarantined"])
    if not windows:
        return QualityReport("silver", [])
    newest = max(windows)
    compared = {newest, *usual_windows(newest, rules)}
    snapshot = validation.snapshot
    # a full rebuild processes every object in this run
    merged = set() if validation.is_full else snapshot.merged_objects()
    receipts = snapshot.receipts(
        name for name in merged - set(validation.objects) if _window(name) in compared
    )
    lines_by_window: Counter[str] = Counter()
    for name, stats in {**receipts, **validation.objects}.items():
        if _window(name) in compared:
            lines_by_window[_window(name)] += stats["lines"]
    return check_windows(windows, lines_by_window, rules)


def _window(name: str) -> str:
    return parse_object_name(name)[1]
