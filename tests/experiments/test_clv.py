"""``equipoise clv``: real files in, the models' numbers out, every way a file can be wrong in one line."""

from __future__ import annotations

import csv
import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from pyarrow import parquet

from api.cli import cli
from stats.clv import bgnbd, gamma_gamma
from stats.clv.summary import summary

START = dt.date(2025, 1, 1)


@pytest.fixture(scope="module")
def shop() -> list[tuple[str, dt.date, float]]:
    """Orders of 600 members within 420 days, who live by the models."""
    rng = np.random.default_rng(21)
    rows = []
    for member in range(600):
        day = float(rng.integers(0, 300))
        rate, leave, scale = rng.gamma(0.8, 1 / 40), rng.beta(0.9, 4), rng.gamma(4, 1 / 60)
        while day <= 420:
            rows.append((f"会员{member}", START + dt.timedelta(days=int(day)), round(rng.gamma(5) / scale, 2)))
            if rng.random() < leave:
                break
            day += rng.exponential(1 / rate)
    return rows


def write(
    path: Path, rows: list[tuple[Any, ...]], *, header: str = "member,paid_at,amount", encoding: str = "utf-8"
) -> Path:
    text = "\n".join([header, *(",".join(str(cell) for cell in row) for row in rows)]) + "\n"
    path.write_bytes(text.encode(encoding))
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["clv", *map(str, arguments)])


COLUMNS = ("--unit", "member", "--at", "paid_at")


