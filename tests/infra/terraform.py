"""The configuration of Terraform as data, read without Terraform."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import hcl2

from tests.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FOLDER = "infra/terraform"
BESIDE = "conf"
"""What of the project the configuration reads."""


@dataclass(frozen=True)
class Configuration:
    """A copy of it, to plant faults in.

    In what it gives, a literal is its value, and an expression is its text within `${…}`.
    """

    root: Path

    @classmethod
    def copy(cls, root: Path) -> Configuration:
        """The project's own, in another folder."""
        for part in (FOLDER, BESIDE):
            shutil.copytree(ROOT / part, root / part, ignore=shutil.ignore_patterns(".terraform"))
        return cls(root)

    @property
    def folder(self) -> Path:
        """Where Terraform runs."""
        return self.root / FOLDER

    def replace(self, name: str, old: str, new: str) -> None:
        """Change a file of it, wherever it has a text."""
        path = self.folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def blocks(self, kind: str) -> dict[str, Any]:
        """Blocks by their labels: `aws_vpc.this`, or the name alone where there is one label."""
        found = {}
        for path in sorted(self.folder.glob("*.tf")):
            for block in _read(path.read_text()).get(kind, ()):
                for label, body in block.items():
                    if kind in {"resource", "data"}:
                        found |= {f"{label}.{name}": inner for name, inner in body.items()}
                    else:
                        found[label] = body
        return found

    def resources(self, kind: str) -> dict[str, Any]:
        """The resources of a type, by their names."""
        found = self.blocks("resource").items()
        prefix = f"{kind}."
        return {a.removeprefix(prefix): body for a, body in found if a.startswith(prefix)}

    def locals(self) -> dict[str, Any]:
        """The local values."""
        found: dict[str, Any] = {}
        for path in sorted(self.folder.glob("*.tf")):
            for block in _read(path.read_text()).get("locals", ()):
                found |= block
        return found

    def statements(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Each statement of each policy, and whose it is."""
        for address, body in self.blocks("data").items():
            for statement in body.get("statement", ()):
                yield address.removeprefix("aws_iam_policy_document."), statement

    def granted(self, owner: str, values: Mapping[str, str]) -> list[dict[str, Any]]:
        """The statements of a policy, with the values of all that their resources refer to."""
        return [
            {**statement, "resources": [_filled(each, values) for each in statement["resources"]]}
            for document, statement in self.statements()
            if document == owner
        ]

    def values(self, name: str) -> dict[str, Any]:
        """What an example environment says."""
        return _read((self.folder / "environments" / f"{name}.tfvars").read_text())


def leaves(value: Any) -> Iterator[tuple[str, Any]]:
    """Every value that is no list or block, with the name of the attribute that it is in."""
    for name, inner in value.items() if isinstance(value, dict) else ():
        for each in inner if isinstance(inner, list) else [inner]:
            if isinstance(each, dict):
                yield from leaves(each)
            else:
                yield name, each


def _filled(text: str, values: Mapping[str, str]) -> str:
    for reference, value in values.items():
        text = text.replace(f"${{{reference}}}", value)
    assert "$" not in text
    return text


@cache
def _read(text: str) -> dict[str, Any]:
    read: dict[str, Any] = _plain(hcl2.loads(text))
    return read


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        kept = ((name, inner) for name, inner in value.items() if not name.startswith("__"))
        return {_plain(name): _plain(inner) for name, inner in kept}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    is_quoted = isinstance(value, str) and len(value) > 1 and value[0] == value[-1] == '"'
    return value[1:-1] if is_quoted else value
