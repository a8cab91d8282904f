"""Parse the declarations of marts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from capstone_metrics.errors import ConfigError, unknown_name
from capstone_metrics.marts import CRIACAO, MART_OPTIONS, Basis, Mart, Measure
from capstone_metrics.schemas import DAYS, GAINS, VIDEO_KEY, mart_tables
from capstone_metrics.validation.silver import MAX_COLUMN_BYTES, RESERVED, SILVER, columns_of

AGGREGATES = ("sum", "count", "max", "last", "ratio")

MAX_AGE = 3650
"""The greatest age at which videos are compared, in days."""

RESERVED_NAMES = ("gold_snapshot",)

MAX_MART_NAME_BYTES = 50
"""The longest name of a mart: a publication makes longer names of it, such as `staged_gold_…`."""


def declaration_in(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was declared of a mart, by its entry in a manifest; empty without an entry.

    Until Silver had observations by day, a manifest did not say which table a mart was from.
    """
    parts = {"from": CRIACAO.table, **entry}
    return {part: parts[part] for part in MART_OPTIONS if part in parts} if entry else {}


def marts_in(manifest: Mapping[str, Any]) -> dict[str, Mart]:
    """Return the marts of a manifest, by name."""
    columns = columns_of(manifest.get("columns", {}))
    entries = manifest.get("marts", {})
    return {name: mart_of(name, declaration_in(each), columns) for name, each in entries.items()}


def marts_of(
    declarations: Mapping[str, Any], columns: Mapping[str, str] = SILVER
) -> dict[str, Mart]:
    """Parse the declarations of all marts, by name.

    Args:
        declarations: the declarations.
        columns: the types of the columns of Silver.

    Raises:
        ConfigError: for the first invalid declaration.
    """
    if not isinstance(declarations, Mapping) or not declarations:
        raise ConfigError("marts: declare at least one mart, by its key and measures.")
    return {name: mart_of(name, each, columns) for name, each in declarations.items()}


def mart_of(name: str, declaration: Mapping[str, Any], columns: Mapping[str, str] = SILVER) -> Mart:
    """Parse the declaration of a mart.

    It is `key: [column, …]`, `measures: {name: {aggregate: column}}`, and where they are
    needed `from: table` and `attributes: [column, …]`.

    Args:
        name: its name.
        declaration: the declaration.
        columns: the types of the columns of Silver.

    Raises:
        ConfigError: if the name, the key or a measure is invalid.
    """
    if not (name.startswith("gold_") and name.isidentifier() and name.islower()):
        raise ConfigError(
            f"marts.{name}: a mart is named gold_ and lower-case letters, digits and _."
        )
    if name in RESERVED_NAMES or len(name.encode()) > MAX_MART_NAME_BYTES:
        raise ConfigError(
            f"marts.{name}: choose another name, of at most {MAX_MART_NAME_BYTES} bytes; "
            f"{', '.join(RESERVED_NAMES)} is reserved."
        )
    options = declaration if isinstance(declaration, Mapping) else {}
    for option in options:
        if option not in MART_OPTIONS:
            raise unknown_name(f"marts.{name}", option, MART_OPTIONS)
    rules = options.get("measures")
    if not isinstance(rules, Mapping) or not rules:
        raise ConfigError(
            f"marts.{name}.measures: declare at least one, such as {{total_views: {{sum: views}}}}."
        )
    basis = _parse_basis(name, options, rules)
    declared_key = options.get("key")
    columns_of_key = declared_key if isinstance(declared_key, list | tuple) else ()
    key = tuple(map(str, columns_of_key))
    allowed = basis.key_columns(columns)
    for column in columns_of_key:
        if isinstance(column, str) and column not in basis.label_schema(columns):
            raise unknown_name(f"marts.{name}.key", column, allowed, declared_in="columns")
    if not key or not set(key) <= set(allowed) or len(set(key)) < len(key):
        raise ConfigError(
            f"marts.{name}.key: {declared_key!r} must be a list of distinct text, date or "
            f"whole-number columns of Silver ({', '.join(allowed)})."
        )
    attributes = _parse_attributes(name, options, key, basis, columns)
    measures = tuple(
        _parse_measure(name, measure, rule, basis, columns) for measure, rule in rules.items()
    )
    names = [*key, *attributes, *(each.name for each in measures)]
    counts = Counter(each.casefold() for each in names)
    if repeated := [each for each in names if counts[each.casefold()] > 1]:
        raise ConfigError(
            f"marts.{name}.measures: {repeated[-1]!r} is a column of it already; readers do "
            "not tell names apart by case."
        )
    return Mart(name, key, measures, basis, attributes, columns)


