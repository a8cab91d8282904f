from __future__ import annotations

import pytest
from kedro.io import DatasetError

from capstone_metrics.errors import StorageError, user_message


def test_the_error_of_the_user_is_found_behind_those_of_libraries() -> None:
    cause = StorageError("the disk is full")
    with pytest.raises(DatasetError) as raised:
        try:
            raise cause
        except StorageError as error:
            raise DatasetError("x") from error
    assert user_message(raised.value) is cause
    assert user_message(ValueError("x")) is None
