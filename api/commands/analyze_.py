"""``equipoise analyze FILE``: a finished experiment from a CSV or Parquet file, with no server and no set-up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from api.cli import UserError
from api.commands.options import report_options

if TYPE_CHECKING:
    from experiments.report.document import Report


@click.command(name="analyze")
@click.argument("file", type=click.Path(readable=False))
@click.option("--variant", required=True, metavar="COL", help="Column with the variant.")
@click.option("--control", required=True, metavar="NAME", help="The variant that the others are compared with.")
@click.option("--metric", "metrics", multiple=True, metavar="COL", help="Column to compare; repeat for several.")
@click.option("--ratio", "ratios", multiple=True, metavar="NUM/DEN", help="Ratio of two columns' sums; repeatable.")
@click.option("--covariate", "covariates", multiple=True, metavar="COL", help="Column from before the test (CUPED).")
@click.option("--unit", metavar="COL", help="Column with the unit's id: finds repeats and units in two variants.")
@click.option("--split", metavar='"A=1,B=2"', help="Intended weights; equal by default.")
@click.option("--breakdown", "breakdowns", multiple=True, metavar="COL", help="Effects within each value of a column.")
@click.option("--alpha", type=float, default=0.05, show_default=True, help="1 − confidence level.")
@click.option("--encoding", metavar="NAME", help="Text encoding; by default UTF-8 or GB18030, whichever fits.")
@report_options
def command(
    file: str,
    variant: str,
    control: str,
    metrics: tuple[str, ...],
    ratios: tuple[str, ...],
    covariates: tuple[str, ...],
    unit: str | None,
    split: str | None,
    breakdowns: tuple[str, ...],
    alpha: float,
    encoding: str | None,
    output: str,
    lang: str,
) -> None:
    r"""Analyse a finished experiment from a CSV or Parquet FILE with one row per unit.

    \b
    Example:
      equipoise analyze orders.csv --variant group --control control --metric bought --metric spend
    """
    from experiments.analyze import AnalyzeOptions, analyze_file
    from experiments.errors import InputError

    options = AnalyzeOptions(
        variant=variant,
        control=control,
        metrics=metrics,
        ratios=ratios,
        covariates=covariates,
        unit=unit,
        split=split,
        breakdowns=breakdowns,
        alpha=alpha,
        encoding=encoding,
    )
    try:
        report = analyze_file(file, options)
    except InputError as error:
        raise UserError(str(error)) from error
    show(report, output, lang)


def show(report: Report, output: str, lang: str) -> None:
    """Print a report as table, json, csv or html."""
    from api.commands.printing import print_document, writing

    if output == "json":
        from experiments.report.render_json import render_json

        print_document(render_json(report))
    elif output == "csv":
        from experiments.report.render_csv import render_csv

        print_document(render_csv(report))
    elif output == "html":
        from api.web.pages import render_report

        print_document(render_report(report, lang, standalone=True) + "\n")
    else:
        from experiments.report.render_table import print_report

        with writing():
            print_report(report, lang=lang)
