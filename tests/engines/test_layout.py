from __future__ import annotations

import itertools

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capstone_metrics.engines.layout import partitions
from capstone_metrics.lake.silver import layouts_of


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 2)), max_size=20),
    st.lists(st.integers(0, 20)),
)
def test_batches_may_end_anywhere_in_a_partition(
    keys: list[tuple[str, int]], ends: list[int]
) -> None:
    keys.sort()
    numbers = [(a, b, at) for at, (a, b) in enumerate(keys)]
    cuts = sorted({0, len(keys), *(end for end in ends if end < len(keys))})
    columns = ("a", "b", "at")
    schema = pa.schema({"a": pa.string(), "b": pa.int64(), "at": pa.int64()})
    batches = [
        pa.RecordBatch.from_pylist(
            [dict(zip(columns, row, strict=True)) for row in numbers[start:end]], schema=schema
        )
        for start, end in itertools.pairwise(cuts)
    ]
    parts = [(values, part["at"].to_pylist()) for values, part in partitions(batches, ["a", "b"])]
    expected = {key: [at for a, b, at in numbers if (a, b) == key] for key in sorted(set(keys))}
    assert parts == list(expected.items())


@pytest.mark.parametrize(
    ("table", "values", "key"),
    [
        (
            "criacao",
            ("a b", "2026-01-31"),
            "silver/criacao/rede_social=a b/data_postagem=2026-01-31/part-0.parquet",
        ),
        ("provenance", ("2026-01-31",), "silver/provenance/data_postagem=2026-01-31/part-0.index"),
        ("video_index", ("f",), "silver/video_index/shard=f/part-0.index"),
        (
            "quarentena",
            ("x", "2026-01-31T08", "a/b"),
            "silver/quarentena/fonte=x/janela=2026-01-31T08/lote=a%2Fb/part-0.jsonl",
        ),
    ],
)
def test_a_partition_has_its_key(table: str, values: tuple[str, ...], key: str) -> None:
    layouts = layouts_of()
    layout = layouts[table]
    assert layout.key(values) == key
    assert layout.has(key)
    assert not any(other.has(key) for name, other in layouts.items() if name != table)
