"""Run a command with an S3 server on loopback that has a bucket, for development.

    python infra/s3/session.py kedro run --env=s3

The server is the one at the endpoint of `localstack-client`, by default http://localhost:4566:
LocalStack if it is running, else SeaweedFS, which stops with the command and leaves its objects in
data/s3 for the next one.
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
"""The access key and the secret key of LocalStack."""


def main(command: list[str]) -> int:
    """Run a command with a bucket available; return its exit code."""
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
        os.environ.pop(name, None)  # else boto3 needs a profile of that name
    session = localstack_client.session.Session(KEY, KEY, region_name=REGION)
    client = session.client("s3", config=Config(retries={"total_max_attempts": 1}))
    endpoint = client.meta.endpoint_url
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with ExitStack() as stack:
        stack.callback(_kill_children)
        try:
            buckets = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
            if BUCKET not in buckets:
                client.create_bucket(Bucket=BUCKET)
        except ClientError as error:
            sys.exit(
                f"Error: {endpoint}: another object store runs there ({error}); stop it, or set "
                "AWS_ENDPOINT_URL to a free address."
            )
        except BotoCoreError:
            port = urlsplit(endpoint).port or 80
            server = SeaweedFS(FOLDER.resolve(), KEY, KEY, BUCKET, port)
            stack.callback(server.stop)
            server.start()
        return subprocess.run(command, env=_command_environment(endpoint), check=False).returncode


def _kill_children() -> None:
    """Kill child processes; a signal may arrive before a new server can be stopped by name."""
    children = psutil.Process().children(recursive=True)
    for child in children:
        with suppress(psutil.NoSuchProcess):
            child.kill()
    psutil.wait_procs(children)


def _command_environment(endpoint: str) -> dict[str, str]:
    """Return the environment of the command, without any setting of another store."""
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
