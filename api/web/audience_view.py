"""An audience as its page shows it: who gets what, what it costs and earns, why, and what more money would bring."""

from __future__ import annotations

from dataclasses import dataclass

from api.web.charts.budget import BudgetLook, Spent, budget_curve
from api.web.charts.markup import Chart
from api.web.language import Language, unbroken
from api.web.numbers import MISSING, Numbers
from experiments.report.document import Unit
from experiments.targeting.document import Audience, Given
from experiments.uplift.document import Recommendation


@dataclass(frozen=True, slots=True)
class AudienceLine:
    """One of an experiment's audiences."""

    url: str
    made: str
    members: str
    """Whom it was chosen among."""
    budget: str
    treated: str
    spent: str
    gain: str


@dataclass(frozen=True, slots=True)
class OfferLine:
    """What becomes of one offer."""

    name: str
    members: str
    explored: str
    gain: str
    cost: str
    liability: str
    stock: str


@dataclass(frozen=True, slots=True)
class AudienceView:
    """Everything that the page prints."""

    title: str
    about: str
    sentence: str
    evidence: str
    evident: bool
    found: str
    offers: tuple[OfferLine, ...]
    has_cost: bool
    has_stock: bool
    has_explored: bool
    facts: tuple[tuple[str, str], ...]
    reasons: tuple[tuple[str, str, str], ...]
    floors: tuple[tuple[str, str], ...]
    chart: Chart | None
    chart_foot: str
    warnings: tuple[str, ...]
    file_name: str
    size: str
    sha256: str


def build_audience(
    made: Audience, created_at: str | None, found: Recommendation | None, words: Language, numbers: Numbers
) -> AudienceView:
    """Turn an audience into text and a chart.

    Args:
        made: as it was kept.
        created_at: when, ISO 8601.
        found: the recommendation whose model chose; ``None`` where it is no longer known.
        words: of the page.
        numbers: formats in that language, the audience's currency and the project's time zone.
    """
    writing = _Writing(made, found, words, numbers)
    _ = words.gettext
    return AudienceView(
        title=_("Audience: %(experiment)s", experiment=words.text(made.title) or made.experiment or ""),
        about=writing.about(created_at),
        sentence=unbroken(words.text(made.sentence)),
        evidence=_("Evidence that members respond differently")
        if made.policy == "personalised"
        else _("No evidence of differentiation"),
        evident=made.policy == "personalised",
        found=unbroken(words.text(found.sentence)) if found is not None else "",
        offers=tuple(writing.offer(arm) for arm in made.arms),
        has_cost=any(arm.expected_cost is not None for arm in made.arms),
        has_stock=any(arm.stock is not None for arm in made.arms),
        has_explored=made.explored > 0,
        facts=writing.facts(),
        reasons=writing.reasons(),
        floors=writing.floors(),
        chart=writing.chart(),
        chart_foot=_(
            "The best that each budget buys for these members by the same model, without stocks, floors and exploring."
        ),
        warnings=tuple(words.text(warning) for warning in made.warnings),
        file_name=made.file_name,
        size=numbers.count(made.bytes),
        sha256=made.sha256,
    )


def audience_line(
    made: Audience, created_at: str, found: Recommendation | None, url: str, words: Language, numbers: Numbers
) -> AudienceLine:
    """Return an audience as a line of the list of them."""
    writing = _Writing(made, found, words, numbers)
    return AudienceLine(
        url=url,
        made=numbers.time(created_at),
        members=writing.members(),
        budget=MISSING if made.budget is None else numbers.money(made.budget),
        treated=words.gettext(
            "%(treated)s of %(rows)s", treated=numbers.count(made.treated), rows=numbers.count(made.rows)
        ),
        spent=numbers.money(made.spent),
        gain=writing.gain(made.predicted_gain),
    )


