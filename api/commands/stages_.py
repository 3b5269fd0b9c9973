"""``equipoise stages``: lifecycle stages from orders, in the service or from a file, and who moves between them."""

from __future__ import annotations

import csv
import io
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from api.cli import UserError
from api.commands.printing import print_document, writing

if TYPE_CHECKING:
    from experiments.stages.document import StagesDocument

_days = click.IntRange(min=1, max=3_650)
_output = click.option(
    "--output", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True, help="How to print it."
)
_lang = click.option(
    "--lang", type=click.Choice(["en", "zh-CN"]), default="en", show_default=True, help="Language of names."
)
_THRESHOLDS = (
    click.option("--new-days", type=_days, help="New for so many days after the first order.  [default: 30]"),
    click.option("--quiet-days", type=_days, help="Dormant from so many days without an order on.  [default: 30]"),
    click.option("--lost-days", type=_days, help="Churned from so many days without an order on.  [default: 60]"),
    click.option("--loyal-orders", type=_days, help="Loyal from so many orders in 180 days on.  [default: 5]"),
    click.option("--login", metavar="EVENT", help="The event that is a login."),
    click.option("--login-days", type=_days, help="Gone from so many days without a login on.  [default: 90]"),
)


def _thresholds(command: Any) -> Any:
    for option in reversed(_THRESHOLDS):
        command = option(command)
    return command


@click.group()
def command() -> None:
    """Compute lifecycle stages from orders, and see who moves between them.

    Stages, their order and every threshold are a definition: see docs/stages.md.
    """


@command.command()
@click.argument("name", required=False)
@click.option("--key", default="lifecycle", show_default=True, help="Key of the rule.")
@_thresholds
def presets(name: str | None, key: str, **given: Any) -> None:
    """List the presets, or write the one called NAME as YAML, to be changed and applied."""
    from experiments.errors import InputError
    from experiments.keeping.exporting import to_yaml
    from experiments.stages.presets import PRESETS, preset, thresholds_of

    with writing():
        if name is None:
            width = max(map(len, PRESETS))
            for each, said in PRESETS.items():
                click.echo(f"{each:<{width}}  {said['en']} ({said['zh-CN']})")
            return
        try:
            text = to_yaml(preset(name, thresholds_of(**given), key=key))
        except InputError as error:
            raise UserError(str(error)) from error
    print_document(text)


