"""`analyze FILE`: real figures, file formats, what is left out, and a clear line for each kind of bad input."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from api.cli import cli
from experiments.analyze import AnalyzeOptions, analyze_file
from experiments.errors import InputError
from experiments.report.document import Report


def rows_of(n: int = 4000, seed: int = 7) -> pd.DataFrame:
    """Two variants; outcomes are independent of the variant."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "member": [f"m{i}" for i in range(n)],
            "group": rng.choice(["control", "coupon"], n),
            "bought": rng.integers(0, 2, n),
            "spend": np.round(rng.gamma(2, 30, n), 2),
            "orders": rng.poisson(1.4, n),
            "before": np.round(rng.gamma(2, 30, n), 2),
            "tier": rng.choice(["gold", "basic"], n),
        }
    )


def write(frame: pd.DataFrame, path: Path, **options: object) -> Path:
    if path.suffix == ".parquet":
        frame.to_parquet(path, index=False)
    else:
        frame.to_csv(path, index=False, **options)  # type: ignore[call-overload]
    return path


def analyze(path: Path, **options: object) -> Report:
    defaults: dict[str, object] = {"variant": "group", "control": "control", "metrics": ["bought", "spend"]}
    return analyze_file(path, AnalyzeOptions(**(defaults | options)))  # type: ignore[arg-type]


@pytest.mark.shared
def test_hillstrom_gives_the_published_figures(shared_dir: Path) -> None:
    # Source: ../shared/data/README.md (counts and means of the file; z and t from scipy and statsmodels).
    file = shared_dir / "data" / "hillstrom.csv.gz"
    result = CliRunner().invoke(
        cli,
        [
            *("analyze", str(file), "--variant", "segment", "--control", "No E-Mail"),
            *("--metric", "visit", "--metric", "conversion", "--metric", "spend", "--output", "json"),
        ],
    )
    assert result.exit_code == 0, result.output
    report = json.loads(result.output)
    assert report["srm"]["p_value"] == pytest.approx(0.90, abs=0.005)
    assert report["srm"]["observed"] == {"No E-Mail": 21306, "Mens E-Mail": 21307, "Womens E-Mail": 21387}
    metrics = {m["name"]: m for m in report["metrics"]}
    assert {name: m["kind"] for name, m in metrics.items()} == {
        "visit": "proportion",
        "conversion": "proportion",
        "spend": "mean",
    }
    expected = {
        "visit": {"Mens E-Mail": 0.18276, "Womens E-Mail": 0.15140, "No E-Mail": 0.10617},
        "conversion": {"Mens E-Mail": 0.01253, "Womens E-Mail": 0.00884, "No E-Mail": 0.00573},
        "spend": {"Mens E-Mail": 1.4226, "Womens E-Mail": 1.0772, "No E-Mail": 0.6528},
    }
    for name, means in expected.items():
        found = {v["variant"]: v["mean"] for v in metrics[name]["variants"]}
        assert found == pytest.approx(means, abs=5e-5)
    spend = {c["variant"]: c for c in metrics["spend"]["comparisons"]}
    for variant, (estimate, low, high, t) in {
        "Mens E-Mail": (0.7698, 0.485, 1.055, 5.30),
        "Womens E-Mail": (0.4244, 0.169, 0.680, 3.26),
    }.items():
        effect = spend[variant]["effect"]
        assert effect["estimate"] == pytest.approx(estimate, abs=5e-5)
        assert (effect["ci_low"], effect["ci_high"]) == pytest.approx((low, high), abs=5e-4)
        half = (effect["ci_high"] - effect["ci_low"]) / 2 / 1.95996
        assert effect["estimate"] / half == pytest.approx(t, abs=0.006)
        assert effect["ci_low_adjusted"] < effect["ci_low"]
        assert spend[variant]["reading"] == "better"
        assert spend[variant]["readable"] is True
        assert spend[variant]["why"] is None
    for variant, z in {"Mens E-Mail": 22.49, "Womens E-Mail": 13.95}.items():
        p_value = next(c for c in metrics["visit"]["comparisons"] if c["variant"] == variant)["p_value"]
        from scipy import stats

        assert stats.norm.isf(p_value / 2) == pytest.approx(z, abs=0.005)
    assert report["contaminated"] == 0
    assert report["duplicates"] == 0


