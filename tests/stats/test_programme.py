"""Sizes of holdouts: statsmodels' normal power is the oracle, and the rule of thumb is near."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.power import NormalIndPower

from stats.programme import detectable, holdout_size


@pytest.mark.parametrize(("difference", "sd", "ratio"), [(2.0, 80.0, 49.0), (-0.5, 12.0, 19.0), (1.0, 10.0, 1.0)])
def test_statsmodels_finds_the_same_size(difference: float, sd: float, ratio: float) -> None:
    size = NormalIndPower().solve_power(
        effect_size=abs(difference) / sd, nobs1=None, alpha=0.05, power=0.8, ratio=ratio, alternative="two-sided"
    )
    assert holdout_size(difference, sd, ratio) == pytest.approx(np.ceil(size), abs=1)


def test_rule_of_thumb_is_near_and_what_is_found_is_the_inverse() -> None:
    size = holdout_size(1.5, 60.0, 24.0)
    assert size == pytest.approx(8 * 60**2 * (1 + 1 / 24) / 1.5**2, rel=0.03)
    assert detectable(size, 24 * size, 60.0) == pytest.approx(1.5, rel=1e-4)
    assert holdout_size(1.5, 60.0, 24.0, power=0.9) > size


@pytest.mark.parametrize("wrong", [(0.0, 1.0, 1.0), (1.0, 0.0, 1.0), (1.0, 1.0, 0.0)])
def test_nothing_to_find_is_refused(wrong: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="other than 0"):
        holdout_size(*wrong)
    with pytest.raises(ValueError, match="both sides"):
        detectable(0, 10, 1.0)
