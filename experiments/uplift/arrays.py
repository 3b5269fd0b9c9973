"""A computed table as numpy columns: numbers as doubles with NaN for missing, everything else as objects with None."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.sources.duck import fetch


def arrays_of(table: Any) -> dict[str, NDArray[Any]]:
    """Compute an Ibis table and return its columns."""
    connection = table.get_backend()
    kinds = {name: table[name].type() for name in table.columns}
    if connection.name != "duckdb":
        rows = fetch(table)
        found: dict[str, Any] = {name: np.array([row[name] for row in rows], dtype=object) for name in kinds}
    else:
        found = connection.raw_sql(connection.compile(table)).fetchnumpy()
    return {
        name: _numbers(found[name]) if kind.is_numeric() or kind.is_boolean() else _objects(found[name])
        for name, kind in kinds.items()
    }


def _numbers(values: Any) -> NDArray[np.float64]:
    column = np.ma.asarray(values)
    if column.dtype == object:
        return np.array([np.nan if value is None else float(value) for value in column], dtype=np.float64)
    return np.asarray(np.ma.filled(column.astype(np.float64), np.nan), dtype=np.float64)


def _objects(values: Any) -> NDArray[Any]:
    column = np.ma.asarray(values)
    out: NDArray[Any] = np.ma.getdata(column).astype(object)
    out[np.ma.getmaskarray(column)] = None
    return out
