"""What decisions earned, and the scale that scores are in."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from allocation.bandits.learning.rows import Rows
from allocation.bandits.learning.settings import Settings

FloatArray = npt.NDArray[np.float64]


def rewards(rows: Rows, settings: Settings) -> FloatArray:
    """Return what each decision earned after contact, shape (n,): what the policy's scores expect.

    >>> rows = Rows(np.array([0, 1]), {}, np.array([True, True]), np.array([30.0, 20.0]))
    >>> rewards(rows, Settings(("a", "b"), worth=(10.0, 8.0), contact=(0.0, 1.0))).tolist()
    [10.0, 7.0]
    """
    contact = np.asarray(settings.contact)[rows.variant]
    if settings.model == "logistic":
        earned: FloatArray = rows.converted * np.asarray(settings.worth)[rows.variant] - contact
        return earned
    paid: FloatArray = rows.amount - contact
    return paid


def scale_of(rows: Rows, settings: Settings, weight: FloatArray) -> float:
    """Return the amount that is one unit of score: the standard deviation of rewards.

    It has a floor in proportion to the amounts, because one conversion more or less would otherwise make or break it,
    so that all amounts times a hundred leave every score as it is.

    >>> settings = Settings(("a", "b"), worth=(100.0, 100.0))
    >>> rows = Rows(np.array([0, 1]), {}, np.array([False, False]), np.zeros(2))
    >>> scale_of(rows, settings, np.ones(2)) > 10.0
    True
    """
    total = weight.sum()
    # The rate with half a conversion added: above 0 while nobody has converted, and below 1 where all have.
    rate = float(((weight * rows.converted).sum() + 0.5) / (total + 1.0)) if total > 0 else 0.5
    if settings.model == "logistic":
        typical = float(np.abs(np.asarray(settings.worth)).max())
    else:
        sizes, weights = np.abs(rows.amount[rows.converted]), weight[rows.converted]
        typical = float((weights * sizes).sum() / weights.sum()) if weights.sum() > 0 else 0.0
    floor = typical * np.sqrt(rate * (1 - rate))
    spread = 0.0
    if total > 0:
        order = np.lexsort((weight, earned := rewards(rows, settings)))  # sums over an order of their own
        earned, ordered = earned[order], weight[order]
        mean = (ordered * earned).sum() / total
        spread = float(np.sqrt((ordered * (earned - mean) ** 2).sum() / total))
    largest = float(np.abs(np.asarray(settings.contact)).max())
    if spread <= 1e-12 * (typical + largest):
        spread = 0.0
    return float(max(spread, 0.5 * floor) or largest or 1.0)


def effective_rows(weight: FloatArray) -> float:
    """Return (Σw)² / Σw²: how many full rows the weighted ones are worth (Kish 1965).

    >>> effective_rows(np.array([1.0, 1.0, 0.0]))
    2.0
    """
    squares = float((weight**2).sum())
    return float(weight.sum()) ** 2 / squares if squares > 0 else 0.0
