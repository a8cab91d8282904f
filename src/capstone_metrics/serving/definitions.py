"""The table `serving.definitions`: when a network changed what it counts, for readers."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from psycopg2.extras import execute_values

from capstone_metrics.definitions import Definition

if TYPE_CHECKING:
    from collections.abc import Collection

    from psycopg2.extensions import cursor

TABLE = "definitions"
SELECT_DEFINITIONS = "SELECT date, rede_social, measure, text_en, text_pt FROM serving.definitions"
INSERT_DEFINITIONS = """
INSERT INTO serving.definitions (date, rede_social, measure, text_en, text_pt) VALUES %s
"""

log = logging.getLogger(__name__)


def read_definitions(db: cursor) -> set[Definition]:
    """Return the definitions in the table."""
    db.execute(SELECT_DEFINITIONS)
    return {Definition(*row) for row in db.fetchall()}


def replace_definitions(db: cursor, definitions: Collection[Definition]) -> None:
    """Make the table equal the declared definitions; it is not written if it is.

    Args:
        db: a cursor in the transaction of a publication.
        definitions: the declared definitions.
    """
    published = read_definitions(db)
    if published == set(definitions):
        return
    db.execute("DELETE FROM serving.definitions")
    execute_values(db, INSERT_DEFINITIONS, definitions)
    if published:  # the first ones are no change
        count = len(definitions)
        log.info("serving.definitions has %d definitions, as they are declared now.", count)
