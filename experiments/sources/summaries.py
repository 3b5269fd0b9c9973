"""Files of summary statistics: counts, means and variances per variant and metric, perhaps at many checkpoints.

Two forms are read. *Long*: a row for each variant. *Wide*: a row for each comparison, control's figures in columns that
end in ``_c`` (``_control``), the variant's in columns that end in ``_t`` (``_treatment``, ``_variant``).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.errors import InputError, unknown_name
from experiments.sources.columns import read_columns
from experiments.sources.duck import fetch
from experiments.sources.file import ROW, FileTable
from experiments.sources.summary_columns import LABELS, Columns
from stats.arrays import BoolArray, FloatArray, divide

MOST_FAULTY = 0.2
"""Share of a series' checkpoints at which its units may have become fewer; beyond it they are not cumulative at all."""
EXACT = 1e-9
"""Relative distance within which a variance is mean · (1 − mean)."""


@dataclass(frozen=True, slots=True, eq=False)
class Arms:
    """One side of every comparison at every look, shape (comparisons, looks); NaN past a comparison's last look."""

    n: FloatArray
    mean: FloatArray
    variance: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Summaries:
    """All comparisons of a file.

    Attributes:
        experiment: of each comparison, shape (comparisons,).
        metric: of each.
        variant: of each.
        control: name of what they are compared with.
        controls: control's figures.
        variants: the variants' figures.
        times: label of each look of each comparison, shorter lists for fewer looks.
        faulty: looks with fewer units than an earlier one had, which cumulative figures cannot have; same shape as the
            arms' figures.
        has_time: whether the file has checkpoints.
        binary: metrics proved to be 0 or 1 for every unit.
        given: arms × looks in the file.
        derived: of these, those whose variance was missing and follows from the mean.
        missing: of these, those without a variance.
    """

    experiment: list[str]
    metric: list[str]
    variant: list[str]
    control: str
    controls: Arms
    variants: Arms
    times: list[list[str]]
    faulty: BoolArray
    has_time: bool
    binary: frozenset[str]
    given: int
    derived: int
    missing: int


def read_summaries(
    file: FileTable,
    columns: Columns,
    *,
    control: str | None = None,
    metrics: Sequence[str] = (),
    experiment: str | None = None,
) -> Summaries:
    """Read a file of summary statistics.

    Args:
        file: the open file.
        columns: which column is what.
        control: name of control: needed for the long form, free in the wide one.
        metrics: names of metrics to keep; all by default.
        experiment: the one to keep; all by default.

    Raises:
        InputError: a figure is missing or impossible, or control is, in one line.
    """
    names = [*dict.fromkeys(column for figures in columns.figures for column in figures.values())]
    table = read_columns(file, dict(columns.labels), names, materialise=True)
    rows = fetch(table.order_by(ROW))
    if not rows:
        raise InputError(f"{file.path}: no rows")
    labels = {role: _labels(file, rows, columns, role) for role in LABELS}
    keep = _chosen(labels, metrics, experiment)
    sides = [_side(file, rows, figures, labels, keep) for figures in columns.figures]
    labels = {
        role: [value for value, kept in zip(values, keep, strict=True) if kept] for role, values in labels.items()
    }
    pooled = _binary(labels["metric"], sides, columns)
    derived = 0
    for side in sides:
        proved = np.array([metric in pooled for metric in labels["metric"]])
        fill = proved & np.isnan(side["variance"])
        side["variance"] = np.where(fill, _bernoulli(side["mean"], side["n"]), side["variance"])
        derived += int(fill.sum())
    missing = sum(int(np.isnan(side["variance"]).sum()) for side in sides)
    given = sum(len(side["n"]) for side in sides)
    if columns.wide:
        pairs = [(index, index) for index in range(len(sides[0]["n"]))]
        name = control or "control"
        before, after = sides[0], sides[1]
    else:
        name, pairs = _paired(file, labels, control)
        before = after = sides[0]
    has_time = "time" in columns.labels
    return _arranged(
        file, labels, pairs, before, after, control=name, has_time=has_time, binary=pooled,
        counts=(given, derived, missing),
    )  # fmt: skip


def _labels(file: FileTable, rows: Sequence[Mapping[str, Any]], columns: Columns, role: str) -> list[str]:
    if role not in columns.labels:
        standard = {"experiment": "", "metric": "value", "variant": "treatment", "time": ""}
        return [standard[role]] * len(rows)
    for place, row in enumerate(rows):
        if row[role] is None:
            raise InputError(f"{file.path}: row {place + 1} has no {role} (column {columns.labels[role]!r})")
    return [str(row[role]) for row in rows]


