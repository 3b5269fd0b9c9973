"""What to analyse in a file, as it is asked for, and which questions cannot be asked together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Literal

from experiments.definitions.money import CURRENCIES
from experiments.errors import InputError
from stats.sequential.monitoring import LEAST_INCREMENT

LEAST_ALPHA = 0.000001
"""Beyond it the tails of the normal distribution say nothing about real data."""
LARGEST_PRIOR_SD = 10.0

LARGEST_AMOUNT = 1e12

Inference = Literal["fixed", "group_sequential", "always_valid", "bayesian"]
Multiplicity = Literal["holm", "hochberg", "benjamini_hochberg", "dunnett", "none"]
Adjustment = Literal["cuped", "regression", "none"]


@dataclass(frozen=True)
class AnalyzeOptions:
    """What to analyse in a file."""

    variant: str | None = None
    """Column with the variant; none where ``factors`` make the variants."""
    control: str | None = None
    """The variant that the others are compared with."""
    metrics: Sequence[str] = ()
    """Columns with one number per unit; an empty cell is a missing value."""
    ratios: Sequence[str] = ()
    """``NUM/DEN``: sum of one column over sum of another."""
    covariates: Sequence[str] = ()
    """Columns measured before the experiment; they sharpen every metric."""
    unit: str | None = None
    """Column with the unit's id, to find repeated units and units in two variants."""
    split: str | None = None
    """Intended weights, ``"A=1,B=2"``; equal by default."""
    breakdowns: Sequence[str] = ()
    """Columns with segments."""
    alpha: float = 0.05
    encoding: str | None = None
    quantiles: Sequence[str] = ()
    """``COL@0.9``: a quantile of a column."""
    survivals: Sequence[str] = ()
    """``DAYS/EVENT`` or ``DAYS/EVENT@HORIZON``: days that a unit was followed, and whether the event ended them."""
    ranks: Sequence[str] = ()
    """Columns of which ranks are compared (Brunner–Munzel)."""
    bootstraps: Sequence[str] = ()
    """Columns of which means are compared by the bootstrap (BCa)."""
    guardrails: Sequence[str] = ()
    """``METRIC=5%``: a metric that may be worse by less than that."""
    decreases: Sequence[str] = ()
    """Metrics of which less is better."""
    winsorised: Sequence[str] = ()
    """``METRIC=0.99``: larger values count as this quantile of all variants together."""
    adjustment: Adjustment | None = None
    """What covariates do; CUPED by default."""
    strata: Sequence[str] = ()
    """Columns over whose levels, combined, effects are post-stratified."""
    multiplicity: Multiplicity | None = None
    """Holm by default."""
    inference: Inference = "fixed"
    planned_units: int | None = None
    looks: str | None = None
    """``"0.25,0.5,1"``: shares of the planned sample at which the test was looked at; the file is the last look."""
    entered: str | None = None
    """Column with the date on which each unit entered."""
    prior_sd: str | None = None
    """``"20%"``: Bayesian inference, standard deviation of relative effects before the test."""
    cluster: str | None = None
    """Column with the cluster; whole clusters were given a variant."""
    split_clusters: bool = False
    """Units were given a variant one by one, whatever their cluster: only warn of interference."""
    reached: str | None = None
    """Column of 0 and 1: whether the offer reached the unit."""
    factors: Sequence[str] = ()
    """``COL`` or ``COL=BASE``: columns of two levels that make the variants."""
    wave: str | None = None
    """Column with the wave of a repeated test."""
    place: str | None = None
    """Switchback: column with the place; one row for each place and period."""
    period: str | None = None
    profit: str | None = None
    """Column with what a unit earned less what its offer cost. Any of the next three says it too."""
    margin: str | None = None
    """Column with what a unit's orders earned before the offer's cost."""
    margin_rate: float | None = None
    """Share of ``order_value`` that is margin."""
    value: float | None = None
    """What one order earns, in major units."""
    order_value: str | None = None
    """Column with what a unit's orders were worth."""
    orders: str | None = None
    """Column with how often a unit ordered."""
    redeemed: str | None = None
    """Column with how often a unit redeemed, or how many redemptions an order brings (``0.9``)."""
    redemption_cost: Sequence[str] = ()
    """``30`` for one redemption, ``a=30`` of one variant's offer, or a column with what a unit's redemptions cost."""
    contact_cost: Sequence[str] = ()
    """As ``redemption_cost``, of sending the offer to one unit."""
    currency: str | None = None
    """In which amounts are shown."""

    @property
    def tells_money(self) -> bool:
        """Whether it is said what a unit earned."""
        return any(given is not None for given in (self.profit, self.margin, self.margin_rate, self.value))

    @property
    def switchback(self) -> bool:
        """Whether rows are places × periods."""
        return self.place is not None


