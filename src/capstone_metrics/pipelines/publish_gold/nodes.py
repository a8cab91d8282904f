"""Assemble Gold for publication."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from capstone_metrics.changes import GoldSnapshot, LazyMapping, MartFile
from capstone_metrics.definitions import definitions_of
from capstone_metrics.errors import DataError
from capstone_metrics.mart_declarations import declaration_in, marts_of
from capstone_metrics.publication import Publication, PublicationPolicy
from capstone_metrics.validation.silver import columns_of


def assemble_publication(
    gold: GoldSnapshot,
    declarations: Mapping[str, Any],
    columns: Mapping[str, str],
    policy: Mapping[str, Any],
    allow_shrink: bool,
    definitions: Sequence[Mapping[str, Any]] | None,
    networks: Sequence[str],
) -> Publication:
    """Return the publication of all marts of one generation of Gold.

    Args:
        gold: Gold as of its last commit.
        declarations: the declared marts.
        columns: the types of the declared columns of Silver, by name.
        policy: the limits of a publication: `max_shrink_pct` (percent), `changes_kept_days` (days).
        allow_shrink: whether the marts may shrink beyond `max_shrink_pct`.
        definitions: when networks changed what they count.
        networks: the networks whose definitions are published.

    The files are read when they are published; one that does not match the manifest raises an
    error then.

    Raises:
        DataError: if there is no Gold, or it was built from other declarations.
    """
    if not gold.manifest:
        raise DataError("There is no Gold to publish; run 'kedro run' first.")
    marts = marts_of(declarations, columns_of(columns))
    entries = gold.manifest["marts"]
    built = {name: declaration_in(entry) for name, entry in entries.items()}
    if built != {name: mart.declaration for name, mart in marts.items()}:
        raise DataError(
            "The declarations of the marts have changed since Gold was built. Run 'kedro run "
            "--pipelines=silver_to_gold,publish_gold' to rebuild and publish it."
        )
    files = {
        name: partial(_verified, name, entry["sha256"], gold.files[name])
        for name, entry in entries.items()
    }
    return Publication(
        manifest=dict(gold.manifest),
        marts=marts,
        files=LazyMapping(files),
        policy=PublicationPolicy(**policy, allow_shrink=allow_shrink),
        versions={name: gold.files[name].version() for name in marts},
        definitions=[each for each in definitions_of(definitions) if each.rede_social in networks],
    )


def _verified(name: str, sha256: str, file: MartFile) -> bytes:
    """Return the bytes of the CSV of a mart.

    Raises:
        CapstoneError: if they do not match the manifest, or there is no file.
    """
    content = file.read()
    if sha256 != hashlib.sha256(content).hexdigest():
        raise DataError(
            f"{name} is not the file that Gold's manifest names: it was edited, or comes "
            "from another run. Run 'kedro run --pipelines=silver_to_gold' to rebuild it."
        )
    return content
