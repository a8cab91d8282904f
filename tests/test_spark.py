"""Runs on Spark and on DuckDB leave the same lake: Silver's content, Gold's bytes, the accounts."""

from __future__ import annotations

import json
import re
import shutil
import signal
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import yaml
from benchmarks.spark import offences
from infra.s3.seaweed import HOST

from capstone_metrics.lake.engine import engine_of
from tests.conftest import ROOT
from tests.lakes import (
    BucketLake,
    add,
    clear,
    content,
    expected,
    identity_holds,
    line,
    run_here,
    whole,
)

pytest.importorskip("pyspark", reason="pyspark is not installed; it comes with the extra 'spark'")

from tests.spark import connect, standalone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra.s3.seaweed import SeaweedFS

    from tests.conftest import Project
    from tests.s3 import Faulty

NOW = "2026-01-31T20:05"
STAGES = "--pipelines=bronze_to_silver,silver_to_gold"
MORNING, EVENING, NEXT = "2026-01-30T20", "2026-01-31T08", "2026-01-31T20"
ROUNDS = [((MORNING, EVENING), ""), ((NEXT,), ""), ((), ",full=true")]
"""The windows that come in before each run, and what else it is told."""

ON_LOOPBACK = {
    "spark.driver.host": HOST,
    "spark.driver.bindAddress": HOST,
    "spark.sql.shuffle.partitions": "4",
}
JARS = sorted(Path(sys.prefix, "s3a/sagemaker_pyspark/jars").glob("*.jar"))
"""Hadoop's s3a and what it needs, of a version near Spark's; for a test only."""

OF_THEIR_VERSION = {
    f"spark.hadoop.fs.s3a.{name}": value
    for name, value in {
        "aws.credentials.provider": "com.amazonaws.auth.EnvironmentVariableCredentialsProvider",
        "connection.establish.timeout": "30000",
        "connection.timeout": "200000",
        "threads.keepalivetime": "60",
        "multipart.purge.age": "86400",
    }.items()
}
"""What the defaults of Spark's own Hadoop say in a way that it does not know, such as 60s."""


def fill(lake: Path, *windows: str) -> None:
    """Put lines of every fate into Bronze."""
    for number, window in enumerate(windows):
        seen = f"{window}:00:00Z"
        add(
            lake,
            window,
            *(
                line(
                    video_id=f"v{video}",
                    views=10 * number + video,
                    faculdade=("GRAN", "Ação \\ x")[video % 2],
                    rede_social=("tiktok", "youtube_shorts")[(video + number) % 7 == 0],
                    data_postagem=f"2026-01-{20 + video % 5}",
                    titulo_video="a\u0000\n😀" if video == 3 else "Título \\ \u2028",
                    engagement_rate=0.1 + 0.2,
                    posted_at="2018-11-04T00:00:00-03:00",
                    ingestion_ts=seen,
                )
                for video in range(number, 12)
            ),
            line(video_id="again", likes=number, ingestion_ts="2026-01-30T00:00:00"),
            line(views=2**63),
            line(views=float("nan")),
            b'{"a": 1, "a": 2}\r\n',
            b"\xff\xfe\n",
            b"\n",
            line(video_id=f"n{number}", nova=1),
        )
        add(lake, window, b"\n", name="blank")


def files(lake: Path) -> dict[str, bytes]:
    """Every file of the lake but those of one process: the commits name its workspace."""
    paths = [path for layer in ("silver", "gold") for path in (lake / layer).rglob("*")]
    return {
        path.relative_to(lake).as_posix(): path.read_bytes()
        for path in paths
        if path.is_file() and "commits" not in path.parts
    }


def steps(project: Project, *options: str) -> list[dict[str, bytes]]:
    """The lake after a first run, an incremental one and a full one, by `kedro run`."""
    lake = project.root / "data"
    clear(lake)
    left = []
    for windows, said in ROUNDS:
        fill(lake, *windows)
        project.kedro("run", f"--params=now={NOW}{said}", STAGES, *options)
        left.append(files(lake))
    return left


