"""Regressions against scikit-learn's and statsmodels' own."""

from __future__ import annotations

import numpy as np
import pytest

from stats.uplift.bases import LOGISTIC_PENALTY, RIDGE_PENALTIES, Constant, Standardised, logistic, regress, ridge


def rows(n: int = 800, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, 4)) * [1.0, 5.0, 0.2, 1.0] + [0.0, 10.0, 0.0, 0.0]
    return features, features @ [0.5, -0.1, 2.0, 0.0] + rng.normal(size=n)


def test_ridge_is_scikit_learn_s_with_the_penalty_that_leaving_one_out_would_choose_too() -> None:
    from sklearn.linear_model import Ridge, RidgeCV

    features, target = rows()
    columns = Standardised.of(features).apply(features)
    penalty = RidgeCV(alphas=RIDGE_PENALTIES).fit(columns, target).alpha_
    theirs = Ridge(alpha=penalty).fit(columns, target).predict(columns)
    np.testing.assert_allclose(ridge(features, target).predict(features), theirs, atol=1e-9)


def test_weights_count_as_copies_of_rows() -> None:
    features, target = rows(100)
    weight = np.tile([1.0, 3.0], 50)
    copies = np.repeat(np.arange(100), weight.astype(int))
    design = Standardised.of(features)
    from sklearn.linear_model import Ridge

    ours = ridge(features, target, weight)
    found = [
        Ridge(alpha=alpha).fit(design.apply(features), target, sample_weight=weight / 2) for alpha in RIDGE_PENALTIES
    ]
    nearest = min(np.abs(one.predict(design.apply(features)) - ours.predict(features)).max() for one in found)
    assert nearest < 1e-9
    both = logistic(features, (target > 0).astype(float), weight)
    assert abs(float((both.predict(features)[copies] - (target > 0)[copies]).mean())) < 1e-6


def test_logistic_is_scikit_learn_s() -> None:
    from sklearn.linear_model import LogisticRegression

    features, target = rows()
    happened = (target > 0).astype(float)
    columns = Standardised.of(features).apply(features)
    theirs = LogisticRegression(C=1 / LOGISTIC_PENALTY, tol=1e-12, max_iter=1000).fit(columns, happened)
    np.testing.assert_allclose(
        logistic(features, happened).predict(features), theirs.predict_proba(columns)[:, 1], atol=1e-6
    )


def test_noise_is_left_at_the_mean() -> None:
    rng = np.random.default_rng(5)
    features, target = rng.normal(size=(2000, 8)), rng.normal(size=2000)
    assert ridge(features, target).predict(features).std() < 0.02


def test_perfectly_separated_outcomes_do_not_run_away() -> None:
    x = np.linspace(-1, 1, 100)[:, None]
    chance = logistic(x, (x[:, 0] > 0).astype(float)).predict(x)
    assert np.isfinite(chance).all()
    assert 0 < chance.min() < 0.5 < chance.max() < 1


@pytest.mark.parametrize("base", ["linear", "trees"])
@pytest.mark.parametrize("kind", ["binary", "outcome", "effect"])
def test_what_never_varies_is_predicted_as_it_is(base: str, kind: str) -> None:
    features = np.random.default_rng(1).normal(size=(400, 2))
    found = regress(features, np.zeros(400), base, kind=kind)  # type: ignore[arg-type]
    np.testing.assert_allclose(found.predict(features), 0.0, atol=1e-12)


@pytest.mark.parametrize("base", ["linear", "trees"])
def test_without_columns_it_is_the_weighted_mean(base: str) -> None:
    found = regress(np.empty((300, 0)), np.arange(300.0), base, weight=np.r_[np.zeros(299) + 1e-12, 1.0])  # type: ignore[arg-type]
    assert isinstance(found, Constant)
    assert found.level == pytest.approx(299.0)


def test_gaps_are_told_apart_and_huge_values_do_not_bend_the_line() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=2000)
    target = np.where(x > 1, 5.0, 0.0)
    x[x > 1] = np.nan
    found = ridge(x[:, None], target)
    assert found.predict(np.array([[np.nan], [0.0]])).round(0).tolist() == [5.0, 0.0]
    tame = ridge(rng.normal(size=(50, 1)), rng.normal(size=50))
    assert np.ptp(tame.predict(np.array([[1e9], [-1e9]]))) < 10


@pytest.mark.parametrize(("target", "base", "told"), [([], "linear", "no rows"), ([1.0], "forest", "must be linear")])
def test_what_cannot_be_fitted_is_named(target: list[float], base: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        regress(np.ones((len(target), 1)), np.array(target), base)  # type: ignore[arg-type]
