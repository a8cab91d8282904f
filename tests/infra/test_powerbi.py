"""The project of Power BI: its files by their schemas, its model beside PostgreSQL."""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7

from capstone_metrics.serving import ServingDataset
from capstone_metrics.serving.embedded import ADMIN, READER, EmbeddedServer
from capstone_metrics.serving.provision import connect
from tests.conftest import ROOT
from tests.infra.tmdl import Part, plain, read_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

POWER_BI = ROOT / "infra/powerbi"
REPORT, MODEL = "CapstoneMetrics.Report", "CapstoneMetrics.SemanticModel"
SCHEMAS = Path(sys.prefix, "powerbi/powerbi_mcp/validation/schemas")
"""Microsoft's, from a wheel; only these files of it are used."""

LACKING = {"visualConfiguration/2.0.0", "filterConfiguration/1.2.0"}
"""Those that the wheel lacks and that the files refer to."""

KINDS = {"date": "dateTime", "text": "string", "bigint": "int64"}
"""The type of a column of the model, by that of PostgreSQL."""

ROLES = {  # what each kind of visual takes
    "card": {"Values"},
    "clusteredBarChart": {"Category", "Y"},
    "lineChart": {"Category", "Y", "Series"},
    "slicer": {"Values"},
    "tableEx": {"Values"},
}
COLUMN = re.compile(r"('[^']+'|\w+)\[([^\]]+)\]")
MEASURE = re.compile(r"(?<![\w'])\[([^\]]+)\]")
NAVIGATION = re.compile(r'Serving\{\[Schema = "serving", Item = "(\w+)"\]\}\[Data\]')
SOURCE = "PostgreSQL.Database(Server, Database)"


@dataclass(frozen=True)
class Project:
    """A copy of the project, to plant faults in."""

    root: Path

    def replace(self, name: str, old: str, new: str) -> None:
        """Change a file of it."""
        text = (self.root / name).read_text()
        assert old in text
        (self.root / name).write_text(text.replace(old, new))

    @property
    def model(self) -> Part:
        """The semantic model."""
        return read_folder(self.root / MODEL / "definition")

    @property
    def tables(self) -> dict[str, Part]:
        """The tables of the model."""
        return self.model.all("table")

    def documents(self) -> dict[str, Any]:
        """Its files in JSON, read."""
        paths = [path for path in self.root.rglob("*") if path.suffix in _IN_JSON]
        return {str(path.relative_to(self.root)): json.loads(path.read_text()) for path in paths}


_IN_JSON = {".json", ".pbip", ".pbir", ".pbism", ".pbids"}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    shutil.copytree(POWER_BI, tmp_path / "powerbi")
    return Project(tmp_path / "powerbi")


@pytest.fixture(scope="module")
def columns(open_folder: Path) -> Iterator[dict[str, dict[str, str]]]:
    """The types of the columns of each table that who reads the serving database sees."""
    folder = Path(tempfile.mkdtemp(dir=open_folder))
    folder.chmod(0o755)
    dataset = ServingDataset(path=str(folder), database="capstone", port=0)
    address = dataset.start()
    with closing(connect(address, "capstone", ADMIN)) as admin, admin, admin.cursor() as db:
        db.execute((ROOT / "infra/serving/schema.sql").read_text())
    with closing(connect(address, "capstone", READER)) as reader, reader.cursor() as db:
        db.execute(
            "SELECT table_name, column_name, data_type FROM information_schema.columns "
            "WHERE table_schema = 'serving'"
        )
        found: dict[str, dict[str, str]] = {}
        for table, column, kind in db.fetchall():
            found.setdefault(table, {})[column] = kind
    yield found
    EmbeddedServer(folder, 0).stop()


def check_schemas(project: Project) -> set[str]:
    """Each file is as its schema says; the schemas that are referred to and not here."""
    index = json.loads((SCHEMAS / "INDEX.json").read_text())
    lacking: set[str] = set()

    def fetch(uri: str) -> Resource[Any]:
        if uri in index:
            return Resource.from_contents(json.loads((SCHEMAS / index[uri]).read_text()))
        lacking.add("/".join(uri.split("/")[-3:-1]))
        return Resource.from_contents({}, default_specification=DRAFT7)

    registry = Registry(retrieve=fetch)
    for name, document in project.documents().items():
        if name.endswith(".pbids"):  # has none
            continue
        schema = registry.get_or_retrieve(document["$schema"]).value.contents
        jsonschema.Draft7Validator(schema, registry=registry).validate(document)
    return lacking