def test_figures_equal_scipy_on_the_same_rows(tmp_path: Path) -> None:
    from scipy import stats
    from statsmodels.stats.proportion import proportions_ztest

    frame = rows_of()
    report = analyze(write(frame, tmp_path / "a.csv"))
    a, b = (frame[frame["group"] == g] for g in ("control", "coupon"))
    bought, spend = report.metrics
    _, p_value = proportions_ztest([b["bought"].sum(), a["bought"].sum()], [len(b), len(a)])
    assert bought.comparisons[0].p_value == pytest.approx(p_value, rel=1e-9)
    welch = stats.ttest_ind(b["spend"], a["spend"], equal_var=False)
    assert spend.comparisons[0].p_value == pytest.approx(welch.pvalue, rel=1e-9)
    interval = welch.confidence_interval(0.95)
    effect = spend.comparisons[0].effect
    assert (effect.ci_low, effect.ci_high) == pytest.approx((interval.low, interval.high), rel=1e-9)


def test_cuped_is_the_regression_on_variant_and_covariate(tmp_path: Path) -> None:
    """θ pooled within variants is the coefficient of ANCOVA: the effect is that of OLS (statsmodels)."""
    import statsmodels.formula.api as smf

    frame = rows_of()
    frame["spend"] = np.round(frame["spend"] + 0.8 * frame["before"], 2)
    report = analyze(write(frame, tmp_path / "a.csv"), metrics=["spend"], covariates=["before"])
    frame["treated"] = (frame["group"] == "coupon").astype(int)
    fit = smf.ols("spend ~ treated + before", frame).fit()
    comparison = report.metrics[0].comparisons[0]
    assert comparison.method == "cuped_mean"
    assert comparison.effect.estimate == pytest.approx(fit.params["treated"], rel=1e-9)
    assert comparison.variance_reduction == pytest.approx(
        np.corrcoef(frame["spend"], frame["before"])[0, 1] ** 2, abs=0.02
    )


def test_units_without_the_covariate_are_kept(tmp_path: Path) -> None:
    """A missing covariate becomes an indicator: the effect is that of OLS with the indicator beside it."""
    import statsmodels.formula.api as smf

    frame = rows_of()
    frame.loc[frame.index % 5 == 0, "before"] = np.nan
    report = analyze(write(frame, tmp_path / "a.csv"), metrics=["spend"], covariates=["before"])
    assert [v.n for v in report.metrics[0].variants] == [(frame["group"] == g).sum() for g in ("control", "coupon")]
    frame["treated"] = (frame["group"] == "coupon").astype(int)
    frame["gap"] = frame["before"].isna().astype(int)
    frame["before"] = frame["before"].fillna(0)
    fit = smf.ols("spend ~ treated + before + gap", frame).fit()
    assert report.metrics[0].comparisons[0].effect.estimate == pytest.approx(fit.params["treated"], rel=1e-9)


def test_ratio_is_the_delta_method(tmp_path: Path) -> None:
    frame = rows_of()
    report = analyze(write(frame, tmp_path / "a.csv"), metrics=[], ratios=["spend/orders"])
    metric = report.metrics[0]
    assert (metric.name, metric.kind) == ("spend/orders", "ratio")
    for summary in metric.variants:
        part = frame[frame["group"] == summary.variant]
        ratio = part["spend"].sum() / part["orders"].sum()
        residual = (part["spend"] - ratio * part["orders"]) / part["orders"].mean()
        assert summary.mean == pytest.approx(ratio, rel=1e-9)
        assert summary.std_error == pytest.approx(residual.std(ddof=1) / np.sqrt(len(part)), rel=1e-9)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.parquet"])
def test_every_format_gives_the_same_report(tmp_path: Path, name: str) -> None:
    frame = rows_of()
    plain = analyze(write(frame, tmp_path / "plain.csv"))
    other = analyze(write(frame, tmp_path / name))
    assert other.metrics == plain.metrics


def test_gb18030_is_found_out(tmp_path: Path) -> None:
    frame = rows_of().rename(columns={"group": "方案", "bought": "复购"})
    frame["方案"] = frame["方案"].map({"control": "对照组", "coupon": "满100减20"})
    utf8, gb = write(frame, tmp_path / "u.csv"), write(frame, tmp_path / "g.csv", encoding="gb18030")
    (tmp_path / "g.csv.gz").write_bytes(gzip.compress(gb.read_bytes()))
    (tmp_path / "bom.csv").write_bytes(b"\xef\xbb\xbf" + utf8.read_bytes())
    options: dict[str, object] = {"variant": "方案", "control": "对照组", "metrics": ["复购"]}
    expected = analyze(utf8, **options).metrics
    assert analyze(gb, **options).metrics == expected
    assert analyze(tmp_path / "g.csv.gz", **options).metrics == expected
    assert analyze(tmp_path / "bom.csv", **options).metrics == expected
    assert analyze(gb, **options, encoding="gbk").metrics == expected


