"""The workflows hold, give away no more than they must, and run the commands of the project."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.conftest import ROOT
from tests.infra.image import stages_of
from tests.infra.terraform import Configuration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROGRAMS = Path(sys.executable).parent
FOLDER = ".github/workflows"
PINNED = re.compile(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")
OURS = re.compile(r"uses: \./\.github/workflows/[a-z]+\.yml\b")
MAKE = re.compile(r"make ([a-z-]+)")
OF_THE_RUNNER = re.compile(
    r"(sudo )?apt-get (update|install --yes --no-install-recommends [a-z ]+)"
)
PAGES = ["README.md", "docs/delivery.md", "docs/databricks.md"]
TOKENS = {"plan", "deploy"}
"""The jobs that may ask for the token by which GitHub vouches for them."""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The workflows, to plant faults in, and what they name."""
    shutil.copytree(ROOT / ".github", tmp_path / ".github")
    Configuration.copy(tmp_path)
    for part in ("Makefile", ".ci/run", "infra/docker/Dockerfile", *PAGES):
        (tmp_path / part).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / part, tmp_path / part)
    return tmp_path


def workflows(root: Path) -> dict[str, dict[str, Any]]:
    paths = sorted((root / FOLDER).glob("*.yml"))
    return {path.stem: yaml.safe_load(path.read_text()) for path in paths}


def jobs(root: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for workflow in workflows(root).values():
        yield from workflow["jobs"].items()


def commands(root: Path) -> list[str]:
    """Each command of each step."""
    steps = (step for _, job in jobs(root) for step in job.get("steps", []))
    lines = (line for step in steps for line in step.get("run", "").splitlines())
    return [command.strip() for line in lines for command in line.split("&&")]


def run(*command: str | Path, cwd: Path) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def check_schema(root: Path) -> None:
    for schema, files in (
        ("github-workflows", sorted((root / FOLDER).glob("*.yml"))),
        ("dependabot", [root / ".github/dependabot.yml"]),
    ):
        option = f"--builtin-schema=vendor.{schema}"
        run(PROGRAMS / "check-jsonschema", option, *files, cwd=root)


def check_security(root: Path) -> None:
    run(PROGRAMS / "zizmor", "--offline", "--persona=auditor", "--quiet", ".github", cwd=root)


def check_pins(root: Path) -> None:
    for path in (root / FOLDER).glob("*.yml"):
        used = [line.strip("- ") for line in path.read_text().splitlines() if "uses:" in line]
        assert used
        assert [line for line in used if not PINNED.search(line) and not OURS.search(line)] == []


def check_permissions(root: Path) -> None:
    for workflow in workflows(root).values():
        assert workflow["permissions"] == {}
    for name, job in jobs(root):
        token = {"id-token": "write"} if name in TOKENS else {}
        assert job["permissions"] == {"contents": "read", **token}
        assert "secrets" not in job
    text = "".join(path.read_text() for path in (root / FOLDER).glob("*.yml"))
    assert not re.search(r"secrets\.|secrets:|pull_request_target|aws-access-key|AKIA", text)


def check_approval(root: Path) -> None:
    deploy = workflows(root)["deploy"]
    assert set(deploy[True]) == {"push"}  # YAML's "on"
    assert set(deploy[True]["push"]) == {"tags"}
    plan, apply = deploy["jobs"]["plan"], deploy["jobs"]["deploy"]
    assert (plan["environment"], apply["environment"]) == ("plan", "production")
    assert (plan["needs"], apply["needs"]) == ("check", "plan")
    planned = " ".join(step.get("run", "") for step in plan["steps"])
    (applied,) = (s["run"] for s in apply["steps"] if " apply " in s.get("run", ""))
    (file,) = re.findall(r"-out=(\S+)", planned)
    assert applied.split()[-1] == file  # what was approved, and nothing planned anew
    assert "apply" not in planned


def check_commands(root: Path) -> None:
    targets = re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(), re.MULTILINE)
    said = "\n".join((root / page).read_text() for page in PAGES)
    for command in commands(root):
        if made := MAKE.fullmatch(command):
            assert made[1] in targets
            assert f"make {made[1]}" in said
        elif command.startswith("bash "):
            assert (root / command.removeprefix("bash ")).is_file()
        else:
            assert OF_THE_RUNNER.fullmatch(command) or command in said, command


def check_environments(root: Path) -> None:
    """The environments that take a role of AWS are those that AWS trusts."""
    deploy = workflows(root)["deploy"]["jobs"]
    taking = {
        "plan" if any(" plan " in step.get("run", "") for step in job["steps"]) else "apply": job
        for job in deploy.values()
        if any("configure-aws-credentials" in step.get("uses", "") for step in job.get("steps", ()))
    }
    trusted = Configuration(root).locals()["github_environments"]
    assert {verb: job["environment"] for verb, job in taking.items()} == trusted