@pytest.fixture(scope="module")
def on_duckdb(shared: Project) -> list[dict[str, bytes]]:
    """What the runs on DuckDB leave."""
    return steps(shared)


@pytest.fixture(params=["local", "standalone", "connect"])
def session(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, str]]:
    """The options of a session of each kind; Connect's is named by the environment."""
    with ExitStack() as stack:
        if request.param == "connect":
            monkeypatch.setenv("SPARK_REMOTE", stack.enter_context(connect(tmp_path)))
            yield {}
        elif request.param == "standalone":
            yield {"spark.master": stack.enter_context(standalone(tmp_path))} | ON_LOOPBACK
        else:
            yield {"spark.master": "local[2]"}


@pytest.mark.timeout(900)
def test_a_run_on_spark_leaves_the_files_that_one_on_duckdb_does(
    shared: Project, on_duckdb: list[dict[str, bytes]], session: dict[str, str]
) -> None:
    in_a_folder(shared, session)
    on_spark = steps(shared, "--env=prod")
    lake = shared.root / "data"
    for known, found in zip(on_duckdb, on_spark, strict=True):
        assert {name for name in known if known[name] != found.get(name)} == set()
        assert set(found) == set(known)
    assert content(lake) == expected(lake)
    assert identity_holds(lake)
    assert json.loads((lake / "silver/head.json").read_text())["total"]["quarantined"]


def in_a_folder(project: Project, options: dict[str, str]) -> None:
    """Have the environment `prod` keep its lake in a folder, and its session have options."""
    for path in (project.root / "conf/local").iterdir():
        shutil.copy(path, project.root / "conf/prod")
    said = yaml.safe_load((ROOT / "conf/prod/globals.yml").read_text())
    said |= {"lake": "data", "engine": {"name": said["engine"], "options": options}}
    (project.root / "conf/prod/globals.yml").write_text(yaml.safe_dump(said))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("victim", ["an executor", "the driver"])
def test_who_dies_in_the_middle_costs_nothing(shared: Project, tmp_path: Path, victim: str) -> None:
    lake = shared.root / "data"
    clear(lake)
    fill(lake, MORNING)
    run_here(shared, now=NOW)
    fill(lake, EVENING, NEXT)
    kedro = [str(Path(sys.executable).parent / "kedro"), "run", "--env=prod", STAGES]
    with standalone(tmp_path) as url:
        in_a_folder(shared, {"spark.master": url, **ON_LOOPBACK})
        run = psutil.Popen(kedro, cwd=shared.root)
        wait_for_a_staged_file(lake, run)
        for process in executors()[:1] if victim == "an executor" else [run]:
            process.kill()
        code = run.wait()
        assert whole(lake)
        if victim == "an executor":
            assert code == 0
        else:
            assert code == -signal.SIGKILL
            assert content(lake) != expected(lake)
            shared.kedro("run", "--env=prod", STAGES)
    assert content(lake) == expected(lake)
    assert identity_holds(lake)
    assert not list((lake / "_tmp").glob("*-*"))


def wait_for_a_staged_file(lake: Path, run: psutil.Process) -> None:
    while not [path for path in (lake / "_tmp").rglob("*") if path.is_file()]:
        assert run.is_running()
        time.sleep(0.01)


def executors() -> list[psutil.Process]:
    """The processes in which the workers of a cluster of this process have tasks run."""
    name = "org.apache.spark.executor.CoarseGrainedExecutorBackend"
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # as is a zombie
            found += [process] if name in process.cmdline() else []
    return found


