"""The lake in a bucket of a real S3 server: the same results, whatever fails on the way."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from datetime import date, timedelta
from functools import cache, partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

import psutil
import pytest
from infra.s3.seaweed import HOST, READER, SeaweedFS
from kedro.framework.session import KedroSession

from capstone_metrics import storage
from capstone_metrics.operations import record
from capstone_metrics.storage import lease, s3_client
from tests.support import selection
from tests.support.lakes import (
    LAKE_PIPELINES,
    NETWORKS,
    BucketLake,
    accounts_balance,
    add,
    clear,
    content,
    expected,
    finished,
    is_readable,
    line,
    run_here,
    started,
)
from tests.support.project import ROOT, project_copy
from tests.support.run_lake import FOREVER
from tests.support.s3_proxy import Faults, Faulty, Request
from tests.support.selection import long_with_all, sample

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.support.forks import Fork
    from tests.support.project import Completed, Project

KILLS = 2
ALL_PIPELINES = ["ingest_bronze", *LAKE_PIPELINES]
INSTANTS = ["2026-01-31T08:05", "2026-01-31T20:05"]

slow = partial(pytest.param, marks=pytest.mark.slow)


@pytest.fixture
def lake(
    seaweed: SeaweedFS, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[BucketLake]:
    """An empty lake in the bucket, which the environment names."""
    lake = BucketLake(seaweed.client(), seaweed.bucket, re.sub(r"\W+", "-", request.node.name))
    monkeypatch.setenv("CAPSTONE_BUCKET", lake.bucket)
    monkeypatch.setenv("CAPSTONE_PREFIX", lake.prefix)
    yield lake
    lake.clear()
    assert not lake.keys()


@pytest.fixture(autouse=True)
def no_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have runs in this process write nothing that only time has them write.

    So no lock is taken over because it was silent for long, either.
    """
    monkeypatch.setattr(lease, "EXPIRY_SECONDS", FOREVER)
    monkeypatch.setattr(record, "HEARTBEAT_SECONDS", FOREVER)


def objects_of(project: Project) -> dict[str, bytes]:
    """Return the objects of a lake in a folder."""
    return {name.removeprefix("data/"): content for name, (content, _) in project.files().items()}


def reproducible(objects: dict[str, bytes]) -> dict[str, bytes]:
    """Leave out what differs from run to run: a commit's record names the process that wrote it."""
    return {
        name: content
        for name, content in objects.items()
        if "/commits/" not in name and not name.startswith("_tmp/")
    }


@pytest.fixture(scope="module")
def weekend(open_folder: Path) -> Iterator[Project]:
    """A project whose source has the windows of a few days."""
    with project_copy(open_folder) as copy:
        declared = copy.parameters("sources.yml")
        source = declared["sources"]["faker"]
        source |= {"history_days": 2, "observation_days": 3, "channels": source["channels"][::2]}
        copy.configure("parameters_sources.yml", **declared)
        as_locally(copy)
        yield copy


def as_locally(project: Project) -> None:
    """Have the environment `s3` declare what `local` does."""
    for path in (project.root / "conf/local").iterdir():
        shutil.copy(path, project.root / "conf/s3")


@pytest.fixture(scope="module")
def in_a_folder(weekend: Project) -> list[dict[str, bytes]]:
    """The lake in a folder after a run at each instant."""
    lakes = []
    for now in INSTANTS:
        run_here(weekend, ALL_PIPELINES, now=now)
        lakes.append(objects_of(weekend))
    assert reproducible(lakes[0]) != reproducible(lakes[1])
    return lakes


