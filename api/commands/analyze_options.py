"""The options of ``equipoise analyze``, in the sections that its help shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

INFERENCE = ("fixed", "group-sequential", "always-valid", "bayesian")
MULTIPLICITY = ("holm", "hochberg", "benjamini-hochberg", "dunnett", "none")
ADJUSTMENT = ("cuped", "regression", "none")


class InSection(click.Option):
    """An option that the help shows under a heading."""

    def __init__(self, *args: Any, section: str = "", **kwargs: Any) -> None:
        """Keep the heading beside what click knows of an option."""
        super().__init__(*args, **kwargs)
        self.section = section


class Sectioned(click.Command):
    """A command whose help shows its options under headings, in the order in which these are first named."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record is not None:
                section = getattr(parameter, "section", "") or "Options"
                sections.setdefault(section, []).append(record)
        for section, records in sections.items():
            with formatter.section(section):
                formatter.write_dl(records)


def _option(section: str, *names: str, **settings: Any) -> Callable[[F], F]:
    return click.option(*names, cls=InSection, section=section, **settings)


def _several(section: str, name: str, field: str, metavar: str, text: str) -> Callable[[F], F]:
    return _option(section, name, field, multiple=True, metavar=metavar, help=text)


VARIANTS, OUTCOMES, PRECISION = "Variants and units", "What is compared", "Sharper and fairer"
MONEY = "Did the offer pay"
INFERENCES, DESIGNS, SUMMARIES = "What intervals and p mean", "Designs", "Files of summary statistics"

OPTIONS = (
    _option(VARIANTS, "--variant", metavar="COL", help="Column with the variant."),
    _option(VARIANTS, "--control", metavar="NAME", help="The variant that the others are compared with."),
    _option(VARIANTS, "--unit", metavar="COL", help="The unit's id: finds repeats and units in two variants."),
    _option(VARIANTS, "--split", metavar='"A=1,B=2"', help="Intended weights; equal by default."),
    _several(OUTCOMES, "--metric", "metrics", "COL", "Column to compare; repeat for several."),
    _several(OUTCOMES, "--ratio", "ratios", "NUM/DEN", "Ratio of two columns' sums; repeatable."),
    _several(OUTCOMES, "--quantile", "quantiles", "COL@0.9", "A quantile of a column; repeatable."),
    _several(
        OUTCOMES, "--survival", "survivals", "DAYS/EVENT[@HORIZON]", "Days until a 0/1 event, or until last seen."
    ),
    _several(OUTCOMES, "--rank", "ranks", "COL", "Chance that a unit has more than one of control (Brunner–Munzel)."),
    _several(OUTCOMES, "--bootstrap", "bootstraps", "COL", "A mean compared by the bootstrap (BCa)."),
    _several(OUTCOMES, "--guardrail", "guardrails", "METRIC=5%", "A metric that may be worse by less than that."),
    _several(OUTCOMES, "--decrease", "decreases", "METRIC", "A metric of which less is better."),
    _several(OUTCOMES, "--winsorise", "winsorised", "METRIC=0.99", "Larger values count as this quantile."),
    _several(OUTCOMES, "--breakdown", "breakdowns", "COL", "Effects within each value of a column."),
    _option(MONEY, "--margin", metavar="COL", help="What a unit's orders earned, before the offer's cost."),
    _option(MONEY, "--margin-rate", type=float, metavar="0.4", help="In its place: a share of --order-value."),
    _option(MONEY, "--value", type=float, metavar="60", help="In its place: what one of --orders earns."),
    _option(MONEY, "--profit", metavar="COL", help="In its place: what is left after the offer's cost."),
    _option(MONEY, "--orders", metavar="COL", help="How often a unit ordered; 0 and 1 will do."),
    _option(MONEY, "--order-value", metavar="COL", help="What a unit's orders were worth."),
    _option(
        MONEY,
        "--redeemed",
        metavar="COL|0.9",
        help="Column of redemptions, or how many an order brings; every order redeems by default.",
    ),
    _several(MONEY, "--redemption-cost", "redemption_cost", "[VARIANT=]30|COL", "Of one redemption, or of a unit's."),
    _several(MONEY, "--contact-cost", "contact_cost", "[VARIANT=]0.1|COL", "Of sending it to one."),
    _option(MONEY, "--currency", metavar="CNY", help="In which amounts are shown."),
    _several(PRECISION, "--covariate", "covariates", "COL", "Column from before the test (CUPED)."),
    _option(PRECISION, "--adjust", "adjustment", type=click.Choice(ADJUSTMENT), help="What covariates do: CUPED."),
    _several(PRECISION, "--strata", "strata", "COL", "Post-stratify over a column known before; repeatable."),
    _option(INFERENCES, "--alpha", type=float, default=0.05, show_default=True, help="1 − confidence level."),
    _option(
        INFERENCES,
        "--multiplicity",
        type=click.Choice(MULTIPLICITY),
        help="How metrics × variants are adjusted; holm by default.",
    ),
    _option(
        INFERENCES,
        "--inference",
        type=click.Choice(INFERENCE),
        default="fixed",
        show_default=True,
        help="Read once, looked at early, at any time, or against a prior.",
    ),
    _option(INFERENCES, "--planned-units", type=int, metavar="N", help="Units planned, in all variants."),
    _option(INFERENCES, "--looks", metavar="0.25,0.5,1", help="Group sequential: looks made, as shares of the plan."),
    _option(INFERENCES, "--entered", metavar="COL", help="Date on which each unit entered: effects over time, looks."),
    _option(INFERENCES, "--prior-sd", metavar="20%", help="Bayesian: how large relative effects usually are."),
    _option(DESIGNS, "--cluster", metavar="COL", help="Whole clusters (stores) were given a variant: CR2 errors."),
    _option(DESIGNS, "--split-clusters", is_flag=True, help="Units, not clusters, were: only warn of interference."),
    _option(DESIGNS, "--reached", metavar="COL", help="0/1: did the offer arrive? Effect on those reached."),
    _several(DESIGNS, "--factor", "factors", "COL[=BASE]", "Two-level column in place of --variant; repeatable."),
    _option(DESIGNS, "--wave", metavar="COL", help="Wave of a repeated test: pooled by random effects."),
    _option(DESIGNS, "--place", metavar="COL", help="Switchback: the place; a row for each place and period."),
    _option(DESIGNS, "--period", metavar="COL", help="Switchback: the period."),
    _option(SUMMARIES, "--summary", is_flag=True, help="FILE holds counts, means and variances; --metric names rows."),
    _several(SUMMARIES, "--column", "columns", "ROLE=COL", "A column, as in n=users."),
    _option(SUMMARIES, "--experiment", metavar="NAME", help="Only this experiment of the file."),
    click.option("--encoding", metavar="NAME", help="Text encoding; by default UTF-8 or GB18030, whichever fits."),
)


def analyze_options(command: F) -> F:
    """Add every option but those of printing."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command
