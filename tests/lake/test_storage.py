from __future__ import annotations

import os
import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import TYPE_CHECKING

import pytest

from capstone_metrics.errors import CapstoneError
from capstone_metrics.lake.storage import Folder, same_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEY = "bronze/criacao/fonte=x/janela=2026-01-31T08/a.jsonl"
NOBODY = 65_534
LAYERS = ("bronze/**/*.jsonl", "silver/**/*.parquet", "gold/**/*.csv")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "lake")


def files(folder: Folder) -> list[str]:
    """Everything in the lake that is no folder."""
    return sorted(
        path.relative_to(folder.root).as_posix()
        for path in folder.root.rglob("*")
        if path.is_file()
    )


def stat(folder: Folder, key: str) -> tuple[int, int]:
    """Which file it is, and when it was written."""
    found = folder.path(key).stat()
    return found.st_ino, found.st_mtime_ns


def stage(folder: Folder, content: bytes, name: str = "staged") -> Path:
    staged = folder.root.parent / name
    staged.write_bytes(content)
    return staged


def write(folder: Folder, key: str, content: bytes) -> None:
    """Put an object into place as a commit does."""
    with folder.staging() as staging:
        staged = staging / "object"
        staged.write_bytes(content)
        folder.move(staged, key)


def test_what_is_created_can_be_read(folder: Folder) -> None:
    assert not folder.exists(KEY)
    assert folder.create(KEY, [b"o", b"", b"ne"])
    assert folder.exists(KEY)
    assert folder.read(KEY) == b"one"
    with folder.open(KEY) as file:
        assert file.read(2) == b"on"
    assert folder.path(KEY).read_bytes() == b"one"


def test_keys_are_those_under_a_prefix_in_order(folder: Folder) -> None:
    for key in ("gold/b.csv", "gold/a.csv", "gold/x/c.csv", "golden/d.csv"):
        write(folder, key, b"")
    assert folder.keys("gold") == ["gold/a.csv", "gold/b.csv", "gold/x/c.csv"]
    assert folder.keys("silver") == []
    assert folder.keys("") == [*folder.keys("gold"), "golden/d.csv"]


@pytest.mark.parametrize("key", ["../x", "gold/../../x", "gold/..", "..", "/etc/hostname"])
@pytest.mark.parametrize(
    "use",
    [
        Folder.path,
        Folder.keys,
        Folder.exists,
        Folder.read,
        Folder.open,
        Folder.delete,
        lambda folder, key: folder.create(key, [b"x"]),
        lambda folder, key: folder.move(stage(folder, b"x"), key),
    ],
)
def test_a_key_cannot_leave_the_lake(
    folder: Folder, key: str, use: Callable[[Folder, str], object]
) -> None:
    outside = folder.root.parent / "x"
    outside.write_bytes(b"outside")
    with pytest.raises(CapstoneError, match=r"is not a key of the lake at .*lake"):
        use(folder, key)
    assert outside.read_bytes() == b"outside"


def test_a_name_with_two_dots_in_it_is_a_key(folder: Folder) -> None:
    assert folder.create("gold/a..b/..c", [b"x"])
    assert files(folder) == ["gold/a..b/..c"]


def test_an_object_is_created_once(folder: Folder) -> None:
    assert folder.create(KEY, [b"on", b"e"])
    before = stat(folder, KEY)
    assert not folder.create(KEY, [b"two"])
    assert folder.read(KEY) == b"one"
    assert stat(folder, KEY) == before


def test_of_many_who_create_an_object_at_once_one_does(folder: Folder) -> None:
    writers = 8
    together = Barrier(writers)

    def chunks(writer: int) -> Iterator[bytes]:
        together.wait(timeout=10)  # each has seen that the key is free
        yield str(writer).encode()

    with ThreadPoolExecutor(writers) as pool:
        for key in (f"gold/{at}.csv" for at in range(10)):
            wrote = list(pool.map(lambda w, key=key: folder.create(key, chunks(w)), range(writers)))
            assert wrote.count(True) == 1
            assert folder.read(key) == str(wrote.index(True)).encode()


def test_a_moved_file_is_the_object_whole_and_at_once(folder: Folder) -> None:
    write(folder, KEY, b"one")
    staged = stage(folder, b"two")
    file = staged.stat().st_ino
    folder.move(staged, KEY)
    assert folder.read(KEY) == b"two"
    assert stat(folder, KEY)[0] == file
    assert not staged.exists()


def test_a_file_can_be_moved_again(folder: Folder) -> None:
    staged = stage(folder, b"one")
    folder.move(staged, KEY)
    before = stat(folder, KEY)
    folder.move(staged, KEY)
    assert stat(folder, KEY) == before


def test_a_file_that_is_neither_staged_nor_in_place_is_named(folder: Folder) -> None:
    with pytest.raises(CapstoneError, match=rf"^{folder.path(KEY)}: no such file or directory; "):
        folder.move(folder.root / "staged", KEY)


def test_of_many_who_move_to_an_object_at_once_none_tears_it(folder: Folder) -> None:
    contents = [bytes([letter]) * 100_000 for letter in b"abcdefgh"]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: write(folder, "gold/a.csv", content), contents))
    assert folder.read("gold/a.csv") in contents


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [(b"one", b"one", True), (b"", b"", True), (b"one", b"two", False), (b"", b"one", False)],
)
def test_files_are_compared_by_their_bytes(
    folder: Folder, one: bytes, other: bytes, same: bool
) -> None:
    first, second = stage(folder, one, "first"), stage(folder, other, "second")
    os.utime(first, (0, 0))
    os.utime(second, (0, 0))
    assert same_bytes(first, second) is same
    assert not same_bytes(first, folder.root / "nowhere")


