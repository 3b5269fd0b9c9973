"""Models of who responds: S, T, X, DR and R learners over linear and boosted bases, one effect an offer.

Propensities come from the log of assignments and are never estimated. Where they differ from unit to unit, rows are
weighted by their inverse wherever a regression would otherwise see one arm's units only. Nuisances of DR and R are
predicted for units that they were not fitted on.

Reference:
    S, T, X: Künzel, Sekhon, Bickel & Yu (2019), Metalearners for estimating heterogeneous treatment effects using
    machine learning, PNAS 116(10), eqs. 2–9.
    DR: Kennedy (2023), Towards optimal doubly robust estimation of heterogeneous causal effects, EJS 17(2), alg. 1.
    R: Nie & Wager (2021), Quasi-oracle estimation of heterogeneous treatment effects, Biometrika 108(2), eq. 4.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from stats.uplift.bases import Base, Kind, Predictor, regress
from stats.uplift.folds import assign, canonical_order
from stats.uplift.trial import FloatArray, IntArray, Trial
from stats.uplift.valuing import doubly_robust_scores

Learner = Literal["s", "t", "x", "dr", "r"]
LEARNERS: tuple[Learner, ...] = ("s", "t", "x", "dr", "r")

MANY_ROWS = 200_000
"""Beyond this, two folds for nuisances are as good as more, and a good deal faster."""
LEAST_ROWS = 4
"""Of each arm in each fold, below which there is nothing to fit."""


class Effects(Protocol):
    """Predicts the effect of each offer."""

    def predict(self, features: FloatArray) -> FloatArray:
        """Return (n, K) for features (n, d)."""
        ...


class Outcomes(Protocol):
    """Predicts the outcome under each arm."""

    def predict(self, features: FloatArray) -> FloatArray:
        """Return (n, K + 1) for features (n, d)."""
        ...


@dataclass(frozen=True, eq=False)
class ByArm:
    """One regression an arm."""

    predictors: tuple[Predictor, ...]

    def predict(self, features: FloatArray) -> FloatArray:
        """Return (n, K + 1)."""
        return np.column_stack([one.predict(features) for one in self.predictors])


@dataclass(frozen=True, eq=False)
class Joint:
    """One regression for all arms, which sees the arm (linear: and its products with every column)."""

    predictor: Predictor
    arms: int
    products: bool

    def predict(self, features: FloatArray) -> FloatArray:
        """Return (n, K + 1)."""
        given = [np.full(len(features), arm, dtype=np.intp) for arm in range(self.arms)]
        return np.column_stack(
            [self.predictor.predict(with_arm(features, arm, self.arms, products=self.products)) for arm in given]
        )


@dataclass(frozen=True, eq=False)
class Differences:
    """Effects of S and T: predicted outcomes less that under control."""

    outcomes: Outcomes

    def predict(self, features: FloatArray) -> FloatArray:
        """Return (n, K)."""
        expected = self.outcomes.predict(features)
        return np.asarray(expected[:, 1:] - expected[:, :1])


@dataclass(frozen=True, eq=False)
class Direct:
    """Effects of DR and R: one regression an offer."""

    predictors: tuple[Predictor, ...]

    def predict(self, features: FloatArray) -> FloatArray:
        """Return (n, K)."""
        return np.column_stack([one.predict(features) for one in self.predictors])


@dataclass(frozen=True, eq=False)
class Crossed:
    """Effects of X: a mean of what was imputed for control units and for those with the offer."""

    on_control: tuple[Predictor, ...]
    on_offer: tuple[Predictor, ...]
    weight: tuple[float, ...]
    """Of the control's, an offer: the propensity of the offer against control."""

    def predict(self, features: FloatArray) -> FloatArray:
        """Return (n, K)."""
        parts = zip(self.weight, self.on_control, self.on_offer, strict=True)
        return np.column_stack([g * c.predict(features) + (1 - g) * o.predict(features) for g, c, o in parts])


