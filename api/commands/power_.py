"""``equipoise power``: how many units, how many weeks, and what those there are can show."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

import click

from api.cli import UserError
from api.commands.options import Share
from api.commands.power_ranges import refuse_impossible

if TYPE_CHECKING:
    from experiments.planning.document import Baseline, BreakEven, PowerPlan
    from experiments.planning.history import Planned
    from experiments.planning.question import Amount, Question

OF_INFERENCE = {"fixed": "fixed", "group-sequential": "group_sequential", "always-valid": "always_valid"}
MULTIPLICITY = ["holm", "hochberg", "benjamini-hochberg", "dunnett", "none"]
SPENDING = {"obrien-fleming": "obrien_fleming", "pocock": "pocock", "hwang-shih-decani": "hwang_shih_decani"}


@click.command(name="power")
@click.argument("file", required=False, type=click.Path(readable=False))
@click.option("--baseline", type=Share(), metavar="P", help="Proportion without any change: 0.05 or 5%.")
@click.option("--mean", type=float, help="Mean (or ratio) without any change; with --sd.")
@click.option("--sd", type=float, help="Standard deviation of one unit; with --mean.")
@click.option("--metric", metavar="NAME", help="Column of FILE, or a metric of the experiment.")
@click.option("--ratio", metavar="NUM/DEN", help="Ratio of two columns' sums of FILE.")
@click.option("--covariate", "covariates", multiple=True, metavar="COL", help="Column of FILE from before (CUPED).")
@click.option("--experiment", metavar="KEY", help="Plan as defined; the baseline comes from the project's own log.")
@click.option("--effect", metavar="E", help="To find: 10% of the baseline, 0.5pp, or in the metric's unit.")
@click.option("--non-inferiority", "margin", metavar="M", help="To prove instead: not worse by M (5%, 0.5pp, …).")
@click.option("--direction", type=click.Choice(["increase", "decrease"]), help="Which way is better.")
@click.option("--units", type=click.IntRange(min=4), help="One list of so many: what can it show?")
@click.option("--units-per-week", metavar="N[,N…]", help="New units each week; the last figure goes on.")
@click.option("--window", type=float, metavar="DAYS", help="How long a unit's outcome takes: added as waiting time.")
@click.option("--power", "wanted", type=float, default=0.8, show_default=True, help="Chance to find the effect.")
@click.option("--alpha", type=float, help="1 − confidence level.  [default: 0.05]")
@click.option("--variants", type=click.IntRange(2, 10), help="How many, control included.  [default: 2]")
@click.option("--split", metavar='"1,1,2"', help="Parts of the variants, control first; equal by default.")
@click.option("--metrics", type=click.IntRange(min=1), help="How many decision metrics.  [default: 1]")
@click.option("--multiplicity", type=click.Choice(MULTIPLICITY), help="How they share alpha.  [default: holm]")
@click.option("--guardrails", type=click.IntRange(min=0), help="How many a roll-out waits for.  [default: 0]")
@click.option("--inference", type=click.Choice(list(OF_INFERENCE)), help="Kind of inference.  [default: fixed]")
@click.option("--looks", type=click.IntRange(2, 400), help="How often it is looked at.  [default: 28]")
@click.option("--spending", type=click.Choice(list(SPENDING)), help="Group sequential.  [default: obrien-fleming]")
@click.option("--reduction", type=Share(), help="Share of variance that covariates remove (CUPED), such as 0.3.")
@click.option("--icc", type=float, help="How alike units of a cluster are; whole clusters get one variant.")
@click.option("--cluster-size", type=float, help="Mean units of a cluster.")
@click.option("--cluster-cv", type=float, default=0.0, help="Sd over mean of cluster sizes, where they differ.")
@click.option("--waves", type=click.IntRange(min=1), default=1, help="Repeated waves, pooled by random effects.")
@click.option("--wave-spread", metavar="S", help="Sd of the true effect between waves: 3%, 0.2pp, …")
@click.option("--prior", metavar="MEAN,SD", help="Expected effect and its doubt (5%,4%): chance of a clear gain.")
@click.option("--offer", metavar="KEY", help="Break-even uplift of an offer of the project, beside the plan.")
@click.option("--margin", "order_margin", type=float, help="Margin of an order before the offer, for break-even.")
@click.option("--cost", type=float, help="Cost of one redemption; by default the offer's.")
@click.option("--contact-cost", type=float, help="Cost of one contact; by default the offer's.")
@click.option("--redeemed", type=click.FloatRange(0, 1), help="Share of orders on which it is redeemed.  [default: 1]")
@click.option("--order-value", type=float, help="Of a typical order, where the offer's cost depends on it.")
@click.option("--channel", help="How members are contacted, where contact costs differ.")
@click.option("--currency", default=None, metavar="CODE", help="Of amounts, where no project says it.")
@click.option("--output", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
@click.option("--lang", type=click.Choice(["en", "zh-CN"]), default="en", show_default=True, help="Language of texts.")
@click.pass_obj
def command(obj: dict[str, Any], /, file: str | None, output: str, lang: str, **given: Any) -> None:
    r"""Plan a test: units, weeks, detectable effects and the power curve.

    The baseline is given (--baseline, or --mean and --sd), measured on a column of FILE, or measured on the project's
    own log (--experiment).

    \b
    Examples:
      equipoise power --baseline 0.05 --effect 10% --units-per-week 20000 --window 14
      equipoise power --baseline 0.05 --units 40000
      equipoise power --mean 12.3 --sd 45 --effect 3% --inference group-sequential
      equipoise power --baseline 0.008 --non-inferiority 30% --direction decrease
      equipoise power --baseline 0.02 --units 40000 --margin 60 --cost 30 --contact-cost 0.1
    """
    from experiments.errors import InputError

    try:
        plan = _plan(obj, file, given)
    except InputError as error:
        raise UserError(str(error)) from error
    from api.commands.printing import print_document, writing
    from experiments.planning.render import print_plan, render_csv, render_json

    if output == "json":
        print_document(render_json(plan))
    elif output == "csv":
        print_document(render_csv(plan))
    else:
        with writing():
            print_plan(plan, lang=lang)


def _plan(obj: dict[str, Any], file: str | None, given: dict[str, Any]) -> PowerPlan:
    from experiments.planning.planning import plan_power

    _refuse_contradictions(file, given)
    now = time.time_ns() // 1000
    planned: Planned | None = None
    found: BreakEven | None = None
    bought: Baseline | None = None
    if given["experiment"] is not None or given["offer"] is not None:
        baseline, planned, found, bought = _from_project(obj, file, given, now)
    else:
        baseline = _baseline(file, given)
        if given["order_margin"] is not None or given["cost"] is not None:
            found = _economics(given, baseline, None, given["currency"] or "CNY")
    currency = planned.currency if planned is not None else given["currency"]
    if currency is None and found is not None:
        currency = given["currency"] or _project_currency(obj, given)
    question = _question(given, baseline, planned)
    return plan_power(baseline, question, currency=currency, break_even=found, purchases=bought)


def _refuse_contradictions(file: str | None, given: dict[str, Any]) -> None:
    sources = {
        "FILE": file is not None,
        "--baseline": given["baseline"] is not None,
        "--mean": given["mean"] is not None,
        "--experiment": given["experiment"] is not None,
    }
    named = [name for name, there in sources.items() if there]
    if not named:
        raise UserError(
            "what is the baseline? give --baseline 0.05, or --mean and --sd, or a FILE with --metric, or --experiment"
        )
    if len(named) > 1:
        raise UserError(f"{' and '.join(named)} both say the baseline: give one")
    if (given["mean"] is None) != (given["sd"] is None):
        raise UserError("--mean and --sd belong together")
    if file is None and (given["ratio"] is not None or given["covariates"]):
        raise UserError("--ratio and --covariate name columns of a FILE: give one")
    if given["metric"] is not None and file is None and given["experiment"] is None:
        raise UserError("--metric names a column of a FILE, or a metric of an --experiment: give one")
    if given["effect"] is not None and given["margin"] is not None:
        raise UserError("--effect is to be found, --non-inferiority is to be ruled out: ask one at a time")
    if given["units"] is not None and given["units_per_week"] is not None:
        raise UserError("--units is one list, --units-per-week come by and by: give one")
    refuse_impossible(given)


def _baseline(file: str | None, given: dict[str, Any]) -> Baseline:
    from msgspec.structs import replace

    from experiments.planning.document import Baseline
    from experiments.planning.from_file import baseline_from_file

    window = given["window"] or 0.0
    reduction = given["reduction"] or 0.0
    if file is not None:
        measured = baseline_from_file(
            file, metric=given["metric"], ratio=given["ratio"], covariates=given["covariates"]
        )
        if given["reduction"] is not None:
            measured = replace(measured, reduction=reduction)
        return replace(measured, window_days=window)
    if given["baseline"] is not None:
        name = {"en": "Proportion", "zh-CN": "比例"}
        return Baseline(
            name=name, kind="proportion", unit="share", mean=given["baseline"], reduction=reduction, window_days=window
        )
    name = {"en": "Mean", "zh-CN": "均值"}
    return Baseline(
        name=name,
        kind="mean",
        unit="money" if given["currency"] else "number",
        mean=given["mean"],
        sd=given["sd"],
        reduction=reduction,
        window_days=window,
    )


def _from_project(
    obj: dict[str, Any], file: str | None, given: dict[str, Any], now: int
) -> tuple[Baseline, Planned | None, BreakEven | None, Baseline | None]:
    """Read what the project knows: the experiment's baseline, and an offer's cost on its past orders."""
    from msgspec.structs import replace

    from api.commands.opening import opened
    from experiments.errors import unknown_name
    from experiments.keeping.repository import Repository
    from experiments.planning.economics import past_orders
    from experiments.planning.history import measure_baseline, planned_experiment, purchases
    from experiments.sources.log import open_log

    with opened(obj) as (store, _):
        planned = None
        if given["experiment"] is not None:
            planned = planned_experiment(store, given["experiment"], now, given["metric"])
        repository = Repository(store)
        catalogue, project = repository.catalogue(), repository.project()
        offer = None
        if given["offer"] is not None:
            if given["offer"] not in catalogue.keys("offer"):
                raise unknown_name("offer", given["offer"], catalogue.keys("offer"), "in the project")
            offer = repository.offer(given["offer"])
        profits = [metric for key in catalogue.keys("metric") if (metric := repository.metric(key)).type == "profit"]
        unit_type = planned.record.definition.unit_type if planned is not None else "member"
        # DuckDB brings an SQLite of its own, and closing its descriptor drops the locks of ours (see Store.close).
        store.close()
        with open_log(store.url) as log:
            baseline = _baseline(file, given) if planned is None else measure_baseline(log, planned, now)
            orders, bought = None, None
            if offer is not None:
                if planned is not None and baseline.kind != "proportion":
                    bought = measure_baseline(log, purchases(planned), now)
                orders = past_orders(log, offer, project.currency, unit_type, now, profits[0] if profits else None)
    if planned is not None:
        window = baseline.window_days if given["window"] is None else given["window"]
        reduction = baseline.reduction if given["reduction"] is None else given["reduction"]
        baseline = replace(baseline, window_days=window, reduction=reduction)
    if offer is None:
        return baseline, planned, None, None
    found = _economics(given, bought or baseline, offer, project.currency, orders, planned)
    return baseline, planned, found, bought


def _economics(
    given: dict[str, Any],
    baseline: Baseline,
    offer: Any,
    currency: str,
    orders: Any = None,
    planned: Planned | None = None,
) -> BreakEven:
    from experiments.planning.economics import economics

    if baseline.kind != "proportion":
        raise UserError("break-even is an uplift of the share that buys: plan for a proportion, as by --baseline")
    channel = given["channel"]
    if channel is None and planned is not None and offer is not None:
        channel = next((v.channel for v in planned.record.definition.variants if v.offer == offer.key), None)
    return economics(
        offer,
        currency,
        baseline.mean,
        margin=given["order_margin"],
        cost=given["cost"],
        contact=given["contact_cost"],
        redeemed=given["redeemed"],
        order_value=given["order_value"],
        channel=channel,
        orders=orders,
    )


def _project_currency(obj: dict[str, Any], given: dict[str, Any]) -> str | None:
    if given["offer"] is None:
        return None
    from api.commands.opening import opened
    from experiments.keeping.repository import Repository

    with opened(obj) as (store, _):
        return Repository(store).project().currency


def _question(given: dict[str, Any], baseline: Baseline, planned: Planned | None) -> Question:
    from experiments.planning.question import Amount, Question
    from stats.sequential import Spending

    defaults = _declared(planned)
    split, names = _split(given, defaults)
    spending = SPENDING.get(given["spending"] or "") or defaults.get("spending", "obrien_fleming")
    effect = _amount(given["effect"], "--effect")
    direction = given["direction"] or defaults.get("direction", "increase")
    if effect is None and given["margin"] is None and defaults.get("effect"):
        sign = -1.0 if direction == "decrease" else 1.0
        effect = Amount(sign * float(defaults["effect"]), is_relative=True)
    units = given["units"]
    if units is None and given["units_per_week"] is None and baseline.list_units is not None:
        units = baseline.list_units if baseline.list_units >= 4 else None
    return Question(
        effect=effect,
        margin=_amount(given["margin"], "--non-inferiority"),
        direction=direction,
        alpha=given["alpha"] or defaults.get("alpha", 0.05),
        power=given["wanted"],
        split=split,
        names=names,
        metrics=given["metrics"] or defaults.get("metrics", 1),
        multiplicity=cast("Any", (given["multiplicity"] or defaults.get("multiplicity", "holm")).replace("-", "_")),
        guardrails=given["guardrails"] if given["guardrails"] is not None else defaults.get("guardrails", 0),
        inference=cast("Any", OF_INFERENCE.get(given["inference"] or "") or defaults.get("inference", "fixed")),
        spending=Spending(cast("Any", spending), defaults.get("gamma") if spending == "hwang_shih_decani" else None),
        looks=given["looks"] or defaults.get("looks", 28),
        icc=given["icc"],
        cluster_size=given["cluster_size"],
        cluster_cv=given["cluster_cv"],
        waves=given["waves"],
        wave_spread=_amount(given["wave_spread"], "--wave-spread"),
        units=units,
        per_week=_weekly(given["units_per_week"]),
        prior=_prior(given["prior"]),
    )


def _declared(planned: Planned | None) -> dict[str, Any]:
    """Return what an experiment's definition declares."""
    if planned is None:
        return {}
    from fractions import Fraction

    from experiments.report.plan import inference_of

    definition = planned.record.definition
    analysis, within = definition.analysis, definition.no_effect_within
    inference = inference_of(definition)
    shown = sorted(definition.split().items(), key=lambda item: item[0] != definition.control)
    return {
        "split": tuple(float(weight) for _, weight in shown if weight > 0),
        "names": tuple(key for key, weight in shown if weight > 0),
        "alpha": definition.alpha,
        "metrics": len(definition.metrics.primary),
        "multiplicity": analysis.multiplicity,
        "guardrails": len(definition.metrics.guardrails),
        "inference": "fixed" if inference == "bayesian" else inference,
        "spending": analysis.spending,
        "gamma": analysis.gamma,
        "looks": min(max(definition.planned_days or 28, 2), 400),
        "direction": planned.metric.direction,
        "effect": float(Fraction(within)) if within else None,
    }


