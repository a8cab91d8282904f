"""The lake in a bucket of a real S3 server: the same results, whatever fails on the way."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

import psutil
import pytest
from infra.s3.seaweed import HOST, READER, SeaweedFS
from kedro.framework.session import KedroSession

from capstone_metrics.lake import lease
from tests.conftest import ROOT, project_copy
from tests.lakes import (
    LAKE_PIPELINES,
    NETWORKS,
    BucketLake,
    add,
    clear,
    content,
    expected,
    finished,
    identity_holds,
    line,
    run_here,
    started,
    whole,
)
from tests.s3 import Faults, Faulty, Request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Project

EVERY_KILL = os.environ.get("KILLS") == "all"
KILLS = 4
STAGES = "--pipelines=ingest_bronze,bronze_to_silver,silver_to_gold"
INSTANTS = ["2026-01-31T08:05", "2026-01-31T20:05"]
WITHOUT_HTTPFS = (
    "from capstone_metrics.lake import remote; remote.PACKAGED = 'no_such_package';"
    "from kedro.framework.cli import main; main()"
)


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


def objects_of(project: Project) -> dict[str, bytes]:
    """The objects of a lake in a folder."""
    return {name.removeprefix("data/"): content for name, (content, _) in project.files().items()}


def but_records(objects: dict[str, bytes]) -> dict[str, bytes]:
    """What does not differ from run to run: a commit's record names the process that wrote it."""
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
        declared["sources"]["faker"] |= {"history_days": 3, "observation_days": 5}
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
        run_here(weekend, ["ingest_bronze", *LAKE_PIPELINES], now=now)
        lakes.append(but_records(objects_of(weekend)))
    assert lakes[0] != lakes[1]
    return lakes


@pytest.mark.parametrize("reader", ["httpfs", "s3fs"])
def test_the_lake_is_the_same_in_a_bucket_as_in_a_folder(
    weekend: Project,
    in_a_folder: list[dict[str, bytes]],
    lake: BucketLake,
    reader: str,
) -> None:
    local = objects_of(weekend)
    for now, wanted in zip(INSTANTS, in_a_folder, strict=True):
        kedro(weekend, reader, "run", "--env=s3", STAGES, f"--params=now={now}")
        assert but_records(lake.objects()) == wanted
    if reader == "httpfs":
        before = lake.objects()
        done = kedro(weekend, reader, "run", "--env=s3", STAGES, f"--params=now={INSTANTS[-1]}")
        assert "Nothing new" in done.stdout
        assert told(done.stdout)["PUT"] == NOTES + 1  # one node more
        assert lake.objects() == before
    assert objects_of(weekend) == local


