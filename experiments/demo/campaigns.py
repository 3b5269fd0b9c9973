"""The campaigns of the eight weeks: who was asked for when, what the service decided, and what members then did.

Decisions come from the service's own `allocation.decide` on the snapshot that its definitions compile to; only the
members' behaviour is simulated.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from allocation.audience.dates import from_us
from allocation.compiled import CompiledSnapshot
from allocation.decide import decide
from allocation.decision import Decision, MemberState
from experiments.demo import definitions, shop, story
from experiments.demo.events import Redeemed, order_events, past_order_events, unsubscribe_events, visit_events
from experiments.demo.shop import DAY_US, Index, Members, Orders
from experiments.log.rows import EventRow

SEED = 20_260_403
HOUR_US = DAY_US // 24
MINUTE_US = HOUR_US // 60
MEMBERS_DAY_DAYS_AGO = 54
MEMBERS_DAY_ENDED_DAYS_AGO = 39
WINBACK_DAYS_AGO = 30
WINBACK_ENDED_DAYS_AGO = 1
HOME_PAGE_DAYS_AGO = 22
REMINDER_DAYS_AGO = 16
SHIPPING_DAYS_AGO = 12
EARLY_DAYS_AGO = 10
CART_DAYS_AGO = 28


@dataclass(frozen=True)
class Calendar:
    """When things happen, microseconds UTC; everything hangs on the present."""

    now_us: int

    @property
    def start_us(self) -> int:
        """First moment of the eight weeks."""
        return self.now_us - shop.WEEKS * shop.WEEK_US

    def morning(self, days_ago: int) -> int:
        """Return ten o'clock, local, that many days ago."""
        shift = shop.TIME_ZONE_HOURS * HOUR_US
        return (self.now_us + shift) // DAY_US * DAY_US - days_ago * DAY_US - shift + 10 * HOUR_US

    @property
    def members_day_us(self) -> int:
        """When members are told of their day."""
        return self.morning(MEMBERS_DAY_DAYS_AGO)

    @property
    def members_day_end_us(self) -> int:
        """When that experiment ends."""
        return self.morning(MEMBERS_DAY_ENDED_DAYS_AGO)

    @property
    def winback_us(self) -> int:
        """When the win-back messages go out."""
        return self.morning(WINBACK_DAYS_AGO)

    @property
    def winback_end_us(self) -> int:
        """When the win-back ends."""
        return self.morning(WINBACK_ENDED_DAYS_AGO)

    @property
    def home_page_us(self) -> int:
        """When the new home page goes live."""
        return self.morning(HOME_PAGE_DAYS_AGO)

    @property
    def reminder_us(self) -> int:
        """When members are reminded of their points."""
        return self.morning(REMINDER_DAYS_AGO)

    @property
    def shipping_us(self) -> int:
        """When the lower shipping threshold goes live."""
        return self.morning(SHIPPING_DAYS_AGO)

    @property
    def early_us(self) -> int:
        """When loyal members are told of the sale."""
        return self.morning(EARLY_DAYS_AGO)

    @property
    def cart_us(self) -> int:
        """When the cart page begins to learn."""
        return self.morning(CART_DAYS_AGO)


@dataclass
class Happenings:
    """The shop as the weeks go by: orders change as offers take effect."""

    members: Members
    calendar: Calendar
    orders: Orders
    offer: Index
    """For each order the index into ``offers`` of the offer it used, −1 for none."""
    visits: tuple[Index, Index]
    offers: list[str] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    unsubscribed: list[tuple[Index, Index]] = field(default_factory=list)


