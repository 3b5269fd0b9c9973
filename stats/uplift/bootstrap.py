"""Intervals of Qini, AUUC and the gain curve, by drawing units with replacement.

The ranking is sorted once: a draw only changes how often each row counts, so a draw costs four running sums. Intervals
are normal with the draws' standard deviation: 300 draws tell a standard deviation to 4 % but the place of a 2.5 %
percentile only to a sixth of one (simulated, 95 % intervals by percentiles hold in 93 to 94 % of samples, these in 94
to 96 %: docs/uplift.md). They describe the score as it stands: it must not have been fitted on these rows.

Reference:
    Efron & Tibshirani (1993), An introduction to the bootstrap, chapter 13.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.distributions import normal_quantile
from stats.uplift.curves import areas, curves_of, rows_of, uplift_curve
from stats.uplift.ranking import Ranking, ranking
from stats.uplift.trial import FloatArray, IntArray
from stats.uplift.valuing import Value

AT_ONCE = 1 << 18
"""Numbers in one array of a block of draws: small enough to stay in the processor's cache."""
POINTS = 21


@dataclass(frozen=True, eq=False)
class CurveIntervals:
    """Areas with their intervals, and the gain curve with its band, point by point."""

    qini: Value
    """Qini coefficient (of the Qini curve), outcome per head."""
    auuc: Value
    """Area under the gain curve, outcome per head."""
    share: FloatArray
    """(s,), of the units."""
    gain: FloatArray
    """(s,), outcome per head; between two scores on the straight line."""
    gain_low: FloatArray
    gain_high: FloatArray


def curve_intervals(
    outcome: npt.ArrayLike,
    treated: npt.ArrayLike,
    score: npt.ArrayLike,
    *,
    draws: int = 300,
    seed: int = 0,
    alpha: float = 0.05,
    shares: npt.ArrayLike | None = None,
    variance_factor: float = 1.0,
) -> CurveIntervals:
    """Return how far Qini, AUUC and the gain curve may be off by chance.

    Args:
        outcome: (n,), any number.
        treated: (n,), True or False.
        score: (n,), of a model that was not fitted on these units.
        draws: how often to draw n units with replacement, at least 2.
        seed: the same one gives the same figures, in whatever order the rows stand.
        alpha: 1 − confidence level.
        shares: where the gain's band is wanted, from 0 to 1; ``None``: every 5 %.
        variance_factor: of a score that was cross-fitted on these units (`stats.uplift.crossfit`): how much more what
            the ranking shows varies than if the score had come from elsewhere.

    Raises:
        ValueError: as `stats.uplift.curves.uplift_curve`.

    >>> generator = np.random.default_rng(1)
    >>> score, treated = generator.random(4000), generator.random(4000) < 0.5
    >>> found = curve_intervals(generator.random(4000) < 0.1 + 0.2 * score * treated, treated, score)
    >>> found.qini.ci_low < 0.1 / 6 < found.qini.ci_high  # Qini of an effect that grows by .2 along the ranking
    True
    """
    y, w = rows_of(outcome, treated, score)
    if draws < 2:
        raise ValueError("at least 2 draws are needed")
    points = np.linspace(0.0, 1.0, POINTS) if shares is None else np.asarray(shares, dtype=np.float64)
    curve = uplift_curve(y, w, score)
    # In ties, rows that stand for the same are exchangeable; so the same draws say the same, however rows are sorted.
    ranked = ranking(score, within=(w, y))
    drawn = _drawn(y[ranked.order], w[ranked.order], ranked, points, draws, np.random.default_rng(seed))
    width = float(normal_quantile(1 - alpha / 2))
    # What the ranking shows is what stands above the chord; the chord is the effect in all, and nobody ranks for that.
    ranked_part, chord = drawn[:, 1:-1], drawn[:, -1:] * np.concatenate(([0.5], points))
    total = np.sqrt(variance_factor) * (ranked_part - chord) + chord
    errors = np.append(np.sqrt(variance_factor) * drawn[:, 0].std(ddof=1), total.std(axis=0, ddof=1))
    gain = np.interp(points, curve.share, curve.gain)
    return CurveIntervals(
        qini=_value(curve.qini_coefficient(), float(errors[0]), width),
        auuc=_value(curve.auuc(), float(errors[1]), width),
        share=points,
        gain=gain,
        gain_low=gain - width * errors[2:],
        gain_high=gain + width * errors[2:],
    )


def _value(estimate: float, error: float, width: float) -> Value:
    return Value(estimate, error, estimate - width * error, estimate + width * error)


def _drawn(
    y: FloatArray, w: FloatArray, ranked: Ranking, points: FloatArray, draws: int, generator: np.random.Generator
) -> FloatArray:
    """Return Qini coefficient, AUUC, the gain at each share, and in all, for every draw, (draws, 2 + s + 1)."""
    n = ranked.rows
    columns = np.stack((y * w, y * (1 - w), w, 1 - w))
    out = np.empty((draws, 3 + len(points)))
    at_once = max(1, AT_ONCE // n)
    for start in range(0, draws, at_once):
        size = min(at_once, draws - start)
        counts = _counts(n, size, generator)
        totals = [_running(counts * column, ranked.ends) for column in columns]
        qini, gain, _ = curves_of(totals[0], totals[1], totals[2], totals[3])
        units = totals[2] + totals[3]
        share = units / units[:, -1:]
        block = out[start : start + size]
        block[:, 0] = areas(share, qini) - 0.5 * qini[:, -1]
        block[:, 1] = areas(share, gain)
        block[:, -1] = gain[:, -1]
        for row in range(size):
            block[row, 2:-1] = np.interp(points, share[row], gain[row])
    return out


def _counts(n: int, draws: int, generator: np.random.Generator) -> FloatArray:
    """Return how often each of n units is drawn, (draws, n), n units a draw."""
    drawn: IntArray = generator.integers(0, n, (draws, n))
    drawn += np.arange(draws)[:, None] * n
    return np.bincount(drawn.ravel(), minlength=draws * n).reshape(draws, n).astype(np.float64)


def _running(values: FloatArray, ends: IntArray) -> FloatArray:
    """Return running sums (draws, p + 1) at the end of each tied block, from 0."""
    out = np.zeros((len(values), len(ends) + 1))
    if len(ends) == values.shape[1]:
        np.cumsum(values, axis=1, out=out[:, 1:])
    else:
        out[:, 1:] = np.cumsum(values, axis=1)[:, ends - 1]
    return out
