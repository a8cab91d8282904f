"""The names of objects of Bronze, which have the source and the window of the lines."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import cached_property
from zoneinfo import ZoneInfo

from capstone_metrics.errors import StorageError


def parse_object_name(name: str) -> tuple[str, ...]:
    """Return the `fonte`, `janela` and file stem of a Bronze object, `fonte=…/janela=…/….jsonl`."""
    fonte, janela, file_name = name.split("/")
    return (
        fonte.partition("=")[2],
        janela.partition("=")[2],
        file_name.removesuffix(".jsonl"),
    )


@dataclass(frozen=True)
class BronzeObject:
    """An object of Bronze.

    Attributes:
        objeto: the name of the object, `fonte=…/janela=…/….jsonl`.
        zone: the time zone of windows.
    """

    objeto: str
    zone: str

    @cached_property
    def fonte(self) -> str:
        """The source of the object."""
        return parse_object_name(self.objeto)[0]

    @cached_property
    def janela(self) -> str:
        """The window in which the object arrived."""
        return parse_object_name(self.objeto)[1]

    @cached_property
    def lote(self) -> str:
        """The stem of the file name."""
        return parse_object_name(self.objeto)[2]

    @cached_property
    def arrival(self) -> dt.datetime:
        """The start of the window, in UTC.

        Raises:
            StorageError: if the name of the window is not valid.
        """
        try:
            start = dt.datetime.strptime(self.janela, "%Y-%m-%dT%H")  # noqa: DTZ007 - local
        except ValueError as error:
            raise StorageError(
                f"{self.objeto}: {self.janela!r} is not a window such as 2026-01-31T08; move the "
                "object to the folder of the window in which it arrived."
            ) from error
        return start.replace(tzinfo=ZoneInfo(self.zone)).astimezone(dt.UTC)

    @cached_property
    def quando(self) -> str:
        """The start of the window, as the quarantine has it."""
        return self.arrival.strftime("%Y-%m-%dT%H:%M:%SZ")

    @property
    def run_id(self) -> str:
        """The `run_id` that lines without one get."""
        return f"{self.fonte}-{self.janela}"
