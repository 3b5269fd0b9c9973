"""All definitions together, and whether what one says about another is true."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from allocation.audience import RuleError, parse
from experiments.definitions import (
    Definition,
    Experiment,
    Holdout,
    Layer,
    Metric,
    Offer,
    Project,
    Segment,
    StageRule,
)
from experiments.definitions.allocation_checks import check_allocation
from experiments.definitions.errors import Problem, nearest, pointer
from experiments.definitions.pricing import PricedOffer
from experiments.definitions.project import PROJECT_KEY
from experiments.definitions.stage_checks import check_computed
from experiments.definitions.standing import Standing
from experiments.personal import personal_id

Name = tuple[str, str]
"""Kind and key."""
D = TypeVar("D")


@dataclass(frozen=True)
class Catalogue:
    """Definitions by kind and key, looked up together.

    >>> catalogue = Catalogue.of([Layer(kind="layer", key="winback")])
    >>> catalogue.get(Layer, "layer", "winback").key, catalogue.project is None
    ('winback', True)
    """

    definitions: Mapping[Name, Definition]

    @classmethod
    def of(cls, definitions: Iterable[Definition]) -> Catalogue:
        """Collect definitions."""
        return cls({(definition.kind, definition.key): definition for definition in definitions})

    def get(self, model: type[D], kind: str, key: str) -> D | None:
        """Return one definition, ``None`` when there is none."""
        found = self.definitions.get((kind, key))
        return found if isinstance(found, model) else None

    def keys(self, kind: str) -> list[str]:
        """Return the keys of one kind."""
        return [key for found, key in self.definitions if found == kind]

    @property
    def project(self) -> Project | None:
        """The project, when it is defined."""
        return self.get(Project, "project", PROJECT_KEY)

    def holdouts_of(self, experiment: Experiment) -> list[Holdout]:
        """Return the holdouts that apply to an experiment, in order of key."""
        layer = experiment.layer.key if experiment.layer else None
        covering = [
            holdout
            for (kind, _), holdout in sorted(self.definitions.items())
            if kind == "holdout"
            and isinstance(holdout, Holdout)
            and holdout.unit_type == experiment.unit_type
            and holdout.covers(experiment.key, layer)
        ]
        if experiment.holdouts is None:
            return covering
        return [holdout for holdout in covering if holdout.key in experiment.holdouts]

    def offers_of(self, experiment: Experiment) -> tuple[str, ...]:
        """Return the offers that its variants may give: those they name, and all where members have their own."""
        named = tuple(variant.offer for variant in experiment.variants if variant.offer is not None)
        return tuple(dict.fromkeys((*named, *(self.keys("offer") if experiment.by_member else ()))))

    def audience_of(self, experiment: Experiment, segment: Segment | None = None) -> dict[str, Any] | None:
        """Return the experiment's rule, joined with its segment's."""
        if experiment.segment is None:
            return experiment.audience
        found = segment or self.get(Segment, "segment", experiment.segment)
        if found is None or experiment.audience is None:
            return found.rule if found else experiment.audience
        return {"all": [found.rule, experiment.audience]}


def check(catalogue: Catalogue, only: Iterable[Name] | None = None) -> list[tuple[Name, Problem]]:
    """Return every reference that leads nowhere, rule that does not fit its attributes, amount that does not fit.

    Args:
        catalogue: everything that will be there afterwards.
        only: the definitions to check; by default all.
    """
    names = list(catalogue.definitions) if only is None else list(only)
    result: list[tuple[Name, Problem]] = []
    if names and catalogue.project is None:
        advice = "no project is defined yet; add a document with kind: project, name, currency and time_zone"
        return [(names[0], Problem(advice))]
    for name in names:
        definition = catalogue.definitions.get(name)
        if definition is not None:
            result += [(name, problem) for problem in _check_one(catalogue, definition)]
    return result


def _check_one(catalogue: Catalogue, definition: Definition) -> Iterator[Problem]:
    yield from _CHECKS[definition.kind](catalogue, definition)


def _project(_: Catalogue, project: Project) -> Iterator[Problem]:
    for unit_type in project.exclude:
        if unit_type not in project.unit_types:
            advice = f"add it to unit_types; {nearest(unit_type, project.unit_types)}"
            yield Problem(f'"{unit_type}" is not a unit type; {advice}', pointer(["exclude", unit_type]))
        yield from _personal(project, project.exclude[unit_type], pointer(["exclude", unit_type]))
    if project.standing is not None:
        yield from _standing(project, project.standing)


def _standing(project: Project, standing: Standing) -> Iterator[Problem]:
    """Check that the attribute by whose levels members have discounts is there, and has these levels."""
    attribute = project.attributes.get(standing.attribute)
    if attribute is None:
        advice = f"declare it under attributes; {nearest(standing.attribute, project.attributes)}"
        yield Problem(f'"{standing.attribute}" is not an attribute; {advice}', "/standing/attribute")
        return
    if attribute.type != "string":
        advice = "an attribute whose levels have discounts is declared with type: string"
        yield Problem(f'"{standing.attribute}" is a {attribute.type}; {advice}', "/standing/attribute")
    for level in standing.discounts:
        if attribute.levels and level not in attribute.levels:
            advice = f"add it to the attribute's levels; {nearest(level, attribute.levels)}"
            at = pointer(["standing", "discounts", level])
            yield Problem(f'"{level}" is not a level of {standing.attribute}; {advice}', at)


def _personal(project: Project | None, units: Iterable[str], at: str) -> Iterator[Problem]:
    """Refuse units that deciding will refuse; the pointer ends before the id, so that no message repeats it."""
    if project is not None and project.allow_personal_ids:
        return
    for refused in sorted({personal_id(unit) or "" for unit in units} - {""}):
        yield Problem(f"a {refused}", at)


def _offer(catalogue: Catalogue, offer: Offer) -> Iterator[Problem]:
    if catalogue.project is not None:
        for field, message in PricedOffer(offer, catalogue.project.currency).check():
            yield Problem(message, f"/{field}")


def _metric(_: Catalogue, metric: Metric) -> Iterator[Problem]:
    if metric.where is not None:
        yield from _where(metric.where, "/where")
    if metric.denominator is not None and metric.denominator.where is not None:
        yield from _where(metric.denominator.where, "/denominator/where")


def _where(rule: dict[str, Any], at: str) -> Iterator[Problem]:
    """Check a filter over event properties; what depends on the day it is asked would change a past outcome."""
    yield from _rule(rule, at, None)
    for place in _days_since(rule):
        advice = "compare the property with dates (gte, lt), or let the metric's window say how many days count"
        yield Problem(f"days_since counts back from today, so the outcome would change every day; {advice}", at + place)


def _days_since(rule: Any) -> Iterator[str]:
    """Yield the pointers of comparisons that count days back from now."""
    if isinstance(rule, dict):
        if rule.get("op") == "days_since":
            yield pointer(["op"])
        for word in ("all", "any"):
            parts = rule.get(word)
            for index, part in enumerate(parts if isinstance(parts, list) else ()):
                yield from (pointer([word, index]) + place for place in _days_since(part))
        yield from (pointer(["not"]) + place for place in _days_since(rule.get("not")))


def _layer(catalogue: Catalogue, layer: Layer) -> Iterator[Problem]:
    yield from _unit_type(catalogue, layer.unit_type)


def _holdout(catalogue: Catalogue, holdout: Holdout) -> Iterator[Problem]:
    yield from _unit_type(catalogue, holdout.unit_type)
    if holdout.scope is not None:
        yield from _known(catalogue, "layer", holdout.scope.layers, "/scope/layers")
        yield from _known(catalogue, "experiment", holdout.scope.experiments, "/scope/experiments")


def _segment(catalogue: Catalogue, segment: Segment) -> Iterator[Problem]:
    yield from _rule(segment.rule, "/rule", _types(catalogue))


def _stage_rule(catalogue: Catalogue, stages: StageRule) -> Iterator[Problem]:
    types = {**_types(catalogue), **stages.fact_types()}
    for index, stage in enumerate(stages.stages):
        if stage.rule is not None:
            yield from _rule(stage.rule, f"/stages/{index}/rule", types)
    yield from check_computed(catalogue.project, stages)


def _experiment(catalogue: Catalogue, experiment: Experiment) -> Iterator[Problem]:
    yield from _unit_type(catalogue, experiment.unit_type)
    types = _types(catalogue)
    if experiment.audience is not None:
        yield from _rule(experiment.audience, "/audience", types)
    yield from _personal(catalogue.project, experiment.overrides, "/overrides")
    yield from _personal(catalogue.project, experiment.exclude, "/exclude")
    if experiment.segment is not None:
        yield from _known(catalogue, "segment", (experiment.segment,), "/segment", indexed=False)
    for attribute, place in _frozen(experiment):
        if attribute not in types:
            advice = f"declare it under attributes in the project; {nearest(attribute, types)}"
            yield Problem(f'"{attribute}" is not an attribute; {advice}', place)
    yield from check_allocation(catalogue, experiment, types)
    for index, variant in enumerate(experiment.variants):
        own = types.get(variant.offer_by or "", "string")
        if own != "string":
            advice = "an attribute that holds offer keys is declared with type: string"
            yield Problem(f'"{variant.offer_by}" is a {own}; {advice}', f"/variants/{index}/offer_by")
        if variant.offer is None:
            continue
        yield from _known(catalogue, "offer", (variant.offer,), f"/variants/{index}/offer", indexed=False)
    plan = experiment.metrics
    yield from _known(catalogue, "metric", plan.primary, "/metrics/primary")
    yield from _known(catalogue, "metric", plan.secondary, "/metrics/secondary")
    for index, guardrail in enumerate(plan.guardrails):
        yield from _known(
            catalogue, "metric", (guardrail.metric,), f"/metrics/guardrails/{index}/metric", indexed=False
        )
    if experiment.layer is not None:
        yield from _known(catalogue, "layer", (experiment.layer.key,), "/layer/key", indexed=False)
        layer = catalogue.get(Layer, "layer", experiment.layer.key)
        if layer is not None and layer.unit_type != experiment.unit_type:
            advice = f"divides {layer.unit_type}s and the experiment {experiment.unit_type}s; use a layer of its own"
            yield Problem(f"layer {layer.key} {advice}", "/layer/key")
    if experiment.holdouts is not None:
        yield from _known(catalogue, "holdout", experiment.holdouts, "/holdouts")
        covering = {holdout.key for holdout in catalogue.holdouts_of(experiment)}
        for index, key in enumerate(experiment.holdouts):
            if key not in covering and catalogue.get(Holdout, "holdout", key) is not None:
                advice = "add the experiment or its layer to the holdout's scope, and use one unit_type"
                yield Problem(f"holdout {key} does not cover this experiment; {advice}", f"/holdouts/{index}")


def _frozen(experiment: Experiment) -> Iterator[tuple[str, str]]:
    """Yield each attribute that is frozen at decision, and where the definition names it."""
    yield from ((name, f"/breakdowns/{index}") for index, name in enumerate(experiment.breakdowns))
    yield from ((name, f"/analysis/strata/{index}") for index, name in enumerate(experiment.analysis.strata))
    if experiment.analysis.cluster is not None:
        yield experiment.analysis.cluster, "/analysis/cluster"
    yield from ((name, f"/analysis/features/{index}") for index, name in enumerate(experiment.analysis.features))
    for index, variant in enumerate(experiment.variants):
        if variant.offer_by is not None:
            yield variant.offer_by, f"/variants/{index}/offer_by"
    if experiment.allocation is not None:
        for index, name in enumerate(experiment.allocation.attributes):
            yield name, f"/allocation/features/{index}/attribute"


def _types(catalogue: Catalogue) -> dict[str, str]:
    return catalogue.project.attribute_types() if catalogue.project else {}


def _unit_type(catalogue: Catalogue, unit_type: str) -> Iterator[Problem]:
    known = catalogue.project.unit_types if catalogue.project else ()
    if unit_type not in known:
        advice = f"add it to unit_types in the project; {nearest(unit_type, known)}"
        yield Problem(f'"{unit_type}" is not a unit type; {advice}', "/unit_type")


def _known(catalogue: Catalogue, kind: str, keys: Iterable[str], at: str, *, indexed: bool = True) -> Iterator[Problem]:
    known = catalogue.keys(kind)
    for index, key in enumerate(keys):
        if key not in known:
            place = f"{at}/{index}" if indexed else at
            yield Problem(
                f'{kind} "{key}" is not defined; define it first or in the same file; {nearest(key, known)}', place
            )


def _rule(rule: dict[str, Any], at: str, types: Mapping[str, str] | None) -> Iterator[Problem]:
    try:
        parse(rule, types)
    except RuleError as error:
        yield Problem(f"{error.message}; {error.advice}", at + error.pointer)


_CHECKS: dict[str, Callable[[Catalogue, Any], Iterator[Problem]]] = {
    "project": _project,
    "offer": _offer,
    "metric": _metric,
    "layer": _layer,
    "holdout": _holdout,
    "segment": _segment,
    "stage_rule": _stage_rule,
    "experiment": _experiment,
}
