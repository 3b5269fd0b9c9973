"""Posteriors, rankings and priors: closed forms, scipy's quadrature and draws are the oracles."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, optimize
from scipy import stats as sps

from stats.bayes import (
    beta_binomial,
    chance_best,
    chance_best_of_betas,
    normal_posterior,
    prior_from_history,
    prior_sd,
    proportions_posterior,
)
from stats.effects import proportions

COUNTS = st.tuples(st.integers(0, 60), st.integers(0, 3000)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@pytest.mark.shared
def test_reference_cases(cases: dict[str, Any]) -> None:
    inputs, expected = cases["beta_binomial"]["inputs"], cases["beta_binomial"]["expected"]
    (x0, x1), (n0, n1) = inputs["successes"], inputs["n"]
    found = beta_binomial((x0, n0), (x1, n1), tuple(inputs["prior"])).value()
    assert found.chance_positive == pytest.approx(expected["p_b_beats_a"], rel=1e-8)
    assert found.loss_if_chosen == pytest.approx(expected["loss_choose_b"], rel=1e-8)
    assert found.loss_if_control == pytest.approx(expected["loss_choose_a"], rel=1e-8)
    assert found.mean == pytest.approx(np.diff(expected["posterior_means"])[0], rel=1e-8)
    # The file's interval is the normal one of the same posteriors; with 500 outcomes an arm they are close.
    assert [found.ci_low, found.ci_high] == pytest.approx(expected["diff_ci_normal"], abs=1e-5)
    inputs, expected = cases["normal_posterior"]["inputs"], cases["normal_posterior"]["expected"]
    posterior = normal_posterior(inputs["effect"], inputs["se"], inputs["prior_mean"], inputs["prior_sd"]).value()
    assert posterior.mean == pytest.approx(expected["mean"], rel=1e-9)
    assert posterior.sd == pytest.approx(expected["sd"], rel=1e-9)
    assert posterior.chance_positive == pytest.approx(expected["chance_to_win"], rel=1e-9)
    assert posterior.loss_if_chosen == pytest.approx(expected["expected_loss"], rel=1e-9)


def quadrature(a: tuple[float, float], b: tuple[float, float]) -> tuple[float, float, float]:
    """Return P(B > A) and both losses by scipy's adaptive quadrature."""
    one, two = sps.beta(*a), sps.beta(*b)
    points = [float(d.ppf(q)) for d in (one, two) for q in (1e-6, 0.01, 0.5, 0.99, 1 - 1e-6)]

    def over(f: Any) -> float:
        ends = [0.0, *sorted(points), 1.0]
        parts = [integrate.quad(f, lo, hi, epsabs=1e-15, epsrel=1e-11)[0] for lo, hi in itertools.pairwise(ends)]
        return float(sum(parts))

    return (
        over(lambda x: one.pdf(x) * two.sf(x)),
        over(lambda x: two.cdf(x) * one.sf(x)),
        over(lambda x: one.cdf(x) * two.sf(x)),
    )


@pytest.mark.parametrize(
    ("control", "variant"), [((0, 1000), (0, 2500)), ((3, 40), (9, 35)), ((0, 10), (4, 5000)), ((2, 10**6), (9, 10**6))]
)
def test_beta_binomial_against_adaptive_quadrature(control: tuple[int, int], variant: tuple[int, int]) -> None:
    found = beta_binomial(control, variant)
    a, b = ((1.0 + x, 1.0 + n - x) for x, n in (control, variant))
    expected = quadrature(a, b)
    assert float(found.chance_positive) == pytest.approx(expected[0], rel=1e-7)
    assert float(found.loss_if_chosen) == pytest.approx(expected[1], rel=1e-6)
    assert float(found.loss_if_control) == pytest.approx(expected[2], rel=1e-6)


@pytest.mark.parametrize(("control", "variant"), [((0, 1000), (0, 2500)), ((3, 40), (9, 35)), ((0, 10), (4, 5000))])
def test_credible_ends_are_quantiles_of_draws(control: tuple[int, int], variant: tuple[int, int]) -> None:
    """400,000 draws: the share below an end is .025 ± 5 s.e. (.00025)."""
    rng = np.random.default_rng(3)
    a, b = (rng.beta(1 + x, 1 + n - x, 400_000) for x, n in (control, variant))
    found = beta_binomial(control, variant).value()
    assert (b - a < found.ci_low).mean() == pytest.approx(0.025, abs=0.00125)
    assert (b - a > found.ci_high).mean() == pytest.approx(0.025, abs=0.00125)


