"""What an experiment would do if it started now: who gets what, what it may cost, and which tests it meets.

The answer comes from the same function that decides, over a list of members; nothing is logged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import msgspec

from allocation.compiled import CompiledExperiment, CompiledSnapshot, compile_experiment
from allocation.decide import decide
from allocation.decision import MemberState
from allocation.hashing import UnitError
from allocation.plan import ExperimentPlan, Snapshot
from experiments.definitions import Offer
from experiments.definitions.pricing import PricedOffer
from experiments.definitions.standing import Standing, extra_liability_minor
from experiments.dominated import Dominated, counted
from experiments.keeping.records import ExperimentRecord
from experiments.keeping.repository import Repository
from experiments.lifecycle.states import ACTIVE
from experiments.publishing.plans import plan_of
from experiments.publishing.policy_files import of_store
from experiments.report.audience import Names

SAMPLE_ROWS = 12
NO_STAGE = "(none)"
DAYS = (
    "days_since counts 24 hours at a time back from each decision, so who is in depends on the hour; stages that are "
    "computed here count days of the calendar"
)
Issued = Counter[tuple[str | None, str]]
"""(key of the offer, level of the attribute by which members have a discount anyway) → members."""


@dataclass(frozen=True)
class Unit:
    """One member of the list that is previewed."""

    unit: str
    attributes: dict[str, Any]
    opted_out: bool = False


@dataclass(frozen=True)
class Cost:
    """What one variant may cost, in minor units of ``Preview.currency``."""

    variant: str
    enrolled: int
    offer: str | None
    """Its key; ``by ATTRIBUTE`` where each member has its own."""
    each_minor: int | None
    """The most that one issued offer costs when redeemed; ``None`` when the order decides, or the member does."""
    liability_minor: int | None
    """enrolled × each: what is issued. What is redeemed is measured later. Of members' own offers: their sum. Where
    members have a discount anyway, what each offer can cost beyond it."""
    contact_minor: Fraction | None
    """enrolled × the cost of one contact over the variant's channel; ``None`` where nobody's own offer is known."""
    why: str | None = None
    """Why there is no liability figure."""
    without_offer: int = 0
    """Of members' own offers: how many of the enrolled have none."""


@dataclass(frozen=True)
class Overlap:
    """Another active experiment that reaches some of the same members."""

    experiment: str
    state: str
    both: int
    """Members who would be enrolled in both."""
    share: float
    """``both`` over the enrolled of the previewed experiment."""
    same_layer: bool
    """Whether a layer keeps them apart; then ``both`` is 0 unless their slots overlap."""


@dataclass
class Preview:
    """The preview of one experiment."""

    experiment: str
    by: str | None
    """The attribute whose levels are ``stages``."""
    currency: str
    members: int = 0
    enrolled: int = 0
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    """Variant → level → members; ``holdout`` stands beside the variants."""
    levels: list[str] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    """Reason → members who would get nothing; see ``allocation.REASONS``."""
    missing: dict[str, int] = field(default_factory=dict)
    """Attribute → members left out because it is not known."""
    unusable: int = 0
    """Rows without a usable unit id."""
    sample: list[dict[str, Any]] = field(default_factory=list)
    costs: list[Cost] = field(default_factory=list)
    overlaps: list[Overlap] = field(default_factory=list)
    dominated: list[Dominated] = field(default_factory=list)
    """Offers that give some of their members nothing which these do not have anyway."""
    warnings: list[str] = field(default_factory=list)

    @property
    def liability_minor(self) -> int:
        """Sum of the known liabilities."""
        return sum(cost.liability_minor or 0 for cost in self.costs)

    @property
    def contact_minor(self) -> Fraction:
        """Cost of all contacts."""
        return sum((cost.contact_minor or Fraction(0) for cost in self.costs), Fraction(0))


