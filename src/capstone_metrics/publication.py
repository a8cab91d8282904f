"""What is published to the serving database, and the limits of a publication."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from capstone_metrics.errors import ConfigError

if TYPE_CHECKING:
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

    @classmethod
    def of(cls, publication: Mapping[str, Any], allow_shrink: Any) -> PublicationPolicy:
        """Parse the parameters `publication` and `allow_shrink`.

        Raises:
            ConfigError: if a value is invalid or missing.
        """
        options = publication if isinstance(publication, Mapping) else {}
        shrink: Any = options.get("max_shrink_pct")
        days: Any = options.get("changes_kept_days")
        if not _is_number(shrink, int, float) or not 0 <= shrink <= 100:  # noqa: PLR2004
            raise ConfigError(
                f"publication.max_shrink_pct: {shrink!r} must be a percentage from 0 to 100."
            )
        if not _is_number(days, int) or days < 1:
            raise ConfigError(
                f"publication.changes_kept_days: {days!r} must be a whole number of days."
            )
        if not isinstance(allow_shrink, bool):
            raise ConfigError(f"allow_shrink: {allow_shrink!r} must be true or false.")
        return cls(shrink, days, allow_shrink)


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


def _is_number(value: Any, *kinds: type) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)  # a bool is an int