def _chosen(labels: Mapping[str, list[str]], metrics: Sequence[str], experiment: str | None) -> BoolArray:
    for asked, role in ((metrics, "metric"), ([experiment] if experiment is not None else [], "experiment")):
        known = list(dict.fromkeys(labels[role]))
        for name in asked:
            if name not in known:
                raise unknown_name(role, name, known, "in the file")
    return np.array(
        [
            (not metrics or metric in metrics) and (experiment is None or own == experiment)
            for metric, own in zip(labels["metric"], labels["experiment"], strict=True)
        ]
    )


def _side(
    file: FileTable,
    rows: Sequence[Mapping[str, Any]],
    figures: Mapping[str, str],
    labels: Mapping[str, list[str]],
    keep: BoolArray,
) -> dict[str, FloatArray]:
    """Return n, mean and variance of one side; whatever was given is brought to these three."""

    def column(role: str) -> FloatArray:
        values = [row[figures[role]] if role in figures else None for row in rows]
        return np.array([np.nan if v is None else float(v) for v in values])[keep]

    numbers = np.flatnonzero(keep) + 1

    def refuse(bad: BoolArray, role: str, what: str) -> None:
        if bad.any():
            at = int(np.flatnonzero(bad)[0])
            where = f"row {numbers[at]}, column {figures[role]!r}"
            raise InputError(f"{file.path}: {where}: {what} (metric {labels['metric'][numbers[at] - 1]!r})")

    n, mean, total, wins = column("n"), column("mean"), column("sum"), column("successes")
    refuse(~(n >= 0) | (n != np.rint(n)), "n", "the number of units must be a whole number, 0 or more")
    for role, values in (("mean", mean), ("sum", total), ("successes", wins), ("variance", column("variance"))):
        refuse(np.isinf(values), role, "the figure is infinite")
    refuse((wins < 0) | (wins > n), "successes", "successes must lie between 0 and the number of units")
    mean = np.where(np.isnan(mean), np.where(np.isnan(total), divide(wins, n), divide(total, n)), mean)
    best = next(role for role in ("mean", "sum", "successes") if role in figures)
    refuse(np.isnan(mean) & (n > 0), best, "no mean is given (nor a sum or successes)")
    variance = column("variance")
    for role in ("variance", "sd", "std_error"):
        refuse(column(role) < 0, role, "it is negative")
    squares = divide(column("sum_sq") - n * np.square(mean), n - 1)
    sources = (np.square(column("sd")), np.square(column("std_error")) * n, np.maximum(squares, 0.0))
    if "sum_sq" in figures:
        refuse(squares < -1e-6 * np.maximum(np.square(mean), 1e-300), "sum_sq", "it is less than sum²/n")
    for other in (*sources, np.where(np.isnan(wins), np.nan, _bernoulli(divide(wins, n), n))):
        variance = np.where(np.isnan(variance), other, variance)
    return {"n": n, "mean": mean, "variance": variance, "successes": wins}


def _bernoulli(mean: FloatArray, n: FloatArray) -> FloatArray:
    """Return the sample variance of a column of 0 and 1."""
    return divide(mean * (1 - mean) * n, n - 1)


def _binary(metrics: Sequence[str], sides: Sequence[Mapping[str, FloatArray]], columns: Columns) -> frozenset[str]:
    """Return the metrics that are proved to be 0 or 1 for every unit.

    Successes are. Else every known variance must be mean · (1 − mean), by n or by n − 1, and every mean a whole number
    of units. Then the mean of x² is the mean of x, which whole numbers can only do as 0 and 1.
    """
    names = np.array(metrics)
    found = set()
    for metric in dict.fromkeys(metrics):
        proofs = []
        for side in sides:
            own = names == metric
            n, mean, variance, wins = (side[part][own] for part in ("n", "mean", "variance", "successes"))
            if "successes" in columns.figures[0] and not np.isnan(wins[n > 0]).any():
                proofs.append(True)
                continue
            known = ~np.isnan(variance) & (n > 1)
            inside = (mean >= 0) & (mean <= 1) | (n == 0)
            whole = np.abs(n * mean - np.rint(n * mean)) <= 1e-6 * np.maximum(n, 1.0)
            plain, sample = mean * (1 - mean), _bernoulli(mean, n)
            like = [np.abs(variance - form) <= EXACT * np.maximum(form, 1e-300) for form in (plain, sample)]
            varies = known & (plain > 0)
            proofs.append(bool(varies.any() and inside.all() and whole.all() and (like[0] | like[1])[known].all()))
        if all(proofs):
            found.add(metric)
    return frozenset(found)


