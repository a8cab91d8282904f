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
from kedro.framework.cli.utils import env_option
from kedro.framework.project import settings as kedro_settings

from capstone_metrics.cli.common import echo_json, environments, load_catalog, project_folder
from capstone_metrics.cli.source_file import with_source
from capstone_metrics.cli.source_preview import show_preview
from capstone_metrics.cli.user_errors import show_user_errors
from capstone_metrics.errors import CapstoneError, os_error_message, unknown_name
from capstone_metrics.validation.silver import columns_of
from capstone_metrics.validation.texts import names_alike
from capstone_metrics.yaml_text import write_yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from capstone_metrics.sources.preview import Declared, Preview

    Command = Callable[..., None]

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
    _check_name("--env", env)
    if env == kedro_settings.CONFIG_LOADER_ARGS["base_env"]:
        raise CapstoneError(f"--env: every environment reads {env}; name one of your own.")
    is_new = env not in environments()
    _require_other_name("--env", env, environments())
    file = request.file
    catalog = load_catalog(None if is_new else env)
    declared, result = _preview(catalog, request)
    if result.refused:
        raise CapstoneError(f"{file}: {next(iter(result.refused.values()))}")
    if not result.rows:
        show_preview(result, declared)
        raise CapstoneError(f"{file}: gives no row as it is declared; nothing was added.")
    name = name or _name_of(file, declared)
    _check_name("--name", name)
    path = project_folder() / kedro_settings.CONF_SOURCE / env / SOURCE_FILE
    content = path.read_text(encoding="utf-8") if path.exists() else ""
    networks = _networks_of(result, declared)
    if not is_new:
        known = catalog.load("params:networks")
        networks = [*known, *(each for each in networks if each not in known)]
    _write(path, with_source(path, content, name, declared.declaration, networks), is_new=is_new)
    show_preview(result, declared)
    click.echo(
        "Only this file is read; for the next ones too, put them into a folder of their own, and "
        f"make its path a pattern such as {_path_of(file.parent / name)}/*{file.suffix}."
    )
    for preset in declared.also:
        if _preview(catalog, request._replace(preset=preset))[1].rows:
            options = [f"--env={env}", f"--preset={preset}"]
            options += [f"--set={setting}" for setting in request.settings]
            command = shlex.join(["kedro", "source", "add", str(file), *options])
            click.echo(f"It also has what a day gained; to add that: {command}")
    if is_new and (project_folder() / _lake_of(env)).exists():
        click.echo(
            f"{_lake_of(env)} has files of an environment of this name that was deleted; to begin "
            f"anew: kedro reset --env={env}"
        )
    click.echo(f"Added {name} to {path.relative_to(project_folder())}. Next: kedro run --env={env}")


def _lake_of(env: str) -> str:
    """Return the folder of the lake of a new environment."""
    return f"data/{env}"


def _write(path: Path, text: str, *, is_new: bool) -> None:
    """Write the sources of an environment, which gets a lake and a database if it is new."""
    env = path.parent.name
    settings = path.with_name("globals.yml")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if is_new and not settings.exists():
            database = f"capstone_{env}".replace("-", "_").lower()
            own = {"lake": _lake_of(env), "database": database}
            settings.write_text(write_yaml(own), encoding="utf-8")
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CapstoneError(
            f"{os_error_message(error, path)}; make the configuration writable for this user."
        ) from error


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
    show_preview(result, declared)


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
        is_file, is_folder = file.is_file(), file.is_dir()
    if is_folder:
        raise CapstoneError(f"{file}: is a folder; name one of the files in it.")
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


def _path_of(file: Path) -> str:
    """Return the path of a file as a source declares it: from the project, if it is in it."""
    path = file.resolve()
    root = project_folder().resolve()
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
