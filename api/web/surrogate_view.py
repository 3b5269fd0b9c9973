"""Effects months away as the page of the programme shows them: foretold, what that assumes, and how it did before."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from api.web.charts.forest import Forest, ForestRow, forest
from api.web.charts.interval import IntervalLook
from api.web.language import Language
from api.web.numbers import Numbers
from experiments.programme.surrogate_document import Surrogate
from experiments.report.document import Reading, Unit

DOUBT = 0.01


@dataclass(frozen=True, slots=True)
class ForetoldLine:
    """One effect on the table's axis."""

    name: str
    effect: str
    interval: str
    chart: Markup


@dataclass(frozen=True, slots=True)
class PastLine:
    """One past comparison: foretold without it, and what came."""

    foretold: ForetoldLine
    came: ForetoldLine


@dataclass(frozen=True, slots=True)
class SurrogateView:
    """What was foretold of one experiment."""

    key: str
    title: str
    verdict: str
    icon: str
    tone: str
    computed: str
    level: str
    effects: tuple[ForetoldLine, ...]
    drawn: Forest
    index: str
    slope: str
    past: tuple[PastLine, ...]
    past_drawn: Forest | None
    assumptions: tuple[str, ...]


def build_surrogate_view(
    found: Surrogate, words: Language, numbers: Numbers, *, name: str, long: str, money: bool, variants: dict[str, str]
) -> SurrogateView:
    """Turn what was foretold into text and charts.

    Args:
        found: as the job left it.
        words: of the page.
        numbers: formats in that language and the document's currency.
        name: of the experiment.
        long: name of the metric that is foretold.
        money: whether it is money.
        variants: their names, by key.
    """
    writing = _Writing(found, words, numbers, "money" if money else "number")
    _ = words.gettext
    checked = found.p_value is not None
    doubtful = found.p_value is not None and found.p_value < DOUBT
    effects = [(variants.get(e.variant, e.variant), e.estimate, e.ci_low, e.ci_high) for e in found.effects]
    drawn = writing.forest(effects, readable=not doubtful)
    past = None
    if found.past:
        rows = []
        for each in found.past:
            rows.append((each.comparison, each.foretold, each.foretold_low, each.foretold_high))
            rows.append((each.comparison, each.observed, each.observed_low, each.observed_high))
        past = writing.forest(rows)
    lines = writing.lines(drawn)
    paired = () if past is None else writing.lines(past)
    return SurrogateView(
        key=found.experiment,
        title=_(
            "%(name)s · effect on %(metric)s in %(long)s days, from the first %(early)s",
            name=name,
            metric=long,
            long=numbers.count(found.long_days),
            early=numbers.count(found.early_days),
        ),
        verdict=words.text(found.verdict),
        icon="warn" if doubtful or not checked else "ok",
        tone="warn" if doubtful or not checked else "good",
        computed=numbers.time(found.computed_at),
        level=numbers.share(1 - found.alpha, 0),
        effects=lines,
        drawn=drawn,
        index=_(
            "Learned from %(units)s members; %(early)s explain %(share)s of the variation of %(metric)s.",
            units=numbers.count(found.units),
            early=", ".join(found.early),
            share=numbers.share(found.explained, 0),
            metric=long,
        ),
        slope=""
        if found.slope is None or found.slope_error is None
        else _(
            "What came on what was foretold: a slope of %(slope)s ± %(error)s (1 is right; below it the index promises "
            "too much).",
            slope=f"{found.slope:.2f}",
            error=f"{found.slope_error:.2f}",
        ),
        past=tuple(PastLine(*pair) for pair in zip(paired[::2], paired[1::2], strict=True)),
        past_drawn=past,
        assumptions=tuple(words.text(said) for said in found.assumptions),
    )


@dataclass(frozen=True, slots=True)
class _Writing:
    found: Surrogate
    language: Language
    numbers: Numbers
    unit: Unit

    def forest(self, rows: list[tuple[str, float, float, float]], *, readable: bool = True) -> Forest:
        """Return effects on one axis; those that are not to be relied on look unclear whatever they are."""
        _ = self.language.gettext
        numbers = self.numbers
        size = max(abs(value) for _name, *values in rows for value in values)
        drawn = []
        for name, estimate, low, high in rows:
            written = numbers.effect(estimate, self.unit, scale=size)
            between = numbers.range_in(low, high, "absolute", self.unit, scale=size)
            clear = readable and not low <= 0 <= high
            reading: Reading = ("better" if low > 0 else "worse") if clear else "unclear"
            label = _("%(name)s: %(effect)s a member, %(between)s", name=name, effect=written, between=between)
            drawn.append(ForestRow(IntervalLook(low, estimate, high, reading, label), (name, written, between)))
        level = numbers.share(1 - self.found.alpha, 0)
        return forest(
            drawn,
            caption=_("Foretold effect a member"),
            columns=(_("Variant"), _("Effect a member"), _("%(level)s interval", level=level)),
            write=lambda value, step: numbers.tick(value, self.unit, step),
        )

    def lines(self, drawn: Forest) -> tuple[ForetoldLine, ...]:
        """Return the rows of the table around the picture."""
        return tuple(
            ForetoldLine(name, effect, interval, chart.svg)
            for (name, effect, interval), chart in zip(drawn.table.rows, drawn.charts, strict=True)
        )
