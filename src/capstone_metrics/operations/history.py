"""What ran: the records, for people."""

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
WIDE = 110
"""From how many columns on a terminal is given more than the essential."""


def show_runs(console: Console, records: Iterable[Record], zone: ZoneInfo) -> None:
    """Print a line for each run.

    Args:
        console: where to.
        records: of the runs, in the order in which they are to be shown.
        zone: in which times are told.
    """
    is_wide = console.width >= WIDE
    table = Table(title="Runs", title_justify="left")
    for column in ("run", "begun", "state"):
        table.add_column(column, overflow="fold", no_wrap=column != "run")
    if is_wide:
        table.add_column("pipelines", overflow="fold")
        table.add_column("in", justify="right")
        table.add_column("written", justify="right")
    table.add_column("seconds", justify="right")
    table.add_column("at", overflow="fold")
    for record in records:
        begun = _local(record["begun"], zone)
        table.add_row(
            record["run"],
            begun if is_wide else begun[5:],
            f"[{STYLES.get(record['state'], '')}]{record['state']}[/]",
            *(_more(record) if is_wide else ()),
            _seconds(record),
            escape(", ".join(record["at_work"])),
        )
    console.print(table)


def show_run(console: Console, record: Record, zone: ZoneInfo) -> None:
    """Print what one run was, what it did, and where its time went."""
    for name, said in _facts(record, zone):
        console.print(f"[bold]{name:<14}[/bold]{escape(said)}", highlight=False, soft_wrap=True)
    console.print(Summary.of(record).table())
    nodes = Table(title="Nodes", title_justify="left")
    nodes.add_column("node", overflow="fold")
    for column in ("begun at s", "seconds"):
        nodes.add_column(column, justify="right")
    for name, node in record["nodes"].items():
        begun, ended = node.get("begun"), node.get("ended")
        took = "" if ended is None else f"{ended - begun:.2f}"
        nodes.add_row(name, "" if begun is None else f"{begun:.2f}", took)
    console.print(nodes)


def _more(record: Record) -> Iterable[str]:
    layers = record["layers"].values()
    rows = next((layer["rows_in"] for layer in layers if layer["rows_in"] is not None), None)
    yield escape(", ".join(record["pipelines"]))
    yield "" if rows is None else f"{rows:,}"
    yield f"{sum(layer['written'] for layer in layers):,}"


def _facts(record: Record, zone: ZoneInfo) -> Iterable[tuple[str, str]]:
    process = record["process"]
    yield "run", record["run"]
    yield "state", record["state"]
    if record["at_work"]:
        yield "at", ", ".join(record["at_work"])
    if record["error"]:
        yield "error", record["error"]
    yield "begun", _local(record["begun"], zone)
    yield "seconds", _seconds(record)
    yield "environment", record["environment"]
    yield "pipelines", ", ".join(record["pipelines"])
    given = record["parameters"].items()
    yield "parameters", ", ".join(f"{name}={value}" for name, value in given)
    if record["now"]:
        yield "now", _local(record["now"], zone)
    windows = list(record["windows"])
    yield "windows", f"{len(windows):,}" + (f" ({windows[0]} to {windows[-1]})" if windows else "")
    yield "process", f"{process['pid']} on {process['host']}"
    yield "configuration", record["configuration"]
    yield "versions", ", ".join(f"{name} {said}" for name, said in record["versions"].items())


def _local(said: str, zone: ZoneInfo) -> str:
    return f"{dt.datetime.fromisoformat(said).astimezone(zone):%Y-%m-%d %H:%M}"


def _seconds(record: Record) -> str:
    """How long it took; of one that was killed how long it was seen."""
    begun, seen = (dt.datetime.fromisoformat(record[name]) for name in ("begun", "updated"))
    took = record["seconds"]
    return f"{(seen - begun).total_seconds() if took is None else took:,.1f}"
