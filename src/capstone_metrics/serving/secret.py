"""Database credentials from AWS Secrets Manager."""

from __future__ import annotations

import json
import os

from capstone_metrics.errors import ServingError

MAX_ATTEMPTS = 4
TIMEOUT_SECONDS = 5
"""How long to wait for a connection or an answer, at each attempt."""


def fetch_login(secret: str, variable: str) -> dict[str, str]:
    """Return the current `user` and `password` of a secret, which may have been rotated.

    Args:
        secret: its name or ARN. Its value is JSON with `username` and `password`, as RDS stores it.
        variable: the environment variable that the name comes from, for messages.

    Raises:
        ServingError: if it cannot be read or has another form; no message repeats its value.
    """
    import boto3  # noqa: PLC0415 - slow to import, and few need it
    from botocore.config import Config  # noqa: PLC0415 - the same
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - the same

    subject = f"{variable}: the secret {secret!r} of Secrets Manager"
    retries = {"mode": "standard", "total_max_attempts": MAX_ATTEMPTS}
    config = Config(connect_timeout=TIMEOUT_SECONDS, read_timeout=TIMEOUT_SECONDS, retries=retries)
    try:
        client = boto3.client("secretsmanager", region_name=_region_of(secret), config=config)
        text = client.get_secret_value(SecretId=secret).get("SecretString", "")
    except (BotoCoreError, ClientError) as error:
        raise ServingError(f"{subject} cannot be read: {error}") from None
    try:
        document = json.loads(text)
        login = {"user": document["username"], "password": document["password"]}
    except (KeyError, TypeError, ValueError):
        login = {}
    if not login or not all(isinstance(value, str) and value for value in login.values()):
        raise ServingError(f'{subject} is not JSON of the form {{"username": …, "password": …}}.')
    return login


def _region_of(secret: str) -> str | None:
    """Return the region of an ARN, else that of `AWS_REGION`, which boto3 itself does not read."""
    parts = secret.split(":")
    return parts[3] if parts[0] == "arn" and len(parts) > 3 else os.environ.get("AWS_REGION")  # noqa: PLR2004
