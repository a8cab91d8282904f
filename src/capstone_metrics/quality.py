"""Quality rules of layers and marts: they find what is unusual in a run, and may block Gold."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

from capstone_metrics.config_schema import NAMED, check
from capstone_metrics.errors import ConfigError
from capstone_metrics.mart_declarations import declaration_in
from capstone_metrics.validation.texts import names_alike

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ACTIONS = ("warn", "block")
RULE_OPTIONS = {
    "silver": {
        "quarantine_pct": {"most", "action"},
        "volume_pct": {"least", "most", "weeks", "action"},
    },
    "gold": {"change_pct": {"most", "action"}, "names_by_case": {"action"}},
}
"""The rules of each layer, and the options of each rule."""

MIN_WINDOWS_FOR_MEDIAN = 2
MAX_WEEKS = 520
MAX_SPELLINGS = 5
"""Of how many names a message shows the spellings."""


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
            ConfigError: if a rule is invalid.
        """
        if not isinstance(declared, Mapping) or set(declared) - {"silver", "gold", "marts"}:
            raise ConfigError(
                f"quality: {declared!r} must only have rules for silver, gold and marts."
            )
        mart_rules = declared.get("marts") or {}
        check("quality.marts", mart_rules, NAMED)
        if unknown := sorted(set(mart_rules) - set(marts)):
            raise ConfigError(f"quality.marts: {', '.join(unknown)} is not a declared mart.")
        return cls(
            _parse_rules("quality.silver", "silver", declared.get("silver")),
            _parse_rules("quality.gold", "gold", declared.get("gold")),
            {
                name: _parse_rules(f"quality.marts.{name}", "gold", rules)
                for name, rules in mart_rules.items()
            },
        )

    def for_mart(self, name: str) -> Mapping[str, Any]:
        """Return the rules of a mart: the rules of Gold, overridden by its own."""
        return {**self.gold, **self.marts.get(name, {})}


def _parse_rules(setting: str, layer: str, declared: Any) -> dict[str, Mapping[str, Any]]:
    """Return the rules of a layer or mart, without those that are null."""
    known = RULE_OPTIONS[layer]
    rules = declared or {}
    if not isinstance(rules, Mapping) or not set(rules) <= set(known):
        raise ConfigError(f"{setting}: {declared!r} must only have the rules {', '.join(known)}.")
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
        raise ConfigError(
            f"{setting}: {rule!r} must have {', '.join(sorted(options))}; all but action are "
            "numbers of at least 0."
        )
    if rule.get("least", 0) > rule.get("most", math.inf):
        raise ConfigError(f"{setting}: {rule!r} has a least that is more than its most; swap them.")
    weeks = rule.get("weeks", MIN_WINDOWS_FOR_MEDIAN)
    if not isinstance(weeks, int) or not MIN_WINDOWS_FOR_MEDIAN <= weeks <= MAX_WEEKS:
        raise ConfigError(
            f"{setting}.weeks: {weeks!r} must be a whole number from {MIN_WINDOWS_FOR_MEDIAN} to "
            f"{MAX_WEEKS}."
        )
    if rule["action"] not in ACTIONS:
        raise ConfigError(f"{setting}.action: {rule['action']!r} is not {' or '.join(ACTIONS)}.")
    return dict(rule)


@dataclass(frozen=True)
class QualityReport:
    """What the rules of a layer found in a run.

    Attributes:
        layer: `silver` or `gold`.
        findings: what is unusual.
    """

    layer: str
    findings: list[Finding]


def check_windows(
    windows: Mapping[str, Mapping[str, int]], lines: Mapping[str, int], rules: Rules
) -> QualityReport:
    """Find what is unusual in the windows of a run.

    Args:
        windows: the `lines` and the `quarantined` ones that the run processed, by window.
        lines: all lines of the newest of these windows, and of those that `usual_windows` names.
        rules: the declared rules.
    """
    findings: list[Finding] = []
    if rule := rules.silver.get("quarantine_pct"):
        findings += _quarantine_findings(windows, rule)
    if windows and (rule := rules.silver.get("volume_pct")):
        findings += _volume_findings(max(windows), lines, rule)
    return QualityReport("silver", findings)


