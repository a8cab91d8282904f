"""A Kedro hook that checks the configuration before anything reads it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.framework.hooks import hook_impl
from kedro.framework.project import settings

from capstone_metrics.config_schema import GLOBALS, PARAMETERS
from capstone_metrics.configuration import Configuration
from capstone_metrics.definitions import definitions_of
from capstone_metrics.errors import ConfigError, unknown_name
from capstone_metrics.quality import check_rules
from capstone_metrics.refusals import allowed_names
from capstone_metrics.schedule import Calendar, Span, Timetable
from capstone_metrics.validation.silver import columns_of
from capstone_metrics.validation.texts import names_alike

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kedro.framework.context import KedroContext
    from kedro.pipeline import Pipeline

CLOCK_TOLERANCE = dt.timedelta(minutes=5)
"""By how much the clock of the machine that gives `now` may be ahead."""


class ConfigurationCheck:
    """Checks the names and types of what is declared, before anything reads it."""

    def __init__(self) -> None:
        self.configuration: Configuration | None = None

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Check the parameters and the globals.

        Raises:
            ConfigError: if a name in the parameters or the globals is unknown, or the value of
                one is of another type.
        """
        loader: Any = context.config_loader
        loader["parameters"] = loader["parameters"]  # else each access reads their files again
        environments = (loader.base_env, loader.env or loader.default_run_env)
        configuration = Configuration(Path(loader.conf_source), environments, loader.runtime_params)
        configuration.check_files()
        configuration.check_scalars()
        configuration.check("globals", loader["globals"], GLOBALS)
        parameters = loader["parameters"]
        configuration.check("parameters", parameters, PARAMETERS)
        self.configuration = configuration
        columns = columns_of(parameters["columns"])
        Timetable.of(parameters["schedule"])
        check_rules(parameters["quality"], parameters["marts"])
        _check_names(parameters, configuration)
        _check_definitions(parameters, configuration)
        _check_instants(parameters)
        _check_overrides(parameters, columns, loader.runtime_params)

    @hook_impl(tryfirst=True)  # before the record of the run
    def before_pipeline_run(self, pipeline: Pipeline) -> None:
        """Check that an environment with a lake of its own is not filled by accident.

        Raises:
            ConfigError: if it would be.
        """
        if self.configuration and any("bronze" in node.tags for node in pipeline.nodes):
            self.configuration.check_sources(settings.CONFIG_LOADER_ARGS["default_run_env"])


def _check_names(parameters: Mapping[str, Any], configuration: Configuration) -> None:
    """Check that consumers and file systems take no two networks or sources for one.

    Raises:
        ConfigError: for the first that differs from another by case, accents or blanks alone.
    """
    for setting in ("networks", "sources"):
        for name, other, *_ in names_alike(map(str, parameters[setting])):
            where = configuration.location("parameters", setting)
            raise ConfigError(
                f"{where}: {setting}: {name!r} and {other!r} differ by case or blanks alone, so "
                "Power BI and some file systems take them for one; rename one."
            )


def _check_definitions(parameters: Mapping[str, Any], configuration: Configuration) -> None:
    """Check the definitions; they may be about networks of `base` that an environment has not.

    Raises:
        ConfigError: if one is invalid, or about an unknown network.
    """
    declared, networks = parameters["definitions"], set(parameters["networks"])
    if {each.rede_social for each in definitions_of(declared)} <= networks:
        return
    if in_files := configuration.declared_networks():  # an archive has no files here
        definitions_of(declared, networks | in_files)


def _check_instants(parameters: Mapping[str, Any]) -> None:
    """Check the instant and the windows of a run, which a slip may spoil, before it begins.

    Raises:
        ConfigError: if one is invalid; if the instant is in the future, and that is not asked for.
    """
    span = Span.of(parameters["from"], parameters["to"])
    calendar = Calendar.of(parameters["schedule"], parameters["now"], span)
    if span and parameters["full"]:
        raise ConfigError("full: Silver is rebuilt from all of Bronze; omit from and to.")
    is_allowed = parameters["allow_future"] or parameters["plan"]
    if not is_allowed and calendar.now > dt.datetime.now(dt.UTC) + CLOCK_TOLERANCE:
        raise ConfigError(
            f"now: {parameters['now']} is in the future. Windows that are not due yet would count "
            "as ingested; if that is meant, as in a test, add allow_future=true."
        )


def _check_overrides(
    parameters: Mapping[str, Any], columns: Mapping[str, str], overrides: Mapping[str, Any]
) -> None:
    """Check what the command line declares: a slip there stops at once.

    Raises:
        ConfigError: if a declaration is invalid, or one names what does not exist.
    """
    known = [*parameters["sources"], *parameters["marts"]]
    for name in allowed_names(parameters["allow_refused"]):
        if name not in known:
            raise unknown_name("allow_refused", name, known)
    for name in overrides.get("sources", ()):
        from capstone_metrics.sources import check_networks, check_source  # noqa: PLC0415 - slow
        from capstone_metrics.sources.presets import with_preset  # noqa: PLC0415

        declaration = parameters["sources"][name]
        check_networks(name, declaration, parameters["networks"])
        check_source(name, with_preset(name, declaration, columns), columns)
    if {"marts", "quality"} & set(overrides):
        from capstone_metrics.mart_declarations import marts_of  # noqa: PLC0415 - slow to import

        marts_of(parameters["marts"], columns)