def _split(given: dict[str, Any], defaults: dict[str, Any]) -> tuple[tuple[float, ...], tuple[str, ...]]:
    text, variants = given["split"], given["variants"]
    if text is None:
        if variants is None and defaults:
            return defaults["split"], defaults["names"]
        return (1.0,) * (variants or 2), ()
    try:
        parts = tuple(float(part.rpartition("=")[2]) for part in text.replace("/", ",").replace(":", ",").split(","))
    except ValueError:
        parts = ()
    if len(parts) < 2 or not all(part > 0 for part in parts):
        raise UserError(f"--split {text!r}: write the parts of the variants, control first, such as 1,1 or 90,10")
    if variants is not None and variants != len(parts):
        raise UserError(f"--split has {len(parts)} parts and --variants is {variants}: make them agree")
    return parts, ()


def _weekly(text: str | None) -> tuple[float, ...]:
    if text is None:
        return ()
    try:
        figures = tuple(float(part.replace("_", "")) for part in text.split(","))
    except ValueError:
        figures = ()
    if not figures or not all(0 <= figure < 1e12 for figure in figures) or not any(figures):
        raise UserError(f"--units-per-week {text!r}: write new units a week, such as 20000 or 20000,12000,8000")
    return figures


def _amount(text: str | None, option: str) -> Amount | None:
    from experiments.planning.question import Amount

    return None if text is None else Amount.parse(text, option)


def _prior(text: str | None) -> tuple[Amount, Amount] | None:
    from experiments.planning.question import Amount

    if text is None:
        return None
    mean, comma, sd = text.partition(",")
    if not comma or (spread := Amount.parse(sd, "--prior")).value < 0:
        raise UserError(f"--prior {text!r}: write the expected effect and its standard deviation, such as 5%,4%")
    return Amount.parse(mean, "--prior"), spread
