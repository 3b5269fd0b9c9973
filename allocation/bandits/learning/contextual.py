"""The policies that look at the member: a hierarchical model of whether, and how much."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from allocation.bandits.encoding import Encoder
from allocation.bandits.learning.cells import Cells, cells
from allocation.bandits.learning.groups import groups_of
from allocation.bandits.learning.hierarchy import Groups, Posterior
from allocation.bandits.learning.linear import fit_linear
from allocation.bandits.learning.logistic import fit_logistic
from allocation.bandits.learning.rewards import effective_rows, scale_of
from allocation.bandits.learning.rows import Rows
from allocation.bandits.learning.settings import Settings
from allocation.bandits.learning.statistics import LinearStatistics
from allocation.bandits.policy import Policy

FloatArray = npt.NDArray[np.float64]

CAP_ROWS = 10
"""Amounts above the one that so many orders exceed are cut there, and the pooled loss is given back to all alike."""
CAP_SHARE = 0.05
"""But never more than this share of the orders is cut."""
DIGITS = 9
"""Decimals kept of amounts in units of their mean, so that amounts × 100 give the same numbers to fit."""


def fit_contextual(rows: Rows, settings: Settings, encoder: Encoder, weight: FloatArray) -> Policy:
    """Return the contextual policy that rows, each counting its weight, make."""
    encoded = encoder.encode_columns(rows.columns, rows.n)
    groups = groups_of(encoder.columns)
    variants = len(settings.variants)
    amount: FloatArray | None = None
    spread_unit = 1.0
    if settings.model == "linear":
        unit, standard = _in_units(rows.amount, weight)
        made = cells(encoder, encoded, variants, rows.variant, standard, weight)
        posterior, coef, spread_unit = _linear(made, groups)
        coef, spread_unit = coef * unit, spread_unit * unit
    else:
        made = cells(encoder, encoded, variants, rows.variant, rows.converted.astype(np.float64), weight)
        posterior = _on_used(made, groups, fit_logistic)
        coef = posterior.coef
    if settings.model == "hurdle":
        amount = _amounts(rows, encoder, groups, weight, variants)
    needs_spread = settings.policy in {"thompson", "linucb"}
    return Policy(
        variants=settings.variants,
        kind="contextual",
        rule=settings.policy,  # type: ignore[arg-type]  # train() asks only for these four
        encoder=encoder,
        model=settings.model,
        coef=coef,
        amount=amount,
        worth=np.asarray(settings.worth, np.float64) if settings.model == "logistic" else None,
        contact=np.asarray(settings.contact, np.float64),
        scale=scale_of(rows, settings, weight),
        spread=packed(posterior, spread_unit) if needs_spread else None,
        sharpness=settings.sharpness,
        effective_rows=effective_rows(weight),
        optimism=settings.optimism,
        seed=settings.seed,
    )


def packed(posterior: Posterior, unit: float) -> npt.NDArray[np.float32]:
    """Return the lower triangles of each variant's covariance factor by rows, shape (K, P(P+1)/2)."""
    count, size = posterior.coef.shape
    rows, columns = np.tril_indices(size)
    spread = np.empty((count, len(rows)), np.float32)
    for k in range(count):
        cov = posterior.covariance(k)
        cov.flat[:: size + 1] += 1e-12 * np.trace(cov) / size  # keeps the factorisation clear of rounding
        spread[k] = (unit * np.linalg.cholesky(cov))[rows, columns]
    return spread


def _amounts(rows: Rows, encoder: Encoder, groups: Groups, weight: FloatArray, variants: int) -> FloatArray:
    """Return what a conversion earns, linear in the design, shape (K, P).

    Orders have heavy tails: one large one would decide for months. Amounts are cut where ``CAP_ROWS`` orders lie above,
    which goes up as data come in, and what the cut takes is given back as one factor for all variants.
    """
    bought = rows.take(np.flatnonzero(rows.converted))
    weights = weight[rows.converted]
    unit, standard = _in_units(bought.amount, weights)
    share = min(CAP_SHARE, CAP_ROWS / max(bought.n, 1))
    low, high = np.quantile(standard, [share, 1 - share]) if bought.n else (0.0, 0.0)
    cut = np.clip(standard, min(low, 0.0), high)
    order = np.lexsort((weights, standard))
    kept, whole = (float((weights * values)[order].sum()) for values in (cut, standard))
    factor = min(max(whole / kept, 0.5), 2.0) if kept * whole > 0 else 1.0
    encoded = encoder.encode_columns(bought.columns, bought.n)
    _, coef, _ = _linear(cells(encoder, encoded, variants, bought.variant, cut, weights), groups)
    return coef * unit * factor


def _in_units(amount: FloatArray, weight: FloatArray) -> tuple[float, FloatArray]:
    """Return a unit in proportion to the amounts, and the amounts in it."""
    used = np.sort(np.abs(amount[(weight > 0) & (amount != 0)]))
    unit = float(used.mean()) if len(used) else 1.0
    return unit, np.round(amount / unit, DIGITS)


def _linear(made: Cells, groups: Groups) -> tuple[Posterior, FloatArray, float]:
    """Return the posterior, the coefficients, and the unit that the posterior is in."""
    unit = 1.0

    def fit(used: Cells, of: Groups) -> Posterior:
        nonlocal unit
        fitted = fit_linear(LinearStatistics.from_cells(used), of)
        unit = fitted.unit
        return fitted.posterior

    posterior = _on_used(made, groups, fit)
    return posterior, posterior.coef * unit, unit


def _on_used(made: Cells, groups: Groups, fit: Callable[[Cells, Groups], Posterior]) -> Posterior:
    """Fit the columns that some row uses: the others stay at their prior, and cost nothing."""
    size = made.columns
    used = np.asarray((made.design != 0).sum(axis=0)).ravel() > 0
    used[0] = True
    index = np.flatnonzero(used)
    if len(index) == size:
        return fit(made, groups)
    inner = fit(replace(made, design=made.design[:, index]), replace(groups, code=groups.code[index]))
    return _widened(inner, groups, index, size)


def _widened(inner: Posterior, groups: Groups, index: npt.NDArray[np.intp], size: int) -> Posterior:
    """Return the posterior of all columns: those that were left out are as their groups' prior says."""
    count = len(inner.coef)
    prior = groups.first_prior(np.zeros(size))
    for whole, part in (
        (prior.centre, inner.prior.centre),
        (prior.common, inner.prior.common),
        (prior.own, inner.prior.own),
    ):
        whole[index] = part
    coef, pooled = np.zeros((count, size)), np.zeros(size)
    coef[:, index], pooled[index] = inner.coef, inner.pooled
    own_inverse = np.tile(np.eye(size), (count, 1, 1))
    own_inverse[:, index[:, None], index] = inner.own_inverse
    pooled_cov = np.diag(prior.common**2)
    pooled_cov[np.ix_(index, index)] = inner.pooled_cov
    return Posterior(coef, pooled, own_inverse, pooled_cov, prior)
