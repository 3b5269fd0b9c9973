"""What each offer would earn and cost with each member, by the model of a recommendation, fitted again.

Nothing fitted is ever stored: the same rows and settings give the same model. Where a recommendation found no evidence
that members differ, every member counts alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.errors import InputError
from experiments.sources.columns import MISSING_WORDS
from experiments.targeting.roster import Roster
from experiments.uplift.document import Recommendation, Text
from experiments.uplift.learned import Learned
from experiments.uplift.recommendation import prices_of
from experiments.uplift.values import dates_as_days, numbers_of
from stats.uplift.encoding import as_levels

FloatArray = NDArray[np.float64]
MOST_LEVELS = 5
"""That a note lists."""


@dataclass(frozen=True, eq=False)
class Scored:
    """What is expected of n members and K offers; money in major units.

    Attributes:
        value: (n, K), what an offer earns, net of its cost, beyond nothing.
        expected_cost: (n, K), of redemptions and contacts; ``None`` where nothing says how many redeem.
        outcome: (n, K), how much of the outcome an offer adds.
    """

    value: FloatArray
    expected_cost: FloatArray | None
    outcome: FloatArray


def alike(found: Recommendation, members: int) -> Scored:
    """Return the same for every member: what each offer earned in the experiment with everybody.

    Raises:
        InputError: the document does not say it.
    """
    costs = {policy.code: policy.cost for policy in found.policies}
    for policy in found.policies:
        # Where the best single choice is an arm for all, that arm is not told of again.
        if policy.code == "best_single":
            costs |= {f"all:{key}": policy.cost for key, share in policy.mix.items() if share == 1.0}
    value, cost, outcome = [], [], []
    for arm in found.arms[1:]:
        if arm.profit is None or arm.profit.estimate is None or arm.effect is None or arm.effect.estimate is None:
            raise InputError(f"the recommendation does not say what {arm.key} earns; make a new one")
        value.append(arm.profit.estimate)
        outcome.append(arm.effect.estimate)
        cost.append(costs.get(f"all:{arm.key}"))
    shape = (members, len(value))
    priced = [each for each in cost if each is not None]
    known = _priced(found) and len(priced) == len(cost)
    return Scored(
        np.broadcast_to(np.array(value), shape).copy(),
        np.broadcast_to(np.array(priced), shape).copy() if known else None,
        np.broadcast_to(np.array(outcome), shape).copy(),
    )


def score(
    learned: Learned,
    found: Recommendation,
    columns: Mapping[str, NDArray[Any]],
    redemption: FloatArray | None = None,
) -> Scored:
    """Fit a recommendation's model again and return what it expects of members.

    Args:
        learned: the rows that it was learned from.
        found: the recommendation.
        columns: attribute → values of the members, as ``learned.columns`` has them.
        redemption: (n, K + 1), what a redemption costs with each member, where that differs; by default what it cost
            in the experiment on average.

    Raises:
        InputError: the settings do not say which model, or the rows no longer fit it.
    """
    from stats.uplift.recommending import Scorer

    settings = found.settings
    if "learner" not in settings or "base" not in settings:
        raise InputError("the recommendation does not say which model it chose; make a new one")
    prices = prices_of(settings)
    if len(prices.contact) != learned.trial.arms:
        raise InputError("the experiment has other arms than when it was recommended from; make a new recommendation")
    scorer = Scorer.fit(
        learned.trial,
        prices,
        settings["learner"],
        settings["base"],
        folds=int(settings.get("folds", 5)),
        seed=int(settings.get("seed", 0)),
    )
    outcomes = scorer.model.outcomes(learned.encoder.transform(columns))
    if redemption is not None:
        prices = replace(prices, redemption=redemption)
    net = prices.net(outcomes)
    return Scored(
        net[:, 1:] - net[:, :1],
        prices.expected_cost(outcomes)[:, 1:] if _priced(found) else None,
        outcomes[:, 1:] - outcomes[:, :1],
    )


def _priced(found: Recommendation) -> bool:
    """Return whether the recommendation knows what offers cost apart from what they earn."""
    prices = prices_of(found.settings)
    return bool((prices.redemption * prices.redeemed).any() or prices.contact.any())


def columns_of(
    learned: Learned,
    roster: Roster,
    facts: Mapping[str, FloatArray],
    *,
    types: Mapping[str, str],
    at_us: int,
    time_zone: str,
) -> dict[str, NDArray[Any]]:
    """Return what the model reads of members.

    Args:
        learned: what it was learned from.
        roster: the members.
        facts: what they ordered before.
        types: attribute → declared type; empty where they come from a file.
        at_us: as of when, microseconds since 1970 UTC.
        time_zone: IANA name.

    Raises:
        InputError: an attribute that the model reads is known of no member, or is text where the model reads numbers.
    """
    columns: dict[str, NDArray[Any]] = {}
    known = {name for name, values in roster.attributes.items() if any(value is not None for value in values)}
    if lacking := [repr(name) for name in learned.encoder.attributes if name not in facts and name not in known]:
        which = "which is" if len(lacking) == 1 else "which are"
        what = "a column of that name" if len(lacking) == 1 else "columns of those names"
        raise InputError(
            f"the model reads {', '.join(lacking)}, {which} known of nobody on the list: add {what}, "
            "or have it stored with the members"
        )
    for name in learned.encoder.attributes:
        if name in facts:
            columns[name] = facts[name]
            continue
        values = roster.attributes[name]
        if types.get(name) == "date":
            at = np.full(len(values), float(at_us))
            columns[name] = dates_as_days(values, at, time_zone)
        elif learned.columns[name].dtype.kind in "fiu":
            columns[name] = _numbers(name, values)
        else:
            columns[name] = values
    return columns


def _numbers(name: str, values: NDArray[Any]) -> FloatArray:
    found = numbers_of(values)
    wrong = np.flatnonzero(np.isnan(found) & np.array([_said(value) for value in values], dtype=bool))
    if wrong.size:
        raise InputError(
            f"the model reads {name!r} as a number, and {wrong.size:,} of the list have something else, such as "
            f"{str(values[wrong[0]])[:40]!r}: correct it, or leave it empty where it is unknown"
        )
    return found


def _said(value: Any) -> bool:
    return value is not None and str(value).strip().lower() not in MISSING_WORDS


def unseen(learned: Learned, roster: Roster) -> list[Text]:
    """Return which levels of members were not there where the model was learned, so that nothing is known of them."""
    out: list[Text] = []
    for name in learned.encoder.attributes:
        if name in learned.facts or learned.columns[name].dtype.kind != "O":
            continue
        seen = set(as_levels(learned.columns[name]))
        levels = as_levels(roster.attributes[name]) if name in roster.attributes else ()
        strange = [level for level in levels if level is not None and level not in seen]
        if strange:
            label = learned.labels.get(name, {})
            listed = sorted(set(strange))[:MOST_LEVELS]
            more = "…" * (len(set(strange)) > MOST_LEVELS)
            out.append(
                {
                    "en": f"{len(strange):,} members have a {label.get('en') or name} of which nothing was learned "
                    f"({', '.join(listed)}{more}): they are scored as rare ones are.",
                    "zh-CN": f"{len(strange):,} 人的 {label.get('zh-CN') or name} 在学习数据中没有出现"
                    f"（{'、'.join(listed)}{more}），按罕见取值处理。",
                }
            )
    return out


def needed(learned: Learned) -> tuple[str, ...]:
    """Return the attributes that the model reads and that members must bring, order facts aside."""
    return tuple(name for name in learned.encoder.attributes if name not in learned.facts)