def test_no_conversions_are_information() -> None:
    same = beta_binomial((0, 1000), (0, 1000)).value()
    assert same.why is None
    assert same.chance_positive == pytest.approx(0.5, abs=1e-12)  # by symmetry, with an interval that says how little
    assert same.ci_high == pytest.approx(0.003, abs=2e-4)
    # Twice the units without an outcome: its rate is likelier to be the smaller. Exactly 1001 / (1001 + 2001).
    more = beta_binomial((0, 1000), (0, 2000)).value()
    assert more.chance_positive == pytest.approx(1001 / 3002, rel=1e-9)
    one = beta_binomial((0, 1000), (3, 1000)).value()
    assert 0.9 < one.chance_positive < 1
    # By way of shares too, where the normal form would have no spread at all.
    for x in ((0, 0), (0, 3), (1000, 1000)):
        value = proportions_posterior(proportions(x[0], 1000), proportions(x[1], 1000)).value()
        assert value.why is None
        assert value.sd > 0
        assert value.ci_low < value.ci_high
    mixed = proportions_posterior(proportions([0, 480], [1000, 10_000]), proportions([0, 530], [2000, 10_050]))
    assert mixed.chance_positive[0] == pytest.approx(1001 / 3002, rel=1e-9)
    assert mixed.chance_positive[1] == pytest.approx(0.93, abs=0.01)
    none = proportions_posterior(proportions(0, 0), proportions(0, 0)).value()
    assert none.ci_high > 0.7  # nobody seen: the prior itself, and it looks like it


@given(COUNTS, COUNTS)
@settings(max_examples=25, deadline=None)
def test_swapping_arms_mirrors(first: tuple[int, int], second: tuple[int, int]) -> None:
    one, two = beta_binomial(first, second).value(), beta_binomial(second, first).value()
    assert one.chance_positive + two.chance_positive == pytest.approx(1, abs=1e-9)
    assert one.loss_if_chosen == pytest.approx(two.loss_if_control, rel=1e-7, abs=1e-15)
    assert one.mean == pytest.approx(-two.mean, abs=1e-15)
    assert one.ci_low == pytest.approx(-two.ci_high, rel=1e-6, abs=1e-12)
    # E[effect] is what is won less what is lost.
    assert one.loss_if_control - one.loss_if_chosen == pytest.approx(one.mean, rel=1e-7, abs=1e-12)


@given(
    st.floats(-3, 3), st.floats(0.01, 3), st.floats(0.01, 3), st.floats(0.1, 100), st.sampled_from([100.0, 1e-4, 1e7])
)
def test_units_do_not_matter(effect: float, error: float, share: float, level: float, unit: float) -> None:
    """The prior is stated for relative effects, so chances are the same in cents and in euros."""
    one = normal_posterior(effect, error, 0.0, prior_sd(level, share)).value()
    two = normal_posterior(effect * unit, error * unit, 0.0, prior_sd(level * unit, share)).value()
    assert two.chance_positive == pytest.approx(one.chance_positive, rel=1e-12, abs=1e-300)
    assert two.ci_low == pytest.approx(one.ci_low * unit, rel=1e-9, abs=1e-12 * unit)
    assert two.loss_if_chosen == pytest.approx(one.loss_if_chosen * unit, rel=1e-9, abs=1e-300)
    assert one.loss_if_control - one.loss_if_chosen == pytest.approx(one.mean, rel=1e-9, abs=1e-12)


def test_normal_posterior_is_bayes_theorem() -> None:
    """Prior density times likelihood, integrated by scipy."""
    prior, likelihood = sps.norm(0.1, 0.3), sps.norm(0.8, 0.5)

    def over(f: Any, low: float = -4.0, high: float = 4.0) -> float:
        return float(integrate.quad(lambda x: f(x) * prior.pdf(x) * likelihood.pdf(x), low, high, epsabs=1e-14)[0])

    total = over(lambda _: 1.0)
    found = normal_posterior(0.8, 0.5, 0.1, 0.3).value()
    assert found.mean == pytest.approx(over(lambda x: x) / total, rel=1e-9)
    assert found.chance_positive == pytest.approx(over(lambda _: 1.0, 0.0) / total, rel=1e-9)
    assert found.loss_if_chosen == pytest.approx(over(lambda x: -x, -4.0, 0.0) / total, rel=1e-8)
    flat = normal_posterior(0.8, 0.5).value()
    assert (flat.mean, flat.sd) == (0.8, 0.5)
    assert [flat.ci_low, flat.ci_high] == pytest.approx(sps.norm(0.8, 0.5).ppf([0.025, 0.975]))


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((0.5, 0.0, 0.0, 1.0), "zero_variance"),
        ((np.nan, 1.0, 0.0, 1.0), "no_estimate"),
        ((0.5, np.nan, 0.0, 1.0), "no_estimate"),
        ((0.5, 1.0, 0.0, np.nan), "no_prior"),
        ((0.5, 1.0, 0.0, 0.0), "no_prior"),
    ],
)
def test_what_cannot_be_computed_says_why(arguments: tuple[float, ...], code: str) -> None:
    value = normal_posterior(*arguments).value()
    assert value.why_code == code
    assert value.chance_positive is None
    assert value.mean is None
    assert np.isnan(prior_sd(0.0, 0.2))


