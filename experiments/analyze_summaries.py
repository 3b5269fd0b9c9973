"""Analyse a file of summary statistics: counts, means and variances instead of rows.

The last checkpoint of each experiment becomes a report like any other; the checkpoints before it are replayed as
somebody would have seen them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

from experiments.errors import InputError
from experiments.intended import split_weights
from experiments.replaying import Looked, calls, look, replay, sample
from experiments.report.content import sealed
from experiments.report.document import (
    Curve,
    CurvePoint,
    Plan,
    Population,
    Report,
    SequentialLook,
    SequentialPlan,
    SequentialTest,
    Text,
    VariantInfo,
)
from experiments.report.estimates import scorecard
from experiments.report.measured import Measured, MetricSpec
from experiments.report.quality import split_check, srm_check
from experiments.report.replay_document import Replay
from experiments.report.software import software
from experiments.report.summary_words import replay_sentence, summary_warnings
from experiments.report.words import file_methods, file_summary, unreadable_reason
from experiments.sources.file import FileTable, first_line, open_file, printable
from experiments.sources.summaries import Summaries, read_summaries
from experiments.sources.summary_columns import Columns, find_columns
from stats.arrays import number
from stats.samples import Sample
from stats.sequential import Spending
from stats.why import Why


@dataclass(frozen=True)
class SummaryOptions:
    """What to analyse in a file of summary statistics."""

    control: str | None = None
    """Needed where the file has a row for each variant."""
    metrics: Sequence[str] = ()
    """Names in the metric column; all by default."""
    experiment: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    """Role → column, where names do not say it."""
    split: str | None = None
    alpha: float = 0.05
    encoding: str | None = None


class SummaryAnalysis(msgspec.Struct, frozen=True, kw_only=True):
    """A report for each experiment of a file, and the replay of all checkpoints where it has several."""

    reports: list[Report]
    replay: Replay | None


def looks_like_summaries(path: str | Path, options: SummaryOptions) -> bool:
    """Return whether a file is plainly one of summary statistics."""
    with open_file(path, encoding=options.encoding) as file:
        columns = find_columns(file, options.columns)
        return columns is not None and columns.plain and not set(options.metrics) & set(file.header)


def analyze_summaries(path: str | Path, options: SummaryOptions) -> SummaryAnalysis:
    """Analyse one file of summary statistics, all experiments and metrics of it at once.

    Args:
        path: CSV (plain or gzip) or Parquet.
        options: what to analyse.

    Raises:
        InputError: when the file or an option cannot be used, in one line.
    """
    import duckdb

    if not 0.000001 <= options.alpha < 0.5:
        raise InputError(f"--alpha {options.alpha:g}: give a number from 0.000001 to 0.5, such as 0.05")
    with open_file(path, encoding=options.encoding) as file:
        try:
            columns = _columns(file, options)
            data = read_summaries(
                file, columns, control=options.control, metrics=options.metrics, experiment=options.experiment
            )
        except duckdb.Error as error:
            raise InputError(f"{printable(path)}: cannot be read: {first_line(error)}") from error
    looked = look(data, options.alpha)
    source = Path(printable(path)).name
    weights = _weights(data, options)
    whole = replay(data, options.alpha, source=source, weights=weights, looked=looked) if data.has_time else None
    reports = [_report(data, looked, name, source, weights, options) for name in dict.fromkeys(data.experiment)]
    return SummaryAnalysis(reports=reports, replay=whole)


def _columns(file: FileTable, options: SummaryOptions) -> Columns:
    columns = find_columns(file, options.columns)
    if columns is None:
        raise InputError(
            f"{file.path}: no columns of summary statistics found: n and mean (or sum, or successes) with variant, or "
            "n_c, n_t, mean_c, mean_t; name yours with --column n=NAME --column mean=NAME"
        )
    return columns


def _weights(data: Summaries, options: SummaryOptions) -> dict[str, float]:
    names = [data.control, *(name for name in dict.fromkeys(data.variant) if name != data.control)]
    return {name: float(weight) for name, weight in split_weights(options.split, names).items()}


def _report(
    data: Summaries, looked: Looked, experiment: str, source: str, weights: Mapping[str, float], options: SummaryOptions
) -> Report:
    rows = [i for i, name in enumerate(data.experiment) if name == experiment]
    variants = [data.control, *dict.fromkeys(data.variant[i] for i in rows)]
    metrics = list(dict.fromkeys(data.metric[i] for i in rows))
    places = {(data.metric[i], data.variant[i]): i for i in rows}
    counts = _counts(data, rows, variants)
    srm = split_check(counts, {name: weights[name] for name in variants})
    measured = [_measured(data, metric, variants, places) for metric in metrics]
    results = scorecard(measured, variants, options.alpha, unreadable=unreadable_reason(srm))
    total = sum(weights[name] for name in variants)
    plan = Plan(
        title=_both(f"{source}: {experiment}" if experiment else source),
        source=source,
        unit_type="unit",
        alpha=options.alpha,
        control=data.control,
        variants=[
            VariantInfo(key=v, name=_both(v), weight=weights[v] / total, is_control=v == data.control) for v in variants
        ],
        sequential=SequentialPlan(spending="obrien_fleming", planned_units=sum(counts.values()))
        if data.has_time
        else None,
    )
    judged = calls(looked, options.alpha)
    summary = file_summary(results, srm, plan)
    if data.has_time:
        summary += [replay_sentence(data, looked, judged, i) for i in rows]
    analysed = sum(counts.values())
    return sealed(
        Report(
            plan=plan,
            srm=srm,
            contaminated=0,
            duplicates=0,
            population=Population(
                kind="assigned", assigned=analysed, exposed=None, analysed=analysed, left_out={}, immature=0
            ),
            checks=[srm_check(srm)],
            metrics=results,
            verdict=None,
            summary=summary,
            curves=[_curve(data, looked, i) for i in rows] if data.has_time else [],
            sequential=[_sequential(data, looked, i, options.alpha) for i in rows] if data.has_time else [],
            warnings=summary_warnings(data, rows),
            methods=file_methods(results, options.alpha, False),
            software=software(),
            moments=[_inputs(metric, variants) for metric in measured],
        )
    )


def _both(text: str) -> Text:
    return {"en": text, "zh-CN": text}


def _last(data: Summaries, row: int) -> int:
    return len(data.times[row]) - 1


def _counts(data: Summaries, rows: Sequence[int], variants: Sequence[str]) -> dict[str, int]:
    """Return the most units that any metric has of each variant, at its last checkpoint."""
    counts = dict.fromkeys(variants, 0)
    for row in rows:
        end = _last(data, row)
        for name, arms in ((data.control, data.controls), (data.variant[row], data.variants)):
            counts[name] = max(counts[name], int(arms.n[row, end]))
    return counts


def _measured(data: Summaries, metric: str, variants: Sequence[str], places: Mapping[tuple[str, str], int]) -> Measured:
    """Return one metric's sample in every variant, at the last checkpoint of each."""
    control, others = sample(data.controls), sample(data.variants)
    parts: list[Sample] = []
    for name in variants[1:]:
        row = places.get((metric, name))
        if row is None:
            parts.append(_nothing())
            continue
        end = _last(data, row)
        parts.append(others[row, end])
        base = control[row, end]
    first = Sample(
        *(
            np.stack([getattr(part, name) for part in (base, *parts)])
            for name in ("n", "mean", "variance", "why", "shift_cov", "shift_var")
        )
    )
    binary = metric in data.binary
    spec = MetricSpec(
        name=metric,
        label=_both(metric),
        kind="proportion" if binary else "mean",
        value=metric,
        unit="share" if binary else "number",
    )
    return Measured(spec, first, first, 0, "two_proportions" if binary else "welch")


