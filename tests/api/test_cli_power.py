"""``equipoise power`` as a planner would use it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from api.cli import cli
from stats.power import Means, Proportions, mde, power, sample_size


def run(*arguments: str) -> Any:
    return CliRunner().invoke(cli, ["power", *arguments], prog_name="equipoise", env={"COLUMNS": "140"})


def plan(*arguments: str) -> dict[str, Any]:
    result = run(*arguments, "--output", "json")
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    assert "NaN" not in result.stdout
    return document


def test_units_weeks_and_curve() -> None:
    found = plan("--baseline", "0.05", "--effect", "10%", "--units-per-week", "20000", "--window", "14")
    n = float(sample_size(Proportions(0.05), 0.005))
    assert found["target"]["units"] == 2 * -(-n // 1)
    assert (found["target"]["weeks"], found["target"]["days"]) == (4, 42)
    third = found["rows"][2]
    assert (third["weeks"], third["units"]) == (3, 60_000)
    assert third["mde"] == pytest.approx(float(mde(Proportions(0.05), 30_000)))
    assert third["power"] == pytest.approx(float(power(Proportions(0.05), 0.005, 30_000)))
    chances = [point["power"] for point in found["curve"]]
    assert chances == sorted(chances)


def test_absolute_and_relative_effects_are_one() -> None:
    ways = [plan("--baseline", "0.05", "--effect", effect)["target"]["units"] for effect in ("10%", "0.5pp", "0.005")]
    assert len(set(ways)) == 1
    down = plan("--baseline", "0.05", "--effect", "-10%")
    assert down["target"]["units"] != ways[0]
    assert all(row["mde"] < 0 for row in down["rows"])


def test_a_baseline_may_be_a_percentage() -> None:
    share, percent = (plan("--baseline", text, "--effect", "10%") for text in ("0.05", "5%"))
    assert percent["target"] == share["target"]


def test_splits_variants_guardrails() -> None:
    three = plan("--mean", "10", "--sd", "40", "--effect", "5%", "--variants", "3", "--guardrails", "1")
    assert three["level"] == pytest.approx(0.025)
    assert three["power_each"] == pytest.approx(0.9)
    assert list(three["split"]) == ["control", "A", "B"]
    uneven = plan("--mean", "10", "--sd", "40", "--effect", "5%", "--split", "9,1")
    control = float(sample_size(Means(40.0, ratio=1 / 9), 0.5))
    assert uneven["target"]["units_by_variant"]["control"] == -(-control // 1)


def test_watched_clustered_and_waves_cost_more() -> None:
    base = ("--baseline", "0.05", "--effect", "10%")
    plain = plan(*base)["target"]["units"]
    group = plan(*base, "--inference", "group-sequential")
    always = plan(*base, "--inference", "always-valid")
    assert plain < group["target"]["units"] < 1.1 * plain < always["target"]["units"]
    assert group["target"]["expected_units"] < group["target"]["units"]
    assert group["inflation"] == pytest.approx(1.037, abs=0.02)
    stores = plan(*base, "--icc", "0.01", "--cluster-size", "200")
    assert stores["design_effect"] == pytest.approx(2.99)
    assert stores["target"]["units"] % 200 == 0
    waves = plan(*base, "--waves", "6", "--wave-spread", "3%")
    assert waves["target"]["units"] > plain


def test_rare_outcomes_are_gone_through() -> None:
    found = plan("--baseline", "0.002", "--units", "4000", "--effect", "200%")
    assert [row["units"] for row in found["rows"]] == [1000, 2000, 3000, 4000]
    assert all(row["exact"] for row in found["rows"])
    assert found["rows"][-1]["mde"] == pytest.approx(0.006, abs=5e-4)


def test_guardrails() -> None:
    found = plan("--baseline", "0.008", "--non-inferiority", "30%", "--direction", "decrease")
    assert found["goal"] == "non_inferiority"
    at = next(row for row in found["rows"] if row["units"] == found["target"]["units"])
    assert at["mde_relative"] == pytest.approx(0.3, abs=0.005)
    assert at["power"] == pytest.approx(0.8, abs=1e-3)


def test_break_even_stands_beside() -> None:
    found = plan("--baseline", "0.02", "--units", "40000", "--margin", "60", "--cost", "30", "--contact-cost", "0.1")
    assert found["break_even"]["uplift"] == pytest.approx(0.0233333333)
    assert found["break_even"]["mde"] == found["rows"][-1]["mde"]
    never = plan("--baseline", "0.02", "--units", "40000", "--margin", "20", "--cost", "30")
    assert never["break_even"]["uplift"] is None
    assert never["break_even"]["why"]


def test_files(tmp_path: Path) -> None:
    rows = [(i % 7 * 3.0 + (i % 3), i % 7 + 1, i % 7 * 2.0, i % 5 == 0) for i in range(400)]
    path = tmp_path / "past.csv"
    path.write_text(
        "spend,visits,before,bought\n" + "".join(f"{a},{b},{c},{int(d)}\n" for a, b, c, d in rows), encoding="utf-8"
    )
    mean = plan(str(path), "--metric", "spend", "--covariate", "before", "--effect", "5%")
    assert mean["baseline"]["kind"] == "mean"
    assert mean["baseline"]["mean"] == pytest.approx(sum(r[0] for r in rows) / 400)
    assert mean["baseline"]["reduction"] > 0.9
    assert plan(str(path), "--metric", "bought", "--effect", "5%")["baseline"]["kind"] == "proportion"
    ratio = plan(str(path), "--ratio", "spend/visits", "--effect", "5%")
    assert ratio["baseline"]["mean"] == pytest.approx(sum(r[0] for r in rows) / sum(r[1] for r in rows))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "what is the baseline?"),
        (("--baseline", "0.05", "--mean", "3", "--sd", "1"), "both say the baseline"),
        (("--baseline", "5", "--effect", "10%"), "must lie between 0 and 1"),
        (("--baseline", "five", "--effect", "10%"), "write 0.05 or 5%"),
        (("--baseline", "0.05", "--effect", "ten"), "write 10%"),
        (("--baseline", "0.05", "--effect", "0"), "nothing to detect"),
        (("--baseline", "0.95", "--effect", "10%"), "a proportion lies between"),
        (("--mean", "3"), "--mean and --sd belong together"),
        (("--mean", "3", "--sd", "0"), "does not vary"),
        (("--baseline", "0.05", "--icc", "0.01"), "belong together"),
        (("--baseline", "0.05", "--split", "1"), "control first"),
        (("--baseline", "0.05", "--units-per-week", "many"), "new units a week"),
        (("--baseline", "0.05", "--units", "100", "--units-per-week", "5"), "give one"),
        (
            (
                "--baseline",
                "nan",
            ),
            "must lie between 0 and 1",
        ),
        (("--baseline", "0.05", "--units", "1000", "--cost", "5"), "give --margin"),
        (("nowhere.csv", "--metric", "x"), "no such file"),
        (("--mean", "nan", "--sd", "3"), "--mean nan: give a number"),
        (("--mean", "3", "--sd", "inf"), "--sd inf: give a number from 0"),
        (("--baseline", "0.05", "--icc", "0.1", "--cluster-size", "inf"), "--cluster-size inf: give a number from 1"),
        (("--baseline", "0.05", "--margin", "60", "--cost", "nan"), "--cost nan: give a number from 0"),
        (("--baseline", "0.05", "--margin", "60", "--cost", "3", "--redeemed", "nan"), "--redeemed nan: give a number"),
        (("--baseline", "0.05", "--margin", "60", "--cost", "3", "--currency", "XXX"), "give an ISO 4217 code"),
    ],
)
def test_wrong_use_is_one_line(arguments: tuple[str, ...], says: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert says in result.stderr
    assert result.stderr.count("\n") == 1


def test_table_and_csv() -> None:
    english = run("--baseline", "0.05", "--effect", "10%", "--units-per-week", "20000").stdout
    assert "To find +10.0% (+0.50 pp): 62,468 units" in english
    chinese = run("--baseline", "0.05", "--effect", "10%", "--lang", "zh-CN").stdout
    assert "共需 62,468 个单元" in chinese
    written = run("--baseline", "0.05", "--effect", "10%", "--output", "csv").stdout
    rows = list(csv.DictReader(io.StringIO(written)))
    assert rows[0]["part"] == "target"
    assert {row["part"] for row in rows} == {"target", "row", "curve"}
    impossible = run("--baseline", "0.05", "--effect", "10%", "--waves", "2", "--wave-spread", "50%")
    assert "no number of units is enough" in impossible.stdout
