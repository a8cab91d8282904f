"""What Terraform declares opens nothing, keeps what is kept, and follows the project.

The tests of Terraform's own, in `infra/terraform/tests`, say more, of what it makes of the
configuration; they need the AWS provider, which `make terraform` fetches. These need neither.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
import yaml

from capstone_metrics import cli
from capstone_metrics.errors import CapstoneError
from capstone_metrics.pipeline_registry import register_pipelines
from capstone_metrics.serving.administer import PASSWORDS
from capstone_metrics.serving.embedded import LOADER, READER
from capstone_metrics.serving.remote import SECRET, VARIABLE, RemoteServer
from tests.conftest import ROOT
from tests.infra.terraform import FOLDER, Configuration, leaves

if TYPE_CHECKING:
    from collections.abc import Callable

ENVIRONMENTS = ("dev", "prod")
with_terraform = pytest.mark.skipif(
    not os.environ.get("TERRAFORM"), reason="needs the AWS provider: make terraform"
)
DOCKERFILE = ROOT / "infra/docker/Dockerfile"

OPENING = {  # what would let something in or out of the network, or log in for ever
    *("aws_internet_gateway", "aws_egress_only_internet_gateway", "aws_nat_gateway", "aws_eip"),
    *("aws_route", "aws_lb", "aws_instance", "aws_iam_user", "aws_iam_access_key"),
    *("aws_s3_bucket_acl", "aws_s3_bucket_website_configuration"),
}
EVERYBODY = {"0.0.0.0/0", "::/0"}
PUBLIC = ("publicly_accessible", "map_public_ip_on_launch", "assign_public_ip")
SAID_EACH_TIME = {"image_tag", "rds_ca_bundle"}  # in the environment, which a file would override
ISSUER = "token.actions.githubusercontent.com"
SUBJECT = "repo:${var.github_repository}:environment:${each.value}"
READS = re.compile(r"[a-z0-9]+:(Describe|Get|List|View)[A-Za-z]+")
NO_RESOURCE = {  # knows none, or is asked for without its name
    *("cloudwatch:DescribeAlarms", "ec2:DescribeNetworkAcls", "ec2:DescribeNetworkInterfaces"),
    *("ec2:DescribePrefixLists", "ec2:DescribeRouteTables", "ec2:DescribeSecurityGroupRules"),
    *("ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "ec2:DescribeVpcAttribute"),
    *("ec2:DescribeVpcEndpoints", "ec2:DescribeVpcs", "ecr:GetAuthorizationToken"),
    *("ecs:DescribeTaskDefinition", "ecs:RegisterTaskDefinition", "logs:DescribeLogGroups"),
    *("logs:DescribeResourcePolicies", "rds:DescribeDBInstances", "sns:GetSubscriptionAttributes"),
}


@pytest.fixture
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configuration:
    marts = yaml.safe_load((ROOT / "conf/base/parameters/marts.yml").read_text())["marts"]
    monkeypatch.setattr("capstone_metrics.hooks.declared_marts.declarations", marts)
    return Configuration.copy(tmp_path)


def check_openings(c: Configuration) -> None:
    resources = c.blocks("resource")
    assert not OPENING & {address.partition(".")[0] for address in resources}
    said = [leaf for body in resources.values() for leaf in leaves(body)]
    assert not EVERYBODY & {value for _, value in said if isinstance(value, str)}
    assert [(name, value) for name in PUBLIC for key, value in said if key == name] == [
        (name, False) for name in PUBLIC
    ]
    (block,) = c.resources("aws_s3_bucket_public_access_block").values()
    assert len([name for name, value in block.items() if value is True]) == 4
    (group,) = c.resources("aws_default_security_group").values()
    assert set(group) == {"vpc_id"}
    (readers,) = (
        rule
        for rule in c.resources("aws_vpc_security_group_ingress_rule").values()
        if "referenced_security_group_id" not in rule
    )
    assert readers["for_each"] == "${toset(var.readers)}"
    assert c.blocks("variable")["readers"]["default"] == []


def check_storage(c: Configuration) -> None:
    (database,) = c.resources("aws_db_instance").values()
    assert database["storage_encrypted"] is True
    assert database["manage_master_user_password"] is True
    assert (database["skip_final_snapshot"], database["delete_automated_backups"]) == (False, False)
    assert database["deletion_protection"] == "${var.database_protected}"
    assert c.blocks("variable")["database_protected"]["default"] is True
    (parameters,) = c.resources("aws_db_parameter_group").values()
    forced = {each["name"]: each["value"] for each in parameters["parameter"]}
    assert forced["rds.force_ssl"] == "1"
    denied = [s for owner, s in c.statements() if owner == "lake" and s["effect"] == "Deny"]
    assert {(each["variable"], *each["values"]) for s in denied for each in s["condition"]} == {
        ("aws:SecureTransport", "false"),
        ("s3:TlsVersion", "1.2"),
    }
    assert all(s["actions"] == ["s3:*"] for s in denied)
    bucket = c.blocks("resource")
    encryption = bucket["aws_s3_bucket_server_side_encryption_configuration.lake"]
    assert ("sse_algorithm", "AES256") in leaves(encryption)
    assert ("status", "Enabled") in leaves(bucket["aws_s3_bucket_versioning.lake"])
    assert bucket["aws_ecr_repository.publisher"]["image_tag_mutability"] == "IMMUTABLE"
    assert bucket["aws_sqs_queue.missed"]["sqs_managed_sse_enabled"] is True
    assert not {name for body in bucket.values() for name, _ in leaves(body)} & {
        *("password", "secret_string", "force_destroy")
    }


def check_policies(c: Configuration) -> None:
    allowed = [(o, s) for o, s in c.statements() if s.get("effect") != "Deny"]
    assert len(allowed) > 15
    for owner, statement in allowed:
        assert not {"not_actions", "not_resources", "not_principals"} & set(statement)
        assert not [action for action in statement["actions"] if "*" in action], owner
        if "resources" in statement:  # in a list, so that each can be seen here
            assert isinstance(statement["resources"], list), owner
        if not set(statement["actions"]) <= NO_RESOURCE:
            assert "*" not in statement.get("resources", []), owner
        for who in statement.get("principals", ()):
            assert "*" not in who["identifiers"] or owner == "s3_endpoint"
    reads = {s["sid"]: (s["actions"], s["resources"]) for o, s in allowed if o == "publisher"}
    assert reads["Gold"] == (["s3:GetObject"], ["${local.lake}/gold/*"])
    passed = [s for _, s in allowed if "iam:PassRole" in s["actions"]]
    assert passed
    assert all("iam:PassedToService" in str(s["condition"]) for s in passed)


def check_github(c: Configuration) -> None:
    """Who is trusted is one repository, in the environment of a role; and what each role may."""
    assert c.blocks("variable")["github_repository"]["default"] is None
    (provider,) = c.resources("aws_iam_openid_connect_provider").values()
    assert (provider["url"], provider["client_id_list"]) == (
        f"https://{ISSUER}",
        ["sts.amazonaws.com"],
    )
    (owner, trust), *others = ((o, s) for o, s in c.statements() if "Federated" in str(s))
    assert (owner, others) == ("github_trust", [])
    assert trust["actions"] == ["sts:AssumeRoleWithWebIdentity"]
    (principal,) = trust["principals"]
    assert principal["identifiers"] == ["${aws_iam_openid_connect_provider.github[0].arn}"]
    assert [(each["test"], each["variable"], each["values"]) for each in trust["condition"]] == [
        ("StringEquals", f"{ISSUER}:aud", ["sts.amazonaws.com"]),
        ("StringEquals", f"{ISSUER}:sub", [SUBJECT]),
    ]
    may = {
        name: [(a, s) for o, s in c.statements() if o == f"github_{name}" for a in s["actions"]]
        for name in ("reads", "applies")
    }
    assert all(READS.fullmatch(action) for action, _ in may["reads"])
    assert not {"secretsmanager:GetSecretValue"} & {a for both in may.values() for a, _ in both}
    objects = [s["resources"] for both in may.values() for a, s in both if a.endswith("Object")]
    assert all(each.startswith("${local.state}/") for resources in objects for each in resources)
    assert {a for a, _ in may["applies"] if a.startswith("iam:")} == {"iam:PassRole"}
    removed = {a for a, _ in may["applies"] if re.search("Delete|Remove|Deregister", a)}
    assert removed == {"s3:DeleteObject", "scheduler:DeleteSchedule"}
    policies = c.resources("aws_iam_role_policy")
    assert policies["github_reads"]["for_each"] == "${aws_iam_role.github}"
    assert policies["github_applies"]["for_each"].endswith('if name == "apply"}}')
    assert not [p for p in policies.values() if "github" in p["role"]]
    assert all(each["skip_destroy"] for each in c.resources("aws_ecs_task_definition").values())


def check_schedule(c: Configuration) -> None:
    said = yaml.safe_load((c.root / "conf/base/parameters/schedule.yml").read_text())["schedule"]
    assert {"timezone", "layers"} <= set(said)
    assert set(said["layers"]["publication"]) == {"starts", "minutes"}
    local = c.locals()
    assert "/../../conf/base/parameters/schedule.yml" in local["schedule"]
    assert local["publication"] == "${local.schedule.layers.publication}"
    (schedule,) = c.resources("aws_scheduler_schedule").values()
    assert schedule["for_each"] == "${toset(local.publication.starts)}"
    assert schedule["schedule_expression_timezone"] == "${local.schedule.timezone}"
    written = schedule["schedule_expression"]
    for hour, minute in re.findall(r"(\d\d):(\d\d)", str(said["layers"]["publication"]["starts"])):
        cron = written
        for place, part in (("0", hour), ("1", minute)):
            split = f'${{tonumber(split(":", each.key)[{place}])}}'
            cron = cron.replace(split, str(int(part)))
        assert cron == f"cron({int(minute)} {int(hour)} * * ? *)"
    (target,) = schedule["target"]
    (retries,) = target["retry_policy"]
    assert retries["maximum_event_age_in_seconds"] == "${local.publication.minutes * 60}"
    assert retries["maximum_retry_attempts"] > 0
    assert target["dead_letter_config"] == [{"arn": "${aws_sqs_queue.missed.arn}"}]


def check_alarms(c: Configuration) -> None:
    alarms = c.resources("aws_cloudwatch_metric_alarm")
    topic = ["${aws_sns_topic.alarms.arn}"]
    assert {name: alarm["alarm_actions"] for name, alarm in alarms.items()} == {
        "no_publication": topic,
        "missed": topic,
    }
    assert alarms["no_publication"]["treat_missing_data"] == "breaching"
    assert ("period", 3600) in leaves(alarms["no_publication"])
    # longer than a day, and not by so much that a second deadline passes
    assert 24 < c.locals()["hours_without_publication"] < 36
    assert alarms["missed"]["threshold"] == 0
    targets = c.resources("aws_cloudwatch_event_target")
    assert targets["failed"]["arn"] == topic[0]
    failed = c.resources("aws_cloudwatch_event_rule")["failed"]["event_pattern"]
    assert '"anything-but" = 0' in failed
    assert "EssentialContainerExited" in failed
    (budget,) = c.resources("aws_budgets_budget").values()
    assert budget["time_unit"] == "MONTHLY"


def check_variables(c: Configuration) -> None:
    declared = c.blocks("variable")
    text = "".join(path.read_text() for path in c.folder.glob("*.tf"))
    used = set(re.findall(r"\bvar\.(\w+)", re.sub(r"(?ms)^variable .*?^}", "", text)))
    assert used == set(declared)
    assert all(body["description"] for body in declared.values())
    needed = {name for name, body in declared.items() if "default" not in body}
    for environment in ENVIRONMENTS:
        said = c.values(environment)
        assert set(said) <= set(declared)
        assert needed - set(said) == SAID_EACH_TIME
        assert said["environment"] == environment
        backend = (c.folder / f"environments/{environment}.s3.tfbackend").read_text()
        assert re.search(r"^encrypt += true$", backend, re.MULTILINE)
        assert re.search(r"^use_lockfile += true$", backend, re.MULTILINE)
        assert f'"capstone-metrics/{environment}.tfstate"' in backend
        state = c.locals()["state"].partition(":::")[2]
        assert f'"{state.replace("${var.account_id}", said["account_id"])}"' in backend
        for each in (str(said), backend):
            assert set(re.findall(r"\d{12}", each)) == {"000000000000"}
            assert not re.search(r"AKIA|BEGIN|@(?!example\.org)", each)
    assert c.values("prod").get("database_protected", True) is True
    bundle = yaml.safe_load((ROOT / "infra/databricks/databricks.yml").read_text())
    assert c.values("prod")["lake_prefix"] == bundle["targets"]["prod"]["variables"]["prefix"]


def check_publisher(c: Configuration) -> None:
    """It is told what the code reads, and runs what the project has."""
    local = c.locals()
    read = set(re.findall(r"oc\.env:(\w+)", (c.root / "conf/prod/globals.yml").read_text()))
    assert read - set(local["variables"]) == {"AWS_ENDPOINT_URL_S3"}  # the one of AWS
    assert "conf/prod/globals.yml" in local["database"]
    assert "dbname=${local.database}" in local["dsn"]
    dsn = re.sub(r"\$\{[^}]+\}", "5432", local["dsn"]).replace("host=5432", "host=db.example")
    assert "sslmode=verify-full" in RemoteServer(f"{dsn} user=x", "5432").conninfo("x")
    tasks = local["tasks"]
    secret = f'${{aws_secretsmanager_secret.role["{LOADER}"].arn}}'
    assert tasks["publication"]["login"] == {
        VARIABLE: "${local.dsn}",
        f"{VARIABLE}{SECRET}": secret,
    }
    assert tasks["publication"]["secrets"] == {}  # it reads its own, as it is when it connects
    readers = {o for o, s in c.statements() if secret in s.get("resources", ())}
    assert readers == {"publisher", "passwords"}
    assert set(tasks["administration"]["login"]) == {VARIABLE}
    assert set(tasks["administration"]["secrets"]) == {"PGPASSWORD", *PASSWORDS.values()}
    (secrets,) = c.resources("aws_secretsmanager_secret").values()
    assert secrets["for_each"] == f'${{toset(["{LOADER}", "{READER}"])}}'
    given = cli.run.make_context("task", [*tasks["publication"]["command"]]).params
    assert (given["env"], given["pipelines"]) == ("prod", ["publish_gold"])
    assert set(given["pipelines"]) <= set(register_pipelines())
    assert tasks["administration"]["command"] == ["-m", "capstone_metrics.serving.administer"]


def check_preparation(c: Configuration) -> None:
    """Before a task, its folder gets the certificates, and is opened for who is not root."""
    (script,) = re.findall(r'\["(import os.*?)"\]', (c.folder / "tasks.tf").read_text())
    folder = c.root / "tmp"
    folder.mkdir(mode=0o755)
    path = c.locals()["certificates"].replace("/tmp", str(folder))
    script = script.replace("${local.certificates}", path).replace("'/tmp'", f"'{folder}'")
    done = [sys.executable, "-c", script]
    subprocess.run(done, env={"CERTIFICATES": "-----BEGIN"}, check=True)
    assert Path(path).read_text() == "-----BEGIN"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o1777


def check_reasons(c: Configuration) -> None:
    """What checkov does not like says why it is so, to who reads the configuration."""
    text = "".join(path.read_text() for path in c.folder.glob("*.tf"))
    skipped = re.findall(r"checkov:skip=(.*)", text)
    assert skipped
    assert all(re.fullmatch(r"CKV2?_AWS_\d+:.{20,}", each) for each in skipped)


def check_image(c: Configuration) -> None:
    """The image that is built is the one that is run."""
    if not DOCKERFILE.exists():
        pytest.skip(f"no {DOCKERFILE.relative_to(ROOT)}")
    last = DOCKERFILE.read_text().split("FROM ")[-1]
    said = dict(re.findall(r"^(ENTRYPOINT|CMD) (\[.*\])$", last, re.MULTILINE))
    assert json.loads(said["ENTRYPOINT"]) == ["python", "-m", "capstone_metrics"]
    assert json.loads(said["CMD"]) == c.locals()["tasks"]["publication"]["command"]


FOUND = (AssertionError, CapstoneError, KeyError, ValueError, click.UsageError)

CHECKS = [
    check_openings,
    check_storage,
    check_policies,
    check_github,
    check_schedule,
    check_alarms,
    check_variables,
    check_publisher,
    check_preparation,
    check_reasons,
    check_image,
]

TASKS_ALONE = "referenced_security_group_id = aws_security_group.tasks.id"
THE_WORLD = 'cidr_ipv4                    = "0.0.0.0/0"'
GROUP = 'resource "aws_default_security_group" "closed" {\n  vpc_id = aws_vpc.this.id\n'
OPENED = "  ingress {\n    protocol  = -1\n    from_port = 0\n    to_port   = 0\n  }\n"
VERSIONED = 'status = "{}"\n  }}\n}}'
WRITES = '"s3:DeleteObject", "s3:GetObject", "s3:PutObject"'
AUDIENCE = """    condition {
      test     = "StringEquals"
      variable = "token.actions.githubusercontent.com:aud"
      values   = ["sts.amazonaws.com"]
    }
