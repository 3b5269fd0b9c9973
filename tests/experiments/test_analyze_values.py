"""`analyze FILE` on columns that are hard to sum or to read: numpy's figures, or one line that says why not."""

from __future__ import annotations

import decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from experiments.analyze import AnalyzeOptions, analyze_file
from experiments.errors import InputError
from experiments.report.document import Report

N = 400
RNG = np.random.default_rng(11)
X = RNG.integers(0, 100, N)
GROUP = RNG.choice(["a", "b"], N)


def read(path: Path, columns: dict[str, Any], **options: object) -> Report:
    pyarrow.parquet.write_table(pa.table({"g": pa.array(GROUP), **columns}), path)
    given: dict[str, object] = {"variant": "g", "control": "a", "metrics": ["m"]}
    return analyze_file(path, AnalyzeOptions(**(given | options)))  # type: ignore[arg-type]


def decimals(values: Any, places: int, kind: pa.DataType) -> pa.Array:
    return pa.array([decimal.Decimal(f"{v:.{places}f}") for v in values], kind)


COLUMNS: dict[str, tuple[pa.Array, Any]] = {
    "int8": (pa.array((X - 50).astype(np.int8)), X - 50),
    "uint64": (pa.array(X.astype(np.uint64)), X),
    "whole numbers beyond 2^53": (pa.array(X * (1 << 50) + (1 << 62) // 2), X * float(1 << 50) + float(1 << 61)),
    "the whole range of int64": (pa.array((X - 50) * (1 << 57)), (X - 50) * float(1 << 57)),
    "float32": (pa.array(X.astype(np.float32) / 3), (X.astype(np.float32) / np.float32(3)).astype(float)),
    "float16": (pa.array(X.astype(np.float16)), X),
    "decimal(18, 2)": (decimals(X / 3, 2, pa.decimal128(18, 2)), np.round(X / 3, 2)),
    "decimal(38, 10)": (decimals(X / 3, 10, pa.decimal128(38, 10)), np.round(X / 3, 10)),
    "very large": (pa.array(X * 1e67), X * 1e67),
    "very small": (pa.array(X * 1e-67), X * 1e-67),
    "truth values": (pa.array(X > 30), X > 30),
    "numbers as text": (pa.array([str(x) for x in X]), X),
    "numbers as categories": (pa.array([str(x) for x in X]).dictionary_encode(), X),
    "words": (pa.array([("yes", "no")[x % 2] for x in X]), X % 2 == 0),
}


@pytest.mark.parametrize("name", list(COLUMNS))
def test_every_kind_of_number_is_read(tmp_path: Path, name: str) -> None:
    column, values = COLUMNS[name]
    metric = read(tmp_path / "a.parquet", {"m": column}).metrics[0]
    for summary in metric.variants:
        part = np.asarray(values, dtype=float)[summary.variant == GROUP]
        assert summary.mean == pytest.approx(part.mean(), rel=1e-12)
        assert summary.std_error == pytest.approx(part.std(ddof=1) / np.sqrt(len(part)), rel=1e-9)


REFUSED: dict[str, tuple[pa.Array, str]] = {
    "times": (pa.array(pd.date_range("2026-01-01", periods=N)), "holds timestamp"),
    "lists": (pa.array([[1.0]] * N), "holds array"),
    "structures": (pa.array([{"a": 1}] * N), "holds struct"),
    "text": (pa.array(["1", "x"] * (N // 2)), "row 2, column 'm': 'x' is not a number"),
    "infinity": (pa.array(np.where(X == 3, np.inf, X)), "infinite values"),
    "too large": (pa.array(X * 1e300), "of which no squares can be computed"),
    "too small": (pa.array(X * 1e-300), "of which no squares can be computed"),
    "ids near 2^62": (pa.array(X + (1 << 62)), "varies by 99, too little beside its size"),
    "ids near 2^64": (pa.array(X.astype(np.uint64) + np.uint64(2**64 - 200)), "varies by 99, too little"),
    "decimals near 10^37": (
        pa.array([decimal.Decimal(str(10**37 + int(x))) for x in X]),
        "varies by 99, too little",
    ),
    "decimals of 50 digits": (decimals(X, 2, pa.decimal256(50, 2)), "has more than 38 digits"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_cannot_be_measured_gets_one_line(tmp_path: Path, name: str) -> None:
    column, message = REFUSED[name]
    for unit in (None, "u"):
        with pytest.raises(InputError, match=message.replace("(", "\\(")) as caught:
            read(tmp_path / "a.parquet", {"m": column, "u": pa.array(range(N))}, unit=unit)
        assert "\n" not in str(caught.value)


def test_columns_that_are_not_named_may_hold_anything(tmp_path: Path) -> None:
    odd = {"n": pa.array([{"a": [{"b": 1}]}] * N), "t": pa.array(pd.date_range("2026-01-01", periods=N))}
    metric = read(tmp_path / "a.parquet", {**odd, "m": pa.array(X), "M": pa.array(-X), "": pa.array(X)}).metrics[0]
    assert metric.variants[0].mean == pytest.approx(X[GROUP == "a"].mean())
    other = read(tmp_path / "a.parquet", {**odd, "m": pa.array(X), "M": pa.array(-X)}, metrics=["M"]).metrics[0]
    assert other.variants[0].mean == pytest.approx(-X[GROUP == "a"].mean())


@pytest.mark.parametrize("name", ["file_row_number", "equipoise_row"])
@pytest.mark.parametrize("unit", [None, "u"])
def test_columns_may_have_the_names_that_we_use(tmp_path: Path, name: str, unit: str | None) -> None:
    units = [f"u{i // 2}" if GROUP[i] == GROUP[i // 2 * 2] else f"v{i}" for i in range(N)]
    report = read(tmp_path / "a.parquet", {name: pa.array(X), "u": pa.array(units)}, metrics=[name], unit=unit)
    kept = pd.DataFrame({"g": GROUP, "u": units, "x": X})
    kept = kept.drop_duplicates("u") if unit else kept  # the first of each unit
    assert report.metrics[0].variants[0].mean == pytest.approx(kept[kept["g"] == "a"]["x"].mean(), rel=1e-12)


def test_a_truth_value_as_variant_is_true_however_it_is_written(tmp_path: Path) -> None:
    columns = {"m": pa.array(X), "treated": pa.array(GROUP == "b")}
    first = read(tmp_path / "a.parquet", columns, variant="treated", control="False", split="False=1,True=1")
    assert first == read(tmp_path / "a.parquet", columns, variant="treated", control="false")


def test_a_missing_covariate_may_be_a_truth_value(tmp_path: Path) -> None:
    gaps = pa.array([None if x % 9 == 0 else bool(x % 2) for x in X])
    metric = read(tmp_path / "a.parquet", {"m": pa.array(X), "c": gaps}, covariates=["c"]).metrics[0]
    assert sum(v.n for v in metric.variants) == N


def test_a_level_that_says_missing_joins_the_missing(tmp_path: Path) -> None:
    levels = pa.array([(None, "(missing)", "x")[x % 3] for x in X])
    report = read(tmp_path / "a.parquet", {"m": pa.array(X), "tier": levels}, breakdowns=["tier"])
    assert report.metrics[0].left_out == {}
    assert [r.level for r in report.breakdowns[0].rows] == ["(missing)", "x"]
    assert sum(r.n + r.n_control for r in report.breakdowns[0].rows) == N


def test_a_covariate_may_be_a_breakdown_too(tmp_path: Path) -> None:
    columns = {"m": pa.array(X), "new": pa.array(X % 2)}
    report = read(tmp_path / "a.parquet", columns, covariates=["new"], breakdowns=["new"])
    assert [r.level for r in report.breakdowns[0].rows] == ["0", "1"]
    assert report.breakdowns[0].attribute == "new"


def test_what_is_named_twice_counts_once(tmp_path: Path) -> None:
    columns = {"m": pa.array(X), "d": pa.array(X + 1), "c": pa.array(X % 7)}
    once = read(tmp_path / "a.parquet", columns, ratios=["m/d"], covariates=["c"])
    twice = read(tmp_path / "a.parquet", columns, metrics=["m", "m"], ratios=["m/d", "m / d"], covariates=["c", "c"])
    assert once == twice, "the family of comparisons is no larger"
    for options, message in (
        ({"covariates": ["d"], "ratios": ["m/d"]}, "both a metric and a covariate"),
        ({"breakdowns": ["g"]}, "named as variant and as breakdown"),
        ({"breakdowns": ["m"]}, "name it once"),
    ):
        with pytest.raises(InputError, match=message):
            read(tmp_path / "a.parquet", columns, **options)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_order_of_rows_changes_no_digit(tmp_path: Path, kind: str) -> None:
    """Doubles of 17 digits too: their sums are sums of whole numbers."""
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"g": GROUP, "m": rng.normal(1e6, 1, N), "h": rng.lognormal(0, 3, N), "c": rng.normal(size=N)})
    frame.loc[::7, "c"] = np.nan
    frame["tier"] = rng.choice(["x", "y"], N)
    options = AnalyzeOptions(
        variant="g", control="a", metrics=["m", "h"], ratios=["h/m"], covariates=["c"], breakdowns=["tier"]
    )
    hashes = set()
    for seed in range(5):
        path = tmp_path / f"{seed}" / f"a.{kind}"
        path.parent.mkdir()
        shuffled = frame.sample(frac=1, random_state=seed)
        shuffled.to_csv(path, index=False) if kind == "csv" else shuffled.to_parquet(path, index=False)
        hashes.add(analyze_file(path, options).content_hash)
    assert len(hashes) == 1
