"""From members, what is expected of them, and limits: who gets what, the file, and the document that tells of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allocation.hashing import u
from experiments.errors import InputError, unknown_name
from experiments.list_files import FORMATS, Format
from experiments.report.software import software
from experiments.targeting.choosing import Chosen, Draws, Floor, Problem, choose
from experiments.targeting.document import Audience, BudgetPoint, FloorKept, Given, Text
from experiments.targeting.request import Limits
from experiments.targeting.roster import Roster
from experiments.targeting.scoring import Scored
from experiments.targeting.standing import Anyway
from experiments.targeting.words import sentence_of, warnings_of
from experiments.targeting.written import DECIMALS, Rows, write
from experiments.uplift.document import Recommendation
from stats.targeting.curve import budget_curve

FloatArray = NDArray[np.float64]
CURVE_POINTS = 41


@dataclass(frozen=True)
class Offered:
    """One arm that members may be given."""

    arm: str
    name: Text
    offer: str | None
    each: float
    """What one issued offer and its contact cost if it is redeemed, major units."""
    contact: float = 0.0
    """Of it, what the contact costs."""


def place_of(offered: Sequence[Offered], key: str, option: str) -> int:
    """Return the index of the arm that an option names by its own key or its offer's.

    Raises:
        InputError: naming those that there are.

    >>> place_of([Offered("a", {}, "coupon", 20.0)], "coupon", "stock")
    0
    """
    for keys in ([each.arm for each in offered], [each.offer for each in offered]):
        if key in keys:
            return keys.index(key)
    raise unknown_name(option, key, [each.arm for each in offered], "among the arms that give offers")


def check_names(limits: Limits, offered: Sequence[Offered]) -> None:
    """Refuse limits that name what is not offered, before anything is computed.

    Raises:
        InputError: naming what there is.
    """
    for key in limits.stock:
        place_of(offered, key, "offer of a stock")
    for floor in limits.floors:
        if floor.offer is not None:
            place_of(offered, floor.offer, "offer of a floor")


@dataclass(frozen=True, eq=False)
class Making:
    """Everything that an audience is made from.

    Attributes:
        found: the recommendation.
        roster: the members.
        scored: what is expected of them.
        offered: the arms but control, in the order of ``scored``.
        limits: what bounds the choice.
        barred: (n,), why a member may not be given a personal offer; ``None`` for who may.
        about: further fields of the document: id, experiment, at …
        anyway: what discounts that members have anyway mean for the offers; ``None``: they have none.
        currency: of budget and costs.
    """

    found: Recommendation
    roster: Roster
    scored: Scored
    offered: Sequence[Offered]
    limits: Limits
    barred: NDArray[Any]
    about: Mapping[str, Any]
    currency: str | None
    personalised: bool = True
    notes: Sequence[Text] = field(default_factory=tuple)
    anyway: Anyway | None = None

    def make(self, path: Path, file_format: Format, file_name: str) -> Audience:
        """Write the file and return the document.

        Raises:
            InputError: the limits contradict each other, or name what there is not.
        """
        size, digest = write(path, file_format, self.rows)
        return self._document(file_name, FORMATS[file_format], size, digest)

    # choosing -----------------------------------------------------------------------------------------------------

    @cached_property
    def each(self) -> FloatArray:
        """(n, K), what one issued offer and its contact cost with the member if it is redeemed."""
        if self.anyway is not None:
            return self.anyway.each
        return np.broadcast_to(np.array([each.each for each in self.offered]), self.scored.value.shape).copy()

    @cached_property
    def value(self) -> FloatArray:
        """(n, K), what an offer is expected to earn; −inf where it gives the member nothing, and so is not given."""
        if self.anyway is None:
            return self.scored.value
        return np.where(self.anyway.nothing, -np.inf, self.scored.value)

    @cached_property
    def cost(self) -> FloatArray:
        """(n, K), what an offer takes from the budget."""
        if self.limits.basis == "liability":
            return self.each
        if self.scored.expected_cost is None:
            raise InputError(
                "budget_basis: expected needs to know how many offers are redeemed, and the recommendation's outcome "
                "does not say it; use liability, or recommend by an outcome whose redemptions are counted"
            )
        return self.scored.expected_cost

    @cached_property
    def problem(self) -> Problem:
        """What is to be chosen from."""
        return Problem(
            self.value,
            self.cost,
            np.array([why is None for why in self.barred], dtype=bool),
            self.limits.budget,
            self._stock(),
            [self._floor(place) for place in range(len(self.limits.floors))],
            self.limits.explore,
            [each.arm for each in self.offered],
        )

    @cached_property
    def chosen(self) -> Chosen:
        """Who gets what."""
        return choose(self.problem, self.draws)

    @cached_property
    def draws(self) -> Draws:
        """What a hash under the recommendation's own salt draws: the same whatever the budget is."""
        salt, units = self.found.content_hash[:16], self.roster.units
        tie = np.array([u(f"{salt}:target", unit) for unit in units])
        if not self.limits.explore:
            return Draws(tie, np.ones(len(units)), np.zeros(len(units)))
        explore = np.array([u(f"{salt}:explore", unit) for unit in units])
        return Draws(tie, explore, np.array([u(f"{salt}:explored", unit) for unit in units]))

    def _stock(self) -> FloatArray | None:
        if not self.limits.stock:
            return None
        stock = np.full(len(self.offered), np.inf)
        for key, pieces in self.limits.stock.items():
            stock[place_of(self.offered, key, "offer of a stock")] = pieces
        return stock

    def _floor(self, at: int) -> Floor:
        asked = self.limits.floors[at]
        values = self.roster.attributes.get(asked.attribute)
        if values is None or all(value is None for value in values):
            raise InputError(f"floors: {asked.attribute!r} is known of nobody on the list; add a column of that name")
        members = np.array([value == asked.level for value in values], dtype=bool)
        if asked.least and not members.any():
            levels = sorted({str(value) for value in values if value is not None})
            raise unknown_name("level", asked.level, levels, f"of {asked.attribute!r} on the list (floors)")
        places = (
            range(len(self.offered))
            if asked.offer is None
            else (place_of(self.offered, asked.offer, "offer of a floor"),)
        )
        return Floor(f"{asked.attribute}={asked.level}", members, tuple(places), asked.least)

    # the file -----------------------------------------------------------------------------------------------------

    @cached_property
    def rows(self) -> Rows:
        """The rows of the file."""
        chosen, n = self.chosen, len(self.roster.units)
        given, everyone = chosen.offer, np.arange(n)
        has = given >= 0
        place = np.where(has, given, 0)
        arms = np.array([*(each.arm for each in self.offered), None], dtype=object)  # −1 is the last one
        offers = np.array([*(each.offer for each in self.offered), None], dtype=object)
        expected = self.scored.expected_cost
        return Rows(
            self.roster.units,
            arms[given],
            offers[given],
            self._reasons(),
            np.where(has, self.scored.value[everyone, place], 0.0),
            None if expected is None else np.where(has, expected[everyone, place], 0.0),
            np.where(has, self.each[everyone, place], 0.0),
            chosen.propensity,
        )

    def _reasons(self) -> NDArray[Any]:
        gains = self.value.max(axis=1) > 0
        reason = np.where(gains, "budget", "no_gain").astype(object)
        reason[self.chosen.offer >= 0] = "chosen"
        reason[self.chosen.explored] = "explored"
        barred = ~self.problem.open
        reason[barred] = self.barred[barred]
        return reason

    # the document -------------------------------------------------------------------------------------------------

    def _document(self, file_name: str, media_type: str, size: int, digest: str) -> Audience:
        chosen, rows, limits = self.chosen, self.rows, self.limits
        given = chosen.offer
        has = given >= 0
        place = np.where(has, given, 0)
        n = len(given)
        added = np.where(has, self.scored.outcome[np.arange(n), place], 0.0)
        spent = float(self.cost[np.flatnonzero(has), given[has]].sum())
        arms = [self._given(index) for index in range(len(self.offered))]
        document = Audience(
            **self.about,
            title=dict(self.found.title),
            recommendation_hash=self.found.content_hash,
            source=self.found.source,
            unit_type=self.found.unit_type,
            currency=self.currency,
            policy="personalised" if self.personalised else "single",
            basis=limits.basis,
            budget=limits.budget,
            spent=_money(spent),
            predicted_gain=_money(rows.gain.sum()),
            predicted_outcome=float(added.mean()) if n else None,
            bound=_money(chosen.solution.bound),
            gap=_money(chosen.solution.gap),
            budget_price=_money(chosen.solution.multiplier),
            rows=n,
            treated=int(has.sum()),
            explored=int(chosen.explored.sum()),
            explore=limits.explore,
            reasons={**dict(sorted(Counter(rows.reason.tolist()).items())), **self.roster.left_out},
            arms=arms,
            floors=[self._kept(index) for index in range(len(limits.floors))],
            curve=self._curve(),
            missing={name: self.roster.missing[name] for name in sorted(self.roster.missing)},
            sentence={},
            warnings=[],
            settings=dict(self.found.settings),
            software={"equipoise": software()},
            file_name=file_name,
            media_type=media_type,
            bytes=size,
            sha256=digest,
        )
        return sentence_of(document, self.found, [*self.notes, *warnings_of(document, self.found)])

    def _given(self, index: int) -> Given:
        each, rows = self.offered[index], self.rows
        mine = self.chosen.offer == index
        solution, stock = self.chosen.solution, self.problem.stock
        bounded = stock is not None and bool(np.isfinite(stock[index]))
        return Given(
            arm=each.arm,
            name=dict(each.name),
            offer=each.offer,
            members=int(mine.sum()),
            explored=int((mine & self.chosen.explored).sum()),
            predicted_gain=_money(rows.gain[mine].sum()),
            expected_cost=None if rows.expected_cost is None else _money(rows.expected_cost[mine].sum()),
            liability=_money(rows.liability[mine].sum()),
            cost_each=each.each,
            stock=int(stock[index]) if stock is not None and bounded else None,
            stock_price=float(solution.stock_prices[index]) if solution.stock_prices is not None and bounded else None,
        )

    def _kept(self, index: int) -> FloorKept:
        asked, floor = self.limits.floors[index], self.problem.floors[index]
        return FloorKept(
            attribute=asked.attribute,
            level=asked.level,
            offer=asked.offer,
            least=asked.least,
            reached=int((floor.members & np.isin(self.chosen.offer, floor.offers)).sum()),
        )

    def _curve(self) -> list[BudgetPoint]:
        open_ = self.problem.open
        if not open_.any():
            return []
        points = budget_curve(self.value[open_], self.cost[open_], CURVE_POINTS, tie=self.draws.tie[open_])
        return [BudgetPoint(budget=_money(p.budget), predicted_gain=_money(p.value), members=p.treated) for p in points]


def _money(value: float) -> float:
    """Return an amount without the dust of adding up."""
    return round(float(value), DECIMALS) + 0.0
