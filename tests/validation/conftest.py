"""Sources of different kinds, and the outcome of lines with the scanner and without it."""

from __future__ import annotations

from collections import Counter, deque
from io import BytesIO
from typing import Any

from capstone_metrics.validation.blocks import ObjectReader
from capstone_metrics.validation.compiler import load_scan
from capstone_metrics.validation.contract import contract_of
from capstone_metrics.validation.lines import validate_lines
from capstone_metrics.validation.objects import BronzeObject
from capstone_metrics.validation.scanner import Scanner
from capstone_metrics.validation.silver import columns_of

ZONE = "America/Sao_Paulo"
NETWORKS = ("tiktok", "youtube")
LINE: dict[str, Any] = {
    "faculdade": "GRAN",
    "rede_social": "tiktok",
    "data_postagem": "2026-01-30",
    "posted_at": "2026-01-30T21:15:00",
    "video_id": "v1",
    "titulo_video": "Título",
    "categoria": "dicas",
    "duracao_seg": 30,
    "views": 100,
    "likes": 10,
    "comentarios": 1,
    "engagement_rate": 0.11,
    "leads_estimados": 2,
    "ctr_estimado": 1.25,
    "run_id": "faker-2026-01-31T08",
    "ingestion_ts": "2026-01-31T11:00:00Z",
}
ROW = {"canal": "A", "dia": "30/01/26", "id": "1", "v": " 12 ", "l": "3", "visto": "20260131 09:30"}
"""A row of CSV."""

SAME_NAMES = {name: name for name in LINE}
SOURCES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({"type": "faker"}, LINE),
    "csv": (
        {
            "format": "csv",
            "fields": {
                "faculdade": "canal",
                "rede_social": {"constant": "youtube"},
                "data_postagem": {"field": "dia", "format": "%d/%m/%y", "timezone": "UTC"},
                "video_id": "id",
                "views": "v",
                "likes": "l",
                "comentarios": {"constant": 0},
                "engagement_rate": "v",
                "ingestion_ts": {
                    "field": "visto",
                    "format": "%Y%m%d %H:%M",
                    "timezone": "Asia/Tokyo",
                },
            },
        },
        ROW,
    ),
    "frozen": (
        {
            "schema_drift": "freeze",
            "fields": {**SAME_NAMES, "likes": ["likes", "curtidas"]},
            "other_fields": ["nota"],
        },
        LINE,
    ),
    "zones": (
        {
            "fields": {
                **SAME_NAMES,
                "data_postagem": {"field": "posted_at", "timezone": "Asia/Kolkata"},
                "posted_at": {"field": "posted_at", "timezone": "UTC"},
            }
        },
        LINE,
    ),
    "declared": ({"type": "faker"}, {**LINE, "alcance": 1200}),
}
"""For each source its declaration, and a good line."""

COLUMNS: dict[str, dict[str, str]] = {
    "declared": {"alcance": "int64"},
    "typed": {
        "formato": "string",
        "nota_media": "float64",
        "dia_campanha": "date",
        "alcance": "int64",
    },
}
"""The columns that are declared beside those that Silver always has, for some sources."""

