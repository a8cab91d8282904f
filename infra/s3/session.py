"""A development session on S3: runs a command with a server on loopback and a bucket in it.

    python infra/s3/session.py kedro run --env=s3

The server is the one at the endpoint of `localstack-client`, http://localhost:4566 unless the
environment says another: LocalStack where it runs, else SeaweedFS, which stops with the command
and keeps its objects in data/s3 for the next one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import localstack_client.session
import psutil
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

sys.path.insert(0, str(Path(__file__).parent))

from seaweed import REGION, SeaweedFS

FOLDER = Path("data/s3")
BUCKET = os.environ.get("CAPSTONE_BUCKET", "lake")
KEY = "test"
"""The access key and secret of LocalStack, and so of its client."""


def main(command: list[str]) -> int:
    """Run a command with a bucket at hand; its exit code."""
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
        os.environ.pop(name, None)  # else it has to be one that is known
    session = localstack_client.session.Session(KEY, KEY, region_name=REGION)
    client = session.client("s3", config=Config(retries={"total_max_attempts": 1}))
    endpoint = client.meta.endpoint_url
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with ExitStack() as stack:
        stack.callback(_end_children)
        try:
            buckets = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
            if BUCKET not in buckets:
                client.create_bucket(Bucket=BUCKET)
        except ClientError as error:
            sys.exit(f"Error: {endpoint}: the store there is another's ({error}).")
        except BotoCoreError:
            port = urlsplit(endpoint).port or 80
            server = SeaweedFS(FOLDER.resolve(), KEY, KEY, BUCKET, port)
            stack.callback(server.stop)
            server.start()
        return subprocess.run(command, env=_environment(endpoint), check=False).returncode


def _end_children() -> None:
    """End what a signal left running: it may come before a process that starts has a name here."""
    children = psutil.Process().children(recursive=True)
    for child in children:
        with suppress(psutil.NoSuchProcess):
            child.kill()
    psutil.wait_procs(children)


def _environment(endpoint: str) -> dict[str, str]:
    """The environment of the command: nothing in it leads to another store."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": KEY,
        "AWS_REGION": REGION,
        "CAPSTONE_BUCKET": BUCKET,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
