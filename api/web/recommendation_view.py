"""Who to send it to, as its page shows it: the sentence, the curve in money, the target group, ways compared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from api.web.audience_form import FormView
from api.web.audience_view import AudienceLine
from api.web.charts.markup import Chart
from api.web.charts.profit import ProfitLook, ProfitPoint, profit_curve
from api.web.language import Language, language, unbroken
from api.web.numbers import MISSING, Numbers
from experiments.report.document import Unit
from experiments.report.whys import why_text
from experiments.uplift.document import Curve, Interval, Recommendation

PER = 100_000
"""Members that the curve's money is of."""
STYLE = Path(__file__).parent / "static" / "app.css"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a recommendation stands for whoever looks at the page."""

    document: Recommendation | None = None
    number: int | None = None
    under_way: bool = False
    failure: str = ""
    """Why the last one failed."""
    possible: bool = False
    """Whether one can be made: the experiment is over."""
    url: str = ""
    """Where forms about it go."""
    may_change: bool = False
    audiences_url: str = ""
    """Where audiences are made and listed."""
    form: FormView | None = None
    """Has an audience made; ``None`` where nobody may, or nothing can be."""
    audiences: tuple[AudienceLine, ...] = ()
    """The latest ones."""


@dataclass(frozen=True, slots=True)
class ProfileLine:
    """One attribute of the target group."""

    label: str
    target: str
    rest: str


@dataclass(frozen=True, slots=True)
class PolicyLine:
    """One way to choose."""

    name: str
    value: str
    value_interval: str
    gain: str
    gain_interval: str
    tone: str
    treated: str
    cost: str
    recommended: bool


@dataclass(frozen=True, slots=True)
class CheckLine:
    """One thing that has to hold."""

    label: str
    value: str
    needed: str
    icon: str
    tone: str


@dataclass(frozen=True, slots=True)
class CurveFigure:
    """A curve and its name."""

    name: str
    chart: Chart
    foot: str


@dataclass(frozen=True, slots=True)
class RecommendationView:
    """Everything that the section prints."""

    heading: str
    sentence: str
    reasons: tuple[str, ...]
    causal: bool
    evidence: bool
    checks: tuple[CheckLine, ...]
    first: CurveFigure | None
    others: tuple[CurveFigure, ...]
    profile: tuple[ProfileLine, ...]
    policies: tuple[PolicyLine, ...]
    rule: str
    warnings: tuple[str, ...]
    methods: tuple[str, ...]
    level: str
    has_costs: bool
    content_hash: str


def build_recommendation(document: Recommendation, words: Language, numbers: Numbers) -> RecommendationView:
    """Turn a recommendation into text and charts.

    Args:
        document: as it was kept.
        words: of the page.
        numbers: formats in that language and the document's currency.
    """
    writing = _Writing(document, words, numbers)
    figures = writing.curves()
    return RecommendationView(
        heading=writing.heading(),
        sentence=unbroken(words.text(document.sentence)),
        reasons=tuple(unbroken(words.text(reason)) for reason in document.reasons),
        causal=document.causal,
        evidence=bool(document.evidence),
        checks=writing.checks(),
        first=figures[0] if figures else None,
        others=tuple(figures[1:]),
        profile=writing.profile(),
        policies=writing.policies(),
        rule=words.text(document.rule_text) if document.rule else "",
        warnings=tuple(words.text(warning) for warning in document.warnings),
        methods=tuple(words.text(method) for method in document.methods),
        level=numbers.share(1 - document.alpha, 0),
        has_costs=any(policy.cost for policy in document.policies),
        content_hash=document.content_hash,
    )


@dataclass(frozen=True)
class _Writing:
    document: Recommendation
    language: Language
    numbers: Numbers

    @property
    def unit(self) -> Unit:
        """What a figure a unit is in."""
        if self.document.currency is not None:
            return "money"
        means = [arm.mean for arm in self.document.arms if arm.mean is not None]
        return "share" if all(0 <= mean <= 1 for mean in means) else "number"

    def heading(self) -> str:
        """Return the section's title, with the arm where it is about one."""
        _ = self.language.gettext
        offers = list(self.document.arms[1:])
        if self.document.evidence:
            given = self.document.policies[0].mix
            offers = [arm for arm in offers if given.get(arm.key, 0.0) >= 0.01]
        elif self.document.offer is not None:
            offers = [arm for arm in offers if arm.key == self.document.offer]
        if self.document.causal and len(offers) == 1:
            return _("Who to send it to: %(variant)s", variant=self.language.text(offers[0].name) or offers[0].key)
        return _("Who to send it to")

    def name(self, key: str) -> str:
        """Return what an arm, or choosing by member, is called."""
        if key == "personalised":
            return self.language.gettext("Each member's best offer")
        return next((self.language.text(arm.name) or arm.key for arm in self.document.arms if arm.key == key), key)

    def amount(self, value: float | None) -> str:
        """Return a figure a unit."""
        small = self.unit == "money" and value is not None and 0 < abs(value) < 0.01
        return self.numbers.money(value, 4, signed=True) if small else self.numbers.effect(value, self.unit)

    def interval(self, found: Interval | None) -> str:
        """Return an interval as a phrase."""
        if found is None or found.estimate is None:
            return ""
        return self.numbers.interval(
            None if found.ci_low is None else self.amount(found.ci_low),
            None if found.ci_high is None else self.amount(found.ci_high),
        )

    def total(self, value: float) -> str:
        """Return a figure of `PER` units."""
        return self.numbers.total(value * PER, "money" if self.unit == "money" else "count")

    def checks(self) -> tuple[CheckLine, ...]:
        """Return every check."""
        icons = {"ok": ("ok", "good"), "caution": ("warn", "warn"), "fail": ("no", "bad")}
        return tuple(
            CheckLine(
                self.language.text(check.label),
                self.language.text(check.value),
                self.language.text(check.needed) if check.status != "ok" else "",
                *icons[check.status],
            )
            for check in self.document.checks
        )

    def curves(self) -> list[CurveFigure]:
        """Return the curves, the one that the recommendation is about first."""
        document = self.document
        order = list(document.curves)
        wanted = "personalised" if document.evidence else document.offer
        order.sort(key=lambda curve: curve.arm != wanted)
        return [self._curve(curve, first=place == 0) for place, curve in enumerate(order) if len(curve.points) > 1]

    def _curve(self, curve: Curve, *, first: bool) -> CurveFigure:
        _ = self.language.gettext
        document, numbers = self.document, self.numbers
        points = [
            ProfitPoint(p.share, p.profit * PER, _times(p.ci_low), _times(p.ci_high))
            for p in curve.points
            if p.profit is not None
        ]
        marked = self._marked(curve) if first else None
        value = None if marked is None else document.policies[0].value.estimate
        name = self.name(curve.arm)
        label_all = _("send to all: %(amount)s", amount=self.total(points[-1].value / PER))
        top = (
            ""
            if marked is None
            else _("send to top %(share)s: %(amount)s", share=numbers.share(marked, 0), amount=self.total(value or 0.0))
        )
        look = ProfitLook(
            points,
            marked,
            top,
            label_all,
            _("random order"),
            _("Share sent it, highest predicted gain first"),
            _(
                "%(name)s per %(number)s members: %(all)s",
                name=name,
                number=numbers.count(PER),
                all="; ".join(filter(None, (top, label_all))),
            ),
        )
        level = numbers.share(1 - document.alpha, 0)
        columns = (
            _("Sent to"),
            _("Per %(number)s members", number=numbers.count(PER)),
            _("%(level)s interval", level=level),
        )
        rows = tuple(
            (
                numbers.share(p.share, 0),
                self.total(p.value / PER),
                MISSING
                if p.low is None or p.high is None
                else numbers.interval(self.total(p.low / PER), self.total(p.high / PER)),
            )
            for p in points
        )  # fmt: skip
        unit: Unit = "money" if self.unit == "money" else "count"
        chart = profit_curve(
            look,
            write=lambda tick, step: (
                numbers.total(tick, unit).lstrip("+") if abs(tick) >= 10 else numbers.tick(tick, unit, step)
            ),
            share=lambda part: numbers.share(part, 0),
            columns=columns,
            rows=rows,
        )
        return CurveFigure(name, chart, self._foot(curve))

    def _marked(self, curve: Curve) -> float | None:
        """Return the share that the recommended policy sends something to, where this is its curve."""
        document = self.document
        if not document.evidence:
            return None
        treated = document.policies[0].treated
        same = curve.arm == "personalised" or len(document.arms) == 2
        return treated if same and treated < 0.995 else None

    def _foot(self, curve: Curve) -> str:
        """Return what ranks were worth: on the half that did not choose the share, and by Qini and RATE."""
        _ = self.language.gettext
        said = [
            _("Per %(number)s members, valued on members that nothing was fitted on.", number=self.numbers.count(PER))
        ]
        if curve.best_share is not None and curve.best_profit is not None and curve.best_profit.estimate is not None:
            said.append(
                _(
                    "Best share on one half: %(share)s, worth %(amount)s on the other (all: %(all)s).",
                    share=self.numbers.share(curve.best_share, 0),
                    amount=self.total(curve.best_profit.estimate),
                    all=self.total((curve.all_profit.estimate if curve.all_profit else None) or 0.0),
                )
            )
        level = self.numbers.share(1 - self.document.alpha, 0)
        for word, found in (("Qini", curve.qini), ("RATE", curve.rate)):
            if found.estimate is not None and found.ci_low is not None and found.ci_high is not None:
                digits = max(3, min(6, 2 - _magnitude(found.estimate)))
                said.append(
                    _(
                        "%(measure)s %(estimate)s (%(level)s: %(low)s to %(high)s).",
                        measure=word,
                        estimate=_plain(found.estimate, digits),
                        level=level,
                        low=_plain(found.ci_low, digits),
                        high=_plain(found.ci_high, digits),
                    )
                )
        return unbroken(" ".join(said))

    def profile(self) -> tuple[ProfileLine, ...]:
        """Return how the target group differs."""
        _ = self.language.gettext
        lines = []
        for row in self.document.profile:
            label = self.language.text(row.label) or row.attribute
            if row.kind == "number":
                lines.append(
                    ProfileLine(
                        _("%(attribute)s, median", attribute=label), self._number(row.target), self._number(row.rest)
                    )
                )
            else:
                lines.append(
                    ProfileLine(
                        _("%(attribute)s: %(level)s", attribute=label, level=row.level or ""),
                        self.numbers.share(row.target, 0),
                        self.numbers.share(row.rest, 0),
                    )
                )
        return tuple(lines)

    def _number(self, value: float | None) -> str:
        if value is None:
            return MISSING
        return (
            self.numbers.count(value)
            if abs(value) >= 100 or value == round(value)
            else self.numbers.value(value, "number")
        )

    def policies(self) -> tuple[PolicyLine, ...]:
        """Return every way to choose."""
        lines = []
        for policy in self.document.policies:
            gain = policy.gain
            tone = ""
            if gain is not None and gain.ci_low is not None and gain.ci_high is not None:
                tone = "good" if gain.ci_low > 0 else "bad" if gain.ci_high < 0 else ""
            lines.append(
                PolicyLine(
                    name=self.language.text(policy.label),
                    value=self.amount(policy.value.estimate),
                    value_interval=self.interval(policy.value) or why_text(policy.value.why, self.language.tag),
                    gain="" if gain is None else self.amount(gain.estimate),
                    gain_interval=self.interval(gain),
                    tone=tone,
                    treated=self.numbers.share(policy.treated, 0),
                    cost=self.numbers.money(policy.cost) if policy.cost is not None else "",
                    recommended=policy.code == self.document.recommended,
                )
            )
        return tuple(lines)


def _times(value: float | None) -> float | None:
    return None if value is None else value * PER


def _magnitude(value: float) -> int:
    """Return the power of ten of a number."""
    return 0 if value == 0 else int(f"{abs(value):e}".partition("e")[2])


def _plain(value: float, digits: int) -> str:
    """Write a number with a real minus sign.

    >>> _plain(-0.01234, 3)
    '−0.012'
    """
    from experiments.report.figures import plain

    return plain(value, digits)


def render_recommendation(document: Recommendation, lang: str) -> str:
    """Return a recommendation as one self-contained HTML file: style inside, no script, no request."""
    from api.web.pages import Page, render

    words = language(lang)
    return render(
        "recommendation_page.html",
        lang,
        Page(),
        title=words.text(document.title),
        who=build_recommendation(document, words, Numbers(words, document.currency or None)),
        standing=Standing(document=document),
        standalone=True,
        style=Markup(STYLE.read_text("utf-8")),  # noqa: S704 - our own file
        section="",
    )
