"""What `analyze FILE` compares and how it judges: against statsmodels, scipy, closed forms and the statistics."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from experiments.analyze import AnalyzeOptions, analyze_file
from stats.quantiles import Quantiles, difference_of_quantiles
from stats.ranks import share_above
from stats.sequential import bounds
from stats.survival import FollowUp, difference_of_restricted_means
from tests.experiments.analyze_rows import analyze, close, one, parts, rows_of


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return rows_of()


@pytest.fixture(scope="module")
def file(frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("analyze") / "members.csv"
    frame.to_csv(path, index=False)
    return path


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


@pytest.mark.parametrize("inference", ["fixed", "group_sequential", "bayesian"])
def test_a_curve_ends_where_the_scorecard_stands(frame: pd.DataFrame, file: Path, inference: Any) -> None:
    planned = len(frame) if inference == "group_sequential" else None
    asked: dict[str, Any] = {"metrics": ["spend"], "entered": "day", "inference": inference, "planned_units": planned}
    for way in ({"strata": ["tier"]}, {"covariates": ["before"], "adjustment": "regression"}):
        report = analyze(file, **asked, **way)
        close(report.curves[0].points[-1].estimate, one(report, "spend")[1].effect.estimate)


def test_what_no_looks_are_known_of_has_an_always_valid_band(frame: pd.DataFrame, file: Path) -> None:
    """The band's half width over the standard error is that of the closed formula at the plan's size."""
    asked: dict[str, Any] = {"inference": "group_sequential", "looks": "0.5,1"}
    report = analyze(file, survivals=["days/left@14"], metrics=["spend"], **asked)
    metric, comparison = one(report, "days/left@14")
    v, n = sum((s.std_error or 0) ** 2 for s in metric.variants), len(frame)
    rho2 = (-2 * np.log(0.05) + np.log(1 - 2 * np.log(0.05))) / n
    t2 = v * n * rho2
    half = np.sqrt(v * (v + t2) / t2 * (np.log((v + t2) / v) - 2 * np.log(0.05)))
    close((comparison.effect.ci_high or 0) - (comparison.effect.estimate or 0), half, 1e-6)
    assert any("always-valid band" in text["en"] for text in report.methods)


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
