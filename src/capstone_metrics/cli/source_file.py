"""Add a source to a file of declarations, the rest of which stays as it is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from capstone_metrics.errors import CapstoneError
from capstone_metrics.yaml_text import read_yaml, write_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def with_source(
    path: Path, content: str, name: str, declaration: Mapping[str, Any], networks: list[str]
) -> str:
    """Return a file of declarations with one more source.

    Args:
        path: the file, for errors.
        content: what it has.
        name: the name of the source.
        declaration: the declaration of the source.
        networks: the networks of the environment, with those of the source.

    Raises:
        CapstoneError: if it has a source of this name, or cannot be extended as text.
    """
    present = read_yaml(content) or {}
    sources = present.get("sources") or {}
    if name in sources:
        raise CapstoneError(
            f"{path}: has a source {name} already; choose another --name, or have its path match "
            "both files."
        )
    declaration = _escaped(declaration)
    if not content.strip():
        return write_yaml({"networks": networks, "sources": {name: declaration}})
    is_missing = not set(networks) <= set(present.get("networks") or ())
    extended = _with_networks(content, present, networks) if is_missing else content
    extended = _with_block(extended, name, declaration)
    expected = {**present, "sources": {name: declaration, **sources}}
    if is_missing:
        expected["networks"] = networks
    try:
        is_right = read_yaml(extended) == expected
    except yaml.YAMLError:
        is_right = False
    if not is_right:
        block = write_yaml({name: declaration})
        raise CapstoneError(
            f"{path}: cannot be extended without changing the rest of it; add this under sources, "
            f"and {', '.join(networks)} to networks:\n{block}"
        )
    return extended


def _with_block(content: str, name: str, declaration: Mapping[str, Any]) -> str:
    """Return a file of declarations with a source before the others, indented as they are."""
    start = re.search(r"^sources:[ \t]*(#.*)?(?:\n|$)", content, re.MULTILINE)
    if start is None:
        return f"{content.rstrip()}\n\nsources:\n{_indented(write_yaml({name: declaration}), '  ')}"
    first = re.search(r"^([ \t]+)\S", content[start.end() :], re.MULTILINE)
    block = _indented(write_yaml({name: declaration}), first[1] if first else "  ")
    return f"{content[: start.end()].rstrip()}\n{block}{content[start.end() :]}"


def _with_networks(content: str, present: Mapping[str, Any], networks: list[str]) -> str:
    """Return a file of declarations with these networks."""
    text = write_yaml({"networks": networks})
    if "networks" not in present:
        return f"{text}{content}"
    return re.sub(r"^networks:.*(\n[ \t]*-.*)*\n?", lambda _: text, content, flags=re.MULTILINE)


def _escaped(value: Any) -> Any:
    """Return a declaration in which `${` is a text, and no reference to a setting."""
    if isinstance(value, dict):
        return {key: _escaped(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_escaped(each) for each in value]
    return value.replace("${", "\\${") if isinstance(value, str) else value


def _indented(text: str, margin: str) -> str:
    return "".join(f"{margin}{line}" for line in text.splitlines(keepends=True))
