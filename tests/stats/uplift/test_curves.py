"""Curves against their definitions written out by hand, and what must hold for every score."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stats.uplift import conversions
from stats.uplift.bootstrap import curve_intervals
from stats.uplift.curves import uplift_at, uplift_curve
from stats.uplift.ranking import ranking


def some_rows(seed: int, n: int = 300, *, binary: bool = True, scores: int | None = None) -> tuple[np.ndarray, ...]:
    generator = np.random.default_rng(seed)
    treated = generator.random(n) < generator.uniform(0.1, 0.9)
    treated[:2] = (True, False)
    score = generator.normal(size=n) if scores is None else generator.integers(0, scores, n).astype(float)
    outcome = (generator.random(n) < 0.3).astype(float) if binary else generator.gamma(0.3, 20, n)
    return outcome, treated, score


def by_hand(outcome: np.ndarray, treated: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Share, Qini, gain and ipw gain at each distinct score, from the sentences of the reference file."""
    points = [(0.0, 0.0, 0.0, 0.0)]
    n, all_treated, all_control = len(score), treated.sum(), (~treated).sum()
    for level in sorted(set(score.tolist()), reverse=True):
        top = score >= level
        y_t, y_c = outcome[top & treated].sum(), outcome[top & ~treated].sum()
        n_t, n_c = (top & treated).sum(), (top & ~treated).sum()
        mean_t, mean_c = (y_t / n_t if n_t else 0.0), (y_c / n_c if n_c else 0.0)
        points.append(
            (
                top.sum() / n,
                (y_t - mean_c * n_t) / all_treated,
                (mean_t - mean_c) * top.sum() / n,
                y_t / all_treated - y_c / all_control,
            )
        )
    return np.asarray(points)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("scores", [None, 7, 1])
def test_points_are_those_of_the_definition(binary: bool, scores: int | None) -> None:
    for seed in range(20):
        rows = some_rows(seed, binary=binary, scores=scores)
        curve, expected = uplift_curve(*rows), by_hand(*rows)
        found = np.column_stack((curve.share, curve.qini, curve.gain, curve.ipw))
        assert found == pytest.approx(expected, rel=1e-10, abs=1e-12)
        for kind, column in (("qini", 1), ("gain", 2), ("ipw", 3)):
            area = np.trapezoid(expected[:, column], expected[:, 0])
            assert curve.auuc(kind) == pytest.approx(area, abs=1e-10)  # type: ignore[arg-type]
            above = area - expected[-1, column] / 2
            assert curve.qini_coefficient(kind) == pytest.approx(above, abs=1e-10)  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), level=st.floats(-1e6, 1e6), binary=st.booleans())
def test_a_constant_score_has_no_area_whatever_the_rows(seed: int, level: float, binary: bool) -> None:
    outcome, treated, _ = some_rows(seed, 40, binary=binary)
    curve = uplift_curve(outcome, treated, np.full(40, level))
    assert [curve.qini_coefficient(kind) for kind in ("qini", "gain", "ipw")] == [0.0, 0.0, 0.0]
    assert curve_intervals(outcome, treated, np.full(40, level), draws=20).qini.estimate == 0.0


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), scores=st.sampled_from([None, 5]))
def test_only_the_order_of_scores_matters_and_not_that_of_rows(seed: int, scores: int | None) -> None:
    outcome, treated, score = some_rows(seed, 60, scores=scores)
    curve = uplift_curve(outcome, treated, score)
    mixed = np.random.default_rng(seed).permutation(60)
    for again in (
        uplift_curve(outcome[mixed], treated[mixed], score[mixed]),
        uplift_curve(outcome, treated, np.arctan(score) * 3 + 1),
    ):
        assert again.qini == pytest.approx(curve.qini, abs=1e-12)
    doubled = uplift_curve(2 * outcome, treated, score)
    assert doubled.qini_coefficient() == pytest.approx(2 * curve.qini_coefficient(), abs=1e-12)
    # Turned round, the ranking is as bad as it was good, where the ratio of arms is that of all.
    assert uplift_curve(outcome, treated, -score).qini_coefficient("ipw") == pytest.approx(
        -curve.qini_coefficient("ipw"), abs=1e-12
    )