def test_an_open_reader_keeps_the_object_that_it_opened(folder: Folder) -> None:
    write(folder, KEY, b"one")
    with folder.open(KEY) as file:
        write(folder, KEY, b"two")
        assert file.read() == b"one"
    assert folder.read(KEY) == b"two"


def test_nothing_is_left_of_a_stage(folder: Folder) -> None:
    for key in ("gold/a.csv", "gold/a.csv", "gold/b.csv"):
        folder.create(key, [b"one"])
    assert files(folder) == ["gold/a.csv", "gold/b.csv"]
    assert list((folder.root / "_tmp").iterdir()) == []


def test_a_source_that_fails_leaves_no_object_and_no_stage(folder: Folder) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"half"
        raise CapstoneError("the export ends here.")

    with pytest.raises(CapstoneError, match="the export ends here"):
        folder.create(KEY, chunks())
    assert files(folder) == []
    assert list((folder.root / "_tmp").iterdir()) == []


def test_an_object_that_is_being_written_matches_no_layer(folder: Folder) -> None:
    half_written: list[str] = []

    def chunks() -> Iterator[bytes]:
        yield b"x" * 1_000_000
        half_written.extend(files(folder))
        assert not [path for layer in LAYERS for path in folder.root.glob(layer)]
        assert not [path for path in half_written if Path(path).suffix]
        yield b"y"

    assert folder.create(KEY, chunks())
    assert half_written
    assert [path.name for path in folder.root.glob(LAYERS[0])] == ["a.jsonl"]


def test_a_stage_says_whose_it_is(folder: Folder) -> None:
    with folder.staging() as one, folder.staging() as other:
        assert one != other
        assert {path.name.rsplit("-", 1)[0] for path in (one, other)} == {f"object-{os.getpid()}"}


def test_a_deleted_object_takes_the_folders_that_it_leaves_empty(folder: Folder) -> None:
    write(folder, "silver/a=1/b=1/x", b"")
    write(folder, "silver/a=1/b=2/x", b"")
    folder.delete("silver/a=1/b=1/x")
    assert not (folder.root / "silver/a=1/b=1").exists()
    assert files(folder) == ["silver/a=1/b=2/x"]
    folder.delete("silver/a=1/b=2/x")
    assert not (folder.root / "silver").exists()
    assert folder.root.exists()


def test_an_object_can_be_deleted_again(folder: Folder) -> None:
    write(folder, "silver/a=1/x", b"")
    write(folder, "silver/a=2/y", b"")
    for key in ("silver/a=1/x", "silver/a=1/x", "silver/a=2/x"):
        folder.delete(key)
    assert files(folder) == ["silver/a=2/y"]


@pytest.mark.parametrize(
    ("use", "named", "advice"),
    [
        pytest.param(lambda f: f.read(KEY), KEY, "run the pipeline", id="read nothing"),
        pytest.param(lambda f: f.open(KEY), KEY, "run the pipeline", id="open nothing"),
        pytest.param(lambda f: f.read("file/x"), "file/x", "not a directory", id="read below"),
        pytest.param(lambda f: f.read("folder"), "folder", "is a directory", id="read a folder"),
        pytest.param(
            lambda f: f.move(stage(f, b""), "file/x"), "file", "check the disk", id="move below"
        ),
        pytest.param(
            lambda f: f.move(stage(f, b""), "folder"), "folder", "is a directory", id="move over"
        ),
        pytest.param(lambda f: f.create("file/x", []), "file", "check the disk", id="create below"),
        pytest.param(lambda f: f.create("x" * 300, []), "x" * 300, "name too long", id="long name"),
        pytest.param(lambda f: f.delete("folder"), "folder", "is a directory", id="delete folder"),
    ],
)
def test_an_error_is_one_sentence_that_names_the_path(
    folder: Folder, use: Callable[[Folder], object], named: str, advice: str
) -> None:
    write(folder, "file", b"old")
    write(folder, "folder/x", b"old")
    with pytest.raises(CapstoneError, match=advice) as error:
        use(folder)
    assert str(error.value).startswith(f"{folder.root / named}: ")
    assert str(error.value).endswith(".")
    assert "\n" not in str(error.value)
    assert files(folder) == ["file", "folder/x"]


def test_a_lake_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "lake").write_bytes(b"")
    with pytest.raises(CapstoneError, match=rf"^{tmp_path}/lake/_tmp: .*; check the disk"):
        Folder(tmp_path / "lake").create("x", [])


@pytest.fixture
def closed(open_folder: Path) -> Iterator[Folder]:
    """A lake with an object, `closed/x`, in a folder that this user may not enter."""
    lake = Folder(open_folder / "closed")
    write(lake, "closed/x", b"old")
    write(lake, "open/x", b"old")
    (lake.root / "_tmp").chmod(0o777)
    (lake.root / "closed").chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    yield lake
    os.seteuid(user)
    (lake.root / "closed").chmod(0o700)


@pytest.mark.parametrize(
    "use",
    [
        lambda lake: lake.read("closed/x"),
        lambda lake: lake.open("closed/x"),
        lambda lake: write(lake, "closed/x", b"new"),
        lambda lake: lake.delete("closed/x"),
        lambda lake: lake.create("closed/y", [b"new"]),
        lambda lake: lake.exists("closed/x"),
        lambda lake: lake.keys(""),
    ],
    ids=["read", "open", "move", "delete", "create", "exists", "keys"],
)
def test_a_folder_that_this_user_may_not_enter_is_named(
    closed: Folder, use: Callable[[Folder], object]
) -> None:
    with pytest.raises(CapstoneError, match=rf"^{closed.root}/closed.*: permission denied; give"):
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
    assert files(folder) == ["gold/a.csv"]
    assert list((folder.root / "_tmp").iterdir()) == []
