"""What was declared before launch, as the report's plan says it; what was left out is filled in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from experiments.definitions import Experiment, Offer
from experiments.definitions.experiment import Variant
from experiments.measure.days import moment_text
from experiments.report import figures
from experiments.report.document import Inference, Plan, SequentialPlan, Text, VariantInfo
from experiments.report.inputs import Declared, Prior
from stats.sequential import Spending


def inference_of(definition: Experiment) -> Inference:
    """Return the declared kind of inference, or the one that fits how members enter."""
    declared = definition.analysis.inference
    if declared is not None:
        return declared
    if definition.enrolment == "once":
        return "fixed"
    return "group_sequential" if definition.planned_units else "always_valid"


def spending_of(definition: Experiment) -> Spending:
    """Return how alpha is spent over the looks."""
    analysis = definition.analysis
    return Spending(analysis.spending, analysis.gamma if analysis.spending == "hwang_shih_decani" else None)


def plan_of(
    declared: Declared,
    phase: int,
    split: Mapping[str, int],
    variants: Sequence[str],
    *,
    past_plan: bool = False,
    prior: Prior | None = None,
) -> Plan:
    """Return the plan of one phase.

    Args:
        declared: the definitions.
        phase: its number.
        split: weights by variant.
        variants: those compared.
        past_plan: group sequential: more units than planned have matured.
        prior: Bayesian inference: what was believed.
    """
    record, definition = declared.record, declared.record.definition
    analysis, inference = definition.analysis, inference_of(definition)
    total = sum(split.values()) or 1
    return Plan(
        title=dict(definition.name),
        hypothesis=dict(definition.hypothesis or {}),
        experiment=definition.key,
        revision=record.revision,
        phase=phase,
        state=record.state,
        owner=definition.owner,
        audience=declared.audience,
        unit_type=definition.unit_type,
        enrolment=definition.enrolment,
        inference=inference,
        alpha=definition.alpha,
        multiplicity="none" if inference == "bayesian" else analysis.multiplicity,
        adjustment=analysis.adjustment,
        strata=list(analysis.strata),
        cluster=analysis.cluster,
        design=_design(definition),
        sequential=_sequential(definition, past_plan) if inference == "group_sequential" else None,
        prior={} if prior is None else prior_text(prior),
        control=definition.control,
        variants=[
            VariantInfo(
                key=v.key,
                name=dict(v.name or {"en": v.key, "zh-CN": v.key}),
                weight=split.get(v.key, 0) / total,
                offer=v.offer,
                offer_name=offer_name(v, declared.offers),
                is_control=v.key == definition.control,
            )
            for v in definition.variants
            if v.key in variants
        ],
        currency=declared.currency,
        time_zone=declared.time_zone,
        started_at=None if record.started_at is None else moment_text(record.started_at),
        ended_at=None if record.ended_at is None else moment_text(record.ended_at),
        planned_units=definition.planned_units,
        planned_days=definition.planned_days,
    )


def offer_name(variant: Variant, offers: Mapping[str, Offer]) -> Text:
    """Return what a variant gives, in words; empty where it gives nothing."""
    if variant.offer_by is not None:
        return {"en": f"each member's own, by {variant.offer_by}", "zh-CN": f"一人一策（按 {variant.offer_by}）"}
    offer = offers.get(variant.offer or "")
    return {} if offer is None else dict(offer.name)


def _design(definition: Experiment) -> Literal["units", "clusters", "switchback", "factorial"]:
    analysis = definition.analysis
    if analysis.switchback:
        return "switchback"
    if analysis.factors:
        return "factorial"
    return "clusters" if analysis.randomised_by_cluster else "units"


def _sequential(definition: Experiment, past_plan: bool) -> SequentialPlan:
    analysis = definition.analysis
    return SequentialPlan(
        spending=analysis.spending,
        gamma=analysis.gamma if analysis.spending == "hwang_shih_decani" else None,
        planned_units=definition.planned_units or 0,
        reserve=analysis.reserve,
        futility_power=None if analysis.futility is None else analysis.futility.power,
        past_plan=past_plan,
    )


def prior_text(prior: Prior) -> Text:
    """Say what was believed before the test.

    >>> prior_text(Prior(0.2))["en"]
    'Before the test, effects were taken to lie around none: two thirds of them within ±20%, as declared.'
    """
    spread = figures.relative(prior.relative_sd).lstrip("+").replace(".0%", "%")
    en = f"Before the test, effects were taken to lie around none: two thirds of them within ±{spread}"
    zh = f"实验前假定效果集中在零附近：约三分之二在 ±{spread} 以内"
    if prior.experiments is not None:
        n = prior.experiments
        return {
            "en": f"{en}, as in {n} comparisons of finished experiments with the same metric.",
            "zh-CN": f"{zh}（来自同一指标的已结束实验，共 {n} 次比较）。",
        }
    if prior.too_few is not None:
        return {
            "en": f"{en}, as declared; finished experiments offer only {prior.too_few} comparisons to learn from.",
            "zh-CN": f"{zh}（按声明；已结束实验中只有 {prior.too_few} 次比较，不足以学习）。",
        }
    return {"en": f"{en}, as declared.", "zh-CN": f"{zh}（按声明）。"}
