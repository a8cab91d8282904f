"""Commands about the files of sources: what they would give, and how to declare them."""

from __future__ import annotations

import datetime as dt
import functools
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from unicodedata import combining, normalize

import click
import yaml
from kedro.framework.cli.utils import env_option
from kedro.framework.project import settings as kedro_settings
from kedro.utils import find_kedro_project
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from capstone_metrics.cli.common import echo_json, environments, load_catalog, show_user_errors
from capstone_metrics.errors import CapstoneError, os_error_message, unknown_name
from capstone_metrics.validation.silver import columns_of
from capstone_metrics.validation.texts import names_alike
from capstone_metrics.yaml_text import read_yaml, write_yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from capstone_metrics.sources.preview import Declared, Preview

    Command = Callable[..., None]

SHOWN_RECORDS = 10
SHOWN_CHARACTERS = 60
SHOWN_COLUMNS = (
    *("data_postagem", "data_observacao", "video_id", "views", "likes", "comentarios"),
    "titulo_video",
)
SOURCE_FILE = "parameters_sources.yml"


@click.group()
def source() -> None:
    """Recognise an export, show what it would give, and add it to an environment."""


class _Request(NamedTuple):
    """What a command asks about: a file, its preset, and what it lacks or calls differently."""

    file: Path
    preset: str | None
    settings: tuple[str, ...]
    fields: tuple[str, ...]


def _file_options(command: Command) -> Command:
    """Give a command the argument and the options of a file, as one `_Request`."""

    @functools.wraps(command)
    def with_request(
        file: Path,
        preset: str | None,
        settings: tuple[str, ...],
        fields: tuple[str, ...],
        **others: Any,
    ) -> None:
        command(request=_Request(file, preset, settings, fields), **others)

    options = (
        click.argument("file", type=click.Path(path_type=Path)),
        click.option("--preset", help="Which known export it is; recognised if left out."),
        click.option(
            "--set",
            "settings",
            multiple=True,
            metavar="COLUMN=VALUE",
            help="A value that the file lacks, such as faculdade='Escola Azul'; or timezone=…, or "
            "thousands=… or decimal=…, its separators.",
        ),
        click.option(
            "--field",
            "fields",
            multiple=True,
            metavar="COLUMN=FIELD",
            help="Which field of the file is a column, such as views='Plays'.",
        ),
    )
    result: Command = with_request
    for option in reversed(options):
        result = option(result)
    return result


@source.command()
@env_option
@_file_options
@click.option("--json", "as_json", is_flag=True, help="Print the declaration and records as JSON.")
@show_user_errors()
def inspect(env: str | None, request: _Request, as_json: bool) -> None:
    """Recognise FILE or guess how it is read; print the declaration, and its first records."""
    _report(env, request, as_json=as_json, with_declaration=True)


@source.command()
@env_option
@_file_options
@click.option("--json", "as_json", is_flag=True, help="Print every record as JSON.")
@show_user_errors()
def preview(env: str | None, request: _Request, as_json: bool) -> None:
    """Show what FILE would give: rows, ignored and rejected records. Nothing is written."""
    _report(env, request, as_json=as_json, with_declaration=False)


