"""The pages name commands, variables and outputs of this project that exist."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import click
import pytest

from capstone_metrics import cli
from tests.infra.planted import Copy
from tests.infra.terraform import Configuration
from tests.support.markdown import PAGES, read
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