def check_report(project: Project) -> None:
    """Each page and visual is there once, inside its page, and shows what the model has."""
    definition = project.root / REPORT / "definition"
    reference = json.loads((project.root / REPORT / "definition.pbir").read_text())
    model = project.root / REPORT / reference["datasetReference"]["byPath"]["path"]
    assert (model / "definition.pbism").exists()
    pages = json.loads((definition / "pages/pages.json").read_text())
    folders = sorted(path.parent.name for path in definition.glob("pages/*/page.json"))
    assert sorted(pages["pageOrder"]) == folders
    assert pages["activePageName"] in folders
    tables = project.tables
    for path in definition.glob("pages/*/visuals/*/visual.json"):
        document = json.loads(path.read_text())
        page = json.loads((path.parents[2] / "page.json").read_text())
        assert (document["name"], page["name"]) == (path.parent.name, path.parents[2].name)
        box = document["position"]
        assert box["x"] + box["width"] <= page["width"]
        assert box["y"] + box["height"] <= page["height"]
        visual = document["visual"]
        roles = visual["query"]["queryState"]
        assert set(roles) <= ROLES[visual["visualType"]]
        shown = [each for role in roles.values() for each in role["projections"]]
        sorts = visual["query"].get("sortDefinition", {}).get("sort", [])
        for projection in [*shown, *sorts]:
            ((kind, field),) = projection["field"].items()
            entity = field["Expression"]["SourceRef"]["Entity"]
            assert field["Property"] in tables[entity].all(kind.lower()), path
        for projection in shown:
            ((_, field),) = projection["field"].items()
            entity = field["Expression"]["SourceRef"]["Entity"]
            assert projection["queryRef"] == f"{entity}.{field['Property']}"


def check_tables(project: Project, columns: dict[str, dict[str, str]]) -> None:
    """What the model takes from the database is there, and of a type that fits."""
    for table in project.tables.values():
        (partition,) = table.all("partition").values()
        source = partition.get("source")
        taken = NAVIGATION.findall(source)
        assert taken, table.name
        assert set(taken) <= set(columns), table.name
        kinds = {column: kind for mart in taken for column, kind in columns[mart].items()}
        for named in re.findall(r'\[Data\]\[(\w+)\]|\{"(\w+)"\}', source):
            assert "".join(named) in kinds, table.name
        made = set(re.findall(r'AddColumn\(\w+, "([^"]+)"|type table \[(\w+) =', source))
        for column in table.all("column").values():
            of = column.get("sourceColumn")
            if of in kinds:
                assert column.get("dataType") == KINDS[kinds[of]], column.name
            else:
                assert any(of in each for each in made), column.name


def check_marts(project: Project, declared: dict[str, Any]) -> None:
    """The model has a table for each mart that is declared, with its key and its measures."""
    for name, mart in declared.items():
        assert name in project.tables, f"The model of infra/powerbi lacks the mart {name}."
        has = {each.get("sourceColumn") for each in project.tables[name].all("column").values()}
        assert has == {*mart["key"], *mart["measures"]}, name


def check_relationships(project: Project) -> None:
    """Each key of a mart leads to the one row of a table that has it as its key."""
    tables, ends = project.tables, set()
    for relationship in project.model.all("relationship").values():
        many, few = (relationship.get(f"{side}Column").split(".") for side in ("from", "to"))
        begin = tables[plain(many[0])].all("column")[plain(many[1])]
        end = tables[plain(few[0])].all("column")[plain(few[1])]
        assert begin.get("dataType") == end.get("dataType")
        assert end.has("isKey")
        ends.add((plain(many[0]), plain(many[1])))
    keys = {
        (name, column)
        for name, mart in declared_marts().items()
        for column in mart["key"]
        if name in tables
    }
    assert ends == keys


def check_queries(project: Project) -> None:
    """One query opens the database, at what two parameters say; the others begin with it."""
    expressions = project.model.all("expression")
    assert set(expressions) == {"Server", "Database", "Serving"}
    assert expressions["Serving"].text == SOURCE
    for name in ("Server", "Database"):
        assert "IsParameterQuery=true" in expressions[name].text
    (connection,) = json.loads((project.root / "capstone.pbids").read_text())["connections"]
    given = {name: expressions[name].text.split('"')[1] for name in ("Server", "Database")}
    said = {name.lower(): value for name, value in given.items()}
    assert connection["details"] == {"protocol": "postgresql", "address": said}
    for table in project.tables.values():
        (partition,) = table.all("partition").values()
        rest = NAVIGATION.sub("", partition.get("source"))
        opened = re.findall(r"\w+\.(?:Database|Contents|Query|NativeQuery|Files|Feed)\b", rest)
        assert not opened, table.name
        assert "Serving" not in rest, table.name
    for path in project.root.rglob("*.*"):
        if path.is_file() and path.name != "README.md":
            said_there = path.read_text().lower()
            for secret in ("password", "pwd", "user id", "uid=", "bi_reader", "credential"):
                assert secret not in said_there, path


