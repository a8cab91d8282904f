"""The site: its pages, its language, and the messages if there is nothing to show."""

from __future__ import annotations

import datetime as dt
import functools
import logging
import os
from typing import TYPE_CHECKING, Literal
from zoneinfo import ZoneInfo

import streamlit as st

from capstone_metrics.dashboard import filters, runs
from capstone_metrics.dashboard.database import (
    DatabaseUnavailableError,
    NeverPublishedError,
    QueryTimeoutError,
    read_transaction,
)
from capstone_metrics.dashboard.explorer import show_explorer
from capstone_metrics.dashboard.freshness import Freshness, timetable_of
from capstone_metrics.dashboard.method import show_method
from capstone_metrics.dashboard.overview import show_overview
from capstone_metrics.dashboard.texts import LOCALES, Texts, preferred_language
from capstone_metrics.dashboard.videos import show_videos
from capstone_metrics.dashboard.view import View

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from capstone_metrics.schedule import Timetable

PAGES: dict[str, Callable[[View], None]] = {
    "overview": show_overview,
    "videos": show_videos,
    "explorer": show_explorer,
    "method": show_method,
}
"""The pages by name. They have no icons, which the browser would fetch from the Internet."""

BADGES: Mapping[str, tuple[Literal["green", "blue", "orange"], str]] = {
    "fresh": ("green", ":material/check:"),
    "no_new_data": ("blue", ":material/check:"),
    "old_data": ("orange", ":material/schedule:"),
    "stale": ("orange", ":material/schedule:"),
}
"""The colour and icon of each state of the figures."""

PRINTED = """<style>@media print {
    .stApp, .stApp * { overflow: visible !important; }
    .stApp, [data-testid=stAppViewContainer], [data-testid=stMain] {
        height: auto !important; position: static !important; display: block !important;
    }
    [data-testid=stSidebar], [data-testid=stHeader], [data-testid=stDownloadButton] {
        display: none !important;
    }
    [data-testid=stMetric], [data-testid=stVegaLiteChart] { break-inside: avoid; }
}</style>"""
"""A page is printed whole, and without its controls."""

log = logging.getLogger(__name__)


def main() -> None:
    """Show the page that the URL names."""
    st.set_page_config(page_title="Capstone Metrics", layout="wide")
    st.html(PRINTED)
    with st.sidebar:
        language = st.segmented_control(
            "Idioma / Language",
            list(LOCALES),
            default=preferred_language(st.context.locale),
            required=True,
            key=filters.LANGUAGE,
            bind="query-params",
        )
    texts = Texts(LOCALES[language])
    filters.keep_selection()
    pages = [
        st.Page(
            functools.partial(show_page, name, texts),
            title=texts(name),
            url_path=name,
            default=name == "overview",
        )
        for name in PAGES
    ]
    st.navigation(pages, position="top").run()


def show_page(name: str, texts: Texts) -> None:
    """Show a page, or a message why it cannot be shown; only the log has the error's details."""
    st.title(texts("title") if name == "overview" else texts(name))
    placeholder = st.empty()
    try:
        with (
            placeholder.container(),
            st.spinner(texts("loading")),
            read_transaction() as transaction,
        ):
            timetable = timetable_of(os.environ)
            zone = timetable.zone if timetable else ZoneInfo(st.context.timezone or "UTC")
            view = View(transaction, texts, zone)
            show_freshness(view, timetable)
            PAGES[name](view)
    except NeverPublishedError:
        show_message(texts, "unpublished", "info")
    except DatabaseUnavailableError:
        show_message(texts, "unavailable", "error")
    except QueryTimeoutError:
        show_message(texts, "slow", "warning")
    except Exception:
        log.exception("The page %s could not be shown.", name)
        show_message(texts, "failed", "error")
    else:
        return
    placeholder.empty()


def show_freshness(view: View, timetable: Timetable | None) -> None:
    """Show to which day the data reach, when they were published, and whether either is late."""
    texts, publication, data_end = view.texts, view.transaction.publication, view.data_end
    now = dt.datetime.now(view.zone)
    unchanged_at = runs.unchanged_at(view.transaction)
    freshness = Freshness.at(now, publication.published_at, timetable, unchanged_at, data_end)
    published_at = texts.date_and_time(publication.published_at, view.zone)
    sentences = [texts("data_up_to", day=texts.date(data_end))] if data_end else []
    sentences.append(
        texts(
            "published",
            number=texts.number(publication.number),
            ago=texts.relative_time(freshness.age),
            moment=published_at,
        )
    )
    if unchanged_at:
        moment = texts.date_and_time(unchanged_at, view.zone)
        ago = texts.relative_time(now - unchanged_at)
        sentences.append(texts("unchanged", ago=ago, moment=moment))
    with st.container(horizontal=True, vertical_alignment="center"):
        if state := freshness.state:
            color, icon = BADGES[state]
            age = texts.duration(freshness.data_age or dt.timedelta())
            st.badge(texts(state, age=age), icon=icon, color=color)
        st.caption(" ".join(sentences))
    if freshness.missed_deadline:
        deadline = texts.date_and_time(freshness.missed_deadline, view.zone)
        st.warning(texts("stale_text", deadline=deadline, moment=published_at))


def show_message(texts: Texts, name: str, level: str) -> None:
    """Show why there is nothing to see, and a button to try again.

    Args:
        texts: in the reader's language.
        name: the key of the message in the texts.
        level: `info`, `warning` or `error`.
    """
    show = {"info": st.info, "warning": st.warning, "error": st.error}[level]
    show(texts(name), title=texts(f"{name}_title"))
    st.button(texts("retry"), icon=":material/refresh:")
