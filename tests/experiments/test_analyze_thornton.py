"""A real experiment end to end, without any shared file: cash incentives to learn one's HIV status, rural Malawi 2004.

Thornton (2008), The demand for, and impact of, learning HIV status, American Economic Review 98(5); the data ship in
the test dependency ``causaldata``. `any` is whether any incentive was drawn, `got` whether the result was collected.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from api.cli import cli


@pytest.fixture(scope="module")
def thornton() -> pd.DataFrame:
    import causaldata

    frame: pd.DataFrame = causaldata.thornton_hiv.load_pandas().data
    return frame


def analyzed(path: Path, *options: str) -> dict[str, object]:
    args = ["analyze", str(path), "--variant", "any", "--control", "0", *options, "--output", "json"]
    result = CliRunner().invoke(cli, args)
    assert result.exit_code == 0, result.output
    document: dict[str, object] = json.loads(result.output)
    return document


@pytest.fixture(scope="module")
def file(thornton: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("thornton") / "thornton.parquet"
    thornton.to_parquet(path, index=False)
    return path


def score_interval(control: pd.Series[float], paid: pd.Series[float]) -> tuple[float, float]:
    """Mee's interval by maximising the likelihood numerically at each difference (scipy).

    statsmodels 0.15 gives [.4093, .4895] here: its closed form of the constrained estimate misses the maximum.
    """
    from scipy import optimize, stats

    x, n = (control.sum(), paid.sum()), (len(control), len(paid))

    def variance(difference: float) -> float:
        def loss(p: float) -> float:
            pairs = zip(x, n, (p, p + difference), strict=True)
            return -float(sum(k * np.log(q) + (size - k) * np.log(1 - q) for k, size, q in pairs))

        ends = (max(0.0, -difference) + 1e-9, min(1.0, 1.0 - difference) - 1e-9)
        p = optimize.minimize_scalar(loss, bounds=ends, method="bounded", options={"xatol": 1e-13}).x
        q = p + difference
        return float(p * (1 - p) / n[0] + q * (1 - q) / n[1])

    estimate, z = paid.mean() - control.mean(), stats.norm.isf(0.025)

    def beyond(difference: float) -> float:
        return float((estimate - difference) ** 2 - z**2 * variance(difference))

    return optimize.brentq(beyond, estimate - 0.1, estimate), optimize.brentq(beyond, estimate, estimate + 0.1)


def test_incentives_double_the_share_that_learns_the_result(file: Path, thornton: pd.DataFrame) -> None:
    from statsmodels.stats.proportion import confint_proportions_2indep, proportions_ztest

    report = analyzed(file, "--metric", "got")
    metric = report["metrics"][0]  # type: ignore[index]
    rows = thornton.dropna(subset=["any", "got"])
    control, paid = rows[rows["any"] == 0]["got"], rows[rows["any"] == 1]["got"]
    assert metric["kind"] == "proportion"
    assert [v["n"] for v in metric["variants"]] == [len(control), len(paid)]
    assert [v["mean"] for v in metric["variants"]] == pytest.approx([control.mean(), paid.mean()], rel=1e-12)

    comparison = metric["comparisons"][0]
    assert comparison["effect"]["estimate"] == pytest.approx(paid.mean() - control.mean(), rel=1e-12)
    z, p_value = proportions_ztest([paid.sum(), control.sum()], [len(paid), len(control)])
    assert z > 20
    assert comparison["p_value"] == pytest.approx(p_value, rel=1e-6)
    found = (comparison["effect"]["ci_low"], comparison["effect"]["ci_high"])
    assert found == pytest.approx(score_interval(control, paid), abs=1e-6)
    low, high = confint_proportions_2indep(
        paid.sum(), len(paid), control.sum(), len(control), method="score", compare="ratio", correction=False
    )
    found = (comparison["relative"]["ci_low"] + 1, comparison["relative"]["ci_high"] + 1)
    assert found == pytest.approx((low, high), rel=1e-5)
    assert comparison["reading"] == "better"


def test_the_missing_are_missing(file: Path, thornton: pd.DataFrame) -> None:
    report = analyzed(file, "--metric", "got", "--metric", "age")
    no_variant = int(thornton["any"].isna().sum())
    assert report["population"]["left_out"] == {"no_variant": no_variant}  # type: ignore[index]
    assigned = thornton.dropna(subset=["any"])
    for metric in report["metrics"]:  # type: ignore[attr-defined]
        missing = int(assigned[metric["name"]].isna().sum())
        assert metric["left_out"] == ({"missing": missing} if missing else {})


def test_srm_against_the_design(file: Path, thornton: pd.DataFrame) -> None:
    """Most envelopes held an incentive; an even split is not what was designed, and is refused at once."""
    from scipy import stats

    counts = thornton["any"].value_counts()
    even = analyzed(file, "--metric", "got")
    assert even["srm"]["status"] == "fail"  # type: ignore[index]
    assert even["srm"]["p_value"] == pytest.approx(  # type: ignore[index]
        stats.chisquare([counts[0.0], counts[1.0]]).pvalue, rel=1e-9, abs=1e-300
    )
    assert even["metrics"][0]["comparisons"][0]["readable"] is False  # type: ignore[index]
    planned = analyzed(file, "--metric", "got", "--split", f"0={counts[0.0]:.0f},1={counts[1.0]:.0f}")
    assert planned["srm"]["status"] == "ok"  # type: ignore[index]


def test_distance_as_covariate_is_ancova(file: Path, thornton: pd.DataFrame) -> None:
    import statsmodels.api as sm

    report = analyzed(file, "--metric", "got", "--covariate", "distvct")
    rows = thornton.dropna(subset=["any", "got"])
    design = sm.add_constant(np.column_stack([rows["any"], rows["distvct"].astype("float64")]))
    fit = sm.OLS(rows["got"].to_numpy(), design).fit()
    comparison = report["metrics"][0]["comparisons"][0]  # type: ignore[index]
    assert comparison["method"] == "cuped_mean"
    assert comparison["effect"]["estimate"] == pytest.approx(fit.params[1], rel=1e-6)
