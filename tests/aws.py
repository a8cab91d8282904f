"""What AWS gives to a task: the credentials of a role, and secrets."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import boto3
from infra.s3.seaweed import HOST, REGION
from moto.server import ThreadedMotoServer

from tests.conftest import ROOT
from tests.infra.terraform import Configuration

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PUBLICATION = "publication"
"""The role of the publication's task."""

PUBLISHER = "publisher"
"""Its policy in Terraform."""


LOGIN = 'aws_secretsmanager_secret.role["loader"].arn'
"""What Terraform knows the secret by that a publication logs in with."""


def may_publish(bucket: str, prefix: str) -> list[dict[str, Any]]:
    """What Terraform lets a publication do in a lake: the statements of its policy on S3."""
    arn = f"arn:aws:s3:::{bucket}"
    values = {"local.lake": f"{arn}/{prefix}", "aws_s3_bucket.lake.arn": arn, LOGIN: "none of S3"}
    return [
        {"Effect": "Allow", "Action": each["actions"], "Resource": each["resources"]}
        for each in Configuration(ROOT).granted(PUBLISHER, values)
        if each["actions"] != ["secretsmanager:GetSecretValue"]
    ]


@contextmanager
def credentials_of_a_task(made: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Hand out temporary credentials as ECS does to a task: at an address that its environment has.

    Args:
        made: the credentials, as STS gives them.
    """
    said = {**made, "Token": made["SessionToken"], "Expiration": made["Expiration"].isoformat()}
    said.pop("SessionToken")
    server = ThreadingHTTPServer((HOST, 0), _Handler)
    server.RequestHandlerClass = type("Handler", (_Handler,), {"said": json.dumps(said).encode()})
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    address = f"http://{HOST}:{server.server_port}/{PUBLICATION}"
    yield {"AWS_CONTAINER_CREDENTIALS_FULL_URI": address}
    server.shutdown()
    server.server_close()


class _Handler(BaseHTTPRequestHandler):
    said = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(self.said)))
        self.end_headers()
        self.wfile.write(self.said)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


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
        """Keep a secret; its ARN."""
        arn: str = self.client.create_secret(Name=name, SecretString=text)["ARN"]
        return arn

    def rotate(self, arn: str, text: str) -> None:
        """Have the secret be another one from now on."""
        self.client.put_secret_value(SecretId=arn, SecretString=text)


@contextmanager
def secrets_manager() -> Iterator[Secrets]:
    """Moto's server, on a free port."""
    server = ThreadedMotoServer(ip_address=HOST, port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield Secrets(f"http://{host}:{port}")
    server.stop()
