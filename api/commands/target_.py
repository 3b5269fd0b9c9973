"""``equipoise target``: who of these members gets which offer within a budget."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from api.cli import UserError
from api.commands.analyze_options import InSection, Sectioned
from api.commands.learned_options import file_options, given, learned_options

if TYPE_CHECKING:
    from experiments.targeting.document import Audience
    from experiments.targeting.request import Limits, TargetRequest

MEMBERS, LIMITS, LEARNED, NEXT = "Members", "Limits", "Learned from a file", "What comes next"


@click.command(name="target", cls=Sectioned)
@click.argument("experiment", required=False)
@click.option(
    "--list",
    "listed",
    cls=InSection,
    section=MEMBERS,
    type=click.Path(readable=False),
    metavar="FILE",
    help="Members to choose among; by default the stored members in the experiment's audience.",
)
@click.option("--unit-column", cls=InSection, section=MEMBERS, metavar="COL", help="Column of their ids.")
@click.option("--encoding", cls=InSection, section=MEMBERS, metavar="NAME", help="Of text; found out by default.")
@click.option(
    "--as-of",
    cls=InSection,
    section=MEMBERS,
    metavar="TIME",
    help="When members are described, ISO 8601 with zone; by default the beginning of this hour.",
)
@click.option(
    "--budget", cls=InSection, section=LIMITS, metavar="5000", help="What may be spent; by default what pays."
)
@click.option(
    "--budget-basis",
    cls=InSection,
    section=LIMITS,
    type=click.Choice(["liability", "expected"]),
    default="liability",
    show_default=True,
    help="What counts: every coupon redeemed, or as many as expected.",
)
@click.option("--stock", cls=InSection, section=LIMITS, multiple=True, metavar="a=1000", help="Pieces of an offer.")
@click.option(
    "--floor",
    "floors",
    cls=InSection,
    section=LIMITS,
    multiple=True,
    metavar="tier=gold:100",
    help="At least so many of a group get an offer; tier=gold:100:a for one offer.",
)
@click.option(
    "--explore",
    cls=InSection,
    section=LIMITS,
    type=float,
    default=0.0,
    metavar="0.05",
    help="Share drawn at random whatever the model says, 0.05 or more.",
)
@click.option(
    "--recommendation",
    cls=InSection,
    section=LIMITS,
    type=click.IntRange(1),
    metavar="N",
    help="Which of the experiment's recommendations; the latest by default.",
)
@click.option("--output", "-o", type=click.Path(readable=False), metavar="FILE", help="Audience: .csv or .parquet.")
@click.option(
    "--document",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="How to print what was chosen.",
)
@click.option("--lang", type=click.Choice(["en", "zh-CN"]), default="en", show_default=True, help="Of the sentences.")
@click.option("--save-segment", cls=InSection, section=NEXT, metavar="KEY", help="Save the recommendation's rule.")
@click.option("--draft", cls=InSection, section=NEXT, metavar="KEY", help="Draft the experiment that tests it.")
@click.option(
    "--actor",
    cls=InSection,
    section=NEXT,
    default="cli",
    show_default=True,
    envvar="EQUIPOISE_ACTOR",
    help="Who does it, for the audit.",
)
@click.option(
    "--from",
    "source",
    cls=InSection,
    section=LEARNED,
    type=click.Path(readable=False),
    metavar="FILE",
    help="A randomised file in place of EXPERIMENT; the options below are those of equipoise uplift.",
)
@learned_options(LEARNED)
@click.pass_context
def command(
    ctx: click.Context, /, experiment: str | None, source: str | None, listed: str | None, output: str | None,
    document: str, lang: str, save_segment: str | None, draft: str | None, actor: str, **asked: Any,
) -> None:  # fmt: skip
    r"""Choose who of a list gets which offer within a budget, by what EXPERIMENT's recommendation learned.

    The file has a row for each member: the offer in the column recommended_offer, what it is expected to earn and cost,
    and why. Members who opted out of personalisation, and those in a holdout, are given nothing.

    \b
    Examples:
      equipoise target dormant-winback --list members.csv --budget 5000 -o audience.csv
      equipoise target dormant-winback --budget 5000 --stock a=1000 --floor tier=gold:100 -o audience.parquet
      equipoise target dormant-winback --draft winback-policy-test
    """  # fmt: skip
    with _said():
        if (experiment is None) == (source is None):
            raise click.UsageError("name an EXPERIMENT, or a file to learn --from")
        limits = _limits(asked)
        if source is not None:
            if listed is None or output is None:
                raise click.UsageError("--from goes with --list FILE and --output FILE")
            if save_segment or draft:
                raise click.UsageError("--save-segment and --draft are of an EXPERIMENT")
            made = _from_file(Path(source), Path(listed), limits, Path(output), asked)
            _show(made, document, lang, output)
            return
        _check_learned(asked)
        assert experiment is not None  # noqa: S101 - one of the two is given
        _of_experiment(ctx.obj, experiment, listed, output, limits, asked, (save_segment, draft, actor), document, lang)


@contextlib.contextmanager
def _said() -> Iterator[None]:
    from experiments.errors import InputError

    try:
        yield
    except InputError as error:
        raise UserError(str(error)) from error


def _limits(asked: dict[str, Any]) -> Limits:
    from experiments.targeting.request import limits, read_amount, read_floor, read_stock

    budget = asked["budget"]
    return limits(
        budget=None if budget is None else read_amount(budget, "--budget"),
        basis=asked["budget_basis"],
        stock=dict(read_stock(text) for text in asked["stock"]),
        floors=[read_floor(text) for text in asked["floors"]],
        explore=asked["explore"],
    )


def _check_learned(asked: dict[str, Any]) -> None:
    for option in given(asked):
        raise click.UsageError(f"{option} goes with --from FILE; an experiment's definition says it")


def _from_file(source: Path, listed: Path, limits: Limits, output: Path, asked: dict[str, Any]) -> Audience:
    import time

    from experiments.atomic import replacing, spare
    from experiments.list_files import format_of
    from experiments.targeting.of_file import target_from_file

    if asked["recommendation"] is not None:
        raise click.UsageError("--recommendation is of an EXPERIMENT")
    options = file_options(asked, encoding=asked["encoding"])
    file_format = format_of(output)
    spare(output, "--output", list=listed, file=source)
    try:
        with replacing(output) as temporary:
            return target_from_file(
                source, options, listed, limits, temporary, file_format,
                at_us=_moment(asked["as_of"]) or time.time_ns() // 1000,
                unit_column=asked["unit_column"], encoding=asked["encoding"], name=output.name,
            )  # fmt: skip
    except OSError as error:
        raise UserError(f"--output {output}: cannot be written: {error.strerror}") from error


def _of_experiment(
    where: dict[str, Any], experiment: str, listed: str | None, output: str | None, limits: Limits,
    asked: dict[str, Any], after: tuple[str | None, str | None, str], document: str, lang: str,
) -> None:  # fmt: skip
    from api.commands.opening import opened
    from experiments.atomic import spare
    from experiments.keeping.heads import read_experiment
    from experiments.keeping.repository import Repository
    from experiments.list_files import format_of
    from experiments.targeting import archive, draft, segment
    from experiments.targeting.asking import request_of
    from experiments.targeting.carry_out import carry_out

    segment_key, draft_key, actor = after
    if output is None and segment_key is None and draft_key is None:
        raise click.UsageError("say what to make: --output FILE, --save-segment KEY or --draft KEY")
    made: Audience | None = None
    with opened(where) as (store, _):
        with store.read() as connection:
            read_experiment(connection, experiment)
        _, found = archive.recommendation(store, experiment, asked["recommendation"])
        repository = Repository(store)
        if segment_key is not None:
            segment.save(repository, found, segment_key, actor)
            click.echo(f"segment {segment_key} says whom the recommendation of {experiment} is about", err=True)
        if output is not None:
            file_format = format_of(output)
            path = None if listed is None else Path(listed)
            spare(Path(output), "--output", list=path)
            request: TargetRequest = request_of(
                store, experiment, limits,
                recommendation=asked["recommendation"], sha256=None if path is None else _digest(path),
                at=_moment(asked["as_of"]), file_format=file_format, unit_column=asked["unit_column"],
                encoding=asked["encoding"],
            )  # fmt: skip
            made = carry_out(store, request, actor, lambda _done, _total: None, path=path)
            _write(store, made, Path(output))
            _show(made, document, lang, output)
        elif listed is not None:
            raise click.UsageError("--list goes with --output FILE")
        if draft_key is not None:
            drafted = draft.create(repository, found, draft_key, actor, audience=made)
            arms = ", ".join(variant.key for variant in drafted.variants)
            planned = "" if drafted.planned_units is None else f", planned for {drafted.planned_units:,} units"
            click.echo(f"draft {draft_key} tests it: {arms}{planned}", err=True)


def _digest(path: Path) -> str:
    import hashlib

    if not path.is_file():
        raise UserError(f"{path}: no such file")
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _moment(text: str | None) -> int | None:
    from experiments.assignments.request import read_moment

    return None if text is None else read_moment("--as-of", text)


def _write(store: Any, made: Audience, output: Path) -> None:
    from experiments.jobs import files
    from experiments.targeting.request import RESULT

    kept = files.find(store, made.id, RESULT)
    if kept is None:
        raise UserError(f"the file of audience {made.id} is no longer kept")
    try:
        files.fetch(store, kept, output)
    except OSError as error:
        raise UserError(f"--output {output}: cannot be written: {error.strerror}") from error


def _show(made: Audience, document: str, lang: str, output: str) -> None:
    from api.commands.printing import print_document, writing
    from experiments.targeting import rendering

    if document == "json":
        print_document(rendering.render_json(made))
        return
    with writing():
        rendering.print_audience(made, lang=lang, written=output)
