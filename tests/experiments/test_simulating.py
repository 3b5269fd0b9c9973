"""Simulated environments: the same for everybody, true to what they say, and fair to the learners in them."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from api.cli import cli
from experiments.errors import InputError
from experiments.simulating.comparing import compare
from experiments.simulating.contexts import matrix
from experiments.simulating.environment import World
from experiments.simulating.environments import ENVIRONMENTS
from experiments.simulating.history import History
from experiments.simulating.learner import Always, Oracle, Uniform, even
from experiments.simulating.named import learner_named
from experiments.simulating.ours import rows_of
from experiments.simulating.picture import picture
from experiments.simulating.running import draw, run

NAMES = list(ENVIRONMENTS)


def same(one: World, other: World) -> bool:
    pairs = [(getattr(one, name), getattr(other, name)) for name in World.__slots__ if name != "columns"]
    pairs += [(one.columns[name], other.columns[name]) for name in one.columns]
    return all(np.array_equal(a.astype(str), b.astype(str)) for a, b in pairs)


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_is_a_world(name: str) -> None:
    environment = ENVIRONMENTS[name].resized(decisions=1000)
    assert same(environment.world(3), environment.world(3))
    assert not same(environment.world(3), environment.world(4))


@pytest.mark.parametrize("name", NAMES)
def test_what_comes_is_what_was_expected(name: str) -> None:
    """The mean of realised profits lies within 4.5 standard errors of the truth: 7 in a million by chance each."""
    environment = ENVIRONMENTS[name]
    world = environment.world(7)
    earned = world.amount - np.asarray(environment.contact)
    gap = earned - world.expected
    for k in range(len(environment.variants)):
        error = gap[:, k].std(ddof=1) / len(world) ** 0.5
        assert abs(gap[:, k].mean()) < 4.5 * error, environment.variants[k]


@pytest.mark.parametrize("name", NAMES)
def test_environments_are_worth_learning(name: str) -> None:
    environment = ENVIRONMENTS[name]
    world = environment.world(2)
    uniform, oracle, *fixed = (
        run(environment, world, learner, seed=2).percent
        for learner in (Uniform(), Oracle(), *(Always(environment, key) for key in environment.variants))
    )
    assert oracle == pytest.approx(100)
    assert uniform < 75
    assert max(fixed) < 95, "one offer for everybody must not be nearly best"


def test_environments_are_what_they_are_called() -> None:
    assert sum(environment.held_out for environment in ENVIRONMENTS.values()) == 2
    worlds = {name: environment.world(1) for name, environment in ENVIRONMENTS.items()}
    assert 0.003 < worlds["orders"].converted.mean() < 0.03
    orders = worlds["orders"].amount[worlds["orders"].converted]
    assert orders.mean() > 1.4 * np.median(orders), "heavy tail"
    assert len(set(worlds["stores"].columns["store"])) > 150
    assert not worlds["drift"].eligible[:8000, -1].any()
    assert worlds["drift"].eligible[8000:].all()
    assert (worlds["delayed"].eligible[:, 1:].mean(axis=0) < 0.85).all()
    assert not worlds["delayed"].eligible[7500:9000, 2].any()
    assert worlds["delayed"].delay_days.max() <= ENVIRONMENTS["delayed"].window_days
    assert worlds["delayed"].eligible[:, 0].all(), "nothing can always be given"


def test_under_drift_what_was_right_before_is_wrong_after() -> None:
    """A member's offer of the first half, given in the second half to who looks alike, loses much of the best."""
    world = ENVIRONMENTS["drift"].world(1)
    half = len(world) // 2
    before = world.expected[:half, :4].mean(axis=0)
    after = world.expected[half:, :4].mean(axis=0)
    assert np.abs(before[2:4] - after[1:3]).max() < 1.5, "each offer is liked as the next one was"
    assert np.abs(before[1:4] - after[1:4]).max() > 3


class Recorder:
    """Decides evenly and keeps every history it is given."""

    name = "recorder"
    learns = True

    def __init__(self) -> None:
        self.histories: list[History] = []

    def probabilities(self, world: World, rows: slice) -> Any:
        return even(world.eligible[rows])

    def learn(self, history: History) -> None:
        self.histories.append(history)


