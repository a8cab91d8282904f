"""Measure what exports cost from a file to Gold, beside the lines of the built-in source.

The same observations are three files: the lines as the built-in source writes them, the answers of
the YouTube Data API, a page a line, and the CSV of a Brazilian office. Each is a source of files of
a lake of its own, the last two by their presets.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import itertools
import json
import tempfile
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import yaml
from benchmarks.growth import FIRST_RUN, Cost, LakeProject
from benchmarks.observations import MILLION, create_project
from benchmarks.report import conclude, markdown_table, median_and_range

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.report import Comparison

ROUNDS = 3
PAGE = 50
MAX_RATIO = 1.5

API: dict[str, Any] = {"type": "files", "preset": "youtube_data_api", "path": "data/api.jsonl"}
CSV: dict[str, Any] = {"type": "files", "preset": "planilha_br", "path": "data/office.csv"}
LINES: dict[str, Any] = {"type": "files", "format": "jsonl", "path": "data/lines.jsonl"}
COLUMNS = (
    *("Perfil", "Rede", "Publicado", "Código", "Título", "Formato", "Duração (s)"),
    *("Exibições", "Curtidas", "Comentários", "Visto em"),
)


def observations(bronze: Path) -> Iterator[dict[str, Any]]:
    """Yield the observations of a lake."""
    for path in sorted(bronze.rglob("*.jsonl")):
        with path.open(encoding="utf-8") as file:
            yield from map(json.loads, file)


def write_lines(bronze: Path, target: Path) -> None:
    """Write the lines as the built-in source has them."""
    with target.open("wb") as file:
        for path in sorted(bronze.rglob("*.jsonl")):
            file.write(path.read_bytes())


def write_api(bronze: Path, target: Path) -> None:
    """Write the answers of the YouTube Data API, each with the moment of its request."""
    with target.open("w", encoding="utf-8") as file:
        by_moment = itertools.groupby(observations(bronze), key=lambda row: row["ingestion_ts"])
        for moment, rows in by_moment:
            while items := [_item(row) for row in itertools.islice(rows, PAGE)]:
                page = {
                    "fetched_at": moment,
                    "kind": "youtube#videoListResponse",
                    "items": items,
                    "pageInfo": {"totalResults": PAGE, "resultsPerPage": PAGE},
                }
                file.write(json.dumps(page, ensure_ascii=False) + "\n")


def _item(row: dict[str, Any]) -> dict[str, Any]:
    posted = dt.datetime.fromisoformat(row["posted_at"]) + dt.timedelta(hours=3)
    return {
        "kind": "youtube#video",
        "etag": row["video_id"][:27],
        "id": row["video_id"],
        "snippet": {
            "publishedAt": f"{posted.isoformat()}Z",
            "channelId": f"UC-{row['faculdade']}",
            "title": row["titulo_video"],
            "description": "Aula gratuita.\nInscreva-se.",
            "channelTitle": row["faculdade"],
            "tags": ["aula", "enem"],
            "categoryId": "27",
        },
        "contentDetails": {"duration": f"PT{row['duracao_seg']}S", "definition": "hd"},
        "statistics": {
            "viewCount": str(row["views"]),
            "likeCount": str(row["likes"]),
            "favoriteCount": "0",
            "commentCount": str(row["comentarios"]),
        },
    }


def write_csv(bronze: Path, target: Path) -> None:
    """Write the CSV of an office in Brazil: semicolons, Windows-1252, points between thousands."""
    text = io.StringIO()
    rows = csv.writer(text, delimiter=";")
    rows.writerow(COLUMNS)
    for row in observations(bronze):
        seen = dt.datetime.fromisoformat(row["ingestion_ts"]) - dt.timedelta(hours=3)
        posted = dt.datetime.fromisoformat(row["posted_at"])
        counters = (
            f"{row[name]:,}".replace(",", ".") for name in ("views", "likes", "comentarios")
        )
        rows.writerow(
            [
                *(row["faculdade"], "tiktok", f"{posted:%d/%m/%Y %H:%M}", row["video_id"]),
                *(row["titulo_video"], "Vídeo", row["duracao_seg"], *counters),
                f"{seen:%d/%m/%Y %H:%M}",
            ]
        )
    target.write_bytes(text.getvalue().encode("cp1252", errors="replace"))


SOURCES: dict[str, tuple[dict[str, Any], Callable[[Path, Path], None]]] = {
    "built-in lines": (LINES, write_lines),
    "YouTube Data API, pages": (API, write_api),
    "CSV of a Brazilian office": (CSV, write_csv),
}


def measure(folder: Path) -> dict[str, list[Cost]]:
    """Write the files, and take each through its lake once a round, in turn."""
    made = create_project(folder / "made", MILLION)
    projects: dict[str, LakeProject] = {}
    for number, (name, (source, write)) in enumerate(SOURCES.items()):
        project = projects[name] = LakeProject(folder / str(number), 1)
        parameters = project.root / "conf/local/parameters_sources.yml"
        networks = yaml.safe_load(parameters.read_text())["networks"]
        content = {"networks": [*networks, "youtube"], "sources": {"mine": source}}
        parameters.write_text(yaml.safe_dump(content))
        (project.root / "data").mkdir()
        write(made.root / "data/bronze", project.root / str(source["path"]))
    costs: dict[str, list[Cost]] = {name: [] for name in projects}
    for _ in range(ROUNDS):
        for name, project in projects.items():
            for layer in ("bronze", "silver", "gold", "operations"):
                project.remove(layer)
            costs[name].append(project.run(FIRST_RUN))
    return costs


def compare(costs: dict[str, list[Cost]]) -> list[Comparison]:
    """Return the comparisons, by the median of the rounds."""
    built_in, *others = costs.items()
    return [
        (
            f"{name} / {built_in[0]}: CPU",
            median(one.cpu / base.cpu for one, base in zip(runs, built_in[1], strict=True)),
            MAX_RATIO,
        )
        for name, runs in others
    ]


def main() -> None:
    """Measure, print the results and compare them with the goals."""
    with tempfile.TemporaryDirectory() as folder:
        costs = measure(Path(folder))
    rows = [
        (
            name,
            *(median_and_range([getattr(run, each) for run in runs]) for each in ("cpu", "wall")),
        )
        for name, runs in costs.items()
    ]
    print(markdown_table(("a million observations, file to Gold", "CPU s", "seconds"), rows))
    conclude("exports", costs, compare(costs), ("duckdb", "pyarrow", "numba", "msgspec"))


if __name__ == "__main__":
    main()
