"""Attributes of which nothing is known among the rows that a regression sees."""

from __future__ import annotations

import numpy as np
import pytest

from stats.uplift.bases import Base, regress


@pytest.mark.parametrize("base", ["linear", "trees"])
def test_a_column_of_which_nothing_is_known_says_nothing(base: Base) -> None:
    rng = np.random.default_rng(1)
    known = rng.normal(size=600)
    features = np.column_stack([known, np.full(600, np.nan)])
    target = known + rng.normal(size=600)
    alone = regress(features[:, :1], target, base)
    both = regress(features, target, base)
    later = np.column_stack([known[:5], np.arange(5.0)])
    if base == "trees":
        assert both.predict(later) == pytest.approx(alone.predict(known[:5, None]), abs=1e-12)
    assert np.isfinite(both.predict(later)).all()
