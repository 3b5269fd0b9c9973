"""``equipoise analyze FILE``: a finished experiment from a CSV or Parquet file, with no server and no set-up."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from api.cli import UserError
from api.commands.options import report_options

if TYPE_CHECKING:
    from experiments.analyze_summaries import SummaryOptions
    from experiments.report.document import Report


@click.command(name="analyze")
@click.argument("file", type=click.Path(readable=False))
@click.option("--variant", metavar="COL", help="Column with the variant.")
@click.option("--control", metavar="NAME", help="The variant that the others are compared with.")
@click.option("--metric", "metrics", multiple=True, metavar="COL", help="Column to compare; repeat for several.")
@click.option("--ratio", "ratios", multiple=True, metavar="NUM/DEN", help="Ratio of two columns' sums; repeatable.")
@click.option("--covariate", "covariates", multiple=True, metavar="COL", help="Column from before the test (CUPED).")
@click.option("--unit", metavar="COL", help="Column with the unit's id: finds repeats and units in two variants.")
@click.option("--split", metavar='"A=1,B=2"', help="Intended weights; equal by default.")
@click.option("--breakdown", "breakdowns", multiple=True, metavar="COL", help="Effects within each value of a column.")
@click.option("--alpha", type=float, default=0.05, show_default=True, help="1 − confidence level.")
@click.option("--encoding", metavar="NAME", help="Text encoding; by default UTF-8 or GB18030, whichever fits.")
@click.option("--summary", is_flag=True, help="FILE holds counts, means and variances, not units; --metric names rows.")
@click.option("--column", "columns", multiple=True, metavar="ROLE=COL", help="With --summary: a column, as in n=users.")
@click.option("--experiment", metavar="NAME", help="With --summary: only this experiment of the file.")
@report_options
def command(
    file: str,
    variant: str | None,
    control: str | None,
    metrics: tuple[str, ...],
    ratios: tuple[str, ...],
    covariates: tuple[str, ...],
    unit: str | None,
    split: str | None,
    breakdowns: tuple[str, ...],
    alpha: float,
    encoding: str | None,
    summary: bool,
    columns: tuple[str, ...],
    experiment: str | None,
    output: str,
    lang: str,
) -> None:
    r"""Analyse a finished experiment from a CSV or Parquet FILE with one row per unit.

    A file of counts, means and variances for each variant (and metric, and checkpoint) is taken too.

    \b
    Examples:
      equipoise analyze orders.csv --variant group --control control --metric bought --metric spend
      equipoise analyze totals.csv --control control
    """
    from experiments.analyze import AnalyzeOptions, analyze_file
    from experiments.errors import InputError

    chosen = SummaryChoice(file, variant, control, metrics, split, alpha, encoding, columns, experiment)
    unit_rows = bool(ratios or covariates or unit or breakdowns)
    if summary and unit_rows:
        raise click.UsageError("--ratio, --covariate, --unit and --breakdown need rows of units, not --summary")
    if summary or columns or experiment or (not unit_rows and (not metrics or variant is None) and chosen.plain()):
        show_summaries(chosen, output, lang)
        return
    if variant is None or control is None:
        raise click.UsageError(f"Missing option '--{'variant' if variant is None else 'control'}'.")
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


@dataclass(frozen=True)
class SummaryChoice:
    """What the options say of a file of summary statistics."""

    file: str
    variant: str | None
    control: str | None
    metrics: tuple[str, ...]
    split: str | None
    alpha: float
    encoding: str | None
    columns: tuple[str, ...]
    experiment: str | None

    def options(self) -> SummaryOptions:
        """Return the options as the analysis takes them."""
        from experiments.analyze_summaries import SummaryOptions

        named = {}
        for text in self.columns:
            role, equals, column = text.partition("=")
            if not equals or not role.strip() or not column.strip():
                raise UserError(f"--column {text!r} is not ROLE=COLUMN; write n=users")
            named[role.strip()] = column.strip()
        if self.variant is not None:
            named.setdefault("variant", self.variant)
        return SummaryOptions(
            control=self.control,
            metrics=self.metrics,
            experiment=self.experiment,
            columns=named,
            split=self.split,
            alpha=self.alpha,
            encoding=self.encoding,
        )

    def plain(self) -> bool:
        """Return whether the file is plainly one of summary statistics; a pipe, read once only, is not looked into."""
        from experiments.analyze_summaries import looks_like_summaries
        from experiments.errors import InputError

        try:
            return Path(self.file).is_file() and looks_like_summaries(self.file, self.options())
        except InputError:
            return False  # the analysis says better what is wrong


def show_summaries(chosen: SummaryChoice, output: str, lang: str) -> None:
    """Analyse and print a file of summary statistics: one experiment as its report, several as what they replay to."""
    from api.commands.printing import print_document, writing
    from experiments.analyze_summaries import analyze_summaries
    from experiments.errors import InputError
    from experiments.report.render_replay import print_replay, render_replay_csv, render_summaries_json

    try:
        found = analyze_summaries(chosen.file, chosen.options())
    except InputError as error:
        raise UserError(str(error)) from error
    if len(found.reports) == 1:
        show(found.reports[0], output, lang)
    elif output == "json":
        print_document(render_summaries_json(found))
    elif output == "html":
        raise UserError(f"{chosen.file} has {len(found.reports)} experiments: name one with --experiment for a page")
    elif found.replay is None:
        for report in found.reports:
            show(report, output, lang)
    elif output == "csv":
        print_document(render_replay_csv(found.replay))
    else:
        with writing():
            print_replay(found.replay, lang=lang)


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
