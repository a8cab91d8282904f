"""What the records of a file would become, as the commands about files print it."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

import click
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from capstone_metrics.errors import CapstoneError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from capstone_metrics.sources.preview import Declared, Preview

SHOWN_RECORDS = 10
SHOWN_CHARACTERS = 60
SHOWN_COLUMNS = (
    *("data_postagem", "data_observacao", "video_id", "views", "likes", "comentarios"),
    "titulo_video",
)


def show_preview(result: Preview, declared: Declared) -> None:
    """Print the outcome of the records of a file; exit with 1 if it is refused."""
    defaults = declared.declaration.get("defaults", {})
    for file, why in result.refused.items():
        raise CapstoneError(f"{file}: {why}")
    counts = {kind: len(getattr(result, kind)) for kind in ("rows", "superseded", "ignored")}
    counts["rejected"] = len(result.rejected)
    parts = " + ".join(f"{count} {kind}" for kind, count in counts.items())
    click.echo(f"{sum(counts.values())} records = {parts}")
    if result.rows:
        Console().print(_table(result))
    for each in result.ignored[:SHOWN_RECORDS]:
        click.echo(f"ignored   record {each['record']}: {each['rule']}")
    for each in result.rejected[:SHOWN_RECORDS]:
        values = (f"{name} = {_short(str(value))!r}" for name, value in each["values"].items())
        shown = "; ".join(values) or _short(each["text"])
        click.echo(f"rejected  record {each['record']}: {', '.join(each['rules'])}: {shown}")
    if hint := _hint_of_numbers(result, defaults):
        click.echo(f"Numbers such as these are read with {hint}")


def _hint_of_numbers(result: Preview, defaults: Mapping[str, Any]) -> str | None:
    """Return the option that reads numbers with a separator of thousands; None without such ones.

    Args:
        result: what the records of a file would become.
        defaults: the options that are given already; a field of a preset may have others.
    """
    from capstone_metrics.sources.proposal.columns import column_of  # noqa: PLC0415 - pyarrow is slow to import

    for each in result.rejected:
        unread = {rule.partition(".")[0] for rule in each["rules"] if rule.endswith(".unreadable")}
        for name, value in each["values"].items() if unread else ():
            match = re.fullmatch(r"\d{1,3}([.,])\d{3}(\1\d{3})*", str(value).strip())
            if match and defaults.get("thousands") != match[1]:
                return f"--set thousands='{match[1]}'"
            if match and (column := column_of(name)) in unread:
                return f"--field {column}={shlex.quote(name)}"
    return None


def _table(result: Preview) -> Table:
    """Return the first rows as a table, in which only titles are shortened."""
    table = Table()
    columns = [column for column in SHOWN_COLUMNS if column in result.rows[0]]
    rows = [
        [" ".join(str(row[c]).split()) if row[c] is not None else "" for c in columns]
        for row in result.rows[:SHOWN_RECORDS]
    ]
    *widths, _ = (max(map(cell_len, cells)) for cells in zip(columns, *rows, strict=True))
    borders = 3 * len(columns) + 1
    room = max(Console().width - sum(widths) - borders, len(columns[-1]))
    for column in columns:
        table.add_column(column, no_wrap=True)
    for *values, last in rows:
        shown = last if cell_len(last) <= room else f"{set_cell_size(last, room - 1)}…"
        table.add_row(*map(escape, (*values, shown)))
    return table


def _short(text: str) -> str:
    """Return a text in one line, of which a long one is shortened."""
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_CHARACTERS else f"{line[:SHOWN_CHARACTERS]}…"
