"""What is measured of a file's columns: a spec for each metric, and the columns that it needs and the file has not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from experiments.analyze.columns import Columns, Survival, named_metrics
from experiments.analyze.options import AnalyzeOptions, named_share, share_of
from experiments.errors import InputError
from experiments.measure.days import DAY_US
from experiments.measure.scan import ColumnScan, numeric, scan_columns
from experiments.report.document import Text
from experiments.report.measured import MetricSpec
from experiments.sources.duck import fetch
from experiments.sources.file import FileTable
from experiments.sources.layout import unique_names


@dataclass(frozen=True)
class FileTimes:
    """One time to an event: columns of the rows, ready to be grouped."""

    followed: str
    """Whole microseconds."""
    happened: str
    horizon_us: int


@dataclass(frozen=True)
class FileMetrics:
    """Every metric of a file."""

    table: Any
    """The rows with the columns that were added."""
    scans: dict[str, ColumnScan]
    simple: list[MetricSpec]
    """Those that moments tell everything about."""
    from_rows: list[MetricSpec]
    """Quantiles, times, ranks and bootstraps."""
    times: dict[str, FileTimes]
    """Metric → its times."""


def file_metrics(
    file: FileTable,
    table: Any,
    scans: Mapping[str, ColumnScan],
    columns: Columns,
    options: AnalyzeOptions,
    covariates: tuple[str, ...],
    variant: str,
) -> FileMetrics:
    """Return what is measured.

    Raises:
        InputError: for an option that names no metric, or values that do not fit what is asked of them.
    """
    named_metrics(columns, "--decrease", options.decreases)
    margins = _margins(columns, options)
    cut = _thresholds(columns, options, scans)
    scans = dict(scans)
    if options.adjustment == "none":
        covariates = ()
    for name, share in cut.items():
        column = columns.metrics[name] if name in columns.metrics else columns.ratios[name][0]
        (alias,) = unique_names([f"{column} winsorised"], table.columns)
        table = table.mutate(**{alias: numeric(table[column])})
        scans |= scan_columns(table.select(alias), [alias], winsorise={alias: share})
        cut[name] = (alias, share)
    simple = [_simple(name, (column, None), scans, covariates) for name, column in columns.metrics.items()]
    simple += [_simple(name, pair, scans, covariates) for name, pair in columns.ratios.items()]
    simple = [replace(s, value=cut[s.name][0], winsorised_at=cut[s.name][1]) if s.name in cut else s for s in simple]
    rows = [
        _of_values(
            text,
            column,
            scans,
            "quantile",
            {"en": f"{column}, {q:.6g} quantile", "zh-CN": f"{column} 的 {q:.6g} 分位数"},
            q,
        )
        for text, (column, q) in columns.quantiles.items()
    ]
    times: dict[str, FileTimes] = {}
    for text, survival in columns.survivals.items():
        table, times[text], spec = _survival(file, table, scans, text, survival, variant)
        rows.append(spec)
    for name, column in columns.ranks.items():
        label = {"en": f"{name}, ranks", "zh-CN": f"{name} 的秩"}
        rows.append(replace(_of_values(f"rank({name})", column, scans, "rank", label), unit="share"))
    for name, column in columns.bootstraps.items():
        label = {"en": f"{name}, bootstrap", "zh-CN": f"{name} 自助法"}
        rows.append(_of_values(f"bootstrap({name})", column, scans, "mean", label))

    def placed(spec: MetricSpec) -> MetricSpec:
        if spec.name in options.decreases:
            spec = replace(spec, direction="decrease")
        if spec.name in margins:
            spec = replace(spec, role="guardrail", margin_relative=margins[spec.name])
        return spec

    return FileMetrics(table, scans, [placed(s) for s in simple], [placed(s) for s in rows], times)


def _margins(columns: Columns, options: AnalyzeOptions) -> dict[str, float]:
    given = dict(named_share("--guardrail", text) for text in options.guardrails)
    named_metrics(columns, "--guardrail", list(given))
    margins = {name: share_of("--guardrail", text) for name, text in given.items()}
    for name, margin in margins.items():
        if not 0 < margin < 1:
            raise InputError(
                f"--guardrail {name}={given[name]}: give how much worse is accepted, above 0% and below 100%"
            )
    return margins


def _thresholds(columns: Columns, options: AnalyzeOptions, scans: Mapping[str, ColumnScan]) -> dict[str, Any]:
    cut: dict[str, Any] = {}
    for text in options.winsorised:
        name, share = named_share("--winsorise", text)
        if name not in columns.metrics and name not in columns.ratios:
            there = ", ".join([*columns.metrics, *columns.ratios]) or "none"
            raise InputError(
                f"--winsorise {name!r}: name a --metric or --ratio that is measured too; there are: {there}"
            )
        cut[name] = share_of("--winsorise", share)
        if not 0.5 <= cut[name] < 1:
            raise InputError(f"--winsorise {text!r}: give a quantile from 0.5 to 1, such as {name}=0.99")
        column = columns.metrics[name] if name in columns.metrics else columns.ratios[name][0]
        if scans[column].is_binary:
            raise InputError(f"--winsorise {text!r}: the column holds only 0 and 1, nothing to cut; leave it out")
    return cut


def _simple(
    name: str, target: tuple[str, str | None], scans: Mapping[str, ColumnScan], covariates: tuple[str, ...]
) -> MetricSpec:
    top, bottom = target
    binary = bottom is None and scans[top].is_binary
    missing = max(scans[c].missing for c in target if c is not None)
    return MetricSpec(
        name=name,
        label=_both(name),
        kind="ratio" if bottom is not None else "proportion" if binary else "mean",
        value=top,
        denominator=bottom,
        covariates=covariates,
        unit="share" if binary else "number",
        left_out={"missing": missing} if missing else {},
    )


def _of_values(
    name: str, column: str, scans: Mapping[str, ColumnScan], kind: str, label: Text, quantile: float | None = None
) -> MetricSpec:
    missing = scans[column].missing
    left_out = {"missing": missing} if missing else {}
    return MetricSpec(name=name, label=label, kind=kind, value=column, quantile=quantile, left_out=left_out)


def _survival(
    file: FileTable, table: Any, scans: Mapping[str, ColumnScan], text: str, survival: Survival, variant: str
) -> tuple[Any, FileTimes, MetricSpec]:
    """Return the rows with whole microseconds and the event, what is grouped, and the metric."""
    import ibis

    days, event = scans[survival.days], scans[survival.event]
    if not event.is_binary and event.values:
        raise InputError(
            f"{file.path}: --survival {text!r}: column {event.name!r} must hold 0 and 1, whether it happened"
        )
    if days.minimum is not None and days.minimum < 0:
        raise InputError(f"{file.path}: --survival {text!r}: column {days.name!r} goes down to {days.minimum:g} days")
    horizon = survival.horizon
    value, hit = numeric(table[survival.days]), numeric(table[survival.event])
    if horizon is None:
        # As far as every variant was followed; beyond that its curve is unknown.
        longest = fetch(table.group_by(variant).aggregate(most=value.max()))
        known = [float(row["most"]) for row in longest if row["most"] is not None]
        horizon = min(known, default=0.0)
        if not horizon > 0:
            raise InputError(f"{file.path}: --survival {text!r}: no unit was followed for any time; is it in days?")
    whole = round(horizon * DAY_US)
    followed, happened = unique_names(["followed", "happened"], table.columns)
    known_both = value.notnull() & hit.notnull()
    in_us = (value.cast("float64") * float(DAY_US)).round().cast("int64")
    table = table.mutate(
        **{
            followed: ibis.ifelse(known_both, ibis.least(in_us, whole), ibis.null("int64")),
            happened: ibis.ifelse(known_both, (hit == 1) & (in_us <= whole), ibis.null("boolean")),
        }
    )
    missing = max(days.missing, event.missing)
    name, length = survival.event, f"{horizon:g}"
    spec = MetricSpec(
        name=text,
        label={"en": f"Days without {name} (of {length})", "zh-CN": f"{length} 天内未发生 {name} 的天数"},
        kind="time_to_event",
        value=survival.days,
        unit="days",
        window_days=horizon,
        left_out={"missing": missing} if missing else {},
    )
    return table, FileTimes(followed, happened, whole), spec


def _both(text: str) -> Text:
    return {"en": text, "zh-CN": text}
