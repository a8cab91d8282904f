"""The lock of a lake in a bucket, and who takes it over."""

from __future__ import annotations

import json
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, get_ident
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from capstone_metrics.errors import CapstoneError
from capstone_metrics.storage import lease as leases
from capstone_metrics.storage import s3_client
from capstone_metrics.storage.bucket import Bucket
from capstone_metrics.storage.lease import FREE, Lease
from tests.storage import tasks
from tests.support.processes import child
from tests.support.s3_proxy import Faults, Request
from tests.support.storages import another
from tests.support.waiting import SECONDS, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.s3_proxy import Faulty

KEY = "_tmp/silver.lock"


class Clock:
    """The clock of who waits for a lock: it goes on while they sleep, and at no other time."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.on_sleep: Callable[[], object] = lambda: None

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.on_sleep()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of all leases, which no test has to wait for."""
    clock = Clock()
    monkeypatch.setattr(leases, "time", clock)
    return clock


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases that are renewed in the background several times a second."""
    monkeypatch.setattr(leases, "EXPIRY_SECONDS", 0.4)


def puts(request: Request) -> bool:
    return request.method == "PUT" and request.key.endswith(KEY)


def lease_of(bucket: Bucket) -> Lease:
    lease = Lease(bucket, KEY)
    lease.acquire()
    return lease


def content_of(bucket: Bucket) -> dict[str, Any]:
    """Return the content of the lock's object."""
    content: dict[str, Any] = json.loads(bucket.read(KEY))
    return content


def write_holder(bucket: Bucket, **holder: Any) -> None:
    """Write a holder into the lock's object who never renews it."""
    alive = psutil.Process()
    content = {
        "id": "somebody",
        "host": socket.gethostname(),
        "pid": alive.pid,
        "started": alive.create_time(),
        **holder,
    }
    bucket.write(KEY, json.dumps(content).encode())


def seconds_to_acquire(bucket: Bucket, clock: Clock) -> float:
    """Acquire and release the lock; return the time that the wait took by the clock."""
    start = clock.now
    lease = lease_of(bucket)
    seconds = clock.now - start
    lease.release()
    return seconds


def test_the_object_names_the_holder_of_the_lock(bucket: Bucket) -> None:
    with bucket.locked("silver"):
        holder = content_of(bucket)
        assert holder["host"] == socket.gethostname()
        assert holder["pid"] == os.getpid()
        assert holder["started"] == psutil.Process().create_time()
    assert bucket.read(KEY) == FREE


def test_a_lock_whose_object_is_deleted_is_free(bucket: Bucket, clock: Clock) -> None:
    with bucket.locked("silver"):
        pass
    bucket.delete([KEY])
    assert seconds_to_acquire(bucket, clock) == 0


def test_a_holder_that_renews_the_lock_keeps_it(
    bucket: Bucket, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "EXPIRY_SECONDS", 1)
    monkeypatch.setattr(leases, "LOCK_TIMEOUT_SECONDS", 2.5)
    start = clock.now
    with bucket.locked("silver"):
        first = content_of(bucket)
        holder = bucket._leases["silver"]
        clock.on_sleep = lambda: holder.check(force_renewal=True)
        with pytest.raises(CapstoneError, match="Another run has been writing"):
            lease_of(another(bucket))
        later = content_of(bucket)
        bucket.delete(["silver/nothing"])
    assert clock.now > start + 2.5
    assert later["id"] == first["id"]
    assert later["beat"] > first["beat"] + 4


@pytest.mark.usefixtures("quick")
def test_a_holder_renews_the_lock_in_the_background(bucket: Bucket) -> None:
    with bucket.locked("silver"):
        first = content_of(bucket)
        wait_until(lambda: content_of(bucket)["beat"] > first["beat"] + 1)
        assert content_of(bucket)["id"] == first["id"]


def test_a_silent_holder_loses_the_lock_and_not_before_its_time(
    bucket: Bucket, clock: Clock
) -> None:
    write_holder(bucket, host="another-machine")
    assert leases.EXPIRY_SECONDS < seconds_to_acquire(bucket, clock) < leases.EXPIRY_SECONDS + 1


