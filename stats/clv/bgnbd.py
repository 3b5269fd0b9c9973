"""How many orders a member will still place, and whether there is still a member at all: the BG/NBD model.

While active a member orders at random at a rate of their own (gamma between members); after each order they leave for
good with a probability of their own (beta between members). Leaving is never seen: a silence of three months says much
of somebody who came weekly and little of somebody who comes twice a year, which a fixed "no order in 30 days" cannot
tell apart. It describes what happens without a change of what is offered: no effect of any offer is in it.

Members who never came back cannot have left after a repeat, so the model calls them active for certain; their expected
orders are few nevertheless. ``probability_alive`` is to be read together with them.

References:
    Fader, Hardie, Lee (2005), "Counting your customers" the easy way, Marketing Science 24(2): eq. 3 (rows'
        likelihood), eq. 10 (expected orders).
    Fader, Hardie, Lee (2008), Computing P(alive) using the BG/NBD model.
    Abramowitz, Stegun (1964), 15.3.4: the transformation that keeps expected orders within range.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.arrays import FloatArray, as_float
from stats.clv.likelihood import Slope, maximise, newton

PARAMETERS = ("r", "alpha", "a", "b")
FEW = 20_000
"""Distinct rows that the search starts on; more are used only for the last steps."""
TOO_NEAR = 1e-5
BOUNDS = (-8.0, 4.0)
"""Of the logarithms of the parameters, time in tenths of the mean age: 55 is as good as infinite (all are alike)."""


@dataclass(frozen=True, slots=True, eq=False)
class BgNbd:
    """A fitted (or given) model; times in the unit of the rows it was fitted on.

    Attributes:
        r: shape of the rates between members.
        alpha: their scale, in time: the mean rate is r/alpha.
        a: first parameter of the probabilities of leaving after an order: the mean is a/(a + b).
        b: second one.
        covariance: (4, 4) of the logarithms of (r, alpha, a, b); ``None`` when the model was not fitted.
        log_likelihood: of the rows, ``None`` when the model was not fitted.
        units: rows that it was fitted on.
        converged: whether the data bound every parameter; without it, intervals are not to be had.
    """

    r: float
    alpha: float
    a: float
    b: float
    covariance: FloatArray | None = None
    log_likelihood: float | None = None
    units: int = 0
    converged: bool = True

    def std_errors(self) -> dict[str, float | None]:
        """Return each parameter's standard error (delta method), ``None`` where the data do not bound it."""
        if self.covariance is None:
            return dict.fromkeys(PARAMETERS)
        errors = {}
        for place, name in enumerate(PARAMETERS):
            error = float(getattr(self, name) * np.sqrt(self.covariance[place, place]))
            errors[name] = error if np.isfinite(error) else None
        return errors

    def probability_alive(self, x: npt.ArrayLike, t_x: npt.ArrayLike, age: npt.ArrayLike) -> FloatArray:
        """Return the probability that a member is still active on the day of looking.

        Args:
            x: repeat purchases.
            t_x: time from the first purchase to the last.
            age: time from the first purchase to the day of looking (T).

        >>> BgNbd(0.243, 4.414, 0.793, 2.426).probability_alive([2, 0], [30.43, 0], [38.86, 38.86]).round(4)
        array([0.7266, 1.    ])
        """
        x, t_x, age = as_float(x), as_float(t_x), as_float(age)
        return np.asarray(1 / (1 + self._left_to_active(x, t_x, age)))

    def expected_purchases(
        self, t: npt.ArrayLike, x: npt.ArrayLike, t_x: npt.ArrayLike, age: npt.ArrayLike
    ) -> FloatArray:
        """Return the purchases to expect in the next ``t``.

        Args:
            t: time from the day of looking on.
            x: repeat purchases.
            t_x: time from the first purchase to the last.
            age: time from the first purchase to the day of looking (T).

        >>> BgNbd(0.243, 4.414, 0.793, 2.426).expected_purchases(39, [2], [30.43], [38.86]).round(3)
        array([1.226])
        """
        t, x, t_x, age = np.broadcast_arrays(as_float(t), as_float(x), as_float(t_x), as_float(age))
        if self._is_degenerate():
            # The mean of both sides is right to the square of the step.
            sides = [_if_active(self, self.a + way * 2 * TOO_NEAR, t, x, age) for way in (-1, 1)]
            active = (sides[0] + sides[1]) / 2
        else:
            active = _if_active(self, self.a, t, x, age)
        return np.asarray(active / (1 + self._left_to_active(x, t_x, age)))

    def expected_purchases_of_new(self, t: npt.ArrayLike) -> FloatArray:
        """Return the repeat purchases to expect within ``t`` of somebody's first one (eq. 9)."""
        return self.expected_purchases(t, 0.0, 0.0, 0.0)

    def _is_degenerate(self) -> bool:
        """Return whether the formula for expected orders is 0/0 at these parameters, though its limit exists."""
        whole = self.r - self.a
        return min(abs(self.a - 1), abs(self.a + self.b - 1), abs(whole - round(whole))) < TOO_NEAR

    def _left_to_active(self, x: FloatArray, t_x: FloatArray, age: FloatArray) -> FloatArray:
        """Return the odds of having left; 0 without repeats."""
        log_odds = (
            np.log(self.a)
            - np.log(np.maximum(self.b + x - 1, 1e-300))
            + (self.r + x) * (np.log(self.alpha + age) - np.log(self.alpha + t_x))
        )
        return np.where(x > 0, np.exp(np.minimum(log_odds, 700.0)), 0.0)


