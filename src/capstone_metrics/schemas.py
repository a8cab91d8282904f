"""The tables of Silver: what users read, and the indexes beside it."""

from __future__ import annotations

import ibis

from capstone_metrics.validation import silver as validation

SILVER = ibis.schema(validation.SILVER)
"""One row per video. `duracao_seg` is in seconds, `ctr_estimado` in percent."""

REQUIRED, REQUIRED_IF_DECLARED = validation.REQUIRED, validation.REQUIRED_IF_DECLARED
"""The fields of Silver that every accepted line has; the latter unless a source leaves them out."""

QUARANTINE = ibis.schema(validation.QUARANTINE)
"""One row per rejected line: its object and line number, and the rules that it broke.

`quando` is the start of its window. `texto` is the line; if it is not valid UTF-8, `texto_base64`
has its bytes instead.
"""

LINE = {"data_observacao": "date", "objeto": "string", "linha": "int64"}
"""The local day of an observation, and the object and line number in Bronze that it comes from."""

ROWS = ibis.schema({**SILVER, **LINE})
"""A row of Silver, and the line of Bronze that it comes from."""

OBSERVATIONS = ibis.schema(validation.OBSERVATION)
"""The last observation of a video on a local day, and the line of Bronze that it comes from."""

GAINS = {"views": "views_ganhas", "likes": "likes_ganhos", "comentarios": "comentarios_ganhos"}
"""The column that has what a counter gained, by the name of the counter."""

OBSERVACAO_DIA = ibis.schema(
    {
        **{name: OBSERVATIONS[name] for name in ("data_observacao", "faculdade")},
        **{name: OBSERVATIONS[name] for name in ("rede_social", "video_id", "data_postagem")},
        **dict.fromkeys((*GAINS, *GAINS.values(), "dias"), "int64"),
        "ingestion_ts": OBSERVATIONS["ingestion_ts"],
    }
)
"""One row per video and local day on which it was observed: the last observation of that day.

A gain is what came since the last day before on which the video was observed, `dias` ago.
"""

DAY_PROVENANCE = ibis.schema(
    {
        name: OBSERVATIONS[name]
        for name in ("data_observacao", "rede_social", "video_id", "ingestion_ts", *LINE)
    }
)
"""The line of Bronze that each row of `observacao_dia` comes from, and its observation time."""

PROVENANCE = ibis.schema(
    {
        name: ROWS[name]
        for name in ("rede_social", "data_postagem", "video_id", "ingestion_ts", *LINE)
    }
)
"""The line of Bronze that each row of `criacao` comes from, and its observation time.

The observations of a video are ordered by `ingestion_ts`, then by `objeto` and `linha`.
"""

LINE_OUTCOMES = ("current", "superseded", "quarantined", "ignored", "withdrawn")
"""What becomes of the lines of Bronze; the counts of these add up to all lines."""

VIDEO_KEY = ["rede_social", "video_id"]
"""What identifies a video: an id is unique within a network, and not across them."""

LATEST_GAIN = "views_ganhas_7d"
VIDEO = ibis.schema({**SILVER, "hora_postagem": "int64", "views_7d": "int64", LATEST_GAIN: "int64"})
"""One row per video, which marts may be counted from; it is not stored.

It is the row of `criacao`, with the hour of its posting, its views 7 days after that, and those
that it gained in the 7 days that end with its last observation.
"""

VIDEO_INDEX = ibis.schema(
    {"shard": "string", "video_id": "string", "rede_social": "string", "data_postagem": "date"}
)
"""The partition that each video is in. `shard` is the first digit of the MD5 of `video_id`."""

DAYS = {"criacao": "data_postagem", "observacao_dia": "data_observacao"}
"""The tables of Silver that Gold is built from, and the column that says which day a row is of."""

TABLES = {
    "silver_criacao": SILVER,
    "silver_observacao_dia": OBSERVACAO_DIA,
    "silver_day_provenance": DAY_PROVENANCE,
    "silver_quarentena": QUARANTINE,
    "silver_provenance": PROVENANCE,
    "silver_video_index": VIDEO_INDEX,
}
