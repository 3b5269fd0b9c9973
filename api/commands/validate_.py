"""``equipoise validate FILE``: do the methods keep their promises on your own data?"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from api.cli import UserError


@click.command(name="validate")
@click.argument("file", type=click.Path(readable=False))
@click.option("--metric", "metrics", multiple=True, metavar="COL", help="Column to compare; repeat for several.")
@click.option("--ratio", "ratios", multiple=True, metavar="NUM/DEN", help="Ratio of two columns' sums; repeatable.")
@click.option("--covariate", "covariates", multiple=True, metavar="COL", help="Column from before the test (CUPED).")
@click.option("--unit", metavar="COL", help="Column with the unit's id: of repeated rows the first counts.")
@click.option("--cluster", metavar="COL", help="Randomise these groups of units, not units.")
@click.option("--strata", metavar="COL", help="Column to post-stratify by.")
@click.option("--variants", type=int, default=2, show_default=True, help="How many variants, control included.")
@click.option("--split", metavar='"A=1,B=2"', help="Names and weights, control first; equal by default.")
@click.option("--effect", metavar="PERCENT", help="Relative effect to be found, such as 5%: gives power.")
@click.option("--alpha", type=float, default=0.05, show_default=True, help="Level of every method.")
@click.option("--looks", type=int, default=10, show_default=True, help="Looks, after equal parts of the file.")
@click.option("--quantile", "quantiles", type=float, multiple=True, help="Quantile to compare.  [default: 0.5, 0.9]")
@click.option("--method", "methods", multiple=True, metavar="NAME", help="Try only this method; repeatable.")
@click.option("--simulations", type=int, default=2000, show_default=True, help="Simulated experiments.")
@click.option(
    "--row-simulations", type=int, default=200, show_default=True, help="Of these, for methods that need rows."
)
@click.option(
    "--max-units", type=click.IntRange(min=20), default=200_000, show_default=True, help="More are sampled at random."
)
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Same seed, same figures.")
@click.option("--processes", type=click.IntRange(min=1), help="Processes at work.  [default: one a processor]")
@click.option("--encoding", metavar="NAME", help="Text encoding; by default UTF-8 or GB18030, whichever fits.")
@click.option("--output", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
@click.option("--lang", type=click.Choice(["en", "zh-CN"]), default="en", show_default=True, help="Language of texts.")
def command(
    file: str,
    metrics: tuple[str, ...],
    ratios: tuple[str, ...],
    covariates: tuple[str, ...],
    unit: str | None,
    cluster: str | None,
    strata: str | None,
    variants: int,
    split: str | None,
    effect: str | None,
    alpha: float,
    looks: int,
    quantiles: tuple[float, ...],
    methods: tuple[str, ...],
    simulations: int,
    row_simulations: int,
    max_units: int,
    seed: int,
    processes: int | None,
    encoding: str | None,
    output: str,
    lang: str,
) -> None:
    r"""Simulate A/A tests and power on the units of a CSV or Parquet FILE with one row per unit.

    \b
    Example:
      equipoise validate orders.csv --metric bought --metric spend --covariate past_spend --effect 5%
    """
    from experiments.errors import InputError
    from experiments.validate import DEFAULT_QUANTILES, ValidateOptions, validate_file

    options = ValidateOptions(
        metrics=tuple(dict.fromkeys(metrics)),
        ratios=tuple(dict.fromkeys(ratios)),
        covariates=covariates,
        unit=unit,
        cluster=cluster,
        strata=strata,
        variants=variants,
        split=split,
        effect=_share(effect),
        alpha=alpha,
        looks=looks,
        quantiles=quantiles or DEFAULT_QUANTILES,
        methods=methods,
        simulations=simulations,
        row_simulations=row_simulations,
        max_units=max_units,
        seed=seed,
        processes=processes or _processors(),
        encoding=encoding,
    )
    try:
        with _progress(simulations) as progress:
            found = validate_file(file, options, progress=progress)
    except InputError as error:
        raise UserError(str(error)) from error

    from api.commands.printing import print_document, writing
    from experiments.report.render_validation import print_validation, render_validation_csv, render_validation_json

    if output == "json":
        print_document(render_validation_json(found))
    elif output == "csv":
        print_document(render_validation_csv(found))
    else:
        with writing():
            print_validation(found, lang=lang)


def _share(text: str | None) -> float:
    if text is None:
        return 0.0
    try:
        return float(text.strip().removesuffix("%")) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        raise UserError(f"--effect {text!r} is no number; write 5% or 0.05") from None


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def _progress(simulations: int) -> Iterator[Callable[[int], None] | None]:
    """Show a bar where somebody watches; what is piped stays clean."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("experiments", total=simulations)
        yield lambda done: bar.advance(task, done)