def test_only_what_has_matured_is_learned_from() -> None:
    environment = ENVIRONMENTS["delayed"].resized(decisions=6000, every=500)
    world, recorder = environment.world(1), Recorder()
    run(environment, world, recorder, seed=1)
    seen = 0
    for history in recorder.histories:
        assert (world.at_days[history.rows] + environment.window_days <= history.now_days).all()
        assert len(history.rows) - len(history.fresh) == seen
        seen = len(history.rows)
    assert 0 < seen < len(world) - 500


def test_rows_say_what_was_decided_and_nothing_else() -> None:
    environment = ENVIRONMENTS["orders"].resized(decisions=2000, every=500)
    world, recorder = environment.world(1), Recorder()
    run(environment, world, recorder, seed=1)
    history = recorder.histories[-1]
    rows = rows_of(history, history.rows)
    chosen = history.variant[history.rows]
    np.testing.assert_array_equal(rows.converted, world.converted[history.rows, chosen])
    np.testing.assert_array_equal(rows.amount, world.amount[history.rows, chosen])
    assert (rows.propensity == 0.25).all()
    assert (rows.age_days >= 0).all()
    profit = history.profit(history.rows)
    np.testing.assert_allclose(profit, rows.amount - np.asarray(environment.contact)[chosen])


def test_draws_follow_their_probabilities_and_never_take_what_has_none() -> None:
    """Four standard errors for each of three shares: 2 in 10,000 by chance."""
    p = np.tile([0.0, 0.2, 0.8, 0.0], (40_000, 1))
    chosen, propensity = draw(p, np.random.default_rng(1).random(40_000))
    assert set(chosen.tolist()) == {1, 2}
    assert abs((chosen == 1).mean() - 0.2) < 4 * (0.2 * 0.8 / 40_000) ** 0.5
    np.testing.assert_array_equal(propensity, np.where(chosen == 1, 0.2, 0.8))
    edge, _ = draw(np.array([[0.3, 0.7, 0.0], [0.0, 1.0, 0.0]]), np.array([np.nextafter(1, 0), 0.0]))
    assert edge.tolist() == [1, 1]


def test_nobody_gets_what_he_may_not() -> None:
    environment = ENVIRONMENTS["delayed"].resized(decisions=3000, every=500)
    world = environment.world(2)
    for name in ("igw", "mabwiser:linucb", "variant:gift", "uniform", "oracle"):
        learner = learner_named(name, environment, seed=2)
        recorder = Recorder()
        run(environment, world, recorder, seed=2)
        if learner.learns:
            learner.learn(recorder.histories[-1])
        p = learner.probabilities(world, slice(2500, 3000))
        np.testing.assert_allclose(p.sum(axis=1), 1.0, atol=1e-12)
        assert (p[~world.eligible[2500:]] == 0).all(), name


def test_the_floor_is_kept() -> None:
    environment = ENVIRONMENTS["offers"].resized(decisions=2000, every=500)
    done = run(environment, environment.world(1), learner_named("igw,explore=0.1", environment, seed=1), seed=1)
    assert done.least_propensity >= 0.1 / 5 - 1e-12
    certain = run(environment, environment.world(1), learner_named("mabwiser:linucb", environment, seed=1), seed=1)
    assert certain.least_propensity == 0


def test_a_new_offer_is_tried_before_it_is_learned() -> None:
    environment = ENVIRONMENTS["drift"].resized(decisions=4000, every=400)
    world = environment.world(1)
    learner = learner_named("igw,explore=0", environment, seed=1)
    recorder = Recorder()
    run(environment, world, recorder, seed=1)
    learner.learn(recorder.histories[3])
    p = learner.probabilities(world, slice(1600, 2000))
    assert (p[:, -1] >= 0.05 - 1e-12).all()


@pytest.mark.slow
def test_learning_beats_not_learning_and_context_beats_none() -> None:
    environment = ENVIRONMENTS["offers"].resized(decisions=5000, every=500)
    makers = {
        name: (lambda env, seed, name=name: learner_named(name, env, seed=seed))
        for name in ("igw", "beta_thompson", "uniform")
    }
    igw, context_free, uniform = compare(environment, makers, [1, 2])
    assert igw.percent > context_free.percent + 5 > uniform.percent + 5
    assert igw.regret_std_error is not None
    assert (np.diff(igw.regret) >= 0).all()
    assert context_free.versus == pytest.approx(context_free.percent - igw.percent)


