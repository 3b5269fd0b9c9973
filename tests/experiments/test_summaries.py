"""Files of summary statistics: every form gives what the rows themselves give; checkpoints; bad input in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from api.cli import cli
from experiments.analyze import AnalyzeOptions, analyze_file
from experiments.analyze_summaries import SummaryAnalysis, SummaryOptions, analyze_summaries, looks_like_summaries
from experiments.errors import InputError
from experiments.report.document import Comparison, Report


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    n = 900
    return pd.DataFrame(
        {
            "variant": rng.choice(["control", "coupon", "gift"], n),
            "bought": rng.integers(0, 2, n),
            "spend": np.round(rng.gamma(2, 30, n), 2),
        }
    )


def written(tmp_path: Path, frame: pd.DataFrame, name: str = "totals.csv") -> Path:
    path = tmp_path / name
    frame.to_csv(path, index=False)
    return path


def long_form(rows: pd.DataFrame, metrics: tuple[str, ...] = ("bought", "spend")) -> pd.DataFrame:
    parts = []
    for metric in metrics:
        found = rows.groupby("variant")[metric].agg(n="count", mean="mean", variance="var").reset_index()
        parts.append(found.assign(metric=metric))
    return pd.concat(parts, ignore_index=True)


def analyzed(path: Path, **options: Any) -> SummaryAnalysis:
    return analyze_summaries(path, SummaryOptions(**({"control": "control"} | options)))


def comparisons(report: Report) -> dict[tuple[str, str], Comparison]:
    return {(m.name, c.variant): c for m in report.metrics for c in m.comparisons}


def test_summaries_give_what_their_rows_give(tmp_path: Path, rows: pd.DataFrame) -> None:
    path = written(tmp_path, rows, "rows.csv")
    expected = analyze_file(path, AnalyzeOptions(variant="variant", control="control", metrics=["bought", "spend"]))
    found = analyzed(written(tmp_path, long_form(rows))).reports[0]
    assert {m.name: m.kind for m in found.metrics} == {"bought": "proportion", "spend": "mean"}
    assert found.srm == expected.srm
    ours, theirs = comparisons(found), comparisons(expected)
    assert ours.keys() == theirs.keys()
    for key, comparison in ours.items():
        other = theirs[key]
        for part in ("estimate", "ci_low", "ci_high", "ci_low_adjusted", "ci_high_adjusted"):
            for kind in ("effect", "relative"):
                value, reference = getattr(getattr(comparison, kind), part), getattr(getattr(other, kind), part)
                assert value == pytest.approx(reference, rel=1e-9, abs=1e-12)
        assert comparison.p_value_adjusted == pytest.approx(other.p_value_adjusted, rel=1e-9)
        assert comparison.reading == other.reading


def forms(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    base = long_form(rows, ("spend",))
    total, squares = rows.groupby("variant")["spend"].sum(), (rows["spend"] ** 2).groupby(rows["variant"]).sum()
    plain = base[["variant", "n", "mean"]]
    return {
        "sd": plain.assign(sd=np.sqrt(base["variance"])),
        "std_error": plain.assign(std_error=np.sqrt(base["variance"] / base["n"])),
        "sums": base[["variant", "n"]].assign(sum=total.to_numpy(), sum_sq=squares.to_numpy()),
        "other names": base.rename(columns={"n": "Users", "mean": "Average", "variance": "VAR", "variant": "arm"}),
        "chinese": base.rename(columns={"n": "样本量", "mean": "均值", "variance": "方差", "variant": "方案"}),
    }


@pytest.mark.parametrize("form", ["sd", "std_error", "sums", "other names", "chinese"])
def test_every_form_is_the_same(tmp_path: Path, rows: pd.DataFrame, form: str) -> None:
    expected = analyzed(written(tmp_path, long_form(rows, ("spend",)))).reports[0]
    found = analyzed(written(tmp_path, forms(rows)[form], "form.csv")).reports[0]
    for ours, theirs in zip(found.metrics[0].comparisons, expected.metrics[0].comparisons, strict=True):
        assert ours.p_value == pytest.approx(theirs.p_value, rel=1e-7)
        assert ours.effect.ci_low == pytest.approx(theirs.effect.ci_low, rel=1e-7)


def test_wide_form(tmp_path: Path, rows: pd.DataFrame) -> None:
    table = long_form(rows)
    control = table[table["variant"] == "control"]
    others = table[table["variant"] != "control"]
    wide = others.merge(control.drop(columns="variant"), on="metric", suffixes=("_t", "_c"))
    found = analyzed(written(tmp_path, wide), control=None).reports[0]
    expected = analyzed(written(tmp_path, table, "long.csv")).reports[0]
    assert comparisons(found) == comparisons(expected)


def test_successes_are_proportions(tmp_path: Path) -> None:
    frame = pd.DataFrame({"group": ["a", "b"], "n": [10_000, 10_050], "conversions": [480, 530]})
    found = analyzed(written(tmp_path, frame), control="a").reports[0]
    # The reference case of docs/statistics.md.
    assert found.metrics[0].comparisons[0].p_value == pytest.approx(0.125237, abs=1e-6)
    assert found.metrics[0].comparisons[0].method == "two_proportions"


def checkpoints(*, binary: bool, gap: bool = False) -> pd.DataFrame:
    """Cumulative figures of 12 days; the variance of day 5 is missing where asked for."""
    rng = np.random.default_rng(3)
    rows = []
    arms = {name: rng.integers(0, 2, 6000) if binary else rng.gamma(2, 30, 6000) for name in ("control", "coupon")}
    for day in range(1, 13):
        for name, values in arms.items():
            part = values[: 500 * day]
            variance = np.nan if gap and day == 5 else part.var(ddof=1)
            rows.append({"day": day, "variant": name, "n": len(part), "mean": part.mean(), "variance": variance})
    return pd.DataFrame(rows)


def test_missing_variances_follow_from_means_of_zero_and_one_only(tmp_path: Path) -> None:
    whole = analyzed(written(tmp_path, checkpoints(binary=True))).replay
    proved = analyzed(written(tmp_path, checkpoints(binary=True, gap=True))).replay
    assert proved is not None
    assert whole is not None
    assert (proved.arms_derived, proved.arms_missing, proved.partly_without) == (2, 0, 0)
    assert proved.rows == whole.rows
    left_out = analyzed(written(tmp_path, checkpoints(binary=False, gap=True)))
    assert left_out.replay is not None
    assert (left_out.replay.arms_derived, left_out.replay.arms_missing, left_out.replay.partly_without) == (0, 2, 1)
    assert left_out.replay.rows[0].without_variance == 1
    assert "no variance at 1 of 12 checkpoints" in left_out.reports[0].warnings[0]["en"]
    point = left_out.reports[0].curves[0].points[4]
    assert (point.ci_low, point.why) == (None, "no variance is given, and it cannot be told from the mean")
    assert point.estimate is not None


def test_a_count_metric_is_not_taken_for_zero_and_one(tmp_path: Path) -> None:
    # Mean .5 and variance .25 would be 0/1; here one unit has 2, so that the variance is larger.
    values = np.r_[np.zeros(501), np.ones(498), [2.0]]
    frame = pd.DataFrame(
        {"variant": ["a", "b"], "n": 1000, "mean": values.mean(), "variance": [values.var(), values.var(ddof=1)]}
    )
    assert analyzed(written(tmp_path, frame), control="a").reports[0].metrics[0].kind == "mean"


def test_no_variance_at_all_is_said(tmp_path: Path) -> None:
    frame = pd.DataFrame({"variant": ["a", "b"], "n": 1000, "mean": [3.1, 3.4], "variance": [np.nan, 2.0]})
    report = analyzed(written(tmp_path, frame), control="a").reports[0]
    comparison = report.metrics[0].comparisons[0]
    assert comparison.p_value is None
    assert comparison.reading == "not_computed"
    assert comparison.why == "no variance is given, and it cannot be told from the mean"
    assert "nan" not in json.dumps(json.loads(__import__("msgspec").json.encode(report))).lower()


def test_checkpoints_are_replayed(tmp_path: Path) -> None:
    # Oracle: p-values, bounds and bands of the stats room, look by look.
    from stats.effects import difference_of_means
    from stats.samples import Sample
    from stats.sequential import bounds, mixture_band

    frame = checkpoints(binary=False)
    found = analyzed(written(tmp_path, frame))
    control, coupon = (
        Sample.of(part["n"].to_numpy(), part["mean"].to_numpy(), part["variance"].to_numpy())
        for _, part in frame.groupby("variant")
    )
    effect = difference_of_means(control, coupon)
    z, bound = effect.estimate / effect.std_error, bounds(np.arange(1, 13) / 12)
    band = mixture_band(effect.estimate, effect.std_error, n=control.n + coupon.n, n_star=12_000)
    test = found.reports[0].sequential[0]
    assert [look.z for look in test.looks] == pytest.approx(z)
    assert [look.bound for look in test.looks] == pytest.approx(bound)
    assert [look.information for look in test.looks] == pytest.approx(np.arange(1, 13) / 12)
    points = found.reports[0].curves[0].points
    assert [point.ci_low for point in points] == pytest.approx(band.ci_low)
    assert found.replay is not None
    row = found.replay.rows[0]

    def first(where: np.ndarray) -> str | None:
        return str(1 + int(where.argmax())) if where.any() else None

    assert row.peeked == first(effect.p_value <= 0.05)
    assert row.group_sequential == first(np.abs(z) >= bound)
    assert row.always_valid == first(band.p_value <= 0.05)


def test_faulty_checkpoints_are_left_out_and_counted(tmp_path: Path) -> None:
    frame = checkpoints(binary=False)
    frame.loc[10, "n"] = 100
    found = analyzed(written(tmp_path, frame))
    assert found.replay is not None
    assert found.replay.faulty == 1
    assert len(found.reports[0].sequential[0].looks) == 11
    daily = checkpoints(binary=False)
    daily["n"] = [900 - 10 * i for i in range(24)]
    with pytest.raises(InputError, match="give cumulative figures"):
        analyzed(written(tmp_path, daily))


def test_many_experiments_and_the_command(tmp_path: Path, rows: pd.DataFrame) -> None:
    table = pd.concat([checkpoints(binary=False).assign(experiment=name) for name in ("spring", "summer")])
    path = written(tmp_path, table)
    both = CliRunner().invoke(cli, ["analyze", str(path), "--control", "control"])
    assert both.exit_code == 0, both.output
    assert "2 experiments, 2 series" in both.output
    document = json.loads(
        CliRunner().invoke(cli, ["analyze", str(path), "--control", "control", "--output", "json"]).output
    )
    assert len(document["reports"]) == 2
    assert document["replay"]["series"] == 2
    lines = CliRunner().invoke(cli, ["analyze", str(path), "--control", "control", "--output", "csv"]).output
    assert lines.splitlines()[0].startswith("experiment,metric,variant,checkpoints")
    one = CliRunner().invoke(cli, ["analyze", str(path), "--control", "control", "--experiment", "summer"])
    assert "peeking would have called" in one.output
    page = CliRunner().invoke(cli, ["analyze", str(path), "--control", "control", "--output", "html"])
    assert page.exit_code == 2
    assert "name one with --experiment" in page.output
    chinese = CliRunner().invoke(cli, ["analyze", str(path), "--control", "control", "--lang", "zh-CN"])
    assert "中途偷看" in chinese.output


def test_only_what_is_plainly_a_summary_is_taken_for_one(tmp_path: Path, rows: pd.DataFrame) -> None:
    assert looks_like_summaries(written(tmp_path, long_form(rows)), SummaryOptions())
    assert not looks_like_summaries(written(tmp_path, rows, "rows.csv"), SummaryOptions())
    missing = CliRunner().invoke(cli, ["analyze", str(tmp_path / "rows.csv"), "--metric", "spend"])
    assert missing.exit_code == 2
    assert "Missing option '--variant'" in missing.output


def test_columns_by_option(tmp_path: Path, rows: pd.DataFrame) -> None:
    table = long_form(rows, ("spend",)).rename(columns={"n": "heads", "mean": "per head", "variance": "spread"})
    path = written(tmp_path, table)
    with pytest.raises(InputError, match="no columns of summary statistics"):
        analyzed(path)
    found = analyzed(path, columns={"n": "heads", "mean": "per head", "variance": "spread"})
    assert found.reports[0].metrics[0].comparisons[0].p_value is not None
    with pytest.raises(InputError, match="no role 'size'"):
        analyzed(path, columns={"size": "heads"})


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"n": [10, -1, 5]}, {}, "row 2, column 'n': the number of units"),
        ({"n": [10, 2.5, 5]}, {}, "whole number"),
        ({"mean": [1.0, None, 2.0]}, {}, "row 2, column 'mean': no mean"),
        ({"variance": [1.0, -2.0, 1.0]}, {}, "row 2, column 'variance': it is negative"),
        ({"variant": ["a", "b", "b"]}, {}, "two rows for value, b"),
        ({"variant": ["a", "a", "b"]}, {}, "two rows of 'a'"),
        ({"variant": ["a", "a", "a"]}, {}, "two rows of 'a'"),
        ({}, {"control": "d"}, "no variant 'd'"),
        ({}, {"control": None}, "which variant is control"),
        ({}, {"metrics": ["profit"]}, "no metric 'profit'"),
        ({}, {"alpha": 0.9}, "--alpha"),
        ({}, {"split": "a=1,b=1"}, "no weight for 'c'"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, change: dict[str, Any], options: dict[str, Any], message: str) -> None:
    frame = {"variant": ["a", "b", "c"], "n": [10, 20, 30], "mean": [1.0, 1.5, 2.0], "variance": [1.0, 2.0, 1.0]}
    path = written(tmp_path, pd.DataFrame(frame | change))
    with pytest.raises(InputError, match=message) as raised:
        analyzed(path, **({"control": "a"} | options))
    assert "\n" not in str(raised.value)
