"""Gold, as it is published."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from capstone_metrics.changes import MartFile
from capstone_metrics.errors import CapstoneError
from capstone_metrics.schemas import Publication, Terms, marts_of


class Files(Mapping[str, bytes]):
    """The CSV of each mart that a manifest names, read when it is first asked for.

    One that is not the manifest's is refused with a `CapstoneError`.
    """

    def __init__(self, listed: Mapping[str, Any], files: Mapping[str, MartFile]) -> None:
        self.listed = listed
        self.files = files
        self.known: dict[str, bytes] = {}

    def __getitem__(self, name: str) -> bytes:
        if name not in self.known:
            content = self.files[name].read()
            if self.listed[name]["sha256"] != hashlib.sha256(content).hexdigest():
                raise CapstoneError(
                    f"{name} is not the file that Gold's manifest names: it was edited, or comes "
                    "from another run. Run 'kedro run --pipelines=silver_to_gold' to make Gold "
                    "again."
                )
            self.known[name] = content
        return self.known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.listed)

    def __len__(self) -> int:
        return len(self.listed)


def publication(
    manifest: Mapping[str, Any],
    declarations: Mapping[str, Any],
    terms: Mapping[str, Any],
    allow_shrink: bool,
    *files: MartFile,
) -> Publication:
    """All marts, whole and of one run.

    Args:
        manifest: of Gold.
        declarations: of the marts.
        terms: what a publication may do: `max_shrink_pct` (percent), `changes_kept_days` (days).
        allow_shrink: whether readers may be left with much less than they have.
        files: the marts, in the order of the declarations.

    Raises:
        CapstoneError: if Gold was made from other declarations; later, if the file of a mart is not
            the one that the manifest names.
    """
    marts = marts_of(declarations)
    made = {name: _made(listed) for name, listed in manifest["marts"].items()}
    if made != {name: (list(mart.key), mart.rules) for name, mart in marts.items()}:
        raise CapstoneError(
            "The marts were declared otherwise when Gold was made. Run 'kedro run "
            "--pipelines=silver_to_gold,publish_gold' to make and publish it as they are now."
        )
    named = dict(zip(marts, files, strict=True))
    return Publication(
        dict(manifest),
        marts,
        Files(manifest["marts"], named),
        Terms.of(terms, allow_shrink),
        {name: file.version() for name, file in named.items()},
    )


def _made(listed: Mapping[str, Any]) -> tuple[Any, Any]:
    return listed.get("key"), listed.get("measures")
