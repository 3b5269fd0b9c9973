"""A tier's own discount as the baseline offer: what is written, frozen and measured, and whom an offer gives nothing.

The numbers are the articles': 银卡 9 折, 金卡 8.5 折, 满 100 减 30, 20 元无门槛券. A gold member's orders are the price
before any discount; of ¥100 the shop gives ¥15 anyway, so 满 100 减 30 costs ¥15 more, and 9 折 nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from allocation.compiled import compile_snapshot
from allocation.decide import decide
from allocation.decision import MemberState
from api.cli import cli
from experiments.definitions.errors import DefinitionError
from experiments.definitions.loader import load_text
from experiments.keeping.exporting import export
from experiments.keeping.repository import Repository
from experiments.learning.rows import matured
from experiments.log.rows import DAY_US, DecisionRow, EventRow
from experiments.preview import Unit, preview
from experiments.programme.asking import ProgrammeOptions
from experiments.programme.build import build_programme
from experiments.publishing.plans import snapshot_of
from experiments.report.build import build_report, declared_of
from experiments.report.document import Report
from experiments.sources.log import open_log
from experiments.store import Store, open_store
from experiments.store.migrate import upgrade
from experiments.uplift.learned import rows_of_experiment
from tests.experiments.learning_shop import KEY, METRICS, SHOP, bandit, by_decision, drawn
from tests.experiments.learning_shop import OFFERS as LEARNT
from tests.experiments.measuring import NOW_US, START_US, decided, define, experiment, happened, metric, record
from tests.experiments.small_shop import walk

STANDING = {"attribute": "tier", "discounts": {"silver": "9折", "gold": "8.5折"}}
LEVELS = {"silver": {"en": "Silver", "zh-CN": "银卡"}, "gold": {"en": "Gold", "zh-CN": "金卡"}}
TIER = {"type": "string", "levels": LEVELS}
PROJECT: dict[str, Any] = {
    "kind": "project",
    "name": "Shop",
    "currency": "CNY",
    "time_zone": "Asia/Shanghai",
    "attributes": {"tier": TIER, "age": {"type": "number"}, "best": {"type": "string"}},
    "standing": STANDING,
}
NINE = {
    "kind": "offer",
    "key": "nine",
    "name": {"en": "10% off", "zh-CN": "9折"},
    "type": "percent_off",
    "percent_off": "9折",
    "contact_cost": {"sms": "0.05"},
}
SAVE = {
    "kind": "offer",
    "key": "save",
    "name": {"en": "¥30 off ¥100", "zh-CN": "满100减30"},
    "type": "spend_x_save_y",
    "face_value": "30",
    "minimum_spend": "100",
}
TWENTY = {"kind": "offer", "key": "twenty", "name": "20元无门槛券", "type": "fixed_coupon", "face_value": "20"}
POINTS = {
    "kind": "offer",
    "key": "points",
    "name": {"en": "Double points", "zh-CN": "双倍积分"},
    "type": "points_multiplier",
    "multiplier": "2",
    "points_per_unit": "1",
    "point_value": "0.01",
}
OFFERS: dict[str, dict[str, Any]] = {"nine": NINE, "save": SAVE, "twenty": TWENTY, "points": POINTS}
PROFIT = metric("profit", "profit", margin={"rate": "0.4"})
ARMS: list[dict[str, Any]] = [
    {"key": "control"},
    *({"key": key, "name": f"arm {key}", "offer": key, "channel": "sms"} for key in OFFERS),
]
TIERS = (None, "silver", "gold")
NO_TIER = {name: value for name, value in PROJECT.items() if name != "standing"}


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Store]:
    store = open_store(f"sqlite:///{tmp_path / 'equipoise.sqlite'}")
    upgrade(store)
    yield store
    store.close()


def defined(store: Store, *, project: dict[str, Any] = PROJECT, **fields: Any) -> None:
    test = experiment({"primary": ["profit"]}, **{"variants": ARMS, **fields})
    define(store, *OFFERS.values(), PROFIT, test, project=project)


def test_what_is_written_comes_back_and_is_read_again(shop: Store) -> None:
    defined(shop)
    text = export(Repository(shop))
    assert "standing:" in text
    again = Repository(shop).apply(load_text(text), "test")
    assert {change.action for change in again} == {"unchanged"}
    standing = Repository(shop).project().standing
    assert standing is not None
    assert dict(standing.discounts) == {"silver": "10", "gold": "15"}


@pytest.mark.parametrize(
    ("standing", "pointer", "words"),
    [
        ({"attribute": "rank", "discounts": {"gold": "10%"}}, "/standing/attribute", '"rank" is not an attribute'),
        ({"attribute": "age", "discounts": {"gold": "10%"}}, "/standing/attribute", "is a number"),
        ({"attribute": "tier", "discounts": {"goldd": "10%"}}, "/standing/discounts/goldd", 'did you mean "gold"?'),
        ({"attribute": "tier", "discounts": {}}, "/standing/discounts", "at least 1"),
        ({"attribute": "tier", "discounts": {"gold": "0.85"}}, "/standing/discounts/gold", "outside 1 to 100"),
        ({"attribute": "tier", "discounts": {"gold": "100%"}}, "/standing/discounts/gold", "the whole price"),
        ({"attribute": "tier", "discounts": {"gold": "fifteen"}}, "/standing/discounts/gold", "is not a percentage"),
        ({"attribute": "tier", "discount": {"gold": "15%"}}, "/standing/discount", 'did you mean "discounts"?'),
        ({"discounts": {"gold": "15%"}}, "/standing/attribute", "missing"),
    ],
)
def test_what_cannot_be_is_refused_where_it_stands(
    shop: Store, standing: dict[str, Any], pointer: str, words: str
) -> None:
    with pytest.raises(DefinitionError) as refused:
        define(shop, project={**PROJECT, "standing": standing})
    assert f"{pointer}: " in str(refused.value)
    assert words in str(refused.value)


def test_a_launch_freezes_discounts_and_every_decision_its_members_level(shop: Store) -> None:
    defined(shop)
    plain = experiment({"primary": ["profit"]}, key="colours")
    define(shop, plain, project=PROJECT)
    walk(shop, "winback", "review", "testing", "running", now=START_US)
    define(shop, project={**PROJECT, "standing": {"attribute": "tier", "discounts": {"gold": "5折"}}})
    launched = Repository(shop).experiment("winback")
    assert launched.pinned is not None
    assert launched.pinned.standing is not None
    assert dict(launched.pinned.standing.discounts) == {"silver": "10", "gold": "15"}
    snapshot = snapshot_of(Repository(shop), "v1", 0)
    assert snapshot.experiments["winback"].frozen == ("tier",)
    assert snapshot.experiments["colours"].frozen == (), "gives no offer"
    member = MemberState(attributes={"tier": "gold", "age": 30})
    answer = decide(compile_snapshot(snapshot), "winback", "m-1", now=NOW_US, state=member)
    assert json.loads(answer.frozen) == {"tier": "gold"}
    changed = {**NO_TIER, "attributes": {**PROJECT["attributes"], "tier": {**TIER, "type": "list"}}}
    with pytest.raises(DefinitionError, match="cannot change while a running experiment uses it"):
        define(shop, project=changed)


def bought(value: int) -> dict[str, float]:
    """What the shop keeps of an order, by offer and tier: at a margin of 40 %, the better of two discounts off."""
    tiers = {None: 0.0, "silver": 0.1, "gold": 0.15}
    kept: dict[str, float] = {}
    for tier, share in tiers.items():
        anyway = share * value
        best = {
            "control": anyway,
            "nine": max(anyway, 0.1 * value),
            "save": max(anyway, 30 if value >= 100 else 0),
            "twenty": max(anyway, min(20, value)),
            "points": anyway + 0.01 * value,
        }
        kept |= {f"{arm} {tier}": 0.4 * value - off for arm, off in best.items()}
    return kept


VALUES = (100, 50, 400)
"""Yuan: where 满100减30 beats a gold card, where it does not reach, and where the card beats it."""


def taken_off(arm: str, value: int) -> int:
    """What an offer takes off an order of so many yuan, in fen."""
    return {"nine": 10 * value, "save": 3_000 * (value >= 100), "twenty": 2_000, "points": value}[arm]


def campaign() -> list[DecisionRow | EventRow]:
    """Every arm × tier × order value, three members each; all orders of an offer's members redeem it.

    The till states of one in three what the offer took off the price, the card's part included.
    """
    rows: list[DecisionRow | EventRow] = []
    number = 0
    for arm in ("control", *OFFERS):
        for tier in TIERS:
            for value in (*VALUES, None):
                for _ in range(3):
                    unit, number = f"m-{number}", number + 1
                    frozen = {} if tier is None else {"tier": tier}
                    rows.append(decided(unit, arm, frozen=json.dumps(frozen), propensity=0.2))
                    if value is None:
                        continue
                    at = START_US + DAY_US
                    rows.append(happened("Order Completed", unit, at, 100 * value, object_id=f"o{number}"))
                    if arm != "control":
                        stated = taken_off(arm, value) if number % 3 == 0 else None
                        rows.append(happened("Coupon Redeemed", unit, at, stated, object_id=f"o{number}"))
    return rows


def profits(report: Report) -> dict[str, float | None]:
    found = next(m for m in report.metrics if m.name == "profit")
    return {row.variant: row.mean for row in found.variants}


def test_what_an_offer_costs_is_what_it_gives_beyond_the_tier(shop: Store) -> None:
    """Against the shop's books: what it keeps of each order is 40 % less the better discount, by hand for each tier."""
    defined(shop)
    walk(shop, "winback", "review", "testing", "running", now=START_US)
    record(shop, campaign())
    report = build_report(shop, "winback", NOW_US)
    kept = {value: bought(value) for value in VALUES}
    for arm, mean in profits(report).items():
        earned = sum(kept[value][f"{arm} {tier}"] for value in VALUES for tier in TIERS)
        contact = 0.05 if arm == "nine" else 0.0
        assert mean == pytest.approx(earned / 12 - contact, abs=1e-9), arm

    assert report.economics is not None
    cost = {offer.variant: offer.redemption_cost for offer in report.economics.offers}
    of_100, of_50, of_400 = 30 + 20 + 15, 0, 30
    assert cost["save"] == pytest.approx(3 * (of_100 + of_50 + of_400)), "of ¥400 the cards give more"
    assert cost["nine"] == pytest.approx(3 * 0.1 * sum(VALUES)), "nothing with silver and gold members"
    assert cost["points"] == pytest.approx(9 * 0.01 * sum(VALUES)), "points come on top"
    assert any("Silver 10%, Gold 15%" in note["en"] for note in report.economics.notes)
    assert any("银卡9折、金卡8.5折" in note["zh-CN"] for note in report.economics.notes)

    said = [w["en"] for w in report.warnings if "nothing" in w["en"]]
    form = "10% off gives {} members nothing and costs nothing when redeemed: they have {}% off anyway ({}).".format
    assert said == [form(name, off, "12 of the 36 members of arm nine") for name, off in (("Silver", 10), ("Gold", 15))]
    chinese = [w["zh-CN"] for w in report.warnings if "本来就享受" in w["zh-CN"]]
    count = "（arm nine的 36 名会员中有 12 名）"
    assert chinese[1] == f"“9折”对金卡会员没有额外优惠，核销也不产生成本：他们本来就享受8.5折{count}。"


