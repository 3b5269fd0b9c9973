"""The hierarchical ridge: every variant's coefficients are the pooled ones and a deviation, both shrunken.

    θ_k = μ + δ_k,   μ_j ~ N(m_j, τ²_g(j)),   δ_kj ~ N(0, σ²_g(j)),

where g(j) is the group of column j (intercept, numbers, one attribute's levels, one pair …). Each variant has its
normal equations A_k θ_k = b_k in units of the noise's precision. Variances are learned from the data by empirical
Bayes: with little data variants and levels look alike, with much they stand alone, and nobody has to choose how much
is much.

The joint precision of (μ, δ_1 … δ_K) is an arrow: given μ the deviations are independent. So a solve costs K + 1
factorisations of P × P matrices, never one of (K + 1)P.

References:
    Gelman, Hill (2007), Data Analysis Using Regression and Multilevel/Hierarchical Models, chapter 12 (the model).
    MacKay (1992), Bayesian Interpolation, Neural Computation 4(3), equations 4.10 and 4.12 (fixed point of variances).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

LEAST_SD = 1e-4
"""No standard deviation of the prior falls below this: in units where the data's own are about one, it is nothing."""
PRIOR_COUNT = 2.0
"""The first guess of a variance counts as so many observed coefficients."""


@dataclass(frozen=True, eq=False)
class Equations:
    """Normal equations of each variant, in units of the noise's precision.

    Attributes:
        gram: A_k, shape (K, P, P).
        moment: b_k, shape (K, P).
    """

    gram: FloatArray
    moment: FloatArray


@dataclass(frozen=True, eq=False)
class Prior:
    """What coefficients are believed to be before the data.

    Attributes:
        centre: m, the pooled coefficients' mean, shape (P,).
        common: τ, standard deviations of the pooled coefficients, shape (P,).
        own: σ, standard deviations of the variants' deviations, shape (P,).
    """

    centre: FloatArray
    common: FloatArray
    own: FloatArray


@dataclass(frozen=True, eq=False)
class Posterior:
    """What they are believed to be after them: normal, given the variances.

    Attributes:
        coef: means of θ, shape (K, P).
        pooled: means of μ, shape (P,).
        own_inverse: (I + σA_kσ)⁻¹, the deviations' scaled covariance given μ, shape (K, P, P).
        pooled_cov: covariance of μ, shape (P, P).
        prior: what it started from.
    """

    coef: FloatArray
    pooled: FloatArray
    own_inverse: FloatArray
    pooled_cov: FloatArray
    prior: Prior

    def deviation_variances(self) -> FloatArray:
        """Return posterior variances of the deviations δ, shape (K, P)."""
        own = self.prior.own
        variances = np.empty_like(self.coef)
        for k, inverse in enumerate(self.own_inverse):
            # δ_k answers to μ by −H, H = I − R M⁻¹ R⁻¹.
            answer = np.eye(len(own)) - own[:, None] * inverse / own
            variances[k] = own**2 * np.diagonal(inverse) + ((answer @ self.pooled_cov) * answer).sum(axis=1)
        return variances

    def covariance(self, k: int) -> FloatArray:
        """Return the posterior covariance of θ_k, shape (P, P)."""
        own, inverse = self.prior.own, self.own_inverse[k]
        carried = own[:, None] * inverse / own
        cov: FloatArray = own[:, None] * inverse * own + carried @ self.pooled_cov @ carried.T
        return (cov + cov.T) / 2