@source.command()
@env_option
@_file_options
@click.option("--name", help="The name of the source; made of that of the file if left out.")
@show_user_errors()
def add(env: str | None, request: _Request, name: str | None) -> None:
    """Declare FILE as a source of an environment, which is made if it does not exist."""
    if env is None:
        raise CapstoneError("--env: name an environment of your own, such as --env=escola.")
    environment = env
    _check_name("--env", environment)
    if environment == kedro_settings.CONFIG_LOADER_ARGS["base_env"]:
        raise CapstoneError(f"--env: every environment reads {environment}; name one of your own.")
    is_new = environment not in environments()
    _require_other_name("--env", environment, environments())
    file = request.file
    catalog = load_catalog(None if is_new else environment)
    declared, result = _preview(catalog, request)
    if result.refused:
        raise CapstoneError(f"{file}: {next(iter(result.refused.values()))}")
    if not result.rows:
        _show(result, declared)
        raise CapstoneError(f"{file}: gives no row as it is declared; nothing was added.")
    name = name or _name_of(file, declared)
    _check_name("--name", name)
    folder = _project() / kedro_settings.CONF_SOURCE / environment
    path = folder / SOURCE_FILE
    content = path.read_text(encoding="utf-8") if path.exists() else ""
    networks = _networks_of(result, declared)
    if not is_new:
        known = catalog.load("params:networks")
        networks = [*known, *(each for each in networks if each not in known)]
    text = _with_source(path, content, name, declared, networks)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if is_new and not (folder / "globals.yml").exists():
            database = f"capstone_{environment}".replace("-", "_").lower()
            settings_of_new = {"lake": f"data/{environment}", "database": database}
            (folder / "globals.yml").write_text(write_yaml(settings_of_new), encoding="utf-8")
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CapstoneError(
            f"{os_error_message(error, path)}; make the configuration writable for this user."
        ) from error
    _show(result, declared)
    click.echo(
        "Only this file is read; for the next ones too, put them into a folder of their own, and "
        f"make its path a pattern such as {_path_of(file.parent / name)}/*{file.suffix}."
    )
    for preset in declared.also:
        if not _preview(catalog, request._replace(preset=preset))[1].rows:
            continue
        options = [f"--env={environment}", f"--preset={preset}"]
        options += [f"--set={setting}" for setting in request.settings]
        command = shlex.join(["kedro", "source", "add", str(file), *options])
        click.echo(f"It also has what a day gained; to add that: {command}")
    click.echo(
        f"Added {name} to {path.relative_to(_project())}. Next: kedro run --env={environment}"
    )


def _report(env: str | None, request: _Request, *, as_json: bool, with_declaration: bool) -> None:
    """Print what a file would give, with its declaration or without."""
    declared, result = _preview(load_catalog(env), request)
    declaration = declared.declaration
    if as_json:
        about = {"preset": declared.preset, "missing": list(declared.missing)}
        source = {"source": declaration} if with_declaration else {}
        echo_json({**source, **about, **result.to_dict()})
        return
    if declared.preset:
        verb = "Read as" if request.preset else "Recognised as"
        click.echo(f"{verb} {declared.preset}: {declared.description}")
    elif not result.refused:
        click.echo("No known export: the declaration is guessed from names and values; check it.")
    if with_declaration and (declared.missing or not result.refused):
        sources = {_name_of(request.file, declared): declaration}
        click.echo(write_yaml({"networks": _networks_of(result, declared), "sources": sources}))
    _show(result, declared)


def _preview(catalog: Any, request: _Request) -> tuple[Declared, Preview]:
    from capstone_metrics.sources.preview import (  # noqa: PLC0415 - pyarrow is slow to import
        Arrival,
        declared_of,
        preview_declared,
    )
    from capstone_metrics.sources.readers.content import translate_errors  # noqa: PLC0415 - as above

    file, columns = request.file, columns_of(catalog.load("params:columns"))
    overrides = _overrides(request.settings, request.fields, columns)
    with translate_errors(file):
        is_file = file.is_file()
    if not is_file:
        raise CapstoneError(f"{file}: there is no such file, seen from {Path.cwd()}.")
    declared = declared_of(file, request.preset, overrides, _path_of(file), columns)
    schedule, networks = (catalog.load(f"params:{name}") for name in ("schedule", "networks"))
    for network in declared.networks:
        _require_other_name("rede_social", network, networks)
    arrival = Arrival(networks, dt.datetime.now(dt.UTC), schedule["timezone"], columns)
    return declared, preview_declared(file, declared, arrival)


def _overrides(
    settings: tuple[str, ...], fields: tuple[str, ...], columns: Mapping[str, str]
) -> dict[str, Any]:
    """Return the options of a source that `--set` and `--field` give."""
    from capstone_metrics.sources.preview import (  # noqa: PLC0415 - as above
        SETTABLE,
        SETTABLE_DEFAULTS,
    )

    overrides: dict[str, dict[str, Any]] = {"fields": {}, "defaults": {}}
    for each in settings:
        name, value = _pair("--set", each, (*SETTABLE, *SETTABLE_DEFAULTS))
        if name in SETTABLE_DEFAULTS:
            overrides["defaults"][name] = value
        else:
            overrides["fields"][name] = {"constant": value}
    for each in fields:
        column, value = _pair("--field", each, tuple(columns))
        overrides["fields"][column] = value
    return {option: values for option, values in overrides.items() if values}


