"""Every case of the reference file that the present engine covers, at the file's own tolerances."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stats.adjustment import cuped_means, cuped_ratios
from stats.effects import (
    difference_of_means,
    difference_of_proportions,
    difference_of_ratios,
    equivalence,
    non_inferiority,
    proportions,
    ratio_of_proportions,
    relative,
)
from stats.moments import Moments
from stats.multiplicity import holm
from stats.samples import Sample, linearise, means, quadratic, ratios
from stats.sequential import mixture_band, rho2
from stats.srm import srm

pytestmark = pytest.mark.shared


@pytest.fixture
def welch(cases: dict[str, Any]) -> Sample:
    inputs = cases["welch"]["inputs"]
    s1, s2 = np.asarray(inputs["sum"])[:, None], np.asarray(inputs["sum_sq"])[:, None, None]
    return means(Moments.from_shifted_sums(["x"], inputs["n"], [0.0], s1, s2), "x")


def test_welch(cases: dict[str, Any], welch: Sample) -> None:
    expected = cases["welch"]["expected"]
    effect = difference_of_means(welch[0], welch[1]).value()
    assert welch.mean == pytest.approx(expected["means"], rel=1e-9)
    assert welch.variance == pytest.approx(expected["vars"], rel=1e-9)
    assert effect.estimate == pytest.approx(expected["diff"], rel=1e-9)
    assert effect.std_error == pytest.approx(expected["se"], rel=1e-9)
    assert effect.df == pytest.approx(expected["df"], rel=1e-9)
    assert effect.p_value == pytest.approx(expected["p_two_sided"], rel=1e-9)
    assert [effect.ci_low, effect.ci_high] == pytest.approx(expected["ci"], rel=1e-9)


def test_two_proportions(cases: dict[str, Any]) -> None:
    inputs, expected = cases["two_proportions"]["inputs"], cases["two_proportions"]["expected"]
    both = proportions(inputs["successes"], inputs["n"])
    assert both.mean == pytest.approx(expected["rates"], rel=1e-9)
    effect = difference_of_proportions(both[0], both[1]).value()
    assert effect.p_value == pytest.approx(expected["p_pooled"], rel=1e-9)
    assert effect.p_value == pytest.approx(expected["p_chi2"], rel=1e-9)
    wald = [
        effect.estimate - 1.959963984540054 * effect.std_error,
        effect.estimate + 1.959963984540054 * effect.std_error,
    ]
    assert wald == pytest.approx(expected["ci_wald"], rel=1e-9)
    # The file's score intervals carry Miettinen and Nurminen's correction. That of the difference comes from a
    # statsmodels with a wrong coefficient (its issue 10269); test_proportions.py checks ours against the likelihood.
    corrected = difference_of_proportions(both[0], both[1], correction=True).value()
    assert [corrected.ci_low, corrected.ci_high] == pytest.approx(expected["ci_score"], rel=5e-4)
    lift = ratio_of_proportions(both[0], both[1], correction=True).value()
    assert [1 + lift.ci_low, 1 + lift.ci_high] == pytest.approx(expected["ci_ratio_score"], rel=1e-9)


def test_ratio(cases: dict[str, Any], moments: Moments) -> None:
    expected = cases["ratio_delta_method"]["expected"]
    sample = ratios(moments, "orders", "sessions")
    assert sample.mean == pytest.approx(expected["ratios"], rel=1e-9)
    assert sample.variance == pytest.approx(expected["unit_vars"], rel=1e-9)
    effect = difference_of_ratios(sample[0], sample[1]).value()
    assert effect.estimate == pytest.approx(expected["diff"], rel=1e-9)
    assert effect.std_error == pytest.approx(expected["se"], rel=1e-9)
    assert effect.p_value == pytest.approx(expected["p"], rel=1e-9)
    assert [effect.ci_low, effect.ci_high] == pytest.approx(expected["ci"], rel=1e-9)
    assert relative(sample[0], sample[1]).value().estimate == pytest.approx(expected["relative"], rel=1e-9)


def test_cuped_mean(cases: dict[str, Any], moments: Moments) -> None:
    expected = cases["cuped_mean"]["expected"]
    adjusted = cuped_means(moments, "revenue", ["revenue_cov"])
    assert adjusted.theta == pytest.approx([expected["theta_pooled_within"]], rel=1e-9)
    effect = difference_of_means(adjusted.sample[0], adjusted.sample[1]).value()
    numbers = [effect.estimate, effect.std_error, effect.p_value, effect.ci_low, effect.ci_high]
    assert numbers == pytest.approx(expected["pooled_within_effect_se_p_ci"], rel=1e-9)
    assert effect.estimate == pytest.approx(expected["ancova_effect"], rel=1e-9)


def test_cuped_mean_with_their_theta_gives_their_figures(cases: dict[str, Any], moments: Moments) -> None:
    expected = cases["cuped_mean"]["expected"]
    adjusted = cuped_means(moments, "revenue", ["revenue_cov"], theta=[expected["theta_concatenated"]])
    effect = difference_of_means(adjusted.sample[0], adjusted.sample[1]).value()
    numbers = [effect.estimate, effect.std_error, effect.p_value, effect.ci_low, effect.ci_high]
    assert numbers == pytest.approx(expected["concatenated_effect_se_p_ci"], rel=1e-9)


def test_cuped_ratio_with_their_theta_gives_their_figures(cases: dict[str, Any], moments: Moments) -> None:
    """The file's figures come from θ over the variants thrown together; with that θ ours are the same."""
    expected = cases["cuped_ratio"]["expected"]
    total = moments.sum()
    _, own = linearise(total, ("orders", "sessions"))
    _, before = linearise(total, ("orders_cov", "sessions_cov"))
    theta = quadratic(total, own, before) / quadratic(total, before)
    adjusted = cuped_ratios(moments, "orders", "sessions", [("orders_cov", "sessions_cov")], theta=[theta])
    effect = difference_of_means(adjusted.sample[0], adjusted.sample[1]).value()
    assert effect.estimate == pytest.approx(expected["effect"], rel=1e-9)
    assert [effect.ci_low, effect.ci_high] == pytest.approx(expected["ci"], rel=1e-9)
    assert effect.p_value == pytest.approx(expected["p"], rel=1e-9)
    lift = relative(adjusted.sample[0], adjusted.sample[1]).value()
    assert lift.estimate == pytest.approx(expected["relative"], rel=1e-9)


