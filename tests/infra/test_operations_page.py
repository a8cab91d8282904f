"""The commands of the pages on deployments exist, with their options, and name what is there."""

from __future__ import annotations

import math
import re
import shlex
from functools import cache
from typing import TYPE_CHECKING, Any

import botocore.session
import click
import pytest
import yaml
from botocore import xform_name
from botocore.exceptions import UnknownServiceError

from capstone_metrics import cli
from capstone_metrics.serving.embedded import LOADER, READER
from tests.conftest import ROOT
from tests.infra.terraform import FOLDER, Configuration
from tests.test_readme import COMMENT, script

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGE = ROOT / "docs/operations.md"
PAGES = [PAGE, ROOT / "docs/delivery.md", ROOT / "docs/databricks.md"]
PROGRAMS = "aws|terraform|databricks|kedro|make|docker"
SET = r"[A-Z_]+=(?:\"[^\"]*\"|\S*)"
COMMAND = re.compile(
    rf"(?:^ *(?:{SET} +)*|\| *|&& *|while +)({PROGRAMS}) ((?:[^|)\n\"'&]|\"[^\"]*\"|'[^']*')*)",
    re.M,
)
NESTED = re.compile(r"\$\((?:[^()]|\([^()]*\))*\)")
OF_THE_CLI = {("ecr", "get-login-password"), ("logs", "tail")}  # and of no service's model
EVERYWHERE = {"cli-input-json", "max-items", "output", "query"}
NUMBER = re.compile(r"[\d,]*\d(?:\.\d+)?")
TIMES = "\N{MULTIPLICATION SIGN}"
PRODUCT = re.compile(rf"((?:{NUMBER.pattern} {TIMES} )+{NUMBER.pattern}) = ({NUMBER.pattern})")
TERRAFORM = {"apply", "destroy", "import", "init", "output", "plan"}
AS_THEY_ARE = {"-lock=false", "-lockfile=readonly"}
OF_DATABRICKS = {"deploy", "destroy", "run", "validate"}
NAME = re.compile(r"`([a-z]+(?:_[a-z]+)+)`")


def commands(text: str) -> Iterator[list[str]]:
    """Every command of the programs above, also those within others, as words."""
    text = text.replace("\\\n", " ").replace("|\n", "| ")
    for inner in NESTED.findall(text):
        yield from commands(inner[2:-1])
    for program, rest in COMMAND.findall(NESTED.sub("…", text)):
        yield [program, *shlex.split(re.sub(r"[<>]\S+", "", rest.partition(" #")[0]).rstrip("; "))]


@cache
def operations(service: str) -> dict[str, Any]:
    """The operations of a service, as the command line names them, with what they take."""
    name_of_its_own = {"s3api": "s3"}.get(service, service)
    model = botocore.session.get_session().get_service_model(name_of_its_own)
    named = {xform_name(name, "-"): model.operation_model(name) for name in model.operation_names}
    return {name: operation.input_shape for name, operation in named.items()}


def check_aws(service: str, operation: str, *options: str) -> None:
    if (service, operation) in OF_THE_CLI:
        return
    takes = operations(service)[operation]
    members = {xform_name(name, "-"): name for name in takes.members}
    said = {word[2:].partition("=")[0] for word in options if word.startswith("--")}
    plain = {re.sub("^no-", "", name) for name in said - EVERYWHERE}
    assert plain <= set(members), (operation, plain - set(members))
    if "cli-input-json" not in said:
        given = {members[name] for name in plain}
        assert set(takes.required_members) <= given, (operation, takes.required_members)


def check_terraform(folder: str, verb: str, *options: str) -> None:
    c = Configuration(ROOT)
    assert (folder, verb in TERRAFORM) == (f"-chdir={FOLDER}", True)
    for option in set(options) - AS_THEY_ARE:
        name, _, value = option.partition("=")
        if name in {"-var-file", "-backend-config"}:
            assert (c.folder / value).is_file()
        elif name == "-var":
            assert value.partition("=")[0] in c.blocks("variable")
        elif name == "-replace":
            assert value in c.blocks("resource")
        elif verb == "import":
            assert name.startswith("arn:") or name.partition("[")[0] in c.blocks("resource")
        elif verb == "output":
            assert name == "-raw" or name in c.blocks("output")
        else:
            assert name == "-out" or (verb == "apply" and name.endswith(".tfplan"))


def check_databricks(bundle: str, verb: str, *options: str) -> None:
    jobs = yaml.safe_load((ROOT / "infra/databricks/resources/jobs.yml").read_text())
    declared = jobs["resources"]["jobs"]
    assert (bundle, verb in OF_DATABRICKS) == ("bundle", True)
    for option in options:
        name, _, value = option.partition("=")
        if not name.startswith("--"):
            assert name in declared
        elif name == "--params":
            known = {each["name"] for each in declared["gold"]["parameters"]}
            assert {pair.partition("=")[0] for pair in value.split(",")} <= known
        else:
            assert option == "--target=prod"


def check_kedro(*words: str) -> None:
    group: click.Command = cli.cli
    rest = list(words)
    while isinstance(group, click.Group) and rest and not rest[0].startswith("-"):
        group = group.commands[rest.pop(0)]
    group.make_context("page", rest)