def _parse_basis(mart: str, options: Mapping[str, Any], rules: Mapping[str, Any]) -> Basis:
    """Return what a mart is counted from: its `from`, and the `at_days` of its measures."""
    table = options.get("from", "criacao")
    if not isinstance(table, str) or table not in mart_tables(SILVER):
        raise unknown_name(f"marts.{mart}.from", table, mart_tables(SILVER))
    ages = [rule.get("at_days") for rule in rules.values() if isinstance(rule, Mapping)]
    age = next((age for age in ages if age is not None), None)
    if age is None:
        return Basis(table)
    if type(age) is not int or not 0 <= age <= MAX_AGE:  # a bool is an int, too
        raise ConfigError(f"marts.{mart}: at_days: {age!r} must be a number of days, such as 7.")
    if table != "observacao_dia" or set(ages) != {age}:
        raise ConfigError(
            f"marts.{mart}: at_days needs from: observacao_dia, and the same number of days in "
            "each measure; declare a mart for each age."
        )
    return Basis(table, age)


def _parse_attributes(
    mart: str,
    options: Mapping[str, Any],
    key: tuple[str, ...],
    basis: Basis,
    columns: Mapping[str, str],
) -> tuple[str, ...]:
    """Return the attributes of a mart, each of which has one value for each video."""
    declared = options.get("attributes", ())
    attributes = tuple(map(str, declared)) if isinstance(declared, list | tuple) else ("",)
    allowed = [
        name
        for name, kind in basis.label_schema(columns).items()
        if name not in key and (kind.is_string() or kind.is_date() or name == "hora_postagem")
    ]
    if not set(attributes) <= set(allowed) or len(set(attributes)) < len(attributes):
        raise ConfigError(
            f"marts.{mart}.attributes: {declared!r} must be a list of distinct columns that "
            f"describe a video and are not in the key ({', '.join(allowed)})."
        )
    if attributes and (not set(VIDEO_KEY) <= set(key) or basis == Basis("observacao_dia")):
        raise ConfigError(
            f"marts.{mart}.attributes: they describe a video, so the key needs "
            f"{' and '.join(VIDEO_KEY)}, and not from: observacao_dia; add them to the key instead."
        )
    return attributes


def _parse_measure(
    mart: str, measure: str, rule: Any, basis: Basis, columns: Mapping[str, str]
) -> Measure:
    """Parse a measure of a mart by its name and its rule, `{aggregate: column}`."""
    if not str(measure).isidentifier() or measure in {*SILVER, *DAYS.values()}:
        raise ConfigError(
            f"marts.{mart}.measures: {measure!r} must be a name of its own, not a column of Silver."
        )
    if str(measure).casefold() in RESERVED:
        raise ConfigError(f"marts.{mart}.measures: {measure!r} is reserved; choose another name.")
    if len(str(measure).encode()) > MAX_COLUMN_BYTES:
        raise ConfigError(
            f"marts.{mart}.measures: {measure!r} is longer than the {MAX_COLUMN_BYTES} bytes that "
            "PostgreSQL takes."
        )
    setting = f"marts.{mart}.measures.{measure}"
    aggregate, names = _parse_aggregate(setting, rule)
    for column in names:
        _check_column(setting, aggregate, column, basis, columns)
    if basis.at_days is not None and aggregate == "last":
        raise ConfigError(f"{setting}: at an age each video has one value; use max.")
    return Measure(str(measure), aggregate, *names)


def _parse_aggregate(setting: str, rule: Any) -> tuple[str, list[str]]:
    """Return the aggregate of a rule, and its columns."""
    aggregates = dict(rule) if isinstance(rule, Mapping) else {}
    aggregates.pop("at_days", None)
    if len(aggregates) > 1 and (extra := set(aggregates) - set(AGGREGATES)):
        raise unknown_name(setting, extra.pop(), (*AGGREGATES, "at_days"))
    hint = (
        f"write {{sum: views}}, {{count: video_id}}, {{max: views}}, {{last: views}} or "
        f"{{ratio: [likes, views]}}, not {rule!r}."
    )
    if len(aggregates) != 1:
        raise ConfigError(f"{setting}: {hint}")
    ((aggregate, value),) = aggregates.items()
    if aggregate not in AGGREGATES:
        raise unknown_name(setting, aggregate, AGGREGATES)
    names = list(map(str, value)) if isinstance(value, list | tuple) else [str(value)]
    if len(names) != (2 if aggregate == "ratio" else 1) or value is None:
        raise ConfigError(f"{setting}: {hint}")
    return aggregate, names


def _check_column(
    setting: str, aggregate: str, column: str, basis: Basis, columns: Mapping[str, str]
) -> None:
    """Check that a measure can be computed from a column."""
    schema = basis.schema(columns)
    if column not in schema:
        elsewhere = [table for table, other in mart_tables(columns).items() if column in other]
        if elsewhere:
            raise ConfigError(
                f"{setting}: {column} is no column of {basis.table}; declare from: {elsewhere[0]}, "
                "or another column. Of declared columns, observacao_dia has the whole numbers."
            )
        raise unknown_name(f"{setting}.{aggregate}", column, schema, declared_in="columns")
    if aggregate != "count" and not schema[column].is_integer():
        raise ConfigError(
            f"{setting}: {column} is not a whole number, so it has no {aggregate} that Gold can "
            "store exactly."
        )
    if basis.at_days is not None and column not in {*GAINS, "video_id"}:
        raise ConfigError(
            f"{setting}: at an age are known {', '.join(GAINS)}, and video_id to count."
        )
