"""What a policy is worth: doubly robust values of who gets what, and differences between two policies.

Each unit's score under each arm is its predicted money plus, for the arm that it was given, its residual divided by the
propensity (Robins, Rotnitzky & Zhao 1994; Athey & Wager 2021, eq. 4). The mean score of what a policy chooses is
unbiased for the policy's value when propensities are those of the log, whatever the predictions are, as long as neither
predictions nor policy were fitted on the same unit (cross-fitting).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stats.uplift.trial import FloatArray, IntArray


@dataclass(frozen=True)
class Value:
    """A mean with its normal interval."""

    estimate: float
    std_error: float
    ci_low: float
    ci_high: float


def doubly_robust_scores(
    outcome: FloatArray, arm: IntArray, propensity: FloatArray, predicted: FloatArray
) -> FloatArray:
    """Return each unit's score under each arm.

    Args:
        outcome: (n,), observed (money, where values are to be money).
        arm: (n,), given.
        propensity: (n, K + 1).
        predicted: (n, K + 1), expected outcome under each arm, by a model that was not fitted on the unit.

    Returns:
        (n, K + 1).

    >>> doubly_robust_scores(np.array([1.0]), np.array([1]), np.array([[0.5, 0.5]]), np.array([[0.2, 0.3]]))
    array([[0.2, 1.7]])
    """
    rows = np.arange(len(outcome))
    scores = np.array(predicted, dtype=np.float64)
    scores[rows, arm] += (outcome - predicted[rows, arm]) / propensity[rows, arm]
    return scores


def mean_value(values: FloatArray, alpha: float = 0.05) -> Value:
    """Return the mean of independent values with its normal interval.

    >>> found = mean_value(np.array([1.0, 2.0, 3.0, 4.0]))
    >>> round(found.estimate, 3), round(found.std_error, 3)
    (2.5, 0.645)
    """
    from scipy.special import ndtri

    n = len(values)
    estimate = float(np.mean(values)) if n else float("nan")
    error = float(np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else float("nan")
    width = float(ndtri(1 - alpha / 2)) * error
    return Value(estimate, error, estimate - width, estimate + width)


def policy_value(scores: FloatArray, choice: IntArray, alpha: float = 0.05) -> Value:
    """Return what giving each unit its chosen arm is worth, a unit.

    Args:
        scores: (n, K + 1), of `doubly_robust_scores`.
        choice: (n,), the arm chosen for each.
        alpha: 1 − confidence.
    """
    return mean_value(scores[np.arange(len(choice)), choice], alpha)


def gain(scores: FloatArray, choice: IntArray, other: IntArray, alpha: float = 0.05) -> Value:
    """Return by how much one policy is worth more than another, a unit; paired, so what both share cancels.

    >>> scores = np.array([[0.0, 1.0], [0.0, -1.0], [0.0, 2.0]])
    >>> gain(scores, np.array([1, 0, 1]), np.array([1, 1, 1])).estimate.__round__(3)
    0.333
    """
    rows = np.arange(len(choice))
    return mean_value(scores[rows, choice] - scores[rows, other], alpha)
