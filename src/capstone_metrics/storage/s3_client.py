"""The client of an object store, and the settings of the machine that it is made of."""

from __future__ import annotations

import os
import re
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, NoRegionError

from capstone_metrics.errors import StorageError
from capstone_metrics.storage.place import certificates

MAX_CONCURRENT_REQUESTS = 16
"""How many requests are made concurrently."""

MAX_ATTEMPTS = 6
"""How often a request is tried before its error is raised."""

ENDPOINT = re.compile(r"https?://[^@?#]+", re.IGNORECASE)
"""The URL of a store: without what may be a secret."""

SWITCHES = (
    "AWS_USE_FIPS_ENDPOINT",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
)
"""The variables about where requests go that boto3 takes for false if they are not true."""


def make_client(session: Any, root: str, region: str | None, endpoint_url: str | None) -> Any:
    """Return a client of boto3.

    Args:
        session: the session of boto3.
        root: the URL of the lake, for messages.
        region: of the bucket; None for that of the machine.
        endpoint_url: the URL of the store; None for that of the machine, or else AWS.

    Raises:
        StorageError: if a setting of the machine, or the endpoint, is invalid.
    """
    _check_certificates(root, ca_bundle(session))
    _check_switches(root)
    not_a_url = StorageError(
        f"{root}: its endpoint is not a URL of http or https without a user and a query; "
        "write it as http://<host>:<port>."
    )
    style = addressing(endpoint_url)
    try:
        client = session.client(
            "s3",
            region_name=region,
            endpoint_url=endpoint_url,
            config=Config(
                retries={"mode": "standard", "total_max_attempts": MAX_ATTEMPTS},
                connect_timeout=5,
                read_timeout=30,
                max_pool_connections=MAX_CONCURRENT_REQUESTS,
                **style,
            ),
        )
    except BotoCoreError:
        raise
    except ValueError:  # its message has the endpoint
        if session.region_name == "" and not (region or style):
            raise NoRegionError from None
        raise not_a_url from None
    if not ENDPOINT.fullmatch(client.meta.endpoint_url):
        raise not_a_url
    return client


def addressing(endpoint_url: str | None) -> dict[str, Any]:
    """Return settings of botocore: only AWS gives each bucket its own host."""
    endpoints = (os.environ.get(f"AWS_ENDPOINT_URL{suffix}") for suffix in ("_S3", ""))
    is_custom = endpoint_url or any(endpoints)
    return {"s3": {"addressing_style": "path"}} if is_custom else {}


def ca_bundle(session: Any) -> str:
    """Return the file, or folder, of certificates by which a store is checked."""
    return certificates(session._session.get_config_variable("ca_bundle"))


def _check_switches(root: str) -> None:
    for name in SWITCHES:
        value = os.environ.get(name, "")
        if value.lower() not in {"true", "false", ""}:
            raise StorageError(f"{root}: {name} is {value!r}; set it to true or false.")


def _check_certificates(root: str, path: str) -> None:
    if not os.access(path, os.R_OK):
        raise StorageError(
            f"{root}: {path}, the certificates by which the store is to be checked, cannot be "
            "read; correct AWS_CA_BUNDLE, or 'ca_bundle' of the profile."
        )