def _pair(option: str, text: str, choices: tuple[str, ...]) -> tuple[str, str]:
    """Return the column and the value of an option, `COLUMN=VALUE`."""
    column, sign, value = text.partition("=")
    if not sign or not value:
        raise CapstoneError(f"{option}: {text!r} is not COLUMN=VALUE, such as {choices[0]}=….")
    if column not in choices:
        raise unknown_name(option, column, choices)
    return column, value


def _project() -> Path:
    return Path(find_kedro_project(Path.cwd()) or Path.cwd())


def _path_of(file: Path) -> str:
    """Return the path of a file as a source declares it: from the project, if it is in it."""
    path = file.resolve()
    root = _project().resolve()
    text = path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
    text.encode()  # which fails if the encoding of the shell lacks a character of it
    return re.sub(r"([*?\[])", r"[\1]", text)


def _name_of(file: Path, declared: Declared) -> str:
    """Return a name for the source of a file: that of its preset, or letters of its own."""
    letters = [c for c in normalize("NFKD", file.name.split(".")[0]) if not combining(c)]
    words = re.findall(r"[a-z0-9]+", "".join(letters).casefold())
    return declared.preset or "_".join(words)[:40].strip("_") or "export"


def _networks_of(result: Preview, declared: Declared) -> list[str]:
    """Return the networks to declare: all that the source may have, also in a later file."""
    return sorted({*declared.networks, *(row["rede_social"] for row in result.rows)})


