"""The project of Power BI: its files by their schemas, and its model beside PostgreSQL."""

from __future__ import annotations

import json
import re
import sys
import uuid
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from capstone_metrics.serving.embedded import ADMIN, READER
from capstone_metrics.serving.provision import connect, provision
from tests.infra.planted import Copy, each_fault
from tests.infra.tmdl import Part, read_folder, unquoted
from tests.support.project import ROOT

if TYPE_CHECKING:
    from capstone_metrics.serving.embedded import Address
    from tests.infra.planted import Check

FOLDER = "infra/powerbi"
REPORT, MODEL = f"{FOLDER}/CapstoneMetrics.Report", f"{FOLDER}/CapstoneMetrics.SemanticModel"
MARTS = "conf/base/parameters/marts.yml"
SCHEMAS = Path(sys.prefix, "powerbi/powerbi_mcp/validation/schemas")
"""Microsoft's, from a wheel of which only these files are used."""

LACKING = {"visualConfiguration/2.0.0", "filterConfiguration/1.2.0"}
"""Schemas to which files refer and which the wheel lacks."""

TYPES = {"date": "dateTime", "text": "string", "bigint": "int64"}
"""The type of a column of the model by its type in PostgreSQL."""

ROLES = {  # of each kind of visual
    **{kind: {"Values"} for kind in ("card", "slicer", "tableEx")},
    "clusteredBarChart": {"Category", "Y"},
    "lineChart": {"Category", "Y", "Series"},
}
COLUMN = re.compile(r"('[^']+'|\w+)\[([^\]]+)\]")
MEASURE = re.compile(r"(?<![\w'])\[([^\]]+)\]")
NAVIGATION = re.compile(r'Serving\{\[Schema = "serving", Item = "(\w+)"\]\}\[Data\]')
SOURCE = "PostgreSQL.Database(Server, Database)"


@dataclass(frozen=True)
class PowerBI(Copy):
    """The project of Power BI, and the columns of the serving database."""

    columns: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def model(self) -> Part:
        """The semantic model."""
        return read_folder(self.root / MODEL / "definition")

    @property
    def tables(self) -> dict[str, Part]:
        """The tables of the model."""
        return self.model.all("table")

    def json(self, name: str) -> Any:
        """Return the content of a file of JSON."""
        return json.loads((self.root / name).read_text())


@pytest.fixture(scope="module")
def columns(address: Address) -> dict[str, dict[str, str]]:
    """The type of each column, in each table that a reader of the serving database sees."""
    database = f"powerbi_{uuid.uuid4().hex}"
    provision(address, database)
    with closing(connect(address, database, ADMIN)) as admin, admin, admin.cursor() as db:
        db.execute((ROOT / "infra/serving/schema.sql").read_text())
    tables: dict[str, dict[str, str]] = {}
    with closing(connect(address, database, READER)) as reader, reader.cursor() as db:
        db.execute(
            "SELECT table_name, column_name, data_type FROM information_schema.columns "
            "WHERE table_schema = 'serving'"
        )
        for table, column, kind in db.fetchall():
            tables.setdefault(table, {})[column] = kind
    return tables


@pytest.fixture
def project(tmp_path: Path, columns: dict[str, dict[str, str]]) -> PowerBI:
    return replace(PowerBI.of(tmp_path, FOLDER, MARTS), columns=columns)


def check_schemas(project: PowerBI) -> None:
    """Each file of JSON is as the schema that it names wants it."""
    from jsonschema import Draft7Validator  # noqa: PLC0415 - it is slow to import
    from referencing import Registry, Resource  # noqa: PLC0415
    from referencing.jsonschema import DRAFT7  # noqa: PLC0415

    index = json.loads((SCHEMAS / "INDEX.json").read_text())
    lacking: set[str] = set()

    def fetch(uri: str) -> Any:
        if uri in index:
            return Resource.from_contents(json.loads((SCHEMAS / index[uri]).read_text()))
        lacking.add("/".join(uri.split("/")[-3:-1]))
        return Resource.from_contents({}, default_specification=DRAFT7)

    registry = Registry(retrieve=fetch)
    for path in (project.root / FOLDER).rglob("*"):
        if path.suffix in {".json", ".pbip", ".pbir", ".pbism"}:
            document = json.loads(path.read_text())
            schema = registry.get_or_retrieve(document["$schema"]).value.contents
            errors = Draft7Validator(schema, registry=registry).iter_errors(document)
            assert [error.message for error in errors] == [], path
    assert lacking <= LACKING


