"""The Report: one stored, immutable document that page, terminal, CSV and JSON all render; nobody recomputes.

Every number that cannot be computed is ``None`` with the reason beside it, never NaN. Texts people read are language
maps ``{"en": …, "zh-CN": …}``. Times are ISO 8601 UTC text; money inside estimates is in *major* units of
``plan.currency`` (metric unit ``money``), so that every renderer shows the same figure.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from experiments.report.bandit.document import Bandit
from experiments.report.economics_document import Economics

Text = dict[str, str]
"""A language map."""

FORMAT = 1

Reading = Literal[
    "better",  # the adjusted interval lies on the good side of zero
    "worse",
    "unclear",  # it includes zero
    "within_limit",  # guardrail: proved not worse than its margin
    "not_proven",  # guardrail: neither proved within the margin nor beyond it
    "broken",  # guardrail: proved worse than its margin
    "not_computed",  # see why
]
DecisionCode = Literal["roll_out", "stop_harm", "stop_no_effect", "keep_running", "do_not_read"]
Inference = Literal["fixed", "group_sequential", "always_valid", "bayesian"]
Stands = Literal["open", "waiting", "over"]
Unit = Literal["share", "count", "money", "number", "days"]
"""What a metric's figures are in; ``days`` for restricted mean times."""
CheckStatus = Literal["ok", "caution", "fail", "info"]


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A point estimate with its unadjusted and its multiplicity-adjusted interval."""

    estimate: float | None
    ci_low: float | None
    ci_high: float | None
    ci_low_adjusted: float | None
    ci_high_adjusted: float | None
    why: str | None = None
    """Why a bound or the estimate is missing."""


class VariantSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One variant's own figures for one metric (for ratios ``mean`` is the ratio)."""

    variant: str
    n: int
    mean: float | None
    std_error: float | None
    why: str | None = None


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """One variant against control on one metric."""

    variant: str
    effect: Estimate
    """Difference of means (variant − control), after variance reduction where covariates are declared."""
    relative: Estimate
    """Effect as a share of control's mean (0.09 is +9 %), by Fieller."""
    total: Estimate | None = None
    """Effect × members in the variant."""
    p_value: float | None
    p_value_adjusted: float | None
    reading: Reading
    readable: bool
    """False while a quality check forbids reading effects (SRM failed, first full week not over)."""
    why: str | None = None
    """Why it is not readable or not computed."""
    method: str
    """welch | two_proportions | ratio_delta | cuped_mean | cuped_ratio | …"""
    variance_reduction: float | None = None
    """Share of the effect's variance removed by covariates (0.31 is 31 %)."""
    p_value_margin: float | None = None
    """Guardrails: one-sided p of the non-inferiority test against the margin."""
    chance_to_win: float | None = None
    """Bayesian inference: probability that the variant is better than control (in the metric's direction). There are
    no p-values then, and the intervals are credible ones."""
    expected_loss: float | None = None
    """Bayesian inference: what choosing this variant costs on average if it is the wrong one, in the metric's unit."""
    after_stopping: Estimate | None = None
    """Group sequential: median-unbiased estimate and interval, once the test has stopped."""


class MetricResult(msgspec.Struct, frozen=True, kw_only=True):
    """One metric over all variants."""

    name: str
    label: Text
    kind: str
    """proportion | count | sum | mean | ratio | retention | profit | …"""
    role: Literal["primary", "secondary", "guardrail"]
    direction: Literal["increase", "decrease"]
    unit: Unit
    control: str
    variants: list[VariantSummary]
    comparisons: list[Comparison]
    margin_relative: float | None = None
    """Guardrails: how much worse than control is accepted, as a share of control's mean."""
    covariates: list[str] = []
    window_days: float | None = None
    winsorised_at: float | None = None
    description: Text = {}
    left_out: dict[str, int] = {}
    """Units without a complete row for this metric, by reason."""
    quantile: float | None = None
    """Which one, for ``kind: quantile``."""
    chance_best: dict[str, float] = {}
    """Bayesian inference: probability that each variant, control included, is the best of all."""