def check_make(*goals: str) -> None:
    made = (ROOT / "Makefile").read_text()
    named = [re.escape(goal.replace(".venv", "$(VENV)")) for goal in goals]
    assert all(re.search(rf"^{goal}:", made, re.MULTILINE) for goal in named)


def check_docker(verb: str, *options: str) -> None:
    assert verb in {"build", "compose", "login", "push", "run"}


CHECKS = {
    "aws": check_aws,
    "terraform": check_terraform,
    "databricks": check_databricks,
    "kedro": check_kedro,
    "make": check_make,
    "docker": check_docker,
}


def check(text: str) -> int:
    found = list(commands(text))
    for program, *words in found:
        CHECKS[program](*words)
    return len(found)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_exist(page: Path) -> None:
    text = COMMENT.sub("", script(page.read_text(encoding="utf-8")))

    assert check(text) == len(re.findall(rf"(?<![\w/])(?:{PROGRAMS}) (?=[a-z.-])", text))


@pytest.mark.parametrize(
    "command",
    [
        "aws ecs start-tasks --cluster=x",
        "aws ecs run-task --cluster=x",
        "aws ecs run-task --task-definitions=x",
        "aws rdbs stop-db-instance --db-instance-identifier=x",
        "queue=$(aws sqs get-queue-url --queue=x)",
        "terraform -chdir=infra/terraform output -raw passwords",
        "terraform -chdir=infra/terraform apply -var=actif=false",
        "terraform -chdir=infra/terraform import aws_iam_role.gitlab arn:aws:iam::0:role/x",
        "terraform -chdir=infra/terraform apply -replace=aws_db_instance.database",
        "terraform -chdir=infra/terraform plan -var-file=environments/staging.tfvars",
        "databricks bundle run silver --target=prod",
        "databricks bundle run gold --target=prod --params=since=2026-01-01",
        "kedro state --env=s3",
        "kedro verify --all",
        "make packages",
    ],
)
def test_one_that_does_not_is_found(command: str) -> None:
    with pytest.raises((AssertionError, KeyError, click.UsageError, UnknownServiceError)):
        check(command)


def bundle() -> set[str]:
    """The variables of the bundle of Databricks."""
    return set(yaml.safe_load((ROOT / "infra/databricks/databricks.yml").read_text())["variables"])


def check_names(text: str) -> None:
    """What a page calls by a name is an output, a variable, a pipeline or a role."""
    c = Configuration(ROOT)
    variables, outputs = set(c.blocks("variable")), set(c.blocks("output"))
    pipelines = {path.name for path in (ROOT / "src/capstone_metrics/pipelines").iterdir()}
    known = {*variables, *outputs, *bundle(), *pipelines, LOADER, READER}
    assert set(NAME.findall(text)) <= known
    assert set(re.findall(r"output (?:-raw )?([a-z_]+)", script(text))) <= outputs
    assert set(re.findall(r"output `(\w+)`", text)) <= outputs
    assert set(re.findall(r'(?:TF_VAR_|-var="?)(\w+)', text)) <= variables
    assert {name.lower() for name in re.findall(r"BUNDLE_VAR_(\w+)", text)} <= bundle()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_names_exist(page: Path) -> None:
    check_names(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "text",
    [
        "The role needs `iam:PassRole` on `databricks_arn`.",
        "The output `network_id` says so.",
        "```sh\nterraform -chdir=infra/terraform output passwords\n```",
        "```sh\nexport TF_VAR_image=1\n```",
        "```sh\nexport BUNDLE_VAR_lake=a-lake\n```",
    ],
)
def test_a_name_of_nothing_is_found(text: str) -> None:
    with pytest.raises(AssertionError):
        check_names(text)


def test_the_outputs_name_variables_of_the_bundle() -> None:
    said = {
        name: body["description"] for name, body in Configuration(ROOT).blocks("output").items()
    }
    named = set(re.findall(r"variable (\w+) of the (?:Databricks )?bundle", str(said)))
    same = {name for name, text in said.items() if "of the same name of the bundle" in text}

    assert {"bucket", "prefix", "region"} == named
    assert same == {"instance_profile_arn"}
    assert named | same <= bundle()


def test_the_prices_add_up() -> None:
    text = PAGE.read_text(encoding="utf-8")
    table = [
        line.split("|")[3:6]
        for line in text.splitlines()
        if re.match(r"\|.*\d\.\d\d \|$|\|.*\| 0\.04 \|$", line)
    ]
    columns = [
        [float(re.findall(r"[\d.]+", cell)[-1]) for cell in column]
        for column in zip(*table, strict=True)
    ]
    totals = re.search(r"\*\*a month.*\*\*([\d.]+)\*\*.*\*\*([\d.]+)\*\*.*\*\*([\d.]+)\*\*", text)

    assert totals
    assert [round(sum(column), 2) for column in columns] == [
        float(total) for total in totals.groups()
    ]
    for terms, result in PRODUCT.findall(text):
        factors = (float(factor.replace(",", "")) for factor in NUMBER.findall(terms))
        assert f"{math.prod(factors):.2f}" == f"{float(result):.2f}", terms
