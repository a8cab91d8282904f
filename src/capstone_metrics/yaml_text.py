"""Read and write YAML as the configuration of Kedro is read: it takes 1e3 for a number.

The parser in C takes a tenth of the time of the one in Python; PyYAML may have been built without.
"""

import re
from collections.abc import Mapping
from typing import Any

import yaml

FLOAT = re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$")
"""The numbers with an exponent, some of which PyYAML takes for texts."""

SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Loader(SafeLoader):  # type: ignore[misc]
    """The safe loader, with these numbers."""


class Dumper(yaml.SafeDumper):
    """The safe dumper, which puts texts in quotes that the loader takes for something else."""


for each in (Loader, Dumper):
    each.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+0123456789"))


def read_yaml(text: str) -> Any:
    """Return the content of a YAML document.

    Raises:
        yaml.YAMLError: if it is not valid.
    """
    return yaml.load(text, Loader=Loader)  # noqa: S506 - it is a safe one


def write_yaml(content: Mapping[str, Any]) -> str:
    """Return a document in block style, with its names in their order."""
    return yaml.dump(dict(content), Dumper=Dumper, sort_keys=False, allow_unicode=True, width=100)
