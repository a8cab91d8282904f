"""Helpers of the project's commands."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import yaml
from kedro.config import MissingConfigException
from kedro.framework.cli.utils import KedroCliError
from kedro.framework.project import settings
from kedro.framework.session import KedroSession
from kedro.io import DatasetError
from kedro.utils import find_kedro_project
from omegaconf.errors import OmegaConfBaseException

from capstone_metrics.configuration import Configuration
from capstone_metrics.errors import (
    CapstoneError,
    causes,
    environment_option,
    name_environment,
    unknown_name,
    user_message,
)
from capstone_metrics.operations.listeners.logs import is_json, json_logs
from capstone_metrics.packaging import configure_logging
from capstone_metrics.validation.texts import shown_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

DECLARATION_ERROR = re.compile(
    r"parsing config for dataset|not a valid dataset configuration|Duplicate keys found in"
    r"|must only contain arguments valid"
)
"""What the messages of Kedro say about a declaration, and not about data."""

DECLARED = re.compile(
    r"(sources|marts|quality|columns|schedule|operations|publication)\.\w|definitions, number "
    r"|quality: |allow_refused: "
)
"""How the message of an error in a declaration begins."""

log = logging.getLogger(__name__)


class UserError(click.ClickException):
    """An error shown in one sentence without a traceback, or as a log line where logs are JSON."""

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the error."""
        if is_json():
            json_logs.install()
            log.error("%s", self.message)
        else:
            super().show(file)


@contextlib.contextmanager
def show_user_errors() -> Iterator[None]:
    """Show an error that the user can act on in one sentence; its traceback is logged as DEBUG.

    Logging is configured by the project's own file, whatever folder of it the command is run in.
    """
    with translate_user_errors():
        configure_logging(str(_configuration_folder()))
        yield


@contextlib.contextmanager
def translate_user_errors() -> Iterator[None]:
    """Raise an error that the user can act on as one sentence."""
    _replace_what_cannot_be_encoded()
    try:
        yield
    except KedroCliError as error:  # its own way to show itself loses the message
        raise UserError(error.message) from error
    except Exception as error:
        if (
            message := user_message(error)
            or encoding_message(error)
            or output_message(error)
            or configuration_message(error)
        ):
            log.debug("The error's traceback:", exc_info=error)
            raise UserError(_in_context(str(message))) from None
        raise


def _replace_what_cannot_be_encoded() -> None:
    """Have output of an encoding that lacks a character lose that, and not the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")


def _in_context(message: str) -> str:
    """Return a message with the file of the declaration, and with the environment of commands."""
    if env := _option("env"):
        message = name_environment(message, env)
    if DECLARED.match(message):
        return f"{_configuration().location('parameters', message)}: {message}"
    return message


def with_user_errors(command: click.Command) -> click.Command:
    """Have a command of Kedro, and those in it, show errors as the project's own do."""
    if isinstance(command, click.Group):
        for each in command.commands.values():
            with_user_errors(each)
    elif command.callback:
        command.callback = show_user_errors()(command.callback)
    for option in command.params:
        if option.callback:
            option.callback = translate_user_errors()(option.callback)
    return command


def with_checked_options(command: click.Command) -> click.Command:
    """Have a command, and those in it, refuse an option without a value, or given twice."""
    if isinstance(command, click.Group):
        for each in command.commands.values():
            with_checked_options(each)
    parse_args = command.parse_args

    def check_and_parse(ctx: click.Context, args: list[str]) -> list[str]:
        values, _, given = command.make_parser(ctx).parse_args(args=list(args))
        options = [each for each in given if isinstance(each, click.Option)]
        for option in options:
            if option.multiple or option.is_flag:
                continue
            name, value = option.opts[0], str(values[option.name])
            if options.count(option) > 1:
                raise UserError(
                    f"{name}: is given twice; write it once, several values separated by commas."
                )
            if not value.strip():
                raise UserError(f"{name}: has no value; give one, or omit it.")
            if name in {"--params", "--runner-params"}:
                _check_pairs(name, value)
        return parse_args(ctx, args)

    command.parse_args = check_and_parse  # type: ignore[method-assign]
    return command


def _check_pairs(option: str, text: str) -> None:
    """Check that each NAME=VALUE of an option has a value, and each name occurs once."""
    pairs = [each.partition("=") for each in text.split(",")]
    names = [name.strip() for name, _, _ in pairs]
    for name, (_, sign, value) in zip(names, pairs, strict=True):
        if name and names.count(name) > 1:
            raise UserError(f"{option}: {name} is given twice; write it once.")
        if sign and not value.strip():
            raise UserError(f"{option}: {name} has no value; give one, or omit it.")