def test_without_the_field_offers_cost_all_they_take_off(shop: Store) -> None:
    defined(shop, project=NO_TIER)
    walk(shop, "winback", "review", "testing", "running", now=START_US)
    pinned = Repository(shop).experiment("winback").pinned
    assert pinned is not None
    assert "standing" not in json.loads(pinned.to_json())
    assert snapshot_of(Repository(shop), "v1", 0).experiments["winback"].frozen == ()
    record(shop, campaign())
    report = build_report(shop, "winback", NOW_US)
    assert report.economics is not None
    cost = {offer.variant: offer.redemption_cost for offer in report.economics.offers}
    assert cost["nine"] == pytest.approx(9 * 0.1 * sum(VALUES))
    assert cost["save"] == pytest.approx(9 * 60)
    assert not [w for w in report.warnings if "nothing" in w["en"]]


def test_a_preview_prices_each_members_offer_and_names_those_who_get_nothing(shop: Store) -> None:
    defined(shop)
    units = [Unit(f"m-{n}", {} if TIERS[n % 3] is None else {"tier": TIERS[n % 3]}) for n in range(300)]
    found = preview(Repository(shop), "winback", units, START_US, by="tier")
    given = {arm: {TIERS[n]: 0 for n in range(3)} for arm in OFFERS}
    for arm in OFFERS:
        for level, count in found.counts[arm].items():
            given[arm][None if level == "(none)" else level] = count
    costs = {cost.variant: cost for cost in found.costs}
    by_tier = given["save"]
    assert costs["save"].each_minor == 3000
    assert costs["save"].liability_minor == 3000 * by_tier[None] + 2000 * by_tier["silver"] + 1500 * by_tier["gold"]
    by_tier = given["twenty"]
    assert costs["twenty"].liability_minor == 2000 * by_tier[None] + 1800 * by_tier["silver"] + 1700 * by_tier["gold"]
    assert costs["nine"].liability_minor is None
    assert [(d.variant, d.level, d.members) for d in found.dominated] == [
        ("nine", "silver", given["nine"]["silver"]),
        ("nine", "gold", given["nine"]["gold"]),
    ]
    assert any("gives Gold members nothing" in warning for warning in found.warnings)

    golden = [Unit(f"g-{n}", {"tier": "gold"}) for n in range(50)]
    nine = next(c for c in preview(Repository(shop), "winback", golden, START_US).costs if c.variant == "nine")
    assert (nine.liability_minor, nine.each_minor, nine.why) == (0, None, None)


