"""A file of Silver or Gold that was deleted or edited is made again by the command named for it."""

from __future__ import annotations

import io
import json
import re
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from capstone_metrics.storage import storage_of
from tests.support.lakes import add, clear, content, expected, line
from tests.support.project import project_copy
from tests.support.selection import sample
from tests.support.storages import write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from infra.s3.seaweed import SeaweedFS

    from capstone_metrics.storage.base import Storage
    from tests.support.project import Completed, Project

LATER = {"ingestion_ts": "2026-01-31T23:00:00Z"}
PIPELINES = "--pipelines=bronze_to_silver,silver_to_gold"
WAY_OUT = re.compile(r"(?:delete (\S+) and .*)?kedro (run(?: --[a-z]+=[a-z_,=]*[a-z_])*)")


def delete(_: bytes) -> None:
    """Delete the file."""


def spoil(_: bytes) -> bytes:
    return b"\xff edited"


def drop_row(content: bytes) -> bytes:
    """Remove a row of a Parquet file."""
    return _parquet(pq.read_table(io.BytesIO(content)).slice(1))


def change_views(content: bytes) -> bytes:
    """Change a value of a Parquet file."""
    table = pq.read_table(io.BytesIO(content))
    views = pa.array([9] * table.num_rows, pa.int64())
    return _parquet(table.set_column(table.column_names.index("views"), "views", views))


def drop_line(content: bytes) -> bytes:
    """Remove the last line of a text."""
    return b"".join(content.splitlines(keepends=True)[:-1])


def change_number(content: bytes) -> bytes:
    """Change a number of a CSV."""
    return content.replace(b",1\n", b",2\n")


def empty(_: bytes) -> bytes:
    """Remove all keys of a document."""
    return b"{}"


def changed(*path: str) -> Callable[[bytes], bytes]:
    """Return an edit that raises a number of a document."""

    def change(content: bytes) -> bytes:
        document = part = json.loads(content)
        for key in path[:-1]:
            part = part[key]
        part[path[-1]] += 1
        return json.dumps(document).encode()

    change.__name__ = f"raise_{path[-1]}"
    return change