def preview(repository: Repository, key: str, units: Iterable[Unit], now: int, *, by: str | None = None) -> Preview:
    """Count what would happen if the experiment started with these members.

    Args:
        repository: where definitions are.
        key: the experiment, in any state.
        units: the members; attributes as the project declares them.
        now: microseconds since 1970 UTC; when the schedule starts later, its start is taken.
        by: attribute for the columns of the counts; by default ``stage`` or the first breakdown.

    Raises:
        UnknownKeyError: when there is no such experiment.
    """
    record = repository.experiment(key)
    project = repository.project()
    plan = _as_running(plan_of(repository, record))
    others = [
        (other, _as_running(plan_of(repository, other)))
        for other in repository.experiments()
        if other.key != key and other.state in ACTIVE and other.definition.unit_type == record.definition.unit_type
    ]
    by = by or _default_level(record)
    at = max(now, plan.start or now)
    result = Preview(key, by, record.pinned.currency if record.pinned else project.currency)
    excluded = project.exclude.get(record.definition.unit_type, ())
    mine = _compiled(repository, plan, excluded)
    theirs = [(other, _compiled(repository, other_plan, excluded)) for other, other_plan in others]
    both: Counter[str] = Counter()
    table: dict[str, Counter[str]] = {variant.key: Counter() for variant in record.definition.variants}
    table["holdout"] = Counter()
    standing = record.standing(project)
    issued: dict[str, Issued] = {variant.key: Counter() for variant in record.definition.variants}
    told: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    missing: Counter[str] = Counter()
    samples: dict[str, list[dict[str, Any]]] = {}
    for unit in units:
        result.members += 1
        state = MemberState(attributes=unit.attributes, opted_out=unit.opted_out)
        try:
            decision = decide(mine, key, unit.unit, now=at, attributes=unit.attributes, state=state)
        except UnitError:
            result.unusable += 1
            continue
        level = str(unit.attributes.get(by) or NO_STAGE) if by else ""
        if decision.kind == "holdout":
            table["holdout"][level] += 1
        elif decision.kind == "enrolled" and decision.variant is not None:
            result.enrolled += 1
            table[decision.variant][level] += 1
            given = None if decision.offer is None else decision.offer.get("key")
            anyway = "" if standing is None else str(unit.attributes.get(standing.attribute) or "")
            issued[decision.variant][given, anyway] += 1
            told[decision.variant] += record.definition.variant(decision.variant).offer_by in unit.attributes
            for other, compiled in theirs:
                met = decide(compiled, other.key, unit.unit, now=max(now, at), attributes=unit.attributes, state=state)
                both[other.key] += met.kind == "enrolled"
        else:
            reasons[decision.reason] += 1
            if decision.missing_attribute:
                missing[decision.missing_attribute] += 1
        shown = samples.setdefault(decision.variant or decision.reason, [])
        if len(shown) < SAMPLE_ROWS:
            shown.append({"unit": unit.unit, "variant": decision.variant, "reason": decision.reason, "level": level})
    result.levels = sorted({level for row in table.values() for level in row})
    result.counts = {variant: dict(row) for variant, row in table.items() if row or variant != "holdout"}
    result.left_out, result.missing = dict(reasons.most_common()), dict(missing.most_common())
    result.sample = _mixed(list(samples.values()))
    offers = repository.experiment_offers(record)
    result.costs = _costs(record, offers, issued, told, standing, result.currency)
    result.dominated = counted(
        {(variant, *key): members for variant, row in issued.items() for key, members in row.items()},
        record.definition,
        offers,
        standing,
        result.currency,
        Names.of(repository.catalogue()),
    )
    result.overlaps = [_overlap(record, other, both[other.key], result.enrolled) for other, _ in others]
    result.overlaps.sort(key=lambda overlap: (-overlap.both, overlap.experiment))
    result.warnings = list(_warnings(record, result))
    rule = mine.experiments[key].rule
    if rule is not None and rule.uses_now:
        result.warnings.append(DAYS)
    return result


def would_enrol(repository: Repository, key: str, units: Iterable[Unit], now: int) -> Iterator[str]:
    """Yield the members that the experiment would enrol if it started now, whatever their variant.

    Raises:
        UnknownKeyError: when there is no such experiment.
    """
    record = repository.experiment(key)
    plan = _as_running(plan_of(repository, record))
    mine = _compiled(repository, plan, repository.project().exclude.get(record.definition.unit_type, ()))
    at = max(now, plan.start or now)
    for unit in units:
        state = MemberState(attributes=unit.attributes, opted_out=unit.opted_out)
        try:
            decision = decide(mine, key, unit.unit, now=at, attributes=unit.attributes, state=state)
        except UnitError:
            continue
        if decision.kind == "enrolled":
            yield unit.unit