@pytest.mark.slow
def test_forgetting_pays_under_drift() -> None:
    """Over three worlds by more than 5 points and 3 standard errors, against itself and against mabwiser's LinUCB."""
    environment = ENVIRONMENTS["drift"]
    names = ("igw", "igw,half_life_days=inf", "mabwiser:linucb")
    makers = {name: (lambda env, seed, name=name: learner_named(name, env, seed=seed)) for name in names}
    _, *others = compare(environment, makers, [11, 12, 13])
    for other in others:
        assert other.versus_std_error is not None
        assert other.versus < -5
        assert other.versus < -3 * other.versus_std_error


def test_the_matrix_has_what_ours_are_given() -> None:
    environment = ENVIRONMENTS["pairs"].resized(decisions=1000)
    world = environment.world(1)
    columns = matrix(environment, world)
    singles = 1 + 5 + 3 + 4 + 2 + 4
    assert columns.shape == (1000, singles + 5 * 4 + 1 + 3)
    assert np.isfinite(columns).all()
    stage = columns[:, 1:6]
    np.testing.assert_array_equal(stage.sum(axis=1), np.ones(1000))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nix", "there is no policy"),
        ("variant:nix", "is no variant of offers"),
        ("mabwiser:nix", "is not among mabwiser's policies"),
        ("igw,nix=1", "is no setting"),
        ("igw,explore=two", "must be a number"),
        ("igw,explore=2", "must be from 0 to 1"),
        ("igw,sharpness=inf", "must not be inf"),
        ("igw,half_life_days=0", "must not be 0"),
        ("igw,sharpness=nan", "must not be nan"),
    ],
)
def test_wrong_policies_are_told(name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        learner_named(name, ENVIRONMENTS["offers"], seed=1)


def test_the_command_compares_draws_and_writes(tmp_path: Path) -> None:
    target = tmp_path / "curves.svg"
    small = [
        "offers",
        "--decisions",
        "1500",
        "--every",
        "500",
        "--seeds",
        "2",
        "--policy",
        "igw",
        "--policy",
        "uniform",
    ]
    done = CliRunner().invoke(cli, ["simulate", *small, "--svg", str(target), "--output", "json"])
    assert done.exit_code == 0, done.output
    document = json.loads(done.output)
    igw, uniform = document["policies"]
    assert igw["percent_of_best"] > uniform["percent_of_best"]
    assert len(igw["by_seed"]) == 2
    assert uniform["versus_first"] == pytest.approx(uniform["percent_of_best"] - igw["percent_of_best"])
    svg = ET.fromstring(target.read_text(encoding="utf-8"))  # our own file
    lines = svg.findall("{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == 2
    assert "uniform" in target.read_text(encoding="utf-8")
    again = CliRunner().invoke(cli, ["simulate", *small, "--output", "json"])
    del document["policies"][0]["cpu_seconds"], document["policies"][1]["cpu_seconds"]
    for one in (told := json.loads(again.output))["policies"]:
        del one["cpu_seconds"]
    assert told == document, "the same seeds give the same figures"
    table = CliRunner().invoke(cli, ["simulate", *small, "--lang", "zh-CN"])
    assert "策略" in table.output
    assert "uniform" in table.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nix"], "there is no environment"),
        (["--policy", "igw"], "name an environment"),
        (["offers", "--decisions", "500", "--every", "600"], "an update every 600"),
        (["offers", "--policy", "nix"], "there is no policy"),
        (["offers", "--policy", "uniform", "--decisions", "200", "--svg", "/nix/x.svg"], "cannot be written"),
    ],
)
def test_wrong_commands_are_told_in_a_line(words: list[str], said: str) -> None:
    done = CliRunner().invoke(cli, ["simulate", *words])
    assert done.exit_code == 2
    assert said in done.output
    assert done.output.startswith("equipoise: ")


def test_environments_are_listed_with_what_is_held_out() -> None:
    lines = CliRunner().invoke(cli, ["simulate"]).output.splitlines()
    assert [line.split()[0] for line in lines] == NAMES
    assert sum("held out" in line for line in lines) == 2


def test_a_picture_of_one_seed_has_no_band() -> None:
    environment = ENVIRONMENTS["offers"].resized(decisions=500, every=250)
    standings = compare(environment, {"a<b": lambda *_: Uniform()}, [1])
    drawn = picture("x & y", standings)
    ET.fromstring(drawn)
    assert "<polygon" not in drawn
    assert "a&lt;b" in drawn
