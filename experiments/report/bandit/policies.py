"""What other policies would have earned on the same decisions: doubly robust, paired with the live one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from experiments.report.bandit.document import PolicyValue
from experiments.report.bandit.influence import Floats, value_from
from experiments.report.bandit.logged import Logged
from stats.ope.adaptive import score_mean
from stats.ope.estimators import dr_scores, ips, snips
from stats.ope.logged import Logged as Weighted


@dataclass(frozen=True)
class Other:
    """A policy to value."""

    code: Literal["candidate", "live", "best_single", "greedy", "uniform"]
    probabilities: Floats
    """Shape (n, K), 0 where a variant was not eligible, rows sum to 1."""
    version: int | None = None
    variant: str | None = None
    state: str | None = None


def values_of(log: Logged, guess: Floats, others: Sequence[Other], alpha: float) -> list[PolicyValue]:
    """Value policies; each against the one whose code is ``live``, where there is one.

    Args:
        log: matured decisions of both groups: each was drawn from its logged probabilities.
        guess: m̂ from earlier decisions, shape (n, K).
        others: the policies.
        alpha: error probability of the intervals.
    """
    if not log.n:
        return []
    weighted = {
        other.code: Weighted.of(log.reward, log.variant, log.propensity, other.probabilities, guess, log.unit)
        for other in others
    }
    scores = {code: dr_scores(w.reward, w.weight, w.q_logged, w.v) for code, w in weighted.items()}  # type: ignore[arg-type]
    live = scores.get("live")
    found = []
    for other in others:
        one, mine = weighted[other.code], scores[other.code]
        seen = one.diagnostics
        against = None if live is None or other.code == "live" else mine - live
        found.append(
            PolicyValue(
                code=other.code,
                version=other.version,
                variant=other.variant,
                state=other.state,
                value=value_from(score_mean(mine, cluster=log.unit, alpha=alpha)),
                against_live=None
                if against is None
                else value_from(score_mean(against, cluster=log.unit, alpha=alpha)),
                ess=seen.ess,
                max_weight=seen.max_weight,
                ips=ips(one.reward, one.weight).value,
                snips=snips(one.reward, one.weight).value,
            )
        )
    return found


def single(log: Logged, w: int) -> Floats:
    """Return the probabilities of always one variant; where it is not eligible, all that are alike."""
    chosen = np.zeros_like(log.p)
    chosen[:, w] = 1.0
    return np.where((log.p[:, w] > 0)[:, None], chosen, even(log))


def even(log: Logged) -> Floats:
    """Return the probabilities of an even split over the eligible."""
    can = log.p > 0
    found: Floats = can / np.maximum(can.sum(axis=1, keepdims=True), 1)
    return found
