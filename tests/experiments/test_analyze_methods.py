"""Every method that `analyze FILE` offers: against statsmodels, scipy, closed forms, and the statistics themselves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy import stats

from api.cli import cli
from experiments.analyze import AnalyzeOptions, analyze_file
from experiments.errors import InputError
from experiments.report.document import Comparison, MetricResult, Report
from stats.clusters import ClusterSums, sample_of
from stats.clusters import difference as cluster_difference
from stats.moments import Moments
from stats.quantiles import Quantiles, difference_of_quantiles
from stats.ranks import share_above
from stats.samples import means
from stats.sequential import bounds
from stats.survival import FollowUp, difference_of_restricted_means


def rows_of(n: int = 4000, seed: int = 11) -> pd.DataFrame:
    """Two variants with small effects, and a column for everything that is asked about."""
    rng = np.random.default_rng(seed)
    treated = rng.integers(0, 2, n)
    before = np.round(rng.gamma(2, 30, n), 2)
    tier = rng.choice(["gold", "silver", "basic"], n)
    bonus = (tier == "gold") * 25.0
    waited = np.round(rng.exponential(20 - 3 * treated, n), 1)
    last = np.round(rng.uniform(5, 40, n), 1)
    return pd.DataFrame(
        {
            "member": [f"m{i}" for i in range(n)],
            "group": np.where(treated == 1, "coupon", "control"),
            "bought": (rng.random(n) < 0.2 + 0.04 * treated).astype(int),
            "spend": np.round(rng.gamma(2, 20, n) + 0.6 * before + bonus + 4 * treated, 2),
            "orders": rng.poisson(1.4, n) + 1,
            "refunds": rng.poisson(0.5, n),
            "before": before,
            "tier": tier,
            "opened": (rng.random(n) < 0.6).astype(int) * treated,
            "days": np.minimum(waited, last),
            "left": (waited <= last).astype(int),
            "day": pd.Timestamp("2026-03-01") + pd.to_timedelta(rng.integers(0, 20, n), unit="D"),
            "wave": rng.choice(["march", "april", "may"], n),
        }
    )


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return rows_of()


@pytest.fixture(scope="module")
def file(frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("analyze") / "members.csv"
    frame.to_csv(path, index=False)
    return path


ASKED = AnalyzeOptions(variant="group", control="control")


def analyze(path: Path, **options: Any) -> Report:
    return analyze_file(path, replace(ASKED, **options))


def one(report: Report, name: str) -> tuple[MetricResult, Comparison]:
    metric = next(m for m in report.metrics if m.name == name)
    return metric, metric.comparisons[0]


def parts(frame: pd.DataFrame, column: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    a, b = (frame.loc[frame["group"] == g, column].to_numpy() for g in ("control", "coupon"))
    return a, b


def close(found: object, expected: object, rel: float = 1e-9) -> None:
    assert found == pytest.approx(expected, rel=rel, abs=1e-12)


def test_a_quantile_is_the_order_statistic(frame: pd.DataFrame, file: Path) -> None:
    metric, comparison = one(analyze(file, quantiles=["spend@0.9"]), "spend@0.9")
    a, b = parts(frame, "spend")
    for values, summary in zip((a, b), metric.variants, strict=True):
        close(summary.mean, np.quantile(values, 0.9, method="hazen"))
    samples = []
    for values in (a, b):
        different, counts = np.unique(values, return_counts=True)
        samples.append(Quantiles.from_values(different, counts, probability=0.9))
    expected = difference_of_quantiles(*samples, 0.05).value()
    close((comparison.effect.ci_low, comparison.effect.ci_high), (expected.ci_low, expected.ci_high))
    assert comparison.method == "quantile"


def test_times_are_read_by_the_area_under_kaplan_and_meiers_curve(frame: pd.DataFrame, file: Path) -> None:
    """statsmodels' SurvfuncRight gives the curve; the area under it up to the horizon is summed here."""
    from statsmodels.duration.survfunc import SurvfuncRight

    report = analyze(file, survivals=["days/left@14"])
    metric, comparison = one(report, "days/left@14")
    for group, summary in zip(("control", "coupon"), metric.variants, strict=True):
        part = frame[frame["group"] == group]
        curve = SurvfuncRight(part["days"], part["left"])
        times = np.append(curve.surv_times[curve.surv_times < 14], 14.0)
        steps = np.concatenate([[1.0], curve.surv_prob[: times.size - 1]])
        close(summary.mean, float((steps * np.diff(times, prepend=0.0)).sum()), 1e-9)
        drawn = next(c for c in report.survival if c.variant == group)
        for point in drawn.points[1:-1]:
            close(point.survival, curve.surv_prob[np.searchsorted(curve.surv_times, point.day + 1e-9) - 1])
    ups = [FollowUp.from_units(part["days"], part["left"]) for _, part in sorted(frame.groupby("group"))]
    expected = difference_of_restricted_means(*ups, 14.0).value()
    # The scorecard takes Student's distribution, as for any mean, that function the normal one.
    close((comparison.effect.ci_low, comparison.effect.ci_high), (expected.ci_low, expected.ci_high), 2e-3)
    assert metric.unit == "days"
    assert metric.window_days == 14


