"""Can what was known before tell which arm a unit was given, beyond the propensities it was given by?

Two tests under the propensities as they are. A line: Rao's score test of a logistic model with the propensities as
offset, all columns and arms at once. Trees: a prediction of who gets an arm is learned on one half of the units and
held against the other, both ways round; it sees what a line cannot, such as an arm that went to the young and the old.

References:
    Rao (1948), Large sample tests of statistical hypotheses …, Proc. Cambridge Phil. Soc. 44 (score test).
    Hanley & McNeil (1982), The meaning and use of the area under a ROC curve, Radiology 143, eq. 1 and 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.distributions import chi_square_upper, normal_quantile, normal_upper
from stats.uplift.bases import Standardised
from stats.uplift.threads import one_thread
from stats.uplift.trial import FloatArray, Trial
from stats.uplift.valuing import Value

LEARNED_ROWS = 200_000
"""Rows that trees look at; a draw that is wrong shows in so many, and the line looks at all."""
LEAST_EXPECTED = 5.0
"""Units that differ from the rest, expected in the smallest arm, for a column to be looked at by the line."""
TREES = {"max_iter": 40, "max_leaf_nodes": 8, "learning_rate": 0.1, "min_samples_leaf": 20, "max_bins": 64}


@dataclass(frozen=True)
class Predictable:
    """How well arms can be told, as p-values of "no better than the propensities do"."""

    p_value: float
    """The smaller of both, doubled."""
    line: float
    trees: float
    auc: Value | None
    """Of the arm that is told best, on units not learned from; ``None`` where propensities differ between units."""


def predictable(rows: Trial, *, constant: bool, seed: int = 0) -> Predictable | None:
    """Return whether attributes tell the arm.

    Args:
        rows: units in an order that says nothing (`stats.uplift.folds.canonical_order`).
        constant: whether propensities are the same for all units.
        seed: of the trees.

    Returns:
        ``None`` where no column varies enough to be told by.
    """
    columns = _usable(Standardised.of(rows.features).apply(rows.features), rows)
    if not columns.shape[1]:
        return None
    given = rows.arm[:, None] == np.arange(rows.arms)
    beyond = given - rows.propensity
    line = _line(columns, beyond, rows.propensity, constant=constant)
    trees, auc = _trees(rows, given, beyond, constant=constant, seed=seed)
    return Predictable(min(1.0, 2 * min(line, trees)), line, trees, auc)


def _usable(columns: FloatArray, rows: Trial) -> FloatArray:
    """Return the columns of which chance follows the normal law.

    A column that differs from its commonest value in a handful of units only can be far from even by chance more often
    than its variance says; trees and the split look at those units all the same.
    """
    least = LEAST_EXPECTED / max(float(rows.propensity.mean(axis=0).min()), 1e-12)
    kept = []
    for number in range(columns.shape[1]):
        column = columns[:, number]
        differ = len(column) - int((column == np.median(column)).sum())
        if differ >= least and column.std() > 0:
            kept.append(number)
    return np.asarray(columns[:, kept] - columns[:, kept].mean(axis=0))


def _line(columns: FloatArray, beyond: FloatArray, propensity: FloatArray, *, constant: bool) -> float:
    n = len(columns)
    score = columns.T @ beyond[:, 1:]
    if constant:
        # The covariance is a product of that of columns and that of arms, so neither has to be written out.
        shares = propensity[0]
        between = np.diag(shares[1:]) - np.outer(shares[1:], shares[1:])
        inverse, rank = _inverse(columns.T @ columns * (n / (n - 1)))
        statistic = float(np.trace(inverse @ score @ np.linalg.pinv(between, hermitian=True) @ score.T))
        return float(chi_square_upper(max(rank * (len(shares) - 1), 1), statistic))
    p_values = []
    for arm in range(propensity.shape[1]):
        chance = propensity[:, arm]
        inverse, rank = _inverse(columns.T @ (columns * (chance * (1 - chance))[:, None]))
        pull = columns.T @ beyond[:, arm]
        p_values.append(float(chi_square_upper(max(rank, 1), float(pull @ inverse @ pull))))
    return min(1.0, len(p_values) * min(p_values))


def _inverse(matrix: FloatArray) -> tuple[FloatArray, int]:
    """Return the inverse on the directions that vary, and how many they are."""
    values, vectors = np.linalg.eigh(matrix)
    kept = values > 1e-9 * max(float(values.max()), 1e-300)
    return np.asarray((vectors[:, kept] / values[kept]) @ vectors[:, kept].T), int(kept.sum())


def _trees(
    rows: Trial, given: npt.NDArray[np.bool_], beyond: FloatArray, *, constant: bool, seed: int
) -> tuple[float, Value | None]:
    from sklearn.ensemble import HistGradientBoostingRegressor

    n = min(rows.rows, LEARNED_ROWS)
    # Halves of the same shares of each arm: rows stand in no order, so every second one of an arm is a random half.
    half = np.zeros(n, dtype=np.intp)
    for arm in range(rows.arms):
        members = np.flatnonzero(rows.arm[:n] == arm)
        half[members] = np.arange(len(members)) % 2
    known = ~np.isnan(rows.features[:n])
    columns = rows.features[:n][:, known[half == 0].any(axis=0) & known[half == 1].any(axis=0)]
    if not columns.shape[1]:
        return 1.0, None
    arms = range(1, rows.arms) if rows.arms == 2 else range(rows.arms)
    z_values, found = [], []
    for arm in arms:
        z, areas = [], []
        for held in (0, 1):
            seen, kept = half != held, half == held
            model = HistGradientBoostingRegressor(**TREES, early_stopping=False, random_state=seed)
            with one_thread():
                model.fit(columns[seen], beyond[:n, arm][seen])
                told = model.predict(columns[kept])
            told = told - told.mean() if constant else told
            chance = rows.propensity[:n, arm][kept]
            spread = float(np.sqrt((told**2 * chance * (1 - chance)).sum()))
            z.append(float(told @ beyond[:n, arm][kept]) / spread if spread > 0 else 0.0)
            areas.append(_auc(told, given[:n, arm][kept]))
        # The two may be as good as the same number, so their mean is held to the law of one.
        z_values.append(float(np.mean(z)))
        found.append(np.mean(areas, axis=0))
    best = int(np.argmax(z_values))
    p_value = min(1.0, len(z_values) * float(normal_upper(z_values[best])))
    if not constant:
        return p_value, None
    area, error = (float(value) for value in max(found, key=lambda pair: pair[0]))
    width = float(normal_quantile(0.975)) * error
    return p_value, Value(area, error, max(area - width, 0.0), min(area + width, 1.0))


def _auc(told: FloatArray, given: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Return the chance that a unit of the arm is ranked above another one, ties as halves, and its standard error."""
    _, which, counts = np.unique(told, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - 0.5 * (counts - 1))[which]
    first, second = int(given.sum()), int((~given).sum())
    area = float((ranks[given].sum() - first * (first + 1) / 2) / (first * second))
    one, two = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (first - 1) * (one - area**2) + (second - 1) * (two - area**2)
    return area, float(np.sqrt(max(variance, 0.0) / (first * second)))
