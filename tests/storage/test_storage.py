"""The stores of a lake, a folder and a bucket: every test is for both."""

from __future__ import annotations

import datetime as dt
import math
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Lock
from typing import TYPE_CHECKING

import psutil
import pytest

from capstone_metrics.errors import CapstoneError
from capstone_metrics.storage import staging, storage_of
from capstone_metrics.storage.base import StagedObject, md5
from capstone_metrics.storage.bucket import Bucket
from capstone_metrics.storage.folder import Folder
from capstone_metrics.storage.request_counter import request_counts
from capstone_metrics.storage.staging import abandoned_keys, staging_prefix
from tests.storage import tasks
from tests.support.processes import child
from tests.support.storages import another, in_layers, matches, staged_keys, stamp, write
from tests.support.waiting import SECONDS, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from capstone_metrics.storage.base import Storage

KEY = "bronze/criacao/fonte=x/janela=2026-01-31T08/a.jsonl"
ODD = [
    "silver/t/d=a b/a  b.parquet",
    "silver/t/d=ação/日本.parquet",
    "silver/t/d=a+b&c=?#/x",
    "silver/t/d=100%/x",
    "silver/t/d=a%20b/x",
    "silver/t/d=a%2Fb/x",
    "silver/t/d='a'\"b\"<c>/x",
    "silver/t/d=[a]*{b}/x",
    "silver/t/..d/e..f/..x",
    "silver/t/d=" + "ç" * 100 + "/x",
]


def stage(storage: Storage, content: bytes) -> StagedObject:
    return storage.stage(staging_prefix("test"), content)


def test_a_created_object_can_be_read(storage: Storage) -> None:
    assert not storage.exists(KEY)
    assert storage.create(KEY, [b"o", b"", b"ne"])
    for lake in (storage, another(storage)):
        assert lake.exists(KEY)
        assert lake.read(KEY) == b"one"


def test_an_overwrite_replaces_an_object(storage: Storage) -> None:
    for content in (b"one", b"two", b""):
        storage.overwrite(KEY, content)
        assert storage.read(KEY) == content
    assert storage.keys("") == [KEY]
    assert storage.create(KEY, [b"three"]) is False
    write(storage, KEY, b"four")
    assert storage.read(KEY) == b"four"
    storage.persist([KEY])
    assert storage.read(KEY) == b"four"


def test_an_empty_object_is_an_object(storage: Storage) -> None:
    assert storage.create("gold/a.csv", [])
    write(storage, "gold/b.csv", b"")
    assert storage.keys("gold") == ["gold/a.csv", "gold/b.csv"]
    assert storage.read("gold/a.csv") == storage.read("gold/b.csv") == b""


def test_an_object_can_be_read_from_any_offset(storage: Storage) -> None:
    storage.create(KEY, [b"0123456789"])
    with storage.open(KEY) as file:
        assert file.read(2) == b"01"
        assert file.seek(-3, 2) == 7
        assert file.read() == b"789"
        assert file.seek(4) == 4
        assert file.read(1) == b"4"


def test_lines_of_an_object_are_read_one_by_one(storage: Storage) -> None:
    storage.create(KEY, [b"one\ntwo\n", b"three"])
    with storage.open(KEY) as file:
        assert list(file) == [b"one\n", b"two\n", b"three"]


def test_keys_are_those_under_a_prefix_in_order(storage: Storage) -> None:
    keys = ["gold/a.csv", "gold/b.csv", "gold/x/c.csv", "gold.csv", "golden/d.csv"]
    for key in keys:
        write(storage, key, b"")
    for lake in (storage, another(storage)):
        assert lake.keys("gold") == keys[:3]
        assert lake.keys("gold/x") == keys[2:3]
        assert lake.keys("gol") == lake.keys("silver") == []
        assert in_layers(lake) == sorted(keys)


@pytest.mark.parametrize(
    ("count", "limit"), [(25, 10), pytest.param(1_001, 1_000, marks=pytest.mark.slow)]
)
def test_keys_are_all_of_many(storage: Storage, count: int, limit: int) -> None:
    """A bucket lists a thousand at a time, unless a request asks for fewer."""
    if isinstance(storage, Bucket):
        storage = Bucket(storage.root, endpoint_url=storage.endpoint_url)
        storage.client.meta.events.register(
            "provide-client-params.s3.ListObjectsV2",
            lambda params, **_: {**params, "MaxKeys": limit},
        )
    keys = [f"silver/t/d={day:04}/x" for day in range(count)]
    staged = stage(storage, b"x")
    if isinstance(storage, Bucket):
        storage.promote(dict.fromkeys(keys, staged))
    else:
        for key in keys:
            storage.overwrite(key, b"x")
    before = request_counts()
    assert storage.keys("silver") == keys
    pages = math.ceil(count / limit) if isinstance(storage, Bucket) else 0
    assert (request_counts() - before)["LIST"] == pages
    storage.delete(keys)
    assert storage.keys("silver") == []


