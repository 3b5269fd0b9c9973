"""Attributes become columns of numbers."""

from __future__ import annotations

import numpy as np
import pytest

from stats.uplift.encoding import Encoder


def text(*values: str | None) -> np.ndarray:
    return np.array(values, dtype=object)


def test_numbers_stay_and_levels_become_columns() -> None:
    encoder = Encoder.fit({"n": np.array([1.0, 2.0, np.nan]), "city": text("b", "a", "a")})
    assert encoder.names == ("n", "city=a", "city=b")
    assert encoder.attribute_of == ("n", "city", "city")
    encoded = encoder.transform({"city": text("b", "z", None), "n": np.array([np.nan, 5.0, 0.0])})
    np.testing.assert_array_equal(encoded, [[np.nan, 0, 1], [5, 0, 0], [0, 0, 0]])


def test_what_was_unknown_is_a_level_and_rare_levels_are_pooled() -> None:
    city = text(*["a"] * 1000, *["b"] * 997, "x", "y", None)
    encoder = Encoder.fit({"city": city})
    assert encoder.names == ("city=a", "city=b", "city=(other)", "city=(missing)")
    encoded = encoder.transform({"city": text("y", "never seen", None, "a")})
    np.testing.assert_array_equal(encoded, [[0, 0, 1, 0], [0, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0]])


def test_at_most_so_many_levels_the_most_frequent_first() -> None:
    values = text(*(f"v{number:02d}" for number in range(30) for _ in range(100 - number)))
    encoder = Encoder.fit({"v": values}, most_levels=3)
    assert encoder.names == ("v=v00", "v=v01", "v=v02", "v=(other)")


def test_booleans_are_levels_and_what_never_varies_is_left_out() -> None:
    columns = {"same": np.ones(4), "one": text("a", "a", "a", "a"), "flag": np.array([True, False, True, True])}
    assert Encoder.fit(columns).names == ("flag=true", "flag=false")


def test_every_row_has_one_level() -> None:
    rng = np.random.default_rng(1)
    city = rng.choice(np.array(["a", "b", "c", None], dtype=object), 500)
    encoder = Encoder.fit({"city": city})
    assert encoder.transform({"city": city}).sum(axis=1).tolist() == [1.0] * 500


@pytest.mark.parametrize(
    ("columns", "told"),
    [({}, "attributes are missing: n"), ({"n": text("a")}, "n must be numbers")],
)
def test_what_does_not_fit_is_named(columns: dict[str, np.ndarray], told: str) -> None:
    encoder = Encoder.fit({"n": np.array([1.0, 2.0])})
    with pytest.raises(ValueError, match=told):
        encoder.transform(columns)


def test_attributes_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="same number of rows"):
        Encoder.fit({"a": np.ones(2), "b": np.ones(3)})
