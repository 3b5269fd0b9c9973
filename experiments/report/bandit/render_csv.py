"""The report of a policy that learns as CSV: one row a variant; everything else in long form, one row a figure."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator

from experiments.report.bandit.document import Bandit, Value

COLUMNS = (
    "metric", "unit", "variant", "decisions", "share", "value", "std_error", "ci_low", "ci_high",
    "adaptive", "adaptive_ci_low", "adaptive_ci_high", "always_valid_ci_low", "always_valid_ci_high",
    "naive_mean", "median_propensity", "chance_best", "masked", "why",
)  # fmt: skip
Figures = dict[str, float | int | None]
Row = tuple[str, str, str, str | None, Figures, str | None]
"""Section, variant, item, day, figures, why."""


def bandit_csv(bandit: Bandit, safe: Callable[[str], str]) -> str:
    """Return a row for each variant; a missing figure is an empty cell, its reason stands in ``why``.

    Args:
        bandit: the part of a report.
        safe: makes text that a spreadsheet does not run as a formula, see `experiments.report.render_csv.safe_text`.
    """
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for arm in bandit.arms:
        writer.writerow(
            {
                "metric": safe(bandit.reward.metric),
                "unit": bandit.reward.unit,
                "variant": safe(arm.variant),
                "decisions": arm.decisions,
                "share": arm.share,
                "value": arm.value.estimate,
                "std_error": arm.value.std_error,
                "ci_low": arm.value.ci_low,
                "ci_high": arm.value.ci_high,
                "adaptive": arm.adaptive.estimate,
                "adaptive_ci_low": arm.adaptive.ci_low,
                "adaptive_ci_high": arm.adaptive.ci_high,
                "always_valid_ci_low": arm.always_valid.ci_low,
                "always_valid_ci_high": arm.always_valid.ci_high,
                "naive_mean": arm.naive_mean,
                "median_propensity": arm.median_propensity,
                "chance_best": arm.chance_best,
                "masked": "true" if arm.masked else "false",
                "why": arm.value.why,
            }
        )
    return out.getvalue()


def bandit_rows(bandit: Bandit) -> Iterator[Row]:
    """Return every figure that has no place in a row of a variant."""
    gain = bandit.gain
    for item, value in (("policy", gain.policy), ("control", gain.control), ("gain", gain.gain), ("total", gain.total)):
        yield "gain", "", item, None, ends(value), value.why
    counts: Figures = {
        "policy_decisions": gain.policy_decisions,
        "control_decisions": gain.control_decisions,
        "policy_units": gain.policy_units,
        "control_units": gain.control_units,
        "decisions": bandit.decisions,
        "open": bandit.open,
    }
    yield "gain", "", "counts", None, counts, None
    for point in gain.curve:
        yield "gain_by_day", "", "", point.date, {"decisions": point.decisions, **ends(point.total)}, point.total.why
    for day in bandit.days:
        for variant, count in zip(bandit.variants, day.counts, strict=True):
            yield "decisions_by_day", variant, "", day.date, {"decisions": count}, None
    for segment in bandit.segments:
        for variant, count in zip(bandit.variants, segment.counts, strict=True):
            yield "who_gets_what", variant, f"{segment.attribute}={segment.level}", None, {"decisions": count}, None
    for index, count in enumerate(bandit.propensities.counts):
        yield "propensities", "", f"{bandit.propensities.edges[index]:g}", None, {"decisions": count}, None
    for policy in bandit.policies:
        item = policy.code if policy.version is None else f"{policy.code} v{policy.version}"
        figures: Figures = {
            **ends(policy.value),
            "ess": policy.ess,
            "max_weight": policy.max_weight,
            "ips": policy.ips,
            "snips": policy.snips,
        }
        yield "policies", policy.variant or "", item, None, figures, policy.value.why
        if policy.against_live is not None:
            yield "policies_against_live", policy.variant or "", item, None, ends(policy.against_live), None
    for line in bandit.versions:
        rows: Figures = {"rows": line.rows, "decisions": line.decisions}
        yield "versions", "", f"v{line.version} {line.state}", None, rows, None


def ends(value: Value) -> Figures:
    """Return an estimate as figures."""
    return {
        "estimate": value.estimate,
        "std_error": value.std_error,
        "ci_low": value.ci_low,
        "ci_high": value.ci_high,
    }