def check_measures(project: Project) -> None:
    """A measure names columns and measures that there are."""
    tables = project.tables
    measures = {name: each for table in tables.values() for name, each in _measures(table)}
    for name, measure in measures.items():
        for table, column in COLUMN.findall(measure.text):
            assert plain(table) in tables, name
            assert column in tables[plain(table)].all("column"), name
        for other in MEASURE.findall(COLUMN.sub("", measure.text)):
            assert other in measures, name
        for table in re.findall(r"REMOVEFILTERS\('([^']+)'\)", measure.text):
            assert table in tables, name
    for name in ("Views", "Likes", "Comments", "Videos", "Engagement"):
        assert {name, f"{name} before", f"{name} change"} <= set(measures)


def _measures(table: Part) -> list[tuple[str, Part]]:
    return list(table.all("measure").items())


def declared_marts() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((ROOT / "conf/base/parameters/marts.yml").read_text())
    return read["marts"]


def test_each_file_is_as_its_schema_says(project: Project) -> None:
    assert check_schemas(project) <= LACKING


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("CapstoneMetrics.pbip", '"version"', '"versions"'),
        (f"{REPORT}/definition/report.json", '"settings"', '"setting"'),
        (f"{REPORT}/definition/pages/networks/page.json", "FitToPage", "FitsToPage"),
        (f"{REPORT}/definition/pages/networks/visuals/views/visual.json", '"width"', '"breadth"'),
    ],
)
def test_a_file_that_is_not_is_found(project: Project, name: str, old: str, new: str) -> None:
    project.replace(name, old, new)

    with pytest.raises(jsonschema.ValidationError):
        check_schemas(project)


def test_the_report_shows_what_the_model_has(project: Project) -> None:
    check_report(project)


def test_the_tables_are_those_of_postgresql(
    project: Project, columns: dict[str, dict[str, str]]
) -> None:
    check_tables(project, columns)


def test_every_declared_mart_is_in_the_model(project: Project) -> None:
    check_marts(project, declared_marts())
    more = {**declared_marts(), "gold_more": {"key": ["categoria"], "measures": {}}}
    with pytest.raises(AssertionError, match="lacks the mart gold_more"):
        check_marts(project, more)


def test_every_key_of_a_mart_has_its_relationship(project: Project) -> None:
    check_relationships(project)


def test_only_two_parameters_say_where_the_database_is(project: Project) -> None:
    check_queries(project)


def test_measures_name_what_there_is(project: Project) -> None:
    check_measures(project)


TABLES = f"{MODEL}/definition/tables"
NETWORKS = f"{TABLES}/gold_video_views_dia_rede_social.tmdl"


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        (NETWORKS, "sourceColumn: total_likes", "sourceColumn: likes"),
        (NETWORKS, "dataType: int64", "dataType: string"),
        (f"{TABLES}/Network.tmdl", '{"rede_social"}', '{"rede"}'),
        (f"{TABLES}/Date.tmdl", "[Data][data_postagem]", "[Data][dia]"),
        (f"{TABLES}/Institution.tmdl", "gold_video_views", "video_views"),
        (NETWORKS, "SUM(gold_video_views_dia_faculdade[", "SUM(gold_video_views_dia_escola["),
        (NETWORKS, "[Likes] + [Comments]", "[Likes] + [Replies]"),
        (NETWORKS, "ISCROSSFILTERED(Network[Network])", "ISCROSSFILTERED(Network[Name])"),
        (f"{MODEL}/definition/expressions.tmdl", "(Server,", '("db.example",'),
        (NETWORKS, "source = Serving{", 'source = PostgreSQL.Database("a", "b"){'),
        (
            f"{MODEL}/definition/relationships.tmdl",
            "toColumn: Network.Network",
            "toColumn: Date.Year",
        ),
        (
            f"{REPORT}/definition/pages/networks/visuals/views/visual.json",
            '"Property": "Views"',
            '"Property": "Visits"',
        ),
    ],
)
def test_a_fault_in_the_model_is_found(
    project: Project, columns: dict[str, dict[str, str]], name: str, old: str, new: str
) -> None:
    project.replace(name, old, new)

    with pytest.raises((AssertionError, KeyError)):
        check_all(project, columns)


def check_all(project: Project, columns: dict[str, dict[str, str]]) -> None:
    """Everything that is checked of the model and the report."""
    check_report(project)
    check_tables(project, columns)
    check_marts(project, declared_marts())
    check_relationships(project)
    check_queries(project)
    check_measures(project)
