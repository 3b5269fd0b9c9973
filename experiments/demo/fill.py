"""Fills an empty deployment with the simulated shop, through the doors that real data take."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from allocation.compiled import compile_snapshot
from experiments.definitions.loader import load_text
from experiments.demo import campaigns, definitions, nudges, shop
from experiments.demo.campaigns import Calendar
from experiments.jobs import queue
from experiments.keeping.repository import Repository
from experiments.lifecycle.transition import transition
from experiments.log.absorb import absorb
from experiments.log.rows import DecisionRow, EventRow
from experiments.log.store_rows import insert_new
from experiments.publishing.plans import snapshot_of
from experiments.publishing.policy_files import of_store
from experiments.publishing.publish import publish, publish_member_states
from experiments.settings import Settings
from experiments.store import Store
from experiments.store.definition_tables import definition_heads, definition_revisions
from experiments.store.log_tables import decisions, members

ACTOR = "demo"
STARTED = (
    definitions.MEMBERS_DAY,
    definitions.WINBACK,
    definitions.HOME_PAGE,
    definitions.REMINDER,
    definitions.FREE_SHIPPING,
    definitions.EARLY_ACCESS,
    definitions.CART,
)
STEP_ROWS = 50_000
STAGE_WEEKS = 4
"""Week ends whose stages are computed, so that the page of members has moves and a trend from the start."""


@dataclass(frozen=True)
class Filled:
    """What was made."""

    members: int
    decisions: int
    events: int
    experiments: tuple[str, ...]


def is_filled(store: Store) -> bool:
    """Return whether the deployment has definitions or decisions already: then the demo keeps out."""
    with store.read() as connection:
        return any(
            connection.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first() is not None
            for table in (definition_heads, decisions)
        )


def made_here(store: Store) -> list[str]:
    """Return the demo's experiments that were started here: none in a deployment of somebody else's."""
    query = sa.select(definition_revisions.c.key).where(
        definition_revisions.c.kind == "experiment",
        definition_revisions.c.created_by == ACTOR,
        definition_revisions.c.revision == 1,
    )
    with store.read() as connection:
        found = set(connection.execute(query).scalars())
    return [key for key in STARTED if key in found]


def is_unfinished(store: Store) -> bool:
    """Return whether a demo was begun here and interrupted before its decisions were in."""
    with store.read() as connection:
        mine = connection.execute(
            sa.select(sa.literal(1)).where(
                definition_revisions.c.kind == "project", definition_revisions.c.created_by == ACTOR
            )
        ).first()
        decided = connection.execute(sa.select(sa.literal(1)).select_from(decisions).limit(1)).first()
    return mine is not None and decided is None


def fill(
    store: Store,
    settings: Settings,
    now_us: int,
    *,
    count: int = shop.MEMBERS,
    tell: Callable[[str], None] = lambda _: None,
) -> Filled:
    """Make the shop, its experiments and their eight weeks; everything in it ends at ``now_us``.

    Args:
        store: migrated and empty, see `is_filled`.
        settings: where snapshots are published.
        now_us: the present, microseconds UTC.
        count: number of members.
        tell: is told what is being done.
    """
    calendar = Calendar(now_us)
    tell("definitions")
    _define(store, calendar)
    published = snapshot_of(Repository(store), "demo", now_us)
    tell("eight weeks of orders and offers")
    world = campaigns.run(compile_snapshot(published, of_store(store)), calendar, count=count)
    carts = nudges.run(store, published, world.members, calendar.cart_us, now_us)
    tell("decisions, events and members")
    events = list(campaigns.events(world))
    rows: list[DecisionRow | EventRow] = [
        *(DecisionRow.from_decision(decision) for decision in (*world.decisions, *carts.decisions)),
        *events,
        *carts.events,
    ]
    for begin in range(0, len(rows), STEP_ROWS):
        with store.begin() as connection:
            absorb(connection, rows[begin : begin + STEP_ROWS], now_us)
    # Said just before the stages are computed, whose word then counts: they know of orders that were given back.
    people = list(_members(world, now_us - 1))
    with store.begin() as connection:
        insert_new(connection, members, people)
    for key, end_us in (
        (definitions.MEMBERS_DAY, calendar.members_day_end_us),
        (definitions.WINBACK, calendar.winback_end_us),
    ):
        transition(store, key, "ended", ACTOR, "all messages are sent and their windows are over", end_us)
    tell("lifecycle stages")
    from experiments.stages.computing import compute  # loads the engine, which a second run does not need

    compute(store, definitions.LIFECYCLE, now_us, weeks=STAGE_WEEKS)
    _count_segments(store, settings, now_us)
    tell("snapshot")
    publish_member_states(store, settings, now_us)
    publish(store, settings, now_us)
    return Filled(
        len(people),
        len(world.decisions) + len(carts.decisions),
        len(events) + len(carts.events),
        (*STARTED, definitions.WELCOME),
    )


def _define(store: Store, calendar: Calendar) -> None:
    text = definitions.documents(
        members_day_us=calendar.members_day_us,
        members_day_end_us=calendar.members_day_end_us,
        winback_us=calendar.winback_us,
        winback_end_us=calendar.winback_end_us,
        home_page_us=calendar.home_page_us,
        reminder_us=calendar.reminder_us,
        shipping_us=calendar.shipping_us,
        early_us=calendar.early_us,
        cart_us=calendar.cart_us,
    )
    Repository(store).apply(load_text(text), ACTOR, now=calendar.start_us)
    starts = (
        calendar.members_day_us, calendar.winback_us, calendar.home_page_us, calendar.reminder_us,
        calendar.shipping_us, calendar.early_us, calendar.cart_us,
    )  # fmt: skip
    for key, start_us in zip(STARTED, starts, strict=True):
        for state, before_us in (("review", 2 * shop.DAY_US), ("testing", shop.DAY_US), ("running", 0)):
            transition(store, key, state, ACTOR, "simulated", start_us - before_us)


def _members(world: campaigns.Happenings, said_us: int) -> Iterator[tuple[object, ...]]:
    for unit, attributes in campaigns.member_attributes(world):
        text = json.dumps(attributes, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        stated_at = json.dumps(dict.fromkeys(sorted(attributes), said_us), separators=(",", ":"))
        yield ("member", unit, text, False, said_us, stated_at)


def _count_segments(store: Store, settings: Settings, now_us: int) -> None:
    """Have the members of each segment counted, as the worker would."""
    from experiments.segments import asking, handler

    asking.ask_for_sizes(store, created_by=ACTOR, now=now_us)
    job = queue.claim(store, ACTOR, [asking.KIND], now=now_us)
    if job is not None:
        done = handler.count(store, settings, job, lambda _done, _total: None, threading.Event())
        queue.finish(store, job, done)
