"""The report of an experiment whose policy learns, as its page shows it: written text and charts."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from api.web.bandit_charts import (
    allocation_chart,
    arm_lines,
    curve_chart,
    heat_rows,
    policy_lines,
    propensity_chart,
)
from api.web.bandit_rows import ArmLine, HeatRow, PolicyLine
from api.web.charts.markup import Chart
from api.web.language import Language, unbroken
from api.web.numbers import Numbers
from api.web.report_view import Fact, HealthCell
from api.web.vocabulary import Badge, state_badge, status_icon, status_word
from experiments.report.bandit.document import Bandit, VersionLine
from experiments.report.bandit.words import POLICIES, STATES
from experiments.report.document import Report

ACTIONS: dict[str, tuple[str, ...]] = {
    "waiting": ("approve", "reject"),
    "blocked": ("approve", "reject"),
    "ramping": ("roll-back",),
    "live": ("roll-back",),
}
"""State of a version → what may be done with it."""


@dataclass(frozen=True, slots=True)
class Action:
    """A button beside a version."""

    name: str
    """approve | reject | roll-back"""
    word: str


@dataclass(frozen=True, slots=True)
class VersionRow:
    """One version of the policy."""

    number: int
    trained: str
    rows: str
    features: str
    decisions: str
    badge: Badge
    reasons: tuple[str, ...]
    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class BanditView:
    """Everything that the template prints."""

    title: str
    hypothesis: str
    facts: tuple[Fact, ...]
    badge: Badge
    tone: str
    measured: str
    """On whom the gain is measured."""
    sentence: str
    reasons: tuple[str, ...]
    curve: Chart | None
    curve_title: str
    health: tuple[HealthCell, ...]
    warnings: tuple[str, ...]
    allocation: Chart | None
    arms: tuple[ArmLine, ...]
    arms_axis: Markup
    arms_note: str
    reward: str
    """What is earned, for headings."""
    level: str
    segments: tuple[HeatRow, ...]
    segment_days: str
    variants: tuple[str, ...]
    propensities: Chart | None
    propensity_note: str
    policies: tuple[PolicyLine, ...]
    policies_axis: Markup
    policies_note: str
    versions: tuple[VersionRow, ...]
    methods: tuple[str, ...]
    counted: tuple[tuple[str, str], ...]
    data_time: str
    content_hash: str
    software: str


def build_bandit_view(report: Report, bandit: Bandit, language: Language, numbers: Numbers) -> BanditView:
    """Turn the report into text and charts.

    Args:
        report: the stored document.
        bandit: its part about the policy.
        language: of the page.
        numbers: formats in that language, currency and zone.
    """
    _ = language.gettext
    names = {v.key: language.text(v.name) or v.key for v in report.plan.variants}
    badge, tone = _standing(bandit, language)
    arms, arms_axis = arm_lines(bandit, names, language, numbers)
    policies, policies_axis = policy_lines(bandit, names, language, numbers)
    share = numbers.share(bandit.gain.control_share, 0)
    return BanditView(
        title=language.text(report.plan.title) or report.plan.experiment or "",
        hypothesis=language.text(report.plan.hypothesis),
        facts=_facts(report, bandit, language, numbers),
        badge=badge,
        tone=tone,
        measured=_("measured on the %(share)s of members for whom nothing is learned", share=share)
        if bandit.gain.control_share
        else _("no control group was declared, so the gain cannot be measured"),
        sentence=unbroken(language.text(bandit.sentence)),
        reasons=tuple(unbroken(language.text(reason)) for reason in bandit.reasons),
        curve=curve_chart(bandit, tone, language, numbers) if bandit.gain.curve else None,
        curve_title=_("Gained over the control group, cumulative"),
        health=tuple(
            HealthCell(
                language.text(c.label) or c.code,
                language.text(c.value),
                language.text(c.detail),
                *status_icon(c.status),
                status_word(c.status, language),
            )
            for c in report.checks
        ),
        warnings=_warnings(report, language, numbers),
        allocation=allocation_chart(bandit, names, language, numbers) if bandit.days else None,
        arms=arms,
        arms_axis=arms_axis,
        arms_note=_("control group, %(value)s", value=numbers.value(bandit.gain.control.estimate, bandit.reward.unit))
        if bandit.gain.control.estimate is not None
        else "",
        reward=language.text(bandit.reward.label) or bandit.reward.metric,
        level=numbers.share(1 - report.plan.alpha, 0),
        segments=heat_rows(bandit, language, numbers),
        segment_days=language.ngettext(
            "Last %(num)s day; each row adds to 100%%", "Last %(num)s days; each row adds to 100%%", bandit.segment_days
        ),
        variants=tuple(names.get(v, v) for v in bandit.variants),
        propensities=propensity_chart(bandit, language, numbers) if sum(bandit.propensities.counts) else None,
        propensity_note=_floor_note(bandit, language),
        policies=policies,
        policies_axis=policies_axis,
        policies_note=_valued_note(bandit, language, numbers),
        versions=_versions(bandit, language, numbers),
        methods=tuple(language.text(m) for m in report.methods if language.text(m)),
        counted=_counted(report, bandit, language, numbers),
        data_time=numbers.time(report.data_time) if report.data_time else "",
        content_hash=report.content_hash,
        software=report.software,
    )


def _standing(bandit: Bandit, language: Language) -> tuple[Badge, str]:
    _ = language.gettext
    return {
        "ahead": (Badge(_("Earning more than the control group"), "up", "good"), "good"),
        "behind": (Badge(_("Earning less than the control group"), "down", "bad"), "bad"),
        "unclear": (Badge(_("No clear difference yet"), "dash", ""), "flat"),
        "early": (Badge(_("Too early"), "clock", ""), "flat"),
        "cold": (Badge(_("Still exploring"), "clock", ""), "flat"),
    }[bandit.gain.standing]


def _facts(report: Report, bandit: Bandit, language: Language, numbers: Numbers) -> tuple[Fact, ...]:
    _ = language.gettext
    plan = report.plan
    facts = []
    if plan.state == "running" and bandit.live is not None:
        word = _("Live, policy v%(version)s", version=bandit.live)
        facts.append(Fact(_("Status"), "", badge=Badge(word, "ok", "good")))
    elif plan.state:
        facts.append(Fact(_("Status"), "", badge=state_badge(plan.state, language)))
    if plan.experiment:
        facts.append(Fact(_("Key"), plan.experiment, mono=True))
    if language.text(plan.audience):
        facts.append(Fact(_("Audience"), language.text(plan.audience)))
    if plan.started_at:
        facts.append(Fact(_("Since"), numbers.date(plan.started_at)))
    facts.append(Fact(_("Algorithm"), language.text(POLICIES.get(bandit.policy, {})) or bandit.policy))
    facts.append(Fact(_("Exploration"), numbers.share(bandit.explore, 0)))
    share = _("%(share)s of members, never learned from", share=numbers.share(bandit.gain.control_share, 0))
    facts.append(Fact(_("Control group"), share))
    if plan.owner:
        facts.append(Fact(_("Owner"), plan.owner))
    return tuple(facts)


def _warnings(report: Report, language: Language, numbers: Numbers) -> tuple[str, ...]:
    _ = language.gettext
    said = [language.text(w) for w in report.warnings if language.text(w)]
    if report.srm.status == "fail":
        said.append(
            _(
                "The control group is not as large as declared (p %(p)s): find the cause before you read the gain.",
                p=numbers.p_value(report.srm.p_value),
            )
        )
    return tuple(said)


def _floor_note(bandit: Bandit, language: Language) -> str:
    _ = language.gettext
    lowest, floor = bandit.propensities.lowest, bandit.propensities.floor
    if lowest is None or floor is None:
        return ""
    said = f"{floor:.3f}" if floor >= 0.0095 else f"{floor:.4f}"
    if lowest >= floor * (1 - 1e-9):
        return _("Nothing below the floor of %(floor)s, so every policy can be valued later.", floor=said)
    return _("Some lie below the floor of %(floor)s: what those decisions say of other policies is thin.", floor=said)


def _valued_note(bandit: Bandit, language: Language, numbers: Numbers) -> str:
    _ = language.gettext
    count = numbers.count(bandit.valued_decisions)
    if bandit.valued_on == "held_out":
        return _("On %(count)s decisions that no version has learned from.", count=count)
    return _(
        "On all %(count)s decisions, most of them learned from: new versions look better than they are.", count=count
    )


def _versions(bandit: Bandit, language: Language, numbers: Numbers) -> tuple[VersionRow, ...]:
    """Return the versions, the newest first. While one is ramped up, it is the one to roll back."""
    rising = any(line.state == "ramping" for line in bandit.versions)
    return tuple(
        _version(line, language, numbers, can_change=not (rising and line.state == "live"))
        for line in reversed(bandit.versions)
    )


def _version(line: VersionLine, language: Language, numbers: Numbers, *, can_change: bool) -> VersionRow:
    _ = language.gettext
    word = language.text(STATES.get(line.state, {})) or line.state
    looks = {
        "live": ("ok", "good"),
        "ramping": ("clock", "acc"),
        "waiting": ("clock", "acc"),
        "candidate": ("clock", ""),
        "blocked": ("no", "bad"),
        "rolled_back": ("no", "warn"),
        "rejected": ("no", ""),
    }
    icon, tone = looks.get(line.state, ("stop", ""))
    if line.state == "ramping":
        word = _("%(state)s, %(share)s", state=word, share=numbers.share(float(line.share), 0))
    words = {"approve": _("Approve"), "reject": _("Reject"), "roll-back": _("Roll back")}
    return VersionRow(
        number=line.version,
        trained=numbers.time(line.trained_at).rsplit(" ", 1)[0],
        rows=numbers.count(line.rows),
        features=numbers.count(line.features),
        decisions=numbers.count(line.decisions),
        badge=Badge(word, icon, tone),
        reasons=tuple(language.text(reason) for reason in line.reasons),
        actions=tuple(Action(name, words[name]) for name in ACTIONS.get(line.state, ()) if can_change),
    )


def _counted(report: Report, bandit: Bandit, language: Language, numbers: Numbers) -> tuple[tuple[str, str], ...]:
    _ = language.gettext
    gain = bandit.gain
    lines = [
        (_("Decisions"), numbers.count(bandit.decisions)),
        (_("of these, with windows not over"), numbers.count(bandit.open)),
        (_("Matured decisions of the policy"), numbers.count(gain.policy_decisions)),
        (_("their members"), numbers.count(gain.policy_units)),
        (_("Matured decisions of the control group"), numbers.count(gain.control_decisions)),
        (_("their members"), numbers.count(gain.control_units)),
    ]
    reasons = {
        "override": _("on the allow-list"),
        "excluded": _("on the exclusion list"),
        "conflicting": _("with conflicting decisions"),
        "no_propensity": _("without a propensity"),
        "not_drawn": _("of another variant"),
        "propensity_differs": _("whose propensity contradicts the policy's"),
    }
    lines += [
        (_("Left out: %(reason)s", reason=reasons.get(reason, reason.replace("_", " "))), numbers.count(n))
        for reason, n in report.population.left_out.items()
        if n
    ]
    return tuple(lines)
