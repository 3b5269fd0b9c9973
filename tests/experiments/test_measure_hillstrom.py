"""The same experiment from a file and through the service's log gives the same numbers, to the last bit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from experiments.analyze import AnalyzeOptions, analyze_file
from experiments.log.rows import DecisionRow, EventRow
from experiments.report.build import build_report
from experiments.report.document import MetricResult
from experiments.store import Store
from tests.experiments.measuring import NOW_US, START_US, decided, define, experiment, happened, metric, record

pytestmark = pytest.mark.shared

ARMS = ["No E-Mail", "Mens E-Mail", "Womens E-Mail"]


def rows(frame: pd.DataFrame) -> Iterator[DecisionRow | EventRow]:
    for index, row in enumerate(frame.itertuples()):
        unit = f"h{index:05d}"
        yield decided(unit, str(row.segment))
        if row.visit:
            yield happened("Visit", unit, START_US + 86_400_000_000)
        if row.conversion:
            yield happened("Conversion", unit, START_US + 2 * 86_400_000_000)
            minor = round(float(str(row.spend)) * 100)
            yield happened("Order Completed", unit, START_US + 2 * 86_400_000_000, minor, object_id=f"o{index}")


def figures(result: MetricResult) -> list[object]:
    shown: list[object] = [(v.variant, v.n, v.mean, v.std_error) for v in result.variants]
    shown += [(c.variant, c.effect, c.relative, c.p_value, c.p_value_adjusted, c.reading) for c in result.comparisons]
    return shown


def test_the_log_gives_the_figures_of_the_file(store: Store, shared_dir: Path) -> None:
    file = shared_dir / "data" / "hillstrom.csv.gz"
    define(
        store,
        metric("visit", "proportion", event="Visit"),
        metric("conversion", "proportion", event="Conversion"),
        metric("spend", "sum", value="value"),
        experiment(
            {"primary": ["visit", "conversion", "spend"]}, variants=[{"key": k} for k in ARMS], control="No E-Mail"
        ),
    )
    record(store, rows(pd.read_csv(file)))
    report = build_report(store, "winback", NOW_US)
    options = AnalyzeOptions("segment", "No E-Mail", metrics=("visit", "conversion", "spend"))
    direct = analyze_file(file, options)
    assert report.srm == direct.srm
    assert report.population.analysed == 64_000
    for one, two in zip(report.metrics, direct.metrics, strict=True):
        assert figures(one) == figures(two), one.name
    assert report.verdict is not None
    assert (report.verdict.code, report.verdict.variant) == ("roll_out", "Mens E-Mail")
