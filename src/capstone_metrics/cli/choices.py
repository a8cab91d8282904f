"""The names that options of `kedro run` may have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kedro.framework.project import pipelines
from kedro.pipeline import Pipeline
from kedro.utils import load_obj

from capstone_metrics.errors import CapstoneError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Mapping

RUNNERS = ("SequentialRunner", "ThreadRunner", "ParallelRunner")


def unknown_choice(options: Mapping[str, Any]) -> CapstoneError | None:
    """Return the error of the first option of a failed run whose name nothing has; None without.

    Args:
        options: the options of `kedro run`, by their names in Python.
    """
    chosen = options["pipelines"] or [options["pipeline"] or "__default__"]
    for name in chosen:
        if name not in pipelines:
            named = [each for each in pipelines if not each.startswith("__")]
            return unknown_name("--pipelines", name, named)
    pipeline = sum((pipelines[name] for name in chosen), Pipeline([]))
    nodes = {node.name for node in pipeline.nodes}
    datasets = pipeline.datasets()
    choices = {
        "node_names": ("--nodes", nodes),
        "from_nodes": ("--from-nodes", nodes),
        "to_nodes": ("--to-nodes", nodes),
        "from_inputs": ("--from-inputs", datasets),
        "to_outputs": ("--to-outputs", datasets),
        "tags": ("--tags", {tag for node in pipeline.nodes for tag in node.tags}),
        "namespaces": ("--namespaces", {n.namespace for n in pipeline.nodes if n.namespace}),
    }
    for option, (flag, known) in choices.items():
        for name in options[option] or ():
            if name not in known:
                return unknown_name(flag, name, known)
    try:
        load_obj(options["runner"] or RUNNERS[0], "kedro.runner")
    except (AttributeError, ImportError, ValueError):
        return unknown_name("--runner", options["runner"], RUNNERS)
    return None
