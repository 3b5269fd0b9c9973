"""A list that was split evenly within strata, analysed by these strata: intervals cover, and are narrow."""

from __future__ import annotations

import numpy as np
import pytest

from allocation.stratified import uppers, variant
from stats.effects import difference_of_means
from stats.moments import Moments
from stats.strata import post_stratified


@pytest.mark.slow
def test_intervals_cover_and_forgetting_the_strata_only_widens_them() -> None:
    """1,000 salts; the error of a coverage of 95 % is .7 points, so 92.5 to 97.5 is 3.6 of them (false alarm 4e-4)."""
    rng = np.random.default_rng(12)
    n, runs = 300, 1000
    stratum = rng.choice(4, n, p=[0.5, 0.3, 0.15, 0.05])
    before, covered, plain_covered, narrower = 4.0 * stratum, 0, 0, 0
    for run in range(runs):
        # A digest is 256 random bits: drawing them is hashing the same members under another salt.
        places = rng.integers(0, 2**63, n, dtype=np.uint64)
        cuts = uppers({str(s): sorted(places[stratum == s].tolist()) for s in range(4)}, [1, 1], f"salt-{run}")
        arm = np.array(
            [variant(cuts[str(s)], f"{place:016x}" + "8" * 48) for s, place in zip(stratum, places, strict=True)]
        )
        assert abs(int(arm.sum()) - n / 2) <= 1
        y = before + 0.3 * arm + rng.normal(0, 1, n)
        cells = Moments.from_rows(["y"], y[:, None], cell=arm * 4 + stratum, n_cells=8)
        grid = Moments(cells.columns, cells.n.reshape(2, 4), cells.pivot, cells.mean.reshape(2, 4, 1),
                       cells.m2.reshape(2, 4, 1, 1))  # fmt: skip
        by_strata = post_stratified(grid, "y", strata_axis=1, variants_axis=0, population=False)
        effect = difference_of_means(by_strata[0], by_strata[1], df=np.inf).value()
        error = np.sqrt(sum(y[arm == a].var(ddof=1) / (arm == a).sum() for a in (0, 1)))
        plain = y[arm == 1].mean() - y[arm == 0].mean()
        covered += abs(effect.estimate - 0.3) <= 1.96 * effect.std_error
        plain_covered += abs(plain - 0.3) <= 1.96 * error
        narrower += effect.std_error < 0.5 * error
    assert 0.925 < covered / runs < 0.975
    assert plain_covered / runs > 0.999, "a plain comparison does not know how even the split is"
    assert narrower == runs
