"""What an audience says of itself: why nobody gets anything, what lots decided, what a budget bounds."""

from __future__ import annotations

from typing import Any

import pytest

from experiments.targeting.document import Audience, Given
from experiments.targeting.words import sentence_of, warnings_of
from experiments.uplift.document import Recommendation

FOUND = Recommendation(
    title={}, outcome="bought", rows=1, arms=[], attributes=[], causal=True, checks=[], sentence={}, currency="CNY"
)


def audience(
    reasons: dict[str, int], *, members: int = 0, explored: int = 0, each: float = 20.0, **more: Any
) -> Audience:
    arm = Given(arm="a", members=members, explored=0, predicted_gain=0.0, liability=each * members, cost_each=each)
    plain: dict[str, Any] = {
        "id": "1", "title": {}, "at": "2026-06-01", "currency": "CNY", "policy": "personalised", "basis": "liability",
        "spent": each * members, "predicted_gain": 3.0, "bound": 3.0, "gap": 0.0, "budget_price": 0.5, "rows": 500,
        "treated": members, "explored": explored, "reasons": reasons, "arms": [arm], "sentence": {},
        "file_name": "a.csv", "media_type": "text/csv", "bytes": 1, "sha256": "",
    }  # fmt: skip
    return Audience(**(plain | more))


@pytest.mark.parametrize(
    ("made", "english", "chinese"),
    [
        (audience({"no_gain": 500}), "no offer is expected to earn what it costs.", "没有任何优惠预计能覆盖成本。"),
        (audience({"budget": 312, "no_gain": 188}, budget=0.0), "with a budget of ¥0.00.", "有 312 人值得"),
        (audience({"explored": 480}, explored=480, explore=1.0), "Lots decide for 480 of these 500", "480 人随机探索"),
        (audience({"explored": 9, "no_gain": 491}, explored=9), "; lots decide for 9, to learn from.", "9 人随机探索"),
        (audience({"chosen": 7}, members=7, explored=9), "a to 7 of 500, and let lots decide for 9 more", "另有 9 人"),
    ],
)  # fmt: skip
def test_the_sentence_says_why_nobody_is_chosen_and_what_lots_decide(
    made: Audience, english: str, chinese: str
) -> None:
    told = sentence_of(made, FOUND, []).sentence
    assert english in told["en"]
    assert chinese in told["zh-CN"]


def test_a_budget_over_offers_without_a_cost_is_said_to_bound_nothing() -> None:
    def told(each: float) -> str:
        return " ".join(text["en"] for text in warnings_of(audience({}, each=each, budget=5.0), FOUND))

    assert "the budget bounds nothing" in told(0.0)
    assert "the budget bounds nothing" not in told(0.1)
