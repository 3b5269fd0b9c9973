"""Cluster-robust comparisons: full hat matrices by brute force, statsmodels, the reference file and simulation."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

from stats.clusters import ClusterSums, difference, relative, sample_of
from stats.effects import difference_of_ratios
from stats.moments import Moments
from stats.samples import ratios


def brute_force(y: np.ndarray, x: np.ndarray, cluster: np.ndarray, contrast: np.ndarray) -> tuple[float, float, float]:
    """Return estimate, CR2 error and Satterthwaite's df with every matrix written out.

    Bell and McCaffrey (2002), section 3; Pustejovsky and Tipton (2018), equations 7, 8 and 11 with identity working
    covariance: A = (I − H)^(−1/2) of each cluster (Moore–Penrose where singular), p = (I − H)'A X (X'X)⁻¹ c.
    """
    bread = np.linalg.inv(x.T @ x)
    rest = np.eye(len(y)) - x @ bread @ x.T
    pulls = []
    for g in np.unique(cluster):
        own = cluster == g
        values, vectors = np.linalg.eigh(rest[np.ix_(own, own)])
        inverse_root = np.where(values > 1e-10, np.maximum(values, 1e-10) ** -0.5, 0.0)
        adjust = vectors @ np.diag(inverse_root) @ vectors.T
        pulls.append(rest[own].T @ adjust @ x[own] @ bread @ contrast)
    p = np.array(pulls)
    gram = p @ p.T
    return (
        float(contrast @ bread @ x.T @ y),
        float(np.sqrt(((p @ y) ** 2).sum())),
        float(np.trace(gram) ** 2 / (gram**2).sum()),
    )


def simulate(seed: int, clusters: int = 12, arms: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    size = rng.integers(1, 30, clusters)
    cluster = np.repeat(np.arange(clusters), size)
    arm = (np.arange(clusters) % arms)[cluster]
    x = rng.normal(0, 1, clusters)[cluster] + rng.normal(0, 1, len(cluster))
    y = 5 + x + rng.normal(0, 1, clusters)[cluster] + rng.gamma(2, 1, len(cluster))
    return arm, cluster, y, x


@pytest.mark.shared
def test_reference(cases: dict[str, Any], rows: dict[str, np.ndarray]) -> None:
    expected = cases["cluster_robust"]["expected"]
    cluster = np.arange(60) // 4
    both = sample_of(ClusterSums.from_rows(["revenue"], rows["revenue"][:, None], cluster, cluster % 2), "revenue")
    effect = difference(both[0], both[1], correction="CR1").value()
    assert effect.estimate == pytest.approx(expected["effect"], rel=1e-9)
    assert effect.std_error == pytest.approx(expected["se_cr1"], rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_cr2_and_its_freedom_are_those_of_full_matrices(seed: int) -> None:
    arm, cluster, y, _ = simulate(seed, clusters=5 + 3 * seed)
    both = sample_of(ClusterSums.from_rows(["y"], y[:, None], cluster, arm), "y")
    effect = difference(both[0], both[1]).value()
    design = np.column_stack([arm == 0, arm == 1]).astype(float)
    found = (effect.estimate, effect.std_error, effect.df)
    assert found == pytest.approx(brute_force(y, design, cluster, np.array([-1.0, 1.0])), rel=1e-9)
    for k in (0, 1):
        own = brute_force(y, design, cluster, np.eye(2)[k])
        assert both.sample.std_error[k] == pytest.approx(own[1], rel=1e-9)
        assert both.df[k] == pytest.approx(own[2], rel=1e-9)


def test_three_variants_are_compared_in_pairs() -> None:
    arm, cluster, y, _ = simulate(7, clusters=18, arms=3)
    all_three = sample_of(ClusterSums.from_rows(["y"], y[:, None], cluster, arm), "y")
    effect = difference(all_three[0], all_three[1:])
    design = np.column_stack([arm == k for k in range(3)]).astype(float)
    for k in (1, 2):
        contrast = np.eye(3)[k] - np.eye(3)[0]
        found = (effect.estimate[k - 1], effect.std_error[k - 1], effect.df[k - 1])
        assert found == pytest.approx(brute_force(y, design, cluster, contrast), rel=1e-9)


def test_cr1_is_statsmodels() -> None:
    arm, cluster, y, _ = simulate(8, clusters=20)
    both = sample_of(ClusterSums.from_rows(["y"], y[:, None], cluster, arm), "y")
    effect = difference(both[0], both[1], correction="CR1").value()
    theirs = sm.OLS(y, sm.add_constant(arm)).fit(cov_type="cluster", cov_kwds={"groups": cluster}, use_t=True)
    assert (effect.estimate, effect.std_error, effect.p_value) == pytest.approx(
        (theirs.params[1], theirs.bse[1], theirs.pvalues[1]), rel=1e-9
    )
    assert (effect.ci_low, effect.ci_high) == pytest.approx(tuple(theirs.conf_int()[1]), rel=1e-9)


def test_equal_clusters_are_a_t_test_of_their_means() -> None:
    """Oracle: scipy's t test with pooled df; the two variances of equal numbers of clusters add up alike."""
    from scipy import stats

    rng = np.random.default_rng(9)
    cluster = np.repeat(np.arange(16), 10)
    arm, y = cluster % 2, rng.gamma(2, 1, 160) + rng.normal(0, 1, 16)[cluster]
    both = sample_of(ClusterSums.from_rows(["y"], y[:, None], cluster, arm), "y")
    means = y.reshape(16, 10).mean(axis=1)
    theirs = stats.ttest_ind(means[1::2], means[::2])
    effect = difference(both[0], both[1]).value()
    assert effect.p_value == pytest.approx(theirs.pvalue, rel=1e-9)
    assert effect.df == pytest.approx(14, rel=1e-9)