def _check_name(option: str, name: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise CapstoneError(f"{option}: {name!r} must be made of letters, digits, - and _.")


def _require_other_name(setting: str, name: str, known: Iterable[str]) -> None:
    """Raise an error for a name that differs from a known one by case or blanks alone."""
    for other in known:
        if other != name and names_alike([name, other]):
            raise CapstoneError(
                f"{setting}: {name!r} differs from {other!r} by case or blanks alone; write "
                f"{other}."
            )


def _with_source(
    path: Path, content: str, name: str, declared: Declared, networks: list[str]
) -> str:
    """Return a file of declarations with one more source; the rest of it stays as it is.

    Raises:
        CapstoneError: if it has a source of this name, or cannot be extended as text.
    """
    present = read_yaml(content) or {}
    sources = present.get("sources") or {}
    if name in sources:
        raise CapstoneError(
            f"{path}: has a source {name} already; choose another --name, or have its path match "
            "both files."
        )
    declaration = _escaped(declared.declaration)
    if not content.strip():
        return write_yaml({"networks": networks, "sources": {name: declaration}})
    is_missing = not set(networks) <= set(present.get("networks") or ())
    extended = _with_networks(content, present, networks) if is_missing else content
    extended = _with_block(extended, name, declaration)
    expected = {**present, "sources": {name: declaration, **sources}}
    if is_missing:
        expected["networks"] = networks
    try:
        is_right = read_yaml(extended) == expected
    except yaml.YAMLError:
        is_right = False
    if not is_right:
        block = write_yaml({name: declaration})
        raise CapstoneError(
            f"{path}: cannot be extended without changing the rest of it; add this under sources, "
            f"and {', '.join(networks)} to networks:\n{block}"
        )
    return extended


def _with_block(content: str, name: str, declaration: Mapping[str, Any]) -> str:
    """Return a file of declarations with a source before the others, indented as they are."""
    start = re.search(r"^sources:[ \t]*(#.*)?(?:\n|$)", content, re.MULTILINE)
    if start is None:
        return f"{content.rstrip()}\n\nsources:\n{_indented(write_yaml({name: declaration}), '  ')}"
    first = re.search(r"^([ \t]+)\S", content[start.end() :], re.MULTILINE)
    block = _indented(write_yaml({name: declaration}), first[1] if first else "  ")
    return f"{content[: start.end()].rstrip()}\n{block}{content[start.end() :]}"


def _with_networks(content: str, present: Mapping[str, Any], networks: list[str]) -> str:
    """Return a file of declarations with these networks."""
    text = write_yaml({"networks": networks})
    if "networks" not in present:
        return f"{text}{content}"
    return re.sub(r"^networks:.*(\n[ \t]*-.*)*\n?", lambda _: text, content, flags=re.MULTILINE)


def _escaped(value: Any) -> Any:
    """Return a declaration in which `${` is a text, and no reference to a setting."""
    if isinstance(value, dict):
        return {key: _escaped(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_escaped(each) for each in value]
    return value.replace("${", "\\${") if isinstance(value, str) else value


def _indented(text: str, margin: str) -> str:
    return "".join(f"{margin}{line}" for line in text.splitlines(keepends=True))


def _show(result: Preview, declared: Declared) -> None:
    """Print the outcome of the records of a file; exit with 1 if it is refused."""
    defaults = declared.declaration.get("defaults", {})
    for file, why in result.refused.items():
        raise CapstoneError(f"{file}: {why}")
    counts = {kind: len(getattr(result, kind)) for kind in ("rows", "superseded", "ignored")}
    counts["rejected"] = len(result.rejected)
    parts = " + ".join(f"{count} {kind}" for kind, count in counts.items())
    click.echo(f"{sum(counts.values())} records = {parts}")
    if result.rows:
        Console().print(_table(result))
    for each in result.ignored[:SHOWN_RECORDS]:
        click.echo(f"ignored   record {each['record']}: {each['rule']}")
    for each in result.rejected[:SHOWN_RECORDS]:
        values = (f"{name} = {_short(str(value))!r}" for name, value in each["values"].items())
        shown = "; ".join(values) or _short(each["text"])
        click.echo(f"rejected  record {each['record']}: {', '.join(each['rules'])}: {shown}")
    if hint := _hint_of_numbers(result, defaults):
        click.echo(f"Numbers such as these are read with {hint}")


def _hint_of_numbers(result: Preview, defaults: Mapping[str, Any]) -> str | None:
    """Return the option that reads numbers with a separator of thousands; None without such ones.

    Args:
        result: what the records of a file would become.
        defaults: the options that are given already; a field of a preset may have others.
    """
    from capstone_metrics.sources.proposal.columns import column_of  # noqa: PLC0415 - as above

    for each in result.rejected:
        unread = {rule.partition(".")[0] for rule in each["rules"] if rule.endswith(".unreadable")}
        for name, value in each["values"].items() if unread else ():
            match = re.fullmatch(r"\d{1,3}([.,])\d{3}(\1\d{3})*", str(value).strip())
            if match and defaults.get("thousands") != match[1]:
                return f"--set thousands='{match[1]}'"
            if match and (column := column_of(name)) in unread:
                return f"--field {column}={shlex.quote(name)}"
    return None


def _table(result: Preview) -> Table:
    """Return the first rows as a table, in which only titles are shortened."""
    table = Table()
    columns = [column for column in SHOWN_COLUMNS if column in result.rows[0]]
    rows = [
        [" ".join(str(row[c]).split()) if row[c] is not None else "" for c in columns]
        for row in result.rows[:SHOWN_RECORDS]
    ]
    *widths, _ = (max(map(cell_len, cells)) for cells in zip(columns, *rows, strict=True))
    borders = 3 * len(columns) + 1
    room = max(Console().width - sum(widths) - borders, len(columns[-1]))
    for column in columns:
        table.add_column(column, no_wrap=True)
    for *values, last in rows:
        shown = last if cell_len(last) <= room else f"{set_cell_size(last, room - 1)}…"
        table.add_row(*map(escape, (*values, shown)))
    return table


def _short(text: str) -> str:
    """Return a text in one line, of which a long one is shortened."""
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_CHARACTERS else f"{line[:SHOWN_CHARACTERS]}…"
