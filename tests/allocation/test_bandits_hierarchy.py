"""The hierarchical ridge against the dense joint system, a likelihood maximised by scipy, and simulated truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from allocation.bandits.learning.cells import Cells
from allocation.bandits.learning.hierarchy import Equations, Groups, Prior, inverse_of, solve
from allocation.bandits.learning.linear import fit_linear
from allocation.bandits.learning.logistic import fit_logistic, mode
from allocation.bandits.learning.statistics import LinearStatistics

K, P = 3, 4


def problem(seed: int = 5) -> tuple[Equations, Prior]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(K, 30, P))
    x[2, 4:] = 0  # a variant with four rows
    gram = np.einsum("knp,knq->kpq", x, x)
    prior = Prior(rng.normal(size=P), rng.uniform(0.2, 3, P), rng.uniform(0.1, 2, P))
    return Equations(gram, rng.normal(size=(K, P)) * 5), prior


def joint(equations: Equations, prior: Prior) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of (μ, δ_1 … δ_K) from the whole (K + 1)P system: no arrow, no scaling."""
    precision = np.zeros(((K + 1) * P, (K + 1) * P))
    right = np.zeros((K + 1) * P)
    precision[:P, :P] = np.diag(1 / prior.common**2)
    right[:P] = prior.centre / prior.common**2
    for k in range(K):
        own = slice((k + 1) * P, (k + 2) * P)
        for rows in (slice(0, P), own):
            right[rows] += equations.moment[k]
            for columns in (slice(0, P), own):
                precision[rows, columns] += equations.gram[k]
        precision[own, own] += np.diag(1 / prior.own**2)
    return np.linalg.solve(precision, right), np.linalg.inv(precision)


def test_solving_the_arrow_equals_solving_the_whole_system() -> None:
    equations, prior = problem()
    mean, cov = joint(equations, prior)
    posterior = solve(equations, prior)
    np.testing.assert_allclose(posterior.pooled, mean[:P], rtol=1e-10)
    np.testing.assert_allclose(posterior.pooled_cov, cov[:P, :P], rtol=1e-8, atol=1e-12)
    for k in range(K):
        own = slice((k + 1) * P, (k + 2) * P)
        np.testing.assert_allclose(posterior.coef[k], mean[:P] + mean[own], rtol=1e-10)
        whole = cov[:P, :P] + cov[:P, own] + cov[own, :P] + cov[own, own]
        np.testing.assert_allclose(posterior.covariance(k), whole, rtol=1e-8, atol=1e-12)
        np.testing.assert_allclose(posterior.deviation_variances()[k], np.diag(cov[own, own]), rtol=1e-8)


def test_a_variant_without_rows_is_the_pooled_one_and_uncertain() -> None:
    equations, prior = problem()
    gram, moment = equations.gram.copy(), equations.moment.copy()
    gram[1], moment[1] = 0, 0
    posterior = solve(Equations(gram, moment), prior)
    np.testing.assert_allclose(posterior.coef[1], posterior.pooled, rtol=1e-10)
    np.testing.assert_allclose(posterior.covariance(1), posterior.pooled_cov + np.diag(prior.own**2), rtol=1e-8)
    assert (np.diag(posterior.covariance(1)) > np.diag(posterior.covariance(0))).all()


def test_what_is_no_gram_matrix_is_refused() -> None:
    with pytest.raises(np.linalg.LinAlgError, match="positive definite"):
        inverse_of(np.array([[1.0, 2.0], [2.0, 1.0]]))


def logistic_cells(seed: int = 7) -> tuple[Cells, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = np.concatenate([np.ones((60, 1)), rng.normal(size=(60, P - 1))], axis=1)
    weight = rng.uniform(0.5, 20, 60)
    return Cells(np.array([0, 25, 55, 60]), x, weight, weight * rng.beta(1, 4, 60), np.zeros(60)), x


def test_the_logistic_mode_is_the_greatest_penalised_likelihood() -> None:
    cells, x = logistic_cells()
    prior = problem()[1]

    def lost(flat: np.ndarray) -> float:
        pooled, deviations = flat[:P], flat[P:].reshape(K, P)
        value = (
            0.5 * (((pooled - prior.centre) / prior.common) ** 2).sum() + 0.5 * ((deviations / prior.own) ** 2).sum()
        )
        for k in range(K):
            rows = slice(cells.start[k], cells.start[k + 1])
            eta = x[rows] @ (pooled + deviations[k])
            value -= (cells.total[rows] * eta - cells.weight[rows] * np.logaddexp(0, eta)).sum()
        return float(value)

    found = minimize(lost, np.zeros((K + 1) * P), method="BFGS", options={"gtol": 1e-7, "maxiter": 5000})
    posterior = mode(cells, prior)
    np.testing.assert_allclose(posterior.pooled, found.x[:P], atol=2e-5)
    np.testing.assert_allclose(posterior.coef, found.x[:P] + found.x[P:].reshape(K, P), atol=2e-5)


GROUPS = Groups(np.array([0, *[1] * 30]), np.array([5.0, 0.3]), np.array([0.3, 0.2]), np.array([False, False]))


@pytest.mark.parametrize(("common", "own"), [(0.5, 0.0), (0.3, 0.8), (0.0, 0.4)])
def test_linear_variances_are_found_in_the_data(common: float, own: float) -> None:
    # 8 variants × 30 columns: an sd from 240 (30) coefficients has a standard error of 4.6 % (13 %); the tolerance is
    # three of them, and what the first guess, which counts as two coefficients, adds where there is nothing.
    rng = np.random.default_rng(11)
    n = 8 * 400
    x = np.concatenate([np.ones((n, 1)), rng.normal(size=(n, 30))], axis=1)
    variant = np.repeat(np.arange(8), 400)
    coef = common * rng.normal(size=31) + own * rng.normal(size=(8, 31))
    y = (x * coef[variant]).sum(axis=1) + rng.normal(size=n)
    fitted = fit_linear(LinearStatistics.from_rows(x, variant, y, 8), GROUPS)
    prior = fitted.posterior.prior
    assert prior.own[1] * fitted.unit == pytest.approx(own, rel=0.15, abs=0.07)
    assert prior.common[1] * fitted.unit == pytest.approx(common, rel=0.4, abs=0.16)
    assert np.sqrt(fitted.noise).mean() * fitted.unit == pytest.approx(1.0, rel=0.05)
    ridgeless = np.stack([np.linalg.lstsq(x[variant == k], y[variant == k])[0] for k in range(8)])
    assert ((fitted.coef - coef) ** 2).mean() <= ((ridgeless - coef) ** 2).mean() * 1.02


@pytest.mark.parametrize("own", [0.0, 0.6])
def test_logistic_variances_are_found_in_the_data(own: float) -> None:
    rng = np.random.default_rng(13)
    n = 6 * 1500
    x = np.concatenate([np.ones((n, 1)), rng.normal(size=(n, 30))], axis=1)
    variant = np.repeat(np.arange(6), 1500)
    coef = 0.3 * rng.normal(size=31) + own * rng.normal(size=(6, 31))
    coef[:, 0] = -1.5
    converted = rng.random(n) < 1 / (1 + np.exp(-(x * coef[variant]).sum(axis=1)))
    cells = Cells(np.arange(7) * 1500, x, np.ones(n), converted.astype(float), converted.astype(float))
    prior = fit_logistic(cells, GROUPS).prior
    assert prior.own[1] == pytest.approx(own, rel=0.15, abs=0.06)
    assert prior.common[1] == pytest.approx(0.3, rel=0.5)