def run(snapshot: CompiledSnapshot, calendar: Calendar, *, count: int = shop.MEMBERS) -> Happenings:
    """Let eight weeks happen.

    Args:
        snapshot: with the started experiments running.
        calendar: when.
        count: number of members.
    """
    rng = np.random.default_rng(SEED)
    world = _without_offers(rng, calendar, count)
    everyone = np.arange(count)
    stage = shop.stages_at(world.members, world.orders, calendar.members_day_us)
    told = everyone[(stage >= 0) & (stage != shop.STAGES.index("churned"))]
    _list(world, snapshot, definitions.MEMBERS_DAY, told, calendar.members_day_us, stage)
    stage = shop.stages_at(world.members, world.orders, calendar.winback_us)
    dormant = everyone[stage == shop.STAGES.index("dormant")]
    _list(world, snapshot, definitions.WINBACK, dormant, calendar.winback_us, stage)
    _on_visits(world, snapshot, definitions.HOME_PAGE, calendar.home_page_us, ("active", "loyal", "new"))
    stage = shop.stages_at(world.members, world.orders, calendar.reminder_us)
    regular = everyone[np.isin(stage, [shop.STAGES.index("active"), shop.STAGES.index("loyal")])]
    _list(world, snapshot, definitions.REMINDER, regular, calendar.reminder_us, stage)
    _on_visits(world, snapshot, definitions.FREE_SHIPPING, calendar.shipping_us, ("active", "new"))
    stage = shop.stages_at(world.members, world.orders, calendar.early_us)
    loyal = everyone[stage == shop.STAGES.index("loyal")]
    _list(world, snapshot, definitions.EARLY_ACCESS, loyal, calendar.early_us, stage)
    return world


def events(world: Happenings) -> Iterator[EventRow]:
    """Yield everything that the shop's systems reported."""
    rng = np.random.default_rng(SEED + 1)
    yield from order_events(
        rng, world.members, world.orders, Redeemed(tuple(world.offers), world.offer), until_us=world.calendar.now_us
    )
    past = np.random.default_rng(SEED + 2)
    yield from past_order_events(past, world.members, before_us=world.calendar.start_us)
    yield from visit_events(world.members, *world.visits)
    who = np.concatenate([member for member, _ in world.unsubscribed])
    when = np.concatenate([at for _, at in world.unsubscribed])
    yield from unsubscribe_events(world.members, who, when)


def member_attributes(world: Happenings) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Yield each member's id and stored attributes as of now; those who have not joined yet are not members."""
    now = world.calendar.now_us
    stage = shop.stages_at(world.members, world.orders, now)
    last, orders = shop.order_history(world.members, world.orders, now)
    for index, unit in enumerate(world.members.ids):
        if stage[index] >= 0:
            yield (
                unit,
                {
                    "stage": shop.STAGES[stage[index]],
                    "tier": shop.TIERS[world.members.tier[index]],
                    "joined_at": _iso(int(world.members.joined_at[index])),
                    "last_order_at": from_us(int(last[index])),
                    "orders_180d": int(orders[index]),
                },
            )


def _without_offers(rng: np.random.Generator, calendar: Calendar, count: int) -> Happenings:
    members = shop.make_members(rng, start_us=calendar.start_us, count=count)
    everyone = np.arange(count)
    since = np.maximum(members.joined_at, calendar.start_us)
    until = np.full(count, calendar.now_us)
    buyer, bought_at = shop.arrivals(rng, everyone, members.order_rate, since, until)
    value, margin = shop.baskets(rng, members, buyer)
    visitor, visited_at = shop.arrivals(rng, everyone, members.visit_rate, since, until)
    return Happenings(
        members=members,
        calendar=calendar,
        orders=Orders(buyer, bought_at, value, margin),
        offer=np.full(len(buyer), -1),
        visits=(visitor, visited_at),
    )


def _sent(rng: np.random.Generator, at_us: int, count: int) -> Index:
    """Return when each of a list is asked for: one send takes two hours."""
    return at_us + rng.integers(0, 2 * HOUR_US, count)


def _luck(experiment: str) -> np.random.Generator:
    """Return the generator of one campaign, so that what happens in it does not hang on what is drawn in others."""
    return np.random.default_rng([SEED, zlib.crc32(experiment.encode())])


def _list(
    world: Happenings, snapshot: CompiledSnapshot, experiment: str, members: Index, at_us: int, stage: Index
) -> None:
    """Ask for a list of members at one sending."""
    rng = _luck(experiment)
    _campaign(rng, world, snapshot, experiment, members, _sent(rng, at_us, len(members)), stage)