def usual_windows(window: str, rules: Rules) -> list[str]:
    """Return the windows at the same hour of the same weekday to compare a window with."""
    rule = rules.silver.get("volume_pct")
    date, _, hour = window.partition("T")
    day = dt.date.fromisoformat(date)
    weeks = range(1, int(rule["weeks"]) + 1) if rule else ()
    return [f"{day - dt.timedelta(weeks=week)}T{hour}" for week in weeks]


def check_totals(
    previous: Mapping[str, Any], manifest: Mapping[str, Any], rules: Rules
) -> QualityReport:
    """Find totals of Gold that changed much since its last commit.

    Args:
        previous: the manifest of that commit; empty if there is none.
        manifest: the manifest that is about to be committed.
        rules: the declared rules.
    """
    findings: list[Finding] = []
    for name, mart in manifest["marts"].items():
        old = previous.get("marts", {}).get(name, {})
        # what was gained, or is old enough, changes much while a lake is young
        is_cumulative = mart.get("from", "criacao") == "criacao"
        own = rules.for_mart(name) if is_cumulative else rules.marts.get(name, {})
        rule = own.get("change_pct")
        is_comparable = declaration_in(old) == declaration_in(mart)
        if rule and is_comparable:
            findings += _change_findings(name, old["totals"], mart["totals"], rule)
    return QualityReport("gold", findings)


def check_names(names: Mapping[str, Mapping[str, Iterable[str]]], rules: Rules) -> QualityReport:
    """Find names of which another one differs by case alone.

    Args:
        names: the names in the marts, by mart and column.
        rules: the declared rules.
    """
    findings: dict[str, Finding] = {}  # by their messages: several marts have the same names
    for mart, columns in names.items():
        if rule := rules.for_mart(mart).get("names_by_case"):
            for column, values in columns.items():
                if message := _spellings(column, values):
                    finding = Finding("names_by_case", column, message, rule["action"])
                    findings.setdefault(message, finding)
    return QualityReport("gold", list(findings.values()))


def _spellings(column: str, names: Iterable[str]) -> str | None:
    """Return a message with the names of a column that differ by case alone; None for none."""
    alike = sorted(map(sorted, names_alike(names)))
    if not alike:
        return None
    shown = ", ".join(" and ".join(map(repr, each)) for each in alike[:MAX_SPELLINGS])
    more = ", …" if len(alike) > MAX_SPELLINGS else ""
    return (
        f"{column} has names that differ by case alone, which Power BI takes for one: {shown}{more}"
        f"; write them alike in the source, or by 'values' of its field {column}"
    )


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


def _volume_findings(
    window: str, lines: Mapping[str, int], rule: Mapping[str, Any]
) -> Iterator[Finding]:
    """Yield a finding if a window has many more or fewer lines than on its weekday before.

    Args:
        window: the window.
        lines: the lines of the window, and of those to compare it with.
        rule: the rule.
    """
    earlier_lines = [count for other, count in lines.items() if other < window and count]
    if len(earlier_lines) < MIN_WINDOWS_FOR_MEDIAN:
        return
    median_lines = median(earlier_lines)
    pct = 100 * lines[window] / median_lines
    if not rule["least"] <= pct <= rule["most"]:
        date, _, hour = window.partition("T")
        weekday = f"{dt.date.fromisoformat(date):%A}"
        message = (
            f"window {window} has {lines[window]:,} lines, {pct:.0f} % of the "
            f"{median_lines:,.0f} that are usual on a {weekday} at {hour}:00; the limits are "
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
        pct = 100 * abs(totals[measure] - old) / abs(old) if old else 0
        if pct > rule["most"]:
            message = (
                f"{mart}.{measure} went from {old:,} to {totals[measure]:,}, by {pct:.1f} %; the "
                f"limit is {rule['most']} %"
            )
            yield Finding("change_pct", f"{mart}.{measure}", message, rule["action"])
