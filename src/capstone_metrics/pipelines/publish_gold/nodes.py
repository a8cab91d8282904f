"""Assemble Gold for publication."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from capstone_metrics.changes import GoldSnapshot, MartFile
from capstone_metrics.definitions import definitions_of
from capstone_metrics.errors import DataError
from capstone_metrics.mart_declarations import declaration_in, marts_of
from capstone_metrics.publication import Publication, PublicationPolicy
from capstone_metrics.validation.silver import columns_of


class VerifiedFiles(Mapping[str, bytes]):
    """The bytes of the CSV of each mart in a manifest, read when first accessed.

    Reading a file that does not match the manifest raises a `CapstoneError`.

    Args:
        entries: the entry of each mart in the manifest.
        files: the file of each mart, by its name.
    """

    def __init__(self, entries: Mapping[str, Any], files: Mapping[str, MartFile]) -> None:
        self.entries = entries
        self.files = files
        self.verified: dict[str, bytes] = {}

    def __getitem__(self, name: str) -> bytes:
        if name not in self.verified:
            content = self.files[name].read()
            if self.entries[name]["sha256"] != hashlib.sha256(content).hexdigest():
                raise DataError(
                    f"{name} is not the file that Gold's manifest names: it was edited, or comes "
                    "from another run. Run 'kedro run --pipelines=silver_to_gold' to rebuild it."
                )
            self.verified[name] = content
        return self.verified[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


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
    return Publication(
        manifest=dict(gold.manifest),
        marts=marts,
        files=VerifiedFiles(entries, gold.files),
        policy=PublicationPolicy(**policy, allow_shrink=allow_shrink),
        versions={name: gold.files[name].version() for name in marts},
        definitions=[each for each in definitions_of(definitions) if each.rede_social in networks],
    )