def _parquet(table: pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


BAD_OBJECTS, BAD_ROWS = changed("objects"), changed("total", "current")
DAY = "data_postagem=2026-01-30"
WINDOW = "fonte=faker/janela=2026-01-31T08"
DAMAGES: dict[str, tuple[Any, ...]] = {
    f"silver/criacao/rede_social=tiktok/{DAY}/part-0.parquet": (
        *(delete, spoil, drop_row, change_views),
    ),
    f"silver/quarentena/{WINDOW}/lote=criacao/part-0.jsonl": (delete, spoil, drop_line),
    f"silver/provenance/{DAY}/part-0.index": (delete, spoil, drop_row),
    "silver/video_index/shard=1/part-0.index": (delete, spoil, drop_row),
    f"silver/receipts/{WINDOW}/criacao.json": (
        *(delete, spoil, empty, changed("lines"), changed("accepted")),
    ),
    "silver/head.json": (*(delete, spoil, empty, BAD_OBJECTS, BAD_ROWS, changed("generation")),),
    "gold/gold_video_views_dia_faculdade.csv": (delete, spoil, drop_line, change_number),
    "gold/manifest.json": (delete, spoil, empty, changed("silver_generation")),
}
"""The ways in which a file of each kind is damaged that is seen, and has a way out."""

UNSEEN: dict[str, tuple[Any, ...]] = {
    **{
        f"{layer}/commits/0000000{generation}.json": (delete, spoil, empty)
        for layer in ("silver", "gold")
        for generation in (1, 2)
    },
    "silver/head.json": (changed("format"),),
    "gold/manifest.json": (changed("generation"), changed("silver_rows")),
}
"""Those that change nothing that anybody reads: the next run goes on, and makes the file again if
it is read."""

SEEN_BY_STATUS = {
    "criacao.json": {delete},
    "head.json": {delete, spoil, empty, BAD_OBJECTS, BAD_ROWS},
    "gold_video_views_dia_faculdade.csv": {delete, spoil, drop_line, change_number},
    "manifest.json": {delete, spoil, empty},
}
"""What `status` sees by the name of the file: heads, which receipts there are, and marts."""


def cases(damages: Mapping[str, tuple[Any, ...]]) -> list[Any]:
    """Return each damage of each file as a case."""
    return [
        pytest.param(key, edit, id=f"{key.split('/')[0]}-{key.rpartition('/')[2]}-{edit.__name__}")
        for key, edits in damages.items()
        for edit in edits
    ]


class Damaged:
    """A lake that tests damage, with what it was before.

    Args:
        project: the project.
        storage: its lake.

    Attributes:
        before: the bytes of every object, but for the records of runs.
    """

    def __init__(self, project: Project, storage: Storage) -> None:
        self.project = project
        self.storage = storage
        self.before = {key: storage.read(key) for key in self.keys()}

    def keys(self) -> list[str]:
        return [key for key in self.storage.keys("") if not key.startswith(("operations", "_tmp"))]

    def restore(self) -> None:
        """Make the lake what it was."""
        now = set(self.keys())
        self.storage.delete(list(now - self.before.keys()))
        for key, was in self.before.items():
            if key not in now or self.storage.read(key) != was:
                write(self.storage, key, was)

    def damage(self, key: str, edit: Callable[[bytes], bytes | None]) -> None:
        new = edit(self.before[key])
        assert new != self.before[key]
        if new is None:
            self.storage.delete([key])
        else:
            write(self.storage, key, new)

    def is_as_before(self) -> bool:
        """Return whether all data is as it was, and `verify` and `status` find nothing."""
        now = {key: self.storage.read(key) for key in self.keys() if is_data(key)}
        return (
            now == {key: was for key, was in self.before.items() if is_data(key)}
            and self.verify().returncode == 0
            and self.status()["files"] == "ok"
        )

    def verify(self) -> Completed:
        return self.project.kedro("verify", check=False)

    def status(self) -> dict[str, str]:
        """Return the health of the checks of files; only an error if there is one."""
        done = self.project.kedro("status", "--now=2026-01-31T20:06", "--json", check=False)
        if done.stderr.startswith("Error"):
            return {"files": done.stderr}
        checks = json.loads(done.stdout)["checks"]
        return {name: checks[name]["health"] for name in ("files", "identity") if name in checks}

    def follow(self, said: str) -> Completed:
        """Do what a message says: delete a layer, if it says so, and run the command."""
        match = WAY_OUT.search(said)
        assert match, said
        layer, command = match.groups()
        if layer:
            prefix = layer.removeprefix(f"{self.storage.root}/")
            self.storage.delete(self.storage.keys(prefix))
        scope = [] if "--pipelines" in command else [PIPELINES]
        return self.project.kedro(*command.split(), *scope, check=False)


def is_data(key: str) -> bool:
    """Return whether a rebuild makes the same bytes of an object: all but commits and heads."""
    return "/commits/" not in key and not key.endswith(("/head.json", "/manifest.json"))


FIRST = [line(), line(rede_social="youtube_shorts"), line(video_id="v2"), line(views="x")]
BRONZE = {
    "2026-01-31T08": [*FIRST, line(video_id="v3", data_postagem="2026-01-29")],
    "2026-01-31T20": [line(views=150, **LATER)],
}
"""The lines of two runs: two networks and days, a rejected line, and a later observation."""


@pytest.fixture(scope="module")
def filled(empty_project: Project) -> Damaged:
    """A lake in a folder."""
    lake = empty_project.root / "data"
    clear(lake)
    for window, lines in BRONZE.items():
        add(lake, window, *lines)
        empty_project.run(PIPELINES)
    assert content(lake) == expected(lake)
    return Damaged(empty_project, storage_of(str(lake)))


@pytest.fixture
def damaged(filled: Damaged) -> Damaged:
    filled.restore()
    return filled


@pytest.mark.parametrize(("key", "edit"), sample(cases(DAMAGES), 2))
def test_damage_is_seen_and_the_command_that_is_named_repairs_it(
    damaged: Damaged, key: str, edit: Callable[[bytes], bytes | None]
) -> None:
    check(damaged, key, edit)


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("key", "health", "message"),
    [
        (f"criacao/rede_social=tiktok/{DAY}", "ok", "Silver is not as its last commit left it"),
        (
            "observacao_dia/data_observacao=2026-01-31",
            "critical",
            "Silver has lost its file of observacao_dia of 2026-01-31.",
        ),
    ],
)
def test_gold_is_not_built_without_a_file_of_silver(
    damaged: Damaged, key: str, health: str, message: str
) -> None:
    damaged.damage(f"silver/{key}/part-0.parquet", delete)
    damaged.damage("gold/gold_video.csv", delete)
    planned = damaged.project.run(PIPELINES, more=",plan=true", check=False)
    done = damaged.project.run(PIPELINES, check=False)

    assert message in planned.stderr
    assert message in done.stderr
    write(damaged.storage, "gold/gold_video.csv", damaged.before["gold/gold_video.csv"])
    assert damaged.status()["files"] == health
    assert damaged.follow(done.stderr).returncode == 0
    assert damaged.is_as_before()


