"""When networks changed what they count, as the database has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datetime as dt

    from capstone_metrics.dashboard.database import ReadTransaction

HAS_TABLE = "SELECT to_regclass('serving.definitions') IS NOT NULL AS has_table"
SELECT_DEFINITIONS = """
SELECT date, rede_social, measure, text_en, text_pt
FROM serving.definitions ORDER BY date, rede_social, measure
"""


@dataclass(frozen=True)
class Definition:
    """What a network counts from a day on.

    Attributes:
        date: the first day.
        rede_social: the network.
        measure: the counter: `views`, `likes` or `comentarios`.
        text: what is counted, in a sentence in the reader's language.
    """

    date: dt.date
    rede_social: str
    measure: str
    text: str


def read_definitions(transaction: ReadTransaction, locale: str) -> list[Definition]:
    """Return the definitions, oldest first; none from a database of an older release.

    They are read anew each time, since they may change without a publication of Gold.

    Args:
        transaction: the transaction in which the publication is read.
        locale: `pt_BR` or `en`.
    """
    if not transaction.query(HAS_TABLE)["has_table"][0]:
        return []
    text = "text_pt" if locale.startswith("pt") else "text_en"
    rows = transaction.query(SELECT_DEFINITIONS)
    columns = (rows[name] for name in ("date", "rede_social", "measure", text))
    return [Definition(*row) for row in zip(*columns, strict=True)]
