"""Definitions are parsed, or refused by the number of the entry and the choices."""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from capstone_metrics.configuration import Configuration
from capstone_metrics.configuration_check import _check_definitions
from capstone_metrics.definitions import Definition, definitions_of
from capstone_metrics.errors import ConfigError
from tests.support.project import ROOT

if TYPE_CHECKING:
    from pathlib import Path

NETWORKS = ("tiktok", "youtube_shorts")
SHORTS = {
    "date": "2025-03-31",
    "rede_social": "youtube_shorts",
    "measure": "views",
    "en": "Every start counts.",
    "pt": "Cada início conta.",
}


@pytest.mark.parametrize("day", ["2025-03-31", dt.date(2025, 3, 31)])
def test_an_entry_is_a_change_of_one_measure_of_a_network(day: Any) -> None:
    assert definitions_of([SHORTS | {"date": day}], NETWORKS) == [
        Definition(
            dt.date(2025, 3, 31),
            "youtube_shorts",
            "views",
            "Every start counts.",
            "Cada início conta.",
        )
    ]


@pytest.mark.parametrize("declared", [None, [], ()])
def test_there_may_be_none(declared: Any) -> None:
    assert definitions_of(declared, NETWORKS) == []


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ("all", "definitions: 'all' must be a list."),
        ([3], "definitions, number 1: 3 must be a mapping with date, rede_social, measure, en, pt"),
        (
            [SHORTS, SHORTS | {"rede_social": "youtube_short"}],
            "definitions, number 2.rede_social: 'youtube_short' is not one of youtube_shorts, ",
        ),
        (
            [SHORTS | {"measure": "view"}],
            "definitions, number 1.measure: 'view' is not one of views, comentarios, likes.",
        ),
        (
            [SHORTS | {"date": "31/03/2025"}],
            "definitions, number 1.date: '31/03/2025' must be a date such as 2026-01-31.",
        ),
        ([SHORTS | {"date": 20250331}], "definitions, number 1.date: 20250331 must be a date"),
        ([SHORTS | {"text": ""}], "definitions, number 1: 'text' is not one of "),
        ([SHORTS | {"en": None}], "definitions, number 1.en: has no value; it must be text."),
        (
            [{k: v for k, v in SHORTS.items() if k != "pt"}],
            "definitions, number 1: pt is missing.",
        ),
        (
            [SHORTS, SHORTS | {"measure": "likes"}, SHORTS | {"en": "Again."}],
            "definitions, number 3: is of the same change as number 1; remove one.",
        ),
    ],
)
def test_a_wrong_entry_is_named(declared: Any, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        definitions_of(declared, NETWORKS)
    assert str(raised.value).startswith(message)


def test_any_network_is_taken_where_none_is_known() -> None:
    assert definitions_of([SHORTS])


@pytest.mark.parametrize(
    ("network", "archive", "is_known"),
    [
        ("kwai", False, True),
        ("youtube_shorts", False, True),
        ("youtube_short", False, False),
        ("youtube_short", True, True),
    ],
)
def test_an_environment_may_have_other_networks_than_the_definitions_of_base(
    tmp_path: Path, network: str, archive: bool, is_known: bool
) -> None:
    if not archive:
        (tmp_path / "base").mkdir()
        (tmp_path / "base/parameters.yml").write_text("networks: [youtube_shorts]\n")
    parameters = {"networks": ["kwai"], "definitions": [SHORTS | {"rede_social": network}]}
    configuration = Configuration(tmp_path, ("base", "mine"), {})
    raises = pytest.raises(ConfigError, match="'youtube_short' is not one of youtube_shorts, kwai")
    with contextlib.nullcontext() if is_known else raises:
        _check_definitions(parameters, configuration)


def test_the_default_definitions_are_of_default_networks() -> None:
    folder = ROOT / "conf/base/parameters"
    declared = yaml.safe_load((folder / "definitions.yml").read_text())["definitions"]
    networks = yaml.safe_load((folder / "sources.yml").read_text())["networks"]
    days = [str(each.date) for each in definitions_of(declared, networks)]
    assert days == ["2025-03-31", "2025-04-21", "2026-08-24"]
