"""``equipoise programme``: what the whole programme returns, from the members it is kept from."""

from __future__ import annotations

import time
from typing import Any

import click

from api.cli import UserError
from api.commands.options import Share


@click.group(name="programme", invoke_without_command=True)
@click.option("--holdout", metavar="KEY", help="Which holdout; by default each.")
@click.option("--metric", metavar="KEY", help="Profit metric to count by; needed where there are several.")
@click.option("--days", type=click.IntRange(1, 3650), help="After a member's first decision; by default until now.")
@click.option("--fixed-cost", type=float, default=0.0, metavar="MONEY", help="Of the programme: staff, platform.")
@click.option("--difference", type=float, metavar="MONEY", help="Profit a member that a holdout is to be sized for.")
@click.option("--alpha", type=Share(), default="0.05", show_default=True, help="1 − confidence of the intervals.")
@click.option("--output", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
@click.option("--lang", type=click.Choice(["en", "zh-CN"]), default="en", show_default=True, help="Language of texts.")
@click.pass_context
def command(
    ctx: click.Context,
    holdout: str | None,
    metric: str | None,
    days: int | None,
    fixed_cost: float,
    difference: float | None,
    alpha: float,
    output: str,
    lang: str,
) -> None:
    r"""Show what the whole programme earned against the members of its holdouts (全局对照组).

    \b
    Examples:
      equipoise programme
      equipoise programme --days 90 --fixed-cost 20000 --output json
      equipoise programme surrogate dormant-winback --long profit
    """
    if ctx.invoked_subcommand is not None:
        return
    import math

    from api.commands.opening import opened
    from api.commands.printing import print_document, writing
    from experiments.errors import InputError
    from experiments.programme.asking import ProgrammeOptions
    from experiments.programme.build import build_programme
    from experiments.programme.render import print_programme, render_csv, render_json

    if not 0.001 <= alpha <= 0.5:
        raise UserError(f"--alpha {alpha:g}: write a number from 0.001 to 0.5")
    for name, value in (("--fixed-cost", fixed_cost), ("--difference", difference or 0.0)):
        if not math.isfinite(value) or abs(value) > 1e12:
            raise UserError(f"{name} {value:g}: write an amount of money")
    if difference == 0:
        raise UserError("--difference 0: no holdout is large enough for a difference of nothing")
    options = ProgrammeOptions(holdout, metric, days, fixed_cost, difference, alpha)
    try:
        with opened(ctx.obj) as (store, _):
            found = build_programme(store, options, time.time_ns() // 1000)
    except InputError as error:
        raise UserError(str(error)) from error
    if output == "json":
        print_document(render_json(found))
    elif output == "csv":
        print_document(render_csv(found))
    else:
        with writing():
            print_programme(found, lang)


@command.command(name="surrogate")
@click.argument("experiment")
@click.option("--long", required=True, metavar="KEY", help="Metric whose effect is foretold.")
@click.option("--early", multiple=True, metavar="KEY", help="Metric it is foretold from; by default all that suit.")
@click.option("--early-days", type=click.IntRange(1, 365), default=14, show_default=True, help="Of the early outcomes.")
@click.option("--long-days", type=click.IntRange(2, 3650), default=90, show_default=True, help="Of the long one.")
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--lang", type=click.Choice(["en", "zh-CN"]), default="en", show_default=True, help="Language of texts.")
@click.pass_obj
def surrogate(
    obj: dict[str, Any],
    experiment: str,
    long: str,
    early: tuple[str, ...],
    early_days: int,
    long_days: int,
    output: str,
    lang: str,
) -> None:
    """Foretell an effect months away from EXPERIMENT's first days, by an index checked on past experiments."""
    from api.commands.opening import opened
    from api.commands.printing import print_document, writing
    from experiments.errors import InputError
    from experiments.programme.surrogate import build_surrogate
    from experiments.programme.surrogate_asking import SurrogateOptions
    from experiments.programme.surrogate_render import print_surrogate, render_surrogate_json

    options = SurrogateOptions(experiment, long, early, early_days, long_days)
    try:
        with opened(obj) as (store, _):
            found = build_surrogate(store, options, time.time_ns() // 1000)
    except InputError as error:
        raise UserError(str(error)) from error
    if output == "json":
        print_document(render_surrogate_json(found))
    else:
        with writing():
            print_surrogate(found, lang)
