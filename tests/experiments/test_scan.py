"""The pre-scan: what the engine knows of a column without reading it is what reading every value says."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.measure.cells import ColumnGroup, compute_cells
from experiments.measure.scan import scan_columns
from experiments.sources.duck import connect

NAN, INF = float("nan"), float("inf")
COLUMNS: dict[str, tuple[str, list[Any]]] = {
    "whole": ("BIGINT", [3, -2, None, 7]),
    "whole_doubles": ("DOUBLE", [3.0, -2.0, None, 7.0]),
    "cents": ("DOUBLE", [0.29, 1.1, -5.75, 1e6 + 0.01]),
    "four": ("DOUBLE", [0.2901, 1.5, None, 2.0]),
    "third": ("DOUBLE", [1 / 3, 1.0, 2.0, 3.0]),
    "huge": ("DOUBLE", [1e300, 1.0, 2.0, 0.5]),
    "with_nan": ("DOUBLE", [NAN, 1.25, 2.5, None]),
    "with_infinity": ("DOUBLE", [INF, 1.25, -INF, 0.5]),
    "below": ("DOUBLE", [-INF, 1.25, 2.0, 0.5]),
    "nothing": ("DOUBLE", [None, None, None, None]),
    "flag": ("BOOLEAN", [True, False, None, True]),
}


def table(connection: Any, columns: dict[str, tuple[str, list[Any]]], name: str = "t") -> Any:
    declared = ", ".join(f"{column} {kind}" for column, (kind, _) in columns.items())
    connection.con.execute(f"CREATE TABLE {name} ({declared})")
    rows = list(zip(*(values for _, values in columns.values()), strict=True))
    connection.con.executemany(f"INSERT INTO {name} VALUES ({', '.join('?' * len(columns))})", rows)
    return connection.table(name)


def decimals(values: list[Any]) -> int | None:
    """Return the fewest decimals of 0, 2, 4 that give every value back, by exact fractions."""
    for places in (0, 2, 4):
        whole = [round(Fraction(value) * 10**places) for value in values]
        if all(abs(w) < 2**53 and w / 10**places == v for w, v in zip(whole, values, strict=True)):
            return places
    return None


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("name", COLUMNS)
def test_each_kind_of_column_is_told_as_it_is(tmp_path: Path, name: str, stored: bool) -> None:
    """A table of the engine's own, or a view, of which the engine knows nothing before it reads."""
    with connect(str(tmp_path)) as connection:
        rows = table(connection, COLUMNS)
        if not stored:
            connection.con.execute("CREATE VIEW seen AS FROM t")
            rows = connection.table("seen")
        scan = scan_columns(rows, [name])[name]
    values = [float(v) for v in COLUMNS[name][1] if v is not None and not np.isnan(v)]
    assert (scan.rows, scan.values) == (4, len(values))
    if not values:
        assert scan.minimum is None
        return
    assert (scan.minimum, scan.maximum) == (min(values), max(values))
    assert scan.infinite == sum(np.isinf(v) for v in values)
    if not scan.infinite:
        assert scan.decimals == decimals(values)


def test_a_late_value_with_more_decimals_is_not_missed(tmp_path: Path) -> None:
    """The first rows only say what is worth a scan; the last row of 5,000 has the third decimal."""
    values = [(i % 100) / 100 for i in range(4999)] + [0.125]
    with connect(str(tmp_path)) as connection:
        t = table(connection, {"x": ("DOUBLE", values), "v": ("INTEGER", [i % 2 for i in range(5000)])})
        scans = scan_columns(t, ["x"])
        group = ColumnGroup("x", ("x",))
        cells = compute_cells(t, [group], scans, variant="v", variants=("0", "1"))
    assert scans["x"].decimals == 4
    for arm in range(2):
        exact = [Fraction(round(v * 10_000), 10_000) for v in values[arm::2]]
        mean = sum(exact) / 2500
        assert cells.totals["x"].mean[arm, 0] == float(mean)
        assert cells.totals["x"].m2[arm, 0, 0] == float(sum((e - mean) ** 2 for e in exact))


def test_changes_are_seen(tmp_path: Path) -> None:
    """What the engine knows must not be older than the table: rows deleted, changed and added."""
    with connect(str(tmp_path)) as connection:
        t = table(connection, {"x": ("DOUBLE", [1.0, 2.0, 3.0, 50.5])})
        connection.con.execute("DELETE FROM t WHERE x > 10")
        connection.con.execute("UPDATE t SET x = 0.25 WHERE x = 1")
        connection.con.execute("INSERT INTO t VALUES (NULL)")
        scan = scan_columns(t, ["x"])["x"]
    assert (scan.rows, scan.values, scan.minimum, scan.maximum, scan.decimals) == (4, 3, 0.25, 3.0, 2)


def test_a_whole_number_that_is_cut_stays_whole(tmp_path: Path) -> None:
    """Of a count of orders, as of money: the sums are those of the cut values, exactly."""
    values = [0, 1, 1, 2, 3, 50]
    with connect(str(tmp_path)) as connection:
        rows = table(connection, {"orders": ("BIGINT", values), "arm": ("VARCHAR", ["a"] * 6)})
        scans = scan_columns(rows, ["orders"], winsorise={"orders": 0.8})
        cells = compute_cells(rows, [ColumnGroup("orders", ("orders",))], scans, variant="arm", variants=["a"])
    assert scans["orders"].upper == 3.0
    cut = np.minimum(values, 3)
    assert cells.totals["orders"].mean[0, 0] == pytest.approx(cut.mean(), abs=1e-12)
    assert cells.totals["orders"].m2[0, 0, 0] == pytest.approx(((cut - cut.mean()) ** 2).sum(), abs=1e-12)
