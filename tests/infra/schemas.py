"""Validation of YAML files by the schemas that check-jsonschema brings."""

from __future__ import annotations

import json
from importlib.metadata import distribution
from typing import Any


def assert_valid(document: Any, schema: str) -> None:
    """Assert that a document is as a schema wants it.

    Args:
        document: as YAML 1.1 reads it, which takes the key `on` for true.
        schema: its name, such as `github-workflows`.
    """
    from jsonschema.validators import validator_for  # noqa: PLC0415 - it is slow to import

    path = distribution("check-jsonschema").locate_file(
        f"check_jsonschema/builtin_schemas/vendor/{schema}.json"
    )
    content = json.loads(path.read_text())
    document = {"on" if key is True else key: value for key, value in document.items()}
    messages = [error.message for error in validator_for(content)(content).iter_errors(document)]
    assert not messages, messages