class Srm(msgspec.Struct, frozen=True, kw_only=True):
    """Sample ratio check: p < .001 fails, .001–.01 cautions."""

    p_value: float | None
    observed: dict[str, int]
    expected: dict[str, float]
    status: CheckStatus
    why: str | None = None
    sequential_p_value: float | None = None
    """Rolling enrolment: by a test that stays valid however often it is looked at; ``None`` where nobody enters so."""


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One cell of the health strip."""

    code: str
    """srm | sample | contaminated | balance | completeness | novelty | …"""
    status: CheckStatus
    label: Text
    value: Text
    detail: Text = {}
    more: Text = {}
    """What lies behind it, for those who look closer."""


class Population(msgspec.Struct, frozen=True, kw_only=True):
    """Who is in the report, and who is not and why."""

    kind: Literal["assigned", "exposed"]
    assigned: int
    exposed: int | None
    analysed: int
    left_out: dict[str, int]
    """Units left out, by reason: override, excluded, contaminated, conflict, other_phase …"""
    immature: int
    """Units in the analysis whose windows are not over."""
    unsent: int | None = None
    """Where windows start at the send: units of other variants than control whose send was due and never reported.
    They are in the analysis (intention to treat), from the time it was scheduled for."""
    linked: int = 0
    """Ids with a decision that were found to be the same unit as another such id."""
    linked_units: int = 0
    """The units that these ids are."""
    linked_conflicts: int = 0
    """Of these units, those whose ids were given different variants (left out as contaminated)."""


class RuleResult(msgspec.Struct, frozen=True, kw_only=True):
    """One rule declared before launch, with what came out."""

    code: str
    label: Text
    met: bool | None
    actual: Text
    failed: bool = False
    """Shown not to hold (worse, beyond the limit), where others are only not shown to hold yet."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What to do: one of five readings, in a sentence, with why-not for every other variant."""

    code: DecisionCode
    variant: str | None
    sentence: Text
    reasons: list[Text]
    rules: list[RuleResult]
    stands: Stands = "open"
    """Members still enter, only outcomes still come, or nothing comes any more: `keep_running` then is no answer."""


class CurvePoint(msgspec.Struct, frozen=True, kw_only=True):
    """Cumulative effect up to a day, with a band valid at all looks."""

    day: int
    """Days since the first entry (rolling) or since each unit's own entry (once); 1 is the first."""
    date: str | None
    n: int
    estimate: float | None
    ci_low: float | None
    ci_high: float | None
    why: str | None = None


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """Effect over time of one variant on one metric."""

    metric: str
    variant: str
    axis: Literal["experiment_day", "member_day"]
    points: list[CurvePoint]
    clear_from_day: int | None
    """First day from which the band stays on one side of zero."""


class BreakdownRow(msgspec.Struct, frozen=True, kw_only=True):
    """One level of an attribute, one variant, one metric; exploratory."""

    level: str
    label: Text = {}
    """The level's name, where it has one (lifecycle stages have)."""
    variant: str
    n_control: int
    n: int
    effect: Estimate
    relative: Estimate
    p_value: float | None
    p_value_adjusted: float | None
    why: str | None = None
    shrunken: Estimate | None = None
    """The effect pulled towards that of all levels by as much as chance explains their spread (empirical Bayes)."""


class Interaction(msgspec.Struct, frozen=True, kw_only=True):
    """Does the effect differ between the levels of an attribute, or between the variants of another experiment?"""

    kind: Literal["attribute", "experiment"]
    subject: str
    """Attribute, or key of the other experiment."""
    label: Text = {}
    """What the subject is called, where it has a name."""
    metric: str
    variant: str
    statistic: float | None
    """Wald's chi-square of equal effects."""
    df: int
    p_value: float | None
    p_value_adjusted: float | None
    """Over all interactions of this kind (Holm)."""
    units: int | None = None
    """Units that both experiments have in common."""
    why: str | None = None


class Breakdown(msgspec.Struct, frozen=True, kw_only=True):
    """Effects within the levels of one frozen attribute."""

    attribute: str
    label: Text = {}
    """The attribute's name, where the project gives it one."""
    metric: str
    rows: list[BreakdownRow]
    interactions: list[Interaction] = []
    """One a variant."""
    spread: dict[str, float | None] = {}
    """Variant → standard deviation of the levels' true effects, as estimated (0: nothing beyond chance)."""


class SequentialLook(msgspec.Struct, frozen=True, kw_only=True):
    """One look at one comparison of a group-sequential test."""

    day: int
    """Days since the first entry; the number of the look where looks were declared without dates."""
    units: int
    """Matured units of the whole test."""
    information: float
    """Share of the planned sample."""
    alpha_spent: float
    z: float | None
    bound: float | None
    """|z| at or beyond it stops the test; ``None`` where nothing may be spent at this look."""
    futility: float | None = None
    """z (in the metric's good direction) at or below it gives little hope; non-binding."""


class SequentialTest(msgspec.Struct, frozen=True, kw_only=True):
    """The looks at one primary metric and variant, at the level of a single comparison."""

    metric: str
    variant: str
    looks: list[SequentialLook]
    crossed_day: int | None
    """First day at which the bound was crossed."""
    futile: bool = False
    """Whether the last look lies below the futility bound."""


class SequentialPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How looking early is paid for."""

    spending: str
    gamma: float | None = None
    planned_units: int
    reserve: float = 0.0
    futility_power: float | None = None
    past_plan: bool = False
    """More units than planned have matured; the decision figures are those of the plan, unless alpha was reserved."""


class Reached(msgspec.Struct, frozen=True, kw_only=True):
    """The effect on those whom the offer reached, where part of the sends never arrive (CACE)."""

    metric: str
    variant: str
    reached: float | None
    """Share of the variant's units that were reached."""
    reached_control: float | None
    effect: Estimate
    why: str | None = None


