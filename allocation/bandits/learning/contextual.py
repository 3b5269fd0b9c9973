"""The policies that look at the member: a hierarchical model of whether, and how much."""

from __future__ import annotations

from dataclasses import dataclass, replace

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
    if settings.model == "linear":
        # While nothing has been earned, costs are the only amounts there are.
        unit, standard = _in_units(rows.amount, weight, float(np.abs(settings.contact).max()) or 1.0)
        fitted = _linear(cells(encoder, encoded, variants, rows.variant, standard, weight), groups, unit)
    else:
        made = cells(encoder, encoded, variants, rows.variant, rows.converted.astype(np.float64), weight)
        used = _used(made)
        fitted = Fitted(fit_logistic(*_narrowed(made, groups, used)), used, groups)
    if settings.model == "hurdle":
        amount = _amounts(rows, encoder, groups, weight, variants)
    needs_spread = settings.policy in {"thompson", "linucb"}
    return Policy(
        variants=settings.variants,
        kind="contextual",
        rule=settings.policy,  # type: ignore[arg-type]  # train() asks only for these four
        encoder=encoder,
        model=settings.model,
        coef=fitted.coef,
        amount=amount,
        worth=np.asarray(settings.worth, np.float64) if settings.model == "logistic" else None,
        contact=np.asarray(settings.contact, np.float64),
        scale=scale_of(rows, settings, weight),
        spread=fitted.spread() if needs_spread else None,
        sharpness=settings.sharpness,
        effective_rows=effective_rows(weight),
        optimism=settings.optimism,
        seed=settings.seed,
    )


@dataclass(frozen=True, eq=False)
class Fitted:
    """A model of the columns that some row uses: the others stay at their prior, and cost nothing.

    Attributes:
        posterior: of the used columns' coefficients, in units of ``unit``.
        used: index of those columns, ascending.
        groups: of all P columns.
        unit: what coefficients are multiplied with.
    """

    posterior: Posterior
    used: npt.NDArray[np.intp]
    groups: Groups
    unit: float = 1.0

    @property
    def coef(self) -> FloatArray:
        """Coefficients of all columns, shape (K, P)."""
        coef = np.zeros((len(self.posterior.coef), len(self.groups.code)))
        coef[:, self.used] = self.posterior.coef * self.unit
        return coef

    def spread(self) -> npt.NDArray[np.float32]:
        """Return the lower triangles of each variant's covariance factor by rows, shape (K, P(P+1)/2)."""
        count, size = len(self.posterior.coef), len(self.groups.code)
        prior = self.groups.first_prior(np.zeros(size))
        spread = np.zeros((count, size * (size + 1) // 2), np.float32)
        row = np.arange(size)
        spread[:, row * (row + 1) // 2 + row] = self.unit * np.hypot(prior.common, prior.own)
        # Unused columns are independent of the others, so the factor of the whole holds that of the used ones.
        rows, columns = np.tril_indices(len(self.used))
        place = self.used[rows] * (self.used[rows] + 1) // 2 + self.used[columns]
        for k in range(count):
            cov = self.posterior.covariance(k)
            # A trace of the diagonal keeps the factorisation clear of rounding.
            cov.flat[:: len(cov) + 1] += 1e-12 * np.trace(cov) / len(cov)
            spread[k, place] = (self.unit * np.linalg.cholesky(cov))[rows, columns]
        return spread


def _amounts(rows: Rows, encoder: Encoder, groups: Groups, weight: FloatArray, variants: int) -> FloatArray:
    """Return what a conversion earns, linear in the design, shape (K, P).

    Orders have heavy tails: one large one would decide for months. Amounts are cut where ``CAP_ROWS`` orders lie above,
    which goes up as data come in, and what the cut takes is given back as one factor for all variants.
    """
    bought = rows.take(np.flatnonzero(rows.converted))
    weights = weight[rows.converted]
    unit, standard = _in_units(bought.amount, weights, 1.0)
    share = min(CAP_SHARE, CAP_ROWS / max(bought.n, 1))
    low, high = np.quantile(standard, [share, 1 - share]) if bought.n else (0.0, 0.0)
    cut = np.clip(standard, min(low, 0.0), high)
    order = np.lexsort((weights, standard))
    kept, whole = (float((weights * values)[order].sum()) for values in (cut, standard))
    factor = min(max(whole / kept, 0.5), 2.0) if kept * whole > 0 else 1.0
    encoded = encoder.encode_columns(bought.columns, bought.n)
    made = cells(encoder, encoded, variants, bought.variant, cut, weights)
    return _linear(made, groups, unit * factor).coef


def _in_units(amount: FloatArray, weight: FloatArray, otherwise: float) -> tuple[float, FloatArray]:
    """Return a unit in proportion to the amounts, ``otherwise`` where there are none, and the amounts in it."""
    used = np.sort(np.abs(amount[(weight > 0) & (amount != 0)]))
    unit = float(used.mean()) if len(used) else otherwise
    return unit, np.round(amount / unit, DIGITS)


def _linear(made: Cells, groups: Groups, unit: float) -> Fitted:
    """Return the fit of outcomes that are in units of ``unit``."""
    used = _used(made)
    narrowed, theirs = _narrowed(made, groups, used)
    fit = fit_linear(LinearStatistics.from_cells(narrowed), theirs)
    return Fitted(fit.posterior, used, groups, unit * fit.unit)


def _used(made: Cells) -> npt.NDArray[np.intp]:
    """Return the columns that are not zero everywhere, and the intercept."""
    used = np.asarray((made.design != 0).sum(axis=0)).ravel() > 0
    used[0] = True
    return np.flatnonzero(used)


def _narrowed(made: Cells, groups: Groups, used: npt.NDArray[np.intp]) -> tuple[Cells, Groups]:
    if len(used) == made.columns:
        return made, groups
    return replace(made, design=made.design[:, used]), replace(groups, code=groups.code[used])
