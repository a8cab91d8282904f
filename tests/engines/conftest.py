from tests.support.storages import (
    bucket,
    client,
    faulty,
    impatient,
    lake_proxy,
    proxied,
    proxied_client,
    storage,
)

__all__ = [
    "bucket",
    "client",
    "faulty",
    "impatient",
    "lake_proxy",
    "proxied",
    "proxied_client",
    "storage",
]