def test_a_tiny_loss_is_not_lost() -> None:
    """At z = 30 both terms of φ(z) − zΦ(−z) are 1e-198; scipy's erfcx keeps their difference."""
    found = float(normal_posterior(30.0, 1.0).loss_if_chosen)
    assert found == pytest.approx(np.exp(-450) / np.sqrt(2 * np.pi) / 900 * (1 - 3 / 900), rel=1e-4)


@pytest.mark.parametrize("call", [
    lambda: normal_posterior(1, 1, alpha=0),
    lambda: normal_posterior(1, 1, 0, -1),
    lambda: beta_binomial((5, 3), (1, 2)),
    lambda: beta_binomial((1, 3), (1, 2), prior=(0, 1)),
    lambda: beta_binomial((1, 3), (1, 2), alpha=1.0),
    lambda: prior_sd(1.0, 0.0),
    lambda: chance_best([1, 2], [1, -1]),
    lambda: chance_best_of_betas([1, 0], [1, 1]),
    lambda: prior_from_history([1], [1, 2]),
    lambda: prior_from_history([1], [1], declared=0),
])  # fmt: skip
def test_wrong_input_is_refused(call: Any) -> None:
    with pytest.raises(ValueError):
        call()


MEANS, ERRORS = np.array([10.0, 10.3, 10.1]), np.array([0.3, 0.1, 0.12])


@pytest.mark.parametrize("spread", [0.05, 0.3, np.inf])
def test_ranking_against_draws_of_the_joint_posterior(spread: float) -> None:
    """Effects have prior N(0, s²), their estimates share control's error; 500,000 draws, ± 5 s.e."""
    rng = np.random.default_rng(8)
    own = np.square(ERRORS)
    likelihood = np.linalg.inv(np.diag(own[1:]) + own[0])
    covariance = np.linalg.inv(likelihood + np.eye(2) / spread**2)
    mean = covariance @ likelihood @ (MEANS[1:] - MEANS[0])
    effects = np.c_[np.zeros(500_000), rng.multivariate_normal(mean, covariance, 500_000)]
    found = chance_best(MEANS, ERRORS, prior_sd=spread)
    assert found.chance_best == pytest.approx(np.bincount(effects.argmax(axis=1)) / 500_000, abs=0.0035)
    assert found.expected_loss == pytest.approx((effects.max(axis=1)[:, None] - effects).mean(axis=0), abs=0.003)
    assert found.chance_best.sum() == pytest.approx(1, abs=1e-12)


def test_with_two_arms_the_ranking_is_the_posterior() -> None:
    for spread, errors in ((0.2, (0.3, 0.1)), (0.02, (1e-5, 0.3)), (5.0, (0.3, 1e-5))):
        ranking = chance_best([10.0, 10.3], errors, prior_sd=spread)
        one = normal_posterior(0.3, np.hypot(*errors), 0.0, spread).value()
        assert ranking.chance_best[1] == pytest.approx(one.chance_positive, abs=1e-9)
        assert ranking.expected_loss == pytest.approx([one.loss_if_control, one.loss_if_chosen], rel=1e-7)
    betas = chance_best_of_betas([481, 531], [9521, 9521])
    pair = beta_binomial((480, 10_000), (530, 10_050)).value()
    assert betas.chance_best[1] == pytest.approx(pair.chance_positive, rel=1e-9)
    assert betas.expected_loss == pytest.approx([pair.loss_if_control, pair.loss_if_chosen], rel=1e-8)