class Outlook(msgspec.Struct, frozen=True, kw_only=True):
    """What the running test can still show: the primary metric's smallest detectable effect, now and at the plan."""

    metric: str
    variant: str
    mde_relative: float | None
    """At 80 % power with the present sample, as a share of control's mean."""
    target_relative: float | None = None
    """``no_effect_within`` of the experiment, or the plan's."""
    units_needed: int | None = None
    """Of the whole test, to detect the target."""
    days_left: int | None = None
    """At the present pace; 0 when reached."""
    why: str | None = None


class Wave(msgspec.Struct, frozen=True, kw_only=True):
    """One wave (occasion) of a repeated test."""

    occasion: str
    n: int
    effect: Estimate
    weight: float | None
    """Its share in the pooled effect."""


class PooledWaves(msgspec.Struct, frozen=True, kw_only=True):
    """Repeated waves of one test, pooled by random effects."""

    metric: str
    variant: str
    waves: list[Wave]
    effect: Estimate
    prediction_low: float | None
    """Where the effect of a next wave is to be expected; ``None`` with fewer than three waves that have an effect."""
    prediction_high: float | None
    spread: float | None
    """Standard deviation of true effects between waves."""
    heterogeneity_p: float | None
    why: str | None = None


class FactorialTerm(msgspec.Struct, frozen=True, kw_only=True):
    """A main effect or an interaction of a factorial design."""

    factors: list[str]
    effect: Estimate
    p_value: float | None
    p_value_adjusted: float | None
    aliases: list[list[str]] = []
    """Terms that this design cannot tell from it."""
    why: str | None = None


class Factorial(msgspec.Struct, frozen=True, kw_only=True):
    """Main effects and interactions of one metric."""

    metric: str
    terms: list[FactorialTerm]


class SurvivalPoint(msgspec.Struct, frozen=True, kw_only=True):
    """Kaplan–Meier estimate at one time."""

    day: float
    at_risk: int
    survival: float
    ci_low: float | None
    ci_high: float | None


class SurvivalCurve(msgspec.Struct, frozen=True, kw_only=True):
    """Share of one variant's units for which the event has not happened yet."""

    metric: str
    variant: str
    horizon_days: float
    points: list[SurvivalPoint]


class VariantInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A variant as planned."""

    key: str
    name: Text
    weight: float
    """Intended share of the enrolled, 0 to 1."""
    offer: str | None = None
    offer_name: Text = {}
    is_control: bool = False


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What was declared before launch."""

    title: Text
    hypothesis: Text = {}
    experiment: str | None = None
    revision: int | None = None
    phase: int | None = None
    state: str | None = None
    owner: str | None = None
    source: str | None = None
    """The file, for `analyze FILE`."""
    audience: Text = {}
    unit_type: str = "member"
    enrolment: Literal["once", "rolling"] = "once"
    inference: Inference = "fixed"
    alpha: float = 0.05
    multiplicity: str = "holm"
    adjustment: str = "cuped"
    strata: list[str] = []
    cluster: str | None = None
    design: Literal["units", "clusters", "switchback", "factorial"] = "units"
    sequential: SequentialPlan | None = None
    prior: Text = {}
    """Bayesian inference: what was believed before, in words."""
    control: str
    variants: list[VariantInfo]
    currency: str | None = None
    time_zone: str = "UTC"
    started_at: str | None = None
    ended_at: str | None = None
    planned_units: int | None = None
    planned_days: int | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Inputs + plan + methods + version + results + content hash."""

    format: int = FORMAT
    plan: Plan
    srm: Srm
    contaminated: int
    """Units seen in two variants (left out)."""
    duplicates: int
    """Repeated rows of a unit in the same variant (one kept)."""
    population: Population
    checks: list[Check]
    metrics: list[MetricResult]
    verdict: Verdict | None
    """``None`` where no plan was declared (``analyze FILE``); ``summary`` then says what the figures show."""
    summary: list[Text] = []
    """What the figures show, a sentence each."""
    curves: list[Curve] = []
    breakdowns: list[Breakdown] = []
    sequential: list[SequentialTest] = []
    reached: list[Reached] = []
    overlaps: list[Interaction] = []
    """Experiments that share units with this one: do the effects depend on each other?"""
    outlook: list[Outlook] = []
    pooled: list[PooledWaves] = []
    factorial: list[Factorial] = []
    survival: list[SurvivalCurve] = []
    economics: Economics | None = None
    """Did the offer pay for itself? Where a profit is measured."""
    warnings: list[Text] = []
    methods: list[Text]
    data_time: str | None = None
    """Until when outcomes had arrived."""
    software: str
    moments: list[dict[str, object]] = []
    """The inputs: every cell of moments."""
    bandit: Bandit | None = None
    """Of an experiment whose policy learns: all its figures. There is no scorecard then, and ``srm`` is about its
    control group, because the split between variants moves."""
    content_hash: str = ""
    """sha256 of the canonical JSON of everything else, floats at 12 significant digits, no generation times."""