@dataclass(frozen=True)
class _Writing:
    made: Audience
    found: Recommendation | None
    words: Language
    numbers: Numbers

    @property
    def unit(self) -> Unit:
        """What is earned: money, or the outcome itself where nothing has a price."""
        return "money" if self.found is None or self.found.currency is not None else "number"

    def gain(self, value: float) -> str:
        """Return what is expected to be earned, with a sign."""
        if self.unit == "money":
            return self.numbers.money(value, signed=True)
        assert self.found is not None  # noqa: S101 - or it was money
        label = self.words.text(self.found.outcome_label) or self.found.outcome
        return f"{self.numbers.effect(value, 'number')} {label}"

    def members(self) -> str:
        """Return whom the audience was chosen among."""
        return self.made.list_name or self.words.gettext("Everyone who is known")

    def about(self, created_at: str | None) -> str:
        """Return when and of what it was made."""
        _ = self.words.gettext
        return _(
            "%(members)s, as of %(at)s, by recommendation %(number)s; made %(made)s.",
            members=self.members(),
            at=self.numbers.time(self.made.at),
            number=self.made.recommendation or "",
            made=self.numbers.time(created_at),
        )

    def offer(self, arm: Given) -> OfferLine:
        """Return what becomes of one offer."""
        numbers = self.numbers
        return OfferLine(
            self.words.text(arm.name) or arm.arm,
            numbers.count(arm.members),
            numbers.count(arm.explored),
            self.gain(arm.predicted_gain),
            numbers.money(arm.expected_cost),
            numbers.money(arm.liability),
            numbers.count(arm.stock),
        )

    def facts(self) -> tuple[tuple[str, str], ...]:
        """Return budget, what is spent, what is expected, and what was missed at most."""
        _ = self.words.gettext
        made, numbers = self.made, self.numbers
        basis = (
            _("counted as if every offer were redeemed")
            if made.basis == "liability"
            else _("counted as many redemptions as are expected")
        )
        facts = [
            (_("Budget"), _("as much as pays") if made.budget is None else numbers.money(made.budget)),
            (_("Spent"), _("%(amount)s, %(how)s", amount=numbers.money(made.spent), how=basis)),
            (_("Expected beyond sending nothing"), self.gain(made.predicted_gain)),
            (
                _("Members with an offer"),
                _("%(treated)s of %(rows)s", treated=numbers.count(made.treated), rows=numbers.count(made.rows)),
            ),
            (_("Missed of the best possible choice, at most"), self.gain(made.gap).lstrip("+")),
        ]
        if made.budget_price > 0:
            price = numbers.effect(made.budget_price, "number").lstrip("+")
            facts.append((_("One more unit of budget would add"), price))
        if made.explore:
            drawn = {"share": numbers.share(made.explore, 0), "count": numbers.count(made.explored)}
            facts.append((_("Drawn at random"), _("%(share)s: %(count)s members", **drawn)))
        return tuple(facts)

    def reasons(self) -> tuple[tuple[str, str, str], ...]:
        """Return (why, meaning, how many), most first."""
        said = reason_words(self.words)
        ordered = sorted(self.made.reasons.items(), key=lambda item: (-item[1], item[0]))
        return tuple((reason, said.get(reason, ""), self.numbers.count(rows)) for reason, rows in ordered)

    def floors(self) -> tuple[tuple[str, str], ...]:
        """Return each floor and how it was kept."""
        _ = self.words.gettext
        return tuple(
            (
                f"{floor.attribute}={floor.level}" + (f" · {floor.offer}" if floor.offer else ""),
                _(
                    "%(reached)s of at least %(least)s",
                    reached=self.numbers.count(floor.reached),
                    least=self.numbers.count(floor.least),
                ),
            )
            for floor in self.made.floors
        )

    def chart(self) -> Chart | None:
        """Return what a larger or smaller budget would earn; ``None`` where no budget earns anything."""
        _ = self.words.gettext
        made, numbers = self.made, self.numbers
        points = [Spent(point.budget, point.predicted_gain) for point in made.curve]
        if len(points) < 2 or points[-1].budget <= 0:
            return None
        label = _("this audience: %(gain)s for %(spent)s", gain=self.gain(made.predicted_gain),
                  spent=numbers.money(made.spent))  # fmt: skip
        all_ = _("all that pays: %(gain)s for %(spent)s", gain=self.gain(points[-1].value),
                 spent=numbers.money(points[-1].budget))  # fmt: skip
        look = BudgetLook(
            points,
            Spent(made.spent, made.predicted_gain),
            label,
            _("Budget"),
            _("Budget and what it is expected to earn: %(all)s", all=f"{label}; {all_}"),
        )
        unit: Unit = self.unit
        return budget_curve(
            look,
            write=lambda tick, step: _tick(numbers, tick, step, unit),
            spend=lambda tick, step: _tick(numbers, tick, step, "money"),
            columns=(_("Budget"), _("Expected to earn"), _("Members with an offer")),
            rows=tuple(
                (numbers.money(point.budget), self.gain(point.predicted_gain), numbers.count(point.members))
                for point in made.curve
            ),
        )


def _tick(numbers: Numbers, value: float, step: float, unit: Unit) -> str:
    text = numbers.total(value, unit) if abs(value) >= 1000 and unit == "money" else numbers.tick(value, unit, step)
    return text.lstrip("+")


def reason_words(words: Language) -> dict[str, str]:
    """Return what each reason of an audience's file means."""
    _ = words.gettext
    return {
        "chosen": _("The model, or a floor, gives the member this offer."),
        "explored": _("Drawn at random, whatever the model says; what was drawn may be nothing."),
        "no_gain": _("No offer is expected to earn anything with the member."),
        "budget": _("An offer would earn something, but budget and stocks earn more with others."),
        "opted_out": _("The member opted out of personalisation: no model chooses for them."),
        "holdout": _("In a holdout, whose members get nothing."),
        "excluded": _("On the exclusion list of the project or of the experiment."),
        "invalid_unit": _("The row has no usable member id; it is not in the file."),
        "personal_id": _("The id looks like an e-mail address or a telephone number; it is not in the file."),
        "repeated": _("The member was on the list before; the row is not in the file."),
    }
