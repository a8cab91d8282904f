"""silver_criacao → gold_*."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

from kedro.pipeline import Pipeline, node

from capstone_metrics.pipelines.silver_to_gold.nodes import aggregate, foresee, plan, reconcile

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    import ibis.expr.types as ir

    from capstone_metrics.pipelines.silver_to_gold.nodes import Plan

SAID = ["params:full", "params:from", "params:to"]


def create_pipeline(marts: Collection[str]) -> Pipeline:
    """Make each declared mart from Silver, then their manifest."""
    return Pipeline(
        [
            node(
                plan,
                inputs=[
                    "silver_criacao@deferred",
                    "silver_places@deferred",
                    "silver_head",
                    "gold_before",
                    "params:marts",
                    *SAID,
                ],
                outputs="gold_plan",
                name="plan",
            ),
            *(
                node(
                    _aggregate(mart),
                    inputs=["gold_plan", "params:marts"],
                    outputs=mart,
                    name=mart.removeprefix("gold_"),
                )
                for mart in marts
            ),
            node(
                reconcile,
                inputs=["gold_plan", "params:marts", *marts],
                outputs="gold_manifest",
                name="reconcile",
            ),
        ],
        tags="gold",
    )


def create_plan() -> Pipeline:
    """Say which days that would make again."""
    return Pipeline(
        [node(foresee, inputs=["gold_planned", *SAID], outputs="plan_gold", name="foresee_gold")],
        tags="gold",
    )


def _aggregate(mart: str) -> Callable[[Plan, Mapping[str, Any]], ir.Table]:
    """`aggregate` for one mart, told from a partial by Kedro-Viz, which shows its code."""

    @wraps(aggregate)
    def of_the_mart(plan: Plan, declarations: Mapping[str, Any]) -> ir.Table:
        return aggregate(plan, declarations, mart)

    return of_the_mart