MAPPED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "typed": (
        {
            "fields": {
                **SAME_NAMES,
                "formato": "f",
                "nota_media": {"field": "m", "decimal": ",", "text": True},
                "dia_campanha": {"field": "c", "format": "%d/%m/%Y"},
                "alcance": {"field": "a", "thousands": "."},
            }
        },
        {**LINE, "f": "reel", "m": "4,5", "c": "15/01/2026", "a": "1.200"},
    ),
    "flat": (
        {
            "fields": {
                "faculdade": "canal.nome",
                "rede_social": {"constant": "tiktok"},
                "data_postagem": ["dia", "em"],
                "posted_at": ["dia", "em"],
                "video_id": "id",
                "views": {"field": "n.v", "thousands": "."},
            },
            "ignore": {"meta.tipo": "total"},
        },
        {
            "canal": {"nome": "A"},
            "dia": "2026-01-30",
            "em": "2026-01-30T21:15:00",
            "id": "1",
            "n": {"v": "1.234"},
        },
    ),
    "footers": (
        {
            "format": "xlsx",
            "fields": {
                "faculdade": {"constant": "B"},
                "rede_social": {"constant": "youtube"},
                "data_postagem": {"field": "id", "format": "tiktok_id"},
                "video_id": "id",
                "views": {"field": "v", "empty": 0},
            },
            "ignore": "one_value",
        },
        {"id": "7601311310340428631", "v": 12, "l": 1},
    ),
    "lists": (
        {
            "fields": {
                "faculdade": 'perfil "oficial"',
                "rede_social": {"constant": "tiktok"},
                "data_postagem": "em",
                "posted_at": "em",
                "video_id": "ids[1]",
                "titulo_video": ["textos[0].t[2]", "textos[1].t[0]"],
                "views": [
                    "insights.data[name=views].values[0].value",
                    "insights.data[name=views].total.value",
                ],
                "likes": {"field": "insights.data[name=likes].values[1].value", "empty": 0},
                "comentarios": {"field": "insights.data[name=7].total.value", "optional": True},
                "categoria": "tags[tipo=true].x\\y",
                "leads_estimados": "nulos[k=null].v",
            },
            "ignore": {"images[0].width": {"pattern": "."}},
        },
        {
            'perfil "oficial"': "A",
            "em": "2026-01-30T21:15:00Z",
            "ids": [None, "v1", {"a": []}],
            "textos": [{"t": ["a", "b", "c"]}, {"t": []}],
            "insights": {
                "x": 1,
                "data": [
                    {"values": [{"value": 9}, {"value": 3}], "name": "likes"},
                    {"name": "views", "period": "day", "values": [{"value": 12}]},
                    {"total": {"value": 1}, "name": 7},
                    {"name": "views", "values": [{"value": 13}]},
                ],
            },
            "tags": [{"tipo": False, "x\\y": "não"}, {"tipo": True, "x\\y": "sim"}],
            "images": [],
            "nulos": [{"k": None, "v": 1}, {"k": "null", "v": 2}],
        },
    ),
    "nested": (
        {
            "fields": {
                "faculdade": "canal.nome",
                "rede_social": {"field": "rede", "values": {"TT": "tiktok", "YT": "youtube"}},
                "data_postagem": "canal.post.em",
                "posted_at": {"field": "canal.post.em", "timezone": "UTC"},
                "video_id": {"field": "url", "pattern": r"/video/(\w+)"},
                "views": {"field": ["n.views", "views"], "text": True, "thousands": "."},
                "likes": {"field": "n.likes", "text": True, "missing": "-1", "optional": True},
                "comentarios": {"field": "n.coment", "empty": 0},
                "duracao_seg": {"field": "dur", "format": "duration"},
                "engagement_rate": {"field": "taxa", "percent": True, "decimal": ","},
                "leads_estimados": {"field": "leads", "compact": "pt", "decimal": ","},
            },
            "only": {"tipo": ["Reel", "video"]},
            "ignore": [{"foto": True}, {"url": {"pattern": "/photo/"}, "rede": "TT"}],
        },
        {
            "canal": {"nome": "A", "post": {"em": "2026-01-30T21:15:00Z", "x": [{"y": "}"}]}},
            "rede": "TT",
            "url": "https://x/video/v1",
            "n": {"likes": "3", "views": "1.234", "coment": 7},
            "dur": "PT30S",
            "taxa": "4,5%",
            "leads": "1,5 mil",
            "tipo": "Reel",
            "foto": False,
        },
    ),
    "quoted": (
        {
            "fields": {
                "faculdade": "a",
                "video_id": 'a"b',
                "data_postagem": "dia",
                "rede_social": {"constant": "youtube"},
                "views": "n\\é",
            },
        },
        {"a": "A", 'a"b': "1", "dia": "2026-01-30", "n\\é": 12},
    ),
    "table": (
        {
            "format": "csv",
            "fields": {
                "faculdade": {"constant": "B"},
                "rede_social": {"constant": "youtube"},
                "data_postagem": {
                    "field": "dia",
                    "format": "%B %-d",
                    "near": {"field": "em", "format": "epoch"},
                },
                "posted_at": {"field": "em", "format": "epoch", "same_day_as": "data_postagem"},
                "video_id": ["id", "id.velho"],
                "views": {"field": "v", "thousands": ",", "empty": 0},
                "likes": {"field": "l", "missing": ["n/d", "-"], "optional": True},
                "ingestion_ts": {"join": ["visto", "hora"], "format": "%d/%m/%Y %H:%M"},
            },
            "ignore": [{"id": "Total"}, "one_value"],
            "other_fields": ["x *"],
        },
        {
            "dia": "January 30",
            "em": "1769818205",
            "id": "1",
            "v": "1,234",
            "l": "3",
            "visto": "31/01/2026",
            "hora": "07:30",
        },
    ),
}
"""Sources whose values are found and written in other ways, which the oracle does not know."""

OTHER_NAMES = ("curtidas", "nota", "Nota", "x y", "é", "_extra", "_missing")


def outcome(content: bytes, source: str, *, is_scanned: bool) -> dict[str, Any]:
    """Return what becomes of the lines of an object.

    Args:
        content: the object.
        source: its source, of `SOURCES`.
        is_scanned: whether most lines are accepted by the scanner.
    """
    contract = contract_of(
        source, {**SOURCES, **MAPPED}[source][0], ZONE, columns_of(COLUMNS.get(source, {}))
    )
    origin = BronzeObject(f"fonte={source}/janela=2026-01-31T08/a.jsonl", ZONE)
    scanner = None
    if is_scanned:
        scanner = Scanner.of(load_scan(compiles=True), contract, NETWORKS)
        assert scanner or source == "footers"  # which one value may be enough for
    result: dict[str, Any] = {"accepted": [], "rejected": [], "count": 0, "new_fields": {}}
    result["ignored"] = Counter[str]()
    for block in ObjectReader(origin, BytesIO(content), deque()).blocks():
        lines = validate_lines(block, contract, scanner, NETWORKS)
        for kind in ("accepted", "rejected"):
            result[kind] += [row for batch in getattr(lines, kind) for row in batch.to_pylist()]
        result["count"] += lines.count
        result["ignored"].update(lines.ignored)
        for name, count in lines.new_fields.items():
            result["new_fields"][name] = result["new_fields"].get(name, 0) + count
    for kind in ("accepted", "rejected"):
        result[kind].sort(key=lambda row: row["linha"])
    return result
