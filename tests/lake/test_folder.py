"""The lake in a folder: files, links, permissions and a full disk."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from capstone_metrics.errors import CapstoneError
from capstone_metrics.lake.folder import Folder
from tests.lake.conftest import stamp, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEY = "bronze/criacao/fonte=x/janela=2026-01-31T08/a.jsonl"
NOBODY = 65_534
LAYERS = ("bronze/**/*.jsonl", "silver/**/*.parquet", "gold/**/*.csv")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "lake")


def stage(folder: Folder, content: bytes) -> Path:
    staged = folder.folder.parent / "staged"
    staged.write_bytes(content)
    return staged


def temporary(folder: Folder) -> list[str]:
    """Return the files of the lake that are no objects of a layer."""
    return [path.name for path in (folder.folder / "_tmp").iterdir()]


def test_an_object_is_a_file(folder: Folder) -> None:
    folder.create(KEY, [b"one"])
    assert folder.path(KEY).read_bytes() == b"one"
    assert folder.address(KEY) == str(folder.folder / KEY)


def test_a_lake_of_a_relative_path_is_where_the_process_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lake = Folder("data")
    write(lake, KEY, b"one")
    assert (tmp_path / "data" / KEY).read_bytes() == b"one"
    assert lake.address(KEY) == f"data/{KEY}"
    assert lake.keys("bronze") == [KEY]


def test_a_put_file_is_the_object_itself(folder: Folder) -> None:
    write(folder, KEY, b"one")
    staged = stage(folder, b"two")
    file = staged.stat().st_ino
    folder.put({KEY: staged})
    assert folder.read(KEY) == b"two"
    assert folder.path(KEY).stat().st_ino == file
    assert not staged.exists()
    before = stamp(folder, KEY)
    folder.put({KEY: staged})
    assert stamp(folder, KEY) == before


def test_files_of_one_size_and_time_are_compared_by_their_bytes(folder: Folder) -> None:
    write(folder, KEY, b"one")
    staged = stage(folder, b"two")
    for path in (staged, folder.path(KEY)):
        os.utime(path, (0, 0))
    assert not folder.matches_file(KEY, staged)


def test_a_create_leaves_no_stage(folder: Folder) -> None:
    for key in ("gold/a.csv", "gold/a.csv", "gold/b.csv"):
        folder.create(key, [b"one"])
    assert folder.keys("") == ["gold/a.csv", "gold/b.csv"]
    assert temporary(folder) == []


def test_an_object_that_is_being_written_matches_no_layer(folder: Folder) -> None:
    half_written: list[str] = []

    def chunks() -> Iterator[bytes]:
        yield b"x" * 1_000_000
        half_written.extend(folder.keys(""))
        assert not [path for layer in LAYERS for path in folder.folder.glob(layer)]
        assert not [path for path in half_written if Path(path).suffix]
        yield b"y"

    assert folder.create(KEY, chunks())
    assert half_written
    assert [path.name for path in folder.folder.glob(LAYERS[0])] == ["a.jsonl"]


def test_a_workspace_names_its_process(folder: Folder) -> None:
    one, other = folder.workspace("silver"), folder.workspace("silver")
    assert one != other
    assert one.parent == other.parent == folder.folder / "_tmp"
    assert {path.name.rsplit("-", 1)[0] for path in (one, other)} == {f"silver-{os.getpid()}"}
    assert folder.persist(one) == f"_tmp/{one.name}"


def test_a_link_to_a_file_is_an_object_and_one_to_a_folder_is_passed_over(
    folder: Folder, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/x").write_bytes(b"outside")
    write(folder, "gold/a", b"a")
    folder.path("gold/file").symlink_to(tmp_path / "outside/x")
    folder.path("gold/folder").symlink_to(tmp_path / "outside")
    folder.path("gold/around").symlink_to(folder.folder)
    folder.path("gold/nowhere").symlink_to(tmp_path / "nowhere")
    assert folder.keys("gold") == ["gold/a", "gold/file"]
    assert folder.read("gold/file") == b"outside"
    write(folder, "gold/file", b"new")
    folder.delete(["gold/nowhere"])
    assert folder.read("gold/file") == b"new"
    assert (tmp_path / "outside/x").read_bytes() == b"outside"


def test_a_deleted_object_takes_the_folders_that_it_leaves_empty(folder: Folder) -> None:
    write(folder, "silver/a=1/b=1/x", b"")
    write(folder, "silver/a=1/b=2/x", b"")
    folder.delete(["silver/a=1/b=1/x"])
    assert not (folder.folder / "silver/a=1/b=1").exists()
    assert folder.keys("") == ["silver/a=1/b=2/x"]
    folder.delete(["silver/a=1/b=2/x"])
    assert not (folder.folder / "silver").exists()
    assert folder.folder.exists()


@pytest.mark.parametrize(
    ("use", "named", "advice"),
    [
        pytest.param(lambda f: f.read("file/x"), "file/x", "not a directory", id="read below"),
        pytest.param(lambda f: f.read("folder"), "folder", "is a directory", id="read a folder"),
        pytest.param(lambda f: f.keys("file"), "file", "not a directory", id="keys of a file"),
        pytest.param(
            lambda f: f.put({"file/x": stage(f, b"")}), "file", "check the disk", id="put below"
        ),
        pytest.param(
            lambda f: f.put({"folder": stage(f, b"")}), "folder", "is a directory", id="put over"
        ),
        pytest.param(lambda f: f.create("file/x", []), "file", "check the disk", id="create below"),
        pytest.param(lambda f: f.create("x" * 300, []), "x" * 300, "name too long", id="long name"),
        pytest.param(
            lambda f: f.delete(["folder"]), "folder", "is a directory", id="delete folder"
        ),
    ],
)
def test_an_error_is_one_sentence_that_names_the_path(
    folder: Folder, use: Callable[[Folder], object], named: str, advice: str
) -> None:
    write(folder, "file", b"old")
    write(folder, "folder/x", b"old")
    with pytest.raises(CapstoneError, match=advice) as error:
        use(folder)
    assert str(error.value).startswith(f"{folder.folder / named}: ")
    assert str(error.value).endswith(".")
    assert "\n" not in str(error.value)
    assert folder.keys("") == ["file", "folder/x"]


def test_a_lake_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "lake").write_bytes(b"")
    with pytest.raises(CapstoneError, match=rf"^{tmp_path}/lake/_tmp: .*; check the disk"):
        Folder(tmp_path / "lake").create("x", [])


@pytest.fixture
def closed(open_folder: Path) -> Iterator[Folder]:
    """A lake with an object, `closed/x`, in a folder that this user may not enter."""
    lake = Folder(open_folder / "closed")
    write(lake, "closed/x", b"old")
    write(lake, "open/x", b"old")
    (lake.folder / "_tmp").chmod(0o777)
    (lake.folder / "closed").chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    yield lake
    os.seteuid(user)
    (lake.folder / "closed").chmod(0o700)


@pytest.mark.parametrize(
    "use",
    [
        lambda lake: lake.read("closed/x"),
        lambda lake: lake.open("closed/x"),
        lambda lake: write(lake, "closed/x", b"new"),
        lambda lake: lake.delete(["closed/x"]),
        lambda lake: lake.create("closed/y", [b"new"]),
        lambda lake: lake.exists("closed/x"),
        lambda lake: lake.keys(""),
        lambda lake: lake.matches_file("closed/x", lake.folder / "open/x"),
    ],
    ids=["read", "open", "put", "delete", "create", "exists", "keys", "holds"],
)
def test_a_folder_that_this_user_may_not_enter_is_named(
    closed: Folder, use: Callable[[Folder], object]
) -> None:
    with pytest.raises(CapstoneError, match=rf"^{closed.root}/closed.*: permission denied; grant"):
        use(closed)


def test_a_disk_that_takes_no_more_leaves_no_object(folder: Folder) -> None:
    write(folder, "gold/a.csv", b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))
    try:
        with pytest.raises(CapstoneError, match="file too large; check the disk"):
            folder.create("gold/b.csv", [b"x" * 100_000])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert folder.read("gold/a.csv") == b"old"
    assert folder.keys("") == ["gold/a.csv"]
    assert temporary(folder) == []
