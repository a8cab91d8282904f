"""The configuration of Terraform as data, read without Terraform."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import hcl2

from tests.infra.planted import Copy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FOLDER = "infra/terraform"


class Configuration(Copy):
    """Terraform's files; a literal is its value, and an expression its text within `${…}`."""

    @property
    def folder(self) -> Path:
        """The folder in which Terraform runs."""
        return self.root / FOLDER

    def replace(self, name: str, old: str, new: str) -> None:
        """Change a text of a file of that folder."""
        super().replace(f"{FOLDER}/{name}", old, new)

    def text(self) -> str:
        """Return the text of all files."""
        return "".join(path.read_text() for path in sorted(self.folder.glob("*.tf")))

    def blocks(self, kind: str) -> dict[str, Any]:
        """Return blocks by their labels: `aws_vpc.this`, or the name alone if it has one label."""
        blocks = {}
        for label, body in self._bodies(kind):
            if kind in {"resource", "data"}:
                blocks |= {f"{label}.{name}": inner for name, inner in body.items()}
            else:
                blocks[label] = body
        return blocks

    def resources(self, kind: str) -> dict[str, Any]:
        """Return the resources of a type by their names."""
        blocks, prefix = self.blocks("resource"), f"{kind}."
        return {a.removeprefix(prefix): blocks[a] for a in blocks if a.startswith(prefix)}

    def locals(self) -> dict[str, Any]:
        """Return the local values."""
        return dict(self._bodies("locals"))

    def statements(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each statement of each policy, with the policy's name."""
        for address, body in self.blocks("data").items():
            for statement in body.get("statement", ()):
                yield address.removeprefix("aws_iam_policy_document."), statement

    def granted(self, owner: str, values: Mapping[str, str]) -> list[dict[str, Any]]:
        """Return the statements of a policy, with values for the references of its resources."""
        return [
            {**statement, "resources": [_filled(each, values) for each in statement["resources"]]}
            for document, statement in self.statements()
            if document == owner
        ]

    def values(self, name: str) -> dict[str, Any]:
        """Return the variables of an example environment."""
        return _read((self.folder / "environments" / f"{name}.tfvars").read_text())

    def _bodies(self, kind: str) -> Iterator[tuple[str, Any]]:
        for path in sorted(self.folder.glob("*.tf")):
            for block in _read(path.read_text()).get(kind, ()):
                yield from block.items()


def leaves(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield every value that is no list or block, with the name of its attribute."""
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
    content: dict[str, Any] = _unquoted(hcl2.loads(text))
    return content


def _unquoted(value: Any) -> Any:
    if isinstance(value, dict):
        items = ((name, inner) for name, inner in value.items() if not name.startswith("__"))
        return {_unquoted(name): _unquoted(inner) for name, inner in items}
    if isinstance(value, list):
        return [_unquoted(each) for each in value]
    is_quoted = isinstance(value, str) and len(value) > 1 and value[0] == value[-1] == '"'
    return value[1:-1] if is_quoted else value
