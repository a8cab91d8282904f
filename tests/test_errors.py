from __future__ import annotations

from typing import Any

import pytest
from kedro.io import DatasetError

from capstone_metrics.errors import StorageError, name_environment, unknown_name, user_message


def test_the_error_of_the_user_is_found_behind_those_of_libraries() -> None:
    cause = StorageError("the disk is full")
    with pytest.raises(DatasetError) as raised:
        try:
            raise cause
        except StorageError as error:
            raise DatasetError("x") from error
    assert user_message(raised.value) is cause
    assert user_message(ValueError("x")) is None


@pytest.mark.parametrize(
    ("message", "named"),
    [
        ("run 'kedro run'.", "run 'kedro run --env=e'."),
        ("'kedro runs show 2026Z-a1' names them", "'kedro runs show 2026Z-a1 --env=e' names them"),
        ("kedro runs --env=e", "kedro runs --env=e"),
        ("a kedro project", "a kedro project"),
    ],
)
def test_the_commands_of_a_message_name_the_environment(message: str, named: str) -> None:
    assert name_environment(message, "e") == named
    assert name_environment(message, "") == message


def test_a_command_is_one_that_a_shell_reads() -> None:
    assert name_environment("kedro run; kedro status", "a b") == (
        "kedro run --env='a b'; kedro status --env='a b'"
    )


def test_a_choice_may_be_a_number_that_yaml_took_a_name_for() -> None:
    choices: list[Any] = ["faker", 2026]
    assert str(unknown_name("x", "y", choices)) == "x: 'y' is not one of 2026, faker."


def test_choices_are_sorted_but_for_those_that_are_similar() -> None:
    choices = ["views", "comentarios", "likes", "lines"]
    for name, listed in (
        ("x", "comentarios, likes, lines, views"),
        ("liks", "likes, lines, comentarios, views"),
    ):
        assert str(unknown_name("sum", name, choices)) == f"sum: {name!r} is not one of {listed}."