def _paired(file: FileTable, labels: Mapping[str, list[str]], control: str | None) -> tuple[str, list[tuple[int, int]]]:
    """Return control's name and, for every row of another variant, the rows of control and of itself."""
    known = list(dict.fromkeys(labels["variant"]))
    if control is None:
        raise InputError(f"{file.path}: which variant is control? Name it with --control; there are {', '.join(known)}")
    if control not in known:
        raise unknown_name("variant", control, known, f"in {file.path}")
    keys = list(zip(labels["experiment"], labels["metric"], labels["time"], strict=True))
    bases: dict[tuple[str, str, str], int] = {}
    for place, (key, variant) in enumerate(zip(keys, labels["variant"], strict=True)):
        if variant == control:
            if key in bases:
                raise InputError(f"{file.path}: two rows of {control!r} for {_shown(key)}: give one row each")
            bases[key] = place
    pairs = []
    for place, (key, variant) in enumerate(zip(keys, labels["variant"], strict=True)):
        if variant == control:
            continue
        if key not in bases:
            raise InputError(f"{file.path}: no row of {control!r} for {_shown(key)}")
        pairs.append((bases[key], place))
    if not pairs:
        raise InputError(f"{file.path}: only one variant, {control!r}: nothing to compare it with")
    return control, pairs


def _shown(key: tuple[str, ...]) -> str:
    return ", ".join(part for part in key if part)


def _arranged(
    file: FileTable,
    labels: Mapping[str, list[str]],
    pairs: Sequence[tuple[int, int]],
    before: Mapping[str, FloatArray],
    after: Mapping[str, FloatArray],
    *,
    control: str,
    has_time: bool,
    binary: frozenset[str],
    counts: tuple[int, int, int],
) -> Summaries:
    """Lay the pairs of rows out as comparisons × looks, in the order of time."""
    series: dict[tuple[str, str, str], list[tuple[Any, int, int]]] = {}
    for base, place in pairs:
        key = tuple(labels[role][place] for role in ("experiment", "metric", "variant"))
        series.setdefault((key[0], key[1], key[2]), []).append((_when(labels["time"][place]), base, place))
    looks = max(len(found) for found in series.values())
    grids = [np.full((len(series), looks), np.nan) for _ in range(6)]
    times = []
    for row, (key, found) in enumerate(series.items()):
        found.sort(key=lambda item: item[0])
        if len({item[0] for item in found}) < len(found):
            hint = "give one row each" if has_time else "or is there a column of time? Name it with --column time=NAME"
            raise InputError(f"{file.path}: two rows for {_shown(key)} at one time: {hint}")
        at = [base for _, base, _ in found], [place for _, _, place in found]
        for grid, (side, part, index) in zip(
            grids,
            [(side, part, i) for i, side in enumerate((before, after)) for part in ("n", "mean", "variance")],
            strict=True,
        ):
            grid[row, : len(found)] = side[part][at[index]]
        times.append([_shortly(labels["time"][place]) for place in at[1]])
    faulty = np.zeros((len(series), looks), dtype=bool)
    for grid in (grids[0], grids[3]):
        faulty |= grid < np.fmax.accumulate(grid, axis=-1)
    for key, labels_of, wrong in zip(series, times, faulty, strict=True):
        if wrong.sum() > MOST_FAULTY * len(labels_of):
            raise InputError(f"{file.path}: units of {_shown(key)} become fewer over time: give cumulative figures")
    return Summaries(
        experiment=[key[0] for key in series],
        metric=[key[1] for key in series],
        variant=[key[2] for key in series],
        control=control,
        controls=Arms(*grids[:3]),
        variants=Arms(*grids[3:]),
        times=times,
        faulty=faulty,
        has_time=has_time,
        binary=binary,
        given=counts[0],
        derived=counts[1],
        missing=counts[2],
    )


def _when(text: str) -> tuple[int, float, str]:
    """Return what sorts times: numbers by value, dates by day, else by their text."""
    try:
        return (0, float(text), "")
    except ValueError:
        pass
    try:
        return (1, dt.datetime.fromisoformat(text).timestamp(), "")
    except ValueError:
        return (2, 0.0, text)


def _shortly(text: str) -> str:
    """Return a time without the last digits of a double.

    >>> _shortly("5.500000000000001"), _shortly("2026-03-01")
    ('5.5', '2026-03-01')
    """
    try:
        return f"{float(text):.12g}"
    except ValueError:
        return text