"""
PULL_REQUEST = '${each.key == "apply" ? "pull_request" : "environment:plan"}'
HOUR = '${tonumber(split(":", each.key)[0])}'
SCHEDULE = "../../conf/base/parameters/schedule.yml"

# a fault; the check that finds it here; the file of Terraform's own tests that finds it there
PLANTS: list[tuple[str, str, str, Callable[[Configuration], None] | None, str | None]] = [
    ("database.tf", "accessible    = false", "accessible    = true", check_openings, "database"),
    ("database.tf", "encrypted     = true", "encrypted     = false", check_storage, "database"),
    ("database.tf", 'value = "1"', 'value = "0"', check_storage, "database"),
    (
        "database.tf",
        "manage_master_user_password = true",
        'password = "x"',
        check_storage,
        "database",
    ),
    (
        "database.tf",
        "final_snapshot         = false",
        "final_snapshot = true",
        check_storage,
        "database",
    ),
    ("network.tf", "on_launch = false", "on_launch = true", check_openings, "network"),
    ("network.tf", TASKS_ALONE, THE_WORLD, check_openings, "network"),
    ("network.tf", GROUP, GROUP + OPENED, check_openings, "network"),
    ("lake.tf", "public_policy     = true", "public_policy     = false", check_openings, "lake"),
    ("lake.tf", '["false"]', '["true"]', check_storage, "lake"),
    ("lake.tf", VERSIONED.format("Enabled"), VERSIONED.format("Suspended"), check_storage, "lake"),
    ("lake.tf", '"AES256"', '"aws:kms"', check_storage, "lake"),
    ("image.tf", '"IMMUTABLE"', '"MUTABLE"', check_storage, "lake"),
    ("roles.tf", WRITES, '"s3:*"', check_policies, "roles"),
    ("roles.tf", "${local.lake}/gold/*", "${local.lake}/*", check_policies, "roles"),
    ("roles.tf", "= [aws_sqs_queue.missed.arn]", '= ["*"]', check_policies, "roles"),
    ("roles.tf", "iam:PassedToService", "iam:AssociatedResourceArn", check_policies, "roles"),
    ("roles.tf", '["ec2.amazonaws.com"]', '["*"]', check_policies, "roles"),
    ("github.tf", SUBJECT, "repo:${var.github_repository}:*", check_github, "github"),
    ("github.tf", SUBJECT, "*", check_github, "github"),
    ("github.tf", "environment:${each.value}", PULL_REQUEST, check_github, "github"),
    ("github.tf", AUDIENCE, "", check_github, "github"),
    ("github.tf", '"StringEquals"', '"StringLike"', check_github, "github"),
    ("github.tf", '"https://token', '"https://tokens', check_github, "github"),
    ("github.tf", ' if name == "apply"', "", check_github, "github"),
    ("github.tf", '"iam:GetRole"', '"iam:PutRolePolicy"', check_github, None),
    ("github.tf", '"ecr:GetAuthorizationToken"', '"ec2:CreateRoute"', check_policies, None),
    ("github.tf", "[aws_iam_role.scheduler.arn]", '["*"]', check_policies, "github"),
    ("github.tf", "capstone-terraform-", "terraform-", check_variables, "github"),
    ("variables.tf", "^([A-Za-z0-9-]+/[A-Za-z0-9._-]+|", "^(.+/.+|", None, "github"),
    ("tasks.tf", "CAPSTONE_DSN_SECRET =", "CAPSTONE_SECRET =", check_publisher, "publication"),
    ("tasks.tf", "secrets = {}", 'secrets = { PGPASSWORD = "x" }', check_publisher, "publication"),
    ("tasks.tf", HOUR, "22", check_schedule, "publication"),
    ("tasks.tf", "= local.schedule.timezone", '= "UTC"', check_schedule, "publication"),
    (SCHEDULE, '"23:00"', '"23:30"', None, "publication"),
    ("tasks.tf", "local.publication.minutes * 60", "86400", check_schedule, "publication"),
    (
        "tasks.tf",
        "maximum_retry_attempts       = 10",
        "maximum_retry_attempts = 0",
        check_schedule,
        "publication",
    ),
    (
        "tasks.tf",
        "assign_public_ip = false",
        "assign_public_ip = true",
        check_openings,
        "publication",
    ),
    ("tasks.tf", "--pipelines=publish_gold", "--pipelines=publish", check_publisher, "publication"),
    ("tasks.tf", "CAPSTONE_PREFIX =", "CAPSTONE_FOLDER =", check_publisher, "publication"),
    ("tasks.tf", "0o1777", "0o755", check_preparation, None),
    ("tasks.tf", "sslrootcert=", "sslmode=require sslrootcert=", check_publisher, "publication"),
    (
        "image.tf",
        ":ECR encrypts with a key of its own; the image holds no secret",
        "",
        check_reasons,
        None,
    ),
    ("alarms.tf", '"breaching"', '"notBreaching"', check_alarms, "publication"),
    ("alarms.tf", "publication = 26", "publication = 52", check_alarms, "publication"),
    ("alarms.tf", '"anything-but" = 0', '"anything-but" = 1', check_alarms, "publication"),
    ("variables.tf", ' && var.image_tag != "latest"', "", None, "variables"),
    ("variables.tf", 'variable "readers"', 'variable "reader"', check_variables, None),
    ("environments/prod.tfvars", '"capstone-prod"', '"capstone"', check_variables, None),
    ("environments/dev.tfvars", "lake_prefix", "prefix", check_variables, None),
    ("environments/dev.tfvars", "active ", 'image_tag = "0.1.0"\nactive ', check_variables, None),
]


@pytest.mark.parametrize("check", CHECKS)
def test_the_configuration_holds(
    configuration: Configuration, check: Callable[[Configuration], None]
) -> None:
    check(configuration)


@pytest.mark.parametrize(
    ("name", "old", "new", "check"),
    [(name, old, new, check) for name, old, new, check, _ in PLANTS if check],
)
def test_a_planted_fault_is_found(
    configuration: Configuration,
    name: str,
    old: str,
    new: str,
    check: Callable[[Configuration], None],
) -> None:
    configuration.replace(name, old, new)

    with pytest.raises(FOUND):
        check(configuration)


@pytest.mark.skipif(not shutil.which("terraform"), reason="no Terraform")
def test_it_is_formatted() -> None:
    run = ["terraform", f"-chdir={ROOT / FOLDER}", "fmt", "-check", "-recursive", "-diff"]
    done = subprocess.run(run, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "")


def terraform_test(c: Configuration, tests: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["terraform", "test", "-no-color", f"-filter=tests/{tests}.tftest.hcl"],
        cwd=c.folder,
        env={"TF_DATA_DIR": str(ROOT / FOLDER / ".terraform"), **os.environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@with_terraform
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_terraform_accepts_the_example(configuration: Configuration, environment: str) -> None:
    tests = configuration.folder / "tests"
    (tests / "example.tftest.hcl").write_text(
        'mock_provider "aws" {\n  source = "./tests/mocks"\n}\nrun "it_is_made" {}\n'
    )
    said = (configuration.folder / f"environments/{environment}.tfvars").read_text()
    each_time = 'image_tag = "1"\nrds_ca_bundle = "-----BEGIN CERTIFICATE-----"\n'
    (tests / "terraform.tfvars").write_text(f"{said}\n{each_time}")

    done = terraform_test(configuration, "example")

    assert done.returncode == 0, done.stdout
    assert 'run "it_is_made"... pass' in done.stdout


@with_terraform
@pytest.mark.parametrize(
    ("name", "old", "new", "tests"),
    [(name, old, new, tests) for name, old, new, _, tests in PLANTS if tests],
)
def test_terraform_finds_a_planted_fault(
    configuration: Configuration, name: str, old: str, new: str, tests: str
) -> None:
    configuration.replace(name, old, new)

    done = terraform_test(configuration, tests)

    assert done.returncode == 1
    assert re.search(r"Error: (Test assertion failed|Missing expected failure)", done.stdout)
