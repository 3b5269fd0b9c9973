"""Charts and table rows of the page of a policy that learns."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from babel.dates import format_date
from markupsafe import Markup

from api.web.bandit_rows import ArmLine, HeatCell, HeatRow, PolicyLine
from api.web.charts.area import Area, fill, stacked_area
from api.web.charts.gained import GainLook, gain_curve
from api.web.charts.histogram import histogram
from api.web.charts.levels import level_axis, level_row, level_scale
from api.web.charts.markup import Chart
from api.web.language import Language
from api.web.numbers import MISSING, Numbers, step_digits
from api.web.vocabulary import Badge
from experiments.report import figures
from experiments.report.bandit.document import Bandit, PolicyValue, Value
from experiments.report.bandit.words import why_words

ARMS_WIDTH, POLICIES_WIDTH = 340.0, 160.0
STEPS = 10


def curve_chart(bandit: Bandit, tone: str, language: Language, numbers: Numbers) -> Chart:
    """Draw what was gained so far."""
    _ = language.gettext
    points, unit = bandit.gain.curve, bandit.reward.unit
    total = {"money": "money", "share": "count", "number": "number"}[unit]
    last = next((p.total.estimate for p in reversed(points) if p.total.estimate is not None), None)

    def written(value: float | None) -> str:
        return numbers.total(value, "money" if unit == "money" else "count")

    look = GainLook(
        days=[_day(p.date, language) for p in points],
        estimate=[p.total.estimate for p in points],
        low=[p.total.ci_low for p in points],
        high=[p.total.ci_high for p in points],
        tone=tone,
        last=written(last),
        label=_("Gained over the control group so far: %(total)s", total=written(last)),
    )
    rows = tuple(
        (
            p.date,
            numbers.count(p.decisions),
            written(p.total.estimate),
            numbers.interval(written(p.total.ci_low), written(p.total.ci_high))
            if p.total.ci_low is not None
            else MISSING,
        )
        for p in points
    )
    columns = (_("Day"), _("Decisions"), _("Gained"), _("Band"))
    return gain_curve(look, write=lambda value: _short(value, total, numbers), columns=columns, rows=rows)


def _short(value: float, unit: str, numbers: Numbers) -> str:
    """Write a tick: ¥200k, ¥20万."""
    sign = numbers.currency_sign() if unit == "money" else ""
    chinese = numbers.language.tag == "zh-CN"
    size, suffix = next(
        (
            (s, name)
            for s, name in (((1e8, "亿"), (1e4, "万")) if chinese else ((1e6, "M"), (1e3, "k")))
            if abs(value) >= s
        ),
        (1.0, ""),
    )
    text = figures.plain(abs(value) / size, step_digits(abs(value) / size) if size > 1 else 0)
    return ("\u2212" if value < 0 else "") + sign + text + suffix


def allocation_chart(bandit: Bandit, names: Mapping[str, str], language: Language, numbers: Numbers) -> Chart:
    """Draw how the policy's decisions went over the variants, day by day."""
    _ = language.gettext
    days = bandit.days
    shares = [[d.counts[w] / d.decisions if d.decisions else 0.0 for d in days] for w in range(len(bandit.variants))]
    areas = [
        Area(
            names.get(v, v),
            shares[w],
            f"{_cut(names.get(v, v))} {numbers.share(shares[w][-1], 0)}",
        )
        for w, v in enumerate(bandit.variants)
    ]
    at = {d.date: index for index, d in enumerate(days)}
    marks = [(at[s.date], f"v{s.version}") for s in bandit.starts if s.date in at]
    first = max(range(len(areas)), key=lambda w: abs(shares[w][-1] - shares[w][0]))
    label = _(
        "Share of decisions per variant over %(days)s days; %(name)s went from %(before)s to %(after)s",
        days=len(days),
        name=areas[first].name,
        before=numbers.share(shares[first][0], 0),
        after=numbers.share(shares[first][-1], 0),
    )
    rows = tuple(
        (d.date, numbers.count(d.decisions), *(numbers.share(shares[w][i], 0) for w in range(len(areas))))
        for i, d in enumerate(days)
    )
    columns = (_("Day"), _("Decisions"), *(area.name for area in areas))
    return stacked_area(
        areas, [_day(d.date, language) for d in days], marks=marks, label=label, columns=columns, rows=rows
    )


def arm_lines(
    bandit: Bandit, names: Mapping[str, str], language: Language, numbers: Numbers
) -> tuple[tuple[ArmLine, ...], Markup]:
    """Return the variants, and the axis that they share."""
    unit, reference = bandit.reward.unit, bandit.gain.control.estimate
    bounds = [(a.value.ci_low, a.value.estimate, a.value.ci_high) for a in bandit.arms]
    scale = level_scale(bounds, width=ARMS_WIDTH, reference=reference)
    lines = []
    for index, arm in enumerate(bandit.arms):
        value = numbers.value(arm.value.estimate, unit)
        between = _between(arm.value, bandit, numbers)
        name = names.get(arm.variant, arm.variant)
        lines.append(
            ArmLine(
                name=name,
                swatch=f"c{fill(index)[2:]}",
                decisions=numbers.count(arm.decisions),
                share=numbers.share(arm.share, 1),
                value=value,
                chart=level_row(
                    scale, bounds[index], fill=fill(index), reference=reference, label=f"{name}: {value}, {between}"
                ),
                interval=between,
                why=why_words(arm.value.why, language.tag),
                propensity=MISSING if arm.median_propensity is None else f"{arm.median_propensity:.2f}",
                best=_chance(arm.chance_best, numbers),
                masked=arm.masked,
            )
        )
    return tuple(lines), level_axis(scale, [_tick(t, bandit, scale.ticks, numbers) for t in scale.ticks])


