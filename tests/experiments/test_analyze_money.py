"""Did the offer pay, from a file: figures of stats/economics on its rows, and of a computation of the test's own."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from scipy import stats as reference

from api.cli import cli
from experiments.analyze import AnalyzeOptions, analyze_file
from experiments.report.document import Report
from experiments.report.render_json import render_json
from stats.economics.returns import offer_returns
from stats.moments import Moments

NAMES = ("profit", "redemption", "contact", "buyers", "redemptions", "orders", "value")
N = 3_000
COLUMNS = ("member", "variant", "store", "orders", "paid", "margin", "used", "spent", "before")


def units() -> dict[str, Any]:
    """A campaign: the coupon moves one in twelve, 15 % off a few more; nine of ten orders use their offer."""
    rng = np.random.default_rng(8)
    variant = rng.choice(["control", "coupon", "percent"], N)
    before = np.round(rng.gamma(2.0, 50.0, N), 2)
    chance = 0.08 + 0.0004 * before + np.select([variant == "coupon", variant == "percent"], [0.08, 0.12], 0.0)
    orders = rng.binomial(2, chance / 1.5)
    paid = np.round(rng.gamma(4.0, 40.0, N) * orders, 2)
    used = np.where(variant == "control", 0, np.where(rng.random(N) < 0.9, orders, 0))
    spent = np.where(variant == "coupon", 20.0 * used, np.where(variant == "percent", np.round(0.15 * paid, 2), 0.0))
    store = [f"s{i % 60}" for i in range(N)]
    margin = np.round(0.4 * paid, 2)
    members = [f"m{i}" for i in range(N)]
    found = (members, variant, store, orders, paid, margin, used, spent, before)
    return dict(zip(COLUMNS, found, strict=True))


@pytest.fixture(scope="module")
def shop() -> dict[str, Any]:
    return units()


@pytest.fixture(scope="module")
def file(shop: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("money") / "shop.csv"
    return written(path, shop)


def written(path: Path, shop: dict[str, Any]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(COLUMNS)
        writer.writerows(zip(*(shop[name] for name in COLUMNS), strict=True))
    return path


def asked(**fields: Any) -> AnalyzeOptions:
    named: dict[str, Any] = {"margin": "margin", "orders": "orders", "order_value": "paid", "redeemed": "used"}
    named |= {"redemption_cost": ("spent",), "contact_cost": ("0.1", "percent=0.2"), "currency": "CNY"}
    return AnalyzeOptions(variant="variant", control="control", **{**named, **fields})


def money_of(shop: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return profit, redemption, contact, buyers, redemptions, orders and value of each unit, and its variant."""
    variant = shop["variant"]
    contact = np.select([variant == "coupon", variant == "percent"], [0.1, 0.2], 0.0)
    profit = shop["margin"] - shop["spent"] - contact
    rows = [profit, shop["spent"], contact, shop["orders"] > 0, shop["used"], shop["orders"], shop["paid"]]
    return np.column_stack(rows).astype(float), np.searchsorted(["control", "coupon", "percent"], variant)


def test_figures_are_those_of_the_rows(file: Path, shop: dict[str, Any]) -> None:
    report = analyze_file(file, asked())
    rows, arm = money_of(shop)
    found = report.economics
    assert found is not None
    profit = report.metrics[0]
    for j, offer in enumerate(found.offers):
        mine, theirs = rows[arm == j + 1], rows[arm == 0]
        n = len(mine)
        gain = mine.mean(axis=0) - theirs.mean(axis=0)
        cost = gain[1] + gain[2]
        totals = (offer.units, offer.cost, offer.redemptions, offer.redemption_cost, offer.contact_cost)
        assert totals == pytest.approx((n, n * cost, mine[:, 4].sum(), mine[:, 1].sum(), mine[:, 2].sum()), rel=1e-9)
        assert offer.extra_buyers.estimate == pytest.approx(n * gain[3], rel=1e-9)
        assert offer.extra_margin.estimate == pytest.approx(n * (gain[0] + cost), rel=1e-9)
        assert offer.profit.estimate == pytest.approx(n * gain[0], rel=1e-9)
        assert offer.roi.estimate == pytest.approx(gain[0] / cost, rel=1e-9)
        assert offer.sure_buyers.estimate == pytest.approx(1 - gain[3] / mine[:, 4].mean(), rel=1e-9)
        assert offer.order_value == pytest.approx(mine[:, 6].sum() / mine[:, 5].sum(), rel=1e-9)
        # The profit's interval by scipy; the ROI's by the roots of Fieller's quadratic, as many errors wide.
        alone = reference.ttest_ind(mine[:, 0], theirs[:, 0], equal_var=False).confidence_interval(0.95)
        effect = profit.comparisons[j].effect
        assert (effect.ci_low, effect.ci_high) == pytest.approx((alone.low, alone.high), rel=1e-9)
        assert effect.ci_high_adjusted is not None
        assert offer.profit.ci_high == pytest.approx(n * effect.ci_high_adjusted, rel=1e-9)
        both = np.column_stack((rows[:, 0], rows[:, 1] + rows[:, 2]))
        spread = sum(np.cov(both[arm == k].T) / (arm == k).sum() for k in (0, j + 1))
        z = (effect.ci_high_adjusted - gain[0]) / np.sqrt(spread[0, 0])
        quadratic = [cost**2 - z**2 * spread[1, 1], -2 * (gain[0] * cost - z**2 * spread[0, 1])]
        ends = np.sort(np.roots([*quadratic, gain[0] ** 2 - z**2 * spread[0, 0]]).real)
        assert (offer.roi.ci_low, offer.roi.ci_high) == pytest.approx(tuple(ends), rel=1e-6)
    same = offer_returns(Moments.from_rows(NAMES, rows, cell=arm))
    assert [o.break_even for o in found.offers] == pytest.approx(list(same.break_even), rel=1e-9)
    assert [o.naive_roi for o in found.offers] == pytest.approx(list(same.naive_roi), rel=1e-9)
    assert [o.order_margin for o in found.offers] == pytest.approx(list(same.own_margin_per_order), rel=1e-9)
    assert found.control_order_margin == pytest.approx(same.control_margin_per_order, rel=1e-9)
    beside = next(m for m in report.moments if m["group"] == "beside:economics")
    assert beside["variants"] == ["control", "coupon", "percent"]


