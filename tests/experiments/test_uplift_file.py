"""Files with one row per unit: what is a number, what is a level, what an offer costs, and what is refused."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.errors import InputError
from experiments.uplift.document import Interval, PolicyValue
from experiments.uplift.learned import Learned, rows_of_file
from experiments.uplift.of_file import recommend_file, write_scores
from experiments.uplift.options import FileOptions
from experiments.uplift.rendering import render_csv, render_json
from experiments.uplift.words import Wording


def write(path: Path, *, rows: int = 3_000, seed: int = 3, encoding: str = "utf-8", picked: bool = False) -> Path:
    """A file in which offer a works in city 北京 only; ``picked``: the old were given it, nobody drew."""
    rng = np.random.default_rng(seed)
    with path.open("w", encoding=encoding, newline="") as file:
        out = csv.writer(file)
        out.writerow(["id", "组", "城市", "age", "vip", "bought", "coupons", "p"])
        for number in range(rows):
            city, age, vip = ["北京", "上海"][int(rng.integers(0, 2))], int(rng.integers(20, 60)), rng.random() < 0.3
            arm = "a" if (age > 40 if picked else rng.random() < 0.5) else "none"
            bought = rng.random() < 0.15 + (0.35 if arm == "a" and city == "北京" else 0.0)
            missing = number % 50 == 0
            used = int(bought and arm == "a")
            known = "" if missing else age
            out.writerow([f"u{number}", arm, city, known, str(vip).lower(), int(bought), used, 0.5])
    return path


def options(**changes: Any) -> FileOptions:
    base: dict[str, Any] = {
        "variant": "组",
        "control": "none",
        "outcome": "bought",
        "attributes": ["城市", "age", "vip"],
    }
    return FileOptions(**(base | changes))


def read(path: Path, **changes: Any) -> Learned:
    return rows_of_file(path, options(**changes))


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "utf-16"])
def test_columns_are_numbers_or_levels_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    found = read(write(tmp_path / "f.csv", rows=600, encoding=encoding), unit="id")
    assert found.arms == ("none", "a")
    assert list(found.columns) == ["城市", "age", "vip"]
    assert sorted(set(found.columns["城市"])) == ["上海", "北京"]
    assert np.isnan(found.columns["age"]).sum() == 12
    assert set(found.columns["vip"]) == {"true", "false"}
    assert found.units[1] == "u1"
    assert (found.currency, found.logged) == (None, False)


def test_all_but_takes_every_other_column_and_leaves_ids_out(tmp_path: Path) -> None:
    found = read(write(tmp_path / "f.csv"), attributes=(), all_but=["bought", "coupons", "p"])
    assert list(found.columns) == ["城市", "age", "vip"]
    assert found.left_out == {"id:id": 1}


def test_prices_by_arm_and_redemptions_from_a_column_or_a_share(tmp_path: Path) -> None:
    path = write(tmp_path / "f.csv")
    found = read(path, value=60.0, redemption_cost=["20", "a=30"], redeemed="coupons", contact_cost=["0.1"])
    assert found.prices.redemption.tolist() == [0.0, 30.0]
    assert found.prices.contact.tolist() == [0.0, 0.1]
    assert found.prices.redeemed == pytest.approx([0.0, 1.0])  # every buyer of arm a used one
    assert found.redemptions is not None
    assert found.redemptions.sum() == (found.trial.outcome * (found.trial.arm == 1)).sum()
    assert read(path, redemption_cost=["30"], redeemed="0.4").prices.redeemed.tolist() == [0.0, 0.4]
    assert read(path, redemption_cost=["30"]).assumed == ("every_buyer_redeems",)


def test_propensities_from_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "f.csv", rows=600)
    for given in (["p"], ["a=p"], ["a=p", "none=p"]):
        found = read(path, propensity=given)
        assert found.logged
        assert found.trial.propensity == pytest.approx(np.full((600, 2), 0.5))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"attributes": ["cty"]}, "no column 'cty'"),
        ({"attributes": ["bought"]}, "'bought' is named as --outcome and as an attribute"),
        ({"attributes": []}, "no attributes to learn from"),
        ({"control": "nobody"}, "no arm 'nobody'"),
        ({"outcome": "城市", "attributes": ["age"]}, "is not a number"),
        ({"outcome": "组"}, "is named as --variant and as --outcome"),
        ({"redemption_cost": ["x"]}, "--redemption-cost 'x'"),
        ({"contact_cost": ["b=1"]}, "no arm 'b'"),
        ({"contact_cost": ["-1"]}, "an amount of 0 or more"),
        ({"value": float("nan")}, "--value nan"),
        ({"propensity": ["bought"]}, "must hold probabilities"),
        ({"propensity": ["b=p"]}, "no arm 'b'"),
        ({"recency": "age"}, "--frequency is missing"),
        ({"split": "none=1"}, "split"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says) as found:
        read(write(tmp_path / "f.csv", rows=400), **changes)
    assert "\n" not in str(found.value)


def test_too_few_rows_of_an_arm_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="100 are the least: gather more"):
        read(write(tmp_path / "f.csv", rows=150))


@pytest.mark.slow
def test_a_file_in_which_one_city_responds_gets_its_coupons(tmp_path: Path) -> None:
    path = write(tmp_path / "f.csv")
    given = options(
        value=60.0, redemption_cost=["20"], redeemed="coupons", contact_cost=["1"], split="none=1,a=1", unit="id"
    )
    written = recommend_file(path, given)
    document = written.document
    # Truth: in 北京 (60 − 20) × .5 − 60 × .15 − 1 = 10 a member; elsewhere (60 − 20) × .15 − 60 × .15 − 1 = −4.
    assert (document.causal, document.evidence, document.recommended) == (True, True, "personalised")
    assert document.rule == {"attribute": "城市", "op": "eq", "value": "北京"}
    (personalised,) = [policy for policy in document.policies if policy.code == "personalised"]
    assert 0.4 < personalised.treated < 0.6
    low, high = personalised.value.ci_low, personalised.value.ci_high
    assert low is not None
    assert high is not None
    assert low < 10.0 * np.mean(written.learned.columns["城市"] == "北京") < high
    assert document.sentence["en"].startswith("Sending a to the top 5")
    assert document.sentence["zh-CN"].startswith("只向预测增量最高的 5")
    out = tmp_path / "scores.csv"
    assert write_scores(out, written) == 3_000
    lines = list(csv.DictReader(out.open(encoding="utf-8")))
    assert set(lines[0]) == {"unit", "arm", "gain:a", "recommended"}
    assert sum(line["recommended"] == "a" for line in lines) / 3_000 == pytest.approx(personalised.treated, abs=1e-9)
    assert "NaN" not in render_json(document)
    assert "policy,personalised,,gain," in render_csv(document)


@pytest.mark.parametrize("changes", [{}, {"observational": True}])
def test_data_that_nobody_drew_bear_no_causal_words(tmp_path: Path, changes: dict[str, Any]) -> None:
    picked = not changes
    document = recommend_file(write(tmp_path / "f.csv", picked=picked), options(**changes)).document
    assert document.causal is False
    assert (document.policies, document.curves, document.recommended, document.rule) == ([], [], None, None)
    assert all(arm.effect is None and arm.profit is None for arm in document.arms)
    assert document.sentence["en"].startswith("These data cannot say who should get which offer")
    failed = [check for check in document.checks if check.status == "fail"]
    assert failed[0].code == ("propensity" if picked else "design")
    assert all(check.needed["en"] and check.needed["zh-CN"] for check in failed)
    words = " ".join(document.sentence.values()).lower()
    assert not any(word in words for word in ("uplift", "earn", "effect", "增量"))


def drawn(path: Path, rows: int = 2_000, **more: Any) -> Path:
    """A file in which nothing differs: one in ten buys."""
    rng = np.random.default_rng(8)
    plain: dict[str, Any] = {
        "id": [f"u{number}" for number in range(rows)],
        "arm": np.array(["none", "a"])[rng.integers(0, 2, rows)],
        "age": rng.integers(20, 60, rows),
        "bought": (rng.random(rows) < 0.1).astype(int),
    }
    columns = plain | more
    with path.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file)
        out.writerow(columns)
        out.writerows(zip(*columns.values(), strict=True))
    return path


def asked(path: Path, *but: str, **more: Any) -> Any:
    given: dict[str, Any] = {"variant": "arm", "control": "none", "outcome": "bought", "attributes": ()}
    return recommend_file(path, FileOptions(**(given | {"all_but": ("id", *but)} | more))).document


def test_an_attribute_that_gives_the_outcome_away_is_refused_by_name(tmp_path: Path) -> None:
    """Without the check the effect was shown as 0.00 with an interval of no width."""
    bought = (np.random.default_rng(9).random(2_000) < 0.1).astype(int)
    path = drawn(tmp_path / "f.csv", bought=bought, revenue=30 * bought)
    document = asked(path)
    assert not document.causal
    assert "an attribute gives the outcome away (revenue tells 100% of bought)" in document.sentence["en"]
    assert "有属性泄露了结果" in document.sentence["zh-CN"]
    assert asked(path, "revenue").causal


def test_outcomes_that_one_arm_lost_more_often_are_refused(tmp_path: Path) -> None:
    """An empty cell where nothing was bought: who is left are buyers, and more of one arm."""
    rng = np.random.default_rng(3)
    arm = np.array(["none", "a"])[rng.integers(0, 2, 4_000)]
    bought = np.where(rng.random(4_000) < np.where(arm == "a", 0.3, 0.2), "1", "")
    path = drawn(tmp_path / "f.csv", 4_000, arm=arm, bought=bought)
    document = asked(path)
    (lost,) = [check for check in document.checks if check.code == "lost"]
    assert (document.causal, lost.status) == (False, "fail")
    assert "write 0 and not an empty cell" in lost.needed["en"]
    alike = np.where(rng.random(4_000) < 0.2, "", (rng.random(4_000) < 0.1).astype(int).astype(str))
    document = asked(drawn(tmp_path / "g.csv", 4_000, arm=arm, bought=alike))
    (lost,) = [check for check in document.checks if check.code == "lost"]
    assert (document.causal, lost.status) == (True, "ok")
    assert any("rows without an outcome are left out" in text["en"] for text in document.warnings)


def test_what_was_not_learned_from_is_said(tmp_path: Path) -> None:
    rows = 2_000
    path = drawn(
        tmp_path / "f.csv", rows, same=["x"] * rows, empty=[""] * rows, number=range(rows, 2 * rows),
        shop=[f"s{number % 700}" for number in range(rows)], bought=[0] * rows,
    )  # fmt: skip
    said = " ".join(text["en"] for text in asked(path).warnings)
    for words in (
        "every row has the same value: same, empty.",
        "in few rows only; group them: shop.",
        "Another whole number in every row: number.",
        "bought is 0 for every unit: there is nothing to learn from.",
    ):
        assert words in said
    twice = path.read_text(encoding="utf-8") + "\n".join(path.read_text(encoding="utf-8").splitlines()[1:31])
    path.write_text(twice, encoding="utf-8")
    said = " ".join(text["en"] for text in asked(path, unit="id").warnings)
    assert "30 further rows of the same units are left out." in said


def test_a_simpler_way_that_looks_better_is_to_be_tested(tmp_path: Path) -> None:
    """The table shows its interval above zero: without a word that contradicts "no evidence"."""
    wording = Wording(read(write(tmp_path / "f.csv", rows=600), value=60.0, currency="CNY"), {}, "member", 0.05)

    def said(low: float, *, evidence: bool = False) -> str:
        value = Interval(estimate=1.0, ci_low=-1.0, ci_high=3.0)
        plain: dict[str, Any] = {"label": {"en": "By a rule", "zh-CN": "按规则"}, "value": value, "treated": 0.5}
        rule = PolicyValue(code="tree", gain=Interval(estimate=1.0, ci_low=low, ci_high=2.0), **plain)
        single = PolicyValue(code="best_single", **plain)
        return " ".join(text["en"] for text in wording.reasons([rule, single], 1, evidence=evidence))

    assert "By a rule: +¥1.00 (95% interval +¥0.20 to +¥2.00) over sending a to all. Of several ways" in said(0.2)
    assert "By a rule" not in said(-0.2) + said(0.2, evidence=True)


def test_a_gain_over_nobody_is_said_once(tmp_path: Path) -> None:
    wording = Wording(read(write(tmp_path / "f.csv", rows=600), value=60.0, currency="CNY"), {}, "member", 0.05)
    gained = Interval(estimate=1.5, ci_low=0.5, ci_high=2.5)
    plain: dict[str, Any] = {"label": {}, "value": gained, "treated": 0.4, "cost": 1.0}
    mine = PolicyValue(code="personalised", gain=gained, mix={"none": 0.6, "a": 0.4}, **plain)
    told = wording.sentence([mine, PolicyValue(code="best_single", **plain)], 0, evidence=True)
    assert told["en"] == (
        "Sending a to the top 40% only is expected to earn ¥1.50 a member more than sending nothing "
        "(95% interval +¥0.50 to +¥2.50)."
    )
    assert told["zh-CN"].count("¥1.50") == 1