def test_a_holder_of_another_machine_is_not_searched_on_this_one(
    bucket: Bucket, clock: Clock
) -> None:
    write_holder(bucket, host="another-machine", pid=1 << 30)
    assert seconds_to_acquire(bucket, clock) > leases.EXPIRY_SECONDS


@pytest.mark.parametrize(
    "holder",
    [{"pid": 1 << 30}, {"started": psutil.Process().create_time() - 1_000}],
    ids=["no such process", "a process that got its number"],
)
def test_a_dead_holder_of_this_machine_loses_the_lock_at_once(
    bucket: Bucket, clock: Clock, holder: dict[str, Any]
) -> None:
    write_holder(bucket, **holder)
    assert seconds_to_acquire(bucket, clock) == 0


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("drift", [-1.5, 0, 1.5])
def test_a_changed_clock_does_not_make_a_living_holder_dead(bucket: Bucket, drift: float) -> None:
    write_holder(bucket, started=psutil.Process().create_time() + drift)
    with pytest.raises(CapstoneError, match="Another run has been writing"):
        lease_of(bucket)


def test_a_killed_process_loses_the_lock_at_once(bucket: Bucket, clock: Clock) -> None:
    with child(tasks.lock, bucket.root) as process:
        assert process.receive() == "locked"
        assert content_of(bucket)["pid"] == process.pid
        process.kill()
    assert seconds_to_acquire(bucket, clock) == 0


class ClockThatJumps(Clock):
    """A clock that is set forward when each of some threads has looked at the lock once."""

    def __init__(self, threads: int, seconds: float) -> None:
        super().__init__()
        self.jump = seconds
        self.threads: set[int] = set()
        self.all_looked = Barrier(threads, action=self._go_on)

    def monotonic(self) -> float:
        return self.now + time.monotonic()

    def sleep(self, seconds: float) -> None:
        if get_ident() not in self.threads:
            self.threads.add(get_ident())
            self.all_looked.wait(SECONDS)
        time.sleep(seconds)

    def _go_on(self) -> None:
        self.now += self.jump


def test_of_many_who_wait_for_a_silent_holder_one_at_a_time_takes_over(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_holder(bucket, host="another-machine")
    log: list[str] = []

    def turn(lake: Bucket) -> None:
        with lake.locked("silver"):
            log.append("in")
            lake.exists("silver/x")
            lake.delete(["silver/x"])
            log.append("out")

    lakes = [bucket, bucket, another(bucket), another(bucket)]
    monkeypatch.setattr(leases, "time", ClockThatJumps(len(lakes), leases.EXPIRY_SECONDS + 1))
    monkeypatch.setattr(leases, "LOCK_TIMEOUT_SECONDS", SECONDS)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(turn, lakes))
    assert log == ["in", "out"] * 4


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("renewed", ["by check", "in the background"])
def test_a_former_holder_gets_an_error_and_leaves_the_lock_alone(
    bucket: Bucket, renewed: str
) -> None:
    lease = lease_of(bucket)
    other = another(bucket)
    write_holder(other, id="thief")
    if renewed == "in the background":
        wait_until(lambda: lease.is_lost)
    with pytest.raises(CapstoneError, match=r"another run took over .* Run again\.$") as error:
        lease.check(force_renewal=True)
    assert str(error.value).startswith(f"{bucket.root}: ")
    with pytest.raises(CapstoneError, match="another run took over"):
        lease.check()
    lease.release()
    assert content_of(other)["id"] == "thief"


def test_a_former_holder_that_does_not_know_it_leaves_the_lock_alone(bucket: Bucket) -> None:
    lease = lease_of(bucket)
    write_holder(another(bucket), id="thief")
    lease.release()
    assert content_of(bucket)["id"] == "thief"


def test_a_deletion_by_hand_takes_the_lock_from_its_holder(bucket: Bucket) -> None:
    lease = lease_of(bucket)
    another(bucket).delete([KEY])
    with pytest.raises(CapstoneError, match="another run took over"):
        lease.check(force_renewal=True)
    lease.release()
    assert not bucket.exists(KEY)


