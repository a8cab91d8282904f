"""The configuration of Terraform opens nothing, grants little, and follows the project.

Terraform's own tests, in `infra/terraform/tests`, check the whole plan, but need the AWS provider,
which `make terraform` fetches. Here, what would be worst is checked without Terraform.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest

from capstone_metrics import cli
from capstone_metrics.errors import CapstoneError
from capstone_metrics.pipeline_registry import register_pipelines
from capstone_metrics.serving.administer import PASSWORD_VARIABLES
from capstone_metrics.serving.embedded import LOADER, READER
from capstone_metrics.serving.remote import DSN_VARIABLE, SECRET_SUFFIX, RemoteServer
from tests.infra.image import stages_of
from tests.infra.planted import each_fault
from tests.infra.terraform import FOLDER, Configuration, leaves
from tests.support.project import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.infra.planted import Check

    OwnTests = Callable[..., tuple[int, str]]

ENVIRONMENTS = ("dev", "prod")
SCHEDULE = "conf/base/parameters/schedule.yml"

OPENING = {  # resources that let something in or out of the network, or log in without an end
    *("aws_internet_gateway", "aws_egress_only_internet_gateway", "aws_nat_gateway", "aws_eip"),
    *("aws_route", "aws_lb", "aws_instance", "aws_iam_user", "aws_iam_access_key"),
    *("aws_s3_bucket_acl", "aws_s3_bucket_website_configuration"),
}
EVERYBODY = {"0.0.0.0/0", "::/0"}
PUBLIC = ("publicly_accessible", "map_public_ip_on_launch", "assign_public_ip")
ISSUER = "token.actions.githubusercontent.com"
SUBJECT = "repo:${var.github_repository}:environment:${each.value}"
READS = re.compile(r"[a-z0-9]+:(Describe|Get|List|View)[A-Za-z]+")
WITHOUT_RESOURCE = {  # actions that AWS grants on all resources only, or before a name is known
    *("cloudwatch:DescribeAlarms", "ec2:DescribeNetworkAcls", "ec2:DescribeNetworkInterfaces"),
    *("ec2:DescribePrefixLists", "ec2:DescribeRouteTables", "ec2:DescribeSecurityGroupRules"),
    *("ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "ec2:DescribeVpcAttribute"),
    *("ec2:DescribeVpcEndpoints", "ec2:DescribeVpcs", "ecr:GetAuthorizationToken"),
    *("ecs:DescribeTaskDefinition", "ecs:RegisterTaskDefinition", "logs:DescribeLogGroups"),
    *("logs:DescribeResourcePolicies", "rds:DescribeDBInstances", "sns:GetSubscriptionAttributes"),
}


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    return Configuration.of(tmp_path, FOLDER, "conf")


def check_exposure(c: Configuration) -> None:
    """Nothing is open to the internet, and no password is in Terraform's state."""
    resources = c.blocks("resource")
    assert not OPENING & {address.partition(".")[0] for address in resources}
    values = [pair for body in resources.values() for pair in leaves(body)]
    assert not EVERYBODY & {value for _, value in values if isinstance(value, str)}
    assert [value for name in PUBLIC for key, value in values if key == name] == [False] * 3
    assert not {name for name, _ in values} & {"password", "secret_string", "force_destroy"}


def check_policies(c: Configuration) -> None:
    """No role has more than its part needs: every action and every resource is named."""
    allowed = [(owner, s) for owner, s in c.statements() if s.get("effect") != "Deny"]
    assert len(allowed) > 15
    for owner, statement in allowed:
        assert not {"not_actions", "not_resources", "not_principals"} & set(statement)
        assert not [action for action in statement["actions"] if "*" in action], owner
        assert isinstance(statement.get("resources", []), list), owner  # and no expression
        if not set(statement["actions"]) <= WITHOUT_RESOURCE:
            assert "*" not in statement.get("resources", []), owner
        for principal in statement.get("principals", ()):
            assert "*" not in principal["identifiers"] or owner == "s3_endpoint"
    reads = {s["sid"]: (s["actions"], s["resources"]) for o, s in allowed if o == "publisher"}
    assert reads["Gold"] == (["s3:GetObject"], ["${local.lake}/gold/*"])
    passed = [s for _, s in allowed if "iam:PassRole" in s["actions"]]
    assert passed
    assert all("iam:PassedToService" in str(s["condition"]) for s in passed)


