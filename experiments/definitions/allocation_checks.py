"""Whether what a policy that learns says about metrics, attributes, offers and other experiments is true."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from allocation.audience import RuleError, parse
from allocation.bandits.mabwiser.parameters import problems
from experiments.definitions.allocation import Allocation
from experiments.definitions.errors import Problem, nearest, pointer
from experiments.definitions.experiment import Experiment
from experiments.definitions.metric import Metric
from experiments.definitions.money import MoneyError, to_minor_exact

if TYPE_CHECKING:
    from experiments.definitions.catalogue import Catalogue

LEARNABLE = ("proportion", "count", "sum", "profit")
"""Types of metrics that are one number for each decision, the more the better."""
_AT = "/allocation"


def not_learnable(metric: Metric) -> str | None:
    """Return why a policy cannot learn from a metric, and what to do; ``None`` when it can.

    >>> window = {"days": 14}
    >>> not_learnable(Metric(kind="metric", key="v", name="V", type="proportion", event="Visit", window=window))
    """
    if metric.type not in LEARNABLE:
        return f"{metric.type} is not one number for each decision; choose one of {', '.join(LEARNABLE)}"
    if metric.direction == "decrease":
        return "less of it is better, and a policy learns to earn more; choose a metric whose direction is increase"
    return None


def check_allocation(catalogue: Catalogue, experiment: Experiment, types: Mapping[str, str]) -> Iterator[Problem]:
    """Yield what is wrong with an experiment's ``allocation`` beside the other definitions.

    Args:
        catalogue: everything that will be there afterwards.
        experiment: whose allocation.
        types: attribute → type, of the project.
    """
    allocation = experiment.allocation
    if allocation is None:
        return
    yield from _reward(catalogue, experiment, allocation)
    yield from _features(allocation, types)
    yield from (
        Problem(f"{name} {problem}", pointer(["allocation", "parameters", name]))
        for name, problem in problems(allocation.policy, allocation.parameters)
    )
    for variant, rule in allocation.eligible.items():
        try:
            parse(rule, types)
        except RuleError as error:
            yield Problem(
                f"{error.message}; {error.advice}", pointer(["allocation", "eligible", variant]) + error.pointer
            )
    if allocation.warm_start is not None:
        yield from _warm_start(catalogue, experiment, allocation.warm_start)


def _reward(catalogue: Catalogue, experiment: Experiment, allocation: Allocation) -> Iterator[Problem]:
    reward = allocation.reward
    metric = catalogue.get(Metric, "metric", reward.metric or experiment.metrics.primary[0])
    if metric is None:
        return  # named already, where it stands among the metrics
    at = f"{_AT}/reward/metric"
    if why := not_learnable(metric):
        yield Problem(f'nothing can be learned from "{metric.key}": {why}', at)
    elif allocation.policy == "beta_thompson" and metric.type != "proportion":
        advice = f'learns conversions, and "{metric.key}" is a {metric.type}; choose policy: normal_thompson'
        yield Problem(f"beta_thompson {advice}", f"{_AT}/policy")
    if reward.worth is None:
        return
    if metric.type != "proportion":
        advice = f'belongs to a proportion, and "{metric.key}" is a {metric.type}; remove it'
        yield Problem(f"worth {advice}", f"{_AT}/reward/worth")
    elif catalogue.project is not None:
        try:
            to_minor_exact(reward.worth, catalogue.project.currency)
        except MoneyError as error:
            yield Problem(str(error), f"{_AT}/reward/worth")


def _features(allocation: Allocation, types: Mapping[str, str]) -> Iterator[Problem]:
    for index, feature in enumerate(allocation.features):
        known, at = types.get(feature.attribute), f"{_AT}/features/{index}"
        if known == "list":
            yield Problem(f'"{feature.attribute}" is a list, which no policy can learn from; remove it', at)
        elif feature.kind == "numeric" and known in ("string", "boolean"):
            advice = f'"{feature.attribute}" is a {known}; write kind: categorical, or leave it out'
            yield Problem(f"numeric features are numbers and dates: {advice}", f"{at}/kind")
        if feature.transform == "log" and (feature.kind == "categorical" or known in ("string", "boolean", "date")):
            yield Problem("log is taken of numbers; leave transform out", f"{at}/transform")


def _warm_start(catalogue: Catalogue, experiment: Experiment, key: str) -> Iterator[Problem]:
    at = f"{_AT}/warm_start"
    earlier = catalogue.get(Experiment, "experiment", key)
    if key == experiment.key:
        yield Problem("names the experiment itself; name a finished one, or leave it out", at)
    elif earlier is None:
        known = [name for name in catalogue.keys("experiment") if name != experiment.key]
        yield Problem(f'experiment "{key}" is not defined; {nearest(key, known)}', at)
    elif earlier.unit_type != experiment.unit_type:
        advice = f"{key} is about {earlier.unit_type}s and this one about {experiment.unit_type}s; leave it out"
        yield Problem(f"nothing can be learned from it: {advice}", at)
    else:
        offers = {variant.key: variant.offer for variant in earlier.variants if variant.offer_by is None}
        alike = [v.key for v in experiment.variants if v.key in offers and offers[v.key] == v.offer]
        if len(alike) < 2:
            advice = "name one whose variants have the same keys and offers, or leave it out"
            yield Problem(f"{key} has {len(alike)} of this experiment's variants in common; {advice}", at)
