"""A/A tests and power on the rows of a file: which methods keep their promise on these very data?

Rows never leave the machine; units are randomised into variants again and again, and every method that applies is tried
on every simulated experiment.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.errors import InputError
from experiments.intended import split_weights
from experiments.measure.scan import scan_columns
from experiments.report.validation_document import Validation, ValidationRow
from experiments.report.validation_words import verdict
from experiments.sources.columns import ratio_columns, read_columns
from experiments.sources.file import ROW, FileTable, first_line, open_file, printable
from stats.arrays import FloatArray, IntArray
from stats.validation import (
    MethodResult,
    Prepared,
    Share,
    Tally,
    Trial,
    UnitMetric,
    Units,
    add,
    batches,
    prepare,
    results,
    simulate,
)

MOST_SIMULATIONS = 1_000_000
LEAST_UNITS = 20
MOST_STRATA = 50
DEFAULT_QUANTILES = (0.5, 0.9)


@dataclass(frozen=True)
class ValidateOptions:
    """What to simulate on a file; columns as in ``analyze``."""

    metrics: Sequence[str] = ()
    ratios: Sequence[str] = ()
    covariates: Sequence[str] = ()
    unit: str | None = None
    cluster: str | None = None
    strata: str | None = None
    variants: int = 2
    split: str | None = None
    """Weights, ``"A=1,B=2"``, the first one control; equal by default."""
    effect: float = 0.0
    """Relative effect to be found."""
    alpha: float = 0.05
    looks: int = 10
    quantiles: Sequence[float] = DEFAULT_QUANTILES
    methods: Sequence[str] = ()
    simulations: int = 2000
    row_simulations: int = 200
    """Simulations on which methods that need rows are tried."""
    max_units: int = 200_000
    """More are sampled at random."""
    seed: int = 1
    processes: int = 1
    encoding: str | None = None


def validate_file(
    path: str | Path, options: ValidateOptions, *, progress: Callable[[int], None] | None = None
) -> Validation:
    """Simulate experiments on the rows of a file.

    Args:
        path: CSV (plain or gzip) or Parquet with one row per unit; a variant column is not needed and not looked at.
        options: what to simulate.
        progress: is told how many simulations are done since it was told last.

    Raises:
        InputError: when the file or an option cannot be used, in one line.
    """
    names, trial = _trial(options)
    units, left_out = _read(path, options)
    total = units.size
    units = _sampled(units, options.max_units, options.seed)
    if units.size < LEAST_UNITS:
        raise InputError(f"{printable(path)}: {units.size} units are too few to simulate with ({LEAST_UNITS} needed)")
    try:
        prepared = prepare(units, trial)
        tally = _simulate(prepared, options, progress)
        found = results(prepared, tally)
    except ValueError as error:
        raise InputError(str(error)) from error
    return _document(path, options, names, units, total, left_out, found)


def _trial(options: ValidateOptions) -> tuple[list[str], Trial]:
    if not options.metrics and not options.ratios:
        raise InputError("nothing to validate: give at least one --metric COLUMN or --ratio NUMERATOR/DENOMINATOR")
    if not 0.000001 <= options.alpha < 0.5:
        raise InputError(f"--alpha {options.alpha:g}: give a number from 0.000001 to 0.5, such as 0.05")
    if not 1 <= options.simulations <= MOST_SIMULATIONS:
        raise InputError(f"--simulations {options.simulations}: give a number from 1 to {MOST_SIMULATIONS:,}")
    if not 2 <= options.variants <= 20:
        raise InputError(f"--variants {options.variants}: give a number from 2 to 20")
    if not 1 <= options.looks <= 200:
        raise InputError(f"--looks {options.looks}: give a number from 1 to 200")
    if not -0.95 <= options.effect <= 10:
        raise InputError(f"--effect {options.effect:g}: give a relative effect from -95% to 1000%, such as 5%")
    if any(not 0 < q < 1 for q in options.quantiles):
        raise InputError("--quantile: give a number between 0 and 1, such as 0.9")
    names = _named(options.split) if options.split else []
    names = names or ["control", *(f"variant {i}" for i in range(1, options.variants))]
    weights = split_weights(options.split, names)
    if any(not weight for weight in weights.values()):
        raise InputError(f"--split {options.split!r}: every variant needs a weight above 0 to be simulated")
    return names, Trial(
        weights=tuple(float(weight) for weight in weights.values()),
        effect=options.effect,
        alpha=options.alpha,
        looks=options.looks,
        quantiles=tuple(dict.fromkeys(options.quantiles)),
        methods=tuple(options.methods) or None,
        seed=options.seed,
    )


def _named(split: str) -> list[str]:
    """Return the names in a split, in order; here there is no file to say which there are."""
    names = [part.rpartition("=")[0].strip() for part in split.split(",") if part.strip()]
    if not all(names):
        raise InputError(f'--split {split!r} is not VARIANT=WEIGHT; write "control=1,offer=2", control first')
    return list(dict.fromkeys(names))


def _read(path: str | Path, options: ValidateOptions) -> tuple[Units, dict[str, int]]:
    import duckdb

    with open_file(path, encoding=options.encoding) as file:
        try:
            return _units(file, options)
        except duckdb.Error as error:
            raise InputError(f"{printable(path)}: cannot be read: {first_line(error)}") from error


def _units(file: FileTable, options: ValidateOptions) -> tuple[Units, dict[str, int]]:
    metrics = {name: file.require(name) for name in options.metrics}
    ratios = {text: ratio_columns(file, text) for text in options.ratios}
    covariates = [file.require(name) for name in dict.fromkeys(options.covariates)]
    texts = {name: file.require(name) for name in (options.unit, options.cluster, options.strata) if name is not None}
    numbers = list(dict.fromkeys([*metrics.values(), *(c for pair in ratios.values() for c in pair), *covariates]))
    if both := set(numbers) & set(texts.values()):
        raise InputError(f"column {min(both)!r} is named as a number and as unit, cluster or stratum: name it once")
    if both := set(covariates) & ({*metrics.values()} | {c for pair in ratios.values() for c in pair}):
        raise InputError(f"column {min(both)!r} is both a metric and a covariate; a covariate is measured before")
    table = read_columns(file, {column: column for column in texts.values()}, numbers, materialise=True)
    scans = scan_columns(table, numbers)
    for scan in scans.values():
        if scan.infinite:
            raise InputError(f"{file.path}: column {scan.name!r} holds {scan.infinite:,} infinite values; remove them")
        if not scan.values:
            raise InputError(f"{file.path}: column {scan.name!r} has no values at all")
    columns = _fetched(table, numbers, list(texts.values()))
    keep, left_out = _kept(columns, [texts[name] for name in texts], options.unit and texts[options.unit])
    columns = {name: values[keep] for name, values in columns.items()}
    return Units(
        metrics=(
            *(
                UnitMetric(name, "proportion" if scans[column].is_binary else "mean", columns[column])
                for name, column in metrics.items()
            ),
            *(UnitMetric(text, "ratio", columns[top], columns[bottom]) for text, (top, bottom) in ratios.items()),
        ),
        covariates=_filled([columns[name] for name in covariates], int(np.count_nonzero(keep))),
        cluster=_codes(columns, options.cluster and texts[options.cluster]),
        stratum=_strata(file, columns, options.strata, texts),
    ), left_out


def _fetched(table: Any, numbers: Sequence[str], texts: Sequence[str]) -> dict[str, Any]:
    """Return columns in the file's order: numbers as doubles with NaN for missing, texts as they are."""
    connection = table.get_backend()
    found = connection.raw_sql(connection.compile(table.order_by(ROW))).fetchnumpy()
    out: dict[str, Any] = {}
    for name in numbers:
        column = np.ma.asarray(found[name])
        out[name] = np.ma.filled(column.astype(np.float64), np.nan)
    for name in texts:
        column = np.ma.asarray(found[name])
        values = np.ma.getdata(column).astype(object)
        values[np.ma.getmaskarray(column)] = None
        out[name] = values
    return out


