"""Even splits within strata: exact totals, each stratum near its shares, everybody's chance their share."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allocation.hashing import digest
from allocation.stratified import apportion, place, uppers, variant

sizes = st.lists(st.integers(0, 40), min_size=1, max_size=30)
weights = st.lists(st.integers(0, 7), min_size=2, max_size=6).filter(any)


@given(sizes, weights, st.text("abcdef0123456789", min_size=1))
@settings(max_examples=150, deadline=None)
def test_every_stratum_and_the_whole_have_their_shares(sizes: list[int], weights: list[int], salt: str) -> None:
    counts = np.array(apportion(sizes, weights, salt))
    assert counts.sum(axis=1).tolist() == sizes
    assert (counts >= 0).all()
    shares = [Fraction(weight, sum(weights)) for weight in weights]
    # Halving up to six variants cuts three times; each cut adds less than one to what is passed on.
    for size, row in zip(sizes, counts, strict=True):
        assert all(abs(int(got) - size * share) < 3 for got, share in zip(row, shares, strict=True))
    total = sum(sizes)
    for got, share in zip(counts.sum(axis=0), shares, strict=True):
        assert abs(int(got) - total * share) < 3
        if len(weights) == 2:
            assert abs(int(got) - total * share) < 1
    assert not counts[:, [at for at, weight in enumerate(weights) if not weight]].any()


def test_whole_shares_of_the_total_are_met_exactly() -> None:
    """Odd strata of an even total: nothing is lost to rounding."""
    for salt in "abcdefgh":
        counts = np.array(apportion([1, 3, 5, 7, 9, 11, 1, 1, 1, 1], [1, 1], salt))
        assert counts.sum(axis=0).tolist() == [20, 20]
        counts = np.array(apportion([3, 3, 3, 3, 5, 5, 9, 9], [2, 1, 1], salt))
        assert counts.sum(axis=0).tolist() == [20, 10, 10]


def test_chances_are_shares_also_in_strata_of_one() -> None:
    """Over 2,000 salts: the error of a share is below .0112, so that .056 are 5 of them (false alarm < 1e-5)."""
    counts = np.array([apportion([1, 1, 2, 1], [5, 3, 2], f"salt-{at}") for at in range(2000)])
    assert counts.mean(axis=0)[[0, 1, 3]] == pytest.approx(np.tile([0.5, 0.3, 0.2], (3, 1)), abs=0.056)
    assert counts.mean(axis=0)[2] == pytest.approx([1.0, 0.6, 0.4], abs=0.08)


def test_bounds_give_everybody_their_variant() -> None:
    salt, weights = "00c0ffee", [3, 2, 0, 1]
    units = {
        stratum: [f"{stratum}-{at}" for at in range(count)] for stratum, count in {"a": 7, "b": 30, "c": 1}.items()
    }
    places = {stratum: sorted(place(digest(salt, unit)) for unit in own) for stratum, own in units.items()}
    cuts = uppers(places, weights, salt)
    expected = dict(zip(sorted(units), apportion([7, 30, 1], weights, salt), strict=True))
    for stratum, own in units.items():
        given_each = np.bincount([variant(cuts[stratum], digest(salt, unit)) for unit in own], minlength=4)
        assert tuple(given_each.tolist()) == expected[stratum]
        # Also who was not on the list gets a variant that has a weight.
        assert {variant(cuts[stratum], digest(salt, f"x{at}")) for at in range(200)} <= {0, 1, 3}


def test_a_variant_before_all_others_may_have_no_weight() -> None:
    cuts = uppers({"a": [5, 9]}, [0, 1], "s")
    assert [variant(cuts["a"], f"{at:016x}" + "f" * 48) for at in (0, 5, 9, 2**63)] == [1, 1, 1, 1]


@pytest.mark.parametrize("weights", [[0, 0], [-1, 2]])
def test_weights_that_split_nothing(weights: list[int]) -> None:
    with pytest.raises(ValueError, match="weights"):
        apportion([3], weights, "s")
