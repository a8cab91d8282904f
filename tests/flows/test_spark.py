"""Runs on Spark and on DuckDB leave the same lake: Silver's content, Gold's bytes, the accounts."""

from __future__ import annotations

import json
import re
import shutil
import signal
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import yaml
from benchmarks.spark import unscalable_operators
from infra.s3.seaweed import HOST

from capstone_metrics.engines import engine_of
from tests.support.lakes import (
    BucketLake,
    accounts_balance,
    add,
    clear,
    content,
    expected,
    is_readable,
    line,
    run_here,
)
from tests.support.project import ROOT
from tests.support.waiting import wait_until

pytest.importorskip("pyspark", reason="pyspark is not installed; it comes with the extra 'spark'")

from tests.support.spark_cluster import connect, standalone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from infra.s3.seaweed import SeaweedFS

    from tests.support.project import Completed, Project
    from tests.support.s3_proxy import Faulty

pytestmark = pytest.mark.slow

NOW = "2026-01-31T20:05"
STAGES = "--pipelines=bronze_to_silver,silver_to_gold"
MORNING, EVENING, NEXT = "2026-01-30T20", "2026-01-31T08", "2026-01-31T20"
ROUNDS = [((MORNING, EVENING), ""), ((NEXT,), ""), ((), ",full=true")]
"""The windows that arrive before each run, and its further parameters."""

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
"""Settings whose defaults in Spark's own Hadoop have a form unknown to this one, such as 60s."""


def fill(lake: Path, *windows: str) -> None:
    """Write lines of every fate to Bronze."""
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
    """Return the files of the lake but for commits, which name staged files."""
    paths = [path for layer in ("silver", "gold") for path in (lake / layer).rglob("*")]
    return {
        path.relative_to(lake).as_posix(): path.read_bytes()
        for path in paths
        if path.is_file() and "commits" not in path.parts
    }


def steps(lake: Path, kedro: Callable[..., Completed], *options: str) -> list[dict[str, bytes]]:
    """Return the lake after a first run, an incremental one and a full one."""
    clear(lake)
    lakes = []
    for windows, params in ROUNDS:
        fill(lake, *windows)
        kedro("run", f"--params=now={NOW}{params}", STAGES, *options)
        lakes.append(files(lake))
    return lakes


@pytest.fixture(scope="module")
def on_duckdb(empty_project: Project) -> list[dict[str, bytes]]:
    """The lake after each of the runs on DuckDB."""
    return steps(empty_project.root / "data", empty_project.kedro)


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
    empty_project: Project, on_duckdb: list[dict[str, bytes]], session: dict[str, str]
) -> None:
    in_a_folder(empty_project, session)
    lake = empty_project.root / "data"
    on_spark = steps(lake, empty_project.process, "--env=prod")
    for files_before, files_now in zip(on_duckdb, on_spark, strict=True):
        assert_equal(files_now, files_before)
    assert content(lake) == expected(lake)
    assert accounts_balance(lake)
    assert json.loads((lake / "silver/head.json").read_text())["total"]["quarantined"]


def assert_equal(files: dict[str, bytes], expected: dict[str, bytes]) -> None:
    """Compare files by their names, which say more than their bytes."""
    assert {name for name in expected if expected[name] != files.get(name)} == set()
    assert set(files) == set(expected)


def in_a_folder(project: Project, options: dict[str, str]) -> None:
    """Have the environment `prod` use a lake in a folder, and options for its session."""
    for path in (project.root / "conf/local").iterdir():
        shutil.copy(path, project.root / "conf/prod")
    declared = yaml.safe_load((ROOT / "conf/prod/globals.yml").read_text())
    declared |= {"lake": "data", "engine": {"name": declared["engine"], "options": options}}
    (project.root / "conf/prod/globals.yml").write_text(yaml.safe_dump(declared))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("victim", ["an executor", "the driver"])
def test_the_death_of_a_process_in_the_middle_costs_nothing(
    empty_project: Project, tmp_path: Path, victim: str
) -> None:
    lake = empty_project.root / "data"
    clear(lake)
    fill(lake, MORNING)
    run_here(empty_project, now=NOW)
    fill(lake, EVENING, NEXT)
    kedro = [str(Path(sys.executable).parent / "kedro"), "run", "--env=prod", STAGES]
    with standalone(tmp_path) as url:
        in_a_folder(empty_project, {"spark.master": url, **ON_LOOPBACK})
        run = psutil.Popen(kedro, cwd=empty_project.root)
        wait_for_a_staged_file(lake, run)
        for process in executors()[:1] if victim == "an executor" else [run]:
            process.kill()
        code = run.wait()
        assert is_readable(lake)
        if victim == "an executor":
            assert code == 0
        else:
            assert code == -signal.SIGKILL
            assert content(lake) != expected(lake)
            empty_project.process("run", "--env=prod", STAGES)
    assert content(lake) == expected(lake)
    assert accounts_balance(lake)
    assert not list((lake / "_tmp").glob("*-*"))


