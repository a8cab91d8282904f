"""The pages name commands, variables and outputs of this project that exist."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

import click
import pytest
import yaml

from capstone_metrics import cli, sources
from capstone_metrics.config_schema import check as check_options
from capstone_metrics.errors import CapstoneError
from capstone_metrics.mart_declarations import marts_of
from capstone_metrics.sources import files
from capstone_metrics.sources.readers.options import FORMATS, OPTIONS
from capstone_metrics.validation.contract import contract_of
from tests.infra.planted import Copy
from tests.infra.terraform import Configuration
from tests.sources.readers.files import lines_of, reading_of
from tests.support.markdown import PAGES, blocks, read
from tests.support.project import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable

CODE = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`((?:make|kedro) [^`\n]+)`")
LIBRARIES = ("viz", "registry")
"""Commands of kedro that are not the project's."""


def names(pattern: str, text: str) -> set[str]:
    return set(re.findall(pattern, text))


def parse(words: Iterable[str]) -> None:
    """Parse a command of kedro, as far as it is one of the project."""
    command: click.Command = cli.cli
    rest = list(words)
    if rest[0] in LIBRARIES:
        return
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        command = command.commands[rest.pop(0)]
    command.make_context("page", rest)


def declarations(text: str) -> list[dict[str, Any]]:
    """Return the sources of files that a page declares, whole or only how they are read."""
    contents = [yaml.safe_load(block) for _, block in blocks(text, "yaml")]
    whole = [source for each in contents for source in each.get("sources", {}).values()]
    return [each for each in [*whole, *contents] if "format" in each]


def check_declaration(declaration: dict[str, Any]) -> None:
    """Parse a source of files; one without fields reads the exports that are test data."""
    source = {"type": "files"} | declaration
    check_options("sources.page", source, {**sources.OPTIONS, **files.OPTIONS})
    reading_of(**source)
    contract_of("page", source, "UTC")
    if "fields" not in source:
        paths = list((ROOT / "tests").glob(source["path"]))
        assert paths
        for path in paths:
            lines = lines_of(path, **source)
            records = [line for line in lines if line.startswith(b"{") and b'"_extra"' not in line]
            assert len(records) > len(lines) / 2


def check(text: str) -> None:
    code = "\n".join([*CODE.findall(text), *SPAN.findall(text)]).replace("\\\n", " ")
    for command in re.findall(r"(?:^|/bin/|&& *)kedro ([^#|&\n]*)", code, re.MULTILINE):
        parse(shlex.split(command))
    makefile = (ROOT / "Makefile").read_text().replace("$(VENV)", ".venv")
    goals = set(" ".join(names(r"(?m)^([\w ./-]+):", makefile)).split())
    assert names(r"(?m)(?:^|[A-Z]\w+=\S* |&& *)make ([\w./-]+)", code) <= goals

    terraform, bundle = Configuration(ROOT), Copy(ROOT)
    outputs = names(r"output (?:-raw )?([a-z_]+)", code) | names(r"output `(\w+)`", text)
    assert outputs <= set(terraform.blocks("output"))
    resources = names(r"(?:-replace=| import [^\n]*?)(aws_\w+\.\w+)", code)
    assert resources <= set(terraform.blocks("resource"))
    variables = names(r'(?:TF_VAR_|-var="?)(\w+)', text)
    assert variables <= set(terraform.blocks("variable"))
    for name in names(r"-(?:var-file|backend-config)=(\S+)", code):
        assert (terraform.folder / name).is_file()
    declared = bundle.read("infra/databricks/databricks.yml")["variables"]
    assert {name.lower() for name in names(r"BUNDLE_VAR_(\w+)", text)} <= set(declared)
    jobs = bundle.read("infra/databricks/resources/jobs.yml")["resources"]["jobs"]
    assert names(r"bundle run (\w+)", code) <= set(jobs)
    params = ",".join(names(r"bundle run .*--params=(\S+)", code))
    known = {each["name"] for each in jobs["gold"]["parameters"]}
    assert names(r"(\w+)=", params) <= known


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_what_exists(page: str) -> None:
    check(read(page))


@pytest.mark.parametrize(
    "text",
    [
        "```sh\nkedro state --env=s3\n```",
        "```sh\nkedro verify --all\n```",
        "```sh\nmake packages\n```",
        "Then `make packages`.",
        "Then `kedro verify --all`.",
        "```sh\nterraform -chdir=infra/terraform output -raw passwords\n```",
        "```sh\nterraform apply -replace=aws_db_instance.database\n```",
        "```sh\nterraform plan -var-file=environments/staging.tfvars\n```",
        "```sh\nexport TF_VAR_image=1\n```",
        "Set `BUNDLE_VAR_lake`.",
        "```sh\ndatabricks bundle run silver --target=prod\n```",
        "```sh\ndatabricks bundle run gold --params=since=2026-01-01\n```",
    ],
)
def test_a_name_of_nothing_is_noticed(text: str) -> None:
    with pytest.raises((AssertionError, KeyError, click.UsageError)):
        check(text)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_declares_sources_that_can_be_read(page: str) -> None:
    for declaration in declarations(read(page)):
        check_declaration(declaration)


def test_the_page_of_marts_declares_marts_that_exist() -> None:
    contents = [yaml.safe_load(block) for _, block in blocks(read("docs/marts.md"), "yaml")]
    declared = {
        name: each
        for content in contents
        for name, each in content.items()
        if name.startswith("gold_")
    }

    assert set(marts_of(declared)) == set(declared) >= {"gold_video_views_30d_dia_categoria"}


def test_the_page_of_sources_has_an_example_of_each_format_and_option() -> None:
    page = read("docs/sources.md")
    examples = [each for each in declarations(page) if "fields" not in each]
    assert {each["format"] for each in examples} == set(FORMATS)
    named = set(re.findall(r"^- `(\w+)|, `(\w+)`:", page, re.MULTILINE))
    assert OPTIONS.keys() <= {name for pair in named for name in pair}


@pytest.mark.parametrize(
    "change",
    [
        {"sheet": "Posts"},
        {"delimeter": ";"},
        {"header": ["Post"]},
        {"delimiter": "tab"},
        {"path": "data/exports/hootsuite/*.tsv"},
        {"fields": {"faculdade": "Perfil"}},
    ],
)
def test_a_declaration_that_reads_nothing_is_noticed(change: dict[str, Any]) -> None:
    (example,) = (
        each
        for each in declarations(read("docs/sources.md"))
        if each["path"] == "data/exports/hootsuite/*.csv"
    )
    check_declaration(example)
    with pytest.raises((AssertionError, CapstoneError)):
        check_declaration(example | change)
