"""``equipoise clv FILE``: what members will still order and spend, from a file of orders."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import click

from api.cli import UserError
from api.commands.options import Share


@click.command(name="clv")
@click.argument("file", type=click.Path(readable=False))
@click.option("--unit", required=True, metavar="COL", help="Column of who ordered.")
@click.option("--at", required=True, metavar="COL", help="Column of when: a date, or a date and time.")
@click.option("--value", metavar="COL", help="Column of the order's money; without it orders only are foretold.")
@click.option(
    "--horizon", type=click.IntRange(1, 3650), default=90, show_default=True, metavar="DAYS", help="Days ahead."
)
@click.option("--until", metavar="DATE", help="Day of looking; by default that of the last order.")
@click.option("--margin", type=Share(), default="1", metavar="SHARE", help="Share of the money that is earned: 40%.")
@click.option("--discount", type=Share(), default="0", metavar="SHARE", help="Of money a year ahead: 10%.")
@click.option("--alpha", type=Share(), default="0.05", show_default=True, help="1 − confidence of the intervals.")
@click.option("--intervals/--no-intervals", default=None, help="An interval for each member; by default up to 100,000.")
@click.option(
    "--customers", type=click.Path(readable=False), metavar="OUT", help="Write a row a member: .csv, .parquet."
)
@click.option("--encoding", metavar="NAME", help="Text encoding; by default UTF-8 or GB18030, whichever fits.")
@click.option(
    "--output",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="How to print; csv is a row a member.",
)
@click.option("--lang", type=click.Choice(["en", "zh-CN"]), default="en", show_default=True, help="Language of texts.")
def command(
    file: str,
    unit: str,
    at: str,
    value: str | None,
    horizon: int,
    until: str | None,
    margin: float,
    discount: float,
    alpha: float,
    intervals: bool | None,
    customers: str | None,
    encoding: str | None,
    output: str,
    lang: str,
) -> None:
    r"""Foretell what members will still order, from FILE (CSV or Parquet) with one row an order.

    Fits how often members order and when they leave (BG/NBD) and what they spend (gamma–gamma), says what to expect
    of them within the horizon, and checks itself on the last days where there is history enough.

    \b
    Examples:
      equipoise clv orders.csv --unit member --at paid_at --value amount --horizon 90
      equipoise clv orders.csv --unit member --at paid_at --value amount --margin 40% --customers members.parquet
    """
    from api.commands.printing import print_document, writing
    from experiments.atomic import spare
    from experiments.clv.lifetime import LifetimeOptions, lifetime
    from experiments.clv.orders import OrderColumns, read_orders
    from experiments.clv.render import print_lifetime, render_customers_csv, render_json, write_customers
    from experiments.clv.words import TEXTS, say
    from experiments.errors import InputError
    from experiments.sources.file import printable

    options = LifetimeOptions(
        horizon_days=horizon,
        until=_day(until),
        margin=_within("--margin", margin, 0.0, 1.0),
        discount=_within("--discount", discount, 0.0, 10.0),
        alpha=_within("--alpha", alpha, 0.001, 0.5),
        intervals=intervals,
    )
    try:
        if customers is not None:
            spare(Path(customers), "--customers", file=file)
        orders = read_orders(file, OrderColumns(unit, at, value), encoding=encoding)
        document, members = lifetime(orders, options, printable(file))
        if customers is not None:
            write_customers(members, Path(customers))
    except InputError as error:
        raise UserError(str(error)) from error
    if output == "json":
        print_document(render_json(document))
    elif output == "csv":
        print_document(render_customers_csv(members))
    else:
        with writing():
            print_lifetime(document, lang)
            if customers is not None:
                click.echo(say(TEXTS, "written", lang, members=document.members, path=customers))


def _within(option: str, value: float, low: float, high: float) -> float:
    if not low <= value <= high:
        raise UserError(f"{option} {value:g}: write a number from {low:g} to {high:g}")
    return value


def _day(text: str | None) -> dt.date | None:
    if text is None:
        return None
    try:
        return dt.date.fromisoformat(text.strip())
    except ValueError:
        raise UserError(f"--until {text!r} is not a date; write 2026-03-01") from None
