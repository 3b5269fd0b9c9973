"""A policy that learned at a shop whose truth is known, as the rows that a report is computed from.

Two kinds of members: bargain hunters buy for a coupon (control .05, coupon .20, points .06), loyal ones buy anyway
(control .15, coupon .15, points .18). A conversion earns 20; the coupon costs 4, points 1. So the coupon is best for
the first kind, points for the second, and no single variant is best for all. The policy draws evenly for ten days, then
80 % for the best variant of each kind; a tenth of the members always gets an even draw.
"""

from __future__ import annotations

import numpy as np

from allocation.bandits.encoding import Encoder, FeatureCode
from allocation.bandits.policy import Policy
from experiments.learning.rows import LearningRows
from experiments.report.bandit.logged import BINS, Drawn, Mix

VARIANTS = ("control", "coupon", "points")
CONVERTS = np.array([[0.05, 0.20, 0.06], [0.15, 0.15, 0.18]])
EARNS = np.array([20.0, 16.0, 19.0])
DAY_US = 86_400_000_000
START_DAY = 20_600
DAYS = 40
COLD_DAYS = 10
UNIFORM = 0.1
EXPLORE = 0.2
BEST = np.array([1, 2])
EVEN = np.full(3, 1 / 3)


def truth() -> dict[str, float]:
    """Return what a decision earns on average: by an even draw, by the policy once it draws, and by each variant."""
    profit = CONVERTS * EARNS
    served = np.full((2, 3), EXPLORE / 3)
    served[[0, 1], BEST] += 1 - EXPLORE
    return {
        "even": float(profit.mean()),
        "policy": float((served * profit).sum(axis=1).mean()),
        **{v: float(profit[:, k].mean()) for k, v in enumerate(VARIANTS)},
    }


def rows(n: int = 20_000, *, seed: int = 1, cold: bool = False, members: int | None = None) -> LearningRows:
    """Return matured decisions.

    Args:
        n: decisions.
        seed: of the shop.
        cold: whether no version ever drew.
        members: how many there are, n / 2 by default.
    """
    rng = np.random.default_rng(seed)
    count = members or n // 2
    kind_of = rng.integers(0, 2, count)
    uniform_of = rng.random(count) < UNIFORM
    unit = rng.integers(0, count, n)
    day = np.sort(rng.integers(0, DAYS, n))
    kind, uniform = kind_of[unit], uniform_of[unit]
    learned = np.zeros(n, bool) if cold else (day >= COLD_DAYS) & ~uniform
    p = np.tile(EVEN, (n, 1))
    p[learned] = EXPLORE / 3
    p[learned, BEST[kind[learned]]] += 1 - EXPLORE
    variant = (rng.random(n)[:, None] > np.cumsum(p, axis=1)[:, :-1]).sum(axis=1)
    converted = rng.random(n) < CONVERTS[kind, variant]
    at = (START_DAY + day) * DAY_US + rng.integers(0, DAY_US, n)
    order = np.argsort(at, kind="stable")
    names = np.array([f"{i:032x}" for i in range(n)], dtype=object)
    return LearningRows(
        variants=VARIANTS,
        until=(START_DAY + DAYS + 14) * DAY_US,
        decision_id=names,
        unit=unit[order].astype(np.intp),
        at=at[order],
        version=np.where(learned, np.where(day >= 25, 2, 1), 0)[order].astype(np.int64),
        group=np.where(uniform, "uniform", "policy").astype(object)[order],
        variant=variant[order].astype(np.intp),
        eligible=np.ones((n, 3), bool),
        p=p[order],
        propensity=p[np.arange(n), variant][order],
        columns={"kind": np.where(kind == 0, "bargain", "loyal").astype(object)[order]},
        converted=converted[order],
        amount=np.where(converted, EARNS[variant], 0.0)[order],
        contact=np.zeros(3),
        immature=0 if cold else n // 20,
        last_event=int(at.max()),
    )


def drawn(found: LearningRows) -> Drawn:
    """Return the same decisions counted, as the log would count them."""
    day = found.at // DAY_US
    policy = found.group != "uniform"
    by_day: dict[int, dict[str, int]] = {}
    for d in np.unique(day[policy]).tolist():
        counts = np.bincount(found.variant[policy & (day == d)], minlength=3)
        by_day[d] = dict(zip(VARIANTS, counts.tolist(), strict=True))
    versions = [int(v) for v in np.unique(found.version) if v > 0]
    recent = policy & (day >= day.max() - 6)
    return Drawn(
        by_day=by_day,
        starts={v: int(day[found.version == v].min()) for v in versions},
        by_version={v: int((found.version == v).sum()) for v in versions},
        total=found.n,
        without_propensity=0,
        units={
            "policy": int(np.unique(found.unit[policy]).size),
            "uniform": int(np.unique(found.unit[~policy]).size),
        },
        bins=tuple(np.histogram(found.propensity, BINS, (0, 1))[0].tolist()),
        lowest=float(found.propensity.min()),
        segments=tuple(
            Mix(
                "kind",
                level,
                dict(
                    zip(
                        VARIANTS,
                        np.bincount(found.variant[recent & (found.columns["kind"] == level)], minlength=3).tolist(),
                        strict=True,
                    )
                ),
            )
            for level in ("bargain", "loyal")
        ),
    )


def policy(gap: float = 2.0) -> Policy:
    """Return a policy that prefers the coupon for bargain hunters and points for the loyal, by ``gap``."""
    encoder = Encoder(features=(FeatureCode(attribute="kind", kind="categorical", levels=("bargain", "loyal")),))
    coef = np.zeros((3, len(encoder.columns)))
    names = [column.name for column in encoder.columns]
    coef[1, names.index("kind=bargain")] = gap
    coef[2, names.index("kind=loyal")] = gap
    return Policy(variants=VARIANTS, kind="contextual", rule="greedy", model="linear", encoder=encoder, coef=coef)
