"""`equipoise validate FILE`: what it simulates, how it says so, and a clear line for each kind of bad input."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from api.cli import cli
from experiments.errors import InputError
from experiments.report.validation_document import Validation, ValidationRow
from experiments.validate import ValidateOptions, validate_file


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(7)
    n = 800
    before = rng.gamma(2, 30, n)
    visits = 1 + rng.poisson(3, n)
    frame = pd.DataFrame(
        {
            "member": [f"m{i}" for i in range(n)],
            "bought": (rng.random(n) < 0.2).astype(int),
            "spend": np.round(0.5 * before + rng.gamma(2, 30, n), 2),
            "orders": rng.binomial(visits, 0.3),
            "visits": visits,
            "before": np.where(rng.random(n) < 0.1, np.nan, before),
            "tier": rng.choice(["gold", "basic"], n),
            "store": rng.integers(0, 30, n),
            "flat": 3,
        }
    )
    path = tmp_path_factory.mktemp("validate") / "units.csv"
    frame.to_csv(path, index=False)
    return path


def validated(path: Path, **options: Any) -> Validation:
    defaults: dict[str, Any] = {"metrics": ["spend"], "simulations": 400, "row_simulations": 0, "quantiles": ()}
    return validate_file(path, ValidateOptions(**(defaults | options)))


def row(found: Validation, metric: str, method: str) -> ValidationRow:
    return next(r for r in found.results if (r.metric, r.method) == (metric, method))


def run(*arguments: str) -> Any:
    return CliRunner().invoke(cli, ["validate", *arguments])


def test_every_method_that_applies_is_tried(file: Path) -> None:
    found = validated(
        file,
        metrics=["bought", "spend"],
        ratios=["orders/visits"],
        covariates=["before"],
        strata="tier",
        unit="member",
        quantiles=(0.9,),
        effect=0.08,
        row_simulations=2,
    )
    assert (found.units, found.units_in_file, found.left_out) == (800, 800, {})
    common = ["cuped", "lin", "post_stratified", "peeked", "group_sequential", "always_valid"]
    by_metric = {m: [r.method for r in found.results if r.metric == m] for m in ("bought", "spend", "orders/visits")}
    assert sorted(by_metric["bought"]) == sorted(["score", *common])
    assert sorted(by_metric["spend"]) == sorted(["welch", "quantile 90%", "rank", "bootstrap", *common])
    assert sorted(by_metric["orders/visits"]) == sorted(["ratio_delta", *common])
    assert [r.method for r in found.results if r.metric == "*"] == ["holm", "srm"]
    assert row(found, "spend", "peeked").reading == "too_many"
    assert row(found, "spend", "welch").reading == "as_promised"
    assert row(found, "spend", "welch").relative_effect == 0.08
    welch, cuped = row(found, "spend", "welch").power, row(found, "spend", "cuped").power
    assert welch is not None
    assert cuped is not None
    assert cuped[0] > welch[0]


def test_processes_change_nothing(file: Path) -> None:
    one = validated(file, covariates=["before"], simulations=1200, effect=0.1)
    two = validated(file, covariates=["before"], simulations=1200, effect=0.1, processes=2)
    assert one == two
    assert validated(file, covariates=["before"], simulations=1200, effect=0.1, seed=2).results != one.results


def test_progress_is_told(file: Path) -> None:
    told: list[int] = []
    options = ValidateOptions(metrics=["spend"], simulations=1100, quantiles=())
    validate_file(file, options, progress=told.append)
    assert sum(told) == 1100
    assert len(told) == 3


def test_split_names_and_weights(file: Path) -> None:
    found = validated(file, split="holdout=1,offer=2,gift=1", metrics=["spend", "bought"])
    assert found.variants == {"holdout": 1.0, "offer": 2.0, "gift": 1.0}
    assert row(found, "*", "holm").reading == "as_promised"
    assert row(found, "*", "srm").reading == "as_promised"


def test_clusters_are_randomised_whole(file: Path) -> None:
    found = validated(file, cluster="store", row_simulations=40)
    assert found.clusters == 30
    methods = {r.method for r in found.results}
    assert {"welch", "cluster_delta", "cluster_cr2"} <= methods
    assert not {"peeked", "srm", "holm"} & methods


def test_large_files_are_sampled(file: Path) -> None:
    found = validated(file, max_units=300)
    assert (found.units, found.units_in_file) == (300, 800)
    clusters = validated(file, max_units=300, cluster="store")
    assert clusters.units <= 300
    assert clusters.clusters is not None
    assert 2 <= clusters.clusters < 30


def test_repeats_and_nameless_rows_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "repeats.csv"
    lines = ["member,spend", *(f"m{i},{i % 7}" for i in range(60)), "m1,99", ",5"]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = validated(path, unit="member", simulations=50)
    assert found.units == 60
    assert found.left_out == {"unnamed": 1, "duplicate": 1}


def test_no_variation_is_said(file: Path) -> None:
    found = validated(file, metrics=["flat"], simulations=50)
    flat = row(found, "flat", "welch")
    assert (flat.reading, flat.false_alarms, flat.power) == ("not_computed", None, None)
    assert "Not computed" in flat.verdict["en"]


def test_outputs(file: Path) -> None:
    asked = ["--metric", "spend", "--simulations", "300", "--row-simulations", "0", "--processes", "1"]
    asked += ["--effect", "20%"]
    table = run(str(file), *asked)
    assert table.exit_code == 0, table.output
    assert "Power at +20%" in table.output
    assert "false alarms: as promised" in table.output
    assert "too many" in table.output
    chinese = run(str(file), *asked, "--lang", "zh-CN")
    assert "误报率" in chinese.output
    assert "符合承诺" in chinese.output
    document = json.loads(run(str(file), *asked, "--output", "json").output)
    assert document["effect"] == 0.2
    welch = next(r for r in document["results"] if r["method"] == "welch")
    assert welch["false_alarms"][1] <= welch["false_alarms"][0] <= welch["false_alarms"][2]
    rows = list(csv.DictReader(io.StringIO(run(str(file), *asked, "--output", "csv").output)))
    assert [r["method"] for r in rows] == [r["method"] for r in document["results"]]
    assert float(rows[0]["false_alarms"]) == welch["false_alarms"][0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics": []}, "nothing to validate"),
        ({"metrics": ["spent"]}, "did you mean 'spend'"),
        ({"alpha": 0.7}, "--alpha"),
        ({"simulations": 0}, "--simulations"),
        ({"variants": 1}, "--variants"),
        ({"looks": 0}, "--looks"),
        ({"effect": -2.0}, "--effect"),
        ({"quantiles": (1.5,)}, "--quantile"),
        ({"split": "a"}, "--split"),
        ({"split": "a=1,b=0"}, "--split"),
        ({"methods": ("guess",)}, "no method guess"),
        ({"metrics": ["bought"], "effect": 9.0}, "cannot rise"),
        ({"covariates": ["spend"]}, "both a metric and a covariate"),
        ({"unit": "spend"}, "name it once"),
        ({"strata": "member"}, "name a column with strata"),
        ({"metrics": ["tier"]}, "is not a number"),
    ],
)
def test_bad_input_is_one_line(file: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        validated(file, **options)
    assert "\n" not in str(raised.value)


def test_too_few_units(tmp_path: Path) -> None:
    path = tmp_path / "few.csv"
    path.write_text("spend\n1\n2\n", encoding="utf-8")
    assert "too few" in run(str(path), "--metric", "spend").output
    assert run(str(path), "--metric", "spend", "--effect", "much").exit_code == 2
