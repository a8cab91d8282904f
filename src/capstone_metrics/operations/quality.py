"""Quality rules of layers and marts: they find what is unusual in a run, and may block Gold."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

from capstone_metrics.errors import CapstoneError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Record = Mapping[str, Any]
    LoadRecords = Callable[[dt.timedelta], list[Any]]

ACTIONS = ("warn", "block")
RULE_OPTIONS = {
    "silver": {
        "quarantine_pct": {"most", "action"},
        "volume_pct": {"least", "most", "weeks", "action"},
    },
    "gold": {"change_pct": {"most", "action"}},
}
"""The rules of each layer, and the options of each rule."""

MIN_WINDOWS_FOR_MEDIAN = 2

BLOCKING_PERIOD = dt.timedelta(days=30)
"""How long a finding in Silver blocks Gold, unless Gold was committed since."""


@dataclass(frozen=True)
class Finding:
    """Something unusual: the rule, the window or measure, a message, and `warn` or `block`."""

    rule: str
    subject: str
    message: str
    action: str

    @classmethod
    def of(cls, record: Mapping[str, str]) -> Finding:
        """Return a finding of a run record."""
        return cls(record["rule"], record["of"], record["said"], record["action"])

    def to_dict(self) -> dict[str, str]:
        """Return the finding as a run record has it."""
        return {
            "rule": self.rule,
            "of": self.subject,
            "said": self.message,
            "action": self.action,
        }


@dataclass(frozen=True)
class Rules:
    """The declared rules.

    Attributes:
        silver: the rules of Silver, by name.
        gold: the rules of every mart, by name.
        marts: the rules of single marts, by mart and name; they override the rules of `gold`.
    """

    silver: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    gold: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    marts: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)

    @classmethod
    def of(cls, declared: Any, marts: Iterable[str]) -> Rules:
        """Parse the parameters `quality`; a rule that is null is off.

        Args:
            declared: the rules of `silver`, of `gold`, and of single `marts`.
            marts: the names of the declared marts.

        Raises:
            CapstoneError: if a rule is invalid.
        """
        if not isinstance(declared, Mapping) or set(declared) - {"silver", "gold", "marts"}:
            raise CapstoneError(
                f"quality: {declared!r} must only have rules for silver, gold and marts."
            )
        mart_rules = declared.get("marts") or {}
        if unknown := sorted(set(mart_rules) - set(marts)):
            raise CapstoneError(f"quality.marts: {', '.join(unknown)} is not a declared mart.")
        return cls(
            _parse_rules("quality.silver", "silver", declared.get("silver")),
            _parse_rules("quality.gold", "gold", declared.get("gold")),
            {
                name: _parse_rules(f"quality.marts.{name}", "gold", rules)
                for name, rules in mart_rules.items()
            },
        )

    @property
    def silver_can_block(self) -> bool:
        """Return whether a rule of Silver can block Gold."""
        return any(rule["action"] == "block" for rule in self.silver.values())

    def for_mart(self, name: str) -> Mapping[str, Any]:
        """Return the rules of a mart: the rules of Gold, overridden by its own."""
        return {**self.gold, **self.marts.get(name, {})}


def _parse_rules(setting: str, layer: str, declared: Any) -> dict[str, Mapping[str, Any]]:
    """Return the rules of a layer or mart, without those that are null."""
    known = RULE_OPTIONS[layer]
    rules = declared or {}
    if not isinstance(rules, Mapping) or not set(rules) <= set(known):
        raise CapstoneError(f"{setting}: {declared!r} must only have the rules {', '.join(known)}.")
    return {
        name: _parse_rule(f"{setting}.{name}", known[name], rule)
        for name, rule in rules.items()
        if rule
    }


def _parse_rule(setting: str, options: set[str], rule: Any) -> Mapping[str, Any]:
    is_complete = isinstance(rule, Mapping) and set(rule) == options
    if not is_complete or not all(
        isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
        for name, value in rule.items()
        if name != "action"
    ):
        raise CapstoneError(
            f"{setting}: {rule!r} must have {', '.join(sorted(options))}; all but action are "
            "numbers of at least 0."
        )
    if rule["action"] not in ACTIONS:
        raise CapstoneError(f"{setting}.action: {rule['action']!r} is not {' or '.join(ACTIONS)}.")
    return dict(rule)


class Gate:
    """Checks a run against the quality rules, and blocks Gold if a rule says so.

    Args:
        rules: the declared rules.
        allow_findings: whether Gold is committed whatever the findings.
        is_full_rebuild: whether this run rebuilds all of Silver, so that it checks every window
            again and the findings of earlier runs do not count.
    """

    def __init__(
        self, rules: Rules, allow_findings: bool = False, is_full_rebuild: bool = False
    ) -> None:
        self.rules = rules
        self.allow_findings = allow_findings
        self.is_full_rebuild = is_full_rebuild
        self.is_silver_checked = False
        self.findings: list[Finding] = []

    def check_silver(
        self, windows: Mapping[str, Mapping[str, int]], load_records: LoadRecords
    ) -> None:
        """Find what is unusual in the windows that Silver processed in this run.

        Args:
            windows: the counts of each window of this run.
            load_records: loads the records of the other runs of the last days.
        """
        self.is_silver_checked = True
        processed = {window: counts for window, counts in windows.items() if counts.get("lines")}
        if rule := self.rules.silver.get("quarantine_pct"):
            self.findings += _quarantine_findings(processed, rule)
        rule = self.rules.silver.get("volume_pct")
        if rule and processed:
            with contextlib.suppress(CapstoneError):  # without records, the volume is not checked
                # two days more, as this run may be late for its windows
                records = load_records(dt.timedelta(weeks=rule["weeks"], days=2))
                this_run = {"parameters": {"full": self.is_full_rebuild}, "windows": processed}
                lines = _lines_by_window([*records, this_run])
                self.findings += _volume_findings(max(processed), lines, rule)

    def check_gold(self, previous: Record, manifest: Record) -> None:
        """Find totals that changed much since the previous commit of Gold.

        Args:
            previous: the manifest of that commit; empty if there is none.
            manifest: the manifest that is about to be committed.
        """
        for name, mart in manifest["marts"].items():
            old = previous.get("marts", {}).get(name, {})
            rule = self.rules.for_mart(name).get("change_pct")
            is_comparable = all(old.get(part) == mart[part] for part in ("key", "measures"))
            if rule and is_comparable:
                self.findings += _change_findings(name, old["totals"], mart["totals"], rule)

    def enforce(self, load_records: LoadRecords) -> None:
        """Raise if a finding of this run, or of the runs since Gold was committed, blocks Gold.

        Args:
            load_records: loads the records of the other runs of the last days.

        Raises:
            CapstoneError: for the first blocking finding.
        """
        if self.allow_findings:
            return
        has_checked_all = self.is_full_rebuild and self.is_silver_checked
        needs_records = self.rules.silver_can_block and not has_checked_all
        earlier = pending_findings(load_records(BLOCKING_PERIOD)) if needs_records else []
        blocking = [each for each in (*self.findings, *earlier) if each.action == "block"]
        if blocking:
            raise CapstoneError(
                f"{blocking[0].message}. Gold was not changed. If the data is right, run with "
                "--params=allow_findings=true; if not, fix the source or the rule in quality.yml."
            )


def pending_findings(records: Iterable[Record]) -> list[Finding]:
    """Return the findings in Silver since Gold was committed or Silver fully rebuilt.

    Of several findings of a rule in the same window, the last is returned.

    Args:
        records: the run records, the oldest first.
    """
    findings: dict[tuple[str, str], Finding] = {}
    for record in records:
        layers = record["layers"]
        if record["parameters"].get("full") and "committed" in layers.get("silver", {}):
            findings = {}  # it checked every window again
        for finding in map(Finding.of, record.get("findings", ())):
            if finding.rule in RULE_OPTIONS["silver"]:
                findings[finding.rule, finding.subject] = finding
        if "committed" in layers.get("gold", {}):
            findings = {}
    return list(findings.values())


def _quarantine_findings(
    windows: Mapping[str, Mapping[str, int]], rule: Mapping[str, Any]
) -> Iterator[Finding]:
    for window, counts in windows.items():
        pct = 100 * counts["quarantined"] / counts["lines"]
        if pct > rule["most"]:
            message = (
                f"{pct:.1f} % of the {counts['lines']:,} lines of window {window} are in "
                f"quarantine; the limit is {rule['most']} %"
            )
            yield Finding("quarantine_pct", window, message, rule["action"])


def _lines_by_window(records: Iterable[Record]) -> Counter[str]:
    """Return the lines of each window in Bronze, from the records of the runs that processed them.

    Args:
        records: the run records, the oldest first. A full rebuild processes the lines of earlier
            runs again.
    """
    lines: Counter[str] = Counter()
    for record in records:
        is_rebuild = record["parameters"].get("full")
        for window, counts in record["windows"].items():
            if "lines" in counts:  # else the window was only ingested
                lines[window] = counts["lines"] + (0 if is_rebuild else lines[window])
    return lines


def _volume_findings(
    window: str, lines: Counter[str], rule: Mapping[str, Any]
) -> Iterator[Finding]:
    """Yield a finding if a window has many more or fewer lines than on its weekday before.

    Args:
        window: the window.
        lines: the lines of each window.
        rule: the rule.
    """
    date, _, hour = window.partition("T")
    day = dt.date.fromisoformat(date)
    weeks = range(1, int(rule["weeks"]) + 1)
    earlier_windows = [f"{day - dt.timedelta(weeks=week)}T{hour}" for week in weeks]
    earlier_lines = [lines[each] for each in earlier_windows if lines[each]]
    if len(earlier_lines) < MIN_WINDOWS_FOR_MEDIAN:
        return
    median_lines = median(earlier_lines)
    pct = 100 * lines[window] / median_lines
    if not rule["least"] <= pct <= rule["most"]:
        message = (
            f"window {window} has {lines[window]:,} lines, {pct:.0f} % of the "
            f"{median_lines:,.0f} that are usual on a {day:%A} at {hour}:00; the limits are "
            f"{rule['least']} and {rule['most']} %"
        )
        yield Finding("volume_pct", window, message, rule["action"])


def _change_findings(
    mart: str,
    previous_totals: Mapping[str, int],
    totals: Mapping[str, int],
    rule: Mapping[str, Any],
) -> Iterator[Finding]:
    for measure, old in previous_totals.items():
        pct = 100 * abs(totals[measure] - old) / old if old else 0
        if pct > rule["most"]:
            message = (
                f"{mart}.{measure} went from {old:,} to {totals[measure]:,}, by {pct:.1f} %; the "
                f"limit is {rule['most']} %"
            )
            yield Finding("change_pct", f"{mart}.{measure}", message, rule["action"])
