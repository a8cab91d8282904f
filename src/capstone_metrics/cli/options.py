"""Options of commands, of which none is ignored."""

from __future__ import annotations

import click

from capstone_metrics.cli.user_errors import UserError


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