def test_applying_says_whom_an_offer_gives_nothing_unless_they_cannot_enter(shop: Store) -> None:
    documents = [*OFFERS.values(), PROFIT]

    def notes(**fields: Any) -> tuple[str, ...]:
        test = experiment({"primary": ["profit"]}, variants=ARMS, **fields)
        text = "\n---\n".join(json.dumps(d, ensure_ascii=False) for d in (PROJECT, *documents, test))
        return Repository(shop).apply(load_text(text), "test")[-1].notes

    everyone = notes()
    assert [note.split(" nothing")[0] for note in everyone] == [
        "10% off gives Silver members",
        "10% off gives Gold members",
    ]
    (golden,) = notes(audience={"attribute": "tier", "op": "eq", "value": "gold"})
    assert golden.startswith("10% off gives Gold members nothing")
    assert notes(audience={"not": {"attribute": "tier", "op": "exists"}}) == ()


def test_review_is_asked_for_with_a_note(tmp_path: Path) -> None:
    data = ["--data", str(tmp_path)]
    test = experiment({"primary": ["profit"]}, variants=ARMS)
    lines = "\n---\n".join(json.dumps(d, ensure_ascii=False) for d in (PROJECT, *OFFERS.values(), PROFIT, test))
    (tmp_path / "shop.yaml").write_text(lines, encoding="utf-8")
    applied = CliRunner().invoke(cli, [*data, "apply", str(tmp_path / "shop.yaml")])
    moved = CliRunner().invoke(cli, [*data, "transition", "winback", "review"])
    for result in (applied, moved):
        assert result.exit_code == 0, result.output
        assert "10% off gives Gold members nothing and costs nothing when redeemed" in result.output


