"""A baseline from the columns of a file, with what its covariates would save."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from experiments.errors import InputError
from experiments.measure.cells import ColumnGroup, compute_cells
from experiments.measure.scan import scan_columns
from experiments.planning.document import Baseline, Kind
from experiments.sources.columns import ratio_columns, read_columns
from experiments.sources.file import first_line, open_file, printable
from stats.adjustment import cuped_means, cuped_ratios
from stats.arrays import number
from stats.samples import means, ratios

VARIANT = "equipoise_variant"
ALL = "all"


def baseline_from_file(
    path: str | Path,
    *,
    metric: str | None = None,
    ratio: str | None = None,
    covariates: tuple[str, ...] = (),
    encoding: str | None = None,
) -> Baseline:
    """Measure a baseline on a file with one row per unit.

    Args:
        path: CSV (plain or gzip) or Parquet.
        metric: a column; a proportion where it holds only 0 and 1.
        ratio: or ``NUMERATOR/DENOMINATOR``.
        covariates: columns from before; units without a value are left out.
        encoding: of the text.

    Raises:
        InputError: the file or a column cannot be used.
    """
    import duckdb
    import ibis

    if (metric is None) == (ratio is None):
        raise InputError("name one column of the file: --metric COLUMN, or --ratio NUMERATOR/DENOMINATOR")
    with open_file(path, encoding=encoding) as file:
        try:
            pair = ratio_columns(file, ratio) if ratio is not None else (file.require(metric or ""),)
            before = tuple(dict.fromkeys(file.require(name) for name in covariates))
            if set(before) & set(pair):
                raise InputError("a column is both metric and covariate; a covariate is measured before the test")
            columns = tuple(dict.fromkeys((*pair, *before)))
            table = read_columns(file, {}, columns, materialise=False).mutate(**{VARIANT: ibis.literal(ALL)})
            scans = scan_columns(table, columns)
            if any(scan.infinite for scan in scans.values()):
                raise InputError(f"{printable(path)}: a column holds infinite values; remove them")
            cells = compute_cells(table, [ColumnGroup("m", columns)], scans, variant=VARIANT, variants=(ALL,))
        except duckdb.Error as error:
            raise InputError(f"{printable(path)}: cannot be read: {first_line(error)}") from error
    moments = cells.totals["m"]
    if int(moments.n[0]) < 2:
        raise InputError(f"{printable(path)}: fewer than two rows with a value: nothing to plan with")
    if len(pair) == 2:
        raw = ratios(moments, *pair)
        adjusted = cuped_ratios(moments, *pair, before).sample if before else raw
    else:
        raw = means(moments, pair[0])
        adjusted = cuped_means(moments, pair[0], before).sample if before else raw
    mean, variance, left = number(raw.mean[0]), number(raw.variance[0]), number(adjusted.variance[0])
    if mean is None or variance is None:
        raise InputError(f"{printable(path)}: the denominator of {ratio} sums to zero: there is no ratio")
    name = ratio or metric or ""
    is_share = len(pair) == 1 and scans[pair[0]].is_binary
    kind: Kind = "ratio" if len(pair) == 2 else ("proportion" if is_share else "mean")
    n = int(moments.n[0])
    return Baseline(
        name={"en": name, "zh-CN": name},
        kind=kind,
        unit="share" if is_share else "number",
        mean=mean,
        sd=float(np.sqrt(variance)),
        units=n,
        reduction=0.0 if left is None or not variance > 0 else max(0.0, 1 - left / variance),
        source={"en": f"{n:,} rows of {printable(path)}", "zh-CN": f"{printable(path)} 的 {n:,} 行"},
    )
