"""Fill Bronze with a number of observations, by the project's own source."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml
from benchmarks.growth import FIRST_RUN, LakeProject

if TYPE_CHECKING:
    from pathlib import Path


MILLION = 1_000_000
DAYS = 60
OBSERVATIONS_PER_CHANNEL = 7140
"""Observations of one channel in `DAYS`."""


def create_project(root: Path, observations: int = MILLION) -> LakeProject:
    """Return a project with about this many observations in Bronze, and nothing else."""
    project = LakeProject(root, DAYS)
    path = project.root / "conf/local/parameters_sources.yml"
    parameters = yaml.safe_load(path.read_text())
    networks = parameters["networks"]
    parameters["sources"]["faker"]["channels"] = [
        {
            "faculdade": f"F{number:03}",
            "rede_social": networks[number % len(networks)],
            "qtd_inscritos": 1000 * (number + 1),
        }
        for number in range(observations // OBSERVATIONS_PER_CHANNEL)
    ]
    path.write_text(yaml.safe_dump(parameters))
    arguments = ("--pipelines=ingest_bronze", f"--params=now={FIRST_RUN}")
    project.kedro("run", "--env=local", *arguments)
    return project