def test_members_own_offers_are_looked_at_one_by_one(shop: Store) -> None:
    arms = [{"key": "control"}, {"key": "policy", "offer_by": "best"}]
    defined(shop, variants=arms)
    units = [Unit(f"m-{n}", {"tier": "gold", "best": ("nine", "save")[n % 2]}) for n in range(200)]
    found = preview(Repository(shop), "winback", units, START_US)
    cost = next(c for c in found.costs if c.variant == "policy")
    (dominated,) = found.dominated
    assert (dominated.offer, dominated.level) == ("nine", "gold")
    assert dominated.members is not None
    assert cost.liability_minor == 1500 * (cost.enrolled - dominated.members)


def test_a_policy_learns_at_costs_beyond_what_each_decision_found(shop: Store) -> None:
    """¥20 off ¥100 on orders of ¥100: with gold ¥5 more than the card's ¥15, and the margin of ¥40 is ¥25."""
    project = {**SHOP, "attributes": {**SHOP["attributes"], "tier": TIER}, "standing": STANDING}
    define(shop, *LEARNT, *METRICS, bandit(), project=project)
    walk(shop, KEY, "review", "testing", "running", now=START_US)
    made = [
        drawn("m-1", "save", START_US, frozen={"tier": "gold"}),
        drawn("m-1", "save", START_US + 20 * DAY_US),
        drawn("m-2", "gift", START_US, frozen={"tier": "gold"}),
        drawn("m-3", "control", START_US, frozen={"tier": "silver"}),
    ]
    orders = [("m-1", 1), ("m-1", 21), ("m-2", 1), ("m-3", 1)]
    rows: list[DecisionRow | EventRow] = [*made]
    for unit, day in orders:
        at = START_US + day * DAY_US
        rows.append(happened("Order Completed", unit, at, 10_000, object_id=f"{unit}-{day}"))
        if unit != "m-3":
            rows.append(happened("Coupon Redeemed", unit, at, None, object_id=f"{unit}-{day}"))
    record(shop, rows)
    found = matured(shop, Repository(shop).experiment(KEY), NOW_US)
    # Gold: 40 − 15 − 5; a card that had lapsed: 40 − 20; a gift of ¥8 comes on top: 25 − 8; silver: 40 − 10.
    assert by_decision(found, made, "amount") == [20.0, 20.0, 17.0, 30.0]


