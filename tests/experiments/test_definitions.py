"""Definitions: examples load, money is exact, every kind of offer costs what its words say."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.definitions import Experiment, Metric, Offer
from experiments.definitions.base import Model
from experiments.definitions.catalogue import Catalogue, check
from experiments.definitions.loader import load_file, load_text
from experiments.definitions.money import CURRENCIES, MoneyError, exponent, from_minor, to_minor
from experiments.definitions.pricing import Order, PricedOffer
from experiments.definitions.reader import read_text
from experiments.keeping import contents
from experiments.keeping.exporting import to_yaml

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "docs" / "examples").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_is_a_complete_set_of_definitions(path: Path) -> None:
    definitions = [loaded.definition for loaded in load_file(path)]
    assert check(Catalogue.of(definitions)) == []


@pytest.mark.parametrize("name", ["winback.yaml", "hillstrom.yaml"])
def test_the_ready_examples_speak_both_languages(name: str) -> None:
    (path,) = (path for path in EXAMPLES if path.name == name)
    for loaded in load_file(path):
        assert set(getattr(loaded.definition, "name", None) or {"en", "zh-CN"}) >= {"en", "zh-CN"}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_storing_and_exporting_lose_nothing(path: Path) -> None:
    for loaded in load_file(path):
        definition = loaded.definition
        assert contents.load(definition.kind, contents.dump(definition)) == definition
        (again,) = load_text(to_yaml(contents.short(definition)))
        assert again.definition == definition


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**17), 10**17)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(texts, values, min_size=1, max_size=4))
def test_what_is_exported_is_read_back_the_same(document: dict[str, object]) -> None:
    (read,) = read_text("---\n" + to_yaml(document))
    assert read.value == document


def test_our_reader_and_pyyaml_find_the_same_words_in_the_examples() -> None:
    for path in EXAMPLES:
        text = path.read_text(encoding="utf-8")
        for ours, theirs in zip(read_text(text), yaml.load_all(text, Loader=yaml.CBaseLoader), strict=True):
            assert _words(ours.value) == theirs


def _words(value: object) -> object:
    """Return every scalar as the text that PyYAML's base loader, which converts nothing, gives."""
    if isinstance(value, dict):
        return {key: _words(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_words(item) for item in value]
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


def test_minor_units_follow_iso_4217() -> None:
    # Exponents from the ISO 4217 list one of active codes.
    assert [exponent(code) for code in ("CNY", "USD", "JPY", "KRW", "KWD", "BHD", "CLF")] == [2, 2, 0, 0, 3, 3, 4]
    assert to_minor("99.99", "CNY") == 9999
    assert to_minor("1000", "JPY") == 1000
    with pytest.raises(MoneyError, match=r'"1\.5" has more decimals than JPY, which has 0; round it'):
        to_minor("1.5", "JPY")
    for wrong in ("1,000", "1e3", " 1", "¥20", "20.", ".5", "٣"):
        with pytest.raises(MoneyError, match="an amount is decimal text"):
            to_minor(wrong, "CNY")


@given(st.integers(-(10**14), 10**14), st.sampled_from(sorted(CURRENCIES)))
def test_money_survives_the_way_out_and_in(minor: int, currency: str) -> None:
    assert to_minor(from_minor(minor, currency), currency) == minor


def offer(**fields: object) -> PricedOffer:
    return PricedOffer(Offer.model_validate({"kind": "offer", "key": "o", "name": "O", **fields}), "CNY")


@pytest.mark.parametrize(
    ("fields", "order", "cost_minor"),
    [
        # 满100减30: ¥99.99 → 0, ¥100 → 30
        ({"type": "spend_x_save_y", "face_value": "30", "minimum_spend": "100"}, Order(9_999), 0),
        ({"type": "spend_x_save_y", "face_value": "30", "minimum_spend": "100"}, Order(10_000), 3_000),
        # 9折 is 10 % off, 8.5折 is 15 % off; halves of a fen are rounded up
        ({"type": "percent_off", "percent_off": "9折"}, Order(10_000), 1_000),
        ({"type": "percent_off", "percent_off": "8.5折"}, Order(10_000), 1_500),
        ({"type": "percent_off", "percent_off": "10%"}, Order(5), 1),
        ({"type": "percent_off", "percent_off": "10%", "maximum_discount": "5"}, Order(10_000), 500),
        ({"type": "percent_off", "percent_off": "10%", "minimum_spend": "100.01"}, Order(10_000), 0),
        # 20元无门槛券: never more than the order
        ({"type": "fixed_coupon", "face_value": "20"}, Order(5_000), 2_000),
        ({"type": "fixed_coupon", "face_value": "20"}, Order(1_500), 1_500),
        ({"type": "fixed_coupon", "face_value": "20", "redemption_cost": "12"}, Order(5_000), 1_200),
        # double points: ¥100 earns 100 points more, 100 points are worth ¥1, a fifth is never used
        (
            {
                "type": "points_multiplier",
                "multiplier": "2",
                "points_per_unit": "1",
                "point_value": "0.01",
                "breakage": "20%",
            },
            Order(10_000),
            80,
        ),
        # 集5星兑1杯: the fifth star redeems
        ({"type": "stamp_card", "stamps_needed": 5, "redemption_cost": "8"}, Order(3_000, nth=4), 0),
        ({"type": "stamp_card", "stamps_needed": 5, "redemption_cost": "8"}, Order(3_000, nth=5), 800),
        ({"type": "stamp_card", "stamps_needed": 5, "redemption_cost": "8"}, Order(3_000, nth=10), 800),
        ({"type": "gift", "redemption_cost": "6.5", "face_value": "19.9"}, Order(100), 650),
        ({"type": "gift", "redemption_cost": "6.5", "minimum_spend": "50"}, Order(4_999), 0),
        ({"type": "free_shipping"}, Order(1_000, shipping_minor=800), 800),
        ({"type": "free_shipping", "redemption_cost": "6"}, Order(1_000, shipping_minor=800), 600),
        ({"type": "early_access"}, Order(9_000), 0),
        # 198元年费: what it costs us less what the member pays
        ({"type": "paid_trial", "price": "9.9", "redemption_cost": "30"}, Order(0), 2_010),
        # 邀请3人得20元
        ({"type": "referral_reward", "face_value": "20", "referrals_needed": 3}, Order(9_000, nth=2), 0),
        ({"type": "referral_reward", "face_value": "20", "referrals_needed": 3}, Order(9_000, nth=3), 2_000),
        ({"type": "content_only"}, Order(9_000), 0),
    ],
)
def test_an_offer_costs_what_its_words_say(fields: dict[str, object], order: Order, cost_minor: int) -> None:
    assert offer(**fields).cost_minor(order) == cost_minor


def test_every_kind_of_offer_is_priced() -> None:
    from experiments.definitions.offer import _NEEDS, OfferType
    from experiments.definitions.pricing import _COSTS

    assert set(_COSTS) == set(_NEEDS) == set(OfferType.__args__)  # type: ignore[attr-defined]


def test_a_contact_may_cost_less_than_a_minor_unit() -> None:
    priced = offer(type="content_only", contact_cost={"sms": "0.045", "push": "0"})
    assert priced.contact_cost_minor("sms") == Fraction(9, 2)
    assert priced.contact_cost_minor("push") == priced.contact_cost_minor(None) == 0


@pytest.mark.parametrize(
    ("fields", "liability_minor"),
    [
        ({"type": "spend_x_save_y", "face_value": "30", "minimum_spend": "100"}, 3_000),
        ({"type": "percent_off", "percent_off": "9折"}, None),
        ({"type": "percent_off", "percent_off": "9折", "maximum_discount": "50"}, 5_000),
        ({"type": "stamp_card", "stamps_needed": 5, "redemption_cost": "8"}, 800),
        ({"type": "content_only"}, 0),
    ],
)
def test_liability_is_the_most_that_one_can_cost(fields: dict[str, object], liability_minor: int | None) -> None:
    assert offer(**fields).liability_minor() == liability_minor


def test_plain_text_means_one_language() -> None:
    layer = load_text("kind: layer\nkey: a\nname: 唤醒")[0].definition
    assert layer.model_dump()["name"] == {"zh-CN": "唤醒"}


def test_variant_keys_may_be_the_words_of_a_file() -> None:
    arms = [{"key": "No E-Mail"}, {"key": "Mens E-Mail"}]
    found = Experiment.model_validate(
        {
            "kind": "experiment",
            "key": "x",
            "name": "X",
            "variants": arms,
            "control": "No E-Mail",
            "metrics": {"primary": ["m"]},
        }
    )
    assert list(found.split()) == ["No E-Mail", "Mens E-Mail"]


def test_money_over_money_is_a_plain_number() -> None:
    base = {
        "kind": "metric",
        "key": "m",
        "name": "M",
        "type": "ratio",
        "event": "E",
        "value": "value",
        "window": {"days": 1},
    }
    per_order = Metric.model_validate({**base, "denominator": {"event": "E"}})
    share = Metric.model_validate({**base, "denominator": {"event": "E", "value": "value"}})
    assert (per_order.is_money, share.is_money) == (True, False)


def test_definitions_cannot_be_changed_in_place() -> None:
    layer = load_text("kind: layer\nkey: a")[0].definition
    assert isinstance(layer, Model)
    with pytest.raises(ValueError, match="frozen"):
        layer.key = "b"  # type: ignore[misc]