@command.command()
@click.argument("key", required=False)
@click.option(
    "--as-of", metavar="TIME", help="As of this time, such as 2026-03-03T09:00; default now, needed with --orders."
)
@click.option("--weeks", type=click.IntRange(0, 104), help="First so many week ends before, if nothing was computed.")
@click.option(
    "--orders", type=click.Path(path_type=Path), metavar="FILE", help="Orders, one a row: CSV or Parquet; no service."
)
@click.option("--rule", type=click.Path(path_type=Path), metavar="FILE", help="With --orders: YAML with a stage rule.")
@click.option("--preset", "name", metavar="NAME", help="With --orders: a preset instead of a rule.")
@click.option("--unit", default="unit", show_default=True, metavar="COLUMN", help="With --orders: who ordered.")
@click.option("--at", default="at", show_default=True, metavar="COLUMN", help="With --orders: when.")
@click.option("--value", metavar="COLUMN", help="With --orders: for how much, in units of the currency.")
@click.option("--currency", default="CNY", show_default=True, help="With --orders.")
@click.option("--time-zone", "zone", default="UTC", show_default=True, help="With --orders: of times and days.")
@click.option("--encoding", help="With --orders: of a CSV; found out by default.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="With --orders: CSV to write.")
@_thresholds
@click.pass_obj
def compute(
    obj: dict[str, Any],
    /,
    key: str | None,
    as_of: str | None,
    weeks: int | None,
    orders: Path | None,
    rule: Path | None,
    name: str | None,
    unit: str,
    at: str,
    value: str | None,
    currency: str,
    zone: str,
    encoding: str | None,
    output: Path | None,
    **given: Any,
) -> None:
    """Compute the stages of the rule KEY and store them, or those of a file of --orders and write them."""
    from experiments.errors import InputError

    if (orders is None) == (key is None):
        raise UserError("name the KEY of a stage rule, or a file of --orders")
    if orders is None and (rule or name or output or value):
        raise UserError("--rule, --preset, --value and --output belong to --orders: add it, or leave them out")
    if orders is not None:
        if weeks:
            raise UserError("--weeks belongs to the KEY of a stage rule, not to --orders: leave it out")
        if (rule is None) == (name is None):
            raise UserError("--orders needs one of --rule FILE and --preset NAME")
        if as_of is None:
            raise UserError("--orders needs --as-of TIME, the moment as of which members are looked at")
    try:
        if orders is None or as_of is None:
            _compute_stored(obj, str(key), as_of, weeks or 0)
            return
        from experiments.atomic import spare
        from experiments.stages.from_file import OrderColumns, compute_file, rule_of
        from experiments.stages.presets import thresholds_of

        if output is not None:
            spare(output, "--output", file=orders)
        chosen = rule_of(rule, name, thresholds_of(**given), currency, zone)
        counts, rows = compute_file(
            orders, OrderColumns(unit, at, value), chosen,
            as_of=as_of, zone=zone, currency=currency, target=output, encoding=encoding,
        )  # fmt: skip
    except InputError as error:
        raise UserError(str(error)) from error
    if output is None:
        print_document(_csv(rows))
        return
    said = {stage.stage: stage.stage for stage in chosen.stages} | {"": "no stage"}
    with writing():
        for stage, units in sorted(counts.items(), key=lambda item: list(said).index(item[0])):
            click.echo(f"{said[stage]:<20} {units:>10,}")
        click.echo(f"Wrote {output}.", err=True)


def _compute_stored(obj: dict[str, Any], key: str, as_of: str | None, weeks: int) -> None:
    from api.commands.opening import opened
    from experiments.importing.values import CellError, time_reader, time_zone
    from experiments.keeping.repository import Repository
    from experiments.stages.computing import compute as compute_stages
    from experiments.stages.showing import stages_document

    with opened(obj) as (store, _):
        now = time.time_ns() // 1000
        if as_of is not None:
            try:
                now = time_reader(time_zone(Repository(store).project().time_zone))(as_of)
            except CellError as error:
                raise UserError(f"--as-of: {error}") from None
        compute_stages(store, key, now, weeks=weeks)
        document = stages_document(store, key, weeks=1)
    _show_counts(document, "en")


@command.command()
@click.argument("key")
@click.option("--unit", metavar="ID", help="The history of one member instead.")
@_output
@_lang
@click.pass_obj
def show(obj: dict[str, Any], key: str, unit: str | None, output: str, lang: str) -> None:
    """Show how many members are in each stage of the rule KEY, as computed last, and who came and went this week."""
    document = _document(obj, key, 1)
    if unit is not None:
        _show_history(obj, document, unit, output, lang)
        return
    if output == "json":
        _print_json(document)
    elif output == "csv":
        header = ("stage", "name", "units", "share", "entered", "left")
        rows = [
            (s.stage or "", _said(s.name, lang), s.units, _share(s.share), s.entered, s.left) for s in document.stages
        ]
        print_document(_csv([header, *rows]))
    else:
        _show_counts(document, lang)


@command.command()
@click.argument("key")
@click.option("--weeks", type=click.IntRange(1, 104), default=8, show_default=True, help="How many of them.")
@_output
@_lang
@click.pass_obj
def transitions(obj: dict[str, Any], key: str, weeks: int, output: str, lang: str) -> None:
    """Show who moved from which stage to which in each week, by the rule KEY."""
    document = _document(obj, key, weeks)
    if output == "json":
        _print_json(document)
        return
    names = {stage.stage: _said(stage.name, lang) or stage.stage or "-" for stage in document.stages}
    rows: list[tuple[Any, ...]] = [
        (week.week, move.before or "", move.after or "", move.units)
        for week in document.weeks
        for move in week.moves or []
    ]
    if output == "csv":
        print_document(_csv([("week", "from", "to", "units"), *rows]))
        return
    with writing():
        for week in document.weeks:
            changed = "; the rule changed" if week.rule_changed else ""
            click.echo(f"Week of {week.week} (as of {week.as_of}{changed})")
            moved = [move for move in week.moves or [] if move.before != move.after]
            if week.moves is None:
                click.echo("  nothing was computed before it")
            for move in sorted(moved, key=lambda move: -move.units):
                before, after = (names.get(stage, stage or "-") for stage in (move.before, move.after))
                click.echo(f"  {before} → {after}  {move.units:,}")
            if week.moves is not None and not moved:
                click.echo("  nobody moved")


def _document(obj: dict[str, Any], key: str, weeks: int) -> StagesDocument:
    from api.commands.opening import opened
    from experiments.errors import InputError
    from experiments.stages.showing import stages_document

    try:
        with opened(obj) as (store, _):
            return stages_document(store, key, weeks=weeks)
    except InputError as error:
        raise UserError(str(error)) from error


def _show_history(obj: dict[str, Any], document: StagesDocument, unit: str, output: str, lang: str) -> None:
    import json

    from api.commands.opening import opened
    from experiments.measure.days import moment_text
    from experiments.stages import runs

    with opened(obj) as (store, _), store.read() as connection:
        found = runs.history_of(connection, document.rule, unit)
    if not found:
        raise UserError(f"stage rule {document.rule} has never found this member in a stage")
    rows = [(moment_text(at), stage or "", revision) for at, stage, revision in found]
    if output == "json":
        names = ("since", "stage", "revision")
        print_document(json.dumps([dict(zip(names, row, strict=True)) for row in rows], indent=2) + "\n")
    elif output == "csv":
        print_document(_csv([("since", "stage", "revision"), *rows]))
    else:
        names_of = {stage.stage: _said(stage.name, lang) for stage in document.stages}
        with writing():
            for at, stage, revision in rows:
                said = names_of.get(stage or None) or stage or "no stage"
                click.echo(f"since {at}  {said}  (revision {revision} of the rule)")


def _show_counts(document: StagesDocument, lang: str) -> None:
    with writing():
        if document.as_of is None:
            click.echo(
                f"The stages of {document.rule} were never computed: run equipoise stages compute {document.rule}"
            )
            return
        click.echo(f"{_said(document.name, lang) or document.rule}, as of {document.as_of}")
        rows = [("STAGE", "UNITS", "SHARE", "IN", "OUT")]
        for each in document.stages:
            share = "-" if each.share is None else f"{each.share:.1%}"
            entered, left = ("-" if moved is None else f"{moved:,}" for moved in (each.entered, each.left))
            rows.append((_said(each.name, lang) or each.stage or "no stage", f"{each.units:,}", share, entered, left))
        for row in rows:
            click.echo(f"{row[0]:<24}{row[1]:>12}{row[2]:>9}{row[3]:>9}{row[4]:>9}")
        for note in document.notes:
            click.echo(f"Note: {note}")


def _said(name: dict[str, str], lang: str) -> str:
    return name.get(lang) or next(iter(name.values()), "")


def _share(share: float | None) -> str:
    return "" if share is None else f"{share:.6f}"


def _csv(rows: list[tuple[Any, ...]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def _print_json(document: StagesDocument) -> None:
    import msgspec

    print_document(msgspec.json.format(msgspec.json.encode(document)).decode() + "\n")
