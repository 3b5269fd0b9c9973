"""``equipoise uplift FILE``: who should get which offer, from a randomised file or an experiment of the deployment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from api.cli import UserError
from api.commands.analyze_options import InSection, Sectioned
from api.commands.learned_options import COLUMNS, LEARNING, file_options, given, learned_options
from api.commands.options import Share

if TYPE_CHECKING:
    from experiments.uplift.document import Recommendation

SHOWN = "Output"


@click.command(name="uplift", cls=Sectioned)
@click.argument("file", required=False, type=click.Path(readable=False))
@learned_options()
@click.option(
    "--observational",
    cls=InSection,
    section=COLUMNS,
    is_flag=True,
    help="Nobody drew the arms: says what would be needed, and nothing of effects.",
)
@click.option("--recency", cls=InSection, section=LEARNING, metavar="COL", help="Days since the last order: RFM rule.")
@click.option("--frequency", cls=InSection, section=LEARNING, metavar="COL", help="Orders: RFM rule beside.")
@click.option("--monetary", cls=InSection, section=LEARNING, metavar="COL", help="Spend: RFM rule beside.")
@click.option(
    "--alpha",
    cls=InSection,
    section=LEARNING,
    type=Share(),
    default="0.05",
    show_default=True,
    help="1 − confidence level.",
)
@click.option(
    "--experiment",
    cls=InSection,
    section=LEARNING,
    metavar="KEY",
    help="In place of FILE: an experiment of this deployment that is over; --outcome names a metric.",
)
@click.option("--encoding", cls=InSection, section=SHOWN, metavar="NAME", help="Of text; found out by default.")
@click.option(
    "--output",
    cls=InSection,
    section=SHOWN,
    type=click.Choice(["table", "json", "csv", "html"]),
    default="table",
    show_default=True,
    help="How to print it.",
)
@click.option(
    "--lang",
    cls=InSection,
    section=SHOWN,
    type=click.Choice(["en", "zh-CN"]),
    default="en",
    show_default=True,
    help="Language of texts.",
)
@click.option(
    "--scores",
    cls=InSection,
    section=SHOWN,
    metavar="OUT.csv",
    help="Write each unit's predicted gain and what it should get.",
)
@click.pass_obj
def command(
    obj: dict[str, Any],
    /,
    file: str | None, experiment: str | None, output: str, lang: str, scores: str | None,
    **asked: Any,
) -> None:  # fmt: skip
    r"""Say who should get which offer, what that is worth, and whether the data can say so.

    FILE has one row per unit of a randomised experiment: CSV (plain or gzip, UTF-8 or GB18030) or Parquet.

    \b
    Examples:
      equipoise uplift shop.csv --variant group --control none --outcome bought --attribute tier,recency --value 60
      equipoise uplift --experiment dormant-winback
    """
    if (file is None) == (experiment is None):
        raise click.UsageError("name a FILE, or an --experiment of this deployment")
    if experiment is not None:
        show(_of_experiment(obj, experiment, asked, scores), output, lang)
        return
    from experiments.atomic import spare
    from experiments.errors import InputError
    from experiments.uplift.of_file import recommend_file, write_scores

    if not given(asked) and not Path(str(file)).exists():
        raise click.UsageError(f"{file} is no file; an experiment of this deployment is named by --experiment {file}")
    own = ("observational", "recency", "frequency", "monetary", "encoding", "alpha")
    options = file_options(asked, **{name: asked[name] for name in own})
    try:
        if scores is not None:
            spare(Path(scores), "--scores", file=file)
        written = recommend_file(str(file), options)
        if scores is not None:
            rows = write_scores(scores, written)
            click.echo(f"{rows:,} rows in {scores}", err=True)
    except InputError as error:
        raise UserError(str(error)) from error
    show(written.document, output, lang)


def _of_experiment(obj: dict[str, Any], key: str, asked: dict[str, Any], scores: str | None) -> Recommendation:
    """Recommend from an experiment of the deployment, and keep it."""
    import time

    from api.commands.opening import opened
    from experiments.errors import InputError
    from experiments.uplift import archive
    from experiments.uplift.of_experiment import recommend_experiment
    from experiments.uplift.options import Wanted

    defaults = {"alpha": 0.05, "folds": 5, "seed": 0}
    for name, value in asked.items():
        if name not in ("outcome", "value", "seed", "folds") and value not in (None, (), False, defaults.get(name)):
            raise click.UsageError(f"--{name.replace('_', '-')} is of a FILE; an experiment's definition says it")
    if scores is not None:
        raise click.UsageError("--scores is of a FILE; equipoise target scores members")
    wanted = Wanted(outcome=asked["outcome"], value=asked["value"], seed=asked["seed"], folds=asked["folds"])
    now = time.time_ns() // 1000
    with opened(obj) as (store, _):
        try:
            document = recommend_experiment(store, key, now, wanted)
        except InputError as error:
            raise UserError(str(error)) from error
        archive.save(store, document, now)
    return document


def show(document: Recommendation, output: str, lang: str) -> None:
    """Print a recommendation as table, json, csv or html."""
    from api.commands.printing import print_document, writing
    from experiments.uplift import rendering

    if output == "json":
        print_document(rendering.render_json(document))
    elif output == "csv":
        print_document(rendering.render_csv(document))
    elif output == "html":
        from api.web.recommendation_view import render_recommendation

        print_document(render_recommendation(document, lang) + "\n")
    else:
        with writing():
            rendering.print_recommendation(document, lang=lang)
