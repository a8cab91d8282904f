"""Commands, configuration and paths of the project's Markdown pages."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.project import ROOT

README, *TRANSLATIONS = READMES = ("README.md", "README.pt-BR.md")
MANUAL = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))
PAGES = (*READMES, "CONTRIBUTING.md", *MANUAL)

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
UNTESTED_BLOCK = re.compile(r"^<!-- not run: .+ -->\n```sh\n.*?^```$", re.MULTILINE | re.DOTALL)
UNTESTED_PAGE = "\n**What was tested.** "
"""Begins the paragraph of a page that says why its commands are not run."""

COMMENT = re.compile(r"\s+# .*")
CODE = re.compile(r"`([^`\n]+)`")
PATH = re.compile(r"[\w.*…=-]+(/[\w.*…=-]*)+")
SECONDS = re.compile(r" *\d+\.\d │$")

NOT_RUN = {"make test", "make test-all"}
"""Commands of the README that would run the test that runs them."""


def read(page: str) -> str:
    """Return the text of a page."""
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(text: str, *languages: str) -> list[tuple[str, str]]:
    """Return the code blocks in some languages: the language and the content of each."""
    return [block for block in BLOCK.findall(text) if block[0] in languages]


def commands(text: str) -> list[str]:
    """Return the shell commands of a page, without their comments."""
    lines = (line for _, block in blocks(text, "sh") for line in block.splitlines())
    return [COMMENT.sub("", line) for line in lines]


def headings(text: str) -> list[int]:
    """Return the levels of a page's headings, in order."""
    return [len(marks) for marks in re.findall(r"^(#+) ", BLOCK.sub("", text), re.MULTILINE)]


def tested_blocks(text: str) -> list[tuple[str, str]]:
    """Return the blocks of commands that are run, and the declarations that they need.

    A declaration that does not begin with the name of a file is an example; it is not needed.
    """
    tested = "" if UNTESTED_PAGE in text else UNTESTED_BLOCK.sub("", text)
    found = blocks(tested, "sh", "yaml")
    return [(kind, block) for kind, block in found if kind == "sh" or block.startswith("# ")]


def script(text: str) -> str:
    """Return the commands to run in order, with the YAML blocks written to the files they name."""
    parts = []
    for language, block in tested_blocks(text):
        if language == "yaml":
            name, _, content = block.removeprefix("# ").partition("\n")
            parts += [f"mkdir -p {Path(name).parent}", f"cat >> {name} <<'YAML'", content + "YAML"]
        else:
            lines = block.splitlines()
            parts += [line for line in lines if COMMENT.sub("", line) not in NOT_RUN]
    return "\n".join(parts)


def paths(text: str) -> list[str]:
    """Return the paths in code spans as globs; a part that varies, `…`, matches anything."""
    prose = BLOCK.sub("", text)
    return [code.replace("…", "*") for code in CODE.findall(prose) if PATH.fullmatch(code)]


def missing_output(page: str, output: str, *, is_first: bool = False) -> list[str]:
    """Return the lines of a page's console blocks that an output lacks, timings aside.

    Args:
        page: the page.
        output: what the commands printed.
        is_first: whether they are those before the first console block.
    """
    printed = {SECONDS.sub("", line.rstrip()) for line in output.splitlines()}
    texts = [shown for _, shown in blocks(read(page), "console")]
    shown = "\n".join(texts[:1] if is_first else texts)
    lines = [line for line in shown.splitlines() if line and not line.startswith("PostgreSQL")]
    return [line for line in lines if SECONDS.sub("", line) not in printed]
