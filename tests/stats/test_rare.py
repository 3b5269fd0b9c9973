"""Rare outcomes by exact enumeration, and the skewness correction against a calculation of its own."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from bench.simulations import rare
from stats.effects import difference_of_proportions, proportions
from stats.effects.proportions import mid_p


def test_intervals_cover_where_walds_do_not() -> None:
    """Exact probabilities, no draw: ≥ .94 at .2 % and from .1 to 2 %, at 2,000/2,000 and 3,600/400 units."""
    figures = rare.run()
    assert [f for f in figures if not f.met] == []
    at = {(f.subject, f.measure): f.value for f in figures}
    assert at["2,000 and 2,000 units, .2 %", "coverage"] >= 0.94
    assert at["3,600 and 400 units, .2 %", "coverage"] >= 0.94
    assert at["3,600 and 400 units, .2 %", "coverage of Wald"] < 0.6


@pytest.mark.parametrize("units", rare.UNITS)
def test_the_enumeration_is_of_binomial_tables(units: tuple[int, int]) -> None:
    """Oracle: scipy.stats.binom; with an effect of a half, at .2 %, worked out table by table."""
    held = given = 0.0
    for x0 in range(40):
        for x1 in range(40):
            weight = scipy.stats.binom.pmf(x0, units[0], 0.002) * scipy.stats.binom.pmf(x1, units[1], 0.003)
            if weight < 1e-9:
                continue
            effect = difference_of_proportions(proportions(x0, units[0]), proportions(x1, units[1])).value()
            if effect.why is None:
                given += weight
                held += weight * (effect.ci_low <= 0.001 <= effect.ci_high)
    found = next(m for rate, lift, m in rare.coverages(units) if abs(rate - 0.002) < 1e-12 and lift == 1.5)
    assert held / given == pytest.approx(found["coverage"], abs=1e-5)


@pytest.mark.parametrize(
    ("control", "variant"), [((30, 3600), (1, 400)), ((12, 2000), (3, 2000)), ((40, 3600), (9, 400))]
)
def test_ends_carry_gart_and_nams_correction(control: tuple[int, int], variant: tuple[int, int]) -> None:
    """Oracle: the likelihood maximised by brentq at each end; its corrected score there is one and the same z.

    That z is the nominal one times a factor that makes the interval agree with the exact p about zero; it is at most
    nominal for what is rejected and at least that for what is not.
    """
    (x0, n0), (x1, n1) = control, variant
    effect = difference_of_proportions(proportions(*control), proportions(*variant)).value()
    found = []
    for end in (effect.ci_low, effect.ci_high):
        base = scipy.optimize.brentq(
            lambda p, d=end: x0 / p - (n0 - x0) / (1 - p) + x1 / (p + d) - (n1 - x1) / (1 - p - d),
            max(0, -end) + 1e-13,
            min(1, 1 - end) - 1e-13,
            xtol=1e-16,
            rtol=1e-14,
        )
        other = base + end
        spread = base * (1 - base) / n0 + other * (1 - other) / n1
        third = other * (1 - other) * (1 - 2 * other) / n1**2 - base * (1 - base) * (1 - 2 * base) / n0**2
        skew = third / spread**1.5
        score = (x1 / n1 - x0 / n0 - end) / spread**0.5
        # score = ±z + skew·(z² − 1)/6
        found.append(
            abs(
                scipy.optimize.brentq(
                    lambda z, s=score, g=skew: z + g * (z * z - 1) / 6 - s,
                    0 if score > 0 else -4,
                    4 if score > 0 else 0,
                )
            )
        )
    assert found[0] == pytest.approx(found[1], rel=1e-6)
    assert (found[0] <= 1.96) == (effect.p_value <= 0.05) or found[0] == pytest.approx(1.959964, rel=1e-6)


def test_a_long_table_of_mid_p_is_worked_out_side_by_side() -> None:
    """Oracle: scipy's hypergeometric distribution, on tables of very different length in one call."""
    x0, n0 = np.array([0, 3, 900, 2, 40]), np.array([50, 5000, 90_000, 10**6, 60])
    x1, n1 = np.array([4, 9, 4, 9, 50]), np.array([40, 4000, 300, 10**6, 60])
    ours = mid_p(x0, n0, x1, n1)
    for i in range(5):
        law = scipy.stats.hypergeom(n0[i] + n1[i], x0[i] + x1[i], n1[i])
        half = law.pmf(x1[i]) / 2
        assert ours[i] == pytest.approx(2 * min(law.cdf(x1[i]) - half, law.sf(x1[i]) + half), rel=1e-7)