def check_report(project: PowerBI) -> None:
    """Each visual is inside its page, and shows fields of the model."""
    definition = project.root / REPORT / "definition"
    reference = project.json(f"{REPORT}/definition.pbir")["datasetReference"]["byPath"]["path"]
    assert (project.root / REPORT / reference / "definition.pbism").exists()
    pages = project.json(f"{REPORT}/definition/pages/pages.json")
    folders = sorted(path.parent.name for path in definition.glob("pages/*/page.json"))
    assert sorted(pages["pageOrder"]) == folders
    assert pages["activePageName"] in folders
    tables = project.tables
    for path in definition.glob("pages/*/visuals/*/visual.json"):
        document = json.loads(path.read_text())
        page = json.loads((path.parents[2] / "page.json").read_text())
        assert (document["name"], page["name"]) == (path.parent.name, path.parents[2].name)
        box, visual = document["position"], document["visual"]
        assert box["x"] + box["width"] <= page["width"]
        assert box["y"] + box["height"] <= page["height"]
        query = visual["query"]
        assert set(query["queryState"]) <= ROLES[visual["visualType"]]
        shown = [each for role in query["queryState"].values() for each in role["projections"]]
        for projection in shown + query.get("sortDefinition", {}).get("sort", []):
            ((kind, field),) = projection["field"].items()
            entity = field["Expression"]["SourceRef"]["Entity"]
            assert field["Property"] in tables[entity].all(kind.lower()), path
            if projection in shown:
                assert projection["queryRef"] == f"{entity}.{field['Property']}"


def check_tables(project: PowerBI) -> None:
    """Each column that the model takes is in the database, and of its type."""
    for table in project.tables.values():
        (partition,) = table.all("partition").values()
        source = partition.get("source")
        marts = NAVIGATION.findall(source)
        assert marts, table.name
        types = {column: kind for mart in marts for column, kind in project.columns[mart].items()}
        for names in re.findall(r'\[Data\]\[(\w+)\]|\{"(\w+)"\}', source):
            assert "".join(names) in types, table.name
        added = set(re.findall(r'AddColumn\(\w+, "([^"]+)"|type table \[(\w+) =', source))
        for column in table.all("column").values():
            name = column.get("sourceColumn")
            if name in types:
                assert column.get("dataType") == TYPES[types[name]], column.name
            else:
                assert any(name in each for each in added), column.name


DIMENSIONS = {"data_postagem", "data_observacao", "rede_social", "faculdade"}
"""The columns by which the tables of the model are filtered."""


def check_marts(project: PowerBI) -> None:
    """The model has each declared mart, or a finer one, with a relationship for each dimension."""
    declared, tables = project.read(MARTS)["marts"], project.tables
    taken = {name: mart for name, mart in declared.items() if name in tables}
    for name, mart in declared.items():
        finer = [each for each in taken.values() if set(each["key"]) >= set(mart["key"])]
        same = any(each | {"key": mart["key"]} == mart for each in finer)
        assert same, f"The model of infra/powerbi lacks the mart {name}."
    for name, mart in taken.items():
        columns = {each.get("sourceColumn") for each in tables[name].all("column").values()}
        assert columns == {*mart["key"], *mart.get("attributes", ()), *mart["measures"]}, name
    ends = set()
    for relationship in project.model.all("relationship").values():
        many, one = (
            [unquoted(name) for name in relationship.get(f"{side}Column").split(".")]
            for side in ("from", "to")
        )
        end = tables[one[0]].all("column")[one[1]]
        assert tables[many[0]].all("column")[many[1]].get("dataType") == end.get("dataType")
        assert "isKey" in end.all("property")
        ends.add(tuple(many))
    assert ends == {
        (name, column)
        for name, mart in taken.items()
        for column in (*mart["key"], *mart.get("attributes", ()))
        if column in DIMENSIONS
    }


def check_keys(project: PowerBI) -> None:
    """A key of texts has one of those that differ by case alone, which the model takes for one."""
    for table in project.tables.values():
        (partition,) = table.all("partition").values()
        for column in table.all("column").values():
            if "isKey" in column.all("property") and column.get("dataType") == "string":
                criterion = f'{{"{column.get("sourceColumn")}", Comparer.OrdinalIgnoreCase}})'
                assert criterion in partition.get("source"), table.name


