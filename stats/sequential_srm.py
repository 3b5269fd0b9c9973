"""Sample ratio check while units come in: valid at whatever look it fails, so it may be looked at every day.

References:
    Lindon, Malek (2022), Anytime-valid inference for multinomial count data, NeurIPS 35 (arXiv:2011.03567), eq. 6:
    the Bayes factor of a Dirichlet–multinomial against the planned shares is a martingale under the plan.
    Ville (1939): it ever exceeds 1/α with probability at most α.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.arrays import FloatArray, IntArray, as_float, divide, number
from stats.srm import CAUTION_BELOW, FAIL_BELOW
from stats.why import Why

CONCENTRATIONS = (1e2, 1e4, 1e6)
"""Sizes of the samples in which a broken split should show; the mean of their Bayes factors is a martingale too."""


@dataclass(frozen=True, slots=True)
class SequentialSrmValue:
    """One check at its last look; ``p_value`` is ``None`` where ``why`` says so."""

    p_value: float | None
    status: Literal["ok", "caution", "fail", "info"]
    failed_at: int | None
    """First look with p below .001, counted from 0."""
    why: str | None
    why_code: str | None


@dataclass(frozen=True, slots=True, eq=False)
class SequentialSrm:
    """Checks over a grid of phases or segments.

    Attributes:
        p_value: the smallest 1/e so far, shape (cells…, looks): under the planned split it is ever below α with
            probability at most α. 0 once units stand in a variant of weight 0.
        log_e: logarithm of the evidence against the planned split, shape (cells…, looks). Those of phases with
            different weights add up.
        why: ``Why`` codes, shape (cells…, looks).
    """

    p_value: FloatArray
    log_e: FloatArray
    why: IntArray

    def value(self, *index: int) -> SequentialSrmValue:
        """Return one check at its last look as plain numbers: p < .001 fails, .001 to .01 cautions."""
        p_values, why = self.p_value[index], Why(int(self.why[index][-1]))
        p_value = number(p_values[-1])
        failed = np.flatnonzero(p_values < FAIL_BELOW)
        status: Literal["ok", "caution", "fail", "info"]
        if p_value is None:
            status = "info"
        elif failed.size:
            status = "fail"
        else:
            status = "caution" if p_value < CAUTION_BELOW else "ok"
        first = int(failed[0]) if failed.size else None
        return SequentialSrmValue(p_value, status, first, why.text, why.code if why else None)


def sequential_srm(
    counts: npt.ArrayLike, weights: npt.ArrayLike, concentrations: Sequence[float] = CONCENTRATIONS
) -> SequentialSrm:
    """Compare the units of each variant with the planned weights at every look so far.

    Args:
        counts: units by then, not falling from look to look, shape (cells…, looks, variants).
        weights: planned weights, any scale, shape (cells…, variants) or (variants,); one set for all looks of a cell.
            Variants of weight 0 are left out; units found in one fail the check whatever the rest says.
        concentrations: of the Dirichlet priors around the planned shares, whose evidence is averaged: each is sharpest
            for splits that are off by about 1/√concentration.

    Raises:
        ValueError: a count falls; a count, weight or concentration is negative, NaN or infinite.

    Source: e = Γ(A)/Γ(A + n) · Π Γ(a_i + n_i)/Γ(a_i) / Π w_i^(n_i), with a = concentration · w, A their sum.

    >>> days = [[510, 490], [1010, 990], [1700, 1480], [2500, 2200]]
    >>> check = sequential_srm(days, [1, 1])
    >>> check.p_value.round(4), check.value().status
    (array([1.    , 1.    , 0.0104, 0.0017]), 'caution')
    """
    units, planned = as_float(counts), as_float(weights)
    prior_sizes = as_float(list(concentrations))
    planned = np.broadcast_to(planned[..., None, :], units.shape)
    finite = all(np.isfinite(part).all() and (part >= 0).all() for part in (units, planned, prior_sizes))
    if not (finite and prior_sizes.size and (prior_sizes > 0).all()):
        raise ValueError("counts, weights and concentrations must be finite and not negative")
    if (np.diff(units, axis=-2) < 0).any():
        raise ValueError("counts are those by each look: they cannot fall")
    used = planned > 0
    found = np.where(used, units, 0.0)
    share = np.where(used, divide(planned, planned.sum(axis=-1, keepdims=True)), 1.0)
    total = found.sum(axis=-1)
    evidence = []
    for size in prior_sizes:
        prior = size * share
        gained = np.where(used, special.gammaln(prior + found) - special.gammaln(prior), 0.0).sum(axis=-1)
        evidence.append(gained - (special.gammaln(size + total) - special.gammaln(size)))
    log_e = special.logsumexp(evidence, axis=0) - np.log(prior_sizes.size)
    log_e = log_e - (found * np.log(share)).sum(axis=-1)
    unplanned = (~used & (units > 0)).any(axis=-1)
    why = np.select(
        [unplanned, used.sum(axis=-1) < 2, total < 1],
        [int(Why.UNPLANNED_UNITS), int(Why.NO_WEIGHT), int(Why.NO_UNITS)],
        int(Why.DEFINED),
    ).astype(np.int64)
    p_value = np.minimum.accumulate(np.exp(-np.maximum(log_e, 0.0)), axis=-1)
    defined = why == int(Why.DEFINED)
    return SequentialSrm(
        p_value=np.where(defined, p_value, np.where(unplanned, 0.0, np.nan)),
        log_e=np.where(defined, log_e, np.where(unplanned, np.inf, np.nan)),
        why=why,
    )
