"""Whatever the order of arrival, the report is the same document.

Outcomes before exposures before decisions, links and traits at any time, twice, in many spools and many batches.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from experiments.log.loader import Loader
from experiments.log.rows import AliasRow, DecisionRow, EventRow, TraitsRow
from experiments.log.spool import LogRow, Spool
from experiments.report.build import build_report
from experiments.store import Store
from experiments.store.log_tables import decisions, events, identities, links, members
from tests.experiments.measuring import NOW_US
from tests.experiments.test_report_build import campaign, defined

HOUR_US = 3_600_000_000


def arrivals() -> list[LogRow]:
    """A campaign of 600 with exposures, refunds, corrected clocks, traits and links; a tenth of it comes twice."""
    rows: list[LogRow] = list(campaign(600))
    shuffle = random.Random(3)
    for row in list(rows):
        if isinstance(row, DecisionRow):
            rows.append(exposure(row.unit, row.at + HOUR_US))
            if shuffle.random() < 0.05:
                rows.append(AliasRow("web", "member", f"cookie-{row.unit}", row.unit, row.at - 1, row.at))
                rows.append(exposure(f"cookie-{row.unit}", row.at + 2 * HOUR_US))
            for later in range(2):
                said = json.dumps({"tier": shuffle.choice(["gold", "basic"])})
                rows.append(TraitsRow("crm", "member", row.unit, row.at + later, row.at + later, said))
        elif isinstance(row, EventRow) and row.name == "Order Completed" and shuffle.random() < 0.2:
            at = row.at + HOUR_US
            refund = {"name": "Order Refunded", "event_id": f"r-{row.event_id}", "value_minor": 100, "at": at}
            rows.append(msgspec.structs.replace(row, **refund, received_at=at + 7, stated_at=at - 50 * HOUR_US))
    return rows + shuffle.sample(rows, len(rows) // 10)


def exposure(unit: str, at: int) -> EventRow:
    return EventRow("web", f"seen-{unit}", "Experiment Viewed", "member", unit, at, at, experiment="winback")


@pytest.mark.slow
def test_ten_orders_of_arrival_give_one_report(store: Store, tmp_path: Path) -> None:
    defined(store, breakdowns=["tier"])
    rows = arrivals()
    seen = set()
    for trial in range(10):
        shuffle = random.Random(trial)
        shuffle.shuffle(rows)
        with store.begin() as connection:
            for table in (decisions, events, identities, links, members):
                connection.execute(table.delete())
        folder = tmp_path / str(trial)
        spools = [Spool(folder) for _ in range(3)]
        loader = Loader(folder, store, clock=lambda: NOW_US, batch_rows=shuffle.choice([97, 1_000, 20_000]))
        for begin in range(0, len(rows), 500):
            shuffle.choice(spools).append(rows[begin : begin + 500]).result(timeout=30)
            if shuffle.random() < 0.3:
                loader.run_once()
        for spool in spools:
            spool.close()
        loader.run_once()
        with store.read() as connection:
            known = connection.execute(sa.select(members.c.unit, members.c.attributes).order_by(members.c.unit)).all()
            groups = connection.execute(sa.select(identities).order_by(identities.c.unit)).all()
        report = build_report(store, "winback", NOW_US)
        assert report.population.assigned == 600
        seen.add((report.content_hash, str(known), str(groups)))
    assert len(seen) == 1
    assert len(groups) > 20