def wait_for_a_staged_file(lake: Path, run: psutil.Process) -> None:
    def is_staged() -> bool:
        assert run.is_running()
        return any(path.is_file() for path in (lake / "_tmp").rglob("*"))

    wait_until(is_staged)


def executors() -> list[psutil.Process]:
    """Return the processes in which the workers of this process's cluster run tasks."""
    name = "org.apache.spark.executor.CoarseGrainedExecutorBackend"
    processes = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # as is a zombie
            processes += [process] if name in process.cmdline() else []
    return processes


@pytest.mark.parametrize(
    ("options", "environment", "sentence"),
    [
        ({}, {"SPARK_REMOTE": f"sc://{HOST}:9"}, f"no server answers at sc://{HOST}:9 ("),
        ({}, {"JAVA_HOME": "/no/such"}, "Spark found no Java that it can start; install one"),
        ({"spark.master": "locall"}, {}, "Spark did not start with the master locall; correct"),
    ],
    ids=["connect", "java", "master"],
)
def test_a_session_that_cannot_be_is_one_sentence(
    empty_project: Project,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, str],
    environment: dict[str, str],
    sentence: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    in_a_folder(empty_project, options)
    clear(empty_project.root / "data")
    fill(empty_project.root / "data", MORNING)
    done = empty_project.process("run", STAGES, "--env=prod", check=False)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("query", "offence"),
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
def test_the_benchmark_reports_a_query_that_does_not_scale(
    query: str, offence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    connection: Any = engine_of("spark").connection
    connection.raw_sql(query).explain(mode="formatted")
    assert "".join(unscalable_operators(capsys.readouterr().out)) == offence


TABLE_FILE = re.compile(r"^capstone-prod/silver/.*/part-0\.")
STAGED_FILE = re.compile(r"/_tmp/silver-.*~")

needs_s3a = pytest.mark.skipif(not JARS, reason="needs Hadoop's s3a (make test-all)")


@needs_s3a
@pytest.mark.timeout(600)
def test_a_run_of_prod_leaves_the_objects_that_one_on_duckdb_does(  # noqa: PLR0913, PLR0917
    empty_project: Project,
    on_duckdb: list[dict[str, bytes]],
    seaweed: SeaweedFS,
    proxy: Faulty,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Run the environment as it is; Spark's own configuration brings Hadoop's s3a.

    The store copies the files of the workers to their keys, and nobody reads them before.
    """
    for path in (empty_project.root / "conf/local").iterdir():
        shutil.copy(path, empty_project.root / "conf/prod")
    shutil.copy(ROOT / "conf/prod/globals.yml", empty_project.root / "conf/prod")
    settings = {"spark.jars": ",".join(map(str, JARS)), **OF_THEIR_VERSION}
    (tmp_path / "spark-defaults.conf").write_text(
        "".join(f"{name} {value}\n" for name, value in settings.items())
    )
    monkeypatch.setenv("SPARK_CONF_DIR", str(tmp_path))
    lake = BucketLake(seaweed.client(), seaweed.bucket, "capstone-prod")
    folder = empty_project.root / "data"
    clear(folder)
    for (windows, params), objects in zip(ROUNDS, on_duckdb, strict=True):
        fill(folder, *windows)
        paths = [path for path in (folder / "bronze").rglob("*") if path.is_file()]
        lake.fill({path.relative_to(folder).as_posix(): path.read_bytes() for path in paths})
        empty_project.process("run", f"--params=now={NOW}{params}", STAGES, "--env=prod")
        on_spark = {
            name: content
            for name, content in lake.objects().items()
            if name.startswith(("silver", "gold")) and "/commits/" not in name
        }
        assert_equal(on_spark, objects)
    lake.clear()
    tables = [request for request in proxy.requests if TABLE_FILE.search(request.key)]
    assert {request.is_copy for request in tables if request.method == "PUT"} == {True}
    assert any(STAGED_FILE.search(request.key) for request in proxy.requests)
    read = {request.key for request in proxy.requests if request.method == "GET"}
    assert not [key for key in read if STAGED_FILE.search(key)]
