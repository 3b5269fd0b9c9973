"""How well a score ranks units by the effect of an offer: Qini, AUUC and uplift in the top share.

All three curves are in outcome per head, so that they can be read without knowing how many rows there were, and any
outcome may stand in them (0/1, counts, money). With k units at or above a score, n_t and n_c of them treated and not,
Y_t and Y_c their outcomes, N_t and N_c treated and not in all, n rows:

- Qini, per treated head: q = (Y_t − Y_c · n_t / n_c) / N_t (Radcliffe 2007, the ratio taken at each point),
- gain, per head: g = (Y_t / n_t − Y_c / n_c) · k / n (Gutierrez & Gérardy 2017, Causal inference and uplift modelling),
- ipw gain, per head: h = Y_t / N_t − Y_c / N_c (Radcliffe's first form), unbiased for share × effect in the share.

A term of an empty group is 0. The Qini coefficient is the area between a curve and its chord, ∫ curve − ½ curve(1);
AUUC is the area under the gain. docs/uplift.md says how other libraries scale the same areas.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from stats.uplift.ranking import ranking
from stats.uplift.trial import FloatArray

Kind = Literal["qini", "gain", "ipw"]
ROUNDING = 1e-9
"""So that .3 of 10 units is 3 of them, whatever the last bit of .3 is."""


@dataclass(frozen=True, eq=False)
class UpliftCurve:
    """Three curves over one ranking, a point per distinct score, from nobody (0, 0) to everybody (1, effect).

    >>> curve = uplift_curve([1, 0, 0, 1], [1, 0, 1, 0], [4, 3, 2, 1])
    >>> curve.qini, curve.qini_coefficient()
    (array([0. , 0.5, 0.5, 0.5, 0. ]), 0.375)
    >>> uplift_curve([1, 0, 1, 1], [1, 0, 1, 0], [7, 7, 7, 7]).qini_coefficient()  # says nothing, so exactly
    0.0
    """

    share: FloatArray
    """(p + 1,), of the units, from 0 to 1."""
    qini: FloatArray
    """(p + 1,), outcome per treated head."""
    gain: FloatArray
    """(p + 1,), outcome per head."""
    ipw: FloatArray
    """(p + 1,), outcome per head."""

    def auuc(self, kind: Kind = "gain") -> float:
        """Return the area under a curve, outcome per head."""
        return float(areas(self.share, self._of(kind)))

    def qini_coefficient(self, kind: Kind = "qini") -> float:
        """Return the area between a curve and its chord, outcome per head; exactly 0 for a constant score."""
        curve = self._of(kind)
        return float(areas(self.share, curve) - 0.5 * curve[-1])

    def _of(self, kind: Kind) -> FloatArray:
        curves = {"qini": self.qini, "gain": self.gain, "ipw": self.ipw}
        if kind not in curves:
            raise ValueError(f"there is no curve {kind!r}: qini, gain or ipw")
        return curves[kind]


def uplift_curve(outcome: npt.ArrayLike, treated: npt.ArrayLike, score: npt.ArrayLike) -> UpliftCurve:
    """Return how the outcome grows as units are treated from the highest score down.

    Args:
        outcome: (n,), any number.
        treated: (n,), True where the unit got the offer, False where it got none; at random, with one probability.
        score: (n,), predicted effect, or whatever units are to be ranked by.

    Raises:
        ValueError: shapes differ, a number is not finite, or nobody is treated or nobody is not.
    """
    y, w = rows_of(outcome, treated, score)
    ranked = ranking(score)
    control = 1.0 - w
    curves = curves_of(ranked.totals(y * w), ranked.totals(y * control), ranked.totals(w), ranked.totals(control))
    return UpliftCurve(ranked.share, *curves)


def curves_of(
    treated_outcome: FloatArray, control_outcome: FloatArray, treated: FloatArray, control: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return Qini, gain and ipw gain from running totals.

    Args:
        treated_outcome: (…, p + 1), sum of outcomes of treated units at or above each point, from 0.
        control_outcome: alike, of units that got nothing.
        treated: (…, p + 1), how many treated units.
        control: alike.

    Returns:
        Three arrays (…, p + 1).
    """
    all_treated, all_control = np.maximum(treated[..., -1:], 1), np.maximum(control[..., -1:], 1)
    # A group without units has no outcome either, so dividing by 1 there gives the 0 that is meant.
    control_mean = control_outcome / np.maximum(control, 1)
    qini = (treated_outcome - control_mean * treated) / all_treated
    share = (treated + control) / (treated + control)[..., -1:]
    gain = (treated_outcome / np.maximum(treated, 1) - control_mean) * share
    return qini, gain, treated_outcome / all_treated - control_outcome / all_control


def areas(share: FloatArray, curve: FloatArray) -> FloatArray:
    """Return the area under curves (…, p + 1) over shares (…, p + 1), by trapezoids."""
    return np.asarray((np.diff(share) * (curve[..., 1:] + curve[..., :-1])).sum(axis=-1) / 2)


def uplift_at(
    outcome: npt.ArrayLike, treated: npt.ArrayLike, score: npt.ArrayLike, share: float, by_group: bool = False
) -> float | None:
    """Return the difference of mean outcomes among the units of the highest scores.

    Args:
        outcome: (n,).
        treated: (n,), True or False.
        score: (n,); the order of equal scores is the input's.
        share: of the units, above 0, at most 1; rounded up to whole units.
        by_group: take the top share of the treated and the top share of the others, each among their own, instead of
            the top share of all.

    Returns:
        Outcome per head; ``None`` where nobody in the top was treated, or everybody.

    Raises:
        ValueError: as `uplift_curve`, or the share is out of range.

    >>> uplift_at([1, 0, 0, 1], [1, 0, 1, 0], [4, 3, 2, 1], 0.5)
    1.0
    """
    if not 0 < share <= 1:
        raise ValueError("share must be above 0 and at most 1")
    y, w = rows_of(outcome, treated, score)
    order = ranking(score).order
    y, got = y[order], w[order] > 0
    if by_group:
        groups = [y[got][: _units(share, int(got.sum()))], y[~got][: _units(share, int((~got).sum()))]]
    else:
        top = _units(share, len(y))
        groups = [y[:top][got[:top]], y[:top][~got[:top]]]
    if not (len(groups[0]) and len(groups[1])):
        return None
    return float(groups[0].mean() - groups[1].mean())


def rows_of(outcome: npt.ArrayLike, treated: npt.ArrayLike, score: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return outcomes and 0/1 treatment as floats, when they fit together and both groups have units.

    Raises:
        ValueError: otherwise.
    """
    y, w = np.asarray(outcome, dtype=np.float64), np.asarray(treated, dtype=np.float64)
    if y.ndim != 1 or y.shape != w.shape or y.shape != np.shape(score):
        raise ValueError("outcome, treated and score must have the same number of rows")
    if not np.isfinite(y).all():
        raise ValueError("every outcome must be a finite number")
    if not np.isin(w, (0.0, 1.0)).all():
        raise ValueError("treated must be true or false for every unit")
    if not 0 < w.sum() < len(w):
        raise ValueError("there must be units that were treated and units that were not")
    return y, w


def _units(share: float, units: int) -> int:
    return math.ceil(share * units - ROUNDING)