def test_empty_cells_are_missing_not_zero(tmp_path: Path) -> None:
    frame = rows_of()
    frame.loc[frame.index % 2 == 0, "spend"] = np.nan
    report = analyze(write(frame, tmp_path / "a.csv"), metrics=["spend"])
    metric = report.metrics[0]
    kept = frame.dropna()
    assert [v.n for v in metric.variants] == [(kept["group"] == g).sum() for g in ("control", "coupon")]
    assert metric.variants[0].mean == pytest.approx(kept[kept["group"] == "control"]["spend"].mean(), rel=1e-12)
    assert metric.left_out == {"missing": 2000}
    assert sum(report.srm.observed.values()) == len(frame)
    assert analyze(write(frame, tmp_path / "a.parquet"), metrics=["spend"]).metrics == report.metrics


def test_words_for_missing_and_true_are_understood(tmp_path: Path) -> None:
    text = "group,bought\n" + "control,TRUE\ncontrol,no\ncontrol,NA\ncoupon,yes\ncoupon,false\n" * 20
    (tmp_path / "a.csv").write_text(text)
    metric = analyze(tmp_path / "a.csv", metrics=["bought"]).metrics[0]
    assert metric.kind == "proportion"
    assert [(v.n, v.mean) for v in metric.variants] == [(40, 0.5), (40, 0.5)]
    assert metric.left_out == {"missing": 20}


def test_repeats_and_units_in_two_variants_are_found(tmp_path: Path) -> None:
    frame = rows_of()
    repeated = frame.iloc[:30].assign(spend=9999.0)
    other = {"control": "coupon", "coupon": "control"}
    mixed = frame.iloc[100:107].assign(group=frame.iloc[100:107]["group"].map(other))
    path = write(pd.concat([frame, repeated, mixed]), tmp_path / "a.csv")
    report = analyze(path, unit="member")
    assert (report.contaminated, report.duplicates) == (7, 30)
    clean = analyze(write(frame.drop(index=range(100, 107)), tmp_path / "b.csv"))
    assert report.metrics == clean.metrics
    assert report.population.analysed == 3993
    assert analyze(path).duplicates == 0


def test_split_is_checked_against_the_intended_weights(tmp_path: Path) -> None:
    frame = rows_of()
    path = write(frame, tmp_path / "a.csv")
    assert analyze(path).srm.status == "ok"
    report = analyze(path, split="control=1,coupon=2")
    assert report.srm.status == "fail"
    comparison = report.metrics[0].comparisons[0]
    assert comparison.readable is False
    assert "SRM" in (comparison.why or "")
    assert comparison.effect.estimate is not None, "figures are always in JSON, CSV and CLI"


def test_breakdown_levels_add_up_and_are_adjusted(tmp_path: Path) -> None:
    report = analyze(write(rows_of(), tmp_path / "a.csv"), breakdowns=["tier"])
    assert [b.metric for b in report.breakdowns] == ["bought", "spend"]
    table = report.breakdowns[0]
    assert [r.level for r in table.rows] == ["basic", "gold"]
    assert sum(r.n for r in table.rows) == report.metrics[0].variants[1].n
    assert sum(r.n_control for r in table.rows) == report.metrics[0].variants[0].n
    for row in table.rows:
        assert row.p_value is not None
        assert row.p_value_adjusted is not None
        assert row.p_value_adjusted >= row.p_value
    plain = analyze(tmp_path / "a.csv")
    assert plain.metrics == report.metrics, "cells by level add up to the same figures"


def test_no_statistic_comes_out_of_no_variation(tmp_path: Path) -> None:
    frame = rows_of().assign(bought=0, spend=5.0)
    for metric in analyze(write(frame, tmp_path / "a.csv")).metrics:
        comparison = metric.comparisons[0]
        assert comparison.p_value is None
        assert comparison.effect.ci_low is None
        assert comparison.reading == "not_computed"
        assert comparison.why


def test_row_order_does_not_change_the_hash(tmp_path: Path) -> None:
    frame = rows_of()
    first = analyze(write(frame, tmp_path / "a.csv"))
    shuffled = frame.sample(frac=1, random_state=3)
    (tmp_path / "x").mkdir()
    second = analyze(write(shuffled, tmp_path / "x" / "a.csv"))
    assert first.content_hash == second.content_hash
    assert len(first.content_hash) == 64


def test_large_values_keep_their_variance(tmp_path: Path) -> None:
    """Mean/sd = 1e8: raw sums of squares would be noise; shifted ones keep the variance (numpy's two passes)."""
    frame = rows_of()
    rng = np.random.default_rng(1)
    frame["spend"] = 1e8 + rng.normal(0, 1, len(frame))
    metric = analyze(write(frame, tmp_path / "a.parquet"), metrics=["spend"]).metrics[0]
    part = frame[frame["group"] == "control"]["spend"]
    assert metric.variants[0].std_error == pytest.approx(part.std(ddof=1) / np.sqrt(len(part)), rel=1e-7)