def check_github(c: Configuration) -> None:
    """One repository is trusted, in the environment of each role; no role grants more rights."""
    assert c.blocks("variable")["github_repository"]["default"] is None
    (provider,) = c.resources("aws_iam_openid_connect_provider").values()
    trusted = (provider["url"], provider["client_id_list"])
    assert trusted == (f"https://{ISSUER}", ["sts.amazonaws.com"])
    (owner, trust), *others = ((o, s) for o, s in c.statements() if "Federated" in str(s))
    assert (owner, others) == ("github_trust", [])
    assert trust["actions"] == ["sts:AssumeRoleWithWebIdentity"]
    (principal,) = trust["principals"]
    assert principal["identifiers"] == ["${aws_iam_openid_connect_provider.github[0].arn}"]
    assert [(each["test"], each["variable"], each["values"]) for each in trust["condition"]] == [
        ("StringEquals", f"{ISSUER}:aud", ["sts.amazonaws.com"]),
        ("StringEquals", f"{ISSUER}:sub", [SUBJECT]),
    ]
    reads, applies = (
        [(a, s) for o, s in c.statements() if o == f"github_{name}" for a in s["actions"]]
        for name in ("reads", "applies")
    )
    assert all(READS.fullmatch(action) for action, _ in reads)
    assert "secretsmanager:GetSecretValue" not in {action for action, _ in reads + applies}
    objects = [s["resources"] for action, s in reads + applies if action.endswith("Object")]
    assert all(each.startswith("${local.state}/") for resources in objects for each in resources)
    assert {action for action, _ in applies if action.startswith("iam:")} == {"iam:PassRole"}
    removing = {action for action, _ in applies if re.search("Delete|Remove|Deregister", action)}
    assert removing == {"s3:DeleteObject", "scheduler:DeleteSchedule"}
    policies = c.resources("aws_iam_role_policy")
    assert policies["github_reads"]["for_each"] == "${aws_iam_role.github}"
    assert policies["github_applies"]["for_each"].endswith('if name == "apply"}}')
    assert not [policy for policy in policies.values() if "github" in policy["role"]]
    assert all(each["skip_destroy"] for each in c.resources("aws_ecs_task_definition").values())
    for environment in ENVIRONMENTS:  # the state that they may read is the one that is written
        state = c.locals()["state"].partition(":::")[2]
        bucket = state.replace("${var.account_id}", c.values(environment)["account_id"])
        backend = (c.folder / f"environments/{environment}.s3.tfbackend").read_text()
        assert f'bucket       = "{bucket}"' in backend
        assert f'key          = "capstone-metrics/{environment}.tfstate"' in backend
        assert "encrypt      = true\nuse_lockfile = true" in backend


def check_schedule(c: Configuration) -> None:
    """The publication starts by the schedule of the project, until it would be late."""
    schedule = c.read(SCHEDULE)["schedule"]
    assert set(schedule["layers"]["publication"]) == {"starts", "minutes"}
    assert f"/../../{SCHEDULE}" in c.locals()["schedule"]
    assert c.locals()["publication"] == "${local.schedule.layers.publication}"
    (declared,) = c.resources("aws_scheduler_schedule").values()
    assert declared["for_each"] == "${toset(local.publication.starts)}"
    assert declared["schedule_expression_timezone"] == "${local.schedule.timezone}"
    parts = [f'${{tonumber(split(":", each.key)[{number}])}}' for number in (1, 0)]
    assert declared["schedule_expression"] == f"cron({' '.join(parts)} * * ? *)"
    (target,) = declared["target"]
    (retries,) = target["retry_policy"]
    assert retries["maximum_event_age_in_seconds"] == "${local.publication.minutes * 60}"
    assert retries["maximum_retry_attempts"] > 0
    assert target["dead_letter_config"] == [{"arn": "${aws_sqs_queue.missed.arn}"}]