def solve(equations: Equations, prior: Prior) -> Posterior:
    """Return the posterior of the coefficients given the variances.

    With R = diag(σ), T = diag(τ), M_k = I + R A_k R: integrating the deviations out leaves for μ = m + T u
    the precision I + T R⁻¹ (Σ_k I − M_k⁻¹) R⁻¹ T.

    Raises:
        numpy.linalg.LinAlgError: equations that are not those of any data (not positive semi-definite).

    >>> equations = Equations(np.array([[[4.0]], [[4.0]]]), np.array([[4.0], [8.0]]))
    >>> wide, narrow = Prior(np.zeros(1), np.ones(1) * 100, np.ones(1) * 100), Prior(np.zeros(1), np.ones(1) * 100,
    ...                                                                             np.ones(1) * 1e-4)
    >>> solve(equations, wide).coef.ravel().round(2).tolist(), solve(equations, narrow).coef.ravel().round(2).tolist()
    ([1.0, 2.0], [1.5, 1.5])
    """
    own, common = prior.own, prior.common
    count, size = equations.moment.shape
    right = equations.moment - equations.gram @ prior.centre
    inverse = np.empty((count, size, size))
    total = np.zeros((size, size))
    pooled_right = np.zeros(size)
    for k in range(count):
        scaled = own[:, None] * equations.gram[k] * own
        scaled.flat[:: size + 1] += 1.0
        inverse[k] = inverse_of(scaled)
        total -= inverse[k]
        total.flat[:: size + 1] += 1.0
        pooled_right += inverse[k] @ (own * right[k]) / own
    ratio = common / own
    precision = ratio[:, None] * total * ratio
    precision.flat[:: size + 1] += 1.0
    pooled_cov = common[:, None] * inverse_of(precision) * common
    shift = pooled_cov @ pooled_right
    coef = np.empty((count, size))
    for k in range(count):
        coef[k] = prior.centre + shift + own * (inverse[k] @ (own * (right[k] - equations.gram[k] @ shift)))
    return Posterior(coef, prior.centre + shift, inverse, pooled_cov, prior)


def inverse_of(matrix: FloatArray) -> FloatArray:
    """Return the inverse of a symmetric positive definite matrix, symmetric to the last bit."""
    from scipy.linalg import lapack  # here: what serves policies does without scipy

    factor, failed = lapack.dpotrf(matrix, lower=1)
    if failed:
        raise np.linalg.LinAlgError("the normal equations are not positive definite")
    inverse, _ = lapack.dpotri(factor, lower=1, overwrite_c=1)
    lower = np.tril(inverse)
    whole: FloatArray = lower + np.tril(lower, -1).T
    return whole


@dataclass(frozen=True, eq=False)
class Groups:
    """Which columns are alike, and what is believed of them at first.

    Attributes:
        code: group of each column, shape (P,); 0 is the intercept's.
        common: first guess of τ by group, shape (G,).
        own: first guess of σ by group, shape (G,).
        single: groups whose columns differ among themselves too (numbers): their variances vary about the group's.
    """

    code: npt.NDArray[np.intp]
    common: FloatArray
    own: FloatArray
    single: npt.NDArray[np.bool_]

    def first_prior(self, centre: FloatArray) -> Prior:
        """Return the prior before anything was learned about the variances."""
        return Prior(centre, self.common[self.code], self.own[self.code])


def learn_variances(posterior: Posterior, groups: Groups) -> Prior:
    """Return a prior whose variances fit the posterior better: one step of MacKay's fixed point in each group.

    σ² ← (Σ δ̂² + ν s²) / (Σ (1 − Var(δ)/σ²) + ν): the sum of squares over how many coefficients the data determine,
    with the first guess s² as ν observations. The pooled intercept stays free.
    """
    prior = posterior.prior
    deviation = posterior.coef - posterior.pooled
    determined = 1.0 - posterior.deviation_variances() / prior.own**2
    own = _step((deviation**2).sum(axis=0), determined.clip(0.0, 1.0).sum(axis=0), groups, groups.own)
    shift = posterior.pooled - prior.centre
    determined = 1.0 - np.diagonal(posterior.pooled_cov) / prior.common**2
    common = _step(shift**2, determined.clip(0.0, 1.0), groups, groups.common)
    common[groups.code == 0] = prior.common[groups.code == 0]
    return replace(prior, own=own, common=common)


def _step(squares: FloatArray, determined: FloatArray, groups: Groups, guess: FloatArray) -> FloatArray:
    """Return new standard deviations of the columns, shape (P,)."""
    size = len(guess)
    total = np.bincount(groups.code, squares, size) + PRIOR_COUNT * guess**2
    variance = total / (np.bincount(groups.code, determined, size) + PRIOR_COUNT)
    by_column = variance[groups.code]
    alone = (squares + PRIOR_COUNT * by_column) / (determined + PRIOR_COUNT)
    by_column = np.where(groups.single[groups.code], alone, by_column)
    return np.maximum(np.sqrt(by_column), LEAST_SD)