def _kept(columns: dict[str, Any], texts: Sequence[str], unit: str | None) -> tuple[np.ndarray, dict[str, int]]:
    """Return which rows are units: those with a unit, cluster and stratum; of repeated units the first row."""
    keep = np.ones(len(next(iter(columns.values()))), dtype=bool)
    for name in texts:
        keep &= np.array([value is not None for value in columns[name]], dtype=bool)
    left_out = {"unnamed": int(np.count_nonzero(~keep))}
    if unit is not None:
        places = np.flatnonzero(keep)
        _, first = np.unique(columns[unit][places].astype(str), return_index=True)
        left_out["duplicate"] = len(places) - len(first)
        keep = np.zeros(len(keep), dtype=bool)
        keep[places[first]] = True
    return keep, {reason: n for reason, n in left_out.items() if n}


def _filled(covariates: Sequence[FloatArray], n: int) -> FloatArray:
    """Return covariates without gaps; a column that says where the gaps were stands beside each that has some."""
    columns = []
    for values in covariates:
        gaps = np.isnan(values)
        columns.append(np.where(gaps, np.nanmin(values), values))
        if gaps.any():
            columns.append(gaps.astype(np.float64))
    return np.column_stack(columns) if columns else np.zeros((n, 0))


def _codes(columns: dict[str, Any], name: str | None) -> IntArray | None:
    if name is None:
        return None
    return np.asarray(np.unique(columns[name].astype(str), return_inverse=True)[1], dtype=np.int64)