def test_a_key_may_have_any_letters(storage: Storage) -> None:
    for key in ODD:
        assert storage.create(key, [b"one"])
        assert storage.keys("silver") == [key]
        assert storage.exists(key)
        assert storage.read(key) == b"one"
        write(storage, key, b"two")
        with another(storage).open(key) as file:
            assert file.read() == b"two"
        assert storage.address(key) == f"{storage.root}/{key}"
        storage.delete([key])
        assert storage.keys("silver") == []


def test_keys_that_look_alike_are_distinct(storage: Storage) -> None:
    alike = ["gold/a b", "gold/a%20b", "gold/a+b", "gold/A b", "gold/á", "gold/a\u0301"]
    for key in alike:
        assert storage.create(key, [key.encode()])
    assert storage.keys("gold") == sorted(alike)
    assert [storage.read(key) for key in alike] == [key.encode() for key in alike]


@pytest.mark.parametrize(
    "use",
    [
        lambda lake, key: lake.address(key),
        lambda lake, key: lake.keys(key),
        lambda lake, key: lake.exists(key),
        lambda lake, key: lake.read(key),
        lambda lake, key: lake.open(key),
        lambda lake, key: lake.delete([key]),
        lambda lake, key: lake.create(key, [b"x"]),
        lambda lake, key: lake.overwrite(key, b"x"),
        lambda lake, key: lake.promote({key: stage(lake, b"x")}),
        lambda lake, key: lake.promote({"gold/x": StagedObject(key, md5(b"outside"), 7)}),
    ],
    ids=[
        *("address", "keys", "exists", "read", "open", "delete", "create", "overwrite"),
        *("promote", "promote from"),
    ],
)
def test_a_key_cannot_leave_the_lake(
    storage: Storage, tmp_path: Path, use: Callable[[Storage, str], object]
) -> None:
    outside = tmp_path / "x"
    outside.write_bytes(b"outside")
    for key in ("../x", "gold/../../x", "gold/..", "..", "/etc/hostname"):
        with pytest.raises(CapstoneError, match=r"is not a key of the lake at .*lake\.$"):
            use(storage, key)
    assert outside.read_bytes() == b"outside"
    assert in_layers(storage) == []


def test_an_object_is_created_once(storage: Storage) -> None:
    assert storage.create(KEY, [b"on", b"e"])
    before = stamp(storage, KEY)
    for lake in (storage, another(storage)):
        assert not lake.create(KEY, [b"two"])
        assert lake.read(KEY) == b"one"
    assert stamp(storage, KEY) == before


def test_a_deleted_object_can_be_created_again(storage: Storage) -> None:
    assert storage.create(KEY, [b"one"])
    another(storage).delete([KEY])
    assert storage.create(KEY, [b"two"])
    assert storage.read(KEY) == b"two"


@pytest.mark.slow
def test_of_many_writers_of_a_new_object_one_creates_it(storage: Storage) -> None:
    lakes = [another(storage) for _ in range(8)]
    for lake in lakes:
        lake.exists(KEY)  # it has connected
    barrier = Barrier(len(lakes))

    def chunks(writer: int) -> Iterator[bytes]:
        barrier.wait(timeout=SECONDS)  # each has seen that the key is free
        yield str(writer).encode()

    def create(writer: int, key: str) -> bool:
        return bool(lakes[writer].create(key, chunks(writer)))

    with ThreadPoolExecutor(len(lakes)) as pool:
        for at in range(10 if isinstance(storage, Folder) else 3):  # a server takes its time
            key = f"gold/{at}.csv"
            wrote = list(pool.map(create, range(len(lakes)), [key] * len(lakes)))
            assert wrote.count(True) == 1
            assert storage.read(key) == str(wrote.index(True)).encode()


def test_a_source_that_fails_leaves_no_object_and_nothing_staged(storage: Storage) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"half"
        raise CapstoneError("the export ends here.")

    with pytest.raises(CapstoneError, match="the export ends here"):
        storage.create(KEY, chunks())
    assert in_layers(storage) == staged_keys(storage) == []


