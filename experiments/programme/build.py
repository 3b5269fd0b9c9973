"""The return of the programme, holdout by holdout: measured by the same pieces that measure an experiment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from experiments.definitions import Holdout, Metric, Offer, Project
from experiments.definitions.money import exponent
from experiments.keeping.repository import Repository
from experiments.measure.cells import Cells, ColumnGroup, compute_cells
from experiments.measure.days import DAY_US, local_day, moment_text
from experiments.measure.economics import Beside
from experiments.measure.facts import Facts, take_census
from experiments.measure.parts import Part, parts_of
from experiments.measure.redemption import Costs
from experiments.measure.scan import scan_columns
from experiments.measure.unit_table import unit_columns
from experiments.programme import words
from experiments.programme.asking import ProgrammeOptions, holdouts_of, metric_of
from experiments.programme.document import Figure, HoldoutResult, Programme
from experiments.programme.figures import figure, scaled
from experiments.programme.months import by_month
from experiments.programme.population import (
    BETWEEN,
    HELD_OUT,
    REACHED,
    Compared,
    Covered,
    compare,
    expected_shares,
)
from experiments.publishing.plans import plan_of
from experiments.sources.log import LogTables, open_log
from experiments.store import Store
from stats.arrays import number
from stats.distributions import normal_quantile
from stats.economics.columns import Columns
from stats.economics.returns import offer_returns
from stats.programme import detectable, holdout_size
from stats.srm import srm

WHOLE_US = 3650 * DAY_US
SPLIT_ALPHA = 0.001
PROFIT = "p"
MONEY = "money"
NONE = Figure(estimate=None, ci_low=None, ci_high=None)


@dataclass(frozen=True)
class _Asked:
    """One holdout with everything it covers, read from the definitions."""

    definition: Holdout
    covered: tuple[Covered, ...]


def build_programme(store: Store, options: ProgrammeOptions, now_us: int) -> Programme:
    """Compute the return of the programme from the service's own log.

    The store is closed for it: see `experiments.report.build.build_report`.

    Args:
        store: definitions and log.
        options: what is asked.
        now_us: microseconds since 1970 UTC; nothing later is read.

    Raises:
        InputError: for an unknown holdout or metric, or when the metric must be named.
    """
    repository = Repository(store)
    project = repository.project()
    metric = metric_of(repository, options.metric)
    asked = [_covered(repository, holdout) for holdout in holdouts_of(repository, options.holdout)]
    store.close()
    with open_log(store.url) as log:
        found = [_result(log, one, project, metric, options, now_us) for one in asked]
    notes = list(words.NOTES) if found else [words.TEXTS["none"]]
    return Programme(
        currency=project.currency,
        metric=metric.key,
        days=options.days,
        alpha=options.alpha,
        computed_at=moment_text(now_us),
        holdouts=found,
        notes=notes,
    )


def _covered(repository: Repository, holdout: Holdout) -> _Asked:
    """Return the experiments that were launched under a holdout."""
    heads = repository.heads()
    found = []
    for record in repository.experiments():
        if record.pinned is None or holdout.key not in record.pinned.holdouts:
            continue
        offers = repository.experiment_offers(record)
        costs = Costs.of(record.definition, record.pinned.currency, offers)
        found.append(Covered(record, plan_of(repository, record, heads), costs))
    return _Asked(holdout, tuple(found))


def _result(
    log: LogTables, asked: _Asked, project: Project, metric: Metric, options: ProgrammeOptions, now_us: int
) -> HoldoutResult:
    """Measure and compare one holdout."""
    plan = next((plan for one in asked.covered for plan in one.plan.holdouts if plan.key == asked.definition.key), None)
    if plan is None:
        return _unread(asked, options, None, words.NO_UNITS, None)
    costs = _together(asked.covered, project.currency)
    decimals = costs.fraction_decimals()
    compared = compare(log, plan, asked.definition.unit_type, asked.covered, now_us, decimals)
    if not compared.held_out or not compared.reached:
        return _unread(asked, options, compared, words.NO_UNITS, None)
    check = srm([compared.held_out, compared.reached], list(expected_shares(plan))).value()
    if check.p_value is not None and check.p_value < SPLIT_ALPHA:
        why = words.fill(words.BROKEN_SPLIT, p=check.p_value)
        return _unread(asked, options, compared, why, check.p_value)
    cells = _measure(compared, metric, costs, asked.definition.unit_type, project.time_zone, options.days, now_us)
    return _told(asked, options, compared, check.p_value, cells, project.currency)


def _together(covered: Sequence[Covered], currency: str) -> Costs:
    """Return the costs of all experiments as those of one, whose variants are named experiment/variant."""
    offers: dict[str, Offer] = {}
    variants: dict[str, tuple[str | None, str | None]] = {HELD_OUT: (None, None)}
    own: dict[str, str] = {}
    for one in covered:
        offers |= one.costs.offers
        variants |= {f"{one.record.key}{BETWEEN}{key}": given for key, given in one.costs.variants.items()}
        own |= {f"{one.record.key}{BETWEEN}{key}": name for key, name in one.costs.own.items()}
    return Costs(currency, offers, variants, own)


def _measure(
    compared: Compared,
    metric: Metric,
    costs: Costs,
    unit_type: str,
    time_zone: str,
    days: int | None,
    now_us: int,
) -> Cells:
    """Return the moments of both sides by day of entry: profit, its parts, buyers and orders."""
    places, decimals = exponent(costs.currency), costs.fraction_decimals()
    measured = parts_of(metric, PROFIT, "primary", places)
    end = WHOLE_US if days is None else days * DAY_US
    profit = replace(measured.parts[0], column=PROFIT, measure="earned", start_us=0, end_us=end)
    beside = [part for one in Beside(replace(measured, parts=(profit,)), None).metrics[:1] for part in one.parts]
    parts: tuple[Part, ...] = (profit, *beside)
    log = compared.log
    facts = Facts(log, compared.table, parts, costs, unit_type, now_us)
    table = unit_columns(facts, take_census(facts))
    c = _columns()
    table = table.mutate(
        **{c.profit: table[c.profit] * 10**decimals - table.contact_cost, c.contact: table.contact_cost},
        day=local_day(table.t0, time_zone, compared.first_us, compared.last_us),
    )
    table = log.keep(
        table.select("group", "day", *_names(c)), "equipoise_programme_measured", whole=("day", *_names(c))
    )
    minor = {
        c.profit: places + decimals,
        c.contact: places + decimals,
        c.redemption: places,
        c.value: places,
    }
    cut = {c.profit: metric.winsorise} if metric.winsorise else {}
    scans = scan_columns(table, _names(c), winsorise=cut, minor=minor)
    group = ColumnGroup(MONEY, tuple(_names(c)))
    return compute_cells(table, [group], scans, variant="group", variants=(HELD_OUT, REACHED), day="day")


def _columns() -> Columns:
    return Columns(
        profit=PROFIT,
        redemption=f"{PROFIT}_redemption",
        contact=f"{PROFIT}_contact",
        buyers=f"{PROFIT}_buyers",
        redemptions=f"{PROFIT}_redeemed",
        orders=f"{PROFIT}_orders",
        value=f"{PROFIT}_value",
    )


def _names(c: Columns) -> list[str]:
    return [c.profit, c.redemption, c.contact, c.buyers, c.redemptions, c.orders, c.value]


def _told(
    asked: _Asked, options: ProgrammeOptions, compared: Compared, p_value: float | None, cells: Cells, currency: str
) -> HoldoutResult:
    """Make the figures of two sides that may be compared."""
    moments = cells.totals[MONEY]
    z = float(normal_quantile(1 - options.alpha / 2))
    found = offer_returns(moments, _columns(), fixed_cost=options.fixed_cost, z=z)
    profit = figure(found.profit)
    spread = moments.covariance()[..., 0, 0]
    n = np.asarray(moments.n, dtype=np.float64)
    held, reached = (float(side) for side in n)
    sd = float(np.sqrt((spread @ n) / n.sum()))
    per_member = scaled(profit, 1 / reached)
    difference = options.difference if options.difference is not None else per_member.estimate
    needed = least = None
    if sd > 0 and np.isfinite(sd):
        least = detectable(held, reached, sd, alpha=options.alpha)
        if difference:
            needed = int(holdout_size(difference, sd, reached / held, alpha=options.alpha))
    verdict = _verdict(profit, currency, difference, needed, compared)
    return _with(
        _unread(asked, options, compared, None, p_value),
        readable=True,
        profit_per_member=per_member,
        profit=profit,
        extra_margin=figure(found.extra_margin),
        extra_buyers=figure(found.extra_buyers),
        cost=number(found.cost[0]),
        redemption_cost=number(found.redemption_cost[0]),
        contact_cost=number(found.contact_cost[0]),
        roi=figure(found.roi),
        detectable=least,
        needed=needed,
        needed_for=None if needed is None else difference,
        months=by_month(cells, MONEY, _columns(), z),
        verdict=verdict,
    )


def _with(result: HoldoutResult, **fields: Any) -> HoldoutResult:
    """Return a result with other values in some fields."""
    import msgspec

    return msgspec.structs.replace(result, **fields)


def _unread(
    asked: _Asked,
    options: ProgrammeOptions,
    compared: Compared | None,
    why: Mapping[str, str] | None,
    p_value: float | None,
) -> HoldoutResult:
    """Return who is there, without a figure of money."""
    definition = asked.definition
    first = None if compared is None or compared.first_us is None else moment_text(compared.first_us)
    return HoldoutResult(
        holdout=definition.key,
        name=dict(definition.name) if definition.name else {"en": definition.key, "zh-CN": definition.key},
        share=definition.share,
        since=first,
        experiments=sorted(one.record.key for one in asked.covered),
        held_out=0 if compared is None else compared.held_out,
        reached=0 if compared is None else compared.reached,
        would_not=0 if compared is None else compared.would_not,
        both=0 if compared is None else compared.both,
        linked=0 if compared is None else compared.linked,
        crossed=0 if compared is None else compared.crossed,
        split_p=p_value,
        readable=False,
        why_not=None if why is None else dict(why),
        profit_per_member=NONE,
        profit=NONE,
        extra_margin=NONE,
        extra_buyers=NONE,
        cost=None,
        redemption_cost=None,
        contact_cost=None,
        fixed_cost=options.fixed_cost,
        roi=NONE,
        detectable=None,
        needed=None,
        needed_for=None,
        verdict={} if why is None else dict(why),
    )


def _verdict(
    profit: Figure, currency: str, difference: float | None, needed: int | None, compared: Compared
) -> dict[str, str]:
    if profit.estimate is None or profit.ci_low is None or profit.ci_high is None:
        return dict(words.NO_UNITS)
    shown = {"low": f"{profit.ci_low:,.0f}", "high": f"{profit.ci_high:,.0f}", "currency": currency}
    if profit.ci_low > 0:
        return words.fill(words.EARNED, total=f"{profit.estimate:,.0f}", **shown)
    if profit.ci_high < 0:
        turned = {**shown, "low": f"{-profit.ci_high:,.0f}", "high": f"{-profit.ci_low:,.0f}"}
        return words.fill(words.LOST, total=f"{-profit.estimate:,.0f}", **turned)
    more: dict[str, str] = {"en": "", "zh-CN": ""}
    if needed is not None and difference:
        held = compared.held_out
        text = words.TOO_MANY if needed >= held + compared.reached else words.NEEDED
        more = words.fill(text, difference=f"{abs(difference):,.2f}", needed=needed, held=held)
    return {lang: text.format(needed=more[lang], **shown).strip() for lang, text in words.UNCLEAR.items()}
