"""Quality rules of layers and marts: they find what is unusual in a run, and may block Gold."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

from capstone_metrics.config_schema import INTEGER, NUMBER, Kind, check
from capstone_metrics.errors import ConfigError
from capstone_metrics.mart_declarations import declaration_in
from capstone_metrics.validation.texts import names_alike

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MIN_WINDOWS_FOR_MEDIAN, MAX_WEEKS = 2, 520
LIMIT = Kind("a number of at least 0", lambda value: NUMBER.includes(value) and value >= 0)
WEEKS = Kind(
    f"a whole number from {MIN_WINDOWS_FOR_MEDIAN} to {MAX_WEEKS}",
    lambda value: INTEGER.includes(value) and MIN_WINDOWS_FOR_MEDIAN <= value <= MAX_WEEKS,
)
ACTION = Kind("warn or block", lambda value: value in ("warn", "block"))
SILVER_RULES = {
    "quarantine_pct?": {"most": LIMIT, "action": ACTION},
    "volume_pct?": {"least": LIMIT, "most": LIMIT, "weeks": WEEKS, "action": ACTION},
}
GOLD_RULES = {
    "change_pct?": {"most": LIMIT, "action": ACTION},
    "names_by_case?": {"action": ACTION},
}
"""The rules of each layer, and the options of each rule."""

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
    """The declared rules; one that is null is off.

    Attributes:
        silver: the rules of Silver, by name.
        gold: the rules of every mart, by name.
        marts: the rules of single marts, by mart and name; they override the rules of `gold`.
    """

    silver: Mapping[str, Any] = field(default_factory=dict)
    gold: Mapping[str, Any] = field(default_factory=dict)
    marts: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, declared: Mapping[str, Any] | None) -> Rules:
        """Return the rules of the parameters `quality`, which `check_rules` has checked."""
        return cls(**{name: rules or {} for name, rules in (declared or {}).items()})

    def for_mart(self, name: str) -> Mapping[str, Any]:
        """Return the rules of a mart: the rules of Gold, overridden by its own."""
        return {**self.gold, **self.of_mart_alone(name)}

    def of_mart_alone(self, name: str) -> Mapping[str, Any]:
        """Return the rules that a mart has of its own."""
        return self.marts.get(name) or {}


def check_rules(declared: Any, marts: Iterable[str]) -> None:
    """Check the parameters `quality`.

    Args:
        declared: the rules of `silver`, of `gold`, and of single `marts`.
        marts: the names of the declared marts.

    Raises:
        ConfigError: if a rule is invalid.
    """
    rules = _without_nulls(declared or {})
    mart_rules = {f"{name}?": GOLD_RULES for name in marts}
    check("quality", rules, {"silver?": SILVER_RULES, "gold?": GOLD_RULES, "marts?": mart_rules})
    volume = rules.get("silver", {}).get("volume_pct")
    if volume and volume["least"] > volume["most"]:
        raise ConfigError(
            f"quality.silver.volume_pct: {volume!r} has a least that is more than its most; swap "
            "them."
        )


def _without_nulls(declared: Any) -> Any:
    if not isinstance(declared, Mapping):
        return declared
    return {name: _without_nulls(each) for name, each in declared.items() if each is not None}


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
        own = rules.for_mart(name) if is_cumulative else rules.of_mart_alone(name)
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