def test_a_put_replaces_the_object(storage: Storage) -> None:
    for content in (b"one", b"two", b"", b"three"):
        write(storage, KEY, content)
        assert storage.read(KEY) == another(storage).read(KEY) == content
    assert storage.keys("bronze") == [KEY]


def test_many_objects_are_placed_at_once(storage: Storage) -> None:
    objects = {f"silver/t/d={at}/x": stage(storage, b"%d" % at) for at in range(50)}
    write(storage, "silver/t/d=7/x", b"old")
    storage.promote(objects)
    assert storage.keys("silver") == sorted(objects)
    assert [storage.read(key) for key in objects] == [b"%d" % at for at in range(50)]


def test_nothing_can_be_placed_and_deleted(storage: Storage) -> None:
    storage.promote({})
    storage.persist([])
    storage.delete([])
    assert in_layers(storage) == []


def test_objects_that_another_process_staged_are_placed(storage: Storage) -> None:
    write(storage, KEY, b"old")
    prefix = staging_prefix("bronze")
    objects = {
        key: another(storage).stage(prefix, content)
        for key, content in ((KEY, b"new"), ("bronze/d=a b/ç+%3F?.jsonl", b""))
    }
    assert storage.read(KEY) == b"old"
    assert [(staged.digest, staged.size) for staged in objects.values()] == [
        (md5(b"new"), 3),
        (md5(b""), 0),
    ]
    storage.persist([staged.key for staged in objects.values()])
    storage.promote(objects)
    assert [storage.read(key) for key in objects] == [b"new", b""]
    assert storage.keys("bronze") == sorted(objects)


def test_two_workers_with_the_same_task_stage_two_objects(storage: Storage) -> None:
    prefix = staging_prefix("bronze")
    first, second = (another(storage).stage(prefix, b"same") for _ in range(2))
    assert first.key != second.key
    assert {first.key, second.key} == set(staged_keys(storage))
    storage.promote({KEY: second})
    assert storage.read(KEY) == b"same"


def test_objects_can_be_placed_again(storage: Storage) -> None:
    objects = {"gold/a.csv": stage(storage, b"a"), "gold/b.csv": stage(storage, b"b")}
    storage.promote({"gold/a.csv": objects["gold/a.csv"]})  # and then it was interrupted
    for lake in (another(storage), storage, another(storage)):
        lake.promote(objects)
        assert [lake.read(key) for key in objects] == [b"a", b"b"]


@pytest.mark.parametrize("known", [True, False])
def test_an_object_that_has_the_bytes_is_placed_though_they_are_no_longer_staged(
    storage: Storage, known: bool
) -> None:
    """As after a commit that two runs carried out at once: the first one tidied up."""
    staged = stage(storage, b"one")
    storage.promote({KEY: staged})
    storage.delete([staged.key])
    lake = storage if known else another(storage)
    before = stamp(storage, KEY)
    lake.promote({KEY: staged})
    assert stamp(storage, KEY) == before
    write(another(storage), KEY, b"two")
    with pytest.raises(CapstoneError, match="no such"):
        lake.promote({KEY: staged})
    assert storage.read(KEY) == b"two"


def test_an_object_that_another_writer_changed_is_put_over(storage: Storage) -> None:
    write(storage, KEY, b"one")
    write(another(storage), KEY, b"two")
    write(storage, KEY, b"three")
    assert storage.read(KEY) == b"three"
    another(storage).delete([KEY])
    write(storage, KEY, b"four")
    assert storage.read(KEY) == b"four"


def test_a_reader_sees_an_object_old_or_new(storage: Storage) -> None:
    contents = [bytes([letter]) * 300_000 for letter in b"abcdefgh"]
    write(storage, KEY, contents[0])

    reader = another(storage)
    seen: list[bytes] = []

    def put(content: bytes) -> None:
        write(storage, KEY, content)
        enough = len(seen) + 2  # of two reads, one began after the write
        wait_until(lambda: len(seen) >= enough)

    def put_all() -> None:
        for content in contents[1:] * 2:
            put(content)

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(put_all)
        while not writing.done():
            seen.append(reader.read(KEY))
        writing.result()
    assert set(contents[1:]) <= set(seen) <= set(contents)


def test_of_many_writers_of_an_object_none_tears_it(storage: Storage) -> None:
    contents = [bytes([letter]) * 100_000 for letter in b"abcd"]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda content: write(storage, "gold/a.csv", content), contents))
    assert storage.read("gold/a.csv") in contents


