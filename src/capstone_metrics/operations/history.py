"""Tables of past runs, from their records."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from capstone_metrics.operations.summary import Summary

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from zoneinfo import ZoneInfo

    from rich.console import Console

    Record = Mapping[str, Any]

STYLES = {"succeeded": "green", "running": "cyan", "failed": "bold red", "killed": "bold red"}
WIDE_CONSOLE = 110
"""Columns of a terminal from which the table of runs shows all of its own."""


def show_runs(console: Console, records: Iterable[Record], zone: ZoneInfo) -> None:
    """Print a line for each run.

    Args:
        console: where to print.
        records: the run records, in the order to show.
        zone: the time zone of the times shown.
    """
    is_wide = console.width >= WIDE_CONSOLE
    table = Table(title="Runs", title_justify="left")
    for column in ("run", "started", "state"):
        table.add_column(column, overflow="fold", no_wrap=column != "run")
    if is_wide:
        table.add_column("pipelines", overflow="fold")
        table.add_column("in", justify="right")
        table.add_column("written", justify="right")
    table.add_column("seconds", justify="right")
    table.add_column("at node", overflow="fold")
    for record in records:
        started = _local_time(record["begun"], zone)
        table.add_row(
            record["run"],
            started if is_wide else started[5:],
            f"[{STYLES.get(record['state'], '')}]{record['state']}[/]",
            *(_wide_cells(record) if is_wide else ()),
            _duration(record),
            escape(", ".join(record["at_work"])),
        )
    console.print(table)


def show_run(console: Console, record: Record, zone: ZoneInfo) -> None:
    """Print the details of one run: its parameters, its counts and the time of each node."""
    for name, value in _details(record, zone):
        console.print(f"[bold]{name:<14}[/bold]{escape(value)}", highlight=False, soft_wrap=True)
    console.print(Summary.of(record).table())
    nodes = Table(title="Nodes", title_justify="left")
    nodes.add_column("node", overflow="fold")
    for column in ("started at s", "seconds"):
        nodes.add_column(column, justify="right")
    for name, node in record["nodes"].items():
        start, end = node.get("begun"), node.get("ended")
        duration = "" if end is None else f"{end - start:.2f}"
        nodes.add_row(name, "" if start is None else f"{start:.2f}", duration)
    console.print(nodes)


def _wide_cells(record: Record) -> Iterable[str]:
    layers = record["layers"].values()
    rows = next((layer["rows_in"] for layer in layers if layer["rows_in"] is not None), None)
    yield escape(", ".join(record["pipelines"]))
    yield "" if rows is None else f"{rows:,}"
    yield f"{sum(layer['written'] for layer in layers):,}"


def _details(record: Record, zone: ZoneInfo) -> Iterable[tuple[str, str]]:
    process = record["process"]
    yield "run", record["run"]
    yield "state", record["state"]
    if record["at_work"]:
        yield "at node", ", ".join(record["at_work"])
    if record["error"]:
        yield "error", record["error"]
    for finding in record.get("findings", ()):
        yield "unusual", finding["said"]
    yield "started", _local_time(record["begun"], zone)
    yield "seconds", _duration(record)
    yield "environment", record["environment"]
    yield "pipelines", ", ".join(record["pipelines"])
    parameters = record["parameters"].items()
    yield "parameters", ", ".join(f"{name}={value}" for name, value in parameters)
    if record["now"]:
        yield "now", _local_time(record["now"], zone)
    windows = list(record["windows"])
    yield "windows", f"{len(windows):,}" + (f" ({windows[0]} to {windows[-1]})" if windows else "")
    yield "process", f"{process['pid']} on {process['host']}"
    yield "configuration", record["configuration"]
    yield "versions", ", ".join(f"{name} {version}" for name, version in record["versions"].items())


def _local_time(timestamp: str, zone: ZoneInfo) -> str:
    return f"{dt.datetime.fromisoformat(timestamp).astimezone(zone):%Y-%m-%d %H:%M}"


def _duration(record: Record) -> str:
    """Return the seconds that a run took; of a killed run, until its last sign of life."""
    start, last = (dt.datetime.fromisoformat(record[name]) for name in ("begun", "updated"))
    seconds = record["seconds"]
    return f"{(last - start).total_seconds() if seconds is None else seconds:,.1f}"
