"""The kinds of published marts, and which mart can answer a question."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from capstone_metrics.dashboard.database import PublishedMart

POSTED, OBSERVED = "data_postagem", "data_observacao"
NETWORK, INSTITUTION = "rede_social", "faculdade"
VIDEO_ID, VIDEO_TITLE = "video_id", "titulo_video"
NO_TITLE = "(não informado)"
"""What Gold has for a title that is not known."""


@dataclass(frozen=True)
class Kind:
    """A kind of mart: what its figures are, and of which day.

    Attributes:
        name: the key of its title in the texts.
        day: the column that is its day.
        measures: the measures that it must have, by name, with their declarations; the first is
            of views, and the last one counts videos, but where each row is a video.
    """

    name: str
    day: str
    measures: Mapping[str, Mapping[str, Any]]

    @property
    def views(self) -> str:
        """The measure of views."""
        return next(iter(self.measures))

    @property
    def videos(self) -> str:
        """The measure that counts videos."""
        return list(self.measures)[-1]

    def has(self, mart: PublishedMart) -> bool:
        """Return whether a mart is of this kind."""
        return mart.day == self.day and all(
            mart.measures.get(name) == declared for name, declared in self.measures.items()
        )


GAINED = Kind(
    "gained_by",
    OBSERVED,
    {
        "views_ganhas": {"sum": "views_ganhas"},
        "likes_ganhos": {"sum": "likes_ganhos"},
        "comentarios_ganhos": {"sum": "comentarios_ganhos"},
        "videos_observados": {"count": "video_id"},
    },
)
AT_7_DAYS = Kind(
    "at_7_days_by",
    POSTED,
    {
        "views_7d": {"sum": "views", "at_days": 7},
        "videos_7d": {"count": "video_id", "at_days": 7},
    },
)
SO_FAR = Kind(
    "so_far_by",
    POSTED,
    {
        "total_views": {"sum": "views"},
        "total_likes": {"sum": "likes"},
        "total_comentarios": {"sum": "comentarios"},
        "total_videos": {"count": "video_id"},
    },
)
KINDS = (GAINED, AT_7_DAYS, SO_FAR)
"""The kinds whose rows are sums over videos."""

HOUR = "hora_postagem"
VIDEO = Kind(
    "each_video",
    POSTED,
    {
        "total_views": {"sum": "views"},
        "views_ganhas_7d": {"sum": "views_ganhas_7d"},
        "views_7d": {"sum": "views_7d"},
    },
)


def select_mart(
    marts: Iterable[PublishedMart], kind: Kind, columns: Iterable[str]
) -> PublishedMart | None:
    """Select the smallest mart of a kind that has rows by some columns; None if none has."""
    candidates = _candidates(marts, kind, columns)
    return min(candidates, key=lambda mart: (mart.rows, mart.name), default=None)


def finest_mart(
    marts: Iterable[PublishedMart], kind: Kind, columns: Iterable[str]
) -> PublishedMart | None:
    """Select the mart of a kind that has rows by some columns, and by the most others."""
    candidates = _candidates(marts, kind, columns)
    return max(candidates, key=lambda mart: (len(mart.key), mart.name), default=None)


def _candidates(
    marts: Iterable[PublishedMart], kind: Kind, columns: Iterable[str]
) -> list[PublishedMart]:
    required = set(columns)
    return [mart for mart in marts if required <= set(mart.labels) and kind.has(mart)]


def kind_of(mart: PublishedMart) -> Kind | None:
    """Return the kind of a mart; None for another one."""
    return next((kind for kind in (*KINDS, VIDEO) if kind.has(mart)), None)