def test_an_open_reader_reads_the_object_that_it_opened(storage: Storage) -> None:
    write(storage, KEY, b"one")
    with storage.open(KEY) as file:
        write(storage, KEY, b"two")
        assert file.read() == b"one"
    with storage.open(KEY) as file:
        storage.delete([KEY])
        assert file.read() == b"two"


def test_an_object_can_be_deleted_again(storage: Storage) -> None:
    keys = [f"silver/a={number}/x" for number in range(4)]
    for key in keys:
        write(storage, key, b"")
    for deleted in (keys[:2], keys[:2], ["silver/a=9/x", "gold/x"], [keys[2], "silver/a=3/y"]):
        storage.delete(deleted)
    assert storage.keys("silver") == keys[3:]
    assert not storage.exists(keys[0])


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (b"one", b"one", True),
        (b"", b"", True),
        (b"one", b"two", False),
        (b"", b"one", False),
        (b"one\n", b"one", False),
    ],
)
def test_an_object_matches_equal_bytes(
    storage: Storage, one: bytes, other: bytes, same: bool
) -> None:
    write(storage, KEY, one)
    reader = another(storage)
    assert matches(storage, KEY, other) is same
    assert reader.keys("bronze") == [KEY]
    assert matches(reader, KEY, other) is same


def test_a_version_changes_with_the_bytes(storage: Storage) -> None:
    assert storage.version(KEY) == ""
    write(storage, KEY, b"one")
    before = storage.version(KEY)
    assert before == storage.version(KEY) != ""
    assert storage.stat(KEY) == (before, 3)
    write(storage, KEY, b"two")
    assert storage.version(KEY) not in {"", before}
    storage.delete([KEY])
    assert storage.version(KEY) == ""
    assert storage.stat(KEY) is None


def test_the_size_of_an_object_is_that_of_its_bytes(storage: Storage) -> None:
    write(storage, KEY, b"one")
    assert [lake.size(KEY) for lake in (storage, another(storage))] == [3, 3]
    write(storage, KEY, b"")
    storage.keys("bronze")
    assert storage.size(KEY) == 0
    with pytest.raises(CapstoneError, match=r"no such .*; run the pipeline that creates it"):
        storage.size("bronze/none.jsonl")


def test_a_missing_object_matches_nothing(storage: Storage) -> None:
    assert not matches(storage, KEY, b"")
    write(storage, KEY, b"")
    assert matches(storage, KEY, b"")
    storage.delete([KEY])
    assert not matches(storage, KEY, b"")


def test_a_listing_drops_deleted_objects_and_detects_changed_ones(storage: Storage) -> None:
    write(storage, "gold/a.csv", b"old")
    write(storage, "gold/b.csv", b"old")
    another(storage).delete(["gold/a.csv"])
    write(another(storage), "gold/b.csv", b"new")
    assert storage.keys("gold") == ["gold/b.csv"]
    assert not matches(storage, "gold/a.csv", b"old")
    assert not matches(storage, "gold/b.csv", b"old")
    assert matches(storage, "gold/b.csv", b"new")


@pytest.mark.parametrize("use", ["read", "open"])
def test_a_missing_object_is_named_with_what_to_do(storage: Storage, use: str) -> None:
    with pytest.raises(
        CapstoneError, match=r"no such .*; run the pipeline that creates it"
    ) as error:
        getattr(storage, use)(KEY)
    assert str(error.value).startswith(f"{storage.address(KEY)}: ")
    assert str(error.value).endswith(".")
    assert "\n" not in str(error.value)


def test_a_missing_staged_object_is_named(storage: Storage) -> None:
    staged = stage(storage, b"x")
    storage.delete([staged.key])
    with pytest.raises(CapstoneError, match=r"no such .*\.$") as error:
        storage.promote({KEY: staged})
    assert str(error.value).startswith((storage.address(KEY), storage.address(staged.key)))
    assert "\n" not in str(error.value)
    assert not storage.exists(KEY)


def test_a_staged_object_is_abandoned_once_its_process_is_dead(storage: Storage) -> None:
    mine = stage(storage, b"x").key
    with child(tasks.stage, storage.root) as living:
        theirs = living.receive()
        assert f"-{living.pid}-" in theirs
        assert set(staged_keys(storage)) == {mine, theirs}
        assert abandoned_keys(storage, "silver") == []
    assert abandoned_keys(storage, "silver") == [theirs]
    assert abandoned_keys(storage, "gold") == []
    assert abandoned_keys(storage, "test") == []


