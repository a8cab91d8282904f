"""silver_criacao → gold_*."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

from kedro.pipeline import Pipeline, node

from capstone_metrics.pipelines.silver_to_gold.nodes import (
    aggregate,
    dry_run,
    find_rebuild_scope,
    reconcile,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    import ibis.expr.types as ir

    from capstone_metrics.pipelines.silver_to_gold.nodes import RebuildScope

RUN_PARAMETERS = ["params:full", "params:from", "params:to"]


def create_pipeline(marts: Collection[str]) -> Pipeline:
    """Build each declared mart from Silver, then the manifest of Gold."""
    return Pipeline(
        [
            node(
                find_rebuild_scope,
                inputs=[
                    "silver_criacao@deferred",
                    "silver_provenance@deferred",
                    "silver_head",
                    "gold_snapshot",
                    "params:marts",
                    *RUN_PARAMETERS,
                ],
                outputs="gold_rebuild_scope",
                name="find_rebuild_scope",
            ),
            *(
                node(
                    _aggregate(mart),
                    inputs=["gold_rebuild_scope", "params:marts"],
                    outputs=mart,
                    name=mart.removeprefix("gold_"),
                )
                for mart in marts
            ),
            node(
                reconcile,
                inputs=["gold_rebuild_scope", "params:marts", *marts],
                outputs="gold_manifest",
                name="reconcile",
            ),
        ],
        tags="gold",
    )


def create_dry_run() -> Pipeline:
    """Return the days that the pipeline would rebuild, without writing."""
    return Pipeline(
        [
            node(
                dry_run,
                inputs=["gold_snapshot_dry_run", *RUN_PARAMETERS],
                outputs="dry_run_gold",
                name="dry_run_rebuild_scope",
            )
        ],
        tags="gold",
    )


def _aggregate(mart: str) -> Callable[[RebuildScope, Mapping[str, Any]], ir.Table]:
    """Return `aggregate` bound to a mart, as a function, whose code Kedro-Viz can show."""

    @wraps(aggregate)
    def aggregate_mart(scope: RebuildScope, declarations: Mapping[str, Any]) -> ir.Table:
        return aggregate(scope, declarations, mart)

    return aggregate_mart