def policy_lines(
    bandit: Bandit, names: Mapping[str, str], language: Language, numbers: Numbers
) -> tuple[tuple[PolicyLine, ...], Markup]:
    """Return the other policies, and the axis that they share."""
    unit = bandit.reward.unit
    live = next((p.value.estimate for p in bandit.policies if p.code == "live"), None)
    bounds = [(p.value.ci_low, p.value.estimate, p.value.ci_high) for p in bandit.policies]
    scale = level_scale(bounds, width=POLICIES_WIDTH, reference=live, about=3)
    fills = {"candidate": "f-acc", "live": "f-good"}
    lines = []
    for policy, ends in zip(bandit.policies, bounds, strict=True):
        name, detail, badge = _policy_words(policy, names, language)
        value = numbers.value(policy.value.estimate, unit)
        against = policy.against_live
        lines.append(
            PolicyLine(
                name=name,
                detail=detail,
                badge=badge,
                value=value,
                chart=level_row(
                    scale, ends, fill=fills.get(policy.code, "f-flat"), reference=live, label=f"{name}: {value}"
                ),
                against=MISSING if against is None else numbers.effect(against.estimate, unit),
                interval=""
                if against is None or against.ci_low is None
                else numbers.range_in(against.ci_low, against.ci_high, "absolute", unit),
                ess=numbers.count(None if policy.ess is None else round(policy.ess)),
                why=why_words(policy.value.why, language.tag),
            )
        )
    return tuple(lines), level_axis(scale, [_tick(t, bandit, scale.ticks, numbers) for t in scale.ticks])


def heat_rows(bandit: Bandit, language: Language, numbers: Numbers) -> tuple[HeatRow, ...]:
    """Return who got what in the last days."""
    rows = []
    before = ""
    for segment in bandit.segments:
        shares = [count / segment.decisions if segment.decisions else 0.0 for count in segment.counts]
        rows.append(
            HeatRow(
                attribute="" if segment.attribute == before else language.text(segment.label) or segment.attribute,
                level=language.text(segment.level_label) or segment.level,
                cells=tuple(HeatCell(numbers.share(s, 0), min(STEPS, round(s * STEPS))) for s in shares),
                decisions=numbers.count(segment.decisions),
            )
        )
        before = segment.attribute
    return tuple(rows)


def propensity_chart(bandit: Bandit, language: Language, numbers: Numbers) -> Chart:
    """Draw how likely the drawn variants were."""
    _ = language.gettext
    found = bandit.propensities
    total = sum(found.counts) or 1
    rows = tuple(
        (f"{found.edges[i]:.2f}\u2013{found.edges[i + 1]:.2f}", numbers.count(n), numbers.share(n / total, 1))
        for i, n in enumerate(found.counts)
    )
    return histogram(
        found.counts,
        label=_("Histogram of the logged propensities; the lowest is %(lowest)s", lowest=f"{found.lowest or 0:.3g}"),
        axis=_("Probability of the variant that was drawn"),
        share=lambda value: numbers.share(value, 0),
        columns=(_("Probability"), _("Decisions"), _("Share")),
        rows=rows,
    )


def _policy_words(policy: PolicyValue, names: Mapping[str, str], language: Language) -> tuple[str, str, Badge | None]:
    _ = language.gettext
    variant = names.get(policy.variant or "", policy.variant or "")
    if policy.code == "candidate":
        return f"v{policy.version}", _("the newest version"), Badge(_("Candidate"), "clock", "acc")
    if policy.code == "live":
        return f"v{policy.version}", _("as it draws now"), Badge(_("Live"), "ok", "good")
    if policy.code == "best_single":
        return _("Best single variant"), _("%(variant)s for everyone", variant=variant), None
    if policy.code == "greedy":
        return _("v%(version)s greedy", version=policy.version), _("without exploration"), None
    return _("Even split"), _("every eligible variant alike"), Badge(_("Reference"), "dash", "")


def _between(value: Value, bandit: Bandit, numbers: Numbers) -> str:
    if value.ci_low is None or value.ci_high is None:
        return MISSING
    unit = bandit.reward.unit
    return numbers.interval(numbers.value(value.ci_low, unit), numbers.value(value.ci_high, unit))


def _chance(value: float | None, numbers: Numbers) -> str:
    if value is None:
        return MISSING
    if value < 0.01:
        return "<1%"
    return ">99%" if value > 0.99 else numbers.share(value, 0)


def _tick(value: float, bandit: Bandit, ticks: tuple[float, ...], numbers: Numbers) -> str:
    step = ticks[1] - ticks[0] if len(ticks) > 1 else 1.0
    if bandit.reward.unit == "share":
        return numbers.share(value, step_digits(step * 100))
    sign = numbers.currency_sign() if bandit.reward.unit == "money" else ""
    return ("\u2212" if value < 0 else "") + sign + figures.plain(abs(value), step_digits(step))


def _cut(text: str, most: int = 20) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _day(text: str, language: Language) -> str:
    pattern = "M月d日" if language.tag == "zh-CN" else "d MMM"
    return format_date(date.fromisoformat(text), pattern, locale=language.locale)