def test_objects_that_another_machine_staged_are_abandoned_after_a_day(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = storage.stage(staging_prefix("silver"), b"x").key
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("socket.gethostname", lambda: "else-where.example.com")
        elsewhere.setattr("os.getpid", lambda: 1 << 30)
        theirs = storage.stage(staging_prefix("silver"), b"x").key
    assert "-else-where.example.com~" in theirs
    assert abandoned_keys(storage, "silver") == []
    monkeypatch.setattr(staging, "ABANDONED_AFTER", dt.timedelta(seconds=-1))
    assert abandoned_keys(storage, "silver") == [theirs]
    assert abandoned_keys(storage, "gold") == []
    assert mine in staged_keys(storage)


def test_objects_of_a_process_whose_number_another_has_by_now_are_abandoned(
    storage: Storage,
) -> None:
    start = dt.datetime.fromtimestamp(psutil.Process().create_time(), dt.UTC)
    for seconds, abandoned in ((-60, True), (60, False)):
        at = start + dt.timedelta(seconds=seconds)
        key = f"_tmp/silver-{at:%Y%m%dT%H%M%SZ}-{os.getpid()}-0a1b-{socket.gethostname()}~1f"
        storage.overwrite(key, b"x")
        assert (key in abandoned_keys(storage, "silver")) is abandoned


def test_what_is_no_staged_object_is_never_abandoned(storage: Storage) -> None:
    for name in ("silver.lock", "conditional-writes", "silver-1-2-3-x~y", ".DS_Store", "silver/x"):
        storage.overwrite(f"_tmp/{name}", b"")
    assert abandoned_keys(storage, "silver") == []


def test_one_thread_at_a_time_has_a_lock(storage: Storage) -> None:
    inside: list[str] = []
    log: list[str] = []
    mutex = Lock()

    def turn(lake: Storage) -> None:
        with lake.locked("silver"):
            with mutex:
                log.append("in")
                inside.append("x")
                assert inside == ["x"]
            another(storage).exists(KEY)
            with mutex:
                inside.pop()
                log.append("out")

    lakes = [storage] * 4 + [another(storage) for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(turn, lakes))
    assert log == ["in", "out"] * 8


def test_one_process_at_a_time_has_a_lock(storage: Storage, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with (
        child(tasks.take_turns, storage.root, str(log)) as one,
        child(tasks.take_turns, storage.root, str(log)) as other,
    ):
        assert [each.receive() for each in (one, other)] == ["ready", "ready"]
        for each in (one, other):
            each.send("go")
        assert [each.wait() for each in (one, other)] == [0, 0]
    assert log.read_text().split() == ["in", "out"] * 2 * tasks.TURNS


def test_locks_of_two_layers_are_independent(storage: Storage) -> None:
    with storage.locked("silver"), another(storage).locked("gold"), storage.locked("bronze"):
        write(storage, KEY, b"one")
    assert storage.read(KEY) == b"one"


def test_a_lock_can_be_acquired_again_and_again(storage: Storage) -> None:
    for lake in (storage, storage, another(storage)):
        with lake.locked("silver"):
            write(lake, "silver/x", b"x")
    with pytest.raises(ZeroDivisionError), storage.locked("silver"):
        1 / 0  # noqa: B018
    with storage.locked("silver"):
        pass


@pytest.mark.usefixtures("impatient")
def test_a_wait_for_a_lock_ends_with_a_sentence(storage: Storage) -> None:
    message = (
        f"Another run has been writing to {storage.root} for 0.1 s; wait for it and run again."
    )
    with storage.locked("silver"):
        for lake in (storage, another(storage)):
            with pytest.raises(CapstoneError) as error, lake.locked("silver"):
                pytest.fail("two have the lock")
            assert str(error.value) == message
        write(storage, KEY, b"one")
    with another(storage).locked("silver"):
        assert storage.read(KEY) == b"one"


def test_a_dead_process_frees_its_lock(storage: Storage) -> None:
    with child(tasks.lock, storage.root) as holder:
        assert holder.receive() == "locked"
    with ThreadPoolExecutor(1) as pool:

        def acquire() -> bool:
            with storage.locked("silver"):
                return True

        assert pool.submit(acquire).result(timeout=SECONDS)


def test_one_lake_of_a_process_is_one_storage(storage: Storage) -> None:
    assert type(storage_of(storage.root)) is type(storage)
    assert storage_of(storage.root) is storage_of({"url": storage.root, "region": None})
    assert storage_of(storage.root) is not storage_of(f"{storage.root}2")
