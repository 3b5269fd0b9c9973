"""Designs of a file: clusters, those reached, factors, waves and switchbacks, against oracles written out in full."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from experiments.analyze import AnalyzeOptions, analyze_file
from stats.clusters import ClusterSums, sample_of
from stats.clusters import difference as cluster_difference
from tests.experiments.analyze_rows import analyze, close, one, parts, rows_of


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return rows_of()


@pytest.fixture(scope="module")
def file(frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("analyze") / "members.csv"
    frame.to_csv(path, index=False)
    return path


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
