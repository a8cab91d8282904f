"""Check the windows that a run processed: for drift, and against the quality rules."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from capstone_metrics.pipelines.bronze_to_silver.validate import ValidationResult
from capstone_metrics.quality import Finding, QualityReport, Rules, check_windows, usual_windows
from capstone_metrics.schemas import REQUIRED, REQUIRED_IF_DECLARED
from capstone_metrics.validation.objects import parse_object_name


def check_silver(
    validation: ValidationResult, quality: Mapping[str, Any] | None, marts: Mapping[str, Any]
) -> QualityReport:
    """Find what is unusual in the windows that a run processed.

    Args:
        validation: the validated lines.
        quality: the declared rules.
        marts: the declared marts.

    Raises:
        CapstoneError: if a rule is invalid.
    """
    rules = Rules.of(quality or {}, marts)
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
    report = check_windows(windows, lines_by_window, rules)
    return QualityReport("silver", [*_drift_findings(validation.objects), *report.findings])


def _drift_findings(objects: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    """Yield a finding, which blocks Gold, for each window with an object that has drifted."""
    drifted: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for name, counts in sorted(objects.items()):
        if drift := _drift(counts):
            drifted[_window(name)].append((name, *drift))
    for window, ((name, problem, setting), *others) in sorted(drifted.items()):
        fonte, *_ = parse_object_name(name)
        message = (
            f"{name} {problem}{f', and {len(others)} more like it' if others else ''}: they are in "
            f"the quarantine. Correct sources.{fonte}.{setting}, then run 'kedro quarantine "
            "replay'; or correct how its files are read, such as the delimiter, then run again"
        )
        yield Finding("drift", window, message, "block")


def _drift(counts: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return how an object has drifted, and the setting to correct; None if it has not.

    Either a required field is in no line, because it was renamed or removed; or every line has an
    undeclared field, which the source rejects (`schema_drift: freeze`).
    """
    observations = counts["accepted"] + counts["quarantined"]
    broken_by_every_line = {
        rule for rule, lines in counts["reasons"].items() if lines == observations
    }
    fields = (*REQUIRED, *REQUIRED_IF_DECLARED)
    if missing := [field for field in fields if f"{field}.missing" in broken_by_every_line]:
        return f"has {', '.join(missing)} in none of its {observations} lines", "fields"
    if "line.new_field" in broken_by_every_line:
        new = ", ".join(counts["new_fields"])
        return f"has the undeclared {new} in all of its {observations} lines", "other_fields"
    return None


def _window(name: str) -> str:
    return parse_object_name(name)[1]
