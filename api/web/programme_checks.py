"""Whether the two sides of a holdout may be compared, as the strip above the figures says it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from api.web.language import Language
from api.web.numbers import MISSING, Numbers
from experiments.programme.document import HoldoutResult

CAUTION_P = 0.01
MANY = 0.01
"""Share of members on both sides from which on it is worth a look."""


@dataclass(frozen=True, slots=True)
class Check:
    """Whether the two sides may be compared, or another thing to know before reading."""

    label: str
    value: str
    detail: str
    icon: str
    tone: str
    word: str


def comparable(found: HoldoutResult, words: Language, numbers: Numbers) -> tuple[Check, ...]:
    """Return the strip above the figures.

    Args:
        found: one holdout.
        words: of the page.
        numbers: formats in that language.
    """
    _ = words.gettext
    both = found.held_out + found.reached
    ok = ("ok", "good", _("Good"))
    caution, fail = ("warn", "warn", _("Caution")), ("no", "bad", _("Fails"))
    split = ok
    if found.split_p is not None and found.split_p < CAUTION_P:
        split = caution if found.readable else fail
    sides = numbers.share(found.held_out / both) if both else MISSING
    planned = float(Fraction(found.share))
    checks = [
        Check(
            _("Do both sides fit the split?"),
            _("%(share)s held out", share=sides),
            _("planned %(planned)s, p %(p)s", planned=numbers.share(planned), p=numbers.p_value(found.split_p)),
            *split,
        ),
        Check(
            _("Compared"),
            _("%(held)s and %(reached)s", held=numbers.count(found.held_out), reached=numbers.count(found.reached)),
            _(
                "held out and reached; %(not)s more would have been enrolled nowhere",
                **{"not": numbers.count(found.would_not)},
            ),
            *ok,
        ),
    ]
    if found.both:
        share = found.both / (found.both + both)
        told = caution if share > MANY else ok
        value = _("%(count)s left out", count=numbers.count(found.both))
        checks.append(Check(_("On both sides"), value, _("under one id: the holdout's share was changed"), *told))
    if found.linked:
        value = _("%(count)s count once", count=numbers.count(found.linked))
        detail = _(
            "%(crossed)s were met on both sides and stay where they were first",
            crossed=numbers.count(found.crossed),
        )
        checks.append(Check(_("Several ids"), value, detail, *ok))
    return tuple(checks)
