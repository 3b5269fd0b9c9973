"""Valuing policies on files of logged decisions: formats, policies, what is claimed, and what is refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from allocation.bandits.encoding import Encoder, FeatureCode
from allocation.bandits.policy import Policy, to_bytes
from api.cli import cli
from experiments.errors import InputError
from experiments.evaluating.evaluation import EvaluationOptions, evaluate
from experiments.evaluating.model import cross_fitted
from experiments.evaluating.reading import LogColumns, read_log
from experiments.evaluating.rendering import render_json, render_text
from experiments.evaluating.targets import make_target

MEMBERS, TIMES = 3000, 2
VARIANTS = ("coupon", "none")
WORTH = {("new", "coupon"): 0.30, ("new", "none"): 0.10, ("old", "coupon"): 0.15, ("old", "none"): 0.25}


def decisions(seed: int = 1) -> dict[str, list[object]]:
    """Members decide twice; the coupon is drawn with 3 in 4, and pays for new members only."""
    rng = np.random.default_rng(seed)
    rows: dict[str, list[object]] = {name: [] for name in ("unit", "variant", "propensity", "reward", "stage", "spend")}
    for member in range(MEMBERS):
        stage, luck = ("new", "old")[int(rng.integers(2))], rng.normal(0, 0.05)
        for _ in range(TIMES):
            variant, chance = ("coupon", 0.75) if rng.random() < 0.75 else ("none", 0.25)
            paid = rng.random() < WORTH[stage, variant] + luck
            values = (f"m{member}", variant, chance, int(paid), stage, round(float(rng.normal(50, 9)), 2))
            for name, value in zip(rows, values, strict=True):
                rows[name].append(value)
    return rows


def as_csv(path: Path, rows: dict[str, list[object]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(rows)
        writer.writerows(zip(*rows.values(), strict=True))
    return path


def personal() -> Policy:
    """The coupon for new members, nothing for others."""
    return Policy(
        variants=VARIANTS,
        kind="contextual",
        rule="greedy",
        encoder=Encoder((FeatureCode("stage", "categorical", levels=("new", "old")),)),
        coef=np.array([[0.0, 0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0, 1.0]]),
    )


@pytest.fixture
def log_csv(tmp_path: Path) -> Path:
    return as_csv(tmp_path / "log.csv", decisions())


def test_values_of_policies_whose_truth_is_known(log_csv: Path, tmp_path: Path) -> None:
    """Truth by WORTH; six intervals at 99.9 %, seed fixed (false alarms .6 %)."""
    file = tmp_path / "policy.npz"
    file.write_bytes(to_bytes(personal()))
    log = read_log(log_csv)
    assert (log.n, log.variants, sorted(log.features)) == (MEMBERS * TIMES, VARIANTS, ["spend", "stage"])
    truth = {
        "uniform": 0.2,
        "variant:coupon": 0.225,
        "variant:none": 0.175,
        f"greedy:{file}": 0.275,
        str(file): 0.98 * 0.275 + 0.02 * 0.2,
    }
    targets = [make_target(log, asked) for asked in truth]
    done = evaluate(log, targets, EvaluationOptions(alpha=0.001))
    for one in done.policies:
        for name in ("ips", "snips", "dr", "sndr"):
            found = one.estimates[name]
            assert found.ci_low < truth[one.policy] < found.ci_high, (one.policy, name)
        # A model of stages explains part of the spread.
        assert one.estimates["dr"].std_error < one.estimates["ips"].std_error
        assert not one.warnings
    shown = {one.policy: one.shown for one in evaluate(log, targets).policies}
    assert shown[str(file)] == shown[f"greedy:{file}"] == "better"
    assert shown["variant:none"] == "worse"
    assert done.logged.clusters == MEMBERS


def test_parquet_and_csv_and_other_names_say_the_same(log_csv: Path, tmp_path: Path) -> None:
    rows = decisions()
    renamed = {
        {"unit": "member", "variant": "offer", "propensity": "p", "reward": "profit"}.get(name, name): values
        for name, values in rows.items()
    }
    pq.write_table(pa.table(renamed), tmp_path / "log.parquet")
    columns = LogColumns("offer", "p", "profit", "member")
    first, second = read_log(log_csv), read_log(tmp_path / "log.parquet", columns)
    assert np.array_equal(first.variant, second.variant)
    assert np.array_equal(first.features["spend"], second.features["spend"])
    before, after = (evaluate(log, [make_target(log, "uniform")]).policies[0] for log in (first, second))
    assert before.estimates == after.estimates


def test_exported_decisions_say_who_was_eligible_and_what_they_were_like(tmp_path: Path) -> None:
    frozen = ['{"stage":"new","spend":12.5,"vip":true}', '{"stage":"old"}', None, '{"stage":"old"}', "{}"]
    policy = [
        '{"version":7,"group":"policy","eligible":["a","b"],"p":[0.1,0.9],"x":[1]}',
        '{"version":7,"group":"policy","eligible":["b","c"],"p":[0.5,0.5],"x":[1]}',
        '{"version":0,"group":"uniform","eligible":["a","b","c"],"p":[0.3,0.3,0.4],"x":[]}',
        None,
        None,
    ]
    table = pa.table(
        {
            "decision_id": ["1", "2", "3", "4", "5"],
            "kind": ["enrolled", "enrolled", "enrolled", "override", "enrolled"],
            "unit": ["u", "v", "w", "x", "y"],
            "variant": ["b", "c", "a", "a", "b"],
            "propensity": [0.9, 0.5, 0.3, None, 0.5],
            "frozen": frozen,
            "policy": policy,
            "reward": [1.0, 0.0, 2.0, 1.0, None],
        }
    )
    pq.write_table(table, tmp_path / "log.parquet")
    log = read_log(tmp_path / "log.parquet")
    assert log.left_out == {"not enrolled": 1, "no reward yet": 1}
    assert log.variants == ("a", "b", "c")
    assert log.eligible is not None
    assert log.eligible.tolist() == [[True, True, False], [False, True, True], [True, True, True]]
    assert log.features["stage"].tolist() == ["new", "old", None]
    assert log.features["spend"][0] == 12.5
    assert np.isnan(log.features["spend"][1:]).all()
    assert make_target(log, "uniform").probabilities.tolist() == [[0.5, 0.5, 0], [0, 0.5, 0.5], [1 / 3] * 3]
    single = make_target(log, "variant:a")
    assert single.probabilities.tolist() == [[1, 0, 0], [0, 0.5, 0.5], [1, 0, 0]]
    assert single.notes[0].endswith(": 1")


def test_columns_of_probabilities_say_who_was_eligible(tmp_path: Path) -> None:
    rows = {
        "variant": ["a", "b", "a"],
        "propensity": [0.5, 1.0, 0.2],
        "reward": [1, 0, 2],
        "p:a": [0.5, 0, 0.2],
        "p:b": [0.5, 1, 0.3],
        "p:c": [0, "", 0.5],
    }
    log = read_log(as_csv(tmp_path / "log.csv", rows))
    assert log.variants == ("a", "b", "c")
    assert log.eligible is not None
    assert log.eligible.tolist() == [[True, True, False], [False, True, False], [True, True, True]]
    found = evaluate(log, [make_target(log, "variant:c")], EvaluationOptions(folds=0)).policies[0]
    assert any("never drew" in warning for warning in found.warnings)
    assert found.shown is None


def test_no_decision_is_predicted_from_its_own_members(log_csv: Path) -> None:
    log = read_log(log_csv)
    before = cross_fitted(log)
    changed = log.reward.copy()
    changed[:TIMES] += 1000.0
    shifted = type(log)(**{**{f: getattr(log, f) for f in log.__dataclass_fields__}, "reward": changed})
    after = cross_fitted(shifted)
    assert np.array_equal(before[:TIMES], after[:TIMES])
    assert not np.allclose(before, after)


def test_thompson_from_a_table_of_betas(tmp_path: Path, log_csv: Path) -> None:
    """Beta(2, 1) beats Beta(1, 1) with probability 2/3; 100,000 draws have a standard error of .0015."""
    log = read_log(log_csv)
    table = as_csv(tmp_path / "beta.csv", {"variant": list(VARIANTS), "alpha": [2, 1], "beta": [1, 1]})
    found = make_target(log, f"beta:{table}")
    assert found.probabilities[0] == pytest.approx([2 / 3, 1 / 3], abs=0.006)
    assert np.array_equal(found.probabilities, make_target(log, f"beta:{table}").probabilities)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"propensity": 0.0}, "row 2, column 'propensity' is 0"),
        ({"propensity": 1.5}, "row 2, column 'propensity' is 1.5"),
        ({"propensity": ""}, "row 2, column 'propensity' is missing"),
        ({"reward": "inf"}, "row 2, column 'reward' is inf: no reward is that large"),
        ({"policy": "{"}, "row 2, column 'policy' is not JSON"),
        ({"policy": "[1]"}, "row 2, column 'policy' is not a JSON object"),
        ({"policy": '{"eligible": 3}'}, "row 2, column 'policy': 'eligible' is not a list of variants"),
        ({"policy": '{"eligible": ["a"]}'}, "row 2: its variant is not among those that were eligible"),
        ({"reward": "many"}, "row 2, column 'reward': 'many' is not a number"),
    ],
)
def test_rows_that_cannot_be_used_are_named(tmp_path: Path, change: dict[str, object], words: str) -> None:
    rows: dict[str, list[object]] = {"variant": ["a", "b"], "propensity": [0.5, 0.5], "reward": [1, 0]}
    for name, value in change.items():
        rows.setdefault(name, ["", ""])[1] = value
    with pytest.raises(InputError) as raised:
        read_log(as_csv(tmp_path / "log.csv", rows))
    assert words in str(raised.value)


def test_policies_that_cannot_be_used_say_why(tmp_path: Path, log_csv: Path) -> None:
    log = read_log(log_csv)
    broken = tmp_path / "broken.npz"
    broken.write_bytes(to_bytes(personal())[:200])
    strange = tmp_path / "strange.npz"
    strange.write_bytes(to_bytes(Policy(variants=("coupon", "gift"))))
    unread = tmp_path / "unread.npz"
    unread.write_bytes(to_bytes(Policy(variants=VARIANTS, encoder=Encoder((FeatureCode("age", "numeric"),)))))
    for asked, words in {
        "unifrom": "neither a policy's file nor one of uniform",
        "variant:cupon": "did you mean 'coupon'",
        str(broken): "not a readable policy",
        str(strange): "draws variant 'gift'",
        str(unread): "reads attribute 'age'",
        "log:nowhere.csv": "no such file",
    }.items():
        with pytest.raises(InputError) as raised:
            make_target(log, asked)
        assert words in str(raised.value), asked
    with pytest.raises(InputError, match="--folds 1"):
        evaluate(log, [], EvaluationOptions(folds=1))
    with pytest.raises(InputError, match="lie outside --bounds"):
        evaluate(log, [], EvaluationOptions(bounds=(0.0, 0.5)))
    with pytest.raises(InputError, match="both must be finite"):
        evaluate(log, [], EvaluationOptions(bounds=(0.0, float("inf"))))
    with pytest.raises(InputError, match="--tau nan"):
        evaluate(log, [], EvaluationOptions(tau=float("nan")))


def test_the_command_prints_text_and_json(log_csv: Path) -> None:
    arguments = ["replay", str(log_csv), "--policy", "uniform", "--policy", "variant:none", "--bounds", "0", "1"]
    ran = CliRunner().invoke(cli, arguments)
    assert ran.exit_code == 0, ran.output
    assert "6,000 decisions of 3,000 members, 2 variants" in ran.output
    assert "IPS, Bernstein" in ran.output
    assert "Earns less than what was logged" in ran.output
    document = json.loads(CliRunner().invoke(cli, [*arguments, "--output", "json"]).output)
    first, second = document["policies"]
    assert (first["policy"], second["difference"]["shown"]) == ("uniform", "worse")
    assert first["empirical_bernstein"]["ci_low"] < first["estimates"]["ips"]["ci_low"]
    assert document["log"]["members"] == MEMBERS
    wrong = CliRunner().invoke(cli, ["replay", str(log_csv), "--policy", "unifrom"])
    assert (wrong.exit_code, wrong.output.count("\n")) == (2, 1)


def test_nothing_is_nan_in_any_form(tmp_path: Path) -> None:
    """A log of three decisions, and a policy that would have made none of them."""
    rows = {
        "variant": ["a", "a", "a"],
        "propensity": [0.5, 0.5, 0.5],
        "reward": [1, 1, 1],
        "p:a": [0.5] * 3,
        "p:b": [0.5] * 3,
    }
    log = read_log(as_csv(tmp_path / "log.csv", rows))
    done = evaluate(log, [make_target(log, "variant:b"), make_target(log, "uniform")])
    assert ": NaN" not in render_json(done)
    assert " nan" not in render_text(done).lower()
    assert done.policies[0].estimates["snips"].why_code == "no_support"


@pytest.mark.shared
def test_open_bandit_men_claims_no_gain(shared_dir: Path) -> None:
    """10,000 decisions of each policy, .46 % and .69 % clicks (shared/data/README.md): too few for any claim."""
    folder = shared_dir / "data" / "open_bandit_men"
    files = {name: folder / name / "men.csv.gz" for name in ("random", "bts")}
    for file in files.values():
        if not file.is_file():
            pytest.skip(f"{file} is absent")
    rates = {"random": 0.0046, "bts": 0.0069}
    for name, other in (("random", "bts"), ("bts", "random")):
        log = read_log(files[name])
        assert (log.format, log.n, len(log.variants)) == ("open_bandit", 10_000, 34)
        assert log.reward.mean() == pytest.approx(rates[name])
        done = evaluate(log, [make_target(log, "uniform"), make_target(log, f"log:{files[other]}")])
        assert [one.shown for one in done.policies] == [None, None]
        if name == "random":
            uniform, bts = done.policies
            # The random policy is the uniform one: its value is what was earned.
            assert uniform.estimates["ips"].value == pytest.approx(0.0046)
            assert uniform.diagnostics.ess == pytest.approx(10_000)
            for method in ("ips", "snips", "dr"):
                # What Thompson sampling really earned, and what random earned: both are within.
                found = bts.estimates[method]
                assert found.ci_low < rates["random"] < rates["bts"] < found.ci_high
            assert bts.difference.ci_low < 0 < bts.difference.ci_high
