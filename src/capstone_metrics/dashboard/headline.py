"""The sentences on top of the overview, which say what happened by the figures of the page."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from capstone_metrics.dashboard.figures import MAX_FACTOR

if TYPE_CHECKING:
    from collections.abc import Mapping

    from capstone_metrics.dashboard.figures import Figure
    from capstone_metrics.dashboard.texts import Texts

MARKDOWN = re.compile(r"([\\`*_{}\[\]<>()#+\-.!|~$:])")


def headline(
    texts: Texts, figures: Mapping[str, Figure], leader: tuple[str, float] | None, days: int
) -> str:
    """Return what happened in a period, as Markdown.

    Args:
        texts: in the reader's language.
        figures: the figures of the page, by measure.
        leader: the institution with the largest share and this share; None for a single one.
        days: the length of the period.
    """
    sentences = []
    gained, posted = figures.get("views_ganhas"), figures.get("total_videos")
    is_gained = gained is not None and gained.value is not None
    if gained and gained.value is not None:
        change = change_phrase(texts, gained)
        views = texts.compact(gained.value)
        sentences.append(
            texts("gained_sentence", views=views, change=change, days=texts.days(days))
        )
    if leader:
        name, share = escaped(leader[0]), texts.percent(leader[1])
        sentences.append(texts("leader_sentence", institution=name, share=share))
    if posted and posted.value:
        sentences.append(texts("posted_sentence", count=texts.number(posted.value)))
    mean = figures.get("views_7d_mean")
    if mean and mean.value is not None:
        change = change_phrase(texts, mean)
        sentences.append(texts("mean_sentence", views=texts.compact(mean.value), change=change))
    so_far = figures.get("total_views")
    if not is_gained and so_far and so_far.value is not None:
        sentences.append(texts("so_far_sentence", views=texts.compact(so_far.value)))
    return " ".join(sentences)


def change_phrase(texts: Texts, figure: Figure) -> str:
    """Return how a figure changed, as the end of a sentence; empty if it is not compared."""
    factor = figure.factor
    if factor is None:
        return ""
    if factor > MAX_FACTOR:
        return texts("times_more", factor=MAX_FACTOR)
    change = factor - 1
    if round(change, 3) == 0:
        return texts("as_many")
    return texts("more" if change > 0 else "fewer", change=texts.percent(abs(change)))


def escaped(text: str) -> str:
    """Return a text that Markdown shows as it is."""
    return MARKDOWN.sub(r"\\\1", text)
