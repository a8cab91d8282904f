"""The site: its pages, its language, and what it says when there is nothing to show."""

from __future__ import annotations

import datetime as dt
import functools
import logging
import os
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import streamlit as st

from capstone_metrics.dashboard import filters, runs
from capstone_metrics.dashboard.database import (
    AwayError,
    NeverPublishedError,
    TooSlowError,
    snapshot,
)
from capstone_metrics.dashboard.explorer import explorer
from capstone_metrics.dashboard.freshness import Freshness, Schedule
from capstone_metrics.dashboard.method import method
from capstone_metrics.dashboard.overview import overview
from capstone_metrics.dashboard.texts import LANGUAGES, Texts, language_of
from capstone_metrics.dashboard.view import View

if TYPE_CHECKING:
    from collections.abc import Callable

PAGES: dict[str, Callable[[View], None]] = {
    "overview": overview,
    "explorer": explorer,
    "method": method,
}
"""They have no icons: Streamlit would have the browser fetch those from the Internet."""

log = logging.getLogger(__name__)


def main() -> None:
    """The site, at the page that the URL names."""
    st.set_page_config(page_title="Capstone Metrics", layout="wide")
    with st.sidebar:
        chosen = st.segmented_control(
            "Idioma / Language",
            list(LANGUAGES),
            default=language_of(st.context.locale),
            required=True,
            key=filters.LANGUAGE,
            bind="query-params",
        )
    texts = Texts(LANGUAGES[chosen])
    pages = [
        st.Page(
            functools.partial(show, name, texts),
            title=texts(name),
            url_path=name,
            default=name == "overview",
        )
        for name in PAGES
    ]
    st.navigation(pages, position="top").run()


def show(name: str, texts: Texts) -> None:
    """A page, or why there is none. What went wrong is in the log, and not on the page."""
    st.title(texts("title") if name == "overview" else texts(name))
    place = st.empty()
    try:
        with place.container(), st.spinner(texts("loading")), snapshot() as taken:
            schedule = Schedule.of(os.environ)
            zone = schedule.zone if schedule else ZoneInfo(st.context.timezone or "UTC")
            view = View(taken, texts, zone)
            freshness(view, schedule)
            PAGES[name](view)
    except NeverPublishedError:
        state(texts, "never", "info")
    except AwayError:
        state(texts, "away", "error")
    except TooSlowError:
        state(texts, "slow", "warning")
    except Exception:
        log.exception("The page %s could not be made.", name)
        state(texts, "failed", "error")
    else:
        return
    place.empty()


def freshness(view: View, schedule: Schedule | None) -> None:
    """When the figures were published, and whether they are late."""
    texts, published_at = view.texts, view.snapshot.publication.published_at
    now = dt.datetime.now(dt.UTC)
    unchanged_at = runs.unchanged_at(view.snapshot)
    fresh = Freshness.at(now, published_at, schedule, unchanged_at)
    moment = texts.moment(published_at, view.zone)
    told = [
        texts(
            "published",
            number=texts.number(view.snapshot.publication.number),
            ago=texts.ago(fresh.age),
            moment=moment,
        )
    ]
    if unchanged_at:
        since = texts.moment(unchanged_at, view.zone)
        told.append(texts("unchanged", ago=texts.ago(now - unchanged_at), moment=since))
    with st.container(horizontal=True, vertical_alignment="center"):
        if fresh.missed:
            st.badge(texts("stale"), icon=":material/schedule:", color="orange")
        elif fresh.is_quiet:
            st.badge(texts("quiet"), icon=":material/check:", color="blue")
        elif schedule:
            st.badge(texts("fresh"), icon=":material/check:", color="green")
        st.caption(" ".join(told))
    if fresh.missed:
        deadline = texts.moment(fresh.missed, view.zone)
        st.warning(texts("stale_text", deadline=deadline, moment=moment))


def state(texts: Texts, name: str, kind: str) -> None:
    """Say why there is nothing to see."""
    say = {"info": st.info, "warning": st.warning, "error": st.error}[kind]
    say(texts(name), title=texts(f"{name}_title"))
    st.button(texts("retry"), icon=":material/refresh:")
