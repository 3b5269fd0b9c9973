"""Attributes that give the outcome away are found; those that were known before are not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import rankdata

from stats.uplift.giveaways import TOLD, giveaways
from stats.uplift.trial import FloatArray, Trial

ROWS = 4_000


def trial_of(outcome: FloatArray, *columns: FloatArray) -> Trial:
    arm = np.random.default_rng(1).integers(0, 2, len(outcome))
    return Trial(outcome, arm, np.column_stack(columns), np.full((len(outcome), 2), 0.5))


def kinds(outcome: FloatArray, **columns: FloatArray) -> dict[str, str]:
    return {one.name: one.kind for one in giveaways(trial_of(outcome, *columns.values()), list(columns))}


def test_copies_flags_and_steps_are_named_and_what_was_known_before_is_not() -> None:
    rng = np.random.default_rng(4)
    before = rng.gamma(2, 50, ROWS)
    bought = (rng.random(ROWS) < 0.02 + 0.0006 * before).astype(float)
    redeemed = bought * (rng.random(ROWS) < 0.5)
    visited = np.maximum(bought, rng.random(ROWS) < 0.3)
    gone = np.where(bought == 1, 3.0, np.nan)  # a date of delivery: known of buyers only
    found = kinds(
        bought, before=before, twin=1 - bought, money=bought * rng.gamma(2, 40, ROWS), redeemed=redeemed,
        visited=visited, delivered=gone, noise=rng.normal(size=ROWS),
    )  # fmt: skip
    assert found == {"twin": "told", "money": "told", "delivered": "told", "redeemed": "sure", "visited": "step"}


def test_money_is_told_by_its_copy_and_not_by_last_months() -> None:
    rng = np.random.default_rng(5)
    taste = rng.normal(3, 1.5, ROWS)
    spent, last = (np.exp(taste + rng.normal(0, 0.7, ROWS)) for _ in range(2))
    assert kinds(spent, last=last, with_tax=spent * 1.13 + 2) == {"with_tax": "told"}
    (one,) = giveaways(trial_of(spent, spent + last / 9), ["mixed"])
    rank = np.corrcoef(rankdata(spent), rankdata(spent + last / 9))[0, 1] ** 2
    assert TOLD < rank <= one.share + 1e-9
    assert one.share == pytest.approx(rank, abs=0.02)


def test_too_few_outcomes_say_nothing() -> None:
    outcome = np.zeros(ROWS)
    outcome[:20] = 1.0
    assert kinds(outcome, twin=outcome) == {}
    assert kinds(np.zeros(ROWS), twin=np.zeros(ROWS)) == {}


def test_ordinary_attributes_of_rare_outcomes_raise_no_alarm() -> None:
    """40 draws of unrelated attributes with one in 200 buying: a part without any buyer is no step."""
    for seed in range(40):
        rng = np.random.default_rng(seed)
        outcome = (rng.random(10_000) < 0.005).astype(float)
        columns = {"flag": (rng.random(10_000) < 0.2).astype(float), "orders": rng.poisson(0.4, 10_000).astype(float)}
        assert kinds(outcome, **columns, recency=rng.uniform(0, 365, 10_000)) == {}