def test_without_a_horizon_times_count_as_far_as_every_variant_was_followed(frame: pd.DataFrame, file: Path) -> None:
    metric, _ = one(analyze(file, survivals=["days/left"]), "days/left")
    close(metric.window_days, frame.groupby("group")["days"].max().min())


def test_ranks_are_brunners_and_munzels(frame: pd.DataFrame, file: Path) -> None:
    metric, comparison = one(analyze(file, ranks=["orders"]), "rank(orders)")
    a, b = parts(frame, "orders")
    expected = stats.brunnermunzel(a, b)
    close(comparison.p_value, expected.pvalue, 1e-7)
    above = (b[:, None] > a[None, :]).mean() + (b[:, None] == a[None, :]).mean() / 2
    close(comparison.effect.estimate, above - 0.5)
    close([v.mean for v in metric.variants], [0.5, above])
    close(comparison.effect.ci_low, share_above(a, b).value().ci_low)
    assert comparison.relative.estimate is None
    assert comparison.relative.why == "relative change is not defined for this kind of metric"


def test_the_bootstrap_is_near_that_of_scipy(frame: pd.DataFrame, file: Path) -> None:
    _, comparison = one(analyze(file, bootstraps=["spend"]), "bootstrap(spend)")
    a, b = parts(frame, "spend")
    close(comparison.effect.estimate, b.mean() - a.mean())

    def difference(x: Any, y: Any, axis: int) -> Any:
        return y.mean(axis=axis) - x.mean(axis=axis)

    drawn = stats.bootstrap(
        (a, b), difference, n_resamples=4000, method="BCa", vectorized=True, rng=np.random.default_rng(1), batch=200
    )
    low, high = drawn.confidence_interval
    width = high - low
    # Both ends come of 4,000 draws: their standard errors are about 2 % of the width.
    assert abs((comparison.effect.ci_low or 0) - low) < 0.1 * width
    assert abs((comparison.effect.ci_high or 0) - high) < 0.1 * width
    assert comparison.relative.estimate is not None


def test_a_guardrail_is_a_test_of_its_margin(frame: pd.DataFrame, file: Path) -> None:
    """One-sided Welch test of "the mean of refunds is up by 20 % or more" in closed form."""
    report = analyze(file, metrics=["spend", "refunds"], guardrails=["refunds=20%"], decreases=["refunds"])
    metric, comparison = one(report, "refunds")
    a, b = parts(frame, "refunds")
    assert (metric.role, metric.direction, metric.margin_relative) == ("guardrail", "decrease", 0.2)
    distance = 1.2 * a.mean() - b.mean()
    va, vb = 1.44 * a.var(ddof=1) / a.size, b.var(ddof=1) / b.size
    df = (va + vb) ** 2 / (va**2 / (a.size - 1) + vb**2 / (b.size - 1))
    close(comparison.p_value_margin, stats.t.sf(distance / np.sqrt(va + vb), df), 1e-6)
    assert comparison.reading == ("within_limit" if (comparison.p_value_margin or 1) < 0.025 else "not_proven")
    spend = one(report, "spend")[1]
    assert spend.p_value_adjusted == spend.p_value  # a guardrail is in nobody's family
    assert any("limit" in sentence["en"] for sentence in report.summary)


def test_less_is_better_where_it_is_said(file: Path) -> None:
    readings = [one(analyze(file, metrics=["bought"], decreases=d), "bought")[1].reading for d in ((), ("bought",))]
    assert readings == ["better", "worse"]


