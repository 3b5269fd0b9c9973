"""The offers of the articles that this was made for, with their own numbers; and offers beside tiers' discounts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.definitions.offer import Offer
from experiments.definitions.pricing import Order, PricedOffer
from experiments.definitions.standing import dominated, extra_cost_minor

Fields = dict[str, object]
POINTS_100_A_YUAN: Fields = {
    "type": "points_multiplier",
    "multiplier": "2",
    "points_per_unit": "1",
    "point_value": "0.01",
}
POINTS_100_FOR_10: Fields = POINTS_100_A_YUAN | {"point_value": "0.10"}


def priced(**fields: object) -> PricedOffer:
    return PricedOffer(Offer.model_validate({"kind": "offer", "key": "o", "name": "O", **fields}), "CNY")


def percent(text: str, **fields: object) -> PricedOffer:
    return priced(type="percent_off", percent_off=text, **fields)


def save(face: str, minimum: str) -> PricedOffer:
    return priced(type="spend_x_save_y", face_value=face, minimum_spend=minimum)


SILVER, GOLD = percent("9折"), percent("8.5折")
"""满5000 → 银卡 9 折, 满 2 万 → 金卡 8.5 折."""


@pytest.mark.parametrize(
    ("name", "offer", "amount", "cost"),
    [
        ("满100减30", save("30", "100"), "99.99", "0"),
        ("满100减30", save("30", "100"), "100", "30"),
        ("满100减30", save("30", "100"), "350", "30"),
        ("满200减50", save("50", "200"), "199.99", "0"),
        ("满200减50", save("50", "200"), "200", "50"),
        ("20元无门槛券", priced(type="fixed_coupon", face_value="20"), "45", "20"),
        ("20元无门槛券", priced(type="fixed_coupon", face_value="20"), "12.50", "12.50"),
        ("9折", SILVER, "300", "30"),
        ("8.5折", GOLD, "300", "45"),
        ("8折", percent("8折"), "300", "60"),
        ("每周三8折, 封顶40", percent("8折", maximum_discount="40"), "300", "40"),
        # 双倍积分: ¥300 earn 300 points more. The articles price a point twice: 100积分=1元, and 100分=10元券.
        ("双倍积分, 100积分=1元", priced(**POINTS_100_A_YUAN), "300", "3"),
        ("双倍积分, 100分=10元券", priced(**POINTS_100_FOR_10), "300", "30"),
    ],
)
def test_the_articles_offers_cost_what_they_say(name: str, offer: PricedOffer, amount: str, cost: str) -> None:
    assert offer.cost_minor(Order(round(float(amount) * 100))) == round(float(cost) * 100), name


def test_the_fifth_star_and_the_third_friend_redeem() -> None:
    """集5星兑1杯 and 邀请3人得20元: nothing until the fifth star and the third friend, then each time again."""
    card = priced(type="stamp_card", stamps_needed=5, redemption_cost="9")
    assert [card.cost_minor(Order(3_000, nth=star)) for star in range(1, 11)] == [0, 0, 0, 0, 900, 0, 0, 0, 0, 900]
    friends = priced(type="referral_reward", face_value="20", referrals_needed=3)
    assert [friends.cost_minor(Order(9_000, nth=friend)) for friend in range(1, 7)] == [0, 0, 2_000, 0, 0, 2_000]


def test_a_membership_fee_pays_for_its_benefits() -> None:
    """198元年费: benefits of ¥150 leave the shop ¥48, benefits of ¥240 cost it ¥42."""
    assert priced(type="paid_trial", price="198", redemption_cost="150").cost_minor(Order(0)) == -4_800
    assert priced(type="paid_trial", price="198", redemption_cost="240").cost_minor(Order(0)) == 4_200


@pytest.mark.parametrize(
    ("offer", "tier", "amount_minor", "extra_minor"),
    [
        (SILVER, GOLD, 10_000, 0),
        (GOLD, SILVER, 10_000, 500),
        (SILVER, SILVER, 10_000, 0),
        (save("30", "100"), GOLD, 10_000, 1_500),
        (save("30", "100"), GOLD, 9_999, 0),
        (save("30", "100"), GOLD, 40_000, 0),
        (SILVER, None, 10_000, 1_000),
        # Points come on top of a tier's discount.
        (priced(**POINTS_100_A_YUAN), GOLD, 10_000, 100),
    ],
)
def test_an_offer_costs_what_it_gives_beyond_the_tier(
    offer: PricedOffer, tier: PricedOffer | None, amount_minor: int, extra_minor: int
) -> None:
    assert extra_cost_minor(offer, tier, Order(amount_minor)) == extra_minor


def test_nine_tenths_of_the_price_are_no_offer_to_a_gold_member() -> None:
    assert dominated(SILVER, GOLD)
    assert dominated(SILVER, SILVER)
    assert not dominated(GOLD, SILVER)
    assert not dominated(save("30", "100"), GOLD), "more than 15 % on orders of ¥100 to ¥200"
    assert dominated(save("30", "200"), GOLD)
    assert not dominated(percent("8折", maximum_discount="40"), GOLD), "more up to ¥266"
    assert not dominated(priced(**POINTS_100_A_YUAN), GOLD)


AMOUNTS = st.integers(1, 60_000)
SHARES = st.integers(1, 60).map(str)
YUAN = st.integers(1, 300).map(str)
OFFERS = st.one_of(
    st.builds(lambda share: percent(share), SHARES),
    st.builds(lambda share, cap: percent(share, maximum_discount=cap), SHARES, YUAN),
    st.builds(lambda share, least: percent(share, minimum_spend=least), SHARES, YUAN),
    st.builds(save, YUAN, YUAN),
    st.builds(lambda face: priced(type="fixed_coupon", face_value=face), YUAN),
)


@given(OFFERS, OFFERS, st.lists(AMOUNTS, min_size=30, max_size=30))
def test_what_is_dominated_gives_nothing_on_any_order(
    offer: PricedOffer, tier: PricedOffer, amounts: list[int]
) -> None:
    extra = [extra_cost_minor(offer, tier, Order(amount)) for amount in amounts]
    if dominated(offer, tier):
        # Two roundings of half a fen apart.
        assert max(extra) <= 1
    assert all(0 <= e <= offer.cost_minor(Order(a)) for e, a in zip(extra, amounts, strict=True))