@pytest.mark.parametrize(
    ("options", "environment", "sentence"),
    [
        ({}, {"SPARK_REMOTE": f"sc://{HOST}:9"}, f"nobody answers at sc://{HOST}:9 ("),
        ({}, {"JAVA_HOME": "/no/such"}, "Spark found no Java that it can start; install one"),
        ({"spark.master": "locall"}, {}, "Spark did not start with the master locall; correct"),
    ],
    ids=["connect", "java", "master"],
)
def test_a_session_that_cannot_be_is_one_sentence(
    shared: Project,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, str],
    environment: dict[str, str],
    sentence: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    in_a_folder(shared, options)
    clear(shared.root / "data")
    fill(shared.root / "data", MORNING)
    done = shared.kedro("run", STAGES, "--env=prod", check=False)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("SELECT count(*), sum(id) FROM range(9)", ""),
        ("SELECT id, row_number() OVER (PARTITION BY id % 3 ORDER BY id) FROM range(9)", ""),
        (
            "SELECT row_number() OVER (ORDER BY id) FROM range(9)",
            "Sort (3) of all rows in one task",
        ),
        ("SELECT * FROM range(9) a JOIN range(9) b ON a.id < b.id", "BroadcastNestedLoopJoin"),
        ("SELECT /*+ SHUFFLE_REPLICATE_NL(b) */ * FROM range(9) a, range(9) b", "CartesianProduct"),
    ],
)
def test_the_benchmark_finds_a_query_that_does_not_scale(
    query: str, found: str, capsys: pytest.CaptureFixture[str]
) -> None:
    connection: Any = engine_of("spark").connection
    connection.raw_sql(query).explain(mode="formatted")
    assert "".join(offences(capsys.readouterr().out)) == found


TABLE_FILE = re.compile(r"^capstone-prod/silver/.*/part-0\.")
STAGED_FILE = re.compile(r"/_tmp/silver-.*/part-0\.")

needs_s3a = pytest.mark.skipif(not JARS, reason="needs Hadoop's s3a (make test-spark)")


@needs_s3a
@pytest.mark.timeout(600)
def test_a_run_of_prod_leaves_the_objects_that_one_on_duckdb_does(  # noqa: PLR0913, PLR0917
    shared: Project,
    on_duckdb: list[dict[str, bytes]],
    seaweed: SeaweedFS,
    proxy: Faulty,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The environment as it is; Spark's own configuration brings Hadoop's s3a.

    What the workers wrote gets into its place by copies of the store's, and is read by nobody.
    """
    for path in (shared.root / "conf/local").iterdir():
        shutil.copy(path, shared.root / "conf/prod")
    shutil.copy(ROOT / "conf/prod/globals.yml", shared.root / "conf/prod")
    settings = {"spark.jars": ",".join(map(str, JARS)), **OF_THEIR_VERSION}
    (tmp_path / "spark-defaults.conf").write_text(
        "".join(f"{name} {value}\n" for name, value in settings.items())
    )
    monkeypatch.setenv("SPARK_CONF_DIR", str(tmp_path))
    lake = BucketLake(seaweed.client(), seaweed.bucket, "capstone-prod")
    folder = shared.root / "data"
    clear(folder)
    for (windows, said), known in zip(ROUNDS, on_duckdb, strict=True):
        fill(folder, *windows)
        paths = [path for path in (folder / "bronze").rglob("*") if path.is_file()]
        lake.fill({path.relative_to(folder).as_posix(): path.read_bytes() for path in paths})
        shared.kedro("run", f"--params=now={NOW}{said}", STAGES, "--env=prod")
        found = {
            name: content
            for name, content in lake.objects().items()
            if name.startswith(("silver", "gold")) and "/commits/" not in name
        }
        assert {name for name in known if known[name] != found.get(name)} == set()
        assert set(found) == set(known)
    lake.clear()
    tables = [request for request in proxy.requests if TABLE_FILE.search(request.key)]
    assert {request.is_copy for request in tables if request.method == "PUT"} == {True}
    assert any(STAGED_FILE.search(request.key) for request in proxy.requests)
    read = {request.key for request in proxy.requests if request.method == "GET"}
    assert not [key for key in read if STAGED_FILE.search(key)]
