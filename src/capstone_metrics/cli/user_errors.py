"""Errors that a user can act on, shown as one sentence."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import sys
from typing import IO, TYPE_CHECKING, Any

import click
import yaml
from kedro.config import MissingConfigException
from kedro.framework.cli.utils import KedroCliError
from kedro.io import DatasetError
from omegaconf.errors import OmegaConfBaseException

from capstone_metrics.cli.common import (
    command_option,
    configuration_files,
    configuration_folder,
    environments,
)
from capstone_metrics.errors import (
    CapstoneError,
    causes,
    name_environment,
    unknown_name,
    user_message,
)
from capstone_metrics.operations.listeners.logs import is_json, json_logs
from capstone_metrics.packaging import configure_logging
from capstone_metrics.validation.texts import shown_name

if TYPE_CHECKING:
    from collections.abc import Iterator

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
        configure_logging(str(configuration_folder()))
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
    if env := command_option("env"):
        message = name_environment(message, env)
    if DECLARED.match(message):
        return f"{configuration_files().location('parameters', message)}: {message}"
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
    files, text = configuration_files(), " ".join(str(error).split())
    if broken := files.broken_file():
        return CapstoneError(broken)
    if isinstance(error, yaml.YAMLError):  # of another file, which an option names
        return CapstoneError(text)
    if isinstance(error, OmegaConfBaseException):
        key = str(error.full_key)
        location = files.location("", key.partition(".")[0]) or "configuration"
        return CapstoneError(f"{location}: {key}: {text.partition(' full_key: ')[0]}")
    if isinstance(error, DatasetError | ValueError) and DECLARATION_ERROR.search(text):
        return CapstoneError(f"configuration: {text}")
    return None


def _missing_environment(error: MissingConfigException) -> CapstoneError:
    """Return the error of an environment that does not exist, with those that do."""
    if set(folder := str(configuration_folder())) & set("*?["):
        return CapstoneError(
            f"{folder}: must not contain * ? or [, which Kedro reads as a pattern; rename it."
        )
    known = environments()
    if (name := command_option("env")) and known and name not in known:
        return unknown_name("--env", name, known)
    return CapstoneError(
        f"{error}. Name an environment with --env, and its configuration with --conf-source."
    )
