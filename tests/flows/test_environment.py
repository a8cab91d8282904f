""".env.example has every variable of the environment that the project reads, and no other."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.support.project import ROOT

if TYPE_CHECKING:
    from pathlib import Path

READ = [
    re.compile(r"""environ(?:\.get|\.setdefault|\.pop)?[\[(]\s*f?["']([A-Z][A-Z0-9_]+)["']"""),
    re.compile(r"""["']([A-Z][A-Z0-9_]+)["'] (?:not )?in os\.environ"""),
    re.compile(r"""getenv\(["']([A-Z][A-Z0-9_]+)["']"""),
    re.compile(r"^(?:[A-Z]+_)*VARIABLE = \"([A-Z_]+)\"", re.MULTILINE),
    re.compile(r"""["'](CAPSTONE_[A-Z_]+)["']"""),
    re.compile(r"oc\.env:([A-Z0-9_]+)"),
    re.compile(r"\$\{([A-Z_]+):\?"),
    re.compile(r"^\\getenv \w+ ([A-Z_]+)", re.MULTILINE),
]
WITH_A_SECRET = {"CAPSTONE_DSN", "CAPSTONE_READER_DSN"}
OF_BOTO3 = {
    *("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    *("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_SECRETS_MANAGER"),
    *("AWS_CA_BUNDLE", "HTTPS_PROXY", "NO_PROXY", "AWS_REQUEST_CHECKSUM_CALCULATION"),
    *("AWS_USE_DUALSTACK_ENDPOINT", "AWS_USE_FIPS_ENDPOINT"),
}
OF_LIBPQ = {"PGPASSFILE"}
OF_THE_SYSTEM = {"AWS_DEFAULT_PROFILE", "REQUESTS_CA_BUNDLE", "XDG_CACHE_HOME"}
OF_THE_PROJECT = ("src", "conf", "infra")


def read_by(folder: Path) -> set[str]:
    """Return the variables that the files of a folder read."""
    files = (
        path
        for path in folder.rglob("*")
        if path.suffix in {".py", ".yml", ".sql"} and "egg-info" not in str(path)
    )
    texts = (path.read_text(encoding="utf-8") for path in files)
    return {name for text in texts for pattern in READ for name in pattern.findall(text)}


def test_every_variable_that_is_read_is_in_the_example() -> None:
    names = re.findall(r"^#([A-Z_0-9]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    read = set().union(*(read_by(ROOT / name) for name in OF_THE_PROJECT))
    secrets = {f"{name}_SECRET" for name in WITH_A_SECRET}

    assert {"CAPSTONE_BUCKET", "SPARK_REMOTE", "CAPSTONE_LOADER_PASSWORD"} | WITH_A_SECRET <= read
    assert len(names) == len(set(names))
    assert read - OF_THE_SYSTEM | OF_BOTO3 | OF_LIBPQ | secrets == set(names)


def test_the_example_sets_nothing() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()

    assert [line for line in lines if line and not line.startswith("#")] == []


def test_each_way_to_read_a_variable_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text('import os\nos.environ.get("ONE")\nx = "TWO" in os.environ\n')
    (tmp_path / "conf.yml").write_text("lake: ${oc.env:THREE,null}\n")

    assert read_by(tmp_path) == {"ONE", "TWO", "THREE"}