def _nothing() -> Sample:
    return Sample.of(0.0, np.nan, np.nan)


def _inputs(metric: Measured, variants: Sequence[str]) -> dict[str, object]:
    found = metric.sample
    return {
        "group": metric.spec.name,
        "variants": list(variants),
        "n": [int(n) for n in found.n],
        "mean": [number(mean) for mean in found.mean],
        "variance": [number(variance) for variance in found.variance],
    }


def _days(labels: Sequence[str]) -> list[int]:
    """Return the day of each checkpoint: its number where times are numbers, else its place."""
    try:
        return [int(np.ceil(float(label))) for label in labels]
    except ValueError:
        return list(range(1, len(labels) + 1))


def _curve(data: Summaries, looked: Looked, row: int) -> Curve:
    labels = data.times[row]
    points = []
    for place, day in enumerate(_days(labels)):
        if place + 1 < len(labels) and _days(labels)[place + 1] == day:
            continue  # the last checkpoint of a day stands for it
        known = bool(looked.known[row, place])
        why = None if known else Why(int(looked.effect.why[row, place]) or int(Why.NO_VARIANCE)).text
        points.append(
            CurvePoint(
                day=day,
                date=labels[place],
                n=int(data.controls.n[row, place] + data.variants.n[row, place]),
                estimate=number(looked.effect.estimate[row, place]),
                ci_low=number(looked.band.ci_low[row, place]) if known else None,
                ci_high=number(looked.band.ci_high[row, place]) if known else None,
                why=why,
            )
        )
    clear = None
    for point in reversed(points):
        if point.ci_low is None or point.ci_high is None or point.ci_low <= 0 <= point.ci_high:
            break
        clear = point.day
    return Curve(
        metric=data.metric[row], variant=data.variant[row], axis="experiment_day", points=points, clear_from_day=clear
    )


def _sequential(data: Summaries, looked: Looked, row: int, alpha: float) -> SequentialTest:
    days = _days(data.times[row])
    taken = np.flatnonzero(looked.known[row])
    information = looked.information[row, taken]
    spent = np.atleast_1d(Spending().spent(information, alpha))
    crossed = np.flatnonzero(np.abs(looked.z[row, taken]) >= looked.bound[row, taken])
    return SequentialTest(
        metric=data.metric[row],
        variant=data.variant[row],
        looks=[
            SequentialLook(
                day=days[place],
                units=int(data.controls.n[row, place] + data.variants.n[row, place]),
                information=float(information[k]),
                alpha_spent=float(spent[k]),
                z=number(looked.z[row, place]),
                bound=number(looked.bound[row, place]),
            )
            for k, place in enumerate(taken)
        ],
        crossed_day=days[taken[crossed[0]]] if crossed.size else None,
    )
