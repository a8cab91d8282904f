"""The columns of Silver and of its quarantine, with their types and what else is required."""

from __future__ import annotations

SILVER = {
    "faculdade": "string",
    "rede_social": "string",
    "data_postagem": "date",
    "posted_at": "timestamp(6)",
    "video_id": "string",
    "titulo_video": "string",
    "categoria": "string",
    "duracao_seg": "int64",
    "views": "int64",
    "likes": "int64",
    "comentarios": "int64",
    "engagement_rate": "float64",
    "leads_estimados": "int64",
    "ctr_estimado": "float64",
    "run_id": "string",
    "ingestion_ts": "timestamp('UTC', 6)",
}
"""The type of each column of Silver. `duracao_seg` is in seconds, `ctr_estimado` in percent."""

OBSERVATION = {
    "rede_social": "string",
    "video_id": "string",
    "data_observacao": "date",
    "faculdade": "string",
    "data_postagem": "date",
    "views": "int64",
    "likes": "int64",
    "comentarios": "int64",
    "ingestion_ts": "timestamp('UTC', 6)",
    "objeto": "string",
    "linha": "int64",
}
"""The type of each column of an observation that is the last of its video on a local day.

`objeto` and `linha` are the line of Bronze that it comes from.
"""

TIMES = ("date", "timestamp(6)", "timestamp('UTC', 6)")
"""The types of dates and times."""

REQUIRED = ("faculdade", "rede_social", "data_postagem", "video_id", "views")
"""The columns that every source declares, and every accepted line has a value for."""

REQUIRED_IF_DECLARED = ("likes", "comentarios")
"""The columns that a line has a value for unless its source leaves them out, or says otherwise."""

OPTIONAL = tuple(name for name in SILVER if name not in {*REQUIRED, *REQUIRED_IF_DECLARED})
"""The columns that a line may always leave empty."""

COUNTERS = ("views", "likes", "comentarios")
"""The columns that are never negative."""

NAMES = ("faculdade", "categoria")
"""The columns of names, which are compared: without blanks around them, and normalised (NFC)."""

NEVER_BLANK = (*NAMES, "video_id")
"""The columns in which a blank text counts as missing."""

QUARANTINE = {
    "fonte": "string",
    "janela": "string",
    "lote": "string",
    "objeto": "string",
    "linha": "int64",
    "regras": "array<string>",
    "quando": "string",
    "texto": "string",
    "texto_base64": "string",
}
"""The type of each column of the quarantine, which has the rejected lines.

`regras` are the rules that the line broke, and `quando` is the start of its window. `texto` is the
line; if it is not valid UTF-8, `texto_base64` has its bytes instead.
"""
