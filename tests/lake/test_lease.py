"""The lock of a lake in a bucket, and who takes it over."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from capstone_metrics.errors import CapstoneError
from capstone_metrics.lake import bucket as buckets
from capstone_metrics.lake import lease as leases
from capstone_metrics.lake.bucket import Bucket
from capstone_metrics.lake.lease import FREE, Lease
from tests.lake.conftest import another
from tests.s3 import Faults, Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.s3 import Faulty

KEY = "_tmp/silver.lock"
HOLD = """
import sys
from capstone_metrics.lake.storage import storage_of
with storage_of(sys.argv[1]).locked("silver"):
    print("locked", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases that run out soon."""
    monkeypatch.setattr(leases, "SECONDS", 1)


@pytest.fixture
def shaky(bucket: Bucket, faulty: Faulty) -> Bucket:
    """The lake behind the proxy."""
    lake = Bucket(bucket.root, endpoint_url=faulty.endpoint)
    lake.check_conditions()
    return lake


def puts(request: Request) -> bool:
    return request.method == "PUT" and request.key.endswith(KEY)


def lease_of(bucket: Bucket) -> Lease:
    lease = Lease(bucket, KEY)
    lease.acquire()
    return lease


def said(bucket: Bucket) -> dict[str, Any]:
    """What the object says."""
    content: dict[str, Any] = json.loads(bucket.read(KEY))
    return content


def hold(bucket: Bucket, **holder: Any) -> None:
    """Have somebody hold the lock who will not renew it."""
    alive = psutil.Process()
    content = {
        "id": "somebody",
        "host": socket.gethostname(),
        "pid": alive.pid,
        "started": alive.create_time(),
        **holder,
    }
    bucket.write(KEY, json.dumps(content).encode())


def seconds_to_acquire(bucket: Bucket) -> float:
    start = time.monotonic()
    lease = lease_of(bucket)
    taken = time.monotonic() - start
    lease.release()
    return taken


def test_the_object_says_who_holds_the_lock(bucket: Bucket) -> None:
    with bucket.locked("silver"):
        holder = said(bucket)
        assert holder["host"] == socket.gethostname()
        assert holder["pid"] == os.getpid()
        assert holder["started"] == psutil.Process().create_time()
    assert bucket.read(KEY) == FREE


def test_a_lock_whose_object_is_deleted_is_free(bucket: Bucket) -> None:
    with bucket.locked("silver"):
        pass
    bucket.delete([KEY])
    assert seconds_to_acquire(bucket) < 0.5


@pytest.mark.usefixtures("quick")
def test_a_holder_that_renews_the_lock_keeps_it(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "SECONDS_TO_WAIT", 2.5)
    with bucket.locked("silver"):
        first = said(bucket)
        with pytest.raises(CapstoneError, match="Another run has been writing"):
            lease_of(another(bucket))
        later = said(bucket)
        bucket.delete(["silver/nothing"])
    assert later["id"] == first["id"]
    assert later["beat"] > first["beat"] + 4


@pytest.mark.usefixtures("quick")
def test_a_silent_holder_loses_the_lock_and_not_before_its_time(bucket: Bucket) -> None:
    hold(bucket, host="another-machine")
    assert 1 < seconds_to_acquire(bucket) < 2.5


@pytest.mark.usefixtures("quick")
def test_a_holder_of_another_machine_is_not_looked_for_on_this_one(bucket: Bucket) -> None:
    hold(bucket, host="another-machine", pid=1 << 30)
    assert seconds_to_acquire(bucket) > 1


@pytest.mark.parametrize(
    "holder",
    [{"pid": 1 << 30}, {"started": psutil.Process().create_time() - 1_000}],
    ids=["no such process", "a process that got its number"],
)
def test_a_dead_holder_of_this_machine_loses_the_lock_at_once(
    bucket: Bucket, holder: dict[str, Any]
) -> None:
    hold(bucket, **holder)
    assert seconds_to_acquire(bucket) < 0.5


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("drift", [-1.5, 0, 1.5])
def test_a_living_holder_is_not_taken_for_a_dead_one_because_the_clock_was_set(
    bucket: Bucket, drift: float
) -> None:
    hold(bucket, started=psutil.Process().create_time() + drift)
    with pytest.raises(CapstoneError, match="Another run has been writing"):
        lease_of(bucket)


def test_a_killed_process_loses_the_lock_at_once(bucket: Bucket) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, bucket.root],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "locked\n"
    assert said(bucket)["pid"] == process.pid
    process.kill()
    process.communicate(timeout=10)
    assert seconds_to_acquire(bucket) < 1


@pytest.mark.usefixtures("quick")
def test_of_many_who_wait_for_a_silent_holder_one_at_a_time_takes_over(bucket: Bucket) -> None:
    hold(bucket, host="another-machine")
    log: list[str] = []

    def turn(lake: Bucket) -> None:
        with lake.locked("silver"):
            log.append("in")
            lake.exists("silver/x")
            lake.delete(["silver/x"])
            log.append("out")

    lakes = [bucket, bucket, another(bucket), another(bucket)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(turn, lakes))
    assert log == ["in", "out"] * 4


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("renewed", ["by check", "in the background"])
def test_a_holder_that_lost_the_lock_is_told_and_leaves_it_alone(
    bucket: Bucket, renewed: str
) -> None:
    lease = lease_of(bucket)
    other = another(bucket)
    hold(other, id="thief")
    if renewed == "in the background":
        time.sleep(0.6)
        assert lease.is_lost
    with pytest.raises(CapstoneError, match=r"another run took over .* Run again\.$") as error:
        lease.check(at_once=True)
    assert str(error.value).startswith(f"{bucket.root}: ")
    with pytest.raises(CapstoneError, match="another run took over"):
        lease.check()
    lease.release()
    assert said(other)["id"] == "thief"


def test_a_holder_that_does_not_know_that_it_lost_the_lock_leaves_it_alone(bucket: Bucket) -> None:
    lease = lease_of(bucket)
    hold(another(bucket), id="thief")
    lease.release()
    assert said(bucket)["id"] == "thief"


def test_a_lock_that_is_deleted_by_hand_is_lost(bucket: Bucket) -> None:
    lease = lease_of(bucket)
    another(bucket).delete([KEY])
    with pytest.raises(CapstoneError, match="another run took over"):
        lease.check(at_once=True)
    lease.release()
    assert not bucket.exists(KEY)


def test_a_holder_that_was_silent_for_long_asks_before_it_goes_on(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = lease_of(bucket)
    hold(another(bucket), id="thief")
    lease.check()  # it was ours a moment ago
    lease.renewed -= 0.6 * leases.SECONDS
    with pytest.raises(CapstoneError, match="another run took over"):
        lease.check()
    lease.release()


@pytest.mark.parametrize("fate", ["lost", "cut"])
def test_a_lock_is_ours_though_the_answer_to_it_did_not_come(
    shaky: Bucket, faulty: Faulty, fate: str
) -> None:
    faulty.faults = Faults(**{fate: 1}, only=puts, times=1)
    lease = lease_of(shaky)
    assert said(shaky)["id"] == lease.holder["id"]
    faulty.faults = Faults(**{fate: 1}, only=puts, times=1)
    lease.check(at_once=True)
    assert said(shaky)["beat"] == 2
    lease.check(at_once=True)
    assert said(shaky)["beat"] == 3
    faulty.faults = Faults(**{fate: 1}, only=puts, times=1)
    lease.release()
    assert shaky.read(KEY) == FREE


def test_a_lock_that_is_given_back_twice_is_not_taken_from_who_came_next(
    bucket: Bucket, shaky: Bucket, faulty: Faulty
) -> None:
    """The answer to the first time is lost, so it is given back again, and somebody was quick."""
    lease = lease_of(shaky)
    acquired: list[Lease] = []

    def acquire_before_the_second(request: Request) -> bool:
        if faulty.faults.count == 1 and not acquired:
            acquired.append(lease_of(bucket))
        return request.method in {"PUT", "POST", "DELETE"}

    faulty.faults = Faults(lost=1, only=acquire_before_the_second, times=1)
    lease.release()
    (other,) = acquired
    assert said(bucket)["id"] == other.holder["id"]
    other.check(at_once=True)
    other.release()


def test_a_renewal_that_met_a_conflict_is_not_taken_for_one(shaky: Bucket, faulty: Faulty) -> None:
    lease = lease_of(shaky)
    before = lease.renewed
    faulty.faults = Faults(errors=1, error=(409, "ConditionalRequestConflict"), only=puts, times=1)
    lease.check(at_once=True)
    assert lease.renewed == before
    lease.check(at_once=True)
    assert lease.renewed > before
    lease.release()


def test_a_lock_is_renewed_again_after_the_store_was_out_of_order(
    bucket: Bucket, faulty: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "SECONDS", 2)
    monkeypatch.setattr(buckets, "ATTEMPTS", 1)
    lake = Bucket(bucket.root, endpoint_url=faulty.endpoint)
    with lake.locked("silver"):
        faulty.faults = Faults(errors=1, only=puts, times=1)
        time.sleep(0.8)
        assert faulty.faults.count == 1
        before = said(lake)["beat"]
        time.sleep(0.8)
        assert said(lake)["beat"] > before


@pytest.mark.parametrize(
    "use",
    [
        pytest.param(lambda lease: lease.acquire(), id="acquire"),
        pytest.param(lambda lease: lease.check(at_once=True), id="check"),
        pytest.param(lambda lease: lease.release(), id="release"),
    ],
)
def test_a_store_that_does_not_answer_is_told_in_one_sentence(
    bucket: Bucket,
    faulty: Faulty,
    monkeypatch: pytest.MonkeyPatch,
    use: Callable[[Lease], object],
) -> None:
    monkeypatch.setattr(buckets, "ATTEMPTS", 1)
    lake = Bucket(bucket.root, endpoint_url=faulty.endpoint)
    lease = Lease(lake, KEY)
    if use.__name__ != "acquire":
        lease.acquire()
    faulty.faults = Faults(cut=1)
    with pytest.raises(CapstoneError, match="the store does not answer; check the network") as said:
        use(lease)
    assert "\n" not in str(said.value)
    faulty.reset()
