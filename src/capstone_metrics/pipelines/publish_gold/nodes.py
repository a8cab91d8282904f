"""Gold, as it is published."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from capstone_metrics.errors import CapstoneError
from capstone_metrics.schemas import Publication, Terms, marts_of


def publication(
    manifest: Mapping[str, Any],
    files: Callable[[str], bytes],
    declarations: Mapping[str, Any],
    terms: Mapping[str, Any],
    allow_shrink: bool,
) -> Publication:
    """All marts, whole and of one run.

    Args:
        manifest: of Gold.
        files: gives the CSV of a mart by its name.
        declarations: of the marts.
        terms: what a publication may do: `max_shrink_pct` (percent), `changes_kept_days` (days).
        allow_shrink: whether readers may be left with much less than they have.

    Raises:
        CapstoneError: if a mart is not the one that the manifest names, or Gold was made from
            other declarations.
    """
    marts = marts_of(declarations)
    made = {name: _made(listed) for name, listed in manifest["marts"].items()}
    if made != {name: (list(mart.key), mart.rules) for name, mart in marts.items()}:
        raise CapstoneError(
            "The marts were declared otherwise when Gold was made. Run 'kedro run "
            "--pipelines=silver_to_gold,publish_gold' to make and publish it as they are now."
        )
    found = {name: files(name) for name in marts}
    for name, content in found.items():
        if manifest["marts"][name]["sha256"] != hashlib.sha256(content).hexdigest():
            raise CapstoneError(
                f"{name} is not the file that Gold's manifest names: it was edited, or comes from "
                "another run. Run 'kedro run --pipelines=silver_to_gold' to make Gold again."
            )
    return Publication(dict(manifest), marts, found, Terms.of(terms, allow_shrink))


def _made(listed: Mapping[str, Any]) -> tuple[Any, Any]:
    return listed.get("key"), listed.get("measures")
