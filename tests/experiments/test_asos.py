"""Real checkpoints (ASOS): from summary statistics alone, all series at once; counts checked against a plain loop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from bench.simulations import asos
from experiments.analyze_summaries import SummaryAnalysis, SummaryOptions, analyze_summaries
from stats.sequential import bounds


@pytest.fixture(scope="module")
def data(shared_dir: Path) -> Path:
    path = shared_dir / "data" / "asos_checkpoints.parquet"
    if not path.is_file():
        pytest.skip(f"{path} is absent")
    return path


@pytest.fixture(scope="module")
def found(data: Path) -> SummaryAnalysis:
    return analyze_summaries(data, SummaryOptions())


@pytest.fixture(scope="module")
def frame(data: Path) -> pd.DataFrame:
    return pd.read_parquet(data)


SERIES = ["experiment_id", "metric_id", "variant_id"]


@pytest.mark.shared
def test_all_series_are_there_and_what_is_missing_is_counted(found: SummaryAnalysis, frame: pd.DataFrame) -> None:
    # Oracle: counts by pandas.
    replay = found.replay
    assert replay is not None
    assert replay.experiments == frame["experiment_id"].nunique() == len(found.reports)
    gaps = frame["variance_c"].isna() | frame["variance_t"].isna()
    by_series = gaps.groupby([frame[name] for name in SERIES])
    assert replay.series == by_series.ngroups == 188
    assert replay.without_variance == int(by_series.all().sum()) == 15
    assert replay.partly_without == int((by_series.any() & ~by_series.all()).sum()) == 15
    assert replay.judged == 188 - 15
    assert replay.arms_missing == int(frame[["variance_c", "variance_t"]].isna().sum().sum())
    said = [text["en"] for report in found.reports for text in report.warnings]
    assert sum("no variance" in text for text in said) == 30


@pytest.mark.shared
def test_metric_1_is_proved_to_be_0_or_1(found: SummaryAnalysis) -> None:
    kinds = {metric.name: {metric.kind} for report in found.reports for metric in report.metrics}
    assert kinds == {"1": {"proportion"}, "2": {"mean"}, "3": {"mean"}, "4": {"mean"}}


@pytest.mark.shared
def test_calls_are_those_of_a_plain_loop(found: SummaryAnalysis, frame: pd.DataFrame) -> None:
    # Oracle: scipy's Welch test and pooled z test one checkpoint at a time. Checkpoints whose units become fewer are
    # passed over, as in the replay.
    replay = found.replay
    assert replay is not None
    rows = {(row.experiment, row.metric, row.variant): row for row in replay.rows}
    peeked = ends = group = 0
    for key, part in frame.groupby(SERIES):
        row = rows[str(key[0]), str(key[1]), str(key[2])]
        part = part.sort_values("time_since_start")
        sound = (part["count_c"] >= part["count_c"].cummax()) & (part["count_t"] >= part["count_t"].cummax())
        last = part[["count_c", "count_t"]].iloc[-1].sum()
        part = part[sound & part["variance_c"].notna() & part["variance_t"].notna()]
        if part.empty:
            assert row.at_the_end is None
            continue
        n_c, n_t, m_c, m_t = (part[name].to_numpy() for name in ("count_c", "count_t", "mean_c", "mean_t"))
        error = np.sqrt(part["variance_c"] / n_c + part["variance_t"] / n_t).to_numpy()
        p_value = scipy_stats.ttest_ind_from_stats(
            m_t, np.sqrt(part["variance_t"]), n_t, m_c, np.sqrt(part["variance_c"]), n_c, equal_var=False
        ).pvalue
        if key[1] == 1:
            pooled = (n_c * m_c + n_t * m_t) / (n_c + n_t)
            p_value = 2 * scipy_stats.norm.sf(np.abs(m_t - m_c) / np.sqrt(pooled * (1 - pooled) * (1 / n_c + 1 / n_t)))
        called = p_value <= 0.05
        assert (row.peeked is not None) == called.any()
        assert row.at_the_end == called[-1]
        if called.any():
            assert float(row.peeked or "nan") == pytest.approx(part["time_since_start"].to_numpy()[called.argmax()])
        crossed = np.abs((m_t - m_c) / error) >= bounds((n_c + n_t) / last)
        assert (row.group_sequential is not None) == crossed.any()
        peeked, ends, group = peeked + called.any(), ends + called[-1], group + crossed.any()
    assert (replay.peeked, replay.at_the_end, replay.group_sequential) == (peeked, ends, group)


@pytest.mark.shared
def test_the_table(data: Path) -> None:
    figures = asos.run(data)
    assert len(figures) == 10
    assert all(figure.met for figure in figures)
    counts = {figure.subject: figure.value for figure in figures}
    assert counts["called by the always-valid band"] < counts["called different by peeking at some checkpoint"]


def test_without_the_data_there_is_no_table(tmp_path: Path) -> None:
    assert asos.run(tmp_path / "absent.parquet") == []
