"""Observations in Bronze, as many as are asked for, by the project's own source."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml
from benchmarks.growth import FILLED, Project

if TYPE_CHECKING:
    from pathlib import Path


MILLION = 1_000_000
DAYS = 60
A_CHANNEL = 7140
"""Observations of a channel in that time."""


def fill(root: Path, observations: int = MILLION) -> Project:
    """A project whose Bronze has about as many, and nothing else."""
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
        for number in range(observations // A_CHANNEL)
    ]
    path.write_text(yaml.safe_dump(declared))
    ingest = ("--pipelines=ingest_bronze", f"--params=now={FILLED}")
    project.kedro("run", "--env=local", *ingest)
    return project
