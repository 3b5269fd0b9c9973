"""Members with several ids, and variants that give each member its own offer: the programme's return against loops."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest
import sqlalchemy as sa

from allocation.compiled import compile_snapshot
from allocation.decide import decide
from allocation.plan import Snapshot
from experiments.keeping.repository import Repository
from experiments.log.rows import DAY_US, DecisionRow, EventRow
from experiments.programme.asking import ProgrammeOptions
from experiments.programme.build import build_programme
from experiments.programme.render import render_csv
from experiments.publishing.plans import plan_of
from experiments.store import Store, open_store
from experiments.store.log_tables import identities
from experiments.store.migrate import upgrade
from tests.experiments.measuring import NOW_US, START_US, define, experiment, happened, metric, record
from tests.experiments.small_shop import walk
from tests.experiments.test_offer_by import ARMS, OFFERS, PROJECT, own

MEMBERS = 900
CONTACT = {"small": 0.05, "large": 0.10}
FACE = {"small": 5.0, "large": 20.0}
HOLDOUT = {"kind": "holdout", "key": "everyone", "share": "30%", "made": {"salt": "00112233445566aa"}}


@dataclass
class Lived:
    """What one member did, whatever the id."""

    held: list[int] = field(default_factory=list)
    given: list[tuple[int, str, str | None]] = field(default_factory=list)
    orders: list[tuple[int, int]] = field(default_factory=list)
    redeemed: list[int] = field(default_factory=list)

    @property
    def side(self) -> str:
        waited = min(self.held, default=NOW_US)
        return "held" if waited <= min(self.given, default=(NOW_US, "", None))[0] else "reached"

    @property
    def came(self) -> int:
        return min([*self.held, *(at for at, *_ in self.given)])

    @property
    def month(self) -> str:
        return datetime.fromtimestamp(self.came / 1e6, ZoneInfo("Asia/Shanghai")).strftime("%Y-%m")

    @property
    def profit(self) -> float:
        first = min(self.given)[2] if self.given else None
        margin = sum((4 * minor + 5) // 10 / 100 for at, minor in self.orders if at >= self.came)
        taken = sum(FACE.get(first or "", 0.0) for at in self.redeemed if at >= self.came)
        return margin - taken - sum(CONTACT.get(offer or "", 0.0) for *_, offer in self.given)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """SQLite alone: DuckDB reads either database alike, and linked ids of both are held to loops with the reports."""
    opened = open_store(f"sqlite:///{tmp_path / 'equipoise.sqlite'}")
    upgrade(opened)
    yield opened
    opened.close()


def test_a_member_counts_once_and_costs_what_its_decisions_froze(store: Store) -> None:
    campaigns = [
        experiment({"primary": ["profit"]}, key=key, variants=ARMS, made={"salt": salt})
        for key, salt in (("first", "0f0e0d0c0b0a0908"), ("second", "1020304050607080"))
    ]
    define(store, *OFFERS, HOLDOUT, metric("profit", "profit", margin={"rate": "0.4"}), *campaigns, project=PROJECT)
    for key in ("first", "second"):
        walk(store, key, "review", "testing", "running", now=START_US - DAY_US)
    rows, members, links = lived(store)
    record(store, rows)
    with store.begin() as connection:
        connection.execute(sa.insert(identities), links)
    programme = build_programme(store, ProgrammeOptions(), NOW_US)
    (found,) = programme.holdouts

    sides: dict[str, list[float]] = {"held": [], "reached": []}
    crossed = 0
    for one in members:
        crossed += bool(one.held and one.given)
        sides[one.side].append(one.profit)
    assert (found.held_out, found.reached) == (len(sides["held"]), len(sides["reached"]))
    assert (found.both, found.would_not, found.crossed) == (0, 0, crossed)
    assert crossed > 30
    assert found.split_p is not None
    assert found.split_p > 0.001  # members with several ids are on either side as the share says
    assert found.profit_per_member.estimate == pytest.approx(
        np.mean(sides["reached"]) - np.mean(sides["held"]), rel=1e-9
    )
    contacts = sum(CONTACT.get(offer or "", 0) for one in members for *_, offer in one.given if one.side == "reached")
    assert found.contact_cost == pytest.approx(contacts, rel=1e-9)
    for month in found.months:
        held, reached = ([m.profit for m in members if (m.side, m.month) == (s, month.month)] for s in sides)
        assert (month.held_out, month.reached) == (len(held), len(reached))
        assert month.profit_per_member.estimate == pytest.approx(np.mean(reached) - np.mean(held), rel=1e-9)
    assert [month.month for month in found.months] == ["2026-03", "2026-04"]
    assert f"everyone,profit_per_member 2026-03,{found.months[0].profit_per_member.estimate}" in render_csv(programme)


def lived(store: Store) -> tuple[list[DecisionRow | EventRow], list[Lived], list[dict[str, Any]]]:
    """Everybody asks for both campaigns, one in three under an id for each, orders and redeems under either."""
    repository = Repository(store)
    plans = {record.key: plan_of(repository, record) for record in repository.experiments()}
    free = {key: msgspec.structs.replace(plan, holdouts=()) for key, plan in plans.items()}
    real = compile_snapshot(Snapshot(version="v", effective_at=0, experiments=plans))
    without = compile_snapshot(Snapshot(version="w", effective_at=0, experiments=free))
    rng = np.random.default_rng(5)
    rows: list[DecisionRow | EventRow] = []
    members, links = [], []
    for number in range(MEMBERS):
        ids = [f"m{number}", f"cookie-{number}"] if number % 3 == 0 else [f"m{number}"]
        links += [{"unit_type": "member", "unit": unit, "root": min(ids)} for unit in ids if len(ids) > 1]
        one, best, came = Lived(), own(number) or "", START_US + int(rng.integers(0, 45 * DAY_US))
        for place, key in enumerate(plans):
            unit, at = ids[place % len(ids)], came + int(rng.integers(0, 5 * DAY_US))
            attributes = {"best": best} if best else {}
            answer = decide(real, key, unit, now=at, attributes=attributes)
            rows.append(DecisionRow.from_decision(answer))
            if answer.kind == "holdout":
                assert decide(without, key, unit, now=at, attributes=attributes).kind == "enrolled"
                one.held.append(at)
            else:
                offer = {"all": "small", "policy": best}.get(answer.variant or "")
                one.given.append((at, f"{key}/{answer.variant}", offer))
        for order in range(int(rng.poisson(1.5))):
            unit, at = ids[order % len(ids)], came + int(rng.integers(-5 * DAY_US, 10 * DAY_US))
            value, name = int(rng.integers(2000, 30_000)), f"{number}-{order}"
            rows.append(happened("Order Completed", unit, at, value, object_id=name))
            one.orders.append((at, value))
            if rng.random() < 0.5:
                rows.append(happened("Coupon Redeemed", unit, at, object_id=name))
                one.redeemed.append(at)
        members.append(one)
    return rows, members, links
