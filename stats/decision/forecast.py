"""About how many more units and days settle what is open."""

from __future__ import annotations

import math
from collections.abc import Sequence

from stats.decision.parts import WEEK_DAYS, Finding, Progress, Rule, VariantOutlook

MOST_GROWTH = 50.0
"""A test that would need more than this many times its present sample is not said to need "n more days"."""


def more_units(
    findings: Sequence[Finding],
    undecided: Sequence[VariantOutlook],
    first: str,
    progress: Progress,
    bound: float | None,
    *,
    complete: bool,
) -> int | None:
    """Return about how many more units settle what is open: the plan's, or by widths shrinking as 1/√units.

    It takes the estimate as it stands, so it is a rough forecast: the variant that needs least counts.
    """
    if progress.planned_units is not None and progress.units < progress.planned_units:
        return progress.planned_units - progress.units
    if not complete or not undecided or progress.units == 0:
        return None
    needs = []
    for outlook in undecided:
        growth = [
            _growth(finding, bound if finding.metric == first else None)
            for finding in findings
            if finding.variant == outlook.variant and finding.reading in ("unclear", "not_proven")
            if finding.role == "guardrail" or finding.metric == first
        ]
        if growth and None not in growth:
            needs.append(max(value for value in growth if value is not None))
    if not needs or min(needs) > MOST_GROWTH:
        return None
    return max(1, math.ceil(progress.units * (min(needs) - 1)))


def _growth(finding: Finding, bound: float | None) -> float | None:
    """Return by what factor the sample must grow for this interval to clear zero, the bound or the limit."""
    if finding.estimate is None or finding.ci_low is None or finding.ci_high is None:
        return None
    half = (finding.ci_high - finding.ci_low) / 2
    if finding.role == "guardrail":
        room = None if finding.limit is None else abs(finding.estimate - finding.limit)
    else:
        room = max(abs(finding.estimate), 0.0 if bound is None else bound - abs(finding.estimate))
    if not room or half <= 0:
        return None
    return max(1.0, (half / room) ** 2)


def more_days(progress: Progress, unmet: Sequence[Rule], more_units: int | None) -> int | None:
    """Return about how many more days, in whole weeks where enrolment rolls.

    Units come at the pace at which they have entered so far. A group-sequential test counts them once their outcome
    windows are over, so it waits for those of the last one needed.

    >>> watched = Progress(enrolment="rolling", inference="group_sequential", units=1400, planned_units=5200, days=12,
    ...                    immature=1400, days_to_mature=7)
    >>> more_days(watched, [Rule("planned_sample", False, {})], 3800)  # 2,400 more in 11 days, and a week: day 30
    23
    """
    if progress.stands == "over":
        return None
    if progress.stands == "waiting":
        return progress.days_to_mature
    if progress.enrolment == "once":
        return progress.days_to_mature if any(rule.code == "outcomes_mature" for rule in unmet) else None
    if progress.days is None:
        return None
    days = progress.days
    if more_units is not None:
        # A watched test counts units as they mature; more than those have entered.
        unripe = progress.immature if progress.inference == "group_sequential" else 0
        entered = progress.units + unripe
        if entered == 0 or progress.days == 0:
            return None
        days += math.ceil(max(more_units - unripe, 0) * progress.days / entered)
        days += (progress.days_to_mature or 0) if unripe else 0
    elif not unmet:
        return None
    if progress.planned_days is not None:
        days = max(days, progress.planned_days)
    return max(WEEK_DAYS, math.ceil(days / WEEK_DAYS) * WEEK_DAYS) - progress.days
