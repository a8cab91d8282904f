from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError
from typing import TYPE_CHECKING

import pytest

from capstone_metrics.validation import compiler

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _load_again() -> Iterator[None]:
    """Have each test load the scanner itself."""
    compiler.load_scan.cache_clear()
    yield
    compiler.load_scan.cache_clear()


@pytest.fixture
def code(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The machine code, which compiling returns at once."""
    name = next(name for name in _names() if compiler._read_cache(name))
    content = compiler._read_cache(name)
    assert content
    monkeypatch.setattr(compiler, "_compile", lambda *_: content)
    return content


def _names() -> Iterator[str]:
    assert compiler.load_scan(compiles=True)
    compiler.load_scan.cache_clear()
    for folder in compiler._folders():
        yield from (path.name for path in folder.glob("scan-*.bin"))


def test_without_numba_there_is_no_scanner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llvmlite.binding", None)
    assert compiler.load_scan(compiles=True) is None


def test_without_the_package_of_numba_there_is_no_scanner(
    code: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", version)
    assert compiler.load_scan(compiles=True) is None


def test_few_lines_are_not_worth_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "_read_cache", lambda _: None)
    monkeypatch.setattr(compiler, "_compile", lambda *_: pytest.fail("compiled"))
    assert compiler.load_scan(compiles=False) is None


def test_the_code_is_cached_where_this_user_may_write(
    code: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    folders = [in_the_way / "cache", tmp_path / "home/.cache/x"]
    monkeypatch.setattr(compiler, "_folders", lambda: iter(folders))
    assert compiler.load_scan(compiles=True)
    (path,) = folders[1].iterdir()
    assert path.read_bytes().endswith(code)
    compiler.load_scan.cache_clear()
    monkeypatch.setattr(compiler, "_compile", lambda *_: pytest.fail("compiled"))
    assert compiler.load_scan(compiles=True)


def test_without_a_place_for_the_cache_each_run_compiles(
    code: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    monkeypatch.setattr(compiler, "_folders", lambda: iter([in_the_way / "cache"]))
    assert compiler.load_scan(compiles=True)


def test_a_damaged_cache_is_replaced(
    code: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiler, "_folders", lambda: iter([tmp_path]))
    compiler._write_cache("scan-x.bin", code)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    assert compiler._read_cache("scan-x.bin") is None
    compiler._write_cache("scan-x.bin", code)
    assert compiler._read_cache("scan-x.bin") == code
