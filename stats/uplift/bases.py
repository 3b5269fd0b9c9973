"""The regressions that models of effects are made of: linear ones, and boosted trees.

Linear: ridge for money and effects, with its penalty by generalised cross-validation, and penalised logistic
regression for what happens or does not. Trees: scikit-learn's histogram gradient boosting, settings pinned.

Reference:
    Golub, Heath & Wahba (1979), Generalized cross-validation as a method for choosing a good ridge parameter,
    Technometrics 21(2), eq. 1.4.
    Friedman (2001), Greedy function approximation: a gradient boosting machine, Annals of Statistics 29(5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from stats.arrays import BoolArray
from stats.uplift.threads import one_thread
from stats.uplift.trial import FloatArray

Base = Literal["linear", "trees"]
Kind = Literal["binary", "outcome", "effect"]

CLIP = 5.0
"""Standard deviations beyond which a column says no more to a linear model: one huge basket must not bend the line."""
LOGISTIC_PENALTY = 1.0
"""On the sum of squared coefficients of standardised columns, against the sum of log losses."""
RIDGE_PENALTIES = 10.0 ** np.arange(0.0, 6.6, 0.5)
"""Tried on standardised columns; the last ones leave nothing but the mean."""
TREES = {"max_leaf_nodes": 6, "max_bins": 128, "early_stopping": False}
"""Pinned: the same rows give the same trees."""
LEAST_FOR_TREES = 200
"""Rows below which boosting is not tried: the mean it is."""


class Predictor(Protocol):
    """Something fitted that predicts a number for each row."""

    def predict(self, features: FloatArray) -> FloatArray:
        """Return (n,) for features (n, d)."""
        ...


@dataclass(frozen=True)
class Constant:
    """Predicts the same for every row."""

    level: float

    def predict(self, features: FloatArray) -> FloatArray:
        """Return the level for each row."""
        return np.full(len(features), self.level)


@dataclass(frozen=True, eq=False)
class Standardised:
    """Columns as a linear model sees them: gaps filled with the mean and told in a column of their own, mean 0, sd 1.

    What lies beyond all that was seen counts as the outermost that was seen: nothing tells how a line goes on there.

    >>> design = Standardised.of(np.array([[1.0], [3.0], [np.nan]]))
    >>> design.apply(np.array([[np.nan], [2.0], [900.0]])).round(2)
    array([[ 0.  ,  1.41],
           [ 0.  , -0.71],
           [ 1.22, -0.71]])
    """

    mean: FloatArray
    scale: FloatArray
    least: FloatArray
    """What each column says at its lowest, and at its highest, standardised."""
    most: FloatArray
    gap: FloatArray
    """Indices of columns with gaps."""
    gap_mean: FloatArray
    gap_scale: FloatArray

    @classmethod
    def of(cls, features: FloatArray) -> Standardised:
        """Learn means and scales; a column that does not vary gets scale ∞, so that it is 0 for every row."""
        unknown = np.isnan(features)
        gaps = np.flatnonzero(unknown.any(axis=0))
        known = np.maximum(len(features) - unknown.sum(axis=0), 1)
        filled = np.where(unknown, 0.0, features) if gaps.size else features
        mean = filled.sum(axis=0) / known
        centred = np.where(unknown, 0.0, features - mean) if gaps.size else features - mean
        spread = np.sqrt(np.einsum("ij,ij->j", centred, centred) / max(len(features), 1))
        share = unknown[:, gaps].mean(axis=0) if gaps.size else np.empty(0)
        scale = _no_zero(spread, mean)
        least, most = (
            np.clip(end(centred, axis=0, initial=0.0) / scale, -CLIP, CLIP) for end in (np.min, np.max)
        )  # gaps are 0, the mean, which lies between them
        gap_scale = _no_zero(np.sqrt(share * (1 - share)))
        return cls(mean, scale, least, most, gaps.astype(np.float64), share, gap_scale)

    def apply(self, features: FloatArray) -> FloatArray:
        """Return (n, columns + gaps)."""
        scaled = features - self.mean
        scaled /= self.scale
        np.clip(scaled, self.least, self.most, out=scaled)
        gaps = self.gap.astype(np.intp)
        told = (np.isnan(features[:, gaps]) - self.gap_mean) / self.gap_scale
        if np.isnan(scaled).any():
            np.nan_to_num(scaled, copy=False)
        return np.hstack([scaled, told]) if gaps.size else scaled


def _no_zero(scale: FloatArray, mean: FloatArray | None = None) -> FloatArray:
    """Return scales, ∞ where a column does not vary (beyond rounding)."""
    least = 1e-12 * (1.0 if mean is None else 1.0 + np.abs(mean))
    return np.where(scale > least, scale, np.inf)


@dataclass(frozen=True, eq=False)
class Linear:
    """A line in standardised columns; ``logistic``: of the log odds."""

    design: Standardised
    intercept: float
    slopes: FloatArray
    logistic: bool = False

    def predict(self, features: FloatArray) -> FloatArray:
        """Return (n,): probabilities where logistic."""
        line = self.intercept + self.design.apply(features) @ self.slopes
        return _inverse_logit(line) if self.logistic else line


def ridge(features: FloatArray, target: FloatArray, weight: FloatArray | None = None) -> Predictor:
    """Fit least squares with the penalty that generalised cross-validation likes best; the intercept is free.

    Args:
        features: (n, d), NaN is missing.
        target: (n,).
        weight: (n,), positive; ``None``: all alike.

    >>> x = np.linspace(0, 1, 50)[:, None]
    >>> ridge(x, 2 * x[:, 0]).predict(np.array([[0.5]])).round(2)
    array([1.])
    """
    design = Standardised.of(features)
    columns = design.apply(features)
    weights = np.ones(len(target)) if weight is None else weight * (len(target) / weight.sum())
    centre = float(np.average(target, weights=weights))
    middle = weights @ columns / len(target)
    columns -= middle
    weighted = columns * weights[:, None]
    values, vectors = np.linalg.eigh(weighted.T @ columns)
    values = np.maximum(values, 0.0)
    along = vectors.T @ (weighted.T @ (target - centre))
    total = float(weights @ (target - centre) ** 2)
    shrunk = along / (values + RIDGE_PENALTIES[:, None])
    rest = total - 2 * shrunk @ along + (shrunk**2) @ values
    freedom = 1 + (values / (values + RIDGE_PENALTIES[:, None])).sum(axis=1)
    score = np.maximum(rest, 0.0) / np.maximum(len(target) - freedom, 0.5) ** 2
    slopes = vectors @ shrunk[int(np.argmin(score))]
    return Linear(design, centre - float(middle @ slopes), slopes)


def logistic(features: FloatArray, target: FloatArray, weight: FloatArray | None = None) -> Predictor:
    """Fit penalised logistic regression by Newton's method with halved steps; the intercept is free.

    Args:
        features: (n, d), NaN is missing.
        target: (n,), 0 or 1.
        weight: (n,), positive; ``None``: all alike.
    """
    share = float(np.average(target, weights=weight))
    if not 0 < share < 1:
        return Constant(share)
    design = Standardised.of(features)
    columns = np.hstack([np.ones((len(target), 1)), design.apply(features)])
    weights = np.ones(len(target)) if weight is None else weight * (len(target) / weight.sum())
    penalty = np.full(columns.shape[1], LOGISTIC_PENALTY)
    penalty[0] = 0.0
    slopes = np.zeros(columns.shape[1])
    slopes[0] = np.log(share / (1 - share))
    line = columns @ slopes
    loss = _log_loss(line, target, weights, slopes, penalty)
    for _ in range(50):
        chance = _inverse_logit(line)
        slope = columns.T @ (weights * (chance - target)) + penalty * slopes
        curvature = (columns * (weights * chance * (1 - chance))[:, None]).T @ columns
        step = np.linalg.solve(curvature + np.diag(penalty + 1e-9), slope)
        size = 1.0
        while size > 1e-6:
            moved = columns @ (slopes - size * step)
            found = _log_loss(moved, target, weights, slopes - size * step, penalty)
            if found <= loss:
                break
            size /= 2
        else:
            break
        slopes, line, gained, loss = slopes - size * step, moved, loss - found, found
        if gained <= 1e-10 * (1 + abs(loss)):
            break
    return Linear(design, float(slopes[0]), slopes[1:], logistic=True)


def _inverse_logit(line: FloatArray) -> FloatArray:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * line)))


def _log_loss(
    line: FloatArray, target: FloatArray, weights: FloatArray, slopes: FloatArray, penalty: FloatArray
) -> float:
    return float(weights @ (np.logaddexp(0.0, line) - target * line) + 0.5 * penalty @ slopes**2)


@dataclass(frozen=True, eq=False)
class Trees:
    """Boosted trees of scikit-learn."""

    boosted: Any
    probability: bool
    columns: BoolArray
    """(d,), which columns had a known value where it was fitted."""

    def predict(self, features: FloatArray) -> FloatArray:
        """Return (n,): probabilities where it was fitted to 0 and 1."""
        features = features if self.columns.all() else features[:, self.columns]
        with one_thread():
            if self.probability:
                return np.asarray(self.boosted.predict_proba(features)[:, 1], dtype=np.float64)
            return np.asarray(self.boosted.predict(features), dtype=np.float64)


def growth(rows: float, *, effect: bool) -> dict[str, float | int]:
    """Return how many trees to boost, at which rate, and how large their leaves must be: more of all with more rows.

    Effects are small beside the noise of what they are learned from, so they take fewer trees and larger leaves than
    outcomes. Chosen on surfaces with known effects (experiments/simulating/surfaces.py, seeds 101 and 102, 15,000 and
    60,000 rows). Rates rise to .1 before there are more than 50 trees, and 100 trees are the most, for speed.

    Args:
        rows: that say as much as those at hand, see `regress`.
        effect: whether effects are learned, rather than outcomes.

    >>> growth(30_000, effect=True)
    {'max_iter': 35, 'learning_rate': 0.05, 'min_samples_leaf': 1212}
    >>> growth(500_000, effect=False)
    {'max_iter': 100, 'learning_rate': 0.1, 'min_samples_leaf': 1414}
    """
    root = float(np.sqrt(rows))
    strength, leaf, least = (0.01 * root, 7.0, 1.0) if effect else (0.0175 * root, 2.0, 2.0)
    strength = min(max(strength, least), 10.0)
    rate = min(max(strength / 50, 0.05), 0.1)
    return {"max_iter": round(strength / rate), "learning_rate": rate, "min_samples_leaf": int(max(leaf * root, 50))}


def trees(
    features: FloatArray,
    target: FloatArray,
    weight: FloatArray | None = None,
    *,
    kind: Kind = "outcome",
    worth: float = 1.0,
    seed: int = 0,
) -> Predictor:
    """Fit boosted trees with the pinned settings.

    Args:
        features: (n, d), NaN is missing.
        target: (n,).
        weight: (n,), positive; ``None``: all alike.
        kind: of the target, see `regress`.
        worth: of a row, see `regress`.
        seed: of the rows that bins are learned from, where there are more than 200,000.
    """
    mean = float(np.average(target, weights=weight))
    # Bins cannot be made of a column of which nothing is known among these rows (scikit-learn 1.9 fails).
    columns: BoolArray = np.asarray(~np.isnan(features).all(axis=0))
    if len(target) < LEAST_FOR_TREES or not columns.any() or float(target.min()) == float(target.max()):
        return Constant(mean)
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    binary = kind == "binary"
    boosting = HistGradientBoostingClassifier if binary else HistGradientBoostingRegressor
    model = boosting(**TREES, **growth(len(target) * worth, effect=kind == "effect"), random_state=seed)
    known = features if columns.all() else features[:, columns]
    with one_thread():
        model.fit(known, target.astype(np.intp) if binary else target, sample_weight=weight)
    return Trees(model, binary, columns)


def regress(
    features: FloatArray,
    target: FloatArray,
    base: Base,
    *,
    kind: Kind = "outcome",
    weight: FloatArray | None = None,
    worth: float = 1.0,
    seed: int = 0,
) -> Predictor:
    """Fit one regression of either base.

    Args:
        features: (n, d), NaN is missing.
        target: (n,).
        base: ``linear`` or ``trees``.
        kind: ``binary``: 0 or 1, and the probability is sought; ``outcome``: any number; ``effect``: something whose
            mean is an effect.
        weight: (n,), positive; ``None``: all alike.
        worth: of a row, against one whose target has the noise of a plain outcome; below 1 for pseudo-outcomes that
            were divided by a propensity.
        seed: for trees.

    Raises:
        ValueError: there are no rows, or the base is not known.
    """
    if not len(target):
        raise ValueError("there are no rows to learn from")
    if base == "trees":
        return trees(features, target, weight, kind=kind, worth=worth, seed=seed)
    if base != "linear":
        raise ValueError(f"the base must be linear or trees, not {base}")
    if features.shape[1] == 0:
        return Constant(float(np.average(target, weights=weight)))
    return logistic(features, target, weight) if kind == "binary" else ridge(features, target, weight)
