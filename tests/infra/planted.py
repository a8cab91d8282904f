"""Copies of files of the project, in which tests plant faults."""

from __future__ import annotations

import shutil
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Self

import pytest
import yaml

from tests.support.project import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    Check = Callable[..., None]
    Fault = tuple[str, str, str]  # a file, a text of it, and another in its stead


@dataclass(frozen=True)
class Copy:
    """Some files of the project in another folder."""

    root: Path

    @classmethod
    def of(cls, root: Path, *names: str) -> Self:
        """Copy files and folders of the project."""
        for name in names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_dir():
                ignored = shutil.ignore_patterns(".terraform")
                shutil.copytree(ROOT / name, root / name, ignore=ignored, dirs_exist_ok=True)
            else:
                shutil.copy(ROOT / name, root / name)
        return cls(root)

    def read(self, name: str) -> Any:
        """Return the content of a YAML file."""
        return deepcopy(_parsed((self.root / name).read_text()))

    def replace(self, name: str, old: str, new: str) -> None:
        """Change a text of a file, wherever the file has it."""
        path = self.root / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))


@cache
def _parsed(text: str) -> Any:
    return yaml.safe_load(text)


def each_fault(faults: Mapping[Check, Sequence[Fault]]) -> pytest.MarkDecorator:
    """Parametrize a test by each fault and the check that must notice it."""
    cases = [(check, *fault) for check, planted in faults.items() for fault in planted]
    return pytest.mark.parametrize(("check", "name", "old", "new"), cases)
