"""``equipoise analyze FILE``: a finished experiment from a CSV or Parquet file, with no server and no set-up."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from api.cli import UserError
from api.commands.analyze_options import Sectioned, analyze_options
from api.commands.options import report_options

if TYPE_CHECKING:
    from experiments.analyze_summaries import SummaryOptions
    from experiments.report.document import Report


@click.command(name="analyze", cls=Sectioned)
@click.argument("file", type=click.Path(readable=False))
@analyze_options
@report_options
def command(
    file: str,
    summary: bool,
    columns: tuple[str, ...],
    experiment: str | None,
    output: str,
    lang: str,
    **asked: Any,
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

    for name in ("inference", "multiplicity"):
        asked[name] = asked[name] and asked[name].replace("-", "_")
    shared = {name: asked[name] for name in ("variant", "control", "metrics", "split", "alpha", "encoding")}
    chosen = SummaryChoice(file, columns=columns, experiment=experiment, **shared)
    rows_only = [name for name, given in asked.items() if name not in shared and given and given != "fixed"]
    if summary and rows_only:
        names = ", ".join(_written(name) for name in rows_only)
        raise click.UsageError(f"{names} need{'s' if len(rows_only) == 1 else ''} rows of units, not --summary")
    no_units = not rows_only and (not asked["metrics"] or asked["variant"] is None)
    if summary or columns or experiment or (no_units and chosen.plain()):
        show_summaries(chosen, output, lang)
        return
    if not asked["factors"]:
        for name in ("variant", "control"):
            if asked[name] is None:
                raise click.UsageError(f"Missing option '--{name}'.")
    try:
        report = analyze_file(file, AnalyzeOptions(**asked))
    except InputError as error:
        raise UserError(str(error)) from error
    show(report, output, lang)


def _written(name: str) -> str:
    """Return how an option is written."""
    return next(p.opts[0] for p in command.params if p.name == name)


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
    elif output in ("csv", "csv-details"):
        print_document(render_replay_csv(found.replay))
    else:
        with writing():
            print_replay(found.replay, lang=lang)


def show(report: Report, output: str, lang: str) -> None:
    """Print a report as table, json, csv, csv-details or html."""
    from api.commands.printing import print_document, writing

    if output == "json":
        from experiments.report.render_json import render_json

        print_document(render_json(report))
    elif output == "csv":
        from experiments.report.render_csv import render_csv

        print_document(render_csv(report))
    elif output == "csv-details":
        from experiments.report.render_rows import render_rows_csv

        print_document(render_rows_csv(report))
    elif output == "html":
        from api.web.pages import render_report

        print_document(render_report(report, lang, standalone=True) + "\n")
    else:
        from experiments.report.render_table import print_report

        with writing():
            print_report(report, lang=lang)