def test_winsorising_cuts_at_the_pooled_quantile(frame: pd.DataFrame, file: Path) -> None:
    report = analyze(file, metrics=["spend"], ratios=["spend/orders"], winsorised=["spend=0.95"])
    cut = frame.assign(spend=frame["spend"].clip(upper=frame["spend"].quantile(0.95)))
    a, b = parts(cut, "spend")
    close(one(report, "spend")[1].p_value, stats.ttest_ind(b, a, equal_var=False).pvalue, 1e-3)
    close([v.mean for v in one(report, "spend")[0].variants], [a.mean(), b.mean()], 1e-4)
    (x, y), (m, n) = parts(frame, "spend"), parts(frame, "orders")
    close(one(report, "spend/orders")[1].effect.estimate, y.sum() / n.sum() - x.sum() / m.sum())


def test_strata_are_weighted_by_hand(frame: pd.DataFrame, file: Path) -> None:
    _, comparison = one(analyze(file, metrics=["spend"], strata=["tier"]), "spend")
    weights = frame["tier"].value_counts(normalize=True)
    by = frame.groupby(["tier", "group"])["spend"].agg(["mean", "var", "size"]).unstack()
    expected = float((weights * (by["mean"]["coupon"] - by["mean"]["control"])).sum())
    close(comparison.effect.estimate, expected)
    # Within strata, and because the strata's shares are those of a sample.
    within = float((weights**2 * (by["var"] / by["size"]).sum(axis=1)).sum())
    gaps = by["mean"]["coupon"] - by["mean"]["control"]
    between = float((weights * (gaps - expected) ** 2).sum()) / len(frame)
    half = stats.norm.isf(0.025) * np.sqrt(within + between)
    close((comparison.effect.ci_high or 0) - expected, half, 2e-3)
    assert comparison.method == "post_stratified"
    assert (comparison.variance_reduction or 0) > 0.02


def test_regression_is_lins(frame: pd.DataFrame, file: Path) -> None:
    import statsmodels.formula.api as smf

    report = analyze(file, metrics=["spend"], covariates=["before"], adjustment="regression")
    data = frame.assign(z=(frame["group"] == "coupon") * 1.0, x=frame["before"] - frame["before"].mean())
    fit = smf.ols("spend ~ z * x", data).fit(cov_type="HC2")
    _, comparison = one(report, "spend")
    close(comparison.effect.estimate, fit.params["z"], 1e-8)
    half = ((comparison.effect.ci_high or 0) - (comparison.effect.ci_low or 0)) / 2
    assert half / stats.norm.isf(0.025) == pytest.approx(fit.bse["z"], rel=2e-3)
    assert comparison.method == "regression_mean"
    assert any("Lin 2013" in text["en"] for text in report.methods)
    plain = one(analyze(file, metrics=["spend"], covariates=["before"], adjustment="none"), "spend")[1]
    close(plain.effect.estimate, np.subtract(*[v.mean() for v in reversed(parts(frame, "spend"))]))


@pytest.mark.parametrize("method", ["holm", "hochberg", "benjamini_hochberg"])
def test_families_are_those_of_statsmodels(file: Path, method: Any) -> None:
    from statsmodels.stats.multitest import multipletests

    names = ["spend", "bought", "orders", "refunds"]
    report = analyze(file, metrics=names, multiplicity=method)
    comparisons = [one(report, name)[1] for name in names]
    theirs = {"holm": "holm", "hochberg": "simes-hochberg", "benjamini_hochberg": "fdr_bh"}[method]
    expected = multipletests([c.p_value for c in comparisons], method=theirs)[1]
    close([c.p_value_adjusted for c in comparisons], list(expected))


def test_dunnett_is_the_normal_integral(tmp_path: Path) -> None:
    """Equal groups share control with correlation ½: P(no |z| as large) by scipy's bivariate normal distribution."""
    rng = np.random.default_rng(3)
    groups = {"a": rng.normal(10, 3, 900), "b": rng.normal(10.3, 3, 900), "c": rng.normal(10.1, 3, 900)}
    rows = pd.DataFrame([(g, v) for g, values in groups.items() for v in values], columns=["group", "value"])
    rows.to_csv(tmp_path / "a.csv", index=False)
    asked = AnalyzeOptions(variant="group", control="a", metrics=["value"], multiplicity="dunnett")
    metric = analyze_file(tmp_path / "a.csv", asked).metrics[0]
    both = stats.multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]])
    for comparison in metric.comparisons:
        z = stats.norm.isf((comparison.p_value or 0) / 2)
        inside = both.cdf([z, z], lower_limit=[-z, -z])
        assert comparison.p_value_adjusted == pytest.approx(1 - inside, rel=1e-3)


