"""The lake in a folder: files, links, permissions and a full disk."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from capstone_metrics.errors import CapstoneError
from capstone_metrics.storage import folder as folders
from capstone_metrics.storage.folder import Folder
from capstone_metrics.storage.staging import staging_prefix
from tests.support.storages import in_layers, matches, stamp, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from capstone_metrics.storage.base import StagedObject

KEY = "bronze/criacao/fonte=x/janela=2026-01-31T08/a.jsonl"
NOBODY = 65_534
LAYERS = ("bronze/**/*.jsonl", "silver/**/*.parquet", "gold/**/*.csv")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "lake")


def stage(folder: Folder, content: bytes) -> StagedObject:
    return folder.stage(staging_prefix("test"), content)


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


def test_a_placed_file_is_the_staged_one(folder: Folder) -> None:
    write(folder, KEY, b"one")
    staged = stage(folder, b"two")
    file = folder.path(staged.key).stat().st_ino
    folder.promote({KEY: staged})
    assert folder.read(KEY) == b"two"
    assert folder.path(KEY).stat().st_ino == file
    assert temporary(folder) == []
    before = stamp(folder, KEY)
    folder.promote({KEY: staged})
    assert stamp(folder, KEY) == before


def test_files_of_one_size_and_time_are_compared_by_their_bytes(folder: Folder) -> None:
    write(folder, KEY, b"one")
    os.utime(folder.path(KEY), (0, 0))
    version = folder.version(KEY)
    assert not matches(folder, KEY, b"two")
    folder.path(KEY).write_bytes(b"two")
    os.utime(folder.path(KEY), (0, 0))
    assert folder.version(KEY) != version
    assert matches(folder, KEY, b"two")


def test_a_create_leaves_nothing_staged(folder: Folder) -> None:
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


def test_the_folder_of_staged_files_stays_when_it_is_empty(folder: Folder) -> None:
    """Another process may have made sure of it, and be about to stage in it."""
    write(folder, KEY, b"one")
    folder.delete([KEY])
    assert [path.name for path in folder.folder.iterdir()] == ["_tmp"]
    assert temporary(folder) == []


def test_a_deletion_is_flushed_once_for_each_folder(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = ["silver/a=1/x", "silver/a=1/y", "silver/a=2/x", "silver/a=2/y"]
    for key in keys:
        write(folder, key, b"")
    flushed: list[Path] = []
    monkeypatch.setattr(folders, "sync", flushed.append)
    folder.delete(keys[:3])
    assert sorted(flushed) == [folder.folder / "silver/a=1", folder.folder / "silver/a=2"]
    assert folder.keys("silver") == keys[3:]


def test_persist_flushes_each_file_and_its_folder(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged = [stage(folder, b"x").key for _ in range(3)]
    flushed: list[Path] = []
    monkeypatch.setattr(folders, "sync", flushed.append)
    folder.persist(staged)
    assert flushed == [*map(folder.path, staged), folder.folder / "_tmp"]


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
            lambda f: write(f, "file/x", b""), "file", "check the disk", id="below a file"
        ),
        pytest.param(
            lambda f: write(f, "folder", b""), "folder", "is a directory", id="over a folder"
        ),
        pytest.param(
            lambda f: f.overwrite("folder", b""), "folder", "is a directory", id="overwrite"
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
    assert in_layers(folder) == ["file", "folder/x"]


def test_a_lake_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "lake").write_bytes(b"")
    for use in (lambda lake: lake.create("x", []), lambda lake: stage(lake, b"x")):
        with pytest.raises(CapstoneError, match=rf"^{tmp_path}/lake/_tmp: .*; check the disk"):
            use(Folder(tmp_path / "lake"))


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
        lambda lake: matches(lake, "closed/x", b"old"),
    ],
    ids=["read", "open", "promote", "delete", "create", "exists", "keys", "matches"],
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
        for use in (
            lambda: folder.create("gold/b.csv", [b"x" * 100_000]),
            lambda: folder.overwrite("gold/a.csv", b"x" * 100_000),
            lambda: stage(folder, b"x" * 100_000),
        ):
            with pytest.raises(CapstoneError, match="file too large; check the disk"):
                use()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert folder.read("gold/a.csv") == b"old"
    assert folder.keys("") == ["gold/a.csv"]
    assert temporary(folder) == []


# File systems that lack something


def failing(code: int, calls: list[str] | None = None) -> Callable[..., None]:
    """Return a call of the system that fails as on a file system that does not know it."""

    def fail(*arguments: object) -> None:
        if calls is not None:
            calls.append(str(arguments))
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOTSUP, errno.ENOSYS])
def test_without_hard_links_an_object_is_created_once(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(os, "link", failing(code))
    assert folder.create(KEY, [b"one"])
    assert not folder.create(KEY, [b"two"])
    assert folder.read(KEY) == b"one"
    # one that another run creates in the meantime
    other = Folder(folder.folder)
    monkeypatch.setattr(folder, "exists", lambda _: False)
    assert other.create("bronze/b.jsonl", [b"theirs"])
    assert not folder.create("bronze/b.jsonl", [b"ours"])
    assert other.read("bronze/b.jsonl") == b"theirs"
    assert [name for name in temporary(folder) if not name.endswith(".lock")] == []


@pytest.mark.usefixtures("impatient")
def test_without_hard_links_a_create_waits_for_another(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", failing(errno.EPERM))
    with Folder(folder.folder).locked("object"), pytest.raises(CapstoneError, match="Another run"):
        folder.create(KEY, [b"one"])
    assert not folder.exists(KEY)
    assert folder.create(KEY, [b"one"])


def test_a_denied_link_is_no_lack(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", failing(errno.EACCES))
    with pytest.raises(CapstoneError, match="permission denied; grant this user access"):
        folder.create(KEY, [b"one"])


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EBADF, errno.ENOTSUP])
def test_a_folder_that_cannot_be_flushed_is_written_to(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    flush, flushed = os.fsync, list[str]()

    def fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").resolve()
        flushed.append(path.name)
        if path.is_dir():
            raise OSError(code, os.strerror(code))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    assert folder.create(KEY, [b"one"])
    write(folder, "gold/a.csv", b"two")
    folder.persist(["gold/a.csv"])
    folder.delete(["gold/a.csv"])
    assert "janela=2026-01-31T08" in flushed
    assert in_layers(folder) == [KEY]


CANNOT_FLUSH = "its file system cannot flush files to disk, so a power failure could lose"


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        *((code, os.strerror(code).lower()) for code in (errno.EIO, errno.ENOSPC)),
        *((code, CANNOT_FLUSH) for code in (errno.EINVAL, errno.ENOSYS)),
    ],
)
def test_a_file_that_cannot_be_flushed_is_an_error(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, code: int, cause: str
) -> None:
    monkeypatch.setattr(os, "fsync", failing(code))
    with pytest.raises(CapstoneError, match=cause):
        folder.create(KEY, [b"one"])
    assert not folder.exists(KEY)


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOTSUP, errno.EINVAL])
def test_a_file_system_without_locks_is_refused(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr("fcntl.flock", failing(code))
    message = "its file system has no locks, so two runs could write at once; put the lake on"
    with pytest.raises(CapstoneError, match=message), folder.locked("silver"):
        pass