def encoding_message(error: Exception) -> CapstoneError | None:
    """Return what to do about a name that cannot be encoded; None without one."""
    encoding = sys.getfilesystemencoding()
    cause = next((each for each in causes(error) if isinstance(each, UnicodeEncodeError)), None)
    if cause is None:
        return None
    if encoding == "utf-8":
        match = re.search(r"[^\"'\n]*[\udc80-\udcff][^\"'\n/]*", cause.object)
        name = match and shown_name(match[0])
        return CapstoneError(f"{name}: its name is not UTF-8; rename it.") if name else None
    return CapstoneError(
        f"A name has a character that {encoding}, the encoding of this shell, lacks; set "
        "PYTHONUTF8=1, and run the command again."
    )


def output_message(error: Exception) -> CapstoneError | None:
    """Return that the output of a command cannot be written; None if the error is another."""
    is_of_file = isinstance(error, OSError) and error.filename is not None
    if not isinstance(error, OSError) or isinstance(error, BrokenPipeError) or is_of_file:
        return None
    try:
        click.echo()
    except OSError as cause:
        return CapstoneError(
            f"The output cannot be written ({str(cause.strerror).lower()}), so write it "
            "elsewhere; what the command has done stays done."
        )
    return None


def configuration_message(error: Exception) -> CapstoneError | None:
    """Return what is wrong with the configuration; None if the error is not about it."""
    if isinstance(error, MissingConfigException):
        return _missing_environment(error)
    configuration, text = _configuration(), " ".join(str(error).split())
    if broken := configuration.broken_file():
        return CapstoneError(broken)
    if isinstance(error, yaml.YAMLError):  # of another file, which an option names
        return CapstoneError(text)
    if isinstance(error, OmegaConfBaseException):
        key = str(error.full_key)
        location = configuration.location("", key.partition(".")[0]) or "configuration"
        return CapstoneError(f"{location}: {key}: {text.partition(' full_key: ')[0]}")
    if isinstance(error, DatasetError | ValueError) and DECLARATION_ERROR.search(text):
        return CapstoneError(f"configuration: {text}")
    return None


def _missing_environment(error: MissingConfigException) -> CapstoneError:
    """Return the error of an environment that does not exist, with those that do."""
    if set(folder := str(_configuration_folder())) & set("*?["):
        return CapstoneError(
            f"{folder}: must not contain * ? or [, which Kedro reads as a pattern; rename it."
        )
    known = environments()
    if (name := _option("env")) and known and name not in known:
        return unknown_name("--env", name, known)
    return CapstoneError(
        f"{error}. Name an environment with --env, and its configuration with --conf-source."
    )


def environments() -> list[str]:
    """Return the names of the environments, without that which the others override."""
    names = (path.name for path in _configuration_folder().glob("*/") if path.is_dir())
    return sorted(name for name in names if name != settings.CONFIG_LOADER_ARGS["base_env"])


def _configuration() -> Configuration:
    """Return the files of the configuration that this command reads."""
    loader = settings.CONFIG_LOADER_ARGS
    environment = _option("env") or loader["default_run_env"]
    params: Any = _option("params") or {}
    return Configuration(_configuration_folder(), (loader["base_env"], environment), params)


def _configuration_folder() -> Path:
    root = find_kedro_project(Path.cwd()) or Path.cwd()
    return Path(_option("conf_source") or root / settings.CONF_SOURCE)


def _option(name: str) -> str | None:
    """Return an option of the command that is running."""
    context = click.get_current_context(silent=True)
    value: str | None = context.params.get(name) if context else None
    return value


def echo_json(value: Any) -> None:
    """Print a value as JSON."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def load_catalog(env: str | None, **params: Any) -> Any:
    """Return the catalog of an environment.

    Args:
        env: the name of the environment; None for the default.
        params: runtime parameters of this command.
    """
    session = KedroSession.create(env=env, runtime_params=params)
    return session.load_context().catalog


def require_layers(catalog: Any, *layers: str) -> None:
    """Check that the lake has layers.

    Args:
        catalog: the catalog of an environment.
        layers: the datasets of the layers, `silver` and `gold`.

    Raises:
        CapstoneError: if one is missing, as in a lake that was never run.
    """
    missing = [layer.capitalize() for layer in layers if not catalog.exists(layer)]
    if not missing:
        return
    root = catalog[layers[0]].storage.root
    env = environment_option(_option("env"))
    if catalog.exists("silver") or catalog.exists("bronze_criacao"):
        raise CapstoneError(
            f"{root} has no {' and no '.join(missing)} yet; run 'kedro run{env}' first. "
            f"'kedro status{env}' says what is refused or has failed."
        )
    raise CapstoneError(f"There is no lake in {root} yet; run 'kedro run{env}' first.")
