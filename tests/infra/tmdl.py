"""What a folder of TMDL says, as far as the model of infra/powerbi uses the language."""

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
    """An object of the model, or a property of one: a name, a text, and what is in it."""

    kind: str
    name: str
    text: str = ""
    parts: list[Part] = field(default_factory=list)

    def all(self, kind: str) -> dict[str, Part]:
        """The objects of a kind that are in it, by name."""
        return {part.name: part for part in self.parts if part.kind == kind}

    def get(self, name: str) -> str:
        """The text of a property; the empty one if there is none."""
        found = self.all("property").get(name)
        return found.text if found else ""

    def has(self, name: str) -> bool:
        """Whether it has a property."""
        return name in self.all("property")


def read_folder(folder: Path) -> Part:
    """All files of a folder as one."""
    read = [part for path in sorted(folder.rglob("*.tmdl")) for part in _read(path)]
    return Part("folder", folder.name, parts=read)


def _read(path: Path) -> list[Part]:
    top = Part("file", path.name)
    opened = [top]
    for line in path.read_text().splitlines():
        said = line.lstrip("\t")
        depth = len(line) - len(said) + 1
        if not said or said.startswith("///"):
            continue
        if depth >= len(opened) + 1:  # deeper than a part of the last one: the text of that
            opened[-1].text += f"\n{said}"
            continue
        del opened[depth:]
        part = _part(said)
        assert part, f"{path.name}: {line}"
        opened[-1].parts.append(part)
        opened.append(part)
    return top.parts


def _part(said: str) -> Part | None:
    if found := OBJECT.fullmatch(said):
        return Part(found["kind"], plain(found["name"] or ""), found["text"] or "")
    if found := PROPERTY.fullmatch(said):
        return Part("property", found["name"], found["text"] or "")
    return None


def plain(name: str) -> str:
    """A name without its quotes."""
    return name[1:-1].replace("''", "'") if name.startswith("'") else name
