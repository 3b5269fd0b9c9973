"""``equipoise report KEY``: compute an experiment's report from the log, keep it, and show it."""

from __future__ import annotations

import time
from typing import Any

import click

from api.cli import UserError
from api.commands.analyze_ import show
from api.commands.options import report_options


@click.command(name="report")
@click.argument("key")
@click.option("--phase", type=click.IntRange(min=1), metavar="N", help="Which phase; by default the latest.")
@click.option("--stored", is_flag=True, help="Show the report that was kept last, without computing anew.")
@report_options
@click.pass_obj
def command(obj: dict[str, Any], key: str, phase: int | None, stored: bool, output: str, lang: str) -> None:
    """Compute, keep and show the report of the experiment KEY."""
    from api.commands.opening import opened
    from experiments.errors import InputError
    from experiments.report import archive
    from experiments.report.build import build_report

    if stored and phase is not None:
        raise UserError("--stored shows the report kept last, whatever its phase: leave out --phase")
    try:
        with opened(obj) as (store, _):
            now = time.time_ns() // 1000
            report = archive.latest(store, key) if stored else build_report(store, key, now, phase=phase)
            if report is not None and not stored and phase is None:
                archive.save(store, report, now=now)
    except InputError as error:
        raise UserError(str(error)) from error
    if report is None:
        raise UserError(f"no report of {key!r} was kept yet: run equipoise report {key}")
    show(report, output, lang)
