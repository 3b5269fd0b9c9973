"""Novelty: a fading effect is found, a steady one seldom called so."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm, ttest_ind
from statsmodels.regression.linear_model import GLS

from stats.moments import Moments
from stats.novelty import Novelty, by_entry, novelty


def halves(seed: int, n: int, first: float, second: float, variants: int = 2) -> Novelty:
    """Units with a common level in both halves, and the variants' effects in each."""
    rng = np.random.default_rng(seed)
    arm = np.repeat(np.arange(variants), n)
    level = rng.gamma(2, 2, variants * n)
    early = level + rng.normal(size=variants * n) + first * (arm > 0)
    late = 0.7 * level + rng.normal(size=variants * n) + second * (arm > 0)
    return novelty(Moments.from_rows(["a", "b"], np.column_stack([early, late]), cell=arm), "a", "b")


def test_the_change_is_welchs_test_on_the_units_own_differences() -> None:
    """Against scipy's Welch test of late − early."""
    rng = np.random.default_rng(1)
    rows, arm = rng.gamma(2, 2, (400, 2)), np.repeat([0, 1], [150, 250])
    found = novelty(Moments.from_rows(["a", "b"], rows, cell=arm), "a", "b")
    change = rows[:, 1] - rows[:, 0]
    expected = ttest_ind(change[arm == 1], change[arm == 0], equal_var=False)
    assert found.change.p_value[0] == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.p_adjusted[0] == found.change.p_value[0]


def test_a_fading_effect_is_found() -> None:
    found = halves(2, 4000, first=0.4, second=0.1)
    assert found.p_adjusted[0] < 0.001
    assert found.change.estimate[0] == pytest.approx(-0.3, abs=4 * found.change.std_error[0])


def test_a_steady_effect_is_seldom_called_fading() -> None:
    """Three variants, 400 tests of a steady effect, Holm: at most 5 % + three standard errors (3.3 %) say otherwise."""
    alarms = sum(bool((halves(seed, 200, 0.3, 0.3, variants=4).p_adjusted < 0.05).any()) for seed in range(400))
    assert alarms / 400 < 0.083


def test_too_few_units_have_no_answer() -> None:
    found = halves(3, 1, 0.0, 0.0)
    assert np.isnan(found.p_adjusted[0])
    assert found.change.value(0).why == "too few units: 2 needed in each variant"


def entered(seed: int, n: int, weeks: int, first: float, second: float, calendar: float = 0.0) -> Moments:
    """Skewed outcomes of two variants by week of entry, whose level has a season; effects at two ages and by week."""
    rng = np.random.default_rng(seed)
    sides = []
    for arm in range(2):
        week = rng.integers(0, weeks, n)
        level = rng.gamma(0.5, 2.0, n) * (1 + 0.3 * np.sin(week + 1))
        effect = np.stack([first + calendar * week, second + calendar * (week + 1)], axis=1) * arm
        spent = rng.poisson(level[:, None] + effect) * rng.gamma(1, 20, (n, 2)) / 20
        sides.append(Moments.from_rows(["a", "b"], spent, cell=week, n_cells=weeks))
    return Moments.stack(sides)


def test_by_entry_is_generalised_least_squares() -> None:
    """Against statsmodels' GLS with the pooled covariance, and its errors with a sandwich written out."""
    sample = entered(5, 900, 5, 0.9, 0.5, -0.05)
    found = by_entry(sample, "a", "b", range(5), half_weeks=1.0)
    rows, effects, pooled, own = [], [], np.zeros((10, 10)), np.zeros((10, 10))
    for week in range(5):
        here = slice(2 * week, 2 * week + 2)
        for arm in (0, 1):
            n, freedom = sample.n[arm, week], (sample.n[arm] - 1).sum()
            pooled[here, here] += sample.m2[arm].sum(axis=0) / freedom / n
            own[here, here] += sample.m2[arm, week] / (n - 1) / n
        for half in (0, 1):
            rows.append([1.0, half, week + half])
            effects.append(sample.mean[1, week, half] - sample.mean[0, week, half])
    fitted = GLS(effects, rows, sigma=pooled).fit()
    assert [found.age[0], found.calendar[0]] == pytest.approx(fitted.params[1:], rel=1e-9)
    design, weights = np.array(rows), np.linalg.inv(pooled)
    bread = np.linalg.inv(design.T @ weights @ design)
    spread = bread @ design.T @ weights @ own @ weights @ design @ bread
    assert [found.age_error[0], found.calendar_error[0]] == pytest.approx(np.sqrt(np.diag(spread))[1:], rel=1e-9)
    assert found.calendar_p[0] == pytest.approx(2 * norm.sf(abs(found.calendar[0] / found.calendar_error[0])), rel=1e-9)


def test_days_since_entry_are_told_from_the_calendar() -> None:
    own_days = by_entry(entered(6, 6000, 8, 0.9, 0.3), "a", "b", range(8), 1.0)
    assert (own_days.age_p[0] < 0.001, own_days.calendar_p[0] < 0.05) == (True, False)
    in_town = by_entry(entered(7, 6000, 8, 1.2, 1.2, -0.12), "a", "b", range(8), 1.0)
    assert (in_town.age_p[0] < 0.05, in_town.calendar_p[0] < 0.001) == (False, True)
    assert in_town.calendar[0] == pytest.approx(-0.12, abs=4 * in_town.calendar_error[0])


def test_a_steady_effect_is_seldom_said_to_change() -> None:
    """300 steady effects under a season: each test at 5 % + three standard errors (3.8 %)."""
    found = [by_entry(entered(seed, 500, 4, 0.5, 0.5), "a", "b", range(4), 1.0) for seed in range(300)]
    for p_values in ([f.age_p[0] for f in found], [f.calendar_p[0] for f in found]):
        assert 0.005 < np.mean(np.array(p_values) < 0.05) < 0.088


def test_one_week_of_entry_tells_nothing_of_the_calendar() -> None:
    assert np.isnan(by_entry(entered(8, 400, 1, 0.5, 0.5), "a", "b", [0], 1.0).calendar_p[0])
    scarce = by_entry(entered(8, 60, 3, 0.5, 0.5), "a", "b", range(3), 1.0)
    assert scarce.weeks.size == 0
    assert np.isnan(scarce.age_p[0])
