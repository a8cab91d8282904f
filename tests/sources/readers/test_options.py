from __future__ import annotations

from typing import Any

import pytest

from capstone_metrics.errors import CapstoneError
from tests.sources.readers.files import reading_of


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "CSV"}, "format: 'CSV' is not one of csv, json, jsonl, parquet, xlsx."),
        ({"format": ["csv"]}, "format: ['csv'] is not one of"),
        ({"records": "a"}, "records: is an option of format json, not of csv; remove it."),
        ({"sheet": "a"}, "sheet: is an option of format xlsx, not of csv; remove it."),
        ({"delimiter": "||"}, "delimiter: '||' is not one character in quotes, such as ';', nor "),
        ({"delimiter": 5}, "delimiter: 5 is not one character"),
        ({"delimiter": "none"}, "delimiter: 'none' is not one character"),
        ({"quote": "\n"}, "quote: '\\n' is not one character"),
        ({"quote": ","}, "delimiter, quote and escape must differ, but are ',', ','."),
        ({"escape": '"'}, "delimiter, quote and escape must differ, but are ',', '\"', '\"'."),
        ({"encoding": "utf-88"}, "encoding: unknown encoding 'utf-88'; use a name such as utf-8"),
        ({"encoding": "base64"}, "encoding: unknown encoding 'base64'"),
        ({"encoding": 1252}, "encoding: unknown encoding 1252"),
        ({"header": 0}, "header: 0 is neither the number of a line"),
        ({"header": True}, "header: True is neither"),
        ({"header": []}, "header: [] is neither"),
        ({"header": ["a", 1]}, "header: ['a', 1] is neither"),
        ({"header": [["a"], "b"]}, "header: [['a'], 'b'] is neither"),
        ({"until": "Total"}, "until: 'Total' is not 'blank'"),
        ({"member": 1}, "member: 1 is not a text; write it in quotes."),
        ({"file_name": True}, "file_name: True is not a text"),
        ({"format": "json", "records": 1}, "records: 1 is not a path of fields"),
        ({"format": "json", "records": "a..b"}, "records: 'a..b' has a field without a name."),
        ({"format": "json", "records": "a", "envelope": "at"}, "envelope: 'at' is neither a list"),
        ({"format": "json", "envelope": ["at"]}, "envelope: say where the records are too"),
    ],
)
def test_an_option_that_is_wrong_is_one_sentence_with_its_name(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(CapstoneError) as error:
        reading_of(**({"format": "csv"} | options))
    assert str(error.value).removeprefix("sources.export")[1:].lstrip().startswith(message)


def test_options_of_the_mapping_are_not_those_of_the_reading() -> None:
    plain = reading_of(format="csv")
    assert reading_of(format="csv", fields={}, other_fields=[], schema_drift="freeze") == plain


@pytest.mark.parametrize(
    "options",
    [
        {"delimiter": ";"},
        {"encoding": "cp1252"},
        {"header": ["a"]},
        {"header": 2},
        {"until": "blank"},
        {"quote": "none"},
        {"escape": "\\"},
        {"member": "*.csv"},
        {"file_name": "f"},
        {"format": "jsonl"},
    ],
)
def test_another_reading_has_another_digest(options: dict[str, Any]) -> None:
    assert reading_of(**({"format": "csv"} | options)).digest != reading_of(format="csv").digest


def test_a_default_that_is_declared_is_the_same_reading() -> None:
    plain = reading_of(format="csv")
    assert reading_of(format="csv", encoding="utf-8-sig", quote='"').digest == plain.digest
    assert plain.digest == "a1285ad7"  # names of objects in Bronze have it
