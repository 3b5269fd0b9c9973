"""The intended split as people write it."""

from __future__ import annotations

from fractions import Fraction

import pytest

from experiments.errors import InputError
from experiments.intended import split_weights


@pytest.mark.parametrize(
    ("text", "variants", "weights"),
    [
        ("A=1,B=2", ["A", "B"], [1, 2]),
        (" A = 50% , B = 50% ", ["A", "B"], [50, 50]),
        ("No E-Mail=1/3,Mens E-Mail=2/3", ["No E-Mail", "Mens E-Mail"], [Fraction(1, 3), Fraction(2, 3)]),
        ("a,b=1,c=.5", ["a,b", "c"], [1, Fraction(1, 2)]),
        ("x=1=2,x=3", ["x", "x=1"], [3, 2]),
        ("对照组=1,🎉=2.5", ["对照组", "🎉"], [1, Fraction(5, 2)]),
        ("01=1,1=3", ["01", "1"], [1, 3]),
        (" a=1,a=2", ["a", " a"], [2, 1]),
        ("A=1,B=0,C=1", ["A", "B", "C"], [1, 0, 1]),
        (None, ["A", "B"], [1, 1]),
    ],
)
def test_weights(text: str | None, variants: list[str], weights: list[Fraction | int]) -> None:
    assert list(split_weights(text, variants).items()) == list(zip(variants, weights, strict=True))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not VARIANT=WEIGHT"),
        ("A", "'A' is not VARIANT=WEIGHT"),
        ("A=1;B=1", "weight '1;B' of 'A' is not a number|is not VARIANT=WEIGHT|no variant"),
        ("A=1,b=1", "no variant 'b' to split to"),
        ("A=-1,B=1", "is negative"),
        ("A=nan,B=1", "is not a number"),
        ("A=inf,B=1", "is not a number"),
        ("A=1e999999999,B=1", "is not a number"),
        ("A=1/0,B=1", "is not a number"),
        ("A=0,B=0", "at least two variants need a weight above 0"),
        ("A=1", "has no weight for 'B'"),
        ("A=1,A=2,B=1", "variant 'A' has two weights"),
    ],
)
def test_what_is_no_split(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        split_weights(text, ["A", "B"])
