"""How a benchmark says what it found, and whether that is what it aims at."""

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

Verdict = tuple[str, float, float]
"""What is compared, what was found, and the most that it may be."""


def spread(values: Sequence[float]) -> str:
    """The median, the least and the most."""
    return f"{median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def conclude(
    name: str,
    costs: Mapping[str, Sequence[Any]],
    verdicts: Sequence[Verdict],
    libraries: Iterable[str],
) -> None:
    """Print the verdicts, keep the numbers, and exit with 1 if a goal is not met.

    Args:
        name: of the benchmark.
        costs: by what was measured, the cost of each time, a dataclass.
        verdicts: what was compared.
        libraries: whose versions are kept beside.
    """
    rows = [(what, f"{found:.3g}", f"{most:.3g}") for what, found, most in verdicts]
    print(f"\n{table(('compared', 'found', 'at most'), rows)}")
    result = {
        "versions": {
            "python": platform.python_version(),
            **{library: version(library) for library in libraries},
        },
        "cores": os.cpu_count(),
        "costs": {what: [asdict(cost) for cost in each] for what, each in costs.items()},
        "compared": verdicts,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
    if any(found > most for _, found, most in verdicts):
        raise SystemExit(1)