def test_a_holder_that_was_silent_for_long_checks_the_lock_first(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = lease_of(bucket)
    write_holder(another(bucket), id="thief")
    lease.check()  # it was ours a moment ago
    lease.renewed_at -= 0.6 * leases.EXPIRY_SECONDS
    with pytest.raises(CapstoneError, match="another run took over"):
        lease.check()
    lease.release()


@pytest.mark.parametrize("fate", ["lost", "cut"])
def test_a_lock_is_acquired_though_the_response_is_dropped(
    proxied: Bucket, faulty: Faulty, fate: str
) -> None:
    faulty.faults = Faults(**{fate: 1}, only=puts, times=1)
    lease = lease_of(proxied)
    assert content_of(proxied)["id"] == lease.holder["id"]
    faulty.faults = Faults(**{fate: 1}, only=puts, times=1)
    lease.check(force_renewal=True)
    assert content_of(proxied)["beat"] == 2
    lease.check(force_renewal=True)
    assert content_of(proxied)["beat"] == 3
    faulty.faults = Faults(**{fate: 1}, only=puts, times=1)
    lease.release()
    assert proxied.read(KEY) == FREE


def test_a_repeated_release_does_not_free_the_lock_of_the_next_holder(
    bucket: Bucket, proxied: Bucket, faulty: Faulty
) -> None:
    """The first response is dropped: the release is repeated when another has the lock."""
    lease = lease_of(proxied)
    acquired: list[Lease] = []

    def acquire_before_the_second(request: Request) -> bool:
        if faulty.faults.count == 1 and not acquired:
            acquired.append(lease_of(bucket))
        return request.method in {"PUT", "POST", "DELETE"}

    faulty.faults = Faults(lost=1, only=acquire_before_the_second, times=1)
    lease.release()
    (other,) = acquired
    assert content_of(bucket)["id"] == other.holder["id"]
    other.check(force_renewal=True)
    other.release()


def test_a_renewal_with_a_conflict_does_not_count(proxied: Bucket, faulty: Faulty) -> None:
    lease = lease_of(proxied)
    before = lease.renewed_at
    faulty.faults = Faults(errors=1, error=(409, "ConditionalRequestConflict"), only=puts, times=1)
    lease.check(force_renewal=True)
    assert lease.renewed_at == before
    lease.check(force_renewal=True)
    assert lease.renewed_at > before
    lease.release()


@pytest.mark.usefixtures("quick")
def test_a_lock_is_renewed_again_after_the_store_was_out_of_order(
    bucket: Bucket, faulty: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_client, "MAX_ATTEMPTS", 1)
    lake = Bucket(bucket.root, endpoint_url=faulty.endpoint)
    with lake.locked("silver"):
        faulty.faults = Faults(errors=1, only=puts, times=1)
        wait_until(lambda: [each for each in faulty.requests if each.fate == "error"])
        before = content_of(lake)["beat"]
        wait_until(lambda: content_of(lake)["beat"] > before)


@pytest.mark.parametrize(
    "use",
    [
        pytest.param(lambda lease: lease.acquire(), id="acquire"),
        pytest.param(lambda lease: lease.check(force_renewal=True), id="check"),
        pytest.param(lambda lease: lease.release(), id="release"),
    ],
)
def test_an_unreachable_store_is_one_sentence(
    bucket: Bucket,
    faulty: Faulty,
    monkeypatch: pytest.MonkeyPatch,
    use: Callable[[Lease], object],
) -> None:
    monkeypatch.setattr(s3_client, "MAX_ATTEMPTS", 1)
    lake = Bucket(bucket.root, endpoint_url=faulty.endpoint)
    lease = Lease(lake, KEY)
    if use.__name__ != "acquire":
        lease.acquire()
    faulty.faults = Faults(cut=1)
    with pytest.raises(
        CapstoneError, match="the store does not answer; check the network"
    ) as error:
        use(lease)
    assert "\n" not in str(error.value)
    faulty.reset()