def test_declared_looks_widen_the_interval_by_their_bound(frame: pd.DataFrame, file: Path) -> None:
    report = analyze(file, metrics=["spend"], inference="group_sequential", looks="0.25,0.5,0.75,1")
    _, comparison = one(report, "spend")
    a, b = parts(frame, "spend")
    error = np.sqrt(a.var(ddof=1) / a.size + b.var(ddof=1) / b.size)
    limit = bounds([0.25, 0.5, 0.75, 1.0], 0.05)
    # The last of four equal looks, as every table of Lan and DeMets's O'Brien–Fleming type spending has it.
    assert float(limit[-1]) == pytest.approx(2.014, abs=2e-3)
    close((comparison.effect.ci_high or 0) - (comparison.effect.estimate or 0), float(limit[-1]) * error, 1e-6)
    close([look.bound for look in report.sequential[0].looks], list(limit), 1e-6)
    assert comparison.after_stopping is None
    assert report.plan.sequential is not None
    assert report.plan.sequential.planned_units == len(frame)


def test_dated_looks_are_those_of_the_days(frame: pd.DataFrame, file: Path) -> None:
    asked: dict[str, Any] = {"metrics": ["spend"], "inference": "group_sequential", "entered": "day"}
    report = analyze(file, **asked, planned_units=len(frame))
    looks = report.sequential[0].looks
    by_day = frame.groupby("day").size().cumsum()
    assert [look.units for look in looks] == list(by_day)
    first = frame[frame["day"] <= frame["day"].min() + pd.Timedelta(days=9)]
    a, b = parts(first, "spend")
    z = (b.mean() - a.mean()) / np.sqrt(a.var(ddof=1) / a.size + b.var(ddof=1) / b.size)
    close(looks[9].z, z, 1e-6)
    assert len(report.curves[0].points) == len(looks)
    assert one(report, "spend")[1].after_stopping is not None
    # Past the plan the figures stay those of the day that reached it.
    planned = int(by_day.iloc[11])
    stopped = analyze(file, **asked, planned_units=planned)
    a, b = parts(frame[frame["day"] <= frame["day"].min() + pd.Timedelta(days=11)], "spend")
    close(one(stopped, "spend")[1].effect.estimate, b.mean() - a.mean())
    assert any("planned" in text["en"] for text in stopped.warnings)


def test_the_always_valid_band_is_the_normal_mixtures(frame: pd.DataFrame, file: Path) -> None:
    """Half width by the closed formula, with the mixture that is narrowest at 5,000 units of both variants."""
    _, comparison = one(analyze(file, metrics=["spend"], inference="always_valid"), "spend")
    a, b = parts(frame, "spend")
    v, n = a.var(ddof=1) / a.size + b.var(ddof=1) / b.size, a.size + b.size
    rho2 = (-2 * np.log(0.05) + np.log(1 - 2 * np.log(0.05))) / 5000
    t2 = v * n * rho2
    half = np.sqrt(v * (v + t2) / t2 * (np.log((v + t2) / v) - 2 * np.log(0.05)))
    close((comparison.effect.ci_high or 0) - (comparison.effect.estimate or 0), half, 1e-6)


def test_a_prior_shrinks_by_the_ratio_of_precisions(frame: pd.DataFrame, file: Path) -> None:
    report = analyze(file, metrics=["spend"], inference="bayesian", prior_sd="5%")
    _, comparison = one(report, "spend")
    a, b = parts(frame, "spend")
    v, prior = a.var(ddof=1) / a.size + b.var(ddof=1) / b.size, (0.05 * frame["spend"].mean()) ** 2
    mean, sd = (b.mean() - a.mean()) * prior / (prior + v), np.sqrt(prior * v / (prior + v))
    close(comparison.effect.estimate, mean, 1e-6)
    close(comparison.chance_to_win, stats.norm.cdf(mean / sd), 1e-6)
    close(comparison.effect.ci_low, mean - stats.norm.isf(0.025) * sd, 1e-6)
    assert comparison.p_value is None
    assert report.plan.prior["en"].count("5%")


