"""Silver and Gold depend on what is in Bronze, and not on how it got there."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from capstone_metrics.errors import CapstoneError
from tests.lakes import (
    LAKE_PIPELINES,
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

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Project


@pytest.fixture
def lake(shared: Project) -> Path:
    """An empty lake in the shared project."""
    clear(shared.root / "data")
    return shared.root / "data"


def files(lake: Path, layer: str) -> dict[str, int]:
    return {
        p.relative_to(lake).as_posix(): p.stat().st_mtime_ns
        for p in (lake / layer).rglob("*")
        if p.is_file()
    }


def written(before: dict[str, int], after: dict[str, int]) -> set[str]:
    return {
        name.partition("/data_postagem=")[2] for name in after if after[name] != before.get(name)
    }


def test_a_window_changes_only_its_own_days(shared: Project, lake: Path) -> None:
    days = [f"2026-01-{day}" for day in (28, 29, 30)]
    add(lake, "2026-01-30T20", *(line(video_id=day, data_postagem=day) for day in days))
    run_here(shared)
    before = files(lake, "silver/criacao")
    add(lake, "2026-01-31T08", line(video_id="2026-01-29", data_postagem="2026-01-29", views=7))
    run_here(shared)
    assert written(before, files(lake, "silver/criacao")) == {"2026-01-29/part-0.parquet"}
    assert content(lake) == expected(lake)


def test_a_late_window_does_not_undo_a_later_one(shared: Project, lake: Path) -> None:
    add(lake, "2026-01-31T20", line(views=9, ingestion_ts="2026-01-31T23:00:00Z"))
    run_here(shared)
    add(lake, "2026-01-31T08", line(views=5))
    run_here(shared)
    assert [row[1] for row in content(lake)["silver"]] == [9]
    assert content(lake) == expected(lake)


def test_of_two_equal_times_the_later_place_wins_in_any_order(shared: Project, lake: Path) -> None:
    add(lake, "2026-01-31T08", line(views=2), name="b")
    run_here(shared)
    add(lake, "2026-01-31T08", line(views=1), name="a")
    add(lake, "2026-01-31T08", line(views=3), line(views=4), name="c")
    run_here(shared)
    assert [row[1] for row in content(lake)["silver"]] == [4]


def test_a_corrected_posting_date_moves_the_video(shared: Project, lake: Path) -> None:
    add(lake, "2026-01-30T20", line(ingestion_ts="2026-01-30T23:00:00Z"), line(video_id="v2"))
    run_here(shared)
    add(lake, "2026-01-31T08", line(data_postagem="2026-01-12", rede_social="instagram_reels"))
    run_here(shared)
    assert [row[:4] for row in content(lake)["silver"]] == [
        ("v1", 100, "instagram_reels", "2026-01-12"),
        ("v2", 100, "tiktok", "2026-01-30"),
    ]
    assert content(lake) == expected(lake)
    add(lake, "2026-01-31T20", line(ingestion_ts="2026-01-31T23:00:00Z"))
    run_here(shared)
    assert not list((lake / "silver/criacao").rglob("data_postagem=2026-01-12"))
    assert content(lake) == expected(lake)


def test_nothing_new_writes_nothing(shared: Project, lake: Path) -> None:
    add(lake, "2026-01-31T08", line(), b"{cut")
    run_here(shared)
    before = in_layers(lake)
    run_here(shared)
    assert in_layers(lake) == before
    assert len(files(lake, "operations")) == 2


def in_layers(lake: Path) -> dict[str, int]:
    """What a run with nothing new leaves alone: all but its own record."""
    apart = ("_tmp/", "operations/")
    return {name: at for name, at in files(lake, ".").items() if not name.startswith(apart)}


def test_a_receipt_says_what_became_of_an_object(shared: Project, lake: Path) -> None:
    path = add(lake, "2026-01-31T08", line(), line(views=2), line(views="x"))
    run_here(shared)
    receipt = lake / "silver/receipts/fonte=faker/janela=2026-01-31T08/criacao.json"
    assert json.loads(receipt.read_text()) == {
        "object": "fonte=faker/janela=2026-01-31T08/criacao.jsonl",
        "lines": 3,
        "bytes": path.stat().st_size,
        "sha256": __import__("hashlib").sha256(path.read_bytes()).hexdigest(),
        "accepted": 2,
        "quarantined": 1,
        "reasons": {"views.unreadable": 1},
        "new_fields": {},
    }


def test_a_full_rebuild_gives_the_same_files(shared: Project, lake: Path) -> None:
    for day in (29, 30, 31):
        posts = (line(video_id=str(v), views=day + v, data_postagem="2026-01-28") for v in range(3))
        add(lake, f"2026-01-{day}T08", *posts, line(views=-1), name=str(day))
        run_here(shared)
    layers = ("silver/criacao", "silver/quarentena", "silver/places", "silver/locator")
    before = {name: at for layer in layers for name, at in files(lake, layer).items()}
    run_here(shared, full=True)
    assert {name: at for layer in layers for name, at in files(lake, layer).items()} == before
    for layer in layers:
        shutil.rmtree(lake / layer)
    run_here(shared, full=True)
    assert content(lake) == expected(lake)


def test_gold_is_made_whole_from_a_silver_that_was_begun_anew(shared: Project, lake: Path) -> None:
    add(lake, "2026-01-31T08", line(views=1), line(video_id="v2", data_postagem="2026-01-29"))
    run_here(shared)
    shutil.rmtree(lake / "silver")
    add(lake, "2026-01-31T20", line(views=9, ingestion_ts="2026-01-31T23:00:00Z"))
    run_here(shared)
    assert content(lake) == expected(lake)


def test_gold_refuses_a_silver_that_was_changed_by_hand(shared: Project, lake: Path) -> None:
    add(lake, "2026-01-31T08", line())
    run_here(shared, ["bronze_to_silver"])
    (part,) = (lake / "silver/criacao").rglob("*.parquet")
    copy = part.parent.parent / "data_postagem=2026-01-29/part-0.parquet"
    copy.parent.mkdir()
    shutil.copy(part, copy)
    with pytest.raises(CapstoneError, match="Silver is not as its last commit left it"):
        run_here(shared, ["silver_to_gold"])
    assert not (lake / "gold").exists()
    run_here(shared, full=True)
    assert content(lake) == expected(lake)


@pytest.mark.parametrize(
    "name",
    [
        "silver/criacao/.DS_Store",
        "silver/criacao/unknown.parquet",
        "silver/criacao/rede_social=tiktok/data_postagem=2026-01-30/part-0 (copy).parquet",
        "bronze/criacao/notes.jsonl",
    ],
)
def test_a_strange_file_is_reported_and_not_aggregated(
    shared: Project, lake: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    add(lake, "2026-01-31T08", line())
    run_here(shared)
    gold = content(lake)["gold"]
    (lake / name).write_bytes(b"x")
    add(lake, "2026-01-31T20", line(views=100, ingestion_ts="2026-01-31T23:00:00Z"))
    run_here(shared)
    assert name in caplog.text
    assert content_of_gold(lake) == gold
    assert (lake / name).read_bytes() == b"x"


def content_of_gold(lake: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted((lake / "gold").glob("*.csv"))}


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


def run_on(project: Project, pipelines: list[str] = LAKE_PIPELINES, **params: Any) -> None:
    """A run, and one more where the first stopped before Gold because an object lost a field."""
    try:
        run_here(project, pipelines, **params)
    except CapstoneError as error:
        assert "in none of its" in str(error)
        run_here(project, pipelines)


class Lakes(RuleBasedStateMachine):
    """Windows come late, repeated, corrected and malformed; runs come in any order, or die."""

    project: Any = None

    @initialize()
    def empty(self) -> None:
        self.lake = self.project.root / "data"
        clear(self.lake)
        self.objects, self.is_settled = 0, False

    @rule(window=windows, lines=batch)
    def window(self, window: str, lines: list[bytes]) -> None:
        self.objects += 1
        add(self.lake, window, *lines, name=f"{9 - self.objects % 10}-{self.objects}")
        self.is_settled = False

    @rule()
    def silver_alone(self) -> None:
        run_on(self.project, ["bronze_to_silver"])

    @rule()
    def run(self) -> None:
        run_on(self.project)
        self.is_settled = True

    @rule()
    def rebuild(self) -> None:
        run_on(self.project, full=True)
        self.is_settled = True

    @rule(window=windows, lines=batch, call=st.integers(1, 140))
    def killed_run(self, window: str, lines: list[bytes], call: int) -> None:
        self.window(window, lines)
        code, said = finished(started(self.project, options=(f"--die-at={call}",)))
        assert code in {0, 137} or "in none of its" in said, said
        assert whole(self.lake)

    @invariant()
    def equals_the_oracle(self) -> None:
        if self.is_settled:
            assert content(self.lake) == expected(self.lake)
            assert identity_holds(self.lake)

    def teardown(self) -> None:
        if self.objects:
            run_on(self.project)
            assert content(self.lake) == expected(self.lake)


def test_any_interleaving_ends_as_the_oracle_says(shared: Project) -> None:
    Lakes.project = shared
    Lakes.TestCase.settings = settings(
        max_examples=6,
        stateful_step_count=8,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    Lakes.TestCase().runTest()
