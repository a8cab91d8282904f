"""The services of AWS that a task uses: the credentials of a role, and secrets."""

from __future__ import annotations

import json
import threading
import uuid
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import boto3
from infra.s3.seaweed import HOST, REGION
from psycopg2 import sql

from capstone_metrics.serving.embedded import ADMIN
from capstone_metrics.serving.provision import connect
from tests.infra.terraform import Configuration
from tests.support.project import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from capstone_metrics.serving.embedded import Address

PUBLICATION = "publication"
"""The role of the publication's task."""

PUBLISHER = "publisher"
"""Its policy in Terraform."""

LOGIN = 'aws_secretsmanager_secret.role["loader"].arn'
"""Terraform's name of the secret that a publication logs in with."""


def may_publish(bucket: str, prefix: str) -> list[dict[str, Any]]:
    """Return the statements on S3 of the policy that Terraform gives to a publication."""
    arn = f"arn:aws:s3:::{bucket}"
    values = {"local.lake": f"{arn}/{prefix}", "aws_s3_bucket.lake.arn": arn, LOGIN: "none of S3"}
    return [
        {"Effect": "Allow", "Action": each["actions"], "Resource": each["resources"]}
        for each in Configuration(ROOT).granted(PUBLISHER, values)
        if each["actions"] != ["secretsmanager:GetSecretValue"]
    ]


@contextmanager
def credentials_of_a_task(credentials: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Hand out temporary credentials as ECS does to a task: at an address in its environment.

    Args:
        credentials: as STS gives them.
    """
    document = {
        **credentials,
        "Token": credentials["SessionToken"],
        "Expiration": credentials["Expiration"].isoformat(),
    }
    document.pop("SessionToken")
    server = ThreadingHTTPServer((HOST, 0), _Handler)
    body = json.dumps(document).encode()
    server.RequestHandlerClass = type("Handler", (_Handler,), {"body": body})
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    address = f"http://{HOST}:{server.server_port}/{PUBLICATION}"
    yield {"AWS_CONTAINER_CREDENTIALS_FULL_URI": address}
    server.shutdown()
    server.server_close()


class _Handler(BaseHTTPRequestHandler):
    body = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *args: Any) -> None:
        """Log nothing."""


class Secrets:
    """A server of Secrets Manager."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.client = boto3.client(
            "secretsmanager",
            endpoint_url=endpoint,
            region_name=REGION,
            aws_access_key_id="any",
            aws_secret_access_key="any",
        )

    def keep(self, name: str, text: str) -> str:
        """Store a secret; return its ARN."""
        arn: str = self.client.create_secret(Name=name, SecretString=text)["ARN"]
        return arn

    def rotate(self, arn: str, text: str) -> None:
        """Replace the text of a secret."""
        self.client.put_secret_value(SecretId=arn, SecretString=text)


CANARY = "Canário:9/@%"
"""A password that no output may have."""


def of(user: str, password: str) -> str:
    """Return the text of a secret, as RDS writes it."""
    return json.dumps({"username": user, "password": password})


def set_password(address: Address, user: str, password: str) -> None:
    """Create a user with the rights of `loader`, or change the password of one."""
    with closing(connect(address, "postgres", ADMIN)) as admin, admin, admin.cursor() as db:
        db.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [user])
        verb = "ALTER" if db.fetchone() else "CREATE"
        group = "" if verb == "ALTER" else "IN ROLE loader"
        statement = f"{verb} ROLE {{}} LOGIN PASSWORD {{}} {group}"
        db.execute(sql.SQL(statement).format(sql.Identifier(user), sql.Literal(password)))


@contextmanager
def secrets_manager() -> Iterator[Secrets]:
    """Run moto's server on a free port."""
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - it is slow to import

    server = ThreadedMotoServer(ip_address=HOST, port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield Secrets(f"http://{host}:{port}")
    server.stop()


def login_of_a_task(address: Address, secrets: Secrets) -> dict[str, str]:
    """Create a user who may publish, and its secret; return the environment that names both."""
    user = f"task_{uuid.uuid4().hex}"
    set_password(address, user, CANARY)
    return {
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": secrets.endpoint,
        "CAPSTONE_DSN": f"host={address.host} port={address.port}",
        "CAPSTONE_DSN_SECRET": secrets.keep(user, of(user, CANARY)),
    }
