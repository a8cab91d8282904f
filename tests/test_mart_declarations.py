from __future__ import annotations

from typing import Any

import pytest

from capstone_metrics.errors import CapstoneError
from capstone_metrics.mart_declarations import mart_of, marts_of
from capstone_metrics.schemas import silver_tables
from capstone_metrics.validation.silver import REQUIRED, SILVER, columns_of

NAME = "gold_views_dia"
VIEWS = {"total_views": {"sum": "views"}}


def test_silver_has_the_columns_of_the_contract() -> None:
    fields = {
        field.name: str(field.type) for field in silver_tables(SILVER)["criacao"].to_pyarrow()
    }
    assert list(fields.items()) == [
        ("faculdade", "string"),
        ("rede_social", "string"),
        ("data_postagem", "date32[day]"),
        ("posted_at", "timestamp[us]"),
        ("video_id", "string"),
        ("titulo_video", "string"),
        ("categoria", "string"),
        ("duracao_seg", "int64"),
        ("views", "int64"),
        ("likes", "int64"),
        ("comentarios", "int64"),
        ("engagement_rate", "double"),
        ("leads_estimados", "int64"),
        ("ctr_estimado", "double"),
        ("run_id", "string"),
        ("ingestion_ts", "timestamp[us, tz=UTC]"),
    ]
    assert " ".join(REQUIRED) == "faculdade rede_social data_postagem video_id views"


def test_a_mart_has_its_key_and_then_its_measures_in_the_order_declared() -> None:
    declaration = {
        "key": ["rede_social", "data_postagem"],
        "measures": {"total_videos": {"count": "video_id"}, **VIEWS},
    }
    mart = marts_of({NAME: declaration})[NAME]
    assert mart.columns == ("rede_social", "data_postagem", "total_videos", "total_views")
    assert [(each.name, each.declaration) for each in mart.measures] == [
        ("total_videos", {"count": "video_id"}),
        ("total_views", {"sum": "views"}),
    ]


@pytest.mark.parametrize("column", ["duracao_seg", "categoria", "data_postagem"])
def test_an_integer_a_text_and_a_date_can_be_keys(column: str) -> None:
    assert mart_of(NAME, {"key": [column], "measures": VIEWS}).key == (column,)


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        ("data_postagem", "date"),
        ("formato", "string"),
        ("pico", "int64"),
        ("alcance", "int64"),
        ("taxa", "decimal(38, 6)"),
    ],
)
def test_a_label_has_the_type_of_silver_and_a_measure_is_a_number(column: str, kind: str) -> None:
    measures = {
        "pico": {"max": "views"},
        "alcance": {"last": "alcance"},
        "taxa": {"ratio": ["likes", "views"]},
    }
    declaration = {"key": ["data_postagem", "formato"], "measures": measures}
    mart = mart_of(NAME, declaration, columns_of({"formato": "string", "alcance": "int64"}))

    assert str(mart.types[column]) == kind
    assert mart.declaration["measures"] == measures


def test_only_sums_and_counts_add_up() -> None:
    measures = {
        "a": {"sum": "views"},
        "b": {"count": "video_id"},
        "c": {"max": "views"},
        "d": {"last": "views"},
        "e": {"ratio": ["likes", "views"]},
    }
    mart = mart_of(NAME, {"key": ["rede_social"], "measures": measures})

    assert mart.additive_names == ("a", "b")
    assert [name for name in measures if mart.may_be_null(name)] == ["e"]
    assert mart.source_columns == {"rede_social", "video_id", "views", "likes", "ingestion_ts"}


@pytest.mark.parametrize(
    "name", ["views_dia", "gold_Views", "gold_views-dia", "gold_x y", "gold_../x", "GOLD_X"]
)
def test_a_name_that_is_no_file_and_no_table_is_an_error(name: str) -> None:
    with pytest.raises(CapstoneError, match=r"a mart is named gold_ and lower-case"):
        mart_of(name, {"key": ["rede_social"], "measures": VIEWS})


@pytest.mark.parametrize("name", ["gold_" + "x" * 46, "gold_" + "é" * 23])
def test_a_name_that_postgresql_would_cut_is_an_error(name: str) -> None:
    with pytest.raises(CapstoneError, match="of at most 50 bytes"):
        mart_of(name, {"key": ["rede_social"], "measures": VIEWS})


@pytest.mark.parametrize(
    "key",
    [
        [],
        None,
        "rede_social",
        5,
        [["rede_social"]],
        ["engagement_rate"],
        ["posted_at"],
        ["rede_social", "rede_social"],
    ],
)
def test_a_key_that_does_not_fit_silver_is_an_error(key: Any) -> None:
    with pytest.raises(CapstoneError, match=rf"marts\.{NAME}\.key: .*faculdade, rede_social"):
        mart_of(NAME, {"key": key, "measures": VIEWS})


def test_a_key_column_that_is_misspelt_or_made_up_is_named() -> None:
    for column in ("rede", "dia_da_semana"):
        with pytest.raises(CapstoneError, match=rf"\.key: '{column}' is not one of .* to columns"):
            mart_of(NAME, {"key": ["faculdade", column], "measures": VIEWS})


