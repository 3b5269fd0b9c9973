"""The form "Make an audience": what it offers, what was filled in, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from api.web.language import Language
from api.web.numbers import Numbers
from experiments.errors import InputError
from experiments.targeting.request import MOST_PIECES, Limits, limits, read_amount
from experiments.uplift.document import Recommendation

SHARES = (0.0, 0.05, 0.1, 0.2)
"""To choose from, of members who are drawn at random."""


@dataclass(frozen=True, slots=True)
class Wrong:
    """What is wrong with one field."""

    field: str
    message: str
    english: bool = False
    """Whether the message is English whatever the page is."""


@dataclass(frozen=True)
class AudienceForm:
    """What was filled in, as text."""

    who: str = "everyone"
    """everyone | list"""
    unit_column: str = ""
    budget: str = ""
    basis: str = "liability"
    explore: str = "0"
    stock: Mapping[str, str] = field(default_factory=dict)
    """Arm → pieces."""
    wrong: Wrong | None = None


@dataclass(frozen=True, slots=True)
class FormView:
    """Everything that the form prints."""

    url: str
    offers: tuple[tuple[str, str], ...]
    """Arm and name."""
    shares: tuple[tuple[str, str], ...]
    """Value and words."""
    currency: str
    can_expect: bool
    """Whether the recommendation says how many offers are redeemed."""
    filled: AudienceForm


def form_view(
    found: Recommendation, url: str, words: Language, numbers: Numbers, filled: AudienceForm | None = None
) -> FormView:
    """Return the form as the page prints it.

    Args:
        found: the recommendation whose offers there are.
        url: where it goes.
        words: of the page.
        numbers: formats in that language and the recommendation's currency.
        filled: what was filled in before.
    """
    none = words.gettext("nobody")
    return FormView(
        url=url,
        offers=tuple((arm.key, words.text(arm.name) or arm.key) for arm in found.arms[1:]),
        shares=tuple((f"{share:g}", numbers.share(share, 0) if share else none) for share in SHARES),
        currency=numbers.currency_sign().strip(),
        can_expect=any(arm.redemption_cost * arm.redeemed or arm.contact_cost for arm in found.arms),
        filled=filled or AudienceForm(),
    )


def read_form(given: Mapping[str, str], found: Recommendation) -> AudienceForm:
    """Return what was filled in."""
    text = {name: str(value).strip()[:256] for name, value in given.items()}
    return AudienceForm(
        who=text.get("who", ""),
        unit_column=text.get("unit_column", ""),
        budget=text.get("budget", "")[:40],
        basis=text.get("basis", "liability"),
        explore=text.get("explore", "0"),
        stock={arm.key: text.get(f"stock-{arm.key}", "")[:20] for arm in found.arms[1:]},
    )


def limits_of(form: AudienceForm, words: Language) -> Limits | Wrong:
    """Return the limits that a form asks for, or what is wrong with it."""
    _ = words.gettext
    if form.who not in ("everyone", "list"):  # also a form that arrived without its fields: that asks for nothing
        return Wrong("who", _("Choose among everyone who is known, or a list."))
    budget: float | None = None
    if form.budget:
        try:
            budget = read_amount(form.budget, "budget")
        except InputError:
            return Wrong("budget", _("The budget is no amount; write one such as 5000, or leave it empty."))
    stock: dict[str, int] = {}
    for arm, text in form.stock.items():
        pieces = text.replace(",", "").replace("，", "")
        if not pieces:
            continue
        if not (pieces.isascii() and pieces.isdigit()) or int(pieces) > MOST_PIECES:
            return Wrong(f"stock-{arm}", _("The pieces of an offer are a whole number; left empty, there is no limit."))
        stock[arm] = int(pieces)
    if form.basis not in ("liability", "expected"):
        return Wrong("basis", _("Choose how offers count against the budget."))
    if form.explore not in {f"{share:g}" for share in SHARES}:
        return Wrong("explore", _("Choose the share that is drawn at random from the list."))
    return limits(budget=budget, basis=form.basis, stock=stock, explore=float(form.explore))
