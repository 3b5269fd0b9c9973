"""The surrogate index: statsmodels is the oracle; where the assumptions hold it covers, where not it says so."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm

from stats.moments import Moments
from stats.surrogate import checked, effect, learn, observed

NAMES = ("orders", "visits", "quarter")


def experiment(
    rng: np.random.Generator, n: int, *, moved: float, aside: float = 0.0, season: float = 0.0
) -> np.ndarray:
    """Rows of both arms: variant, early outcomes, long outcome; ``aside`` is an effect that the early ones miss."""
    arm = np.arange(n) % 2
    orders = rng.poisson(0.6 + moved * arm).astype(float)
    visits = rng.poisson(2.0 + 0.5 * orders).astype(float)
    quarter = 5 + season + 12 * orders + 1.5 * visits + aside * arm + 20 * rng.standard_normal(n)
    return np.column_stack([arm, orders, visits, quarter])


def moments(rows: np.ndarray) -> Moments:
    return Moments.from_rows(NAMES, rows[:, 1:], cell=rows[:, 0].astype(int))


def test_slopes_are_those_of_a_regression_with_an_intercept_for_each_variant() -> None:
    rng = np.random.default_rng(1)
    past = [experiment(rng, 600, moved=0.1, season=s) for s in (0.0, 40.0, -20.0)]
    cells = np.concatenate([2 * i + rows[:, 0] for i, rows in enumerate(past)])
    together = np.concatenate(past)
    dummies = (cells[:, None] == np.arange(6)).astype(float)
    theirs = sm.OLS(together[:, 3], np.column_stack([together[:, 1:3], dummies])).fit()
    ours = learn([moments(rows) for rows in past], NAMES[:2], "quarter")
    assert ours.slopes == pytest.approx(theirs.params[:2], rel=1e-9)
    assert ours.covariance == pytest.approx(theirs.cov_params()[:2, :2], rel=1e-9)
    assert ours.units == 1800


@pytest.mark.slow
def test_interval_covers_the_long_effect_where_the_assumptions_hold() -> None:
    """1,000 new experiments whose early outcomes carry all of the effect: 95 % ± 2.1 % (3 sd) of intervals hold it."""
    rng = np.random.default_rng(22)
    truth = 0.15 * (12 + 1.5 * 0.5)
    covered = narrower = 0
    for _ in range(1000):
        index = learn([moments(experiment(rng, 800, moved=0.1))], NAMES[:2], "quarter")
        new = moments(experiment(rng, 1000, moved=0.15, season=9.0))
        found, direct = effect(index, new), observed(new, "quarter")
        covered += found.ci_low <= truth <= found.ci_high
        narrower += found.std_error < direct.std_error
    assert 0.929 <= covered / 1000 <= 0.971
    assert narrower == 1000


def test_check_passes_what_holds_and_catches_an_effect_that_goes_aside() -> None:
    """40 sets of six past experiments: p < .01 in at most 3 of them (chance of more: 7 in 10,000), or in 38."""
    rng = np.random.default_rng(3)
    alarms = caught = 0
    for _ in range(40):
        fine = [(f"e{i}", moments(experiment(rng, 2000, moved=0.1 * (i % 3)))) for i in range(6)]
        p_value = checked(fine, NAMES[:2], "quarter").p_value
        assert p_value is not None
        alarms += p_value < 0.01
        off = [(f"e{i}", moments(experiment(rng, 2000, moved=0.1 * (i % 3), aside=-4.0))) for i in range(6)]
        p_value = checked(off, NAMES[:2], "quarter").p_value
        assert p_value is not None
        caught += p_value < 0.01
    assert alarms <= 3
    assert caught >= 38


def test_each_is_foretold_by_the_others() -> None:
    rng = np.random.default_rng(4)
    sets = [(f"e{i}", moments(experiment(rng, 3000, moved=0.2))) for i in range(4)]
    found = checked(sets, NAMES[:2], "quarter")
    assert [one.name for one in found.past] == ["e0", "e1", "e2", "e3"]
    others = learn([sample for name, sample in sets if name != "e2"], NAMES[:2], "quarter")
    assert found.past[2].foretold == effect(others, sets[2][1])
    assert found.past[2].observed == observed(sets[2][1], "quarter")
    assert found.slope == pytest.approx(1.0, abs=5 * (found.slope_error or 0))


def test_what_cannot_be_learned_is_refused() -> None:
    rng = np.random.default_rng(5)
    rows = experiment(rng, 100, moved=0.1)
    twice = np.column_stack([rows[:, :2], rows[:, 1], rows[:, 3]])
    with pytest.raises(ValueError, match="say the same"):
        learn([moments(twice)], NAMES[:2], "quarter")
    with pytest.raises(ValueError, match="too few"):
        learn([moments(rows[:2])], NAMES[:2], "quarter")
    with pytest.raises(ValueError, match="at least 2"):
        checked([("one", moments(rows))], NAMES[:2], "quarter")
