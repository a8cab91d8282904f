"""What is unusual about what a run did, by the rules that are declared for layers and marts."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

from capstone_metrics.errors import CapstoneError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Record = Mapping[str, Any]

ACTIONS = ("warn", "block")
RULES = {
    "silver": {
        "quarantine_pct": {"most", "action"},
        "volume_pct": {"least", "most", "weeks", "action"},
    },
    "gold": {"change_pct": {"most", "action"}},
}
"""The rules of each layer, and what each of them is told."""

FEWEST = 2
"""Of so many windows at least a median is taken."""

HELD = dt.timedelta(days=30)
"""How long what a run found about Silver bars a Gold that is not made."""


@dataclass(frozen=True)
class Finding:
    """Something unusual: the rule, what it is about, in words, and what follows from it."""

    rule: str
    of: str
    said: str
    action: str


@dataclass(frozen=True)
class Rules:
    """The declared rules.

    Attributes:
        silver: by name.
        gold: of every mart that has none of its own, by name.
        marts: by the name of the mart, then by name.
    """

    silver: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    gold: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    marts: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)

    @classmethod
    def of(cls, declared: Any, marts: Iterable[str]) -> Rules:
        """Read the declaration `quality`; a rule that is null is none.

        Args:
            declared: rules for `silver`, for `gold`, and for single `marts`.
            marts: the names of the declared marts.

        Raises:
            CapstoneError: if a part of it does not hold.
        """
        said = declared if isinstance(declared, Mapping) else {"": declared}
        if set(said) - {"silver", "gold", "marts"}:
            raise CapstoneError(
                f"quality: {declared!r} is not made of rules for silver, gold and marts."
            )
        of_marts = said.get("marts") or {}
        if strange := sorted(set(of_marts) - set(marts)):
            raise CapstoneError(f"quality.marts: {', '.join(strange)} is no declared mart.")
        return cls(
            _rules("quality.silver", "silver", said.get("silver")),
            _rules("quality.gold", "gold", said.get("gold")),
            {name: _rules(f"quality.marts.{name}", "gold", own) for name, own in of_marts.items()},
        )

    @property
    def block_in_silver(self) -> bool:
        """Whether something in Silver can block Gold."""
        return any(rule["action"] == "block" for rule in self.silver.values())

    def of_mart(self, name: str) -> Mapping[str, Any]:
        """The rules of a mart: its own, and those of Gold."""
        return {**self.gold, **self.marts.get(name, {})}


def _rules(where: str, layer: str, declared: Any) -> dict[str, Mapping[str, Any]]:
    known = RULES[layer]
    said = declared if isinstance(declared, Mapping) else {}
    if (declared and not said) or not set(said) <= set(known):
        raise CapstoneError(f"{where}: {declared!r} is not made of the rules {', '.join(known)}.")
    return {
        name: _rule(f"{where}.{name}", known[name], rule) for name, rule in said.items() if rule
    }


def _rule(where: str, options: set[str], rule: Any) -> Mapping[str, Any]:
    is_whole = isinstance(rule, Mapping) and set(rule) == options
    if not is_whole or not all(
        isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
        for name, value in rule.items()
        if name != "action"
    ):
        raise CapstoneError(
            f"{where}: {rule!r} must have {', '.join(sorted(options))}; all but action are numbers "
            "from 0."
        )
    if rule["action"] not in ACTIONS:
        raise CapstoneError(f"{where}.action: {rule['action']!r} is not {' or '.join(ACTIONS)}.")
    return dict(rule)


class Gate:
    """Judges what a run does, and refuses to have Gold made of it if a rule says so.

    Args:
        rules: the declared ones.
        is_open: whether Gold is to be made whatever is found.
        is_full: whether what this run judges in Silver is all that there is.
    """

    def __init__(self, rules: Rules, is_open: bool = False, is_full: bool = False) -> None:
        self.rules = rules
        self.is_open = is_open
        self.is_full = is_full
        self.is_judged = False
        self.findings: list[Finding] = []

    def silver(
        self, windows: Mapping[str, Mapping[str, int]], history: Callable[[dt.timedelta], list[Any]]
    ) -> None:
        """Judge what Silver took in.

        Args:
            windows: the counts of each window.
            history: gives the records of a time until now, without that of this run.
        """
        self.is_judged = True
        judged = {window: counts for window, counts in windows.items() if counts.get("lines")}
        if rule := self.rules.silver.get("quarantine_pct"):
            self.findings += _quarantined(judged, rule)
        rule = self.rules.silver.get("volume_pct")
        if rule and judged:
            with contextlib.suppress(CapstoneError):  # what is usual is not known
                records = history(dt.timedelta(weeks=rule["weeks"], days=2))
                self.findings += _volume(judged, records, rule)

    def gold(self, before: Record, manifest: Record) -> None:
        """Judge a Gold that is about to be committed, beside the one before it.

        Args:
            before: its manifest; empty where there is none.
            manifest: the new one.
        """
        for name, listed in manifest["marts"].items():
            was = before.get("marts", {}).get(name, {})
            rule = self.rules.of_mart(name).get("change_pct")
            if rule and (was.get("key"), was.get("measures")) == (
                listed["key"],
                listed["measures"],
            ):
                self.findings += _change(name, was["totals"], listed["totals"], rule)

    def check(self, history: Callable[[dt.timedelta], list[Any]]) -> None:
        """Refuse to commit Gold if what was found bars it, in this run or since the last Gold.

        Args:
            history: gives the records of a time until now, without that of this run.

        Raises:
            CapstoneError: for the first such finding.
        """
        if self.is_open:
            return
        is_anew = self.is_full and self.is_judged
        asks = self.rules.block_in_silver and not is_anew
        earlier = still_open(history(HELD)) if asks else []
        barred = [found for found in (*self.findings, *earlier) if found.action == "block"]
        if barred:
            raise CapstoneError(
                f"{barred[0].said}: Gold is left as it is. If that is right, run with "
                "--params=allow_findings=true; if not, mend the source or the rule in quality.yml."
            )

    def facts(self) -> list[dict[str, str]]:
        """What was found, for the record."""
        return [asdict(found) for found in self.findings]


def still_open(records: Iterable[Record]) -> list[Finding]:
    """What runs found about Silver that no Gold was made of yet.

    Args:
        records: in the order of their beginning.
    """
    found: dict[tuple[str, str], Finding] = {}
    for record in records:
        layers = record["layers"]
        if record["parameters"].get("full") and "committed" in layers.get("silver", {}):
            found = {}
        for said in record.get("findings", ()):
            if said["rule"] in RULES["silver"]:
                found[said["rule"], said["of"]] = Finding(**said)
        if "committed" in layers.get("gold", {}):
            found = {}
    return list(found.values())


def _quarantined(
    windows: Mapping[str, Mapping[str, int]], rule: Mapping[str, Any]
) -> Iterator[Finding]:
    for window, counts in windows.items():
        rate = 100 * counts["quarantined"] / counts["lines"]
        if rate > rule["most"]:
            said = (
                f"{rate:.1f} % of the {counts['lines']:,} lines of window {window} are in "
                f"quarantine, and at most {rule['most']} % may be"
            )
            yield Finding("quarantine_pct", window, said, rule["action"])


def _volume(
    windows: Mapping[str, Mapping[str, int]], records: Iterable[Record], rule: Mapping[str, Any]
) -> Iterator[Finding]:
    lines: Counter[str] = Counter()
    for record in records:
        counted = {name: counts.get("lines", 0) for name, counts in record["windows"].items()}
        lines.update({} if record["parameters"].get("full") else counted)
    lines.update({name: counts["lines"] for name, counts in windows.items()})
    window = max(windows)
    date, _, hour = window.partition("T")
    day = dt.date.fromisoformat(date)
    weeks = (day - dt.timedelta(weeks=week) for week in range(1, int(rule["weeks"]) + 1))
    usual = [lines[f"{each}T{hour}"] for each in weeks if lines[f"{each}T{hour}"]]
    if len(usual) < FEWEST:
        return
    share = 100 * lines[window] / median(usual)
    if not rule["least"] <= share <= rule["most"]:
        said = (
            f"window {window} has {lines[window]:,} lines, {share:.0f} % of the "
            f"{median(usual):,.0f} that are usual on a {day:%A} at {hour}:00, and it should be "
            f"{rule['least']} to {rule['most']} %"
        )
        yield Finding("volume_pct", window, said, rule["action"])


def _change(
    mart: str, was: Mapping[str, int], now: Mapping[str, int], rule: Mapping[str, Any]
) -> Iterator[Finding]:
    for measure, old in was.items():
        moved = 100 * abs(now[measure] - old) / old if old else 0
        if moved > rule["most"]:
            said = (
                f"{mart}.{measure} went from {old:,} to {now[measure]:,}, by {moved:.1f} %, and "
                f"{rule['most']} % is the most"
            )
            yield Finding("change_pct", f"{mart}.{measure}", said, rule["action"])
