"""``equipoise replay LOG``: what another policy would have earned on logged decisions."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from api.cli import UserError
from api.commands.options import Share

if TYPE_CHECKING:
    from allocation.bandits.policy import Policy
    from experiments.evaluating.decision_log import DecisionLog
    from experiments.evaluating.reading import LogColumns


@click.command(name="replay")
@click.argument("log")
@click.option(
    "--policy",
    "policies",
    multiple=True,
    required=True,
    metavar="POLICY",
    help="uniform, variant:KEY, a policy's file, greedy:FILE, log:FILE, beta:FILE or version:N; repeat for several.",
)
@click.option("--variant", metavar="COL", help="Column with the drawn variant.  [default: variant]")
@click.option("--propensity", metavar="COL", help="Column with its probability.  [default: propensity]")
@click.option("--reward", metavar="COL", help="Column with what the decision earned.  [default: reward]")
@click.option("--unit", metavar="COL", help="Column with the member's id, for intervals.  [default: unit, where there]")
@click.option("--feature", "features", multiple=True, metavar="COL", help="Column that a model may read; repeatable.")
@click.option("--categorical", multiple=True, metavar="COL", help="The same, its numbers being names; repeatable.")
@click.option(
    "--explore", type=Share(), help="Mass spread over all.  [default: as the service does for a policy, else 0]"
)
@click.option("--alpha", type=Share(), default=0.05, show_default=True, help="1 − confidence level.")
@click.option("--folds", type=int, default=5, show_default=True, help="Parts for cross-fitting the model; 0: no model.")
@click.option("--tau", type=click.FloatRange(min=0), default=10.0, show_default=True, help="Of SWITCH-DR.")
@click.option("--strength", type=click.FloatRange(min=0), default=100.0, show_default=True, help="λ of DRos.")
@click.option(
    "--bounds",
    type=(float, float),
    metavar="LOW HIGH",
    help="What a reward can be at all: adds an interval that holds at any size.",
)
@click.option("--encoding", metavar="NAME", help="Text encoding; by default UTF-8 or GB18030, whichever fits.")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_obj
def command(
    obj: dict[str, Any],
    log: str,
    policies: tuple[str, ...],
    variant: str | None,
    propensity: str | None,
    reward: str | None,
    unit: str | None,
    features: tuple[str, ...],
    categorical: tuple[str, ...],
    explore: float | None,
    alpha: float,
    folds: int,
    tau: float,
    strength: float,
    bounds: tuple[float, float] | None,
    encoding: str | None,
    output: str,
) -> None:
    r"""Value policies on a CSV or Parquet LOG with one row per decision, without trying them on anybody.

    The log is ours (columns variant, propensity, reward, and unit where there is one), one of the Open Bandit
    Dataset, or experiment:KEY, the matured decisions of an experiment of this deployment.

    \b
    Examples:
      equipoise replay decisions.parquet --policy uniform --policy variant:coupon-20
      equipoise replay decisions.parquet --policy policy.npz --reward profit
      equipoise replay random/men.csv.gz --policy log:bts/men.csv.gz
      equipoise replay experiment:winback --policy version:3 --policy uniform
    """
    from api.commands.printing import print_document, writing
    from experiments.errors import InputError
    from experiments.evaluating.evaluation import EvaluationOptions, evaluate
    from experiments.evaluating.reading import LogColumns
    from experiments.evaluating.rendering import render_json, render_text
    from experiments.evaluating.targets import make_target

    columns = LogColumns(variant, propensity, reward, unit, features, categorical, encoding)
    options = EvaluationOptions(alpha, folds, tau, strength, bounds)
    try:
        decisions, versions = _read(obj, log, columns, policies)
        targets = [
            make_target(decisions, asked, explore=explore, columns=columns, versions=versions) for asked in policies
        ]
        evaluation = evaluate(decisions, targets, options)
    except InputError as error:
        raise UserError(str(error)) from error
    if output == "json":
        print_document(render_json(evaluation))
        return
    with writing():
        click.echo(render_text(evaluation), nl=False)


def _read(
    obj: dict[str, Any], log: str, columns: LogColumns, policies: tuple[str, ...]
) -> tuple[DecisionLog, dict[int, Policy]]:
    """Return the decisions, and the versions that were asked for."""
    from experiments.evaluating.experiment_log import PREFIX, read_experiment
    from experiments.evaluating.reading import LogColumns, read_log

    if not log.startswith(PREFIX):
        return read_log(log, columns), {}
    if columns != LogColumns():
        raise UserError(f"{log} has no columns to name: leave out --variant, --reward, --unit, --feature and the like")
    from api.commands.opening import opened

    with opened(obj) as (store, _):
        own = read_experiment(store, log.removeprefix(PREFIX), time.time_ns() // 1000, policies)
    return own.log, own.versions
