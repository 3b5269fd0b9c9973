"""Everything that a report holds beside its scorecard, as CSV in long form: one row a figure.

New sections and figures become new rows, so that the columns stay what they are.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import NamedTuple

from experiments.report.bandit.render_csv import bandit_rows
from experiments.report.document import Estimate, Interaction, Report
from experiments.report.render_csv import safe_text
from experiments.report.render_economics import economics_figures

COLUMNS = ("section", "metric", "variant", "item", "day", "figure", "value", "why")
Figures = dict[str, float | int | None]


class _Place(NamedTuple):
    """What a figure is of."""

    section: str
    metric: str
    variant: str = ""
    item: str = ""
    """Level, wave, factors or other experiment."""
    day: float | str | None = None
    """A number of days, or a date."""


_Rows = Iterator[tuple[_Place, Figures, str | None]]


def render_rows_csv(report: Report) -> str:
    """Return every figure that is not in the scorecard.

    One that cannot be computed is an empty cell, its reason in ``why``; one that does not apply has no row.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for place, figures, why in _all(report):
        names = (safe_text(place.metric), safe_text(place.variant), safe_text(place.item))
        for figure, value in figures.items():
            if value is not None or why is not None:
                writer.writerow((place.section, *names, place.day, figure, value, why if value is None else None))
    return out.getvalue()


def _all(report: Report) -> _Rows:
    if report.bandit is not None:
        for section, variant, item, day, found, why in bandit_rows(report.bandit):
            yield _Place(section, report.bandit.reward.metric, variant, item, day), found, why
    if report.economics is not None:
        for section, variant, item, found, why in economics_figures(report.economics):
            yield _Place(section, report.economics.metric, variant, item), found, why
    yield from _curves(report)
    yield from _breakdowns(report)
    yield from _looks(report)
    yield from _waves(report)
    for reached in report.reached:
        figures = {"reached": reached.reached, "reached_control": reached.reached_control, **_ends(reached.effect)}
        yield _Place("reached", reached.metric, reached.variant), figures, reached.why
    for factorial in report.factorial:
        for term in factorial.terms:
            figures = {
                **_ends(term.effect, adjusted=True),
                "p_value": term.p_value,
                "p_value_adjusted": term.p_value_adjusted,
            }
            yield _Place("factor", factorial.metric, item=" × ".join(term.factors)), figures, term.why
    yield from (_interaction(found) for found in report.overlaps)
    for curve in report.survival:
        for point in curve.points:
            figures = {"at_risk": point.at_risk, "survival": point.survival}
            if point.day:  # all are waiting at first: no interval
                figures |= {"ci_low": point.ci_low, "ci_high": point.ci_high}
            yield _Place("survival", curve.metric, curve.variant, day=point.day), figures, None


def _curves(report: Report) -> _Rows:
    for curve in report.curves:
        for point in curve.points:
            place = _Place(f"curve_{curve.axis}", curve.metric, curve.variant, day=point.day)
            yield place, {"n": point.n, "effect": point.estimate, **_interval(point.ci_low, point.ci_high)}, point.why


def _breakdowns(report: Report) -> _Rows:
    for breakdown in report.breakdowns:
        for row in breakdown.rows:
            place = _Place("breakdown", breakdown.metric, row.variant, f"{breakdown.attribute}={row.level}")
            figures = {
                "n": row.n,
                "n_control": row.n_control,
                **_ends(row.effect, adjusted=True),
                **_ends(row.relative, "relative", adjusted=True),
                "p_value": row.p_value,
                "p_value_adjusted": row.p_value_adjusted,
                **({} if row.shrunken is None else _ends(row.shrunken, "shrunken")),
            }
            yield place, figures, row.why or row.relative.why
        yield from (_interaction(found) for found in breakdown.interactions)


def _looks(report: Report) -> _Rows:
    for test in report.sequential:
        for look in test.looks:
            figures: Figures = {
                "n": look.units,
                "information": look.information,
                "alpha_spent": look.alpha_spent,
                "z": look.z,
                "bound": look.bound,
                "futility": look.futility,
            }
            yield _Place("look", test.metric, test.variant, day=look.day), figures, None


def _waves(report: Report) -> _Rows:
    for pooled in report.pooled:
        for wave in pooled.waves:
            figures = {"n": wave.n, "weight": wave.weight, **_ends(wave.effect)}
            yield _Place("wave", pooled.metric, pooled.variant, wave.occasion), figures, wave.effect.why
        figures = {
            **_ends(pooled.effect),
            "prediction_low": pooled.prediction_low,
            "prediction_high": pooled.prediction_high,
            "spread": pooled.spread,
            "heterogeneity_p": pooled.heterogeneity_p,
        }
        yield _Place("pooled", pooled.metric, pooled.variant), figures, pooled.why


def _interaction(found: Interaction) -> tuple[_Place, Figures, str | None]:
    figures: Figures = {} if found.units is None else {"n": found.units}
    figures |= {
        "statistic": found.statistic,
        "df": found.df,
        "p_value": found.p_value,
        "p_value_adjusted": found.p_value_adjusted,
    }
    return _Place(f"interaction_{found.kind}", found.metric, found.variant, found.subject), figures, found.why


def _ends(effect: Estimate, name: str = "effect", *, adjusted: bool = False) -> Figures:
    prefix = "" if name == "effect" else f"{name}_"
    figures: Figures = {name: effect.estimate, **_interval(effect.ci_low, effect.ci_high, prefix)}
    if adjusted:
        figures |= {f"{prefix}ci_low_adjusted": effect.ci_low_adjusted}
        figures |= {f"{prefix}ci_high_adjusted": effect.ci_high_adjusted}
    return figures


def _interval(low: float | None, high: float | None, prefix: str = "") -> Figures:
    return {f"{prefix}ci_low": low, f"{prefix}ci_high": high}
