"""A million observations in Bronze."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml
from benchmarks.growth import FILLED, Project

if TYPE_CHECKING:
    from pathlib import Path

CHANNELS = 140
DAYS = 60


def fill(root: Path) -> Project:
    """A project whose Bronze has them, and nothing else."""
    project = Project(root, DAYS)
    path = project.root / "conf/local/parameters_sources.yml"
    declared = yaml.safe_load(path.read_text())
    networks = declared["networks"]
    declared["sources"]["faker"]["channels"] = [
        {
            "faculdade": f"F{number:03}",
            "rede_social": networks[number % len(networks)],
            "qtd_inscritos": 1000 * (number + 1),
        }
        for number in range(CHANNELS)
    ]
    path.write_text(yaml.safe_dump(declared))
    project.kedro("run", "--env=local", "--pipelines=ingest_bronze", f"--params=now={FILLED}")
    return project