def check_variables(root: Path) -> None:
    """Terraform is told what it asks for, and nothing else; and GitHub what the page says."""
    deploy = workflows(root)["deploy"]
    (plan,) = (command for command in commands(root) if " plan " in command)
    c = Configuration(root)
    declared = c.blocks("variable")
    said = set(re.findall(r'-var="?(\w+)=', plan))
    environment = {name.removeprefix("TF_VAR_") for name in deploy["env"] if "TF_VAR_" in name}
    (file,) = re.findall(r"-var-file=environments/(\w+)\.tfvars", plan)
    assert said | environment <= set(declared)
    assert not environment & set(c.values(file))  # the file would win
    needed = {name for name, body in declared.items() if "default" not in body}
    assert needed <= said | environment | set(c.values(file))
    bundle = yaml.safe_load((ROOT / "infra/databricks/databricks.yml").read_text())
    without = {name for name, body in bundle["variables"].items() if "default" not in body}
    steps = deploy["jobs"]["deploy"]["steps"]
    given = {name.partition("BUNDLE_VAR_")[2] for step in steps for name in step.get("env", {})}
    assert given - {""} == without - set(bundle["targets"]["prod"]["variables"])
    used = re.findall(r"vars\.(\w+)", (root / FOLDER / "deploy.yml").read_text())
    page = (root / "docs/delivery.md").read_text()
    assert used
    assert all(f"`{name}`" in page for name in used)


def check_base(root: Path) -> None:
    base = stages_of(root / "infra/docker/Dockerfile")["base"].base
    assert workflows(root)["ci"]["jobs"]["test"]["container"] == base


CHECKS = [
    check_schema,
    check_security,
    check_pins,
    check_permissions,
    check_approval,
    check_commands,
    check_environments,
    check_variables,
    check_base,
]


@pytest.mark.parametrize("check", CHECKS)
def test_the_workflows_hold(copy: Path, check: Callable[[Path], None]) -> None:
    check(copy)


@pytest.mark.parametrize(
    ("name", "old", "new", "check"),
    [
        ("ci", "runs-on:", "runs_on:", check_schema),
        ("deploy", "persist-credentials: false", "persist-credentials: true", check_security),
        ("deploy", "run: make image", "run: echo ${{ github.head_ref }}", check_security),
        ("ci", "@de0fac2e4500dabe0009e67214ff5f5447ce83dd # v6.0.2", "@v6", check_pins),
        ("ci", "permissions: {}", "permissions: write-all", check_permissions),
        ("ci", "contents: read", "contents: write", check_permissions),
        ("audit", "contents: read", "contents: read\n      id-token: write", check_permissions),
        ("deploy", "${{ vars.AWS_ROLE }}", "${{ secrets.AWS_ROLE }}", check_permissions),
        ("deploy", "environment: production", "environment: plan", check_approval),
        ("deploy", "apply prod.tfplan", "apply -auto-approve", check_approval),
        ("deploy", "needs: check", "needs: []", check_approval),
        ("ci", "make lint", "make lints", check_commands),
        ("ci", "bash .ci/run", "bash .ci/runs", check_commands),
        ("deploy", "bundle deploy --target=prod", "bundle deploy --target=dev", check_commands),
        ("deploy", "environments/prod.tfvars", "environments/dev.tfvars", check_commands),
        ("ci", "make audit-infra", "make audit-terraform", check_commands),
        ("deploy", "environment: plan", "environment: planning", check_environments),
        ("deploy", "environment: production", "environment: plan", check_environments),
        ("deploy", '-var="image_tag=', '-var="image=', check_variables),
        ("deploy", "TF_VAR_rds_ca_bundle", "TF_VAR_rds_ca", check_variables),
        ("deploy", "TF_VAR_rds_ca_bundle", "RDS_CA_BUNDLE", check_variables),
        ("deploy", "BUNDLE_VAR_bucket", "BUNDLE_VAR_lake", check_variables),
        ("deploy", "vars.AWS_ROLE", "vars.ROLE", check_variables),
        ("ci", "container: python:3.11.16", "container: python:3.12.1", check_base),
    ],
)
def test_a_planted_fault_is_found(
    copy: Path, name: str, old: str, new: str, check: Callable[[Path], None]
) -> None:
    path = copy / FOLDER / f"{name}.yml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))

    with pytest.raises(AssertionError):
        check(copy)
