"""What comes in: each type of source gives the Bronze objects that a lake still lacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from capstone_metrics.errors import CapstoneError
from capstone_metrics.sources import faker, files

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from capstone_metrics.schedule import Calendar

    Objects = dict[str, Callable[[], Iterator[bytes]]]

TYPES = {"faker": faker.objects, "files": files.objects}


def new_objects(
    name: str, declaration: Mapping[str, Any], calendar: Calendar, present: Collection[str]
) -> Objects:
    """The objects that a source has and Bronze lacks.

    Args:
        name: of the source; it becomes `fonte=<name>` in the lake.
        declaration: its `type`, and what that type needs.
        calendar: the windows, seen from the instant of the run.
        present: the names of the objects that Bronze holds.

    Returns:
        For each new object its name, `fonte=…/janela=…/….jsonl`, and what gives its bytes.

    Raises:
        CapstoneError: if the declaration does not hold.
    """
    if not name.replace("_", "").replace("-", "").isalnum():
        raise CapstoneError(f"sources.{name}: name a source by letters, digits, - and _.")
    kind = declaration.get("type") if isinstance(declaration, Mapping) else None
    if kind not in TYPES:
        raise CapstoneError(f"sources.{name}.type: {kind!r} is not one of {', '.join(TYPES)}.")
    return TYPES[kind](name, declaration, calendar, present)
