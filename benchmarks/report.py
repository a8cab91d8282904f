"""Report the results of a benchmark, and whether they meet its goals."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "build/bench"

Comparison = tuple[str, float, float]
"""A comparison: its name, the measured value, and the highest value that meets the goal."""


def median_and_range(values: Sequence[float]) -> str:
    """Return the median, and the range from minimum to maximum, as text."""
    return f"{median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def conclude(
    name: str,
    costs: Mapping[str, Sequence[Any]],
    comparisons: Sequence[Comparison],
    libraries: Iterable[str],
) -> None:
    """Print the comparisons, save the results, and exit with 1 if a goal is missed.

    Args:
        name: the name of the benchmark.
        costs: the cost of each round, a dataclass, by contender.
        comparisons: the comparisons with the goals.
        libraries: the libraries whose versions are saved with the results.
    """
    rows = [(label, f"{value:.3g}", f"{limit:.3g}") for label, value, limit in comparisons]
    print(f"\n{markdown_table(('compared', 'measured', 'at most'), rows)}")
    result = {
        "versions": {
            "python": platform.python_version(),
            **{library: version(library) for library in libraries},
        },
        "cores": os.cpu_count(),
        "costs": {name: [asdict(cost) for cost in rounds] for name, rounds in costs.items()},
        "compared": comparisons,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
    if any(value > limit for _, value, limit in comparisons):
        raise SystemExit(1)
