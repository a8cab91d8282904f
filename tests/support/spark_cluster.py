"""Sparks of the tests' own: processes on loopback, on free ports, that end with their user."""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import urlopen

import psutil
import pyspark
from infra.s3.seaweed import HOST, free_ports

from capstone_metrics.engines.java import provide_java
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECONDS_TO_START = 300
"""After this time a start counts as hung."""


@contextmanager
def standalone(folder: Path, workers: int = 2) -> Iterator[str]:
    """Start a master and its workers, of one core each; give its URL."""
    port, page = free_ports(2)
    url = f"spark://{HOST}:{port}"
    deploy = "org.apache.spark.deploy"
    own = ("--host", HOST, "--webui-port")
    with _processes(folder) as start:
        start("spark-class", f"{deploy}.master.Master", "--port", str(port), *own, str(page))
        _wait(lambda: _workers(page) == 0, folder)
        for number in range(workers):
            room = ("--cores", "1", "--memory", "1g", "--work-dir", str(folder / str(number)))
            start("spark-class", f"{deploy}.worker.Worker", *own, "0", *room, url)
        _wait(lambda: _workers(page) == workers, folder)
        yield url


@contextmanager
def connect(folder: Path) -> Iterator[str]:
    """Start a Spark Connect server; give its URL."""
    (port,) = free_ports(1)
    settings = {
        "spark.connect.grpc.binding.address": HOST,
        "spark.connect.grpc.binding.port": str(port),
        "spark.driver.host": HOST,
        "spark.driver.bindAddress": HOST,
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "4",
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
    }
    words = [word for name, value in settings.items() for word in ("--conf", f"{name}={value}")]
    server = "org.apache.spark.sql.connect.service.SparkConnectServer"
    with _processes(folder) as start:
        start("spark-submit", "--master", "local[2]", *words, "--class", server, "spark-internal")
        _wait(lambda: "server started" in (folder / "log").read_text(), folder)
        yield f"sc://{HOST}:{port}"


@contextmanager
def _processes(folder: Path) -> Iterator[Callable[..., None]]:
    """Give a function that starts a program of Spark; in the end kill those and their children."""
    folder.mkdir(parents=True, exist_ok=True)
    provide_java()
    environment = {**os.environ, "SPARK_LOCAL_IP": HOST, "PYSPARK_PYTHON": sys.executable}
    programs = Path(pyspark.__file__).parent / "bin"
    started: list[psutil.Process] = []
    with (folder / "log").open("ab") as log:

        def start(program: str, *words: str) -> None:
            command = [str(programs / program), *words]
            started.append(psutil.Popen(command, env=environment, stdout=log, stderr=log))

        try:
            yield start
        finally:
            family = [one for each in started for one in (each, *each.children(recursive=True))]
            for one in family:
                with suppress(psutil.NoSuchProcess):
                    one.kill()
            psutil.wait_procs(family, timeout=30)


def _wait(is_ready: Callable[[], bool], folder: Path) -> None:
    try:
        wait_until(is_ready, SECONDS_TO_START)
    except TimeoutError as error:
        log = (folder / "log").read_text()
        raise RuntimeError(f"Spark did not start: {log[-2000:]}") from error


def _workers(page: int) -> int:
    """Return how many workers a master has, by its page; -1 before it has one."""
    with suppress(OSError), urlopen(f"http://{HOST}:{page}/json/") as response:
        return int(json.load(response)["aliveworkers"])
    return -1
