"""The hash rule in itself. Its vectors are in tests/system/test_hash_vectors.py."""

from __future__ import annotations

import hashlib
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocation.hashing import DIGITS, SPACE, UnitError, bound, bounds, check_unit, digest, hex_bound, u


def test_digest_is_sha256_of_salt_colon_unit() -> None:
    assert digest("abc", "会员") == hashlib.sha256(b"abc:" + "会员".encode()).hexdigest()


def test_u_is_the_first_52_bits() -> None:
    assert u("s", "u") * SPACE == int(digest("s", "u")[:DIGITS], 16)


@pytest.mark.parametrize("unit", ["a", "x" * 256, "中" * 85, "😀" * 64, " ", "a:b", "\x01", "\ufeff"])
def test_usable_units(unit: str) -> None:
    assert check_unit(unit) == unit


@pytest.mark.parametrize(
    ("unit", "message"),
    [
        ("", "is empty"),
        ("x" * 257, "has 257 bytes"),
        ("中" * 86, "has 258 bytes"),
        ("a\x00b", "NUL"),
        ("a\ud800", "lone surrogate"),
        (42, "must be text, not int"),
        (None, "must be text, not NoneType"),
        (b"a", "must be text, not bytes"),
    ],
)
def test_unusable_units(unit: object, message: str) -> None:
    with pytest.raises(UnitError, match=message) as caught:
        check_unit(unit)
    assert "xxx" not in str(caught.value)  # the id itself is never repeated


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=12).filter(any))
def test_bounds_rise_to_the_end_and_give_weight_nothing_only_nothing(weights: list[int]) -> None:
    uppers = bounds(weights)
    assert list(uppers) == sorted(uppers)
    assert uppers[-1] == SPACE
    for low, high, weight in zip((0, *uppers), uppers, weights, strict=False):
        assert high > low or weight * SPACE < sum(weights)
        if weight == 0:
            assert high == low
        # Rounding both ends up moves a range by less than one place in 2**52.
        assert abs(Fraction(high - low) - Fraction(weight * SPACE, sum(weights))) < 1


@given(st.fractions(0, 1), st.integers(0, SPACE - 1))
def test_a_place_is_below_a_bound_exactly_when_it_is_below_the_share(share: Fraction, place: int) -> None:
    assert (place < bound(share)) == (Fraction(place, SPACE) < share)


@given(st.integers(0, SPACE - 1), st.integers(0, SPACE - 1), st.text("0123456789abcdef", max_size=51))
def test_text_orders_as_numbers_do_whatever_follows(place: int, upper: int, rest: str) -> None:
    assert (hex_bound(place) + rest < hex_bound(upper)) == (place < upper)


@pytest.mark.parametrize("weights", [[], [0, 0], [1, -1]])
def test_weights_that_split_nothing(weights: list[int]) -> None:
    with pytest.raises(ValueError, match="weights must be"):
        bounds(weights)


@pytest.mark.parametrize("share", [Fraction(-1, 10), Fraction(11, 10)])
def test_shares_outside_0_to_1(share: Fraction) -> None:
    with pytest.raises(ValueError, match="outside 0 to 1"):
        bound(share)


@pytest.mark.parametrize("value", [-1, SPACE])
def test_bounds_without_a_text(value: int) -> None:
    with pytest.raises(ValueError, match="has no 13-digit text"):
        hex_bound(value)