def test_clusters_of_one_unit_are_unbiased_variances() -> None:
    """CR2 with one unit a cluster is HC2, and here Welch's variance; the ratio's too but for its (1 − 2h + h²N/n)."""
    rng = np.random.default_rng(10)
    y, arm = rng.gamma(2, 1, 90), np.arange(90) % 2
    both = sample_of(ClusterSums.of(["y"], arm, np.ones(90), y[:, None]), "y")
    assert both.sample.variance == pytest.approx([y[arm == k].var(ddof=1) for k in (0, 1)], rel=1e-9)


def test_ratios_agree_with_the_delta_method_over_clusters() -> None:
    """With every cluster one unit of the delta method the two differ by small-sample factors only: 2 % at 600."""
    rng = np.random.default_rng(11)
    visits = rng.poisson(5, 1200) + 1.0
    orders = rng.binomial(visits.astype(int), rng.beta(2, 5, 1200)).astype(float)
    arm = np.arange(1200) % 2
    rows = np.column_stack([orders, visits])
    both = sample_of(ClusterSums.of(["orders", "visits"], arm, np.ones(1200), rows), ("orders", "visits"))
    delta = ratios(Moments.from_rows(["orders", "visits"], rows, cell=arm), "orders", "visits")
    ours, theirs = difference(both[0], both[1]).value(), difference_of_ratios(delta[0], delta[1]).value()
    assert ours.estimate == pytest.approx(theirs.estimate, rel=1e-9)
    assert ours.std_error == pytest.approx(theirs.std_error, rel=0.02)


def test_a_ratio_to_the_units_is_the_mean() -> None:
    arm, cluster, y, _ = simulate(12)
    sums = ClusterSums.from_rows(["y", "one"], np.column_stack([y, np.ones(len(y))]), cluster, arm)
    mean, share = sample_of(sums, "y"), sample_of(sums, ("y", "one"))
    first, second = (difference(s[0], s[1]).value() for s in (mean, share))
    assert (second.estimate, second.std_error, second.df) == pytest.approx(
        (first.estimate, first.std_error, first.df), rel=1e-9
    )


def test_the_ratios_error_is_unbiased_under_its_working_model() -> None:
    """Expectation by the model's own covariance, unit by unit: Σ pull·E[residual²] is the estimate's variance."""
    rng = np.random.default_rng(13)
    n, b = rng.integers(1, 20, 9), rng.gamma(3, 1, 9)
    lever = b / b.sum()
    maker = np.eye(9) - np.outer(lever, np.ones(9))  # residual of cluster sums: a − h·Σa
    covariance = maker @ np.diag(n.astype(float)) @ maker.T
    pull = n / np.diag(covariance)
    ours = sample_of(ClusterSums.of(["a", "b"], np.zeros(9), n, np.column_stack([b, b])), ("a", "b"))
    assert ours.trace[0] == pytest.approx((pull * np.diag(covariance)).sum() / b.sum() ** 2, rel=1e-9)
    gram = np.sqrt(np.outer(pull, pull)) * covariance
    assert ours.square[0] == pytest.approx((gram**2).sum() / b.sum() ** 4, rel=1e-9)