@pytest.mark.parametrize(("key", "edit"), sample(cases(UNSEEN), 1))
def test_damage_that_changes_nothing_stops_no_run(
    damaged: Damaged, key: str, edit: Callable[[bytes], bytes | None]
) -> None:
    damaged.damage(key, edit)
    damaged.project.run(PIPELINES)
    assert damaged.is_as_before()


def check(damaged: Damaged, key: str, edit: Callable[[bytes], bytes | None]) -> None:
    """Damage a file, see that it is noticed, do what is said, and see that all is as before."""
    damaged.damage(key, edit)
    is_seen = set(damaged.status().values()) != {"ok"}
    assert is_seen is (edit in SEEN_BY_STATUS.get(key.rpartition("/")[2], ()))
    verified = damaged.verify()
    assert verified.returncode == 1
    assert "Traceback" not in verified.stderr
    done = damaged.follow(verified.stdout + verified.stderr)
    assert done.returncode == 0, done.stderr
    assert damaged.is_as_before()


@pytest.mark.slow
def test_a_run_that_needs_what_is_damaged_names_the_command_too(damaged: Damaged) -> None:
    """Also one that has something new to merge, and one that merges a lost receipt again."""
    new = line(video_id="v9", **LATER)
    for key, edit in (
        (f"silver/criacao/rede_social=tiktok/{DAY}/part-0.parquet", delete),
        (f"silver/criacao/rede_social=tiktok/{DAY}/part-0.parquet", spoil),
        (f"silver/provenance/{DAY}/part-0.index", spoil),
        (f"silver/receipts/{WINDOW}/criacao.json", delete),
        ("silver/head.json", spoil),
    ):
        damaged.restore()
        add(damaged.project.root / "data", "2026-01-31T21", new)
        damaged.damage(key, edit)
        failed = damaged.project.run(PIPELINES, check=False)
        assert failed.returncode == 1, key
        assert "Traceback" not in failed.stderr
        done = damaged.follow(failed.stderr)
        assert done.returncode == 0, done.stderr
        lake = damaged.project.root / "data"
        assert content(lake) == expected(lake)
        assert damaged.verify().returncode == 0


@pytest.fixture(scope="module")
def bucket_lake(open_folder: Path, seaweed: SeaweedFS) -> Iterator[Damaged]:
    """A lake in a bucket."""
    with project_copy(open_folder) as project:
        project.ingest_nothing()
        root = f"s3://{seaweed.bucket}/{uuid4().hex}"
        project.configure("globals.yml", lake=root)
        storage = storage_of(root)
        for window, lines in BRONZE.items():
            key = f"bronze/criacao/fonte=faker/janela={window}/criacao.jsonl"
            write(storage, key, b"".join(lines))
            project.run(PIPELINES)
        yield Damaged(project, storage)


@pytest.mark.slow
@pytest.mark.parametrize(("key", "edit"), cases(DAMAGES))
def test_damage_in_a_bucket_is_repaired_as_well(
    bucket_lake: Damaged, key: str, edit: Callable[[bytes], bytes | None]
) -> None:
    bucket_lake.restore()
    check(bucket_lake, key, edit)


@pytest.mark.slow
@pytest.mark.parametrize(("key", "edit"), cases(UNSEEN))
def test_damage_in_a_bucket_that_changes_nothing_stops_no_run(
    bucket_lake: Damaged, key: str, edit: Callable[[bytes], bytes | None]
) -> None:
    bucket_lake.restore()
    bucket_lake.damage(key, edit)
    bucket_lake.project.run(PIPELINES)
    assert bucket_lake.is_as_before()