def test_a_covariate_narrows_and_ways_to_say_it_agree(file: Path) -> None:
    plain, sharp = (analyze_file(file, asked(covariates=names)).economics for names in ((), ("before",)))
    assert plain is not None
    assert sharp is not None

    def width(of: Any) -> list[float]:
        return [offer.roi.ci_high - offer.roi.ci_low for offer in of.offers]

    assert all(a < b for a, b in zip(width(sharp), width(plain), strict=True))
    rate = analyze_file(file, asked(margin=None, margin_rate=0.4)).economics
    assert rate is not None
    assert [o.roi.estimate for o in rate.offers] == pytest.approx([o.roi.estimate for o in plain.offers], rel=1e-3)
    clusters = analyze_file(file, asked(cluster="store", split_clusters=True)).economics
    assert clusters is not None
    assert clusters.offers[0].roi == plain.offers[0].roi


def test_amounts_and_what_is_taken_for_granted(file: Path, shop: dict[str, Any]) -> None:
    bare = {"margin": None, "value": 60.0, "order_value": None, "redeemed": None, "contact_cost": ()}
    found = analyze_file(file, asked(**bare, redemption_cost=("20", "percent=24"))).economics
    assert found is not None
    orders = [shop["orders"][shop["variant"] == v].sum() for v in ("coupon", "percent")]
    assert [o.redemption_cost for o in found.offers] == pytest.approx([20.0 * orders[0], 24.0 * orders[1]])
    assert [o.order_value for o in found.offers] == [None, None]
    assert found.offers[0].order_value_change.why == "no column says what orders were worth"
    assert [note["en"][:17] for note in found.notes[-2:]] == ["Every order of a ", "Margin is 60 an o"]
    share = analyze_file(file, asked(**bare | {"redeemed": "0.9"}, redemption_cost=("coupon=20",))).economics
    assert share is not None
    assert share.offers[0].redemptions == round(0.9 * orders[0])
    assert any("what percent cost" in note["en"] for note in share.notes)
    given = analyze_file(file, asked(redeemed=None)).economics
    assert given is not None
    assert given.offers[1].redemptions == (shop["spent"][shop["variant"] == "percent"] > 0).sum()


def test_the_sentences_follow_the_scorecard() -> None:
    """Holm's interval may end just at zero: no offer is better on the profit and unclear in the sentence on it."""
    winback = Path(__file__).parents[2] / "docs" / "examples" / "winback.csv"
    asked = AnalyzeOptions(
        variant="variant", control="control", margin_rate=0.4, order_value="spend", orders="orders",
        redeemed="0.9", redemption_cost=("coupon=10", "percent=18"), contact_cost=("0.05",),
    )  # fmt: skip
    report = analyze_file(winback, asked)
    assert report.economics is not None
    assert report.metrics[0].comparisons[1].effect.ci_low_adjusted == 0.0
    assert [c.reading for c in report.metrics[0].comparisons] == ["better", "better"]
    assert [o.reading for o in report.economics.offers] == ["better", "better"]
    assert all("returned" in sentence["en"] for sentence in report.economics.sentences)


def test_a_unit_without_a_figure_counts_in_none(tmp_path: Path, shop: dict[str, Any]) -> None:
    paid = [("" if i % 10 == 0 else value) for i, value in enumerate(shop["paid"])]
    report = analyze_file(written(tmp_path / "gaps.csv", shop | {"paid": paid}), asked(metrics=("orders",)))
    kept = np.arange(N) % 10 != 0
    rows, arm = money_of(shop)
    assert report.economics is not None
    assert [o.units for o in report.economics.offers] == [int((arm[kept] == k).sum()) for k in (1, 2)]
    profit = next(m for m in report.metrics if m.name == "profit")
    assert profit.left_out == {"missing": N // 10}
    expected = rows[kept & (arm == 1), 0].mean() - rows[kept & (arm == 0), 0].mean()
    assert profit.comparisons[0].effect.estimate == pytest.approx(expected, rel=1e-9)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["analyze", *arguments])


