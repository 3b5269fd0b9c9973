"""A short rule that an audience can be made of: who should get the usual offer, by at most two questions.

Only questions that a rule can ask: about attributes, not about what was ordered before, which no member carries along.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.uplift.learned import Learned
from stats.uplift import policy_tree
from stats.uplift.encoding import Column
from stats.uplift.recommending import PolicyResult, Recommended, valued
from stats.uplift.trial import FloatArray, IntArray

Kinds = Mapping[str, str]
"""Attribute → type as the project declares it; of a file ``string`` or ``number``."""
MOST_LISTED = 5
"""Levels that are listed rather than the ones left out."""
LEAST_GROUP = 0.02
"""Share of the units that must be on either side of a rule."""


@dataclass(frozen=True, eq=False)
class SayableTree:
    """A tree, what it gives to whom when its questions are learned on other units, and the rule that it is."""

    arm: int
    """The offer that it gives to some and not to others."""
    choice: IntArray
    """(n,), of trees that were fitted without the unit's fold."""
    rule: dict[str, Any] | None
    """Who gets the offer; ``None`` where everybody or nobody does, or where the tree earns no more than that."""

    def result(self, found: Recommended, costs: FloatArray, alpha: float) -> PolicyResult:
        """Return what it is worth.

        Args:
            found: with scores, and the best single choice.
            costs: (n, K + 1), scores of costs.
            alpha: 1 − confidence.
        """
        return valued(self.choice, found.policies["best_single"].choice, found.scores, costs, alpha)


def sayable_tree(learned: Learned, found: Recommended, kinds: Kinds) -> SayableTree | None:
    """Return the best tree over attributes that rules can name, ``None`` where there are none."""
    columns = learned.encoder.columns
    places = [place for place, column in enumerate(columns) if column.attribute in kinds]
    if not places:
        return None
    features = learned.trial.features[:, places]
    names = [columns[place].name for place in places]
    arm = usual_offer(found)
    scores = found.scores[:, [0, arm]]
    fold = found.choice.fold
    best: tuple[float, int, IntArray] | None = None
    for depth in (1, 2):
        choice = np.zeros(len(features), dtype=np.intp)
        for held in np.unique(fold):
            rest, own = fold != held, fold == held
            choice[own] = policy_tree.fit(scores[rest], features[rest], names, depth=depth).choice(features[own])
        worth = float(scores[np.arange(len(scores)), choice].mean())
        if best is None or worth > best[0]:  # a second question must earn something
            best = worth, depth, arm * choice
    assert best is not None  # noqa: S101 - two depths were tried
    tree = policy_tree.fit(scores, features, names, depth=best[1])
    given = float(np.mean(tree.choice(features) > 0))
    rule = None
    if LEAST_GROUP <= given <= 1 - LEAST_GROUP and best[0] > float(scores.mean(axis=0).max()):
        rule = rule_of(tree, _Asking(learned, [columns[place] for place in places], kinds))
    return SayableTree(arm, best[2], rule)


def usual_offer(found: Recommended) -> int:
    """Return the offer that most get by choosing unit by unit, or, where none does, the best one for all."""
    mix = np.asarray(found.policies["personalised"].mix[1:])
    if mix.max() > 0:
        return int(mix.argmax()) + 1
    return int(found.scores[:, 1:].mean(axis=0).argmax()) + 1