def check_options(options: AnalyzeOptions) -> None:
    """Refuse what cannot be asked, or not together.

    Raises:
        InputError: in one line that says what to do.
    """
    if not LEAST_ALPHA <= options.alpha < 0.5:
        raise InputError(f"--alpha {options.alpha:g}: give a number from {LEAST_ALPHA:f} to 0.5, such as 0.05")
    _check_money(options)
    outcomes = (options.metrics, options.ratios, options.quantiles, options.survivals)
    if not any((*outcomes, options.ranks, options.bootstraps, options.tells_money)):
        raise InputError(
            "nothing to measure: give at least one --metric COLUMN or --ratio NUMERATOR/DENOMINATOR "
            "(or --quantile, --survival, --rank, --bootstrap, --margin)"
        )
    _check_variants(options)
    _check_inference(options)
    _check_designs(options)
    if options.adjustment in ("cuped", "regression") and not options.covariates:
        raise InputError(f"--adjust {options.adjustment}: name what to adjust for with --covariate COLUMN")
    if options.adjustment == "regression" and (options.strata or options.cluster):
        other = "--strata" if options.strata else "--cluster"
        raise InputError(f"--adjust regression cannot be joined with {other}; write --adjust cuped")


def _check_variants(options: AnalyzeOptions) -> None:
    if options.factors and (options.variant or options.control):
        raise InputError("--factor makes the variants: leave --variant and --control out (name a base by COL=BASE)")
    if not options.factors and not (options.variant and options.control):
        missing = "--variant COLUMN" if not options.variant else "--control NAME"
        raise InputError(f"no variants to compare: give {missing} (or --factor COLUMN for a factorial design)")


def _check_money(options: AnalyzeOptions) -> None:
    """Refuse what cannot be told about money, or not together.

    Raises:
        InputError: in one line that says what to do.
    """
    sources: dict[str, object] = {
        "--profit": options.profit,
        "--margin": options.margin,
        "--margin-rate": options.margin_rate,
    }
    sources["--value"] = options.value
    given = [name for name, found in sources.items() if found is not None]
    others: dict[str, object] = {
        "--orders": options.orders,
        "--order-value": options.order_value,
        "--redeemed": options.redeemed,
    }
    others |= {"--redemption-cost": options.redemption_cost, "--contact-cost": options.contact_cost}
    if not given:
        first = next((name for name, found in others.items() if found), None)
        if first is not None:
            raise InputError(
                f"{first} is about what offers earned: say what a unit earned with --margin COLUMN "
                "(or --profit COLUMN, --margin-rate 0.4 with --order-value COLUMN, or --value 60 with --orders COLUMN)"
            )
        return
    if "profit" in (*options.metrics, *options.ratios):
        raise InputError(f"'profit' is a --metric and what {given[0]} makes: leave --metric profit out")
    if options.currency is not None and options.currency not in CURRENCIES:
        raise InputError(f"--currency {options.currency}: give an ISO 4217 code, such as CNY")
    if len(given) > 1:
        raise InputError(f"{given[0]} and {given[1]} both say what a unit earned: leave one out")
    if options.margin_rate is not None and options.order_value is None:
        raise InputError("--margin-rate is a share of what orders were worth: name that column with --order-value")
    if options.value is not None and options.orders is None:
        raise InputError("--value is what one order earns: name the column with how often a unit ordered with --orders")
    if options.profit is not None and options.orders is None and options.order_value is None:
        raise InputError("--profit does not say who bought: name --orders COLUMN or --order-value COLUMN too")
    if options.margin_rate is not None and not 0 < options.margin_rate <= 1:
        raise InputError(
            f"--margin-rate {options.margin_rate:g}: give the share of the price that is margin, such as 0.4"
        )
    if options.value is not None and not (isfinite(options.value) and 0 < options.value <= LARGEST_AMOUNT):
        raise InputError(f"--value {options.value:g}: give the margin of one order, such as 60")