def test_every_output_tells_it_in_both_languages(file: Path) -> None:
    shown = ["--variant", "variant", "--control", "control", "--margin", "margin", "--orders", "orders"]
    shown += ["--redeemed", "used", "--redemption-cost", "spent", "--contact-cost", "0.1", "--currency", "CNY"]
    table = run(str(file), *shown)
    assert table.exit_code == 0, table.output
    found = json.loads(run(str(file), *shown, "--output", "json").output)["economics"]
    assert len(found["sentences"]) == 2
    for sentence in found["sentences"]:
        assert "¥" in sentence["en"]
        assert "¥" in sentence["zh-CN"]
    assert found["sentences"][0]["en"] in " ".join(table.output.split())
    assert "优惠划算吗？" in run(str(file), *shown, "--lang", "zh-CN").output
    rows = list(csv.DictReader(io.StringIO(run(str(file), *shown, "--output", "csv-details").output)))
    roi = {row["figure"]: row["value"] for row in rows if (row["variant"], row["item"]) == ("coupon", "roi")}
    assert float(roi["value"]) == pytest.approx(found["offers"][0]["roi"]["estimate"], abs=1e-9)
    for lang, title in (("en", "Did the offer pay for itself?"), ("zh-CN", "优惠划算吗？")):
        page = run(str(file), *shown, "--output", "html", "--lang", lang).output
        assert title in page
        assert "¥" in page
        assert "not over yet" not in page  # a file has no time after the window


def test_where_units_hang_together_only_the_profit_has_an_interval(tmp_path: Path, shop: dict[str, Any]) -> None:
    arms = np.array(["control", "coupon", "percent"])
    whole = shop | {"variant": arms[np.arange(N) % 60 % 3]}  # every store has one variant
    found = analyze_file(written(tmp_path / "stores.csv", whole), asked(cluster="store")).economics
    assert found is not None
    assert found.offers[0].profit.ci_low is not None
    assert found.offers[0].roi.ci_low is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--redemption-cost", "30"), "say what a unit earned with --margin COLUMN"),
        (("--margin", "margin", "--value", "60", "--orders", "orders"), "both say what a unit earned"),
        (("--margin-rate", "0.4"), "name that column with --order-value"),
        (("--margin-rate", "4", "--order-value", "paid"), "give the share of the price that is margin"),
        (("--value", "60"), "with --orders"),
        (("--value", "nan", "--orders", "orders"), "give the margin of one order"),
        (("--profit", "margin"), "does not say who bought"),
        (("--margin", "margins"), "did you mean"),
        (("--margin", "margin", "--redemption-cost", "kupon=20"), "kupon"),
        (("--margin", "margin", "--redemption-cost", "-3"), "0 or more"),
        (("--margin", "margin", "--redemption-cost", "spent", "--redemption-cost", "20"), "one column, or amounts"),
        (("--margin", "margin", "--contact-cost", "coupon=x"), "give an amount of 0 or more"),
        (("--margin", "margin", "--redeemed", "-1"), "how many redemptions an order brings"),
        (("--margin", "margin", "--currency", "yuan"), "ISO 4217"),
        (("--margin", "margin", "--covariate", "margin"), "both a metric and a covariate"),
        (("--margin", "margin", "--metric", "profit"), "leave --metric profit out"),
        (("--margin", "variant"), "named as a number and as"),
        (("--margin", "margin", "--orders", "loss"), "of 0 or more"),
        (("--margin", "much"), "no unit is worth so much"),
    ],
)
def test_wrong_questions_are_refused_in_a_line(
    tmp_path: Path, shop: dict[str, Any], arguments: tuple[str, ...], said: str
) -> None:
    path = tmp_path / "few.csv"
    names = (*COLUMNS, "loss", "much")
    lines = [",".join(names), *(",".join(str(shop[name][i]) for name in COLUMNS) + f",-1,{i}e12" for i in range(40))]
    path.write_text("\n".join(lines), encoding="utf-8")
    told = run(str(path), "--variant", "variant", "--control", "control", *arguments)
    assert told.exit_code == 2
    assert said in " ".join(told.output.split())


def test_a_broken_split_says_nothing(tmp_path: Path, shop: dict[str, Any]) -> None:
    keep = [i for i in range(N) if shop["variant"][i] != "coupon" or i % 2]
    lost = {name: [shop[name][i] for i in keep] for name in COLUMNS}
    report: Report = analyze_file(written(tmp_path / "lost.csv", lost), asked())
    assert report.srm.status == "fail"
    assert report.economics is not None
    assert report.economics.sentences == []
    assert not report.economics.offers[0].readable
    assert b"NaN" not in render_json(report).encode()
