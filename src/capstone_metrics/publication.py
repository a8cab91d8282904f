"""What is published to the serving database, and the limits of a publication."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from capstone_metrics.definitions import Definition
    from capstone_metrics.marts import Mart


@dataclass(frozen=True)
class PublicationPolicy:
    """The limits of a publication.

    Attributes:
        max_shrink_pct: by how many percent the number of rows or a total of a mart may fall from
            one publication to the next.
        changes_kept_days: for how many days the keys that a publication changed are retained.
        allow_shrink: whether a mart may be empty, be removed, or shrink beyond the limit.
    """

    max_shrink_pct: float = 20
    changes_kept_days: int = 90
    allow_shrink: bool = False


@dataclass(frozen=True)
class Publication:
    """Gold as it is published to the serving database.

    Attributes:
        manifest: the manifest of Gold.
        marts: the declared marts, by name.
        files: the CSV of each mart, read lazily; reading one that does not match the manifest
            raises a `CapstoneError`.
        policy: the limits of the publication.
        versions: for each mart a token that changes whenever its file does; empty if unknown.
        definitions: when networks changed what they count.
    """

    manifest: dict[str, Any]
    marts: dict[str, Mart]
    files: Mapping[str, bytes]
    policy: PublicationPolicy = field(default_factory=PublicationPolicy)
    versions: Mapping[str, str] = field(default_factory=dict)
    definitions: Sequence[Definition] = ()

    @property
    def tables(self) -> dict[str, dict[str, Any]]:
        """For each mart the number of its `rows`, and the types of its `columns` by name."""
        return {
            name: {
                "rows": self.manifest["marts"][name]["rows"],
                "columns": {column: str(kind) for column, kind in mart.types.items()},
            }
            for name, mart in self.marts.items()
        }
