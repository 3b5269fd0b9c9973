"""From an experiment's log to rows that can be learned from: only what was known before each unit's decision.

Attributes are those that the decision froze; beside them stands what each unit had ordered before. Who counts is who
counts in the report; of these only units whose window is over, because their outcome is final.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.definitions.money import exponent
from experiments.errors import InputError
from experiments.measure.facts import Facts, take_census
from experiments.measure.linked import resolve
from experiments.measure.parts import PLACED, Part, order_events
from experiments.measure.population import PopulationPlan, select_units
from experiments.measure.redemption import Costs
from experiments.measure.unit_table import unit_columns
from experiments.report.inputs import Declared, phase_of, population_plan, variant_order
from experiments.sources.log import LogTables
from experiments.uplift.arrays import arrays_of
from experiments.uplift.learned import Column, Learned, assemble
from experiments.uplift.options import Wanted
from experiments.uplift.order_facts import LABELS, RECENCY, fact_parts, facts_from, last_order
from experiments.uplift.outcomes import Outcome, outcome_of
from experiments.uplift.values import dates_as_days, numbers_of
from stats.uplift.prices import Prices
from stats.uplift.trial import FloatArray

MEASURED = "earned"
"""Column of the outcome; so too below."""
MARGIN, COST, REDEEMED_COUNT = "margin", "cost", "redeemed"
LEAST_UNITS = 100
"""Of each arm; with fewer nothing is learned."""


def read_experiment(log: LogTables, declared: Declared, now_us: int, wanted: Wanted) -> Learned:
    """Read one phase of an experiment; see `experiments.uplift.learned.rows_of_experiment`."""
    definition = declared.record.definition
    if definition.allocation is not None:
        raise InputError(
            f"{definition.key} has a policy that learns: who gets what is learned while it runs, and its report says it"
        )
    if definition.analysis.switchback or definition.analysis.randomised_by_cluster:
        raise InputError(
            f"{definition.key} was not randomised by {definition.unit_type}, so who responds cannot be told apart"
        )
    number, split = phase_of(declared.record, wanted.phase)
    arms = tuple(variant_order(declared.record, split))
    outcome = outcome_of(declared, wanted.outcome)
    reading = _Reading(log, declared, outcome, arms, population_plan(log, declared, number, now_us))
    found = reading.columns()
    return _Learning(reading, found, {arm: float(split.get(arm, 0)) for arm in arms}, wanted).learned()


@dataclass(frozen=True, eq=False)
class _Reading:
    """One phase of one experiment, on its way out of the engine."""

    log: LogTables
    declared: Declared
    outcome: Outcome
    arms: tuple[str, ...]
    plan: PopulationPlan

    @property
    def attributes(self) -> tuple[str, ...]:
        """What was frozen to be learned from."""
        definition = self.declared.record.definition
        analysis = definition.analysis
        return tuple(dict.fromkeys((*analysis.features, *definition.breakdowns, *analysis.strata)))

    @property
    def costs(self) -> Costs:
        """The offers, priced."""
        return Costs.of(self.declared.record.definition, self.declared.currency, self.declared.offers)

    @property
    def order_event(self) -> str:
        """The event that states an order."""
        stated = order_events(self.outcome.parts)
        return next((name for name in stated if name not in PLACED), PLACED[0])

    def parts(self) -> tuple[Part, ...]:
        """Return what is summed for each unit."""
        own = self.outcome
        return (*own.parts, *fact_parts(self.order_event))

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return one array for each column, a row for each unit, in order of ids."""
        log, plan, _ = resolve(self.log, self.plan)
        units = select_units(log, plan)
        table = units.table.filter(units.table.variant.isin(list(self.arms)))
        facts = Facts(log, table, self.parts(), self.costs, plan.unit_type, plan.now_us)
        joined = unit_columns(facts, take_census(facts))
        joined = joined.left_join(last_order(facts, self.order_event), "u").drop("u_right")
        joined = joined.left_join(self._propensities(log, plan), "unit").drop("unit_right")
        joined = log.keep(joined, "equipoise_learned")
        found = arrays_of(joined.order_by("unit"))
        for name, column in units.levels.items():
            found[f"frozen:{name}"] = found[column]
        return found

    def _propensities(self, log: LogTables, plan: PopulationPlan) -> Any:
        """Return unit and logged: with which probability the log says that it was given its arm."""
        d = log.decisions
        d = d.filter(
            d.experiment == plan.experiment,
            d.unit_type == plan.unit_type,
            d.phase == plan.phase,
            d.kind == "enrolled",
            d["at"] <= plan.now_us,
        )
        return d.group_by("unit").aggregate(logged=d.propensity.min())


