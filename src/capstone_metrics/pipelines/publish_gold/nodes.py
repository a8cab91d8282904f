"""Gold, as it is published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from capstone_metrics.errors import CapstoneError
from capstone_metrics.schemas import Publication, marts_of


def publication(
    manifest: Mapping[str, Any], declarations: Mapping[str, Any], *tables: pa.Table
) -> Publication:
    """All marts, whole and of one run.

    Args:
        manifest: of Gold.
        declarations: of the marts.
        tables: the marts, in the order of the declarations.

    Raises:
        CapstoneError: if a mart is not the one that the manifest names.
    """
    marts = marts_of(declarations)
    found = dict(zip(marts, tables, strict=True))
    for name, table in found.items():
        listed = manifest["marts"].get(name, {}).get("sha256")
        if listed != table.schema.metadata[b"sha256"].decode():
            raise CapstoneError(
                f"{name} is not the file that Gold's manifest names: it was edited, or comes from "
                "another run. Run 'kedro run --pipelines=silver_to_gold' to make Gold again."
            )
    return Publication(dict(manifest), marts, found)
