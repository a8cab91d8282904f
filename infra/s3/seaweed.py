"""A real S3 server on loopback, for a development session and for the tests."""

from __future__ import annotations

import base64
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import psutil
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from collections.abc import Mapping

HOST = "127.0.0.1"
REGION = "us-east-1"
READER = "reader"
"""An access key, with the same secret, that may read and list but not write."""

ROLES = "arn:aws:iam::role/"
POLICIES = "2012-10-17"
"""The version of the language of policies."""

STARTS = 3
SECONDS_TO_START = 60
SECONDS_TO_STOP = 15

PORTS = [
    f"{part}.port{kind}"
    for part in ("master", "volume", "filer", "s3", "admin")
    for kind in ("", ".grpc")
]


class SeaweedFS:
    """A SeaweedFS with one bucket, in a folder of its own.

    Args:
        folder: where everything that it writes goes.
        access_key: of the identity that may do everything.
        secret_key: of both identities.
        bucket: that it starts with.
        port: where it listens; 0 for a free one.

    Attributes:
        roles: the statements of the policy of each role that the first identity may assume; to be
            set before it is started.
    """

    def __init__(
        self,
        folder: Path,
        access_key: str = "writer",
        secret_key: str = "secret",  # noqa: S107 - of a server that lives as long as its user
        bucket: str = "lake",
        port: int = 0,
    ) -> None:
        self.folder = folder
        self.access_key = access_key
        self.secret_key = secret_key
        self.bucket = bucket
        self.port = port
        self.roles: Mapping[str, list[dict[str, Any]]] = {}
        self.endpoint = ""
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it takes an object. It logs to `log` and to its TMPDIR.

        A port that was free may be taken before it listens there; so it is given others.
        """
        (self.folder / "data").mkdir(parents=True, exist_ok=True)
        (self.folder / "s3.json").write_text(json.dumps({"identities": self._identities()}))
        (self.folder / "iam.json").write_text(json.dumps(self._roles()))
        for _ in range(STARTS):
            self._launch()
            if self._answers():
                return
            self.stop()
        said = (self.folder / "log").read_text()[-2000:]
        raise RuntimeError(f"SeaweedFS did not start: {said}")

    def _launch(self) -> None:
        ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        ports["s3.port"] = self.port or ports["s3.port"]
        self.endpoint = f"http://{HOST}:{ports['s3.port']}"
        # it would take the keys of its user for an administrator's
        own = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self._command(ports),
                cwd=self.folder,
                stdout=log,
                stderr=log,
                env={**own, "TMPDIR": str(self.folder), "GOMEMLIMIT": "1GiB"},
            )

    def stop(self) -> None:
        """Stop it and whatever it started."""
        if self.process is None:
            return
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.process.pid)
            processes = [process, *process.children(recursive=True)]
            for one in processes:
                one.terminate()
            for one in psutil.wait_procs(processes, timeout=SECONDS_TO_STOP)[1]:
                one.kill()
        self.process.wait()
        self.process = None

    def environment(self, endpoint: str = "", access_key: str = "") -> dict[str, str]:
        """What points programs at it, or at a proxy before it, whatever a user has set up."""
        return {
            "AWS_ACCESS_KEY_ID": access_key or self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": endpoint or self.endpoint,
            "AWS_ENDPOINT_URL_S3": endpoint or self.endpoint,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": HOST,
        }

    def client(self, endpoint: str = "", access_key: str = "", **config: Any) -> Any:
        """A boto3 client of it, or of a proxy before it, with settings of botocore."""
        return boto3.client(
            "s3",
            endpoint_url=endpoint or self.endpoint,
            aws_access_key_id=access_key or self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=REGION,
            config=Config(**config),
        )

    def assume(self, role: str) -> dict[str, Any]:
        """Temporary credentials of a role, as STS gives them."""
        client = boto3.client(
            "sts",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=REGION,
        )
        made = client.assume_role(RoleArn=f"{ROLES}{role}", RoleSessionName=role)
        credentials: dict[str, Any] = made["Credentials"]
        return credentials

    def _identities(self) -> list[dict[str, Any]]:
        actions = {
            self.access_key: ["Admin", "Read", "Write", "List", "Tagging"],
            READER: ["Read", "List"],
        }
        return [
            {
                "name": key,
                "credentials": [{"accessKey": key, "secretKey": self.secret_key}],
                "actions": allowed,
            }
            for key, allowed in actions.items()
        ]

    def _roles(self) -> dict[str, Any]:
        who = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": ["sts:AssumeRole"]}
        return {
            "sts": {
                "issuer": "seaweedfs",
                "tokenDuration": "1h",
                "maxSessionLength": "1h",
                "signingKey": base64.b64encode(secrets.token_bytes(32)).decode(),
            },
            "policy": {"defaultEffect": "Deny", "storeType": "memory"},
            "policies": [
                {"name": name, "document": {"Version": POLICIES, "Statement": statements}}
                for name, statements in self.roles.items()
            ],
            "roles": [
                {
                    "roleName": name,
                    "roleArn": f"{ROLES}{name}",
                    "trustPolicy": {"Version": POLICIES, "Statement": [who]},
                    "attachedPolicies": [name],
                }
                for name in self.roles
            ],
        }

    def _command(self, ports: dict[str, int]) -> list[str]:
        return [
            str(Path(sys.executable).parent / "weed"),
            "mini",
            "-dir=data",
            f"-ip={HOST}",
            f"-ip.bind={HOST}",
            f"-bucket={self.bucket}",
            "-s3.config=s3.json",
            "-s3.autoCreateBucket=false",  # else a wrong bucket is made, not refused
            *(["-s3.iam.config=iam.json"] if self.roles else ["-s3.iam=false"]),
            "-s3.localSocket=s3.sock",  # the default ones stay behind in /tmp
            "-filer.localSocket=filer.sock",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-webdav=false",
            "-admin.ui=false",
            "-master.telemetry=false",
            "-volume.preStopSeconds=0",
            *(f"-{name}={port}" for name, port in ports.items()),
        ]

    def _answers(self) -> bool:
        """Whether it takes an object, before it ends or its time is over."""
        assert self.process
        client = self.client(retries={"total_max_attempts": 1})
        deadline = time.monotonic() + SECONDS_TO_START
        while time.monotonic() < deadline and self.process.poll() is None:
            with suppress(BotoCoreError, ClientError):
                client.put_object(Bucket=self.bucket, Key="started", Body=b"")
                client.delete_object(Bucket=self.bucket, Key="started")
                return True
            time.sleep(0.05)
        return False


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on, each another one."""
    with ExitStack() as stack:
        return [
            stack.enter_context(socket.create_server((HOST, 0))).getsockname()[1]
            for _ in range(count)
        ]