@dataclass(frozen=True, eq=False)
class _Priced:
    """Prices, and what each unit redeemed and earned, as far as the log says."""

    prices: Prices
    redemptions: FloatArray | None = None
    earned: FloatArray | None = None
    assumed: tuple[str, ...] = ()
    by_level: Mapping[str, FloatArray] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class _Learning:
    """Columns on their way to rows that are learned from."""

    reading: _Reading
    found: Mapping[str, NDArray[Any]]
    weights: Mapping[str, float]
    wanted: Wanted

    def learned(self) -> Learned:
        """Return the rows.

        Raises:
            InputError: when there are too few.
        """
        reading, arms = self.reading, self.reading.arms
        index = {key: place for place, key in enumerate(arms)}
        arm = np.array([index[key] for key in self.found["variant"]], dtype=np.intp)
        final = self.found["t0"] + reading.outcome.window_us <= reading.plan.now_us
        counts = {key: int(np.count_nonzero(arm == place)) for key, place in index.items()}
        self._need(np.bincount(arm[final], minlength=len(arms)))
        unit = 10 ** exponent(reading.declared.currency)
        kept = {name: values[final] for name, values in self.found.items()}
        arm = arm[final]
        facts = facts_from(kept, unit)
        columns: dict[str, Column] = {**self._attributes(kept), **facts}
        outcome = self._outcome(kept, unit)
        priced = self._prices(kept, arm, outcome, unit)
        trial, encoder = assemble(outcome, arm, self._propensity(kept["logged"], arm), columns)
        metric = reading.outcome.metric
        return Learned(
            trial=trial,
            columns=columns,
            encoder=encoder,
            prices=priced.prices,
            arms=arms,
            units=kept["unit"],
            outcome=metric.key,
            currency=reading.declared.currency if self._is_money else None,
            redemptions=priced.redemptions,
            earned=priced.earned,
            counts=counts,
            weights=self.weights,
            logged=True,
            left_out={"immature": int((~final).sum())} if not final.all() else {},
            facts=tuple(facts),
            rfm=_rfm(facts),
            data_until=reading.plan.now_us,
            outcome_label=dict(metric.name),
            labels={**self._labels(), **LABELS},
            assumed=priced.assumed,
            redemption_by_level=priced.by_level,
            redemption=self._of_units(kept, priced.by_level),
        )

    @property
    def _is_money(self) -> bool:
        outcome = self.reading.outcome
        return outcome.is_money or outcome.has_margin or self.wanted.value is not None

    def _need(self, counts: NDArray[np.intp]) -> None:
        short = [(key, int(n)) for key, n in zip(self.reading.arms, counts, strict=True) if n < LEAST_UNITS]
        if short:
            key, n = short[0]
            unit_type = self.reading.declared.record.definition.unit_type
            raise InputError(
                f"{self.reading.declared.record.key}: variant {key} has {n:,} units ({unit_type}) whose window is over;"
                f" {LEAST_UNITS} are the least to learn from: wait, or recommend from a larger experiment"
            )

    def _attributes(self, kept: Mapping[str, NDArray[Any]]) -> dict[str, Column]:
        types = self.reading.declared.project.attribute_types()
        columns: dict[str, Column] = {}
        for name in self.reading.attributes:
            values = kept[f"frozen:{name}"]
            if types.get(name) == "number":
                columns[name] = numbers_of(values)
            elif types.get(name) == "date":
                columns[name] = dates_as_days(values, kept["t0"], self.reading.declared.time_zone)
            else:
                columns[name] = values
        return columns

    def _labels(self) -> dict[str, dict[str, str]]:
        attributes = self.reading.declared.project.attributes
        labels: dict[str, dict[str, str]] = {}
        for name in self.reading.attributes:
            known = attributes.get(name)
            label = dict(known.label) if known is not None and known.label is not None else {}
            if known is not None and known.type == "date":
                plain = {"en": label.get("en", name), "zh-CN": label.get("zh-CN", name)}
                label = {"en": f"{plain['en']}, days ago", "zh-CN": f"{plain['zh-CN']}（天前）"}
            if label:
                labels[name] = label
        return labels

    def _outcome(self, kept: Mapping[str, NDArray[Any]], unit: int) -> FloatArray:
        own = self.reading.outcome
        values = np.nan_to_num(kept[MEASURED])
        if not own.is_money:
            return np.asarray(values, dtype=np.float64)
        values = values / unit
        if own.metric.type == "profit":
            values = values - self._contact()[self._arm(kept)]
        if own.metric.winsorise is not None and len(values):
            values = np.minimum(values, np.quantile(values, own.metric.winsorise))
        return np.asarray(values, dtype=np.float64)

    def _arm(self, kept: Mapping[str, NDArray[Any]]) -> NDArray[np.intp]:
        index = {key: place for place, key in enumerate(self.reading.arms)}
        return np.array([index[key] for key in kept["variant"]], dtype=np.intp)

    def _contact(self) -> FloatArray:
        """Return what contacting a unit of each arm costs, major units; of own offers the dearest."""
        reading, costs = self.reading, self.reading.costs
        unit = 10 ** exponent(reading.declared.currency)
        found = []
        for arm in reading.arms:
            choices = [costs.contact(arm, offer) for offer in costs.offers] if arm in costs.own else []
            found.append(float(max(choices, default=costs.contact(arm))) / unit)
        return np.array(found)

    def _prices(
        self, kept: Mapping[str, NDArray[Any]], arm: NDArray[np.intp], outcome: FloatArray, unit: int
    ) -> _Priced:
        own, arms = self.reading.outcome, len(self.reading.arms)
        if own.metric.type == "profit":
            return _Priced(Prices.none(arms))
        if not self._is_money:
            return _Priced(Prices.none(arms))
        contact, total = self._contact(), float(outcome.sum())
        cost = -np.nan_to_num(kept[COST]) / unit
        count = np.nan_to_num(kept[REDEEMED_COUNT])
        by_arm = [arm == place for place in range(arms)]
        values, earned, assumed = None, None, []
        if self.wanted.value is not None:
            value = self.wanted.value
            assumed.append("given_value")
        elif own.is_money:
            value, earned = 1.0, outcome - cost - contact[arm]
        else:
            margin = np.nan_to_num(kept[MARGIN] - kept[COST]) / unit
            value = float(margin.sum()) / total if total > 0 else 0.0
            # What an order leaves differs by arm: baskets are filled up for an offer, or bought for less.
            values = np.array([_per(margin[rows], outcome[rows], value) for rows in by_arm])
            earned = margin - cost - contact[arm]
        if not count.any():
            prices = Prices(value, np.zeros(arms), np.zeros(arms), contact, values)
            return self._as_declared(prices, assumed, self._levels(kept), arm)
        price, share = np.zeros(arms), np.zeros(arms)
        for place in range(1, arms):
            redeemed, brought = float(count[by_arm[place]].sum()), float(outcome[by_arm[place]].sum())
            if redeemed > 0 and brought > 0:
                price[place] = float(cost[by_arm[place]].sum()) / redeemed
                share[place] = redeemed / brought
        safe = np.where(price > 0, price, 1.0)
        used = np.where(price[arm] > 0, cost / safe[arm], 0.0) + 0.0
        by_level = self._by_level(self._levels(kept), arm, cost, count, price)
        return _Priced(Prices(value, price, share, contact, values), used, earned, tuple(assumed), by_level)

    def _levels(self, kept: Mapping[str, NDArray[Any]]) -> NDArray[Any] | None:
        """Return the level by which each unit has a discount anyway, empty where it has none."""
        standing = self.reading.declared.standing
        if standing is None:
            return None
        frozen = kept[f"frozen:{standing.attribute}"]
        return np.array([level if level in standing.discounts else "" for level in frozen], dtype=object)

    def _of_units(self, kept: Mapping[str, NDArray[Any]], by_level: Mapping[str, FloatArray]) -> FloatArray | None:
        """Return (n, K + 1), what a redemption costs with each unit; ``None`` where it is the same with all."""
        levels = self._levels(kept)
        if levels is None or not by_level:
            return None
        known = sorted(by_level)
        return np.stack([by_level[level] for level in known])[np.searchsorted(known, levels.astype(str))]

    def _by_level(
        self,
        levels: NDArray[Any] | None,
        arm: NDArray[np.intp],
        cost: FloatArray,
        count: FloatArray,
        price: FloatArray,
    ) -> dict[str, FloatArray]:
        """Return what a redemption cost by level; where a level redeemed nothing, what the arm's did on average."""
        if levels is None:
            return {}
        found = {}
        for level in sorted(set(levels)):
            found[level] = price.copy()
            for place in range(1, len(price)):
                rows = (levels == level) & (arm == place)
                if count[rows].sum() > 0:
                    found[level][place] = float(cost[rows].sum()) / float(count[rows].sum())
        return found

    def _as_declared(
        self, prices: Prices, assumed: Sequence[str], levels: NDArray[Any] | None, arm: NDArray[np.intp]
    ) -> _Priced:
        """Return prices where nobody reports redemptions: every outcome under an offer redeems it."""
        outcome, arms = self.reading.outcome, self.reading.arms
        by_level: dict[str, FloatArray] = {}
        price = np.array([outcome.declared_cost(key, prices.value) for key in arms], dtype=np.float64)
        if levels is not None:
            for level in sorted(set(levels)):
                by_level[level] = np.array([outcome.declared_cost(key, prices.value, level) for key in arms])
            for place in range(1, len(arms)):
                own = levels[arm == place]
                price[place] = float(np.mean([by_level[level][place] for level in own])) if len(own) else price[place]
        given = ("every_buyer_redeems",) if price.any() else ()
        redeemed = (price > 0).astype(np.float64)
        priced = replace(prices, redemption=price, redeemed=redeemed)
        return _Priced(priced, None, None, (*assumed, *given), by_level)

    def _propensity(self, logged: FloatArray, arm: NDArray[np.intp]) -> FloatArray:
        """Return (n, K + 1): the split; where the log says otherwise of the arm given, that, and the others scaled."""
        split = np.array([self.weights[key] for key in self.reading.arms], dtype=np.float64)
        split = split / split.sum()
        rows = np.arange(len(arm))
        out = np.tile(split, (len(arm), 1))
        valid = np.isfinite(logged) & (logged > 0) & (logged < 1)
        differs = valid & (np.abs(logged - split[arm]) > 1e-6)
        if differs.any():
            out[differs] *= ((1 - logged) / (1 - split[arm]))[differs, None]
            out[rows[differs], arm[differs]] = logged[differs]
        return out


def _per(amounts: FloatArray, outcomes: FloatArray, otherwise: float) -> float:
    total = float(outcomes.sum())
    return float(amounts.sum()) / total if total > 0 else otherwise


def _rfm(facts: Mapping[str, FloatArray]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return recency, frequency and mean order value; who never ordered was last seen longest ago."""
    recency = facts[RECENCY]
    longest = float(np.nanmax(recency)) if np.isfinite(recency).any() else 0.0
    orders = facts["$orders_365d"]
    spend = facts["$spend_365d"]
    return np.where(np.isnan(recency), longest + 1.0, recency), orders, spend
