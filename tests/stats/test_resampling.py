"""Bootstrap: BCa is scipy's, p and interval agree, one seed one answer, and it covers where percentiles do not."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from stats.resampling import bootstrap, bootstrap_weights


def mean(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows.mean(axis=-1))


def top_share(rows: np.ndarray) -> np.ndarray:
    """Share of the sum that the largest tenth of units hold."""
    ordered = np.sort(rows, axis=-1)
    tenth = max(1, rows.shape[-1] // 10)
    return np.asarray(ordered[..., -tenth:].sum(axis=-1) / ordered.sum(axis=-1))


@pytest.mark.parametrize("statistic", [mean, top_share])
def test_bca_is_scipys(statistic: object) -> None:
    """Both draw for themselves: ends within 4 % of the width at 20,000 draws. Seed fixed."""
    rng = np.random.default_rng(3)
    control, variant = rng.lognormal(0, 1, 80), rng.lognormal(0.3, 1, 60)
    ours = bootstrap(control, variant, statistic, seed=1, resamples=20_000).value()  # type: ignore[arg-type]

    def difference(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
        return statistic(y) - statistic(x)  # type: ignore[operator]

    theirs = scipy.stats.bootstrap(
        (control, variant), difference, n_resamples=20_000, method="BCa", vectorized=True, rng=np.random.default_rng(4)
    )
    width = theirs.confidence_interval.high - theirs.confidence_interval.low
    assert (ours.ci_low, ours.ci_high) == pytest.approx(tuple(theirs.confidence_interval), abs=0.04 * width)
    assert ours.std_error == pytest.approx(theirs.standard_error, rel=0.03)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_p_and_interval_agree_about_zero(seed: int, method: str) -> None:
    rng = np.random.default_rng(seed)
    control, variant = rng.lognormal(0, 1, 40), rng.lognormal(0.2, 1, 50)
    effect = bootstrap(control, variant, mean, seed=seed, method=method).value()  # type: ignore[arg-type]
    p = effect.p_value
    assert p >= 2 / 4001
    if p < 0.01:  # some twenty draws: between two of them p and interval are not told apart
        return
    for alpha, rejects in ((min(p * 1.1, 0.99), True), (p * 0.9, False)):
        there = bootstrap(control, variant, mean, seed=seed, alpha=alpha, method=method).value()  # type: ignore[arg-type]
        assert (there.ci_low > 0 or there.ci_high < 0) == rejects


@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_draws_of_exactly_zero_speak_against_an_effect(method: str) -> None:
    """Medians of counts: most draws tie at zero. A sign test cannot tell these either; alpha · draws is whole at .2."""
    rng = np.random.default_rng(8)

    def median(rows: np.ndarray) -> np.ndarray:
        return np.asarray(np.median(rows, axis=-1))

    found = 0
    for run in range(60):
        control, variant = rng.poisson(1.5, 40), rng.poisson(1.5 + run % 3, 40)
        for alpha in (0.05, 0.2):
            there = bootstrap(
                control,
                variant,
                median,
                seed=run,
                alpha=alpha,
                resamples=400,
                method=method,  # type: ignore[arg-type]
            ).value()
            if there.p_value is None:
                continue
            found += 1
            assert (there.ci_low > 0 or there.ci_high < 0) == (there.p_value <= alpha)
            if there.estimate == 0:
                assert there.p_value > 0.2
    assert found > 80


def test_one_seed_one_answer_and_units_do_not_matter() -> None:
    rng = np.random.default_rng(5)
    control, variant = rng.gamma(1, 10, 200), rng.gamma(1, 12, 220)
    first = bootstrap(control, variant, mean, seed=9, relative=True).value()
    assert bootstrap(control, variant, mean, seed=9, relative=True).value() == first
    assert bootstrap(control, variant, mean, seed=np.random.default_rng(9), relative=True).value() == first
    cents = bootstrap(control * 1024, variant * 1024, mean, seed=9, relative=True).value()
    assert (cents.ci_low, cents.p_value) == pytest.approx((first.ci_low, first.p_value), rel=1e-9)
    pair = np.column_stack([control, control * 2])
    ratio = bootstrap(pair, pair, lambda rows: rows[..., 0].sum(-1) / rows[..., 1].sum(-1), seed=1).value()
    assert ratio.why_code == "zero_variance"


def test_a_mean_is_near_welch_and_covers() -> None:
    """Gamma amounts (skewness 2), 60 and 90 units, 400 runs of 600 draws: coverage .95 less 3 s.e. (.033) and .01."""
    rng = np.random.default_rng(6)
    covered = 0
    for run in range(400):
        effect = bootstrap(rng.gamma(1, 10, 60), rng.gamma(1, 13, 90), mean, seed=run, resamples=600).value()
        covered += effect.ci_low <= 3 <= effect.ci_high
    assert covered / 400 >= 0.95 - 0.033 - 0.01


def test_edges_say_why() -> None:
    assert bootstrap([], [1, 2], mean, seed=1).value().why_code == "no_units"
    assert bootstrap([1, 2, 3], range(9), mean, seed=1).value().why_code == "too_few_units"
    assert bootstrap([2.0] * 9, [3.0] * 9, mean, seed=1).value().why_code == "zero_variance"
    around_zero = bootstrap(np.arange(-8.0, 10), np.arange(20.0), mean, seed=1, relative=True).value()
    assert (around_zero.why_code, around_zero.estimate) == ("baseline_near_zero", None)
    assert bootstrap(-np.arange(9.0), np.arange(9.0), mean, seed=1, relative=True).value().why_code == (
        "baseline_negative"
    )
    with pytest.raises(ValueError, match="finite"):
        bootstrap([1, np.nan], [1, 2], mean, seed=1)
    with pytest.raises(ValueError, match="same columns"):
        bootstrap(np.ones((9, 2)), np.ones(9), mean, seed=1)


@pytest.mark.parametrize("kind", ["multinomial", "poisson"])
def test_weights_count_draws(kind: str) -> None:
    """Mean 1, and variance 1 − 1/n or 1, of 400,000 weights: 5 s.e. (.012). Seed fixed."""
    weights = bootstrap_weights(200, 2000, 7, kind=kind)  # type: ignore[arg-type]
    assert weights.mean() == pytest.approx(1, abs=0.012)
    assert weights.var() == pytest.approx(1, abs=0.025)
    assert (weights.sum(axis=1) == 200).all() == (kind == "multinomial")
