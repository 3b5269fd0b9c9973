"""What covariates and strata gain is told for every method, and control may stand anywhere."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.report.clusters import measure_clusters
from experiments.report.measured import FIXED, MetricSpec, measure_metric
from experiments.report.strata import measure_stratified
from stats.adjustment import variance_reduction
from stats.clusters import ClusterSums, difference, sample_of
from stats.effects import difference_of_means
from stats.moments import Moments
from stats.strata import post_stratify

RNG = np.random.default_rng(5)
ARM = np.arange(600) % 2
STRATUM = RNG.integers(0, 3, 600)
BEFORE = RNG.gamma(2, 1, 600)
AFTER = BEFORE * (1 + ARM) + 2 * STRATUM + RNG.normal(0, 1, 600)
ROWS = np.column_stack([AFTER, BEFORE])
PLAIN = MetricSpec("spend", {"en": "Spend"}, "mean", "y")
ADJUSTED = MetricSpec("spend", {"en": "Spend"}, "mean", "y", covariates=("x",))


def test_strata_alone_gain_something() -> None:
    flat = Moments.from_rows(["y", "x"], ROWS, cell=ARM * 3 + STRATUM, n_cells=6)
    grid = Moments(
        flat.columns, flat.n.reshape(2, 3), flat.pivot, flat.mean.reshape(2, 3, 2), flat.m2.reshape(2, 3, 2, 2)
    )
    found = post_stratify(grid, "y", 1, 0)
    effects = [difference_of_means(s[0], s[1]) for s in (found.sample, found.raw)]
    (told,) = measure_stratified(PLAIN, grid, FIXED).variance_reduction()
    assert told == pytest.approx(float(variance_reduction(*effects)))
    assert told is not None
    assert told > 0.2


def test_covariates_of_clusters_gain_over_the_clusters_alone() -> None:
    cluster = np.arange(600) // 2 % 60
    sums = ClusterSums.from_rows(["y", "x"], ROWS, cluster, ARM)
    effects = [difference(s[0], s[1]) for s in (sample_of(sums, "y", ["x"]), sample_of(sums, "y"))]
    (told,) = measure_clusters(ADJUSTED, sums, 2, FIXED, covariates=["x"]).variance_reduction()
    assert told == pytest.approx(float(variance_reduction(*effects)))
    assert measure_clusters(PLAIN, sums, 2, FIXED).variance_reduction() == [None]


@pytest.mark.parametrize("adjustment", ["cuped", "regression"])
def test_control_may_be_any_variant(adjustment: str) -> None:
    one, other = (
        measure_metric(
            ADJUSTED,
            Moments.from_rows(["y", "x"], ROWS, cell=cell),
            control,
            adjustment=adjustment,  # type: ignore[arg-type]
        )
        for cell, control in ((ARM, 0), (1 - ARM, 1))
    )
    for name in ("estimate", "std_error", "df"):
        assert getattr(one.effect(0.05), name) == pytest.approx(getattr(other.effect(0.05), name), rel=1e-9)
    assert one.relative(0.05).std_error == pytest.approx(other.relative(0.05).std_error, rel=1e-9)
    assert one.variance_reduction()[0] is not None
    assert measure_metric(
        ADJUSTED, Moments.from_rows(["y", "x"], ROWS, cell=ARM), 0, adjustment="none"
    ).variance_reduction() == [None]
