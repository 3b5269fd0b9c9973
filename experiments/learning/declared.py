"""What a policy is to earn, by the definitions: its metric, its offers' costs, its windows, as launch froze them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Literal

from experiments.definitions import Metric, Offer
from experiments.definitions.allocation import Allocation
from experiments.definitions.allocation_checks import not_learnable
from experiments.definitions.money import exponent
from experiments.definitions.standing import Standing
from experiments.errors import InputError
from experiments.keeping.records import ExperimentRecord
from experiments.keeping.repository import Repository
from experiments.measure.parts import ORDER_FAMILY, PLACED, Part, parts_of
from experiments.measure.redemption import Costs

EVER_US = 1 << 62
"""Later than every time in microseconds: what counts is first summed up, and then given to the decisions in whose
windows it lies."""


@dataclass(frozen=True)
class Declared:
    """What an experiment's decisions are to earn, and which of them count."""

    record: ExperimentRecord
    metric: Metric
    """What is learned; its window is the attribution window."""
    offers: Mapping[str, Offer]
    currency: str
    excluded: tuple[str, ...]
    """Units that take no part."""
    attributes: Mapping[str, str]
    """Attribute → type, of the project."""
    attribution: Literal["last", "all"] = "last"
    """Whose an outcome is."""
    stated_worth: str | None = None
    """What a conversion earns before costs, as decimal text; ``None`` where conversions alone count."""
    standing: Standing | None = None
    """What members have off every order anyway."""

    @property
    def allocation(self) -> Allocation | None:
        """How the experiment learns; ``None`` where the hash draws."""
        return self.record.definition.allocation

    @property
    def variants(self) -> tuple[str, ...]:
        """Keys of all variants, in order."""
        return tuple(variant.key for variant in self.record.definition.variants)

    @cached_property
    def window_us(self) -> tuple[int, int]:
        """From when to before when after a decision an outcome is its own."""
        return self._measured[0].start_us, self._measured[0].end_us

    @property
    def is_yes_or_no(self) -> bool:
        """Whether a decision either converts or does not."""
        return self.metric.type == "proportion"

    @property
    def frozen(self) -> tuple[str, ...]:
        """Attributes that decisions keep as they were: the definition's, and that by which members have a discount."""
        anyway = () if self.standing is None else (self.standing.attribute,)
        return tuple(dict.fromkeys((*self.record.definition.frozen, *anyway)))

    @property
    def worth(self) -> float | None:
        """The same as ``stated_worth``, in major units."""
        return None if self.stated_worth is None or not self.is_yes_or_no else float(Fraction(self.stated_worth))

    @property
    def counts_costs(self) -> bool:
        """Whether the reward is what is left after costs: a profit, or conversions of a declared worth."""
        return self.metric.type == "profit" or self.worth is not None

    @cached_property
    def unit(self) -> int:
        """Minor units in one of what amounts are shown in: 100 for yuan, 1 for counts."""
        return int(10 ** exponent(self.currency)) if self.metric.is_money or self.worth is not None else 1

    @cached_property
    def costs(self) -> Costs:
        """The offers, priced."""
        return Costs.of(self.record.definition, self.currency, self.offers)

    @cached_property
    def contact(self) -> tuple[float, ...]:
        """What one contact costs by variant, in major units; 0 where costs do not count."""
        if not self.counts_costs:
            return (0.0,) * len(self.variants)
        return tuple(float(self.costs.contact(variant) / self.unit) for variant in self.variants)

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """What is summed for each decision: the reward, and what redemptions cost where conversions have a worth."""
        reward = replace(self._measured[0], start_us=0, end_us=EVER_US)
        if self.worth is None:
            return (reward,)
        order = reward.event if reward.event in ORDER_FAMILY else PLACED[0]
        return reward, Part("cost", order, "profit", 0, EVER_US, margin_rate="0")

    def redemption(self, variant: str) -> float:
        """Return what redeeming a variant's offer on the smallest order that may use it costs, in major units.

        Known before anything was redeemed; the log says how often and on which orders.
        """
        from experiments.definitions.pricing import Order, PricedOffer

        key, _ = self.costs.variants.get(variant, (None, None))
        offer = self.offers.get(key or "")
        if offer is None:
            return 0.0
        priced = PricedOffer(offer, self.currency)
        usual = 0 if self.worth is None else round(self.worth * self.unit)
        nth = offer.stamps_needed or offer.referrals_needed or 1
        return priced.cost_minor(Order(max(usual, priced.minor("minimum_spend") or 0), nth=nth)) / self.unit

    @cached_property
    def _measured(self) -> tuple[Part, ...]:
        return parts_of(self.metric, "reward", "primary", exponent(self.currency)).parts


def declared(
    repository: Repository, record: ExperimentRecord, *, metric: Metric | None = None, like: Declared | None = None
) -> Declared:
    """Read what an experiment's decisions are to earn.

    Args:
        repository: the definitions.
        record: the experiment.
        metric: what is asked for; by default what its allocation says, else its first primary metric. For another one
            than that, outcomes belong to decisions in the same way, and have no worth.
        like: another experiment's, whose metric, attribution and worth are asked for.

    Raises:
        InputError: when nothing can be learned from the metric.
    """
    project = repository.project()
    definition = record.definition
    reward = definition.allocation.reward if definition.allocation else None
    attribution = reward.attribution if reward else "last"
    worth = reward.worth if reward and (metric is None or metric.key == reward_key(record)) else None
    if like is not None:
        metric, attribution, worth = like.metric, like.attribution, like.stated_worth
    if metric is None:
        metric = repository.experiment_metrics(record)[reward_key(record)]
    if why := not_learnable(metric):
        raise InputError(f"experiment {record.key}: nothing can be learned from metric {metric.key}: {why}")
    return Declared(
        record,
        metric,
        repository.experiment_offers(record),
        record.pinned.currency if record.pinned else project.currency,
        (*definition.exclude, *project.exclude.get(definition.unit_type, ())),
        project.attribute_types(),
        attribution,
        worth,
        record.standing(project),
    )


def reward_key(record: ExperimentRecord) -> str:
    """Return the key of the metric that an experiment's policy learns."""
    definition = record.definition
    named = definition.allocation.reward.metric if definition.allocation else None
    return named or definition.metrics.primary[0]