def clustered(tmp_path: Path, *, split: bool, broken: int = 0) -> tuple[pd.DataFrame, Path]:
    rng = np.random.default_rng(5)
    store = np.repeat(np.arange(60), rng.integers(10, 60, 60))
    treated = rng.integers(0, 2, store.size) if split else (store % 2)
    treated = np.where((store < broken) & (rng.random(store.size) < 0.5), 1 - treated, treated)
    spend = np.round(50 + rng.normal(0, 5, 60)[store] + rng.normal(0, 10, store.size), 2)
    rows = pd.DataFrame({"store": store, "group": np.where(treated, "coupon", "control"), "spend": spend})
    rows.to_csv(tmp_path / "stores.csv", index=False)
    return rows, tmp_path / "stores.csv"


def test_clusters_have_cr2_errors(tmp_path: Path) -> None:
    """The CR2 sandwich of OLS on the variant, written out with numpy (Bell and McCaffrey 2002)."""
    rows, path = clustered(tmp_path, split=False)
    report = analyze(path, metrics=["spend"], cluster="store")
    _, comparison = one(report, "spend")
    x = np.column_stack([np.ones(len(rows)), rows["group"] == "coupon"]).astype(float)
    y = rows["spend"].to_numpy()
    bread = np.linalg.inv(x.T @ x)
    residual = y - x @ (bread @ x.T @ y)
    meat = np.zeros((2, 2))
    for members in rows.groupby("store").indices.values():
        part = x[members]
        values, vectors = np.linalg.eigh(np.eye(len(members)) - part @ bread @ part.T)
        root = vectors @ np.diag(np.where(values > 1e-10, values, np.inf) ** -0.5) @ vectors.T
        score = part.T @ root @ residual[members]
        meat += np.outer(score, score)
    error = float(np.sqrt((bread @ meat @ bread)[1, 1]))
    by = rows.groupby("store").agg(n=("spend", "size"), total=("spend", "sum"), group=("group", "first"))
    sums = ClusterSums.of(["spend"], (by["group"] == "coupon").astype(int), by["n"], by[["total"]])
    sample = sample_of(sums, "spend", variants=2)
    expected = cluster_difference(sample[0], sample[1], 0.05)
    close(float(expected.std_error), error, 1e-8)
    close((comparison.effect.ci_low, comparison.effect.ci_high), (float(expected.ci_low), float(expected.ci_high)))
    assert comparison.method == "clusters_cr2"
    assert report.plan.design == "clusters"
    assert report.srm.observed == {"control": 30, "coupon": 30}  # clusters were split, not units


def test_a_few_broken_clusters_are_warned_of(tmp_path: Path) -> None:
    _, path = clustered(tmp_path, split=False, broken=2)
    report = analyze(path, metrics=["spend"], cluster="store")
    assert one(report, "spend")[1].method == "clusters_cr2"
    assert "2 have several" in report.warnings[0]["en"]


@pytest.mark.parametrize("said", [False, True])
def test_units_split_within_clusters_keep_their_own_errors(tmp_path: Path, said: bool) -> None:
    rows, path = clustered(tmp_path, split=True)
    report = analyze(path, metrics=["spend"], cluster="store", split_clusters=said)
    _, comparison = one(report, "spend")
    close(comparison.p_value, stats.ttest_ind(*reversed(parts(rows, "spend")), equal_var=False).pvalue)
    assert "members in several variants" in report.warnings[0]["en"]


def test_quantiles_of_clusters_are_wider(tmp_path: Path) -> None:
    _, path = clustered(tmp_path, split=False)
    widths = []
    for cluster in (None, "store"):
        effect = one(analyze(path, quantiles=["spend@0.5"], cluster=cluster), "spend@0.5")[1].effect
        widths.append((effect.ci_high or 0) - (effect.ci_low or 0))
    assert widths[1] > 1.5 * widths[0]


def test_the_effect_on_those_reached_is_walds(frame: pd.DataFrame, file: Path) -> None:
    """Ratio of two differences of means; two-stage least squares gives the same by closed form."""
    report = analyze(file, metrics=["spend"], reached="opened")
    (found,) = report.reached
    (a, b), (m, n) = parts(frame, "spend"), parts(frame, "opened")
    effect = (b.mean() - a.mean()) / (n.mean() - m.mean())
    close(found.effect.estimate, effect)
    close((found.reached, found.reached_control), (n.mean(), m.mean()))
    residuals = [values - effect * reached for values, reached in ((a, m), (b, n))]
    error = np.sqrt(sum(r.var(ddof=1) / r.size for r in residuals)) / (n.mean() - m.mean())
    half = ((found.effect.ci_high or 0) - (found.effect.ci_low or 0)) / 2
    assert half == pytest.approx(stats.norm.isf(0.025) * error, rel=5e-3)


