"""Audiences where gold members have 15 % off anyway: what offers cost with them, and which they are not given.

¥200 orders, 9折 and 满100减30: with gold members the first gives nothing, the second at most ¥15 (on ¥100) and on these
orders nothing, against ¥20 and ¥30 with the others.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

import numpy as np
import pytest

from experiments.definitions import Offer
from experiments.definitions.standing import Standing
from experiments.jobs import files
from experiments.report.audience import Names
from experiments.store import Store, open_store
from experiments.store.migrate import upgrade
from experiments.targeting.asking import request_of
from experiments.targeting.carry_out import carry_out
from experiments.targeting.choosing import Draws, Problem, choose
from experiments.targeting.document import Audience
from experiments.targeting.request import Limits, limits
from experiments.targeting.standing import anyway_of
from tests.experiments.measuring import NOW_US
from tests.experiments.targeting.campaigns import campaign

OFFERS = [
    {
        "kind": "offer",
        "key": "small",
        "name": {"en": "10% off", "zh-CN": "9折"},
        "type": "percent_off",
        "percent_off": "9折",
        "contact_cost": {"sms": "0.05"},
    },
    {
        "kind": "offer",
        "key": "large",
        "name": {"en": "¥30 off ¥100", "zh-CN": "满100减30"},
        "type": "spend_x_save_y",
        "face_value": "30",
        "minimum_spend": "100",
        "contact_cost": {"sms": "0.05"},
    },
]
STANDING = {"attribute": "tier", "discounts": {"gold": "8.5折"}}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = open_store(f"sqlite:///{tmp_path_factory.mktemp('shop') / 'equipoise.sqlite'}")
    upgrade(store)
    campaign(store, 2_000, offers=OFFERS, standing=STANDING)
    yield store
    store.close()


def made(store: Store, asked: Limits) -> tuple[Audience, list[dict[str, str]]]:
    """Make an audience of the stored members; odd ones are basic, even ones gold."""
    audience = carry_out(store, request_of(store, "winback", asked, at=NOW_US), "test", lambda _done, _total: None)
    kept = files.find(store, audience.id, "result")
    assert kept is not None
    return audience, list(csv.DictReader(io.StringIO(b"".join(files.read(store, kept)).decode())))


def is_gold(row: dict[str, str]) -> bool:
    return int(row["unit"][2:]) % 2 == 0


@pytest.mark.slow
def test_offers_cost_each_member_what_they_give_beyond_the_tier(shop: Store) -> None:
    audience, rows = made(shop, limits(budget=15_000.0))
    seen = {(is_gold(row), row["recommended_offer"]): row["liability"] for row in rows if row["recommended_offer"]}
    assert {offer for gold, offer in seen if gold} == {"large"}, "gold members answered to 9折, which is none of theirs"
    assert float(seen[True, "large"]) == pytest.approx(15.05)
    assert float(seen[False, "large"]) == pytest.approx(30.05)
    if (False, "small") in seen:
        assert float(seen[False, "small"]) == pytest.approx(20.05), "what its redemptions cost in the log"
    assert sum(float(row["liability"]) for row in rows) == pytest.approx(audience.spent)
    assert audience.spent <= 15_000
    # On ¥200 the card gives ¥30 anyway: what is expected is the message alone.
    expected: dict[bool, list[float]] = {True: [], False: []}
    for row in rows:
        if row["recommended_offer"] == "large":
            expected[is_gold(row)].append(float(row["expected_cost"]))
    assert np.allclose(expected[True], 0.05)
    assert min(expected[False]) > 1
    gold = sum(map(is_gold, rows))
    assert [w for w in audience.warnings if "gives them nothing" in w["en"]] == [
        {
            "en": f"10% off is not given to {gold:,} gold members: it gives them nothing, they have 15% off anyway.",
            "zh-CN": f"“9折”不发给 {gold:,} 名gold会员：他们本来就享受8.5折，该优惠对其没有额外价值。",
        }
    ]


@pytest.mark.slow
def test_who_draws_what_gives_nothing_gets_none(shop: Store) -> None:
    _, rows = made(shop, limits(explore=0.5))
    explored = [row for row in rows if row["reason"] == "explored"]
    assert len(explored) > 600
    assert not [row for row in rows if is_gold(row) and row["recommended_offer"] == "small"]
    drawn = [row["recommended_offer"] for row in explored if is_gold(row)]
    # Two of three draws end with none; p < 1e-6 that 300 draws are further off.
    assert drawn.count("") / len(drawn) == pytest.approx(2 / 3, abs=0.13)
    none = {row["propensity"] for row in explored if is_gold(row) and not row["recommended_offer"]}
    # ½ · 2/3 by lot, and ½ more where the model gives none too.
    assert none <= {"0.333333", "0.833333"}
    chosen = {row["propensity"] for row in explored if not is_gold(row)}
    assert chosen <= {"0.166667", "0.666667"}


def test_a_price_for_each_member_and_what_gives_nothing() -> None:
    """9折 with 15 % off anyway is nothing; where the order decides what it costs, the log's redemptions say it."""
    standing = Standing.model_validate(STANDING)
    offers = [Offer.model_validate(each) for each in OFFERS]
    levels = np.array(["gold", "basic", None], dtype=object)
    found = anyway_of(
        standing, levels, offers, [9.0, 30.05], [0.05, 0.05], "CNY", Names(), {"": np.array([0.0, 20.0, 30.0])}
    )
    assert found.nothing.tolist() == [[True, False], [False, False], [False, False]]
    assert found.each.tolist() == [[0.05, 15.05], [20.05, 30.05], [20.05, 30.05]]
    gift = Offer.model_validate({"kind": "offer", "key": "g", "name": "G", "type": "gift", "redemption_cost": "8"})
    alone = anyway_of(standing, levels, [gift, None], [8.0, 0.0], [0.0, 0.0], "CNY", Names())
    assert alone.each.tolist() == [[8.0, 0.0]] * 3
    assert not alone.nothing.any()


def test_an_offer_that_may_not_be_given_is_neither_chosen_nor_drawn() -> None:
    """Who draws it gets none: of two offers and none, none has ⅔ of the lot then, and ⅓ for who may have both."""
    n = 4_000
    rng = np.random.default_rng(5)
    value = np.tile([2.0, 1.0], (n, 1))
    value[: n // 2, 0] = -np.inf
    problem = Problem(value, np.ones((n, 2)), np.ones(n, dtype=bool), explore=0.5)
    chosen = choose(problem, Draws(rng.random(n), rng.random(n), rng.random(n)))
    closed = np.arange(n) < n // 2
    assert not ((chosen.offer == 0) & closed).any()
    assert set(chosen.offer[~chosen.explored & closed]) == {1}
    assert set(chosen.offer[~chosen.explored & ~closed]) == {0}
    for offer, some, expected in ((-1, closed, 1 / 3), (1, closed, 2 / 3), (-1, ~closed, 1 / 6), (0, ~closed, 2 / 3)):
        mine = (chosen.offer == offer) & some
        assert np.allclose(chosen.propensity[mine], expected)
        # Five standard errors of a share of 2,000.
        assert mine.sum() / some.sum() == pytest.approx(expected, abs=5 * np.sqrt(0.25 / 2_000))
