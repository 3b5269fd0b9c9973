"""What the policy earns more than its control group: the two are drawn apart by the hash, so plain means compare them.

Each mean is over decisions, its interval clustered by unit; the control group is never learned from, so what the policy
does does not depend on it.
"""

from __future__ import annotations

import numpy as np

from experiments.measure.days import day_text
from experiments.report.bandit.document import Gain, GainPoint, Standing, Value
from experiments.report.bandit.influence import Mean, mean_of, missing, value_of
from experiments.report.bandit.logged import Logged

LEAST_OUTCOMES = 10
"""Decisions of either group that earned something; below, a normal interval of rare outcomes is not one."""
MOST_POINTS = 60
COLD = "no version has drawn yet: every variant that a member is eligible for has the same chance"


def gain_of(
    log: Logged,
    *,
    alpha: float,
    control_share: float,
    control_split: str,
    always_valid: bool = False,
) -> Gain:
    """Compare the policy's decisions with the control group's.

    Args:
        log: matured decisions.
        alpha: error probability of the intervals.
        control_share: declared share of the control group.
        control_split: ``uniform`` or ``weights``.
        always_valid: intervals that hold at every look.
    """
    drew = ~log.uniform
    policy = mean_of(log.reward, drew, log.unit, log.units)
    control = mean_of(log.reward, log.uniform, log.unit, log.units)
    difference = None if policy is None or control is None else policy.minus(control)
    why = why_early(log, policy, control)
    n = 0 if policy is None else policy.rows
    if why is None and difference is not None:
        gain = value_of(difference, alpha, always_valid=always_valid)
        total = value_of(difference, alpha, always_valid=always_valid, factor=n)
    else:
        gain = total = missing(why or "nothing has matured yet")
    return Gain(
        standing=_standing(log, gain),
        policy=value_of(policy, alpha, always_valid=always_valid),
        control=value_of(control, alpha, always_valid=always_valid),
        gain=gain,
        total=total,
        policy_decisions=n,
        control_decisions=0 if control is None else control.rows,
        policy_units=0 if policy is None else policy.units,
        control_units=0 if control is None else control.units,
        control_share=control_share,
        control_split="weights" if control_split == "weights" else "uniform",
        curve=[] if why is not None else curve_of(log, alpha),
        always_valid=always_valid,
    )


def why_early(log: Logged, policy: Mean | None, control: Mean | None) -> str | None:
    """Return why the two groups are not compared yet, ``None`` where they are."""
    if not np.any(log.version[~log.uniform] > 0):
        return COLD
    if control is None:
        return "no decision of the control group has matured yet"
    assert policy is not None  # noqa: S101 - a version drew
    won = [int(np.count_nonzero(log.converted & group)) for group in (~log.uniform, log.uniform)]
    if min(won) < LEAST_OUTCOMES:
        side = "control group" if won[1] < LEAST_OUTCOMES else "policy"
        return f"too few outcomes in the {side}: {min(won)} of {LEAST_OUTCOMES} needed"
    found = value_of(policy.minus(control), 0.05)
    return found.why


def _standing(log: Logged, gain: Value) -> Standing:
    if not np.any(log.version[~log.uniform] > 0):
        return "cold"
    if gain.ci_low is None or gain.ci_high is None:
        return "early"
    if gain.ci_low > 0:
        return "ahead"
    return "behind" if gain.ci_high < 0 else "unclear"


def curve_of(log: Logged, alpha: float) -> list[GainPoint]:
    """Return what was gained up to each day, with a band that holds at all of them."""
    days = np.unique(log.day)
    if days.size > MOST_POINTS:
        days = days[np.unique(np.linspace(0, days.size - 1, MOST_POINTS).round().astype(int))]
    points = []
    for day in days.tolist():
        until = log.day <= day
        policy = mean_of(log.reward, until & ~log.uniform, log.unit, log.units)
        control = mean_of(log.reward, until & log.uniform, log.unit, log.units)
        if policy is None or control is None:
            continue
        total = value_of(policy.minus(control), alpha, always_valid=True, factor=policy.rows)
        points.append(GainPoint(date=day_text(day), decisions=policy.rows, total=total))
    return points
