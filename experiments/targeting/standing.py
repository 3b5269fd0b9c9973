"""Members of a list who have a discount anyway: what each offer can cost with them beyond it, and who gets none.

An offer that gives a member nothing is not for that member, however well the model thinks of it: it is never given, nor
drawn at random.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from experiments.definitions import Offer
from experiments.definitions.money import exponent
from experiments.definitions.pricing import PricedOffer
from experiments.definitions.standing import Standing, extra_liability_minor
from experiments.dominated import fold
from experiments.report.audience import Names
from experiments.report.words import say
from experiments.targeting.document import Text

FloatArray = NDArray[np.float64]
LANGUAGES = ("en", "zh-CN")
NOT_GIVEN: Text = {
    "en": "{offer} is not given to {members:,} {level} members: it gives them nothing, they have {off}% off anyway.",
    "zh-CN": "“{offer}”不发给 {members:,} 名{level}会员：他们本来就享受{fold}，该优惠对其没有额外价值。",
}


@dataclass(frozen=True, eq=False)
class Anyway:
    """What the discounts that members have anyway mean for n members and K offers."""

    each: FloatArray
    """(n, K), what one issued offer and its contact can cost at most with the member, major units."""
    nothing: NDArray[np.bool_]
    """(n, K), whether the offer gives the member nothing."""
    notes: list[Text]
    """Which offers which members are not given."""


def anyway_of(
    standing: Standing,
    levels: NDArray[np.object_],
    offers: Sequence[Offer | None],
    each: Sequence[float],
    contact: Sequence[float],
    currency: str,
    names: Names,
    measured: Mapping[str, FloatArray] | None = None,
) -> Anyway:
    """Price the offers for members by the level that each has.

    Args:
        standing: the discounts.
        levels: (n,), of its attribute; ``None`` where it is not known.
        offers: K, ``None`` where an arm gives none.
        each: K, what one issued offer and its contact cost at most with a member without a discount; where the order
            decides, what a redemption and a contact cost on average.
        contact: K, of it what the contact costs.
        currency: of the offers.
        names: of levels.
        measured: level (``""``: no discount) → (K + 1,), what a redemption of each arm's offer cost in the log; taken
            where the order decides what an offer costs.
    """
    unit, shape = 10 ** exponent(currency), (len(levels), len(offers))
    most, nothing, notes = np.tile(np.asarray(each, dtype=np.float64), (shape[0], 1)), np.zeros(shape, dtype=bool), []
    rows = {level: np.array([own == level for own in levels], dtype=bool) for level in standing.discounts}
    plain = ~np.logical_or.reduce(list(rows.values()))
    for place, offer in enumerate(offers):
        if offer is None:
            continue
        priced = PricedOffer(offer, currency)
        if priced.liability_minor() is None and measured is not None and "" in measured:
            most[plain, place] = measured[""][place + 1] + contact[place]
        without = standing.dominating(priced)
        for level, members in rows.items():
            bound = extra_liability_minor(priced, standing.priced(level, currency))
            if bound is not None:
                most[members, place] = bound / unit + contact[place]
            elif measured is not None and level in measured:
                most[members, place] = measured[level][place + 1] + contact[place]
            if level in without and members.any():
                nothing[members, place] = True
                name, off = names.level(standing.attribute, level), standing.discounts[level]
                notes.append(
                    {
                        lang: say(NOT_GIVEN, lang).format(
                            offer=say(offer.name, lang),
                            members=int(members.sum()),
                            level=say(name, lang) or level,
                            off=off,
                            fold=fold(off),
                        )
                        for lang in LANGUAGES
                    }
                )
    return Anyway(most, nothing, notes)
