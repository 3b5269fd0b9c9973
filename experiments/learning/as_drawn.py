"""The probabilities that a version would be drawn from: its own, spread over what may be drawn, floors and all.

The same as `allocation.bandits.drawing` does for one member, for all rows at once: what the gate and the off-policy
table value is what members would meet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from allocation.bandits.policy import Policy
    from allocation.plan import BanditPlan

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Floors:
    """What every version of an experiment's policy is drawn with.

    Attributes:
        explore: share of the draws that is spread over the eligible ones.
        least: each variant's least probability, shape (K,).
        split: the control group's shares, shape (K,), before eligibility.
    """

    explore: float
    least: tuple[float, ...]
    split: tuple[float, ...]

    @classmethod
    def of(cls, plan: BanditPlan, weights: Mapping[str, int]) -> Floors:
        """Return the floors of a published plan.

        Args:
            plan: how the policy draws.
            weights: variant → parts, of all variants in their order.

        >>> from allocation.plan import BanditPlan
        >>> Floors.of(BanditPlan(min_shares={"a": "0.1"}), {"control": 1, "a": 2})
        Floors(explore=0.02, least=(0.0, 0.1), split=(1.0, 1.0))
        """
        from fractions import Fraction

        least = tuple(
            float(max(Fraction(kind.get(key, "0")) for kind in (plan.min_shares, plan.forced))) for key in weights
        )
        split = tuple(float(w) if plan.control_split == "weights" else 1.0 for w in weights.values())
        return cls(float(Fraction(plan.explore)), least, split)


def drawn_evenly(eligible: Mask, floors: Floors, group: Literal["policy", "uniform"] = "policy") -> Floats:
    """Return what a cold start (``policy``) or the control group (``uniform``) draws from.

    Args:
        eligible: which variants could be drawn, shape (n, K).
        floors: least shares apply to a cold start; the control group is split without them.
        group: who draws.

    >>> drawn_evenly(np.array([[True, True, False]]), Floors(0.02, (0.0,) * 3, (1.0,) * 3)).tolist()
    [[0.5, 0.5, 0.0]]
    """
    if group == "policy":
        return floored(_shares(eligible.astype(np.float64)), eligible, floors)
    return _shares(eligible * np.asarray(floors.split))


def drawn_by(
    policy: Policy,
    variants: Sequence[str],
    columns: Mapping[str, npt.NDArray[Any]],
    eligible: Mask,
    floors: Floors,
) -> Floats:
    """Return what a version draws from, shape (n, K): 0 where not eligible; each row sums to 1.

    Args:
        policy: the version.
        variants: the experiment's, in order; one that the version does not know gets what the floors leave it.
        columns: raw attributes by name, each of shape (n,).
        eligible: which variants could be drawn, shape (n, K).
        floors: of the experiment.
    """
    n = len(eligible)
    known = {key: place for place, key in enumerate(policy.variants)}
    place = [known.get(key) for key in variants]
    mine = np.zeros((n, len(policy.variants)), dtype=np.bool_)
    for k, at in enumerate(place):
        if at is not None:
            mine[:, at] = eligible[:, k]
    found = policy.probabilities_batch(policy.encoder.encode_columns(columns, n), mine)
    p = np.zeros(eligible.shape)
    for k, at in enumerate(place):
        if at is not None:
            p[:, k] = found[:, at]
    strange = p.sum(axis=1) == 0  # it knows none of those who are eligible
    p[strange] = _shares(eligible[strange].astype(np.float64))
    return floored(p, eligible, floors)


def floored(p: Floats, eligible: Mask, floors: Floors) -> Floats:
    """Spread ``explore``, then raise single variants to their least: `allocation.bandits.probabilities.floor` by rows.

    >>> floored(np.array([[1.0, 0.0]]), np.array([[True, True]]), Floors(0.02, (0.0, 0.0), (1.0, 1.0))).tolist()
    [[0.99, 0.01]]
    """
    count = eligible.sum(axis=1, keepdims=True)
    even = np.divide(floors.explore, count, out=np.zeros(count.shape), where=count > 0)
    p = np.where(eligible, (1.0 - floors.explore) * p + even, 0.0)
    lowest = np.where(eligible, np.asarray(floors.least), 0.0)
    short = (p < lowest).any(axis=1)
    if not short.any():
        return p
    least = np.where(eligible[short], np.maximum(even[short], lowest[short]), 0.0)
    taken = least.sum(axis=1, keepdims=True)
    above = np.maximum(p[short] - least, 0.0)
    rest = above.sum(axis=1, keepdims=True)
    raised = least + above * np.divide(1.0 - taken, rest, out=np.zeros(rest.shape), where=rest > 0)
    p[short] = np.where(taken >= 1.0, least / np.where(taken > 0, taken, 1.0), raised)
    return p


def _shares(parts: Floats) -> Floats:
    total = parts.sum(axis=1, keepdims=True)
    shares: Floats = np.divide(parts, total, out=np.zeros(parts.shape), where=total > 0)
    return shares