def test_factors_make_the_variants(tmp_path: Path) -> None:
    import statsmodels.formula.api as smf

    rng = np.random.default_rng(9)
    rows = pd.DataFrame({"banner": rng.integers(0, 2, 3000), "offer": rng.choice(["plain", "coupon"], 3000)})
    high = (rows["offer"] == "coupon").astype(int)
    rows["spend"] = np.round(30 + 2 * rows["banner"] + 3 * high + rows["banner"] * high + rng.normal(0, 8, 3000), 2)
    rows.to_csv(tmp_path / "a.csv", index=False)
    asked = AnalyzeOptions(factors=["banner", "offer=plain"], metrics=["spend"])
    report = analyze_file(tmp_path / "a.csv", asked)
    assert report.plan.control == "banner=0 · offer=plain"
    assert report.plan.design == "factorial"
    data = rows.assign(a=2 * rows["banner"] - 1, b=2 * high - 1)
    fit = smf.ols("spend ~ a * b", data).fit(cov_type="HC2")
    terms = {" × ".join(t.factors): t for t in report.factorial[0].terms}
    for term, name, scale in (("banner", "a", 2), ("offer", "b", 2), ("banner × offer", "a:b", 4)):
        close(terms[term].effect.estimate, scale * fit.params[name])
        half = ((terms[term].effect.ci_high or 0) - (terms[term].effect.ci_low or 0)) / 2
        assert half == pytest.approx(stats.norm.isf(0.025) * scale * fit.bse[name], rel=2e-3)


def test_waves_are_pooled_by_random_effects(frame: pd.DataFrame, file: Path) -> None:
    from statsmodels.stats.meta_analysis import combine_effects

    report = analyze(file, metrics=["spend"], wave="wave")
    (found,) = report.pooled
    effects, variances = [], []
    for wave in ("april", "march", "may"):
        a, b = parts(frame[frame["wave"] == wave], "spend")
        effects.append(b.mean() - a.mean())
        variances.append(a.var(ddof=1) / a.size + b.var(ddof=1) / b.size)
    assert [w.occasion for w in found.waves] == ["april", "march", "may"]
    close([w.effect.estimate for w in found.waves], effects)
    theirs = combine_effects(np.array(effects), np.array(variances), method_re="iterated", use_t=True, atol=1e-12)
    frame_of = theirs.summary_frame()
    close(found.effect.estimate, frame_of.loc["random effect", "eff"], 1e-6)


def test_a_switchback_is_judged_by_all_assignments(tmp_path: Path) -> None:
    from itertools import combinations, product

    rng = np.random.default_rng(4)
    rows = pd.DataFrame([(p, t) for p in ("north", "south") for t in range(6)], columns=["place", "period"])
    rows["group"] = np.where(rows["period"] % 2, "coupon", "control")
    rows["sales"] = np.round(rng.normal(100, 5, 12) + 9 * (rows["group"] == "coupon") + 40 * (rows["place"] == "south"))
    rows.to_csv(tmp_path / "a.csv", index=False)
    report = analyze(tmp_path / "a.csv", metrics=["sales"], place="place", period="period")
    _, comparison = one(report, "sales")
    sales = rows["sales"].to_numpy().reshape(2, 6)
    chosen = [list(combinations(range(6), 3))] * 2

    def difference(picked: Any) -> float:
        masks = np.array([[i in p for i in range(6)] for p in picked])
        return float(np.mean([s[m].mean() - s[~m].mean() for s, m in zip(sales, masks, strict=True)]))

    actual = difference([(1, 3, 5)] * 2)
    everyone = [difference(p) for p in product(*chosen)]
    close(comparison.effect.estimate, actual, 1e-6)
    assert comparison.p_value == pytest.approx(np.mean([abs(d) >= abs(actual) - 1e-9 for d in everyone]), abs=0.02)
    assert comparison.method == "randomisation"
    assert report.plan.design == "switchback"


