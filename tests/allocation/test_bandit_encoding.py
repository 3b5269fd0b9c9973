from __future__ import annotations

import datetime as dt
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allocation.bandits.encoding import MISSING, PAIR_LEVELS, RARE, Encoder, FeatureCode
from tests.allocation.bandit_policies import ENCODER, columns_of, members

ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=4),
    st.sampled_from(["loyal", "new", "3", "2026-03-01", "2026-03-01T12:00:00Z", "true"]),
    st.lists(st.text(max_size=2), max_size=2),
)


def codes() -> Encoder:
    return Encoder(
        (
            FeatureCode("plain", "numeric", centre=3.0, scale=0.7),
            FeatureCode("log", "numeric", transform="log", centre=1.0, scale=2.0, low=-3.0, high=3.0),
            FeatureCode("level", "categorical", levels=("loyal", "3", "true", "new")),
        ),
        pairs=((0, 1), (0, 2)),
    )


@settings(max_examples=200, deadline=None)
@given(st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(("plain", "log", "level"), ANYTHING)), max_size=6))
def test_columns_are_encoded_as_members_are_bit_for_bit(rows: list[dict[str, Any]]) -> None:
    encoder = codes()
    one_by_one = [encoder.encode(row) for row in rows]
    columns = {name: [row.get(name) for row in rows] for name in ("plain", "log", "level")}
    together = encoder.encode_columns(columns, len(rows))
    for index, x in enumerate(one_by_one):
        numbers = np.array([math.nan if value is None else value for value in x[:2]])
        assert np.array_equal(numbers, together.numeric[index], equal_nan=True)
        known = ~np.isnan(numbers)
        assert np.array_equal(np.signbit(numbers[known]), np.signbit(together.numeric[index, known]))
        assert x[2] == together.levels[index, 0]


@settings(max_examples=200, deadline=None)
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(("plain", "log", "level"), ANYTHING)))
def test_values_are_finite_and_survive_the_log(row: dict[str, Any]) -> None:
    x = codes().encode(row)
    assert all(value is None or math.isfinite(value) for value in x)
    assert json.loads(json.dumps(x)) == x
    assert [code.value(row.get(code.attribute)) for code in codes().features] == x


def test_typed_columns_are_encoded_as_members_are() -> None:
    rng = np.random.default_rng(1)
    encoder = codes()
    arrays = {
        "plain": rng.normal(size=500).astype(np.float32),
        "log": rng.integers(-(10**12), 10**12, 500),
        "level": rng.choice(["loyal", "3", "other"], 500),
    }
    together = encoder.encode_columns(arrays, 500)
    for index in range(500):
        row = {name: column[index].item() for name, column in arrays.items()}
        x = encoder.encode(row)
        assert (together.numeric[index].tolist(), together.levels[index].tolist()) == (x[:2], x[2:])


def test_a_column_of_another_length_is_refused_and_a_missing_one_is_missing() -> None:
    encoder = codes()
    with pytest.raises(ValueError, match='"log" has 3 values for 2 rows'):
        encoder.encode_columns({"log": [1, 2, 3]}, 2)
    encoded = encoder.encode_columns({}, 2)
    assert np.isnan(encoded.numeric).all()
    assert (encoded.levels == MISSING).all()


def test_values_are_standardised_clipped_and_rounded() -> None:
    code = FeatureCode("v", "numeric", centre=10.0, scale=3.0)
    assert code.value(11) == round(1 / 3, 6)
    assert (code.value(10**9), code.value(-(10**400)), code.value(True)) == (6.0, None, -3.0)
    logged = FeatureCode("v", "numeric", transform="log")
    assert logged.value(-math.expm1(2.0)) == -2.0


def test_a_date_is_days() -> None:
    code = FeatureCode("since", "numeric", scale=10.0, low=-1e6, high=1e6)
    days = (dt.date(2026, 3, 1) - dt.date(1970, 1, 1)).days
    assert code.value("2026-03-01T12:00:00Z") == (days + 0.5) / 10


@pytest.mark.parametrize(
    ("raw", "level"),
    [("loyal", 2), (3, 3), (3.0, 3), ("3", 3), (True, 4), ("true", 4), ("gone", RARE), (None, MISSING), ([], MISSING)],
)
def test_levels(raw: object, level: int) -> None:
    assert codes().features[2].value(raw) == level
    assert codes().encode({"level": raw})[2] == level


def test_the_design_says_what_each_column_is() -> None:
    columns = codes().columns
    assert [column.name for column in columns] == [
        "1", "plain", "plain missing", "log", "log missing",
        "level missing", "level rare", "level=loyal", "level=3", "level=true", "level=new",
        "plain × log",
        "plain × level missing", "plain × level rare", "plain × level=loyal", "plain × level=3", "plain × level=true",
        "plain × level=new",
    ]  # fmt: skip
    assert {column.group for column in columns} == {
        "intercept", "numeric", "missing", "levels:level", "pair:plain×log", "pair:plain×level",
    }  # fmt: skip


def test_the_design_of_many_is_the_row_of_each() -> None:
    rows = members(300)
    encoded = ENCODER.encode_columns(columns_of(rows), len(rows))
    design = ENCODER.design(encoded)
    for index, row in enumerate(rows):
        dense = np.zeros(len(ENCODER.columns))
        for column, value in ENCODER.row(ENCODER.encode(row)):
            dense[column] = value
        assert np.array_equal(dense, design[index])
    again = ENCODER.encoded([ENCODER.encode(row) for row in rows])
    assert np.array_equal(ENCODER.design(again), design)


def test_a_pair_keeps_the_most_frequent_levels_apart() -> None:
    names = [column.name for column in ENCODER.columns if column.group == "pair:stage×shop"]
    assert len(names) == 5 * (PAIR_LEVELS + 2)
    x = ENCODER.encode({"stage": "new", "shop": "55"})
    row = [ENCODER.columns[column].name for column, _ in ENCODER.row(x)]
    assert "shop=55" in row
    assert "stage=new × shop rare" in row


def test_a_product_by_hand() -> None:
    encoder = Encoder((FeatureCode("u", "numeric"), FeatureCode("v", "numeric")), pairs=((0, 1),))
    assert encoder.row(encoder.encode({"u": 2.0, "v": -1.5})) == [(0, 1.0), (1, 2.0), (3, -1.5), (5, -3.0)]
    assert encoder.row(encoder.encode({"u": 2.0})) == [(0, 1.0), (1, 2.0), (4, 1.0)]