@pytest.mark.parametrize(
    ("measures", "why"),
    [
        ({}, "at least one"),
        (None, "at least one"),
        (["views"], "at least one"),
        ({"total": "views"}, "write {sum: views}"),
        ({"total": {"sum": ["views", "likes"]}}, "write {sum: views}"),
        ({"total": {"ratio": "views"}}, r"or {ratio: \[likes, views\]}"),
        ({"total": {"max": None}}, "{last: views} or"),
        (
            {"total": {"last": "posts"}},
            "posts is no column of criacao; declare from: observacao_dia",
        ),
        (
            {"total": {"max": "views"}, "Total": {"sum": "views"}},
            "'Total' is a column of it already",
        ),
        ({"rede_Social": {"max": "views"}}, "'rede_Social' is a column of it already"),
        ({"xmin": {"max": "views"}}, "'xmin' is reserved"),
        ({"is_new": {"max": "views"}}, "'is_new' is reserved"),
        ({"total": {"ratio": ["likes", "engagement_rate"]}}, "not a whole number"),
        ({"total": {"max": "titulo_video"}}, "not a whole number"),
        ({"total": {"avg": "views"}}, "total: 'avg' is not one of count, last, max, ratio, sum"),
        ({"total": {"sum": "shares"}}, r"total\.sum: 'shares' is not one of .*likes, "),
        ({"total": {"sum": "views", "at_dias": 7}}, "total: 'at_dias' is not one of at_days, "),
        ({"total": {"sum": "views", "count": "views"}}, "write {sum: views}"),
        ({"total": {"sum": "engagement_rate"}}, "not a whole number"),
        ({"total": {"sum": "faculdade"}}, "not a whole number"),
        ({"views": {"sum": "views"}}, "a name of its own"),
        ({"total views": {"sum": "views"}}, "a name of its own"),
        ({1: {"sum": "views"}}, "a name of its own"),
        ({"é" * 32: {"sum": "views"}}, "longer than the 63 bytes"),
    ],
)
def test_a_measure_that_does_not_fit_silver_is_an_error(measures: Any, why: str) -> None:
    with pytest.raises(CapstoneError, match=rf"marts\.{NAME}\.measures.*{why}"):
        mart_of(NAME, {"key": ["rede_social"], "measures": measures})


VIDEO_KEY = ["rede_social", "video_id"]


def test_a_mart_of_videos_has_what_describes_them() -> None:
    declaration = {
        "from": "video",
        "key": VIDEO_KEY,
        "attributes": ["data_postagem", "titulo_video"],
        "measures": {"views_7d": {"sum": "views_7d"}},
    }
    mart = mart_of(NAME, declaration)

    assert mart.columns == (*VIDEO_KEY, "data_postagem", "titulo_video", "views_7d")
    assert mart.other_columns == ("data_postagem", "titulo_video", "views_7d")
    assert mart.declaration == declaration
    assert mart.has_day
    assert mart.may_be_null("views_7d")
    assert not mart.may_be_null("titulo_video")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"attributes": "titulo_video"}, "must be a list of distinct columns"),
        ({"attributes": ["titulo"]}, "must be a list of distinct columns"),
        ({"attributes": ["views"]}, "must be a list of distinct columns"),
        ({"attributes": ["posted_at"]}, "must be a list of distinct columns"),
        ({"attributes": ["video_id"]}, "must be a list of distinct columns"),
        ({"attributes": ["faculdade", "faculdade"]}, "must be a list of distinct columns"),
        ({"key": ["rede_social"]}, "the key needs rede_social and video_id"),
        (
            {"from": "observacao_dia", "attributes": ["faculdade"]},
            "the key needs rede_social and video_id, and not from: observacao_dia",
        ),
    ],
)
def test_attributes_that_do_not_describe_a_video_are_an_error(
    changes: dict[str, Any], why: str
) -> None:
    declaration = {
        "from": "video",
        "key": VIDEO_KEY,
        "attributes": ["titulo_video"],
        "measures": VIEWS,
    }
    with pytest.raises(CapstoneError, match=rf"marts\.{NAME}\.attributes: .*{why}"):
        mart_of(NAME, {**declaration, **changes})


@pytest.mark.parametrize("table", [["criacao"], "criação", 7, None])
def test_a_table_that_is_none_of_silver_is_an_error(table: Any) -> None:
    with pytest.raises(CapstoneError, match=rf"marts\.{NAME}\.from: .* is not one of criacao"):
        mart_of(NAME, {"from": table, "key": ["rede_social"], "measures": VIEWS})


@pytest.mark.parametrize("declaration", [None, [], "views"])
def test_a_declaration_that_is_no_mapping_is_an_error(declaration: Any) -> None:
    with pytest.raises(CapstoneError, match=rf"marts\.{NAME}\.measures: declare at least one"):
        mart_of(NAME, declaration)
