"""A development session on S3: runs a command with a server on loopback and a bucket in it.

    python infra/s3/session.py kedro run --env=s3

The server is the one at the endpoint of `localstack-client`, http://localhost:4566 unless the
environment says another: LocalStack where it runs, else SeaweedFS, which stops with the command
and keeps its objects in data/s3 for the next one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import localstack_client.session
from botocore.exceptions import BotoCoreError, ClientError

sys.path.insert(0, str(Path(__file__).parent))

from seaweed import REGION, SeaweedFS

FOLDER = Path("data/s3")
BUCKET = os.environ.get("CAPSTONE_BUCKET", "lake")
KEY = "test"
"""The access key and secret of LocalStack, and so of its client."""


def main(command: list[str]) -> int:
    """Run a command with a bucket at hand; its exit code."""
    session = localstack_client.session.Session(region_name=REGION)
    client = session.client("s3")
    endpoint = client.meta.endpoint_url
    with ExitStack() as stack:
        if not _answers(client):
            server = SeaweedFS(
                FOLDER.resolve(), KEY, KEY, BUCKET, port=urlsplit(endpoint).port or 80
            )
            stack.callback(server.stop)
            server.start()
        elif BUCKET not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}:
            client.create_bucket(Bucket=BUCKET)
        environment = {
            "AWS_ENDPOINT_URL_S3": endpoint,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": KEY,
            "AWS_REGION": REGION,
            "CAPSTONE_BUCKET": BUCKET,
        }
        return subprocess.run(command, env={**os.environ, **environment}, check=False).returncode


def _answers(client: object) -> bool:
    try:
        client.list_buckets()  # type: ignore[attr-defined]
    except ClientError:
        return True
    except BotoCoreError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
