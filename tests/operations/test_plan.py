from __future__ import annotations

from io import StringIO

from rich.console import Console

from capstone_metrics.operations.plan import show_plan
from capstone_metrics.operations.summary import Summary
from capstone_metrics.write_stats import WriteStats


def test_files_that_arrive_in_one_window_are_each_an_object_to_ingest() -> None:
    names = (f"fonte=escola/janela=2026-01-31T20/{name}.jsonl" for name in "abc")
    stats = {"bronze_criacao": WriteStats(lines=dict.fromkeys(names, 1))}
    output = StringIO()
    show_plan(Console(file=output), {"bronze": (None, stats)}, Summary())
    lines = ["bronze  3 objects to ingest", "        escola: 2026-01-31 at 20"]
    assert output.getvalue().splitlines()[1:] == lines
