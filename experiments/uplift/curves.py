"""What giving an offer to more and more units earns, those with the greatest predicted gain first.

Each unit's gain was predicted by models that did not see its fold; it ranks among the units of its fold, and intervals
are as wide as such a ranking makes them (`stats.uplift.crossfit`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from experiments.uplift.document import Curve, CurvePoint, Interval
from experiments.uplift.intervals import interval_of
from experiments.uplift.learned import Learned
from stats.uplift import rate
from stats.uplift.bootstrap import curve_intervals
from stats.uplift.crossfit import variance_factor, within_folds
from stats.uplift.curves import uplift_at
from stats.uplift.policy_curve import from_scores, on_halves
from stats.uplift.recommending import Recommended
from stats.uplift.trial import FloatArray, IntArray

POINTS = 51
"""Every 2 % of the units."""
TOPS = (0.1, 0.2, 0.3)
MOST_DRAWS, LEAST_DRAWS = 300, 40
ROWS_DRAWN = 15_000_000
"""Rows that all draws of one bootstrap look at together, at most: of many rows fewer draws tell as much."""


def draws_for(rows: int) -> int:
    """Return how often to draw.

    >>> draws_for(10_000), draws_for(1_000_000)
    (300, 40)
    """
    return int(np.clip(ROWS_DRAWN // max(rows, 1), LEAST_DRAWS, MOST_DRAWS))


def curves_of(learned: Learned, found: Recommended, alpha: float, seed: int) -> list[Curve]:
    """Return the curve of choosing by unit where there are several offers, and that of each offer alone."""
    net = found.predicted_net
    curves = []
    if len(learned.arms) > 2:
        choice = np.asarray(net[:, 1:].argmax(axis=1) + 1, dtype=np.intp)
        ranked = _ranked(learned, found, lambda net: np.asarray(net[:, 1:].max(axis=1) - net[:, 0]))
        several = Interval(estimate=None, why="several_offers")
        curves.append(_curve("personalised", found, choice, ranked, (several, several, {}), alpha, seed))
    for place, key in enumerate(learned.arms[1:], start=1):
        choice = np.full(len(net), place, dtype=np.intp)
        ranked = _ranked(learned, found, partial(_against_none, place))
        ranks = _ranks(learned, place, ranked, alpha, seed)
        curves.append(_curve(key, found, choice, ranked, ranks, alpha, seed))
    return curves


@dataclass(frozen=True, eq=False)
class _Ranked:
    """Units by predicted gain.

    Attributes:
        priority: (n,), place within the fold.
        variance_factor: of what the ranking shows.
    """

    priority: FloatArray
    variance_factor: float


def _against_none(place: int, net: FloatArray) -> FloatArray:
    return np.asarray(net[:, place] - net[:, 0])


def _ranked(learned: Learned, found: Recommended, gain: Callable[[FloatArray], FloatArray]) -> _Ranked:
    fitted = found.choice.fitted
    return _Ranked(
        within_folds(gain(found.predicted_net), fitted.fold),
        variance_factor(fitted.models, learned.trial.features, lambda outcomes: gain(learned.prices.net(outcomes))),
    )


def _curve(
    key: str,
    found: Recommended,
    choice: IntArray,
    ranked: _Ranked,
    ranks: tuple[Interval, Interval, dict[str, float]],
    alpha: float,
    seed: int,
) -> Curve:
    scores = found.scores
    priority, factor = ranked.priority, ranked.variance_factor
    points = from_scores(scores, choice, priority, np.linspace(0.0, 1.0, POINTS), alpha, factor)
    halved = on_halves(scores, choice, priority, seed=seed, alpha=alpha, variance_factor=factor)
    difference = scores[np.arange(len(scores)), choice] - scores[:, 0]
    draws = draws_for(len(scores))
    area = rate.autoc(difference, priority, draws=draws, seed=seed, alpha=alpha, variance_factor=factor)
    return Curve(
        arm=key,
        points=[
            CurvePoint(share=float(x), profit=float(y), ci_low=float(low), ci_high=float(high))
            for x, y, low, high in zip(points.share, points.gain, points.ci_low, points.ci_high, strict=True)
        ],
        best_share=halved.best_share,
        best_profit=interval_of(halved.best),
        all_profit=interval_of(halved.all),
        qini=ranks[0],
        auuc=ranks[1],
        rate=interval_of(area),
        uplift_at=ranks[2],
    )


def _ranks(
    learned: Learned, place: int, ranked: _Ranked, alpha: float, seed: int
) -> tuple[Interval, Interval, dict[str, float]]:
    """Return Qini, AUUC and the uplift among the first, of the outcome, on the units of control and of one offer."""
    trial = learned.trial
    if not (trial.propensity == trial.propensity[:1]).all():
        # These curves take means of units as they come; with unequal propensities they would compare other people.
        unequal = Interval(estimate=None, why="unequal_propensities")
        return unequal, unequal, {}
    both = (trial.arm == 0) | (trial.arm == place)
    outcome, treated, score = trial.outcome[both], trial.arm[both] == place, ranked.priority[both]
    found = curve_intervals(
        outcome,
        treated,
        score,
        draws=draws_for(len(outcome)),
        seed=seed,
        alpha=alpha,
        variance_factor=ranked.variance_factor,
    )
    tops = {f"{share:g}": uplift_at(outcome, treated, score, share) for share in TOPS}
    return interval_of(found.qini), interval_of(found.auuc), {key: top for key, top in tops.items() if top is not None}