@dataclass(frozen=True, eq=False)
class Model:
    """A fitted learner.

    Attributes:
        learner: which.
        base: of its regressions.
        effect_model: predicts effects.
        outcome_model: predicts outcomes under each arm.
        shares: (K + 1,) of the rows that were given each arm.
        low: least outcome that is possible (of 0 and 1, or of rows that were all ≥ 0); −∞ otherwise.
        high: greatest outcome that is possible.
    """

    learner: Learner
    base: Base
    effect_model: Effects
    outcome_model: Outcomes
    shares: FloatArray
    low: float
    high: float

    def effects(self, features: FloatArray) -> FloatArray:
        """Return each offer's effect against control, (n, K)."""
        return self.effect_model.predict(features)

    def outcomes(self, features: FloatArray) -> FloatArray:
        """Return the outcome under each arm, (n, K + 1), whose differences are the effects.

        The level is the mean over arms, as they were given, of what was predicted under each: all rows speak of it, not
        only the few of a small control. It is moved where an arm's outcome would be impossible.
        """
        effects = np.hstack([np.zeros((len(features), 1)), self.effects(features)])
        control = (self.outcome_model.predict(features) - effects) @ self.shares
        lowest, highest = self.low - effects.min(axis=1), self.high - effects.max(axis=1)
        return np.asarray(np.maximum(np.minimum(control, highest), lowest)[:, None] + effects)


@dataclass(frozen=True, eq=False)
class CrossFitted:
    """Predictions for units that the model was not fitted on.

    Attributes:
        effects: (n, K).
        outcomes: (n, K + 1).
        fold: (n,), in which each unit was left out.
        models: the model of each fold, fitted without it.
    """

    effects: FloatArray
    outcomes: FloatArray
    fold: IntArray
    models: tuple[Model, ...]


def fit(trial: Trial, learner: Learner, base: Base, *, folds: int = 5, seed: int = 0) -> Model:
    """Fit one learner to all rows.

    Args:
        trial: rows; their order makes no difference.
        learner: ``s``, ``t``, ``x``, ``dr`` or ``r``.
        base: ``linear`` or ``trees``.
        folds: of the nuisances of DR and R.
        seed: of the folds and of trees.

    Raises:
        ValueError: the learner or base is not known, or an arm has too few rows.

    >>> rng = np.random.default_rng(1)
    >>> x, arm = rng.normal(size=(4000, 1)), rng.integers(0, 2, 4000)
    >>> trial = Trial(x[:, 0] * arm + rng.normal(0, 0.1, 4000), arm, x, np.full((4000, 2), 0.5))
    >>> fit(trial, "x", "linear").effects(np.array([[-1.0], [0.0], [1.0]])).round(1)[:, 0] + 0.0
    array([-1.,  0.,  1.])
    """
    folds = 2 if trial.rows > MANY_ROWS else folds
    ready = prepare(trial, folds, seed)
    return Fitting(ready.trial, ready.fold, base, seed).model(learner)


def cross_fit(trial: Trial, learner: Learner, base: Base, *, folds: int = 5, seed: int = 0) -> CrossFitted:
    """Fit one learner once a fold without its units, and predict those.

    Args:
        trial: rows; their order makes no difference.
        learner: ``s``, ``t``, ``x``, ``dr`` or ``r``.
        base: ``linear`` or ``trees``.
        folds: three or more, so that nuisances of the rest can be cross-fitted too.
        seed: of the folds and of trees.

    Raises:
        ValueError: as `fit`.
    """
    ready = prepare(trial, folds, seed)
    return ready.unsorted(Fitting(ready.trial, ready.fold, base, seed).cross_fitted(learner))


@dataclass(frozen=True, eq=False)
class Prepared:
    """A trial in canonical order, with folds."""

    trial: Trial
    fold: IntArray
    order: IntArray

    def back(self, values: NDArray[np.float64]) -> FloatArray:
        """Return rows of values in the order that the trial came in."""
        out = np.empty_like(values)
        out[self.order] = values
        return out

    def unsorted(self, fitted: CrossFitted) -> CrossFitted:
        """Return predictions in the order that the trial came in."""
        fold = np.empty_like(fitted.fold)
        fold[self.order] = fitted.fold
        return CrossFitted(self.back(fitted.effects), self.back(fitted.outcomes), fold, fitted.models)


