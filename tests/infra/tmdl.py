"""Reader of TMDL, as far as the model of infra/powerbi uses the language."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

OBJECT = re.compile(
    r"(?P<kind>annotation|column|database|expression|measure|model|partition|ref table"
    r"|relationship|table)(?:\s+(?P<name>'(?:[^']|'')+'|[\w ]+?))?(?:\s*=\s*(?P<text>.*))?"
)
PROPERTY = re.compile(r"(?P<name>\w+)(?:\s*[:=]\s*(?P<text>.*))?")


@dataclass
class Part:
    """An object of the model or a property: its name, its text and its parts."""

    kind: str
    name: str
    text: str = ""
    parts: list[Part] = field(default_factory=list)

    def all(self, kind: str) -> dict[str, Part]:
        """Return its parts of a kind by name."""
        return {part.name: part for part in self.parts if part.kind == kind}

    def get(self, name: str) -> str:
        """Return the text of a property, empty if it has none."""
        part = self.all("property").get(name)
        return part.text if part else ""


def read_folder(folder: Path) -> Part:
    """Return the objects of all files of a folder."""
    parts = [part for path in sorted(folder.rglob("*.tmdl")) for part in _read(path)]
    return Part("folder", folder.name, parts=parts)


def unquoted(name: str) -> str:
    """Return a name without its quotes."""
    return name[1:-1].replace("''", "'") if name.startswith("'") else name


def _read(path: Path) -> list[Part]:
    top = Part("file", path.name)
    parents = [top]
    for line in path.read_text().splitlines():
        text = line.lstrip("\t")
        depth = len(line) - len(text) + 1
        if not text or text.startswith("///"):
            continue
        if depth >= len(parents) + 1:  # deeper than a part of the last one: its text
            parents[-1].text += f"\n{text}"
            continue
        del parents[depth:]
        match = OBJECT.fullmatch(text) or PROPERTY.fullmatch(text)
        assert match, f"{path.name}: {line}"
        kind = match.groupdict().get("kind", "property")
        part = Part(kind, unquoted(match["name"] or ""), match["text"] or "")
        parents[-1].parts.append(part)
        parents.append(part)
    return top.parts