def test_the_lake_is_the_same_in_a_bucket_as_in_a_folder(
    weekend: Project, in_a_folder: list[dict[str, bytes]], lake: BucketLake
) -> None:
    local = objects_of(weekend)
    run = ["run", "--env=s3", f"--pipelines={','.join(ALL_PIPELINES)}"]
    for now, objects in zip(INSTANTS, in_a_folder, strict=True):
        weekend.kedro(*run, f"--params=now={now}")
        assert reproducible(lake.objects()) == reproducible(objects)
    before = lake.objects()
    output = weekend.kedro(*run, f"--params=now={INSTANTS[-1]}").stdout
    assert "Nothing new" in output
    assert requests_reported(output)["PUT"] == RECORD_WRITES + 1  # one node more
    assert lake.objects() == before
    assert objects_of(weekend) == local


def test_the_lake_is_the_same_where_s3fs_reads_it(
    weekend: Project, in_a_folder: list[dict[str, bytes]], lake: BucketLake
) -> None:
    morning, evening = in_a_folder
    lake.fill(morning)
    options = ("--env=s3", "--s3fs", f"--now={INSTANTS[-1]}")
    code, output = finished(started(weekend, *options, pipelines=ALL_PIPELINES))
    assert code == 0, output
    assert reproducible(lake.objects()) == reproducible(evening)


LATER = {"ingestion_ts": "2026-01-31T23:00:00Z"}
LAST = {"ingestion_ts": "2026-02-01T11:00:00Z"}
SMALL = {
    "bronze/criacao/fonte=faker/janela=2026-01-31T08/criacao.jsonl": b"".join(
        [line(), line(video_id="v2", data_postagem="2026-01-28"), line(video_id="v3", likes=None)]
    )
}
"""A window before the first run."""
MOVES = {
    "bronze/criacao/fonte=faker/janela=2026-01-31T20/a.jsonl": line(views=7, **LATER) + b"{cut",
    "bronze/criacao/fonte=faker/janela=2026-01-31T20/b.jsonl": line(
        video_id="v2", data_postagem="2026-01-29", **LATER
    ),
}
"""A window that moves a video to another day, deletes its old one, and rejects a line."""


@pytest.fixture(scope="module")
def empty(empty_project: Project) -> Project:
    """A project whose lakes are filled by the tests."""
    as_locally(empty_project)
    return empty_project


