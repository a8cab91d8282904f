"""Whom to connect as, from AWS Secrets Manager."""

from __future__ import annotations

import json
import os

from capstone_metrics.errors import CapstoneError

ATTEMPTS = 4
SECONDS = 5
"""How long to wait for an answer each time."""


def login_of(secret: str, variable: str) -> dict[str, str]:
    """The `user` and the `password` that a secret has now, for it may be rotated.

    Args:
        secret: its name or ARN. Its text is JSON with `username` and `password`, as RDS keeps it.
        variable: of the environment, where the name is from.

    Raises:
        CapstoneError: if it cannot be read or has no such text; none of it is repeated.
    """
    import boto3  # noqa: PLC0415 - slow to import, and few need it
    from botocore.config import Config  # noqa: PLC0415
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    place = f"{variable}: the secret {secret!r} of Secrets Manager"
    retries = {"mode": "standard", "total_max_attempts": ATTEMPTS}
    config = Config(connect_timeout=SECONDS, read_timeout=SECONDS, retries=retries)
    try:
        client = boto3.client("secretsmanager", region_name=_region_of(secret), config=config)
        text = client.get_secret_value(SecretId=secret).get("SecretString", "")
    except (BotoCoreError, ClientError) as error:
        raise CapstoneError(f"{place} cannot be read: {error}") from None
    try:
        said = json.loads(text)
        login = {"user": said["username"], "password": said["password"]}
    except (KeyError, TypeError, ValueError):
        login = {}
    if not login or not all(isinstance(value, str) and value for value in login.values()):
        raise CapstoneError(f'{place} is not JSON of the form {{"username": …, "password": …}}.')
    return login


def _region_of(secret: str) -> str | None:
    """That of its ARN; else that of the environment, of which boto3 reads another variable."""
    parts = secret.split(":")
    return parts[3] if parts[0] == "arn" and len(parts) > 3 else os.environ.get("AWS_REGION")  # noqa: PLR2004
