"""Where the requests to a bucket go: engines go to the same place as boto3, by what it does."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies

from botocore.httpsession import get_cert_path

SIGNED_REGION = re.compile(r"Credential=[^,]*?/\d{8}/([^/]+)/s3")
"""The region in the signature of a request."""


class Place(NamedTuple):
    """Where the requests to a bucket go.

    Attributes:
        scheme: `https` or `http`.
        host: of the store, with a port if the URL has one; the bucket is not in it.
        folder: the path on the host below which the buckets are; mostly empty.
        is_path_style: whether the bucket is in the path of a URL, and not in its host.
        region: the region for which requests are signed.
    """

    scheme: str
    host: str
    folder: str
    is_path_style: bool
    region: str

    @property
    def url(self) -> str:
        """The URL of the store."""
        return f"{self.scheme}://{self.host}{self.folder}"

    @property
    def s3a_options(self) -> dict[str, str]:
        """The options by which Hadoop goes there; none where it goes by the region alone."""
        if not self.is_path_style and self.url == f"https://s3.{self.region}.amazonaws.com":
            return {}
        return {
            "fs.s3a.endpoint": self.url,
            "fs.s3a.endpoint.region": self.region,
            "fs.s3a.path.style.access": str(self.is_path_style).lower(),
            "fs.s3a.connection.ssl.enabled": str(self.scheme == "https").lower(),
        }

    @classmethod
    def of_request(cls, request: Any, bucket: str, client: Any) -> Place:
        """Return where a request of boto3 goes, which by then has followed all of its rules.

        Args:
            request: the request, as it is about to be sent.
            bucket: the name of the bucket.
            client: the client that sends it.
        """
        parts, endpoint = urlsplit(request.url), urlsplit(client.meta.endpoint_url)
        has_bucket = parts.netloc != endpoint.netloc and parts.netloc.startswith(f"{bucket}.")
        signature = request.headers.get("Authorization", "")
        signed = SIGNED_REGION.search(
            signature.decode() if isinstance(signature, bytes) else signature
        )
        return cls(
            scheme=parts.scheme,
            host=parts.netloc.removeprefix(f"{bucket}.") if has_bucket else parts.netloc,
            folder=endpoint.path.rstrip("/"),
            is_path_style=not has_bucket,
            region=signed[1] if signed else client.meta.region_name or "",
        )


def certificates(configured: str | None) -> str:
    """Return the file of certificates by which boto3 checks a store.

    Args:
        configured: the `ca_bundle` of the AWS configuration, or `AWS_CA_BUNDLE`.
    """
    path: str = configured or os.environ.get("REQUESTS_CA_BUNDLE") or get_cert_path(True)
    return str(Path(path).expanduser())


def has_proxy() -> bool:
    """Return whether the environment names a proxy, which only boto3 finds by all of its rules."""
    return bool(getproxies().keys() - {"no"})
