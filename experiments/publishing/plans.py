"""Definitions → what deciding needs: one self-contained plan for each experiment, and the snapshot of all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from allocation.plan import (
    AttributePlan,
    ExperimentPlan,
    HoldoutPlan,
    LayerPlan,
    PhasePlan,
    ProjectPlan,
    Snapshot,
    VariantPlan,
)
from experiments.definitions import Experiment, Holdout, Offer, Project, Segment, money
from experiments.definitions.base import instant_us
from experiments.definitions.catalogue import Catalogue, Name
from experiments.keeping import contents
from experiments.keeping.heads import Head
from experiments.keeping.records import ExperimentRecord, Pinned
from experiments.keeping.repository import Repository
from experiments.learning.plan import bandit_plan
from experiments.lifecycle import phases
from experiments.lifecycle.states import ACTIVE
from experiments.lifecycle.transition import pin
from experiments.security.keys import security_plan

# What an offer costs us is nobody's business outside.
_INTERNAL = frozenset({"kind", "redemption_cost", "contact_cost", "point_value", "breakage", "refund_returns_cost"})


def offer_payload(offer: Offer, revision: int, currency: str, channel: str | None) -> dict[str, Any]:
    """Return an offer as the caller of decide receives it: what the member gets, never what it costs.

    >>> offer = Offer(kind="offer", key="c", name="满100减30", type="spend_x_save_y", face_value="30",
    ...               minimum_spend="100", contact_cost={"sms": "0.045"})
    >>> offer_payload(offer, 1, "CNY", "sms")["face_value"], "contact_cost" in offer_payload(offer, 1, "CNY", None)
    ('30', False)
    """
    data = {name: value for name, value in contents.short(offer).items() if name not in _INTERNAL}
    data |= {"revision": revision, "currency": currency}
    return {**data, "channel": channel} if channel else data


def snapshot_of(repository: Repository, version: str, effective_at: int) -> Snapshot:
    """Return the snapshot of everything as it stands in the store.

    Experiments that are not active are in it by name and state only, so that asking for one says why nothing comes.
    """
    heads = repository.heads()
    catalogue = Catalogue({name: head.definition for name, head in heads.items()})
    project = catalogue.project
    experiments = {}
    for record in repository.experiments():
        plan = plan_of(repository, record, heads)
        experiments[record.key] = plan if record.state in ACTIVE else _outline(plan)
    with repository.store.read() as connection:
        security = security_plan(connection, effective_at)
    return Snapshot(
        version=version,
        effective_at=effective_at,
        experiments=experiments,
        excluded=dict(project.exclude) if project else {},
        project=None if project is None else project_plan(project),
        security=security,
    )


def project_plan(project: Project) -> ProjectPlan:
    """Return what the door must know of a project."""
    return ProjectPlan(
        currency=project.currency,
        minor_digits=money.exponent(project.currency),
        allow_personal_ids=project.allow_personal_ids,
        stored={name: declared.type for name, declared in project.attributes.items() if declared.kept == "stored"},
    )


def _outline(plan: ExperimentPlan) -> ExperimentPlan:
    return ExperimentPlan(
        key=plan.key,
        revision=plan.revision,
        state=plan.state,
        variants=tuple(VariantPlan(variant.key) for variant in plan.variants),
        phases=plan.phases,
        unit_type=plan.unit_type,
        control=plan.control,
    )


def plan_of(
    repository: Repository, record: ExperimentRecord, heads: Mapping[Name, Head] | None = None
) -> ExperimentPlan:
    """Return the complete plan of one experiment; before launch, the plan that a launch now would give.

    After launch, offers, segment and holdouts are those that the launch froze.
    """
    known = dict(heads) if heads is not None else repository.heads()
    catalogue = Catalogue({name: head.definition for name, head in known.items()})
    definition, project = record.definition, catalogue.project
    assert project is not None  # noqa: S101 - an experiment cannot be saved without one
    pinned = record.pinned or pin(definition, known)
    segment = None
    if definition.segment and pinned.segment:
        current = known["segment", definition.segment]
        found = current.definition
        if current.revision != pinned.segment:
            found = repository.revision("segment", definition.segment, pinned.segment)
        segment = found if isinstance(found, Segment) else None
    variants = []
    for variant in definition.variants:
        if variant.offer_by is not None:
            given = {key: _payload(repository, known, pinned, key, variant.channel) for key in sorted(pinned.offers)}
            variants.append(VariantPlan(variant.key, offer_by=variant.offer_by, offers=given))
        elif variant.offer:
            variants.append(
                VariantPlan(variant.key, _payload(repository, known, pinned, variant.offer, variant.channel))
            )
        else:
            variants.append(VariantPlan(variant.key))
    used, frozen = phases.attributes_used(definition, segment), definition.frozen
    if pinned.standing is not None and pinned.standing.attribute in project.attributes:
        # What an offer costs depends on what its member has anyway, at the decision.
        frozen = tuple(dict.fromkeys((*frozen, pinned.standing.attribute)))
        used = {*used, *frozen}
    bandit = None
    if definition.allocation is not None:
        with repository.store.read() as connection:
            bandit = bandit_plan(connection, record)
    return ExperimentPlan(
        key=definition.key,
        revision=record.revision,
        state=record.state,
        variants=tuple(variants),
        phases=_phases(record),
        unit_type=definition.unit_type,
        start=instant_us(definition.schedule.start) if definition.schedule.start else None,
        end=instant_us(definition.schedule.end) if definition.schedule.end else None,
        audience=catalogue.audience_of(definition, segment),
        attributes={
            name: AttributePlan(project.attributes[name].type, project.attributes[name].kept)
            for name in sorted(used)
            if name in project.attributes
        },
        frozen=frozen,
        sticky=pinned.sticky,
        layer=_layer(definition, known),
        holdouts=tuple(_holdouts(pinned.holdouts, known)),
        overrides=dict(definition.overrides),
        excluded=definition.exclude,
        control=definition.control,
        allocation="hash" if bandit is None else "bandit",
        bandit=bandit,
        requires=(*(() if bandit is None else ("bandit",)), *(("offer_by",) if definition.by_member else ())),
    )


def _payload(
    repository: Repository, heads: Mapping[Name, Head], pinned: Pinned, key: str, channel: str | None
) -> dict[str, Any]:
    """Return an offer in the revision that the launch froze, as the caller of decide receives it."""
    revision, head = pinned.offers[key], heads["offer", key]
    saved = head.definition if head.revision == revision else None
    offer = saved if isinstance(saved, Offer) else repository.offer(key, revision)
    return offer_payload(offer, revision, pinned.currency, channel)


def _phases(record: ExperimentRecord) -> tuple[PhasePlan, ...]:
    order = list(record.definition.split())
    known = record.phases or (phases.first(record.definition, record.salt, 0),)
    return tuple(
        PhasePlan(
            number=phase.number,
            salt=phase.salt,
            weights=tuple(phase.weights.get(key, 0) for key in order),
            traffic=phase.traffic,
            # A policy draws anew each time: there is nothing that members would keep.
            opened="keep" if phase.carry == "keep" and record.definition.allocation is None else "reassign",
        )
        for phase in known
    )


def _layer(definition: Experiment, heads: Mapping[Name, Head]) -> LayerPlan | None:
    if definition.layer is None:
        return None
    salt = heads["layer", definition.layer.key].salt
    return LayerPlan(definition.layer.key, salt or "", definition.layer.slots)


def _holdouts(keys: Iterable[str], heads: Mapping[Name, Head]) -> Iterable[HoldoutPlan]:
    for key in keys:
        head = heads["holdout", key]
        if isinstance(head.definition, Holdout):
            scope = head.definition.scope
            yield HoldoutPlan(key, head.salt or "", head.definition.share, "global" if scope is None else "scoped")