def test_numbers_are_the_models(tmp_path: Path, shop: list[tuple[str, dt.date, float]]) -> None:
    file = write(tmp_path / "orders.csv", shop)
    done = run(file, *COLUMNS, "--value", "amount", "--horizon", 120, "--margin", "40%", "--output", "json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    members = sorted({row[0] for row in shop})
    index = {name: place for place, name in enumerate(members)}
    day = [(row[1] - START).days for row in shop]
    seen = summary([index[row[0]] for row in shop], day, max(day), [row[2] for row in shop])
    model, spend = bgnbd.fit(seen.frequency, seen.recency, seen.age), gamma_gamma.fit(seen.frequency, seen.monetary)
    assert [row["value"] for row in found["buying"]] == pytest.approx(
        [model.r, model.alpha, model.a, model.b], rel=1e-9
    )
    assert [row["value"] for row in found["spend"]] == pytest.approx([spend.p, spend.q, spend.gamma], rel=1e-6)
    orders = model.expected_purchases(120, seen.frequency, seen.recency, seen.age)
    value = 0.4 * orders * spend.expected_value(seen.frequency, seen.monetary)
    assert found["purchases"]["estimate"] == pytest.approx(orders.sum(), rel=1e-9)
    assert found["value"]["estimate"] == pytest.approx(value.sum(), rel=1e-6)
    assert found["value"]["ci_low"] < value.sum() < found["value"]["ci_high"]
    assert sum(row["members"] for row in found["segments"]) == found["members"] == len(members)
    assert sum(row["value"] for row in found["segments"]) == pytest.approx(value.sum(), rel=1e-6)
    # Foretold from 300 days and held against the last 120: members who live by the model are foretold.
    assert found["check"]["foretold"] == pytest.approx(found["check"]["real"], rel=0.25)
    assert sum(row["members"] for row in found["check"]["rows"]) == found["check"]["members"]
    assert not found["cautions"]


def test_a_row_a_member_as_csv_and_parquet(tmp_path: Path, shop: list[tuple[str, dt.date, float]]) -> None:
    file = write(tmp_path / "orders.csv", shop)
    target = tmp_path / "members.parquet"
    done = run(file, *COLUMNS, "--value", "amount", "--customers", target, "--output", "csv")
    assert done.exit_code == 0, done.output
    lines = list(csv.DictReader(done.output.splitlines()))
    table = parquet.read_table(target).to_pylist()
    assert [line["unit"] for line in lines] == [row["unit"] for row in table]
    assert len(lines) == len({row[0] for row in shop})
    for line, row in zip(lines, table, strict=True):
        assert float(line["expected_value"]) == pytest.approx(row["expected_value"], rel=1e-5)
        assert row["value_low"] <= row["value_high"]
        assert row["alive"] + row["churned"] == pytest.approx(1)
        assert 1 <= row["r"] <= 5
    assert not list(tmp_path.glob("*.part"))


def test_chinese_file_in_chinese(tmp_path: Path, shop: list[tuple[str, dt.date, float]]) -> None:
    rows = [(unit, f"{day.year}年{day.month}月{day.day}日", value) for unit, day, value in shop]
    file = write(tmp_path / "订单.csv", rows, header="会员,下单时间,金额", encoding="gb18030")
    done = run(file, "--unit", "会员", "--at", "下单时间", "--value", "金额", "--lang", "zh-CN")
    assert done.exit_code == 0, done.output
    assert "位会员" in done.output
    assert "重要价值客户" in done.output


def test_forms_of_dates_mean_the_same_day(tmp_path: Path, shop: list[tuple[str, dt.date, float]]) -> None:
    forms = ["{:%Y-%m-%d}", "{0.year}/{0.month}/{0.day} 9:05", "{:%Y%m%d}", "{:%Y-%m-%d}T23:59:59+08:00", "{:%Y.%m.%d}"]
    plain = write(tmp_path / "plain.csv", shop)
    mixed = write(
        tmp_path / "mixed.csv",
        [(unit, forms[place % 5].format(day), value) for place, (unit, day, value) in enumerate(shop)],
    )
    found = [json.loads(run(file, *COLUMNS, "--output", "json").output) for file in (plain, mixed)]
    for document in found:
        document.pop("source")
    assert found[0] == found[1]
    assert found[0]["value"] is None


def test_what_is_left_out_is_counted(tmp_path: Path, shop: list[tuple[str, dt.date, float]]) -> None:
    odd = [
        ("", "2025-03-01", 5),
        ("m", "", 5),
        ("m", "2025-03-01", ""),
        ("m", "2025-03-01", -9),
        ("m", "2031-01-01", 1),
    ]
    file = write(tmp_path / "orders.csv", [*shop, *odd])
    done = run(file, *COLUMNS, "--value", "amount", "--until", "2026-02-25", "--output", "json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    assert found["left_out"] == {
        "without a unit": 1, "without a time": 1, "without a value": 1, "of negative value": 1,
        "after the day of looking": 1,
    }  # fmt: skip
    assert found["until"] == "2026-02-25"
    assert found["members"] == len({row[0] for row in shop})


def test_columns_named_like_ours(tmp_path: Path, shop: list[tuple[str, dt.date, float]]) -> None:
    file = write(tmp_path / "orders.csv", [(value, day, unit) for unit, day, value in shop], header="at,value,unit")
    done = run(file, "--unit", "unit", "--at", "value", "--value", "at", "--output", "json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["value"]["estimate"] > 0


@pytest.mark.parametrize(
    ("rows", "options", "words"),
    [
        ([("a", "soon", 1)], (), "row 1, column 'paid_at': 'soon' is not a date"),
        ([("a", "2025-02-30", 1)], (), "is not a date"),
        ([("a", "2025-01-01", "much")], (), "'much' is not a number"),
        ([("a", "2025-01-01", "1e300")], (), "row 1, column 'amount': 1e+300 is more"),
        ([("a", "2025-01-01", 1)], (), "nobody ordered on a second day"),
        ([("a", "2025-01-01", -1)], (), "no row has all that is needed"),
        ([], (), "no row has all that is needed"),
        ([("a", "2025-01-01", 1)], ("--until", "2024-01-01"), "every order is after"),
        ([("a", "2025-01-01", 1)], ("--until", "May"), "--until 'May' is not a date"),
        ([("a", "2025-01-01", 1)], ("--margin", "140%"), "--margin 1.4"),
        ([("a", "2025-01-01", 1)], ("--horizon", "0"), "--horizon"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    tmp_path: Path, rows: list[tuple[Any, ...]], options: tuple[str, ...], words: str
) -> None:
    done = run(write(tmp_path / "orders.csv", rows), *COLUMNS, "--value", "amount", *options)
    assert done.exit_code == 2
    assert words in done.output
    assert "Traceback" not in done.output


def test_a_file_of_another_kind_is_refused(tmp_path: Path, shop: list[tuple[str, dt.date, float]]) -> None:
    file = write(tmp_path / "orders.csv", shop)
    done = run(file, *COLUMNS, "--customers", tmp_path / "members.xlsx")
    assert done.exit_code == 2
    assert ".csv or .parquet" in done.output
    assert run(tmp_path / "none.csv", *COLUMNS).exit_code == 2
    assert "did you mean 'member'" in run(file, "--unit", "membr", "--at", "paid_at").output


def test_few_days_and_one_price_are_cautioned(tmp_path: Path) -> None:
    """Eight members in ten days, all orders of the same price: orders only, and it says why."""
    rows = [(f"m{i}", f"2025-01-{1 + i % 3 + step:02d}", 10) for i in range(8) for step in (0, 2 + i % 2, 5)]
    done = run(write(tmp_path / "orders.csv", rows), *COLUMNS, "--value", "amount", "--output", "json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    assert found["value"] is None
    said = " ".join(caution["en"] for caution in found["cautions"])
    assert "model of spend" in said
    assert "extrapolation" in said
    assert found["check"] is None
    assert "NaN" not in done.output


def test_a_mistyped_year_is_said(shop: list[tuple[str, dt.date, float]], tmp_path: Path) -> None:
    """One order of 2099 makes everybody look gone for 73 years."""
    columns = ("--unit", "member", "--at", "paid_at", "--value", "amount")
    path = write(tmp_path / "o.csv", [*shop, ("会员1", dt.date(2099, 1, 1), 5.0)])
    found = run(path, *columns)
    assert found.exit_code == 0
    last = max(day for _, day, _ in shop)
    assert f"--until {last}" in found.output
    assert "--until" not in run(path, *columns, "--until", str(last)).output
