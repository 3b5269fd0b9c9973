"""The demo's policy that learns: which nudge a cart gets, from four weeks of carts, with a version a week.

Decisions come from the service's own `allocation.decide`, versions from its own learning; only what members do with
their carts is simulated. Free shipping is best for small carts, reviews for large ones, and the reminder for gold
members.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from allocation.bandits.learning.rows import Rows
from allocation.bandits.learning.train import train
from allocation.bandits.policy import Policy, sha256_of, to_bytes
from allocation.compiled import CompiledSnapshot, compile_snapshot
from allocation.decide import decide
from allocation.decision import Decision, MemberState
from allocation.plan import PolicyPlan, Snapshot
from experiments.demo import shop
from experiments.demo.definitions import CART
from experiments.demo.shop import DAY_US, Index, Members
from experiments.keeping.repository import Repository
from experiments.learning import versions
from experiments.learning.declared import declared
from experiments.learning.updating import settings_of
from experiments.learning.versions import NewVersion
from experiments.log.rows import EventRow
from experiments.store import Store

Floats = NDArray[np.float64]
SEED = 20_260_405
CARTS = 7_000
WEEKS = 4
WORTH = 15.0
VARIANTS = ("none", "shipping", "reviews", "reminder")


@dataclass(frozen=True)
class Nudged:
    """What happened with the carts."""

    decisions: list[Decision]
    events: list[EventRow]


def run(store: Store, snapshot: Snapshot, members: Members, start_us: int, now_us: int) -> Nudged:
    """Let four weeks of carts happen, and learn once a week.

    Args:
        store: where versions are kept.
        snapshot: with the experiment running and no version yet.
        members: whose carts they are.
        start_us: when the experiment began.
        now_us: the present.
    """
    rng = np.random.default_rng(SEED)
    there = np.flatnonzero(members.joined_at < start_us)
    who = rng.choice(there, size=min(CARTS, 4 * len(there)))
    at = np.sort(start_us + (rng.random(len(who)) * (now_us - start_us)).astype(np.int64))
    cart = np.round(rng.lognormal(8.9, 0.6, len(who)), -1)
    variant = np.full(len(who), -1)
    uniform = np.zeros(len(who), bool)
    chances = completes(members.tier[who], cart)
    done = np.zeros(len(who), bool)
    decisions: list[Decision] = []
    compiled = compile_snapshot(_alone(snapshot))
    week_us = (now_us - start_us) // WEEKS
    for week in range(WEEKS):
        inside = np.flatnonzero((at >= start_us + week * week_us) & (at < start_us + (week + 1) * week_us))
        for i in inside.tolist():
            decision = _decide(compiled, members, int(who[i]), float(cart[i]), int(at[i]), f"cart-{i}")
            if decision.variant is None or decision.kind != "enrolled":
                continue
            decisions.append(decision)
            variant[i] = VARIANTS.index(decision.variant)
            uniform[i] = '"group":"uniform"' in (decision.policy or "")
            done[i] = rng.random() < chances[i, variant[i]]
        learned_at = int(start_us + (week + 1) * week_us)
        known = (variant >= 0) & ~uniform & (at < learned_at - DAY_US)
        columns = {
            "tier": np.array(shop.TIERS, dtype=object)[members.tier[who[known]]],
            "cart_minor": cart[known],
        }
        rows = Rows(
            variant=variant[known].astype(np.intp),
            columns=columns,
            converted=done[known],
            amount=np.where(done[known], WORTH, 0.0),
            age_days=(learned_at - at[known]) / DAY_US,
            unit=who[known].astype(np.intp),
        )
        policy, number = _learn(store, rows, min(learned_at, now_us), last=week == WEEKS - 1)
        compiled = compile_snapshot(_alone(snapshot, policy, number), lambda _, found=policy: found)  # type: ignore[misc]
    return Nudged(decisions, list(_events(rng, members, who[done], at[done], now_us)))


def completes(tier: Index, cart_minor: Floats) -> Floats:
    """Return the probability that a cart is completed after each nudge, shape (n, 4)."""
    small, gold = cart_minor < 7_500, tier == 2
    gained = np.zeros((len(tier), len(VARIANTS)))
    gained[:, 1] = np.where(small, 0.13, 0.0)
    gained[:, 2] = np.where(small, 0.01, 0.12)
    gained[:, 3] = np.where(gold, 0.24, 0.01)
    base = 0.14 + 0.04 * gold
    chances: Floats = base[:, None] + gained
    return chances


def _alone(snapshot: Snapshot, policy: Policy | None = None, number: int = 0) -> Snapshot:
    """Return the snapshot with this experiment only, drawing by a version where one is given."""
    plan = snapshot.experiments[CART]
    if policy is not None and plan.bandit is not None:
        drawn = PolicyPlan(number, sha256_of(to_bytes(policy)))
        plan = msgspec.structs.replace(plan, bandit=msgspec.structs.replace(plan.bandit, policies=(drawn,)))
    return msgspec.structs.replace(snapshot, experiments={CART: plan})


def _decide(snapshot: CompiledSnapshot, members: Members, who: int, cart: float, at: int, occasion: str) -> Decision:
    state = MemberState(attributes={"tier": shop.TIERS[members.tier[who]]})
    return decide(
        snapshot, CART, members.ids[who], now=at, attributes={"cart_minor": cart}, state=state, occasion=occasion
    )


def _learn(store: Store, rows: Rows, now_us: int, *, last: bool) -> tuple[Policy, int]:
    """Make a version and keep it: live, or waiting for somebody where it is the last one."""
    repository = Repository(store)
    record = repository.experiment(CART)
    settings = settings_of(declared(repository, record), rows)
    policy = train(rows, settings)
    counts = np.bincount(rows.variant, minlength=len(VARIANTS)).tolist()
    new = NewVersion(
        experiment=CART,
        body=to_bytes(policy),
        policy=settings.policy,
        trained_at=now_us,
        data_until=now_us - DAY_US,
        rows=rows.n,
        about={"rows_by_variant": dict(zip(VARIANTS, counts, strict=True)), "simulated": True},
    )
    with store.begin() as connection:
        number = versions.insert(connection, new)
        versions.move(connection, CART, number, "waiting" if last else "live", now=now_us)
    return policy, number


def _events(rng: np.random.Generator, members: Members, who: Index, at: Index, now_us: int) -> list[EventRow]:
    later = at + (rng.exponential(0.1, len(at)).clip(0.001, 0.9) * DAY_US).astype(np.int64)
    return [
        EventRow(
            source="demo",
            event_id=f"C{number:07d}",
            name="Cart Completed",
            unit_type="member",
            unit=members.ids[member],
            at=when,
            received_at=when + 2_000_000,
        )
        for number, (member, when) in enumerate(zip(who.tolist(), later.tolist(), strict=True))
        if when < now_us
    ]
