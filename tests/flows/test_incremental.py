"""Silver and Gold depend on what is in Bronze, and not on how it got there."""

from __future__ import annotations

import hashlib
import json
import shutil
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from capstone_metrics.changes import FORMAT
from capstone_metrics.errors import CapstoneError
from tests.support import selection
from tests.support.lakes import (
    LAKE_PIPELINES,
    accounts_balance,
    add,
    clear,
    content,
    expected,
    finished,
    is_readable,
    line,
    restore,
    run_here,
    started,
)
from tests.support.selection import examples, long_with_all

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.project import Project

LATER = {"ingestion_ts": "2026-01-31T23:00:00Z"}


def files(lake: Path, layer: str) -> dict[str, int]:
    """Return when each file of a layer was written."""
    return {
        path.relative_to(lake).as_posix(): path.stat().st_mtime_ns
        for path in (lake / layer).rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def prepared(empty_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake after one run, with a superseded line and two rejected ones."""
    data = empty_project.root / "data"
    clear(data)
    lines = [line(), line(views=2), line(views="x")]
    add(data, "2026-01-30T20", *(line(video_id=day, data_postagem=day) for day in DAYS))
    add(data, "2026-01-31T08", *lines, b"{cut")
    run_here(empty_project)
    copy = tmp_path_factory.mktemp("prepared") / "data"
    shutil.copytree(data, copy)
    return copy


DAYS = [f"2026-01-{day}" for day in (27, 28, 29)]
PART_OF_V1 = "rede_social=tiktok/data_postagem=2026-01-30/part-0.parquet"


@pytest.fixture
def filled(empty_project: Project, prepared: Path) -> Path:
    """A copy of it in the folder of the project."""
    data = empty_project.root / "data"
    restore(data, prepared)
    return data


def test_a_receipt_counts_the_lines_of_an_object(filled: Path) -> None:
    path = filled / "bronze/criacao/fonte=faker/janela=2026-01-31T08/criacao.jsonl"
    receipt = filled / "silver/receipts/fonte=faker/janela=2026-01-31T08/criacao.json"
    assert json.loads(receipt.read_text()) == {
        "object": "fonte=faker/janela=2026-01-31T08/criacao.jsonl",
        "lines": 4,
        "bytes": path.stat().st_size,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "accepted": 2,
        "quarantined": 2,
        "withdrawn": 0,
        "ignored": {},
        "reasons": {"line.not_json": 1, "views.unreadable": 1},
        "new_fields": {},
    }


def test_nothing_new_writes_nothing(empty_project: Project, filled: Path) -> None:
    before = in_layers(filled)
    run_here(empty_project)
    assert in_layers(filled) == before
    assert len(files(filled, "operations")) == 2


def in_layers(lake: Path) -> dict[str, int]:
    """Return when each file was written, but for what records the run itself."""
    apart = ("_tmp/", "operations/")
    return {name: at for name, at in files(lake, ".").items() if not name.startswith(apart)}


def test_a_window_changes_only_its_own_days(empty_project: Project, filled: Path) -> None:
    before = files(filled, "silver/criacao")
    add(filled, "2026-01-31T20", line(video_id=DAYS[1], data_postagem=DAYS[1], views=7, **LATER))
    run_here(empty_project)
    after = files(filled, "silver/criacao")
    changed = {name for name in after if after[name] != before.get(name)}
    assert [name.partition("/data_postagem=")[2] for name in changed] == [
        f"{DAYS[1]}/part-0.parquet"
    ]
    assert content(filled) == expected(filled)


def test_the_later_observation_wins_in_any_order_of_arrival(
    empty_project: Project, lake: Path
) -> None:
    """Of two with one time it is the one of the later object, and in an object the later line."""
    tie = partial(line, video_id="tie")
    add(lake, "2026-01-31T20", line(views=9, **LATER))
    add(lake, "2026-01-31T08", tie(views=2), name="b")
    run_here(empty_project)
    add(lake, "2026-01-31T08", line(views=5), tie(views=1), name="a")
    add(lake, "2026-01-31T08", tie(views=3), tie(views=4), name="c")
    run_here(empty_project)
    assert [row[:2] for row in content(lake)["silver"]] == [("tie", 4), ("v1", 9)]
    assert content(lake) == expected(lake)


def test_a_corrected_posting_date_moves_the_video(empty_project: Project, lake: Path) -> None:
    add(lake, "2026-01-30T20", line(ingestion_ts="2026-01-30T23:00:00Z"), line(video_id="v2"))
    run_here(empty_project)
    add(lake, "2026-01-31T08", line(data_postagem="2026-01-12"))
    run_here(empty_project)
    assert [row[:4] for row in content(lake)["silver"]] == [
        ("v1", 100, "tiktok", "2026-01-12"),
        ("v2", 100, "tiktok", "2026-01-30"),
    ]
    assert content(lake) == expected(lake)
    add(lake, "2026-01-31T20", line(**LATER))
    run_here(empty_project)
    assert not list((lake / "silver/criacao").rglob("data_postagem=2026-01-12"))
    assert content(lake) == expected(lake)


def test_a_full_rebuild_gives_the_same_files(empty_project: Project, filled: Path) -> None:
    later = partial(line, data_postagem="2026-01-28", **LATER)
    posts = (later(video_id=day, views=views) for views, day in enumerate(DAYS))
    add(filled, "2026-01-31T20", *posts, later(views=-1))
    run_here(empty_project)
    layers = ("silver/criacao", "silver/quarentena", "silver/provenance", "silver/video_index")
    before = {name: at for layer in layers for name, at in files(filled, layer).items()}
    run_here(empty_project, full=True)
    assert {n: at for layer in layers for n, at in files(filled, layer).items()} == before
    for layer in layers:
        shutil.rmtree(filled / layer)
    run_here(empty_project, full=True)
    assert content(filled) == expected(filled)


def test_gold_is_rebuilt_in_full_from_a_silver_that_was_deleted(
    empty_project: Project, filled: Path
) -> None:
    shutil.rmtree(filled / "silver")
    add(filled, "2026-01-31T20", line(views=9, **LATER))
    run_here(empty_project)
    assert content(filled) == expected(filled)


def test_a_silver_of_another_format_is_rebuilt_once(
    empty_project: Project, filled: Path, caplog: pytest.LogCaptureFixture
) -> None:
    head = filled / "silver/head.json"
    head.write_text(
        json.dumps({k: v for k, v in json.loads(head.read_text()).items() if k != "format"})
    )
    for old, name in (("places", "provenance"), ("locator", "video_index")):
        (filled / "silver" / name).rename(filled / "silver" / old)
    add(filled, "2026-01-31T20", line(views=9, **LATER))
    run_here(empty_project)
    message = f"Silver lacks a head of format {FORMAT}; Silver is rebuilt from all of Bronze."
    assert message in caplog.text
    assert content(filled) == expected(filled)
    assert not [name for name in ("places", "locator") if (filled / "silver" / name).exists()]
    caplog.clear()
    run_here(empty_project)
    assert "rebuilt" not in caplog.text


@pytest.mark.slow
def test_gold_rejects_a_silver_that_was_edited(empty_project: Project, lake: Path) -> None:
    add(lake, "2026-01-31T08", line())
    run_here(empty_project, ["bronze_to_silver"])
    (part,) = (lake / "silver/criacao").rglob("*.parquet")
    copy = part.parent.parent / "data_postagem=2026-01-29/part-0.parquet"
    copy.parent.mkdir()
    shutil.copy(part, copy)
    with pytest.raises(CapstoneError, match="Silver is not as its last commit left it"):
        run_here(empty_project, ["silver_to_gold"])
    assert not (lake / "gold").exists()
    run_here(empty_project, full=True)
    assert content(lake) == expected(lake)


def test_an_unknown_file_is_reported_and_not_aggregated(
    empty_project: Project, filled: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = [
        "silver/criacao/.DS_Store",
        "silver/criacao/unknown.parquet",
        f"silver/criacao/{PART_OF_V1.replace('part-0', 'part-0 (copy)')}",
        "bronze/criacao/notes.jsonl",
    ]
    for name in names:
        (filled / name).write_bytes(b"x")
    add(filled, "2026-01-31T20", line(views=9, **LATER))
    run_here(empty_project)
    assert [name for name in names if name not in caplog.text] == []
    assert {(filled / name).read_bytes() for name in names} == {b"x"}
    for name in names:
        (filled / name).unlink()
    assert content(filled) == expected(filled)


windows = st.sampled_from(
    [f"2026-01-{day}T{hour}" for day in (29, 30, 31) for hour in ("08", "20")]
)
observation = st.builds(
    line,
    video_id=st.sampled_from(["a", "b", "c", "d"]),
    views=st.integers(-1, 5),
    faculdade=st.sampled_from(["GRAN", "IMPACTA", None]),
    rede_social=st.sampled_from(["tiktok", "instagram_reels", "orkut"]),
    data_postagem=st.sampled_from(["2026-01-27", "2026-01-28", "2026-13-45"]),
    ingestion_ts=st.sampled_from([f"2026-01-{d}T11:00:00Z" for d in (29, 30, 31)]),
)
batch = st.lists(st.one_of(observation, observation, st.just(b"{cut\n")), min_size=1, max_size=4)


GOOD = line(video_id="e", data_postagem="2026-01-28", ingestion_ts="2026-01-29T11:00:00Z")
"""A line that is accepted: of a Silver without any row no Gold is made."""


def run_on(project: Project, pipelines: list[str] = LAKE_PIPELINES, **params: Any) -> None:
    """A run, and one more that allows it where an object was refused."""
    try:
        run_here(project, pipelines, **params)
    except CapstoneError as error:
        assert "they are in the quarantine" in str(error)
        run_here(project, pipelines, allow_refused="faker")


def has_news(lakes: Lakes) -> bool:
    """Return whether a run has something to do; with `--all`, runs that have not come, too."""
    return selection.runs_everything or not lakes.is_current


class Lakes(RuleBasedStateMachine):
    """Windows come late, repeated, corrected and malformed; runs come in any order, or die."""

    project: Any = None

    @initialize(window=windows, lines=batch)
    def begin(self, window: str, lines: list[bytes]) -> None:
        self.lake = self.project.root / "data"
        clear(self.lake)
        self.objects = 0
        self.window(window, [GOOD, *lines])

    @rule(window=windows, lines=batch)
    def window(self, window: str, lines: list[bytes]) -> None:
        self.objects += 1
        add(self.lake, window, *lines, name=f"{9 - self.objects % 10}-{self.objects}")
        self.is_current = False

    @precondition(has_news)
    @rule()
    def silver_alone(self) -> None:
        run_on(self.project, ["bronze_to_silver"])

    @precondition(has_news)
    @rule()
    def run(self) -> None:
        run_on(self.project)
        self.is_current = True

    @precondition(has_news)
    @rule()
    def rebuild(self) -> None:
        run_on(self.project, full=True)
        self.is_current = True

    @rule(window=windows, lines=batch, call=st.integers(1, 140))
    def killed_run(self, window: str, lines: list[bytes], call: int) -> None:
        self.window(window, lines)
        code, output = finished(started(self.project, f"--die-at={call}"))
        assert code in {0, 137} or "they are in the quarantine" in output, output
        assert is_readable(self.lake)

    @invariant()
    def equals_the_oracle(self) -> None:
        if self.is_current:
            assert content(self.lake) == expected(self.lake)
            assert accounts_balance(self.lake)

    def teardown(self) -> None:
        if not self.is_current:
            run_on(self.project)
            assert content(self.lake) == expected(self.lake)


@long_with_all
def test_any_interleaving_ends_as_the_oracle(empty_project: Project) -> None:
    Lakes.project = empty_project
    Lakes.TestCase.settings = settings(
        max_examples=examples(2, 15),
        stateful_step_count=6,
        derandomize=not selection.runs_everything,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    Lakes.TestCase().runTest()