def test_causalml_s_scores_are_means_over_every_count_of_rows() -> None:
    """Its definition written out: k × effect among the first k rows, k = 0 … n; no ties, both arms from the start."""
    for seed in range(10):
        outcome, treated, score = some_rows(seed)
        order = np.argsort(-score)
        # One unit of each arm first, with equal outcomes: before, causalml has no effect, and we count one mean as 0.
        order = np.concatenate(([0, 1], order[~np.isin(order, (0, 1))]))
        outcome[:2] = 0.0
        y, w, n = outcome[order], treated[order], len(order)
        gains, qinis = [0.0], [0.0]
        for k in range(1, n + 1):
            t, c = y[:k][w[:k]], y[:k][~w[:k]]
            gains.append((t.mean() - c.mean()) * k if len(t) and len(c) else 0.0)
            qinis.append(t.sum() - c.sum() * len(t) / len(c) if len(t) and len(c) else 0.0)
        curve, treated_units = uplift_curve(y, w, -np.arange(n)), int(w.sum())
        auuc, qini, effect = curve.auuc(), curve.qini_coefficient(), float(curve.gain[-1])
        assert conversions.causalml_auuc(auuc, effect, n, normalize=False) == pytest.approx(np.mean(gains), rel=1e-10)
        chance = np.mean(np.linspace(0, 1, n + 1) * qinis[-1])
        found = conversions.causalml_qini(qini, effect, n, treated_units, normalize=False)
        assert found == pytest.approx(np.mean(qinis) - chance, rel=1e-9)
    assert conversions.causalml_auuc(0.1, 0.0, 100) is None
    assert conversions.causalml_qini(0.1, 0.0, 100, 50) is None


def test_scikit_uplift_s_score_of_the_ranking_it_calls_perfect_is_one() -> None:
    outcome, treated, _ = some_rows(3)
    perfect = outcome * np.where(treated, 1.0, -1.0)
    assert conversions.sklift_qini_auc_score(outcome, treated, perfect) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="0 or 1"):
        conversions.sklift_uplift_auc_score(outcome * 2, treated, perfect)


def test_uplift_in_the_top_share_takes_whole_units() -> None:
    outcome, treated = np.arange(10.0), np.array([1, 0] * 5)
    score = -np.arange(10.0)
    # ⌈.3 × 10⌉ is 3 units, rows 0 to 2: treated 0 and 2, not treated 1.
    assert uplift_at(outcome, treated, score, 0.3) == pytest.approx(1.0 - 1.0)
    assert uplift_at(outcome, treated, score, 0.31) == pytest.approx(1.0 - 2.0)
    assert uplift_at(outcome, treated, score, 0.1) is None
    assert uplift_at(outcome, treated, score, 0.3, by_group=True) == pytest.approx(1.0 - 2.0)
    assert uplift_at(outcome, treated, score, 1) == pytest.approx(-1.0)


def test_rows_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="same number of rows"):
        uplift_curve([1, 0], [1, 0], [1, 2, 3])
    with pytest.raises(ValueError, match="treated and units that were not"):
        uplift_curve([1, 0], [1, 1], [1, 2])
    with pytest.raises(ValueError, match="true or false"):
        uplift_curve([1, 0], [2, 0], [1, 2])
    with pytest.raises(ValueError, match="finite"):
        uplift_curve([1, np.nan], [1, 0], [1, 2])
    with pytest.raises(ValueError, match="finite"):
        ranking([np.nan, 1.0])
    with pytest.raises(ValueError, match="at least one unit"):
        ranking([])
    with pytest.raises(ValueError, match="share"):
        uplift_at([1, 0], [1, 0], [1, 2], 0.0)
    with pytest.raises(ValueError, match="no curve"):
        uplift_curve([1, 0], [1, 0], [1, 2]).auuc("quini")  # type: ignore[arg-type]