def prepare(trial: Trial, folds: int, seed: int) -> Prepared:
    """Put a trial in canonical order and deal folds.

    Raises:
        ValueError: fewer than two folds, or too few rows of an arm.
    """
    counts = np.bincount(trial.arm, minlength=trial.arms)
    if int(counts.min()) < LEAST_ROWS * folds:
        raise ValueError(
            f"arm {int(counts.argmin())} has {int(counts.min())} rows; "
            f"{LEAST_ROWS * folds} are needed to learn in {folds} folds"
        )
    order = canonical_order(trial, seed)
    ready = trial.take(order)
    return Prepared(ready, assign(ready.arm, folds), order)


@dataclass(frozen=True, eq=False)
class Fitting:
    """Fits learners of one base to rows with folds; outcome models are fitted once for all of them.

    Attributes:
        trial: in canonical order.
        fold: (n,), 0 … F − 1.
        base: of all regressions.
        seed: of trees.
    """

    trial: Trial
    fold: IntArray
    base: Base
    seed: int = 0
    _kept: dict[frozenset[int], ByArm] = field(default_factory=dict, repr=False)

    @property
    def folds(self) -> int:
        """How many."""
        return int(self.fold.max()) + 1

    def outcomes_without(self, *held: int) -> ByArm:
        """Return the outcome models that were fitted without the units of some folds."""
        key = frozenset(held)
        if key not in self._kept:
            rows = self.trial if not held else self.trial.take(~np.isin(self.fold, held))
            self._kept[key] = ByArm(
                tuple(self._arm_model(rows, arm) for arm in range(self.trial.arms)),
            )
        return self._kept[key]

    def nuisances(self, held: int | None = None) -> FloatArray:
        """Return (n, K + 1) outcomes by models that saw neither a unit's own fold nor ``held``; NaN for units of it."""
        out = np.full((self.trial.rows, self.trial.arms), np.nan)
        for fold in range(self.folds):
            if fold != held:
                rows = self.fold == fold
                without = (fold,) if held is None else (fold, held)
                out[rows] = self.outcomes_without(*without).predict(self.trial.features[rows])
        return out

    def cross_fitted(self, learner: Learner) -> CrossFitted:
        """Fit without each fold, and predict it.

        Raises:
            ValueError: fewer than three folds.
        """
        if self.folds < 3:
            raise ValueError("cross-fitting takes three folds or more")
        effects = np.empty((self.trial.rows, self.trial.arms - 1))
        outcomes = np.empty((self.trial.rows, self.trial.arms))
        models = tuple(self.model(learner, held) for held in range(self.folds))
        for held, model in enumerate(models):
            rows = self.fold == held
            outcomes[rows] = model.outcomes(self.trial.features[rows])
            effects[rows] = outcomes[rows, 1:] - outcomes[rows, :1]
        return CrossFitted(effects, outcomes, self.fold, models)

    def model(self, learner: Learner, held: int | None = None) -> Model:
        """Fit a learner to all units, or to those that are not in fold ``held``.

        Raises:
            ValueError: the learner is not known.
        """
        if learner not in LEARNERS:
            raise ValueError(f"the learner must be one of {', '.join(LEARNERS)}, not {learner}")
        inside = np.ones(self.trial.rows, dtype=bool) if held is None else self.fold != held
        rows = self.trial if held is None else self.trial.take(inside)
        outcomes: Outcomes = self._joint_model(rows) if learner == "s" else self.outcomes_without(*_given(held))
        effects: Effects
        if learner in ("s", "t"):
            effects = Differences(outcomes)
        elif learner == "x":
            effects = self._crossed(rows, outcomes)
        elif learner == "dr":
            effects = self._doubly_robust(rows, self.nuisances(held)[inside])
        else:
            effects = self._residual(rows, self.nuisances(held)[inside])
        shares = np.bincount(rows.arm, minlength=rows.arms) / rows.rows
        low = 0.0 if float(self.trial.outcome.min()) >= 0 else -np.inf
        return Model(learner, self.base, effects, outcomes, shares, low, 1.0 if self.trial.binary else np.inf)

    def _outcome(self, features: FloatArray, rows: Trial) -> Predictor:
        kind: Kind = "binary" if self.trial.binary else "outcome"
        weight = inverse_propensity(rows)
        return regress(features, rows.outcome, self.base, kind=kind, weight=weight, seed=self.seed % 2**32)

    def _effect(
        self, features: FloatArray, target: FloatArray, weight: FloatArray | None = None, worth: float = 1.0
    ) -> Predictor:
        return regress(features, target, self.base, kind="effect", weight=weight, worth=worth, seed=self.seed % 2**32)

    def _arm_model(self, rows: Trial, arm: int) -> Predictor:
        own = rows.take(rows.arm == arm)
        return self._outcome(own.features, own)

    def _joint_model(self, rows: Trial) -> Joint:
        products = self.base == "linear"
        seen = with_arm(rows.features, rows.arm, rows.arms, products=products)
        return Joint(self._outcome(seen, rows), rows.arms, products)

    def _crossed(self, rows: Trial, outcomes: Outcomes) -> Crossed:
        """What a unit would have done in the other arm is predicted by that arm's model, which never saw the unit."""
        on_control, on_offer, weight = [], [], []
        control = rows.take(rows.arm == 0)
        expected = outcomes.predict(control.features)
        for offer in range(1, rows.arms):
            own = rows.take(rows.arm == offer)
            gained = own.outcome - outcomes.predict(own.features)[:, 0]
            on_offer.append(self._effect(own.features, gained, inverse_propensity(own)))
            missed = expected[:, offer] - control.outcome
            on_control.append(self._effect(control.features, missed, inverse_propensity(control)))
            weight.append(own.rows / (own.rows + control.rows))
        return Crossed(tuple(on_control), tuple(on_offer), tuple(weight))

    def _doubly_robust(self, rows: Trial, expected: FloatArray) -> Direct:
        scores = doubly_robust_scores(rows.outcome, rows.arm, rows.propensity, expected)
        found = []
        for offer in range(1, rows.arms):
            worth = _worth(rows.propensity[:, 0], rows.propensity[:, offer])
            found.append(self._effect(rows.features, scores[:, offer] - scores[:, 0], worth=worth))
        return Direct(tuple(found))

    def _residual(self, rows: Trial, expected: FloatArray) -> Direct:
        """Regress residuals of outcomes on residuals of the arm, among the units of an offer and of control."""
        found = []
        for offer in range(1, rows.arms):
            both = (rows.arm == 0) | (rows.arm == offer)
            two, mean = rows.take(both), expected[both]
            chance = two.propensity[:, offer] / (two.propensity[:, 0] + two.propensity[:, offer])
            given = (two.arm == offer) - chance
            rest = two.outcome - (1 - chance) * mean[:, 0] - chance * mean[:, offer]
            varies = np.abs(given) > 1e-9
            target = np.divide(rest, given, out=np.zeros_like(rest), where=varies)
            worth = _worth(1 - chance, chance)
            found.append(self._effect(two.features[varies], target[varies], given[varies] ** 2, worth))
        return Direct(tuple(found))


