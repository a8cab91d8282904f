"""The workflows are valid, grant no more than they must, and run commands of the project."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.infra.image import stages_of
from tests.infra.planted import Copy, each_fault
from tests.infra.schemas import assert_valid
from tests.infra.terraform import FOLDER as TERRAFORM
from tests.infra.terraform import Configuration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.infra.planted import Check

FOLDER = ".github/workflows"
CI, NIGHTLY, DEPLOY, AUDIT = (
    f"{FOLDER}/{name}.yml" for name in ("ci", "nightly", "deploy", "audit")
)
BUNDLE = "infra/databricks/databricks.yml"
DOCKERFILE = "infra/docker/Dockerfile"
PINNED = re.compile(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")
OURS = re.compile(r"uses: \./\.github/workflows/[a-z]+\.yml\b")
OTHERS = re.compile(
    r"(sudo )?apt-get (update|install --yes --no-install-recommends [a-z ]+)"
    rf"|terraform -chdir={TERRAFORM} (init|plan|apply) .*|databricks bundle deploy --target=prod"
)
TOKENS = {"plan", "deploy"}
"""The jobs that may ask for the token by which GitHub identifies them."""


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    names = (".github", TERRAFORM, "Makefile", ".ci/run", DOCKERFILE, BUNDLE, "docs/delivery.md")
    return Copy.of(tmp_path, *names)


def workflows(copy: Copy) -> dict[str, dict[str, Any]]:
    paths = (copy.root / FOLDER).iterdir()
    return {path.name: copy.read(f"{FOLDER}/{path.name}") for path in paths}


def jobs(copy: Copy) -> Iterator[tuple[str, dict[str, Any]]]:
    for workflow in workflows(copy).values():
        yield from workflow["jobs"].items()


def commands(copy: Copy) -> list[str]:
    """Return each command of each step."""
    steps = (step for _, job in jobs(copy) for step in job.get("steps", []))
    lines = (line for step in steps for line in step.get("run", "").splitlines())
    return [command.strip() for line in lines for command in line.split("&&")]


def check_schema(copy: Copy) -> None:
    for workflow in workflows(copy).values():
        assert_valid(workflow, "github-workflows")
    assert_valid(copy.read(".github/dependabot.yml"), "dependabot")


def check_security(copy: Copy) -> None:
    zizmor = Path(sys.executable).parent / "zizmor"
    command = [zizmor, "--offline", "--persona=auditor", "--quiet", ".github"]
    done = subprocess.run(command, cwd=copy.root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for path in (copy.root / FOLDER).iterdir():
        used = re.findall("uses:.*", path.read_text())
        assert used
        assert [line for line in used if not PINNED.search(line) and not OURS.search(line)] == []


def check_permissions(copy: Copy) -> None:
    for workflow in workflows(copy).values():
        assert workflow["permissions"] == {}
    for name, job in jobs(copy):
        token = {"id-token": "write"} if name in TOKENS else {}
        assert job["permissions"] == {"contents": "read", **token}
        assert "secrets" not in job
    text = "".join(path.read_text() for path in (copy.root / FOLDER).glob("*.yml"))
    assert not re.search(r"secrets\.|secrets:|pull_request_target|aws-access-key|AKIA", text)


def check_approval(copy: Copy) -> None:
    """The approved plan is applied, and nothing else, by the role of each environment."""
    deploy = copy.read(DEPLOY)
    assert set(deploy[True]) == {"push"}  # the key `on`
    assert set(deploy[True]["push"]) == {"tags"}
    plan, apply = deploy["jobs"]["plan"], deploy["jobs"]["deploy"]
    trusted = Configuration(copy.root).locals()["github_environments"]
    assert (plan["environment"], apply["environment"]) == ("plan", "production")
    assert trusted == {"plan": "plan", "apply": "production"}
    assert (plan["needs"], apply["needs"]) == (["check", "test-all"], "plan")
    planned = " ".join(step.get("run", "") for step in plan["steps"])
    (applied,) = (s["run"] for s in apply["steps"] if " apply " in s.get("run", ""))
    (file,) = re.findall(r"-out=(\S+)", planned)
    assert applied.split()[-1] == file
    assert "apply" not in planned


def check_commands(copy: Copy) -> None:
    """A command is a goal of make, a script, or one of a few others."""
    goals = re.findall(r"^([a-z-]+):", (copy.root / "Makefile").read_text(), re.MULTILINE)
    for command in commands(copy):
        program, _, rest = command.partition(" ")
        if program == "make":
            assert rest in goals
        elif program == "bash":
            path, *options = rest.split()
            assert (copy.root / path).is_file()
            assert set(options) <= set(goals)
        else:
            assert OTHERS.fullmatch(command), command
    base = stages_of(copy.root / DOCKERFILE)["base"].base
    assert copy.read(CI)["jobs"]["test"]["container"] == base
    assert copy.read(NIGHTLY)["jobs"]["test-all"]["container"] == base


def check_variables(copy: Copy) -> None:
    """Terraform and the bundle get each variable that has no default, and no unknown one."""
    deploy = copy.read(DEPLOY)
    (plan,) = (command for command in commands(copy) if " plan " in command)
    c = Configuration(copy.root)
    declared = c.blocks("variable")
    given = set(re.findall(r'-var="?(\w+)=', plan))
    environment = {name.removeprefix("TF_VAR_") for name in deploy["env"] if "TF_VAR_" in name}
    assert "-var-file=environments/prod.tfvars" in plan
    assert given | environment <= set(declared)
    assert not environment & set(c.values("prod"))  # the file would override it
    required = {name for name, body in declared.items() if "default" not in body}
    assert required <= given | environment | set(c.values("prod"))
    bundle = copy.read(BUNDLE)
    required = {name for name, body in bundle["variables"].items() if "default" not in body}
    steps = deploy["jobs"]["deploy"]["steps"]
    given = {name.partition("BUNDLE_VAR_")[2] for step in steps for name in step.get("env", {})}
    assert given - {""} == required - set(bundle["targets"]["prod"]["variables"])
    used = re.findall(r"vars\.(\w+)", (copy.root / DEPLOY).read_text())
    page = (copy.root / "docs/delivery.md").read_text()  # where one reads what to set on GitHub
    assert used
    assert [name for name in used if f"`{name}`" not in page] == []


FAULTS = {
    check_schema: [(CI, "runs-on:", "runs_on:")],
    check_security: [
        (DEPLOY, "persist-credentials: false", "persist-credentials: true"),
        (DEPLOY, "run: make image", "run: echo ${{ github.head_ref }}"),
        (CI, "@de0fac2e4500dabe0009e67214ff5f5447ce83dd # v6.0.2", "@v6"),
    ],
    check_permissions: [
        (CI, "permissions: {}", "permissions: write-all"),
        (AUDIT, "contents: read", "contents: read\n      id-token: write"),
        (DEPLOY, "${{ vars.AWS_ROLE }}", "${{ secrets.AWS_ROLE }}"),
    ],
    check_approval: [
        (DEPLOY, "environment: production", "environment: plan"),
        (DEPLOY, "apply prod.tfplan", "apply -auto-approve"),
        (DEPLOY, "needs: [check, test-all]", "needs: [check]"),
        ("infra/terraform/github.tf", '"production"', '"prod"'),
    ],
    check_commands: [
        (CI, "make lint", "make lints"),
        (CI, "bash .ci/run", "bash .ci/runs"),
        (NIGHTLY, "run test-all", "run test-alls"),
        (DEPLOY, "bundle deploy --target=prod", "bundle deploy --target=dev"),
        (CI, "container: python:3.11.16", "container: python:3.12.1"),
    ],
    check_variables: [
        (DEPLOY, "environments/prod.tfvars", "environments/dev.tfvars"),
        (DEPLOY, '-var="image_tag=', '-var="image='),
        (DEPLOY, "TF_VAR_rds_ca_bundle", "RDS_CA_BUNDLE"),
        (DEPLOY, "BUNDLE_VAR_bucket", "BUNDLE_VAR_lake"),
        (DEPLOY, "vars.AWS_ROLE", "vars.ROLE"),
    ],
}


@pytest.mark.parametrize("check", FAULTS)
def test_the_workflows_are_sound(copy: Copy, check: Check) -> None:
    check(copy)


@each_fault(FAULTS)
def test_a_planted_fault_is_noticed(
    copy: Copy, check: Check, name: str, old: str, new: str
) -> None:
    copy.replace(name, old, new)

    with pytest.raises(AssertionError):
        check(copy)
