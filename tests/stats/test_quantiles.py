"""Quantiles: order statistics are scipy's, differences cover, ties and events within units count as such."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from stats.moments import Moments
from stats.quantiles import (
    Quantiles,
    binomial_ranks,
    difference_of_quantiles,
    interval_of_quantile,
    ratio_of_quantiles,
    window,
)

VALUES = st.lists(st.integers(0, 400), min_size=30, max_size=200)
PROBABILITY = st.sampled_from([0.25, 0.5, 0.75])


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.floats(0.01, 0.99))
def test_the_estimate_is_numpys_hazen_quantile(values: list[float], probability: float) -> None:
    ours = Quantiles.from_values(values, probability=probability).estimate
    assert ours == pytest.approx(np.quantile(values, probability, method="hazen"), rel=1e-9, abs=1e-9)


@given(st.integers(5, 3000), st.floats(0.02, 0.98), st.sampled_from([0.01, 0.05, 0.2]))
@settings(max_examples=60, deadline=None)
def test_ranks_are_scipys(n: int, probability: float, alpha: float) -> None:
    """Oracle: scipy.stats.quantile_test on 1..n, whose order statistics are their ranks."""
    theirs = scipy.stats.quantile_test(np.arange(1, n + 1), q=0, p=probability).confidence_interval(1 - alpha)
    ours = binomial_ranks(n, probability, alpha)
    if np.isnan(theirs.low) or np.isnan(theirs.high):
        assert ours is None
    else:
        assert ours == (theirs.low, theirs.high)


@given(st.integers(0, 10**6), st.floats(0.001, 0.999), st.floats(-60, -1))
@settings(max_examples=60, deadline=None)
def test_ranks_of_the_smallest_levels_mirror_each_other(n: int, probability: float, magnitude: float) -> None:
    """Oracle: the binomial distribution's own tails, beyond where 1 − alpha/2 is 1 (scipy has no answer there)."""
    alpha = 10.0**magnitude
    found = binomial_ranks(n, probability, alpha)
    if found is None:
        # The smallest or the largest value does not hold the quantile surely enough.
        ends = scipy.stats.binom.cdf(0, n, [probability, 1 - probability]) if n else [1.0]
        assert max(ends) >= alpha / 2 * (1 - 1e-9)
        return
    low, high = found
    below, above = scipy.stats.binom(n, probability), scipy.stats.binom(n, 1 - probability)
    for tail, rank in ((below, low), (above, n + 1 - high)):
        assert tail.cdf(rank - 1) <= alpha / 2 * (1 + 1e-9)
        assert tail.cdf(rank) >= alpha / 2 * (1 - 1e-9)


def test_a_histogram_a_window_and_rows_give_one_answer() -> None:
    rng = np.random.default_rng(5)
    rows = [np.round(rng.gamma(2, 30, n), 1) for n in (4000, 5000)]
    whole = [Quantiles.from_values(part, probability=0.9) for part in rows]
    histograms = [Quantiles.from_values(*np.unique(part, return_counts=True), probability=0.9) for part in rows]
    windows = []
    for part in rows:
        first, last = window(part.size, 0.9)
        ordered = np.sort(part)
        inside = ordered[(ordered >= ordered[first - 1]) & (ordered <= ordered[last - 1])]
        below = int((part < inside[0]).sum())
        windows.append(Quantiles.from_values(inside, probability=0.9, below=below, n=part.size))
    expected = difference_of_quantiles(*whole).value()
    assert difference_of_quantiles(*histograms).value() == expected
    assert difference_of_quantiles(*windows).value() == expected


@given(VALUES, VALUES, PROBABILITY, st.sampled_from([0.01, 0.05, 0.3]))
@settings(max_examples=60, deadline=None)
def test_p_and_interval_agree_and_swapping_mirrors(
    control: list[int], variant: list[int], probability: float, alpha: float
) -> None:
    a, b = (Quantiles.from_values(part, probability=probability) for part in (control, variant))
    there, back = difference_of_quantiles(a, b, alpha).value(), difference_of_quantiles(b, a, alpha).value()
    assert there.why == back.why
    if there.why is None:
        assert (there.ci_low, there.ci_high) == pytest.approx((-back.ci_high, -back.ci_low), abs=1e-9)
        assert there.p_value == pytest.approx(back.p_value, rel=1e-6)
        if abs(there.p_value / alpha - 1) > 1e-6:
            excludes = there.ci_low > 0 or there.ci_high < 0
            assert excludes == (there.p_value < alpha)
        lift = ratio_of_quantiles(a, b, alpha).value()
        if lift.why is None and abs(there.p_value / alpha - 1) > 1e-6:
            assert (lift.ci_low > 0 or lift.ci_high < 0) == (there.p_value < alpha)


@pytest.mark.parametrize("scale", [100.0, 1e-4, 1e150])
def test_units_do_not_matter(scale: float) -> None:
    rng = np.random.default_rng(6)
    rows = [rng.lognormal(0, 1, 300), rng.lognormal(0.1, 1, 400)]
    plain = difference_of_quantiles(*(Quantiles.from_values(part, probability=0.5) for part in rows)).value()
    scaled = difference_of_quantiles(*(Quantiles.from_values(part * scale, probability=0.5) for part in rows)).value()
    numbers = [scaled.estimate / scale, scaled.ci_low / scale, scaled.ci_high / scale, scaled.p_value]
    assert numbers == pytest.approx([plain.estimate, plain.ci_low, plain.ci_high, plain.p_value], rel=1e-9)