@dataclass(frozen=True, eq=False)
class _Asking:
    """How the answers of a tree are written as comparisons."""

    learned: Learned
    columns: Sequence[Column]
    kinds: Kinds

    def comparison(self, condition: policy_tree.Condition) -> dict[str, Any]:
        """Return one answer as a rule; "more" includes the unknown, where there are any."""
        column = self.columns[condition.column]
        attribute = column.attribute
        if column.kind == "number":
            return self._number(attribute, condition)
        unknown = {"attribute": attribute, "op": "exists", "value": False}
        if column.kind == "missing":
            return {**unknown, "value": condition.at_most is True}
        levels = [c.level for c in self.columns if c.attribute == attribute and c.level is not None]
        own = [column.level] if column.kind == "level" else levels
        inside = condition.at_most if column.kind == "other" else not condition.at_most
        rest = [level for level in levels if level not in own]
        pooled = any(c.attribute == attribute and c.kind == "other" for c in self.columns)
        if not inside and rest and not pooled and len(rest) < MOST_LISTED:
            own, inside = rest, True  # "is gold" says more than "is not basic"
        values = [self._level(attribute, level) for level in own if level is not None]
        single, several = ("eq", "in") if inside else ("ne", "not_in")
        rule: dict[str, Any] = (
            {"attribute": attribute, "op": single, "value": values[0]}
            if len(values) == 1
            else {"attribute": attribute, "op": several, "value": values}
        )
        # "At most" of a 0/1 column means "not this one", and the unknown are not this one either.
        return {"any": [rule, unknown]} if condition.at_most and self._has_gaps(attribute) else rule

    def _number(self, attribute: str, condition: policy_tree.Condition) -> dict[str, Any]:
        threshold = condition.threshold
        values = np.asarray(self.learned.columns[attribute], dtype=np.float64)
        known = values[~np.isnan(values)]
        whole = bool(known.size and (known == np.round(known)).all())
        if self.kinds.get(attribute) == "date":
            days = math.floor(threshold)
            rule: dict[str, Any] = {"attribute": attribute, "op": "days_since"}
            rule |= {"lte": days} if condition.at_most else {"gte": days + 1}
        elif condition.at_most:
            rule = {"attribute": attribute, "op": "lte", "value": math.floor(threshold) if whole else threshold}
        elif whole:
            rule = {"attribute": attribute, "op": "gte", "value": math.floor(threshold) + 1}
        else:
            rule = {"attribute": attribute, "op": "gt", "value": threshold}
        if condition.at_most or len(known) == len(values):
            return rule
        return {"any": [rule, {"attribute": attribute, "op": "exists", "value": False}]}

    def _level(self, attribute: str, level: str) -> Any:
        return level == "true" if self.kinds.get(attribute) == "boolean" else level

    def _has_gaps(self, attribute: str) -> bool:
        values = self.learned.columns[attribute]
        return values.dtype == object and bool((values == None).any())  # noqa: E711 - element by element


def rule_of(tree: policy_tree.Tree, asking: _Asking) -> dict[str, Any] | None:
    """Return who gets an offer by a tree, as an audience rule."""
    groups: list[dict[str, Any]] = []
    for path, leaf in tree.leaves:
        if leaf.arm == 0:
            continue
        parts = [asking.comparison(condition) for condition in _tightest(path)]
        groups.append(parts[0] if len(parts) == 1 else {"all": parts})
    groups = _merged(tree, groups, asking)
    if not groups:
        return None
    return groups[0] if len(groups) == 1 else {"any": groups}


def _tightest(path: Sequence[policy_tree.Condition]) -> list[policy_tree.Condition]:
    """Return the answers without those that another one says more narrowly."""
    kept: dict[tuple[int, bool], policy_tree.Condition] = {}
    for condition in path:
        place = condition.column, condition.at_most
        other = kept.get(place)
        narrower = other is None or (condition.threshold < other.threshold) == condition.at_most
        if narrower:
            kept[place] = condition
    return list(kept.values())


def _merged(tree: policy_tree.Tree, groups: list[dict[str, Any]], asking: _Asking) -> list[dict[str, Any]]:
    """Return one group where both answers of a second question lead to an offer: the question is not needed then."""
    out: list[dict[str, Any]] = []
    leaves = [(path, leaf.arm > 0) for path, leaf in tree.leaves]
    place = 0
    while place < len(leaves):
        path, given = leaves[place]
        twin = leaves[place + 1] if place + 1 < len(leaves) else None
        siblings = twin is not None and len(path) == 2 and len(twin[0]) == 2 and path[0] == twin[0][0]
        if siblings and given and twin is not None and twin[1]:
            out.append(asking.comparison(path[0]))
            place += 2
            continue
        if given:
            out.append(groups[sum(g for _, g in leaves[:place])])
        place += 1
    return out
