"""What a source has that Bronze lacks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True)
class NewObjects:
    """The objects of a source that Bronze lacks.

    Attributes:
        objects: a function for each, by its name, `fonte=…/janela=…/….jsonl`, that yields its bytes
            in chunks.
        refused: why further files were left out.
        contents: the SHA-256 of the content of each file, by its path.
        channels: the channels that are observed, if they are declared.
        is_looked_at: whether the source was looked at; a backfill leaves out files that arrive now.
    """

    objects: dict[str, Callable[[], Iterator[bytes]]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    contents: dict[str, str] = field(default_factory=dict)
    channels: list[str] = field(default_factory=list)
    is_looked_at: bool = True

    def path_of(self, name: str) -> str:
        """Return the path of the file of an object; its own name, if it is of none of these."""
        return next((path for path, content in self.contents.items() if content in name), name)