def test_what_cannot_be_said_has_its_reason() -> None:
    def one(values: object, probability: float = 0.5) -> Quantiles:
        return Quantiles.from_values(values, probability=probability)  # type: ignore[arg-type]

    many = one(range(100))
    assert difference_of_quantiles(one([]), many).value().why_code == "no_units"
    assert difference_of_quantiles(one([3]), many).value().why_code == "too_few_units"
    far = difference_of_quantiles(one(range(100), 0.99), one(range(100), 0.99)).value()
    assert (far.why_code, far.p_value, far.estimate) == ("beyond_the_data", None, 0.0)
    tied = difference_of_quantiles(one([0] * 90 + [5] * 10), one([0] * 80 + [5] * 20)).value()
    assert (tied.why_code, tied.ci_low, tied.p_value) == ("tied_quantile", None, None)
    assert interval_of_quantile(one(range(3))) is None
    near_zero = ratio_of_quantiles(one([0] * 55 + [4] * 45), many).value()
    assert (near_zero.why_code, near_zero.estimate) == ("baseline_near_zero", None)
    for bad in ({"probability": 1.0}, {"probability": 0.5, "counts": [-1]}, {"probability": 0.5, "n": 0}):
        with pytest.raises(ValueError, match=r"probability|counts|n is"):
            Quantiles.from_values([1.0], **bad)
    with pytest.raises(ValueError, match="do not compare"):
        difference_of_quantiles(one([1, 2]), one([1, 2], 0.9))


def _coverage(rows: list[np.ndarray], probability: float, truth: float) -> tuple[float, float]:
    """Return the share of runs whose interval holds the truth, and of those with p ≤ .05 of no difference."""
    covered, rejected = 0, 0
    for control, variant in zip(*rows, strict=True):
        pair = [Quantiles.from_values(part, probability=probability) for part in (control, variant)]
        effect = difference_of_quantiles(*pair).value()
        assert effect.why is None
        covered += effect.ci_low <= truth <= effect.ci_high
        rejected += effect.p_value <= 0.05
    runs = len(rows[0])
    return covered / runs, rejected / runs


@pytest.mark.parametrize(("probability", "n"), [(0.5, (200, 200)), (0.9, (400, 150))])
def test_differences_cover(probability: float, n: tuple[int, int]) -> None:
    """Lognormal amounts with a shift of scale; 700 runs: .95 less 3 s.e. (.025). Conservative by design. Seed fixed."""
    rng = np.random.default_rng(8)
    rows = [scale * rng.lognormal(0, 1.2, (700, size)) for scale, size in zip((1.0, 1.3), n, strict=True)]
    truth = 0.3 * float(np.exp(1.2 * scipy.stats.norm.ppf(probability)))
    assert _coverage(rows, probability, truth)[0] >= 0.95 - 0.025


def test_false_alarms_on_tied_counts() -> None:
    """Negative binomial counts, many ties: at most .05 + 3 s.e. (.025). Seed fixed."""
    rng = np.random.default_rng(9)
    rows = [rng.negative_binomial(0.5, 0.05, (700, 300)).astype(float) for _ in range(2)]
    assert _coverage(rows, 0.9, 0.0)[1] <= 0.05 + 0.025


def _clustered(rng: np.random.Generator, units: int, probability: float) -> Quantiles:
    events = 1 + rng.poisson(4, units)
    level = np.repeat(rng.normal(0, 1, units), events)
    values = np.exp(level + rng.normal(0, 0.6, level.size))
    unit = np.repeat(np.arange(units), events)
    estimate = Quantiles.from_values(values, probability=probability).estimate
    below = np.bincount(unit, weights=values <= estimate, minlength=units)
    clusters = Moments.from_rows(["below", "events"], np.column_stack([below, events]))
    return Quantiles.from_values(values, probability=probability, clusters=clusters)


def test_events_within_units_need_the_design_effect() -> None:
    """A/A with five events a unit: ours rejects .05 + 3 s.e. (.031) at most, events as units far more. Seed fixed."""
    rng = np.random.default_rng(10)
    alarms, naive = 0, 0
    for _ in range(450):
        pair = [_clustered(rng, 150, 0.75) for _ in range(2)]
        assert min(part.design_effect for part in pair) > 1.5
        alarms += difference_of_quantiles(*pair).value().p_value <= 0.05
        plain = [Quantiles.from_values(p.values, np.diff(p.up_to, prepend=0), probability=0.75) for p in pair]
        naive += difference_of_quantiles(*plain).value().p_value <= 0.05
    assert alarms / 450 <= 0.05 + 0.031
    assert naive / 450 > 0.15


def test_the_design_effect_is_one_where_every_unit_has_one_event() -> None:
    """Then the delta variance of the share is p(1 − p)/(n − 1), the binomial one but for n − 1."""
    rng = np.random.default_rng(11)
    values = rng.normal(size=500)
    plain = Quantiles.from_values(values, probability=0.5)
    below = (values <= plain.estimate).astype(float)
    clusters = Moments.from_rows(["below", "events"], np.column_stack([below, np.ones(500)]))
    same = Quantiles.from_values(values, probability=0.5, clusters=clusters)
    assert same.design_effect == pytest.approx(500 / 499, rel=1e-9)
    with pytest.raises(ValueError, match="one value per unit"):
        interval_of_quantile(same)