def _on_visits(
    world: Happenings,
    snapshot: CompiledSnapshot,
    experiment: str,
    since_us: int,
    stages: tuple[str, ...],
) -> None:
    """Ask for members of some stages as they first visit."""
    stage = shop.stages_at(world.members, world.orders, since_us)
    visitors, first_visit = _first_visits(world.visits, since_us)
    asked = np.isin(stage[visitors], [shop.STAGES.index(name) for name in stages])
    _campaign(_luck(experiment), world, snapshot, experiment, visitors[asked], first_visit[asked], stage)


def _first_visits(visits: tuple[Index, Index], since_us: int) -> tuple[Index, Index]:
    """Return who visited since a moment, and when first."""
    who, when = visits
    later = when >= since_us
    order = np.lexsort((when[later], who[later]))
    members, first = np.unique(who[later][order], return_index=True)
    return members, when[later][order][first]


def _campaign(
    rng: np.random.Generator,
    world: Happenings,
    snapshot: CompiledSnapshot,
    experiment: str,
    asked: Index,
    asked_at: Index,
    stage: Index,
) -> None:
    """Decide each asked member and let the offers take effect."""
    variant_of: dict[str, list[tuple[int, int]]] = {}
    last, orders = shop.order_history(world.members, world.orders, int(asked_at.min()))
    for member, at in zip(asked.tolist(), asked_at.tolist(), strict=True):
        attributes = {
            "stage": shop.STAGES[stage[member]],
            "tier": shop.TIERS[world.members.tier[member]],
            "joined_at": _iso(int(world.members.joined_at[member])),
            "last_order_at": _iso(int(last[member])),
            "orders_180d": int(orders[member]),
        }
        decision = decide(
            snapshot, experiment, world.members.ids[member], now=at, state=MemberState(attributes=attributes)
        )
        if not decision.logged:
            continue
        lost = story.LOST_DECISIONS.get((experiment, decision.variant or ""), 0.0)
        if lost and rng.random() < lost:
            continue
        world.decisions.append(decision)
        if decision.variant is not None:
            variant_of.setdefault(decision.variant, []).append((member, at))
    for variant in sorted(variant_of):
        member, at = (np.array(column) for column in zip(*variant_of[variant], strict=True))
        _take_effect(rng, world, member, at, story.TRUTH.get((experiment, variant), story.NOTHING))


def _take_effect(
    rng: np.random.Generator, world: Happenings, member: Index, since_us: Index, effect: story.Effect
) -> None:
    now = world.calendar.now_us
    if effect.offer is not None:
        valid_from = np.full(len(world.members.ids), np.iinfo(np.int64).max)
        valid_from[member] = since_us
        last, _ = shop.order_history(world.members, world.orders, int(since_us.min()))
        silent = (since_us - last[member]) / DAY_US
        extra = story.offered_orders(rng, world.members, member, since_us, now, effect, silent)
        world.orders = Orders(
            *(
                np.concatenate([getattr(world.orders, name), getattr(extra, name)])
                for name in ("member", "at", "value_minor", "margin_minor")
            )
        )
        world.offer = np.concatenate([world.offer, np.full(len(extra.at), -1)])
        opened = extra.at - rng.integers(1, 15, len(extra.at)) * MINUTE_US  # whoever orders has opened the app before
        world.visits = (
            np.concatenate([world.visits[0], extra.member]),
            np.concatenate([world.visits[1], np.maximum(opened, valid_from[extra.member])]),
        )
        age = world.orders.at - valid_from[world.orders.member]
        inside = np.flatnonzero((age >= 0) & (age < effect.days * DAY_US))
        changed, redeemed = story.with_offer(rng, world.orders.take(inside), effect)
        world.orders.value_minor[inside] = changed.value_minor
        world.orders.margin_minor[inside] = changed.margin_minor
        if effect.offer not in world.offers:
            world.offers.append(effect.offer)
        world.offer[inside] = np.where(redeemed, world.offers.index(effect.offer), world.offer[inside])
    leaves = rng.random(len(member)) < effect.unsubscribes
    left_at = since_us[leaves] + (rng.random(leaves.sum()) ** 2 * 14 * DAY_US).astype(np.int64)
    world.unsubscribed.append((member[leaves][left_at < now], left_at[left_at < now]))


def _iso(at_us: int) -> str:
    return np.datetime_as_string(np.datetime64(at_us, "us"), unit="s") + "Z"
