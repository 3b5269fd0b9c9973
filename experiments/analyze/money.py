"""The money of a file's units: margin, what the offer cost, who bought, from the columns and amounts that are named.

What is derived here are the columns that the log's report sums, so that both go through the same economics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from experiments.analyze.columns import Columns, Cost
from experiments.analyze.options import LARGEST_AMOUNT, AnalyzeOptions
from experiments.errors import InputError, unknown_name
from experiments.measure.cells import ColumnGroup
from experiments.measure.economics import ECONOMICS
from experiments.measure.scan import ColumnScan, numeric, scan_columns
from experiments.report.document import Text
from experiments.report.economics_document import Economics, Figure
from experiments.report.measured import MetricSpec
from experiments.sources.file import FileTable
from experiments.sources.layout import unique_names
from stats.economics import columns as money

NAME = "profit"
NO_VALUE = "no column says what orders were worth"
LABEL: Text = {"en": "Profit", "zh-CN": "利润"}
EVERY_ORDER_REDEEMS: Text = {
    "en": "Every order of a variant is taken to redeem its offer: no column says which did (--redeemed).",
    "zh-CN": "假定各方案的每个订单都核销了优惠：没有列说明哪些核销了（--redeemed）。",
}
GIVEN_SHARE: Text = {
    "en": "{share:g} redemptions an order are taken for granted in every variant (--redeemed).",
    "zh-CN": "假定各方案每个订单核销 {share:g} 次（--redeemed）。",
}
ONE_WHERE_IT_COST: Text = {
    "en": "A unit whose redemptions cost something is taken to have redeemed once (--redeemed names a column).",
    "zh-CN": "核销成本大于零的单元按核销一次计（可用 --redeemed 指定列）。",
}
NO_COST: Text = {
    "en": "Nothing says what {variant} cost: none is counted (--redemption-cost, --contact-cost).",
    "zh-CN": "没有给出“{variant}”的成本：按无成本计（--redemption-cost、--contact-cost）。",
}
ONE_ORDER: Text = {
    "en": "Who bought is taken to have ordered once (--orders names a column).",
    "zh-CN": "有购买的单元按下单一次计（可用 --orders 指定列）。",
}
GIVEN_MARGIN: Text = {
    "en": "Margin is {what}, the same in every variant.",
    "zh-CN": "毛利按{what}计，各方案相同。",
}


@dataclass(frozen=True)
class FileMoney:
    """The money of a file's units, in columns of the rows."""

    table: Any
    """The rows with the columns that were added."""
    scans: dict[str, ColumnScan]
    spec: MetricSpec
    """The profit, for the scorecard."""
    columns: money.Columns
    has_value: bool
    """Whether the file says what orders were worth."""
    notes: tuple[Text, ...]
    """What was taken for granted."""

    @property
    def group(self) -> ColumnGroup:
        """The columns whose moments tell the economics."""
        c = self.columns
        names = (c.profit, c.redemption, c.contact, c.buyers, c.redemptions, c.orders, c.value, *c.covariates)
        return ColumnGroup(ECONOMICS, names)

    def told(self, found: Economics) -> Economics:
        """Return the economics with what was taken for granted, and without the worth of orders that nobody told."""
        notes = [*found.notes, *self.notes]
        if self.has_value:
            return replace(found, notes=notes)
        unknown = Figure(estimate=None, ci_low=None, ci_high=None, why=NO_VALUE)
        offers = [replace(offer, order_value=None, order_value_change=unknown) for offer in found.offers]
        return replace(found, notes=notes, control_order_value=None, offers=offers)


def file_money(
    file: FileTable,
    table: Any,
    scans: Mapping[str, ColumnScan],
    columns: Columns,
    options: AnalyzeOptions,
    covariates: tuple[str, ...],
    variant: str,
    variants: Sequence[str],
) -> FileMoney:
    """Return the money of every unit; a unit of which one of the named columns is not known counts in none of it.

    Args:
        file: for messages.
        table: rows of units.
        scans: of their numbers.
        columns: those that the options name.
        options: what an order earns, what offers cost.
        covariates: from before the test, by which profit is adjusted.
        variant: column with the variant.
        variants: control first.

    Raises:
        InputError: for amounts and columns that cannot be what they are named as.
    """
    return _Units(file, table, scans, columns, options, variant, variants).money(covariates)


