"""``equipoise preview``: what an experiment would do, before it is launched."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from api.cli import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from experiments.preview import Cost, Preview


@click.command()
@click.argument("key", metavar="EXPERIMENT")
@click.option(
    "--members", default="stored", show_default=True, metavar="FILE|stored", help="CSV or Parquet of members."
)
@click.option("--unit", metavar="COLUMN", help="Column of the member id in FILE; default the first.")
@click.option("--by", metavar="ATTRIBUTE", help="Attribute of the columns; default stage, else the first breakdown.")
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_obj
def command(obj: dict[str, Any], key: str, members: str, unit: str | None, by: str | None, output: str) -> None:
    """Check EXPERIMENT before launch: counts by variant and stage, cost, overlap with running tests.

    Members come from a CSV or Parquet FILE with a column for each attribute, or from the stored members. What a file
    does not say of a stored member counts as it is stored.
    """
    from api.commands.opening import opened
    from experiments.errors import InputError, unknown_name
    from experiments.keeping.repository import Repository
    from experiments.preview import preview
    from experiments.preview_members import from_file, stored, with_stored

    try:
        with opened(obj) as (store, _):
            repository = Repository(store)
            project = repository.project()
            if by is not None and by not in project.attributes:
                raise unknown_name("attribute", by, sorted(project.attributes), "in the project")
            unit_type = repository.experiment(key).definition.unit_type
            if members == "stored":
                units = stored(store, unit_type)
            else:
                units = with_stored(store, unit_type, from_file(Path(members), project, unit))
            result = preview(repository, key, units, time.time_ns() // 1000, by=by)
    except InputError as error:
        raise UserError(str(error)) from error
    if members == "stored" and result.members == 0:
        raise UserError("no members are stored; import them first, or give --members FILE")
    if output == "json":
        click.echo(json.dumps(as_json(result), ensure_ascii=False, indent=2))
    else:
        _print(result)


def as_json(result: Preview) -> dict[str, Any]:
    """Return a preview as JSON data: money as decimal text."""
    from dataclasses import asdict

    data = asdict(result)
    for cost in data["costs"]:
        for name in ("each", "liability", "contact"):
            cost[name] = money(cost.pop(f"{name}_minor"), result.currency)
    data["liability"] = money(result.liability_minor, result.currency)
    data["contact"] = money(result.contact_minor, result.currency)
    return data


def money(minor: Any, currency: str) -> str | None:
    """Return minor units, whole or not, as decimal text rounded to the currency.

    >>> from fractions import Fraction
    >>> money(2050, "CNY"), money(Fraction(9, 2), "CNY"), money(None, "CNY")
    ('20.50', '0.05', None)
    """
    from experiments.definitions.money import from_minor

    return None if minor is None else from_minor((2 * minor + 1).__floor__() // 2, currency)


def _print(result: Preview) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    console.print(f"{result.members:,} members, {result.enrolled:,} would be enrolled\n", markup=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("variant")
    levels = [level for level in result.levels if level] if result.by else []
    for name in [*levels, "all"]:
        table.add_column(_plain(name), justify="right")
    for variant, row in result.counts.items():
        cells = [f"{row.get(level, 0):,}" for level in levels]
        table.add_row(_plain(variant), *cells, f"{sum(row.values()):,}")
    console.print(table)
    if result.left_out or result.unusable:
        _left_out(console, result)
    _costs(console, result)
    for overlap in result.overlaps:
        apart = "same layer" if overlap.same_layer else "no common layer"
        text = f"with {overlap.experiment} ({overlap.state}, {apart}): {overlap.both:,} in both, {overlap.share:.1%}"
        console.print(f"Overlap {text}", markup=False, soft_wrap=True)
    console.print("\nSample", markup=False, soft_wrap=True)
    rows = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    for line in result.sample:
        rows.add_row(_plain(line["unit"]), _plain(line["variant"] or "–"), line["reason"], _plain(line["level"]))
    console.print(rows)
    for warning in result.warnings:
        console.print(f"Note: {warning}", markup=False, soft_wrap=True)


def _plain(text: str) -> str:
    """Return text that the terminal shows as it is: no markup, no control characters."""
    from rich.markup import escape

    return escape("".join(letter if letter.isprintable() else "�" for letter in text))


def _left_out(console: Console, result: Preview) -> None:
    from allocation.decision import REASONS

    console.print("\nWould get nothing", markup=False, soft_wrap=True)
    for reason, count in result.left_out.items():
        detail = ""
        if reason == "missing_attribute":
            detail = f" ({', '.join(f'{name}: {number:,}' for name, number in result.missing.items())})"
        console.print(f"  {count:>9,}  {reason}{detail}: {REASONS[reason]}", markup=False, soft_wrap=True)
    if result.unusable:
        console.print(f"  {result.unusable:>9,}  rows without a usable member id", markup=False, soft_wrap=True)


def _costs(console: Console, result: Preview) -> None:
    from rich.table import Table

    if not any(cost.offer for cost in result.costs):
        return
    console.print(f"\nCost, {result.currency}", markup=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("variant", "offer", "each", "at most, all redeemed", "contacts"):
        table.add_column(name, justify="left" if name in {"variant", "offer"} else "right")
    for cost in result.costs:
        each, liability = (money(value, result.currency) for value in (cost.each_minor, cost.liability_minor))
        contact = money(cost.contact_minor, result.currency)
        table.add_row(
            _plain(cost.variant), cost.offer or "–", each or _each(cost), liability or _why(cost), contact or "?"
        )
    total = (money(result.liability_minor, result.currency), money(result.contact_minor, result.currency))
    table.add_row("all", "", "", total[0] or "", total[1] or "")
    console.print(table)


def _each(cost: Cost) -> str:
    """Return what stands for the cost of one offer where there is no one figure."""
    return "each own" if cost.offer is not None and cost.offer.startswith("by ") else "?"


def _why(cost: Cost) -> str:
    """Return why there is no liability figure, as short as a cell; notes below the table say it in full."""
    return "not known" if cost.contact_minor is None else cost.why or "?"
