"""Who should get which offer, and whether that is shown to earn more than one offer for all.

Everything that is learned is valued on units that it was not fitted on: predictions come from models that were fitted
without the unit's fold, and so do the thresholds of rules and the questions of the tree. Values are doubly robust, in
money, with propensities from the log (Athey & Wager 2021).

The best single offer, which a choice by unit has to beat, is one and the same for all units: the one that earned most.
That it was picked for earning most flatters it, so the bar is rather too high. Picked fold by fold, it would be another
one in each fold where several earn about the same, each time the one that did badly where it is valued: a bar far below
every single offer, over which anything gets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from stats.uplift import policy_tree
from stats.uplift.bases import Base
from stats.uplift.choosing import CANDIDATES, Choice, choose
from stats.uplift.folds import canonical_order
from stats.uplift.learners import Learner, Model, fit
from stats.uplift.prices import Prices
from stats.uplift.trial import FloatArray, IntArray, Trial
from stats.uplift.valuing import Value, doubly_robust_scores, gain

WIDER = 1.1
"""By how much standard errors of what learned policies earn are widened.

Folds learn from one another: by luck an offer does well on some units of one fold, the others' policies give it to
such units, and luck counts twice. Where offers are close to break-even for many units, errors of cross-fitted values
are then 1.15 to 1.25 times as large as the usual standard error (bench/simulations/uplift.py; Luedtke & van der Laan
2016, Annals of Statistics 44(2), on why: the best policy is not unique there). Far from it they are as large as the
usual one, and intervals a little too wide. Policies that are given and not learned are as usual, and so are gains over
the best single offer: that it was picked for earning most flatters it and makes gains look half a standard error to a
whole one too small, where several earn about the same. Of 1,020 simulated gains, 8 were further above the truth than
1.96 standard errors (26 would be by chance alone).
"""


@dataclass(frozen=True, eq=False)
class PolicyResult:
    """A way to choose who gets what, valued on units that it was not fitted on.

    Attributes:
        choice: (n,), the arm of each unit.
        value: money a unit, against giving nobody anything.
        gain: money a unit, against the best single arm for all.
        treated: share of the units that get any offer.
        cost: expected cost of offers and contacts, money a unit.
        mix: share of the units that get each arm.
    """

    choice: IntArray
    value: Value
    gain: Value
    treated: float
    cost: float
    mix: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Recommended:
    """What came out.

    Attributes:
        choice: the learners that were tried.
        predicted_net: (n, K + 1), money a unit under each arm, by models that were not fitted on the unit.
        scores: (n, K + 1), doubly robust, in money.
        policies: code → result: ``personalised``, ``best_single``, ``tree``, ``none``, ``all:1`` …, ``response``,
            ``random``, and ``rfm`` where such a score was given.
        evidence: whether the interval of the personalised policy's gain over the best single arm lies above zero.
        best_single: the arm with the greatest mean score over all units; 0: nobody gets anything.
        recommended: code: ``personalised`` with evidence, otherwise ``best_single``.
        tree: of at most two questions, fitted to all units; ``None`` where columns have no names.
    """

    choice: Choice
    predicted_net: FloatArray
    scores: FloatArray
    policies: dict[str, PolicyResult]
    evidence: bool
    best_single: int
    recommended: str
    tree: policy_tree.Tree | None


def recommend(
    trial: Trial,
    prices: Prices,
    *,
    redemptions: FloatArray | None = None,
    redemption: FloatArray | None = None,
    earned: FloatArray | None = None,
    rfm: FloatArray | None = None,
    names: Sequence[str] | None = None,
    candidates: Sequence[tuple[Learner, Base]] = CANDIDATES,
    folds: int = 5,
    seed: int = 0,
    alpha: float = 0.05,
) -> Recommended:
    """Learn who responds, decide by money, and value that beside simpler ways.

    Args:
        trial: rows; their order makes no difference.
        prices: of outcomes and arms.
        redemptions: (n,), how often each unit redeemed its offer, where that was seen.
        redemption: (n, K + 1), what a redemption of each arm's offer costs with each unit, where units differ in it;
            ``None``: as ``prices`` say.
        earned: (n,), what each unit earned, net of what its own arm cost, where that was seen: policies are valued in
            it. ``None``: the worth of its outcome less its redemptions and contact.
        rfm: (n,), a score of recency, frequency and money; the rule gives the best offer to those who rank highest.
        names: of the columns, for the tree's questions; ``None``: no tree.
        candidates: learner and base.
        folds: three or more.
        seed: of the folds and of trees.
        alpha: 1 − confidence of all intervals.

    Raises:
        ValueError: fewer than three folds, too few rows of an arm, or prices of other arms.

    >>> rng = np.random.default_rng(1)
    >>> x, arm = rng.normal(size=(4000, 1)), rng.integers(0, 2, 4000)
    >>> trial = Trial(x[:, 0] * arm + rng.normal(size=4000), arm, x, np.full((4000, 2), 0.5))
    >>> found = recommend(trial, Prices.none(2), candidates=[("x", "linear")])
    >>> found.recommended, found.policies["personalised"].gain.ci_low > 0.3
    ('personalised', True)
    """
    if len(prices.contact) != trial.arms:
        raise ValueError(f"there are prices of {len(prices.contact)} arms, and {trial.arms} arms")
    chosen = choose(trial, candidates, folds=folds, seed=seed)
    own = prices if redemption is None else replace(prices, redemption=redemption)
    net = own.net(chosen.fitted.outcomes)
    # What units redeemed is counted in their arm's mean cost.
    billed = own if redemptions is None else prices
    money = billed.realised(trial.outcome, trial.arm, redemptions) if earned is None else earned
    scores = doubly_robust_scores(money, trial.arm, trial.propensity, own.net(chosen.expected))
    spent = billed.spent(trial.outcome, trial.arm, redemptions)
    costs = doubly_robust_scores(spent, trial.arm, trial.propensity, own.expected_cost(chosen.expected))
    fold = chosen.fold
    best = int(scores.mean(axis=0).argmax())
    choices = {
        "personalised": net.argmax(axis=1).astype(np.intp),
        "best_single": np.full(trial.rows, best, dtype=np.intp),
        "none": np.zeros(trial.rows, dtype=np.intp),
    }
    choices |= {f"all:{arm}": np.full(trial.rows, arm, dtype=np.intp) for arm in range(1, trial.arms)}
    tree = None
    if names:
        tree = policy_tree.fit(scores, trial.features, names)
        choices["tree"] = _tree(scores, trial.features, names, fold)
    shares = np.bincount(trial.arm, minlength=trial.arms) / trial.rows
    choices["response"] = above_threshold(scores, chosen.expected @ shares, fold)
    if rfm is not None:
        choices["rfm"] = above_threshold(scores, rfm, fold)
    luck = np.empty(trial.rows)
    # Of the rows in order, so that rows that say the same do not stand together: their outcome is the same too.
    luck[canonical_order(trial, seed)] = np.random.default_rng(seed).permutation(trial.rows)
    choices["random"] = above_threshold(scores, luck, fold)
    given = ("none", *(f"all:{arm}" for arm in range(1, trial.arms)))
    policies = {
        code: valued(choice, choices["best_single"], scores, costs, alpha, learned=code not in given)
        for code, choice in choices.items()
    }
    evidence = policies["personalised"].gain.ci_low > 0
    return Recommended(
        chosen,
        net,
        scores,
        policies,
        evidence,
        best,
        "personalised" if evidence else "best_single",
        tree,
    )


def widened(value: Value, factor: float) -> Value:
    """Return a value with its standard error and interval ``factor`` times as wide.

    >>> widened(Value(1.0, 0.5, 0.0, 2.0), 2.0)
    Value(estimate=1.0, std_error=1.0, ci_low=-1.0, ci_high=3.0)
    """
    low, high = (value.estimate + factor * (bound - value.estimate) for bound in (value.ci_low, value.ci_high))
    return Value(value.estimate, value.std_error * factor, low, high)


def above_threshold(scores: FloatArray, priority: FloatArray, fold: IntArray) -> IntArray:
    """Return the policy that gives one offer to those who rank highest: which offer, and down to where, by other folds.

    Args:
        scores: (n, K + 1), in money.
        priority: (n,), greater comes first; units of one priority are treated alike.
        fold: (n,).

    >>> scores = np.array([[0.0, 2.0], [0.0, -1.0]] * 4)
    >>> above_threshold(scores, np.array([5.0, 1.0] * 4), np.arange(8) // 4).tolist()
    [1, 0, 1, 0, 1, 0, 1, 0]
    """
    out = np.zeros(len(scores), dtype=np.intp)
    for held in np.unique(fold):
        rest, own = fold != held, fold == held
        order = np.argsort(-priority[rest], kind="stable")
        ranked = priority[rest][order]
        last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
        gains = np.cumsum((scores[rest, 1:] - scores[rest, :1])[order], axis=0)[last]
        place, offer = np.unravel_index(int(gains.argmax()), gains.shape)
        if gains[place, offer] > 0:
            # Down to the last one means everybody, also those who rank below whoever was seen.
            everybody = place == len(last) - 1
            out[own & (everybody | (priority >= ranked[last[place]]))] = offer + 1
    return out


def _tree(scores: FloatArray, features: FloatArray, names: Sequence[str], fold: IntArray) -> IntArray:
    out = np.zeros(len(scores), dtype=np.intp)
    for held in np.unique(fold):
        rest, own = fold != held, fold == held
        out[own] = policy_tree.fit(scores[rest], features[rest], names).choice(features[own])
    return out


def valued(
    choice: IntArray, single: IntArray, scores: FloatArray, costs: FloatArray, alpha: float, *, learned: bool = True
) -> PolicyResult:
    """Return what a choice is worth, against nobody and against the best single arm.

    Args:
        choice: (n,), the arm of each unit.
        single: (n,), the best single arm.
        scores: (n, K + 1), doubly robust, in money.
        costs: (n, K + 1), likewise, of what arms cost.
        alpha: 1 − confidence.
        learned: whether the choice was learned from these units (on other folds), or given.
    """
    nobody = np.zeros_like(choice)
    mix = np.bincount(choice, minlength=scores.shape[1]) / len(choice)
    return PolicyResult(
        choice,
        widened(gain(scores, choice, nobody, alpha), WIDER if learned else 1.0),
        gain(scores, choice, single, alpha),
        float(1 - mix[0]),
        float(costs[np.arange(len(choice)), choice].mean()),
        tuple(float(share) for share in mix),
    )


@dataclass(frozen=True, eq=False)
class Scorer:
    """A model fitted to all units, that says what each arm would earn and cost for units to come.

    Attributes:
        model: of effects and outcomes.
        prices: of outcomes and arms.
    """

    model: Model
    prices: Prices

    @classmethod
    def fit(
        cls, trial: Trial, prices: Prices, learner: Learner, base: Base, *, folds: int = 5, seed: int = 0
    ) -> Scorer:
        """Fit; the same rows, in any order, and the same settings give the same numbers.

        Raises:
            ValueError: too few rows of an arm, or prices of other arms.
        """
        if len(prices.contact) != trial.arms:
            raise ValueError(f"there are prices of {len(prices.contact)} arms, and {trial.arms} arms")
        return cls(fit(trial, learner, base, folds=folds, seed=seed), prices)

    def net(self, features: FloatArray) -> FloatArray:
        """Return what each arm would earn, net of its cost, money a unit, (n, K + 1)."""
        return self.prices.net(self.model.outcomes(features))

    def cost(self, features: FloatArray) -> FloatArray:
        """Return what each arm's offer would cost in redemptions and contact, money a unit, (n, K + 1)."""
        return self.prices.expected_cost(self.model.outcomes(features))

    def choice(self, features: FloatArray) -> IntArray:
        """Return the arm that would earn most for each unit, (n,); control where arms are equal."""
        return np.asarray(self.net(features).argmax(axis=1), dtype=np.intp)
