"""Which offers give which members nothing beyond the discount that they have anyway, in English and Chinese.

10 % off for gold members, who have 15 % off every order, costs and gives nothing: an offer that is *dominated* by what
its members have, and a message that had better not be sent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from allocation.audience import parse
from allocation.audience.predicate import compile_python
from experiments.definitions import Experiment, Offer
from experiments.definitions.catalogue import Catalogue
from experiments.definitions.pricing import PricedOffer
from experiments.definitions.standing import Standing
from experiments.report.audience import LANGUAGES, Names
from experiments.report.document import Text
from experiments.report.words import say

SAID: Text = {
    "en": "{offer} gives {level} members nothing and costs nothing when redeemed: they have {off}% off anyway{count}.",
    "zh-CN": "“{offer}”对{level}会员没有额外优惠，核销也不产生成本：他们本来就享受{fold}{count}。",
}
COUNT: Text = {
    "en": " ({members:,} of the {total:,} members of {variant})",
    "zh-CN": "（{variant}的 {total:,} 名会员中有 {members:,} 名）",
}


@dataclass(frozen=True)
class Dominated:
    """One offer that one variant gives to members who have as much anyway."""

    variant: str
    offer: str
    """Its key."""
    level: str
    """Of the project's ``standing.attribute``."""
    off: str
    """Per cent that these members have off every order."""
    members: int | None
    """Who would be, or were, given it; ``None`` where nobody was counted."""
    said: Text


def possible(definition: Experiment, catalogue: Catalogue, standing: Standing | None) -> list[Dominated]:
    """Return the offers that a definition may give to members who have as much anyway, whoever the members are.

    Levels that the audience leaves out for certain are left out. A variant that gives each member its own offer is
    not looked at here: who is given which is known when members are counted.
    """
    if standing is None or catalogue.project is None:
        return []
    inside = [level for level in standing.discounts if _may_enter(definition, catalogue, standing, level)]
    named = {variant.key: variant.offer for variant in definition.variants if variant.offer is not None}
    offers = {key: catalogue.get(Offer, "offer", key) for key in named.values()}
    known = {key: offer for key, offer in offers.items() if offer is not None}
    given: dict[tuple[str, str, str], int | None]
    given = {(variant, key, level): None for variant, key in named.items() if key in known for level in inside}
    return list(_found(given, definition, known, standing, catalogue.project.currency, Names.of(catalogue)))


def counted(
    given: Mapping[tuple[str, str | None, str], int],
    definition: Experiment,
    offers: Mapping[str, Offer],
    standing: Standing | None,
    currency: str,
    names: Names,
) -> list[Dominated]:
    """Return the offers that members who have as much anyway were given.

    Args:
        given: (variant, offer key, level of the standing attribute) → members.
        definition: the experiment.
        offers: by key.
        standing: what members have anyway.
        currency: of the offers.
        names: of levels.
    """
    if standing is None:
        return []
    there: dict[tuple[str, str, str], int | None] = {}
    there |= {(variant, key, level): n for (variant, key, level), n in given.items() if key in offers and key and n}
    totals: Counter[str] = Counter()
    for (variant, _, _), members in given.items():
        totals[variant] += members
    return list(_found(there, definition, offers, standing, currency, names, totals))


def _found(
    given: Mapping[tuple[str, str, str], int | None],
    definition: Experiment,
    offers: Mapping[str, Offer],
    standing: Standing,
    currency: str,
    names: Names,
    totals: Mapping[str, int] | None = None,
) -> Iterator[Dominated]:
    dominating = {key: standing.dominating(PricedOffer(offer, currency)) for key, offer in offers.items()}
    place, ppm = {v.key: place for place, v in enumerate(definition.variants)}, standing.ppm
    for variant, key, level in sorted(given, key=lambda each: (place[each[0]], each[1], ppm.get(each[2], 0), each[2])):
        if level in dominating.get(key, ()):
            members, off = given[variant, key, level], standing.discounts[level]
            name = {lang: say(names.level(standing.attribute, level), lang) or level for lang in LANGUAGES}
            called = {lang: say(definition.variant(variant).name or {}, lang) or variant for lang in LANGUAGES}
            many = {
                lang: say(COUNT, lang).format(members=members, total=(totals or {})[variant], variant=called[lang])
                for lang in LANGUAGES
                if members is not None
            }
            said = {
                lang: say(SAID, lang).format(
                    offer=say(offers[key].name, lang),
                    level=name[lang],
                    off=off,
                    fold=fold(off),
                    count=many.get(lang, ""),
                )
                for lang in LANGUAGES
            }
            yield Dominated(variant, key, level, off, members, said)


def _may_enter(definition: Experiment, catalogue: Catalogue, standing: Standing, level: str) -> bool:
    """Return whether the audience may have members of a level: its rule is not false of them for certain."""
    rule, types = catalogue.audience_of(definition), catalogue.project.attribute_types() if catalogue.project else {}
    return rule is None or compile_python(parse(rule, types))({standing.attribute: level}, 0) is not False


def fold(off: str) -> str:
    """Return per cent off as it is said in Chinese: what is paid, in tenths.

    >>> fold("10"), fold("15"), fold("12.5")
    ('9折', '8.5折', '8.75折')
    """
    return f"{((100 - Decimal(off)) / 10).normalize():f}折"