def check_tasks(c: Configuration) -> None:
    """A task gets the variables that the code reads, and runs what the image and project have."""
    local = c.locals()
    publication, administration = (
        local["tasks"][name] for name in ("publication", "administration")
    )
    read = set(re.findall(r"oc\.env:(\w+)", (c.root / "conf/prod/globals.yml").read_text()))
    assert read - set(local["variables"]) == {"AWS_ENDPOINT_URL_S3"}  # AWS has its own
    assert "conf/prod/globals.yml" in local["database"]
    assert "dbname=${local.database}" in local["dsn"]
    dsn = re.sub(r"\$\{[^}]+\}", "5432", local["dsn"]).replace("host=5432", "host=db.example")
    assert "sslmode=verify-full" in RemoteServer(f"{dsn} user=x", "5432").conninfo("x")
    secret = f'${{aws_secretsmanager_secret.role["{LOADER}"].arn}}'
    assert publication["login"] == {
        DSN_VARIABLE: "${local.dsn}",
        f"{DSN_VARIABLE}{SECRET_SUFFIX}": secret,
    }
    assert publication["secrets"] == {}  # it reads its own when it connects
    readers = {owner for owner, s in c.statements() if secret in s.get("resources", ())}
    assert readers == {"publisher", "passwords"}
    assert set(administration["login"]) == {DSN_VARIABLE}
    assert set(administration["secrets"]) == {"PGPASSWORD", *PASSWORD_VARIABLES.values()}
    (secrets,) = c.resources("aws_secretsmanager_secret").values()
    assert secrets["for_each"] == f'${{toset(["{LOADER}", "{READER}"])}}'
    options = cli.run.make_context("task", [*publication["command"]]).params
    assert (options["env"], options["pipelines"]) == ("prod", ["publish_gold"])
    assert set(options["pipelines"]) <= set(register_pipelines())
    assert administration["command"] == ["-m", "capstone_metrics.serving.administer"]
    image = stages_of(ROOT / "infra/docker/Dockerfile")["publication"]
    assert json.loads(image.last("ENTRYPOINT")) == ["python", "-m", "capstone_metrics"]
    assert json.loads(image.last("CMD")) == publication["command"]


def check_preparation(c: Configuration) -> None:
    """The first container writes the certificates, and lets other users than root write."""
    (script,) = re.findall(r'\["(import os.*?)"\]', c.text())
    folder, path = c.root / "tmp", c.root / "tmp/ca.pem"
    folder.mkdir(mode=0o755)
    script = script.replace("${local.certificates}", str(path)).replace("/tmp'", f"{folder}'")
    environment = {"CERTIFICATES": "-----BEGIN"}
    subprocess.run([sys.executable, "-S", "-c", script], env=environment, check=True)
    assert path.read_text() == "-----BEGIN"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o1777


TASKS_ALONE = "referenced_security_group_id = aws_security_group.tasks.id"
THE_WORLD = 'cidr_ipv4                    = "0.0.0.0/0"'
WRITES = '"s3:DeleteObject", "s3:GetObject", "s3:PutObject"'
AUDIENCE = f"""    condition {{
      test     = "StringEquals"
      variable = "{ISSUER}:aud"
      values   = ["sts.amazonaws.com"]
    }}
"""
HOUR = '${tonumber(split(":", each.key)[0])}'

FAULTS = {
    check_exposure: [
        ("database.tf", "accessible    = false", "accessible    = true"),
        ("database.tf", "manage_master_user_password = true", 'password = "x"'),
        ("network.tf", TASKS_ALONE, THE_WORLD),
    ],
    check_policies: [
        ("roles.tf", WRITES, '"s3:*"'),
        ("roles.tf", "${local.lake}/gold/*", "${local.lake}/*"),
        ("roles.tf", "= [aws_sqs_queue.missed.arn]", '= ["*"]'),
        ("roles.tf", "iam:PassedToService", "iam:AssociatedResourceArn"),
    ],
    check_github: [
        ("github.tf", SUBJECT, "repo:${var.github_repository}:*"),
        ("github.tf", AUDIENCE, ""),
        ("github.tf", ' if name == "apply"', ""),
        ("github.tf", '"iam:GetRole"', '"iam:PutRolePolicy"'),
        ("github.tf", "capstone-terraform-", "terraform-"),
    ],
    check_schedule: [
        ("tasks.tf", HOUR, "22"),
        ("tasks.tf", "= local.schedule.timezone", '= "UTC"'),
        ("tasks.tf", "local.publication.minutes * 60", "86400"),
    ],
    check_tasks: [
        ("tasks.tf", "CAPSTONE_DSN_SECRET =", "CAPSTONE_SECRET ="),
        ("tasks.tf", "secrets = {}", 'secrets = { PGPASSWORD = "x" }'),
        ("tasks.tf", "--pipelines=publish_gold", "--pipelines=publish"),
        ("tasks.tf", "sslrootcert=", "sslmode=require sslrootcert="),
    ],
    check_preparation: [("tasks.tf", "0o1777", "0o755")],
}
ERRORS = (AssertionError, CapstoneError, KeyError, ValueError, click.UsageError)


