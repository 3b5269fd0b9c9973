"""The simulator: its moments against rows, its figures against closed forms and published ones, its seeds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.power import TTestIndPower
from statsmodels.stats.proportion import proportion_confint

from stats.moments import Moments
from stats.validation import (
    Counts,
    MethodResult,
    Trial,
    UnitMetric,
    Units,
    add,
    batches,
    method_names,
    plan,
    prepare,
    results,
    run,
    share,
    simulate,
)
from stats.validation.engine import ALL
from stats.validation.sums import randomise
from stats.validation.tally import read

NONE = np.zeros


def some_units(n: int = 600, seed: int = 3, *, cluster: bool = False, stratum: bool = False) -> Units:
    rng = np.random.default_rng(seed)
    before = rng.gamma(2.0, 30.0, n)
    spend = 0.6 * before + rng.gamma(1.5, 30.0, n) + 1e6  # far from zero: raw sums of squares would lose the variance
    spend[rng.random(n) < 0.05] = np.nan
    visits = 1.0 + rng.poisson(3.0, n)
    return Units(
        metrics=(
            UnitMetric("spend", "mean", spend),
            UnitMetric("bought", "proportion", (rng.random(n) < 0.3).astype(float)),
            UnitMetric("per visit", "ratio", rng.binomial(visits.astype(int), 0.2).astype(float), visits),
        ),
        covariates=before[:, None],
        cluster=rng.permutation(n) % 40 if cluster else None,
        stratum=(before > 50).astype(np.int64) if stratum else None,
    )


def only(found: list[MethodResult], metric: str, method: str) -> MethodResult:
    return next(result for result in found if (result.metric, result.method) == (metric, method))


@pytest.mark.parametrize("treated", [False, True])
@pytest.mark.parametrize("weights", [(1.0, 1.0), (2.0, 1.0, 1.0)])
def test_moments_of_a_simulation_are_those_of_its_rows(weights: tuple[float, ...], treated: bool) -> None:
    # Oracle: one pass over the rows of each simulated experiment, variant by variant, up to each look.
    units = some_units()
    prepared = prepare(units, Trial(weights=weights, effect=0.1, looks=3, seed=5))
    batch = randomise(prepared, 0, 4)
    for place, metric in enumerate(units.metrics):
        found = batch.moments(place, treated=treated)
        for run_, codes in enumerate(batch.codes):
            values = metric.columns.copy()
            if treated:
                values[codes > 0, 0] = prepared.treated[place].value[codes > 0]
            rows = np.column_stack([values, units.covariates])
            for look, end in enumerate(prepared.ends):
                expected = Moments.from_rows(found.columns, rows[:end], cell=codes[:end], n_cells=len(weights))
                here = found[:, run_, look]
                assert here.n.tolist() == expected.n.tolist()
                np.testing.assert_allclose(here.mean, expected.mean, rtol=1e-12)
                np.testing.assert_allclose(here.m2, expected.m2, rtol=1e-8, atol=1e-6)


def test_calls_are_those_of_scipy_on_the_rows() -> None:
    units = some_units()
    prepared = prepare(units, Trial(seed=8, methods=("welch",)))
    batch = randomise(prepared, 0, 60)
    spend = units.metrics[0].value
    known = ~np.isnan(spend)
    p_values = [
        scipy_stats.ttest_ind(spend[known & (c == 0)], spend[known & (c == 1)], equal_var=False).pvalue
        for c in batch.codes
    ]
    tally = simulate(prepared, 0, 60, 0)
    assert tally["spend", "welch"].alarms == sum(p <= 0.05 for p in p_values) > 0


def test_the_effect_is_exact() -> None:
    units = some_units()
    prepared = prepare(units, Trial(effect=0.1, seed=2))
    bought = units.metrics[1].value
    assert prepared.treated[1].value.sum() == bought.sum() + round(0.1 * bought.sum())
    assert set(prepared.treated[1].value) == {0.0, 1.0}
    assert prepared.treated[1].relative == pytest.approx(round(0.1 * bought.sum()) / bought.sum())
    np.testing.assert_allclose(prepared.treated[0].value, units.metrics[0].value * 1.1)
    per_visit = units.metrics[2]
    ratio = per_visit.value.sum() / per_visit.denominator.sum()  # type: ignore[union-attr]
    assert prepared.truth(2)[-1] == pytest.approx(0.1 * ratio)
    fewer = prepare(units, replace(prepared.trial, effect=-0.5)).treated[1]
    assert (fewer.value <= bought).all()
    assert fewer.relative == pytest.approx(-0.5, abs=1 / bought.sum())


def test_a_share_cannot_rise_above_one() -> None:
    units = Units((UnitMetric("bought", "proportion", np.r_[np.ones(80), np.zeros(20)]),), NONE((100, 0)))
    with pytest.raises(ValueError, match="cannot rise"):
        prepare(units, Trial(effect=0.5))


def test_the_seed_decides_and_the_order_of_batches_does_not() -> None:
    prepared = prepare(some_units(), Trial(effect=0.05, seed=11, quantiles=(0.5,)))
    work = batches(prepared, 700, 6)
    assert sum(size for _, size, _ in work) == 700
    assert sum(rows for _, _, rows in work) == 6
    forward = results(prepared, add(simulate(prepared, *batch) for batch in work))
    backward = results(prepared, add(simulate(prepared, *batch) for batch in reversed(work)))
    assert forward == backward == run(prepared, 700, row_runs=6)
    other = run(prepare(some_units(), replace(prepared.trial, seed=12)), 700, row_runs=6)
    assert other != forward


@pytest.mark.parametrize(("hits", "n"), [(0, 50), (3, 40), (104, 2000), (2000, 2000)])
def test_the_binomial_interval_is_wilson_s(hits: int, n: int) -> None:
    found = share(hits, n)
    assert (found.ci_low, found.ci_high) == pytest.approx(proportion_confint(hits, n, method="wilson"), abs=1e-12)


def test_promises_are_kept_on_normal_data_and_broken_by_peeking() -> None:
    # Ten equal looks at a fixed level of .05: .193 (Armitage, McPherson, Rowe 1969, table 2). 4,000 simulations have a
    # standard error of .0062 there and .0034 at .05; three of them are allowed (.3 % a comparison), seed fixed.
    values = np.random.default_rng(1).normal(10.0, 3.0, 1000)
    prepared = prepare(Units((UnitMetric("x", "mean", values),), NONE((1000, 0))), Trial(seed=4))
    found = run(prepared, 4000)
    peeked = only(found, "x", "peeked").false_alarms.value
    assert peeked == pytest.approx(0.193, abs=3 * 0.0062)
    assert only(found, "x", "peeked").reading == "too_many"
    for method, metric in (("welch", "x"), ("group_sequential", "x"), ("srm", ALL)):
        result = only(found, metric, method)
        assert result.false_alarms.value == pytest.approx(0.05, abs=3 * 0.0035)
        assert result.reading == "as_promised"
    always = only(found, "x", "always_valid").false_alarms.value
    assert always is not None
    assert 0 < always < 0.05
    welch = only(found, "x", "welch")
    assert welch.coverage.value == pytest.approx(1 - (welch.false_alarms.value or 0))


def test_power_is_that_of_the_closed_form() -> None:
    # statsmodels' noncentral t. The sample sizes vary from run to run, which moves power by less than .001 here.
    values = np.random.default_rng(2).normal(10.0, 3.0, 800)
    prepared = prepare(Units((UnitMetric("x", "mean", values),), NONE((800, 0))), Trial(effect=0.06, seed=9))
    welch = only(run(prepared, 4000), "x", "welch")
    pooled = np.sqrt((values.var() + (1.06 * values).var()) / 2)
    expected = TTestIndPower().power(0.06 * values.mean() / pooled, 400, 0.05)
    assert welch.power.value == pytest.approx(expected, abs=3 * 0.007)
    assert welch.effect_coverage.value == pytest.approx(0.95, abs=3 * 0.0035)
    assert welch.relative_coverage.value == pytest.approx(0.95, abs=3 * 0.0035)


def test_covariates_give_power_and_keep_the_level() -> None:
    units = some_units(1200)
    found = run(prepare(replace_metric(units), Trial(effect=0.1, seed=6)), 1500)
    raw, adjusted, lin = (only(found, "spend", name) for name in ("welch", "cuped", "lin"))
    assert (adjusted.power.value or 0) > (raw.power.value or 0)
    assert (lin.power.value or 0) > (raw.power.value or 0)
    assert adjusted.reading == lin.reading == "as_promised"


def replace_metric(units: Units) -> Units:
    """Return the units with spend near zero, so that ten per cent can be missed."""
    spend = units.metrics[0]
    return Units((UnitMetric("spend", "mean", spend.value - 1e6), *units.metrics[1:]), units.covariates)


def test_clusters_break_methods_for_units_and_not_those_for_clusters() -> None:
    rng = np.random.default_rng(7)
    cluster = np.repeat(np.arange(60), 25)
    values = rng.normal(5.0, 1.0, 60)[cluster] + rng.normal(0.0, 1.0, 1500)
    units = Units((UnitMetric("x", "mean", values),), NONE((1500, 0)), cluster=cluster)
    prepared = prepare(units, Trial(effect=0.3, seed=3))
    assert prepared.clusters is not None
    ours, theirs = randomise(prepared, 0, 5), randomise(prepared.clusters, 0, 5)
    assert (ours.codes == theirs.codes[:, cluster]).all()
    found = run(prepared, 1000, row_runs=300)
    assert only(found, "x", "welch").reading == "too_many"
    assert only(found, "x", "cluster_delta").reading == "as_promised"
    assert only(found, "x", "cluster_cr2").false_alarms.value == pytest.approx(0.05, abs=3 * 0.0126)
    assert {method.name for _, method in plan(units, prepared.trial)} == {"welch", "cluster_delta", "cluster_cr2"}


def test_strata_are_tried_where_there_are_some() -> None:
    found = run(prepare(some_units(stratum=True), Trial(effect=0.2, seed=3)), 800)
    for metric in ("bought", "per visit"):
        assert only(found, metric, "post_stratified").reading == "as_promised"


@pytest.mark.parametrize("method", ["rank", "bootstrap"])
def test_methods_that_need_rows_hold_their_level(method: str) -> None:
    # The standard error of a share of .05 in 200 simulations is .0154; three are allowed, seed fixed.
    values = np.random.default_rng(4).gamma(2.0, 10.0, 300)
    units = Units((UnitMetric("x", "mean", values),), NONE((300, 0)))
    trial = Trial(seed=3, methods=(method,), effect=0.3)
    result = only(run(prepare(units, trial), 200, row_runs=200), "x", method)
    assert result.simulations == 200
    assert result.false_alarms.value == pytest.approx(0.05, abs=3 * 0.0154)
    assert result.effect_coverage.value == pytest.approx(0.95, abs=3 * 0.0154)
    assert (result.power.value or 0) > 0.5


def test_a_quantile_holds_its_level() -> None:
    values = np.random.default_rng(4).lognormal(2.0, 1.0, 400)
    units = Units((UnitMetric("x", "mean", values),), NONE((400, 0)))
    trial = Trial(seed=3, quantiles=(0.9,), methods=("quantile",), effect=0.5)
    result = only(run(prepare(units, trial), 150, row_runs=150), "x", "quantile 90%")
    assert result.simulations == 150
    # The standard error of a share of .05 in 150 simulations is .018.
    assert result.false_alarms.value == pytest.approx(0.05, abs=3 * 0.018)
    assert result.effect_coverage.value == pytest.approx(0.95, abs=3 * 0.018)


def test_without_variation_nothing_is_computed_and_nothing_is_nan() -> None:
    units = Units(
        (UnitMetric("flat", "mean", np.full(50, 3.0)), UnitMetric("none", "proportion", np.zeros(50))), NONE((50, 0))
    )
    found = run(prepare(units, Trial(effect=0.1, quantiles=(0.5,))), 20)
    for result in found:
        if result.metric != ALL or result.method == "holm":
            assert result.reading == "not_computed", result
            assert result.false_alarms.value is None
            assert result.power.value is None


def test_readings() -> None:
    assert read(Counts(tried=9, computed=0), "level", 0.05) == "not_computed"
    assert read(Counts(tried=1000, computed=1000, alarms=52), "level", 0.05) == "as_promised"
    assert read(Counts(tried=1000, computed=1000, alarms=100), "level", 0.05) == "too_many"
    assert read(Counts(tried=1000, computed=1000, alarms=10), "level", 0.05) == "too_few"
    assert read(Counts(tried=1000, computed=1000, alarms=10), "at_most", 0.05) == "as_promised"
    assert read(Counts(tried=1000, computed=1000, alarms=40), "none", 0.05) == "no_promise"
    # Beyond chance, but within a tenth of alpha: nobody need mind.
    assert read(Counts(tried=10**6, computed=10**6, alarms=54_000), "level", 0.05) == "as_promised"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weights": (1.0,)}, "two variants"),
        ({"weights": (1.0, 0.0)}, "above 0"),
        ({"alpha": 0.0}, "alpha"),
        ({"looks": 0}, "looks"),
        ({"effect": -1.5}, "effect"),
    ],
)
def test_impossible_trials_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Trial(**arguments)  # type: ignore[arg-type]


def test_unknown_methods_and_wrong_units_are_refused() -> None:
    units = some_units()
    with pytest.raises(ValueError, match="no method guess"):
        list(plan(units, Trial(methods=("guess",))))
    assert len(set(method_names())) == len(method_names())
    with pytest.raises(ValueError, match="no proportion"):
        UnitMetric("x", "proportion", np.array([0.0, 2.0]))
    with pytest.raises(ValueError, match="denominator"):
        UnitMetric("x", "ratio", np.array([0.0, 2.0]))
    with pytest.raises(ValueError, match="different lengths"):
        Units(units.metrics, NONE((3, 0)))
    with pytest.raises(ValueError, match="covariates hold"):
        Units(units.metrics, np.full((600, 1), np.nan))