def test_the_report_of_a_policy_names_whom_an_offer_gives_nothing(shop: Store) -> None:
    """9折 drawn twice for one gold member and once for another, and for one of silver, who has as much anyway."""
    project = {**SHOP, "attributes": {**SHOP["attributes"], "tier": TIER}, "standing": STANDING}
    nine = {**NINE, "key": "a-gift"}
    define(shop, LEARNT[0], nine, *METRICS, bandit(), project=project)
    walk(shop, KEY, "review", "testing", "running", now=START_US)
    tiers = [("m-1", "gold"), ("m-1", "gold"), ("m-2", "gold"), ("m-3", "silver"), ("m-4", None)]
    made = [
        drawn(unit, "gift", START_US + n, frozen={} if tier is None else {"tier": tier})
        for n, (unit, tier) in enumerate(tiers)
    ]
    record(shop, [*made, drawn("m-5", "save", START_US, frozen={"tier": "gold"})])
    said = [warning["en"] for warning in build_report(shop, KEY, NOW_US).warnings]
    assert ["(1 of the 4 members of gift)" in said[0], "(2 of the 4 members of gift)" in said[1]] == [True, True]
    assert len(said) == 2


def test_the_programme_compares_what_the_shop_keeps_of_orders(shop: Store) -> None:
    """Orders of ¥100: the shop keeps ¥40 of them, ¥25 of a gold member's, and ¥10 of everybody's with 满100减30."""
    holdout = {"kind": "holdout", "key": "everyone", "share": "50%", "made": {"salt": "00112233445566aa"}}
    arms = [{"key": "control"}, {"key": "save", "offer": "save"}]
    define(shop, holdout, SAVE, PROFIT, experiment({"primary": ["profit"]}, variants=arms), project=PROJECT)
    walk(shop, "winback", "review", "testing", "running", now=START_US)
    snapshot = compile_snapshot(snapshot_of(Repository(shop), "v1", 0))
    rows: list[DecisionRow | EventRow] = []
    kept: dict[str, list[float]] = {"holdout": [], "enrolled": []}
    cost = 0.0
    for n in range(400):
        unit, tier = f"m-{n}", TIERS[n % 3]
        state = MemberState(attributes={} if tier is None else {"tier": tier})
        answer = decide(snapshot, "winback", unit, now=START_US, state=state)
        rows.append(DecisionRow.from_decision(answer))
        rows.append(happened("Order Completed", unit, START_US + DAY_US, 10_000, object_id=f"o{n}"))
        anyway = {None: 0.0, "silver": 10.0, "gold": 15.0}[tier]
        if answer.variant == "save":
            rows.append(happened("Coupon Redeemed", unit, START_US + DAY_US, None, object_id=f"o{n}"))
            cost += 30 - anyway
        kept[answer.kind or ""].append(40 - (30 if answer.variant == "save" else anyway))
    record(shop, rows)
    (found,) = build_programme(shop, ProgrammeOptions(), NOW_US).holdouts
    assert (found.held_out, found.reached) == (len(kept["holdout"]), len(kept["enrolled"]))
    assert found.redemption_cost == pytest.approx(cost)
    difference = sum(kept["enrolled"]) / found.reached - sum(kept["holdout"]) / found.held_out
    assert found.profit_per_member.estimate == pytest.approx(difference, abs=1e-9)