def test_two_covariates(cases: dict[str, Any], moments: Moments) -> None:
    """Pooled-within θ is ANCOVA; the interacted (Lin) estimate of the file is another estimator."""
    expected = cases["regression_adjustment_two_covariates"]["expected"]
    adjusted = cuped_means(moments, "revenue", ["revenue_cov", "covariate_2"])
    effect = difference_of_means(adjusted.sample[0], adjusted.sample[1]).value()
    assert effect.estimate == pytest.approx(expected["ancova_ate"], rel=1e-9)
    # Its robust error is near Lin's on 60 rows, and cannot be equal.
    assert effect.std_error == pytest.approx(expected["se_hc2"], rel=0.03)


def test_relative_lift(cases: dict[str, Any], welch: Sample) -> None:
    expected = cases["relative_lift"]["expected"]
    lift = relative(welch[0], welch[1], df=np.inf).value()
    assert lift.estimate == pytest.approx(expected["lift"], rel=1e-9)
    assert [lift.ci_low, lift.ci_high] == pytest.approx(expected["fieller_ci"], rel=1e-9)
    delta = [lift.estimate - 1.959963984540054 * lift.std_error, lift.estimate + 1.959963984540054 * lift.std_error]
    assert delta == pytest.approx(expected["delta_ci"], rel=1e-9)


def test_non_inferiority_and_tost(cases: dict[str, Any], moments: Moments) -> None:
    inputs, expected = cases["non_inferiority_tost"]["inputs"], cases["non_inferiority_tost"]["expected"]
    sample = means(moments, "revenue")
    guardrail = non_inferiority(sample[0], sample[1], -inputs["margin"])
    assert float(guardrail.statistic) == pytest.approx(expected["ni_t"], rel=1e-9)
    assert float(guardrail.df) == pytest.approx(expected["ni_df"], rel=1e-9)
    assert float(guardrail.p_value) == pytest.approx(expected["ni_p"], rel=1e-9)
    low, high = inputs["equivalence"]
    assert float(equivalence(sample[0], sample[1], low, high)) == pytest.approx(expected["tost_p"], rel=1e-9)


def test_srm(cases: dict[str, Any]) -> None:
    inputs, expected = cases["srm"]["inputs"], cases["srm"]["expected"]
    two = srm(inputs["counts"], inputs["weights"]).value()
    assert (two.chi_square, two.p_value) == pytest.approx((expected["chi2"], expected["p"]), rel=1e-9)
    assert two.status == "fail"
    three = srm(inputs["counts3"], inputs["weights3"]).value()
    assert (three.chi_square, three.p_value) == pytest.approx((expected["chi2_3"], expected["p_3"]), rel=1e-9)
    assert three.status == "ok"


def test_holm(cases: dict[str, Any]) -> None:
    case = cases["multiple_testing"]
    assert holm(case["inputs"]["pvalues"]) == pytest.approx(case["expected"]["holm"], rel=1e-9)


def test_anytime_valid(cases: dict[str, Any]) -> None:
    inputs, expected = cases["anytime_valid"]["inputs"], cases["anytime_valid"]["expected"]
    n = sum(inputs["n"])
    assert float(rho2(inputs["n_star"])) == pytest.approx(expected["rho2"], rel=1e-6)
    band = mixture_band(inputs["diff"], inputs["se"], n=n, n_star=inputs["n_star"])
    assert [float(band.ci_low), float(band.ci_high)] == pytest.approx(expected["asympcs_ci"], rel=1e-6)
    assert float(band.e_value) == pytest.approx(expected["e_value"], rel=1e-6)
    assert float(band.p_value) == pytest.approx(expected["p_anytime"], rel=1e-6)
    fixed = mixture_band(inputs["diff"], inputs["se"], tau2=inputs["msprt_tau2"])
    assert float(fixed.e_value) == pytest.approx(expected["msprt_lambda"], rel=1e-6)
    assert float(fixed.p_value) == pytest.approx(expected["msprt_p"], rel=1e-6)
    assert float(fixed.ci_high - fixed.ci_low) / 2 == pytest.approx(expected["msprt_half_width"], rel=1e-6)