@pytest.fixture(scope="module")
def small(
    empty: Project, seaweed: SeaweedFS, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """The objects of a lake after a run on a small window."""
    prefix = tmp_path_factory.mktemp("small").name  # another one for each lake of this process
    lake = BucketLake(seaweed.client(), seaweed.bucket, prefix)
    lake.fill(SMALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAPSTONE_BUCKET", lake.bucket)
        patch.setenv("CAPSTONE_PREFIX", lake.prefix)
        run_here(empty, env="s3")
    objects = lake.objects()
    lake.clear()
    return objects


def begin(project: Project, *options: str, endpoint: str = "") -> Fork:
    """Start a run on the lake in a process of its own, by way of an endpoint."""
    with pytest.MonkeyPatch.context() as patch:
        if endpoint:
            patch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        return started(project, "--env=s3", *options)


def converges(project: Project, lake: BucketLake, folder: Path) -> bool:
    """Return whether a run makes the lake what the oracle expects, with nothing left over."""
    run_here(project, env="s3")
    return equals_the_oracle(lake, folder)


def equals_the_oracle(lake: BucketLake, folder: Path) -> bool:
    """Return whether the lake is what the oracle expects, with nothing left over.

    A lock remains as an object without a holder.
    """
    copy = lake.download(folder)
    assert content(copy) == expected(copy)
    assert accounts_balance(copy)
    rest = {key: lake.read(key) for key in lake.keys("_tmp/")}
    probes = dict.fromkeys(["_tmp/conditional-writes", "_tmp/conditional-writes-of-copies"], b"")
    locks = dict.fromkeys(["_tmp/silver.lock", "_tmp/gold.lock"], b"{}\n")
    assert rest.items() <= (probes | locks).items()
    return True


ROUNDS = [
    {
        "2026-01-31T20": [line(views=9, **LATER), b"{cut\n", line(video_id="v2", **LATER)],
        "2026-01-30T20": [line(video_id="v2", data_postagem="2026-01-28")],
    },
    {
        "2026-01-31T08": [line(views=5), line(video_id="v3", likes=None)],  # late, and malformed
        "2026-01-31T20": [line(views=9, **LATER)],  # repeated
        "2026-02-01T08": [line(data_postagem="2026-01-12", rede_social="instagram_reels", **LAST)],
    },
]


SEED = 16
"""Of the draws: with this one each fault is among the first 34 requests of the first run."""


@pytest.fixture
def proxies(seaweed: SeaweedFS, request: pytest.FixtureRequest) -> Iterator[list[Faulty]]:
    """A proxy for each of some runs: 5 % of the requests fail in some way, each a bit late."""
    proxies = [Faulty(seaweed.endpoint) for _ in range(request.param)]
    for seed, proxy in enumerate(proxies, SEED):
        proxy.faults = Faults(errors=0.017, cut=0.017, lost=0.017, delay=0.005, seed=seed)
        proxy.start()
    yield proxies
    for proxy in proxies:
        proxy.stop()


@pytest.mark.parametrize("proxies", [2, slow(8)], indirect=True)
def test_runs_at_once_through_faults_lose_and_double_nothing(
    empty: Project, lake: BucketLake, proxies: list[Faulty], tmp_path: Path
) -> None:
    rounds = sample(ROUNDS, 1) if len(proxies) == 2 else ROUNDS[-1:]
    for number, windows in enumerate(rounds):
        for window, lines in windows.items():
            lake.add(window, *lines, name=str(9 - number))
        options = [["--s3fs"] if index % 2 else [] for index in range(len(proxies))]
        runs = [
            begin(empty, *option, endpoint=proxy.endpoint)
            for option, proxy in zip(options, proxies, strict=True)
        ]
        results = [finished(run) for run in runs]
        assert any(code == 0 for code, _ in results), results
        for code, output in results:
            assert code == 0 or "Another run" in output or "un again" in output, output
            assert "Traceback" not in output
        assert is_readable(lake.download(tmp_path))
    fates = {request.fate for proxy in proxies for request in proxy.requests}
    assert fates == {"passed", "error", "cut", "lost"}
    assert converges(empty, lake, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("guard", [[], ["--unconditional"]], ids=["guarded", "unconditional"])
def test_only_conditions_prevent_that_two_runs_have_one_lock(  # noqa: PLR0913, PLR0917
    empty: Project,
    small: dict[str, bytes],
    lake: BucketLake,
    seaweed: SeaweedFS,
    tmp_path: Path,
    guard: list[str],
) -> None:
    lake.fill(small)
    lake.add("2026-01-31T20", line(views=7, **LATER))
    names = ("one at lock", "two at lock", "one at record", "two waits or has ended")
    events = {name: Event() for name in names}

    def delay_one(request: Request) -> bool:
        if request.method == "PUT" and request.key.endswith("silver.lock"):
            events["one at lock"].set()
            assert events["two at lock"].wait(600)
        if request.method == "PUT" and request.key.endswith("silver/commits/00000002.json"):
            events["one at record"].set()
            assert events["two waits or has ended"].wait(600)
        return False

    def delay_two(request: Request) -> bool:
        if request.method == "PUT" and request.key.endswith("silver.lock"):
            events["two at lock"].set()
            assert events["one at record"].wait(600)
        elif request.key.endswith("silver.lock") and events["two at lock"].is_set():
            events["two waits or has ended"].set()  # it asks who has the lock
        return False

    with ExitStack() as stack:
        proxies = []
        for delay in (delay_one, delay_two):
            proxies.append(Faulty(seaweed.endpoint))
            proxies[-1].faults = Faults(only=delay)
            proxies[-1].start()
            stack.callback(proxies[-1].stop)
        one = begin(empty, "--no-heartbeats", *guard, endpoint=proxies[0].endpoint)
        assert events["one at lock"].wait(600)
        lake.add("2026-02-01T08", line(views=8, **LAST))
        two = begin(empty, "--no-heartbeats", *guard, endpoint=proxies[1].endpoint)
        output = finished(two)[1]
        events["two waits or has ended"].set()
        output += finished(one)[1]
    run_here(empty, env="s3")
    copy = lake.download(tmp_path)
    assert ("Another run changed silver" in output) == (not guard)
    assert (content(copy) == expected(copy)) == (not guard)


@long_with_all
@pytest.mark.timeout(3600)
def test_a_run_killed_at_any_request_is_finished_by_the_next(
    empty: Project, small: dict[str, bytes], lake: BucketLake, proxy: Faulty, tmp_path: Path
) -> None:
    lake.fill(small | MOVES)
    assert finished(begin(empty, "--no-heartbeats"))[0] == 0
    requests = len(proxy.requests)
    assert {"PUT", "POST", "GET", "HEAD"} == {request.method for request in proxy.requests}
    for number in sample(range(1, requests + 1), KILLS):
        lake.clear()
        lake.fill(small | MOVES)
        faults = Faults(stop_at=number)
        child, output = killed(empty, proxy, faults, "--no-heartbeats")
        # an engine may fetch an object that is only seconds old twice, so the last may not come
        assert faults.count >= number or number > requests - 3, (faults.count, number, output)
        ended_by = -signal.SIGKILL if faults.count >= number else 0
        assert child.returncode == ended_by, (number, output)
        assert is_readable(lake.download(tmp_path)), number
        assert converges(empty, lake, tmp_path), number


def killed(project: Project, proxy: Faulty, faults: Faults, *options: str) -> tuple[Fork, str]:
    """Return a run that was killed at a request, and its output."""
    child = begin(project, *options)
    faults.on_stop = child.kill
    proxy.faults = faults
    output = finished(child)[1]
    proxy.reset()
    return child, output


@pytest.mark.slow
@pytest.mark.parametrize("guard", [[], ["--at-once"]], ids=["guarded", "at once"])
def test_only_the_commit_has_a_killed_run_finished(  # noqa: PLR0913, PLR0917
    empty: Project,
    small: dict[str, bytes],
    lake: BucketLake,
    proxy: Faulty,
    tmp_path: Path,
    guard: list[str],
) -> None:
    lake.fill(small | MOVES)
    head = Faults(
        stop_at=1, only=lambda r: r.method == "PUT" and r.key.endswith("silver/head.json")
    )
    assert killed(empty, proxy, head, *guard)[0].returncode == -signal.SIGKILL
    run_here(empty, env="s3")
    assert accounts_balance(lake.download(tmp_path)) == (not guard)


KINDS = {"GET": "GET", "HEAD": "HEAD", "PUT": "PUT", "POST": "DELETE"}


def requests_reported(output: str) -> Counter[str]:
    """Return the requests that a run reports, by kind."""
    (text,) = re.findall(r"^Requests +(.*)", output, re.MULTILINE)
    counts = re.findall(r"([0-9,]+) ([A-Z]+)", text)
    return +Counter({kind: int(count.replace(",", "")) for count, kind in counts})


def requests_received(proxy: Faulty) -> Counter[str]:
    """Return the requests that came to a proxy, by the kinds that a run reports."""
    return Counter(
        "LIST" if "list-type=" in request.query else KINDS[request.method]
        for request in proxy.requests
    )


def counted(project: Project, proxy: Faulty, *options: str) -> Counter[str]:
    """Return the requests of a run; it reports those that came."""
    proxy.reset()
    code, output = finished(begin(project, "--no-heartbeats", *options))
    assert code == 0, output
    assert requests_reported(output) == requests_received(proxy)
    return requests_received(proxy)


@pytest.mark.parametrize("options", [[], slow(["--s3fs"])], ids=["httpfs", "s3fs"])
def test_a_run_reports_its_requests_and_sends_no_more_than_the_changes_need(
    empty: Project,
    small: dict[str, bytes],
    lake: BucketLake,
    proxy: Faulty,
    options: list[str],
) -> None:
    lake.fill(small | MOVES)
    requests = counted(empty, proxy, *options)
    records = [json.loads(lake.read(f"{layer}/commits/00000002.json")) for layer in LAYERS]
    puts, deletes = (sum(len(record[what]) for record in records) for what in ("put", "delete"))
    assert deletes == 2
    locks = sum(each.method == "PUT" and each.key.endswith(".lock") for each in proxy.requests)
    assert locks >= 2 * len(LAYERS)  # one to acquire it and one to release it
    # each object is staged and copied, and each layer has a record
    assert requests["PUT"] == 2 * puts + len(LAYERS) + locks + PROBES + RECORD_WRITES
    assert requests["DELETE"] <= len(LAYERS) + 2
    assert requests["GET"] + requests["HEAD"] <= 65 + 4 * (puts + deletes)
    lists = [each.query for each in proxy.requests if "list-type=" in each.query]
    # before a run to sweep, before the commit to check, and after it to discard
    staged = [each for each in lists if "%2F_tmp%2F" in each]
    assert len(staged) == 3 * len(LAYERS)
    assert len(lists) - len(staged) <= 19, lists
    nothing = counted(empty, proxy, *options)
    assert (nothing["PUT"], nothing["DELETE"]) == (RECORD_WRITES, 1)
    of_operations = [each for each in proxy.requests if "/operations/" in each.key]
    assert len(of_operations) == RECORD_WRITES + SOURCE_READS


LAYERS = ["silver", "gold"]
PROBES = 6
"""The writes and copies by which a run asks whether the store honours conditions."""
NODES = 11
RECORD_WRITES = NODES + 2
"""The writes of a run to its record: at its beginning, at that of each node, and at its end."""
SOURCE_READS = 3
"""How often a run looks for the state of the sources: with Bronze, before Gold and at its end."""

DAYS = (60, 365) if selection.runs_everything else (12, 48)
BEFORE = {"ingestion_ts": "2026-01-30T11:00:00Z"}
"""On another day than what comes later: a day that changes has all its videos built again."""


@pytest.mark.slow
def test_the_requests_of_a_run_do_not_grow_with_the_lake(
    empty: Project, lake: BucketLake, proxy: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    networks = NETWORKS if selection.runs_everything else NETWORKS[:1]
    counts: dict[int, list[Counter[str]]] = {}
    fetched: dict[int, list[set[str]]] = {}
    for days in DAYS:
        clear(empty.root / "data")
        posts = (
            line(video_id=f"{network}-{day}", rede_social=network, data_postagem=str(day), **BEFORE)
            for network in networks
            for day in (date(2025, 1, 1) + timedelta(days=n) for n in range(days))
        )
        add(empty.root / "data", "2026-01-31T08", *posts)
        run_here(empty)
        part = BucketLake(lake.client, lake.bucket, f"{lake.prefix}/{days}")
        part.fill(objects_of(empty))
        monkeypatch.setenv("CAPSTONE_PREFIX", part.prefix)
        counts[days], fetched[days] = [], []
        if selection.runs_everything:  # one with nothing new
            counts[days].append(counted(empty, proxy))
            fetched[days].append(keys_fetched(proxy, part))
        for options, at in sample([([], LATER), (["--s3fs"], LAST)], 1):
            views = line(video_id="tiktok-2025-01-09", data_postagem="2025-01-09", **at)
            moves = line(video_id="tiktok-2025-01-08", data_postagem="2025-01-10", **at)
            part.add(at["ingestion_ts"][:13], views, moves)
            changed = counted(empty, proxy, *options)
            assert changed["PUT"]
            del changed["LIST"]  # a listing has 1000 objects on a page
            counts[days].append(changed)
            fetched[days].append(keys_fetched(proxy, part))
    reads = {days: [count.pop("GET", 0) for count in of_days] for days, of_days in counts.items()}
    few, many = DAYS
    assert counts[few] == counts[many]
    assert fetched[few] == fetched[many]
    assert all(fetched[few])
    # an engine may fetch an object that is only seconds old twice
    assert all(a / 2 <= b <= a * 2 for a, b in zip(reads[few], reads[many], strict=True))


def keys_fetched(proxy: Faulty, part: BucketLake) -> set[str]:
    """Return the keys of a lake that a run fetched.

    One stands for all shards, for all records, and for all staged marts. The engine takes the
    columns of shards from the first one, which is not the same in every lake.
    """
    varies = re.compile("(?<=shard=)..|(?<=operations/runs/).*|(?<=_tmp/gold-).*")
    return {
        varies.sub("", request.key.removeprefix(f"{part.prefix}/"))
        for request in proxy.requests
        if request.method == "GET" and not request.query
    }


CANARY = "c4nary's/secr+et="
TOKEN = "c4nary+token=="
DENIED = "the store denies access to these credentials; grant them s3:ListBucket on the bucket"
UNKNOWN = "the store does not know these credentials; correct the access key, the secret"
NONE = "there are no credentials; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET"
EXPIRED = "the credentials have expired; sign in again and run again."
SILENT = "the store does not answer; check the network and the endpoint, and run again."
CHANGED = "Another run changed the lake while this run was reading it"


@pytest.fixture(scope="module")
def filled(
    empty: Project,
    small: dict[str, bytes],
    seaweed: SeaweedFS,
    tmp_path_factory: pytest.TempPathFactory,
) -> BucketLake:
    """A lake with superseded and rejected lines of two windows, which tests leave as it is."""
    prefix = tmp_path_factory.mktemp("filled").name
    lake = BucketLake(seaweed.client(), seaweed.bucket, prefix)
    lake.fill(small | MOVES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAPSTONE_PREFIX", lake.prefix)
        run_here(empty, env="s3")
    return lake


def commands(
    project: Project, environment: Mapping[str, str | None], *lines: str
) -> list[Completed]:
    """Run kedro commands, each given as one string, in an environment.

    They connect to the store with the credentials of that: not with those of an earlier command.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "_storage", cache(storage._storage.__wrapped__))
        for name, value in environment.items():
            if value is None:
                patch.delenv(name)
            else:
                patch.setenv(name, value)
        return [project.kedro(*command.split(), check=False) for command in lines]


RUN = f"run --env=s3 --pipelines={','.join(LAKE_PIPELINES)}"
VERIFY = "verify --env=s3"


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("environment", "lines", "sentence"),
    [
        ({"CAPSTONE_BUCKET": "no-such"}, [RUN, VERIFY], "there is no such bucket; create it"),
        ({"AWS_ACCESS_KEY_ID": READER}, [f"{RUN} --params=full=true"], DENIED),
        ({"AWS_SECRET_ACCESS_KEY": CANARY}, [RUN, VERIFY], UNKNOWN),
        (
            {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None},
            [RUN, f"{RUN} --params=plan=true"],
            NONE,
        ),
        ({"AWS_ENDPOINT_URL_S3": f"http://{HOST}:9"}, ["quarantine --env=s3"], SILENT),
    ],
    ids=["bucket", "right", "secret", "credentials", "endpoint"],
)
def test_an_error_of_the_store_is_one_sentence(  # noqa: PLR0913, PLR0917
    empty: Project,
    filled: BucketLake,
    environment: dict[str, str | None],
    lines: list[str],
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(s3_client, "MAX_ATTEMPTS", 2)  # each waits longer than the one before
    before = filled.objects()
    where = {"CAPSTONE_BUCKET": filled.bucket, "CAPSTONE_PREFIX": filled.prefix}
    for done in commands(empty, where | environment, *lines):
        assert done.returncode == 1
        assert done.stderr.startswith("Error: s3://")
        assert sentence in done.stderr
        assert done.stderr.count("\n") == 1
        assert "Traceback" not in done.stdout + done.stderr
        assert CANARY not in done.stdout + done.stderr
    assert filled.objects() == before


@pytest.mark.slow
def test_who_may_only_read_can_plan_and_verify(empty: Project, filled: BucketLake) -> None:
    before = filled.objects()
    where = {"CAPSTONE_PREFIX": filled.prefix, "AWS_ACCESS_KEY_ID": READER}
    plan, verify = commands(empty, where, f"{RUN} --params=plan=true", VERIFY)
    assert plan.returncode == verify.returncode == 0, (plan, verify)
    assert filled.objects() == before


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ([], (400, "ExpiredToken"), EXPIRED),
        slow([], (404, "NoSuchKey"), CHANGED),
        slow(["--s3fs"], (400, "ExpiredToken"), EXPIRED),
        (["--s3fs"], (404, "NoSuchKey"), CHANGED),
    ],
)
def test_an_error_while_the_engine_reads_is_one_sentence(  # noqa: PLR0913, PLR0917
    empty: Project,
    small: dict[str, bytes],
    lake: BucketLake,
    proxy: Faulty,
    options: list[str],
    error: tuple[int, str],
    sentence: str,
) -> None:
    lake.fill(small | MOVES)
    before = lake.objects()
    is_read_by_the_engine = re.compile(r"\.parquet$").search
    proxy.faults = Faults(
        errors=1, error=error, only=lambda request: bool(is_read_by_the_engine(request.key))
    )
    code, output = finished(begin(empty, *options))
    assert code == 1
    assert sentence in output
    assert "Traceback" not in output
    assert lake.objects() == before


@pytest.mark.slow
def test_no_secret_is_shown_or_stored(empty: Project, tmp_path: Path) -> None:
    server = SeaweedFS(tmp_path / "server", secret_key=CANARY)
    server.start()
    lake = BucketLake(server.client(), server.bucket, "lake")
    home = tmp_path / "home"
    home.mkdir()
    environment = {
        **server.environment(),
        "CAPSTONE_PREFIX": lake.prefix,
        "HOME": str(home),
    }
    try:
        lake.fill(SMALL | MOVES)
        results = commands(
            empty,
            environment,
            f"{RUN} --params=full=true",
            "catalog resolve-patterns --env=s3",
            "catalog describe-datasets --env=s3",
            VERIFY,
        )
        assert [done.returncode for done in results] == [0, 0, 0, 0], results
        texts = [text.encode() for done in results for text in (done.stdout, done.stderr)]
        texts += [*lake.objects().values(), *lake.objects("operations/").values()]
    finally:
        server.stop()
    for folder in (home, empty.root):
        texts += [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    assert not [text for text in texts if CANARY.encode() in text]
    assert CANARY in (tmp_path / "server/s3.json").read_text()  # a control


@pytest.mark.slow
def test_the_token_of_a_session_that_has_expired_is_not_shown(
    empty: Project, filled: BucketLake, proxy: Faulty
) -> None:
    proxy.faults = Faults(errors=1, error=(400, "ExpiredToken"))
    where = {"CAPSTONE_PREFIX": filled.prefix, "AWS_SESSION_TOKEN": TOKEN}
    for done in commands(empty, where, RUN, VERIFY):
        assert done.returncode == 1
        assert EXPIRED in done.stderr
        assert done.stderr.count("\n") == 1
        assert "Traceback" not in done.stdout + done.stderr
        assert TOKEN not in done.stdout + done.stderr


@pytest.mark.slow
def test_the_commands_that_show_a_lake_show_one_in_a_bucket(
    empty: Project, filled: BucketLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAPSTONE_PREFIX", filled.prefix)
    before = filled.objects()
    verify, quarantine, plan, status, runs = commands(
        empty,
        {},
        f"{VERIFY} --full --json",
        "quarantine --env=s3 --lines=5",
        f"{RUN} --params=plan=true",
        "status --env=s3 --now=2026-01-31T20:00 --json",
        "runs --env=s3 --json",
    )
    assert [finding["holds"] for finding in json.loads(verify.stdout)] == [True] * 10
    assert "1  likes.missing" in quarantine.stdout
    assert "janela=2026-01-31T20/a.jsonl:2 line.not_json" in quarantine.stdout
    assert plan.returncode == 0, plan
    assert json.loads(status.stdout)["checks"]["identity"]["health"] == "ok"
    assert {each["environment"] for each in json.loads(runs.stdout)} == {"s3"}

    session = KedroSession.create(project_path=empty.root, env="s3")
    table = session.load_context().catalog.load("silver_criacao")
    assert sorted(table.video_id.to_pyarrow().to_pylist()) == ["v1", "v2"]
    assert filled.objects() == before


@pytest.mark.slow
def test_a_backfill_and_a_full_rebuild_of_a_bucket(
    empty: Project, lake: BucketLake, filled: BucketLake, tmp_path: Path
) -> None:
    lake.fill(SMALL | MOVES)
    run_here(empty, env="s3", **{"from": "2026-01-31T20", "to": "2026-01-31T20"})
    receipts = lake.keys("silver/receipts")
    assert [key.rpartition("janela=")[2] for key in receipts] == [
        "2026-01-31T20/a.json",
        "2026-01-31T20/b.json",
    ]
    run_here(empty, env="s3", full=True)
    assert lake.objects("silver/criacao") == filled.objects("silver/criacao")
    assert equals_the_oracle(lake, tmp_path)


SESSION = [sys.executable, str(ROOT / "infra/s3/session.py")]
LISTS_AND_WAITS = """
import boto3, os, signal
bucket = boto3.resource("s3").Bucket(os.environ["CAPSTONE_BUCKET"])
bucket.put_object(Key="of-the-session")
print([each.key for each in bucket.objects.all()], flush=True)
signal.pause()
"""


@pytest.fixture
def session_port(empty: Project, monkeypatch: pytest.MonkeyPatch) -> int:
    """The port of a development session, in the environment of a user with other settings."""
    with socket.create_server((HOST, 0)) as free:
        port: int = free.getsockname()[1]
    for name in [name for name in os.environ if name.startswith(("AWS_", "CAPSTONE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LOCALSTACK_HOST", f"{HOST}:{port}")
    monkeypatch.setenv("AWS_PROFILE", "no-such")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    shutil.rmtree(empty.root / "data/s3", ignore_errors=True)
    return port


def test_a_session_ends_with_its_server_and_its_command(empty: Project, session_port: int) -> None:
    command = [*SESSION, sys.executable, "-c", LISTS_AND_WAITS]
    session = subprocess.Popen(command, cwd=empty.root, stdout=subprocess.PIPE)
    assert session.stdout is not None
    assert session.stdout.readline() == b"['of-the-session']\n"
    assert has_a_server(session_port)
    session.terminate()
    session.communicate(timeout=60)  # until the command has ended too
    assert session.returncode == 128 + signal.SIGTERM
    assert not has_a_server(session_port)
    folder = empty.root / "data/s3"
    assert list(folder.iterdir())
    assert not [process for process in psutil.process_iter(["cwd"]) if is_in(process, folder)]


@pytest.mark.slow
def test_a_session_retains_its_lake(empty: Project, session_port: int) -> None:
    kedro = str(Path(sys.executable).parent / "kedro")

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*SESSION, *command], cwd=empty.root, capture_output=True, text=True, check=False
        )

    first = run(kedro, *RUN.split())
    assert first.returncode == 0, first.stderr
    assert "Requests" in first.stdout
    second = run(*SESSION, kedro, *RUN.split())  # a session within a session has a server already
    assert second.returncode == 0, second.stderr
    assert "Nothing new" in second.stdout
    assert run("false").returncode == 1
    assert not has_a_server(session_port)


def has_a_server(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def is_in(process: psutil.Process, folder: Path) -> bool:
    return Path(process.info["cwd"] or "/").is_relative_to(folder.resolve())