def test_ranking_of_equal_arms_and_of_flipped_ones() -> None:
    equal = chance_best(np.ones(5), np.full(5, 0.1))
    assert equal.chance_best == pytest.approx(0.2, rel=1e-9)
    up, down = chance_best(MEANS, ERRORS, prior_sd=0.3), chance_best(-MEANS, ERRORS, prior_sd=0.3, more_is_better=False)
    assert up.chance_best == pytest.approx(down.chance_best, rel=1e-12)
    far = chance_best(MEANS * 1e-4, ERRORS * 1e-4, prior_sd=0.3e-4)
    assert far.chance_best == pytest.approx(up.chance_best, rel=1e-12)
    moved = chance_best(MEANS[[1, 2, 0]], ERRORS[[1, 2, 0]], prior_sd=0.3, control=2)
    assert moved.chance_best == pytest.approx(up.chance_best[[1, 2, 0]], rel=1e-9)
    rates = chance_best_of_betas([1, 1, 1], [1001, 1001, 1001])
    assert rates.chance_best == pytest.approx(1 / 3, rel=1e-9)
    fewer = chance_best_of_betas([1, 1], [1001, 2001], more_is_better=False)
    assert fewer.chance_best[1] == pytest.approx(2001 / 3002, rel=1e-9)


def test_arms_without_a_posterior_are_left_out() -> None:
    ranking = chance_best([10.0, np.nan, 10.1, 10.2], [0.1, 0.1, 0.0, 0.1])
    assert np.isnan(ranking.chance_best[[1, 2]]).all()
    assert ranking.chance_best[[0, 3]].sum() == pytest.approx(1)
    assert np.isnan(chance_best([np.nan, np.nan], [1.0, 1.0]).expected_loss).all()


def test_history_sets_the_prior_or_says_why_not() -> None:
    """The mean of τ² over the marginal likelihood, by scipy's quadrature."""
    rng = np.random.default_rng(4)
    errors = rng.uniform(0.02, 0.1, 40)
    effects = 0.08 * rng.standard_normal(40) + errors * rng.standard_normal(40)

    def likelihood(tau: float) -> float:
        return float(np.exp(sps.norm(0, np.hypot(tau, errors)).logpdf(effects).sum() - 40))

    top = optimize.minimize_scalar(lambda t: -likelihood(t), bounds=(1e-3, 1), method="bounded").x
    moment = [integrate.quad(lambda t, p=p: likelihood(t) * t**p, 0, 1, points=[top], epsrel=1e-10)[0] for p in (0, 2)]
    found = prior_from_history(effects, errors)
    assert found.learnt
    assert found.relative_sd == pytest.approx(np.sqrt(moment[1] / moment[0]), rel=1e-6)
    scaled = prior_from_history(effects * 100, errors * 100)
    assert scaled.relative_sd == pytest.approx(100 * found.relative_sd, rel=1e-9)
    nothing = prior_from_history(np.zeros(12), np.full(12, 0.05))
    assert 0 < nothing.relative_sd < 0.05
    few = prior_from_history([0.1, np.nan, 0.2], [0.1, 0.1, 0.0], declared=0.3)
    assert (few.relative_sd, few.experiments, few.learnt, few.why_code) == (0.3, 1, False, "too_few_experiments")


def test_a_race_of_one_is_won_and_a_race_of_equals_is_none() -> None:
    with np.errstate(all="raise", under="ignore"):
        alone = chance_best([3.0], [0.5], prior_sd=0.2)
        same = chance_best([3.0, 3.1], [0.5, 0.5], prior_sd=0.0)
    assert (alone.chance_best.tolist(), alone.expected_loss.tolist()) == ([1.0], [0.0])
    assert np.isnan(same.chance_best).all()


@pytest.mark.parametrize("variant", [(5222, 10_000), (49_453, 10_000_000), (1, 2)])
def test_a_certain_chance_is_not_above_one(variant: tuple[int, int]) -> None:
    posterior = beta_binomial((10_456, 10_000_000), variant, (38.4, 1.1)).value()
    assert posterior.chance_positive is not None
    assert 0.999999 < posterior.chance_positive <= 1


@pytest.mark.parametrize("alpha", [0.2, 1e-3, 1e-6, 1e-9, 1e-12])
def test_each_end_of_an_interval_comes_from_its_own_tail(alpha: float) -> None:
    """Oracle: of two uniform rates P(B − A > d) = (1 − d)² / 2. Ends swap with the variants, and neither is missing."""
    nothing = beta_binomial((0, 0), (0, 0), alpha=alpha).value()
    assert nothing.ci_high == pytest.approx(1 - alpha**0.5, rel=1e-9)
    assert nothing.ci_low == pytest.approx(-nothing.ci_high, rel=1e-9)
    one = beta_binomial((385_095, 1_000_000), (2, 2), alpha=alpha).value()
    other = beta_binomial((2, 2), (385_095, 1_000_000), alpha=alpha).value()
    assert (one.ci_low, one.ci_high) == pytest.approx((-other.ci_high, -other.ci_low), rel=1e-6)  # type: ignore[operator]