def check_queries(project: PowerBI) -> None:
    """One query opens the database that two parameters name; no file has a user or a password."""
    expressions = project.model.all("expression")
    assert set(expressions) == {"Server", "Database", "Serving"}
    assert expressions["Serving"].text == SOURCE
    given = {name: expressions[name].text.split('"') for name in ("Server", "Database")}
    assert all("IsParameterQuery=true" in words[2] for words in given.values())
    (connection,) = project.json(f"{FOLDER}/capstone.pbids")["connections"]
    address = {name.lower(): words[1] for name, words in given.items()}
    assert connection["details"] == {"protocol": "postgresql", "address": address}
    for table in project.tables.values():
        (partition,) = table.all("partition").values()
        rest = NAVIGATION.sub("", partition.get("source"))
        opening = r"\w+\.(?:Database|Contents|Query|NativeQuery|Files|Feed)\b|Serving"
        assert not re.findall(opening, rest), table.name
    for path in (project.root / FOLDER).rglob("*.*"):
        if path.is_file():
            secret = r"password|pwd|user id|uid=|bi_reader|credential"
            assert not re.search(secret, path.read_text(), re.IGNORECASE), path


def check_measures(project: PowerBI) -> None:
    """A measure names columns and measures of the model."""
    tables = project.tables
    measures = {name: each for t in tables.values() for name, each in t.all("measure").items()}
    for name, measure in measures.items():
        for table, column in COLUMN.findall(measure.text):
            assert column in tables[unquoted(table)].all("column"), name
        assert set(MEASURE.findall(COLUMN.sub("", measure.text))) <= set(measures), name
        assert set(re.findall(r"REMOVEFILTERS\('([^']+)'\)", measure.text)) <= set(tables), name
    for name in ("Views", "Likes", "Comments", "Videos", "Engagement", "Views gained"):
        assert {name, f"{name} before", f"{name} change"} <= set(measures)


TABLES = f"{MODEL}/definition/tables"
CHANNELS = f"{TABLES}/gold_video_views_dia_canal.tmdl"
VISUAL = f"{REPORT}/definition/pages/networks/visuals/views/visual.json"
RELATIONSHIPS = f"{MODEL}/definition/relationships.tmdl"
DECLARED = "  gold_video_views_dia_faculdade:"
MORE = "  gold_more: {key: [categoria], measures: {}}\n"

FAULTS = {
    check_schemas: [
        (f"{FOLDER}/CapstoneMetrics.pbip", '"version"', '"versions"'),
        (f"{REPORT}/definition/pages/networks/page.json", "FitToPage", "FitsToPage"),
        (VISUAL, '"width"', '"breadth"'),
    ],
    check_report: [(VISUAL, '"Property": "Views"', '"Property": "Visits"')],
    check_tables: [
        (CHANNELS, "sourceColumn: total_likes", "sourceColumn: likes"),
        (CHANNELS, "dataType: int64", "dataType: string"),
        (f"{TABLES}/Date.tmdl", "[Data][data_postagem]", "[Data][dia]"),
        (f"{TABLES}/Institution.tmdl", "gold_video_crescimento", "video_crescimento"),
    ],
    check_marts: [
        (MARTS, DECLARED, MORE + DECLARED),
        (MARTS, "measures: *gains", "measures: {views_ganhas: {sum: views_ganhas}}"),
        (RELATIONSHIPS, "toColumn: Network.Network", "toColumn: Date.Year"),
    ],
    check_keys: [(f"{TABLES}/Network.tmdl", ', {"rede_social", Comparer.OrdinalIgnoreCase}', "")],
    check_measures: [
        (CHANNELS, "SUM(gold_video_views_dia_canal[", "SUM(gold_video_views_dia_escola["),
        (CHANNELS, "[Likes] + [Comments]", "[Likes] + [Replies]"),
    ],
    check_queries: [
        (f"{MODEL}/definition/expressions.tmdl", "(Server,", '("db.example",'),
        (CHANNELS, "source = Serving{", 'source = PostgreSQL.Database("a", "b"){'),
        (f"{MODEL}/definition/model.tmdl", "culture", "annotation user = bi_reader\n\tculture"),
    ],
}


@pytest.mark.parametrize("server", ["packaged"], indirect=True)
def test_the_project_is_sound(project: PowerBI) -> None:
    for check in FAULTS:
        check(project)


@pytest.mark.parametrize("server", ["packaged"], indirect=True)
@each_fault(FAULTS)
def test_a_planted_fault_is_noticed(
    project: PowerBI, check: Check, name: str, old: str, new: str
) -> None:
    project.replace(name, old, new)

    with pytest.raises((AssertionError, KeyError)):
        check(project)