@pytest.mark.parametrize("reported", [True, False])
def test_recommendations_are_learned_at_each_members_price(shop: Store, reported: bool) -> None:
    """Orders of ¥100: 满100减30 costs ¥30, with silver ¥20, with gold ¥15; also where no redemption is reported."""
    arms = [{"key": "control"}, *({"key": key, "offer": key} for key in ("nine", "save"))]
    metrics = {"primary": ["buyers"], "secondary": ["profit"]}
    test = experiment(metrics, variants=arms, analysis={"features": ["age"]})
    define(shop, NINE, SAVE, PROFIT, metric("buyers", "proportion"), test, project=PROJECT)
    walk(shop, "winback", "review", "testing", "running", now=START_US)
    rows: list[DecisionRow | EventRow] = []
    for n in range(540):
        unit, arm, tier = f"m-{n}", ("control", "nine", "save")[n % 3], TIERS[n // 3 % 3]
        held = {"age": 20 + n % 50} | ({} if tier is None else {"tier": tier})
        rows.append(decided(unit, arm, frozen=json.dumps(held), propensity=1 / 3))
        if n % 2:
            rows.append(happened("Order Completed", unit, START_US + DAY_US, 10_000, object_id=f"o{n}"))
            if reported and arm != "control":
                rows.append(happened("Coupon Redeemed", unit, START_US + DAY_US, None, object_id=f"o{n}"))
    record(shop, rows)
    declared = declared_of(Repository(shop), "winback")
    shop.close()
    with open_log(shop.url) as log:
        learned = rows_of_experiment(log, declared, NOW_US)
    by_level = {level: price.tolist()[2] for level, price in learned.redemption_by_level.items()}
    assert by_level == {"": 30.0, "silver": 20.0, "gold": 15.0}
    assert learned.prices.redemption[2] == pytest.approx((30 + 20 + 15) / 3)
    assert learned.redemption_by_level["gold"][1] == learned.redemption_by_level["silver"][1] == 0
    assert learned.redemption is not None
    given = dict(zip(learned.units.tolist(), learned.redemption[:, 2].tolist(), strict=True))
    assert [given[f"m-{n}"] for n in (0, 3, 6)] == [30.0, 20.0, 15.0]
