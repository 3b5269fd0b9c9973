"""What `analyze FILE` refuses, and that everything it finds is shown in every form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

from api.cli import cli
from experiments.errors import InputError
from stats.moments import Moments
from stats.samples import means
from tests.experiments.analyze_rows import analyze, close, one, parts, rows_of


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return rows_of()


@pytest.fixture(scope="module")
def file(frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("analyze") / "members.csv"
    frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"quantiles": ["spend"]}, "--quantile 'spend': write COLUMN@SHARE"),
        ({"quantiles": ["spend@2"]}, "share between 0 and 1"),
        ({"survivals": ["days"]}, "write DAYS/EVENT, two columns"),
        ({"survivals": ["days/orders"]}, "must hold 0 and 1"),
        ({"survivals": ["days/left@-3"]}, "horizon in days"),
        ({"metrics": ["spend"], "guardrails": ["refunds=5%"]}, "there are: spend"),
        ({"metrics": ["spend"], "guardrails": ["spend"]}, "write METRIC=SHARE"),
        ({"metrics": ["spend"], "guardrails": ["spend=500%"]}, "above 0% and below 100%"),
        ({"metrics": ["spend"], "guardrails": ["spend=little"]}, "is not a share"),
        ({"metrics": ["spend"], "decreases": ["orders"]}, "name a metric that is measured too"),
        ({"metrics": ["bought"], "winsorised": ["bought=0.99"]}, "only 0 and 1"),
        ({"metrics": ["spend"], "winsorised": ["spend=0.1"]}, "from 0.5 to 1"),
        ({"metrics": ["spend"], "adjustment": "regression"}, "name what to adjust for"),
        ({"metrics": ["spend"], "prior_sd": "20%"}, "belongs to --inference bayesian"),
        ({"metrics": ["spend"], "inference": "bayesian", "prior_sd": "0"}, "such as 20%"),
        ({"metrics": ["spend"], "inference": "bayesian", "multiplicity": "holm"}, "leave --multiplicity out"),
        ({"metrics": ["spend"], "inference": "group_sequential"}, "say when you looked"),
        ({"metrics": ["spend"], "inference": "group_sequential", "looks": "0.5,0.2"}, "that grow up to 1"),
        ({"metrics": ["spend"], "inference": "group_sequential", "looks": "1", "planned_units": 9000}, "of 9,000"),
        ({"metrics": ["spend"], "looks": "0.5,1"}, "belongs to --inference group-sequential"),
        ({"metrics": ["spend"], "planned_units": 10}, "says nothing to --inference fixed"),
        ({"metrics": ["spend"], "entered": "tier"}, "write dates as 2026-03-01"),
        ({"ranks": ["spend"], "inference": "bayesian"}, "--rank is read once"),
        ({"metrics": ["spend"], "reached": "orders"}, "must hold 0 or 1"),
        ({"metrics": ["spend"], "wave": "group"}, "named as variant and as wave"),
        ({"metrics": ["spend"], "wave": "member"}, "pooling needs 2 to 30 waves"),
        ({"metrics": ["spend"], "strata": ["member"]}, "combinations of levels"),
        ({"metrics": ["spend"], "strata": ["spend"]}, "named as a number and as strata"),
        ({"metrics": ["spend"], "place": "tier"}, "give --period COLUMN too"),
        ({"metrics": ["spend"], "place": "tier", "period": "wave"}, "one row for each place and period"),
        ({"metrics": ["spend"], "place": "tier", "period": "wave", "covariates": ["before"]}, "cannot be joined with"),
        ({"metrics": ["spend"], "split_clusters": True}, "name the column of the clusters"),
        ({"metrics": ["spend"], "factors": ["tier"]}, "leave --variant and --control out"),
        ({"metrics": ["spend"], "factors": ["tier"], "variant": None, "control": None}, "more than 2 different values"),
        ({"metrics": ["spend"], "factors": ["bought=x"], "variant": None, "control": None}, "no level 'x'"),
        ({"metrics": ["spend"], "variant": None}, "give --variant COLUMN"),
        ({"metrics": ["spend"], "cluster": "member", "strata": ["tier"]}, "cannot be joined with --cluster"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(file: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        analyze(file, **options)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("output", ["table", "json", "csv", "html"])
@pytest.mark.parametrize("lang", ["en", "zh-CN"])
def test_everything_is_shown_in_every_form(file: Path, output: str, lang: str) -> None:
    result = CliRunner().invoke(
        cli,
        [
            *("analyze", str(file), "--variant", "group", "--control", "control", "--metric", "spend"),
            *("--quantile", "spend@0.9", "--survival", "days/left@14", "--decrease", "days/left@14"),
            *("--rank", "orders", "--bootstrap", "refunds", "--metric", "bought", "--guardrail", "bought=10%"),
            *("--reached", "opened", "--wave", "wave", "--strata", "tier", "--entered", "day"),
            *("--output", output, "--lang", lang),
        ],
    )
    assert result.exit_code == 0, result.output
    if output == "json":
        report = json.loads(result.output)
        assert [m["name"] for m in report["metrics"]][2:] == [
            "spend@0.9", "days/left@14", "rank(orders)", "bootstrap(refunds)",
        ]  # fmt: skip
        assert all(report[section] for section in ("survival", "reached", "pooled", "curves"))
    elif output == "csv":
        methods = {line.split(",")[-2] for line in result.output.splitlines()[1:]}
        assert {"post_stratified", "quantile", "restricted_mean", "brunner_munzel", "bootstrap_bca"} <= methods
    else:
        words = {"en": ("Waves", "Effect on those reached", "Brunner"), "zh-CN": ("批次", "对触达者的效果", "Brunner")}
        assert all(word in result.output for word in words[lang])


def test_looks_and_factors_are_shown(file: Path) -> None:
    for output in ("table", "html"):
        base = ["analyze", str(file), "--metric", "spend", "--output", output]
        looks = ["--variant", "group", "--control", "control", "--inference", "group-sequential", "--looks", "0.5,1"]
        assert "Looks" in CliRunner().invoke(cli, [*base, *looks]).output
        assert "Factors" in CliRunner().invoke(cli, [*base, "--factor", "opened", "--factor", "bought"]).output


def test_rows_of_units_are_not_asked_of_summaries(file: Path) -> None:
    result = CliRunner().invoke(cli, ["analyze", str(file), "--summary", "--wave", "wave"])
    assert result.exit_code == 2
    assert "--wave needs rows of units, not --summary" in result.output


def test_the_order_of_rows_changes_nothing(frame: pd.DataFrame, file: Path, tmp_path: Path) -> None:
    frame.sample(frac=1, random_state=3).to_csv(tmp_path / "members.csv", index=False)
    asked: dict[str, Any] = {
        "metrics": ["spend"],
        "quantiles": ["spend@0.5"],
        "survivals": ["days/left@14"],
        "bootstraps": ["orders"],
        "ranks": ["spend"],
        "strata": ["tier"],
        "wave": "wave",
        "reached": "opened",
    }
    first, second = analyze(file, **asked), analyze(tmp_path / "members.csv", **asked)
    assert first.content_hash == second.content_hash


def test_means_of_the_log_and_file_share_one_estimator(frame: pd.DataFrame, file: Path) -> None:
    """Moments of the rows by numpy give the very figures of the file."""
    _, comparison = one(analyze(file, metrics=["spend"]), "spend")
    sample = means(Moments.stack([Moments.from_rows(("x",), v[:, None]) for v in parts(frame, "spend")]), "x")
    close(comparison.effect.estimate, float(sample.mean[1] - sample.mean[0]))