def _strata(file: FileTable, columns: dict[str, Any], name: str | None, texts: dict[str, str]) -> IntArray | None:
    codes = _codes(columns, name and texts[name])
    if codes is not None and codes.size and codes.max() >= MOST_STRATA:
        levels = f"{int(codes.max()) + 1:,} different values (at most {MOST_STRATA})"
        raise InputError(f"{file.path}: column {name!r} has {levels}: name a column with strata")
    return codes


def _sampled(units: Units, most: int, seed: int) -> Units:
    """Return at most so many units, at random, in their order; whole clusters where there are some."""
    from stats.validation.units import in_order

    if units.size <= most:
        return units
    rng = np.random.default_rng([seed, 2])
    if units.cluster is None:
        return in_order(units, np.sort(rng.choice(units.size, most, replace=False)).astype(np.int64))
    sizes = np.bincount(units.cluster)
    order = rng.permutation(len(sizes))
    chosen = order[: max(2, int(np.searchsorted(np.cumsum(sizes[order]), most, side="right")))]
    kept = in_order(units, np.flatnonzero(np.isin(units.cluster, chosen)).astype(np.int64))
    codes = np.asarray(np.unique(kept.cluster, return_inverse=True)[1], dtype=np.int64)  # type: ignore[call-overload]
    return Units(kept.metrics, kept.covariates, codes, kept.stratum)


def _simulate(prepared: Prepared, options: ValidateOptions, progress: Callable[[int], None] | None) -> Tally:
    work = batches(prepared, options.simulations, min(options.row_simulations, options.simulations))

    def told() -> Iterator[Tally]:
        for done, tally in _tallies(prepared, work, options.processes):
            if progress is not None:
                progress(done)
            yield tally

    return add(told())


def _tallies(prepared: Prepared, work: Sequence[tuple[int, int, int]], processes: int) -> Iterator[tuple[int, Tally]]:
    if processes <= 1 or len(work) == 1:
        for batch in work:
            yield batch[1], simulate(prepared, *batch)
        return
    import multiprocessing

    # One thread of linear algebra a process: they share the processors already.
    inherited = os.environ.get(THREADS)
    os.environ[THREADS] = "1"
    try:
        with ProcessPoolExecutor(
            min(processes, len(work)),
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin,
            initargs=(prepared.units, prepared.trial),
        ) as pool:
            waiting = {pool.submit(_work, *batch): batch[1] for batch in work}
            for future in as_completed(waiting):
                yield waiting[future], future.result()
    finally:
        os.environ.pop(THREADS, None)
        if inherited is not None:
            os.environ[THREADS] = inherited


THREADS = "OPENBLAS_NUM_THREADS"
_prepared: list[Prepared] = []
"""What this process works on, where it is one of several."""


def _begin(units: Units, trial: Trial) -> None:
    _prepared[:] = [prepare(units, trial)]


def _work(batch: int, runs: int, row_runs: int) -> Tally:
    return simulate(_prepared[0], batch, runs, row_runs)


def _document(
    path: str | Path,
    options: ValidateOptions,
    names: Sequence[str],
    units: Units,
    total: int,
    left_out: dict[str, int],
    found: Sequence[MethodResult],
) -> Validation:
    from experiments.report.software import software

    return Validation(
        source=Path(printable(path)).name,
        units=units.size,
        units_in_file=total,
        clusters=None if units.cluster is None else int(units.cluster.max()) + 1,
        left_out=left_out,
        variants=dict(zip(names, (float(w) for w in split_weights(options.split, names).values()), strict=True)),
        effect=options.effect,
        alpha=options.alpha,
        looks=options.looks,
        simulations=options.simulations,
        seed=options.seed,
        results=[_row(result, options) for result in found],
        software=software(),
    )


def _row(result: MethodResult, options: ValidateOptions) -> ValidationRow:
    def listed(share: Share) -> list[float] | None:
        if share.value is None or share.ci_low is None or share.ci_high is None:
            return None
        return [share.value, share.ci_low, share.ci_high]

    return ValidationRow(
        metric=result.metric,
        method=result.method,
        reading=result.reading,
        simulations=result.simulations,
        not_computed=result.not_computed,
        false_alarms=listed(result.false_alarms),
        coverage=listed(result.coverage),
        power=listed(result.power),
        wrong_sign=listed(result.wrong_sign),
        effect_coverage=listed(result.effect_coverage),
        relative_coverage=listed(result.relative_coverage),
        relative_effect=result.relative_effect,
        sample_used=result.sample_used,
        verdict=verdict(result, options.alpha),
    )