def with_arm(features: FloatArray, arm: IntArray, arms: int, *, products: bool) -> FloatArray:
    """Return features with a column for each offer, and where asked for with each column's product with each of them.

    >>> with_arm(np.array([[3.0], [4.0]]), np.array([0, 1]), 2, products=True)
    array([[3., 0., 0.],
           [4., 1., 4.]])
    """
    given = [(arm == offer).astype(np.float64)[:, None] for offer in range(1, arms)]
    return np.hstack([features, *given, *([features * one for one in given] if products else [])])


def inverse_propensity(rows: Trial) -> FloatArray | None:
    """Return 1 / propensity of the arm that was given, ``None`` where it is the same within each arm.

    >>> inverse_propensity(Trial(np.zeros(2), np.array([0, 1]), np.zeros((2, 1)), np.array([[.2, .8], [.2, .8]])))
    """
    own = rows.propensity[np.arange(rows.rows), rows.arm]
    for arm in np.unique(rows.arm):
        given = own[rows.arm == arm]
        if float(given.max() - given.min()) > 1e-9:
            return np.asarray(1.0 / own)
    return None


def _worth(control: FloatArray, offer: FloatArray) -> float:
    """Return the noise of an outcome over that of an effect which was divided by propensities, at most 1."""
    both = (control > 0) & (offer > 0)
    return float(1 / np.mean(1 / control[both] + 1 / offer[both])) if both.any() else 1.0


def _given(held: int | None) -> tuple[int, ...]:
    return () if held is None else (held,)