def test_covariates_take_away_what_they_explain() -> None:
    arm, cluster, y, x = simulate(14, clusters=60)
    y = y + 3 * x
    sums = ClusterSums.from_rows(["y", "x"], np.column_stack([y, x]), cluster, arm)
    raw, adjusted = sample_of(sums, "y"), sample_of(sums, "y", ["x"])
    before, after = (difference(s[0], s[1]).value() for s in (raw, adjusted))
    assert after.std_error < 0.6 * before.std_error
    assert after.df < before.df
    lift = relative(adjusted[0], adjusted[1]).value()
    assert lift.estimate == pytest.approx(after.estimate / float(adjusted.sample.mean[0]), rel=1e-9)


@given(st.integers(0, 10**6), st.floats(1e-4, 1e4))
@settings(max_examples=30, deadline=None)
def test_swapping_scaling_and_shuffling(seed: int, scale: float) -> None:
    arm, cluster, y, x = simulate(seed)
    rows = np.column_stack([y, x])
    both = sample_of(ClusterSums.from_rows(["y", "x"], rows, cluster, arm), "y", ["x"])
    order = np.random.default_rng(seed).permutation(len(y))
    sums = ClusterSums.from_rows(["y", "x"], rows[order] * scale, cluster[order], 1 - arm[order])
    turned = sample_of(sums, "y", ["x"])
    there, back = difference(both[0], both[1]).value(), difference(turned[0], turned[1]).value()
    assert back.estimate == pytest.approx(-there.estimate * scale, rel=1e-6, abs=1e-9 * scale)
    assert (back.std_error, back.df) == pytest.approx((there.std_error * scale, there.df), rel=1e-6)
    assert (there.ci_low > 0 or there.ci_high < 0) == (there.p_value < 0.05)


def test_what_cannot_be_computed_says_why() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sums = ClusterSums.of(["y", "z"], [0, 0, 1, 3, 3], [3, 4, 5, 2, 0], [[6, 0], [9, 0], [7, 1], [8, 1], [0, 0]])
        all_four = sample_of(sums, "y")
        effect = difference(all_four[0], all_four[1:])
        ratio = sample_of(sums, ("y", "z"), variants=4)
        nobody = sample_of(ClusterSums.of(["y"], [], [], np.zeros((0, 1))), "y", variants=2)
        flat = sample_of(ClusterSums.of(["y"], [0, 0, 1, 1], [3, 4, 5, 2], [[9], [12], [10], [4]]), "y")
        small = sample_of(ClusterSums.of(["y", "x"], [0, 0, 1], [3, 4, 5], [[9, 1], [1, 2], [1, 3]]), "y", ["x"])
    assert [value.why_code for value in effect.values()] == ["too_few_clusters", "no_units", "too_few_clusters"]
    assert difference(ratio[0], ratio[1]).value().why_code == "zero_denominator"
    assert difference(nobody[0], nobody[1]).value().why_code == "no_units"
    assert difference(flat[0], flat[1]).value().why_code == "zero_variance"
    assert difference(small[0], small[1]).value().p_value is None
    assert difference(small[0], small[1]).value().why_code is not None
    for value in (*effect.values(), difference(flat[0], flat[1]).value()):
        assert value.p_value is None
        assert value.ci_low is None


def test_useless_covariates_change_nothing_but_say_so_in_no_warning() -> None:
    arm, cluster, y, _ = simulate(15)
    rows = np.column_stack([y, np.full(len(y), 2.5), np.zeros(len(y))])
    sums = ClusterSums.from_rows(["y", "constant", "zero"], rows, cluster, arm)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        raw, done = sample_of(sums, "y"), sample_of(sums, "y", ["constant", ("y", "zero")])
    assert done.sample.mean == pytest.approx(raw.sample.mean)
    assert done.sample.variance == pytest.approx(raw.sample.variance)
    assert done.covariates == 0


@pytest.mark.parametrize(
    ("columns", "variant", "n", "sums", "message"),
    [
        (["y", "y"], [0], [1], [[1, 1]], "different"),
        (["y"], [0, 1], [1, 1], [[1.0], [np.nan]], "NaN"),
        (["y"], [0, -1], [1, 1], [[1.0], [2.0]], "negative"),
        (["y"], [0], [1, 1], [[1.0], [2.0]], "fit"),
    ],
)
def test_what_does_not_fit_is_refused(columns: list[str], variant: Any, n: Any, sums: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClusterSums(tuple(columns), np.asarray(variant), np.asarray(n), np.asarray(sums, dtype=float))


def test_unknown_columns_are_named() -> None:
    with pytest.raises(KeyError, match="there are y"):
        sample_of(ClusterSums.of(["y"], [0], [1], [[1.0]]), "z")
    with pytest.raises(ValueError, match="variants"):
        sample_of(ClusterSums.of(["y"], [2], [1], [[1.0]]), "y", variants=2)