@dataclass(frozen=True)
class _Units:
    file: FileTable
    table: Any
    scans: Mapping[str, ColumnScan]
    columns: Columns
    options: AnalyzeOptions
    variant: str
    variants: Sequence[str]

    def money(self, covariates: tuple[str, ...]) -> FileMoney:
        import ibis

        self._check()
        notes: list[Text] = []
        value = self._column("order_value")
        bought, orders = self._orders(value, notes)
        redemption, redemptions = self._redemptions(orders, notes)
        contact = self._cost("--contact-cost", self.columns.contact_cost, None)
        profit = self._column("profit")
        if profit is None:
            notes += self._without_cost()
            profit = self._margin(orders, value, notes) - redemption - contact
        used = [self.table[column] for column in self.columns.money_columns]
        known = ibis.and_(*(column.notnull() for column in (numeric(column) for column in used)))
        none = ibis.null("float64")
        zero = ibis.literal(0.0)
        made = {
            "profit": profit,
            "redemption": redemption,
            "contact": contact,
            "buyers": bought.cast("float64"),
            "redemptions": redemptions,
            "orders": orders,
            "value": zero if value is None else value,
        }
        names = dict(zip(made, unique_names([f"money {name}" for name in made], self.table.columns), strict=True))
        table = self.table.mutate(
            **{names[role]: ibis.ifelse(known, column.cast("float64"), none) for role, column in made.items()}
        )
        found = scan_columns(table.select(*names.values()), list(names.values()))
        scan = found[names["profit"]]
        if not scan.values:
            asked = ", ".join(f"--{role.replace('_', '-')}" for role in self.columns.money)
            raise InputError(f"{self.file.path}: no row has a value in every column of {asked}; fill them in")
        spec = MetricSpec(
            name=NAME,
            label=LABEL,
            kind="profit",
            value=names["profit"],
            covariates=covariates,
            unit="money",
            left_out={"missing": scan.missing} if scan.missing else {},
        )
        return FileMoney(
            table,
            {**self.scans, **found},
            spec,
            money.Columns(**names, covariates=covariates),
            value is not None,
            tuple(notes),
        )

    def _without_cost(self) -> list[Text]:
        """Say whose offer costs nothing because nobody said what it costs."""
        costs = (*self.columns.redemption_cost, *self.columns.contact_cost)
        if any(cost.variant is None for cost in costs):
            return []
        free = [variant for variant in self.variants[1:] if variant not in {cost.variant for cost in costs}]
        return [{lang: text.format(variant=variant) for lang, text in NO_COST.items()} for variant in free]

    def _check(self) -> None:
        for role, column in self.columns.money.items():
            lowest, largest = self.scans[column].minimum or 0.0, self.scans[column].maximum or 0.0
            where = f"{self.file.path}: column {column!r} (--{role.replace('_', '-')})"
            if lowest < 0 and role not in ("profit", "margin"):
                raise InputError(f"{where} goes down to {lowest:g}; give amounts and counts of 0 or more")
            if max(-lowest, largest) > LARGEST_AMOUNT:
                raise InputError(f"{where} goes from {lowest:g} to {largest:g}: no unit is worth so much")

    def _column(self, role: str) -> Any:
        name = self.columns.money.get(role)
        return None if name is None else numeric(self.table[name]).cast("float64")

    def _orders(self, value: Any, notes: list[Text]) -> tuple[Any, Any]:
        """Return who bought, and how often."""
        orders = self._column("orders")
        if orders is not None:
            return orders > 0, orders
        notes.append(ONE_ORDER)
        bought = self._column("margin") != 0 if value is None else value > 0
        return bought, bought.cast("float64")

    def _margin(self, orders: Any, value: Any, notes: list[Text]) -> Any:
        options = self.options
        given = self._column("margin")
        if given is not None:
            return given
        if options.margin_rate is not None:
            share = f"{100 * options.margin_rate:g}%"
            notes.append(_filled(GIVEN_MARGIN, {"en": f"{share} of an order's value", "zh-CN": f"订单金额的 {share} "}))
            return value * options.margin_rate
        each = options.value or 0.0
        notes.append(_filled(GIVEN_MARGIN, {"en": f"{each:g} an order", "zh-CN": f"每单 {each:g} "}))
        return orders * each

    def _redemptions(self, orders: Any, notes: list[Text]) -> tuple[Any, Any]:
        """Return what redemptions cost, and how many there were."""
        import ibis

        offered = self.table[self.variant] != self.variants[0]
        costs, counted = self.columns.redemption_cost, self._column("redeemed")
        share = self.columns.redeemed_share
        if counted is None and share is not None:
            notes.append({lang: text.format(share=share) for lang, text in GIVEN_SHARE.items()})
            counted = ibis.ifelse(offered, orders * share, 0.0)
        if counted is None and costs and all(cost.column is None for cost in costs):
            notes.append(EVERY_ORDER_REDEEMS)
            # An offer whose redemptions cost nothing is none that is redeemed.
            counted = ibis.ifelse(self._cost("--redemption-cost", costs, None) > 0, orders, 0.0)
        cost = self._cost("--redemption-cost", costs, ibis.literal(0.0) if counted is None else counted)
        if counted is None:
            if costs:
                notes.append(ONE_WHERE_IT_COST)
            counted = ibis.ifelse(cost > 0, 1.0, 0.0)
        return cost, counted

    def _cost(self, option: str, costs: Sequence[Cost], times: Any) -> Any:
        """Return what each unit cost: a column's amounts, or an amount for each variant, times how often."""
        import ibis

        by_column = [cost for cost in costs if cost.column is not None]
        if by_column:
            if len(costs) > 1:
                raise InputError(f"{option}: give one column, or amounts")
            return numeric(self.table[by_column[0].column]).cast("float64")
        amounts = dict.fromkeys(self.variants, 0.0)
        for cost in sorted(costs, key=lambda each: each.variant is not None):
            if not 0 <= cost.amount <= LARGEST_AMOUNT:
                raise InputError(f"{option} {cost.amount:g}: give an amount of 0 or more, such as 30")
            if cost.variant is None:
                amounts |= dict.fromkeys(self.variants[1:], cost.amount)
            elif cost.variant not in amounts:
                raise unknown_name("variant", cost.variant, list(self.variants), f"of {option}")
            else:
                amounts[cost.variant] = cost.amount
        arm = self.table[self.variant]
        dear = [(arm == variant, ibis.literal(amount)) for variant, amount in amounts.items() if amount]
        each = ibis.cases(*dear, else_=0.0) if dear else ibis.literal(0.0)
        return each if times is None else each * times


def _filled(form: Text, what: Text) -> Text:
    return {lang: text.format(what=what[lang]) for lang, text in form.items()}