@pytest.mark.parametrize("output", ["table", "csv"])
def test_other_outputs_print(tmp_path: Path, output: str) -> None:
    path = write(rows_of(), tmp_path / "a.csv")
    args = ["analyze", str(path), "--variant", "group", "--control", "control", "--metric", "bought"]
    result = CliRunner().invoke(cli, [*args, "--breakdown", "tier", "--output", output])
    assert result.exit_code == 0, result.output
    assert "bought" in result.output
    assert "nan" not in result.output.lower()


BAD: list[tuple[str, dict[str, object], str]] = [
    ("unknown column", {"metrics": ["bougth"]}, "no column 'bougth' in {path}: did you mean 'bought'?"),
    ("unknown variant column", {"variant": "grp"}, "no column 'grp'"),
    (
        "unknown control",
        {"control": "contrl"},
        "no variant 'contrl' in column 'group' of {path}: did you mean 'control'?",
    ),
    ("text metric", {"metrics": ["tier"]}, "row 1, column 'tier': '"),
    ("nothing to measure", {"metrics": []}, "give at least one --metric"),
    ("ratio without slash", {"metrics": [], "ratios": ["spend"]}, "write NUMERATOR/DENOMINATOR"),
    ("ratio of unknown", {"metrics": [], "ratios": ["spend/order"]}, "did you mean 'orders'?"),
    ("split without weight", {"split": "control"}, "is not VARIANT=WEIGHT"),
    ("split of unknown", {"split": "control=1,coupn=1"}, "did you mean 'coupon'?"),
    ("split not a number", {"split": "control=1,coupon=x"}, "weight 'x' of 'coupon' is not a number"),
    ("split negative", {"split": "control=1,coupon=-1"}, "is negative"),
    ("split incomplete", {"split": "control=1"}, "has no weight for 'coupon'"),
    ("split twice", {"split": "control=1,control=1"}, "has two weights"),
    ("split zero", {"split": "control=1,coupon=0"}, "at least two variants need a weight above 0"),
    ("alpha", {"alpha": 1.5}, "--alpha 1.5"),
    ("breakdown of ids", {"breakdowns": ["member"]}, "has 4,000 different values"),
    ("variant of ids", {"variant": "member", "control": "m1"}, "is it the variant column?"),
    ("metric is variant", {"metrics": ["group"]}, "is named as a number and as variant"),
    ("covariate is metric", {"covariates": ["spend"]}, "both a metric and a covariate"),
    ("encoding", {"encoding": "klingon"}, "no such encoding"),
]


@pytest.mark.parametrize(("options", "message"), [(o, m) for _, o, m in BAD], ids=[name for name, _, _ in BAD])
def test_bad_options_get_one_clear_line(tmp_path: Path, options: dict[str, object], message: str) -> None:
    path = write(rows_of(), tmp_path / "a.csv")
    with pytest.raises(InputError) as caught:
        analyze(path, **options)
    assert message.format(path=path) in str(caught.value)
    assert "\n" not in str(caught.value)


BAD_FILES: list[tuple[str, bytes, str]] = [
    ("empty", b"", "the file is empty"),
    ("header only", b"group,bought,spend\n", "no rows with a variant"),
    ("one variant", b"group,bought,spend\ncontrol,1,2\ncontrol,0,3\n", "only one variant, 'control'"),
    (
        "bad value",
        b"group,bought,spend\ncontrol,1,2\ncoupon,0,12 EUR\n",
        "row 2, column 'spend': '12 EUR' is not a number",
    ),
    ("not text", bytes(range(128, 256)) * 50, "neither UTF-8 nor GB18030"),
    ("infinite", b"group,bought,spend\ncontrol,1,inf\ncoupon,0,2\n", "infinite values"),
    ("broken gzip", b"\x1f\x8b\x08\x00broken", "cannot be read"),
    ("broken parquet", b"PAR1broken", "cannot be read"),
]


@pytest.mark.parametrize(("content", "message"), [(c, m) for _, c, m in BAD_FILES], ids=[n for n, _, _ in BAD_FILES])
def test_bad_files_get_one_clear_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    args = [
        "analyze",
        str(path),
        "--variant",
        "group",
        "--control",
        "control",
        "--metric",
        "bought",
        "--metric",
        "spend",
    ]
    result = CliRunner().invoke(cli, args)
    assert result.exit_code == 2
    assert message in result.output
    assert result.output.count("\n") == 1
    assert str(path) in result.output


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        analyze(tmp_path / "none.csv")
    with pytest.raises(InputError, match="is a folder"):
        analyze(tmp_path)