def _as_running(plan: ExperimentPlan) -> ExperimentPlan:
    return msgspec.structs.replace(plan, state="running", start=None, end=None)


def _compiled(repository: Repository, plan: ExperimentPlan, excluded: tuple[str, ...]) -> CompiledSnapshot:
    compiled: CompiledExperiment = compile_experiment(
        plan, version="preview", excluded=excluded, policies=of_store(repository.store)
    )
    return CompiledSnapshot("preview", 0, {plan.key: compiled}, {}, Snapshot("preview", 0))


def _default_level(record: ExperimentRecord) -> str | None:
    breakdowns = record.definition.breakdowns
    return "stage" if "stage" in breakdowns else (breakdowns[0] if breakdowns else None)


def _mixed(groups: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Take rows from each group in turn."""
    rows: list[dict[str, Any]] = []
    for index in range(SAMPLE_ROWS):
        rows += [group[index] for group in groups if index < len(group)]
    return rows[:SAMPLE_ROWS]


def _costs(
    record: ExperimentRecord,
    offers: dict[str, Offer],
    issued: dict[str, Issued],
    told: Counter[str],
    standing: Standing | None,
    currency: str,
) -> list[Cost]:
    costs = []
    for variant in record.definition.variants:
        enrolled = issued[variant.key].total()
        if variant.offer_by is not None and enrolled and not told[variant.key]:
            unknown = (
                f"no member's {variant.offer_by} is known here: preview a list that has it as a column, such as the "
                "audience's file"
            )
            costs.append(Cost(variant.key, enrolled, f"by {variant.offer_by}", None, None, None, unknown, enrolled))
            continue
        each: int | None = 0
        liability: int | None = 0
        contact, why = Fraction(0), None
        # What nobody gets yet is priced all the same.
        given: dict[tuple[str | None, str], int] = dict(issued[variant.key])
        if variant.offer_by is None and not given:
            given = {(variant.offer, ""): 0}
        for (key, level), members in given.items():
            if key is None:
                continue
            priced = PricedOffer(offers[key], currency)
            anyway = None if standing is None else standing.priced(level, currency)
            most = extra_liability_minor(priced, anyway)
            if most is None:
                why = "depends on the order amount; declare maximum_discount for a bound"
            each = priced.liability_minor() if variant.offer_by is None else None
            liability = None if liability is None or most is None else liability + members * most
            contact += members * priced.contact_cost_minor(variant.channel)
        offer = variant.offer if variant.offer_by is None else f"by {variant.offer_by}"
        without = 0
        if variant.offer_by is not None:
            without = sum(members for (key, _), members in given.items() if key is None)
        costs.append(Cost(variant.key, enrolled, offer, each, liability, contact, why, without))
    return costs


def _overlap(record: ExperimentRecord, other: ExperimentRecord, both: int, enrolled: int) -> Overlap:
    mine, theirs = record.definition.layer, other.definition.layer
    same = mine is not None and theirs is not None and mine.key == theirs.key
    return Overlap(other.key, other.state, both, both / enrolled if enrolled else 0.0, same)


def _warnings(record: ExperimentRecord, result: Preview) -> Iterable[str]:
    definition = record.definition
    if result.members and not result.enrolled:
        yield "nobody would be enrolled; see the reasons below"
    if definition.planned_units and 0 < result.enrolled < definition.planned_units:
        yield f"{result.enrolled:,} would be enrolled, fewer than the {definition.planned_units:,} planned"
    yield from (each.said["en"] for each in result.dominated)
    for cost in result.costs:
        if cost.contact_minor is None:
            yield f"{cost.variant}: its cost is not known, and not in the sum: {cost.why}"
        elif cost.without_offer:
            got = f"{cost.without_offer:,} of {cost.enrolled:,} members have no offer of their own"
            yield f"{cost.variant}: {got}, and get none"
    for overlap in result.overlaps:
        if overlap.both and overlap.same_layer:
            yield f"takes members of {overlap.experiment} in the same layer; choose other slots"
        elif overlap.both and definition.layer is None:
            yield (
                f"{overlap.both:,} members ({overlap.share:.0%}) would also be in {overlap.experiment} and no layer "
                "keeps them apart; put both into one layer if their effects could mix"
            )


__all__ = ["Cost", "Overlap", "Preview", "Unit", "preview", "would_enrol"]
