"""A report's scorecard as CSV: one row per metric and variant, control included."""

from __future__ import annotations

import csv
import io
from typing import Any

from experiments.report.bandit.render_csv import bandit_csv
from experiments.report.document import Comparison, MetricResult, Report

COLUMNS = (
    "metric", "kind", "role", "unit", "variant", "is_control", "n", "mean", "std_error",
    "effect", "ci_low", "ci_high", "ci_low_adjusted", "ci_high_adjusted",
    "relative", "relative_ci_low", "relative_ci_high", "relative_ci_low_adjusted", "relative_ci_high_adjusted",
    "p_value", "p_value_adjusted", "chance_to_win", "expected_loss",
    "after_stopping", "after_stopping_ci_low", "after_stopping_ci_high", "reading", "readable", "method", "why",
)  # fmt: skip

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def render_csv(report: Report) -> str:
    """Return the scorecard; a missing figure is an empty cell, its reason stands in ``why``.

    Of an experiment whose policy learns, which has none: what each variant earns.
    """
    if report.bandit is not None:
        return bandit_csv(report.bandit, safe_text)
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for metric in report.metrics:
        comparisons = {c.variant: c for c in metric.comparisons}
        for variant in metric.variants:
            row: dict[str, Any] = {
                "metric": safe_text(metric.name),
                "kind": metric.kind,
                "role": metric.role,
                "unit": metric.unit,
                "variant": safe_text(variant.variant),
                "is_control": "true" if variant.variant == metric.control else "false",
                "n": variant.n,
                "mean": variant.mean,
                "std_error": variant.std_error,
                "why": variant.why,
            }
            if variant.variant in comparisons:
                row |= _comparison(metric, comparisons[variant.variant])
            writer.writerow(row)
    return out.getvalue()


def _comparison(metric: MetricResult, comparison: Comparison) -> dict[str, Any]:
    effect, relative, stopped = comparison.effect, comparison.relative, comparison.after_stopping
    p_value = comparison.p_value_margin if metric.role == "guardrail" else comparison.p_value
    return {
        "effect": effect.estimate,
        "ci_low": effect.ci_low,
        "ci_high": effect.ci_high,
        "ci_low_adjusted": effect.ci_low_adjusted,
        "ci_high_adjusted": effect.ci_high_adjusted,
        "relative": relative.estimate,
        "relative_ci_low": relative.ci_low,
        "relative_ci_high": relative.ci_high,
        "relative_ci_low_adjusted": relative.ci_low_adjusted,
        "relative_ci_high_adjusted": relative.ci_high_adjusted,
        "p_value": p_value if p_value is not None else comparison.p_value,
        "p_value_adjusted": comparison.p_value_adjusted,
        "chance_to_win": comparison.chance_to_win,
        "expected_loss": comparison.expected_loss,
        "after_stopping": None if stopped is None else stopped.estimate,
        "after_stopping_ci_low": None if stopped is None else stopped.ci_low,
        "after_stopping_ci_high": None if stopped is None else stopped.ci_high,
        "reading": comparison.reading,
        "readable": "true" if comparison.readable else "false",
        "method": comparison.method,
        "why": comparison.why,
    }


def safe_text(value: str) -> str:
    """Return text that a spreadsheet will not run as a formula.

    >>> safe_text("=1+1"), safe_text("spend")
    ("'=1+1", 'spend')
    """
    return "'" + value if value.startswith(FORMULA_STARTS) else value
