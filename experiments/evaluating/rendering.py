"""An evaluation as text for the terminal and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from experiments.evaluating.evaluation import Evaluation, Valued
from stats.ope import Estimate

NAMES = {
    "ips": "IPS",
    "snips": "SNIPS",
    "dm": "DM (model alone)",
    "dr": "DR",
    "sndr": "SNDR",
    "switch_dr": "SWITCH-DR",
    "dros": "DRos",
    "sub_gaussian": "sub-Gaussian",
}


def render_json(evaluation: Evaluation) -> str:
    """Return the evaluation as a JSON document; what cannot be computed is null beside its reason."""
    log = evaluation.log
    document = {
        "log": {
            "path": log.path,
            "format": log.format,
            "decisions": log.n,
            "members": None if log.unit is None else len(set(log.unit.tolist())),
            "variants": list(log.variants),
            "left_out": dict(log.left_out),
            "mean_reward": asdict(evaluation.logged),
        },
        "options": asdict(evaluation.options),
        "policies": [_policy(one) for one in evaluation.policies],
    }
    return json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def _policy(one: Valued) -> dict[str, Any]:
    return {
        "policy": one.policy,
        "estimates": {name: asdict(estimate) for name, estimate in one.estimates.items()},
        "difference": {"estimator": one.main, "shown": one.shown, **asdict(one.difference)},
        "empirical_bernstein": None if one.bernstein is None else asdict(one.bernstein),
        "diagnostics": {**asdict(one.diagnostics), "ess_share": one.diagnostics.ess_share},
        "warnings": list(one.warnings),
        "notes": list(one.notes),
    }


def render_text(evaluation: Evaluation) -> str:
    """Return the evaluation as text of at most 110 columns."""
    return "\n".join(_lines(evaluation)) + "\n"


def _lines(evaluation: Evaluation) -> Iterator[str]:
    log, logged = evaluation.log, evaluation.logged
    members = "" if log.unit is None else f" of {logged.clusters:,} members"
    yield f"{log.path}: {log.n:,} decisions{members}, {len(log.variants)} variants"
    for why, count in log.left_out.items():
        yield f"  left out, {why}: {count:,}"
    if log.unit is None:
        yield "  no column names the member: intervals take decisions as independent"
    yield f"  earned: {_interval(logged, evaluation)} a decision"
    for one in evaluation.policies:
        yield ""
        yield f"policy {one.policy}"
        for note in one.notes:
            yield f"  {note}"
        yield f"  {'estimator':<18}{'value':>12}{'s.e.':>12}   interval"
        for name, estimate in one.estimates.items():
            yield f"  {NAMES[name]:<18}{_cells(estimate)}"
        if one.bernstein is not None:
            yield f"  {'IPS, Bernstein':<18}{_cells(one.bernstein)}"
        about = one.diagnostics
        share = "" if about.ess_share is None else f" ({about.ess_share:.0%})"
        yield (
            f"  effective decisions {about.ess:,.0f}{share}, greatest weight {_number(about.max_weight)}, "
            f"mean weight {_number(about.mean_weight)}, effective outcomes {about.outcomes or 0:,.0f}"
        )
        yield f"  {_sentence(one, evaluation)}"
        for warning in one.warnings:
            yield f"  ! {warning}"


def _sentence(one: Valued, evaluation: Evaluation) -> str:
    estimate = one.difference
    if estimate.value is None or estimate.ci_low is None:
        return f"Against what was logged: not defined ({estimate.why})"
    told = _interval(estimate, evaluation, sign=True)
    if one.shown == "better":
        return f"Earns more than what was logged: {told} by {NAMES[one.main]}"
    if one.shown == "worse":
        return f"Earns less than what was logged: {told} by {NAMES[one.main]}"
    why = "see the warning" if one.warnings else "the interval holds 0"
    return f"No difference to what was logged is shown: {told} by {NAMES[one.main]}; {why}"


def _cells(estimate: Estimate) -> str:
    if estimate.value is None:
        return f"{'–':>12}{'–':>12}   {estimate.why}"
    if estimate.ci_low is None:
        return f"{_number(estimate.value):>12}{'–':>12}   {estimate.why}"
    interval = f"[{_number(estimate.ci_low)}, {_number(estimate.ci_high)}]"
    return f"{_number(estimate.value):>12}{_number(estimate.std_error):>12}   {interval}"


def _interval(estimate: Estimate, evaluation: Evaluation, *, sign: bool = False) -> str:
    value = _number(estimate.value, sign=sign)
    if estimate.ci_low is None:
        return f"{value} ({estimate.why})"
    low, high = _number(estimate.ci_low, sign=sign), _number(estimate.ci_high, sign=sign)
    return f"{value} [{low}, {high}] ({100 * (1 - evaluation.options.alpha):.3g} %)"


def _number(value: float | None, *, sign: bool = False) -> str:
    """Write a number with four significant digits, a very small one with three.

    >>> _number(0.0069), _number(1234567.8), _number(-0.00123456, sign=True), _number(None)
    ('0.0069', '1,234,568', '-0.001235', '–')
    """
    if value is None:
        return "–"
    plus = "+" if sign else ""
    if abs(value) >= 10_000:
        return format(value, f"{plus},.0f")
    return format(value, f"{plus}.3g" if abs(value) < 1e-4 else f"{plus}.4g")
