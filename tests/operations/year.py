"""A year of runs as their records tell it, with what went wrong on some days."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from capstone_metrics.changes import GoldSnapshot, GoldUpdate, SilverSnapshot, SilverUpdate
from capstone_metrics.operations.record import Recorder, RunSpec
from capstone_metrics.operations.summary import Summary
from capstone_metrics.publication import Publication
from capstone_metrics.schedule import Timetable, Window
from capstone_metrics.write_stats import WriteStats

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from capstone_metrics.lake.runs import RunsDataset

DATASETS = {"bronze": "bronze_criacao", "silver": "silver", "gold": "gold", "serving": "serving"}
SNAPSHOT = SilverSnapshot(0, {}, {}, set, lambda _: {}, lambda *_: None)
MINUTE = dt.timedelta(minutes=1)


@dataclass
class Fate:
    """The course of a run: the minutes after its slot is due at which it begins and commits.

    Attributes:
        begun: minutes.
        done: minutes, by layer; the run stops at the first layer that is missing.
        end: how it ends.
        lines: of its window.
    """

    begun: float = 1
    done: Mapping[str, float] = field(
        default_factory=lambda: {"bronze": 2, "silver": 4, "gold": 3, "serving": 2}
    )
    end: str = "succeeded"
    lines: int = 100


class Year:
    """Writes records by the recorder itself, at instants that are made up.

    Args:
        runs: where to.
        schedule: whose slots have their runs.
        dead: a process that lives no more.
    """

    def __init__(self, runs: RunsDataset, schedule: Mapping[str, Any], dead: Any) -> None:
        self.runs, self.schedule, self.dead = runs, schedule, dead
        self.timetable = Timetable.of(schedule)
        self.clock = dt.datetime.now(dt.UTC)

    def play(self, days: Iterable[dt.date], fates: Mapping[tuple[str, str], Fate | None]) -> None:
        """Write a run for each slot: of Bronze and Silver, of Gold, and of the publication.

        Args:
            days: the days of the slots.
            fates: what does not go as it should, by the first layer and the window; None is no run.
        """
        groups = {"bronze": ["bronze", "silver"], "gold": ["gold"], "publication": ["serving"]}
        slots = [
            self.timetable.slot(layer, Window(day, hour))
            for day in days
            for layer in groups
            for hour in self.timetable.hours[layer]
        ]
        for slot in sorted(slots, key=lambda slot: slot.due):
            fate = fates.get((slot.layer, str(slot.window)), Fate())
            if fate:
                self.run(slot.due, str(slot.window), groups[slot.layer], fate)

    def run(self, due: dt.datetime, window: str, layers: list[str], fate: Fate) -> None:
        self.clock = due + fate.begun * MINUTE
        recorder, summary = Recorder(lambda: self.runs, lambda: self.clock), Summary()
        recorder.start(
            RunSpec(
                environment="local",
                pipelines=layers,
                runtime_params={},
                parameters={
                    "now": self.clock.isoformat(),
                    "schedule": self.schedule,
                    "operations": {"kept_days": 4000},
                },
                catalog={},
                nodes=[(f"node of {layer}", layer) for layer in layers],
            )
        )
        for layer in layers:
            node, dataset = f"node of {layer}", DATASETS[layer]
            recorder.node_started(node, [dataset])
            if layer not in fate.done:
                break
            self.clock = due + fate.done[layer] * MINUTE
            name = f"fonte=faker/janela={window}/criacao.jsonl"
            lines = {name: fate.lines} if layer == "bronze" else {}
            stats = {dataset: WriteStats(rows=fate.lines, lines=lines)}
            data = self._data(layer, name, fate.lines)
            summary.add(layer, data, stats.values(), seconds=60)
            recorder.dataset_saved(node, dataset, data, stats, summary)
        self.clock += MINUTE
        if fate.end == "killed":
            recorder._ended.set()
            self.runs.save({**recorder.record, "process": self.dead})
        else:
            recorder.end(ValueError() if fate.end == "failed" else None)

    @staticmethod
    def _data(layer: str, name: str, lines: int) -> Any:
        """Return what a run saves to a layer."""
        manifest = {"generation": 1, "silver_rows": 0, "marts": {}}
        if layer == "gold":
            return GoldUpdate(GoldSnapshot(), {}, manifest)
        if layer == "serving":
            return Publication(manifest, {}, {})
        if layer == "bronze":
            return {}
        counts = {
            "lines": lines,
            "accepted": lines,
            "superseded": 0,
            "quarantined": 0,
            "ignored": 0,
            "withdrawn": 0,
        }
        accounts = {
            "run": counts,
            "total": {
                "lines": lines,
                "current": lines,
                "superseded": 0,
                "quarantined": 0,
                "ignored": 0,
                "withdrawn": 0,
            },
            "reasons": {},
            "ignored": {},
            "drift": {},
            "outdated": [],
            "undeclared": [],
        }
        receipts = {name: {**counts, "reasons": {}}}
        return SilverUpdate(SNAPSHOT, {}, receipts, {}, accounts)