@pytest.mark.shared
def test_hillstroms_methods_agree_with_each_other(shared_dir: Path) -> None:
    """Three ways to read Hillstrom's spend end on the same side, near the published effect of .7698."""
    path = shared_dir / "data" / "hillstrom.csv.gz"
    asked = AnalyzeOptions(variant="segment", control="No E-Mail", metrics=["spend"], covariates=["history"])
    plain = analyze_file(path, replace(asked, covariates=()))
    lin = analyze_file(path, replace(asked, adjustment="regression", reached="visit"))
    strata = analyze_file(path, replace(asked, covariates=(), strata=["channel", "newbie"], ranks=["spend"]))
    for report in (plain, lin, strata):
        found = next(c for c in one(report, "spend")[0].comparisons if c.variant == "Mens E-Mail")
        assert found.effect.estimate == pytest.approx(0.7698, abs=0.02)
        assert found.reading == "better"
    frame = pd.read_csv(path)
    a, b = (frame.loc[frame["segment"] == g, "spend"] for g in ("No E-Mail", "Mens E-Mail"))
    ranked = next(c for c in one(strata, "rank(spend)")[0].comparisons if c.variant == "Mens E-Mail")
    close(ranked.p_value, stats.brunnermunzel(a, b).pvalue, 1e-6)
    reached = next(r for r in lin.reached if r.variant == "Mens E-Mail")
    assert (reached.reached, reached.reached_control) == pytest.approx((0.18276, 0.10617), abs=5e-5)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"quantiles": ["spend"]}, "--quantile 'spend': write COLUMN@SHARE"),
        ({"quantiles": ["spend@2"]}, "share between 0 and 1"),
        ({"survivals": ["days"]}, "write DAYS/EVENT, two columns"),
        ({"survivals": ["days/orders"]}, "must hold 0 and 1"),
        ({"survivals": ["days/left@-3"]}, "horizon in days"),
        ({"metrics": ["spend"], "guardrails": ["refunds=5%"]}, "there are: spend"),
        ({"metrics": ["spend"], "guardrails": ["spend"]}, "write METRIC=SHARE"),
        ({"metrics": ["spend"], "guardrails": ["spend=500%"]}, "above 0% and below 100%"),
        ({"metrics": ["spend"], "guardrails": ["spend=little"]}, "is not a share"),
        ({"metrics": ["spend"], "decreases": ["orders"]}, "name a metric that is measured too"),
        ({"metrics": ["bought"], "winsorised": ["bought=0.99"]}, "only 0 and 1"),
        ({"metrics": ["spend"], "winsorised": ["spend=0.1"]}, "from 0.5 to 1"),
        ({"metrics": ["spend"], "adjustment": "regression"}, "name what to adjust for"),
        ({"metrics": ["spend"], "prior_sd": "20%"}, "belongs to --inference bayesian"),
        ({"metrics": ["spend"], "inference": "bayesian", "prior_sd": "0"}, "such as 20%"),
        ({"metrics": ["spend"], "inference": "bayesian", "multiplicity": "holm"}, "leave --multiplicity out"),
        ({"metrics": ["spend"], "inference": "group_sequential"}, "say when you looked"),
        ({"metrics": ["spend"], "inference": "group_sequential", "looks": "0.5,0.2"}, "that grow up to 1"),
        ({"metrics": ["spend"], "inference": "group_sequential", "looks": "1", "planned_units": 9000}, "of 9,000"),
        ({"metrics": ["spend"], "looks": "0.5,1"}, "belongs to --inference group-sequential"),
        ({"metrics": ["spend"], "planned_units": 10}, "says nothing to --inference fixed"),
        ({"metrics": ["spend"], "entered": "tier"}, "write dates as 2026-03-01"),
        ({"ranks": ["spend"], "inference": "bayesian"}, "--rank is read once"),
        ({"metrics": ["spend"], "reached": "orders"}, "must hold 0 or 1"),
        ({"metrics": ["spend"], "wave": "group"}, "named as variant and as wave"),
        ({"metrics": ["spend"], "wave": "member"}, "pooling needs 2 to 30 waves"),
        ({"metrics": ["spend"], "strata": ["member"]}, "combinations of levels"),
        ({"metrics": ["spend"], "strata": ["spend"]}, "named as a number and as strata"),
        ({"metrics": ["spend"], "place": "tier"}, "give --period COLUMN too"),
        ({"metrics": ["spend"], "place": "tier", "period": "wave"}, "one row for each place and period"),
        ({"metrics": ["spend"], "place": "tier", "period": "wave", "covariates": ["before"]}, "cannot be joined with"),
        ({"metrics": ["spend"], "split_clusters": True}, "name the column of the clusters"),
        ({"metrics": ["spend"], "factors": ["tier"]}, "leave --variant and --control out"),
        ({"metrics": ["spend"], "factors": ["tier"], "variant": None, "control": None}, "more than 2 different values"),
        ({"metrics": ["spend"], "factors": ["bought=x"], "variant": None, "control": None}, "no level 'x'"),
        ({"metrics": ["spend"], "variant": None}, "give --variant COLUMN"),
        ({"metrics": ["spend"], "cluster": "member", "strata": ["tier"]}, "cannot be joined with --cluster"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(file: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        analyze(file, **options)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("output", ["table", "json", "csv", "html"])
@pytest.mark.parametrize("lang", ["en", "zh-CN"])
def test_everything_is_shown_in_every_form(file: Path, output: str, lang: str) -> None:
    result = CliRunner().invoke(
        cli,
        [
            *("analyze", str(file), "--variant", "group", "--control", "control", "--metric", "spend"),
            *("--quantile", "spend@0.9", "--survival", "days/left@14", "--decrease", "days/left@14"),
            *("--rank", "orders", "--bootstrap", "refunds", "--metric", "bought", "--guardrail", "bought=10%"),
            *("--reached", "opened", "--wave", "wave", "--strata", "tier", "--entered", "day"),
            *("--output", output, "--lang", lang),
        ],
    )
    assert result.exit_code == 0, result.output
    if output == "json":
        report = json.loads(result.output)
        assert [m["name"] for m in report["metrics"]][2:] == [
            "spend@0.9", "days/left@14", "rank(orders)", "bootstrap(refunds)",
        ]  # fmt: skip
        assert all(report[section] for section in ("survival", "reached", "pooled", "curves"))
    elif output == "csv":
        methods = {line.split(",")[-2] for line in result.output.splitlines()[1:]}
        assert {"post_stratified", "quantile", "restricted_mean", "brunner_munzel", "bootstrap_bca"} <= methods
    else:
        words = {"en": ("Waves", "Effect on those reached", "Brunner"), "zh-CN": ("批次", "对触达者的效果", "Brunner")}
        assert all(word in result.output for word in words[lang])


def test_looks_and_factors_are_shown(file: Path) -> None:
    for output in ("table", "html"):
        base = ["analyze", str(file), "--metric", "spend", "--output", output]
        looks = ["--variant", "group", "--control", "control", "--inference", "group-sequential", "--looks", "0.5,1"]
        assert "Looks" in CliRunner().invoke(cli, [*base, *looks]).output
        assert "Factors" in CliRunner().invoke(cli, [*base, "--factor", "opened", "--factor", "bought"]).output


def test_rows_of_units_are_not_asked_of_summaries(file: Path) -> None:
    result = CliRunner().invoke(cli, ["analyze", str(file), "--summary", "--wave", "wave"])
    assert result.exit_code == 2
    assert "--wave needs rows of units, not --summary" in result.output


def test_the_order_of_rows_changes_nothing(frame: pd.DataFrame, file: Path, tmp_path: Path) -> None:
    frame.sample(frac=1, random_state=3).to_csv(tmp_path / "members.csv", index=False)
    asked: dict[str, Any] = {
        "metrics": ["spend"],
        "quantiles": ["spend@0.5"],
        "survivals": ["days/left@14"],
        "bootstraps": ["orders"],
        "ranks": ["spend"],
        "strata": ["tier"],
        "wave": "wave",
        "reached": "opened",
    }
    first, second = analyze(file, **asked), analyze(tmp_path / "members.csv", **asked)
    assert first.content_hash == second.content_hash


def test_means_of_the_log_and_file_share_one_estimator(frame: pd.DataFrame, file: Path) -> None:
    """Moments of the rows by numpy give the very figures of the file."""
    _, comparison = one(analyze(file, metrics=["spend"]), "spend")
    sample = means(Moments.stack([Moments.from_rows(("x",), v[:, None]) for v in parts(frame, "spend")]), "x")
    close(comparison.effect.estimate, float(sample.mean[1] - sample.mean[0]))
