"""The surrogate index on a real log: the numbers of loops over the rows, and clear words where it cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from allocation.decision import decision_id
from api.cli import cli
from experiments.errors import InputError
from experiments.lifecycle.transition import transition
from experiments.log.rows import DAY_US, DecisionRow, EventRow
from experiments.programme.surrogate import build_surrogate
from experiments.programme.surrogate_asking import SurrogateOptions
from experiments.store import Store, open_store
from experiments.store.migrate import upgrade
from stats.moments import Moments
from stats.surrogate import checked, effect, learn
from tests.experiments.measuring import START_US, decided, define, experiment, happened, metric, record

NOW_US = START_US + 120 * DAY_US
UNITS = 300
COLUMNS = ("orders", "spend", "long")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Store]:
    store = open_store(f"sqlite:///{tmp_path / 'equipoise.sqlite'}")
    upgrade(store)
    metrics = [metric("orders", "count"), metric("spend", "sum", value="value"), metric("also", "count")]
    tests = [experiment({"primary": ["orders"]}, key=key) for key in ("old-1", "old-2", "new", "draft")]
    define(store, *metrics, *tests)
    for key in ("old-1", "old-2", "new"):
        for state in ("review", "testing", "running"):
            transition(store, key, state, "ann", "because", now=START_US - DAY_US)
    yield store
    store.close()


def lived() -> tuple[list[DecisionRow | EventRow], dict[str, np.ndarray]]:
    """Rows of three tests, and per unit: variant, orders and spend of 14 days, spend of 90."""
    rng = np.random.default_rng(11)
    rows: list[DecisionRow | EventRow] = []
    units: dict[str, list[tuple[float, ...]]] = {"old-1": [], "old-2": [], "new": []}
    for key, table in units.items():
        for number in range(UNITS):
            unit, variant = f"{key}-{number}", number % 2
            at = START_US + int(rng.integers(0, DAY_US)) + (100 * DAY_US if key == "new" else 0)
            identity = decision_id(key, 1, "member", unit, "")
            rows.append(decided(unit, ("control", "a")[variant], at, experiment=key, decision_id=identity))
            orders, spend, long = 0, 0.0, 0.0
            for k in range(int(rng.poisson(2 + 0.5 * variant))):
                day, value = float(rng.uniform(0, 95)), int(rng.integers(1000, 9000))
                rows.append(happened("Order Completed", unit, at + int(day * DAY_US), value, object_id=f"{unit}-{k}"))
                if at + int(day * DAY_US) > NOW_US:
                    continue
                if day < 14:
                    orders, spend = orders + 1, spend + value / 100
                long += value / 100 if day < 90 else 0
            table.append((variant, orders, spend, long))
    return rows, {key: np.array(table) for key, table in units.items()}


def test_numbers_are_those_of_loops(shop: Store) -> None:
    rows, units = lived()
    record(shop, rows, NOW_US)
    found = build_surrogate(shop, SurrogateOptions("new", "spend", ("orders", "spend")), NOW_US)
    moments = {key: Moments.from_rows(COLUMNS, t[:, 1:], cell=t[:, 0].astype(int)) for key, t in units.items()}
    past = [(key, moments[key]) for key in ("old-1", "old-2")]
    index = learn([sample for _, sample in past], COLUMNS[:2], "long")
    held = checked(past, COLUMNS[:2], "long")
    expected = effect(index, moments["new"])
    assert found.early == ["orders", "spend"]
    assert found.slopes == pytest.approx(index.slopes.tolist(), rel=1e-9)
    assert found.units == 2 * UNITS
    assert found.effects[0].estimate == pytest.approx(expected.estimate, rel=1e-9)
    assert found.effects[0].ci_high == pytest.approx(expected.ci_high, rel=1e-9)
    assert found.p_value == pytest.approx(held.p_value, rel=1e-6)
    assert [row.comparison for row in found.past] == ["old-1", "old-2"]
    assert found.past[0].observed == pytest.approx(held.past[0].observed.estimate, rel=1e-9)
    assert len(found.assumptions) == 3


@pytest.mark.slow
def test_metrics_that_differ_in_their_window_alone_are_one(shop: Store) -> None:
    rows, _ = lived()
    record(shop, rows, NOW_US)
    found = build_surrogate(shop, SurrogateOptions("new", "spend"), NOW_US)
    assert found.early == ["also", "spend"]  # "orders" counts the same as "also"


def test_what_is_not_there_is_said(shop: Store) -> None:
    for options, words in (
        (SurrogateOptions("new", "profit"), "no metric 'profit'"),
        (SurrogateOptions("new", "spend", early_days=90), "must be below"),
        (SurrogateOptions("draft", "spend"), "has not run yet"),
    ):
        with pytest.raises(InputError, match=words):
            build_surrogate(shop, options, NOW_US)


@pytest.mark.slow
def test_what_cannot_be_foretold_yet_says_why(shop: Store) -> None:
    rows, _ = lived()
    record(shop, rows, NOW_US)
    for options, words in (
        (SurrogateOptions("new", "spend", long_days=200), "nothing to learn"),
        (SurrogateOptions("new", "spend", early_days=30), "come later"),
    ):
        with pytest.raises(InputError, match=words):
            build_surrogate(shop, options, NOW_US)


def test_command(shop: Store, tmp_path: Path) -> None:
    rows, _ = lived()
    record(shop, rows, NOW_US)
    shop.close()
    asked = ["--data", str(tmp_path), "programme", "surrogate", "new", "--long", "spend"]
    table = CliRunner().invoke(cli, asked)
    assert table.exit_code == 0, table.output
    assert "Assumed" in table.output
    wrong = CliRunner().invoke(cli, [*asked[:-1], "nothing"])
    assert wrong.exit_code == 2