def kedro(project: Project, reader: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A kedro command as a user gives it, or as one would who has not installed httpfs."""
    if reader == "httpfs":
        return project.kedro(*arguments)
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_HTTPFS, *arguments],
        cwd=project.root,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "200"},
    )


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
def empty(open_folder: Path) -> Iterator[Project]:
    """A project whose lakes are filled by hand."""
    with project_copy(open_folder) as copy:
        copy.ingest_nothing()
        as_locally(copy)
        yield copy


def begin(project: Project, *options: str, endpoint: str = "") -> subprocess.Popen[str]:
    """A run on the lake in a process of its own, by way of an endpoint."""
    with pytest.MonkeyPatch.context() as patch:
        if endpoint:
            patch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        return started(project, options=("--env=s3", *options))


def converges(project: Project, lake: BucketLake, folder: Path) -> bool:
    """Whether a run in this process makes the lake what the oracle says, and leaves nothing over.

    A lock stays as an object that says that nobody holds it.
    """
    run_here(project, env="s3")
    copy = lake.download(folder)
    assert content(copy) == expected(copy)
    assert identity_holds(copy)
    left = {key: lake.read(key) for key in lake.keys("_tmp/")}
    idle = {"_tmp/conditional-writes": b"", "_tmp/silver.lock": b"{}\n", "_tmp/gold.lock": b"{}\n"}
    assert left.items() <= idle.items()
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


@pytest.fixture
def proxies(seaweed: SeaweedFS, request: pytest.FixtureRequest) -> Iterator[list[Faulty]]:
    """A proxy for each of some runs: 5 % of the requests fail in some way, each a bit late."""
    proxies = [Faulty(seaweed.endpoint) for _ in range(request.param)]
    for seed, proxy in enumerate(proxies):
        proxy.faults = Faults(errors=0.017, cut=0.017, lost=0.017, delay=0.005, seed=seed)
        proxy.start()
    yield proxies
    for proxy in proxies:
        proxy.stop()


@pytest.mark.parametrize("proxies", [2, 8], indirect=True)
def test_runs_at_once_through_faults_lose_and_double_nothing(
    empty: Project, lake: BucketLake, proxies: list[Faulty], tmp_path: Path
) -> None:
    for number, windows in enumerate(ROUNDS[-1:] if len(proxies) > 2 else ROUNDS):
        for window, lines in windows.items():
            lake.add(window, *lines, name=str(9 - number))
        options = [["--s3fs"] if index % 2 else [] for index in range(len(proxies))]
        runs = [
            begin(empty, *option, endpoint=proxy.endpoint)
            for option, proxy in zip(options, proxies, strict=True)
        ]
        results = [finished(run) for run in runs]
        assert any(code == 0 for code, _ in results), results
        for code, said in results:
            assert code == 0 or "Another run" in said or "un again" in said, said
            assert "Traceback" not in said
        assert whole(lake.download(tmp_path))
    fates = {request.fate for proxy in proxies for request in proxy.requests}
    assert fates == {"passed", "error", "cut", "lost"}
    assert converges(empty, lake, tmp_path)


@pytest.mark.parametrize("guard", [[], ["--unconditional"]], ids=["guarded", "unconditional"])
def test_only_conditions_keep_two_runs_from_holding_one_lock(
    empty: Project, lake: BucketLake, seaweed: SeaweedFS, tmp_path: Path, guard: list[str]
) -> None:
    lake.fill(SMALL)
    run_here(empty, env="s3")
    lake.add("2026-01-31T20", line(views=7, **LATER))
    names = ("one at lock", "two at lock", "one at record", "two ended")
    events = {name: Event() for name in names}

    def hold_one(request: Request) -> bool:
        if request.method == "PUT" and request.key.endswith("silver.lock"):
            events["one at lock"].set()
            events["two at lock"].wait(60)
        if request.method == "PUT" and request.key.endswith("silver/commits/00000002.json"):
            events["one at record"].set()
            events["two ended"].wait(5)
        return False

    def hold_two(request: Request) -> bool:
        if request.method == "PUT" and request.key.endswith("silver.lock"):
            events["two at lock"].set()
            events["one at record"].wait(60)
        return False

    with ExitStack() as stack:
        proxies = []
        for hold in (hold_one, hold_two):
            proxies.append(Faulty(seaweed.endpoint))
            proxies[-1].faults = Faults(only=hold)
            proxies[-1].start()
            stack.callback(proxies[-1].stop)
        one = begin(empty, *guard, endpoint=proxies[0].endpoint)
        assert events["one at lock"].wait(60)
        lake.add("2026-02-01T08", line(views=8, **LAST))
        two = begin(empty, *guard, endpoint=proxies[1].endpoint)
        said = finished(two)[1]
        events["two ended"].set()
        said += finished(one)[1]
    run_here(empty, env="s3")
    copy = lake.download(tmp_path)
    assert ("Another run changed silver" in said) == (not guard)
    assert (content(copy) == expected(copy)) == (not guard)


def test_a_run_killed_at_any_request_is_finished_by_the_next(
    empty: Project, lake: BucketLake, proxy: Faulty, tmp_path: Path
) -> None:
    lake.fill(SMALL)
    run_here(empty, env="s3")
    before = lake.objects() | MOVES
    lake.fill(MOVES)
    proxy.reset()
    assert finished(begin(empty))[0] == 0
    requests = len(proxy.requests)
    assert {"PUT", "POST", "GET", "HEAD"} == {request.method for request in proxy.requests}
    step = 1 if EVERY_KILL else requests // KILLS
    for number in range(1 + step // 2, requests, step):
        lake.clear()
        lake.fill(before)
        child, said = killed(empty, proxy, Faults(stop_at=number))
        assert child.returncode == -signal.SIGKILL, (number, said)
        assert whole(lake.download(tmp_path)), number
        began = time.monotonic()
        assert converges(empty, lake, tmp_path), number
        assert time.monotonic() - began < lease.SECONDS  # a dead run's lock is not waited for
        workspaces = Path(tempfile.gettempdir()).glob(f"capstone-*-{child.pid}-*")
        assert not list(workspaces), number


def killed(
    project: Project, proxy: Faulty, faults: Faults, *options: str
) -> tuple[subprocess.Popen[str], str]:
    """A run that is killed at a request, and what it said."""
    child = begin(project, *options)
    faults.on_stop = child.kill
    proxy.faults = faults
    said = finished(child)[1]
    proxy.reset()
    return child, said


@pytest.mark.parametrize("guard", [[], ["--at-once"]], ids=["guarded", "at once"])
def test_only_the_commit_has_a_killed_run_finished(
    empty: Project, lake: BucketLake, proxy: Faulty, tmp_path: Path, guard: list[str]
) -> None:
    lake.fill(SMALL)
    run_here(empty, env="s3")
    lake.fill(MOVES)
    head = Faults(
        stop_at=1, only=lambda r: r.method == "PUT" and r.key.endswith("silver/head.json")
    )
    assert killed(empty, proxy, head, *guard)[0].returncode == -signal.SIGKILL
    run_here(empty, env="s3")
    assert identity_holds(lake.download(tmp_path)) == (not guard)


KINDS = {"GET": "GET", "HEAD": "HEAD", "PUT": "PUT", "POST": "DELETE"}


def told(said: str) -> Counter[str]:
    """The requests that a run told of."""
    (listed,) = re.findall(r"^Requests +(.*)", said, re.MULTILINE)
    found = re.findall(r"([0-9,]+) ([A-Z]+)", listed)
    return +Counter({kind: int(count.replace(",", "")) for count, kind in found})


def seen(proxy: Faulty) -> Counter[str]:
    """The requests that came to a proxy, of the kinds that a run tells of."""
    return Counter(
        "LIST" if "list-type=" in request.query else KINDS[request.method]
        for request in proxy.requests
    )


def counted(project: Project, proxy: Faulty, *options: str) -> Counter[str]:
    """The requests of a run: those that it tells of are those that came."""
    proxy.reset()
    code, said = finished(begin(project, *options))
    assert code == 0, said
    assert told(said) == seen(proxy)
    return seen(proxy)


@pytest.mark.parametrize("options", [[], ["--s3fs"]], ids=["httpfs", "s3fs"])
def test_a_run_tells_its_requests_and_makes_no_more_than_what_changed_needs(
    empty: Project, lake: BucketLake, proxy: Faulty, options: list[str]
) -> None:
    lake.fill(SMALL)
    counted(empty, proxy, *options)
    lake.fill(MOVES)
    requests = counted(empty, proxy, *options)
    records = [json.loads(lake.read(f"{layer}/commits/00000002.json")) for layer in LAYERS]
    puts, deletes = (sum(len(record[what]) for record in records) for what in ("put", "delete"))
    assert deletes == 2
    locks = sum(each.method == "PUT" and each.key.endswith(".lock") for each in proxy.requests)
    assert locks >= 2 * len(LAYERS)  # it is taken and given back; kept up where that takes long
    # each layer: an archive, a record and a head
    assert requests["PUT"] == puts + 3 * len(LAYERS) + locks + PROBE + NOTES
    assert requests["DELETE"] <= len(LAYERS) + 2
    assert requests["GET"] + requests["HEAD"] <= 40 + 4 * (puts + deletes)
    lists = [each.query for each in proxy.requests if "list-type=" in each.query]
    swept = [each for each in lists if "%2F_tmp%2F" in each]  # again, where killed runs left some
    assert len(lists) - len(swept) <= 13, lists
    assert len(swept) <= 2 * len(LAYERS)
    nothing = counted(empty, proxy, *options)
    assert (nothing["PUT"], nothing["DELETE"]) == (NOTES, 1)
    assert len([each for each in proxy.requests if "/operations/" in each.key]) == NOTES


LAYERS = ["silver", "gold"]
PROBE = 3
"""The writes by which a run asks whether the store honours conditions."""
NODES = 9
NOTES = NODES + 2
"""The writes of a run to its record: at its beginning, at that of each node, and at its end."""


def test_what_a_run_asks_does_not_grow_with_the_lake(
    empty: Project, lake: BucketLake, proxy: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_days: dict[int, list[Counter[str]]] = {}
    fetched: dict[int, list[set[str]]] = {}
    for days in (60, 365):
        clear(empty.root / "data")
        posts = (
            line(video_id=f"{network}-{day}", rede_social=network, data_postagem=str(day))
            for network in NETWORKS
            for day in (date(2025, 1, 1) + timedelta(days=n) for n in range(days))
        )
        add(empty.root / "data", "2026-01-31T08", *posts)
        run_here(empty)
        part = BucketLake(lake.client, lake.bucket, f"{lake.prefix}/{days}")
        part.fill(objects_of(empty))
        monkeypatch.setenv("CAPSTONE_PREFIX", part.prefix)
        of_days[days] = [counted(empty, proxy)]
        fetched[days] = [fetched_of(proxy, part)]
        for options, at in (([], LATER), (["--s3fs"], LAST)):
            views = line(video_id="tiktok-2025-01-09", data_postagem="2025-01-09", **at)
            moved = line(video_id="tiktok-2025-01-08", data_postagem="2025-01-10", **at)
            part.add(at["ingestion_ts"][:13], views, moved)
            changed = counted(empty, proxy, *options)
            assert changed["PUT"]
            del changed["LIST"]  # a listing has 1000 objects on a page
            of_days[days].append(changed)
            fetched[days].append(fetched_of(proxy, part))
    reads = {days: [made.pop("GET", 0) for made in made_by] for days, made_by in of_days.items()}
    assert of_days[60] == of_days[365]
    assert fetched[60] == fetched[365]
    assert all(fetched[60])
    # an engine may fetch an object that is only seconds old twice
    assert all(few / 2 <= many <= few * 2 for few, many in zip(reads[60], reads[365], strict=True))


def fetched_of(proxy: Faulty, part: BucketLake) -> set[str]:
    """The keys of a lake whose objects a run fetched; shards are all the same, and so are records.

    The engine takes the columns of shards from the first one, which is not the same in every lake.
    """
    varies = re.compile("(?<=shard=)..|(?<=operations/runs/).*")
    return {
        varies.sub("", request.key.removeprefix(f"{part.prefix}/"))
        for request in proxy.requests
        if request.method == "GET" and not request.query
    }


CANARY = "c4nary's/secr+et="
TOKEN = "c4nary+token=="
DENIED = "the store denies it to these credentials; grant them s3:ListBucket on the bucket"
UNKNOWN = "the store does not know these credentials; correct the access key, the secret"
NONE = "there are no credentials; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET"
EXPIRED = "the credentials have expired; sign in again and run again."
SILENT = "the store does not answer; check the network and the endpoint, and run again."


@pytest.fixture(scope="module")
def made(empty: Project, seaweed: SeaweedFS) -> BucketLake:
    """A lake with a superseded line, rejected ones, and two windows, which tests leave as it is."""
    lake = BucketLake(seaweed.client(), seaweed.bucket, "made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAPSTONE_PREFIX", lake.prefix)
        for window in (SMALL, MOVES):
            lake.fill(window)
            run_here(empty, env="s3")
    return lake


def commands(
    project: Project, environment: dict[str, str | None], *words: str
) -> list[tuple[int, str, str]]:
    """Commands at the same time, each given as one string: their codes, outputs and errors."""
    settled = {**os.environ, **environment, "COLUMNS": "200"}
    runs = [
        subprocess.Popen(
            [str(Path(sys.executable).parent / "kedro"), *shlex.split(command)],
            cwd=project.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={name: value for name, value in settled.items() if value is not None},
        )
        for command in words
    ]
    said = [run.communicate(timeout=200) for run in runs]
    return [(run.returncode, *texts) for run, texts in zip(runs, said, strict=True)]


RUN = "run --env=s3 --pipelines=bronze_to_silver,silver_to_gold"
VERIFY = "verify --env=s3"


@pytest.mark.parametrize(
    ("environment", "asked", "sentence"),
    [
        ({"CAPSTONE_BUCKET": "no-such"}, [RUN, VERIFY], "there is no such bucket; make it"),
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
def test_what_the_store_refuses_is_one_sentence(
    empty: Project,
    made: BucketLake,
    environment: dict[str, str | None],
    asked: list[str],
    sentence: str,
) -> None:
    before = made.objects()
    where = {"CAPSTONE_BUCKET": made.bucket, "CAPSTONE_PREFIX": made.prefix}
    for code, said, error in commands(empty, where | environment, *asked):
        assert code == 1
        assert error.startswith("Error: s3://")
        assert sentence in error
        assert error.count("\n") == 1
        assert "Traceback" not in said + error
        assert CANARY not in said + error
    assert made.objects() == before


def test_who_may_only_read_can_plan_and_verify(empty: Project, made: BucketLake) -> None:
    before = made.objects()
    where = {"CAPSTONE_PREFIX": made.prefix, "AWS_ACCESS_KEY_ID": READER}
    planned, verified = commands(empty, where, f"{RUN} --params=plan=true", VERIFY)
    assert planned[0] == verified[0] == 0, (planned, verified)
    assert made.objects() == before


@pytest.mark.parametrize("options", [[], ["--s3fs"]], ids=["httpfs", "s3fs"])
@pytest.mark.parametrize(
    "fault",
    [
        (Faults(errors=1, error=(400, "ExpiredToken")), EXPIRED),
        (Faults(errors=1, error=(404, "NoSuchKey")), "Another run changed the lake while this one"),
    ],
    ids=["expired", "moved"],
)
def test_what_fails_while_the_engine_reads_is_one_sentence(
    empty: Project,
    lake: BucketLake,
    proxy: Faulty,
    options: list[str],
    fault: tuple[Faults, str],
) -> None:
    faults, sentence = fault
    lake.fill(SMALL)
    run_here(empty, env="s3")
    lake.fill(MOVES)
    before = lake.objects()
    proxy.faults = replace(faults, only=lambda request: request.key.endswith(".parquet"))
    code, said = finished(begin(empty, *options))
    assert code == 1
    assert sentence in said
    assert "Traceback" not in said
    assert lake.objects() == before


def test_no_secret_is_shown_or_kept(empty: Project, tmp_path: Path) -> None:
    server = SeaweedFS(tmp_path / "server", secret_key=CANARY)
    server.start()
    lake = BucketLake(server.client(), server.bucket, "lake")
    home = tmp_path / "home"
    home.mkdir()
    environment: dict[str, str | None] = {
        **server.environment(),
        "CAPSTONE_PREFIX": lake.prefix,
        "HOME": str(home),
    }
    try:
        lake.fill(SMALL | MOVES)
        said = commands(empty, environment, f"{RUN} --params=full=true")
        said += commands(
            empty,
            environment,
            "catalog resolve-patterns --env=s3",
            "catalog describe-datasets --env=s3",
            VERIFY,
        )
        assert [code for code, *_ in said] == [0, 0, 0, 0], said
        found = [text.encode() for _, *texts in said for text in texts]
        found += [*lake.objects().values(), *lake.objects("operations/").values()]
    finally:
        server.stop()
    for folder in (home, empty.root):
        found += [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    assert not [content for content in found if CANARY.encode() in content]
    assert CANARY in (tmp_path / "server/s3.json").read_text()  # a control


def test_the_token_of_a_session_that_has_expired_is_not_shown(
    empty: Project, made: BucketLake, proxy: Faulty
) -> None:
    proxy.faults = Faults(errors=1, error=(400, "ExpiredToken"))
    where = {"CAPSTONE_PREFIX": made.prefix, "AWS_SESSION_TOKEN": TOKEN}
    for code, said, error in commands(empty, where, RUN, VERIFY):
        assert code == 1
        assert EXPIRED in error
        assert error.count("\n") == 1
        assert "Traceback" not in said + error
        assert TOKEN not in said + error


def test_what_looks_at_a_lake_looks_at_one_in_a_bucket(
    empty: Project, made: BucketLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAPSTONE_PREFIX", made.prefix)
    before = made.objects()
    verified, counted, planned = commands(
        empty,
        {},
        f"{VERIFY} --full --json",
        "quarantine --env=s3 --lines=5",
        f"{RUN} --params=plan=true",
    )
    status, runs = commands(
        empty, {}, "status --env=s3 --now=2026-01-31T20:00 --json", "runs --env=s3 --json"
    )
    assert [finding["holds"] for finding in json.loads(verified[1])] == [True] * 8
    assert "1  likes.missing" in counted[1]
    assert "janela=2026-01-31T20/a.jsonl:2 line.not_json" in counted[1]
    assert planned[0] == 0, planned
    assert json.loads(status[1])["checks"]["identity"]["health"] == "ok"
    assert {record["environment"] for record in json.loads(runs[1])} == {"s3"}

    session = KedroSession.create(project_path=empty.root, env="s3")
    table = session.load_context().catalog.load("silver_criacao")
    assert sorted(table.video_id.to_pyarrow().to_pylist()) == ["v1", "v2"]
    assert made.objects() == before


def test_a_backfill_and_a_full_rebuild_of_a_bucket(
    empty: Project, lake: BucketLake, tmp_path: Path
) -> None:
    lake.fill(SMALL | MOVES)
    run_here(empty, env="s3", **{"from": "2026-01-31T20", "to": "2026-01-31T20"})
    receipts = lake.keys("silver/receipts")
    assert [key.rpartition("janela=")[2] for key in receipts] == [
        "2026-01-31T20/a.json",
        "2026-01-31T20/b.json",
    ]
    run_here(empty, env="s3")
    before = but_records(lake.objects("silver/criacao"))
    run_here(empty, env="s3", full=True)
    assert before == but_records(lake.objects("silver/criacao"))
    assert converges(empty, lake, tmp_path)


def test_a_session_brings_its_server_and_keeps_its_lake(
    empty: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server((HOST, 0)) as free:
        port = free.getsockname()[1]
    for name in [name for name in os.environ if name.startswith(("AWS_", "CAPSTONE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LOCALSTACK_HOST", f"{HOST}:{port}")
    monkeypatch.setenv("AWS_PROFILE", "no-such")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    session = [sys.executable, str(ROOT / "infra/s3/session.py")]
    kedro = str(Path(sys.executable).parent / "kedro")
    shutil.rmtree(empty.root / "data/s3", ignore_errors=True)

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*session, *command], cwd=empty.root, capture_output=True, text=True, check=False
        )

    first = run(kedro, *RUN.split())
    assert first.returncode == 0, first.stderr
    assert "Requests" in first.stdout
    assert list((empty.root / "data/s3").iterdir())
    inner = [*session, kedro, *RUN.split()]
    second = run(*inner)  # a session within a session has a server already
    assert second.returncode == 0, second.stderr
    assert "Nothing new" in second.stdout
    assert run("false").returncode == 1

    words = ["sh", "-c", "echo begun; exec sleep 100"]
    ended = subprocess.Popen([*session, *words], cwd=empty.root, stdout=subprocess.PIPE)
    assert ended.stdout is not None
    assert ended.stdout.readline() == b"begun\n"
    ended.terminate()
    ended.communicate(timeout=60)  # until the command has ended too
    assert ended.returncode == 128 + signal.SIGTERM
    assert not answers(port)
    folder = empty.root / "data/s3"
    assert not [process for process in psutil.process_iter(["cwd"]) if is_in(process, folder)]


def answers(port: int | None) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def is_in(process: psutil.Process, folder: Path) -> bool:
    return Path(process.info["cwd"] or "/").is_relative_to(folder.resolve())
