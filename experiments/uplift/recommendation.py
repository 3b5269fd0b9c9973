"""From rows to the recommendation: who should get which offer, what that is worth, and whether the data can say so.

Where the arms were not drawn at random nothing of this is said: only what speaks against it, and what would be needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from experiments.report.audience import Names, rule_text
from experiments.report.document import Text
from experiments.report.software import software
from experiments.uplift.checks import causal, checks_of
from experiments.uplift.content import sealed
from experiments.uplift.curves import curves_of
from experiments.uplift.document import Arm, Candidate, PolicyValue, ProfileRow, Recommendation
from experiments.uplift.intervals import finite, interval_of
from experiments.uplift.learned import Learned
from experiments.uplift.profile import profile_of
from experiments.uplift.rules import Kinds, SayableTree, sayable_tree
from experiments.uplift.warnings import warning_texts
from experiments.uplift.words import Wording, method_texts, policy_label
from stats.uplift.baselines import rfm
from stats.uplift.prices import Prices
from stats.uplift.randomised import Diagnosis, diagnose
from stats.uplift.recommending import PolicyResult, Recommended, recommend
from stats.uplift.trial import FloatArray
from stats.uplift.valuing import doubly_robust_scores, gain


@dataclass(frozen=True)
class About:
    """What a recommendation is of, beside the rows."""

    title: Text
    experiment: str | None = None
    phase: int | None = None
    source: str | None = None
    unit_type: str = "member"
    arm_names: Mapping[str, Text] = field(default_factory=dict)
    offers: Mapping[str, str] = field(default_factory=dict)
    """Arm → key of its offer."""
    names: Names = field(default_factory=Names)
    kinds: Kinds = field(default_factory=dict)
    """Attribute → type, of those that an audience rule may name."""
    data_until: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    observational: bool = False
    """Nobody drew the arms."""


@dataclass(frozen=True, eq=False)
class Written:
    """A recommendation with what it was written from."""

    document: Recommendation
    learned: Learned
    found: Recommended | None
    """``None`` where the data bear no words of cause and effect."""


def recommendation_of(
    learned: Learned, about: About, *, alpha: float = 0.05, seed: int = 0, folds: int = 5
) -> Recommendation:
    """Return the document of `write_recommendation` alone."""
    return write_recommendation(learned, about, alpha=alpha, seed=seed, folds=folds).document


def write_recommendation(
    learned: Learned, about: About, *, alpha: float = 0.05, seed: int = 0, folds: int = 5
) -> Written:
    """Learn, decide, value, and write it down.

    Args:
        learned: the rows.
        about: what they are of.
        alpha: 1 − confidence of all intervals.
        seed: of folds, trees and bootstraps; the same rows and the same seed give the same document.
        folds: of cross-fitting.
    """
    planned = learned.logged or bool(learned.weights)
    diagnosis = diagnose(learned.trial, learned.encoder.names, logged=planned, seed=seed)
    writing = _Writing(learned, about, diagnosis, alpha, seed, folds)
    document = writing.document()
    return Written(document, learned, writing.found if document.causal else None)


@dataclass(frozen=True)
class _Writing:
    """Rows on their way to a document."""

    learned: Learned
    about: About
    diagnosis: Diagnosis
    alpha: float
    seed: int
    folds: int

    def document(self) -> Recommendation:
        """Return the document."""
        checks = checks_of(self.learned, self.diagnosis, observational=self.about.observational)
        if not causal(checks):
            return sealed(self._document(checks=checks, causal=False, sentence=self.words.refused(checks)))
        found = self.found
        arms = self._arms()
        policies = self._policies()
        recommended = found.recommended
        evidence = found.evidence
        rule = self.tree.rule if evidence and self.tree is not None else None
        profile, group = self._profile()
        return sealed(
            self._document(
                checks=checks,
                causal=True,
                arms=arms,
                candidates=self._candidates(),
                evidence=evidence,
                recommended=recommended,
                offer=None if evidence else self.learned.arms[found.best_single],
                sentence=self.words.sentence(policies, found.best_single, evidence=evidence),
                reasons=self.words.reasons(policies, found.best_single, evidence=evidence),
                policies=policies,
                curves=curves_of(self.learned, found, self.alpha, self.seed),
                profile=profile,
                rule=rule,
                rule_text=rule_text(rule, self.about.names) if rule else {},
                warnings=warning_texts(self.learned, group, self.words),
                methods=method_texts(self.learned, found, self.alpha, self.folds),
            )
        )

    def _document(self, **parts: Any) -> Recommendation:
        """Return the document with what every one says."""
        learned, about = self.learned, self.about
        basic = {
            "title": dict(about.title),
            "experiment": about.experiment,
            "phase": about.phase,
            "source": about.source,
            "unit_type": about.unit_type,
            "outcome": learned.outcome,
            "outcome_label": dict(learned.outcome_label),
            "currency": learned.currency,
            "value_of_outcome": learned.prices.value,
            "alpha": self.alpha,
            "rows": learned.trial.rows,
            "arms": self._plain_arms(),
            "attributes": list(learned.columns),
            "settings": self._settings(parts.get("causal", False)),
            "data_until": about.data_until,
            "software": {"equipoise": software()},
        }
        return Recommendation(**{**basic, **parts})

    def _settings(self, fitted: bool) -> dict[str, Any]:
        prices = self.learned.prices
        common = {
            **self.about.settings,
            "seed": self.seed,
            "folds": self.folds,
            "prices": {
                "value": prices.value,
                "values": prices.worth.tolist(),
                "redemption": prices.redemption.tolist(),
                "redeemed": prices.redeemed.tolist(),
                "contact": prices.contact.tolist(),
            },
        }
        if not fitted:
            return common
        chosen = self.found.choice.chosen
        return {**common, "learner": chosen.learner, "base": chosen.base}

    @cached_property
    def words(self) -> Wording:
        """How figures and arms read in sentences."""
        learned = self.learned
        names = {key: self.about.arm_names.get(key) or {"en": key, "zh-CN": key} for key in learned.arms}
        return Wording(learned, names, self.about.unit_type, self.alpha)

    @cached_property
    def found(self) -> Recommended:
        """What was learned."""
        learned = self.learned
        score = None if learned.rfm is None else rfm(*learned.rfm)
        return recommend(
            learned.trial,
            learned.prices,
            redemptions=learned.redemptions,
            redemption=learned.redemption,
            earned=learned.earned,
            rfm=score,
            names=learned.encoder.names,
            folds=self.folds,
            seed=self.seed,
            alpha=self.alpha,
        )

    @cached_property
    def costs(self) -> FloatArray:
        """(n, K + 1), doubly robust scores of what each arm costs in offers and contacts."""
        learned, prices = self.learned, self.learned.prices
        trial = learned.trial
        own = prices if learned.redemption is None else replace(prices, redemption=learned.redemption)
        spent = (own if learned.redemptions is None else prices).spent(trial.outcome, trial.arm, learned.redemptions)
        expected = own.expected_cost(self.found.choice.expected)
        return doubly_robust_scores(spent, trial.arm, trial.propensity, expected)

    @cached_property
    def tree(self) -> SayableTree | None:
        """The tree whose questions an audience rule can ask."""
        return sayable_tree(self.learned, self.found, self.about.kinds)

    def _plain_arms(self) -> list[Arm]:
        """Return the arms with what was counted, and no effects."""
        return [self._arm(place, key) for place, key in enumerate(self.learned.arms)]

    def _arm(self, place: int, key: str, **figures: Any) -> Arm:
        trial, prices = self.learned.trial, self.learned.prices
        own = trial.outcome[trial.arm == place]
        return Arm(
            key=key,
            name=dict(self.about.arm_names.get(key) or {"en": key, "zh-CN": key}),
            offer=self.about.offers.get(key),
            n=len(own),
            mean=float(own.mean()) if len(own) else None,
            redemption_cost=float(prices.redemption[place]),
            redeemed=float(prices.redeemed[place]),
            contact_cost=float(prices.contact[place]),
            **figures,
        )

    def _arms(self) -> list[Arm]:
        trial, found = self.learned.trial, self.found
        scores = doubly_robust_scores(trial.outcome, trial.arm, trial.propensity, found.choice.expected)
        control = np.zeros(trial.rows, dtype=np.intp)
        arms = [self._arm(0, self.learned.arms[0])]
        for place, key in enumerate(self.learned.arms[1:], start=1):
            effect = gain(scores, np.full(trial.rows, place, dtype=np.intp), control, self.alpha)
            profit = found.policies[f"all:{place}"].value
            arms.append(self._arm(place, key, effect=interval_of(effect), profit=interval_of(profit)))
        return arms

    def _candidates(self) -> list[Candidate]:
        choice = self.found.choice
        return [
            Candidate(learner=each.code, loss=finite(each.loss), chosen=each is choice.chosen)
            for each in choice.candidates
        ]

    def _policies(self) -> list[PolicyValue]:
        """Return every policy, the one that is recommended first, simple ones after."""
        found, arms = self.found, self.learned.arms
        results = dict(found.policies)
        if self.tree is not None:
            results["tree"] = self.tree.result(found, self.costs, self.alpha)
        else:
            results.pop("tree", None)
        # The best one stands there already, under its own name, where it is the best on every fold.
        same = found.policies["best_single"].mix == found.policies.get(f"all:{found.best_single}", results["none"]).mix
        singles = [f"all:{place}" for place in range(1, len(arms)) if not (same and place == found.best_single)]
        order = ["personalised", "tree", "best_single", *singles, "response", "rfm", "random", "none"]
        return [self._policy(code, results[code]) for code in order if code in results]

    def _policy(self, code: str, result: PolicyResult) -> PolicyValue:
        arms = self.learned.arms
        written = f"all:{arms[int(code[4:])]}" if code.startswith("all:") else code
        return PolicyValue(
            code=written,
            label=policy_label(code, self.words, self.found.best_single),
            value=interval_of(result.value),
            gain=None if code == "best_single" else interval_of(result.gain),
            treated=result.treated,
            cost=finite(result.cost),
            mix={key: float(share) for key, share in zip(arms, result.mix, strict=True)},
        )

    def _profile(self) -> tuple[list[ProfileRow], Text]:
        if not self.found.evidence:
            return [], {}
        return profile_of(self.learned, self.found, self.about.names, self.words)


def prices_of(settings: Mapping[str, Any]) -> Prices:
    """Return the prices that a document's ``settings`` hold."""
    found: Mapping[str, Sequence[float] | float] = settings["prices"]
    arrays = {
        name: np.asarray(found[name], dtype=np.float64) for name in ("redemption", "redeemed", "contact", "values")
    }
    return Prices(float(found["value"]), **arrays)  # type: ignore[arg-type]