def test_the_configuration_is_sound(configuration: Configuration) -> None:
    for check in FAULTS:
        check(configuration)


@each_fault(FAULTS)
def test_a_planted_fault_is_noticed(
    configuration: Configuration, check: Check, name: str, old: str, new: str
) -> None:
    configuration.replace(name, old, new)

    with pytest.raises(ERRORS):
        check(configuration)


# of each file of Terraform's own tests a fault that it must notice
OWN_FAULTS = {
    "database": ("database.tf", "encrypted     = true", "encrypted     = false"),
    "github": ("github.tf", SUBJECT, "repo:${var.github_repository}:*"),
    "lake": ("lake.tf", "public_policy     = true", "public_policy     = false"),
    "network": ("network.tf", TASKS_ALONE, THE_WORLD),
    "publication": (f"../../{SCHEDULE}", '"23:00"', '"23:30"'),
    "roles": ("roles.tf", "${local.lake}/gold/*", "${local.lake}/*"),
    "variables": ("variables.tf", ' && var.image_tag != "latest"', ""),
}


@pytest.fixture
def own_tests(configuration: Configuration) -> OwnTests:
    """Run Terraform's own tests, which need its provider but ask nothing of AWS."""
    program = shutil.which("terraform")
    if not program:
        pytest.skip("terraform is not installed")
    data = ROOT / FOLDER / ".terraform"
    if not data.exists():
        pytest.skip("the AWS provider is not installed: make terraform")

    def run(*options: str) -> tuple[int, str]:
        done = subprocess.run(
            [program, "test", "-no-color", *options],
            cwd=configuration.folder,
            env={"TF_DATA_DIR": str(data), **os.environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    return run


@pytest.mark.slow
def test_terraform_accepts_the_examples(own_tests: OwnTests, configuration: Configuration) -> None:
    tests = configuration.folder / "tests"
    mock = 'mock_provider "aws" {\n  source = "./tests/mocks"\n}\nrun "plan" {}\n'
    (tests / "example.tftest.hcl").write_text(mock)
    for environment in ENVIRONMENTS:
        example = (configuration.folder / f"environments/{environment}.tfvars").read_text()
        given = 'image_tag = "1"\nrds_ca_bundle = "-----BEGIN CERTIFICATE-----"\n'
        (tests / "terraform.tfvars").write_text(f"{example}\n{given}")
        _, output = own_tests("-filter=tests/example.tftest.hcl")
        assert 'run "plan"... pass' in output, output


@pytest.mark.slow
def test_terraforms_own_tests_pass_and_each_notices_a_planted_fault(
    own_tests: OwnTests, configuration: Configuration
) -> None:
    code, output = own_tests()
    assert code == 0, output
    results = r"tests/(\w+)\.tftest\.hcl\.\.\. (pass|fail)"
    assert dict(re.findall(results, output)) == dict.fromkeys(OWN_FAULTS, "pass")

    for fault in OWN_FAULTS.values():
        configuration.replace(*fault)
    _, output = own_tests()
    assert dict(re.findall(results, output)) == dict.fromkeys(OWN_FAULTS, "fail"), output
    errors = {"Test assertion failed", "Missing expected failure"}
    assert set(re.findall(r"Error: (.*)", output)) == errors, output
