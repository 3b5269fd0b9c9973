"""Windows that start at the send, against plain loops over the rows."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.definitions.loader import load_text
from experiments.errors import InputError
from experiments.log.rows import DAY_US, DecisionRow, EventRow
from experiments.report.build import build_report
from experiments.report.document import Report
from experiments.store import Store
from tests.experiments.measure_oracle import Unit
from tests.experiments.measuring import NOW_US, START_US, decided, define, experiment, happened, metric, record

HOUR_US = 3_600_000_000
METRICS = {"primary": ["spend"]}


def report_of(store: Store, rows: list[DecisionRow | EventRow], now: int = NOW_US, **fields: object) -> Report:
    definition = experiment(METRICS, **({"windows_start": "send"} | fields))
    define(store, metric("spend", "sum", value="value", window={"days": 2}, covariate={"days": 28}), definition)
    record(store, rows, now)
    return build_report(store, "winback", now)


def start_of(rows: list[DecisionRow | EventRow], unit: str, event: str) -> tuple[int, bool]:
    """When a unit's windows start, by the words of the definition, and whether it was sent to."""
    mine = sorted((r for r in rows if isinstance(r, DecisionRow) and r.unit == unit), key=lambda r: r.at)
    first = mine[0]
    sends = []
    for row in rows:
        if not isinstance(row, EventRow) or row.name != event or row.at < first.at:
            continue
        if row.decision_id is not None:
            if row.decision_id == first.decision_id:
                sends.append(row.at)
        elif row.unit == unit and row.experiment in (None, "winback"):
            sends.append(row.at)
    if sends:
        return min(sends), True
    return max(first.send_at or first.at, first.at), False


def world(seed: int, event: str) -> list[DecisionRow | EventRow]:
    rng = np.random.default_rng(seed)
    rows: list[DecisionRow | EventRow] = []
    for i in range(120):
        unit = f"u{i:03d}"
        variant = str(rng.choice(["control", "a"]))
        at = START_US + int(rng.integers(0, DAY_US))
        scheduled = None if rng.random() < 0.2 else at + int(rng.integers(-2, 48)) * HOUR_US
        first = decided(unit, variant, at, send_at=scheduled, occasion="one")
        rows.append(first)
        second = decided(unit, variant, at + 3 * HOUR_US, send_at=at + 60 * HOUR_US, occasion="two")
        if rng.random() < 0.3:
            rows.append(second)
            rows.append(happened(event, unit, at + 61 * HOUR_US, decision_id=second.decision_id))
        what = rng.random() if variant == "a" else rng.uniform(0.5, 1)
        sent = at + int(rng.integers(0, 50)) * HOUR_US
        if what < 0.3:
            rows.append(happened(event, unit, sent, decision_id=first.decision_id))
            rows.append(happened(event, unit, sent + HOUR_US, decision_id=first.decision_id))
        elif what < 0.5:
            rows.append(happened(event, unit, sent, experiment="winback" if rng.random() < 0.5 else None))
        elif what < 0.6:
            rows.append(happened(event, unit, sent, experiment="another"))
            rows.append(happened(event, unit, at - HOUR_US))
        for _ in range(int(rng.poisson(8))):
            moment = at + int(rng.integers(-5 * 24, 6 * 24)) * HOUR_US + 1
            rows.append(happened("Order Completed", unit, moment, int(rng.integers(1, 9000))))
    return rows


@pytest.mark.parametrize(("seed", "event"), [(1, "Message Sent"), (2, "SMS Delivered")])
def test_windows_start_at_the_send_else_when_it_was_scheduled(store: Store, seed: int, event: str) -> None:
    rows = world(seed, event)
    report = report_of(store, rows, send_event=event)
    decisions = [r for r in rows if isinstance(r, DecisionRow)]
    sums: dict[str, list[tuple[float, float]]] = {"control": [], "a": []}
    unsent = 0
    for unit in sorted({r.unit for r in decisions}):
        start, sent = start_of(rows, unit, event)
        variant = next(r.variant for r in decisions if r.unit == unit)
        unsent += variant == "a" and not sent and start <= NOW_US
        mine = Unit(start, [r for r in rows if isinstance(r, EventRow) and r.unit == unit])
        sums[variant or ""].append(
            (sum(o.net for o in mine.placed(0, 2)) / 100, sum(o.net for o in mine.placed(-28, 0)) / 100)
        )
    assert 0 < unsent < len(sums["a"])
    assert report.population.unsent == unsent
    assert any(f"{unsent} members whose message was due" in w["en"] for w in report.warnings)
    for i, variant in enumerate(("control", "a")):
        expected = np.array(sums[variant])
        assert report.moments[0]["n"][i] == len(expected)  # type: ignore[index]
        np.testing.assert_allclose(report.moments[0]["mean"][i], expected.mean(axis=0), rtol=1e-12)  # type: ignore[index]


def test_a_send_that_is_still_to_come_is_not_missing(store: Store) -> None:
    later = NOW_US + 5 * DAY_US
    rows: list[DecisionRow | EventRow] = [
        decided(f"u{i}", v, NOW_US - HOUR_US, send_at=later) for i, v in enumerate(["a", "control"] * 10)
    ]
    report = report_of(store, rows)
    assert (report.population.unsent, report.population.immature, report.population.analysed) == (0, 20, 20)


def test_windows_that_start_at_the_decision_look_at_no_send(store: Store) -> None:
    rows = world(1, "Message Sent")
    report = report_of(store, rows, windows_start="decision")
    assert report.population.unsent is None


def test_an_exposed_population_has_its_own_start() -> None:
    import json

    wrong = experiment(METRICS, windows_start="send", population="exposed")
    with pytest.raises(InputError, match="start at the exposure"):
        load_text(json.dumps(wrong))
