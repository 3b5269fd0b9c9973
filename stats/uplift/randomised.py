"""Were the arms drawn at random? Without that, differences between them are no effects, and nobody may say so.

Four things are looked at: whether as many units got each arm as was planned (split), whether what was known before can
tell who got which arm better than the logged propensities do (propensity), how far apart the arms are in each attribute
(balance), and whether every unit could have got every arm (overlap). On randomised data together they raise a false
alarm in less than 1 % of experiments (simulated: docs/uplift.md).

References:
    Fabijan et al. (2019), Diagnosing sample ratio mismatch in online controlled experiments, KDD (p < .001).
    Hansen & Bowers (2008), Covariate balance in simple, stratified and clustered comparative studies, Statistical
    Science 23(2): the omnibus test; with known propensities it is Rao's score test of a logistic model of the arm.
    Austin (2009), Balance diagnostics …, Statistics in Medicine 28: standardised differences, .1 as the mark.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from stats.arrays import BoolArray
from stats.distributions import chi_square_upper, normal_upper
from stats.uplift.folds import canonical_order
from stats.uplift.predictable import Predictable, predictable
from stats.uplift.trial import FloatArray, Trial
from stats.uplift.valuing import Value

FAIL_BELOW = 0.001
CAUTION_BELOW = 0.01
NOTABLE = 0.1
"""Standardised difference from which arms are called apart (Austin 2009)."""
RARE = 0.01
"""Propensity below which one unit stands for more than a hundred."""
LEAST_UNITS = 20
"""In each arm."""


@dataclass(frozen=True)
class Finding:
    """One thing that has to hold, and whether it does."""

    code: Literal["split", "propensity", "balance", "overlap"]
    status: Literal["ok", "caution", "fail"]
    says: str
    needed: str | None = None
    """Where it does not hold: what would be needed to speak of effects."""
    p_value: float | None = None


@dataclass(frozen=True)
class Difference:
    """How far an arm is from control in one attribute, in standard deviations."""

    name: str
    arm: int
    standardised: float
    p_value: float


@dataclass(frozen=True)
class Diagnosis:
    """Whether data bear words of cause and effect."""

    findings: tuple[Finding, ...]
    differences: tuple[Difference, ...]
    """The widest first."""
    auc: Value | None
    """How well attributes tell apart the arm that they tell best, on units not learned from: .5 is a coin. ``None``
    where propensities differ between units (then attributes *may* tell) or there is nothing to learn from."""
    smallest_propensity: float

    @property
    def causal(self) -> bool:
        """Whether nothing speaks against a random draw."""
        return not self.problems

    @property
    def problems(self) -> tuple[Finding, ...]:
        """What speaks against it, each with what would be needed."""
        return tuple(finding for finding in self.findings if finding.status == "fail")


def diagnose(trial: Trial, names: Sequence[str], *, logged: bool, seed: int = 0) -> Diagnosis:
    """Return whether the arms look as if they had been drawn with the given propensities.

    Args:
        trial: n units with all attributes that were known before the draw.
        names: of the d columns of features.
        logged: whether propensities are those that were planned or logged; if not, they are the shares that were found,
            and a wrong split cannot be told.
        seed: of the folds; the same figures in whatever order the rows stand.

    Raises:
        ValueError: there are no units, there is not one name for each column, an attribute is infinite, or propensities
            differ between units without being logged.

    >>> generator = np.random.default_rng(3)
    >>> age, half = generator.normal(40, 10, 2000), np.full((2000, 2), 0.5)
    >>> drawn, picked = generator.integers(0, 2, 2000), (age > 42).astype(int)
    >>> diagnose(Trial(np.zeros(2000), drawn, age[:, None], half), ["age"], logged=True).causal
    True
    >>> [found.code for found in diagnose(Trial(np.zeros(2000), picked, age[:, None], half), ["age"],
    ...                                   logged=False).problems]
    ['propensity', 'balance']
    """
    if len(names) != trial.features.shape[1]:
        raise ValueError("there must be one name for each column of features")
    if not trial.rows:
        raise ValueError("there are no units")
    if np.isinf(trial.features).any():
        raise ValueError("every attribute must be a finite number, or missing")
    constant = bool((trial.propensity == trial.propensity[:1]).all())
    if not logged and not constant:
        raise ValueError("propensities that differ between units must be logged ones")
    rows = trial.take(canonical_order(trial, seed))
    enough = int(np.bincount(rows.arm, minlength=rows.arms).min()) >= LEAST_UNITS
    differences = _differences(rows, names)
    told = predictable(rows, constant=constant, seed=seed) if enough else None
    smallest = float(rows.propensity.min())
    findings = (
        _split(rows, logged=logged),
        _propensity(told, differences, enough=enough, attributes=len(names)),
        _balance(differences, told),
        _overlap(smallest),
    )
    return Diagnosis(findings, differences, told.auc if told else None, smallest)


def _split(rows: Trial, *, logged: bool) -> Finding:
    """Compare how many units each arm got with the sum of their propensities, which may differ between units."""
    counts = np.bincount(rows.arm, minlength=rows.arms)
    found = " : ".join(f"{count:,}" for count in counts)
    if not logged:
        needed = "the shares that were planned, or the propensities of the log"
        return Finding("split", "caution", f"{found} units; what was planned is not known", needed)
    expected = rows.propensity.sum(axis=0)
    spread = np.diag(expected) - rows.propensity.T @ rows.propensity
    off = counts - expected
    # Counts add up to all units, so one arm can be left out of the quadratic form; what remains varies freely.
    values, directions = np.linalg.eigh(spread[1:, 1:])
    varies = values > 1e-9 * rows.rows
    statistic = float(((directions.T @ off[1:])[varies] ** 2 / values[varies]).sum())
    df = int(varies.sum())
    if not df:
        return Finding("split", "ok", f"{found} units, as given")
    p_value = float(chi_square_upper(df, statistic))
    planned = " : ".join(f"{count:,.0f}" for count in expected)
    lost = "units that were lost or counted twice, found and put right; weights do not mend a wrong split"
    says = f"{found} units where {planned} were planned"
    return Finding("split", _status(p_value), says, lost if p_value < FAIL_BELOW else None, p_value)


def _propensity(
    told: Predictable | None, differences: tuple[Difference, ...], *, enough: bool, attributes: int
) -> Finding:
    if not enough:
        says = f"fewer than {LEAST_UNITS} units in an arm: whether the draw was random cannot be told"
        return Finding("propensity", "caution", says)
    if told is None:
        return Finding("propensity", "caution", "no attribute to tell by" if not attributes else "too little varies")
    if told.p_value >= FAIL_BELOW:
        return Finding("propensity", _status(told.p_value), "attributes do not tell the arm", p_value=told.p_value)
    widest = f" (most of all {differences[0].name!r})" if differences else ""
    needed = (
        "an experiment that draws the arm at random, or the log of the probabilities by which it was drawn; and leave "
        f"out attributes that were recorded after the draw{widest}"
    )
    return Finding("propensity", "fail", f"attributes tell the arm{widest}", needed, told.p_value)


def _balance(differences: tuple[Difference, ...], told: Predictable | None) -> Finding:
    """Say how far apart arms are; what may be chance is for the omnibus test to say, which knows rare levels better."""
    if not differences:
        return Finding("balance", "ok", "no attribute to compare")
    widest = differences[0]
    says = f"widest difference {abs(widest.standardised):.3f} standard deviations ({widest.name!r}, arm {widest.arm})"
    if abs(widest.standardised) > NOTABLE and told is not None and told.p_value < FAIL_BELOW:
        needed = "arms that were alike before the offer, as a random draw makes them"
        return Finding("balance", "fail", says, needed, told.p_value)
    apart = [one.p_value for one in differences if abs(one.standardised) > NOTABLE]
    p_value = min(1.0, len(differences) * min(apart)) if apart else 1.0
    return Finding("balance", "caution" if p_value < FAIL_BELOW else "ok", says, p_value=p_value)


def _overlap(smallest: float) -> Finding:
    says = f"the smallest propensity of an arm is {smallest:.3g}"
    if smallest <= 0:
        needed = "only units that could have been given every arm; leave the others out"
        return Finding("overlap", "fail", "some units could not have been given every arm", needed)
    if smallest < RARE:
        return Finding("overlap", "caution", says, "a larger share of random draws: few units stand for very many here")
    return Finding("overlap", "ok", says)


def _status(p_value: float) -> Literal["ok", "caution", "fail"]:
    if p_value < FAIL_BELOW:
        return "fail"
    return "caution" if p_value < CAUTION_BELOW else "ok"


def _differences(rows: Trial, names: Sequence[str]) -> tuple[Difference, ...]:
    """Compare each arm with control, units weighted by 1 / propensity; gaps count as a column of their own."""
    known = ~np.isnan(rows.features)
    gaps = np.flatnonzero(~known.all(axis=0))
    columns = np.hstack([rows.features, (~known[:, gaps]).astype(np.float64)])
    labels = [*names, *(f"{names[gap]} (missing)" for gap in gaps.tolist())]
    weight = 1.0 / rows.propensity[np.arange(rows.rows), rows.arm]
    found = []
    for number, label in enumerate(labels):
        there = ~np.isnan(columns[:, number])
        moments = [_weighted(columns[:, number], weight, there & (rows.arm == arm)) for arm in range(rows.arms)]
        for arm in range(1, rows.arms):
            (mean0, variance0, units0), (mean1, variance1, units1) = moments[0], moments[arm]
            pooled = np.sqrt((variance0 + variance1) / 2)
            if not (pooled > 0 and units0 > 1 and units1 > 1):
                continue
            # One variance for both arms: in an arm where a rare level happens to be absent, its own would be 0.
            joint = (variance0 * units0 + variance1 * units1) / (units0 + units1)
            joint += units0 * units1 * ((mean1 - mean0) / (units0 + units1)) ** 2
            error = np.sqrt(joint * (1 / units0 + 1 / units1))
            p_value = 2 * float(normal_upper(abs(mean1 - mean0) / error))
            found.append(Difference(label, arm, float((mean1 - mean0) / pooled), min(p_value, 1.0)))
    return tuple(sorted(found, key=lambda one: (-abs(one.standardised), one.name, one.arm)))


def _weighted(column: FloatArray, weight: FloatArray, chosen: BoolArray) -> tuple[float, float, float]:
    """Return mean, variance and effective number of units (Kish) of some rows."""
    values, weights = column[chosen], weight[chosen]
    if not len(values):
        return 0.0, 0.0, 0.0
    mean = float(np.average(values, weights=weights))
    variance = float(np.average((values - mean) ** 2, weights=weights))
    return mean, variance, float(weights.sum() ** 2 / (weights**2).sum())