def _check_inference(options: AnalyzeOptions) -> None:
    kind = options.inference.replace("_", "-")
    sequential = options.inference == "group_sequential"
    if options.prior_sd is not None and options.inference != "bayesian":
        raise InputError("--prior-sd belongs to --inference bayesian: write that too, or leave it out")
    if options.inference == "bayesian" and options.multiplicity not in (None, "none"):
        raise InputError("--inference bayesian adjusts nothing for the number of comparisons: leave --multiplicity out")
    if options.planned_units is not None:
        if options.inference not in ("group_sequential", "always_valid"):
            raise InputError(f"--planned-units says nothing to --inference {kind}: leave it out, or choose another")
        if options.planned_units < 2:
            raise InputError(f"--planned-units {options.planned_units}: give the units planned, in all variants")
    if options.looks is not None:
        if not sequential:
            raise InputError("--looks belongs to --inference group-sequential: write that too, or leave it out")
        if options.entered is not None:
            raise InputError("--looks and --entered both say when the test was looked at: leave one of them out")
    elif sequential and not (options.entered and options.planned_units):
        raise InputError(
            "--inference group-sequential: say when you looked, with --looks 0.25,0.5,0.75,1 (shares of the plan), "
            "or with --entered COLUMN (dates) and --planned-units N"
        )
    for name, given in (("--rank", options.ranks), ("--bootstrap", options.bootstraps)):
        if given and options.inference != "fixed":
            raise InputError(f"{name} is read once, at the end: it cannot be joined with --inference {kind}")


def _check_designs(options: AnalyzeOptions) -> None:
    if (options.place is None) != (options.period is None):
        absent = "--period" if options.period is None else "--place"
        raise InputError(f"a switchback has places and periods: give {absent} COLUMN too")
    rows = options.quantiles or options.survivals or options.ranks or options.bootstraps
    if options.switchback:
        others = {
            "--cluster": options.cluster,
            "--factor": options.factors,
            "--strata": options.strata,
            "--covariate": options.covariates,
            "--reached": options.reached,
            "--wave": options.wave,
            "--breakdown": options.breakdowns,
            "--entered": options.entered,
            "--quantile, --survival, --rank or --bootstrap": rows,
        }
        for name, given in others.items():
            if given:
                raise InputError(f"--place and --period (a switchback) cannot be joined with {name}: leave one out")
        if options.inference != "fixed":
            raise InputError("a switchback is judged by what chance could have assigned: leave --inference out")
    if options.split_clusters and options.cluster is None:
        raise InputError("--split-clusters: name the column of the clusters with --cluster")
    if options.factors and options.inference != "fixed":
        raise InputError("--factor is read once, at the end: leave --inference out")
    if options.factors and options.cluster and not options.split_clusters:
        raise InputError("--factor cannot be joined with --cluster: errors by cluster need --variant and --control")


def share_of(option: str, text: str) -> float:
    """Return a share as people write it.

    Raises:
        InputError: when it is none.

    >>> share_of("--prior-sd", "20%"), share_of("--prior-sd", "0.2")
    (0.2, 0.2)
    """
    written = text.strip()
    try:
        return float(written[:-1]) / 100 if written.endswith("%") else float(written)
    except ValueError:
        raise InputError(f"{option} {text!r} is not a share; write 5% or 0.05") from None


def named_share(option: str, text: str) -> tuple[str, str]:
    """Return the name and the share, as written, of ``NAME=SHARE``; the name may hold equals signs.

    >>> named_share("--guardrail", "a=b=5%")
    ('a=b', '5%')
    """
    name, equals, share = text.rpartition("=")
    if not equals or not name.strip() or not share.strip():
        raise InputError(f"{option} {text!r}: write METRIC=SHARE, such as visits=5%")
    return name.strip(), share.strip()


def looks_of(text: str) -> tuple[float, ...]:
    """Return the shares of the plan at which a test was looked at.

    Raises:
        InputError: when they are not shares that grow up to 1.

    >>> looks_of("25%, 0.5, 1")
    (0.25, 0.5, 1.0)
    """
    shares = tuple(share_of("--looks", part) for part in text.split(","))
    steps = [b - a for a, b in zip((0.0, *shares[:-1]), shares, strict=True)]
    if any(not step >= LEAST_INCREMENT for step in steps) or not shares[-1] <= 1:
        raise InputError(f"--looks {text!r}: give shares of the planned sample that grow up to 1, as 0.25,0.5,0.75,1")
    return shares


def prior_sd_of(options: AnalyzeOptions) -> float:
    """Return the standard deviation of relative effects that is believed in before the test (20 % by default).

    Raises:
        InputError: when it is no sensible share.
    """
    if options.prior_sd is None:
        return 0.2
    found = share_of("--prior-sd", options.prior_sd)
    if not 0 < found <= LARGEST_PRIOR_SD:
        raise InputError(f"--prior-sd {options.prior_sd}: give how large relative effects usually are, such as 20%")
    return found