def _if_active(model: BgNbd, a: float, t: FloatArray, x: FloatArray, age: FloatArray) -> FloatArray:
    """Return the purchases to expect of somebody known to be active, with ``a`` in place of the model's."""
    from scipy.special import hyp2f1

    z = t / (model.alpha + age + t)
    c = a + model.b + x - 1
    # (1 − z)^(r+x) ₂F₁(r+x, b+x; c; z) by Euler's transformation: the first form overflows for frequent buyers.
    shrunk = (1 - z) ** (a - 1) * hyp2f1(a - 1, c - model.r - x, c, z)
    return np.asarray(c / (a - 1) * (1 - shrunk))


def fit(x: npt.ArrayLike, t_x: npt.ArrayLike, age: npt.ArrayLike) -> BgNbd:
    """Fit by maximum likelihood.

    Args:
        x: (n,) repeat purchases.
        t_x: (n,) time from the first purchase to the last; 0 without repeats.
        age: (n,) time from the first purchase to the day of looking (T).

    Raises:
        ValueError: when rows contradict themselves, or nobody has ordered twice.

    >>> fit([0, 1, 3, 0, 2], [0, 5, 20, 0, 11], [30, 30, 30, 25, 28]).units
    5
    """
    x, t_x, age = as_float(x), as_float(t_x), as_float(age)
    _check(x, t_x, age)
    rows, weights = _aggregated(x, t_x, age)
    scale = float(weights @ rows[:, 2]) / len(x) / 10  # so that every parameter is of the order of 1
    rows[:, 1:] /= scale
    start = np.zeros(4)
    if len(rows) > 2 * FEW:
        step = len(rows) // FEW
        near = maximise(_slope(rows[::step], weights[::step]), start, float(np.sum(weights[::step])), BOUNDS)
        found = newton(_slope(rows, weights), near.log_parameters, float(len(x)), BOUNDS)
    else:
        found = maximise(_slope(rows, weights), start, float(len(x)), BOUNDS)
    r, alpha, a, b = np.exp(found.log_parameters)
    # Each order's density is per unit of time.
    log_likelihood = found.log_likelihood - float(weights @ rows[:, 0]) * float(np.log(scale))
    return BgNbd(
        float(r),
        float(alpha * scale),
        float(a),
        float(b),
        found.covariance,
        log_likelihood,
        len(x),
        found.converged,
    )


def _check(x: FloatArray, t_x: FloatArray, age: FloatArray) -> None:
    if not len(x) or len({len(x), len(t_x), len(age)}) != 1:
        raise ValueError("as many repeat counts as times, and at least one, are needed")
    if not (np.isfinite(x).all() and np.isfinite(t_x).all() and np.isfinite(age).all()):
        raise ValueError("every member needs a repeat count, a recency and an age")
    if np.any(x < 0) or np.any(t_x < 0) or np.any(t_x > age) or np.any((x == 0) & (t_x > 0)):
        raise ValueError("0 ≤ recency ≤ age is needed, and a recency of 0 where there are no repeats")
    if not np.any(x > 0):
        raise ValueError("nobody ordered on a second day: how often members return cannot be learned")


def _aggregated(x: FloatArray, t_x: FloatArray, age: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the distinct rows (distinct, 3), in order, and how many members share each."""
    order = np.lexsort((age, t_x, x))
    rows = np.column_stack([x, t_x, age])[order]
    starts = np.flatnonzero(np.r_[True, np.any(rows[1:] != rows[:-1], axis=1)])
    return rows[starts], np.diff(np.r_[starts, len(rows)]).astype(np.float64)


def _slope(rows: FloatArray, weights: FloatArray) -> Slope:
    """Return −log likelihood (eq. 6) and its gradient in the logarithms of (r, α, a, b)."""
    from scipy.special import gammaln, psi

    levels, inverse = np.unique(rows[:, 0], return_inverse=True)
    level_weights = np.bincount(inverse, weights=weights)
    x, t_x, age = rows[:, 0], rows[:, 1], rows[:, 2]
    repeated = x > 0

    def slope(at: FloatArray) -> tuple[float, FloatArray]:
        r, alpha, a, b = np.exp(at)
        by_level = (
            gammaln(r + levels) - gammaln(r) + r * np.log(alpha)
            + gammaln(a + b) + gammaln(b + levels) - gammaln(b) - gammaln(a + b + levels)
        )  # fmt: skip
        to_now, to_last = np.log(alpha + age), np.log(alpha + t_x)
        # Odds of having left against being active, rows without repeats cannot have left.
        log_odds = np.where(
            repeated, np.log(a) - np.log(b + np.maximum(x, 1) - 1) + (r + x) * (to_now - to_last), -np.inf
        )
        value = level_weights @ by_level + weights @ (np.logaddexp(0.0, log_odds) - (r + x) * to_now)
        left = 1 / (1 + np.exp(-np.maximum(log_odds, -700.0))) * repeated
        gone, here = weights * left, weights * (1 - left)
        shared = psi(a + b) - psi(a + b + levels)
        gradient = np.array(
            [
                level_weights @ (psi(r + levels) - psi(r) + np.log(alpha)) - here @ to_now - gone @ to_last,
                np.sum(weights) * r / alpha - here @ ((r + x) / (alpha + age)) - gone @ ((r + x) / (alpha + t_x)),
                level_weights @ shared + np.sum(gone) / a,
                level_weights @ (shared + psi(b + levels) - psi(b)) - gone @ (1 / (b + np.maximum(x, 1) - 1)),
            ]
        )
        return -float(value), -gradient * np.exp(at)

    return slope
